"""How many quadrature nodes each layer gets: plans made from measured variances, no solving.

The quadrature variance of the output is a sum over layers. A layer's share falls as its rule's
order says when its nodes are doubled; the work of a solve is that of its matrix products.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from widelimit.basics.statistics import half_width
from widelimit.basics.words import duration, sizes_in_words
from widelimit.nodes.rules import Exact, Rule
from widelimit.problem.network.architecture import Costs

REPLICATES = (8, 16, 32)
"""How many replicates are run: more than the first number when they replace larger sizes."""

MOST_DOUBLINGS = 4
"""A layer grows at most by this many factors of two between two levels."""

SAFETY = 0.85
"""Plans aim at this share of the error that is allowed."""

UNREACHABLE = 2.0
"""A tolerance is given up when the largest allowed sizes promise an error this many times it."""


@dataclass(frozen=True)
class Level:
    """What one level of refinement has shown.

    `variances` holds each random layer's share of the replicate variance at sizes `counts`,
    `seconds` what a run there adds to the time of all; `costs` are those of the network's layers.
    """

    rules: tuple[Rule, ...]
    costs: Costs
    counts: tuple[int, ...]
    variances: dict[int, float]
    seconds: float

    def work(self, counts: Sequence[int]) -> float:
        """Multiplications of one evaluation of the network, up to a factor.

        Counts beyond those of the layers are of data points, at which all of it is done.
        """
        layers = self.costs.laws
        return float(self.costs.work(counts)) * math.prod(counts[layers:])

    def decay(self, layer: int) -> float:
        """Assumed factor by which doubling a layer's nodes reduces its share of the variance."""
        rule = self.rules[layer]
        assert not isinstance(rule, Exact)
        return 2.0 ** (-2 * rule.order)

    def error(self, counts: Sequence[int], replicates: int) -> float:
        """The half-width to expect at other sizes."""
        variance = sum(
            share * self.decay(layer) ** math.log2(counts[layer] / self.counts[layer])
            for layer, share in self.variances.items()
        )
        return half_width(math.sqrt(variance), replicates)

    def sizes_for(
        self, goal: float, replicates: int, allowed: Callable[[Sequence[int]], bool]
    ) -> tuple[int, ...]:
        """Allowed sizes with an expected half-width below `goal`, at little work.

        The layer that buys most variance for its work is doubled first. If the goal is out of
        reach, the sizes are those at which nothing more may be doubled.
        """
        sizes = list(self.counts)
        while self.error(sizes, replicates) > goal:
            gains = {}
            for layer, share in self.variances.items():
                doubled = [2 * c if k == layer else c for k, c in enumerate(sizes)]
                if allowed(doubled):
                    grown = sizes[layer] / self.counts[layer]
                    now = share * self.decay(layer) ** math.log2(grown)
                    price = self.work(doubled) / self.work(sizes) - 1
                    gains[layer] = now * (1 - self.decay(layer)) / price
            if not gains:
                break
            sizes[max(gains, key=lambda layer: gains[layer])] *= 2
        return tuple(sizes)

    def next_counts(self, goal: float, allowed: Callable[[Sequence[int]], bool]) -> tuple[int, ...]:
        """Sizes of the next level: the cheapest plan over the numbers of replicates."""

        def near(counts: Sequence[int]) -> bool:
            most = 2**MOST_DOUBLINGS
            return allowed(counts) and all(
                new <= most * old for new, old in zip(counts, self.counts, strict=True)
            )

        plans = [(n, self.sizes_for(SAFETY * goal, n, near)) for n in REPLICATES]
        return min(plans, key=lambda plan: plan[0] * self.work(plan[1]))[1]

    def forecast(self, goal: float) -> tuple[tuple[int, ...], float]:
        """What the goal takes: the cheapest sizes, without bounds, and seconds in all."""
        plans = [(n, self.sizes_for(goal, n, _any_size)) for n in REPLICATES]
        count, sizes = min(plans, key=lambda plan: plan[0] * self.work(plan[1]))
        return sizes, self.seconds_of(count, sizes)

    def seconds_of(self, runs: int, counts: Sequence[int]) -> float:
        """What so many runs at these sizes take."""
        return runs * self.seconds * self.work(counts) / self.work(self.counts)

    def unreachable(self, goal: float, allowed: Callable[[Sequence[int]], bool]) -> str | None:
        """Why the goal cannot be reached within what is allowed, with what it would take."""
        largest = self.sizes_for(goal, REPLICATES[-1], allowed)
        promised = self.error(largest, REPLICATES[-1])
        if promised <= UNREACHABLE * goal:
            return None
        wanted, seconds = self.forecast(goal)
        return (
            f"about {sizes_in_words(wanted)} nodes and {duration(seconds)} would be needed, and "
            f"the largest allowed, {sizes_in_words(largest)}, promise an error of {promised:.1g}"
        )


def _any_size(counts: Sequence[int]) -> bool:
    """Bounds only what numbers can hold."""
    return max(counts) <= 2**60
