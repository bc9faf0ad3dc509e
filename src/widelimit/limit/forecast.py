"""What a limit takes, from the first seconds of its first run."""

from widelimit.basics.tasks import Task
from widelimit.basics.words import sizes_in_words
from widelimit.limit.budget import Budget, with_functionals
from widelimit.limit.measured.measurement import NARROWEST, PILOT, STEPS_SHARE
from widelimit.limit.measured.sample import Sampler
from widelimit.motion.engine import Engine, Steps, engine
from widelimit.motion.flow import COPIES
from widelimit.motion.moments import seconds_of
from widelimit.networks.course import GROUP_BYTES
from widelimit.networks.price import seconds_each
from widelimit.networks.room import COPIES as COPIES_OF_NETWORKS
from widelimit.nodes.design import Design
from widelimit.nodes.reduction import reduced
from widelimit.nodes.refinement import REPLICATES
from widelimit.problem.problem import Problem

ENOUGH = 3.0
"""A run is timed for so many seconds, once it is compiled, or to its end."""

TIMED = 3
"""Steps and halved steps together take about so many times a run."""


def forecast_limit(problem: Problem) -> Task:
    """The first nodes of a problem's limit, and what solving on them takes.

    More nodes, or more replicates, may turn out to be needed: that is known after the first level.
    Raises `ProblemError` if memory or nodes do not suffice to begin with.
    """
    problem.require_limit()
    if problem.measured:
        return _of_pilot(problem)
    with engine(reduced(problem), "limit", False) as work:
        work = with_functionals(work)
        Budget(work).refuse_too_small()
        design = Budget(work).first([choices[0] for choices in work.candidates])
        steps = Steps(max(problem.limit.tolerance / 100, 1e-10))
        sizes = design.sizes[: work.layers]
        method, _ = work.means(sizes, steps.tolerance)
        copies = COPIES[type(method)]
        at_once = work.at_once(work.sizes(design), steps)
        each = work.memory.needed(sizes, copies, work.memory.points_at_once(sizes, copies))
        seconds, nodes = _seconds_of_run(work, design, steps), f"{sizes_in_words(sizes)} nodes"
    if not design.random:
        return Task("limit", f"{nodes}, exact", each, TIMED * seconds)
    runs = TIMED + (REPLICATES[0] - 1) / at_once
    details = f"{nodes} to begin with, {REPLICATES[0]} replicates"
    return Task("limit", details, at_once * each, runs * seconds, grows=True)


def _of_pilot(problem: Problem) -> Task:
    """The first networks of a limit that is measured; how many more are needed they will tell."""
    sampler = Sampler.of(problem, STEPS_SHARE * problem.limit.tolerance)
    widths, each = list(map(sampler.widths, NARROWEST)), PILOT * (1 + sampler.mirrored)
    seconds = sum(each * seconds_each(sampler.problem, shape) for shape in widths)
    names = ", ".join(map(problem.network.name, widths))
    held = COPIES_OF_NETWORKS * GROUP_BYTES
    details = f"measured: {each} networks of each width ({names}) to begin with"
    return Task("limit", details, held, seconds, grows=True)


def _seconds_of_run(work: Engine, design: Design, steps: Steps) -> float:
    """What one run takes when all is compiled, if time goes on as in its first seconds."""
    method, system = work.means(design.sizes[: work.layers], steps.tolerance)
    system = work.on_data(system, design).finer(steps.inside)
    reached = [0.0]
    way = work.carrier.path(method, system, steps.tolerance, design.scrambles, told=reached.append)
    seconds = seconds_of(way, work.placed(design), ENOUGH)
    horizon = float(work.problem.times[-1])
    return seconds * horizon / reached[-1] if reached[-1] > 0 else seconds
