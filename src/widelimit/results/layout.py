"""Results as labelled datasets: outputs, risks and neurons over time."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import xarray as xr

from widelimit.basics.statistics import Estimate, replicate_half_width
from widelimit.ensemble.neurons import Ensemble, Numbers
from widelimit.ensemble.system import System
from widelimit.problem.problem import Problem
from widelimit.results.scores import (
    accuracy,
    accuracy_with_error,
    class_scores,
    has_classes,
    losses_of,
    parts_of,
    rated,
    risk_with_error,
    sampling_error,
    scatter_of_groups,
)
from widelimit.results.trajectory import Trajectory


def limit_trajectory(
    problem: Problem,
    system: System,
    values: np.ndarray,
    time_error: np.ndarray,
    states: Sequence[Ensemble],
    functionals: Mapping[str, tuple[tuple[str, ...], Estimate]],
    attrs: Mapping[str, Any],
    depth_error: np.ndarray | None = None,
) -> Trajectory:
    """A limit from the outputs `(replicate, time, point, channel)` of its replicates.

    `time_error (time, point, channel)` is the part of `output_error` that finer steps tell,
    `depth_error` that of nodes in depth, where it is taken to its limit.
    Functionals have dimensions after that of time.
    """
    half_width = replicate_half_width(values)
    rules = time_error if depth_error is None else time_error + depth_error
    mean, error = values.mean(axis=0), half_width + rules
    observed = system.view("observed")
    told = {
        "output": mean,
        "output_error": error,
        "quadrature_error": half_width,
        "time_error": time_error,
        **({} if depth_error is None else {"depth_error": depth_error}),
    }
    dims = "time", "input", "channel"
    variables: dict[str, Any] = {name: (dims, v[:, observed]) for name, v in told.items()}
    parts = parts_of(problem, system)
    for prefix, (view, whole) in parts.items():
        own = values[:, :, view], half_width[:, view], rules[:, view]
        law = whole.targets, whole.weights, whole.groups
        score = risk_with_error(problem.training.loss, *own, *law)
        variables[f"{prefix}risk"], variables[f"{prefix}risk_error"] = (("time", s) for s in score)
    scored_parts = rated(parts)
    if has_classes(problem):
        variables |= accuracy_with_error(mean, error, scored_parts)
    coordinates = coordinates_of(problem, len(scored_parts))
    for name, (axes, found) in functionals.items():
        both = zip((name, f"{name}_error"), (found.value, found.error), strict=True)
        add_functionals(variables, coordinates, {key: (("time", *axes), v) for key, v in both})
    dataset = xr.Dataset(variables, coordinates, {"kind": "limit", "title": problem.title, **attrs})
    tree = xr.DataTree.from_dict({"limit": neurons_over_time(problem.times, states)})
    return Trajectory(problem, dataset, tree)


def network_dataset(
    problem: Problem,
    system: System,
    values: np.ndarray,
    widths: tuple[int, ...],
    functionals: Mapping[str, tuple[tuple[str, ...], np.ndarray]],
) -> xr.Dataset:
    """Networks of one width from their outputs `(seed, time, point, channel)`.

    Functionals have dimensions and values `(seed, time, …)`.
    """
    data = problem.dataset
    observed = system.view("observed")
    parts = parts_of(problem, system)
    dims = ("width", "seed", "time")
    variables: dict[str, Any] = {
        "output": ((*dims, "input", "channel"), values[None, :, :, observed])
    }
    for prefix, (view, whole) in parts.items():
        losses = losses_of(problem.training.loss, values[:, :, view], whole.targets)
        variables[f"{prefix}risk"] = (dims, (losses @ whole.weights)[None])
        if data.fresh:
            variables["risk_error"] = (dims, sampling_error(losses)[None])
        elif whole.fresh:
            error = scatter_of_groups(losses, whole.weights, whole.groups)
            variables[f"{prefix}risk_error"] = (dims, error[None])
    if has_classes(problem):
        scored = [
            accuracy(class_scores(values[:, :, v]), class_scores(t - 0.5), w)
            for v, t, w in rated(parts)
        ]
        variables["accuracy"] = ((*dims, "part"), np.stack(scored, axis=-1)[None])
    variables["widths"] = (("width", "layer"), [list(widths)])
    coordinates = coordinates_of(problem, len(rated(parts))) | {
        **{k: ("width", [n]) for k, n in problem.network.coordinates(widths).items()},
        "seed": np.arange(len(values)),
        "layer": np.arange(1, len(widths) + 1),
    }
    for name, (own, found) in functionals.items():
        add_functionals(variables, coordinates, {name: ((*dims, *own), found[None])})
    return xr.Dataset(variables, coordinates)


def add_functionals(
    variables: dict[str, Any], coordinates: dict[str, Any], more: dict[str, Any]
) -> None:
    """Put functionals beside a result's own variables, never in their place."""
    for name in more:
        if name in variables or name in coordinates:
            raise ValueError(f"observe.functionals: {name!r} is a variable of results already")
    variables |= more


def coordinates_of(problem: Problem, parts: int) -> dict[str, Any]:
    """Times, channels, and the parts that accuracies are of."""
    found: dict[str, Any] = {"time": problem.times, "channel": list(problem.dataset.channels)}
    return found | ({"part": ["train", "holdout"][:parts]} if has_classes(problem) else {})


def neurons_over_time(
    times: np.ndarray, states: Sequence[Ensemble], labels: Sequence[Numbers] = ()
) -> xr.Dataset:
    """Neurons of one ensemble over time: weights and parameters, layers counted from 1.

    `labels` are their marks `(neuron, entries)`, one for each index space, at its first layer. A
    batch of ensembles has a leading dimension `seed`, unless there is only one.
    """
    first = states[0].weights[0]
    if first.ndim == 2 and len(first) == 1:
        states, labels = jax.tree.map(lambda leaf: leaf[0], (states, labels))
    lead = ("seed",) if states[0].weights[0].ndim == 2 else ()
    spaces = states[0].by_layer(range(len(states[0].weights)))
    variables: dict[str, Any] = {}
    parameters = states[0].parameters
    neurons = [f"neuron_{layer}" for layer in parameters.layers]
    shares = states[0].by_layer(states[0].weights)
    for layer, weights in zip(parameters.layers, shares, strict=True):
        variables[f"weight_{layer}"] = ((*lead, f"neuron_{layer}"), np.asarray(weights))
    if states[0].depth.nodes > 1:
        for layer, size in zip(parameters.layers, states[0].sizes, strict=True):
            variables[f"depth_{layer}"] = ((f"neuron_{layer}",), states[0].depth.places(size))
    first_layers = [parameters.layers[spaces.index(space)] for space in sorted(set(spaces))]
    for layer, marks in zip(first_layers, labels, strict=False):
        dims = (*lead, f"neuron_{layer}", f"entry_{layer}")
        variables[f"label_{layer}"] = (dims, np.asarray(marks))
    over_time = zip(*(jax.tree.leaves(state.parameters) for state in states), strict=True)
    names = zip(parameters.named().items(), parameters.axes, over_time, strict=True)
    for (name, own), axes, values in names:
        stacked = np.stack([np.asarray(value) for value in values], axis=len(lead))
        dims = (*lead, "time", *(neurons[layer] for layer in axes), *own)
        variables[name] = (dims[: stacked.ndim], stacked)
    return xr.Dataset(variables, {"time": times})
