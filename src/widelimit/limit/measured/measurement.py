"""The measurement of a limit: pilot runs, a plan, runs, a fit; wider where 1/n does not serve."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtri

from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Progress
from widelimit.basics.statistics import step_error
from widelimit.basics.words import duration
from widelimit.ensemble.system import System
from widelimit.limit.measured.fit import Fit
from widelimit.limit.measured.plan import counts_for
from widelimit.limit.measured.sample import EVERYWHERE, Sampler, Shown
from widelimit.limit.measured.sums import Sums
from widelimit.limit.search import largest_rms
from widelimit.problem.problem import Problem

NARROWEST = (32, 64, 128)
"""The widths that a measurement starts with: the widest is four times the narrowest, which costs
least for a given variance (digits; twice and eight times cost 1.5 and 1.2 times as much)."""

PILOT = 8
"""Runs of each width before anything is planned, at least."""

STEPS_SHARE = 0.1
"""The share of the tolerance that steps of the flow may take; also their own tolerance's."""

FINER = 8.0
"""Steps are checked with those of a tolerance so many times as small."""

GROWTH = 8
"""Runs grow at most so many times before the plan is made again."""

CAREFUL = 0.9
"""A plan aims at so much of what is left for the interval: variances are only estimated."""

WIDEST = 1024
"""Wider networks are not trained for a measurement."""

LEAST_TOLERANCE = 2e-6
"""Of steps in single precision."""


@dataclass
class Measurement:
    """The measurement of one problem's limit. What was trained stays in `table`."""

    problem: Problem
    told: Progress
    table: dict[int, Sums] = field(default_factory=dict)
    neurons: dict[int, xr.Dataset] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    work: float = 0.0
    begun: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        tolerance = max(STEPS_SHARE * self.goal, LEAST_TOLERANCE)
        self.sampler = Sampler.of(self.problem, tolerance)
        with in_precision(self.sampler.settings.precision) as dtype:
            self.system = System.of(self.sampler.problem, dtype)

    @property
    def goal(self) -> float:
        """The tolerance that was asked for."""
        return self.problem.limit.tolerance

    def found(self) -> tuple[Fit, str | None]:
        """A fit that reaches the goal, or the best that was allowed and what keeps it from there.

        Raises `Diverged`.
        """
        widths = NARROWEST
        steps = self._steps(widths[1])
        self._train(dict.fromkeys(widths, PILOT))
        self._mirrored_or_not(widths)
        while True:
            fit = Fit(self.system, self.table, widths, steps)
            if self._serves(fit):
                return fit, None
            if fit.bent(self.goal) or fit.verdict.adequate is False:
                wider = tuple(2 * width for width in widths)
                if wider[-1] > WIDEST:
                    return fit, f"1/n does not serve up to width {widths[-1]}"
                asked = {wider[-1]: PILOT}
                if short := self._too_long(asked):
                    return fit, short
                self._train(asked)
                widths = wider
                continue
            asked = self._planned(fit)
            if short := self._too_long(asked):
                return fit, short
            self._train(asked)

    def _serves(self, fit: Fit) -> bool:
        return fit.rms <= self.goal and fit.verdict.adequate is not False

    def _planned(self, fit: Fit) -> dict[int, int]:
        """How many runs of each width bring the interval down to what is left for it."""
        left = max(self.goal - fit.fixed(), self.goal / 2)
        variance = (CAREFUL * left / float(ndtri(0.975))) ** 2
        costs = [self.sampler.cost(width) for width in fit.widths]
        counts = counts_for(fit.widths, costs, fit.scatter(), variance)
        have = {width: self.table[width].runs for width in fit.widths}
        asked = {w: min(n, GROWTH * have[w]) for w, n in zip(fit.widths, counts, strict=True)}
        if all(asked[w] <= have[w] for w in asked):  # the plan is reached, and the error is not
            return {w: math.ceil(1.25 * have[w]) for w in asked}
        return asked

    def _too_long(self, asked: dict[int, int]) -> str | None:
        """That runs would take longer than `max_seconds` allow, and what they are."""
        most = self.problem.limit.max_seconds
        needed = self._forecast(asked)
        if most is None or time.perf_counter() - self.begun + needed <= most:
            return None
        runs = ", ".join(f"{n} of width {w}" for w, n in asked.items())
        return f"it would take {runs}, about {duration(needed)} more, and limit.max_seconds is less"

    def _forecast(self, asked: dict[int, int]) -> float:
        """Seconds that runs take which are not there, at the pace of those that are."""
        left = {w: max(0, n - self._count(w)) for w, n in asked.items()}
        work = sum(n * self.sampler.cost(w) for w, n in left.items())
        return work * self.seconds / self.work if self.work else 0.0

    def _count(self, width: int) -> int:
        return self.table[width].runs if width in self.table else 0

    def _train(self, asked: dict[int, int]) -> None:
        """Train runs until there are at least so many of each width."""
        todo = {
            width: range(self._count(width) // size, math.ceil(count / size))
            for width, count in asked.items()
            for size in [self.sampler.together(width)]
        }
        self.told.expect(sum(map(len, todo.values())))
        for width, numbers in todo.items():
            if len(numbers) == 0:
                continue
            started = time.perf_counter()
            for shown in self.sampler.groups(width, numbers, self.told):
                self._keep(width, shown)
            self.seconds += time.perf_counter() - started
            self.work += len(numbers) * self.sampler.together(width) * self.sampler.cost(width)

    def _keep(self, width: int, shown: Shown) -> None:
        before = self.table.get(width)
        self.table[width] = shown.sums if before is None else before.joined(shown.sums)
        self.neurons.setdefault(width, shown.neurons)
        self.axes = shown.axes

    def _mirrored_or_not(self, widths: tuple[int, ...]) -> None:
        """Pairs of mirrored networks are kept where a pair is better than two of its kind."""
        if not self.sampler.mirrored:
            return
        fit = Fit(self.system, self.table, widths, {})
        if 2 * fit.scatter() <= fit.scatter_of_one():
            return
        self.sampler = replace(self.sampler, mirrored=False)
        self.table, self.neurons = {}, {}
        self._train(dict.fromkeys(widths, PILOT))

    def _steps(self, width: int) -> dict[str, np.ndarray]:
        """Bounds on what the flow's steps do to every variable, small enough for outputs.

        The same networks with finer steps; tolerances become smaller until that is little.
        """
        if not self.sampler.by_flow:
            return {}
        coarse = self._first(self.sampler, width)
        while True:
            finer = replace(self.sampler, tolerance=self.sampler.tolerance / FINER)
            fine = self._first(finer, width)
            errors = {name: step_error(own, fine[name]) for name, own in coarse.items()}
            small = largest_rms(self.system, errors[EVERYWHERE]) <= STEPS_SHARE * self.goal
            if small or finer.tolerance <= LEAST_TOLERANCE:
                return errors
            self.sampler, coarse = finer, fine

    def _first(self, sampler: Sampler, width: int) -> Mapping[str, np.ndarray]:
        """The means of a width's first group."""
        return sampler.group(width, 0, self.told).sums.mean


def in_words(measurement: Measurement, fit: Fit) -> dict[str, Any]:
    """How a limit was measured, as attributes."""
    sampler = measurement.sampler
    networks = {w: measurement.table[w].runs * (1 + sampler.mirrored) for w in fit.widths}
    return {
        "widths_used": list(fit.widths),
        "networks_used": list(networks.values()),
        "mirrored": int(sampler.mirrored),
        "method": sampler.settings.method,
        "step_tolerance": sampler.tolerance if sampler.by_flow else 0.0,
    }
