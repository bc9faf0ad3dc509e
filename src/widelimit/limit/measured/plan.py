"""How many runs of which widths measure an intercept at the least cost.

With counts N_k of widths n_k the intercept of a line in 1/n is Σ c_k ȳ_k, of variance
V Σ c_k²/(n_k N_k), c being that of `Means.combination`. Counts in fixed proportion have a product
of variance and cost that does not depend on how many there are: the least is looked for.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from widelimit.runs.line import Means

PROPORTIONS = 2.0 ** np.arange(-2, 7)
"""Runs of a width for each one of the widest: none is so few that the model is not tested."""


def amplification(widths: Sequence[int], counts: Sequence[float]) -> float:
    """Σ c_k²/(n_k N_k): the variance of the intercept, V being 1.

    >>> round(amplification([1, 2], [1.0, 1.0]), 3)  # 2 y_2 − y_1
    3.0
    """
    n, own = np.asarray(widths, float), np.asarray(counts, float)
    nothing = np.zeros(len(n))
    c = Means(n, own, nothing, nothing, own).combination()
    return float((c**2 / (n * own)).sum())


def proportions(widths: Sequence[int], costs: Sequence[float]) -> tuple[float, ...]:
    """Runs of each width for one of the widest, at the least cost for a given variance."""
    tried = itertools.product(*[PROPORTIONS] * (len(widths) - 1))
    candidates = [(*map(float, own), 1.0) for own in tried]
    return min(candidates, key=lambda own: amplification(widths, own) * _cost(own, costs))


def counts_for(
    widths: Sequence[int], costs: Sequence[float], scatter: float, variance: float
) -> tuple[int, ...]:
    """Runs of each width that bring the variance of the intercept down to so much.

    `scatter` is n·Var of a run.

    >>> counts_for([32, 64, 128], [1.0, 2.0, 5.0], 0.15, 1.6e-5)
    (162, 41, 162)
    """
    own = proportions(widths, costs)
    times = scatter * amplification(widths, own) / variance
    return tuple(max(1, math.ceil(times * share)) for share in own)


def _cost(counts: Sequence[float], costs: Sequence[float]) -> float:
    return float(np.dot(counts, costs))
