"""Every rule, loss and activation in both worlds: networks come to the limit like width^(-1/2)."""

import numpy as np
import pytest

from conftest import small_problem
from widelimit import compare, solve, train


def regression():
    """Four smooth targets at 16 points of the plane."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 2))
    y = [np.sin(x[:, 0]), np.cos(2 * x[:, 1]), x[:, 0] * x[:, 1] / 2, np.tanh(x[:, 0] - x[:, 1])]
    return {"source": "table", "inputs": x.tolist(), "targets": np.stack(y, 1).tolist()}


def classes():
    """The sign of x_1 x_2, and which of the sectors a point is in."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 2))
    labels = ((x[:, 0] > 0) + (x[:, 1] > 0)).astype(float)
    return {"source": "table", "inputs": x.tolist(), "targets": labels.tolist(), "classes": True}


def of_loss(loss, data):
    """A problem with another loss."""
    return {"data": data, "training": {"horizon": 1.0, "loss": loss}}


def of_rule(networks=None, **training):
    """A problem with another rule."""
    return {"training": {"horizon": 1.0} | training, "networks": networks or {}}


def of_activation(name):
    """A problem with another activation in both layers."""
    return {"network": {"activations": [name] * 2}}


def of_growing_activation(name):
    """The same with a quarter of the rates for four times as long: the same limit, shorter steps.

    SGD's step ε = 1/32 of the narrowest networks times the largest eigenvalue of K_0(x, x) would be
    1.6 (leaky relu), 2.0 (gelu), 1.4 (silu), 1.0 (softplus), 0.3 (tanh); one step overshoots from 1
    on and grows from 2 on. n · variance at the end over widths 32, 96, 288, 864 (60 seeds):
    gelu .48 .27 .27 .22, leaky relu .41 .26 .25 .20, a slope of −.62 and −.60 made by the
    narrowest. With these rates gelu has .15 .14 .16, leaky relu .14 .13 .15 (to width 288), and
    gelu with gradient flow .12 .11 .13: the width is no reason, the step is.
    """
    rates = dict.fromkeys(("input", "hidden", "readout"), 0.25)
    return of_activation(name) | {"training": {"horizon": 4.0, "learning_rates": rates}}


ITEMS = {
    "huber": of_loss({"loss": "huber", "width": 0.3}, regression()),
    "output activation": of_loss({"loss": "squared", "output_activation": "tanh"}, regression()),
    "logistic": of_loss("logistic", classes()),
    "softmax": of_loss("softmax", classes()),
    "weight decay": of_rule(weight_decay={"input": 0.5, "hidden": 1.0, "readout": 0.2}),
    "heavy ball": of_rule(momentum={"friction": 2.0}, weight_decay=0.1),
    "adam": of_rule(
        {"method": "gd", "step": 0.005}, adam={"batch": "all", "delta": 0.1}, weight_decay=0.1
    ),
    "adam, batch 4": of_rule({"batch": 4}, adam={"batch": 4, "delta": 0.1}),
    "label noise": of_rule(label_noise=0.1),
    "rates of their own": of_rule(
        learning_rates={
            "input": {"schedule": "power", "value": 2.0, "exponent": 0.75, "time": 0.3},
            "hidden": {"schedule": "cosine", "value": 2.0, "time": 0.8, "low": 0.2},
            "readout": {"schedule": "exponential", "value": 2.0, "time": 0.5},
        }
    ),
    "distinct points": of_rule({"batch": 4, "draw": "distinct"}),
    "epochs": of_rule({"batch": 4, "draw": "epochs"}),
    "scale": {"network": {"activations": ["tanh"] * 2, "scale": 3.0}},
    "cos": of_activation("cos"),
    **{name: of_growing_activation(name) for name in ("leaky relu", "gelu", "silu", "softplus")},
}


@pytest.mark.slow
@pytest.mark.parametrize("item", ITEMS)
def test_networks_come_to_the_limit(item):
    """Exponent −1/2 ± 0.1 with 60 seeds (the fit scatters by about 0.03; seeds are fixed)."""
    hidden = {"initial": {"hidden": {"law": "normal", "mean": 1.0, "std": 0.5}}}
    sections = {
        "network": {"activations": ["tanh"] * 2},
        "data": regression(),
        "training": {"horizon": 1.0},
        "networks": {},
    } | ITEMS[item]
    sections["network"] = sections["network"] | hidden
    sections["networks"] = {"widths": [32, 96, 288], "seeds": 60} | sections["networks"]
    problem = small_problem(**sections, limit={"tolerance": 2e-3}, observe={"times": 2})
    fit = compare(solve(problem, progress=False), train(problem, progress=False)).exponent[-1]
    print(f"\n{item}: {fit}", end="")
    assert fit is not None
    assert abs(fit["value"] + 0.5) < 0.1
