"""What networks of several widths say about the limit: values, errors, and whether 1/n serves."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from widelimit.ensemble.system import System
from widelimit.limit.measured.sample import EVERYWHERE
from widelimit.limit.measured.sums import Sample, means_of
from widelimit.limit.search import largest_rms
from widelimit.runs.adequacy import ALARM, Verdict, judged
from widelimit.runs.line import Means, Numbers

SEEN = 2.0
"""What is off the line by so many times its scatter, all noise taken off, is seen to be."""


@dataclass(frozen=True)
class Fit:
    """The regression on 1/n of all variables, over these widths of those that were trained.

    `time_errors` are bounds on what the flow's steps do to each variable `(time, …)`; there are
    none where steps belong to the limit.
    """

    system: System
    table: Mapping[int, Sample]
    widths: tuple[int, ...]
    time_errors: Mapping[str, np.ndarray]

    def means(self, name: str) -> Means:
        """Those of one variable."""
        return means_of(self.table, self.widths, name)

    @cached_property
    def outputs(self) -> Means:
        """The outputs at all points."""
        return self.means(EVERYWHERE)

    def time_error(self, name: str) -> np.ndarray:
        """A bound on what steps do to a variable `(time, …)`."""
        like = self.table[self.widths[0]].own.mean[name]
        return self.time_errors.get(name, np.zeros_like(like))

    def error_of(self, name: str) -> np.ndarray:
        """All errors of a variable together."""
        means = self.outputs if name == EVERYWHERE else self.means(name)
        return self.interval(means) + self.model_error(means) + self.time_error(name)

    def interval(self, means: Means) -> Numbers:
        """The 95 % half-width of an intercept."""
        return means.half_width(means.combination())

    def model_error(self, means: Means) -> Numbers:
        """What the model leaves out of intercepts `(time, …)`, as far as it is seen.

        Of many numbers at a time the root of the mean square, free of what runs scatter; of one
        the number itself, scatter included (`Means.model_error`).
        """
        if means.values[0, 0].size == 1:
            return means.model_error()
        return np.max([self._left_out(means, c)[0] for c in means.left_out()], axis=0)

    def _left_out(self, means: Means, c: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """By time the RMS of a difference without its scatter, and the scatter's own RMS."""
        axes = tuple(range(1, means.values.ndim - 1))
        kept = means.values[0].shape[:1] + (1,) * len(axes)
        square = np.mean(means.estimate(c) ** 2, axis=axes)
        noise = np.mean(means.variance(c), axis=axes)
        return np.sqrt(np.maximum(square - noise, 0)).reshape(kept), np.sqrt(noise).reshape(kept)

    def bent(self, goal: float) -> bool:
        """Whether the narrowest width is seen to be off the line, by what counts for the goal.

        That is a quarter of it, and `SEEN` times the scatter: few outputs are independent.
        """
        means = self.outputs
        found = [self._left_out(means, c) for c in means.left_out()]
        return any(bool((off > np.maximum(SEEN * n, goal / 4)).any()) for off, n in found)

    @cached_property
    def error(self) -> np.ndarray:
        """All errors of the outputs together `(time, point, channel)`."""
        return self.error_of(EVERYWHERE)

    @property
    def rms(self) -> float:
        """The largest, over times, RMS over observed outputs of the error."""
        return largest_rms(self.system, self.error)

    def fixed(self) -> float:
        """The part of the error, RMS, that more runs do not make smaller."""
        model = self.model_error(self.outputs) + self.time_error(EVERYWHERE)
        return largest_rms(self.system, model)

    def scatter(self) -> float:
        """n·Var of a run, the mean over observed outputs at the worst time."""
        return self._worst(self.outputs.scatter)

    @property
    def mirroring_helps(self) -> bool:
        """Whether a pair of mirrored networks is better than two of its kind."""
        return 2 * self.scatter() <= self._worst(self.scatter_of_networks)

    @property
    def scatter_of_networks(self) -> np.ndarray:
        """n·Var of one network `(time, point, channel)`."""
        own = {width: self.table[width].own for width in self.widths}
        each = [n * (sums.variance(EVERYWHERE) + sums.apart) for n, sums in own.items()]
        return np.average(each, axis=0, weights=self.outputs.freedom)

    def _worst(self, scatter: np.ndarray) -> float:
        own = scatter[:, self.system.view("observed")]
        return float(own.mean(axis=(1, 2)).max())

    @cached_property
    def verdict(self) -> Verdict:
        """Whether 1/n serves, for the risk: at the time that speaks most against it.

        Of many times one is off by chance: each has its share of the alarm.
        """
        risk = self.means("risk")
        times = range(risk.values.shape[1])
        found = [judged(_at(risk, time), ALARM / len(times)) for time in times]
        order = [False, True, None]

        def against(own: Verdict) -> tuple[int, float]:
            return order.index(own.adequate), min(own.misfit, own.power.unlike_one)

        return min(found, key=against)


def _at(means: Means, time: int) -> Means:
    """The means of a number at one time."""
    return Means(
        means.widths, means.counts, means.values[:, time], means.variances[:, time], means.freedom
    )
