"""Networks of finite depth: each is predicted at its own, which shifts it from the limit.

    f_network − f = (f_network − f_L) + (f_L − f)

f_L is what networks of L blocks tend to as they become wide. The first part scatters, the second is
Euler's bias, of order 1/L (Chizat 2025, Theorem 1). It is computed from one set of units, cut into
L depths and into many: what quadrature does wrong in both falls out.
"""

import json
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from widelimit.basics.statistics import replicate_half_width, rms_over_outputs, step_error
from widelimit.ensemble.model import Model, model_of
from widelimit.limit.search import seen_of_limit
from widelimit.motion.engine import Engine, Steps, engine
from widelimit.nodes.design import Design
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.problem import Problem

UNITS, EACH = 512, 16
"""So many units of each kind are cut into depths, or so many a block if that is more."""

DENSE = 8
"""A limit in depth has so many times its fewest nodes, and twice as many to tell their error."""

SCRAMBLES = (4, 8, 16)
"""So many scrambles tell a shift."""

KNOWN = 0.1
"""A shift is known well enough with an error of this share of it, or of the scatter beside it."""

STEPS = Steps(1e-6)

PROBE, SMALL, MOST_BLOCKS = 8, 0.1, 1024
"""A plan asks networks of so many blocks first, looks for a shift that is so small a share of what
is asked for, and goes no deeper than this."""

PROFILES = {"depth_profile", "rms_depth_profile", "depth_profile_error", "rms_depth_profile_error"}


class DepthShift(NamedTuple):
    """f_L − f `(time, input, channel)` and its error: 95 % for units, and bounds for the rest."""

    value: np.ndarray
    error: np.ndarray

    @property
    def rms(self) -> np.ndarray:
        """The RMS over outputs at every time."""
        return np.sqrt((self.value**2).mean(axis=(1, 2)))


def by_depth(problem: Problem) -> list[Problem]:
    """The problem of networks of each depth, which they scatter around; one where all are alike."""
    settings, network = problem.networks, problem.network
    assert settings is not None
    found: list[tuple[Architecture, list[tuple[int, ...]]]] = []
    for widths in settings.layer_widths(network):
        own = network.as_deep_as(widths)
        shapes = next((shapes for known, shapes in found if known == own), None)
        if shapes is None:
            found.append((own, [widths]))
        else:
            shapes.append(widths)
    if len(found) == 1 and found[0][0] == network:
        return [problem]
    return [_with(problem, *shapes) for _, shapes in found]


def in_order(problem: Problem, depths: Sequence[Problem], parts: Sequence[Any]) -> Any:
    """What is known at each depth, along `width`, in the order of the problem's networks."""
    if len(parts) == 1:
        return parts[0]
    whole = xr.concat(
        parts, "width", data_vars="all", coords="different", compat="equals", combine_attrs="drop"
    )
    there = [shape for own in depths for shape in _shapes(own)]
    return whole.isel(width=[there.index(shape) for shape in _shapes(problem)])


def _shapes(problem: Problem) -> tuple[tuple[int, ...], ...]:
    """The sizes of a problem's networks."""
    assert problem.networks is not None
    return problem.networks.layer_widths(problem.network)


def together(
    problem: Problem, depths: Sequence[Problem], parts: Sequence[xr.Dataset]
) -> xr.Dataset:
    """What was predicted at each depth as one dataset, in the order of the problem's networks.

    Profiles in depth are those of the deepest networks.
    """
    if len(parts) == 1:
        return parts[0]
    deepest = max(parts, key=lambda part: int(part["depth"].max()))
    own = [part.drop_vars([*PROFILES, "depth_node", "signal"], errors="ignore") for part in parts]
    whole = in_order(problem, depths, own)
    signal = max(float(part.signal) for part in parts)
    kept = {name: deepest[name] for name in PROFILES & set(deepest)}
    return whole.assign(signal=signal, **kept).assign_attrs(_facts(parts))


def _facts(parts: Sequence[xr.Dataset]) -> dict:
    """How the predictions at several depths came about, the worst of each."""
    each = [part.attrs for part in parts]
    notes = [note for own in each for note in json.loads(own["warnings"])]
    worst = {
        "error": max(own["error"] for own in each),
        "met": min(own["met"] for own in each),
        "replicates": min(own["replicates"] for own in each),
        "warnings": json.dumps(list(dict.fromkeys(notes))),
    }
    largest = {
        name: np.max([own[name] for own in each], axis=0).tolist() for name in ("nodes", "points")
    }
    return {**each[0], **worst, **largest}


def shifted(
    problem: Problem, depths: Sequence[Problem], found: xr.Dataset, progress: bool | None
) -> xr.Dataset:
    """Predicted fluctuations with what the depth of networks does to their mean.

    `depth_shift (width, time, input, channel)`, its RMS over outputs `rms_depth_shift (width,
    time)`, and their errors.
    """
    rows = {shape: row for row, shape in enumerate(_shapes(problem))}
    scatter = found.rms_std.isel(time=-1).values
    beside = [min(scatter[rows[shape]] for shape in _shapes(own)) for own in depths]
    each = shifts(problem, depths, beside, progress)
    by_shape = {s: own for part, own in zip(depths, each, strict=True) for s in _shapes(part)}
    dims = ("width", "time", "input", "channel")
    told = {
        name: (dims, np.stack([values(by_shape[shape]) for shape in rows]))
        for name, values in (
            ("depth_shift", lambda own: own.value),
            ("depth_shift_error", lambda own: own.error),
        )
    }
    found = found.assign(told)
    for name in told:
        found[f"rms_{name}"] = rms_over_outputs(found[name])
    return found


def shifts(
    problem: Problem, depths: Sequence[Problem], beside: Sequence[float], progress: bool | None
) -> list[DepthShift]:
    """How far networks of each depth are from the problem's limit, however wide they are.

    `beside` is the RMS scatter that each is held against: a shift need not be known better.
    Depths are those of the problems' networks.
    Raises `Diverged`.
    """
    deep = problem.model_copy(update={"network": problem.network.as_deep_as(None)})
    most = max(int(own.network.table["depth"]) for own in depths)
    with engine(deep, "depth", progress, "float64") as work:  # differences are small
        count = 2 ** math.ceil(math.log2(max(UNITS, EACH * most)))
        design = work.first_design()
        design = design.with_counts([max(count, own) for own in design.counts])
        seen = _Seen(work, design, [model_of(own) for own in depths], model_of(problem))
        found = seen.shifts(SCRAMBLES[0])
        for scrambles in SCRAMBLES[1:]:
            apart = [np.sqrt(np.mean(own.error[-1] ** 2)) for own in found]
            sizes = [math.hypot(own.rms[-1], std) for own, std in zip(found, beside, strict=True)]
            if all(a <= KNOWN * size for a, size in zip(apart, sizes, strict=True)):
                break
            found = seen.shifts(scrambles)
    return found


class AtDepth(NamedTuple):
    """A problem with networks of one depth, which shifts them so far (RMS over outputs)."""

    problem: Problem
    shift: float
    error: float

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """The sizes of its networks."""
        return _shapes(self.problem)


def candidates(problem: Problem, rms: float, progress: bool | None) -> list[AtDepth]:
    """Depths at which networks can be within `rms` of a limit, observed at one time.

    Where the limit is infinitely deep: powers of two from the first that is near enough to the
    first at which the shift counts for less than a hundredth. Else that of the first networks.
    """
    (first, *_), network = _shapes(problem), problem.network
    if not model_of(problem).deep:
        depths = [_with(problem, first)]
        if depths[0].network == network:
            return [AtDepth(depths[0], 0.0, 0.0)]
    else:
        probe = shifts(problem, [_with(problem, (PROBE, first[1]))], [rms], progress)[0]
        ratio = max(PROBE * float(probe.rms[-1]) / rms, 1.0)
        powers = range(math.ceil(math.log2(ratio)), math.ceil(math.log2(ratio / SMALL)) + 1)
        blocks = sorted({min(2**power, MOST_BLOCKS) for power in powers})
        depths = [_with(problem, (count, first[1])) for count in blocks]
    found = [
        AtDepth(own, float(shift.rms[-1]), float(np.sqrt(np.mean(shift.error[-1] ** 2))))
        for own, shift in zip(
            depths, shifts(problem, depths, [rms] * len(depths), progress), strict=True
        )
    ]
    return [own for own in found if own.shift < rms] or found[-1:]


def _with(problem: Problem, *shapes: tuple[int, ...]) -> Problem:
    """The problem of networks of these widths, of one depth, which they scatter around."""
    settings = problem.networks
    assert settings is not None
    settings = settings.model_copy(update={"shapes": shapes, "widths": None})
    network = problem.network.as_deep_as(shapes[0])
    return problem.model_copy(update={"network": network, "networks": settings})


class _Seen:
    """Outputs `(scramble, time, input, channel)` at every depth from the same units."""

    def __init__(self, work: Engine, design: Design, depths: Sequence[Model], limit: Model):
        self.work, self.design, self.depths, self.limit = work, design, depths, limit
        self.outputs: list[list[np.ndarray]] = [[] for _ in (limit, *depths)]

    def shifts(self, scrambles: int) -> list[DepthShift]:
        """The shifts that so many scrambles tell."""
        for number in range(len(self.outputs[0]), scrambles):
            for own, model in zip(self.outputs, (self.limit, *self.depths), strict=True):
                own.append(self.seen(model, number, STEPS))
        first, *others = (np.stack(own) for own in self.outputs)
        pairs = zip(others, self.bounds, strict=True)
        return [
            DepthShift((own - first).mean(axis=0), replicate_half_width(own - first) + bound)
            for own, bound in pairs
        ]

    @cached_property
    def bounds(self) -> list[np.ndarray]:
        """What steps in time make of the shifts of every depth, and depth nodes of the limit."""
        halved, first = STEPS._replace(halved=True), self.outputs[0][0]
        denser = self.seen(self.limit, 0, STEPS, 2 * DENSE) if self.limit.deep else first
        finer = self.seen(self.limit, 0, halved)
        return [
            step_error(first, denser)
            + step_error(own[0] - first, self.seen(model, 0, halved) - finer)
            for model, own in zip(self.depths, self.outputs[1:], strict=True)
        ]

    def seen(self, model: Model, scramble: int, steps: Steps, dense: int = DENSE) -> np.ndarray:
        """Observed outputs with the units of one scramble, cut as the model asks."""
        work, design = self.work, self.design.replicate(scramble)
        start = work.started(model, design.nodes(work.problem.seed, work.layers), dense)
        values = work.run(design, steps, seen_of_limit, start).seen["outputs"]
        return values[:, work.system.view("observed")]
