"""Units at time zero: nodes of depth × unit for a limit, or the draws of a network."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.neurons import Depth, Ensemble
from widelimit.ensemble.residual.parameters import UnitParameters
from widelimit.nodes.points import Nodes, Numbers, entries, image
from widelimit.problem.network.marks import coordinates
from widelimit.problem.network.residual import ResidualNetwork


def limit_units(
    network: ResidualNetwork,
    nodes: Sequence[Nodes],
    ends: UnitParameters,
    depth: Depth,
    dtype: DTypeLike,
) -> Ensemble:
    """The limit at time zero on nodes of depth × unit, in so many depths.

    Nodes of a kind have their depth as first entry, and stand in the order of it. Depth k takes in
    those between k/K and (k + 1)/K, with the weight 1/K in all; where they are not equally many
    everywhere, weightless copies fill up, to the same number in all scrambles: code compiles once.
    """
    stream, units, weights = ends.embedding.shape[1], [], []
    for unit, own in zip(network.blocks, nodes, strict=True):
        place, share = _in_depths(own, depth.nodes)
        sizes = unit.sizes(stream, network.biases)
        points = own.points[place, 1:].astype(dtype)
        units.append(entries(sizes, points))
        weights.append(share.astype(dtype))
    return Ensemble(tuple(weights), _with(ends, units, dtype), depth=depth)


def _in_depths(nodes: Nodes, depths: int) -> tuple[np.ndarray, np.ndarray]:
    """Which node stands where, depth by depth, and with which weight.

    Nodes that have one depth (twins, the parts of a law) stay together: they are the law.
    """
    first = np.flatnonzero(np.diff(nodes.points[:, 0], prepend=-1.0))
    count, each = len(first), len(nodes.points) // len(first)
    group = np.arange(count)
    cell = np.clip((nodes.points[first, 0] * depths).astype(int), 0, depths - 1)
    if len(np.unique(cell)) < depths:  # they do not reach every depth: in their order
        group = np.arange(max(count, depths)) * count // max(count, depths)
        cell = np.arange(len(group)) * depths // len(group)
    counts = np.bincount(cell, minlength=depths)
    usual = -(-count // depths) + (count % depths > 0)  # no interval holds more of a Sobol sequence
    starts, offset = np.cumsum(counts) - counts, np.arange(max(usual, counts.max()))[None]
    chosen = group[starts[:, None] + np.minimum(offset, counts[:, None] - 1)]
    felt = (offset < counts[:, None])[..., None] * nodes.weights.reshape(count, each)[chosen]
    share = felt.reshape(depths, -1)
    share = share / (share.sum(axis=1, keepdims=True) * depths)
    return (chosen[..., None] * each + np.arange(each)).ravel(), share.ravel()


def drawn_units(
    key: PRNGKeyArray,
    network: ResidualNetwork,
    shape: tuple[int, ...],
    ends: UnitParameters,
    dtype: DTypeLike,
) -> tuple[Ensemble, tuple[Numbers, ...]]:
    """A network of L blocks of M units drawn from the initial laws, and its units' labels."""
    depth, width = shape
    stream, count = ends.embedding.shape[1], math.prod(shape)
    depths = (jnp.repeat(jnp.arange(depth), width) + 0.5) / depth
    units, labels = [], []
    for unit, own in zip(network.blocks, jax.random.split(key, len(network.blocks)), strict=True):
        mark = network.unit_blocks(unit, stream)
        z = jax.random.normal(own, (count, coordinates(mark)), dtype)
        points = image(mark, z)
        units.append(entries(unit.sizes(stream, network.biases), points))
        labels.append(jnp.concatenate([depths[:, None].astype(dtype), points], axis=1))
    shares = (jnp.full(count, 1 / count, dtype),) * len(units)
    drawn = Ensemble(shares, _with(ends, units, dtype), depth=Depth(depth))
    return drawn, tuple(labels)


def drawn_ends(network: ResidualNetwork, dims: tuple[int, int], seed: int) -> UnitParameters:
    """Embedding and unembedding, drawn once by the problem's seed: the same for all.

    They are numbers even where networks are drawn by compiled code.
    """
    inputs, outputs = dims
    stream, token = network.width_of_stream(inputs), network.token(inputs)
    laws, rng = network.initial, generator(Stream.ENDS, seed)

    def drawn(law: Any, shape: tuple[int, int]) -> np.ndarray:
        z = rng.normal(size=(math.prod(shape), law.coordinates(1)))
        with in_precision("float64"), jax.ensure_compile_time_eval():
            return np.asarray(law.transform(z), float).reshape(shape)

    unembedding = drawn(network.law("unembedding", stream), (stream, outputs))
    own = laws.embedding
    embedding = np.eye(token, stream) if own == "identity" else drawn(own, (token, stream))
    position = None if laws.position is None else drawn(laws.position, (network.tokens, stream))
    last = np.zeros(outputs) if network.output_bias else None
    return UnitParameters((), embedding, position, unembedding, last, network.kinds)


def _with(
    ends: UnitParameters, units: Sequence[dict[str, Numbers]], dtype: DTypeLike
) -> UnitParameters:
    """Units between both ends, held as `dtype`."""
    return replace(jax.tree.map(lambda end: end.astype(dtype), ends), units=tuple(units))
