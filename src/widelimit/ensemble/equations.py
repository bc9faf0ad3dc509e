"""The equations that weighted neurons obey: outputs, and their mean-field gradient.

    f(x) = F(x; neurons and their weights),     R = E_π ℓ(f(x), y),
    G_θ = E_π[∇ℓ · ∂f(x)/∂θ],  ∂f/∂θ divided by what θ is averaged with

An architecture says what F is and how cotangents of f are pulled back to its parameters; the rest
is the same for all. Gradients are never divided by neuron weights, so tracers (weight zero) move
correctly, and everything can be differentiated by the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from widelimit.ensemble.neurons import Ensemble, Parameters, Rates

Inputs = Float[Array, "points inputs"]
Outputs = Float[Array, "points channels"]
PullBack = Callable[[Outputs], Parameters]
"""What a cotangent of the outputs at all points is for the parameters."""

ROW_NUMBERS = 2**22
"""A tangent kernel holds gradients of so many outputs at once that they are no more numbers."""


class Batch(eqx.Module):
    """Weighted data points: `inputs (n, d)`, `targets (n, o)`, `weights (n,)`."""

    inputs: Inputs
    targets: Outputs
    weights: Float[Array, " points"]


@dataclass(frozen=True)
class Equations:
    """What the right-hand side needs beside the state: hashable, so that it is compiled once.

    An architecture gives `passed` and `squares`.
    """

    loss: Callable
    scale: float = 1.0
    """κ: outputs are κ times the average over neurons, and all learning rates are divided by κ²."""
    points: int | None = None
    """How many data points are handled at once, to bound memory (None: all)."""

    def passed(self, ensemble: Ensemble, x: Inputs) -> tuple[Outputs, PullBack]:
        """f at every input, and the way back to the parameters."""
        raise NotImplementedError

    def squares(self, ensemble: Ensemble, batch: Batch) -> Parameters:
        """E_π[G_z²] over data that are handled at once."""
        raise NotImplementedError

    def finer(self, times: int) -> "Equations":
        """The same with so many times the nodes inside layers that hold a quadrature."""
        return self

    def scaled(self, rates: Parameters) -> Parameters:
        """ξ as parameters feel them: divided by κ²."""
        if self.scale == 1:
            return rates
        return jax.tree.map(lambda rate: rate / self.scale**2, rates)

    def in_pieces(self, points: int) -> "Equations":
        """The same, handling at most so many data points at once."""
        return replace(self, points=points)

    # --- outputs --------------------------------------------------------------------------------

    def output(self, ensemble: Ensemble, x: Inputs) -> Outputs:
        """f at every input."""
        if self.points is None or len(x) <= self.points:
            return self.passed(ensemble, x)[0]
        pieces = _cut(x, self.points, "edge")
        found = jax.lax.map(lambda piece: self.passed(ensemble, piece)[0], pieces)
        return found.reshape(-1, found.shape[-1])[: len(x)]

    def risk(self, outputs: Outputs, batch: Batch) -> Float[Array, ""]:
        """R = E_π ℓ(f(x), y), for outputs at the batch's inputs."""
        return batch.weights @ jax.vmap(self.loss)(outputs, batch.targets)

    def slope(self, f: Outputs, targets: Outputs) -> Outputs:
        """∇ℓ by the average over neurons, of which f is κ times as much."""
        slope = jax.vmap(jax.grad(self.loss))(f, targets)
        return slope if self.scale == 1 else self.scale * slope

    # --- gradients ------------------------------------------------------------------------------

    def gradient(self, ensemble: Ensemble, batch: Batch) -> Parameters:
        """The mean-field gradient: every parameter's gradient of R times what it is averaged with.

        See `layered` and `residual` for what it is in each architecture.
        """
        return self._over_pieces(self._gradient, ensemble, batch)

    def gradient_squares(self, ensemble: Ensemble, batch: Batch) -> Parameters:
        """E_π[G_z²], G_z being the mean-field gradient at the data point z alone."""
        return self._over_pieces(self.squares, ensemble, batch)

    def _gradient(self, ensemble: Ensemble, batch: Batch) -> Parameters:
        f, back = self.passed(ensemble, batch.inputs)
        return back(self.slope(f, batch.targets) * batch.weights[:, None])

    def _over_pieces(
        self, part: Callable[[Ensemble, Batch], Parameters], ensemble: Ensemble, batch: Batch
    ) -> Parameters:
        """The sum of `part` over pieces of the data that memory bears."""
        if self.points is None or len(batch.inputs) <= self.points:
            return part(ensemble, batch)
        pieces = (
            _cut(batch.inputs, self.points, "edge"),
            _cut(batch.targets, self.points, "edge"),
            _cut(batch.weights, self.points, "constant"),
        )

        def add(total: Parameters, piece: tuple[Array, Array, Array]) -> tuple[Parameters, None]:
            return jax.tree.map(jnp.add, total, part(ensemble, Batch(*piece))), None

        start = jax.tree.map(jnp.zeros_like, ensemble.parameters)
        return jax.lax.scan(add, start, pieces)[0]

    # --- tangent kernel -------------------------------------------------------------------------

    def tangent_kernel(
        self, rates: Rates, ensemble: Ensemble, x: Inputs, time: ArrayLike = 0.0
    ) -> Float[Array, "points channels points channels"]:
        """K_t(x, x') of the ensemble, learning rates inside: ∂_t f(x) = −E_{x'}[K(x, x') ∇ℓ(x')].

        K = Σ_θ ξ_θ E[∂f(x)/∂θ ∂f(x')/∂θ], the sum over kinds of parameters, E over their neurons,
        and ∂f/∂θ times the number of neurons, as in `gradient`. κ is not in it: gradients have κ²,
        learning rates 1/κ².
        """
        now, masses = replace(self, scale=1.0).scaled(rates.at(time)), ensemble.masses()
        numbers = sum(leaf.size for leaf in jax.tree.leaves(ensemble.parameters))
        channels = jax.eval_shape(self.output, ensemble, x).shape[1]
        blocks = _cut(x, max(1, ROW_NUMBERS // (numbers * channels)), "edge")

        def rows(block: Array) -> Parameters:
            return jax.lax.map(lambda one: self._of_one_output(ensemble, one), block)

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

    def _of_one_output(self, ensemble: Ensemble, x: Array) -> Parameters:
        """∂f(x)/∂θ for every channel of the output, along a first axis."""
        f, back = replace(self, scale=1.0).passed(ensemble, x[None])
        unit = jnp.eye(f.shape[1], dtype=f.dtype)
        return jax.vmap(lambda e: back(e[None]))(unit)


def _cut(rows: Array, points: int, filler: str) -> Array:
    """Rows in equal pieces of at most `points`; the last one is filled up."""
    count = -(-len(rows) // points)
    size = -(-len(rows) // count)
    missing = [(0, count * size - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
    return jnp.pad(rows, missing, mode=filler).reshape(count, size, *rows.shape[1:])
