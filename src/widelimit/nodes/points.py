"""Weighted points of a mark: images of standard normals, in every part of a law that has parts."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.problem.network.marks import Block, factors, is_discrete, strata

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


def in_strata(mark: tuple[Block, ...], z: np.ndarray, weights: np.ndarray) -> Nodes:
    """Normals `z (node, coordinate)` in every stratum of a mark, which keeps its exact weight."""
    split = strata(mark)
    points = np.stack([image(own.mark, z) for own in split], axis=1)  # (node, stratum, entry)
    shares = np.array([own.weight for own in split])
    return Nodes(points.reshape(-1, points.shape[2]), np.outer(weights, shares).ravel())
