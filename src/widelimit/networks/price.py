"""What networks take, and what they would tell in the seconds of a prediction."""

import math
from typing import NamedTuple

from scipy.special import ndtri

from widelimit.basics.compiled import make_room
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import progress
from widelimit.basics.tasks import Task
from widelimit.ensemble.system import System
from widelimit.motion.moments import seconds_of
from widelimit.networks.course import GROUP_BYTES, Course
from widelimit.networks.room import COPIES, numbers_held, refuse_impossible, refuse_impossible_pairs
from widelimit.networks.sampled import drawn, groups_of
from widelimit.problem.problem import Problem

SEEDS = 20
"""So many networks are timed: they train side by side."""

ENOUGH = 1.5
"""A part of the training is timed that takes so many seconds, or all of it."""


class Rival(NamedTuple):
    """Networks of one shape that train in the seconds that a prediction took.

    So many `networks` tell the RMS scatter of the outputs with the relative error `error` (95 %).
    """

    name: str
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
    name, networks = problem.network.name(widths), seconds / seconds_each(problem, widths)
    if networks < 2:
        return Rival(name, widths, networks, math.inf)
    error = float(ndtri(0.975)) / math.sqrt(2 * (networks - 1) * effective_outputs)
    return Rival(name, widths, networks, error)


def forecast_networks(problem: Problem) -> list[Task]:
    """What training a problem's networks takes, width by width; a part of it is timed.

    Raises `ProblemError` if no machine trains them.
    """
    refuse_impossible(problem)
    assert problem.networks is not None
    shapes, seeds = problem.networks.layer_widths(problem.network), problem.networks.seeds
    return [_task("networks", problem, widths, seeds, "seeds") for widths in shapes]


def forecast_bias(problem: Problem, pairs: int) -> list[Task]:
    """What training pairs of networks and their unions takes; a part of it is timed.

    A union has twice the neurons, and takes twice the steps of a half. Raises `ProblemError` if no
    machine trains them.
    """
    refuse_impossible_pairs(problem, pairs)
    assert problem.networks is not None
    unions = 8.0 if problem.network.depths_of_rates > 1 else 4.0
    return [
        _task("bias", problem, widths, pairs, "pairs", 2 + unions)
        for widths in problem.networks.layer_widths(problem.network)
    ]


def _task(
    what: str, problem: Problem, widths: tuple[int, ...], count: int, of: str, work: float = 1.0
) -> Task:
    """So many networks, or pairs that are so many times the work of one network."""
    settings = problem.networks
    assert settings is not None
    itemsize = 4 if settings.precision == "float32" and what == "networks" else 8
    held = max(GROUP_BYTES, work * itemsize * numbers_held(problem, widths))
    how = "" if settings.method == "flow" else f" of {_steps(problem, widths):,} steps"
    details = f"width {problem.network.name(widths)}, {count} {of}{how}"
    return Task(what, details, int(COPIES * held), count * work * seconds_each(problem, widths))


def _steps(problem: Problem, widths: tuple[int, ...]) -> int:
    """How many steps SGD or gradient descent takes."""
    assert problem.networks is not None
    return round(problem.training.horizon / problem.networks.step_size(problem.network, widths))


def seconds_each(problem: Problem, widths: tuple[int, ...]) -> float:
    """What training one network takes among others, from its first seconds when all is compiled."""
    settings, problem = problem.networks, problem.at_width(widths)
    assert settings is not None
    make_room()
    with in_precision(settings.precision) as dtype, progress("timing", False) as shown:
        system, piece = System.of(problem, dtype), shown.piece()
        keys = groups_of(problem, system, widths, SEEDS)[0]
        start, _, data_keys = drawn(problem, system, widths, keys)
        way = Course(problem, system, widths, settings.precision).way(data_keys, piece)
        seconds = seconds_of(way, system.dynamics.started(start), ENOUGH)
        share = piece.share or 1.0  # nothing moves where no time passes
    return seconds / share / len(keys)
