"""The law of the data as a limit takes it in: quadrature nodes in place of points.

The data law π is one more measure beside the laws of neurons, with a rule of its own (see
`quadrature`): its nodes are scrambled anew in every replicate and doubled where that pays, so
that the error of the limit over a population contains that of π's quadrature.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from pydantic import ConfigDict

from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, generator
from widelimit.nodes.points import Nodes
from widelimit.nodes.rules import Exact, Rule, rules_for
from widelimit.problem.data.population import Population
from widelimit.problem.data.sources import Dataset, Points, Source
from widelimit.problem.network.marks import Block
from widelimit.problem.symmetry import Folding

LOOKED_AT = 512
"""Nodes of each of the quadratures that the risk is computed with."""

LOOKS = 8
"""So many independent quadratures tell the error of the limit's risk."""


class Measure(Source):
    """Quadrature nodes of a population, folded where its problem has a symmetry (`Folding`).

    Its rows, all that `load` gives, are `looks` independent quadratures one after the other: the
    risk of the limit is computed there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    source: Literal["measure"] = "measure"
    population: Population
    folding: Folding | None
    looks: int = LOOKS

    @property
    def columns(self) -> tuple[int, ...] | None:
        """Which coordinates of x the first inputs are (None: all are as they were)."""
        return None if self.folding is None else self.folding.relevant

    @property
    def mark(self) -> tuple[Block, ...]:
        """The law of the numbers that nodes are placed by."""
        folded = self.folding and self.folding.points(self.population)
        return folded or self.population.law.mark

    def rules(self) -> tuple[Rule, ...]:
        """The rules that can serve."""
        return rules_for(self.mark, np.eye(0))

    def points(self, nodes: Nodes) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inputs `(node, d)`, targets `(node, 1)` and weights `(node,)`."""
        with in_precision("float64"):
            if self.folding is not None and self.folding.points(self.population) is not None:
                x, y = nodes.points, self._targets(nodes.points)
            else:
                x, y = map(np.asarray, self.population.points(jax.numpy.asarray(nodes.points)))
                x = x if self.folding is None else self.folding.inputs(x)
        return x, y[:, None], nodes.weights

    def _targets(self, folded: np.ndarray) -> np.ndarray:
        """y of folded inputs: what does not matter is 0."""
        assert self.folding is not None
        assert self.population.target is not None
        relevant = list(self.folding.relevant)
        x = np.zeros((len(folded), 1 + max(relevant, default=0)))
        x[:, relevant] = folded[:, :-1]
        return np.asarray(self.population.target.values(jax.numpy.asarray(x)))

    @property
    def groups(self) -> int:
        """How many quadratures there are: one will do where it is exact."""
        return 1 if isinstance(self.rules()[0], Exact) else self.looks

    def load(self, folder: Path, seed: int) -> Dataset:
        """The quadratures of the risk."""
        return replace(super().load(folder, seed), fresh=True, groups=self.groups)

    def rows(self, folder: Path, seed: int) -> Points:
        """The nodes of all quadratures of the risk."""
        rule = self.rules()[0]
        parts = [
            self.points(rule.place(LOOKED_AT, generator(Stream.RISK_NODES, seed, look)))
            for look in range(self.groups)
        ]
        x, y, p = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        return Points(x, y, tuple((p / self.groups).tolist()), ("0",), "node")
