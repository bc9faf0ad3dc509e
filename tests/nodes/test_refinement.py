"""Plans of sizes: made from variances, checked against the plain optimum."""

import itertools

import numpy as np
import pytest

from conftest import small_problem, table
from widelimit import ProblemError, solve
from widelimit.basics.statistics import half_width
from widelimit.nodes.refinement import Level
from widelimit.nodes.sobol import Sobol
from widelimit.problem.network.laws import Normal
from widelimit.problem.network.layered import LayerCosts as Costs
from widelimit.problem.network.marks import Block

INPUT = Sobol((Block("input", Normal(), 64),), np.eye(64))
READOUT = Sobol((Block("readout", Normal(), 10),), np.eye(10))
COSTS = Costs(entries=(64, 1, 10), fields=(1, 1), products=(64, 1, 10), spaces=(0, 1))


def _level(first=1e-4, last=1e-5):
    return Level((INPUT, READOUT), COSTS, (256, 64), {0: first, 1: last}, 1.0)


def _anything(counts):
    return True


def test_half_width_is_students():
    assert half_width(1.0, 8) == pytest.approx(2.364624 / np.sqrt(8), rel=1e-6)


def test_sizes_meet_the_goal_at_almost_the_least_work():
    """Against all combinations of doublings; a greedy plan may cost a little more."""
    level = _level()
    for goal in (3e-3, 1e-3, 3e-4):
        sizes = level.sizes_for(goal, 8, _anything)
        assert level.error(sizes, 8) <= goal
        grid = [(256 * 2**i, 64 * 2**j) for i, j in itertools.product(range(14), range(14))]
        best = min(level.work(s) for s in grid if level.error(s, 8) <= goal)
        assert level.work(sizes) <= 1.7 * best


def test_the_layer_that_brings_the_error_gets_the_nodes():
    assert _level(first=1e-4, last=1e-9).sizes_for(1e-3, 8, _anything)[1] == 64
    assert _level(first=1e-9, last=1e-4).sizes_for(1e-3, 8, _anything)[0] == 256


def test_out_of_reach_is_predicted_with_nodes_and_time():
    level = _level()

    def allowed(counts):
        return max(counts) <= 1024

    assert level.unreachable(level.error((1024, 1024), 32), allowed) is None
    told = level.unreachable(level.error((1024, 1024), 32) / 10, allowed)
    assert told is not None
    assert "would be needed" in told
    assert "1024 × 1024" in told


def test_growth_between_levels_is_bounded():
    assert (
        max(n / c for n, c in zip(_level().next_counts(1e-9, _anything), (256, 64), strict=True))
        == 16
    )


def test_rules_are_chosen_by_measurement_or_by_name():
    three = small_problem(1)  # three coordinates
    easy = solve(three, progress=False).dataset.attrs
    assert easy["rules"] == ["lattice"]
    assert "its first nodes suffice" in easy["rule_reasons"][0]
    few = {"tolerance": 5e-4, "max_nodes": 1024}
    harder = solve(three.with_changes(limit=few), progress=False).dataset.attrs
    assert harder["rules"][0] in ("lattice", "sobol")
    assert "spread over 4 scrambles" in harder["rule_reasons"][0]
    problem = small_problem(2)
    chosen = solve(problem, progress=False).dataset.attrs
    assert chosen["rules"] == ["lattice", "lattice"]
    assert chosen["rule_reasons"][1] == "few continuous coordinates"
    asked = problem.with_changes(limit={"rules": ["sobol", "auto"], "nodes": [512, 16]})
    found = solve(asked, progress=False).dataset.attrs
    assert found["rules"] == ["sobol", "lattice"]
    assert found["rule_reasons"][0] == "asked for"
    assert found["nodes"] == [512, 16]
    with pytest.raises(ProblemError, match=r"limit.rules: found 'lattice' for layer 1"):
        problem.with_changes(data=table(inputs=5), limit={"rules": ["lattice", "auto"]})
    with pytest.raises(ProblemError, match=r"limit.nodes: found 1 entries; give one for each"):
        problem.with_changes(limit={"nodes": 8})


def test_lattice_and_sobol_agree():
    """Two rules, two placements: the difference is within what both say of themselves."""
    problem = small_problem(2, limit={"tolerance": 1e-3})
    found = [
        solve(problem.with_changes(limit={"rules": [name, "auto"]}), progress=False).dataset
        for name in ("lattice", "sobol")
    ]
    gap = np.sqrt(np.mean((found[0].output - found[1].output).values ** 2, axis=(1, 2))).max()
    assert gap < found[0].attrs["error"] + found[1].attrs["error"]


def test_states_are_those_of_the_rule_that_was_kept():
    """Sobol, tried last, has equal weights; the lattice, which wins with 4,096 nodes, has not."""
    limit, observe = {"tolerance": 1e-5, "nodes": [4096]}, {"times": [0.0, 0.1]}
    fixed = small_problem(1, limit=limit, observe=observe)
    found = solve(fixed, progress=False)
    assert "spread over 4 scrambles" in found.dataset.attrs["rule_reasons"][0]
    assert found.dataset.attrs["rules"] == ["lattice"]
    assert np.ptp(found.states["limit"].to_dataset()["weight_1"].values) > 0
