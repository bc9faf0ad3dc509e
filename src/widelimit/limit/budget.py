"""What a solve may use: nodes and memory, and where it starts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import diffrax

from widelimit.basics.errors import ProblemError
from widelimit.motion.engine import Engine
from widelimit.motion.flow import COPIES
from widelimit.nodes.coverage import needed
from widelimit.nodes.design import Design
from widelimit.nodes.rules import Exact, Rule
from widelimit.problem.network.marks import SPLIT_LIMIT


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
