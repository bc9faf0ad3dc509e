"""The problem files of the gallery: they are right, and run to their tolerance in three minutes."""

import json
import time
from importlib import resources
from pathlib import Path

import pytest

from conftest import command
from widelimit import Problem, solve

FILES = sorted((Path(__file__).parents[2] / "examples").glob("*.toml"))
WITH_NETWORKS = [path for path in FILES if "[networks]" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_examples_are_right(path):
    assert Problem.from_file(path).title != path.stem


@pytest.mark.slow
@pytest.mark.parametrize("path", WITH_NETWORKS, ids=lambda path: path.stem)
def test_examples_run_in_three_minutes(path, tmp_path):
    """All four commands in a process of their own; the limit and the exponent are as they should.

    The exponent's interval holds −1/2 in 95 % of repetitions; seeds are fixed.
    """
    started = time.perf_counter()
    done = command("run", path, "-o", tmp_path / "run", "--json")
    seconds = time.perf_counter() - started
    assert done.returncode == 0, done.stderr
    fit = json.loads((tmp_path / "run" / "comparison.json").read_text())["exponent"][-1]
    print(f"\n{path.stem}: {seconds:.0f} s, {fit}", end="")
    assert fit["low"] < -0.5 < fit["high"]
    assert seconds < 180


ROUGH = {"tolerance": 0.2}


@pytest.mark.slow
def test_a_residual_network_reads_digits_as_well_as_the_demo():
    """The limits' accuracy on images that were not learned, at the end."""
    demo = Problem.from_file(str(resources.files("widelimit.command") / "demo.toml"))
    example = Problem.from_file(next(path for path in FILES if path.stem == "digits-residual"))
    accuracy = {}
    for problem in (demo, example):
        asked = {"times": [0.0, problem.training.horizon]}
        found = solve(problem.with_changes(limit=ROUGH, observe=asked), progress=False)
        accuracy[problem.title] = float(found.dataset.accuracy.sel(part="holdout")[-1])
    print(f"\n{accuracy}", end="")
    assert accuracy[example.title] >= accuracy[demo.title]


@pytest.mark.slow
def test_a_bag_of_tokens_does_not_know_neighbours():
    """Perceptrons on every token alone, and their mean, leave most of the risk; heads do not."""
    example = Problem.from_file(next(path for path in FILES if path.stem == "sequence-attention"))
    network = example.as_dict()["network"] | {"blocks": ["perceptron"]}
    raw = {**example.as_dict(), "network": network, "training": {"horizon": 6.0}}
    left = []
    for problem in (example, Problem.from_dict(raw)):
        risk = solve(problem.with_changes(limit=ROUGH), progress=False).dataset.risk
        left.append(float(risk[-1] / risk[0]))
    print(f"\n{left}", end="")
    assert left[0] < 0.02
    assert left[1] > 0.5


@pytest.mark.slow
def test_limits_without_networks_are_solved(tmp_path):
    """What is left of the gallery has a limit alone, and reaches its tolerance in a minute."""
    for path in set(FILES) - set(WITH_NETWORKS):
        started = time.perf_counter()
        done = command("solve", path, "-o", tmp_path / path.stem, "--json")
        assert done.returncode == 0, done.stderr
        assert time.perf_counter() - started < 60
