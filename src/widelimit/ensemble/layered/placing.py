"""Neurons of layers at time zero: quadrature nodes of a limit, or the draws of a network."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.neurons import Ensemble
from widelimit.nodes.points import Nodes, Numbers, entries, exact_nodes, image
from widelimit.problem.network.embedding import Embedding
from widelimit.problem.network.laws import Single
from widelimit.problem.network.layers import Shape
from widelimit.problem.network.marks import ATOM_LIMIT, Block, coordinates
from widelimit.problem.network.network import Network


def limit_ensemble(
    network: Network, nodes: Sequence[Nodes], inputs: int, channels: int, dtype: DTypeLike
) -> Ensemble:
    """The infinite-width limit at time zero on quadrature nodes, one `Nodes` per index space.

    Weights between two layers in the limit enter through their conditional mean w_l(t, c', c),
    which starts at the mean of their law (Nguyen & Pham 2023, §5): no matrix of samples appears.
    """
    points = [layer.points.astype(dtype) for layer in nodes]
    sizes = [len(nodes[space].weights) for space in network.spaces]

    shapes = network.weight_shapes(inputs)

    def between(pair: int, law: Single) -> Numbers:
        pairs = sizes[pair], sizes[pair + 1]
        return np.full((*pairs, *shapes[pair + 1]), law.expectation(), dtype)

    weights = tuple(layer.weights.astype(dtype) for layer in nodes)
    parameters = _parameters(network, points, between, inputs, channels)
    return Ensemble(weights, parameters, spaces=network.spaces)


def sampled_network(
    key: PRNGKeyArray,
    network: Network,
    widths: tuple[int, ...],
    inputs: int,
    channels: int,
    dtype: DTypeLike,
    given: Sequence[Numbers | None] | None = None,
    apart: bool = False,
) -> tuple[Ensemble, tuple[Numbers, ...]]:
    """A network of widths (n_1, …, n_L) drawn from the initial laws, and its neurons' labels.

    A label is a neuron's mark `(neuron, entries)`, see `Network.marks`. A layer whose neurons
    are of finitely many kinds, fewer than its width, is held as these kinds with multinomial
    frequencies: the same law of networks, at the cost of the atoms. `given` holds the labels of
    layers that are not to be drawn; `apart` tells all neurons apart, as noise of their own does.
    """
    kinds = neuron_kinds(network, widths, inputs, channels, apart)
    drawn = _drawn(key, network, widths, 1, kinds, (inputs, channels), dtype, given)
    weights = tuple(share[0] for share in drawn.shares)
    return Ensemble(weights, drawn.parameters, spaces=network.spaces), drawn.points


def coupled_networks(
    key: PRNGKeyArray,
    network: Network,
    widths: tuple[int, ...],
    inputs: int,
    channels: int,
    dtype: DTypeLike,
) -> tuple[tuple[Ensemble, Ensemble], Ensemble]:
    """Two independent networks of these widths, and the one twice as wide that is both of them.

    The wide network has the neurons of both, the weights that join neurons of one half are that
    half's, and those between the halves are drawn in addition: every one of the three has the law
    of a sampled network of its widths. A layer that is held as kinds of neurons has the same
    kinds in all three, with the halves' frequencies and with their mean.
    """
    kinds = neuron_kinds(network, widths, inputs, channels)
    drawn = _drawn(key, network, widths, 2, kinds, (inputs, channels), dtype, None)
    whole = Ensemble(
        tuple(share.mean(0) for share in drawn.shares), drawn.parameters, spaces=network.spaces
    )
    first, second = (
        whole.weighted(tuple(share[half] for share in drawn.shares)).cut(
            [
                slice(half * n, (half + 1) * n) if kind is None else slice(None)
                for n, kind in zip(network.by_space(widths), kinds, strict=True)
            ]
        )
        for half in range(2)
    )
    return (first, second), whole


class _Draw(NamedTuple):
    """A network that is the union of several parts, drawn from the initial laws."""

    parameters: LayerParameters
    shares: tuple[Float[Array, "parts _"], ...]
    """Per space the neurons' weights in each part; their mean is that in the union."""
    points: tuple[Numbers, ...]
    """The neurons' labels."""


def _drawn(
    key: PRNGKeyArray,
    network: Network,
    widths: tuple[int, ...],
    parts: int,
    kinds: Sequence[Nodes | None],
    dims: tuple[int, int],
    dtype: DTypeLike,
    given: Sequence[Numbers | None] | None,
) -> _Draw:
    """The union of `parts` networks of these widths; `kinds` are those of one of them."""
    widths, spaces = network.by_space(widths), network.spaces
    total, independent = tuple(parts * width for width in widths), list(network.independent)
    sizes = held_sizes(kinds, total)
    normals_key, *kind_keys = jax.random.split(key, len(widths) + 1)
    layers = list(zip(network.marks(*dims), kinds, given or [None] * len(widths), strict=True))
    shapes = [
        (width, coordinates(mark) if atoms is None and fixed is None else 0)
        for width, (mark, atoms, fixed) in zip(total, layers, strict=True)
    ]
    own = network.weight_shapes(dims[0])
    joined = [(sizes[spaces[k]], sizes[spaces[k + 1]], *own[k + 1]) for k in independent]
    z = _normals(normals_key, [*shapes, *joined], dtype)
    edges = dict(zip(independent, z[len(widths) :], strict=True))
    points, shares = [], []
    for layer, (mark, atoms, fixed) in enumerate(layers):
        if atoms is None:
            points.append(image(mark, z[layer]) if fixed is None else jnp.asarray(fixed, dtype))
            share = jnp.eye(parts, dtype=dtype) / widths[layer]
            shares.append(jnp.repeat(share, widths[layer], axis=1))
        else:
            points.append(jnp.asarray(atoms.points, dtype))
            shares.append(_frequencies(kind_keys[layer], atoms, widths[layer], parts, dtype))

    def between(pair: int, law: Single) -> Numbers:
        return jnp.asarray(law.transform(edges[pair]))

    parameters = _parameters(network, points, between, *dims)
    return _Draw(parameters, tuple(shares), tuple(points))


def _frequencies(
    key: PRNGKeyArray, kinds: Nodes, width: int, parts: int, dtype: DTypeLike
) -> Float[Array, "parts kinds"]:
    """How often each kind occurs among `width` neurons, for independent layers."""
    law = jnp.tile(jnp.asarray(kinds.weights, dtype), (parts, 1))  # versions differ about `shape`
    return jax.random.multinomial(key, width, law, dtype=dtype) / width


def neuron_kinds(
    network: Network, widths: tuple[int, ...], inputs: int, channels: int, apart: bool = False
) -> list[Nodes | None]:
    """Per index space, the kinds of neurons if they are fewer than the width, else None.

    Neurons with equal marks are of one kind only if the hidden-to-hidden weights around them
    are constants or belong to the marks. Neurons of layers of finite width are told apart, and
    with `apart` all of them.
    """
    constants = [law.atoms() for law in network.independent.values()]
    if apart or any(atoms is None or len(atoms[1]) > 1 for atoms in constants):
        return [None] * (max(network.spaces) + 1)
    marks = network.marks(inputs, channels)
    sizes, finite = network.by_space(widths), network.by_space(network.finite_widths)
    return [
        exact_nodes(mark, min(width - 1, ATOM_LIMIT)) if fixed is None else None
        for mark, width, fixed in zip(marks, sizes, finite, strict=True)
    ]


def held_sizes(kinds: Sequence[Nodes | None], widths: tuple[int, ...]) -> list[int]:
    """How many weighted neurons stand for each index space of a network."""
    return [n if k is None else len(k.weights) for n, k in zip(widths, kinds, strict=True)]


def _normals(key: PRNGKeyArray, shapes: Sequence[Shape], dtype: DTypeLike) -> list[Array]:
    """Independent standard normals in the given shapes, from one draw (one compilation)."""
    stops = np.cumsum([0, *(math.prod(shape) for shape in shapes)])
    flat = jax.random.normal(key, (int(stops[-1]),), dtype)
    return [
        flat[start:stop].reshape(shape)
        for start, stop, shape in zip(stops, stops[1:], shapes, strict=False)
    ]


def _parameters(
    network: Network,
    points: Sequence[Numbers],
    between: Callable[[int, Single], Numbers],
    inputs: int,
    channels: int,
) -> LayerParameters:
    """Marks cut into the parameters they hold.

    `between(pair, law)` are the weights between two layers if they belong to neither's labels.
    """
    marks, first = network.marks(inputs, channels), network.entries(inputs, channels)[0]
    spaces = [_entries(m, p, first, network.biases) for m, p in zip(marks, points, strict=True)]
    parts = [spaces[space] for space in network.spaces]
    hidden, shapes = [], network.weight_shapes(inputs)
    for pair, (law, below, above) in enumerate(
        zip(network.initial.hidden, parts, parts[1:], strict=False)
    ):
        if isinstance(law, Embedding):
            hidden.append(law.join(_label(below), _label(above)))
        elif "outgoing" in below:
            own = below["outgoing"]
            hidden.append(own.reshape(len(own), -1, *shapes[pair + 1]))
        elif "incoming" in above:
            own = above["incoming"]
            hidden.append(own.reshape(len(own), -1, *shapes[pair + 1]).swapaxes(0, 1))
        else:
            hidden.append(between(pair, law))
    return LayerParameters(
        input=parts[0]["input"],
        hidden=tuple(hidden),
        readout=parts[-1]["readout"],
        biases=tuple(part[f"bias_{k}"][:, 0] for k, part in enumerate(parts, 1))
        if network.biases
        else None,
        output_bias=np.zeros(channels, points[0].dtype) if network.output_bias else None,
    )


def _label(part: dict[str, Numbers]) -> dict[str, Numbers]:
    """A neuron's entries by their kind, whatever the layer."""
    return {name.partition("_")[0]: own for name, own in part.items()}


def _entries(
    mark: tuple[Block, ...], points: Numbers, inputs: int, biased: bool
) -> dict[str, Numbers]:
    """Columns of marks by name; a joint law holds input weights, bias, readout, in this order."""
    sizes = {block.name: block.size for block in mark}
    if "neuron" in sizes:
        rest = sizes["neuron"] - inputs - biased
        sizes = {"input": inputs, "bias_1": int(biased), "readout": rest}
    return entries(sizes, points)
