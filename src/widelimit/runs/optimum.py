"""The best learning rate from losses at several: a parabola through the best few, in logarithms."""

from typing import NamedTuple

import numpy as np

BESIDE = 2
"""Rates on either side of the best one that a parabola is fitted to."""


class Valley(NamedTuple):
    """Loss against log η near its least: loss ≈ least + curvature/2 (log η − log η*)²."""

    log_rate: float
    least: float
    curvature: float

    def lost(self, log_rate: float) -> float:
        """How much more the loss is at another rate."""
        return 0.5 * self.curvature * (log_rate - self.log_rate) ** 2


def at_edge(losses: np.ndarray) -> int:
    """−1 if the smallest rate is the best, 1 if the largest that did not diverge is, else 0.

    Where larger rates diverged (NaN) the best is not at the edge of what was tried.
    """
    best = int(np.nanargmin(losses))
    return -1 if best == 0 else 1 if best == len(losses) - 1 else 0


def valley(log_rates: np.ndarray, losses: np.ndarray) -> Valley | None:
    """The parabola through the best rate and its neighbours; None where it does not open upwards.

    `losses` may be NaN where runs diverged. On a coarse grid the vertex is kept between the best
    rate's neighbours.

    >>> x = np.log([0.1, 0.2, 0.4, 0.8])
    >>> found = valley(x, 1 + (x - np.log(0.3)) ** 2)
    >>> round(float(np.exp(found.log_rate)), 6), round(found.least, 6)
    (0.3, 1.0)
    """
    best = int(np.nanargmin(losses))
    near = np.arange(max(0, best - BESIDE), min(len(losses), best + BESIDE + 1))
    near = near[np.isfinite(losses[near])]
    if len(near) < 3:
        return None
    centre = log_rates[best]
    a, b, c = np.polyfit(log_rates[near] - centre, losses[near], 2)
    if a <= 0:
        return None
    apart = np.diff(log_rates)
    low, high = apart[max(0, best - 1)], apart[min(best, len(apart) - 1)]
    vertex = float(np.clip(-b / (2 * a), -low, high))
    return Valley(float(centre + vertex), float(c + b * vertex + a * vertex**2), float(2 * a))
