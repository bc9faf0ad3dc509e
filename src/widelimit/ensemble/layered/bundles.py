"""Networks whose like neurons are held in bundles: what the limit leaves out, at any width.

A network of width n samples the labels of its neurons, and its weights between hidden layers
differ from their mean by independent numbers of standard deviation σ. Here labels are sampled from
the limit's nodes. While neurons are few each is told apart, and this is a network; else the k
neurons at a node are held as c of them, which weigh k/(n c). Of k × k' numbers for two bundles
the means over rows, over columns, and over both have standard deviations σ k^(-1/2), σ k'^(-1/2)
and σ (k k')^(-1/2); c × c' numbers are made to have the same. Signals then differ between neurons,
forward and backward, as they do in the network,

    δz_i(x) ~ σ n_{l-1}^(-1/2) E[φ_{l-1} φ_{l-1}']^(1/2),
    δS_j(x) ~ σ n_{l+1}^(-1/2) E[Δ_{l+1} Δ_{l+1}']^(1/2),

whatever the numbers c are (equations.md §6; Nguyen & Pham 2023, §5 for what the limit keeps).
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from widelimit.ensemble.layered.equations import layered
from widelimit.ensemble.neurons import Ensemble
from widelimit.problem.network.network import Network


@dataclass(frozen=True)
class Bundles:
    """How the neurons of one index space are held: in `copies` of each bundle, side by side.

    `nodes (neuron,)` tells at which node of the limit a neuron is, `weights (neuron,)` sum to 1,
    `counts (bundle,)` tells how many neurons of a network a bundle stands for.
    """

    nodes: np.ndarray
    weights: np.ndarray
    counts: np.ndarray
    copies: int

    @classmethod
    def whole(cls, weights: np.ndarray) -> "Bundles":
        """The limit's nodes as they are: neurons that are the same ones in all networks."""
        return cls(np.arange(len(weights)), weights, np.ones(len(weights)), 1)

    @classmethod
    def sampled(
        cls, rng: np.random.Generator, weights: np.ndarray, width: int, copies: int
    ) -> "Bundles":
        """`width` neurons drawn from the limit's nodes, at most so many `copies` of each node."""
        nodes = len(weights)
        counts = rng.multinomial(width, np.asarray(weights, float) / np.sum(weights, dtype=float))
        if width <= nodes * copies:
            each = np.repeat(np.arange(nodes), counts)
            return cls(each, np.full(width, 1 / width), np.ones(width), 1)
        share = np.repeat(counts / (width * copies), copies)
        return cls(np.repeat(np.arange(nodes), copies), share, np.maximum(counts, 1), copies)

    def scaled(self, normals: np.ndarray) -> np.ndarray:
        """Standard normals `(…, neuron)`, their means and differences sized as in a bundle of k.

        Means over c numbers become those over k; the variance of a number stays 1.
        """
        k, c = self.counts[:, None], self.copies
        if c == 1:
            return normals / np.sqrt(self.counts)
        own = normals.reshape(*normals.shape[:-1], -1, c)
        mean = own.mean(axis=-1, keepdims=True)
        spread = np.sqrt((1 - 1 / k) / (1 - 1 / c))
        return (mean * np.sqrt(c / k) + (own - mean) * spread).reshape(normals.shape)


def labelled(limit: Ensemble, bundles: Sequence[Bundles]) -> Ensemble:
    """The network's neurons, what joins them being as in the limit."""
    chosen = limit.taken([own.nodes for own in bundles])
    return chosen.weighted(
        tuple(own.weights.astype(p.dtype) for own, p in zip(bundles, limit.weights, strict=True))
    )


def told_apart(
    rng: np.random.Generator, network: Network, labels: Ensemble, bundles: Sequence[Bundles]
) -> Ensemble:
    """The network's neurons, with weights between hidden layers that the limit leaves out."""
    hidden, by_layer = list(layered(labels).hidden), labels.by_layer(bundles)
    for pair, law in network.independent.items():
        mean, (below, above) = np.asarray(hidden[pair]), by_layer[pair : pair + 2]
        normals = rng.normal(size=np.moveaxis(mean, (0, 1), (-2, -1)).shape)
        rows = above.scaled(normals)
        noise = below.scaled(rows.swapaxes(-1, -2)).swapaxes(-1, -2)
        change = law.deviation() * np.moveaxis(noise, (-2, -1), (0, 1))
        hidden[pair] = (mean + change).astype(mean.dtype)
    parameters = dataclasses.replace(layered(labels), hidden=tuple(hidden))
    return labels.at((parameters, labels.memory))
