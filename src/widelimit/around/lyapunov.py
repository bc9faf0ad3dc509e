"""Fluctuations of a limit with few parameters: sensitivities and Lyapunov's equation, in full.

With J = F_θ and K = F_π along the limit, S the sensitivities of the parameters to the weights of
neurons and data and Σ their covariance under white noise of the data,

    S' = J S + [F_p, F_π],    Σ' = J Σ + Σ Jᵀ + K (diag π − π πᵀ) Kᵀ,    S(0) = Σ(0) = 0

(Sirignano & Spiliopoulos 2020, CLT, in the form for finitely many atoms.) Problems whose laws are
atoms have no other error than that of time integration.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array

from widelimit.around.linearisation import covariance, readings
from widelimit.around.spread import Spread
from widelimit.basics.errors import Diverged
from widelimit.basics.store import Entry
from widelimit.ensemble.equations import Batch
from widelimit.ensemble.neurons import Ensemble, Share
from widelimit.ensemble.system import Motion, System, outputs
from widelimit.motion.control import Control
from widelimit.motion.flow import DIVERGENCE_CAUSE, integrate, method_for
from widelimit.motion.spans import Span, spans_to
from widelimit.nodes.points import Numbers

MOST_PARAMETERS = 200
"""Up to so many parameters of an ensemble the full covariance is carried along."""

State = list[Numbers]
"""Parameters `(D,)`, sensitivities `(D, weights)`, covariance `(D, D)`."""


def lyapunov(
    system: System, initial: Ensemble, times: np.ndarray, tolerance: float, entry: Entry
) -> list[Spread]:
    """Fluctuations at `times`, for unit noise, with step error `tolerance`. Raises `Diverged`.

    `entry` is where they are kept.
    """
    theta, _ = ravel_pytree(initial.state)
    weights = sum(initial.sizes) + len(system.batch.weights)
    state = [theta, jnp.zeros((len(theta), weights)), jnp.zeros((len(theta), len(theta)))]
    motion = system.motion
    legs = list(spans_to(times, motion.dynamics, theta.dtype))

    def carried(k: int, state: State) -> tuple[Spread, State]:
        for span in legs[k]:
            state, completed = _carried(motion, initial, state, span, np.asarray(tolerance))
            if not completed:
                raise Diverged("the limit", float(span.start), DIVERGENCE_CAUSE)
        return _spread(system, initial, state), state

    return entry.along(len(legs), carried, Spread.layout(), state)


@eqx.filter_jit
def _carried(
    motion: Motion,
    initial: Ensemble,
    state: State,
    span: Span,
    tolerance: ArrayLike,
) -> tuple[State, Array]:
    """The state at the end of a span of time, and whether it got there."""
    pi = motion.batch.weights

    def speed(theta: Numbers, p: Any, pi: Array, t: ArrayLike) -> Array:
        ensemble = _unravelled(initial, theta).weighted(p)
        batch = Batch(motion.batch.inputs, motion.batch.targets, pi)
        return ravel_pytree(motion.dynamics.velocity(motion.equations, ensemble, batch, t))[0]

    def field(t: Any, state: State) -> State:
        theta, sensitivity, scatter = state
        at = theta, initial.weights, pi
        by_theta, by_neurons, by_data = jax.jacfwd(speed, (0, 1, 2))(*at, t)
        push = jnp.concatenate([*by_neurons, by_data], axis=1)
        grown = by_theta @ scatter
        return [
            speed(*at, t),
            by_theta @ sensitivity + push,
            grown + grown.T + covariance(by_data, pi),
        ]

    accuracy = jnp.asarray(tolerance)
    first_step = jnp.minimum(1e-2, (span.stop - span.start) / 8)
    end, _, completed = integrate(
        field, method_for(0.0), span, first_step, state, Control.of(accuracy)
    )
    return end, completed


def _unravelled(initial: Ensemble, theta: Numbers) -> Ensemble:
    return initial.at(ravel_pytree(initial.state)[1](jnp.asarray(theta)))


@eqx.filter_jit
def _readings_along(system: System, initial: Ensemble, state: State) -> tuple[Array, Array]:
    """How the readings depend on the weights, and on the parameters alone."""
    theta, sensitivity, _ = state

    def read(theta: Array, p: Any) -> Array:
        return readings(system, _unravelled(initial, theta).weighted(p))

    by_theta, by_neurons = jax.jacfwd(read, (0, 1))(theta, initial.weights)
    own = jnp.concatenate(by_neurons, axis=1)
    return (by_theta @ sensitivity).at[:, : own.shape[1]].add(own), by_theta


def _spread(system: System, initial: Ensemble, state: State) -> Spread:
    by_weights, by_theta = map(np.asarray, _readings_along(system, initial, state))
    shares = [*initial.shares, Share(np.asarray(system.batch.weights))]
    stops = np.cumsum([len(p.law) for p in shares])
    found = [
        p.covariance(own)
        for own, p in zip(np.split(by_weights, stops[:-1], axis=1), shares, strict=True)
    ]
    whole = np.stack([*found[:-1], by_theta @ np.asarray(state[2]) @ by_theta.T, found[-1]])
    ensemble = _unravelled(initial, state[0])
    seen = np.asarray(outputs(system, ensemble))[system.view("observed")].ravel()
    return Spread.exact(np.eye(len(seen)), whole[:, :-1, :-1], whole[:, -1, -1], seen)
