"""Networks that measure a limit, trained group by group.

A run is one network, or a pair with mirrored readouts: A and 2 E A − A, all other weights alike. Of
a symmetric law both are draws; the part of the outputs that is odd in A − E A cancels in their
mean, and at time 0 nothing else is random.

Where steps do not shrink SGD's noise does not average out: all networks are shown the same data in
the same order, drawn by the problem's seed, and the limit is that of this order.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key

from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Progress
from widelimit.basics.streams import Stream, key
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.limit.measured.coreset import Coreset
from widelimit.limit.measured.sums import Sums
from widelimit.networks.course import Course, network_keys
from widelimit.networks.groups import Group, carried
from widelimit.networks.sampled import drawn
from widelimit.problem.network.laws import Normal, TruncatedNormal, Uniform
from widelimit.problem.network.network import Network
from widelimit.problem.problem import Problem
from widelimit.problem.settings import NetworkSettings
from widelimit.results.layout import network_dataset, neurons_over_time

WORK = 1.5e8
"""A group's parameters times data points. Two networks of width 256 or 32 of width 32 at a time
(digits, three hidden layers) are as quick as any number, and quicker than all at once."""

MOST_TOGETHER = 64

PASS = 300
"""What weights take beside data, as so many data points: the flow's steps read and write them
(digits, widths 32 … 128, 90 and 1,438 points)."""

OVERHEAD = 400
"""A neuron takes as much time as so many multiplications at every data point, besides its own:
activations, and weights that are read and written (measured at widths 32 … 256)."""

EVERYWHERE = "outputs at all points"
"""The outputs at training points, observed inputs and holdout together, as a variable."""


class Shown(NamedTuple):
    """What runs have shown: variables `(run, …)`, and of the first network of all the neurons.

    `apart (run, …)`: what the variance of outputs loses because a run is a pair (`Sums`).
    """

    values: dict[str, np.ndarray]
    apart: np.ndarray
    neurons: xr.Dataset
    axes: dict[str, tuple[str, ...]]

    @property
    def sums(self) -> Sums:
        """What is kept of all of them."""
        return Sums.of(self.values, self.apart)


@dataclass(frozen=True)
class Sampler:
    """Trains the networks that measure the limit of a problem, and knows what they cost.

    `tolerance` is that of the flow's steps, `mirrored` tells whether runs are pairs. They learn
    from the problem's data, or from a `coreset` of them; their keys are those of a `stream`.
    """

    problem: Problem
    tolerance: float
    mirrored: bool
    coreset: Coreset | None = None
    stream: Stream = Stream.MEASURING

    @classmethod
    def of(cls, problem: Problem, tolerance: float) -> "Sampler":
        """With mirrored networks where the law of the readout allows it."""
        own = problem.with_parts(networks=problem.measured_with)
        return cls(own, tolerance, symmetric(problem))

    @property
    def settings(self) -> NetworkSettings:
        """How networks are trained."""
        assert self.problem.networks is not None
        return self.problem.networks

    @property
    def by_flow(self) -> bool:
        """Whether the limit is that of ε → 0."""
        return self.settings.method == "flow"

    def widths(self, width: int) -> tuple[int, ...]:
        """The widths of networks of one width."""
        return self.problem.network.shape((width,))

    def cost(self, width: int) -> float:
        """What a run takes, up to a factor: the same on every machine, so that plans are."""
        costs, neurons = self._costs(width)
        each = (1 + self.mirrored) * float(costs.work(neurons) + OVERHEAD * sum(neurons))
        return each * (PASS + self.points)

    @property
    def points(self) -> int:
        """How many data points are learnt from."""
        own = self.problem.dataset.weights if self.coreset is None else self.coreset.weights
        return len(own)

    def together(self, width: int) -> int:
        """How many runs a group has."""
        costs, neurons = self._costs(width)
        held = costs.held(neurons) * self.points
        return int(np.clip(WORK // held, 2, MOST_TOGETHER)) // (1 + self.mirrored) or 1

    def _costs(self, width: int) -> tuple[Any, tuple[int, ...]]:
        """What networks of a width cost, and how many neurons their index spaces have."""
        network, data = self.problem.network, self.problem.dataset
        costs = network.costs(data.inputs.shape[1], data.targets.shape[1])
        return costs, network.neurons(self.widths(width))

    def runs(self, width: int, numbers: range, told: Progress) -> Shown:
        """The runs of a width with these numbers, trained together.

        A number tells a run's keys, so that it is always the same. Raises `Diverged`.
        """
        widths, size = self.widths(width), len(numbers)
        own = self.problem.at_width(widths)
        with in_precision(self.settings.precision) as dtype:
            system = System.of(own, dtype)
            if self.coreset is not None:
                system = system.with_batch(*self.coreset)
            course = Course(own, system, widths, self.settings.precision, tolerance=self.tolerance)
            root = key(self.stream, own.seed)
            keys = network_keys(root, widths, size, numbers.start)
            start, labels, data_keys = drawn(own, system, widths, keys)
            if self.mirrored:
                start, labels = with_mirrored(own, start), jax.tree.map(_twice, labels)
            order = _in_one_order(own, data_keys, size * (1 + self.mirrored))
            kept = int(numbers.start == 0)
            found = carried(course, start, labels, order, kept, told.piece())
            return self._shown(found, system, widths)

    def _shown(self, found: Group, system: System, widths: tuple[int, ...]) -> Shown:
        """What networks have shown, pairs taken together."""
        functionals = {name: (dims, found.seen[name]) for name, dims in found.axes.items()}
        dataset = network_dataset(self.problem, system, found.values, widths, functionals)
        values = {
            str(name): own.isel(width=0).values.astype(float)
            for name, own in dataset.data_vars.items()
            if "seed" in own.dims
        }
        values[EVERYWHERE] = found.values.astype(float)
        del values["output"]
        apart = np.zeros_like(values[EVERYWHERE])
        if self.mirrored:
            one, other = np.split(values[EVERYWHERE], 2)
            apart = 0.25 * (one - other) ** 2
            values = {name: np.mean(np.split(own, 2), axis=0) for name, own in values.items()}
        neurons = neurons_over_time(self.problem.times, found.states, found.labels)
        return Shown(values, apart, neurons, found.axes)


def symmetric(problem: Problem) -> bool:
    """Whether the readouts of a network are as likely as those mirrored at their mean."""
    network = problem.network
    if not isinstance(network, Network):
        return False
    return isinstance(network.initial.readout, Normal | Uniform | TruncatedNormal)


def with_mirrored(problem: Problem, networks: Ensemble) -> Ensemble:
    """A batch of networks, and after them those with mirrored readouts."""
    law = problem.layers.initial.readout
    assert isinstance(law, Normal | Uniform | TruncatedNormal)
    both = jax.tree.map(_twice, networks)
    theta = both.parameters
    assert isinstance(theta, LayerParameters)
    own, other = jnp.split(jnp.asarray(theta.readout), 2)
    readout = jnp.concatenate([own, 2 * law.expectation() - other])
    return both.at((dataclasses.replace(theta, readout=readout), both.memory))


def _twice(leaf: Any) -> Array:
    return jnp.concatenate([leaf, leaf])


def _in_one_order(
    problem: Problem, data_keys: Key[Array, "runs parts"], count: int
) -> Key[Array, "seeds parts"]:
    """The key of what networks are shown, the same for so many of them."""
    one = key(Stream.ORDER, problem.seed)
    return jnp.broadcast_to(one, (count, data_keys.shape[1]))
