"""Sampled networks at time zero, in groups that fit into memory."""

from collections.abc import Sequence

import equinox as eqx
import jax
from jax.typing import DTypeLike
from jaxtyping import Array, Key

from widelimit.ensemble.model import Model, model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.networks.course import in_groups, network_keys
from widelimit.nodes.points import Numbers
from widelimit.nodes.rules import finite_layers
from widelimit.problem.problem import Problem


def groups_of(
    problem: Problem, system: System, widths: tuple[int, ...], count: int
) -> list[Key[Array, " group"]]:
    """The keys of so many networks of one width, in groups of one size."""
    dims = system.inputs.shape[1], system.batch.targets.shape[1]
    sizes = model_of(problem).held(widths, dims, problem.training.rule.noisy)
    held = problem.network.costs(*dims).held(sizes) * system.inputs.dtype.itemsize
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
    model = model_of(problem)
    start, marks = _drawn(model, initial_keys, widths, dims, dtype, given, apart)
    return start, marks, data_keys[:, None]


@eqx.filter_jit
def _split(keys: Key[Array, " seeds"]) -> tuple[Array, Array]:
    """For every network a key for its initial draws and one for its data."""
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


@eqx.filter_jit
def _drawn(
    model: Model,
    keys: Key[Array, " group"],
    widths: tuple[int, ...],
    dims: tuple[int, int],
    dtype: DTypeLike,
    given: Sequence[Numbers | None],
    apart: bool,
) -> tuple[Ensemble, tuple[Numbers, ...]]:
    """A batch of networks at time zero."""
    return jax.vmap(lambda key: model.drawn(key, widths, dims, dtype, given, apart))(keys)
