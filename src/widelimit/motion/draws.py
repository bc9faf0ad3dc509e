"""What SGD draws: points of the data, noise of labels, noise of parameters.

A network has a key, or several that take turns. Each purpose has keys of its own, folded from it;
a step's draw depends on purpose, key and step alone, not on how steps are cut into blocks.
"""

from enum import IntEnum
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from widelimit.ensemble.equations import Batch
from widelimit.problem.data.population import Population

BLOCK = 512
"""Most steps of each stream of data in one compiled call."""


class Purpose(IntEnum):
    """What a network's key draws: folded in, it gives a key that nothing else has."""

    POINTS = 0
    LABELS = 1
    HEAT = 2


class Fresh(NamedTuple):
    """`size` points of a population, drawn anew at every step."""

    population: Population
    size: int

    def batch(self, key: PRNGKeyArray, step: ArrayLike, dtype: DTypeLike) -> Batch:
        """The points of one step: they depend on the key and the step alone."""
        own = jax.random.fold_in(key, step)
        inputs, targets = self.population.draw(own, self.size, dtype)
        return Batch(inputs, targets[:, None], jnp.full(self.size, 1 / self.size, dtype))


class Sampling(NamedTuple):
    """How the `size` data points of a step are drawn."""

    draw: str  # "independent", "distinct" or "epochs"
    size: int
    equal_weights: bool

    def rows(
        self, key: PRNGKeyArray, weights: Float[Array, " points"], first: ArrayLike
    ) -> Int[Array, "steps batch"]:
        """Rows of the data used in each of the `BLOCK` steps from step `first` on.

        They depend on the key and the step alone, not on how steps are cut into blocks.
        """
        count = len(weights)
        steps = jnp.asarray(first) + jnp.arange(BLOCK)
        if self.draw == "epochs":
            return self._reshuffled(key, count, steps)
        keys = jax.vmap(lambda step: jax.random.fold_in(key, step))(steps)
        if self.draw == "distinct":
            return jax.vmap(lambda k: jax.random.choice(k, count, (self.size,), replace=False))(
                keys
            )
        if self.equal_weights:
            return jax.vmap(lambda k: jax.random.randint(k, (self.size,), 0, count))(keys)
        edges = jnp.cumsum(weights)[:-1]
        uniforms = jax.vmap(lambda k: jax.random.uniform(k, (self.size,)))(keys)
        return jnp.searchsorted(edges, uniforms, side="right")

    def _reshuffled(self, key: PRNGKeyArray, count: int, steps: Array) -> Array:
        """Every point once an epoch, in an order drawn anew for each epoch."""
        places = steps[:, None] * self.size + jnp.arange(self.size)
        epochs = places // count
        most = BLOCK * self.size // count + 2
        orders = jax.vmap(
            lambda epoch: jax.random.permutation(jax.random.fold_in(key, epoch), count)
        )(epochs[0, 0] + jnp.arange(most))
        return orders[epochs - epochs[0, 0], places % count]


class Drawn(eqx.Module):
    """What a batch of networks learns from in one block of steps.

    `points` are rows of the data for every step, or keys for fresh points; None where every step
    takes the whole data set. `labels` are added to targets; `heat` are the keys that a noisy rule
    draws with.
    """

    data: Batch | Fresh
    points: Int[Array, "seeds steps batch"] | Key[Array, "seeds streams"] | None = None
    labels: Float[Array, "seeds steps batch channels"] | None = None
    heat: Key[Array, " seeds"] | None = None


class Draws(NamedTuple):
    """What a batch of networks draws with; `sampling` is None where steps take all data.

    `keys` are those of the networks' streams, `label_noise` the variance of fresh noise on targets.
    """

    data: Batch | Fresh
    sampling: Sampling | None
    keys: Key[Array, "seeds streams"]
    channels: int = 1
    label_noise: Array | None = None
    noisy: bool = False

    def block(self, first: int) -> Drawn:
        """The draws of the `BLOCK` steps of each stream from step `first` on."""
        points = labels = None
        if isinstance(self.data, Fresh):
            points = _keys_for(Purpose.POINTS, self.keys)
        elif self.sampling is not None:
            points = _rows(self.sampling, self.keys, self.data.weights, jnp.asarray(first))
        if self.label_noise is not None and self.sampling is not None:
            std = jnp.sqrt(self.label_noise)
            labels = _label_noise(self.sampling, self.keys, std, self.channels, jnp.asarray(first))
        heat = _keys_for(Purpose.HEAT, self.keys[:, 0]) if self.noisy else None
        return Drawn(self.data, points, labels, heat)


def _keys_for(purpose: Purpose, keys: Array) -> Array:
    """The keys of one purpose, for keys in any shape."""
    flat = jax.vmap(lambda key: jax.random.fold_in(key, int(purpose)))(keys.ravel())
    return flat.reshape(keys.shape)


@eqx.filter_jit
def _rows(
    sampling: Sampling,
    keys: Key[Array, "seeds streams"],
    weights: Float[Array, " points"],
    first: ArrayLike,
) -> Int[Array, "seeds steps batch"]:
    """`sampling.rows` for many networks, their streams in turn; compiled once for all widths.

    `first` counts the steps of one stream.
    """

    def of_one(own: Key[Array, " streams"]) -> Int[Array, "steps batch"]:
        rows = jax.vmap(lambda key: sampling.rows(key, weights, first))(own)
        return jnp.swapaxes(rows, 0, 1).reshape(-1, sampling.size)

    return jax.vmap(of_one)(_keys_for(Purpose.POINTS, keys))


@eqx.filter_jit
def _label_noise(
    sampling: Sampling,
    keys: Key[Array, "seeds streams"],
    std: Array,
    channels: int,
    first: ArrayLike,
) -> Float[Array, "seeds steps batch channels"]:
    """Normal noise for the targets of the steps that `_rows` draws rows for."""
    steps = jnp.asarray(first) + jnp.arange(BLOCK)

    def of_step(key: PRNGKeyArray, step: Array) -> Array:
        own = jax.random.fold_in(key, step)
        return std * jax.random.normal(own, (sampling.size, channels), std.dtype)

    def of_one(own: Key[Array, " streams"]) -> Array:
        found = jax.vmap(lambda key: jax.vmap(lambda step: of_step(key, step))(steps))(own)
        return jnp.swapaxes(found, 0, 1).reshape(-1, *found.shape[2:])

    return jax.vmap(of_one)(_keys_for(Purpose.LABELS, keys))
