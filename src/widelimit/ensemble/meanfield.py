"""The equations: forward pass and mean-field gradient of an ensemble of weighted neurons.

    z_1 = W_1·x + b_1,  z_l(c) = E_{c'}[W_l(c', c) φ_{l-1}(z_{l-1}(c'))] + b_l(c),
    f = κ (E_c[A(c) φ_L(z_L(c))] + a_0)
    Δ_L(c) = ∇ℓ·A(c) φ_L'(z_L(c)),  Δ_{l-1}(c') = E_c[Δ_l(c) W_l(c', c)] φ_{l-1}'(z_{l-1}(c'))
    G_1 = E_π[Δ_1 xᵀ],  G_l = E_π[Δ_l(c) φ_{l-1}(z_{l-1}(c'))],  G_b = E_π[Δ_l],  G_A = E_π[∇ℓ φ_L]

(Nguyen & Pham 2023, §2.2, where κ = 1; here ∇ℓ is multiplied by κ; E over neurons uses their
weights.) Layers that are not fully connected have another product in place of W φ, see `layers`;
the averages are the same. Gradients are never divided by neuron weights, so tracers (weight zero)
move correctly, and everything can be differentiated by the weights.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from widelimit.ensemble.neurons import Ensemble, Parameters, Rates
from widelimit.problem.network.layers import Dense, Layer, Numbers, Shape, Values, Weights

Inputs = Float[Array, "points inputs"]
Outputs = Float[Array, "points channels"]


ROW_NUMBERS = 2**22
"""A tangent kernel holds gradients of so many outputs at once that they are no more numbers."""


class Batch(eqx.Module):
    """Weighted data points: `inputs (n, d)`, `targets (n, o)`, `weights (n,)`."""

    inputs: Inputs
    targets: Outputs
    weights: Float[Array, " points"]


class Equations(NamedTuple):
    """What the right-hand side needs beside the state: hashable, so that it is compiled once."""

    activations: tuple[Callable, ...]
    loss: Callable
    scale: float = 1.0
    """κ: outputs are κ times the average over neurons, and all learning rates are divided by κ²."""
    points: int | None = None
    """How many data points are handled at once, to bound memory (None: all)."""
    layers: tuple[Layer, ...] = ()
    """How each layer takes in what is below (empty: all are fully connected)."""
    image: Shape | None = None
    """The shape of an input, if it is more than a row of numbers."""

    def stack(self) -> tuple[Layer, ...]:
        """All layers, and the output's."""
        return (*(self.layers or (Dense(),) * len(self.activations)), Dense())


class Step(NamedTuple):
    """A layer at all points: what it takes in with which weights, what it gives, and the way back.

    `back` maps cotangents of the value to those of z.
    """

    below: Values
    weights: Weights
    z: Values
    value: Values
    back: Callable


def _forward(equations: Equations, ensemble: Ensemble, x: Inputs) -> tuple[Outputs, list[Step]]:
    layers, parameters = equations.stack(), ensemble.parameters
    image = equations.image or x.shape[1:]
    p, value = jnp.ones(1, x.dtype), x.reshape(len(x), 1, *image)  # one neuron, whose value is x
    first = parameters.input.reshape(1, -1, *layers[0].weight(image))
    steps: list[Step] = []
    by_layer, z_values = ensemble.by_layer(ensemble.weights), []
    for index, (activation, w) in enumerate(
        zip(equations.activations, (first, *parameters.hidden), strict=True)
    ):
        layer, below = layers[index], value
        z = layer.mean(p, w, below)
        if layer.skip:
            z = z + z_values[index - layer.skip]
        if parameters.biases is not None:
            z = z + _spread(parameters.biases[index], z)
        z_values.append(z)
        value, back = jax.vjp(lambda z, a=activation, own=layer: own.pooled(a(z)), z)
        steps.append(Step(below, w, z, value, back))
        p = by_layer[index]
    readout = parameters.readout.reshape(len(p), -1, *value.shape[2:])
    f = layers[-1].mean(p, readout, value)
    steps.append(Step(value, readout, f, f, lambda cotangent: (cotangent,)))
    f = f if parameters.output_bias is None else f + parameters.output_bias
    return (f if equations.scale == 1 else equations.scale * f), steps


def _spread(per_neuron: Numbers, like: Array) -> Numbers:
    """Numbers of neurons `(neuron,)` against values `(point, neuron, …)`."""
    return per_neuron.reshape(-1, *[1] * (like.ndim - 2))


def _slope(equations: Equations, f: Outputs, targets: Outputs) -> Outputs:
    """∇ℓ by the average over neurons, of which f is κ times as much."""
    slope = jax.vmap(jax.grad(equations.loss))(f, targets)
    return slope if equations.scale == 1 else equations.scale * slope


def _sensitivities(
    equations: Equations, ensemble: Ensemble, steps: list[Step], cotangent: Outputs
) -> list[Array]:
    """Δ_1 … Δ_L, each `(points, neurons, …)`, and the output's cotangent that they come from."""
    layers, p = equations.stack(), [*ensemble.by_layer(ensemble.weights), None]
    deltas = {len(steps) - 1: cotangent}
    for index in reversed(range(len(steps) - 1)):
        layer, above, weight = layers[index + 1], steps[index + 1], p[index + 1]
        delta = deltas[index + 1]
        weighted = delta if weight is None else delta * _spread(weight, delta)
        passed = layer.back(above.weights, above.below, weighted)
        deltas[index] = steps[index].back(passed)[0]
        for place in range(index + 1, len(steps) - 1):  # skip connections from this layer
            if place - layers[place].skip == index:
                deltas[index] = deltas[index] + deltas[place]
    return [deltas[index] for index in range(len(steps))]


def layer_values(
    equations: Equations, ensemble: Ensemble, x: Inputs
) -> list[Float[Array, "points neurons *shape"]]:
    """h_l = φ_l(z_l), pooled, of every hidden layer at every input."""
    return [step.value for step in layer_steps(equations, ensemble, x)]


def layer_steps(equations: Equations, ensemble: Ensemble, x: Inputs) -> list[Step]:
    """What every hidden layer takes in, its z and its value, at every input."""
    return _forward(equations, ensemble, x)[1][:-1]


def output(equations: Equations, ensemble: Ensemble, x: Inputs) -> Outputs:
    """f at every input."""
    if equations.points is None or len(x) <= equations.points:
        return _forward(equations, ensemble, x)[0]
    pieces = _cut(x, equations.points, "edge")
    found = jax.lax.map(lambda piece: _forward(equations, ensemble, piece)[0], pieces)
    return found.reshape(-1, found.shape[-1])[: len(x)]


def risk(equations: Equations, outputs: Outputs, batch: Batch) -> Float[Array, ""]:
    """R = E_π ℓ(f(x), y), for outputs at the batch's inputs."""
    return batch.weights @ jax.vmap(equations.loss)(outputs, batch.targets)


def gradient(equations: Equations, ensemble: Ensemble, batch: Batch) -> Parameters:
    """The mean-field gradient: every parameter's gradient of R times what it is averaged with."""
    return _over_pieces(_gradient, equations, ensemble, batch)


def gradient_squares(equations: Equations, ensemble: Ensemble, batch: Batch) -> Parameters:
    """E_π[G_z²], G_z being the mean-field gradient at the data point z alone."""
    return _over_pieces(_squares, equations, ensemble, batch)


def _over_pieces(
    part: Callable[..., Parameters], equations: Equations, ensemble: Ensemble, batch: Batch
) -> Parameters:
    """The sum of `part` over pieces of the data that memory bears."""
    if equations.points is None or len(batch.inputs) <= equations.points:
        return part(equations, ensemble, batch)
    pieces = (
        _cut(batch.inputs, equations.points, "edge"),
        _cut(batch.targets, equations.points, "edge"),
        _cut(batch.weights, equations.points, "constant"),
    )

    def add(total: Parameters, piece: tuple[Array, Array, Array]) -> tuple[Parameters, None]:
        return jax.tree.map(jnp.add, total, part(equations, ensemble, Batch(*piece))), None

    start = jax.tree.map(jnp.zeros_like, ensemble.parameters)
    return jax.lax.scan(add, start, pieces)[0]


def _cut(rows: Array, points: int, filler: str) -> Array:
    """Rows in equal pieces of at most `points`; the last one is filled up."""
    count = -(-len(rows) // points)
    size = -(-len(rows) // count)
    missing = [(0, count * size - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
    return jnp.pad(rows, missing, mode=filler).reshape(count, size, *rows.shape[1:])


def _gradient(equations: Equations, ensemble: Ensemble, batch: Batch) -> Parameters:
    f, steps = _forward(equations, ensemble, batch.inputs)
    slope = _slope(equations, f, batch.targets) * batch.weights[:, None]
    return _pulled_back(equations, ensemble, steps, slope)


def _pulled_back(
    equations: Equations, ensemble: Ensemble, steps: list[Step], cotangent: Outputs
) -> Parameters:
    """What a cotangent of the outputs at all points is for the parameters."""
    deltas = _sensitivities(equations, ensemble, steps, cotangent)
    slopes = [
        layer.slope(step.weights, step.below, delta)
        for layer, step, delta in zip(equations.stack(), steps, deltas, strict=True)
    ]
    return _laid_out(ensemble, slopes, [_per_neuron(delta).sum(0) for delta in deltas])


def _squares(equations: Equations, ensemble: Ensemble, batch: Batch) -> Parameters:
    f, steps = _forward(equations, ensemble, batch.inputs)
    slope = _slope(equations, f, batch.targets)
    deltas = _sensitivities(equations, ensemble, steps, slope)
    squares = [
        layer.squares(step.weights, step.below, delta, batch.weights)
        for layer, step, delta in zip(equations.stack(), steps, deltas, strict=True)
    ]
    sums = [batch.weights @ _per_neuron(delta) ** 2 for delta in deltas]
    return _laid_out(ensemble, squares, sums)


def _per_neuron(delta: Array) -> Float[Array, "points neurons"]:
    """What a bias feels: the sum over positions."""
    return delta.sum(axis=tuple(range(2, delta.ndim)))


def _laid_out(ensemble: Ensemble, slopes: Sequence[Numbers], sums: Sequence[Array]) -> Parameters:
    """What belongs to every layer's weights and biases, the output's last, as parameters."""
    theta = ensemble.parameters
    return Parameters(
        input=slopes[0].reshape(theta.input.shape),
        hidden=tuple(slopes[1:-1]),
        readout=slopes[-1].reshape(theta.readout.shape),
        biases=None if theta.biases is None else tuple(sums[:-1]),
        output_bias=None if theta.output_bias is None else sums[-1],
    )


def tangent_kernel(
    equations: Equations, rates: Rates, ensemble: Ensemble, x: Inputs, time: ArrayLike = 0.0
) -> Float[Array, "points channels points channels"]:
    """K_t(x, x') of the ensemble, learning rates inside: ∂_t f(x) = −E_{x'}[K(x, x') ∇ℓ(x')].

    K = Σ_θ ξ_θ E[∂f(x)/∂θ ∂f(x')/∂θ], the sum over kinds of parameters, E over their neurons, and
    ∂f/∂θ times the number of neurons, as in `gradient`. κ is not in it: gradients have κ², learning
    rates 1/κ².
    """
    now, masses = rates.at(time), ensemble.masses()
    numbers = sum(leaf.size for leaf in jax.tree.leaves(ensemble.parameters))
    channels = ensemble.parameters.readout.shape[1]
    blocks = _cut(x, max(1, ROW_NUMBERS // (numbers * channels)), "edge")

    def rows(block: Array) -> Parameters:
        return jax.lax.map(lambda one: _of_one_output(equations, ensemble, one), block)

    def products(slopes: Parameters, others: Parameters) -> Array:
        found = jax.tree.map(
            lambda slope, other, rate, mass: jnp.tensordot(
                (rate * mass * slope).reshape(*slope.shape[:2], -1),
                other.reshape(*other.shape[:2], -1),
                ([2], [2]),
            ),
            slopes,
            others,
            now,
            masses,
        )
        return jnp.asarray(sum(jax.tree.leaves(found)))

    if len(blocks) == 1:
        own = rows(blocks[0])
        return products(own, own)

    def of_block(block: Array) -> Array:
        own = rows(block)
        return jax.lax.map(lambda other: products(own, rows(other)), blocks)

    kernel = jnp.moveaxis(jax.lax.map(of_block, blocks), 1, 3)
    size = len(blocks) * blocks.shape[1]
    return kernel.reshape(size, channels, size, channels)[: len(x), :, : len(x)]


def _of_one_output(equations: Equations, ensemble: Ensemble, x: Array) -> Parameters:
    """∂f(x)/∂θ for every channel of the output, along a first axis."""
    f, steps = _forward(equations._replace(scale=1.0), ensemble, x[None])
    unit = jnp.eye(f.shape[1], dtype=f.dtype)
    return jax.vmap(lambda e: _pulled_back(equations, ensemble, steps, e[None]))(unit)
