"""How fluctuations are refined: scrambles of nodes and more nodes, until the tolerance is met.

See `fluctuations` for the formulas. Scrambles of the nodes tell the error that they make, and with
other random combinations in each that of combining; shorter steps tell that of time integration,
random combinations what directions leave out.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from widelimit.around.influence import FEW
from widelimit.around.spread import Spread
from widelimit.around.ways import SIGNS, Case, seconds_to_pull, spreads
from widelimit.basics.statistics import replicate_half_width, rms_over_outputs, step_error
from widelimit.basics.words import duration, sizes_in_words
from widelimit.motion.engine import Steps
from widelimit.nodes.design import Design
from widelimit.nodes.rules import Exact

REPLICATES = 4
"""How many scrambles of the nodes tell the error of a variance."""

RMS_REPLICATES = 8
"""The same for the mean over outputs, which takes little and whose combinations scatter."""

MOST_REPLICATES = 64
"""Random combinations get at most so many scrambles on the same nodes."""

DIRECTIONS = 96
"""A forecast takes many outputs to span so many directions."""

MORE_HELP = 1.8
"""With errors up to so many times the tolerance twice the scrambles will do, without more nodes."""

MOST_DOUBLINGS = 5
"""Nodes are at most so many factors of two more than rules start with."""


@dataclass(frozen=True)
class Found:
    """Variances on the scrambles of a design, and what they are compared with."""

    case: Case
    design: Design
    runs: tuple[xr.Dataset, ...]
    finer: xr.Dataset
    seconds: float
    """What one scramble of several takes."""

    @property
    def dataset(self) -> xr.Dataset:
        """Variances and standard deviations of every width with their errors."""
        return _with_errors(list(self.runs), self.finer, self.case.factor)

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


def refined(case: Case) -> Found:
    """Refine until the standard deviations are accurate enough, or sizes are used up."""
    case.engine.progress.named("fluctuations")
    if seconds := _forecast(case):
        case.engine.progress.say(
            f"{sizes_in_words(case.first.sizes)} nodes answer in about {duration(seconds)}; "
            "whether they suffice is known then"
        )
    found = _begun(case, case.first)
    while True:
        found = _with_more_scrambles(found)
        error = found.error
        if error <= case.tolerance or case.exact or found.doublings >= MOST_DOUBLINGS:
            _said(found, "done")
            return found
        wanted = found.doublings + math.ceil(math.log2(error / case.tolerance))
        design = _doubled(case.first, min(wanted, MOST_DOUBLINGS))
        grown = math.prod(design.sizes) / math.prod(found.design.sizes)
        ahead = grown * found.seconds * (len(found.runs) + 1)
        nodes = sizes_in_words(design.sizes)
        _said(found, f"next: {nodes} nodes, about {duration(ahead)}")
        found = _begun(case, design)


def _forecast(case: Case) -> float:
    """Seconds that the answer takes on the first nodes, from what one pull-back takes."""
    each, times = seconds_to_pull(case, case.first), len(case.engine.problem.times)
    whole = each * times * (times - 1) / 2
    count, outputs = _fewest(case, case.first), case.engine.system.observed_outputs
    swept = 0.0
    if not case.rms and outputs > FEW:
        swept = each * times * min(outputs, DIRECTIONS) / (case.count + 1)
    return (count + 2) * whole + count * swept


def _fewest(case: Case, design: Design) -> int:
    """The fewest scrambles that tell an error."""
    if case.combines(design):
        return RMS_REPLICATES
    return 1 if case.exact else REPLICATES


def _said(found: Found, then: str) -> None:
    """Tell whoever waits how accurate the answer is by now."""
    nodes, count = sizes_in_words(found.design.sizes), len(found.runs)
    found.case.engine.progress.say(
        f"{nodes} nodes, scrambled {count} times, know standard deviations to {found.error:.1%} "
        f"({found.case.tolerance:g} is asked for); {then}"
    )


def _doubled(first: Design, doublings: int) -> Design:
    """So many times doubled nodes of all rules that are not exact."""
    pairs = zip(first.rules, first.counts, strict=True)
    return first.with_counts(
        [n if isinstance(rule, Exact) else n * 2**doublings for rule, n in pairs]
    )


def _begun(case: Case, design: Design) -> Found:
    """The fewest scrambles that tell an error, the first of them with halved steps too."""
    work, count = case.engine, _fewest(case, design)
    work.progress.named(f"fluctuations: {sizes_in_words(design.sizes)} nodes")
    work.progress.expect(count + 1)
    finer = _compared(case, spreads(case, design, halved=True))
    first = _unit_variances(case, spreads(case, design))
    started = time.perf_counter()  # all is compiled
    rest = _scrambled(case, design, range(1, count))
    seconds = (time.perf_counter() - started) / max(1, len(rest))
    return Found(case, design, (first, *rest), finer, seconds)


def _with_more_scrambles(found: Found) -> Found:
    """As many more scrambles as reach the tolerance, where more nodes are not needed for that."""
    case, error = found.case, found.error
    missing = error / case.tolerance
    if not found.random or missing <= 1:
        return found
    count = 2 * len(found.runs) if missing <= MORE_HELP else len(found.runs)
    if case.combines(found.design) and (case.exact or _share_of_signs(found) > 0.5):
        wanted = len(found.runs) * 2 ** math.ceil(2 * math.log2(missing))
        count = min(wanted, MOST_REPLICATES)
    more = count - len(found.runs)
    if more <= 0:
        return found
    case.engine.progress.expect(more)
    _said(found, f"{more} more scrambles, about {duration(more * found.seconds)}")
    rest = _scrambled(case, found.design, range(len(found.runs), count))
    return replace(found, runs=(*found.runs, *rest))


def _share_of_signs(found: Found) -> float:
    """How much of the variance between scrambles comes of their random combinations."""
    each = xr.concat([run.compared for run in found.runs], "replicate")
    total = (found.case.factor * each).sum("source")
    inside = total.var("combination", ddof=1).mean("replicate") / SIGNS
    between = total.mean("combination").var("replicate", ddof=1)
    return float((inside / between.where(between > 0, np.inf)).mean())


def _scrambled(case: Case, design: Design, scrambles: Sequence[int]) -> list[xr.Dataset]:
    """Variances for unit noise with these scrambles of the nodes, side by side."""
    if not scrambles:
        return []
    work, steps = case.engine, Steps(case.step_tolerance)

    def one(scramble: int) -> xr.Dataset:
        return _unit_variances(case, spreads(case, design.replicate(scramble)))

    return work.side_by_side(work.sizes(design), steps, one, scrambles)


def _unit_variances(case: Case, found: Sequence[Spread]) -> xr.Dataset:
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
    if not case.rms:
        each = over_time(lambda s: s.variance, *pairs)
        variables["variance"] = (("source", "time", *outputs), each)
    if case.covariance:
        both = over_time(lambda s: s.covariance, len(found[0].along) // pairs[1], pairs[1], *pairs)
        dims = ("source", "time", *outputs, "other_input", "other_channel")
        variables["covariance"] = (dims, both)
    coordinates = {
        "source": case.sources, "other_source": case.sources,
        "time": case.engine.problem.times, "channel": case.channels,
    }  # fmt: skip
    labelled = xr.Dataset(variables, coordinates).sel(source=case.used, other_source=case.used)
    return labelled.assign(_compared(case, found))


def _compared(case: Case, found: Sequence[Spread]) -> xr.Dataset:
    """What shorter steps are judged by."""
    dims = ("source", "time")
    variables = {
        "compared": ((*dims, "combination"), np.stack([s.compared for s in found], 1)),
        "risk_variance": (dims, np.stack([s.risk for s in found], 1)),
    }
    return xr.Dataset(variables, {"source": case.sources}).sel(source=case.used)


def _with_errors(found: list[xr.Dataset], finer: xr.Dataset, factor: xr.DataArray) -> xr.Dataset:
    """Variances and standard deviations for every width, and their errors.

    `found` are those of the scrambles of the nodes, `finer` compares the first with shorter steps.
    """
    replicates, first = xr.concat(found, "replicate"), found[0]
    change = (step_error(first.compared, finer.compared) ** 2).sum("combination") ** 0.5
    size = (first.compared**2).sum("combination") ** 0.5
    relative = change / size.where(size > 0, 1.0) + replicates.missed.max("replicate")
    bounds = {
        "rms_variance": relative * replicates.rms_variance.mean("replicate"),
        "risk_variance": step_error(first.risk_variance, finer.risk_variance),
    }
    if "variance" in replicates:
        bounds["variance"] = relative * replicates.variance.mean("replicate")
    made: dict[str, xr.DataArray] = {"factor": factor}
    for name, bound in bounds.items():
        made |= _described(name, replicates[name], bound, factor)
    made["signal"] = replicates.signal.mean("replicate")
    made["overlap"] = replicates.overlap.mean("replicate")
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
