"""Stochastic and full-batch gradient descent on sampled networks, many seeds at once.

    θ ← θ − ε ξ(kε) · multiplier · ∇_θ ℓ(f(x_k), y_k),   clock t = k ε  (others: `learning_rules`)

All parameters move at once, from their old values. Steps run in compiled blocks. What a network
draws is told by `draws`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Int, PRNGKeyArray

from widelimit.ensemble.dynamics import Dynamics
from widelimit.ensemble.equations import Batch, Equations
from widelimit.ensemble.neurons import Ensemble, State
from widelimit.motion.draws import Drawn, Fresh


@eqx.filter_jit
def descend(
    equations: Equations,
    dynamics: Dynamics,
    drawn: Drawn,
    ensembles: Ensemble,
    count: Array,
    step: Array,
    first: ArrayLike = 0,
) -> Ensemble:
    """`count` steps of size `step` = ε for a batch of networks, on what was drawn for them.

    Steps are counted from `first` on: learning rates are ξ(kε).
    """

    def one_network(
        ensemble: Ensemble, own: Array | None, noise: Array | None, heat: PRNGKeyArray | None
    ) -> Ensemble:
        def move(k: Array, state: State) -> State:
            batch = _batch(drawn.data, own, k, first, step.dtype)
            if noise is not None:
                batch = Batch(batch.inputs, batch.targets + noise[k], batch.weights)
            key = None if heat is None else jax.random.fold_in(heat, first + k)
            now = ensemble.at(state)
            return dynamics.step(equations, now, batch, first + k, step, key)

        return ensemble.at(jax.lax.fori_loop(0, count, move, ensemble.state))

    return jax.vmap(one_network)(ensembles, drawn.points, drawn.labels, drawn.heat)


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
