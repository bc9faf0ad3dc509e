"""What is kept of the networks that measure a limit: means and sums of squares, never all runs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from widelimit.runs.line import Means


class Sums(NamedTuple):
    """How many runs there were, their mean and the sum of squares about it, variable by variable.

    `apart` is the mean over runs of what variances lost because a run is a pair of mirrored
    networks: that of one network is the variance of runs and this.
    """

    runs: int
    mean: Mapping[str, np.ndarray]
    squares: Mapping[str, np.ndarray]
    apart: np.ndarray

    @classmethod
    def of(cls, values: Mapping[str, np.ndarray], apart: np.ndarray) -> "Sums":
        """Of runs `(run, …)`; `apart (run, …)` is that of the outputs."""
        mean = {name: own.mean(axis=0) for name, own in values.items()}
        squares = {name: ((own - mean[name]) ** 2).sum(axis=0) for name, own in values.items()}
        return cls(len(apart), mean, squares, apart.mean(axis=0))

    def joined(self, other: "Sums") -> "Sums":
        """Of the runs of both (Chan, Golub & LeVeque 1983)."""
        count = self.runs + other.runs
        share, both = other.runs / count, self.runs * other.runs / count
        mean, squares = {}, {}
        for name, own in self.mean.items():
            step = other.mean[name] - own
            mean[name] = own + share * step
            squares[name] = self.squares[name] + other.squares[name] + both * step**2
        return Sums(count, mean, squares, self.apart + share * (other.apart - self.apart))

    def variance(self, name: str) -> np.ndarray:
        """Of one run."""
        return self.squares[name] / (self.runs - 1)


def means_of(table: Mapping[int, Sums], widths: Sequence[int], name: str) -> Means:
    """The means of one variable at these widths, and the variances of a run."""
    own = [table[width] for width in widths]
    counts = np.array([sums.runs for sums in own])
    return Means(
        np.asarray(widths, float),
        counts,
        np.stack([sums.mean[name] for sums in own]),
        np.stack([sums.variance(name) for sums in own]),
        counts - 1,
    )
