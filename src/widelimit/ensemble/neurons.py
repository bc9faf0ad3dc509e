"""Weighted neurons: the neuronal ensemble.

A network is so many neurons of equal weight; a limit is another set of weighted neurons under the
same equations. Neurons of weight zero are tracers: the others carry them along and do not feel
them. What a neuron's parameters are is told by the architecture (`layered`, `residual`).
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Float

from widelimit.nodes.points import Numbers
from widelimit.problem.training.schedules import Rate

Some = slice | np.ndarray
"""Some neurons of a space: a stretch of them, or their numbers."""


PROFILED = 32
"""What is told depth by depth is told at no more depths than this."""


class Parameters(eqx.Module):
    """Everything that training moves, or something of the same layout (a gradient, rates).

    An architecture gives `layers`, `axes`, `named` and `parts`.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """What the layers of neurons are called: "1", "2" …"""
        raise NotImplementedError

    @property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        """Of every array, in their order, the layers that its first axes are neurons of."""
        raise NotImplementedError

    def named(self) -> dict[str, tuple[str, ...]]:
        """The name of every array, in their order, and those of its axes beyond neurons."""
        raise NotImplementedError

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Which arrays, by their place in order, belong together, by what that is called."""
        raise NotImplementedError

    def each(self, of: Callable[[Numbers, tuple[int, ...]], Any]) -> "Parameters":
        """What is made of every array and its axes, in the same layout."""
        arrays, layout = jax.tree.flatten(self)
        return jax.tree.unflatten(layout, map(of, arrays, self.axes))

    def taken(self, chosen: Sequence[np.ndarray]) -> "Parameters":
        """Those of the chosen neurons of each layer, in this order, as often as they are chosen."""

        def of(array: Numbers, axes: tuple[int, ...]) -> Numbers:
            for axis, layer in enumerate(axes):
                array = array[(slice(None),) * axis + (chosen[layer],)]
            return array

        return self.each(of)

    def cut(self, cut: Sequence[Some]) -> "Parameters":
        """Those of some neurons of each layer."""
        return self.each(lambda array, axes: array[tuple(cut[layer] for layer in axes)])

    def masses(self, weights: Sequence[Numbers]) -> "Parameters":
        """What every parameter weighs in averages over neurons, in shapes that broadcast.

        `weights` are those of the neurons of each layer.
        """

        def of(array: Numbers, axes: tuple[int, ...]) -> Numbers:
            mass: Numbers = np.ones(1, weights[0].dtype)
            if axes:
                mass = weights[axes[0]]
            for layer in axes[1:]:
                mass = mass[..., :, None] * weights[layer][..., None, :]
            return mass.reshape(*mass.shape, *[1] * (array.ndim - mass.ndim))

        return self.each(of)


class Rates(eqx.Module):
    """ξ(t) for every array of parameters: `by_array` is a tree of them in the same layout."""

    by_array: Any

    @classmethod
    def like(cls, layout: Parameters, rates: Sequence[Rate]) -> "Rates":
        """A rate for each array of the layout, in its order."""
        return cls(jax.tree.unflatten(jax.tree.structure(layout), rates))

    def at(self, t: ArrayLike) -> Any:
        """The rates at time t."""
        return self._each(lambda rate: rate.at(t))

    def at_their_highest(self) -> "Rates":
        """Every rate at the time where it is largest."""
        return Rates(self._each(lambda rate: rate.at_its_highest()))

    def _each(self, of: Any) -> Any:
        return jax.tree.map(of, self.by_array, is_leaf=lambda leaf: isinstance(leaf, Rate))


State = tuple[Parameters, tuple[Parameters, ...]]
"""What moves: the parameters, and what the learning rule remembers."""


class Depth(NamedTuple):
    """How neurons stand in depth: one after the other, equally many at each of its `nodes`.

    `rule` says how what they do is carried from one node to the next: Euler's is that of networks.
    """

    nodes: int = 1
    rule: Literal["euler", "midpoint"] = "euler"

    def leading(self, size: int, count: int) -> slice | np.ndarray:
        """Which of so many neurons come first, as many at every depth."""
        if self.nodes == 1:
            return slice(count)
        by_depth = np.arange(size).reshape(self.nodes, -1)
        return by_depth[:, : max(1, count // self.nodes)].ravel()

    def places(self, size: int) -> np.ndarray:
        """The depth of each of so many neurons, between 0 and 1."""
        return (np.arange(size) * self.nodes // size + 0.5) / self.nodes


class Ensemble(eqx.Module):
    """Neurons with weights: `weights[s]` `(neuron,)` with sum 1, and their parameters.

    `memory` is what the learning rule carries along, arrays like those of the parameters. `spaces`
    tells of every layer which index space its neurons are of (None: each has its own). `counted`
    is how many of each space's first neurons there are, where weightless copies of the last one
    fill up devices (None: all). `depth` is that of units of residual networks.
    """

    weights: tuple[Float[Numbers, "*batch _"], ...]
    parameters: Parameters
    memory: tuple[Parameters, ...] = ()
    spaces: tuple[int, ...] | None = eqx.field(static=True, default=None)
    counted: tuple[int, ...] | None = eqx.field(static=True, default=None)
    depth: Depth = eqx.field(static=True, default=Depth())

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many neurons each index space holds."""
        return tuple(w.shape[-1] for w in self.weights)

    def by_layer(self, per_space: Sequence[Any]) -> tuple[Any, ...]:
        """What belongs to the neurons of every layer."""
        return tuple(per_space) if self.spaces is None else tuple(per_space[s] for s in self.spaces)

    def masses(self) -> Parameters:
        """What every parameter weighs in averages over neurons, in shapes that broadcast."""
        return self.parameters.masses(self.by_layer(self.weights))

    @property
    def shares(self) -> tuple["Share", ...]:
        """What the neurons of every space are drawn by."""
        return tuple(Share(np.asarray(own), self.depth.nodes) for own in self.weights)

    @property
    def state(self) -> State:
        """What moves; the weights stay."""
        return self.parameters, self.memory

    def at(self, state: State) -> "Ensemble":
        """The same neurons in another state."""
        return Ensemble(self.weights, *state, self.spaces, self.counted, self.depth)

    def weighted(self, weights: tuple[Numbers, ...]) -> "Ensemble":
        """The same neurons with other weights."""
        return Ensemble(weights, *self.state, self.spaces, self.counted, self.depth)

    def taken(self, chosen: Sequence[np.ndarray]) -> "Ensemble":
        """The chosen neurons of each space, as often as they are chosen, with their weights."""
        weights = tuple(w[c] for w, c in zip(self.weights, chosen, strict=True))
        own = self.by_layer(chosen)
        memory = tuple(kept.taken(own) for kept in self.memory)
        return Ensemble(weights, self.parameters.taken(own), memory, self.spaces, None, self.depth)

    def first(self, counts: Sequence[int]) -> "Ensemble":
        """The first neurons of each space, their weights scaled to sum to 1."""
        if tuple(counts) == self.sizes:
            return self
        chosen = self.cut(list(map(self.depth.leading, self.sizes, counts)))
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

    def cut(self, cut: Sequence[Some]) -> "Ensemble":
        """Some neurons of each space, with their weights, and what joins them."""
        weights = tuple(w[c] for w, c in zip(self.weights, cut, strict=True))
        own = self.by_layer(cut)
        memory = tuple(kept.cut(own) for kept in self.memory)
        return Ensemble(weights, self.parameters.cut(own), memory, self.spaces, None, self.depth)


class Share(NamedTuple):
    """What neurons are drawn by: probabilities `(point,)`, in equal parts drawn each for itself.

    Of a network's units so many are at every depth, whatever they are: those of a depth are one
    part, and all parts weigh the same.
    """

    law: Numbers
    strata: int = 1

    def covariance(self, values: Numbers) -> Numbers:
        """Cov[v, v'] of `values (v, point)`; where there are parts, its mean over them."""
        if self.strata == 1:  # a product of matrices, as the numbers that are kept were made
            means = (values @ self.law)[:, None]
        else:
            own = self._by_part(values) * self._by_part(self.law[None])
            means = self.strata * own.sum(axis=-1)
        centred = (self._by_part(values) - means[..., None]).reshape(values.shape)
        return (centred * self.law) @ centred.T

    def profile(self, values: Numbers) -> Float[np.ndarray, "v depth"]:
        """Var[v] in every part: their mean is the diagonal of `covariance`.

        Of many parts neighbours are taken together; where there is one alone, there is no profile.
        """
        if self.strata == 1:
            return np.zeros((len(values), 0))
        own = self.strata * self._by_part(self.law[None])
        parts = self._by_part(values)
        centred = parts - (parts * own).sum(axis=-1, keepdims=True)
        each = (own * centred**2).sum(axis=-1)
        pieces = np.array_split(np.asarray(each, float), min(self.strata, PROFILED), axis=1)
        return np.stack([piece.mean(axis=1) for piece in pieces], axis=1)

    def noise(self, rng: np.random.Generator, count: int) -> Float[np.ndarray, "count point"]:
        """Gaussian changes of weights p, of covariance diag p − p pᵀ: √n times what sampling does.

        Where there are parts, so in each of them.
        """
        law = np.asarray(self.law)
        noise = np.sqrt(law) * rng.normal(size=(count, len(law)))
        left = self._by_part(noise).sum(axis=-1, keepdims=True)
        return noise - (self.strata * self._by_part(law[None]) * left).reshape(noise.shape)

    def _by_part(self, rows: Numbers) -> Numbers:
        return rows.reshape(len(rows), self.strata, -1)
