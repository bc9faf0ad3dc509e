"""Residual networks in problem files: what they mean, and what is wrong with them, in words."""

import numpy as np
import pytest

from conftest import table
from widelimit import Problem, train
from widelimit.basics.errors import ProblemError

HEADS = [{"unit": "attention", "key": 2}]


def problem(network=None, **sections) -> Problem:
    raw = {
        "network": {"architecture": "residual", **(network or {})},
        "data": table(),
        "training": {"horizon": 1.0},
    }
    return Problem.from_dict({**raw, **sections})


@pytest.mark.parametrize(
    ("network", "sections", "said"),
    [
        ({"activations": ["tanh"]}, {}, "network.activations: belongs to architecture = 'layered'"),
        ({"architecture": "recurrent"}, {}, "network.architecture: found 'recurrent'; must be one"),
        ({"architecture": "layered", "activations": ["tanh"], "tokens": 2}, {}, "network.tokens: "),
        ({"architecture": ["residual"]}, {}, "network.architecture: found ['residual']; must be"),
        ({"initial": {"embedding": 3}}, {}, "found 3; must be 'identity' or the table of a law"),
        ({"tokens": 3}, {}, "network.tokens: found 3; the 2 inputs do not divide"),
        ({"depth": 0}, {}, "network.depth: found 0; must be 'limit' or a number of blocks"),
        ({"depth": True}, {}, "network.depth: found True"),
        ({"depth": "deep"}, {}, "network.depth: found 'deep'"),
        ({"blocks": [{"unit": "attention", "key": 0}]}, {}, "network.blocks[0].key: "),
        ({"blocks": []}, {}, "network.blocks: "),
        ({"blocks": ["convolution"]}, {}, "network.blocks[0].unit: "),
        ({"stream": 1}, {}, "network.stream: found 1, narrower than a token, which has 2 numbers"),
        (
            {"initial": {"query": {"law": "normal"}}},
            {},
            "network.initial.query: given, and no unit",
        ),
        ({"initial": {"bias": {"law": "normal"}}}, {}, "set biases = true"),
        ({"blocks": HEADS, "initial": {"input": {"law": "normal"}}}, {}, "network.initial.input"),
        (
            {"initial": {"input": {"law": "atoms", "points": [[1.0, 2.0, 3.0]]}}},
            {},
            "network.initial.input: is a law of vectors with 3 entries; such a parameter has 2",
        ),
        ({}, {"networks": {"widths": [64]}}, "networks.widths: found 64; a residual network has a"),
        ({}, {"networks": {"shapes": [[8, 4, 2]]}}, "networks.shapes: found [8, 4, 2]; give"),
        ({}, {"networks": {"shapes": [[8, 4], [8, 4]]}}, "networks.shapes: found [8, 4] more than"),
        ({}, {"networks": {"shapes": [[8, 4]], "widths": [4]}}, "networks.shapes: found beside"),
        (
            {},
            {"training": {"horizon": 1.0, "learning_rates": {"query": 1.0}}},
            "training.learning_rates.query: no parameter of this network is called so",
        ),
        (
            {},
            {"training": {"horizon": 1.0, "learning_rates": {"hidden": 1.0}}},
            "training.learning_rates.hidden: ",
        ),
        (
            {},
            {"training": {"horizon": 1.0, "temperature": 0.1}},
            "noise on the units of a residual network is not built",
        ),
        ({}, {"observe": {"functionals": ["moments"]}}, "observe.functionals[0].functional: looks"),
    ],
)
def test_mistakes_are_told_with_their_place(network, sections, said):
    with pytest.raises(ProblemError, match="mistake") as caught:
        problem(network, **sections)
    assert said in str(caught.value)


def test_layered_networks_have_no_shapes():
    with pytest.raises(ProblemError, match=r"networks\.shapes"):
        Problem.from_dict(
            {
                "network": {"activations": ["tanh", "tanh"]},
                "data": table(),
                "training": {"horizon": 1.0},
                "networks": {"shapes": [[8, 4]]},
            }
        )


@pytest.mark.parametrize(
    "network",
    [
        {},
        {"depth": 12, "biases": True, "stream": 3},
        {"blocks": [*HEADS, "perceptron"], "alternating": True, "tokens": 2, "pool": "last"},
        {"blocks": HEADS, "tokens": 2},
        {
            "initial": {
                "embedding": {"law": "normal"},
                "input": {"law": "uniform", "low": -1, "high": 1},
            }
        },
    ],
)
def test_a_problem_is_written_and_read_back(network, tmp_path):
    """The same problem, with all defaults written down."""
    shapes = {"shapes": [[8, 4], [4, 16]]}
    first = problem(network, networks=shapes)
    path = tmp_path / "problem.toml"
    path.write_text(first.to_toml())
    again = Problem.from_file(path)
    assert again.with_changes(title=first.title).as_dict() == first.as_dict()
    assert again.networks.layer_widths(again.network) == ((8, 4), (4, 16))


def test_ends_may_have_any_law():
    """Networks are drawn by compiled code, and the ends are not."""
    ends = {name: {"law": "atoms", "points": [-1.0, 1.0]} for name in ("embedding", "unembedding")}
    settings = {"shapes": [[2, 3]], "seeds": 2, "method": "gd", "step": 0.5}
    found = train(problem({"initial": ends, "stream": 3}, networks=settings), progress=False)
    for name in ends:
        of_seeds = found.states["width_2_3"].to_dataset()[name].values
        assert set(np.unique(np.abs(of_seeds))) == {1.0}


def test_a_width_alone_is_of_the_depth_that_was_given():
    found = problem({"depth": 6}, networks={"widths": [16]})
    assert found.networks.layer_widths(found.network) == ((6, 16),)
    assert found.network.growing_width((6, 16)) == 96
    assert "6 blocks of perceptron (tanh)" in found.network.words()
