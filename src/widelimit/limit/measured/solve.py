"""`measured`: the limit of a problem from networks of several widths, laid out as any limit.

For smooth activations and losses, at fixed times, E f_n = f + B/n + C/n² + … and Var f_n = V/n + …
(equations.md §4; Pham & Nguyen 2021): f is the intercept of a regression on 1/n. That holds
where no closed flow does: μP from two hidden layers on (Yang & Hu 2021), the tangent kernel's
parametrisation, Adam at fixed β.
"""

import json
from typing import Any

import numpy as np
import xarray as xr

from widelimit.basics.compiled import make_room
from widelimit.basics.errors import ProblemError
from widelimit.basics.progress import progress as progress_of
from widelimit.basics.statistics import half_width
from widelimit.limit.measured.fit import Fit
from widelimit.limit.measured.measurement import Measurement, in_words
from widelimit.limit.measured.sample import EVERYWHERE
from widelimit.limit.search import largest_rms
from widelimit.problem.network.residual import ResidualNetwork
from widelimit.problem.problem import Problem
from widelimit.results.layout import add_functionals, coordinates_of
from widelimit.results.scores import accuracy_with_error, has_classes, parts_of, rated
from widelimit.results.trajectory import Trajectory

DIMS = ("time", "input", "channel")


def measured(problem: Problem, progress: bool | None = None) -> Trajectory:
    """The limit of `problem` to `limit.tolerance`, measured; see `limit.solve.solve`."""
    _refuse(problem)
    make_room()
    with progress_of("limit, measured", progress) as told:
        work = Measurement(problem, told)
        fit, short = work.found()
    return _laid_out(work, fit, short)


def _refuse(problem: Problem) -> None:
    """Raise `ProblemError` for limits that networks do not measure."""
    if isinstance(problem.network, ResidualNetwork) and problem.network.depth == "limit":
        said = "network.depth: found 'limit'; networks have a depth: give a number of blocks"
        raise ProblemError([f"{said} whose limit in width is measured"], problem.title)
    problem.require_noiseless("limits are measured for networks without noise of their own")
    if problem.networks is None or not isinstance(problem.networks.step, float | int):
        problem.require_finite_data("measuring the limit of ε → 0")


def _laid_out(work: Measurement, fit: Fit, short: str | None) -> Trajectory:
    """The limit with its errors, and whether they are as small as was asked."""
    problem, system, means = work.problem, fit.system, fit.outputs
    interval, model = fit.interval(means), fit.model_error(means)
    value, error = means.estimate(means.combination()), fit.error
    observed, verdict = system.view("observed"), fit.verdict
    model, late = np.broadcast_to(model, value.shape), fit.time_error(EVERYWHERE)
    told = {
        "output": value, "output_error": error, "interval": interval, "model_error": model,
        "time_error": late, **_of_one_network(fit),
    }  # fmt: skip
    variables: dict[str, Any] = {name: (DIMS, own[:, observed]) for name, own in told.items()}
    parts = parts_of(problem, system)
    for prefix in parts:
        both = zip(("risk", "risk_error"), _known(fit, f"{prefix}risk"), strict=True)
        variables |= {f"{prefix}{name}": ("time", own) for name, own in both}
    if has_classes(problem):
        variables |= accuracy_with_error(value, error, rated(parts))
    coordinates = coordinates_of(problem, len(rated(parts)))
    for name, axes in work.trained.axes.items():
        dims = ("time", *axes)
        value_and_error = zip((name, f"{name}_error"), _known(fit, name), strict=True)
        add_functionals(variables, coordinates, {key: (dims, v) for key, v in value_and_error})
    reached = largest_rms(system, error)
    met = reached <= work.goal and verdict.adequate is not False
    facts = {
        "kind": "limit", "how": "measured", "title": problem.title, **in_words(work, fit),
        "error": reached, "tolerance": work.goal, "met": int(met),
        "interval": largest_rms(system, interval),
        "model_error": largest_rms(system, model), "time_error": largest_rms(system, late),
        "adequate": {True: "yes", False: "no", None: "cannot be told"}[verdict.adequate],
        "why": verdict.why, "precision": work.sampler.settings.precision,
        "warnings": json.dumps([] if met else [_missed(work, reached, short or verdict.why)]),
    }  # fmt: skip
    states = xr.DataTree.from_dict({"limit": work.trained.neurons[fit.widths[-1]]})
    return Trajectory(problem, xr.Dataset(variables, coordinates, facts), states)


def _of_one_network(fit: Fit) -> dict[str, np.ndarray]:
    """B of E f_n = f + B/n and n·Var f_n of one network, with 95 % half-widths."""
    means, scatter = fit.outputs, fit.scatter_of_networks
    b = means.combination(row=1)
    return {
        "bias": means.estimate(b),
        "bias_error": means.half_width(b),
        "scatter": scatter,
        "scatter_error": scatter * half_width(np.sqrt(2.0), int(means.freedom.sum())),
    }


def _known(fit: Fit, name: str) -> tuple[np.ndarray, np.ndarray]:
    """A variable at infinite width, and its error."""
    means = fit.means(name)
    return means.estimate(means.combination()), fit.error_of(name)


def _missed(work: Measurement, reached: float, why: str) -> str:
    """Why the tolerance was missed, and what would do."""
    return (
        f"the tolerance {work.goal:g} was not met: the error is {reached:.2g}, because {why}; "
        "raise limit.max_seconds or the tolerance"
    )
