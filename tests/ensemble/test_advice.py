"""What is said before computing, and what is not said without reason."""

import pytest

from conftest import small_problem
from widelimit.ensemble.advice import examine


def said(problem, word):
    return [sentence for sentence in examine(problem) if word in sentence]


def mean_zero(depth, activation="tanh"):
    initial = {"hidden": {"law": "normal", "mean": 0.0}}
    return small_problem(depth, network={"activations": [activation] * depth, "initial": initial})


def test_nothing_is_said_about_an_ordinary_problem():
    assert examine(small_problem(1)) == []
    assert examine(small_problem(2)) == []


@pytest.mark.parametrize(
    ("problem", "stuck"),
    [
        (mean_zero(2), False),  # two hidden layers move at zero mean
        (mean_zero(3), True),
        (mean_zero(4), True),
        (mean_zero(3, "sigmoid"), False),  # φ(0) ≠ 0: the top layers learn
        (small_problem(3), False),
    ],
)
def test_a_limit_that_cannot_move(problem, stuck):
    found = said(problem, "cannot move")
    assert bool(found) == stuck
    if stuck:
        assert "use hidden weights with a non-zero mean" in found[0]


def test_frozen_networks_and_minima_are_told_from_saddles():
    rates = {"input": 0.0, "readout": 0.0}
    frozen = small_problem(training={"horizon": 1.0, "learning_rates": rates})
    assert said(frozen, "all learning rates are 0")
    zeros = {"source": "table", "inputs": [0.5, 1.0], "targets": [0.0, 0.0]}
    silent = {"law": "atoms", "points": [[1.0, 0.0]]}
    network = {"activations": ["tanh"], "initial": {"neuron": silent}}
    assert said(small_problem(data=zeros, network=network), "starts at a minimum")


def test_unbounded_activations_are_outside_the_theorems():
    problem = small_problem(2, network={"activations": ["relu", "tanh"]})
    assert len(said(problem, "outside the theorems' assumptions")) == 1


def test_collapse_is_explained():
    assert "hidden layer 2 are alike" in said(small_problem(3), "alike")[0]
    assert "layers 2, 3 and 4 are alike" in said(small_problem(5), "alike")[0]
    bias = {"law": "normal"}
    network = {"activations": ["tanh"] * 3, "biases": True, "initial": {"bias": bias}}
    assert (
        "layer 2 are alike, but for their biases"
        in said(small_problem(3, network=network), "alike")[0]
    )
    constant = {"activations": ["tanh"] * 2, "initial": {"readout": {"law": "normal", "std": 0.0}}}
    assert "hidden layer 2 are alike" in said(small_problem(2, network=constant), "alike")[0]


@pytest.mark.parametrize("method", ["sgd", "gd"])
def test_large_steps(method):
    small = small_problem(networks={"widths": [64], "method": method})
    large = small_problem(networks={"widths": [64], "method": method, "step": 20.0})
    assert not said(small, "too large")
    assert "use a step below" in said(large, "too large")[0]


def test_step_bound_for_gradient_descent_is_sharp():
    """Linear problem (readout only): descent converges below 2/λ_max and not above."""
    from widelimit import train

    neuron = {"law": "atoms", "points": [[1.0, 0.0], [-0.5, 0.3]]}

    def problem(step, horizon=400.0):
        return small_problem(
            network={"activations": ["tanh"], "initial": {"neuron": neuron}},
            data={"source": "table", "inputs": [0.5, 2.0], "targets": [0.3, -0.2]},
            training={"horizon": horizon, "learning_rates": {"input": 0.0}},
            networks={"widths": [8], "seeds": 1, "method": "gd", "step": step},
        )

    bound = float(said(problem(50.0, 50.0), "too large")[0].split("a step below ")[1].split(",")[0])
    assert not said(problem(0.8 * bound), "too large")
    risks = {
        factor: float(train(problem(factor * bound), progress=False).dataset.risk[0, 0, -1])
        for factor in (0.6, 2.5)
    }
    assert risks[0.6] < 0.1
    assert risks[2.5] > 10 * risks[0.6]
