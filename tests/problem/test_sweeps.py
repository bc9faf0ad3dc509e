"""Families of problems: the same results as one by one, labelled; mistakes; the command."""

import numpy as np
import pytest

from conftest import quick_problem, table
from widelimit import Problem, ProblemError, solve, sweep
from widelimit.problem.sweeps import members


def family(**values):
    """A problem with atoms, swept over some keys."""
    raw = quick_problem().as_dict()
    return Problem.from_dict(raw | {"sweep": values})


def test_members_are_the_problems_one_by_one():
    """Two keys: a grid whose entries are the results of the problems written by hand."""
    asked = family(**{"network.scale": [1.0, 2.0], "training.weight_decay": [0.0, 0.3, 0.6]})
    found = sweep(asked, lambda problem: solve(problem, progress=False))
    assert found.output.dims[:2] == ("network.scale", "training.weight_decay")
    for scale in (1.0, 2.0):
        for decay in (0.0, 0.3, 0.6):
            alone = quick_problem().with_changes(
                network={"scale": scale}, training={"weight_decay": decay}
            )
            at = {"network.scale": scale, "training.weight_decay": decay}
            expected = solve(alone, progress=False).dataset
            np.testing.assert_array_equal(found.output.sel(at), expected.output)


def test_defaults_follow_from_what_is_swept():
    """Depths: the laws that were not written are those of each depth."""
    raw = {
        "network": {"activations": ["tanh"]},
        "data": table(),
        "training": {"horizon": 1.0},
        "sweep": {"network": {"activations": [["tanh"], ["tanh", "erf"]]}, "seed": [3]},
    }
    one, two = members(Problem.from_dict(raw))
    assert one.problem.network.depth == 1
    assert len(two.problem.network.initial.hidden) == 1
    assert two.problem.seed == 3
    assert two.values == {"network.activations": ["tanh", "erf"], "seed": 3}
    assert one.name == "network.activations=-tanh-,seed=3"
    assert one.problem.sweep is None


def test_a_family_is_no_problem_to_solve():
    """It is told what to use instead."""
    with pytest.raises(ProblemError, match=r"sweep: makes this a family.*widelimit\.sweep"):
        solve(family(seed=[0, 1]), progress=False)
    with pytest.raises(ProblemError, match="sweep: is missing"):
        members(quick_problem())


@pytest.mark.parametrize(
    ("swept", "said"),
    [
        ({"network": {"scale": 3.0}}, "sweep: network.scale is 3.0; give a list of values"),
        ({"network": {"scale": []}}, "sweep: network.scale is []; give a list of values"),
        ({"title": ["a", "b"]}, "sweep: title cannot be swept"),
        ([1.0], "sweep: found [1.0]; must be a table"),
        ({}, "sweep: found {}; must be a table"),
    ],
)
def test_mistakes_are_told(swept, said):
    """With the key that is meant."""
    with pytest.raises(ProblemError) as told:
        Problem.from_dict(quick_problem().as_dict() | {"sweep": swept})
    assert said in str(told.value)


def test_mistakes_of_members_are_told_with_their_values():
    """Each with the values that made it, and values that are there twice."""
    with pytest.raises(ProblemError) as told:
        members(family(**{"network.scale": [1.0, -2.0, 1.0]}))
    assert "with network.scale = -2.0: network.scale: found -2.0; must be greater" in str(
        told.value
    )
    assert "found network.scale=1.0 more than once" in str(told.value)
    with pytest.raises(ProblemError, match=r"network\.activations\.first: activations is no table"):
        members(family(**{"network.activations.first": ["tanh"]}))


def test_members_with_inputs_of_their_own_are_looked_at_in_common_places():
    """Samples of several sizes: outputs are joined where they are all known."""
    swept = {
        "data": {
            "source": "population",
            "inputs": {"law": "gaussian", "dimension": 2},
            "target": {"formula": "x1"},
            "samples": 10,
        },
        "network": {"activations": ["tanh"]},
        "training": {"horizon": 0.5},
        "sweep": {"data.samples": [10, 20]},
        "limit": {"tolerance": 0.1},
    }
    with pytest.raises(ProblemError, match=r"observe.inputs: is missing; training inputs differ"):
        members(Problem.from_dict(swept))
    seen = {"inputs": [[0.0, 1.0]], "times": [0.5], "functionals": ["population risk"]}
    found = sweep(Problem.from_dict(swept | {"observe": seen}), solve)
    assert found.population_risk.sizes == {"data.samples": 2, "time": 1}
