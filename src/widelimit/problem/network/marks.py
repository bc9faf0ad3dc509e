"""Marks: what stays attached to a neuron, as blocks of entries that have one law each.

Which kinds of nodes can stand for a mark depends on its laws alone: atoms, few or many continuous
coordinates (every mark is the image of independent standard normals, see `laws`). Laws that are
mixtures, of atoms or of normal laws, are split: each part has nodes of its own and its exact
weight, so that no part is missed, however rare.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from widelimit.problem.network.laws import Atoms, Mixture, Normal, Product, Sphere

ATOM_LIMIT = 4096
"""Atoms of a layer's mark are written out exactly up to this many."""

SPLIT_LIMIT = 16
"""Combinations of parts (of atoms, of components of mixtures) have nodes of their own up to this
many."""

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


@dataclass(frozen=True)
class Constant:
    """The law of one vector that is always the same: an atom of a law that is split."""

    point: tuple[float, ...]

    @property
    def vector_size(self) -> int:
        """Its length."""
        return len(self.point)

    def coordinates(self, size: int) -> int:
        """It takes no normals."""
        return 0

    def transform(self, z: np.ndarray) -> np.ndarray:
        """`(node, 0)` normals to `(node, size)` entries."""
        return np.broadcast_to(np.array(self.point), (len(z), len(self.point)))

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """The point, of weight 1."""
        return np.array([self.point]), np.ones(1)


Part = tuple[float, Block]
"""One of the laws that a law is a mixture of, with its weight."""


@dataclass(frozen=True)
class Stratum:
    """A part of a mark's law: its weight, and a mark that has one part of each law that is split.

    All strata of a mark are images of equally many normals.
    """

    weight: float
    mark: tuple[Block, ...]


def coordinates(mark: Sequence[Block]) -> int:
    """How many standard normals make a mark."""
    return sum(block.law.coordinates(block.size) for block in mark)


def pieces(block: Block) -> list[Block]:
    """The independent pieces of a block: its entries, or all of it where these are not."""
    if isinstance(block.law, Product):
        return [Block(block.name, factor, 1) for factor in block.law.factors]
    if block.law.vector_size is not None or isinstance(block.law, Sphere):
        return [block]
    return [Block(block.name, block.law, 1)] * block.size


def parts(piece: Block) -> list[Part]:
    """The laws that the law of a piece is a mixture of: atoms, normal components, or itself."""
    law, name, atoms = piece.law, piece.name, piece.law.atoms()
    if atoms is not None:
        points, weights = atoms
        laws: list[Any] = [Constant(tuple(point)) for point in points.tolist()]
    elif isinstance(law, Mixture):
        laws, weights = law.parts()
    else:
        return [(1.0, piece)]
    return [
        (weight, Block(name, own, piece.size)) for weight, own in zip(weights, laws, strict=True)
    ]


def _alternatives(block: Block) -> list[list[Part]]:
    """The parts of each piece of a block; a block that has one part only is left whole."""
    own = pieces(block)
    found = [parts(piece) for piece in own]
    whole = found == [[(1.0, piece)] for piece in own]
    return [[(1.0, block)]] if whole else found


def strata(mark: Sequence[Block]) -> list[Stratum]:
    """The strata of a mark: one for each combination of parts, at most `SPLIT_LIMIT`.

    Blocks with the rarest parts are split first; what would make too many combinations stays whole.
    """
    found = [_alternatives(block) for block in mark]
    rarest = [min((w for own in block for w, _ in own), default=1.0) for block in found]
    combinations, kept = 1, [[[(1.0, block)]] for block in mark]
    for place in sorted(range(len(mark)), key=lambda k: rarest[k]):
        here = math.prod(map(len, found[place]))
        if combinations * here <= SPLIT_LIMIT:
            combinations, kept[place] = combinations * here, found[place]
    return [
        Stratum(math.prod(weight for weight, _ in chosen), tuple(block for _, block in chosen))
        for chosen in itertools.product(*(own for block in kept for own in block))
    ]


def factors(mark: Sequence[Block]) -> list[tuple[Any, Any]] | None:
    """Points and weights of the independent discrete laws that make a mark; None if any is not."""
    found = []
    for piece in (piece for block in mark for piece in pieces(block)):
        atoms = piece.law.atoms()
        if atoms is None:
            return None
        found.append(atoms)
    return found


def is_discrete(mark: Sequence[Block], most: int) -> bool:
    """Whether a mark has at most so many atoms, and nothing else; an empty one has one."""
    found = factors(mark)
    return found is not None and math.prod(len(points) for points, _ in found) <= most


def rule_names(mark: tuple[Block, ...]) -> tuple[str, ...]:
    """The rules of quadrature (see `nodes`) that can serve a mark, the likeliest first."""
    if mark and mark[0].name == "depth":
        return ("joint",)
    if is_discrete(mark, ATOM_LIMIT):
        return ("exact",)
    few = coordinates(strata(mark)[0].mark) <= LATTICE_MOST
    return ("lattice", "sobol") if few else ("sobol",)
