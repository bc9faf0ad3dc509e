"""Predicted fluctuations of sampled networks around the limit, from the limit alone.

The output f_t(x) is a functional of the laws of the neurons' labels, of the data seen at each
time, and of the data set. To leading order a network's deviation from the limit is that
functional's derivative times the noise of these measures (equations.md §4; Sirignano &
Spiliopoulos 2020, CLT, Theorem 1.5; Pham & Nguyen 2021):

    layer l   (1/n_l) Var_c[IF_l(c)],          IF_l(c) = ∂f_t(x)/∂P_l(c)
    sgd       (ε/b) ∫_0^t Var_z[J_s(z)] + v E_z|D_s(z)|² ds,
                                               J_s(z) = ∂f_t(x)/∂(weight of z at time s),
              D_s(z) = ∂f_t(x)/∂(label of z at time s), v the variance of fresh label noise
    data      (1/samples) Var_z[∂f_t(x)/∂π(z)]

No network is trained here.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from widelimit.around.depths import by_depth, in_order, shifted, together
from widelimit.around.influence import Influence
from widelimit.around.prediction import Found, forecast, refined
from widelimit.around.variances import factors
from widelimit.around.ways import Case
from widelimit.basics.errors import ProblemError
from widelimit.basics.streams import Stream, generator
from widelimit.basics.tasks import Task
from widelimit.basics.words import sizes_in_words
from widelimit.ensemble.advice import examine, refuse_kinks
from widelimit.ensemble.collapse import collapsed_layers
from widelimit.limit.validity import predict_validity
from widelimit.motion.engine import engine
from widelimit.problem.network.activations import is_kinked, named
from widelimit.problem.problem import Problem
from widelimit.results.fluctuations import Fluctuations

TOLERANCE = {"all": 0.02, "rms": 0.1}
"""Relative error of standard deviations that is asked for if nothing else is."""

COARSEST = 5e-3
"""Standard deviations are computed in single precision only if this much error is allowed."""

INTERVALS = 64
"""Sample paths see the noise of SGD as constant on so many intervals of the training."""


def predict_fluctuations(
    problem: Problem,
    widths: Sequence[int | Sequence[int]] | None = None,
    *,
    what: str = "all",
    tolerance: float | None = None,
    covariance: bool = False,
    progress: bool | None = None,
) -> Fluctuations:
    """Variances of outputs and risk of networks with the given widths, source by source.

    Widths, step, batch and draw are those of `problem.networks` unless `widths` are given. With
    `what="rms"` the mean over outputs and the risk are all that is told: of many outputs a few
    random combinations are pulled back, Σ_i Var f_i = E_σ Var(Σ_i σ_i f_i) for random signs σ
    (Hutchinson 1989), which takes far less than each output. `tolerance` is the relative error of
    standard deviations (RMS over inputs) to be reached, `TOLERANCE` if it is not given. With
    `covariance` the dataset also holds `covariance(width, source, time, input, channel,
    other_input, other_channel)`.

    Raises `ValueError` if there are no widths, or for covariances of RMS alone, `Diverged` if the
    limit leaves the finite numbers, `ProblemError` if the data are a whole population or the rule
    is Adam.

    >>> from widelimit.problem.problem import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 1.0},
    ... })
    >>> found = predict_fluctuations(problem, widths=[100], progress=False)
    >>> start = found.dataset.output_std.sel(time=0.0, input=1).item()
    >>> import numpy as np
    >>> bool(np.isclose(start, np.std([2 * np.tanh(1.0), np.tanh(-0.5)]) / 10))
    True
    """
    _check(what, tolerance)
    if covariance and what == "rms":
        raise ValueError('covariance: every output is needed for it; leave out what="rms"')
    tolerance = TOLERANCE[what] if tolerance is None else tolerance
    problem = problem.with_widths(widths)
    refuse_unknown(problem)
    depths, found = by_depth(problem), []
    for own in depths:
        factor, notes = factors(own)
        with engine(own, "fluctuations", progress, _precision(own, tolerance)) as work:
            known = refined(Case(work, factor, tolerance, what == "rms", covariance))
        found.append(_told(own, known, notes))
    dataset = together(problem, depths, found)
    if any(own.network != problem.network for own in depths):
        dataset = shifted(problem, depths, dataset, progress)
    return Fluctuations(problem, dataset)


def forecast_fluctuations(problem: Problem, what: str, tolerance: float | None = None) -> Task:
    """The first nodes of `predict_fluctuations`, and what the answer on them takes.

    A part of it is timed where outputs are pulled back. Raises as `predict_fluctuations` does.
    """
    _check(what, tolerance)
    tolerance = TOLERANCE[what] if tolerance is None else tolerance
    refuse_unknown(problem)
    needed, seconds, grows, told = 0, 0.0, False, []
    for own in by_depth(problem):
        with engine(own, "fluctuations", False, _precision(own, tolerance)) as work:
            case = Case(work, factors(own)[0], tolerance, what == "rms")
            sizes, grows = case.first.sizes, grows or not case.exact
            seconds += forecast(case)
            needed = max(needed, work.memory.needed(sizes[: work.layers], 1, 1))
        told.append(sizes_in_words(sizes))
    details = f"{' and '.join(dict.fromkeys(told))} nodes to begin with"
    return Task("scatter", details, needed, seconds or None, grows=grows)


def _check(what: str, tolerance: float | None) -> None:
    """Raise `ValueError` for what cannot be asked."""
    if what not in TOLERANCE:
        raise ValueError(f'what: found {what!r}; must be "all" or "rms"')
    if tolerance is not None and not tolerance > 0:
        raise ValueError(f"tolerance: found {tolerance}; must be a positive number")


def sample_paths(found: Fluctuations, count: int, seed: int) -> xr.DataArray:
    """See `Fluctuations.paths`."""
    d, problem = found.dataset, found.problem
    if problem.training.label_noise:
        raise ProblemError(
            ["training.label_noise: sample paths are not built for it; its variances are"],
            problem.title,
        )
    depths, parts = by_depth(problem), []
    for own in depths:
        factor = factors(own)[0]
        with engine(own, "sample paths", False, d.attrs["precision"]) as work:
            case = Case(work, factor, 1.0, False)
            units = _paths(case, np.atleast_1d(d.attrs["points"]).tolist(), count, seed)
        parts.append((factor**0.5 * units).sum("source"))
    whole = in_order(problem, depths, parts).transpose("width", "sample", ...)
    return whole + d["depth_shift"] if "depth_shift" in d else whole


def _paths(case: Case, points: list[int], count: int, seed: int) -> xr.DataArray:
    """Sample paths of the outputs for unit noise of each source."""
    work, used = case.engine, case.used
    problem, design = work.problem, case.first.with_counts(points)
    initial = work.placed(design)
    influence = Influence.of(work.system, initial, problem.times, case.step_tolerance)
    own = np.repeat([case.sources.index(name) for name in used], count)
    longest = problem.training.horizon / (INTERVALS if "sgd" in used else 1)
    values = influence.sampled(generator(Stream.SAMPLE_PATHS, seed), own, longest)
    shape = len(used), count, len(problem.times), -1, len(case.channels)
    dims = "source", "sample", "time", "input", "channel"
    coordinates = {"source": used, "time": problem.times, "channel": case.channels}
    return xr.DataArray(values.reshape(shape), coordinates, dims)


def refuse_unknown(problem: Problem) -> None:
    """Raise `ProblemError` where there is no limit, or no linearisation of its rule."""
    problem.require_solved("what networks scatter by is measured with it: scatter, bias of a limit")
    problem.require_finite_data("predicting fluctuations")
    refuse_kinks(problem)
    problem.require_noiseless("Brownian paths are one more source of scatter, not derived yet")
    if not problem.training.rule.linear:
        raise ProblemError(
            [
                "training.adam: √q starts at zero, where it has no derivative, and with SGD "
                "noise is "
                "squared and divided by: fluctuations are not derived; measure them with networks"
            ],
            problem.title,
        )


def _precision(problem: Problem, tolerance: float) -> str:
    """Single precision if the limit is solved in it, and if that is enough."""
    return problem.limit.precision if tolerance >= COARSEST else "float64"


def _told(problem: Problem, found: Found, notes: list[str]) -> xr.Dataset:
    """What was found, with what the user should know."""
    assert problem.networks is not None
    shapes = problem.networks.layer_widths(problem.network)
    dataset, more = found.dataset, list(notes)
    dataset["widths"] = (("width", "layer"), [list(widths) for widths in shapes])
    if collapsed_layers(problem):
        dataset = _until_clt(problem, dataset)
        more += _refusals(problem, dataset)
    more += _extrapolated(problem, dataset)
    return dataset.assign_attrs(_facts(problem, found, more))


def _until_clt(problem: Problem, dataset: xr.Dataset) -> xr.Dataset:
    """No standard deviations beyond t_CLT, where what the limit leaves out has outgrown them.

    (equations.md §6.)
    """
    ends = predict_validity(problem, progress=False).dataset["clt_until"]
    for name in ("output_std", "rms_std", "risk_std"):
        for kind in (name, f"{name}_error"):
            if kind in dataset:
                dataset[kind] = dataset[kind].where(dataset.time <= ends)
    return dataset.assign(clt_until=ends)


def _refusals(problem: Problem, dataset: xr.Dataset) -> list[str]:
    """Say from when on there are no standard deviations."""
    return [
        f"width {problem.network.name(shape)}: no standard deviations after t = {end:.3g}; "
        "differences between neurons that are alike in the limit have grown beyond what sampled "
        "labels do"
        for shape, end in zip(
            dataset["widths"].values.tolist(), dataset["clt_until"].values, strict=True
        )
        if end < problem.times[-1]
    ]


def _facts(problem: Problem, found: Found, notes: list[str]) -> dict[str, Any]:
    """How the prediction came about."""
    settings, case, error = problem.networks, found.case, found.error
    assert settings is not None
    notes = [*examine(problem), *notes] + [
        f"{what} has no second derivative everywhere, and fluctuations are linearised along "
        "the limit: take standard deviations as a guide"
        for what in _kinked(problem)
    ]
    if error > case.tolerance:
        notes.append(
            f"standard deviations have a relative error of {error:.2g}, more than the "
            f"{case.tolerance:g} asked for, with {' × '.join(map(str, found.design.counts))} nodes"
        )
    return {
        "kind": "fluctuations",
        "title": problem.title,
        "way": case.way(found.design.sizes),
        "precision": case.engine.precision,
        "method": settings.method,
        "step": str(settings.step),
        "nodes": list(found.design.sizes),
        "points": list(found.design.counts),
        "replicates": len(found.runs),
        "tolerance": case.tolerance,
        "error": error,
        "met": int(error <= case.tolerance),
        "warnings": json.dumps(list(dict.fromkeys(notes))),
    }


def _kinked(problem: Problem) -> list[str]:
    """What in a problem has a first derivative that jumps."""
    chosen = dict.fromkeys(problem.network.used_activations)
    found = [f"the activation {named(a)}" for a in chosen if is_kinked(a)]
    loss = problem.training.loss
    return found if loss.smooth else [*found, f"the loss {loss.loss!r}"]


def _extrapolated(problem: Problem, dataset: xr.Dataset) -> list[str]:
    """Mark widths whose networks scatter by more than the outputs themselves, and say so."""
    dataset["extrapolated"] = dataset.rms_std > dataset.signal
    return [
        f"width {problem.network.name(shape)}: networks scatter by up to {float(size.max()):.2g}, "
        f"more than the outputs themselves ({float(dataset.signal):.2g} RMS): an extrapolation "
        "from wide networks"
        for shape, size in zip(dataset["widths"].values.tolist(), dataset.rms_std, strict=True)
        if float(size.max()) > float(dataset.signal)
    ]
