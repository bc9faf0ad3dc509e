"""The equations of residual networks: the stream forward, its cotangent back, unit by unit.

    h_0 = x E + e_0,   h_{k+1} = h_k + α Σ_i p_{k,i} v(h_k, θ_{k,i}),   f = pool(h_K) U + u_0
    q_K = ∇ℓ Uᵀ,   q_k = q_{k+1} + α Σ_i p_{k,i} ∂_h v(h_k, θ_{k,i})ᵀ q_{k+1}
    G_{k,i} = E_π[α ∂_θ v(h_k, θ_{k,i})ᵀ q_{k+1}],   G_E = E_π[xᵀ q_0],  G_U = E_π[pool(h_K)ᵀ ∇ℓ]

(Chizat 2025, §2: Euler's rule, the network itself; Σ p over all depths is 1.) G is the gradient of
this discrete map, each unit's divided by its weight, with no division. By the midpoint rule the
same units are felt at h_k + ½ α Σ p v(h_k, θ) in place of h_k, which is of second order in the
depth step; its gradient is that of this map likewise.

The stream is kept at every depth, and nothing of units: what they make is made again on the way
back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from widelimit.ensemble.equations import Batch, Equations, Inputs, Outputs, PullBack
from widelimit.ensemble.neurons import Ensemble, Parameters
from widelimit.ensemble.residual.parameters import UnitParameters
from widelimit.nodes.points import Numbers
from widelimit.problem.network.units import Stream, Unit

Weights = tuple[Numbers, ...]
Block = tuple[dict[str, Numbers], ...]
"""The units of every kind at one depth."""


@dataclass(frozen=True)
class Residual(Equations):
    """The equations of a residual network with these kinds of units."""

    units: tuple[Unit, ...] = ()
    residual_scale: float = 1.0
    tokens: int = 1
    pool: Literal["mean", "last"] = "mean"
    alternating: bool = False

    def passed(self, ensemble: Ensemble, x: Inputs) -> tuple[Outputs, PullBack]:
        """f at every input, and the way back to the parameters."""
        theta = units_of(ensemble)
        weights, blocks = _by_depth(ensemble.depth.nodes, (ensemble.weights, theta.units))
        step = _Midpoint(self) if ensemble.depth.rule == "midpoint" else _Euler(self)
        tokens = x.reshape(len(x), self.tokens, -1)
        start = tokens @ theta.embedding
        if theta.position is not None:
            start = start + theta.position

        def onward(h: Stream, at: tuple[Weights, Block]) -> tuple[Stream, tuple[Stream, ...]]:
            return step.forward(h, *at)

        last, kept = jax.lax.scan(onward, start, (weights, blocks))
        seen = last.mean(axis=1) if self.pool == "mean" else last[:, -1]
        f = seen @ theta.unembedding
        f = f if theta.output_bias is None else f + theta.output_bias

        def back(cotangent: Outputs) -> UnitParameters:
            of_seen = cotangent @ theta.unembedding.T
            q = self._unpooled(of_seen)

            def before(
                q: Stream, at: tuple[tuple[Stream, ...], Weights, Block]
            ) -> tuple[Stream, Block]:
                return step.backward(q, *at)

            first, slopes = jax.lax.scan(before, q, (kept, weights, blocks), reverse=True)
            flat = jax.tree.map(lambda own: own.reshape(-1, *own.shape[2:]), slopes)
            return UnitParameters(
                flat,
                jnp.einsum("ute,utd->ed", tokens, first),
                None if theta.position is None else first.sum(axis=0),
                seen.T @ cotangent,
                None if theta.output_bias is None else cotangent.sum(axis=0),
                theta.kinds,
            )

        return f, back

    def squares(self, ensemble: Ensemble, batch: Batch) -> Parameters:
        """E_π[G_z²], point by point."""

        def add(total: Parameters, point: Batch) -> tuple[Parameters, None]:
            one = jax.tree.map(lambda own: own[None], point)
            f, back = self.passed(ensemble, one.inputs)
            slope = back(self.slope(f, one.targets))
            return jax.tree.map(lambda a, g: a + point.weights * g**2, total, slope), None

        start = jax.tree.map(jnp.zeros_like, ensemble.parameters)
        return jax.lax.scan(add, start, batch)[0]

    def scaled(self, rates: Parameters) -> Parameters:
        """ξ as parameters feel them: those of units divided by α²."""
        assert isinstance(rates, UnitParameters)
        own = jax.tree.map(lambda rate: rate / self.residual_scale**2, rates.units)
        return replace(rates, units=own)

    def _unpooled(self, of_seen: Float[Array, "points stream"]) -> Stream:
        """The cotangent of the stream from that of what is read of it."""
        if self.pool == "mean":
            return jnp.repeat(of_seen[:, None] / self.tokens, self.tokens, axis=1)
        still = jnp.zeros((len(of_seen), self.tokens - 1, of_seen.shape[1]), of_seen.dtype)
        return jnp.concatenate([still, of_seen[:, None]], axis=1)

    # --- one block ------------------------------------------------------------------------------

    def added(self, h: Stream, weights: Weights, block: Block, chosen: Sequence[int]) -> Stream:
        """α Σ_i p_i v(h, θ_i) of the chosen kinds."""
        total = sum(
            self.units[k].total(block[k], jnp.asarray(weights[k]), self.units[k].taken_in(h))
            for k in chosen
        )
        return self.residual_scale * jnp.asarray(total)

    def pulled(
        self, h: Stream, weights: Weights, block: Block, chosen: Sequence[int], q: Stream
    ) -> tuple[Stream, Block]:
        """A cotangent of `added` as one of h, and of every unit's parameters without its weight."""
        of_h, slopes = jnp.zeros_like(h), []
        for k in chosen:
            unit, weight = self.units[k], jnp.asarray(weights[k])
            taken, back = jax.vjp(unit.taken_in, h)
            of_taken, own = unit.pulled(block[k], weight, taken, self.residual_scale * q)
            of_h = of_h + back(of_taken)[0]
            slopes.append(own)
        return of_h, tuple(slopes)


@dataclass(frozen=True)
class _Euler:
    """h_{k+1} = h_k + added(h_k); kinds one after the other where they alternate."""

    equations: Residual

    @property
    def stages(self) -> list[tuple[int, ...]]:
        kinds = range(len(self.equations.units))
        return [(k,) for k in kinds] if self.equations.alternating else [tuple(kinds)]

    def forward(
        self, h: Stream, weights: Weights, block: Block
    ) -> tuple[Stream, tuple[Stream, ...]]:
        kept: list[Stream] = []
        for chosen in self.stages:
            kept.append(h)
            h = h + self.equations.added(h, weights, block, chosen)
        return h, tuple(kept)

    def backward(
        self, q: Stream, kept: tuple[Stream, ...], weights: Weights, block: Block
    ) -> tuple[Stream, Block]:
        slopes: dict[int, Any] = {}
        for chosen, h in reversed(list(zip(self.stages, kept, strict=True))):
            of_h, own = self.equations.pulled(h, weights, block, chosen, q)
            slopes |= dict(zip(chosen, own, strict=True))
            q = q + of_h
        return q, tuple(slopes[k] for k in range(len(block)))


@dataclass(frozen=True)
class _Midpoint:
    """h_{k+1} = h_k + added(h_k + ½ added(h_k)): the same limit, of second order in the step."""

    equations: Residual

    def forward(
        self, h: Stream, weights: Weights, block: Block
    ) -> tuple[Stream, tuple[Stream, ...]]:
        every = tuple(range(len(block)))
        middle = h + self.equations.added(h, weights, block, every) / 2
        return h + self.equations.added(middle, weights, block, every), (h, middle)

    def backward(
        self, q: Stream, kept: tuple[Stream, ...], weights: Weights, block: Block
    ) -> tuple[Stream, Block]:
        every, (h, middle) = tuple(range(len(block))), kept
        of_middle, late = self.equations.pulled(middle, weights, block, every, q)
        of_h, early = self.equations.pulled(h, weights, block, every, of_middle / 2)
        return q + of_middle + of_h, jax.tree.map(jnp.add, late, early)


def units_of(ensemble: Ensemble) -> UnitParameters:
    """The parameters of an ensemble of units."""
    assert isinstance(ensemble.parameters, UnitParameters)
    return ensemble.parameters


def _by_depth(depths: int, tree: Any) -> Any:
    """Arrays of units as arrays `(depth, unit, …)`."""
    return jax.tree.map(lambda own: own.reshape(depths, -1, *own.shape[1:]), tree)
