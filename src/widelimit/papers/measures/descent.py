"""Residual networks that learn by gradient descent, looked at when they have learned."""

from typing import Any

from widelimit.problem.problem import Problem


def by_descent(
    title: str, network: dict[str, Any], data: dict[str, Any], horizon: float, step: float
) -> Problem:
    """The same step at all depths and widths, double precision, the last time alone."""
    return Problem.from_dict(
        {
            "title": title,
            "network": {"architecture": "residual", **network},
            "data": data,
            "training": {"horizon": horizon},
            "observe": {"times": [horizon]},
            "networks": {
                "shapes": [[4, 4]],
                "seeds": 2,
                "method": "gd",
                "step": step,
                "precision": "float64",
            },
        }
    )
