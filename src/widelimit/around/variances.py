"""Variances for unit noise, labelled; what they are multiplied by; and their errors.

Scrambles of the nodes tell the error that nodes make: the half-width of a mean over them, and what
is of second order in their scatter, which a mean keeps (a variance is no linear function of the
nodes). Shorter steps tell that of time integration, random combinations what directions leave out.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr

from widelimit.around.spread import Spread
from widelimit.around.ways import Case
from widelimit.basics.statistics import replicate_half_width, rms_over_outputs, step_error
from widelimit.ensemble.neurons import Depth
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.problem import Problem


def factors(problem: Problem) -> tuple[xr.DataArray, list[str]]:
    """What the variance for unit noise is multiplied by, `(width, source)`; and what to know.

    Layers: 1/n_l. SGD with step ε and batch b: ε/b for independent draws, (ε/b)(n − b)/(n − 1) for
    batches of distinct points among n, and 0 for epochs, whose noise vanishes to leading order
    (dynamics.md). A data set of so many samples: 1/samples.
    """
    settings, network = problem.networks, problem.network
    assert settings is not None
    shapes, notes = settings.layer_widths(network), []
    fixed = network.by_space(network.finite_widths)  # the same neurons in all networks
    sizes = [network.neurons(widths) for widths in shapes]
    columns = {
        name: [0.0 if fixed[k] else 1 / widths[k] for widths in sizes]
        for k, name in enumerate(network.space_names)
    }
    if settings.method == "sgd":
        rows, batch = len(problem.dataset.inputs), settings.batch
        draw = {
            "independent": 1.0,
            "distinct": (rows - batch) / max(1, rows - 1),
            "epochs": 0.0,
        }[settings.draw]
        columns["sgd"] = [draw / batch * settings.step_size(network, w) for w in shapes]
        if settings.draw == "epochs":
            notes.append("with draw = 'epochs' the noise of SGD vanishes to leading order")
    if problem.data.samples is not None:
        columns["data"] = [1 / problem.data.samples] * len(shapes)
    factor = xr.DataArray(
        np.array(list(columns.values())).T,
        dims=("width", "source"),
        coords={"source": list(columns), **_coordinates(network, shapes)},
    )
    return factor, notes


def _coordinates(network: Architecture, shapes: Sequence[tuple[int, ...]]) -> dict[str, Any]:
    """What tells networks apart along the dimension of widths."""
    each = [network.coordinates(widths) for widths in shapes]
    return {name: ("width", [own[name] for own in each]) for name in each[0]}


def unit_variances(case: Case, found: Sequence[Spread]) -> xr.Dataset:
    """Variances for unit noise at all times, labelled."""
    pairs = (-1, len(case.channels))

    def over_time(pick: Callable[[Spread], np.ndarray], *axes: int) -> np.ndarray:
        stacked = np.stack([pick(spread) for spread in found], axis=1)
        return stacked.reshape(*stacked.shape[:2], *axes)

    outputs = ("input", "channel")
    variables = {
        "rms_variance": (("source", "time"), over_time(lambda s: s.mean)),
        "missed": (("source", "time"), over_time(lambda s: s.missed)),
        "signal": ((), max(np.sqrt(np.mean(s.outputs**2)) for s in found)),
        "overlap": (("source", "other_source"), found[-1].overlap),
    }
    if not case.rms and found[0].each:
        each = over_time(lambda s: s.variance, *pairs)
        variables["variance"] = (("source", "time", *outputs), each)
    if case.covariance and found[0].each:
        both = over_time(lambda s: s.covariance, len(found[0].along) // pairs[1], pairs[1], *pairs)
        dims = ("source", "time", *outputs, "other_input", "other_channel")
        variables["covariance"] = (dims, both)
    coordinates = {
        "source": case.sources,
        "other_source": case.sources,
        "time": case.engine.problem.times,
        "channel": case.channels,
    }
    labelled = xr.Dataset(variables, coordinates).sel(source=case.used, other_source=case.used)
    return labelled.assign(_compared(case, found)).assign(_profiled(case, found))


def _profiled(case: Case, found: Sequence[Spread]) -> xr.Dataset:
    """Where in depth the variance of units is made; nothing where there is no depth."""
    count = found[0].profile.shape[1]
    if count == 0:
        return xr.Dataset()
    mean = np.stack([spread.mean_profile for spread in found], axis=1)
    variables: dict[str, Any] = {"rms_depth_profile": (("depth_node", "time"), mean)}
    if not case.rms and found[0].each:
        each = np.stack([spread.profile.T for spread in found], axis=1)
        each = each.reshape(*mean.shape, -1, len(case.channels))
        variables["depth_profile"] = (("depth_node", "time", "input", "channel"), each)
    return xr.Dataset(variables, {"depth_node": Depth(count).places(count)})


def _compared(case: Case, found: Sequence[Spread]) -> xr.Dataset:
    """What shorter steps are judged by."""
    dims = ("source", "time")
    variables = {
        "compared": ((*dims, "combination"), np.stack([s.compared for s in found], 1)),
        "risk_variance": (dims, np.stack([s.risk for s in found], 1)),
    }
    return xr.Dataset(variables, {"source": case.sources}).sel(source=case.used)


def change(case: Case, found: Sequence[Spread], finer: Sequence[Spread]) -> xr.Dataset:
    """Bounds on the relative errors that steps make, `finer` being known with shorter ones.

    `outputs` and `risk`, both `(source, time)`.
    """
    one, other = _compared(case, found), _compared(case, finer)
    one = one.isel(combination=slice(other.sizes["combination"]))
    apart = (step_error(one.compared, other.compared) ** 2).sum("combination") ** 0.5
    size, risk = (one.compared**2).sum("combination") ** 0.5, one.risk_variance
    moved = step_error(risk, other.risk_variance)
    return xr.Dataset(
        {
            "outputs": apart / size.where(size > 0, 1.0),
            "risk": moved / risk.where(risk > 0, 1.0),
        }
    )


def scatter(found: Sequence[xr.Dataset], factor: xr.DataArray, signs: bool) -> xr.Dataset:
    """Mean square relative scatter between scrambles of what networks' variances are.

    `nodes` is what nodes make of it, `signs` what random combinations do where each scramble has
    its own (`signs`): where these make more than half of it, all is laid to them. `bias` is what
    the mean over scrambles keeps of the nodes' part. All are `(width, time)`, means over outputs or
    combinations.
    """
    each = xr.concat(found, "replicate")
    own, over = (
        (each.variance, ["input", "channel"]) if "variance" in each and not signs
        else (each.compared, ["combination"])
    )  # fmt: skip
    total = (factor * own).sum("source")
    if len(found) == 1:
        nothing = xr.zeros_like(total.isel(replicate=0).mean(over))
        return xr.Dataset({"nodes": nothing, "signs": nothing, "bias": nothing})
    mean = total.mean(["replicate", *over])
    size = mean.where(mean > 0, 1.0)
    if not signs:
        middle = total.mean("replicate")
        apart = total.var("replicate", ddof=1) / middle.where(middle > 0, 1.0)
        nodes = apart.mean(over) / size
        return xr.Dataset({"nodes": nodes, "signs": xr.zeros_like(size), "bias": nodes})
    inside = total.var("combination", ddof=1).mean("replicate") / total.sizes["combination"]
    between = total.mean("combination").var("replicate", ddof=1)
    nodes = (between - inside).where(between > 2 * inside, 0.0)
    return xr.Dataset(
        {
            "nodes": nodes / size**2,
            "signs": (between - nodes) / size**2,
            "bias": xr.zeros_like(size),  # both are too rough to tell their difference squared
        }
    )


def with_errors(
    found: Sequence[xr.Dataset], changed: xr.Dataset, apart: xr.Dataset, factor: xr.DataArray
) -> xr.Dataset:
    """Variances and standard deviations for every width, and their errors.

    `found` are those of the scrambles of the nodes, which are so far `apart` (`scatter`), and
    `changed` is what steps make (`change`).
    """
    replicates = xr.concat(found, "replicate")
    kept = apart.bias.max("width")  # in the mean, of second order
    relative = changed.outputs + replicates.missed.max("replicate") + kept
    bounds = {
        "rms_variance": relative * replicates.rms_variance.mean("replicate"),
        "risk_variance": (changed.risk + kept) * replicates.risk_variance.mean("replicate"),
    }
    if "variance" in replicates:
        bounds["variance"] = relative * replicates.variance.mean("replicate")
    made: dict[str, xr.DataArray] = {"factor": factor}
    for name, bound in bounds.items():
        made |= _described(name, replicates[name], bound, factor)
    made["signal"] = replicates.signal.mean("replicate")
    made["overlap"] = replicates.overlap.mean("replicate")
    for name in ("depth_profile", "rms_depth_profile"):
        if name in replicates:
            made[name] = replicates[name].mean("replicate")
            made[f"{name}_error"] = _half_width(replicates[name]) + _in_all(relative) * made[name]
    if "covariance" in replicates:
        made["covariance"] = factor * replicates.covariance.mean("replicate")
    return xr.Dataset(made)


def _described(
    name: str, values: xr.DataArray, bound: xr.DataArray, factor: xr.DataArray
) -> dict[str, xr.DataArray]:
    """A variance for unit noise, that of every width, and standard deviations, with errors.

    `bound` is the part of the error of the variance that scrambles do not tell.
    """
    std = "output_std" if name == "variance" else name.replace("variance", "std")
    unit, unit_error = values.mean("replicate"), _half_width(values) + bound
    total = (factor * values).sum("source")
    size = total.mean("replicate") ** 0.5
    error = _half_width(total) + (factor * bound).sum("source")
    return {
        f"unit_{name}": unit,
        f"unit_{name}_error": unit_error,
        name: factor * unit,
        f"{name}_error": factor * unit_error,
        std: size,
        f"{std}_error": error / (2 * size.where(size > 0, 1.0)),
    }


def _in_all(relative: xr.DataArray) -> xr.DataArray:
    """A bound on the relative error of what units of all kinds make together."""
    return relative.drop_sel(source=["sgd", "data"], errors="ignore").max("source")


def _half_width(values: xr.DataArray) -> xr.DataArray:
    """95 % half-width of the mean over replicates."""
    mean = values.mean("replicate")
    ordered = values.transpose("replicate", *mean.dims)
    return mean.copy(data=replicate_half_width(ordered.values))


def relative_error(dataset: xr.Dataset) -> float:
    """The largest over widths and times of the relative error, RMS over outputs."""
    if "output_std" in dataset:
        size, error = (rms_over_outputs(dataset[n]) for n in ("output_std", "output_std_error"))
    else:
        size, error = dataset.rms_std, dataset.rms_std_error
    return float((error / size.where(size > 0, np.inf)).max())
