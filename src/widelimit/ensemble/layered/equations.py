"""The equations of layers: forward pass and mean-field gradient of weighted neurons.

    z_1 = W_1·x + b_1,  z_l(c) = E_{c'}[W_l(c', c) φ_{l-1}(z_{l-1}(c'))] + b_l(c),
    f = κ (E_c[A(c) φ_L(z_L(c))] + a_0)
    Δ_L(c) = ∇ℓ·A(c) φ_L'(z_L(c)),  Δ_{l-1}(c') = E_c[Δ_l(c) W_l(c', c)] φ_{l-1}'(z_{l-1}(c'))
    G_1 = E_π[Δ_1 xᵀ],  G_l = E_π[Δ_l(c) φ_{l-1}(z_{l-1}(c'))],  G_b = E_π[Δ_l],  G_A = E_π[∇ℓ φ_L]

(Nguyen & Pham 2023, §2.2, where κ = 1; here ∇ℓ is multiplied by κ; E over neurons uses their
weights.) Layers that are not fully connected have another product in place of W φ, see `layers`;
the averages are the same.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.ensemble.equations import Batch, Equations, Inputs, Outputs, PullBack
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.neurons import Ensemble, Parameters
from widelimit.problem.network.layers import Dense, Layer, Numbers, Shape, Values, Weights


class Step(NamedTuple):
    """A layer at all points: what it takes in with which weights, what it gives, and the way back.

    `back` maps cotangents of the value to those of z.
    """

    below: Values
    weights: Weights
    z: Values
    value: Values
    back: Callable


@dataclass(frozen=True)
class Layered(Equations):
    """The equations of layers with these activations."""

    activations: tuple[Callable, ...] = ()
    layers: tuple[Layer, ...] = ()
    """How each layer takes in what is below (empty: all are fully connected)."""
    image: Shape | None = None
    """The shape of an input, if it is more than a row of numbers."""

    def passed(self, ensemble: Ensemble, x: Inputs) -> tuple[Outputs, PullBack]:
        """f at every input, and the way back to the parameters."""
        f, steps = self._forward(ensemble, x)
        return f, lambda cotangent: self._pulled_back(ensemble, steps, cotangent)

    def squares(self, ensemble: Ensemble, batch: Batch) -> Parameters:
        """E_π[G_z²] over data that are handled at once."""
        f, steps = self._forward(ensemble, batch.inputs)
        deltas = self._sensitivities(ensemble, steps, self.slope(f, batch.targets))
        squares = [
            layer.squares(step.weights, step.below, delta, batch.weights)
            for layer, step, delta in zip(self.stack(), steps, deltas, strict=True)
        ]
        sums = [batch.weights @ _per_neuron(delta) ** 2 for delta in deltas]
        return _laid_out(ensemble, squares, sums)

    def finer(self, times: int) -> "Layered":
        """The same with so many times the nodes inside layers that hold a quadrature."""
        return replace(self, layers=tuple(layer.finer(times) for layer in self.layers))

    def stack(self) -> tuple[Layer, ...]:
        """All layers, and the output's."""
        return (*(self.layers or (Dense(),) * len(self.activations)), Dense())

    def layer_values(
        self, ensemble: Ensemble, x: Inputs
    ) -> list[Float[Array, "points neurons *shape"]]:
        """h_l = φ_l(z_l), pooled, of every hidden layer at every input."""
        return [step.value for step in self.layer_steps(ensemble, x)]

    def layer_steps(self, ensemble: Ensemble, x: Inputs) -> list[Step]:
        """What every hidden layer takes in, its z and its value, at every input."""
        return self._forward(ensemble, x)[1][:-1]

    def _forward(self, ensemble: Ensemble, x: Inputs) -> tuple[Outputs, list[Step]]:
        layers, parameters = self.stack(), layered(ensemble)
        image = self.image or x.shape[1:]
        p, value = jnp.ones(1, x.dtype), x.reshape(len(x), 1, *image)  # one neuron, whose value: x
        first = parameters.input.reshape(1, -1, *layers[0].weight(image))
        steps: list[Step] = []
        by_layer, z_values = ensemble.by_layer(ensemble.weights), []
        for index, (activation, w) in enumerate(
            zip(self.activations, (first, *parameters.hidden), strict=True)
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
        return (f if self.scale == 1 else self.scale * f), steps

    def _sensitivities(
        self, ensemble: Ensemble, steps: list[Step], cotangent: Outputs
    ) -> list[Array]:
        """Δ_1 … Δ_L, each `(points, neurons, …)`, and the output's cotangent they come from."""
        layers, p = self.stack(), [*ensemble.by_layer(ensemble.weights), None]
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

    def _pulled_back(
        self, ensemble: Ensemble, steps: list[Step], cotangent: Outputs
    ) -> LayerParameters:
        """What a cotangent of the outputs at all points is for the parameters."""
        deltas = self._sensitivities(ensemble, steps, cotangent)
        slopes = [
            layer.slope(step.weights, step.below, delta)
            for layer, step, delta in zip(self.stack(), steps, deltas, strict=True)
        ]
        return _laid_out(ensemble, slopes, [_per_neuron(delta).sum(0) for delta in deltas])


def layered(ensemble: Ensemble) -> LayerParameters:
    """The parameters of an ensemble of layers."""
    assert isinstance(ensemble.parameters, LayerParameters)
    return ensemble.parameters


def _spread(per_neuron: Numbers, like: Array) -> Numbers:
    """Numbers of neurons `(neuron,)` against values `(point, neuron, …)`."""
    return per_neuron.reshape(-1, *[1] * (like.ndim - 2))


def _per_neuron(delta: Array) -> Float[Array, "points neurons"]:
    """What a bias feels: the sum over positions."""
    return delta.sum(axis=tuple(range(2, delta.ndim)))


def _laid_out(
    ensemble: Ensemble, slopes: Sequence[Numbers], sums: Sequence[Array]
) -> LayerParameters:
    """What belongs to every layer's weights and biases, the output's last, as parameters."""
    theta = layered(ensemble)
    return LayerParameters(
        input=slopes[0].reshape(theta.input.shape),
        hidden=tuple(slopes[1:-1]),
        readout=slopes[-1].reshape(theta.readout.shape),
        biases=None if theta.biases is None else tuple(sums[:-1]),
        output_bias=None if theta.output_bias is None else sums[-1],
    )
