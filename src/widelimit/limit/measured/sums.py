"""What is kept of the networks that measure a limit: means and sums of squares, never all runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
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


class Sample(NamedTuple):
    """What is kept of one width: runs (`own`); with a coreset also their differences from likes
    that learn from it, and other likes.
    """

    own: Sums
    differences: Sums | None = None
    likes: Sums | None = None

    def joined(self, other: "Sample") -> "Sample":
        """Of the runs of both."""
        return Sample(
            self.own.joined(other.own), _both(self.differences, other.differences), self.likes
        )

    def with_likes(self, likes: Sums) -> "Sample":
        """And with these likes too."""
        return self._replace(likes=_both(self.likes, likes))

    @property
    def likes_for_each(self) -> float:
        """Other likes for each run; 0 without."""
        return self.likes.runs / self.own.runs if self.differences and self.likes else 0.0


def _both(one: Sums | None, other: Sums | None) -> Sums | None:
    return one.joined(other) if one and other else one or other


def means_of(table: Mapping[int, Sample], widths: Sequence[int], name: str) -> Means:
    """The means of one variable at these widths, and the variances of a run.

    By the control variate where it makes variances smaller.
    """
    samples = [table[width] for width in widths]
    own = [sample.own for sample in samples]
    counts = np.array([sums.runs for sums in own])
    plain = Means(
        np.asarray(widths, float),
        counts,
        np.stack([sums.mean[name] for sums in own]),
        np.stack([sums.variance(name) for sums in own]),
        counts - 1,
    )
    likes = min(sample.likes_for_each for sample in samples)
    both = (plain, _controlled(plain, samples, likes, name)) if likes >= 1 else (plain,)
    return min(both, key=lambda means: float(np.sum(means.scatter)))


def _controlled(plain: Means, samples: Sequence[Sample], likes: float, name: str) -> Means:
    """E y = E[y − z] + E z, with the variance that so many likes for each run make at every width.

    Its squares are at least as many as those of the fewer of both, the runs (Welch, Satterthwaite).
    """
    pairs = [(s.differences, s.likes) for s in samples if s.differences and s.likes]
    return replace(
        plain,
        values=np.stack([d.mean[name] + z.mean[name] for d, z in pairs]),
        variances=np.stack([d.variance(name) + z.variance(name) / likes for d, z in pairs]),
    )
