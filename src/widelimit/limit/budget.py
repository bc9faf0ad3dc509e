"""What a solve may use: nodes and memory, and where it starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import diffrax

from widelimit.basics.errors import ProblemError
from widelimit.motion.engine import Engine
from widelimit.motion.flow import COPIES
from widelimit.nodes.design import Design
from widelimit.nodes.rules import Exact, Rule


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

    def refuse_too_little_memory(self) -> None:
        """Raise `ProblemError` if the first sizes need more than there may be."""
        first = self.first([choices[0] for choices in self.engine.candidates])
        sizes, fewest = first.sizes[: self.engine.layers], COPIES[diffrax.Heun]
        memory = self.engine.memory
        if not memory.fits(sizes, fewest):
            needed = math.ceil(memory.needed(sizes, fewest, 1) / 1e6)
            found, nodes = f"{memory.budget / 1e6:.0f} MB", " × ".join(map(str, sizes))
            said = f"limit.memory: found {found}; {nodes} nodes need at least {needed} MB"
            raise ProblemError([said], self.engine.problem.title)
