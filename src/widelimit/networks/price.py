"""What networks take, and what they would tell in the seconds of a prediction."""

import math
import time
from itertools import islice
from typing import NamedTuple

import jax
from scipy.special import ndtri

from widelimit.basics.compiled import make_room
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Piece, progress
from widelimit.basics.tasks import Task
from widelimit.basics.words import shape_name
from widelimit.ensemble.system import System
from widelimit.motion.moments import Moment, Way
from widelimit.networks.course import GROUP_BYTES, Course
from widelimit.networks.drawn import drawn, groups_of
from widelimit.networks.room import COPIES, bytes_held, refuse_impossible
from widelimit.problem.problem import Problem

SEEDS = 20
"""So many networks are timed: they train side by side."""

ENOUGH = 1.5
"""A part of the training is timed that takes so many seconds, or all of it."""


class Rival(NamedTuple):
    """Networks of one shape that train in the seconds that a prediction took.

    So many `networks` tell the RMS scatter of the outputs with the relative error `error` (95 %).
    """

    widths: tuple[int, ...]
    networks: float
    error: float

    def better(self, error: float) -> bool:
        """Whether they would have told more than a prediction with this relative error."""
        return self.error < error


def rival(problem: Problem, seconds: float, effective_outputs: float) -> Rival:
    """Networks of the first width in `networks.widths`, trained for so many seconds.

    The standard deviation of n networks has the relative error 1/√(2 (n − 1)); the RMS over
    outputs is as good as so many independent ones, `effective_outputs`, make it.
    """
    assert problem.networks is not None
    widths = problem.networks.layer_widths(problem.network)[0]
    networks = seconds / seconds_each(problem, widths)
    if networks < 2:
        return Rival(widths, networks, math.inf)
    error = float(ndtri(0.975)) / math.sqrt(2 * (networks - 1) * effective_outputs)
    return Rival(widths, networks, error)


def forecast_networks(problem: Problem, pairs: int | None = None) -> list[Task]:
    """What training a problem's networks takes, or `pairs` of them with their unions (the bias).

    A part of the training is timed. Raises `ProblemError` if no machine trains them.
    """
    refuse_impossible(problem)
    settings, found = problem.networks, []
    assert settings is not None
    for widths in settings.layer_widths(problem.network):
        each = seconds_each(problem, widths)
        held = max(GROUP_BYTES, bytes_held(problem, widths))
        if pairs is None:
            count, what = settings.seeds, "networks"
        else:  # both halves, and the union: twice the neurons, and twice the steps
            count, what = pairs, "bias"
            each *= 2 + 2 * 2 ** min(2, problem.network.depth)
        how = "" if settings.method == "flow" else f" of {_steps(problem, widths):,} steps"
        details = f"width {shape_name(widths)}, {count} {'pairs' if pairs else 'seeds'}{how}"
        found.append(Task(what, details, COPIES * held, count * each))
    return found


def _steps(problem: Problem, widths: tuple[int, ...]) -> int:
    """How many steps SGD or gradient descent takes."""
    assert problem.networks is not None
    return round(problem.training.horizon / problem.networks.step_size(problem.network, widths))


def seconds_each(problem: Problem, widths: tuple[int, ...]) -> float:
    """What training one network takes among others, from its first seconds when all is compiled."""
    settings = problem.networks
    assert settings is not None
    make_room()
    with in_precision(settings.precision) as dtype, progress("timing", False) as shown:
        system, piece = System.of(problem, dtype), shown.piece()
        keys = groups_of(problem, system, widths, SEEDS)[0]
        start, _, data_keys = drawn(problem, system, widths, keys)
        way = Course(problem, system, widths, settings.precision).way(data_keys, piece)
        first = way.first(system.dynamics.started(start))
        for moment in islice(way.onward(first), 2):  # compiled; the first may be time zero
            jax.block_until_ready(moment.ensemble)
        seconds, share = _timed(way, first, piece)
    return seconds / share / len(keys) if share > 0 else 0.0


def _timed(way: Way, first: Moment, piece: Piece) -> tuple[float, float]:
    """Seconds of the first part of a way, and the share of it that they are."""
    begun = time.perf_counter()
    for moment in way.onward(first):
        jax.block_until_ready(moment.ensemble)
        if time.perf_counter() - begun > ENOUGH:
            break
    return time.perf_counter() - begun, piece.share
