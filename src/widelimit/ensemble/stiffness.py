"""Stiffness: how fast the fastest mode of the flow relaxes, and what that makes of its steps.

Near time t outputs on the data move by df/dt = −K_t H (f − y), H the curvature of the loss, so that
steps of an explicit method are at most about 2.5/λ long, λ the largest eigenvalue of K_t H under
the law of the data. K grows like the square of inputs, and with the neurons: to move outputs by a
distance D their parameters move by D/√λ.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.problem.problem import Problem

KERNEL_POINTS = 128
"""Data points that the tangent kernel is computed on."""

STABLE = 2.5
"""Steps of the explicit methods are stable up to so many times 1/λ (Bosh3 2.51, Tsit5 3.0)."""

MANY_STEPS = 10_000
"""More steps than this are told of: accuracy asks for hundreds."""

LARGE = 3.0
"""Inputs or targets of this size are large."""


def stiff(problem: Problem, system: System, ensemble: Ensemble) -> list[str]:
    """What makes the flow take many steps, how many at least, and the scaling that makes it easy.

    Known for descent; momentum and Adam have steps of their own.
    """
    if problem.training.momentum is not None or problem.training.adam is not None:
        return []
    batch, horizon = system.batch, float(problem.times[-1])
    steps, eigenvalue = fewest_steps(system, ensemble, horizon)
    if steps <= MANY_STEPS:
        return []
    inputs, targets = _size(batch.inputs), _size(batch.targets)
    found = f"inputs have size {inputs:.3g} and targets {targets:.3g} (RMS)"
    told = (
        f"the flow is stiff: {found}, and the largest eigenvalue of the tangent kernel is "
        f"{eigenvalue:.2g}, so that every run takes at least about {steps:.1g} steps to "
        f"t = {horizon:.3g}"
    )
    by = {"inputs": inputs, "targets": targets}
    by = {name: size for name, size in by.items() if size > LARGE}
    if not by:
        return [f"{told}; reduce the initial laws, the learning rates or the horizon"]
    divided = system.with_batch(
        np.asarray(batch.inputs) / by.get("inputs", 1.0),
        np.asarray(batch.targets) / by.get("targets", 1.0),
        np.asarray(batch.weights),
    )
    fewer, _ = fewest_steps(divided, ensemble, horizon)
    remedy = " and ".join(f"{name} by {size:.3g}" for name, size in by.items())
    few = "stability asks for no more than hundreds" if fewer < 1000 else f"{fewer:.1g} remain"
    return [f"{told}; divide {remedy}, or standardise the columns: {few}"]


def fewest_steps(system: System, ensemble: Ensemble, horizon: float) -> tuple[float, float]:
    """About how many steps stability asks for, at least, and λ at time 0."""
    eigenvalue = float(stiffness_of(system, ensemble, False)) * float(_curvature(system, ensemble))
    if eigenvalue <= 0:
        return 0.0, 0.0
    growth = 1 + _size(system.batch.targets) / math.sqrt(eigenvalue)
    return growth * eigenvalue * horizon / STABLE, eigenvalue


def _size(values: Array) -> float:
    """The RMS."""
    return float(jnp.sqrt(jnp.mean(values**2)))


@eqx.filter_jit
def _curvature(system: System, ensemble: Ensemble) -> Array:
    """The largest second derivative of the loss where training starts."""
    batch = system.batch
    f = system.equations.output(ensemble, batch.inputs)
    curved = jax.vmap(jax.hessian(system.equations.loss))(f, batch.targets)
    return jnp.max(jnp.abs(curved))


@eqx.filter_jit
def stiffness_of(system: System, ensemble: Ensemble, single: bool) -> Array:
    """max_x K(x, x) for steps on a single sample, the largest eigenvalue of K under π else."""
    total = len(system.batch.inputs)
    chosen = generator(Stream.KERNEL_POINTS, 0).permutation(total)[:KERNEL_POINTS]
    rates, inputs = system.dynamics.rates.at_their_highest(), system.batch.inputs[chosen]
    kernel = system.equations.tangent_kernel(rates, ensemble, inputs)
    if single:
        return jnp.max(jnp.einsum("xcxc->xc", kernel))
    weights = system.batch.weights[chosen]
    share = jnp.sqrt(weights / weights.sum())
    scaled = kernel * share[:, None, None, None] * share[None, None, :, None]
    size = kernel.shape[0] * kernel.shape[1]
    return jnp.linalg.eigvalsh(scaled.reshape(size, size))[-1]
