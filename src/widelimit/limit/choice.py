"""Which rule of quadrature serves each law: known, asked for, or found by measuring."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from widelimit.motion.engine import Engine
from widelimit.nodes.design import Design
from widelimit.nodes.lattice import Lattice
from widelimit.nodes.rules import Exact, Rule
from widelimit.problem.network.marks import LATTICE_MOST

PILOT_REPLICATES = 4
"""Solves that vary one law's nodes only, to learn which rule suits it or how much it needs."""


@dataclass(frozen=True)
class Choice:
    """A rule for each law with the reason for it; `undecided` are laws where only a measurement
    can tell the best one."""

    rules: tuple[Rule, ...]
    reasons: tuple[str, ...]
    undecided: tuple[int, ...] = ()

    @classmethod
    def of(cls, engine: Engine) -> "Choice":
        """The rules that are known to serve, or were asked for."""
        asked = engine.problem.limit.rules or ("auto",) * engine.layers
        asked += ("auto",) * (len(engine.candidates) - len(asked))
        rules, reasons, undecided = [], [], []
        for place, (choices, name) in enumerate(zip(engine.candidates, asked, strict=True)):
            named = [rule for rule in choices if rule.name == name]
            rule, reason = choices[0], choices[0].reason
            if named and not isinstance(rule, Exact):
                rule, reason = named[0], "asked for"
            elif len(choices) > 1 and not _few(rule):
                reason = "its first nodes suffice, whether or not another rule is better"
                undecided.append(place)
            rules.append(rule)
            reasons.append(reason)
        return cls(tuple(rules), tuple(reasons), tuple(undecided))

    def compared(
        self, engine: Engine, design: Design, spread: Callable[[Design, int], float]
    ) -> "Choice":
        """The rules that scatter least at an equal number of nodes.

        `spread(design, place)` is the scatter when the nodes of one law alone are scrambled anew.
        """
        reasons = list(self.reasons)
        for place in self.undecided:
            choices = engine.candidates[place]
            spreads = [spread(design.with_rule(place, rule), place) for rule in choices]
            design = design.with_rule(place, choices[int(np.argmin(spreads))])
            found = ", ".join(
                f"{size:.1e} ({rule.name})" for rule, size in zip(choices, spreads, strict=True)
            )
            nodes = design.counts[place]
            reasons[place] = f"spread over {PILOT_REPLICATES} scrambles, {nodes} nodes: {found}"
        return Choice(design.rules, tuple(reasons))


def _few(rule: Rule) -> bool:
    """Whether a lattice is known to be best."""
    return isinstance(rule, Lattice) and rule.dimension < LATTICE_MOST
