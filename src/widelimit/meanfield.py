"""The equations: forward pass and mean-field gradient of an ensemble of weighted neurons.

    z_1 = W_1·x + b_1,  z_l(c) = E_{c'}[W_l(c', c) φ_{l-1}(z_{l-1}(c'))] + b_l(c),
    f = κ (E_c[A(c) φ_L(z_L(c))] + a_0)
    Δ_L(c) = ∇ℓ·A(c) φ_L'(z_L(c)),  Δ_{l-1}(c') = E_c[Δ_l(c) W_l(c', c)] φ_{l-1}'(z_{l-1}(c'))
    G_1 = E_π[Δ_1 xᵀ],  G_l = E_π[Δ_l(c) φ_{l-1}(z_{l-1}(c'))],  G_b = E_π[Δ_l],  G_A = E_π[∇ℓ φ_L]

(Nguyen & Pham 2023, §2.2, where κ = 1; here ∇ℓ is multiplied by κ; E over neurons uses their
weights.) Gradients are never divided by neuron weights, so tracers (weight zero) move correctly,
and everything can be differentiated by the weights.
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from widelimit.neurons import Ensemble, Parameters, Rates

Inputs = Float[Array, "points inputs"]
Outputs = Float[Array, "points channels"]


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


class _Layer(NamedTuple):
    """Values φ(z) of a layer at all points, and the map of cotangents back to z."""

    values: Float[Array, "points neurons"]
    back: Callable


def _forward(equations: Equations, ensemble: Ensemble, x: Inputs) -> tuple[Outputs, list[_Layer]]:
    p, parameters = ensemble.weights, ensemble.parameters
    layers: list[_Layer] = []
    z = x @ parameters.input.T
    for index, activation in enumerate(equations.activations):
        if index > 0:
            z = layers[-1].values @ (p[index - 1][:, None] * parameters.hidden[index - 1])
        if parameters.biases is not None:
            z = z + parameters.biases[index]
        layers.append(_Layer(*jax.vjp(activation, z)))
    f = layers[-1].values @ (p[-1][:, None] * parameters.readout)
    f = f if parameters.output_bias is None else f + parameters.output_bias
    return (f if equations.scale == 1 else equations.scale * f), layers


def _slope(equations: Equations, f: Outputs, targets: Outputs) -> Outputs:
    """∇ℓ by the average over neurons, of which f is κ times as much."""
    slope = jax.vmap(jax.grad(equations.loss))(f, targets)
    return slope if equations.scale == 1 else equations.scale * slope


def _sensitivities(ensemble: Ensemble, layers: list[_Layer], cotangent: Outputs) -> list[Array]:
    """Δ_1 … Δ_L, each `(points, neurons)`, for a cotangent of the output."""
    p, parameters = ensemble.weights, ensemble.parameters
    deltas = [layers[-1].back(cotangent @ parameters.readout.T)[0]]
    for index in reversed(range(len(layers) - 1)):
        passed = deltas[0] @ (parameters.hidden[index] * p[index + 1]).T
        deltas.insert(0, layers[index].back(passed)[0])
    return deltas


def layer_values(
    equations: Equations, ensemble: Ensemble, x: Inputs
) -> list[Float[Array, "points neurons"]]:
    """φ_l(z_l) of every hidden layer at every input."""
    return [layer.values for layer in _forward(equations, ensemble, x)[1]]


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
    f, layers = _forward(equations, ensemble, batch.inputs)
    slope = _slope(equations, f, batch.targets) * batch.weights[:, None]
    deltas = _sensitivities(ensemble, layers, slope)
    values = [batch.inputs, *(layer.values for layer in layers)]
    return _products(ensemble, values, [*deltas, slope])


def _squares(equations: Equations, ensemble: Ensemble, batch: Batch) -> Parameters:
    """At one point a weight's gradient is a product of two factors, and so is its square."""
    f, layers = _forward(equations, ensemble, batch.inputs)
    slope = _slope(equations, f, batch.targets)
    deltas = _sensitivities(ensemble, layers, slope)
    values = [batch.inputs, *(layer.values for layer in layers)]
    weighted = [delta**2 * batch.weights[:, None] for delta in (*deltas, slope)]
    return _products(ensemble, [value**2 for value in values], weighted)


def _products(ensemble: Ensemble, values: list[Array], deltas: list[Array]) -> Parameters:
    """Sums over data of what comes into a layer times what comes back to it."""
    first, *between, last = (v.T @ d for v, d in zip(values, deltas, strict=True))
    sums = [delta.sum(0) for delta in deltas]
    biased = ensemble.parameters.biases is not None
    return Parameters(
        input=first.T,
        hidden=tuple(between),
        readout=last,
        biases=tuple(sums[:-1]) if biased else None,
        output_bias=None if ensemble.parameters.output_bias is None else sums[-1],
    )


def tangent_kernel(
    equations: Equations, rates: Rates, ensemble: Ensemble, x: Inputs, time: ArrayLike = 0.0
) -> Float[Array, "points channels points channels"]:
    """K_t(x, x') of the ensemble, learning rates inside: ∂_t f(x) = −E_{x'}[K(x, x') ∇ℓ(x')].

    K = Σ_l ξ_l E[Δ_l(x)Δ_l(x')] (E[φ_{l-1}(x) φ_{l-1}(x')] + 1 if biased) + ξ_A E[φ_L φ_L'] + ξ_0
    with Δ_l for unit cotangents of the outputs, and x·x' in place of the average at l = 1. κ is
    not in it: gradients have κ², learning rates 1/κ².
    """
    now = rates.at(time)
    f, layers = _forward(equations, ensemble, x)
    channels = f.shape[1]
    identity = jnp.eye(channels, dtype=f.dtype)
    unit = jnp.broadcast_to(identity[:, None, :], (channels, *f.shape))
    per_channel = jax.vmap(lambda e: tuple(_sensitivities(ensemble, layers, e)))(unit)
    p = ensemble.weights
    grams = [
        (layer.values * weight) @ layer.values.T for layer, weight in zip(layers, p, strict=True)
    ]
    kernel = jnp.einsum("xy,ck->xcyk", now.readout * grams[-1], identity)
    for index, (delta, weight) in enumerate(zip(per_channel, p, strict=True)):
        before = x @ x.T if index == 0 else grams[index - 1]
        factor = (now.input if index == 0 else now.hidden[index - 1]) * before
        if now.biases is not None:
            factor = factor + now.biases[index]
        kernel += factor[:, None, :, None] * jnp.einsum("cxi,i,kyi->xcyk", delta, weight, delta)
    if now.output_bias is not None:
        kernel += now.output_bias * identity[None, :, None, :]
    return kernel
