"""Weighted points of a mark: images of standard normals, beside atoms that are written out."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.problem.network.marks import (
    SPLIT_LIMIT,
    Block,
    factors,
    is_discrete,
    split_atoms,
)

Numbers = Array | np.ndarray
"""Ensembles are placed by NumPy and moved by JAX: small arrays are cheaper to cut in the former."""


@dataclass(frozen=True)
class Nodes:
    """Weighted points of a mark: `points (node, entries)`, `weights (node,)` with sum 1."""

    points: np.ndarray
    weights: np.ndarray


def image(mark: Sequence[Block], z: Numbers) -> Numbers:
    """Marks `(neuron, entries)` of standard normals `(neuron, coordinates)`; NumPy stays NumPy."""
    arrays = np if isinstance(z, np.ndarray) else jnp
    columns, start = [z[:, :0]], 0
    for block in mark:
        stop = start + block.law.coordinates(block.size)
        columns.append(arrays.asarray(block.law.transform(z[:, start:stop])))
        start = stop
    return arrays.concatenate(columns, axis=1)


def entries(sizes: Mapping[str, int], points: Numbers) -> dict[str, Numbers]:
    """Columns of marks by name."""
    found, start = {}, 0
    for name, size in sizes.items():
        found[name] = points[:, start : start + size]
        start += size
    return found


def exact_nodes(mark: Sequence[Block], most: int) -> Nodes | None:
    """All atoms of a discrete mark, or None if it is not discrete or has more than `most`."""
    if not is_discrete(mark, most):
        return None
    laws = factors(mark)
    assert laws is not None
    empty = np.zeros(0)  # an empty mark: one neuron without entries
    rows = [np.concatenate([empty, *c]) for c in itertools.product(*(points for points, _ in laws))]
    weights = [np.prod(c) for c in itertools.product(*(weights for _, weights in laws))]
    return Nodes(np.array(rows, float).reshape(len(rows), -1), np.array(weights))


def atoms_beside(mark: tuple[Block, ...]) -> int:
    """How many combinations of atoms stand beside the continuous coordinates."""
    atoms = exact_nodes(split_atoms(mark)[0], SPLIT_LIMIT)
    assert atoms is not None
    return len(atoms.weights)


def beside_atoms(mark: tuple[Block, ...], z: np.ndarray, weights: np.ndarray) -> Nodes:
    """The product of the exact atoms of a mark with normals `z (node, coordinate)`."""
    discrete, smooth = split_atoms(mark)
    atoms = exact_nodes(discrete, SPLIT_LIMIT)
    assert atoms is not None
    columns = {
        **entries(_sizes(smooth), np.repeat(image(smooth, z), len(atoms.weights), axis=0)),
        **entries(_sizes(discrete), np.tile(atoms.points, (len(z), 1))),
    }
    points = np.concatenate([columns[block.name] for block in mark], axis=1)
    return Nodes(points, np.outer(weights, atoms.weights).ravel())


def _sizes(blocks: Sequence[Block]) -> dict[str, int]:
    return {block.name: block.size for block in blocks}
