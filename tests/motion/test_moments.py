"""Work that is broken off goes on from where it was kept: the same numbers, bit for bit."""

import jax
import numpy as np
import pytest

from conftest import broken_off, quick_problem, small_problem
from widelimit import measure_bias, predict_fluctuations, solve, train
from widelimit.basics.store import kept_in

PULSE = {"schedule": "piecewise", "times": [0.4], "values": [1.0, 0.5]}
NETWORKS = {"widths": [4, 6], "seeds": 3}
WORK = {
    "limit": (solve, {"limit": {"tolerance": 0.2}}),
    "a schedule": (solve, {"training": {"horizon": 1.0, "learning_rates": {"input": PULSE}}}),
    "noise": (solve, {"training": {"horizon": 0.2, "temperature": 0.1, "weight_decay": 0.1}}),
    "sgd": (train, {"networks": NETWORKS}),
    "epochs": (train, {"networks": NETWORKS | {"draw": "epochs", "batch": 3}}),
    "flow": (train, {"networks": NETWORKS | {"method": "flow", "precision": "float32"}}),
    "bias": (lambda p, progress: measure_bias(p, pairs=3, progress=progress), {}),
    "fluctuations": (predict_fluctuations, {"networks": {"widths": [8]}}),
}


LONG = {"noise": pytest.mark.slow}


@pytest.mark.parametrize("name", [pytest.param(own, marks=LONG.get(own, ())) for own in WORK])
def test_broken_off_and_resumed_is_undisturbed(monkeypatch, tmp_path, always_kept, name):
    work, sections = WORK[name]
    base = quick_problem if name in ("bias", "fluctuations") else small_problem
    problem = base(**sections)
    whole = work(problem, progress=False).dataset

    def kept():
        with kept_in(tmp_path / name):
            return work(problem, progress=False).dataset

    # Every one goes on where the one before was broken off: moment by moment, then in leaps.
    attempts = [broken_off(monkeypatch, kept, breaks) for breaks in [1] * 12 + [5] * 4]
    assert attempts.count(None) >= 2
    again = kept()
    for variable in whole:
        np.testing.assert_array_equal(again[variable], whole[variable], err_msg=str(variable))


def test_what_is_done_is_not_done_again(monkeypatch, tmp_path, always_kept):
    """The second time no moment is lived through."""
    problem = small_problem(networks=NETWORKS)

    def work():
        with kept_in(tmp_path):
            train(problem, progress=False)

    assert (broken_off(monkeypatch, work, -1) or 0) > 4
    assert broken_off(monkeypatch, work, -1) == 0


@pytest.mark.parametrize(
    "changed",
    [
        {"training": {"horizon": 1.5}},
        {"seed": 1},
        {"observe": {"times": 4}},
        {"networks": NETWORKS | {"step": 0.01}},
        {"networks": NETWORKS | {"seeds": 4}},
        {"networks": NETWORKS | {"precision": "float32"}},
        {"network": {"activations": ["erf"]}},
    ],
)
def test_other_work_is_not_taken_for_it(tmp_path, always_kept, changed):
    """Whatever numbers depend on names the entry."""
    with kept_in(tmp_path):
        train(small_problem(networks=NETWORKS), progress=False)
        other = small_problem(**({"networks": NETWORKS} | changed))
        found = train(other, progress=False).dataset
    whole = train(other, progress=False).dataset
    np.testing.assert_array_equal(found.output, whole.output)


@pytest.mark.parametrize("damage", [b"", b"no archive", "cut"])
def test_a_damaged_entry_is_done_again(tmp_path, always_kept, damage):
    problem = small_problem(networks=NETWORKS)
    with kept_in(tmp_path):
        whole = train(problem, progress=False).dataset
    for path in tmp_path.glob("*.npz"):
        path.write_bytes(path.read_bytes()[:200] if damage == "cut" else damage)
    with kept_in(tmp_path):
        again = train(problem, progress=False).dataset
    np.testing.assert_array_equal(again.output, whole.output)


def test_functions_of_ones_own_are_not_kept(tmp_path, always_kept):
    """Nothing tells two of them apart."""
    with kept_in(tmp_path):
        solve(small_problem(network={"activations": [jax.numpy.sin]}), progress=False)
    assert not list(tmp_path.glob("*.npz"))


def test_nothing_is_kept_outside(tmp_path, monkeypatch, always_kept):
    monkeypatch.chdir(tmp_path)
    train(small_problem(networks=NETWORKS), progress=False)
    assert list(tmp_path.iterdir()) == []
