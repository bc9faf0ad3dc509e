"""The residual networks that are looked at, of many shapes, and their limit.

Tanh perceptrons on a stream of two numbers, x and a constant; frozen ends. Units are drawn from
normal laws, or are of few kinds, of which an infinitely wide block has each once.
"""

from typing import Any

import numpy as np

from widelimit.papers.measures.descent import by_descent
from widelimit.problem.problem import Problem

HORIZON, STEP = 3.0, 0.1
"""Gradient descent takes steps of 0.1: the theorems are about a fixed number of steps."""

NORMAL = {"input": {"law": "normal"}, "readout": {"law": "normal"}}

INPUTS = [[1.0, 0.3], [-0.6, 0.8], [0.4, -1.2], [-1.3, -0.5]]
READOUTS = [[1.0, 0.5], [-1.0, -0.5], [0.4, -1.0], [-0.4, 1.0]]

ATOMS = {
    "input": {"law": "atoms", "points": INPUTS},
    "readout": {"law": "atoms", "points": READOUTS},
}
"""Sixteen kinds of units."""

DEPTH_NODES = 32
"""Of the mean ODE, at least, by a rule of second order."""


def data(points: int = 9) -> dict[str, Any]:
    """sin(3x/2) at so many points, a constant beside x."""
    x = np.linspace(-2.0, 2.0, points)
    inputs = np.stack([x, np.ones(points)], axis=1)
    return {"source": "table", "inputs": inputs.tolist(), "targets": np.sin(1.5 * x).tolist()}


def problem(**changes: Any) -> Problem:
    """Networks that learn nine points by descent; keys replace those of sections."""
    own = by_descent("residual networks", {"initial": NORMAL}, data(), HORIZON, STEP)
    return own.with_changes(**changes)


def of_atoms(depth: int | str, **changes: Any) -> Problem:
    """The same by gradient flow, with sixteen kinds of units: no law has an error of quadrature."""
    network = {"depth": depth, "initial": ATOMS, **changes.pop("network", {})}
    nodes = 16 * (depth if isinstance(depth, int) else DEPTH_NODES)
    limit = {"nodes": [nodes], "tolerance": 1e-6}
    return problem(**{"network": network, "limit": limit, **changes})


def in_dimension(stream: int, complete: bool) -> Problem:
    """One task in all dimensions D, with residual scale √D (`complete`) or 1.

    Inputs x·(1, −1, 1, −1, …) + (1, 1, −1, −1, …) have entries of order one, and the output reads
    the direction (1, …, 1)/√D, at right angles to them; normal laws have no directions. So D is in
    nothing but the sizes of vectors, w and its rate are those of unit pre-activations, and the
    limits hardly differ.
    """
    whole = np.asarray(data()["inputs"])[:, 0]
    signs = np.tile([[1.0, -1.0, 1.0, -1.0], [1.0, 1.0, -1.0, -1.0]], (1, stream // 4))
    reading = {"law": "normal", "mean": stream**-0.5, "std": 0.0}
    return problem(
        network={
            "residual_scale": float(np.sqrt(stream)) if complete else 1.0,
            "initial": {"unembedding": reading},
        },
        data={**data(), "inputs": (np.outer(whole, signs[0]) + signs[1]).tolist()},
        training={"learning_rates": {"input": 1 / stream}},
    )
