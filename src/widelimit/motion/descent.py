"""Stochastic and full-batch gradient descent on sampled networks, many seeds at once.

    θ ← θ − ε ξ(kε) · multiplier · ∇_θ ℓ(f(x_k), y_k),   clock t = k ε  (other rules: `rules`)

All parameters move at once, from their old values. Steps run in compiled blocks. A network draws
its data from a stream with a key of its own, or from several streams that take turns.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Int, Key, PRNGKeyArray

from widelimit.ensemble.dynamics import Dynamics
from widelimit.ensemble.meanfield import Batch, Equations
from widelimit.ensemble.neurons import Ensemble, State
from widelimit.problem.data.population import Population

BLOCK = 512
"""Most steps of each stream of data in one compiled call."""


LABELS = 2**30
"""Folded into the key of a step, this gives that of the noise of its labels."""


HEAT = LABELS + 1
"""The same for the noise of its parameters."""


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


@eqx.filter_jit
def draw(
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

    return jax.vmap(of_one)(keys)


@eqx.filter_jit
def draw_label_noise(
    sampling: Sampling,
    keys: Key[Array, "seeds streams"],
    std: Array,
    channels: int,
    first: ArrayLike,
) -> Float[Array, "seeds steps batch channels"]:
    """Normal noise for the targets of the steps that `draw` draws rows for."""
    steps = jnp.asarray(first) + jnp.arange(BLOCK)

    def of_step(key: PRNGKeyArray, step: Array) -> Array:
        own = jax.random.fold_in(jax.random.fold_in(key, step), LABELS)
        return std * jax.random.normal(own, (sampling.size, channels), std.dtype)

    def of_one(own: Key[Array, " streams"]) -> Array:
        found = jax.vmap(lambda key: jax.vmap(lambda step: of_step(key, step))(steps))(own)
        return jnp.swapaxes(found, 0, 1).reshape(-1, *found.shape[2:])

    return jax.vmap(of_one)(keys)


@eqx.filter_jit
def descend(
    equations: Equations,
    dynamics: Dynamics,
    data: Batch | Fresh,
    ensembles: Ensemble,
    own: Int[Array, "seeds steps batch"] | Key[Array, "seeds streams"] | None,
    count: Array,
    step: Array,
    first: ArrayLike = 0,
    noise: Float[Array, "seeds steps batch channels"] | None = None,
    heat: Key[Array, " seeds"] | None = None,
) -> Ensemble:
    """`count` steps of size `step` = ε for a batch of networks.

    `own` is what each network draws its data with: rows of the data set, or keys for fresh
    points; None where every step takes the whole data set; `noise` is added to targets; `heat` are
    the keys that a noisy rule draws with. Steps are counted from `first` on: learning rates are
    ξ(kε).
    """

    def one_network(
        ensemble: Ensemble, own: Array | None, noise: Array | None, heat: PRNGKeyArray | None
    ) -> Ensemble:
        def move(k: Array, state: State) -> State:
            batch = _batch(data, own, k, first, step.dtype)
            if noise is not None:
                batch = Batch(batch.inputs, batch.targets + noise[k], batch.weights)
            key = heat
            if heat is not None:
                key = jax.random.fold_in(jax.random.fold_in(heat, first + k), HEAT)
            now = ensemble.at(state)
            return dynamics.step(equations, now, batch, (first + k) * step, step, key)

        return ensemble.at(jax.lax.fori_loop(0, count, move, ensemble.state))

    return jax.vmap(one_network)(ensembles, own, noise, heat)


def _batch(
    data: Batch | Fresh, own: Array | None, k: Array, first: ArrayLike, dtype: DTypeLike
) -> Batch:
    """The data of step `first + k` of one network."""
    if isinstance(data, Fresh):
        assert own is not None
        step, streams = first + k, len(own)
        return data.batch(own[step % streams], step // streams, dtype)
    return data if own is None else _picked(data, own[k])


def _picked(data: Batch, rows: Int[Array, " batch"]) -> Batch:
    """The chosen data points with equal weights: their law is already in the draw."""
    share = jnp.full(rows.shape, 1 / len(rows), data.weights.dtype)
    return Batch(data.inputs[rows], data.targets[rows], share)
