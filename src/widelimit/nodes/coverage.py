"""How many nodes see the whole of a law: by the kurtosis of its entries.

Laws whose parts are split into strata keep every part. What stays whole (a law of one's own, too
many combinations of parts) may hold rare, large values that no replicate has a node at; then
replicates agree with each other, and their spread is no error. M independent nodes know an
entry's mean square up to the relative error √((κ − 1)/M), κ = E a⁴/(E a²)², the kurtosis about 0:
a value of probability p that makes the mean square has κ = 1/p. With M = `NODES` (κ − 1) a
replicate has `NODES` nodes on it, and replicates tell what they do not know.
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from widelimit.basics.errors import ProblemError
from widelimit.problem.network.laws import Own
from widelimit.problem.network.marks import Block, Constant, parts, pieces, strata

NODES = 8
"""Nodes of a replicate where an entry's mean square comes from, at least."""


def kurtosis(block: Block) -> float:
    """The largest E a⁴/(E a²)² of a block's entries, 1 at least.

    Laws without parts hide nothing, unless they are of one's own: they count as 1.
    """
    largest = 1.0
    for piece in set(pieces(block)):
        own = parts(piece)
        if isinstance(piece.law, Own):
            largest = max(largest, _of_own(piece.law.function))
        elif len(own) > 1:
            weights = np.array([weight for weight, _ in own])
            squares, fourths = np.tensordot(weights, [_moments(part) for _, part in own], 1)
            safe = np.where(squares > 0, squares, 1.0)
            largest = max(largest, float((fourths / safe**2).max()))
    return largest


@lru_cache
def _of_own(function: Callable) -> float:
    """That of a law of one's own: infinite where it cannot be computed."""
    law = Own(function=function)
    try:
        square, fourth = law.moment(2), law.moment(4)
    except (ValueError, OverflowError):
        return math.inf
    return fourth / square**2 if square > 0 else 1.0


def _moments(part: Block) -> np.ndarray:
    """E a² and E a⁴ `(2, entries)` of one part of a law: an atom, or normal entries."""
    if isinstance(part.law, Constant):
        point = np.array(part.law.point)
        return np.stack([point**2, point**4])
    laws = [piece.law for piece in pieces(part)]
    m, s = (np.array([getattr(law, name) for law in laws]) for name in ("mean", "std"))
    return np.stack([m**2 + s**2, m**4 + 6 * m**2 * s**2 + 3 * s**4])


def needed(mark: Sequence[Block]) -> float:
    """How many nodes each stratum of a mark needs, so that replicates see all of its law."""
    return NODES * (max((kurtosis(block) for block in strata(mark)[0].mark), default=1.0) - 1)


def enough(mark: Sequence[Block], count: int) -> int:
    """The first doubling of `count` at which nodes see the whole of a law.

    Raises `ProblemError` where no number does.
    """
    found = needed(mark)
    if math.isinf(found):
        names = ", ".join(block.name for block in mark if math.isinf(kurtosis(block)))
        raise ProblemError(
            [
                f"network.initial: the law of {names} has no fourth moment that can be "
                "computed, so that no number of nodes is known to see its tails; cut them"
            ]
        )
    return count * 2 ** max(0, math.ceil(math.log2(max(found, 1.0) / count)))
