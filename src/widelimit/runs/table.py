"""Tables of runs: a metric by width and seed, and where they are there by step and learning rate.

They come from a csv file, a netCDF file (of `widelimit train`, or one's own with these
dimensions; of `widelimit sweep`), a DataFrame, a Dataset, or columns by name. Nothing is dropped
without a word.
"""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from widelimit.basics.errors import ProblemError
from widelimit.basics.words import counted, shown
from widelimit.problem.data.files import existing, read_csv

CLOCKS = ("step", "time")
RATE = "learning_rate"
KEYS = ("width", "seed", *CLOCKS, RATE)
"""Columns that tell runs apart. Others are metrics, but for labels: columns of words."""

SWEPT_RATE = "training.learning_rate"
"""What the learning rate is called where it is swept (`[sweep]`); keys there have dots."""

MOST_NAMED = 3
"""So many places are named of a mistake that is made in many."""

Given = str | Path | pd.DataFrame | xr.Dataset | Mapping[str, Any]
"""What runs can be given as."""


@dataclass(frozen=True)
class Runs:
    """A checked table: one row for each run, and moment of it.

    `table` has the columns `width`, `seed` (all 0 where `seeded` is False), those of `by` (labels,
    step or time, learning rate), and `metrics`. Values that are not finite are kept as NaN: runs
    that diverged. `notes` tell what was left out or taken for something.
    """

    table: pd.DataFrame
    by: tuple[str, ...]
    metrics: tuple[str, ...]
    seeded: bool
    notes: tuple[str, ...]
    source: str

    @property
    def clock(self) -> str | None:
        """ "step" or "time", if runs are seen at several."""
        return next((name for name in CLOCKS if name in self.by), None)

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells tables apart that are in one."""
        return tuple(name for name in self.by if name not in KEYS)

    def groups(self) -> list[tuple[dict[str, Any], pd.DataFrame]]:
        """What belongs to each label, step and learning rate, in their order."""
        if not self.by:
            return [({}, self.table)]
        found = []
        for _, rows in self.table.groupby(list(self.by), sort=True):
            own = pd.DataFrame(rows)
            found.append(({name: _plain(own[name].iloc[0]) for name in self.by}, own))
        return found


class _Read(NamedTuple):
    """A table as it is, what to call it, what was left out, and columns known to be labels."""

    frame: pd.DataFrame
    source: str
    notes: list[str]
    labels: tuple[str, ...] = ()


def read_runs(given: "Given | Runs", metrics: Sequence[str] | None = None) -> Runs:
    """The runs of a table, checked as a whole.

    `metrics` names the columns that count; None takes all that are no key. A column of words, each
    of which stands beside several widths, is a label: layers, parametrisations. Raises
    `ProblemError` with all mistakes at once: what is missing, no number, or there twice.

    >>> runs = read_runs({"width": [64, 64, 128], "seed": [0, 1, 0], "loss": [0.31, 0.29, 0.25]})
    >>> runs.metrics, runs.by
    (('loss',), ())
    """
    if isinstance(given, Runs):
        return given
    frame, source, notes, labels = _frame(given)
    frame = frame.rename(columns=str).reset_index(drop=True)
    labels = labels or _labels(frame, metrics or ())
    asked = tuple(metrics or (name for name in frame.columns if name not in (*KEYS, *labels)))
    by = (*labels, *(name for name in (*CLOCKS, RATE) if name in frame.columns))
    if mistakes := _misnamed(frame, asked):
        raise ProblemError(mistakes, source)
    left = [name for name in frame.columns if name not in (*KEYS, *asked, *labels)]
    notes += [f"columns {', '.join(left)} are left out: metrics were named"] if left else []
    keys = ("width", *(name for name in ("seed", *by) if name in frame.columns))
    numbers, mistakes = {name: frame[name] for name in labels}, []
    for name in (own for own in (*keys, *asked) if own not in labels):
        numbers[name], wrong = _numbers(pd.Series(frame[name]), name, name in keys)
        mistakes += wrong
    if not mistakes:
        mistakes = _twice(pd.DataFrame({name: numbers[name] for name in keys}))
    if mistakes:
        raise ProblemError(mistakes, source)
    table = pd.DataFrame({"seed": 0.0, **numbers})
    return Runs(table, by, asked, "seed" in frame.columns, tuple(notes), source)


def _labels(frame: pd.DataFrame, metrics: Sequence[str]) -> tuple[str, ...]:
    """Columns of several words, each of which stands beside several widths."""
    if "width" not in frame:
        return ()
    widths, found = frame["width"].tolist(), []
    for name in map(str, frame.columns):
        values = pd.Series(frame[name]).tolist()
        if name in (*KEYS, *metrics) or len(set(values)) == 1 or not _in_words(values):
            continue
        beside = Counter(value for value, _ in set(zip(values, widths, strict=True)))
        if min(beside.values()) > 1:
            found.append(name)
    return tuple(found)


def _in_words(values: Sequence[Any]) -> bool:
    """Whether there is not one number, and nothing is missing."""
    said = all(isinstance(value, str) and value.strip() for value in values)
    return said and bool(
        pd.Series(pd.to_numeric(pd.Series(values), errors="coerce"), dtype=float).isna().all()
    )


def _frame(given: Any) -> _Read:
    """A table as it is."""
    if isinstance(given, str | Path):
        return file_of(Path(given))
    if isinstance(given, xr.Dataset):
        return _from_dataset(given, "the runs")
    if isinstance(given, pd.DataFrame):
        return _Read(given, "the runs", [])
    if not isinstance(given, Mapping):
        raise ProblemError(
            [
                f"found {type(given).__name__}; give the path of a csv or netCDF file, a DataFrame,"
                " an xarray Dataset, or a table of columns by name"
            ],
            "the runs",
        )
    lengths = {name: np.size(column) for name, column in given.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ProblemError([f"columns have different lengths: {said}"], "the runs")
    frame = pd.DataFrame({name: list(column) for name, column in given.items()})
    return _Read(frame, "the runs", [])


def file_of(path: Path) -> _Read:
    """A csv file, or netCDF by the end of its name. Raises `ProblemError` if it cannot be read."""
    try:
        full = existing(Path(), str(path))
        if full.suffix not in (".nc", ".netcdf", ".h5"):
            return _Read(read_csv(full), path.name, [])
        with xr.open_datatree(full, engine="h5netcdf") as file:
            own = file["networks"] if "networks" in file.children else file  # a sweep's
            return _from_dataset(own.to_dataset().load(), path.name)
    except ProblemError:
        raise
    except (ValueError, OSError, RuntimeError, LookupError, TypeError) as error:
        said = str(error).removeprefix("path: ")
        raise ProblemError([f"cannot be read: {said}"], str(path)) from None


def _from_dataset(dataset: xr.Dataset, source: str) -> _Read:
    """What has the dimensions `width` and `seed`, perhaps a clock, learning rates, swept keys."""
    dataset = dataset.rename({SWEPT_RATE: RATE} if SWEPT_RATE in dataset.dims else {})
    labels = tuple(str(name) for name in dataset.dims if "." in str(name))
    if "width" not in dataset.dims:
        raise ProblemError(
            [f"found the dimensions {', '.join(map(str, dataset.dims))}; needs width"], source
        )
    taken = {
        str(name): own
        for name, own in dataset.data_vars.items()
        if "width" in own.dims and set(own.dims) <= {*KEYS, *labels} and own.dtype.kind in "fiub"
    }
    left = [str(name) for name in dataset.data_vars if name not in taken]
    notes = [f"{', '.join(left)} have other dimensions and are left out"] if left else []
    frame = xr.Dataset(taken).reset_coords(drop=True).to_dataframe().reset_index()
    return _Read(frame, source, notes, labels)


def _misnamed(frame: pd.DataFrame, asked: Sequence[str]) -> list[str]:
    """Columns that are missing, with the nearest that is there."""
    there, found = list(frame.columns), []
    for name in ("width", *asked):
        if name not in there:
            lower = {str(own).lower(): own for own in there}
            near = difflib.get_close_matches(name.lower(), list(lower), 1)
            hint = f"; did you mean {lower[near[0]]!r}?" if near else ""
            found.append(f"column {name!r} is missing, found {', '.join(map(str, there))}{hint}")
    if all(clock in there for clock in CLOCKS):
        found.append("columns 'step' and 'time': give one of them")
    if not asked and not found:
        found.append("there is no metric: give a column with the loss, say, beside the keys")
    return found or ([] if len(frame) else ["there are no rows"])


def _numbers(column: pd.Series, name: str, key: bool) -> tuple[pd.Series, list[str]]:
    """A column as numbers, and what is wrong with it. A metric may be NaN, a key may not."""
    numbers = pd.Series(pd.to_numeric(column, errors="coerce"), dtype=float)
    wrong = numbers.isna() & column.notna()
    words = wrong & (column.astype(str).str.strip().str.lower() != "nan")
    if words.any():
        asked = "a number" if key else "a number: leave the column out, or name the metrics"
        return numbers, [_told(name, column, words, f"must be {asked}")]
    if not key:
        return numbers.where(np.isfinite(numbers)), []
    if numbers.isna().any():
        return numbers, [_told(name, column, numbers.isna(), "must be a number")]
    allowed, bad = {
        "width": ("a whole number from 1 on", (numbers < 1) | (numbers % 1 != 0)),
        "seed": ("a whole number", numbers % 1 != 0),
        RATE: ("a number above 0", numbers <= 0),
    }.get(name, ("a number from 0 on", numbers < 0))
    bad = bad | ~np.isfinite(numbers)
    return numbers, [_told(name, column, bad, f"must be {allowed}")] if bad.any() else []


def _told(name: str, column: pd.Series, where: pd.Series, allowed: str) -> str:
    """The first places of a mistake, counted as rows of data from 1 on."""
    rows = np.flatnonzero(where)
    values = column.tolist()
    first = ", ".join(f"{shown(_plain(values[k]))} in row {k + 1}" for k in rows[:MOST_NAMED])
    more = f" and {len(rows) - MOST_NAMED} more" if len(rows) > MOST_NAMED else ""
    return f"column {name!r}: found {first}{more}; {allowed}"


def _plain(value: Any) -> Any:
    """A number or word as Python writes it."""
    return value.item() if isinstance(value, np.generic) else value


def _twice(keys: pd.DataFrame) -> list[str]:
    """Rows that are of one run at one moment."""
    again = keys.duplicated(keep="first")
    if not again.any():
        return []
    row = int(np.flatnonzero(again)[0])
    same = np.flatnonzero((keys == keys.iloc[row]).all(axis=1))[0]
    said = ", ".join(f"{name} {keys[name].iloc[row]:g}" for name in keys.columns)
    hint = "" if "seed" in keys.columns else "; give a column 'seed' that tells runs apart"
    return [
        f"rows {same + 1} and {row + 1} are both of {said}"
        f" ({counted(int(again.sum()), 'such row')}){hint}"
    ]
