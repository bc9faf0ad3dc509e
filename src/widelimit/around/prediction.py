"""How fluctuations are refined: scrambles of nodes and more nodes, until the tolerance is met.

See `fluctuations` for the formulas and `variances` for the errors. Where every one of many outputs
is asked for, a few random combinations of them are first pulled back on few nodes: that takes
little, and tells how many nodes and scrambles will do.
"""

import itertools
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import xarray as xr
from threadpoolctl import threadpool_limits

from widelimit.around.variances import (
    change,
    relative_error,
    scatter,
    unit_variances,
    with_errors,
)
from widelimit.around.ways import Case, seconds_to_pull, spreads
from widelimit.basics.statistics import half_width
from widelimit.basics.words import duration, sizes_in_words
from widelimit.motion.engine import Steps
from widelimit.nodes.design import Design
from widelimit.nodes.rules import Exact

REPLICATES = 4
"""How many scrambles of the nodes tell the error of a variance, at least."""

COUNTS = (4, 6, 8, 12, 16, 24, 32, 48, 64)
"""So many there may be."""

DIRECTIONS = 160
"""A forecast takes many outputs to span so many directions."""

MOST_DOUBLINGS = 5
"""Nodes are at most so many factors of two more than rules start with."""

FALLS = 0.75
"""Nodes' scatter is forecast to fall with this power of their number: measured between one and a
half (120 rows of three inputs)."""

SAFETY = 0.9
"""Forecasts aim at this share of the tolerance."""

NEARLY = 1.2
"""An error so many times the least is as good where none suffices: steps may make most of it."""

GROWS = 1.2
"""Work is forecast to grow with this power of the number of nodes, caches being small."""


@dataclass(frozen=True)
class Found:
    """Variances on the scrambles of a design, and what steps make of them."""

    case: Case
    design: Design
    runs: tuple[xr.Dataset, ...]
    changed: xr.Dataset
    seconds: float
    """What one scramble of several takes."""

    @property
    def pilot(self) -> bool:
        """Whether only random combinations are known where every output is asked for."""
        return not self.case.rms and "variance" not in self.runs[0]

    @cached_property
    def apart(self) -> xr.Dataset:
        """The scatter of scrambles, and of combinations where each scramble has its own."""
        return scatter(self.runs, self.case.factor, self.case.combines(self.design))

    @property
    def dataset(self) -> xr.Dataset:
        """Variances and standard deviations of every width with their errors."""
        return with_errors(self.runs, self.changed, self.apart, self.case.factor)

    @property
    def error(self) -> float:
        """The largest, over widths and times, relative error of standard deviations."""
        return relative_error(self.dataset)

    @property
    def random(self) -> bool:
        """Whether scrambles differ."""
        return not self.case.exact or self.case.combines(self.design)

    @property
    def doublings(self) -> int:
        """How often the nodes that rules start with have been doubled."""
        pairs = zip(self.design.counts, self.case.first.counts, strict=True)
        return max(round(math.log2(now / first)) for now, first in pairs)


@dataclass(frozen=True)
class Level:
    """Nodes doubled so often, and so many scrambles of them."""

    doublings: int
    replicates: int


def refined(case: Case) -> Found:
    """Refine until the standard deviations are accurate enough, or sizes are used up."""
    with threadpool_limits(1, "blas"):  # threads for small matrices hinder each other
        return _refined(case)


def _refined(case: Case) -> Found:
    progress = case.engine.progress
    progress.named("fluctuations")
    if seconds := forecast(case):
        progress.say(
            f"{sizes_in_words(case.first.sizes)} nodes answer in about {duration(seconds)}; "
            "whether they suffice is known then"
        )
    found = _begun(case)
    while (level := _next(found)) is not None:
        ahead = duration(found.seconds * _work(found, level))
        nodes = sizes_in_words(_doubled(case, level.doublings).sizes)
        _said(found, f"next: {nodes} nodes, {level.replicates} scrambles, about {ahead}")
        found = _carried_out(found, level)
    _said(found, "done")
    return found


def forecast(case: Case) -> float:
    """Seconds that the answer takes on the first nodes, from what one pull-back takes."""
    each, times = seconds_to_pull(case, case.first), len(case.engine.problem.times)
    whole = each * times * (times - 1) / 2
    count = _fewest(case)
    return (count + 2) * whole + (count * _swept(case) * whole if case.sweeps(case.first) else 0.0)


def _swept(case: Case) -> float:
    """How many times as long a sweep of all outputs takes as pulling combinations from all times.

    The latter go back from each time, so to say to the half of them on average.
    """
    times, outputs = len(case.engine.problem.times), case.engine.system.observed_outputs
    return 2 * min(outputs, DIRECTIONS) / ((case.count + 1) * max(1, times - 1))


def _fewest(case: Case) -> int:
    """The fewest scrambles that tell an error."""
    return 1 if case.exact and not case.combines(case.first) else REPLICATES


def _said(found: Found, then: str) -> None:
    """Tell whoever waits how accurate the answer is by now."""
    nodes, count = sizes_in_words(found.design.sizes), len(found.runs)
    what = "would know" if found.pilot else "know"
    error = _ahead(found, Level(found.doublings, count)) if found.pilot else found.error
    found.case.engine.progress.say(
        f"{nodes} nodes, scrambled {count} times, {what} standard deviations to {error:.1%} "
        f"({found.case.tolerance:g} is asked for); {then}"
    )


def _doubled(case: Case, doublings: int) -> Design:
    """So many times doubled nodes of all rules that are not exact."""
    first = case.first
    pairs = zip(first.rules, first.counts, strict=True)
    return first.with_counts(
        [n if isinstance(rule, Exact) else n * 2**doublings for rule, n in pairs]
    )


def _begun(case: Case) -> Found:
    """The fewest scrambles of the first nodes, the first of them with halved steps too."""
    work, design, count = case.engine, case.first, _fewest(case)
    work.progress.named(f"fluctuations: {sizes_in_words(design.sizes)} nodes")
    work.progress.expect(count + 1)
    finer = spreads(case, design, combined=True, halved=True)
    first = spreads(case, design, combined=case.sweeps(design))
    changed, own = change(case, first, finer), unit_variances(case, first)
    rest, seconds = _scrambled(case, design, range(1, count), case.sweeps(design))
    seconds *= 1 + _swept(case) if case.sweeps(design) else 1.0
    return Found(case, design, (own, *rest), changed, seconds)


def _next(found: Found) -> Level | None:
    """The cheapest nodes and scrambles that are forecast to suffice; None if nothing is missing.

    If none do, the cheapest that come about as near as any; None again if there are no more.
    """
    case, have = found.case, 0 if found.pilot else len(found.runs)
    if have and (found.error <= case.tolerance or not found.random):
        return None
    most = 0 if case.exact else MOST_DOUBLINGS - found.doublings
    counts = COUNTS if found.random else [1]
    levels = [
        Level(found.doublings + more, count)
        for more, count in itertools.product(range(most + 1), counts)
        if more > 0 or count > have
    ]
    ahead = {level: _ahead(found, level) for level in levels}
    nearest = NEARLY * min(ahead.values(), default=0.0)
    enough = [own for own, error in ahead.items() if error <= max(SAFETY * case.tolerance, nearest)]
    return min(enough, key=lambda level: _work(found, level), default=None)


def _work(found: Found, level: Level) -> float:
    """How many scrambles of the nodes at hand take as long as what is still to be done."""
    more = level.doublings - found.doublings
    there = 0 if more or found.pilot else len(found.runs)
    return 2 ** (GROWS * more) * (level.replicates - there)


def _ahead(found: Found, level: Level) -> float:
    """The forecast relative error of standard deviations, the largest over widths and times."""
    apart, more = found.apart, level.doublings - found.doublings
    falls = 2 ** (-2 * FALLS * more)
    spread = half_width(1.0, level.replicates) if level.replicates > 1 else 0.0
    each = xr.concat(found.runs, "replicate")
    own = each.rms_variance.mean("replicate")
    total = (found.case.factor * own).sum("source")
    part = found.case.factor * own / total.where(total > 0, 1.0)
    kept = (part * (found.changed.outputs + each.missed.max("replicate"))).sum("source")
    nodes = spread * (falls * apart.nodes + apart.signs) ** 0.5 + falls * apart.bias
    return float((nodes + kept).max()) / 2  # of a standard deviation half that of a variance


def _carried_out(found: Found, level: Level) -> Found:
    """The variances on these nodes and scrambles."""
    case, design = found.case, _doubled(found.case, level.doublings)
    kept = found.runs if not found.pilot and level.doublings == found.doublings else ()
    case.engine.progress.named(f"fluctuations: {sizes_in_words(design.sizes)} nodes")
    case.engine.progress.expect(level.replicates - len(kept))
    rest, seconds = _scrambled(case, design, range(len(kept), level.replicates))
    return Found(case, design, (*kept, *rest), found.changed, seconds)


def _scrambled(
    case: Case, design: Design, scrambles: Sequence[int], combined: bool = False
) -> tuple[list[xr.Dataset], float]:
    """Variances for unit noise with these scrambles of the nodes, side by side; seconds of one."""
    if not scrambles:
        return [], 0.0
    work, steps = case.engine, Steps(case.step_tolerance)

    def one(scramble: int) -> xr.Dataset:
        return unit_variances(case, spreads(case, design.replicate(scramble), combined=combined))

    started = time.perf_counter()
    found = work.side_by_side(work.sizes(design), steps, one, scrambles)
    return found, (time.perf_counter() - started) / len(scrambles)
