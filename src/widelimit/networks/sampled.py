"""Sampled networks at time zero, in groups that fit into memory."""

import equinox as eqx
import jax
from jaxtyping import Array, Key

from widelimit.ensemble.neurons import Ensemble, held_sizes, neuron_kinds, sampled_network
from widelimit.ensemble.system import System
from widelimit.networks.course import in_groups, network_keys
from widelimit.nodes.points import Numbers
from widelimit.nodes.rules import finite_layers
from widelimit.problem.problem import Problem


def groups_of(
    problem: Problem, system: System, widths: tuple[int, ...], count: int
) -> list[Key[Array, " group"]]:
    """The keys of so many networks of one width, in groups of one size."""
    inputs, channels = system.inputs.shape[1], system.batch.targets.shape[1]
    kinds = neuron_kinds(problem.network, widths, inputs, channels, problem.training.rule.noisy)
    sizes = held_sizes(kinds, problem.network.by_space(widths))
    held = problem.network.costs(inputs, channels).held(sizes) * system.inputs.dtype.itemsize
    return in_groups(network_keys(jax.random.key(problem.seed), widths, count), held)


def drawn(
    problem: Problem, system: System, widths: tuple[int, ...], keys: Key[Array, " group"]
) -> tuple[Ensemble, tuple[Numbers, ...], Key[Array, "group 1"]]:
    """The networks of these keys at time zero, their labels, and the keys of what they learn."""
    dims = system.inputs.shape[1], system.batch.targets.shape[1]
    finite = finite_layers(problem.network, dims, problem.seed)
    given = [None if layer is None else layer.points for layer in finite]
    initial_keys, data_keys = _split(keys)
    apart, dtype = problem.training.rule.noisy, system.inputs.dtype
    start, marks = _sampled(initial_keys, problem.network, widths, *dims, dtype, given, apart)
    return start, marks, data_keys[:, None]


@eqx.filter_jit
def _split(keys: Key[Array, " seeds"]) -> tuple[Array, Array]:
    """For every network a key for its initial draws and one for its data."""
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


_sampled = eqx.filter_jit(
    eqx.filter_vmap(sampled_network, in_axes=(0, None, None, None, None, None, None, None))
)
"""A batch of networks at time zero."""
