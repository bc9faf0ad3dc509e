"""The measurement of a limit: pilot runs, a plan, runs, a fit; wider where 1/n does not serve."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.special import ndtri

from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Progress
from widelimit.basics.statistics import step_error
from widelimit.basics.words import duration
from widelimit.ensemble.system import System
from widelimit.limit.measured.coreset import Coreset, coreset_of
from widelimit.limit.measured.fit import Fit
from widelimit.limit.measured.levels import Levels
from widelimit.limit.measured.plan import counts_for
from widelimit.limit.measured.sample import EVERYWHERE, Sampler
from widelimit.limit.measured.trained import Trained
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

MUCH = 64.0
"""A coreset is tried where a plan takes so many times the work of the pilot runs: it needs a pilot
and compilations of its own."""

LONG = 60.0
"""What takes so many seconds is told when it is planned."""

CAREFUL = 0.9
"""A plan aims at so much of what is left for the interval: variances are only estimated."""

WIDEST = 1024
"""Wider networks are not trained for a measurement."""

LEAST_TOLERANCE = 2e-6
"""Of steps in single precision."""


@dataclass
class Measurement:
    """The measurement of one problem's limit. What was trained stays in `trained`."""

    problem: Problem
    told: Progress

    def __post_init__(self) -> None:
        tolerance = max(STEPS_SHARE * self.goal, LEAST_TOLERANCE)
        self.trained = Trained(Levels(Sampler.of(self.problem, tolerance)), self.told)
        with in_precision(self.sampler.settings.precision) as dtype:
            self.system = System.of(self.sampler.problem, dtype)

    @property
    def sampler(self) -> Sampler:
        """Of the networks that learn from all data."""
        return self.trained.sampler

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
        self._pilot(widths, steps)
        while True:
            fit = self._fit(widths, steps)
            if self._serves(fit):
                return fit, None
            if fit.bent(self.goal) or fit.verdict.adequate is False:
                wider = tuple(2 * width for width in widths)
                if wider[-1] > WIDEST:
                    return fit, f"1/n does not serve up to width {widths[-1]}"
                asked = {wider[-1]: PILOT}
                if short := self._too_long(asked):
                    return fit, short
                self.trained.train(asked)
                widths = wider
                continue
            asked = self._planned(fit)
            if short := self._too_long(asked):
                self.trained.train(self.trained.within(asked, self.problem.limit.max_seconds or 0))
                return self._fit(widths, steps), short
            self.trained.train(asked)

    def _fit(self, widths: tuple[int, ...], steps: Mapping[str, np.ndarray]) -> Fit:
        return Fit(self.system, self.trained.table, widths, steps)

    def _serves(self, fit: Fit) -> bool:
        return fit.rms <= self.goal and fit.verdict.adequate is not False

    def _wanted(self, fit: Fit) -> dict[int, int]:
        """How many runs of each width bring the interval down to what is left for it."""
        left = max(self.goal - fit.fixed(), self.goal / 2)
        variance = (CAREFUL * left / float(ndtri(0.975))) ** 2
        costs = [self.trained.levels.cost(width) for width in fit.widths]
        counts = counts_for(fit.widths, costs, fit.scatter(), variance)
        return dict(zip(fit.widths, counts, strict=True))

    def _planned(self, fit: Fit) -> dict[int, int]:
        """The runs of the next round."""
        have = {width: self.trained.count(width) for width in fit.widths}
        asked = {w: min(n, GROWTH * have[w]) for w, n in self._wanted(fit).items()}
        if all(asked[w] <= have[w] for w in asked):  # the plan is reached, and the error is not
            return {w: math.ceil(1.25 * have[w]) for w in asked}
        return asked

    def _too_long(self, asked: dict[int, int]) -> str | None:
        """That runs would take longer than `max_seconds` allow, and what they are."""
        most = self.problem.limit.max_seconds
        needed = self.trained.forecast(asked)
        if most is None or time.perf_counter() - self.trained.begun + needed <= most:
            return None
        runs = ", ".join(f"{n} of width {w}" for w, n in asked.items())
        return f"it would take {runs}, about {duration(needed)} more, and limit.max_seconds is less"

    def _tell(self, fit: Fit) -> None:
        """Say what a plan takes, where that is long."""
        wanted = {} if self._serves(fit) else self._wanted(fit)
        if (seconds := self.trained.forecast(wanted)) > LONG:
            runs = ", ".join(f"{n} of width {w}" for w, n in wanted.items())
            self.told.say(
                f"± {self.goal:g} takes about {duration(seconds)}: runs, {runs} (outputs of a run "
                f"have a variance of {fit.scatter():.2g}/width)"
            )

    def _pilot(self, widths: tuple[int, ...], steps: Mapping[str, np.ndarray]) -> None:
        """Train the runs that plans are made from, and choose what is trained from then on."""
        pilot = dict.fromkeys(widths, PILOT)
        self.trained.train(pilot)
        if self.sampler.mirrored and not self._fit(widths, {}).mirroring_helps:
            self.trained.again(Levels(replace(self.sampler, mirrored=False)))
            self.trained.train(pilot)
        fit = self._fit(widths, steps)
        if coreset := self._coreset(fit):
            view = self.system.view("observed")
            self.trained.again(self.trained.levels.with_coreset(coreset))
            self.trained.train(pilot)
            self.trained.choose_likes(view)
            self.trained.train(pilot)  # with as many likes as are best
        self._tell(self._fit(widths, steps))

    def _coreset(self, fit: Fit) -> Coreset | None:
        """What likes learn from, where there is much to do."""
        pilot = sum(PILOT * self.sampler.cost(width) for width in fit.widths)
        work = sum(n * self.sampler.cost(width) for width, n in self._wanted(fit).items())
        whole = self.sampler.settings.method != "sgd" and self.problem.population is None
        if self._serves(fit) or work < MUCH * pilot or not whole:
            return None
        return coreset_of(self.problem.dataset, self.problem.seed)

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
            coarse = fine
            self.trained.again(Levels(finer))

    def _first(self, sampler: Sampler, width: int) -> Mapping[str, np.ndarray]:
        """The means of a width's first group."""
        first = range(sampler.together(width))
        return sampler.runs(width, first, self.told).sums.mean


def in_words(measurement: Measurement, fit: Fit) -> dict[str, Any]:
    """How a limit was measured, as attributes."""
    sampler = measurement.sampler
    samples, each = [fit.table[w] for w in fit.widths], 1 + sampler.mirrored
    like, told = measurement.trained.levels.like, {}
    if like is not None:
        runs = [s.own.runs + s.likes.runs for s in samples if s.likes]
        told = {"coreset": like.points, "coreset_networks": [each * own for own in runs]}
    return told | {
        "widths_used": list(fit.widths),
        "networks_used": [each * own.own.runs for own in samples],
        "mirrored": int(sampler.mirrored),
        "method": sampler.settings.method,
        "step_tolerance": sampler.tolerance if sampler.by_flow else 0.0,
    }
