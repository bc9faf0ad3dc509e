"""`train`: sampled networks of finite widths under SGD, gradient descent or gradient flow.

Every network has its own key, made from the problem's seed, its widths and its number alone, so
that its draws are the same whatever else is trained beside it.
"""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Key
from tqdm import tqdm

from widelimit.advice import examine
from widelimit.descent import BLOCK, Fresh, Sampling, descend, draw
from widelimit.errors import Diverged
from widelimit.flow import advance_many, follow, method_for
from widelimit.neurons import Ensemble, held_sizes, neuron_kinds, sampled_network
from widelimit.problem import NetworkSettings, Problem
from widelimit.progress import progress_bar
from widelimit.quadrature import finite_layers
from widelimit.system import System, outputs
from widelimit.trajectory import Trajectory, network_dataset, neurons_over_time

GROUP_BYTES = 2**26
"""Networks are trained together while their parameters fit into this."""

VALUES = 2**26
"""Most values of neurons, of all networks trained together, while outputs are computed."""

FLOW_TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
"""Step tolerance of `method = "flow"`: far below the spread between networks."""

OVERSHOOT = (
    "the step ε = {step:.3g} is too large for this problem, or an unbounded activation lets the "
    "state run away; use a smaller networks.step, wider networks with step = '1/width', or "
    "smaller learning rates"
)


def train(
    problem: Problem,
    *,
    progress: bool | None = None,
    known: Trajectory | None = None,
    keep: Callable[[Trajectory], None] | None = None,
) -> Trajectory:
    """Networks of every width in `problem.networks.widths`, with all their seeds.

    Clock and updates as in `descent`; the state at an observed time t is that of step
    `round(t / ε)`. `known` holds widths trained before (they are taken over), and `keep` is
    called with what there is after each width, so that nothing is lost on a kill.

    Raises `ValueError` if the problem has no `[networks]`, `Diverged` if a state stops being
    finite.
    """
    settings = problem.networks
    if settings is None:
        raise ValueError("the problem has no [networks] section: give at least networks.widths")
    double = settings.precision == "float64"
    notes = examine(problem)
    trained = None
    with jax.enable_x64(double):
        system = System.of(problem, jnp.float64 if double else jnp.float32)
        for widths in settings.layer_widths(problem.network):
            found = None if known is None else _taken_over(known, widths)
            if found is None:
                found = _one_width(problem, system, widths, progress)
            trained = _joined(problem, trained, found, notes)
            if keep is not None:
                keep(trained)
    assert trained is not None
    return trained


Result = tuple[xr.Dataset, str, xr.Dataset]
"""Outputs of one width, its name among the states, and the neurons of the networks kept."""


def _joined(
    problem: Problem, before: Trajectory | None, found: Result, notes: list[str]
) -> Trajectory:
    dataset, name, states = found
    groups = {name: states}
    if before is not None:
        dataset = xr.concat([before.dataset, dataset], "width", combine_attrs="drop")
        groups = {n: group.to_dataset() for n, group in before.states.children.items()} | groups
    settings = problem.networks
    assert settings is not None
    dataset.attrs = {
        "kind": "networks",
        "title": problem.title,
        "method": settings.method,
        "step": str(settings.step),
        "batch": settings.batch if settings.method == "sgd" else 0,
        "draw": _drawn(problem),
        "precision": settings.precision,
        "warnings": json.dumps(notes),
    }
    if problem.population is not None:
        dataset.attrs["evaluation_points"] = len(problem.dataset.inputs)
    return Trajectory(problem, dataset, xr.DataTree.from_dict(groups))


def _drawn(problem: Problem) -> str:
    """How SGD draws its data."""
    if _settings(problem).method != "sgd":
        return ""
    return _settings(problem).draw if problem.population is None else "fresh"


def _name(widths: tuple[int, ...]) -> str:
    return "width_" + "_".join(map(str, widths))


def _taken_over(known: Trajectory, widths: tuple[int, ...]) -> Result | None:
    """The results of one width from an earlier training, if they are all there."""
    rows = np.flatnonzero((known.dataset["widths"].values == widths).all(axis=1))
    if len(rows) == 0 or _name(widths) not in known.states.children:
        return None
    chosen = known.dataset.isel(width=[rows[0]])
    return chosen, _name(widths), known.states[_name(widths)].to_dataset()


def _one_width(
    problem: Problem, system: System, widths: tuple[int, ...], progress: bool | None
) -> Result:
    """All seeds of one width, in groups that fit into memory."""
    settings, dims = _settings(problem), (system.inputs.shape[1], system.batch.targets.shape[1])
    keys = _keys(problem.seed, widths, settings.seeds)
    sizes = held_sizes(neuron_kinds(problem.network, widths, *dims), widths)
    floats = sum(a * b for a, b in zip([dims[0], *sizes], [*sizes, dims[1]], strict=True))
    bytes_each = floats * system.inputs.dtype.itemsize
    groups, size = _groups(settings.seeds, bytes_each)
    padded = jnp.concatenate([keys, keys[: groups * size - settings.seeds]])
    values: list[np.ndarray] = []
    states: list[list[Ensemble]] = []
    labels: list[tuple[np.ndarray, ...]] = []
    dtype, finite = system.inputs.dtype, finite_layers(problem.network, dims, problem.seed)
    looked = system.in_pieces(max(1, VALUES // (size * sum(sizes))))
    given = [None if layer is None else layer.points for layer in finite]
    shape = " × ".join(map(str, widths))
    total = groups * len(problem.times)
    with progress_bar(f"networks: width {shape}", progress, total) as bar:
        for group in range(groups):
            chosen = padded[group * size : (group + 1) * size]
            rows, path = [], []
            initial_keys, data_keys = _split(chosen)
            start, marks = _sampled(initial_keys, problem.network, widths, *dims, dtype, given)
            labels.append(_first(marks, settings.states - group * size))
            for time, ensembles in _paths(problem, system, widths, start, data_keys, bar):
                rows.append(_finite(_many_outputs(looked, ensembles), time, problem, widths))
                path.append(_first(ensembles, settings.states - group * size))
                bar.update()
            values.append(np.stack(rows, axis=1))
            states.append(path)
    found = np.concatenate(values)[: settings.seeds]
    dataset = network_dataset(problem, system, found, widths)
    kept = [_joined_groups(at) for at in zip(*states, strict=True)]
    neurons = neurons_over_time(problem.times, kept, _joined_groups(labels))
    return dataset, _name(widths), neurons


def _groups(seeds: int, bytes_each: int) -> tuple[int, int]:
    """How many groups, and how many networks in each: one size for all, hence one compilation."""
    most = max(1, min(seeds, GROUP_BYTES // bytes_each))
    groups = math.ceil(seeds / most)
    return groups, math.ceil(seeds / groups)


def _first(networks: Any, count: int) -> Any:
    """The first networks of a batch, none if `count` is not positive."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[: max(0, count)]), networks)


def _joined_groups(groups: Sequence[Any]) -> Any:
    """Networks of several batches as one batch."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *groups)


def _settings(problem: Problem) -> NetworkSettings:
    assert problem.networks is not None
    return problem.networks


def _keys(seed: int, widths: tuple[int, ...], seeds: int) -> Key[Array, " seeds"]:
    """One key a network: fold_in of the seed with n_1, …, n_L and the network's number."""
    key = jax.random.key(seed)
    for width in widths:
        key = jax.random.fold_in(key, width)
    return jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.arange(seeds))


def _paths(
    problem: Problem,
    system: System,
    widths: tuple[int, ...],
    initial: Ensemble,
    data_keys: Key[Array, " seeds"],
    bar: tqdm,
) -> Iterator[tuple[float, Ensemble]]:
    """The networks at every observed time."""
    settings = _settings(problem)
    if settings.method == "flow":
        tolerance = FLOW_TOLERANCE[settings.precision]
        path = follow(
            advance_many, method_for(tolerance), system, initial, problem.times, tolerance,
            _called(problem, widths),
        )  # fmt: skip
        yield from zip(problem.times, path, strict=True)
        return
    step = settings.step_size(problem.network, widths)
    sampling = Sampling(settings.draw, settings.batch, problem.dataset.equal_weights)
    population = problem.population
    data = system.batch if population is None else Fresh(population, settings.batch)
    own = None if population is None else data_keys
    ensembles, done = initial, 0
    for time in problem.times:
        target = round(time / step)
        while done < target:
            count = min(BLOCK, target - done)
            if settings.method == "sgd" and population is None:
                own = draw(sampling, data_keys, system.batch.weights, jnp.asarray(done))
            ensembles = descend(
                system.equations, system.rates, data, ensembles, own,
                jnp.asarray(count), jnp.asarray(step, system.inputs.dtype), jnp.asarray(done),
            )  # fmt: skip
            done += count
            bar.set_postfix_str(f" step {done}", refresh=False)
            bar.update(0)
        yield time, ensembles


@eqx.filter_jit
def _split(keys: Key[Array, " seeds"]) -> tuple[Array, Array]:
    """For every network a key for its initial draws and one for its data."""
    pairs = jax.vmap(jax.random.split)(keys)
    return pairs[:, 0], pairs[:, 1]


_sampled = eqx.filter_jit(
    eqx.filter_vmap(sampled_network, in_axes=(0, None, None, None, None, None, None))
)
"""A batch of networks at time zero."""


@eqx.filter_jit
def _many_outputs(system: System, ensembles: Ensemble) -> Array:
    """Outputs `(seed, point, channel)` of a batch of networks."""
    return jax.vmap(lambda ensemble: outputs(system, ensemble))(ensembles)


def _finite(values: Array, time: float, problem: Problem, widths: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(values)
    if not np.isfinite(found).all():
        step = _settings(problem).step_size(problem.network, widths)
        raise Diverged(_called(problem, widths), time, OVERSHOOT.format(step=step))
    return found


def _called(problem: Problem, widths: tuple[int, ...]) -> str:
    return f"a network of width {problem.network.growing_width(widths)}"
