"""Data that several reproductions share."""

import numpy as np


def eight_points() -> dict:
    """A data section: eight points with two inputs, a smooth target without noise."""
    x = np.random.default_rng(5).normal(size=(8, 2))
    targets = np.sin(x[:, 0]) + 0.5 * x[:, 1]
    return {"source": "table", "inputs": x.tolist(), "targets": targets.tolist()}
