"""`solve`: the infinite-width limit of a problem, with an error bar.

Quadrature nodes stand for the laws of the neurons' marks; `search` finds enough of them.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import xarray as xr

from widelimit.basics.statistics import Estimate, step_error
from widelimit.ensemble.advice import examine, refuse_kinks
from widelimit.ensemble.collapse import collapsed_layers, unknown_because
from widelimit.ensemble.system import dims_of_functionals
from widelimit.limit.budget import Budget, with_functionals
from widelimit.limit.free_energy import free_energy, reasons_against
from widelimit.limit.measured.solve import measured
from widelimit.limit.search import Found, Search, largest_rms
from widelimit.limit.tracers import Tracers
from widelimit.limit.validity import predict_validity
from widelimit.motion.engine import Engine, engine
from widelimit.nodes.reduction import reduced
from widelimit.problem.network.residual import FEWEST_DEPTHS
from widelimit.problem.problem import Problem
from widelimit.results.layout import limit_trajectory
from widelimit.results.trajectory import Trajectory


def solve(
    problem: Problem,
    *,
    progress: bool | None = None,
    tracers: xr.Dataset | xr.DataTree | None = None,
) -> Trajectory:
    """The infinite-width limit of `problem` at its observed times and inputs.

    Solves the mean-field ODE (Nguyen & Pham 2023, §2.2) in the reduced form for independent
    initialisation (§5). Time is mean-field time `t = k ε`. `progress` shows a bar on standard
    error (None: if that is a terminal).

    `tracers` are neurons of sampled networks, such as `networks.states["width_64"]`: the limit is
    then also evaluated at their own initial labels (the coupling of Nguyen & Pham 2023, §4.1),
    and `limit.states["tracers"]` holds, in the same layout and with errors, the parameters that
    these networks would have were they in the limit.

    Where the data are a whole population, quadrature nodes stand for it too (`measure`), and
    what its symmetry leaves undetermined is averaged over exactly (`symmetry`).

    Where none that could be solved is known (`parametrisation` "mup" from two hidden layers on,
    "ntk", rules of steps), or with `limit.how = "measured"`, it is measured with networks of
    several widths and a regression on 1/n: see `limit.measured.solve`.

    Where neurons of a layer are alike in the limit, it holds until when it describes networks
    (`Trajectory.validity`); under noise its free energy, where one is known (`free_energy`).

    Returns a `Trajectory`; `trajectory.met` tells whether `limit.tolerance` was reached.
    Raises `Diverged` if the flow leaves the finite numbers, `ProblemError` if `limit.memory` is
    too small for the first sizes or networks do not approach the flow because neurons start on a
    kink of their activation, `ValueError` if `tracers` do not fit the problem.

    >>> from widelimit import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 3.0},
    ... })
    >>> limit = solve(problem)
    >>> bool(limit.dataset.risk[-1] < limit.dataset.risk[0]), limit.met
    (True, True)
    """
    return completed(solved(problem, progress, tracers), progress)


def solved(
    problem: Problem,
    progress: bool | None = None,
    tracers: xr.Dataset | xr.DataTree | None = None,
) -> Trajectory:
    """The limit of `solve` without what `completed` adds."""
    problem.require_limit()
    if problem.measured:
        if tracers is not None:
            problem.require_solved("there are no labels for tracers: leave tracers out")
        return measured(problem, progress)
    if tracers is not None:
        problem.require_finite_data("the limit at the labels of networks")
        problem.require_noiseless("labels of sampled neurons do not tell their paths")
    refuse_kinks(problem)
    with engine(reduced(problem), "limit", progress) as work:
        work = with_functionals(work)
        Budget(work).refuse_too_small()
        own = None if tracers is None else Tracers.of(problem, tracers)
        notes, found = examine(problem), Search(work).found()
        limit = _limit(work, found, notes)
        if own is not None:
            carried = own.carried(work, found.design, found.timing.steps, len(found.runs))
            limit = _with_tracers(limit, own.moved(carried))
    return replace(limit, problem=problem)


def completed(limit: Trajectory, progress: bool | None = None) -> Trajectory:
    """The limit with all that belongs to it, but for what it has.

    Until when it describes networks (`Validity`) where neurons are alike in it, by all widths of
    the problem's networks; under noise the free energy and its parts, or a warning why not.
    """
    problem, rule = limit.problem, limit.problem.training.rule
    if collapsed_layers(problem) and not unknown_because(problem) and not _has_widths(limit):
        limit = limit.with_validity(predict_validity(problem, progress=progress))
    if not rule.noisy or "free_energy" in limit.dataset:
        return limit
    if reasons := reasons_against(problem):
        said = [f"no free energy: {reason}" for reason in reasons]
        return limit if set(said) <= set(limit.warnings) else limit.warned(said)
    parts = free_energy(limit, progress=progress).drop_vars(["risk", "risk_error"])
    return replace(limit, dataset=limit.dataset.assign(parts.data_vars))


def _has_widths(limit: Trajectory) -> bool:
    """Whether it is known until when the limit describes all of the problem's networks."""
    if "describes_until" not in limit.dataset:
        return False
    settings, network = limit.problem.networks, limit.problem.network
    known = limit.dataset["widths"].values.tolist()
    return settings is None or all(list(s) in known for s in settings.layer_widths(network))


def check_memory(problem: Problem) -> None:
    """Raise `ProblemError` if `limit.memory` is too small for the first sizes of a solve."""
    with engine(reduced(problem), "limit", False) as work:
        Budget(with_functionals(work)).refuse_too_small()


def _limit(work: Engine, found: Found, notes: Sequence[str]) -> Trajectory:
    """The limit with its errors, and whether they are as small as was asked."""
    error, late, deep = found.quadrature_error, found.timing.error, found.timing.depth_error
    reached = largest_rms(work.system, error + found.timing.rules_error)
    goal = work.problem.limit.tolerance
    if reached > goal:
        notes = [*notes, _missed(work, found, reached)]
    facts = {
        **_facts(work, found),
        "error": reached,
        "quadrature_error": largest_rms(work.system, error),
        "time_error": largest_rms(work.system, late),
        **({} if deep is None else _of_depth(work, found, deep)),
        "met": int(reached <= goal),
        "warnings": json.dumps(list(notes)),
    }
    neurons = found.runs[0].seen["neurons"]
    states = [jax.tree.map(lambda at, k=k: at[k], neurons) for k in range(len(work.problem.times))]
    limit = limit_trajectory(
        work.problem, work.system, found.values, late, states, _functionals(work, found), facts,
        deep,
    )  # fmt: skip
    return replace(limit, dataset=limit.dataset.assign(work.carrier.variables()))


def _facts(work: Engine, found: Found) -> dict[str, Any]:
    """How the limit was found."""
    return {
        "how": "quadrature" if found.design.random else "exact",
        "nodes": list(found.design.sizes[: work.layers]),
        "data_points": work.sizes(found.design)[-1],
        "points": list(found.design.counts),
        "rules": [rule.name for rule in found.design.rules],
        "rule_reasons": list(found.reasons),
        "replicates": len(found.runs),
        "step_tolerance": found.timing.steps.tolerance,
        "tolerance": work.problem.limit.tolerance,
        "precision": work.problem.limit.precision,
    }


def _of_depth(work: Engine, found: Found, error: np.ndarray) -> dict[str, Any]:
    """How depth was taken to its limit."""
    nodes = FEWEST_DEPTHS * found.timing.steps.depths
    return {"depth_error": largest_rms(work.system, error), "depth_nodes": nodes}


def _functionals(work: Engine, found: Found) -> dict[str, tuple[tuple[str, ...], Estimate]]:
    """By variable its dimensions, and its value with errors.

    Steps are halved before nodes are many, as for outputs.
    """
    if not work.system.functionals:
        return {}
    timing = found.timing
    whole, halved = (run.seen["functionals"] for run in (timing.stepped, timing.halved))
    first = jax.tree.map(lambda at: at[0], found.runs[0].seen["neurons"])
    estimates = {}
    for name, dims in dims_of_functionals(work.system, first).items():
        runs = [run.seen["functionals"][name] for run in found.runs]
        own = Estimate.of(runs, runs[0])
        late = step_error(whole[name], halved[name])
        if timing.deeper is not None:
            pair = (run.seen["functionals"][name] for run in (timing.whole, timing.deeper))
            late = late + step_error(*pair)
        estimates[name] = dims, replace(own, time=late)
    return estimates


def _with_tracers(limit: Trajectory, tracers: xr.Dataset) -> Trajectory:
    """The limit, and what it makes of neurons of sampled networks."""
    groups = {"limit": limit.states["limit"].to_dataset(), "tracers": tracers}
    return replace(limit, states=xr.DataTree.from_dict(groups))


def _missed(work: Engine, found: Found, reached: float) -> str:
    """Why the tolerance was missed, and what to raise."""
    limit, sizes = work.problem.limit, " × ".join(map(str, found.design.sizes[: work.layers]))
    error = f"the error is {reached:.2g} with {sizes} nodes"
    said = f"the tolerance {limit.tolerance:g} was not met: {error}"
    if largest_rms(work.system, found.quadrature_error) < limit.tolerance / 2:
        short, remedies = found.timing.shortfall, ["the tolerance"]
        said = f"{said}; it comes from time integration"
    else:
        short, remedies = found.shortfall, [Budget(work).remedy, "the tolerance"]
    if short:
        said, remedies = f"{said}: {short.why}", [short.remedy, "the tolerance"]
    return f"{said}; raise {' or '.join(remedies)}"
