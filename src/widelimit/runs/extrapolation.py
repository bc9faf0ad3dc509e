"""`extrapolate`: metrics of runs of several widths, from anywhere, at infinite width.

See `line` for the regression. A metric at infinite width is told where the model E y_n = y_∞ + B/n
is not refused by the data, see `adequacy`.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from widelimit.basics.progress import progress as progress_of
from widelimit.basics.words import as_json, counted
from widelimit.results import questions
from widelimit.runs.adequacy import judged
from widelimit.runs.line import FEWEST_WIDTHS, Means, least_scatter
from widelimit.runs.table import Given, Runs, read_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHARES = {"10%": 0.1, "3%": 0.03, "1%": 0.01}
"""Widths are told at which a network is within these shares of infinite width."""


@dataclass(frozen=True)
class Extrapolated:
    """One metric, at one step and learning rate, at infinite width.

    `infinite` with its 95 % interval `low … high`, which holds the `model_error` too: what the
    model leaves out, as far as it is seen. `slope` is B of y_n = y_∞ + B/n with 95 % half-width
    `slope_error`, `scatter` is n·Var of one run. `width_for` tells from which width on one run is
    within a share of `infinite` (RMS: bias and scatter together). `adequate`: whether the model is
    not refused and told apart from n^(−1/2); None if that cannot be told. `exponent` is the fit
    with a free power. What is not known is NaN (null in files), and `why` says so.
    """

    metric: str
    place: dict[str, Any]
    widths: tuple[int, ...]
    counts: tuple[int, ...]
    means: tuple[float, ...]
    errors: tuple[float, ...]
    why: str
    infinite: float = math.nan
    low: float = math.nan
    high: float = math.nan
    model_error: float = math.nan
    slope: float = math.nan
    slope_error: float = math.nan
    scatter: float = math.nan
    width_for: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(SHARES))
    adequate: bool | None = None
    misfit: float = math.nan
    exponent: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The entry of extrapolation.json."""
        own = {**self.place, **asdict(self)}
        del own["place"]
        return as_json(own)

    @property
    def known(self) -> bool:
        """Whether there is a value at infinite width."""
        return math.isfinite(self.infinite)

    @property
    def named(self) -> str:
        """The metric, and where it is looked at."""
        said = ", ".join(
            f"{key.replace('_', ' ')} {at(value)}" for key, value in self.place.items()
        )
        return f"{self.metric} at {said}" if said else self.metric


@dataclass(frozen=True)
class Extrapolation:
    """Metrics of runs at infinite width, `entries` by metric, step and learning rate."""

    runs: Runs
    entries: tuple[Extrapolated, ...]

    @property
    def met(self) -> bool:
        """Whether every value asked for is known, and no model was refused."""
        return all(e.known and e.adequate is not False for e in self.entries)

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return [*self.runs.notes, *_unbalanced(self.runs)]

    def of(self, metric: str) -> list[Extrapolated]:
        """The entries of one metric."""
        return [entry for entry in self.entries if entry.metric == metric]

    def last(self, metric: str) -> list[Extrapolated]:
        """The last entry of a metric by every label: the last step, the largest learning rate."""
        names = self.runs.labels
        found = {tuple(entry.place[name] for name in names): entry for entry in self.of(metric)}
        return list(found.values())

    @property
    def dataset(self) -> xr.Dataset:
        """The numbers by metric, and by step and learning rate where they are there."""
        names = (
            "infinite", "low", "high", "model_error", "slope", "slope_error", "scatter", "misfit"
        )  # fmt: skip
        rows = [
            {"metric": e.metric, **e.place}
            | {name: getattr(e, name) for name in names}
            | {"adequate": -1 if e.adequate is None else int(e.adequate)}
            for e in self.entries
        ]
        index = ["metric", *self.runs.by]
        found = pd.DataFrame(rows).set_index(index).to_xarray()
        said = "1: the model serves, 0: it is refused, -1: that cannot be told"
        found["adequate"].attrs["meaning"] = said
        warnings = json.dumps(self.warnings)
        return found.assign_attrs(kind="extrapolation", source=self.runs.source, warnings=warnings)

    def as_dict(self) -> dict[str, Any]:
        """The content of extrapolation.json: entries by metric."""
        return {name: [e.as_dict() for e in self.of(name)] for name in self.runs.metrics}

    def plot(self, ax: "Axes | None" = None, metric: str | None = None) -> "Axes":
        """Draw the last entry of a metric (default: the first) against 1/n."""
        entry = self.of(metric or self.runs.metrics[0])[-1]
        return questions.pictures_of_runs().draw_extrapolation(entry, self, ax)

    def values_of(self, entry: Extrapolated) -> dict[int, np.ndarray]:
        """The runs of an entry by width."""
        own = self.runs.table
        for key, value in entry.place.items():
            own = own.loc[own[key] == value]
        return _by_width(own, entry.metric)

    def __repr__(self) -> str:
        return "<Extrapolation: " + "; ".join(map(in_words, self.entries[:3])) + ">"


def extrapolate(
    runs: "Given | Runs", *, metrics: Sequence[str] | None = None, progress: bool | None = None
) -> Extrapolation:
    """What metrics of runs of several widths come to at infinite width, with 95 % intervals.

    `runs`: a table with the columns `width`, `seed`, optionally `step` or `time` and
    `learning_rate`, and metrics (csv, netCDF, DataFrame, Dataset, columns); see `read_runs`.
    The model is E y_n = y_∞ + B/n, Var y_n = V/n (equations.md §4); see `Extrapolated` for what is
    told, and when it is refused: below three widths, without seeds, where a run diverged, where a
    metric is constant, or where the model does not fit.

    Raises `ProblemError` for tables that cannot be read.

    >>> rng = np.random.default_rng(1)
    >>> width = np.repeat([32, 64, 128, 256], 8)
    >>> loss = 0.3 + 40 / width + rng.normal(size=32) * (0.01 / width) ** 0.5
    >>> seed = np.tile(np.arange(8), 4)
    >>> (entry,) = extrapolate({"width": width, "seed": seed, "loss": loss}).entries
    >>> entry.adequate, entry.low < 0.3 < entry.high
    (True, True)
    """
    checked = read_runs(runs, metrics)
    groups = checked.groups()
    with progress_of("extrapolate", progress, len(groups) * len(checked.metrics)) as told:
        found = []
        for metric in checked.metrics:
            for place, rows in groups:
                found.append(_entry(metric, place, rows))
                told.piece().at(1.0, metric)
    return Extrapolation(checked, tuple(found))


def at(value: Any) -> str:
    """A key's value as it is told: a number, or a word."""
    return value if isinstance(value, str) else f"{value:g}"


def in_words(entry: Extrapolated) -> str:
    """One entry as a sentence."""
    if not entry.known:
        return f"{entry.named}: {entry.why}"
    value = f"{entry.infinite:.5g} ({entry.low:.5g} … {entry.high:.5g})"
    return f"{entry.named} at infinite width: {value}; {entry.why}"


def _entry(metric: str, place: dict[str, Any], rows: pd.DataFrame) -> Extrapolated:
    """What the runs of one step and learning rate say about a metric."""
    runs = _by_width(rows, metric)
    widths, values = list(runs), list(runs.values())
    known = Extrapolated(
        metric, place, tuple(widths), tuple(map(len, values)),
        tuple(float(v.mean()) for v in values), tuple(map(_standard_error, values)),
        "",
    )  # fmt: skip
    if reason := _refused(rows, metric, widths, values):
        return replace(known, why=reason)
    return _fitted(known, Means.of(widths, values))


def _refused(
    rows: pd.DataFrame, metric: str, widths: list[int], values: list[np.ndarray]
) -> str | None:
    """Why nothing can be said about infinite width, if so."""
    broken = rows[rows[metric].isna()]
    if len(broken):
        first = broken.iloc[0]
        return (
            f"{counted(len(broken), 'run')} diverged or lack a value (width {first['width']:g}, "
            f"seed {first['seed']:g} first): a mean without them would be of those that went well; "
            "leave that width out, or lower the learning rate"
        )
    if len(widths) < FEWEST_WIDTHS:
        return f"needs at least {FEWEST_WIDTHS} widths, found {len(widths)}"
    if max(map(len, values)) < 2:
        return _without_seeds(widths, [float(v[0]) for v in values])
    if np.ptp(np.concatenate(values)) == 0:
        return f"is {values[0][0]:g} in all runs: there is nothing to extrapolate"
    return None


def _without_seeds(widths: list[int], values: list[float]) -> str:
    """What one run of each width tells all the same."""
    needed = least_scatter(widths, values)
    at, shrunk = widths[len(widths) // 2], _shrinking(widths, values)
    return (
        "there is one run of every width (no seeds), so no interval can be given; a line in 1/n "
        f"would be refused unless runs of width {at} scatter by at least "
        f"{math.sqrt(needed / at):.2g} (standard deviation){shrunk}: run at least two seeds of "
        "some widths"
    )


def _shrinking(widths: list[int], values: list[float]) -> str:
    """How steps between widths that double shrink, where they do double."""
    n, steps = np.asarray(widths, float), np.diff(values)
    if not np.allclose(n[1:] / n[:-1], 2.0) or not np.all(steps * steps[0] > 0):
        return ""
    ratios = ", ".join(f"{ratio:.2f}" for ratio in steps[1:] / steps[:-1])
    return f"; its steps shrink by {ratios} with each doubling, where 1/n makes 0.50"


def _fitted(known: Extrapolated, means: Means) -> Extrapolated:
    """The line in 1/n, its error, and whether it serves."""
    c, b = means.combination(), means.combination(row=1)
    infinite, slope = float(means.estimate(c)), float(means.estimate(b))
    slope_error, scatter = float(means.half_width(b)), float(means.scatter)
    model = float(means.model_error())
    verdict = judged(means)
    power = verdict.power
    found = replace(
        known, adequate=verdict.adequate, misfit=verdict.misfit, why=verdict.why,
        exponent={"value": power.exponent, "low": power.exponent_low, "high": power.exponent_high}
        | {"infinite": power.infinite, "infinite_low": power.low, "infinite_high": power.high},
    )  # fmt: skip
    if verdict.adequate is False:
        return found
    half = float(means.half_width(c)) + model
    return replace(
        found, infinite=infinite, low=infinite - half, high=infinite + half, model_error=model,
        slope=slope, slope_error=slope_error, scatter=scatter,
        width_for={
            name: _width_for(share, infinite, half, slope, scatter)
            for name, share in SHARES.items()
        },
    )  # fmt: skip


def _width_for(
    share: float, infinite: float, half: float, slope: float, scatter: float
) -> int | None:
    """The least n with (B²/n² + V/n)^½ ≤ share·|y_∞|; None where y_∞ may be 0."""
    if abs(infinite) <= half:
        return None
    goal = (share * infinite) ** 2
    root = (scatter + math.sqrt(scatter**2 + 4 * goal * slope**2)) / (2 * goal)
    return max(1, math.ceil(root))


def _unbalanced(runs: Runs) -> Iterator[str]:
    """That widths have different numbers of runs."""
    counts = runs.table.groupby([*runs.by, "width"]).size().groupby("width").agg(["min", "max"])
    if runs.seeded and counts.to_numpy().min() != counts.to_numpy().max():
        said = ", ".join(
            f"{width:g}: {low}" if low == high else f"{width:g}: {low} … {high}"
            for width, low, high in zip(counts.index, counts["min"], counts["max"], strict=True)
        )
        yield f"widths have different numbers of seeds ({said}); each counts by its own scatter"


def _by_width(rows: pd.DataFrame, metric: str) -> dict[int, np.ndarray]:
    """Values of a metric by width, in increasing order."""
    width, values = rows["width"].to_numpy(), rows[metric].to_numpy()
    return {int(own): values[width == own] for own in np.unique(width)}


def _standard_error(values: np.ndarray) -> float:
    """That of a mean; NaN for one run."""
    return float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan
