"""What a solve may use: nodes, memory and time, and where it starts."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import diffrax

from widelimit.basics.errors import ProblemError
from widelimit.basics.words import duration
from widelimit.ensemble.equations import ROW_NUMBERS
from widelimit.ensemble.system import numbers_looked_at
from widelimit.motion.devices import agreed
from widelimit.motion.engine import Engine
from widelimit.motion.flow import COPIES
from widelimit.nodes.coverage import needed
from widelimit.nodes.design import Design
from widelimit.nodes.refinement import REPLICATES
from widelimit.nodes.rules import Exact, Rule
from widelimit.problem.network.marks import SPLIT_LIMIT

KEPT = REPLICATES[-1] + 5
"""Functionals are kept of so many runs at most: of all replicates, of steps whole and halved, and
as the answer with its errors."""


class Shortfall(NamedTuple):
    """Why the tolerance is not met within what is allowed, and what to raise."""

    why: str
    remedy: str


def with_functionals(work: Engine) -> Engine:
    """The engine whose memory knows what functionals take: all runs keep theirs."""
    if not work.system.functionals:
        return work
    numbers = numbers_looked_at(work.system, work.placed(work.first_design()))
    kept = KEPT * 8 * len(work.problem.times) * numbers
    if numbers >= work.system.observed_outputs**2:  # a tangent kernel, or as large as one
        kept += 3 * ROW_NUMBERS * work.memory.itemsize
    return replace(work, memory=replace(work.memory, kept=kept))


@dataclass(frozen=True)
class Budget:
    """The bounds that `[limit]` sets to the search for nodes."""

    engine: Engine

    @property
    def asked(self) -> tuple[int, ...]:
        """The nodes that the problem fixes: they stay as they are."""
        return self.engine.problem.limit.nodes or ()

    @property
    def most_nodes(self) -> int:
        """The largest power of two in the budget: Sobol points are balanced at these only."""
        return 2 ** (self.engine.problem.limit.max_nodes.bit_length() - 1)

    def first(self, rules: Sequence[Rule]) -> Design:
        """The nodes asked for, or those that the rules start with."""
        own = [
            rule.start if isinstance(rule, Exact) else min(rule.start, self.most_nodes)
            for rule in rules
        ]
        return Design.of(rules, (*self.asked, *own[len(self.asked) :]))

    def allows(self, design: Design) -> bool:
        """Whether nodes and memory bear this design."""
        random = [design.counts[place] for place in design.random]
        layers = design.sizes[: self.engine.layers]
        fits = self.engine.memory.fits(layers, COPIES[diffrax.Heun])
        as_asked = design.counts[: len(self.asked)] == self.asked
        return fits and max(random) <= self.most_nodes and as_asked

    def grows(self, design: Design) -> bool:
        """Whether any law may have more nodes."""
        return any(
            self.allows(design.with_counts([n * (1 + (k == place)) for k, n in counted]))
            for counted in [list(enumerate(design.counts))]
            for place in design.random
        )

    @property
    def remedy(self) -> str:
        """What to raise where nodes do not suffice."""
        return "limit.nodes (or leave it out)" if self.asked else "limit.max_nodes, limit.memory"

    @property
    def seconds_left(self) -> float:
        """What is left of `limit.max_seconds`, which count from the start of the solve."""
        allowed = self.engine.problem.limit.max_seconds
        passed = time.monotonic() - self.engine.progress.started
        return math.inf if allowed is None else agreed(allowed - passed)

    def too_long(self, seconds: float, what: str, besides: str = "") -> Shortfall | None:
        """Why something that takes so many seconds is not begun any more; more to say `besides`."""
        left = self.seconds_left
        if seconds <= left:
            return None
        allowed = self.engine.problem.limit.max_seconds
        return Shortfall(
            f"of limit.max_seconds = {allowed:g}, {duration(max(left, 0.0))} are left, and {what} "
            f"would take about {duration(seconds)}{besides}",
            "limit.max_seconds",
        )

    def refuse_too_small(self) -> None:
        """Raise `ProblemError` if memory or nodes do not suffice to begin with."""
        self.refuse_too_little_memory()
        self.refuse_too_few_nodes()

    def refuse_too_little_memory(self) -> None:
        """Raise `ProblemError` if the first sizes need more than there may be."""
        first = self.first([choices[0] for choices in self.engine.candidates])
        sizes, fewest = first.sizes[: self.engine.layers], COPIES[diffrax.Heun]
        memory = self.engine.memory
        if not memory.fits(sizes, fewest):
            needed = math.ceil(memory.needed(sizes, fewest, 1) / 1e6)
            found, nodes = f"{memory.budget / 1e6:.0f} MB", " × ".join(map(str, sizes))
            said = f"limit.memory: found {found}; {nodes} nodes need at least {needed} MB"
            if memory.kept > memory.budget / 2:
                said += (
                    f", of which {memory.kept / 1e6:.0f} MB are for observe.functionals at "
                    f"{len(self.engine.problem.times)} times: observe fewer times or inputs"
                )
            raise ProblemError([said], self.engine.problem.title)

    def refuse_too_few_nodes(self) -> None:
        """Raise `ProblemError` for laws that allowed nodes do not see the whole of."""
        design = self.first([choices[0] for choices in self.engine.candidates])
        found = []
        for place in design.random:
            rule, count = design.rules[place], design.counts[place]
            assert not isinstance(rule, Exact)
            if (fewest := needed(rule.mark)) > count:
                names = ", ".join(block.name for block in rule.mark)
                key = "nodes" if place < len(self.asked) else "max_nodes"
                found.append(
                    f"limit.{key}: found {count}; the law of {names} has rare, large values, and "
                    f"{fewest:,.0f} nodes are needed to see them: allow so many, or write the law "
                    f"as a mixture or atoms of at most {SPLIT_LIMIT} combinations"
                )
        if found:
            raise ProblemError(found, self.engine.problem.title)
