"""Tracers: the limit evaluated at the labels of sampled networks, neuron by neuron.

A network is coupled to the limit through its initial labels (Nguyen & Pham 2023, §4.1): neuron j
of layer l has the label C_l(j), and its parameters should stay near w_l(t, C_{l-1}(j'), C_l(j)).
"""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import jax
import numpy as np
import xarray as xr

from widelimit.basics.statistics import replicate_half_width
from widelimit.ensemble.neurons import Ensemble
from widelimit.motion.engine import Engine, Steps
from widelimit.nodes.design import Design
from widelimit.problem.network.network import Network
from widelimit.problem.problem import Problem
from widelimit.results.layout import neurons_over_time

MOST_REPLICATES = 4
"""Tracers are carried on so many replicates of the nodes."""


class Tracers(NamedTuple):
    """Networks of one width, and their labels: for each network the marks of every layer."""

    networks: tuple[xr.Dataset, ...]
    labels: tuple[tuple[np.ndarray, ...], ...]
    times: np.ndarray
    seeds: bool

    @classmethod
    def of(cls, problem: Problem, neurons: xr.Dataset | xr.DataTree) -> "Tracers":
        """Tracers from a group of the states of sampled networks.

        Raises `ValueError` if these are not neurons of this problem, from time 0 on.
        """
        group = neurons.to_dataset() if isinstance(neurons, xr.DataTree) else neurons
        if group["time"].values[0] != 0:
            raise ValueError("tracers start from their labels: observe.times must begin with 0")
        several = "seed" in group.dims
        networks = [group.isel(seed=s) for s in range(group.sizes["seed"])] if several else [group]
        data = problem.dataset
        dims = data.inputs.shape[1], data.targets.shape[1]
        labels = tuple(_labels(problem.layers, dims, network) for network in networks)
        return cls(tuple(networks), labels, problem.times, several)

    def carried(
        self, work: Engine, design: Design, steps: Steps, replicates: int
    ) -> list[list[list[Ensemble]]]:
        """The networks' neurons at the observed times, `[network][replicate][time]`.

        They are nodes of weight zero, which the limit moves and does not feel.
        """
        count = min(replicates, MOST_REPLICATES)
        last = [len(own) for own in self.labels[0]]
        *held, points = work.sizes(design)
        sizes = (*(n + m for n, m in zip(held, last, strict=True)), points)
        work.progress.named("limit: tracers")
        work.progress.expect(len(self.labels) * count)

        def one(entry: tuple[Sequence[np.ndarray], int]) -> list[Ensemble]:
            own = design.replicate(entry[1])
            start = work.placed(own, entry[0])
            seen = work.run(own, steps, lambda _, now, time: now.last(last), start).seen
            return [jax.tree.map(lambda at, k=k: at[k], seen) for k in range(len(self.times))]

        found = work.side_by_side(sizes, steps, one, list(product(self.labels, range(count))))
        return [found[k * count : (k + 1) * count] for k in range(len(self.labels))]

    def moved(self, replicates: Sequence[Sequence[Sequence[Ensemble]]]) -> xr.Dataset:
        """Parameters over time from `replicates[network][scramble][time]`, with their errors.

        A hidden-to-hidden weight is its own initial value plus what its conditional mean has
        moved. Errors are 95 % half-widths over replicates, in variables named `…_error`.
        """
        found = [
            _moved(self.times, states, network)
            for states, network in zip(replicates, self.networks, strict=True)
        ]
        return xr.concat(found, "seed") if self.seeds else found[0]


def _labels(network: Network, dims: tuple[int, int], neurons: xr.Dataset) -> tuple[np.ndarray, ...]:
    """The labels `(neuron, entries)` of all layers."""
    names = [f"label_{network.spaces.index(space) + 1}" for space in sorted(set(network.spaces))]
    if sorted(n for n in map(str, neurons) if n.startswith("label_")) != names:
        raise ValueError(
            "tracers must be neurons of sampled networks that hold "
            f'{", ".join(names)}, such as networks.states["width_64"]'
        )
    sizes = [sum(block.size for block in mark) for mark in network.marks(*dims)]
    for name, size in zip(names, sizes, strict=True):
        found = neurons[name].shape[-1]
        if found != size:
            raise ValueError(f"{name} of the tracers has {found} entries; the problem has {size}")
    return tuple(neurons[name].values for name in names)


def _moved(
    times: np.ndarray, replicates: Sequence[Sequence[Ensemble]], network: xr.Dataset
) -> xr.Dataset:
    each = [neurons_over_time(times, states) for states in replicates]
    mean = sum(each[1:], start=each[0]) / len(each)
    for name in [str(n) for n in each[0].data_vars if "time" in each[0][n].dims]:
        values = np.stack([d[name].values for d in each])
        mean[f"{name}_error"] = (each[0][name].dims, replicate_half_width(values))
        if name.startswith("hidden"):
            mean[name] = mean[name] + (network[name] - mean[name]).isel(time=0, drop=True)
    return mean
