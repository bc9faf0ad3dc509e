"""Whether nodes see the whole of a law: moments on them against those that the law knows.

Laws whose parts are split into strata keep every part. What stays whole (a law of one's own, too
many combinations of parts) may hold rare, large values that no replicate has a node at; then
replicates agree with each other, and their spread is no error. So the mean and the mean square of
every entry on the nodes must be the law's, up to what replicates differ by. What is allowed to be
missing is a share q of the mean square: with N nodes in all it sits on a part of the law of weight
about 1/N, and by Cauchy and Schwarz it changes a mean over neurons by √(q/N) times the entry's RMS.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from scipy.special import stdtrit

from widelimit.basics.errors import ProblemError
from widelimit.basics.streams import Stream, generator
from widelimit.nodes.points import Nodes
from widelimit.problem.network.laws import Atoms, Mixture, Own, Product
from widelimit.problem.network.marks import Block, Constant, parts, pieces, strata

REPLICATES = 8

MISSED = 1e-3
"""The share of the mean square that nodes may miss: 7e-4 RMS at 256 nodes and 8 replicates."""

FALSE_ALARM = 1e-4
"""How probable it is, by Student's t, that nodes of a mark without rare values are doubled."""

MOST_NODES = 2**16
"""Nodes are doubled up to this many before a law is refused."""

Moments = tuple[np.ndarray, np.ndarray]
"""Means and mean squares `(entry,)`."""


@runtime_checkable
class Random(Protocol):
    """A rule that places nodes at random."""

    @property
    def mark(self) -> tuple[Block, ...]:
        """The law that nodes stand for."""
        ...

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """Nodes."""
        ...


def moments(block: Block) -> Moments | None:
    """Mean and mean square of every entry of a block; None if its law does not know them."""
    found = []
    for piece in pieces(block):
        own = [(weight, _of_one(part)) for weight, part in parts(piece)]
        if any(moment is None for _, moment in own):
            return None
        found.append(sum(weight * np.stack(moment) for weight, moment in own if moment))
    means, squares = np.concatenate(found, axis=1)
    return means, squares


def _of_one(part: Block) -> Moments | None:
    """Moments of a law that has no parts."""
    law: Any = part.law
    if isinstance(law, Constant):
        point = np.array(law.point)
        return point, point**2
    if isinstance(law, Product):
        return moments(part)
    if not hasattr(law, "expectation"):
        return None
    mean, std = law.expectation(), law.deviation()
    return np.full(part.size, mean), np.full(part.size, mean**2 + std**2)


def missed(rule: Random, count: int) -> str | None:
    """What so many nodes do not see of a law, in words; None if they see it all.

    Laws of bounded or normal entries hold no rare values, and are not looked at.
    """
    open_blocks = [block for block in strata(rule.mark)[0].mark if _may_hide(block)]
    if not open_blocks:
        return None
    placed = [rule.place(count, generator(Stream.PILOT, r, count)) for r in range(REPLICATES)]
    start = 0
    for block in rule.mark:
        columns = [nodes.points[:, start : start + block.size] for nodes in placed]
        weights, start = [nodes.weights for nodes in placed], start + block.size
        known = moments(block)
        share = 0.0 if known is None else _share(known, columns, weights)
        if share > MISSED:
            return (
                f"{count:,} nodes of the law of {block.name!r} miss {share:.1%} of its mean square "
                "(or of its mean, in units of its RMS): rare, large values have no node"
            )
    return None


def _may_hide(block: Block) -> bool:
    return any(isinstance(piece.law, Own | Atoms | Mixture) for piece in pieces(block))


def _share(known: Moments, columns: Sequence[np.ndarray], weights: Sequence[np.ndarray]) -> float:
    """The largest part of a moment that replicates miss and do not show by their spread."""
    root = np.sqrt(np.maximum(known[1], np.finfo(float).tiny))
    level = stdtrit(REPLICATES - 1, 1 - FALSE_ALARM / (4 * len(root)))
    worst = 0.0
    for power, exact in enumerate(known, 1):
        found = np.stack([p @ x**power for p, x in zip(weights, columns, strict=True)])
        width = level * found.std(axis=0, ddof=1) / REPLICATES**0.5
        gap = np.abs(found.mean(axis=0) - exact) - width
        worst = max(worst, float((gap / root**power).max()))
    return worst


def enough(rule: Random, count: int) -> int:
    """The first doubling of `count` at which nodes see the whole law.

    Raises `ProblemError` where `MOST_NODES` do not.
    """
    while said := missed(rule, count):
        if count >= MOST_NODES:
            raise ProblemError([
                f"network.initial: {said}; write the law as a mixture (or as atoms) of at most 16 "
                "parts, which get nodes of their own, or cut its tails"
            ])  # fmt: skip
        count *= 2
    return count
