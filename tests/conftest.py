"""Shared by all tests: small problems, and folders with results of one small run."""

import jax
import numpy as np
import pytest

from widelimit import Problem

jax.config.update("jax_numpy_rank_promotion", "allow")


def table(points: int = 8, inputs: int = 2, seed: int = 0) -> dict:
    """A smooth regression problem as a data section."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(points, inputs))
    y = np.sin(x[:, 0]) + 0.5 * np.cos(2 * x[:, -1])
    return {"source": "table", "inputs": x.tolist(), "targets": y.tolist()}


def small_problem(depth: int = 1, **sections) -> Problem:
    """A problem that solves in a second; sections given as keyword arguments replace parts."""
    raw = {
        "network": {"activations": ["tanh"] * depth},
        "data": table(),
        "training": {"horizon": 1.0},
        "observe": {"times": 3},
        "networks": {"widths": [8, 16, 32], "seeds": 5},
    }
    return Problem.from_dict({**raw, **sections})


@pytest.fixture
def problem_file(tmp_path):
    """A problem file on disk that `run` finishes in seconds."""
    path = tmp_path / "problem.toml"
    path.write_text(small_problem(depth=2).to_toml(), encoding="utf-8")
    return path
