"""A design: which rules, with how many nodes and which scrambles, stand for the laws."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from widelimit.basics.streams import Stream, generator
from widelimit.nodes.points import Nodes
from widelimit.nodes.rules import Exact, Rule


@dataclass(frozen=True)
class Design:
    """Nodes of every law: those of the layers' marks (by index space), then of the data if any.

    `counts` are what rules are asked for; they place `sizes` nodes. Each rule has a scramble of its
    own: replicate r of a design is scramble r throughout.
    """

    rules: tuple[Rule, ...]
    counts: tuple[int, ...]
    scrambles: tuple[int, ...]

    @classmethod
    def of(cls, rules: Sequence[Rule], counts: Sequence[int], replicate: int = 0) -> "Design":
        """A replicate of the design with these rules and counts."""
        return cls(tuple(rules), tuple(map(int, counts)), (replicate,) * len(rules))

    def nodes(self, seed: int, layers: int) -> list[Nodes]:
        """The nodes that stand for the laws of so many index spaces."""
        rules = list(zip(self.rules, self.counts, self.scrambles, strict=True))
        return [
            rule.place(count, generator(Stream.NODES, seed, layer, scramble))
            for layer, (rule, count, scramble) in enumerate(rules[:layers])
        ]

    def replicate(self, number: int) -> "Design":
        """The same with every rule scrambled anew."""
        return replace(self, scrambles=(number,) * len(self.rules))

    def varied(self, place: int, number: int) -> "Design":
        """The same with one rule alone scrambled anew."""
        scrambles = tuple(number if k == place else 0 for k in range(len(self.rules)))
        return replace(self, scrambles=scrambles)

    def with_rule(self, place: int, rule: Rule) -> "Design":
        """The same with another rule for one law."""
        rules = tuple(rule if k == place else own for k, own in enumerate(self.rules))
        return replace(self, rules=rules)

    def with_counts(self, counts: Sequence[int]) -> "Design":
        """The same with other numbers of nodes."""
        return replace(self, counts=tuple(map(int, counts)))

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many nodes stand for each law: with the atoms beside coordinates."""
        return tuple(rule.size(n) for rule, n in zip(self.rules, self.counts, strict=True))

    @property
    def random(self) -> tuple[int, ...]:
        """The places of random rules: their scrambles tell the error of quadrature."""
        return tuple(k for k, rule in enumerate(self.rules) if not isinstance(rule, Exact))
