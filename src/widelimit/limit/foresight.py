"""What is to come of a search for nodes, from what has been seen: said, and held against what is
allowed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from widelimit.basics.words import duration, sizes_in_words
from widelimit.limit.budget import Budget, Shortfall
from widelimit.motion.engine import Engine, Run, Steps
from widelimit.nodes.refinement import REPLICATES, Level

LONG = 5.0
"""A run that takes so many seconds is spoken of."""


@dataclass(frozen=True)
class Foresight:
    """Forecasts of one search."""

    engine: Engine

    def first(self, run: Run, more: int) -> None:
        """Say what a long first run promises: at least so many more."""
        if run.seconds > LONG:
            later = ", then more or larger ones until the tolerance is met"
            self.engine.progress.say(
                f"this run took {duration(run.seconds)}; at least {more} of about this size are to "
                f"come{later if run.design.random else ''}"
            )

    def added_by(self, run: Run, steps: Steps) -> float:
        """Seconds that a run adds where several go on at once."""
        return run.seconds / self.engine.at_once(self.engine.sizes(run.design), steps)

    def shortfall(
        self,
        level: Level,
        larger: tuple[int, ...],
        goal: float,
        allowed: Callable[[Sequence[int]], bool],
    ) -> Shortfall | None:
        """Why nodes, memory or time do not allow what the goal takes; `larger` are next."""
        budget = Budget(self.engine)
        if why := level.unreachable(goal, allowed):
            return Shortfall(why, budget.remedy)
        more = REPLICATES[-1] - REPLICATES[0] if larger == level.counts else REPLICATES[0]
        counts, seconds = level.forecast(goal)
        return budget.too_long(
            level.seconds_of(more, larger),
            f"{sizes_in_words(larger)} nodes",
            f" (the tolerance takes about {sizes_in_words(counts)} nodes and {duration(seconds)})",
        )

    def after(
        self, level: Level, larger: tuple[int, ...], goal: float, shortfall: Shortfall | None
    ) -> None:
        """Say after a level what is to come: nodes, time, and what would do."""
        said = f"{sizes_in_words(level.counts)} nodes reach {level.error(level.counts, 8):.1g}"
        if shortfall:
            self.engine.progress.say(f"{said}; {shortfall.why}: stopping")
            return
        counts, seconds = level.forecast(goal)
        following = "more replicates" if larger == level.counts else sizes_in_words(larger)
        self.engine.progress.say(
            f"{said}; the tolerance takes about {sizes_in_words(counts)} nodes and "
            f"{duration(seconds)}; next: {following}"
        )
