"""`transfer`: whether the best learning rate of a narrow network is that of a wide one.

From losses over widths and learning rates: η*(n) is the vertex of a parabola in log η (`optimum`),
log η*(n) = log η*(∞) + b/n is fitted to it, and the loss at infinite width, rate by rate the
intercept of a line in 1/n (`line`), tells what it costs to use η*(n) there. Intervals (95 %) come
from seeds drawn again, the same ones for all rates of a width (common random numbers), and are
longer by Student's t of these seeds over the normal's: without it three seeds' held in 80 % of
simulated tables (`benchmarks/tables_are_extrapolated.py`).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import fdtrc, ndtri, stdtrit

from widelimit.basics.errors import ProblemError
from widelimit.basics.streams import Stream, generator
from widelimit.basics.words import as_json
from widelimit.results import questions
from widelimit.runs.adequacy import ALARM
from widelimit.runs.line import FEWEST_WIDTHS, Means
from widelimit.runs.optimum import Valley, at_edge, valley
from widelimit.runs.table import RATE, Given, Runs, read_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESAMPLES = 1000

FEWEST_SEEDS = 3
"""Fewer seeds tell no interval by being drawn again."""

MOVES = {"50%": 0.5, "20%": 0.2, "10%": 0.1}
"""Widths are told from which on η*(n) is within these shares of η*(∞)."""


@dataclass(frozen=True)
class Optimum:
    """η*(n) of one width with its 95 % interval, and the loss there.

    `lost` is how much more loss than the least η*(n) has at infinite width. What is not known is
    NaN, and `why` says so.
    """

    width: float
    why: str
    rate: float = math.nan
    low: float = math.nan
    high: float = math.nan
    loss: float = math.nan
    lost: float = math.nan
    lost_low: float = math.nan
    lost_high: float = math.nan


@dataclass(frozen=True)
class Transfer:
    """The best learning rates of several widths, and that of infinite width.

    `infinite` has η*(∞) and the loss at it; `settles`: whether log η*(n) lies on a line in 1/n
    (None: that cannot be told). `width_for`: from which width on η*(n) is within shares of η*(∞).
    `drift` is b of log η*(n) = log η*(∞) + b/n with its 95 % interval.
    """

    runs: Runs
    metric: str
    optima: tuple[Optimum, ...]
    infinite: Optimum
    settles: bool | None
    drift: tuple[float, float, float]
    width_for: dict[str, int | None]
    losses: xr.DataArray

    @property
    def met(self) -> bool:
        """Whether η*(∞) is known and the rates are seen to settle, or not seen not to."""
        return math.isfinite(self.infinite.rate) and self.settles is not False

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return list(self.runs.notes)

    @property
    def dataset(self) -> xr.Dataset:
        """The numbers by width, infinite width (`inf`) the last one."""
        rows = [*self.optima, self.infinite]
        names = ("rate", "low", "high", "loss", "lost", "lost_low", "lost_high")
        columns = {name: ("width", [getattr(own, name) for own in rows]) for name in names}
        found = xr.Dataset(columns, {"width": [own.width for own in rows]})
        facts = {"kind": "transfer", "metric": self.metric, "source": self.runs.source}
        return found.assign_attrs(facts, warnings=json.dumps(self.warnings))

    def as_dict(self) -> dict[str, Any]:
        """The content of transfer.json."""
        found = {
            "metric": self.metric,
            "settles": self.settles,
            "drift": dict(zip(("value", "low", "high"), self.drift, strict=True)),
            "width_for": self.width_for,
            "optima": list(map(asdict, self.optima)),
            "infinite": asdict(self.infinite),
        }
        return as_json(found)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw η*(n) against 1/n with its intervals, and η*(∞)."""
        return questions.pictures_of_runs().draw_transfer(self, ax)

    def __repr__(self) -> str:
        return f"<Transfer of {self.metric}: " + "; ".join(lines(self)) + ">"


def transfer(runs: "Given | Runs", *, metric: str | None = None) -> Transfer:
    """The best learning rate by width, at infinite width, and what it costs to take one over.

    `runs`: a table with the columns `width`, `learning_rate`, `seed` and a metric that is the
    smaller the better (`metric`, default: the only one), see `read_runs`. Of several steps or times
    the last counts. NaN is a run that diverged. Without three seeds no interval is told.

    Raises `ProblemError` for tables that cannot be read, or have no learning rates.

    >>> rng, width, rate = np.random.default_rng(0), [64, 128, 256], [0.1, 0.2, 0.4, 0.8, 1.6]
    >>> rows = [(n, e, s, 1 + 2 / n + 0.1 * (np.log(e / 0.4) - 10 / n) ** 2
    ...          + 0.02 * seed) for s, seed in enumerate(rng.normal(size=8)) for n in width
    ...         for e in rate]
    >>> columns = zip(("width", "learning_rate", "seed", "loss"), zip(*rows))
    >>> found = transfer(dict(columns))
    >>> bool(abs(found.infinite.rate - 0.4) < 0.02), found.settles
    (True, True)
    """
    checked = read_runs(runs, None if metric is None else [metric])
    if mistakes := _unfit(checked):
        raise ProblemError(mistakes, checked.source)
    losses = _cube(checked, checked.metrics[0])
    logs = np.log(losses[RATE].values)
    known = {int(n): losses.sel(width=n).values for n in losses["width"].values}
    drawn = _drawn(known)
    found = {n: _of_width(float(n), own, logs, drawn.get(n)) for n, own in known.items()}
    optima, resampled = [own for own, _ in found.values()], [again for _, again in found.values()]
    limit = _AtInfinity.of(known, logs, drawn)
    optima = [limit.with_lost(own, again) for own, again in zip(optima, resampled, strict=True)]
    infinite, drift, settles = _extrapolated(optima, resampled, limit)
    return Transfer(
        checked, checked.metrics[0], tuple(optima), infinite, settles, drift,
        _widths_for(drift[0]), losses,
    )  # fmt: skip


def lines(found: Transfer) -> list[str]:
    """What was found in words, width by width."""
    said = [f"width {own.width:g}: {_in_words(own)}" for own in found.optima]
    return [*said, f"infinite width: {_in_words(found.infinite)}"]


def _in_words(own: Optimum) -> str:
    if math.isnan(own.rate):
        return own.why
    interval = f" ({own.low:.3g} … {own.high:.3g})" if math.isfinite(own.low) else ""
    lost = ""
    if math.isfinite(own.lost):
        span = f" ({own.lost_low:.2g} … {own.lost_high:.2g})" if math.isfinite(own.lost_low) else ""
        lost = f", which loses {own.lost:.2g}{span} at infinite width"
    return f"η* = {own.rate:.3g}{interval}{lost}" + (f"; {own.why}" if own.why else "")


def _unfit(runs: Runs) -> list[str]:
    """What is missing for a best learning rate."""
    found = []
    if RATE not in runs.by:
        found.append(f"column {RATE!r} is missing; give the learning rate of every run")
    if labels := runs.labels:
        values = ", ".join(f"{n} ({', '.join(map(str, runs.table[n].unique()))})" for n in labels)
        found.append(f"found several tables in one, by {values}; give one of them")
    if len(runs.metrics) > 1:
        found.append(f"found the metrics {', '.join(runs.metrics)}; name the one that counts")
    elif RATE in runs.by and (count := len(np.unique(runs.table[RATE]))) < 3:
        found.append(f"needs at least 3 learning rates, found {count}")
    return found


def _cube(runs: Runs, metric: str) -> xr.DataArray:
    """Losses `(width, seed, learning_rate)` at the last step; NaN where there is none."""
    table, clock = runs.table, runs.clock
    if clock is not None:
        table = table.loc[table[clock] == table[clock].max()]
    frame = table.set_index(["width", "seed", RATE])[metric]
    return frame.to_xarray().transpose("width", "seed", RATE)


def _drawn(known: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Mean losses `(resample, rate)` of seeds drawn again, for widths that have enough."""
    found = {}
    for n, own in known.items():
        whole = own[np.isfinite(own).any(axis=1)]
        if len(whole) >= FEWEST_SEEDS:
            rng = generator(Stream.RESAMPLES, 0, n)
            rows = rng.integers(len(whole), size=(RESAMPLES, len(whole)))
            mean = whole.mean(axis=0)
            wider = math.sqrt(len(whole) / (len(whole) - 1))  # they scatter by so much too little
            found[n] = mean + wider * (whole[rows].mean(axis=1) - mean)
    return found


def _of_width(
    width: float, losses: np.ndarray, logs: np.ndarray, drawn: np.ndarray | None
) -> tuple[Optimum, np.ndarray]:
    """η*(n), and log η*(n) of seeds drawn again (none: an empty array)."""
    mean, nothing = _mean(losses), np.zeros(0)
    if not np.isfinite(mean).any():
        return Optimum(width, "all of its runs diverged"), nothing
    if edge := at_edge(mean):
        which = "smallest" if edge < 0 else "largest"
        said = f"the {which} rate tried, {math.exp(logs[::edge][-1]):.3g}, is the best: try "
        return Optimum(width, said + ("smaller" if edge < 0 else "larger") + " ones"), nothing
    found = valley(logs, mean)
    if found is None:
        best = math.exp(logs[int(np.nanargmin(mean))])
        said = f"losses about the best rate tried, {best:.3g}, are no valley: try more near it"
        return Optimum(width, said), nothing
    rate = math.exp(found.log_rate)
    if drawn is None:
        why = f"fewer than {FEWEST_SEEDS} seeds, so no interval"
        return Optimum(width, why, rate, loss=found.least), nothing
    again = np.array([_vertex(logs, row) for row in drawn])
    low, high = np.exp(_interval(found.log_rate, again, _seeds(losses)))
    why = "" if np.isfinite(again).mean() > 0.95 else "seeds drawn again often have no valley"
    return Optimum(width, why, rate, float(low), float(high), found.least), again


def _interval(value: Any, again: np.ndarray, seeds: int) -> np.ndarray:
    """The ends of a 95 % interval of a value, from what so many seeds drawn again make of it."""
    ends = np.nanquantile(again, [0.025, 0.975], axis=-1)
    return value + stdtrit(seeds - 1, 0.975) / ndtri(0.975) * (ends - value)


def _seeds(losses: np.ndarray) -> int:
    """How many seeds of a width there are."""
    return int(np.isfinite(losses).any(axis=1).sum())


def _mean(losses: np.ndarray) -> np.ndarray:
    """Mean losses by rate over the seeds that there are; NaN where one of them diverged."""
    there = np.isfinite(losses).any(axis=1)
    return losses[there].mean(axis=0) if there.any() else np.full(losses.shape[1], np.nan)


def _vertex(logs: np.ndarray, losses: np.ndarray) -> float:
    found = valley(logs, losses) if np.isfinite(losses).any() else None
    return math.nan if found is None else found.log_rate


@dataclass(frozen=True)
class _AtInfinity:
    """Losses at infinite width by rate, as a valley; and those of seeds drawn again."""

    valley: Valley | None
    again: tuple[Valley | None, ...]
    seeds: int
    """The fewest of a width."""

    @classmethod
    def of(
        cls, known: dict[int, np.ndarray], logs: np.ndarray, drawn: dict[int, np.ndarray]
    ) -> "_AtInfinity":
        fewest = min(map(_seeds, known.values()))
        if len(known) < FEWEST_WIDTHS:
            return cls(None, (), fewest)
        means = list(map(_mean, known.values()))
        counts = np.array(list(map(_seeds, known.values())), float)
        widths = np.array(list(known), float)
        nothing = np.zeros(len(widths))
        c = Means(widths, counts, nothing, nothing, counts).combination()
        losses = np.tensordot(c, np.stack(means), axes=1)
        again: Sequence[Valley | None] = ()
        if len(drawn) == len(known):
            whole = np.tensordot(c, np.stack([drawn[n] for n in known]), axes=1)
            again = [_valley(logs, row) for row in whole]
        return cls(_valley(logs, losses), tuple(again), fewest)

    def with_lost(self, own: Optimum, again: np.ndarray) -> Optimum:
        """An optimum, and what it loses here."""
        if self.valley is None or math.isnan(own.rate):
            return own
        lost = self.valley.lost(math.log(own.rate))
        pairs = [
            v.lost(float(x))
            for v, x in zip(self.again, again, strict=False)
            if v is not None and np.isfinite(x)
        ]
        low, high = math.nan, math.nan
        if pairs:
            low, high = np.maximum(_interval(lost, np.array(pairs), self.seeds), 0.0).tolist()
        return replace(own, lost=lost, lost_low=low, lost_high=high)


def _valley(logs: np.ndarray, losses: np.ndarray) -> Valley | None:
    known = np.isfinite(losses).any() and not at_edge(losses)
    return valley(logs, losses) if known else None


def _extrapolated(
    optima: list[Optimum], resampled: list[np.ndarray], limit: _AtInfinity
) -> tuple[Optimum, tuple[float, float, float], bool | None]:
    """η*(∞), b of log η*(n) = log η*(∞) + b/n, and whether that line serves."""
    nan = math.nan
    have = [k for k, own in enumerate(optima) if math.isfinite(own.rate)]
    if len(have) < FEWEST_WIDTHS:
        why = f"needs η* of at least {FEWEST_WIDTHS} widths, found {len(have)}"
        return Optimum(math.inf, why), (nan, nan, nan), None
    x = np.array([1 / optima[k].width for k in have])
    y = np.log([optima[k].rate for k in have])
    sure = all(len(resampled[k]) for k in have)
    scatter = np.array([np.nanvar(resampled[k]) for k in have]) if sure else np.ones(len(have))
    root = 1 / np.sqrt(np.maximum(scatter, 1e-12))
    solve = np.linalg.pinv(root[:, None] * np.stack([np.ones_like(x), x], axis=1)) * root
    a, b = solve @ y
    loss = math.nan if limit.valley is None else limit.valley.least
    if not sure:
        why = f"fewer than {FEWEST_SEEDS} seeds of some widths, so no interval"
        return Optimum(math.inf, why, math.exp(a), loss=loss), (float(b), nan, nan), None
    again = solve @ np.stack([resampled[k] for k in have])
    ends = _interval(np.array([a, b]), again, limit.seeds)
    free, off = len(have) - 2, float((root**2 * (y - a - b * x) ** 2).sum())
    misfit = fdtrc(free, len(have) * (limit.seeds - 1), off / free)
    low, high = np.exp(ends[:, 0])
    why = "" if misfit >= ALARM else "η*(n) does not lie on a line in 1/n: it may not settle"
    drift = (float(b), float(ends[0, 1]), float(ends[1, 1]))
    own = Optimum(math.inf, why, math.exp(a), float(low), float(high), loss)
    return own, drift, bool(misfit >= ALARM)


def _widths_for(drift: float) -> dict[str, int | None]:
    """The least n with |b|/n ≤ log(1 + share)."""
    if math.isnan(drift):
        return dict.fromkeys(MOVES)
    return {
        name: max(1, math.ceil(abs(drift) / math.log1p(share))) for name, share in MOVES.items()
    }
