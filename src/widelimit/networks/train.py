"""`train`: sampled networks of finite widths under SGD, gradient descent or gradient flow.

Every network has its own key, made from the problem's seed, its widths and its number alone, so
that its draws are the same whatever else is trained beside it.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from jax.typing import DTypeLike
from jaxtyping import Array, Key

from widelimit.basics.compiled import make_room
from widelimit.basics.hands import all_ahead
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Piece
from widelimit.basics.progress import progress as progress_of
from widelimit.ensemble.advice import examine
from widelimit.ensemble.system import System
from widelimit.networks.course import Course
from widelimit.networks.groups import Group, carried, joined_groups
from widelimit.networks.room import refuse_impossible
from widelimit.networks.sampled import drawn, groups_of
from widelimit.problem.problem import Problem
from widelimit.problem.settings import NetworkSettings
from widelimit.results.layout import network_dataset, neurons_over_time
from widelimit.results.trajectory import Trajectory


def train(
    problem: Problem,
    *,
    progress: bool | None = None,
    known: Trajectory | None = None,
    keep: Callable[[Trajectory], None] | None = None,
) -> Trajectory:
    """Networks of every width in `problem.networks.widths`, with all their seeds.

    Clock and updates as in `descent`; the state at an observed time t is that of step
    `round(t / ε)`. `known` holds widths trained before: they are taken over. `keep` is called
    after each new width with all that there is, what was known and is not asked for included, so
    that nothing is lost by a kill or by asking for less.

    Raises `ValueError` if the problem has no `[networks]`, `ProblemError` if no machine trains
    them, `Diverged` if a state stops being finite.
    """
    settings = problem.networks
    if settings is None:
        raise ValueError("the problem has no [networks] section: give at least networks.widths")
    refuse_impossible(problem)
    make_room()
    facts = facts_of_training(problem, settings.precision)
    there, shapes = known, settings.layer_widths(problem.network)
    left = [widths for widths in shapes if known is None or not _holds(known, widths)]
    with in_precision(settings.precision) as dtype:
        system = System.of(problem, dtype)
        all_ahead("networks", _one_group, lambda: _groups(problem, system, left), progress)
        for widths in shapes:
            if there is None or not _holds(there, widths):
                found = _one_width(problem, widths, dtype, progress)
                there = _joined(problem, there, found, facts)
                if keep is not None:
                    keep(there)
    assert there is not None
    return _only(problem, there, shapes, facts)


Result = tuple[xr.Dataset, str, xr.Dataset]
"""Outputs of one width, its name among the states, and the neurons of the networks kept."""


def _joined(
    problem: Problem, before: Trajectory | None, found: Result, facts: dict[str, Any]
) -> Trajectory:
    """What there was, and one more width: it takes the place of what was left of it."""
    dataset, name, states = found
    groups = {name: states}
    if before is not None:
        others = np.flatnonzero(~_of_width(before, dataset["widths"].values[0]))
        old = before.dataset.isel(width=others)
        dataset = xr.concat([old, dataset], "width", combine_attrs="drop")
        groups = {n: group.to_dataset() for n, group in before.states.children.items()} | groups
    widths = tuple(map(tuple, dataset["widths"].values.tolist()))
    settings = _settings(problem).model_copy(update={"widths": widths, "shapes": None})
    dataset.attrs = {"kind": "networks", **facts}
    return Trajectory(problem.with_parts(networks=settings), dataset, xr.DataTree.from_dict(groups))


def _of_width(there: Trajectory, widths: Any) -> np.ndarray:
    """Which rows are of this width."""
    return (there.dataset["widths"].values == widths).all(axis=1)


def _holds(there: Trajectory, widths: tuple[int, ...]) -> bool:
    """Whether the results of one width are all there."""
    return bool(_of_width(there, widths).any()) and _name(widths) in there.states.children


def _only(
    problem: Problem,
    there: Trajectory,
    shapes: Sequence[tuple[int, ...]],
    facts: dict[str, Any],
) -> Trajectory:
    """The widths that were asked for, in their order."""
    rows = [int(np.flatnonzero(_of_width(there, widths))[0]) for widths in shapes]
    dataset = there.dataset.isel(width=rows)
    dataset.attrs = {"kind": "networks", **facts}
    groups = {_name(widths): there.states[_name(widths)].to_dataset() for widths in shapes}
    return Trajectory(problem, dataset, xr.DataTree.from_dict(groups))


def facts_of_training(problem: Problem, precision: str) -> dict[str, Any]:
    """How networks of a problem are trained, as attributes of a result."""
    settings = _settings(problem)
    facts = {
        "title": problem.title,
        "method": settings.method,
        "step": str(settings.step),
        "batch": settings.batch if settings.method == "sgd" else 0,
        "draw": _drawn(problem),
        "precision": precision,
        "warnings": json.dumps(examine(problem)),
    }
    if problem.population is not None:
        facts["evaluation_points"] = len(problem.dataset.inputs)
    return facts


def _drawn(problem: Problem) -> str:
    """How SGD draws its data."""
    if _settings(problem).method != "sgd":
        return ""
    return _settings(problem).draw if problem.population is None else "fresh"


def _name(widths: tuple[int, ...]) -> str:
    return "width_" + "_".join(map(str, widths))


def _one_width(
    problem: Problem, widths: tuple[int, ...], dtype: DTypeLike, progress: bool | None
) -> Result:
    """All seeds of one width, in groups that fit into memory."""
    settings, problem = _settings(problem), problem.at_width(widths)
    system = System.of(problem, dtype)
    course = Course(problem, system, widths, settings.precision)
    groups = groups_of(problem, system, widths, settings.seeds)
    name = f"networks: width {problem.network.name(widths)}"
    with progress_of(name, progress, len(groups)) as told:
        found = [_trained(course, keys, g, told.piece()) for g, keys in enumerate(groups)]
    values = np.concatenate([group.values for group in found])[: settings.seeds]
    seen = [group.seen for group in found]
    functionals = _functionals(found[0].axes, seen, settings.seeds)
    dataset = network_dataset(problem, system, values, widths, functionals)
    states = [joined_groups(at) for at in zip(*(group.states for group in found), strict=True)]
    labels = joined_groups([group.labels for group in found])
    return dataset, _name(widths), neurons_over_time(problem.times, states, labels)


def _groups(
    problem: Problem, system: System, shapes: Sequence[tuple[int, ...]]
) -> dict[str, tuple[Any, ...]]:
    """All groups of networks of these widths, by name what `_one_group` is given."""
    seeds, name = _settings(problem).seeds, problem.network.name
    return {
        f"width {name(widths)}, group {number + 1}": (problem, widths, number)
        for widths in shapes
        for number in range(len(groups_of(problem, system, widths, seeds)))
    }


def _one_group(problem: Problem, widths: tuple[int, ...], number: int) -> None:
    """Train one group of networks, for whoever looks for it in the store."""
    settings, problem = _settings(problem), problem.at_width(widths)
    with in_precision(settings.precision) as dtype, progress_of("networks", False) as told:
        system = System.of(problem, dtype)
        keys = groups_of(problem, system, widths, settings.seeds)[number]
        course = Course(problem, system, widths, settings.precision)
        _trained(course, keys, number, told.piece())


def _trained(course: Course, keys: Key[Array, " group"], number: int, piece: Piece) -> Group:
    """The networks of one group, this one of those of their width."""
    start, labels, data_keys = drawn(course.problem, course.system, course.widths, keys)
    kept = course.settings.states - number * len(keys)
    return carried(course, start, labels, data_keys, kept, piece)


def _functionals(
    axes: dict[str, tuple[str, ...]], seen: Sequence[dict[str, np.ndarray]], seeds: int
) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Functionals of several batches of networks as those of one, with their dimensions."""
    return {
        name: (dims, np.concatenate([batch[name] for batch in seen])[:seeds])
        for name, dims in axes.items()
    }


def _settings(problem: Problem) -> NetworkSettings:
    assert problem.networks is not None
    return problem.networks
