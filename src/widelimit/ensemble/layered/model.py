"""Layers, one upon the other, as an architecture: see `model`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jax.typing import DTypeLike
from jaxtyping import PRNGKeyArray

from widelimit.ensemble.layered.equations import Layered
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.layered.placing import (
    coupled_networks,
    held_sizes,
    limit_ensemble,
    neuron_kinds,
    sampled_network,
)
from widelimit.ensemble.neurons import Ensemble, Rates
from widelimit.nodes.points import Nodes, Numbers
from widelimit.problem.network.network import Network
from widelimit.problem.training.schedules import Rate
from widelimit.problem.training.training import PerKind


@dataclass(frozen=True)
class LayeredModel:
    """Layers with these laws."""

    network: Network

    deep = False
    """Its layers are as many as they are."""

    def equations(self, loss: Callable) -> Layered:
        """What their neurons obey."""
        own = self.network
        return Layered(
            loss,
            own.scale,
            activations=own.activation_functions,
            layers=own.layer_maps,
            image=own.image,
        )

    def rates(self, chosen: PerKind, dtype: DTypeLike) -> Rates:
        """A number, or a schedule of them, for every array of parameters."""
        depth, biased = self.network.depth, self.network.biases
        *biases, last = chosen.bias_rates(depth)
        rates = [chosen.input, *chosen.hidden_rates(depth), chosen.readout]
        rates += [*biases] * biased + [last] * self.network.output_bias
        nothing = np.zeros(0)
        layout = LayerParameters(
            input=nothing,
            hidden=(nothing,) * (depth - 1),
            readout=nothing,
            biases=(nothing,) * depth if biased else None,
            output_bias=nothing if self.network.output_bias else None,
        )
        return Rates.like(layout, [Rate.of(rate, dtype) for rate in rates])

    def limit(
        self, nodes: Sequence[Nodes], dims: tuple[int, int], dtype: DTypeLike, depths: int = 1
    ) -> Ensemble:
        """The limit at time zero on quadrature nodes, one `Nodes` per index space."""
        return limit_ensemble(self.network, nodes, *dims, dtype)

    def drawn(
        self,
        key: PRNGKeyArray,
        widths: tuple[int, ...],
        dims: tuple[int, int],
        dtype: DTypeLike,
        given: Sequence[Numbers | None] | None = None,
        apart: bool = False,
    ) -> tuple[Ensemble, tuple[Numbers, ...]]:
        """A network of these widths drawn from the initial laws, and its neurons' labels."""
        return sampled_network(key, self.network, widths, *dims, dtype, given, apart)

    def halves(
        self, key: PRNGKeyArray, widths: tuple[int, ...], dims: tuple[int, int], dtype: DTypeLike
    ) -> tuple[tuple[Ensemble, Ensemble], Ensemble]:
        """Two independent networks of these widths, and the one twice as wide that is both."""
        return coupled_networks(key, self.network, widths, *dims, dtype)

    def held(
        self, widths: tuple[int, ...], dims: tuple[int, int], apart: bool = False, parts: int = 1
    ) -> Sequence[int]:
        """How many weighted neurons stand for each index space of a union of so many networks."""
        kinds = neuron_kinds(self.network, widths, *dims, apart)
        return held_sizes(kinds, self.network.by_space(tuple(parts * n for n in widths)))
