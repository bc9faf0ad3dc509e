"""Residual networks as an architecture: see `model`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from widelimit.ensemble.neurons import Depth, Ensemble, Rates
from widelimit.ensemble.residual.equations import Residual
from widelimit.ensemble.residual.parameters import UnitParameters
from widelimit.ensemble.residual.placing import drawn_ends, drawn_units, limit_units
from widelimit.nodes.points import Nodes, Numbers
from widelimit.problem.network.residual import FEWEST_DEPTHS, ResidualNetwork
from widelimit.problem.training.schedules import Rate
from widelimit.problem.training.training import PerKind


@dataclass(frozen=True)
class ResidualModel:
    """A residual network with these laws, its ends drawn by `seed`."""

    network: ResidualNetwork
    seed: int

    @property
    def deep(self) -> bool:
        """Whether depth is taken to its limit, so that its nodes make an error."""
        return self.network.depth == "limit"

    def equations(self, loss: Callable) -> Residual:
        """What units obey."""
        own = self.network
        return Residual(
            loss,
            units=own.blocks,
            residual_scale=own.residual_scale,
            tokens=own.tokens,
            pool=own.pool,
            alternating=own.alternating,
        )

    def rates(self, chosen: PerKind, dtype: DTypeLike) -> Rates:
        """A number, or a schedule of them, for every array of parameters."""
        network, nothing = self.network, np.zeros(0)
        names = [sorted(unit.sizes(1, network.biases)) for unit in network.blocks]
        positioned = network.initial.position is not None
        layout = UnitParameters(
            tuple(dict.fromkeys(own, nothing) for own in names),
            embedding=nothing,
            position=nothing if positioned else None,
            unembedding=nothing,
            output_bias=nothing if network.output_bias else None,
            kinds=network.kinds,
        )
        every = [name for own in names for name in own]
        every += ["embedding"] * (1 + positioned) + ["unembedding"] * (1 + network.output_bias)
        return Rates.like(layout, [Rate.of(chosen.of(name), dtype) for name in every])

    def limit(
        self, nodes: Sequence[Nodes], dims: tuple[int, int], dtype: DTypeLike, depths: int = 1
    ) -> Ensemble:
        """The limit at time zero on nodes of depth × unit: `depths` times the fewest depths.

        At a finite depth each block is one.
        """
        ends = drawn_ends(self.network, dims, self.seed)
        if self.network.depth != "limit":
            return limit_units(self.network, nodes, ends, Depth(self.network.depth), dtype)
        fewest = min(len(np.unique(own.points[:, 0])) for own in nodes)
        depth = Depth(min(FEWEST_DEPTHS * depths, fewest), "midpoint")
        return limit_units(self.network, nodes, ends, depth, dtype)

    def drawn(
        self,
        key: PRNGKeyArray,
        widths: tuple[int, ...],
        dims: tuple[int, int],
        dtype: DTypeLike,
        given: Sequence[Numbers | None] | None = None,
        apart: bool = False,
    ) -> tuple[Ensemble, tuple[Numbers, ...]]:
        """A network of L blocks of M units drawn from the initial laws, and its units' labels."""
        ends = drawn_ends(self.network, dims, self.seed)
        return drawn_units(key, self.network, widths, ends, dtype)

    def halves(
        self, key: PRNGKeyArray, widths: tuple[int, ...], dims: tuple[int, int], dtype: DTypeLike
    ) -> tuple[tuple[Ensemble, Ensemble], Ensemble]:
        """Two independent networks of these widths, and the one with the units of both.

        Every block is divided: the depth is the same in all three.
        """
        depth, width = widths
        whole, _ = self.drawn(key, (depth, 2 * width), dims, dtype)

        def half(side: int) -> Ensemble:
            def cut(own: Numbers) -> Numbers:
                by_depth = own.reshape(depth, 2, width, *own.shape[1:])
                return by_depth[:, side].reshape(-1, *own.shape[1:])

            theta = whole.parameters
            assert isinstance(theta, UnitParameters)
            own = replace(theta, units=jax.tree.map(cut, theta.units))
            weights = tuple(2 * cut(w) for w in whole.weights)
            return Ensemble(weights, own, depth=whole.depth)

        return (half(0), half(1)), whole

    def held(
        self, widths: tuple[int, ...], dims: tuple[int, int], apart: bool = False, parts: int = 1
    ) -> Sequence[int]:
        """How many units there are of each kind in a union of so many networks."""
        return [parts * count for count in self.network.neurons(widths)]
