"""Weighted neurons, layer by layer: the neuronal ensemble.

A network of widths n is n_l neurons of weight 1/n_l in every layer; a limit is another set of
weighted neurons under the same equations. Neurons of weight zero are tracers: the others carry
them along and do not feel them.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, PRNGKeyArray

from widelimit.nodes.points import Nodes, Numbers, entries, exact_nodes, image
from widelimit.problem.network.embedding import Embedding
from widelimit.problem.network.laws import Single
from widelimit.problem.network.layers import Shape
from widelimit.problem.network.marks import ATOM_LIMIT, Block, coordinates
from widelimit.problem.network.network import Network
from widelimit.problem.training.schedules import Rate


class Parameters(eqx.Module):
    """Everything that training moves, or something of the same layout (a gradient, rates)."""

    input: Numbers  # (n_1, entries of a neuron's first weight)
    hidden: tuple[Numbers, ...]  # (n_{l-1}, n_l, …) for l = 2 … L
    readout: Numbers  # (n_L, channels), positions of an image within a channel
    biases: tuple[Numbers, ...] | None  # (n_l,) for l = 1 … L
    output_bias: Numbers | None  # (channels,)

    def taken(self, chosen: Sequence[np.ndarray]) -> "Parameters":
        """Those of the chosen neurons of each layer, in this order, as often as they are chosen."""
        hidden = tuple(w[a][:, b] for w, (a, b) in zip(self.hidden, pairwise(chosen), strict=True))
        biases = self.biases
        return Parameters(
            input=self.input[chosen[0]],
            hidden=hidden,
            readout=self.readout[chosen[-1]],
            biases=biases and tuple(b[c] for b, c in zip(biases, chosen, strict=True)),
            output_bias=self.output_bias,
        )

    def cut(self, cut: Sequence[slice]) -> "Parameters":
        """Those of some neurons of each layer."""
        hidden = tuple(w[a, b] for w, (a, b) in zip(self.hidden, pairwise(cut), strict=True))
        biases = self.biases
        return Parameters(
            input=self.input[cut[0]],
            hidden=hidden,
            readout=self.readout[cut[-1]],
            biases=biases and tuple(b[c] for b, c in zip(biases, cut, strict=True)),
            output_bias=self.output_bias,
        )


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


State = tuple[Parameters, tuple[Parameters, ...]]
"""What moves: the parameters, and what the learning rule remembers."""


class Ensemble(eqx.Module):
    """Neurons with weights: `weights[s]` `(neuron,)` with sum 1, and their parameters.

    `memory` is what the learning rule carries along, arrays like those of the parameters. `spaces`
    tells of every layer which index space its neurons are of (None: each has its own). `counted`
    is how many of each space's first neurons there are, where weightless copies of the last one
    fill up devices (None: all).
    """

    weights: tuple[Float[Numbers, "*batch _"], ...]
    parameters: Parameters
    memory: tuple[Parameters, ...] = ()
    spaces: tuple[int, ...] | None = eqx.field(static=True, default=None)
    counted: tuple[int, ...] | None = eqx.field(static=True, default=None)

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many neurons each index space holds."""
        return tuple(w.shape[-1] for w in self.weights)

    def by_layer(self, per_space: Sequence[Any]) -> tuple[Any, ...]:
        """What belongs to the neurons of every layer."""
        return tuple(per_space) if self.spaces is None else tuple(per_space[s] for s in self.spaces)

    def masses(self) -> Parameters:
        """What every parameter weighs in averages over neurons, in shapes that broadcast."""
        p, theta = self.by_layer(self.weights), self.parameters
        pairs = ((a[..., :, None] * b[..., None, :]) for a, b in pairwise(p))
        return Parameters(
            input=p[0][..., None],
            hidden=tuple(
                m.reshape(*m.shape, *[1] * (w.ndim - m.ndim))
                for m, w in zip(pairs, theta.hidden, strict=True)
            ),
            readout=p[-1][..., None],
            biases=None if theta.biases is None else tuple(p),
            output_bias=None if theta.output_bias is None else np.ones(1, p[0].dtype),
        )

    @property
    def state(self) -> State:
        """What moves; the weights stay."""
        return self.parameters, self.memory

    def at(self, state: State) -> "Ensemble":
        """The same neurons in another state."""
        return Ensemble(self.weights, *state, self.spaces, self.counted)

    def weighted(self, weights: tuple[Numbers, ...]) -> "Ensemble":
        """The same neurons with other weights."""
        return Ensemble(weights, *self.state, self.spaces, self.counted)

    def taken(self, chosen: Sequence[np.ndarray]) -> "Ensemble":
        """The chosen neurons of each space, as often as they are chosen, with their weights."""
        weights = tuple(w[c] for w, c in zip(self.weights, chosen, strict=True))
        own = self.by_layer(chosen)
        memory = tuple(kept.taken(own) for kept in self.memory)
        return Ensemble(weights, self.parameters.taken(own), memory, self.spaces)

    def first(self, counts: Sequence[int]) -> "Ensemble":
        """The first neurons of each space, their weights scaled to sum to 1."""
        if tuple(counts) == self.sizes:
            return self
        chosen = self.cut([slice(n) for n in counts])
        return chosen.weighted(tuple(w / w.sum() for w in chosen.weights))

    def unfilled(self) -> "Ensemble":
        """The neurons that count."""
        return self if self.counted is None else self.cut([slice(n) for n in self.counted])

    def last(self, counts: Sequence[int]) -> "Ensemble":
        """The last neurons of each space, equal weights in place of their own (tracers' are 0)."""
        chosen = self.cut([slice(m - n, m) for m, n in zip(self.sizes, counts, strict=True)])
        weights = tuple(
            np.full(n, 1 / n, w.dtype) for n, w in zip(counts, chosen.weights, strict=True)
        )
        return chosen.weighted(weights)

    def cut(self, cut: Sequence[slice]) -> "Ensemble":
        """Some neurons of each space, with their weights, and what joins them."""
        weights = tuple(w[c] for w, c in zip(self.weights, cut, strict=True))
        own = self.by_layer(cut)
        memory = tuple(kept.cut(own) for kept in self.memory)
        return Ensemble(weights, self.parameters.cut(own), memory, self.spaces)


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

    parameters: Parameters
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


def weight_noise(
    rng: np.random.Generator, law: np.ndarray, count: int
) -> Float[np.ndarray, "count point"]:
    """Gaussian changes of weights p, of covariance diag p − p pᵀ: √n times what sampling does."""
    noise = np.sqrt(law) * rng.normal(size=(count, len(law)))
    return noise - law * noise.sum(axis=1, keepdims=True)


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
) -> Parameters:
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
    return Parameters(
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
