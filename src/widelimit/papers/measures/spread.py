"""Outputs `(network, output)` of many networks: how they scatter, and how far they are from home.

All are samples, one for each network, of a mean square over outputs.
"""

from collections.abc import Sequence

import numpy as np

from widelimit.networks.train import train
from widelimit.papers.claims import Measured, mean
from widelimit.problem.problem import Problem


def trained(asked: Problem, shapes: list[list[int]], seeds: int) -> list[np.ndarray]:
    """Outputs at the last time of residual networks [L, M], shape by shape."""
    networks = {"shapes": shapes, "seeds": seeds, "states": 1}
    found = train(asked.with_changes(networks=networks), progress=False)
    values = found.dataset.output.isel(time=-1).values.astype(float)
    return list(values.reshape(len(shapes), seeds, -1))


def scattered(outputs: np.ndarray) -> np.ndarray:
    """(f − f̄)² S/(S − 1), f̄ being the mean over S networks: free of bias."""
    count = len(outputs)
    return apart(outputs, outputs.mean(axis=0)) * count / (count - 1)


def apart(outputs: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(f − g)²."""
    return ((outputs - others) ** 2).mean(axis=1)


def times_larger(first: np.ndarray, second: np.ndarray, factor: int | float) -> Measured:
    """The exponent of a root mean square between two sizes, the second `factor` times the first."""
    one, two = mean(first), mean(second)
    relative = float(np.hypot(one.error / one.value, two.error / two.value))
    scale = 0.5 / np.log(factor)
    return Measured(
        float(scale * np.log(two.value / one.value)),
        float(scale * relative),
        min(one.freedom, two.freedom),
    )


def shifted(moved: np.ndarray) -> np.ndarray:
    """Samples of the mean square of E m, from differences `m (network, output)` of two networks.

    Products of two networks' differences: their scatter is independent, and falls out.
    """
    pairs = len(moved) // 2
    return (moved[:pairs] * moved[pairs : 2 * pairs]).mean(axis=1)


def local_exponent(sizes: Sequence[int | float], values: Sequence[float]) -> Measured:
    """The exponent between the last two sizes, of numbers that are computed and do not scatter.

    The error is the change from the exponent one size earlier.
    """
    slopes = np.diff(np.log(values)) / np.diff(np.log(sizes))
    return Measured(float(slopes[-1]), float(abs(slopes[-1] - slopes[-2])))
