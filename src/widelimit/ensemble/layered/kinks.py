"""Where the flow of a limit hangs on the slope that an activation is given at a kink.

In a network of width n the field z_l of a neuron differs from its limit by a number of order
n^(-1/2), made by random weights and by the neurons that were drawn below. If in the limit z_l
stands on a kink of φ_l at a data point, for neurons of positive probability, that number decides
which one-sided slope enters the gradient, for every neuron (or, below equal weights, for every
network) anew and at every width: networks do not approach the flow with one φ_l'(z_l). The
theorems ask for a derivative there (Nguyen & Pham 2023, Assumption 2).

Fields of the first layer are functions of the label and the same in both worlds. So are those that
nothing random reaches, such as z_l = 0 at an input that is 0.
"""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.equations import Batch
from widelimit.ensemble.layered.equations import Layered, layered
from widelimit.ensemble.layered.placing import limit_ensemble
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.nodes.points import Nodes, exact_nodes, in_strata
from widelimit.nodes.rules import finite_layers
from widelimit.problem.network.activations import is_kinked
from widelimit.problem.network.marks import ATOM_LIMIT, Block, strata
from widelimit.problem.network.network import Network
from widelimit.problem.problem import Problem

DRAWN = 16
"""Neurons drawn in each layer, before they are mirrored."""

MOST_POINTS = 128
"""Data points that are looked at, evenly spaced in the table."""

NEAR = 1e-10
"""A field stands on a kink that is so near, in units of its size: rounding is 1e-15 of it."""

SLOPES = 1e-4
"""One-sided slopes that differ by less are no kink."""


class Kink(NamedTuple):
    """A hidden layer (from 1) whose field stands on a kink, for `share` of its neurons.

    It does at `points` of the `looked_at` data points.
    """

    layer: int
    share: float
    points: int
    looked_at: int


class _Stand(NamedTuple):
    """Which neurons of a layer stand on a kink at which points, and the size of its field."""

    on_kink: Bool[Array, "points neurons"]
    size: Float[Array, ""]


def kinks(problem: Problem) -> list[Kink]:
    """The layers on whose kinks the velocity of the limit hangs at time 0.

    `problem` as its limit sees it (`nodes.reduction.reduced`). Later times are not looked at.
    """
    network = problem.network
    if not isinstance(network, Network):
        return []  # a stream stands on no kink: every unit has a z of its own
    if not any(is_kinked(activation) for activation in network.activations[1:]):
        return []
    with in_precision("float64") as dtype:
        system = System.of(problem, dtype)
        ensemble = _mirrored_ensemble(problem)
        every = -(-len(system.batch.inputs) // MOST_POINTS)
        batch = Batch(*(part[::every] for part in jax.tree.leaves(system.batch)))
        assert isinstance(system.equations, Layered)
        stands = _stands(system.equations, ensemble, batch.inputs, *_random(network, ensemble))
        if not any(bool(stand.on_kink.any()) for stand in stands):
            return []
        hangs = np.asarray(_hangs(system, ensemble, batch, stands))
    found = [np.asarray(stand.on_kink)[hangs] for stand in stands]
    return [
        Kink(layer, float(on.mean()), int(on.any(axis=1).sum()), len(hangs))
        for layer, on in enumerate(found, 2)
        if on.any()
    ]


def _mirrored_ensemble(problem: Problem) -> Ensemble:
    """The limit at time 0 on neurons that cancel where their laws do.

    Neurons are drawn with all their mirror images, the normals behind each kind of entry
    (weights, biases, readouts) times ±1: averages that vanish by symmetry do so to rounding,
    which those over nodes of quadrature need not.
    """
    network, data = problem.network, problem.dataset
    assert isinstance(network, Network)
    dims, rng = (data.inputs.shape[1], data.targets.shape[1]), generator(Stream.PILOT, 0)
    marks, finite = network.marks(*dims), finite_layers(network, dims, problem.seed)
    nodes = [
        drawn or exact_nodes(mark, ATOM_LIMIT) or _mirrored(mark, rng)
        for mark, drawn in zip(marks, finite, strict=True)
    ]
    return limit_ensemble(network, nodes, *dims, jnp.float64)


def _mirrored(mark: tuple[Block, ...], rng: np.random.Generator) -> Nodes:
    """Drawn neurons of a mark and their mirror images, in each of its strata."""
    pieces = strata(mark)[0].mark
    kinds = [block.name.partition("_")[0] for block in pieces]
    sizes = [block.law.coordinates(block.size) for block in pieces]
    z = rng.normal(size=(DRAWN, sum(sizes)))
    images = []
    for signs in itertools.product((1.0, -1.0), repeat=len(set(kinds))):
        sign = dict(zip(dict.fromkeys(kinds), signs, strict=True))
        images.append(z * np.repeat([sign[kind] for kind in kinds], sizes))
    points = np.concatenate(images)
    return in_strata(mark, points, np.full(len(points), 1 / len(points)))


def _random(network: Network, ensemble: Ensemble) -> tuple[tuple[float, ...], tuple[bool, ...]]:
    """For every pair of layers: the spread of weights that the limit replaces by their mean, and
    whether sums over the lower layer are random in networks."""
    sizes = ensemble.by_layer(ensemble.sizes)
    spread = tuple(
        network.independent[pair].deviation() if pair in network.independent else 0.0
        for pair in range(network.depth - 1)
    )
    varied = tuple(
        fixed is None and (sigma > 0 or size > 1)
        for fixed, sigma, size in zip(network.finite_widths, spread, sizes, strict=False)
    )
    return spread, varied


@eqx.filter_jit
def _stands(
    equations: Layered,
    ensemble: Ensemble,
    x: Float[Array, "points inputs"],
    spread: Sequence[float],
    varied: Sequence[bool],
) -> list[_Stand]:
    """For the layers from the second on, which fields stand on kinks and are moved in networks."""
    layers, p = equations.stack(), ensemble.by_layer(ensemble.weights)
    steps, biases = equations.layer_steps(ensemble, x), layered(ensemble).biases
    moved, stirred = [jnp.zeros(steps[0].z.shape, bool)], jnp.zeros_like(steps[1].below)
    found = []
    for index in range(1, len(steps)):
        layer, step, z = layers[index], steps[index], steps[index].z
        reach, taken = jnp.abs(step.weights) + spread[index - 1], jnp.abs(step.below)
        random = taken * varied[index - 1] + stirred  # what differs from the limit's below
        moves = layer.mean(p[index - 1], reach, random) > 0
        size = jnp.max(layer.mean(p[index - 1], reach, taken))
        if biases is not None:
            size = size + jnp.max(jnp.abs(biases[index]))
        if layer.skip:
            before = index - layer.skip
            moves, size = moves | moved[before], size + jnp.max(jnp.abs(steps[before].z))
        size = jnp.maximum(size, 1.0)
        high, low = (equations.activations[index](z + side * NEAR * size) for side in (1, -1))
        jump = jnp.abs(high - 2 * equations.activations[index](z) + low) / (NEAR * size)
        on_kink = moves & (jump > SLOPES)
        found.append(_Stand(on_kink.any(axis=tuple(range(2, z.ndim))), size))
        alive = moves & ((high != 0) | (low != 0))
        moved, stirred = [*moved, moves], layer.pooled(alive.astype(z.dtype))
    return found


@eqx.filter_jit
def _hangs(
    system: System, ensemble: Ensemble, batch: Batch, stands: Sequence[_Stand]
) -> Bool[Array, " points"]:
    """At which points the velocity jumps when the fields on kinks are pushed across them.

    A velocity that is smooth there changes by a hundredth when the push does.
    """
    rates = system.dynamics.rates.at_their_highest().at(0.0)

    def velocity(push: float, point: Batch) -> list[Array]:
        pushed = _pushed(ensemble, stands, push)
        slope = layered(pushed.at((system.equations.gradient(pushed, point), ())))
        kept = slope.biases if rates.biases is not None else None
        slope = dataclasses.replace(slope, biases=kept)
        return jax.tree.leaves(jax.tree.map(jnp.multiply, rates, slope))

    def jumps(point: Batch) -> Array:
        point = jax.tree.map(lambda part: part[None], point)
        apart, size = [], jnp.zeros(())
        for push in (100 * NEAR, NEAR):
            pairs = list(zip(velocity(push, point), velocity(-push, point), strict=True))
            apart.append(jnp.max(jnp.stack([jnp.max(jnp.abs(a - b)) for a, b in pairs])))
            size = jnp.maximum(size, jnp.max(jnp.stack([jnp.max(jnp.abs(a)) for a, _ in pairs])))
        return apart[1] > 0.5 * apart[0] + 1e-12 * size

    return jax.lax.map(jumps, dataclasses.replace(batch, weights=jnp.ones_like(batch.weights)))


def _pushed(ensemble: Ensemble, stands: Sequence[_Stand], push: float) -> Ensemble:
    """The neurons that stand on a kink somewhere, moved by a bias."""
    own, sizes = layered(ensemble), ensemble.by_layer(ensemble.sizes)
    first, *above = own.biases or (jnp.zeros(size) for size in sizes)
    moved = [
        bias + push * stand.size * stand.on_kink.any(axis=0)
        for bias, stand in zip(above, stands, strict=True)
    ]
    parameters = dataclasses.replace(own, biases=(first, *moved))
    return ensemble.at((parameters, ensemble.memory))
