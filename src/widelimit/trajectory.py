"""What `solve` and `train` both return: outputs, risks and errors over time, labelled.

A `Trajectory` holds an xarray Dataset (`output`, `risk`, …) and the neurons at the observed
times. Limits have no `seed` and `width` dimension; otherwise both are the same thing.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jaxtyping import Array
from scipy.special import stdtrit

from widelimit.data import Dataset
from widelimit.losses import Logistic, Loss
from widelimit.neurons import Ensemble, Numbers
from widelimit.problem import Problem
from widelimit.system import System

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from widelimit.fluctuations import Fluctuations
    from widelimit.validity import Validity


@dataclass(frozen=True)
class Trajectory:
    """Outputs of a limit or of networks over mean-field time `t = k ε`.

    `dataset`: for a limit `output(time, input, channel)` with `output_error` and its two parts,
    `quadrature_error` and `time_error`, and `risk(time)` with `risk_error`; for networks
    `output(width, seed, time, input, channel)`, `risk(width, seed, time)`, where training draws
    fresh points also `risk_error` (half-width of a 95 % interval for the sample that measures
    it); with a holdout `holdout_risk`, for one-hot targets `accuracy(…, part)`.
    `states`: a tree with one group per ensemble: the neurons' parameters and weights.
    """

    problem: Problem
    dataset: xr.Dataset
    states: xr.DataTree

    @property
    def kind(self) -> str:
        """ "limit" or "networks"."""
        return self.dataset.attrs["kind"]

    @property
    def met(self) -> bool:
        """Whether what was asked for was reached (networks have nothing to miss)."""
        return bool(self.dataset.attrs.get("met", 1))

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return json.loads(self.dataset.attrs["warnings"])

    def fluctuations(self, widths: Sequence[Any] | None = None, **settings: Any) -> "Fluctuations":
        """What networks of these widths (default: the problem's) scatter by around this limit.

        Settings are those of `predict_fluctuations`. Raises `ValueError` if this is no limit.
        """
        from widelimit.fluctuations import predict_fluctuations

        if self.kind != "limit":
            raise ValueError("fluctuations are predicted from a limit, and these are networks")
        found = predict_fluctuations(self.problem, widths, **settings)
        if self.met:
            return found
        note = (
            "the limit itself has not reached its tolerance; fluctuations are computed on nodes of "
            "their own and carry their own error, but they are those of a limit not known as well"
        )
        warnings = json.dumps([*found.warnings, note])
        return replace(found, dataset=found.dataset.assign_attrs(warnings=warnings))

    def validity(self, widths: Sequence[Any] | None = None, **settings: Any) -> "Validity":
        """Until when this limit describes networks of these widths (default: the problem's).

        Settings are those of `predict_validity`. Raises `ValueError` if this is no limit.
        """
        from widelimit.validity import predict_validity

        if self.kind != "limit":
            raise ValueError("validity is predicted from a limit, and these are networks")
        return predict_validity(self.problem, widths, **settings)

    def kernel(self, **settings: Any) -> xr.Dataset:
        """The tangent kernel of this limit over time, how far it moves, and its alignment.

        Settings are those of `tangent_kernels`. Raises `ValueError` if this is no limit.
        """
        from widelimit.kernels import tangent_kernels

        return tangent_kernels(self, **settings)

    def free_energy(self, **settings: Any) -> xr.Dataset:
        """R + (λ/2) E|θ|² − τ Ent over time, of a limit with `training.temperature` τ.

        Settings are those of `free_energy.free_energy`. Raises `ValueError` if this is no limit.
        """
        from widelimit.free_energy import free_energy

        return free_energy(self, **settings)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the risk over time, with its error band or the spread over seeds."""
        from widelimit.report.pictures import draw_risk

        return draw_risk([self], ax)

    def __repr__(self) -> str:
        d = self.dataset
        if self.kind == "limit":
            size = f"{' × '.join(map(str, np.atleast_1d(d.attrs['nodes'])))} nodes"
            end = f"risk {d.risk.values[-1]:.4g} ± {d.risk_error.values[-1]:.1g}"
        else:
            size = f"widths {', '.join(map(str, d.width.values))}; {d.sizes['seed']} seeds"
            end = f"mean risk {', '.join(f'{r:.4g}' for r in d.risk[:, :, -1].mean('seed').values)}"
        return f"<Trajectory: {self.kind}, {size}; at t = {d.time.values[-1]:g}: {end}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>{self.dataset._repr_html_()}"


def limit_trajectory(
    problem: Problem,
    system: System,
    values: np.ndarray,
    half_width: np.ndarray,
    time_error: np.ndarray,
    states: Sequence[Ensemble],
    facts: dict[str, Any],
    notes: Sequence[str],
    functionals: Mapping[str, tuple[tuple[str, ...], np.ndarray, np.ndarray]],
) -> Trajectory:
    """A limit from the outputs `(replicate, time, point, channel)` of its replicates.

    `half_width` and `time_error` `(time, point, channel)` are the two parts of `output_error`.
    Functionals have dimensions, replicates `(replicate, time, …)`, and an error of time.
    """
    mean, error = values.mean(axis=0), half_width + time_error
    observed = system.view("observed")
    variables: dict[str, Any] = {
        "output": (("time", "input", "channel"), mean[:, observed]),
        "output_error": (("time", "input", "channel"), error[:, observed]),
        "quadrature_error": (("time", "input", "channel"), half_width[:, observed]),
        "time_error": (("time", "input", "channel"), time_error[:, observed]),
    }
    parts = _parts(problem, system)
    for prefix, (view, whole) in parts.items():
        score = _risk_with_error(
            problem.training.loss, values[:, :, view], half_width[:, view], time_error[:, view],
            whole.targets, whole.weights, whole.groups,
        )  # fmt: skip
        variables[f"{prefix}risk"], variables[f"{prefix}risk_error"] = (("time", s) for s in score)
    rated = _rated(parts)
    if _has_classes(problem):
        variables |= _accuracy_with_error(mean, error, rated)
    coordinates = _coordinates(problem, len(rated))
    for name, (dims, runs, change) in functionals.items():
        error = replicate_half_width(runs) + change
        own = {name: runs.mean(axis=0), f"{name}_error": error}
        _add(variables, coordinates, {key: (("time", *dims), value) for key, value in own.items()})
    attrs = {"kind": "limit", "title": problem.title, **facts, "warnings": json.dumps(list(notes))}
    dataset = xr.Dataset(variables, coordinates, attrs)
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
    parts = _parts(problem, system)
    dims = ("width", "seed", "time")
    variables: dict[str, Any] = {
        "output": ((*dims, "input", "channel"), values[None, :, :, observed])
    }
    for prefix, (view, whole) in parts.items():
        losses = _losses(problem.training.loss, values[:, :, view], whole.targets)
        variables[f"{prefix}risk"] = (dims, (losses @ whole.weights)[None])
        if data.fresh:
            variables["risk_error"] = (dims, _sampling_error(losses)[None])
        elif whole.fresh:
            error = _scatter_of_groups(losses, whole.weights, whole.groups)
            variables[f"{prefix}risk_error"] = (dims, error[None])
    if _has_classes(problem):
        scored = [
            _accuracy(_scores(values[:, :, v]), _scores(t - 0.5), w) for v, t, w in _rated(parts)
        ]
        variables["accuracy"] = ((*dims, "part"), np.stack(scored, axis=-1)[None])
    variables["widths"] = (("width", "layer"), [list(widths)])
    coordinates = _coordinates(problem, len(_rated(parts))) | {
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


def _parts(problem: Problem, system: System) -> dict[str, tuple[slice, Dataset]]:
    """Where the training points, the holdout and the population stand, and what they are."""
    data, whole = problem.dataset, problem.whole_population
    parts = {"": (system.view("train"), data)}
    if len(data.holdout_targets):
        parts["holdout_"] = (system.view("holdout"), data.held_out)
    if whole is not None:
        parts["population_"] = (system.view("population"), whole)
    return parts


def _rated(
    parts: dict[str, tuple[slice, Dataset]],
) -> list[tuple[slice, np.ndarray, np.ndarray]]:
    """Training points and holdout: their places, targets and weights."""
    return [
        (view, whole.targets, whole.weights)
        for name, (view, whole) in parts.items()
        if name != "population_"
    ]


def _coordinates(problem: Problem, parts: int) -> dict[str, Any]:
    found: dict[str, Any] = {"time": problem.times, "channel": list(problem.dataset.channels)}
    return found | ({"part": ["train", "holdout"][:parts]} if _has_classes(problem) else {})


def _has_classes(problem: Problem) -> bool:
    """Whether targets are classes: one-hot rows, or 0 and 1 under the logistic loss."""
    targets = problem.dataset.targets
    two = isinstance(problem.training.loss, Logistic) and targets.shape[1] == 1
    return problem.dataset.one_hot or (two and bool(np.isin(targets, (0, 1)).all()))


def _scores(outputs: np.ndarray) -> np.ndarray:
    """One score a class: a single output f stands for the scores −f and f of classes 0 and 1."""
    return np.concatenate([-outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def rms_over_outputs(values: xr.DataArray) -> xr.DataArray:
    """The root of the mean square over observed inputs and channels."""
    return (values**2).mean(["input", "channel"]) ** 0.5


def offset(values: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RMS over outputs of E_s f_s − f, and its standard error, both `(width, time)`.

    `values (width, seed, time, input, channel)` are the f_s. The square is without the bias that
    averaging S noisy seeds adds to it:

    with distances δ_s = f_s − f: mean over x of (Σ_{s≠r} δ_s δ_r) / (S(S−1)) estimates the
    square without bias; its standard error is the jackknife's over seeds.
    """
    seeds = values.shape[1]
    if seeds < 3:
        shape = values.shape[0], values.shape[2]
        return np.full(shape, np.nan), np.full(shape, np.nan)
    delta = values - f
    total, own = delta.sum(axis=1), (delta**2).mean(axis=(-2, -1))

    def square(sum_: np.ndarray, own_sum: np.ndarray, count: int) -> np.ndarray:
        return ((sum_**2).mean(axis=(-2, -1)) - own_sum) / (count * (count - 1))

    whole = square(total, own.sum(axis=1), seeds)
    left_out = np.stack(
        [square(total - delta[:, s], own.sum(axis=1) - own[:, s], seeds - 1) for s in range(seeds)]
    )
    deviation = left_out - left_out.mean(axis=0)
    square_se = np.sqrt((seeds - 1) / seeds * (deviation**2).sum(axis=0))
    size = np.sqrt(np.maximum(whole, 0.0))
    # d√q = dq / 2√q where q is resolved; else √(its error) bounds what may hide below it.
    return size, np.where(
        whole > square_se, square_se / (2 * np.maximum(size, 1e-300)), np.sqrt(square_se)
    )


def replicate_half_width(values: np.ndarray) -> np.ndarray:
    """Half-width of the 95 % interval of a mean over replicates (first axis), by Student's t.

    One replicate alone is exact: it has no quadrature error.
    """
    count = len(values)
    if count == 1:
        return np.zeros_like(values[0])
    spread = np.std(values, axis=0, ddof=1)
    return stdtrit(count - 1, 0.975) * spread / math.sqrt(count)


def _sampling_error(losses: np.ndarray) -> np.ndarray:
    """95 % half-width of a mean over independent points (last axis)."""
    count = losses.shape[-1]
    return stdtrit(count - 1, 0.975) * np.std(losses, axis=-1, ddof=1) / math.sqrt(count)


def _losses(loss: Loss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """ℓ at every point; leading axes of `outputs (…, point, channel)` are kept."""
    flat = outputs.reshape(-1, *outputs.shape[-2:])
    found = _values_and_slopes(loss, flat, targets)[0]
    return np.asarray(found, float).reshape(outputs.shape[:-1])


@eqx.filter_jit
def _values_and_slopes(loss: Callable, outputs: Numbers, targets: Numbers) -> tuple[Array, Array]:
    """ℓ and ∇ℓ for `outputs (row, point, channel)`."""
    return jax.vmap(jax.vmap(jax.value_and_grad(loss)), in_axes=(0, None))(outputs, targets)


def _risk_with_error(
    loss: Loss,
    values: np.ndarray,
    half_width: np.ndarray,
    time_error: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    groups: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Risk of the mean output, and its error to first and second order in the output's error.

    First order: replicates give ∇ℓ(f̄)·(f_r − f̄) averaged over π, hence an interval; second
    order: ½[ℓ(f̄ + h) + ℓ(f̄ − h)] − ℓ(f̄) with h the half-width. Where points are several
    independent quadratures of π, `groups` of them, their scatter adds an interval.
    """
    mean = values.mean(axis=0)
    rows = np.concatenate([mean, mean + half_width, mean - half_width])
    found = _values_and_slopes(loss, rows, targets)
    at_mean, above, below = np.split(np.asarray(found[0], float), 3)
    slope = np.asarray(found[1], float)[: len(mean)]
    along = np.einsum("rtxc,txc,x->rt", values - mean, slope, weights)
    first = replicate_half_width(along)
    second = np.abs((0.5 * (above + below) - at_mean) @ weights)
    moved = np.einsum("txc,txc,x->t", np.abs(slope), time_error, weights)
    scatter = _scatter_of_groups(at_mean, weights, groups)
    return at_mean @ weights, first + second + moved + scatter


def _scatter_of_groups(losses: np.ndarray, weights: np.ndarray, groups: int) -> np.ndarray:
    """95 % half-width of a mean over points (last axis) that are `groups` of quadratures."""
    parts = (groups * losses * weights).reshape(*losses.shape[:-1], groups, -1).sum(axis=-1)
    return replicate_half_width(np.moveaxis(parts, -1, 0))


def _accuracy_with_error(
    mean: np.ndarray, error: np.ndarray, rated: list[tuple[slice, np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """The accuracy of a limit on each part, and the share of points that its error leaves open."""
    scored = [_accuracy(_scores(mean[:, v]), _scores(t - 0.5), w) for v, t, w in rated]
    doubt = [_doubt(_scores(mean[:, v]), error[:, v], w) for v, _, w in rated]
    return {
        "accuracy": (("time", "part"), np.stack(scored, axis=-1)),
        "accuracy_error": (("time", "part"), np.stack(doubt, axis=-1)),
    }


def _accuracy(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of points whose largest output is their class."""
    return (outputs.argmax(-1) == targets.argmax(-1)) @ weights


def _doubt(outputs: np.ndarray, error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of points whose winning class another one could overtake within the error."""
    best = outputs.argmax(-1)[..., None]
    low = np.take_along_axis(outputs - error, best, -1)
    high = outputs + error
    np.put_along_axis(high, best, -np.inf, -1)
    return (high.max(-1) > low[..., 0]) @ weights


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
