"""What is trained to measure a limit, group by group: runs, and likes that learn from a coreset."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from widelimit.basics.hands import all_ahead
from widelimit.basics.progress import Progress, progress
from widelimit.basics.streams import Stream
from widelimit.limit.measured.coreset import Coreset
from widelimit.limit.measured.sample import EVERYWHERE, Sampler, Shown
from widelimit.limit.measured.sums import Sample, Sums

LIKES = 2.0 ** np.arange(6)
"""Other likes for each run."""

WORTH = 0.9
"""Likes are kept where they leave no more than so much of the work."""


class Block(NamedTuple):
    """Runs of a width, by their numbers, that are trained together."""

    width: int
    numbers: range
    likes: bool = False

    def __str__(self) -> str:
        kind = "likes" if self.likes else "runs"
        return f"width {self.width}, {kind} {self.numbers.start + 1} … {self.numbers.stop}"


@dataclass(frozen=True)
class Levels:
    """Runs that learn from all data; with a coreset each has a like, and so many others.

    Without `like` there is the first level only.
    """

    whole: Sampler
    like: Sampler | None = None
    likes: float = 1.0

    def with_coreset(self, coreset: Coreset) -> "Levels":
        """With likes that learn from it."""
        return replace(self, like=replace(self.whole, coreset=coreset))

    def cost(self, width: int) -> float:
        """What a run takes, with all its likes (`Sampler.cost`)."""
        return self.whole.cost(width) + (1 + self.likes) * self._cost_of_like(width)

    def _cost_of_like(self, width: int) -> float:
        return self.like.cost(width) if self.like else 0.0

    def blocks(self, width: int, have: Sample | None, count: int) -> list[Block]:
        """What is to be trained until there are at least so many runs of a width."""
        there = have.own.runs if have else 0
        found = _numbered(self.whole, width, there, count, False)
        if self.like is None:
            return found
        runs = found[-1].numbers.stop if found else there
        there = have.likes.runs if have and have.likes else 0
        return found + _numbered(self.like, width, there, math.ceil(self.likes * runs), True)

    def work(self, block: Block) -> float:
        """What a block costs."""
        like = self._cost_of_like(block.width)
        each = like if block.likes else self.whole.cost(block.width) + like
        return len(block.numbers) * each

    def ahead(self, blocks: Sequence[Block]) -> None:
        """Have blocks trained by workers, where there are any."""
        all_ahead("limit", _ahead, lambda: {str(own): (self, own) for own in blocks}, False)

    def with_block(
        self, before: Sample | None, block: Block, told: Progress
    ) -> tuple[Sample, Shown]:
        """What is kept of a width when a block is trained, and what its networks have shown.

        Raises `Diverged`.
        """
        shown, like = self.shown(block, told)
        if block.likes:
            assert before is not None
            return before.with_likes(shown.sums), shown
        own = Sample(shown.sums)
        if like is not None:
            differences = {
                name: values - like.values[name] for name, values in shown.values.items()
            }
            own = own._replace(differences=Sums.of(differences, shown.apart))
        return (before.joined(own) if before else own), shown

    def shown(self, block: Block, told: Progress) -> tuple[Shown, Shown | None]:
        """What the networks of a block show, and likes of the same numbers, if there are any."""
        width, numbers, likes = block
        if likes:
            assert self.like is not None
            return replace(self.like, stream=Stream.LIKES).runs(width, numbers, told), None
        own = self.whole.runs(width, numbers, told)
        return own, self.like.runs(width, numbers, told) if self.like else None

    def with_best_likes(self, table: Mapping[int, Sample], view: slice) -> "Levels":
        """With as many likes as a variance of outputs takes the least work, or without any.

        The variance is the mean over outputs in `view`, at the worst time.
        """
        assert self.like is not None
        samples = {width: (s.own, s.differences, s.likes) for width, s in table.items()}
        own, apart, alone = (
            np.mean([width * _spread(s[kind], view) for width, s in samples.items()], axis=0)
            for kind in range(3)
        )
        whole, like = (sum(map(each.cost, table)) for each in (self.whole, self.like))
        work = [(apart + alone / r).max() * (whole + (1 + r) * like) for r in LIKES]
        if min(work) > WORTH * own.max() * whole:
            return replace(self, like=None)
        return replace(self, likes=float(LIKES[np.argmin(work)]))


def _spread(sums: Sums | None, view: slice) -> np.ndarray:
    """The variance of a run `(time,)`, the mean over outputs in `view`."""
    assert sums is not None
    return sums.variance(EVERYWHERE)[:, view].mean(axis=(1, 2))


def _numbered(sampler: Sampler, width: int, there: int, count: int, likes: bool) -> list[Block]:
    """Blocks of whole groups, from the runs that are there to so many."""
    size = sampler.together(width)
    groups = range(there // size, math.ceil(count / size))
    return [Block(width, range(k * size, (k + 1) * size), likes) for k in groups]


def _ahead(levels: Levels, block: Block) -> None:
    """A block, for whoever looks for it in the store."""
    with progress("networks", False) as told:
        levels.shown(block, told)
