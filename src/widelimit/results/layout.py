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
) -> Trajectory:
    """A limit from the outputs `(replicate, time, point, channel)` of its replicates.

    `time_error (time, point, channel)` is the part of `output_error` that finer steps tell.
    Functionals have dimensions after that of time.
    """
    half_width = replicate_half_width(values)
    mean, error = values.mean(axis=0), half_width + time_error
    observed = system.view("observed")
    variables: dict[str, Any] = {
        "output": (("time", "input", "channel"), mean[:, observed]),
        "output_error": (("time", "input", "channel"), error[:, observed]),
        "quadrature_error": (("time", "input", "channel"), half_width[:, observed]),
        "time_error": (("time", "input", "channel"), time_error[:, observed]),
    }
    parts = parts_of(problem, system)
    for prefix, (view, whole) in parts.items():
        score = risk_with_error(
            problem.training.loss,
            values[:, :, view],
            half_width[:, view],
            time_error[:, view],
            whole.targets,
            whole.weights,
            whole.groups,
        )
        variables[f"{prefix}risk"], variables[f"{prefix}risk_error"] = (("time", s) for s in score)
    scored_parts = rated(parts)
    if has_classes(problem):
        variables |= accuracy_with_error(mean, error, scored_parts)
    coordinates = _coordinates(problem, len(scored_parts))
    for name, (dims, found) in functionals.items():
        own = {name: found.value, f"{name}_error": found.error}
        _add(variables, coordinates, {key: (("time", *dims), value) for key, value in own.items()})
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
    coordinates = _coordinates(problem, len(rated(parts))) | {
        "width": [problem.network.growing_width(widths)],
        "seed": np.arange(len(values)),
        "layer": np.arange(1, len(widths) + 1),
    }
    for name, (own, found) in functionals.items():
        _add(variables, coordinates, {name: ((*dims, *own), found[None])})
    return xr.Dataset(variables, coordinates)


def _add(variables: dict[str, Any], coordinates: dict[str, Any], more: dict[str, Any]) -> None:
    """Put functionals beside a result's own variables, never in their place."""
    for name in more:
        if name in variables or name in coordinates:
            raise ValueError(f"observe.functionals: {name!r} is a variable of results already")
    variables |= more


def _coordinates(problem: Problem, parts: int) -> dict[str, Any]:
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
    for layer, weights in enumerate(states[0].by_layer(states[0].weights), 1):
        variables[f"weight_{layer}"] = ((*lead, f"neuron_{layer}"), np.asarray(weights))
    places = [k for k, space in enumerate(spaces, 1) if space not in spaces[: k - 1]]
    for layer, marks in zip(places, labels, strict=False):
        dims = (*lead, f"neuron_{layer}", f"entry_{layer}")
        variables[f"label_{layer}"] = (dims, np.asarray(marks))
    last = len(spaces)

    def over_time(name: str, dims: tuple[str, ...], pick: Any) -> None:
        stacked = [np.asarray(pick(state.parameters)) for state in states]
        variables[name] = ((*lead, "time", *dims), np.stack(stacked, axis=len(lead)))

    over_time("input", ("neuron_1", "dimension"), lambda p: p.input)
    for layer in range(2, last + 1):
        own = states[0].parameters.hidden[layer - 2].ndim - len(lead) - 2
        axes = [f"entry_{layer}_{axis}" for axis in range(1, own + 1)]
        dims = (f"neuron_{layer - 1}", f"neuron_{layer}", *axes)
        over_time(f"hidden_{layer}", dims, lambda p, k=layer - 2: p.hidden[k])
    over_time("readout", (f"neuron_{last}", "output"), lambda p: p.readout)
    if states[0].parameters.biases is not None:
        for layer in range(1, last + 1):
            dims = (f"neuron_{layer}",)
            over_time(f"bias_{layer}", dims, lambda p, k=layer - 1: p.biases[k])
    if states[0].parameters.output_bias is not None:
        over_time("output_bias", ("output",), lambda p: p.output_bias)
    return xr.Dataset(variables, {"time": times})
