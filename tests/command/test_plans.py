"""`--dry-run`: what commands would take; nothing is written, and it is about right."""

import json
import time

import pytest

from conftest import called, quick_problem, small_problem, table
from widelimit import Problem, train
from widelimit.limit.forecast import forecast_limit
from widelimit.limit.solve import solved
from widelimit.networks.price import seconds_each

CALLS = {
    "solve": (["limit"], []),
    "train": (["networks"] * 3, []),
    "run": (["limit"] + ["networks"] * 3, []),
    "fluctuations": (["scatter"], ["--rms"]),
    "bias": (["bias"] * 3, ["--pairs", 4]),
}


@pytest.mark.parametrize("name", CALLS)
def test_every_command_has_a_plan(tmp_path, capfd, name):
    path, run = tmp_path / "problem.toml", tmp_path / "run"
    path.write_text(small_problem().to_toml(), encoding="utf-8")
    tasks, more = CALLS[name]
    status, said, wrong = called(capfd, name, path, "-o", run, "--dry-run", "--json", *more)
    assert status == 0, wrong
    found = json.loads(said)
    assert status == 0
    assert [task["task"] for task in found["tasks"]] == tasks
    assert all(0 < task["gigabytes"] < 10 for task in found["tasks"])
    assert all(task["seconds"] is None or task["seconds"] > 0 for task in found["tasks"])
    assert not run.exists()


def test_a_family_is_planned_by_what_is_left(tmp_path, capfd):
    raw = quick_problem().as_dict() | {"sweep": {"seed": [0, 1, 2, 3]}}
    path, run = tmp_path / "family.toml", tmp_path / "run"
    path.write_text(Problem.from_dict(raw).to_toml(), encoding="utf-8")
    status, said, _ = called(capfd, "sweep", path, "-o", run, "--dry-run", "--workers", 2)
    assert status == 0
    assert said.startswith("0 members of 4 done; each of the others, 2 at a time:")
    assert not run.exists()


def test_a_reproduction_is_planned_by_its_claims(tmp_path, capfd):
    status, said, _ = called(capfd, "reproduce", "landscape", "-o", tmp_path / "r", "--dry-run")
    assert status == 0
    assert "claims, each with a control" in said
    assert not (tmp_path / "r").exists()


def test_what_cannot_fit_is_told(tmp_path, capfd):
    """Before anything is computed, with what to change."""
    path = tmp_path / "problem.toml"
    path.write_text(small_problem(2, networks={"widths": [10**6]}).to_toml(), encoding="utf-8")
    status, _, said = called(capfd, "train", path, "-o", tmp_path / "run", "--dry-run")
    assert status == 2
    assert "networks.widths: one network of 1000000 takes" in said


def test_what_is_compiled_is_no_part_of_a_plan():
    """Times begin with 0, where nothing moves; shapes that nobody has compiled take seconds."""
    problem = small_problem(2, data=table(points=13, inputs=3), observe={"times": [0.0, 0.5, 1.0]})
    foretold = forecast_limit(problem).seconds
    solved(problem, progress=False)
    begun = time.perf_counter()
    solved(problem, progress=False)
    assert foretold is not None
    assert foretold < 3 * (time.perf_counter() - begun) + 1.0


def test_what_is_not_known_is_not_said_to_take_no_time(tmp_path, capfd):
    """Lyapunov's equation is not timed beforehand."""
    path = tmp_path / "problem.toml"
    path.write_text(quick_problem().to_toml(), encoding="utf-8")
    status, said, _ = called(capfd, "fluctuations", path, "-o", tmp_path / "run", "--dry-run")
    assert status == 0
    assert said.count("time not known beforehand") == 2


def test_networks_that_take_no_step_take_some_time():
    """A step longer than the training, or no time at all."""
    networks = {"widths": [8], "step": 9.0}
    assert seconds_each(small_problem(networks=networks), (8,)) > 0
    assert seconds_each(small_problem(observe={"times": [0.0]}), (8,)) > 0


@pytest.mark.slow
def test_networks_take_what_was_foretold():
    """Within a factor of three, on a machine whose load may change meanwhile."""
    asked = {"widths": [64], "seeds": 20, "step": 2e-5}
    problem = small_problem(networks=asked, training={"horizon": 2.0})
    train(problem.with_changes(training={"horizon": 1e-3}), progress=False)  # compiled
    foretold = 20 * seconds_each(problem, (64,))
    begun = time.perf_counter()
    train(problem, progress=False)
    assert 1 / 3 < foretold / (time.perf_counter() - begun) < 3
