"""How much memory a solve may use, and how many data points it handles at once to stay inside.

Neurons and their edges are held whole, in the copies that a Runge–Kutta method keeps; the values
of all neurons at a data point are needed only while that point is handled. So the data are cut
into pieces; what the pieces give is added up, and the numbers are the same up to rounding.

Over several devices each holds its own neurons (`devices`). Accelerators have a memory each, and
the budget is that of one; processors of one process have the same, and it is that of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import psutil

from widelimit.motion.devices import ONE, Devices, Spread
from widelimit.problem.network.architecture import Costs

SHARE = 4
"""By default one part in so many of the machine's memory."""

POINT_COPIES = 3
"""Arrays of the size (points, neurons) that are alive while a piece of the data is handled."""

LOOKED_AT = 3
"""Copies that are held beside what is looked at: where devices do not divide the neurons, that is
whole on each of them, and so is what it is put together from."""

BASE = 512 * 10**6
"""Bytes that Python, JAX and compiled code take before anything is solved (measured: 492 … 513)."""

PIECE_VALUES = 2**21
"""Values of neurons in a piece of the data: larger ones leave the processor's cache (16,384 nodes
of one layer: 144 ms for 128 points at once, 239 ms for all 1,797)."""

FIRST_POINTS = 64
"""Pieces are not made smaller than this for the cache's sake."""


def default_memory() -> int:
    """A quarter of the machine's memory, or all that JAX may take of an accelerator's, in bytes."""
    own = jax.local_devices()[0].memory_stats() or {}
    return own.get("bytes_limit") or psutil.virtual_memory().total // SHARE


@dataclass(frozen=True)
class Memory:
    """A budget in bytes, and what costs are made of.

    `costs`: those of the network's layers; `itemsize`: bytes of a number; `points`: data points at
    which outputs are computed; `kept`: bytes of what is looked at and kept of all runs; `devices`:
    those that large ensembles are spread over.
    """

    budget: int
    costs: Costs
    itemsize: int
    points: int
    kept: int = 0
    devices: Devices = ONE

    def spread(self, sizes: Sequence[int]) -> Spread:
        """How layers of these sizes lie on the devices."""
        return self.devices.spread(self.costs, sizes)

    def edges(self, sizes: Sequence[int]) -> int:
        """How many weights join layers of these sizes, inputs and outputs included."""
        return self.costs.held(sizes)

    def needed(self, sizes: Sequence[int], copies: int, points: int) -> int:
        """Bytes of a solve on layers of these sizes, so many data points at once."""
        spread = self.spread(sizes)
        each, together = spread.each(sizes), self.devices.in_one_memory if spread.held else 1
        edges = max(self.edges(each), -(-self.edges(sizes) // spread.pieces))
        state, (more, compiled) = edges + 2 * sum(each), self.costs.spare
        if spread.fills(sizes):
            copies = max(copies, LOOKED_AT + 2 * spread.pieces)
        values = POINT_COPIES * points * self.costs.values(each)
        data = 2 * self.points * sum(self.costs.ends)
        held = together * ((copies + more) * state + values + data)
        return BASE + compiled + self.kept + self.itemsize * held

    def fits(self, sizes: Sequence[int], copies: int) -> bool:
        """Whether a solve can be done at all, one data point at a time if need be."""
        return self.needed(sizes, copies, 1) <= self.budget

    def points_at_once(self, sizes: Sequence[int], copies: int) -> int:
        """As many data points as the budget and the processor's cache bear."""
        one = self.needed(sizes, copies, 1)
        each = self.needed(sizes, copies, 2) - one
        affordable = 1 + max(0, self.budget - one) // each
        own = self.costs.values(self.spread(sizes).each(sizes))
        quick = max(FIRST_POINTS, PIECE_VALUES // own)
        return int(min(self.points, affordable, quick))
