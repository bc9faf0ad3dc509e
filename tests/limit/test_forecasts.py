"""What is to come is told: by limits and networks, in time, where it was asked, and only there."""

import json
import logging
import re
import time

import numpy as np
import pytest

from conftest import called, command, quick_problem, small_problem, table
from widelimit import Problem, ProblemError, solve, train
from widelimit.basics import progress
from widelimit.basics.progress import progress as progress_of
from widelimit.ensemble.advice import examine
from widelimit.limit import foresight

HARD = {"tolerance": 1e-6, "max_nodes": 1024}
"""Out of reach of so few nodes."""


@pytest.fixture
def lines(caplog):
    """What the library has logged."""
    caplog.set_level(logging.INFO, logger="widelimit")
    return lambda: [record.getMessage() for record in caplog.records]


@pytest.fixture
def impatient(monkeypatch):
    """Everything is long."""
    monkeypatch.setattr(progress, "ENOUGH", 0.0)
    monkeypatch.setattr(progress, "FIRST_SILENCE", 0.0)
    monkeypatch.setattr(foresight, "LONG", 0.0)


def raw(rows=40, size=100.0) -> Problem:
    """A csv as it comes: inputs and targets of this size."""
    rng = np.random.default_rng(0)
    x = size * rng.uniform(0.5, 1.5, size=(rows, 4))
    data = {"source": "table", "inputs": x.tolist(), "targets": (x[:, 0] + x[:, 1]).tolist()}
    network = {"activations": ["relu"]}
    return small_problem(network=network, data=data, limit={"max_nodes": 64})


# The limit


def test_a_tolerance_out_of_reach_is_forecast_after_the_first_level(lines):
    solve(small_problem(limit=HARD, observe={"times": 2}), progress=False)
    (said,) = [line for line in lines() if "would be needed" in line]
    assert re.search(r"256 nodes reach .*about \S+ nodes and .* would be needed", said)


def test_a_long_first_run_says_how_many_are_to_come(lines, impatient):
    solve(small_problem(observe={"times": 2}), progress=False)
    assert any("this run took" in s and "at least 4 of about this size" in s for s in lines())


def test_a_stiff_flow_is_forecast_between_observed_times(lines, impatient, monkeypatch):
    """It has no other times than 0 and the horizon, and is stopped long before that."""

    class EnoughError(Exception):
        pass

    def stop(record):
        if found := re.search(r"t = (\S+) of 1, .* about (.*) to come", record.getMessage()):
            assert 0 < float(found[1]) < 0.5
            raise EnoughError
        return True

    log = logging.getLogger("widelimit")
    monkeypatch.setattr(log, "filters", [stop])
    with pytest.raises(EnoughError):
        solve(raw().with_changes(observe={"times": 2}), progress=False)


def test_seconds_bound_the_refinement():
    """The first level is there, with its error, and what more would take."""
    problem = small_problem(limit={"tolerance": 1e-4, "max_seconds": 1e-3}, observe={"times": 2})
    limit = solve(problem, progress=False)
    assert not limit.met
    assert limit.dataset.attrs["error"] > 1e-4
    assert limit.dataset.attrs["nodes"] == [256]
    assert limit.dataset.attrs["replicates"] >= 4
    (said,) = [s for s in limit.warnings if "was not met" in s]
    assert "limit.max_seconds = 0.001" in said
    assert "raise limit.max_seconds or the tolerance" in said


def test_seconds_that_suffice_change_nothing():
    free = small_problem(observe={"times": 2})
    bounded = free.with_changes(limit={"max_seconds": 3600})
    found = [solve(problem, progress=False).dataset for problem in (free, bounded)]
    np.testing.assert_array_equal(found[0].output, found[1].output)
    assert found[1].attrs["met"] == 1
    assert free.digest("limit") != bounded.digest("limit")


@pytest.mark.parametrize("wrong", [0, -1.0, "a minute", True])
def test_seconds_are_a_positive_number(wrong):
    with pytest.raises(ProblemError, match=r"limit.max_seconds"):
        small_problem(limit={"max_seconds": wrong})


# Networks


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({"method": "sgd"}, r"step [\d,]+ of 4,000"),
        ({"method": "gd"}, r"step [\d,]+ of 4,000"),
        ({"method": "flow"}, r"t = \S+ of 1"),
    ],
)
def test_networks_say_how_far_they_are(lines, impatient, settings, place):
    networks = {"widths": [4], "seeds": 2, "step": 2.5e-4, **settings}
    problem = small_problem(networks=networks, observe={"times": 5})
    train(problem, progress=False)
    told = [s for s in lines() if "to come at this pace" in s]
    assert re.match(rf"networks: width 4: {place}, .* about .* to come", told[0])


# Progress


def test_the_pace_is_that_of_the_work(monkeypatch):
    """A clock that is set by hand: compiling for 100 s, then pieces of 10 s, two of eight done."""
    clock = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with progress_of("work", False, 8) as told:
        piece = told.piece()
        clock[0] = 100.0
        piece.at(0.0, "begun")
        for share in (0.5, 1.0):
            clock[0] += 5.0
            piece.at(share, "under way")
        other = told.piece()
        clock[0] += 10.0
        other.at(1.0, "under way")
        assert told.to_come() == pytest.approx(60.0)


def test_a_bar_is_full_at_the_end_and_not_before():
    with progress_of("work", True, 2) as told:
        for _ in range(3):  # one more than was known
            told.piece().at(1.0, "done")
            assert told.bar.n < told.bar.total
    assert told.bar.n == told.bar.total


def test_silence_is_broken_while_nothing_can_be_counted(lines, monkeypatch):
    monkeypatch.setattr(progress, "FIRST_SILENCE", 0.1)
    with progress_of("work", False, 1):
        time.sleep(1.5)
    assert lines() == [line for line in lines() if line.startswith("work: under way")] != []


# Commands


def test_commands_log_to_standard_error_once_when_it_is_a_file(tmp_path):
    path = tmp_path / "problem.toml"
    problem = small_problem(limit=HARD, observe={"times": 2}, networks=None)
    path.write_text(problem.to_toml(), encoding="utf-8")
    done = command("solve", path, "-o", tmp_path / "run", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["met"] is False
    told = [line for line in done.stderr.splitlines() if line.startswith("widelimit: limit:")]
    assert len(told) == 1
    assert "would be needed" in told[0]


def test_two_commands_in_one_process_say_it_once_each(tmp_path, capfd):
    path = tmp_path / "problem.toml"
    path.write_text(small_problem(limit=HARD, observe={"times": 2}).to_toml(), encoding="utf-8")
    for folder in ("one", "two"):
        _, _, said = called(capfd, "solve", path, "-o", tmp_path / folder)
        assert said.count("would be needed") == 2  # the forecast, and the note why it was not met
    assert logging.getLogger("widelimit").handlers == []


# Said beforehand


def test_raw_columns_are_stiff_and_scaled_ones_are_not():
    (said,) = [s for s in examine(raw()) if "the flow is stiff" in s]
    assert re.search(r"divide inputs by 1\d\d and targets by 2\d\d, or standardise", said)
    assert not [s for s in examine(raw(size=1.0)) if "stiff" in s]
    assert not [s for s in examine(quick_problem()) if "stiff" in s]


def test_steps_that_stability_asks_for_against_the_hessian():
    """Readouts alone move: λ is the largest eigenvalue of E φφᵀ, here by NumPy."""
    from widelimit.ensemble.stiffness import MANY_STEPS, STABLE

    neurons = np.array([[3.0, 0.5], [-2.0, 1.0], [1.0, -1.0]])
    x, horizon = np.array([50.0, 80.0, -60.0]), 100.0
    problem = small_problem(
        network={
            "activations": ["relu"],
            "initial": {"neuron": {"law": "atoms", "points": neurons.tolist()}},
        },
        data={"source": "table", "inputs": x.tolist(), "targets": [0.0, 0.0, 0.0]},
        training={"horizon": horizon, "learning_rates": {"input": 0.0}},
    )
    phi = np.maximum(np.outer(x, neurons[:, 0]), 0)
    eigenvalue = np.linalg.eigvalsh(phi.T @ phi / len(x) / len(neurons))[-1]
    (said,) = [s for s in examine(problem) if "the flow is stiff" in s]
    assert float(re.search(r"tangent kernel is (\S+),", said)[1]) == pytest.approx(
        eigenvalue, rel=0.05
    )
    steps = float(re.search(r"about (\S+) steps", said)[1])
    assert steps > MANY_STEPS
    assert steps == pytest.approx(eigenvalue * horizon / STABLE, rel=0.5)


def population(formula, dimension=30, law="hypercube", **initial) -> Problem:
    bias = {"law": "normal"}
    readout = {"law": "normal", "mean": 0.0}
    initial = {"bias": bias, "readout": readout, **initial}
    inputs = {"law": law, "dimension": dimension}
    target = {"formula": formula}
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"], "biases": True, "initial": initial},
            "data": {"source": "population", "inputs": inputs, "target": target},
            "training": {"horizon": 1.0},
        }
    )


def test_large_dimensions_are_told_of_the_infinite_one():
    (said,) = [s for s in examine(population("x1 + x1*x2")) if "dimension = 'inf'" in s]
    assert "30 dimensions" in said
    assert "standard deviation 5.48" in said  # √30
    (leap,) = [s for s in examine(population("x1*x2")) if "dimension = 'inf'" in s]
    assert "a leap" in leap
    assert "takes seconds" not in leap
    uniform = {"law": "uniform", "low": -1.0, "high": 1.0}
    for problem, told in [
        (population("x1", dimension=12), False),  # all corners
        (population("x1", law="gaussian"), False),  # folded as it is
        (population("x1", law="gaussian", input=uniform), True),
        (small_problem(data=table(inputs=20)), False),
    ]:
        assert any("dimension = 'inf'" in s for s in examine(problem)) == told
