"""What has been trained to measure a limit so far, and how fast that went."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import xarray as xr

from widelimit.basics.progress import Progress
from widelimit.limit.measured.levels import Block, Levels
from widelimit.limit.measured.sample import Sampler
from widelimit.limit.measured.sums import Sample


@dataclass
class Trained:
    """Networks of several widths: what is kept of them in `table`, of the first the neurons."""

    levels: Levels
    told: Progress
    table: dict[int, Sample] = field(default_factory=dict)
    neurons: dict[int, xr.Dataset] = field(default_factory=dict)
    axes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    seconds: float = 0.0
    work: float = 0.0
    begun: float = field(default_factory=time.perf_counter)

    @property
    def sampler(self) -> Sampler:
        """Of the networks that learn from all data."""
        return self.levels.whole

    def count(self, width: int) -> int:
        """How many runs of a width there are."""
        return self.table[width].own.runs if width in self.table else 0

    def again(self, levels: Levels) -> None:
        """Begin anew, with other networks."""
        self.levels, self.table, self.neurons = levels, {}, {}

    def choose_likes(self, view: slice) -> None:
        """Go on with as many likes as serve the outputs in `view` best, or without."""
        self.levels = self.levels.with_best_likes(self.table, view)
        if self.levels.like is None:
            self.table = {width: Sample(kept.own) for width, kept in self.table.items()}

    def train(self, asked: Mapping[int, int]) -> None:
        """Train runs until there are at least so many of each width. Raises `Diverged`."""
        blocks = self._blocks(asked)
        self.told.expect(len(blocks) + sum(not own.likes for own in blocks if self.levels.like))
        started = time.perf_counter()
        self.levels.ahead(blocks)
        for block in blocks:
            before = self.table.get(block.width)
            self.table[block.width], shown = self.levels.with_block(before, block, self.told)
            if not block.likes:
                self.neurons.setdefault(block.width, shown.neurons)
                self.axes = shown.axes
        self.seconds += time.perf_counter() - started
        self.work += sum(map(self.levels.work, blocks))

    def forecast(self, asked: Mapping[int, int]) -> float:
        """Seconds that runs take which are not there, at the pace of those that are."""
        left = {width: max(0, count - self.count(width)) for width, count in asked.items()}
        work = sum(count * self.levels.cost(width) for width, count in left.items())
        return work * self.seconds / self.work if self.work else 0.0

    def within(self, asked: Mapping[int, int], seconds: float) -> dict[int, int]:
        """The share of these runs that so many seconds from the beginning allow: whole groups."""
        left = seconds - (time.perf_counter() - self.begun)
        needed, found = self.forecast(asked), {}
        share = min(1.0, max(0.0, left / needed)) if needed else 1.0
        for width, count in asked.items():
            have, size = self.count(width), self.sampler.together(width)
            more = max(0, count - have)
            found[width] = have + (more if share == 1 else int(share * more / size) * size)
        return found

    def _blocks(self, asked: Mapping[int, int]) -> list[Block]:
        """What is to be trained for so many runs of each width."""
        kept = self.table
        return [b for w, n in asked.items() for b in self.levels.blocks(w, kept.get(w), n)]
