"""Advice in words: what about a problem will surprise its user, said before computing.

Each sentence tells what was found and what to change.
"""

import jax
import jax.numpy as jnp
import numpy as np

from widelimit.activations import BOUNDED
from widelimit.meanfield import Batch, tangent_kernel, velocity
from widelimit.neurons import Ensemble, limit_ensemble
from widelimit.problem import Problem
from widelimit.quadrature import rule_for
from widelimit.system import System, outputs

STILL = 1e-13
"""Initial velocities below this, per unit of loss slope, are rounding of zero."""

PILOT_NODES = 64

KERNEL_POINTS = 256
"""Data points that the tangent kernel is computed on, to judge a step size."""


def examine(problem: Problem) -> list[str]:
    """Sentences about a limit that cannot move, collapse, assumptions, and too large steps."""
    with jax.enable_x64(True):
        system = System.of(problem, jnp.float64)
        ensemble = _pilot(problem)
        notes = [*_stationary(problem, system, ensemble), *_outside_theorems(problem)]
        notes += _collapse(problem, ensemble)
        return notes + _large_step(problem, system, ensemble)


def _pilot(problem: Problem) -> Ensemble:
    """A small ensemble of the limit at time zero."""
    data = problem.dataset
    dims = data.inputs.shape[1], data.targets.shape[1]
    rng = np.random.default_rng(0)
    rules = [rule_for(mark) for mark in problem.network.marks(*dims)]
    nodes = [rule.place(min(rule.start, PILOT_NODES), rng) for rule in rules]
    return limit_ensemble(problem.network, nodes, *dims, jnp.float64)


def _stationary(problem: Problem, system: System, ensemble: Ensemble) -> list[str]:
    """Decided by computing the initial velocity, not by a rule."""
    speed = velocity(system.equations, system.rates, ensemble, system.batch)
    fastest = max(float(jnp.max(jnp.abs(v))) for v in jax.tree.leaves(speed))
    f = outputs(system, ensemble)[: len(system.batch.targets)]
    slope = jax.vmap(jax.grad(system.equations.loss))(f, system.batch.targets)
    if fastest > STILL * max(1.0, float(jnp.max(jnp.abs(slope)))):
        return []
    if all(float(rate) == 0 for rate in jax.tree.leaves(system.rates)):
        return ["the limit cannot move: all learning rates are 0; give one a positive value"]
    if float(jnp.max(jnp.abs(slope))) <= STILL:
        return ["the limit does not move: it starts at a minimum of the loss on all data"]
    return [
        "the limit cannot move: its initial velocity is exactly zero (mean-zero hidden-to-hidden "
        "weights, activations with φ(0) = 0, three or more hidden layers), although finite "
        "networks do move; use hidden weights with a non-zero mean, correlated initial weights, "
        "or trained biases"
    ]


def _outside_theorems(problem: Problem) -> list[str]:
    unbounded = [n for n in dict.fromkeys(problem.network.activations) if n not in BOUNDED]
    return [
        f"the activation {name} is outside the theorems' assumptions (bounded and smooth): the "
        "limit is computed, but its existence is not covered by them; tanh, erf or sigmoid are"
        for name in unbounded
    ]


def _collapse(problem: Problem, ensemble: Ensemble) -> list[str]:
    """Middle layers of a deep i.i.d. limit are one neuron each (equations.md, section 6)."""
    collapsed = [k for k, size in enumerate(ensemble.sizes[1:-1], 2) if size == 1]
    if not collapsed:
        return []
    layers = f"layer {collapsed[0]}" if len(collapsed) == 1 else (
        f"layers {', '.join(map(str, collapsed[:-1]))} and {collapsed[-1]}"
    )
    return [
        f"in the limit all neurons of hidden {layers} are alike (independent initial weights "
        "reach them only through their mean); networks differ from this by width^(-1/2), the "
        "difference can grow exponentially, and then they leave the limit after a time that "
        "grows only like the logarithm of their width; that time is not known yet"
    ]


def _large_step(problem: Problem, system: System, ensemble: Ensemble) -> list[str]:
    """A step that overshoots: ε K(x, x) > 2 for one sample, or ε λ_max(K) > 2 for all data."""
    if problem.networks is None or problem.networks.method == "flow":
        return []
    batch = system.batch
    if len(batch.inputs) > KERNEL_POINTS:
        chosen = np.random.default_rng(0).choice(len(batch.inputs), KERNEL_POINTS, replace=False)
        batch = Batch(*(a[chosen] for a in (batch.inputs, batch.targets, batch.weights)))
    kernel = tangent_kernel(system.equations, system.rates, ensemble, batch.inputs)
    points, channels = batch.targets.shape
    if problem.networks.method == "sgd" and problem.networks.batch == 1:
        stiffness = float(jnp.max(jnp.einsum("xcxc->xc", kernel)))
    else:
        share = jnp.sqrt(batch.weights / batch.weights.sum())
        scaled = kernel * share[:, None, None, None] * share[None, None, :, None]
        size = points * channels
        stiffness = float(jnp.linalg.eigvalsh(scaled.reshape(size, size))[-1])
    depth = problem.network.depth
    steps = {problem.networks.step_size(w): w for w in problem.networks.layer_widths(depth)}
    largest = max(steps)
    if largest * stiffness <= 2:
        return []
    return [
        f"the step ε = {largest:.3g} (width {steps[largest][0]}) is too large: ε times the "
        f"tangent kernel is {largest * stiffness:.3g}, and above 2 a step overshoots; use a step "
        f"below {2 / stiffness:.2g}, wider networks with step = '1/width', or smaller "
        "learning rates"
    ]
