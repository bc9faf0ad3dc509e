"""Fluctuations that are broken off go on from the time that was known: the same, bit for bit."""

import jax
import numpy as np
import pytest

from conftest import broken_off, quick_problem, small_problem
from widelimit.around.variances import factors
from widelimit.around.ways import Case, spreads
from widelimit.basics.store import kept_in
from widelimit.motion.engine import engine

MANY = np.random.default_rng(0).normal(size=(30, 2)).tolist()
WAYS = {
    "reverse": ({}, False),
    "combinations": ({"inputs": MANY}, True),
    "directions": ({"inputs": MANY}, False),
    "forward": ({"inputs": MANY}, False),
    "lyapunov": (None, False),
}


def case_of(way, patch):
    """A problem of four times, and what is asked of it."""
    observe, rms = WAYS[way]
    several = {"times": [0.0, 0.2, 0.4, 0.6]}
    if observe is None:
        return quick_problem(observe=several), rms
    patch.setattr(Case, "way", lambda self, sizes: "forward" if way == "forward" else "reverse")
    settings = {"widths": [8], "method": "flow"}
    problem = small_problem(observe=several | observe, limit={"nodes": [16]}, networks=settings)
    return problem, rms


@pytest.mark.parametrize(
    "way",
    [
        pytest.param(way, marks=pytest.mark.slow if way in ("combinations", "reverse") else ())
        for way in WAYS
    ],
)
def test_broken_off_and_resumed_is_undisturbed(way, monkeypatch, tmp_path, always_kept):
    problem, rms = case_of(way, monkeypatch)

    def found():
        with engine(problem, "test", False) as work:
            case = Case(work, factors(problem)[0], 0.1, rms)
            assert case.way(case.first.sizes) == way or way not in ("forward", "lyapunov")
            return jax.tree.leaves(spreads(case, case.first))

    def kept():
        with kept_in(tmp_path):
            return found()

    whole = found()
    attempts = [broken_off(monkeypatch, kept, 1) for _ in range(12)]
    assert attempts.count(None) >= 4  # once for each time at least
    for one, other in zip(kept(), whole, strict=True):
        np.testing.assert_array_equal(one, other)
    assert broken_off(monkeypatch, kept, 1) == 0
