"""Which layers have neurons that are alike in the limit and not in networks, derived by hand."""

import jax.numpy as jnp
import pytest

from widelimit import Problem
from widelimit.ensemble.collapse import collapsed_layers

NORMAL = {"law": "normal", "mean": 1.0, "std": 1.0}
CONSTANT = {"law": "normal", "mean": 1.0, "std": 0.0}
NARROW = {"law": "normal", "mean": 1.0, "std": 0.001}
TWO = {"law": "atoms", "points": [0.0, 2.0]}
SIGNS = {"law": "atoms", "points": [-1.0, 1.0]}
EMBEDDING = {"law": "embedding", "family": "features", "mean": 1.0}


def problem(depth, initial=None, inputs=2, outputs=1, training=None, **network):
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"] * depth, "initial": initial or {}, **network},
            "data": {"source": "table", "inputs": [[0.5] * inputs], "targets": [[0.3] * outputs]},
            "training": {"horizon": 1.0, **(training or {})},
        }
    )


@pytest.mark.parametrize(
    ("asked", "layers"),
    [
        # Labels of the first layer: input weights. Of the last: readouts. Between them: none.
        (problem(1), ()),
        (problem(2), ()),
        (problem(3), (2,)),
        (problem(5), (2, 3, 4)),
        # Readouts that are the same number, two numbers, or too close together for networks.
        (problem(2, {"readout": CONSTANT}), (2,)),
        (problem(2, {"readout": TWO}), (2,)),
        (problem(2, {"readout": NARROW}), (2,)),
        (problem(2, {"readout": lambda z: 1.0 + 0.0 * z}), (2,)),
        (problem(2, {"readout": jnp.sign}), (2,)),  # ± 1
        (problem(2, {"readout": TWO}, outputs=10), ()),  # 1,024 kinds: hardly two of any
        (problem(2, {"readout": {"law": "product", "factors": [TWO]}}), (2,)),
        (problem(1, {"readout": CONSTANT}), ()),  # no weights are left out
        # Input weights of few kinds; in many dimensions all are different.
        (problem(2, {"input": SIGNS}), (1,)),
        (problem(2, {"input": SIGNS}, inputs=20), ()),
        (problem(2, {"input": {"law": "sphere"}}, inputs=1), (1,)),  # ± 1
        (problem(2, {"input": {"law": "sphere"}}), ()),
        # Weights between hidden layers that are all the same: networks do not differ either.
        (problem(3, {"hidden": CONSTANT}), ()),
        (problem(2, {"hidden": CONSTANT, "readout": CONSTANT}), ()),
        (problem(3, {"hidden": [CONSTANT, NORMAL]}), (2,)),  # layer 2 listens and speaks
        (problem(3, {"hidden": [CONSTANT, NORMAL], "input": SIGNS}), (2,)),
        (problem(3, {"hidden": [NORMAL, CONSTANT], "readout": CONSTANT}), (2,)),
        # Biases shift what neurons take in; they do not say what they listen to.
        (problem(3, {"bias": NORMAL}, biases=True), (2,)),
        (problem(2, {"bias": TWO, "readout": CONSTANT}, biases=True), (2,)),
        (problem(2, {"bias": TWO}, biases=True), ()),
        # Correlated weights are functions of labels: nothing is left out.
        (problem(3, {"hidden": EMBEDDING}), ()),
        (problem(3, {"hidden": [EMBEDDING, NORMAL], "readout": CONSTANT}), (3,)),
        # Next to a layer of finite width all weights belong to labels.
        (problem(3, ensembles=["limit", "limit", 3]), ()),
        (problem(3, ensembles=["limit", 3, "limit"]), ()),
        (problem(4, ensembles=["limit", "limit", "limit", 3]), (2,)),
        (problem(5, ensembles=["limit", "limit", "limit", "limit", 3]), (2, 3)),
        # Layers that share their neurons share their label.
        (problem(3, layers=["dense", "dense", {"map": "dense", "skip": 1}]), ()),
        (
            problem(3, {"readout": TWO}, layers=["dense", "dense", {"map": "dense", "skip": 1}]),
            (2, 3),
        ),
        (problem(3, layers=["dense", {"map": "dense", "skip": 1}, "dense"]), ()),
        (problem(4, layers=["dense", "dense", {"map": "dense", "skip": 1}, "dense"]), (2, 3)),
        # What does not move is alike nevertheless: whether anything grows is another question.
        (problem(3, training={"learning_rates": {"hidden": 0.0}}), (2,)),
        # Brownian paths keep neurons apart; a middle layer without biases has nothing that moves.
        (problem(2, {"readout": CONSTANT}, training={"temperature": 0.01}), ()),
        (problem(3, training={"temperature": 0.01}), (2,)),
    ],
)
def test_layers_with_neurons_that_are_alike(asked, layers):
    assert collapsed_layers(asked) == layers


@pytest.mark.parametrize("dimension", [3, "inf"])
def test_populations_and_symmetries_do_not_matter(dimension):
    inputs = {"law": "hypercube", "dimension": dimension}
    data = {"source": "population", "inputs": inputs, "target": {"formula": "x1*x2"}}
    raw = {"network": {"activations": ["tanh"] * 3}, "data": data, "training": {"horizon": 1.0}}
    assert collapsed_layers(Problem.from_dict(raw)) == (2,)
