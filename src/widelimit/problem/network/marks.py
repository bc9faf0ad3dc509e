"""Marks: what stays attached to a neuron, as blocks of entries that have one law each.

Which kinds of nodes can stand for a mark depends on its laws alone: atoms, few or many continuous
coordinates (every mark is the image of independent standard normals, see `laws`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from widelimit.problem.network.laws import Atoms, Normal

ATOM_LIMIT = 4096
"""Atoms of a layer's mark are written out exactly up to this many."""

SPLIT_LIMIT = 16
"""Atoms beside continuous coordinates are written out exactly up to this many."""

LATTICE_MOST = 3
"""Lattices serve up to this many coordinates. Below it they scatter less than Sobol points in
every case measured, at it that depends on the problem, beyond it Sobol points need fewer nodes."""


@dataclass(frozen=True)
class Block:
    """A part of a neuron's mark: `size` entries with the same law."""

    name: str
    """ "input", "bias_l", "readout", "neuron" for the joint law of all three; "incoming" and
    "outgoing" for what comes with the weights from the layer below and to the layer above."""
    law: Normal | Atoms | Any
    size: int


def coordinates(mark: Sequence[Block]) -> int:
    """How many standard normals make a mark."""
    return sum(block.law.coordinates(block.size) for block in mark)


def factors(mark: Sequence[Block]) -> list[tuple[Any, Any]] | None:
    """Points and weights of the independent discrete laws that make a mark; None if any is not."""
    found = []
    for block in mark:
        atoms = block.law.atoms()
        if atoms is None:
            return None
        found += [atoms] * (1 if block.law.vector_size is not None else block.size)
    return found


def is_discrete(mark: Sequence[Block], most: int) -> bool:
    """Whether a mark has at most so many atoms, and nothing else; an empty one has one."""
    found = factors(mark)
    return found is not None and math.prod(len(points) for points, _ in found) <= most


def split_atoms(mark: tuple[Block, ...]) -> tuple[list[Block], list[Block]]:
    """Blocks to be written out as atoms, and blocks to be covered by normals."""
    discrete = [b for b in mark if b.law.atoms() is not None]
    if not is_discrete(discrete, SPLIT_LIMIT):
        discrete = []
    return discrete, [b for b in mark if b not in discrete]


def rule_names(mark: tuple[Block, ...]) -> tuple[str, ...]:
    """The rules of quadrature (see `nodes`) that can serve a mark, the likeliest first."""
    if is_discrete(mark, ATOM_LIMIT):
        return ("exact",)
    few = coordinates(split_atoms(mark)[1]) <= LATTICE_MOST
    return ("lattice", "sobol") if few else ("sobol",)
