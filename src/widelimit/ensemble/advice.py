"""Advice in words: what about a problem will surprise its user, said before computing.

Each sentence tells what was found and what to change.
"""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.basics.errors import ProblemError
from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, generator
from widelimit.basics.words import layers_in_words
from widelimit.ensemble.collapse import collapsed_layers, unknown_because
from widelimit.ensemble.layered.kinks import Kink, kinks
from widelimit.ensemble.model import model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.stiffness import stiff, stiffness_of
from widelimit.ensemble.system import System
from widelimit.nodes.reduction import reduced
from widelimit.nodes.rules import layer_rules
from widelimit.problem.network.activations import Activation, is_bounded, is_kinked, named
from widelimit.problem.network.laws import Product
from widelimit.problem.network.laws import Sphere as SphereLaw
from widelimit.problem.network.network import Network
from widelimit.problem.problem import Problem
from widelimit.problem.symmetry import folding_of

STILL = 1e-13
"""Initial velocities below this, per unit of loss slope, are rounding of zero."""

RESTING = 2e-2
"""Initial velocities below this, per unit of loss slope, are what few nodes make of zero."""

PILOT_NODES = 64

FEW_INPUTS = 12
"""A hypercube of no more dimensions has all its corners as nodes."""


def examine(problem: Problem) -> list[str]:
    """Sentences about a limit that cannot move, collapse, assumptions, what will take long, and
    too large steps."""
    if problem.measured:
        return []  # nothing below is about limits that are measured
    asked, collapse = problem, _collapse(problem)
    problem = reduced(problem, looks=1)
    with in_precision("float64"):
        system = System.of(problem, jnp.float64)
        ensemble = _pilot(problem)
        notes = [*_stationary(problem, system, ensemble), *_outside_theorems(problem)]
        notes += [*collapse, *_paths(problem), *_without_limit(problem)]
        notes += [*_dimensions(asked), *stiff(problem, system, ensemble)]
        return notes + _large_step(problem, system, ensemble)


def refuse_kinks(problem: Problem) -> None:
    """Raise `ProblemError` where networks do not approach the flow of any φ'(0), see `kinks`."""
    if problem.measured:
        return
    problem = reduced(problem, looks=1)
    if mistakes := [_on_a_kink(problem, kink) for kink in kinks(problem)]:
        raise ProblemError(mistakes, problem.title)


def _without_limit(problem: Problem) -> list[str]:
    """What is said where networks alone are asked for."""
    return [f"there is no limit: {_on_a_kink(problem, kink)}" for kink in kinks(problem)]


def _on_a_kink(problem: Problem, kink: Kink) -> str:
    """The place, what was found there, and what to change."""
    place, name = kink.layer - 1, named(problem.layers.activations[kink.layer - 1])
    neurons = "all" if kink.share == 1 else f"{kink.share:.0%} of the"
    points = f"{kink.points} of {kink.looked_at} data points"
    return (
        f"network.activations[{place}]: found {name!r}, whose slope jumps where the fields z of "
        f"{neurons} neurons of layer {kink.layer} start in the limit (at {points}); in networks "
        "each has the slope of one side, at every width, so they do not approach a flow with any "
        "single slope there; take a smooth activation (tanh, gelu, silu), hidden weights with a "
        "non-zero mean (initial.hidden) above an activation with one (relu, sigmoid), or random "
        f"biases (network.biases = true, a law with std > 0 in initial.bias[{place}])"
    )


def _pilot(problem: Problem) -> Ensemble:
    """A small ensemble of the limit at time zero."""
    data = problem.dataset
    dims = data.inputs.shape[1], data.targets.shape[1]
    rng = generator(Stream.PILOT, 0)
    paths = problem.training.paths(problem.network)
    rules = layer_rules(problem.network, dims, np.eye(dims[0]), problem.seed, paths)
    nodes = [choices[0].place(min(choices[0].start, PILOT_NODES), rng) for choices in rules]
    return model_of(problem).limit(nodes, dims, jnp.float64)


def _stationary(problem: Problem, system: System, ensemble: Ensemble) -> list[str]:
    """Decided by computing the initial velocity, not by a rule."""
    fastest, steepest = map(float, _initial_motion(system, ensemble))
    if any(problem.training.paths(problem.network)) or fastest > STILL * max(1.0, steepest):
        return []
    if all(float(rate) == 0 for rate in jax.tree.leaves(system.dynamics.rates.at_their_highest())):
        return ["the limit cannot move: all learning rates are 0; give one a positive value"]
    if steepest <= STILL:
        return ["the limit does not move: it starts at a minimum of the loss on all data"]
    network = problem.network
    means = [law.expectation() for law in network.independent.values()]
    silent = len(means) > 1 and 0 in means
    cause, remedy = (
        (
            "mean-zero hidden-to-hidden weights, activations with φ(0) = 0, "
            f"{len(network.spaces)} hidden layers",
            "hidden weights",
        )
        if silent
        else ("every parameter's gradient is zero on average", "initial laws")
    )
    return [
        f"the limit cannot move: its initial velocity is exactly zero ({cause}), although finite "
        f"networks do move; use {remedy} with a non-zero mean, correlated initial weights, or "
        "trained biases"
    ]


def _outside_theorems(problem: Problem) -> list[str]:
    """Activations that the theorems do not cover; functions of one's own are tried out."""
    chosen = dict.fromkeys(problem.network.used_activations)
    reasons = {a: _why_outside(a) for a in chosen}
    return [
        f"the activation {named(a)} is outside the theorems' assumptions (bounded and smooth): it "
        f"{why}; the limit is computed, but its existence is not covered by them; tanh, erf or "
        "sigmoid are"
        for a, why in reasons.items()
        if why
    ]


def _why_outside(activation: Activation) -> str:
    """What a theorem would miss in an activation, or nothing."""
    faults = ["is not bounded"] if not is_bounded(activation) else []
    return " and ".join(faults + (["has a slope that jumps"] if is_kinked(activation) else []))


def _collapse(problem: Problem) -> list[str]:
    """Neurons that are alike in the limit can leave it (equations.md, section 6)."""
    layers = collapsed_layers(problem)
    if not layers:
        return []
    reason = unknown_because(problem)
    biases = ", but for their biases," if problem.network.biases else ""
    return [
        f"in the limit neurons of {layers_in_words(layers)} are alike{biases} (independent "
        "initial weights reach them only through their mean, and their labels, such as readouts, "
        "are few or none); networks differ from this by width^(-1/2), the difference can grow "
        "exponentially, and then they leave the limit after a time that grows only like the "
        "logarithm of their width: "
        + (
            f"when, is not known {reason}"
            if reason
            else "see describes_until in limit.nc, or limit.validity(widths)"
        )
    ]


def _paths(problem: Problem) -> list[str]:
    """Noise makes the limit's accuracy that of Monte Carlo."""
    if not any(problem.training.paths(problem.network)):
        return []
    return [
        f"with training.temperature = {problem.training.temperature} every neuron of the limit "
        "follows a Brownian path of its own, so its error falls like nodes^(-1/2): a tenth of the "
        "limit.tolerance takes a hundred times as many nodes"
    ]


def _dimensions(problem: Problem) -> list[str]:
    """Where a population could be folded at d = ∞ and cannot at its own dimension."""
    if not isinstance(problem.network, Network):
        return []
    population, law = problem.population, problem.network.initial.input
    if population is None or law is None or population.inputs.dimension == "inf":
        return []
    d, parts = population.inputs.size, (problem.network, problem.training)
    inputs = population.inputs.model_copy(update={"dimension": "inf"})
    beyond = population.model_copy(update={"inputs": inputs})
    if d <= FEW_INPUTS or folding_of(*parts, population)[0] or not folding_of(*parts, beyond)[0]:
        return []
    assert not isinstance(law, Product)
    said = (
        f"nodes of the data are points in all {d} dimensions, of which the target depends on "
        f"{len(population.relevant or ())}"
    )
    if _rests(reduced(problem.with_parts(data=beyond, networks=None), looks=1)):
        return [
            f"{said}; data.inputs.dimension = 'inf' would average over the others exactly, but "
            "there the limit hardly leaves where it starts: what is learnt here grows out of terms "
            "of order 1/d (a leap); fewer dimensions or data.samples = n take less time"
        ]
    weights = (
        ""
        if isinstance(law, SphereLaw)
        else f" and input weights of standard deviation {law.deviation() * math.sqrt(d):.3g} "
        f"(√{d} times theirs, for they are divided by √d there)"
    )
    return [
        f"{said}; with data.inputs.dimension = 'inf'{weights}, and no [networks], the others are "
        "averaged over exactly and the limit takes seconds; until what grows out of terms of "
        f"order 1/d is large (leaps do), it is away from this one by order 1/d (d = {d})"
    ]


def _rests(problem: Problem) -> bool:
    """Whether a reduced problem's limit starts at rest, as far as few nodes can tell."""
    system = System.of(problem, jnp.float64)
    fastest, steepest = map(float, _initial_motion(system, _pilot(problem)))
    return fastest <= RESTING * max(1.0, steepest)


def _large_step(problem: Problem, system: System, ensemble: Ensemble) -> list[str]:
    """A step that overshoots: ε K(x, x) > 2 for one sample, or ε λ_max(K) > 2 for all data."""
    if problem.networks is None or problem.networks.method == "flow":
        return []
    single = problem.networks.method == "sgd" and problem.networks.batch == 1
    stiffness = float(stiffness_of(system, ensemble, single))
    network = problem.network
    steps = {
        problem.networks.step_size(network, w): w for w in problem.networks.layer_widths(network)
    }
    largest = max(steps)
    if largest * stiffness <= 2:
        return []
    width = network.growing_width(steps[largest])
    return [
        f"the step ε = {largest:.3g} (width {width}) is too large: ε times the "
        f"tangent kernel is {largest * stiffness:.3g}, and above 2 a step overshoots; use a step "
        f"below {2 / stiffness:.2g}, wider networks with step = '1/width', or smaller "
        "learning rates"
    ]


@eqx.filter_jit
def _initial_motion(system: System, ensemble: Ensemble) -> tuple[Array, Array]:
    """The largest velocity of any parameter, and the largest slope of the loss."""
    rates = system.dynamics.rates.at_their_highest().at(0.0)
    forces = system.dynamics.forces(system.equations, ensemble, system.batch)
    speed = jax.tree.map(lambda rate, force: rate * force, rates, forces)
    f = system.equations.output(ensemble, system.batch.inputs)
    slope = jax.vmap(jax.grad(system.equations.loss))(f, system.batch.targets)
    fastest = jnp.max(jnp.stack([jnp.max(jnp.abs(v)) for v in jax.tree.leaves(speed)]))
    return fastest, jnp.max(jnp.abs(slope))
