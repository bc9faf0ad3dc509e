"""The transformers that are looked at: inputs are tokens on small circles around points.

T tokens stand evenly on a circle, so that averages over them hardly depend on T, and tasks with
different T are one task.
"""

from typing import Any

import numpy as np

from widelimit.papers.measures.descent import by_descent
from widelimit.problem.problem import Problem

HORIZON, STEP, TOKENS = 1.5, 0.1, 3
POINTS, RADIUS = 5, 0.8

HEADS = {"unit": "attention", "key": 2}
LAWS = {
    name: {"law": "uniform", "low": -1.2, "high": 1.2}
    for name in ("query", "key", "value", "output", "input", "readout")
}
"""Heads are products of four parameters: with unbounded laws few of them would do all."""

PLACES = {
    "query": [[1.0, 0.3, -0.5, 0.8], [-0.6, 0.8, 0.4, 1.1]],
    "key": [[0.4, -1.2, 0.9, -0.3], [1.3, 0.5, -0.2, 0.6]],
    "value": [[0.7, -0.4, 1.0, 0.5], [-0.9, 0.6, 0.3, -1.1]],
    "output": [[1.0, 0.5, 0.3, -0.8], [-1.0, -0.5, -0.3, 0.8]],
    "input": [[1.0, 0.3], [-0.6, 0.8]],
    "readout": [[1.0, 0.5], [-0.4, 1.0]],
}

ATOMS = {name: {"law": "atoms", "points": points} for name, points in PLACES.items()}
"""Sixteen kinds of heads, four of perceptrons."""


def data(tokens: int) -> dict[str, Any]:
    """Five inputs: tokens on circles around (x, 1), the target is sin(3x/2)."""
    x = np.linspace(-2.0, 2.0, POINTS)
    angle = 2 * np.pi * (np.arange(tokens) + 0.2) / tokens
    circle = RADIUS * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inputs = np.stack([x, np.ones(POINTS)], axis=1)[:, None] + circle
    rows = inputs.reshape(POINTS, -1).tolist()
    return {"source": "table", "inputs": rows, "targets": np.sin(1.5 * x).tolist()}


def problem(tokens: int = TOKENS, **changes: Any) -> Problem:
    """Blocks of heads, then of perceptrons, that learn five inputs by descent.

    Keys replace those of sections.
    """
    network = {
        "tokens": tokens,
        "blocks": [HEADS, "perceptron"],
        "alternating": True,
        "initial": LAWS,
    }
    own = by_descent("transformers", network, data(tokens), HORIZON, STEP)
    return own.with_changes(**changes)
