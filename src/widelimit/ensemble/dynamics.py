"""How an ensemble moves: the mean-field gradient put through a learning rule.

The same rule gives the limit's velocity and the step of networks; see `learning_rules` for both.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, PRNGKeyArray

from widelimit.ensemble.equations import Batch, Equations
from widelimit.ensemble.neurons import Ensemble, Parameters, Rates, State
from widelimit.problem.training.learning_rules import Adam, LearningRule, Push


class Dynamics(eqx.Module):
    """Learning rates ξ(t), weight decay λ(t) and the δ of steps (None: there is none); the rule."""

    rates: Rates
    decay: Rates | None = None
    delta: Rates | None = None
    rule: LearningRule = eqx.field(static=True, default=LearningRule())

    def forces(
        self, equations: Equations, ensemble: Ensemble, batch: Batch, time: ArrayLike = 0.0
    ) -> Parameters:
        """G + λθ: what moves the parameters, whatever the rule makes of it."""
        slope = equations.gradient(ensemble, batch)
        if self.decay is None:
            return slope
        theta, now = ensemble.parameters, self.decay.at(time)
        return jax.tree.map(lambda g, decay, own: g + decay * own, slope, now, theta)

    def started(self, ensemble: Ensemble) -> Ensemble:
        """The ensemble with the memory that the rule asks for, all zero."""
        if self.rule.memories == 0:
            return ensemble
        zeros = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), ensemble.parameters)
        return ensemble.at((ensemble.parameters, (zeros,) * self.rule.memories))

    def velocity(
        self, equations: Equations, ensemble: Ensemble, batch: Batch, time: ArrayLike = 0.0
    ) -> State:
        """∂_t of the state in the limit ε → 0 at a batch's law."""
        squares = None
        slope = equations.gradient(ensemble, batch)
        if isinstance(self.rule, Adam):
            squares = _of_batches(self.rule, slope, equations, ensemble, batch)
        return self._by_array(
            lambda theta, push, memory: self.rule.speed(push, memory),
            equations,
            ensemble,
            slope,
            squares,
            time,
        )

    def rates_at(self, equations: Equations, time: ArrayLike) -> Parameters:
        """ξ(t) as parameters feel them."""
        return equations.scaled(self.rates.at(time))

    def kicks(self, rates: Parameters, size: ArrayLike, normals: Parameters) -> Parameters:
        """The rule's noise in a step of size ε, from standard normal numbers."""
        return jax.tree.map(lambda rate, own: self.rule.kick(rate, size, own), rates, normals)

    def step(
        self,
        equations: Equations,
        ensemble: Ensemble,
        batch: Batch,
        taken: ArrayLike,
        size: Array,
        key: PRNGKeyArray | None = None,
    ) -> State:
        """The state after one more step of size ε on a batch, so many being `taken`.

        `key` draws the noise of a noisy rule.
        """
        time = taken * size
        slope = equations.gradient(ensemble, batch)
        squares = jax.tree.map(jnp.square, slope) if self.rule.needs_squares else None
        moved, memory = self._by_array(
            lambda theta, push, memory: self.rule.step(size, theta, push, memory),
            equations,
            ensemble,
            slope,
            squares,
            time,
            taken,
        )
        if key is None:
            return moved, memory
        theta, layout = jax.tree.flatten(moved)
        keys = jax.random.split(key, len(theta))
        normals = layout.unflatten(
            [jax.random.normal(own, t.shape, t.dtype) for own, t in zip(keys, theta, strict=True)]
        )
        kicks = self.kicks(self.rates_at(equations, time), size, normals)
        return jax.tree.map(jnp.add, moved, kicks), memory

    def _by_array(
        self,
        move: Any,
        equations: Equations,
        ensemble: Ensemble,
        slope: Parameters,
        squares: Any,
        time: ArrayLike,
        taken: ArrayLike = 0,
    ) -> State:
        """A rule put to every array of parameters and to what is remembered of it."""
        theta, layout = jax.tree.flatten(ensemble.parameters)
        gradients = layout.flatten_up_to(slope)
        second: list[Any] = [0.0] * len(theta) if squares is None else layout.flatten_up_to(squares)
        rates = layout.flatten_up_to(self.rates_at(equations, time))
        decays: list[Any] = [0.0] * len(theta)
        if self.decay is not None:
            now = layout.flatten_up_to(self.decay.at(time))
            decays = [decay * own for decay, own in zip(now, theta, strict=True)]
        kept = zip(*(layout.flatten_up_to(m) for m in ensemble.memory), strict=True)
        memory = list(kept) or [()] * len(theta)
        deltas: list[Any] = [0.0] * len(theta)
        if self.delta is not None:
            deltas = layout.flatten_up_to(self.delta.at(time))
        pushes = (
            Push(*each, taken)
            for each in zip(gradients, second, decays, rates, deltas, strict=True)
        )
        moved = [move(*each) for each in zip(theta, pushes, memory, strict=True)]
        parameters = layout.unflatten([own for own, _ in moved])
        columns = zip(*(rest for _, rest in moved), strict=True)
        return parameters, tuple(layout.unflatten(list(column)) for column in columns)


def _of_batches(
    rule: Adam, slope: Parameters, equations: Equations, ensemble: Ensemble, batch: Batch
) -> Parameters:
    """E of squared gradients of batches that are drawn independently: G² + Var_z(G_z)/b."""
    if rule.batch == "all":
        return jax.tree.map(jnp.square, slope)
    single = equations.gradient_squares(ensemble, batch)
    share = 1 / rule.batch
    return jax.tree.map(lambda g, s: (1 - share) * g**2 + share * s, slope, single)
