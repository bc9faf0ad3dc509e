"""Weighted neurons, layer by layer: the neuronal ensemble.

A network of widths n is n_l neurons of weight 1/n_l in every layer; a limit is another set of
weighted neurons under the same equations. Neurons of weight zero are tracers: the others carry
them along and do not feel them.
"""

from collections.abc import Sequence
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from widelimit.network import Block, Network
from widelimit.quadrature import ATOM_LIMIT, Nodes, coordinates, exact_nodes
from widelimit.schedules import Rate

Numbers = Array | np.ndarray
"""Ensembles are placed by NumPy and moved by JAX: small arrays are cheaper to cut in the former."""


class Parameters(eqx.Module):
    """Everything that training moves, or something of the same layout (a gradient, rates)."""

    input: Numbers  # (n_1, inputs)
    hidden: tuple[Numbers, ...]  # (n_{l-1}, n_l) for l = 2 … L
    readout: Numbers  # (n_L, channels)
    biases: tuple[Numbers, ...] | None  # (n_l,) for l = 1 … L
    output_bias: Numbers | None  # (channels,)


class Rates(eqx.Module):
    """ξ(t) for every kind of parameter, in the layout of the parameters."""

    input: Rate
    hidden: tuple[Rate, ...]
    readout: Rate
    biases: tuple[Rate, ...] | None
    output_bias: Rate | None

    def at(self, t: ArrayLike) -> Parameters:
        """The rates at time t."""
        return Parameters(
            input=self.input.at(t),
            hidden=tuple(rate.at(t) for rate in self.hidden),
            readout=self.readout.at(t),
            biases=None if self.biases is None else tuple(rate.at(t) for rate in self.biases),
            output_bias=None if self.output_bias is None else self.output_bias.at(t),
        )

    def at_their_highest(self) -> "Rates":
        """Every rate at the time where it is largest."""
        return jax.tree.map(
            lambda rate: rate.at_its_highest(), self, is_leaf=lambda leaf: isinstance(leaf, Rate)
        )


class Ensemble(eqx.Module):
    """Neurons with weights: `weights[l]` `(neuron,)` with sum 1, and their parameters."""

    weights: tuple[Float[Numbers, "*batch _"], ...]
    parameters: Parameters

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many neurons each layer holds."""
        return tuple(w.shape[-1] for w in self.weights)

    def first(self, counts: Sequence[int]) -> "Ensemble":
        """The first neurons of each layer, their weights scaled to sum to 1."""
        if tuple(counts) == self.sizes:
            return self
        cut, p = [slice(n) for n in counts], self.parameters
        weights = [w[c] for w, c in zip(self.weights, cut, strict=True)]
        parameters = Parameters(
            input=p.input[cut[0]],
            hidden=tuple(w[a, b] for w, (a, b) in zip(p.hidden, pairwise(cut), strict=True)),
            readout=p.readout[cut[-1]],
            biases=None
            if p.biases is None
            else tuple(b[c] for b, c in zip(p.biases, cut, strict=True)),
            output_bias=p.output_bias,
        )
        return Ensemble(tuple(w / w.sum() for w in weights), parameters)


def limit_ensemble(
    network: Network, nodes: Sequence[Nodes], inputs: int, channels: int, dtype: DTypeLike
) -> Ensemble:
    """The infinite-width limit at time zero on quadrature nodes, one `Nodes` per hidden layer.

    Hidden-to-hidden weights enter through their conditional mean w_l(t, c', c), which starts at
    the mean of their law (Nguyen & Pham 2023, §5): no matrix of samples appears.
    """
    points = [layer.points.astype(dtype) for layer in nodes]
    sizes = [len(layer.weights) for layer in nodes]
    hidden = tuple(
        np.full((before, after), law.expectation(), dtype)
        for law, (before, after) in zip(network.initial.hidden, pairwise(sizes), strict=True)
    )
    weights = tuple(layer.weights.astype(dtype) for layer in nodes)
    return Ensemble(weights, _parameters(network, points, hidden, inputs, channels))


def sampled_ensemble(
    key: PRNGKeyArray,
    network: Network,
    widths: tuple[int, ...],
    inputs: int,
    channels: int,
    dtype: DTypeLike,
) -> Ensemble:
    """A network of widths (n_1, …, n_L) drawn from the initial laws.

    A layer whose neurons are of finitely many kinds, fewer than its width, is held as these
    kinds with multinomial frequencies: the same law of networks, at the cost of the atoms.
    """
    marks = network.marks(inputs, channels)
    kinds = neuron_kinds(network, widths, inputs, channels)
    sizes = held_sizes(kinds, widths)
    normals_key, *kind_keys = jax.random.split(key, len(widths) + 1)
    shapes = [
        (width, coordinates(mark) if atoms is None else 0)
        for mark, width, atoms in zip(marks, widths, kinds, strict=True)
    ]
    z = _normals(normals_key, [*shapes, *pairwise(sizes)], dtype)
    points, weights = [], []
    for layer, (mark, width, atoms) in enumerate(zip(marks, widths, kinds, strict=True)):
        if atoms is None:
            points.append(_marked(mark, z[layer]))
            weights.append(jnp.full(width, 1 / width, dtype))
        else:
            points.append(jnp.asarray(atoms.points, dtype))
            law = jnp.asarray(atoms.weights, dtype)
            counts = jax.random.multinomial(kind_keys[layer], width, law, dtype=dtype)
            weights.append(counts / width)
    edges = zip(network.initial.hidden, z[len(widths) :], strict=True)
    hidden = tuple(jnp.asarray(law.transform(normals)) for law, normals in edges)
    return Ensemble(tuple(weights), _parameters(network, points, hidden, inputs, channels))


def neuron_kinds(
    network: Network, widths: tuple[int, ...], inputs: int, channels: int
) -> list[Nodes | None]:
    """Per layer, the kinds of neurons if they are fewer than the width, else None.

    Neurons with equal marks are of one kind only if the hidden-to-hidden weights around them
    are constants.
    """
    constants = [law.atoms() for law in network.initial.hidden]
    if any(atoms is None or len(atoms[1]) > 1 for atoms in constants):
        return [None] * network.depth
    marks = network.marks(inputs, channels)
    return [
        exact_nodes(mark, min(width - 1, ATOM_LIMIT))
        for mark, width in zip(marks, widths, strict=True)
    ]


def held_sizes(kinds: Sequence[Nodes | None], widths: tuple[int, ...]) -> list[int]:
    """How many weighted neurons stand for each layer of a network."""
    return [n if k is None else len(k.weights) for n, k in zip(widths, kinds, strict=True)]


def _normals(key: PRNGKeyArray, shapes: Sequence[tuple[int, int]], dtype: DTypeLike) -> list[Array]:
    """Independent standard normals in the given shapes, from one draw (one compilation)."""
    stops = np.cumsum([0, *(rows * columns for rows, columns in shapes)])
    flat = jax.random.normal(key, (int(stops[-1]),), dtype)
    return [
        flat[start:stop].reshape(shape)
        for start, stop, shape in zip(stops, stops[1:], shapes, strict=False)
    ]


def _marked(mark: tuple[Block, ...], z: Array) -> Array:
    """Marks `(neuron, entries)` from standard normals `(neuron, coordinates)`."""
    columns, start = [z[:, :0]], 0
    for block in mark:
        stop = start + block.law.coordinates(block.size)
        columns.append(jnp.asarray(block.law.transform(z[:, start:stop])))
        start = stop
    return jnp.concatenate(columns, axis=1)


def _parameters(
    network: Network,
    points: Sequence[Numbers],
    hidden: tuple[Numbers, ...],
    inputs: int,
    channels: int,
) -> Parameters:
    """Marks cut into the parameters they hold; biases and readout stand last in a mark."""
    biased = int(network.biases)
    last = points[-1].shape[1] - channels
    biases = (points[0][:, inputs], *(p[:, 0] for p in points[1:])) if network.biases else None
    assert last == (inputs if network.depth == 1 else 0) + biased
    return Parameters(
        input=points[0][:, :inputs],
        hidden=hidden,
        readout=points[-1][:, last:],
        biases=biases,
        output_bias=np.zeros(channels, points[0].dtype) if network.output_bias else None,
    )
