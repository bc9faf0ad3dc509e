"""A framework's network at its own width is one of ours: step by step, by PyTorch."""

import numpy as np
import pytest

from conftest import small_problem, table
from widelimit import train

torch = pytest.importorskip("torch")

WIDTH, STEPS, RATE = 16, 8, 0.05

UNIFORM = {
    "input": {"law": "uniform", "low": -(2**-0.5), "high": 2**-0.5},
    "hidden": {"law": "uniform", "low": -0.25, "high": 0.25},
    "readout": {"law": "uniform", "low": -0.25, "high": 0.25},
    "bias": {"law": "uniform", "low": -0.25, "high": 0.25},
}
"""PyTorch's laws: uniform on ±1/√fan-in."""

OPTIMISERS = {
    "sgd": ({}, lambda ps: torch.optim.SGD(ps, RATE)),
    "momentum": ({"momentum": {"friction": 0.1}}, lambda ps: torch.optim.SGD(ps, RATE, 0.9)),
    "decay": (
        {"weight_decay": {"input": 0.02, "hidden": 0.02, "readout": 0.02}},
        lambda ps: torch.optim.SGD(ps, RATE, weight_decay=0.02),
    ),
    "adam": ({"adam": {"betas": [0.9, 0.99]}}, lambda ps: torch.optim.Adam(ps, RATE, (0.9, 0.99))),
    "adamw": (
        {
            "adam": {"betas": [0.9, 0.99], "epsilon": 1e-3},
            "weight_decay": {"input": 0.02, "hidden": 0.02, "readout": 0.02},
        },
        lambda ps: torch.optim.AdamW(ps, RATE, (0.9, 0.99), eps=1e-3, weight_decay=0.02),
    ),
}


def module_of(states):
    """The network as its owner has it: weights of our network at time 0, in the usual notation."""
    at = {name: states[name].isel(time=0, missing_dims="ignore").values for name in states}
    weights = [at["input"], at["hidden_2"].T / WIDTH, at["hidden_3"].T / WIDTH]
    weights.append(at["readout"].T / WIDTH)
    biases = [*(at[f"bias_{layer}"] for layer in (1, 2, 3)), at["output_bias"]]
    layers = []
    for weight, bias in zip(weights, biases, strict=True):
        layer = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.weight.data, layer.bias.data = torch.tensor(weight), torch.tensor(bias)
        layers += [layer, torch.nn.Tanh()]
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("name", OPTIMISERS)
def test_training_is_the_same_step_by_step(name):
    own, optimiser_of = OPTIMISERS[name]
    problem = small_problem(
        network={
            "activations": ["tanh"] * 3, "biases": True, "output_bias": True,
            "parametrisation": "mup", "base_width": WIDTH, "initial": UNIFORM,
        },
        training={
            "horizon": float(STEPS),
            "learning_rates": dict.fromkeys(("input", "hidden", "readout"), RATE), **own,
        },
        networks={
            "widths": [WIDTH], "seeds": 1, "method": "gd", "step": 1.0, "precision": "float64",
        },
        observe={"times": STEPS + 1},
    )  # fmt: skip
    trained = train(problem)
    module = module_of(trained.states[f"width_{WIDTH}_{WIDTH}_{WIDTH}"].to_dataset())
    for layer, bound in zip(list(module)[::2], (2**-0.5, 0.25, 0.25, 0.25), strict=True):
        largest = float(
            layer.weight.detach().abs().max()
        )  # of 16 numbers or more, uniform on ± bound
        assert 0.7 * bound < largest <= bound * (1 + 1e-12)
    x, y = (torch.tensor(np.asarray(table()[key])) for key in ("inputs", "targets"))
    optimiser, found = optimiser_of(module.parameters()), []
    for _ in range(STEPS + 1):
        outputs = module(x)[:, 0]
        found.append(outputs.detach().numpy())
        optimiser.zero_grad()
        (0.5 * ((outputs - y) ** 2).mean()).backward()
        optimiser.step()
    ours = trained.dataset["output"].values[0, 0, :, :, 0]
    assert np.ptp(found, axis=0).max() > 0.05  # something has been learnt
    assert np.abs(ours - np.stack(found)).max() < 1e-5
