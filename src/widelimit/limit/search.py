"""The search for nodes: sizes grow, law by law where it pays, until the tolerance is met.

Independent replicates of a random rule estimate the quadrature error: the mean of R replicates with
the half-width of a 95 % interval by Student's t. The time-integration error is a bound from the
change when time steps are halved.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from widelimit.basics.statistics import half_width, replicate_half_width, step_error
from widelimit.ensemble.model import model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, look, outputs
from widelimit.limit.budget import Budget, Shortfall
from widelimit.limit.choice import PILOT_REPLICATES, Choice
from widelimit.limit.foresight import Foresight
from widelimit.motion.engine import Engine, Look, Run, Steps
from widelimit.nodes.design import Design
from widelimit.nodes.refinement import REPLICATES, Level
from widelimit.problem.network.residual import FEWEST_DEPTHS

EXACT_STEP_TOLERANCE = 1e-9
"""Step tolerance of problems without quadrature error."""

FINER = 2.5
"""A tenth of the step tolerance takes at most so many times the steps."""

MOST_FINENESS = 8
"""Nodes inside layers are not doubled more than three times."""

STATES_BYTES = 2**28
"""The neurons of a limit are kept at all observed times while they fit into this; of more, the
first ones of each Sobol rule, which are a Sobol rule themselves."""


class Timing(NamedTuple):
    """Replicate 0 in steps and in halved ones, and how steps are taken."""

    stepped: Run
    halved: Run
    steps: Steps
    dense: Run | None = None
    """Where depth is taken to its limit, with nodes there that are dense enough for the goal."""
    deeper: Run | None = None
    """With twice as many."""
    shortfall: Shortfall | None = None
    """Why steps were not made finer."""

    @property
    def error(self) -> np.ndarray:
        """A bound on the error of the steps `(time, point, channel)`."""
        return step_error(self.stepped.seen["outputs"], self.halved.seen["outputs"])

    @property
    def whole(self) -> Run:
        """Replicate 0 as the others are run."""
        return self.dense or self.stepped

    @property
    def rules_error(self) -> np.ndarray:
        """A bound on the errors of both `(time, point, channel)`."""
        return self.error if self.depth_error is None else self.error + self.depth_error

    @property
    def depth_error(self) -> np.ndarray | None:
        """A bound on the error of the depth nodes `(time, point, channel)`, where there is one."""
        if self.deeper is None:
            return None
        return step_error(self.whole.seen["outputs"], self.deeper.seen["outputs"])


class Found(NamedTuple):
    """A design that serves, or the best one allowed, and all that was seen on its replicates."""

    design: Design
    runs: tuple[Run, ...]
    timing: Timing
    reasons: tuple[str, ...]
    shortfall: Shortfall | None

    @property
    def values(self) -> np.ndarray:
        """Outputs `(replicate, time, point, channel)`."""
        return outputs_of(self.runs)

    @property
    def quadrature_error(self) -> np.ndarray:
        """The 95 % half-width over replicates `(time, point, channel)`."""
        return replicate_half_width(self.values)


def outputs_of(runs: Sequence[Run]) -> np.ndarray:
    """Outputs `(replicate, time, point, channel)`."""
    return np.stack([run.seen["outputs"] for run in runs])


def largest_rms(system: System, error: np.ndarray) -> float:
    """The largest, over times, RMS over observed inputs and outputs of `(time, point, channel)`."""
    observed = error[:, system.view("observed")]
    return float(np.sqrt(np.mean(observed**2, axis=(1, 2))).max())


@dataclass(frozen=True)
class Search:
    """The search for nodes of one problem."""

    engine: Engine

    @property
    def budget(self) -> Budget:
        """What it may use."""
        return Budget(self.engine)

    @property
    def foresight(self) -> Foresight:
        """What is to come."""
        return Foresight(self.engine)

    @property
    def goal(self) -> float:
        """The tolerance that was asked for."""
        return self.engine.problem.limit.tolerance

    def found(self) -> Found:
        """Nodes that serve, and what was seen on them. Raises `Diverged`."""
        choice = Choice.of(self.engine)
        design = self.budget.first(choice.rules)
        if not design.random:
            timing = deepened(
                self, design, self.timed(design, EXACT_STEP_TOLERANCE if self.double else 1e-5)
            )
            return Found(design, (timing.whole,), timing, choice.reasons, None)
        tolerance = max(self.goal / 100, 1e-10 if self.double else 1e-6)
        timing = deepened(self, design, self.timed(design, tolerance))
        return self.refined(choice, design, timing)

    @property
    def double(self) -> bool:
        """Whether numbers are held in double precision."""
        return self.engine.precision == "float64"

    # --- time steps -----------------------------------------------------------------------------

    def timed(self, design: Design, tolerance: float) -> Timing:
        """Replicate 0 with steps, and nodes inside layers, fine enough for the goal."""
        steps, more = Steps(tolerance), PILOT_REPLICATES - 1 if design.random else 0
        while True:
            self.engine.progress.expect(2 + more)
            halved = self.run(design, steps._replace(halved=True), "time steps halved")
            self.foresight.first(halved, more + 1)
            timing = Timing(self.run(design, steps, "replicate 1"), halved, steps)
            enough = largest_rms(self.engine.system, timing.error) <= self.goal / 5
            if enough or steps.tolerance <= 1e-10:
                return timing
            finer = FINER * (timing.whole.seconds + halved.seconds)
            if shortfall := self.budget.too_long(finer, "finer time steps"):
                return timing._replace(shortfall=shortfall)
            steps = Steps(steps.tolerance / 10, min(2 * steps.fineness, MOST_FINENESS))

    def run(self, design: Design, steps: Steps, what: str) -> Run:
        """What is seen on one design."""
        self.named(design, what)
        return self.engine.run(design, steps, self.look_at(design, steps))

    def look_at(self, design: Design, steps: Steps) -> Look:
        """Outputs and functionals; of replicate 0 in whole steps the neurons too."""
        first = not any(design.scrambles) and not steps.halved
        return limit_with_neurons(self.engine) if first else seen_of_limit

    def named(self, design: Design, what: str) -> None:
        """Tell what is done."""
        nodes = " × ".join(map(str, design.sizes[: self.engine.layers]))
        self.engine.progress.named(f"limit: {nodes} nodes, {what}")

    # --- quadrature -----------------------------------------------------------------------------

    def refined(self, choice: Choice, design: Design, timing: Timing) -> Found:
        """Refine until the estimated error is below the goal, or what is allowed is used up."""
        system, steps = self.engine.system, timing.steps
        budget = max(self.goal - largest_rms(system, timing.rules_error), self.goal / 10)
        runs: tuple[Run, ...] = (timing.whole,)
        while True:
            runs = self.replicates(runs, design, steps, budget)
            if largest_rms(system, replicate_half_width(outputs_of(runs))) <= budget:
                return Found(design, runs, timing, choice.reasons, None)
            if choice.undecided:
                choice = choice.compared(self.engine, design, self.spread_of_varied(steps))
                if choice.rules != design.rules:
                    design, runs = replace(design, rules=choice.rules), ()
                    continue
            level = self.level(runs, design, steps)
            larger = level.next_counts(budget, self.allowed(design))
            shortfall = self.foresight.shortfall(level, larger, budget, self.allowed(design))
            self.foresight.after(level, larger, budget, shortfall)
            if shortfall or larger == design.counts:
                last = REPLICATES[0] if shortfall else REPLICATES[-1]
                if self.budget.too_long(level.seconds_of(last - len(runs), level.counts), ""):
                    last = len(runs)
                runs = self.replicates(runs, design, steps, budget, last)
                return Found(design, runs, timing, choice.reasons, shortfall)
            design, runs = design.with_counts(larger), ()

    def allowed(self, design: Design) -> Callable[[Sequence[int]], bool]:
        """Whether a design may have such counts."""
        return lambda counts: self.budget.allows(design.with_counts(counts))

    def replicates(
        self,
        runs: tuple[Run, ...],
        design: Design,
        steps: Steps,
        budget: float,
        last: int | None = None,
    ) -> tuple[Run, ...]:
        """Enough replicates to decide: few when hopeless, more when that alone will do.

        `last` replicates are run in any case where sizes will not grow any more.
        """
        target = REPLICATES[0] if last is None else last
        for stop in (PILOT_REPLICATES, *REPLICATES):
            if len(runs) >= target:
                break
            self.engine.progress.expect(target - len(runs))
            self.named(design, f"replicates {len(runs) + 1} … {stop} of {target}")
            new = [design.replicate(number) for number in range(len(runs), stop)]
            runs += tuple(self.several(new, steps))
            spread = self.spread(runs)
            each, left = self.foresight.added_by(runs[-1], steps), self.budget.seconds_left
            enough = [
                n
                for n in REPLICATES
                if half_width(spread, n) <= budget and (n - len(runs)) * each <= left
            ]
            if not enough and last is None and (self.budget.grows(design) or left < math.inf):
                break
            target = max(target, enough[0] if enough else REPLICATES[-1] if last is None else last)
        return runs

    def several(self, designs: Sequence[Design], steps: Steps) -> list[Run]:
        """Runs of designs of the same sizes: replicate 0, if it is among them, then the others."""
        first = [design for design in designs if not any(design.scrambles)]
        found = [self.engine.run(design, steps, self.look_at(design, steps)) for design in first]
        others = designs[len(first) :]
        return found + (self.engine.runs(others, steps, seen_of_limit) if others else [])

    def spread(self, runs: Sequence[Run]) -> float:
        """The largest RMS standard deviation over replicates."""
        return largest_rms(self.engine.system, np.std(outputs_of(runs), axis=0, ddof=1))

    def spread_of_varied(self, steps: Steps) -> Callable[[Design, int], float]:
        """The spread when the nodes of one law alone are scrambled anew, by design and place."""

        def spread(design: Design, place: int) -> float:
            what = f"layer {place + 1}" if place < self.engine.layers else "data"
            self.named(design, f"{what} alone")
            self.engine.progress.expect(PILOT_REPLICATES)
            varied = [design.varied(place, number) for number in range(PILOT_REPLICATES)]
            return self.spread(self.engine.runs(varied, steps, seen_of_limit))

        return spread

    def level(self, runs: tuple[Run, ...], design: Design, steps: Steps) -> Level:
        """What this level has shown: the share of the variance that each law brings in."""
        first, *others = design.random
        total, spread = self.spread(runs) ** 2, self.spread_of_varied(steps)
        shares = {place: spread(design, place) ** 2 for place in others}
        rest = max(total - sum(shares.values()), 0.05 * total)
        variances = {first: rest, **shares}
        costs, seconds = self.engine.memory.costs, self.foresight.added_by(runs[-1], steps)
        return Level(design.rules, costs, design.counts, variances, seconds)


def deepened(search: Search, design: Design, timing: Timing) -> Timing:
    """The same with depth nodes that are dense enough for the goal.

    The same units are cut into twice as many depths: what that changes is the error.
    """
    work = search.engine
    if not model_of(work.problem).deep:
        return timing
    while True:
        work.progress.expect(1)
        twice = timing.steps._replace(depths=2 * timing.steps.depths)
        timing = timing._replace(deeper=search.run(design, twice, "twice the depth nodes"))
        assert timing.depth_error is not None
        most = 2 * FEWEST_DEPTHS * twice.depths > min(design.counts[: work.layers]) / 2
        if largest_rms(work.system, timing.depth_error) <= search.goal / 5 or most:
            return timing
        timing = timing._replace(dense=timing.deeper, steps=twice)


def limit_with_neurons(engine: Engine) -> Look:
    """Outputs and functionals, and as many of the neurons as are kept over all times."""

    def seen(system: System, ensemble: Ensemble, now: float) -> dict[str, Any]:
        kept = ensemble.first(_kept(engine, ensemble.sizes))
        return {**seen_of_limit(system, ensemble, now), "neurons": kept}

    return seen


def _kept(engine: Engine, sizes: Sequence[int]) -> tuple[int, ...]:
    """How many of each layer's neurons are kept over time."""
    kept, memory, most = list(sizes), engine.memory, STATES_BYTES // len(engine.problem.times)
    while memory.itemsize * memory.edges(kept) > most and max(kept) > 1:
        largest = int(np.argmax(kept))
        kept[largest] = (kept[largest] + 1) // 2
    return tuple(kept)


def seen_of_limit(system: System, ensemble: Ensemble, now: float) -> dict[str, Any]:
    """Outputs at all inputs, and functionals."""
    values = np.asarray(outputs(system, ensemble), float)
    return {"outputs": values, "functionals": look(system, ensemble, now)}
