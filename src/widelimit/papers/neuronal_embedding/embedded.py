"""Problems whose weights between layers are functions of labels, or independent of them."""

from widelimit.papers.data import eight_points
from widelimit.problem.problem import Problem

HORIZON = 2.0

UNIFORM = {"law": "uniform", "low": -1.0, "high": 1.0}
LAWS = {"input": {"law": "uniform", "low": -2.0, "high": 2.0}, "readout": {**UNIFORM, "high": 3.0}}
INDEPENDENT = {"law": "normal", "mean": 1.0, "std": 0.5}
CORRELATED = {"law": "embedding", "family": "features", "mean": 1.0, "scale": 1.0, "size": 2}


def problem(depth: int, hidden: dict, biases: bool = False, **changes) -> Problem:
    """Eight points with two inputs, a smooth target."""
    laws = {
        **LAWS,
        **({"hidden": hidden} if depth > 1 else {}),
        **({"bias": UNIFORM} if biases else {}),
    }
    return Problem.from_dict(
        {
            "title": f"neuronal embedding, {depth} hidden layers",
            "network": {"activations": ["tanh"] * depth, "biases": biases, "initial": laws},
            "data": eight_points(),
            "training": {"horizon": HORIZON},
            "limit": {"tolerance": 6e-3},
            "observe": {"times": 4},
        }
    ).with_changes(**changes)
