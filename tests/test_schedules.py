"""Schedules against their formulas, and what they do to limits and networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from conftest import small_problem
from widelimit import Problem, ProblemError, solve, train
from widelimit.problem.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    Piecewise,
    Power,
    Rate,
)

FAMILIES = [
    (Constant(value=0.7), lambda t: 0.7),
    (Power(value=2.0, exponent=0.25, time=0.5), lambda t: 2.0 / (1 + 2 * t) ** 0.25),
    (Exponential(value=2.0, time=3.0), lambda t: 2.0 * np.exp(-t / 3)),
    (
        Cosine(value=2.0, time=1.5, low=0.5),
        lambda t: 0.5 + 0.75 * (1 + np.cos(np.pi * t / 1.5)) if t < 1.5 else 0.5,
    ),
    (
        Piecewise(times=(0.5, 1.2), values=(1.0, 2.5, 0.0)),
        lambda t: 1.0 if t < 0.5 else 2.5 if t < 1.2 else 0.0,
    ),
]  # fmt: skip

NAMES = [type(schedule).__name__ for schedule, _ in FAMILIES]


@pytest.mark.parametrize(("schedule", "formula"), FAMILIES, ids=NAMES)
def test_formulas(schedule, formula):
    with jax.enable_x64(True):
        rate = Rate.of(schedule, jnp.float64)
        times = [0.0, 0.3, 0.5, 1.0, 1.4, 2.0]
        found = [float(rate.at(t)) for t in times]
        assert found == pytest.approx([formula(t) for t in times], rel=1e-12)
        assert max(found) <= float(rate.highest)
        assert float(rate.at_its_highest().at(9.0)) == schedule.highest()


def _scheduled(schedule, times, horizon=2.0, **networks):
    """Atoms at depth 2, every rate under the same schedule."""
    rates = dict.fromkeys(("input", "hidden", "readout"), schedule.model_dump())
    atoms = {"law": "atoms", "points": [-1.0, 0.5]}
    return small_problem(
        2,
        network={"activations": ["tanh"] * 2, "initial": {"input": atoms, "readout": atoms}},
        training={"horizon": horizon, "learning_rates": rates},
        observe={"times": times},
        networks={"widths": [16], "seeds": 2, **networks},
    )  # fmt: skip


@pytest.mark.parametrize(("schedule", "formula"), FAMILIES, ids=NAMES)
def test_a_schedule_common_to_all_layers_is_a_change_of_clock(schedule, formula):
    """dθ/dt = ξ(t) v(θ) has θ(t) = the constant-rate solution at ∫_0^t ξ."""
    times = [0.4, 1.0, 2.0]
    clocks = [quad(formula, 0.0, t, points=[0.5, 1.2, 1.5], limit=200)[0] for t in times]
    found = solve(_scheduled(schedule, times), progress=False).dataset.output
    kept = list(dict.fromkeys(round(c, 12) for c in clocks))  # the last piece stands still
    plain = _scheduled(Constant(value=1.0), kept, horizon=max(kept))
    expected = solve(plain, progress=False).dataset.output.values
    for row, clock in zip(found.values, clocks, strict=True):
        np.testing.assert_allclose(row, expected[kept.index(round(clock, 12))], atol=1e-7)


@pytest.mark.parametrize("method", ["sgd", "gd", "flow"])
def test_networks_stop_when_their_rates_do(method):
    """Rates that fall to 0 at t = 1: afterwards nothing moves, before it is as it was."""
    times = [0.5, 1.0, 2.0]
    stopped = _scheduled(Piecewise(times=(1.0,), values=(1.0, 0.0)), times, method=method)
    plain = _scheduled(Constant(value=1.0), times, method=method)
    found, expected = (train(p, progress=False).dataset.output[0] for p in (stopped, plain))
    np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=1e-4 if method == "flow" else 0)
    np.testing.assert_allclose(found[:, 2], found[:, 1], atol=2e-4 if method == "flow" else 0)
    assert np.abs(expected[:, 2] - expected[:, 1]).max() > 1e-2


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"input": -1}, "input: found -1; must be greater than or equal to 0"),
        ({"input": {"schedule": "powr", "value": 1}}, "did you mean 'power'"),
        ({"readout": "fast"}, "readout: found 'fast'; must be a number, or a table"),
        ({"readout": {"value": 1}}, "readout.schedule: is missing"),
        ({"readout": {"schedule": "cosine", "value": 1, "tme": 3}}, "tme: unknown key; did you"),
        (
            {"input": {"schedule": "piecewise", "times": [1], "values": [1]}},
            "input.values: found 1 values for 1 times; give one more",
        ),
        ({"input": {"schedule": "piecewise", "times": [2, 1], "values": [1, 2, 3]}}, "increase"),
        ({"input": {"schedule": "cosine", "value": 1, "time": 1, "low": 2}}, "swap them"),
    ],
)
def test_wrong_schedules_are_told(rates, said):
    with pytest.raises(ProblemError, match=said.replace("(", r"\(")):
        small_problem(1, training={"horizon": 1.0, "learning_rates": rates})


def test_schedules_survive_the_problem_file():
    problem = _scheduled(FAMILIES[4][0], [0.0, 1.0])
    import tomllib

    assert Problem.from_dict(tomllib.loads(problem.to_toml())).as_dict() == problem.as_dict()
