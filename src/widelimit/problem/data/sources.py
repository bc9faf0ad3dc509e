"""The law π of the data as weighted atoms (x, y), and where real data come from."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import psutil
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    StrictBool,
    model_validator,
)

from widelimit.basics.streams import Stream, generator
from widelimit.basics.words import printable
from widelimit.problem.data.files import MOST_INPUTS, arrays, checked_numbers, existing, read_csv
from widelimit.problem.network.laws import Count, Number, checked_rows, checked_weights

MOST_CLASSES = 1000
"""Each class is one more output at every data point."""

NO_ROWS = "found no rows; at least one data point is needed"

COPIES = 4
"""Targets are held about so many times."""


@dataclass(frozen=True)
class Dataset:
    """Weighted data points `inputs (n, d)`, `targets (n, o)`, `weights (n,)`, and a holdout.

    `fresh` says that training draws new points at every step: those here only measure the risk.
    They may be several independent quadratures of a population, `groups` of them.
    """

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    holdout_inputs: np.ndarray
    holdout_targets: np.ndarray
    channels: tuple[str, ...]
    fresh: bool = False
    groups: int = 1

    @property
    def held_out(self) -> "Dataset":
        """The holdout as data of its own, equal weights."""
        x, y = self.holdout_inputs, self.holdout_targets
        return replace(
            self,
            inputs=x,
            targets=y,
            weights=np.full(len(x), 1 / len(x)),
            holdout_inputs=x[:0],
            holdout_targets=y[:0],
        )

    @property
    def one_hot(self) -> bool:
        """Whether targets are class labels written as rows of one 1 and otherwise 0."""
        t = self.targets
        return t.shape[1] > 1 and bool(np.all((t == 0) | (t == 1)) and np.all(t.sum(1) == 1))

    @property
    def equal_weights(self) -> bool:
        """Whether every data point has the same weight."""
        return bool(np.allclose(self.weights, self.weights[0], rtol=1e-12, atol=0))

    def digest(self) -> str:
        """SHA-256 of the numbers, so that a result can name the data it came from."""
        sha = hashlib.sha256()
        for array in (
            self.inputs,
            self.targets,
            self.weights,
            self.holdout_inputs,
            self.holdout_targets,
        ):
            sha.update(repr(array.shape).encode() + np.ascontiguousarray(array, float).tobytes())
        return sha.hexdigest()


@dataclass(frozen=True)
class Points:
    """What a source holds, before the holdout is taken out."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: tuple[float, ...] | None
    channels: tuple[str, ...]
    row_name: str = "row"
    first_row: int = 0

    def require_whole(self) -> None:
        """Raise `ValueError` if there are no rows, a target is missing, or a number is none."""
        count = len(self.inputs)
        if len(self.targets) != count:
            raise ValueError(
                f"targets: found {len(self.targets)} targets for {count} inputs; give one each"
            )
        if count == 0:
            raise ValueError(NO_ROWS)
        if self.inputs.shape[1] > MOST_INPUTS:
            raise ValueError(
                f"inputs: found {self.inputs.shape[1]} numbers in a row; at most {MOST_INPUTS:,} "
                "are taken: keep the columns that matter, or project them"
            )
        for name, array in (("inputs", self.inputs), ("targets", self.targets)):
            bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
            if len(bad):
                raise ValueError(
                    f"{name}: found NaN or infinity in {self.row_name} {bad[0] + self.first_row}"
                    + (f" and {len(bad) - 1} more" if len(bad) > 1 else "")
                    + "; remove the row or fill it in"
                )


class Source(BaseModel):
    """Where data come from: a source says what its rows are, `load` checks and splits them.

    `classes` says that targets are one column of class labels, numbers or text: they become one-hot
    rows, the channels being the labels in sorted order.
    `samples` says that the data are a sample of so many points: predicted fluctuations then have
    the source "data". Rows that are given are taken for the population itself (plug-in estimate).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    holdout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    samples: Count | None = None
    classes: StrictBool = False

    def rows(self, folder: Path, seed: int) -> Points:
        """All rows of the source, before the holdout is taken; ValueError says what is wrong.

        `seed` draws them where they are drawn.
        """
        raise NotImplementedError

    def load(self, folder: Path, seed: int) -> Dataset:
        """The data as arrays; paths are relative to `folder`, `seed` draws the holdout.

        Raises `ValueError` when arrays differ in length, hold NaN or infinity (the row is
        named) or cannot be read.
        """
        rows = self.rows(folder, seed)
        if self.classes:
            rows = _one_hot(rows)
        rows.require_whole()
        count = len(rows.inputs)
        weights = np.asarray(checked_weights(rows.weights, count))
        held = generator(Stream.HOLDOUT, seed).permutation(count)[: round(self.holdout * count)]
        kept = np.setdiff1d(np.arange(count), held)
        if len(kept) == 0:
            raise ValueError(
                f"holdout: found {self.holdout}, which leaves no training point of {count}"
            )
        if weights[kept].sum() == 0:
            raise ValueError("weights: found only zeros among the training points")
        return Dataset(
            rows.inputs[kept],
            rows.targets[kept],
            weights[kept] / weights[kept].sum(),
            rows.inputs[np.sort(held)],
            rows.targets[np.sort(held)],
            rows.channels,
        )


def _one_hot(rows: Points) -> Points:
    """Rows whose targets are one column of class labels, with one column a class instead."""
    labels, numeric = rows.targets, _real(rows.targets)
    if len(labels) == 0:
        raise ValueError(NO_ROWS)
    if labels.shape[1] != 1:
        raise ValueError(
            f"classes: found {labels.shape[1]} columns of targets; class labels are one column"
        )
    missing = np.flatnonzero([label != label or label in ("", None) for label in labels[:, 0]])
    if len(missing):
        raise ValueError(
            f"classes: found no label in {rows.row_name} {missing[0] + rows.first_row}; remove the "
            "row or fill it in"
        )
    _require_few(labels[:, 0].tolist())
    classes, which = np.unique(
        labels[:, 0] if numeric else labels[:, 0].astype(str), return_inverse=True
    )
    if len(classes) < 2:
        raise ValueError(f"classes: found the class {classes[0]} alone; there must be two at least")
    names = tuple(f"{label:g}" if numeric else printable(str(label)) for label in classes)
    return replace(rows, targets=np.eye(len(classes))[which], channels=names)


def _require_few(labels: list[Any]) -> None:
    """Raise `ValueError` for more classes than outputs are for, or than memory bears."""
    classes, memory = len(set(labels)), psutil.virtual_memory().total
    if classes > MOST_CLASSES:
        raise ValueError(
            f"classes: found more than {MOST_CLASSES} different labels; leave classes out where "
            "targets are numbers to be fitted"
        )
    if (needed := COPIES * 8 * classes * len(labels)) > memory:
        raise ValueError(
            f"classes: found {classes} different labels in {len(labels)} rows, which take "
            f"{needed / 1e9:.3g} GB as targets, and this machine has {memory / 1e9:.3g}; keep "
            "fewer rows or classes"
        )


def _numbers(value: Any) -> Any:
    """A list of numbers or of equally long rows of numbers (arrays welcome) as nested tuples."""
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(rows, list | tuple) or len(rows) == 0:
        raise ValueError("must be a non-empty list of numbers or of rows of numbers")
    return tuple(tuple(float(entry) for entry in row) for row in checked_rows(rows, "row"))


Rows = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_numbers)]
"""Rows of numbers; a flat list means rows of one entry."""


def _numbers_or_labels(value: Any) -> Any:
    """Rows of numbers, or a list of words, which may be rows of one word as they are written."""
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    if isinstance(rows, list | tuple) and rows:
        labels = [v[0] if isinstance(v, list | tuple) and len(v) == 1 else v for v in rows]
        if all(isinstance(label, str) for label in labels):
            return tuple((label,) for label in labels)
    return _numbers(value)


class Table(Source):
    """The numbers themselves, in the problem file or as arrays; targets may be class labels."""

    source: Literal["table"] = "table"
    inputs: Rows
    targets: Annotated[tuple[tuple[float | str, ...], ...], BeforeValidator(_numbers_or_labels)]
    weights: tuple[Number, ...] | None = None

    @model_validator(mode="after")
    def _words_are_classes(self) -> "Table":
        if isinstance(self.targets[0][0], str) and not self.classes:
            raise ValueError(
                f"targets: found {self.targets[0][0]!r}, which is not a number; for class labels "
                "write classes = true"
            )
        return self

    def rows(self, folder: Path, seed: int) -> Points:
        """The table as it stands."""
        targets = np.asarray(self.targets)
        return Points(np.asarray(self.inputs), targets, self.weights, _count_up(targets))


class Csv(Source):
    """A text file with a header row; `targets` names columns, all others are inputs."""

    source: Literal["csv"] = "csv"
    path: str
    targets: Annotated[tuple[str, ...], Field(min_length=1)]

    def rows(self, folder: Path, seed: int) -> Points:
        """The file's columns; every entry must be a number."""
        path = existing(folder, self.path)
        frame = read_csv(path)
        self._require_targets(list(map(str, frame.columns)), path)
        labels = frame[list(self.targets)].to_numpy() if self.classes else None
        if self.classes:
            frame = frame.assign(**dict.fromkeys(self.targets, 0.0))
        numbers = checked_numbers(frame, path)
        others = [name for name in frame.columns if name not in self.targets]
        if not others:
            raise ValueError(f"targets: they are all columns of {path.name}; no inputs are left")
        return Points(
            numbers.loc[:, others].to_numpy(float),
            numbers.loc[:, list(self.targets)].to_numpy(float) if labels is None else labels,
            None,
            self.targets,
            "data row",
            first_row=1,
        )

    def _require_targets(self, columns: list[str], path: Path) -> None:
        """Raise `ValueError` if targets are no columns, or one column twice."""
        twice = [name for name in self.targets if self.targets.count(name) > 1]
        if twice:
            raise ValueError(f"targets: found {twice[0]!r} more than once")
        missing = [name for name in self.targets if name not in columns]
        if missing:
            known = ", ".join(columns)
            raise ValueError(f"targets: no column {missing[0]!r} in {path.name}; it has {known}")


class Npz(Source):
    """A NumPy archive with arrays `inputs`, `targets` and perhaps `weights`; never a pickle."""

    source: Literal["npz"] = "npz"
    path: str

    def rows(self, folder: Path, seed: int) -> Points:
        """The archive's arrays; one-dimensional ones become one column."""
        path = existing(folder, self.path)
        held = arrays(path)
        inputs, targets = (_columns(held, name, path) for name in ("inputs", "targets"))
        weights = None
        if "weights" in held:
            if held["weights"].ndim != 1 or not _real(held["weights"]):
                raise ValueError(f"path: weights in {path.name} must be numbers on 1 axis")
            weights = tuple(map(float, held["weights"]))
        return Points(inputs, targets, weights, _count_up(targets))


def _real(array: np.ndarray) -> bool:
    kinds = (np.integer, np.floating)
    return any(np.issubdtype(array.dtype, kind) for kind in kinds)


def _columns(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    """One array as rows of numbers."""
    if name not in arrays:
        raise ValueError(
            f"path: {path.name} has no array {name!r}; it has {', '.join(arrays) or 'none'}"
        )
    array = arrays[name]
    if not _real(array) or array.ndim not in (1, 2) or array.shape[1:] == (0,):
        raise ValueError(
            f"path: {name} in {path.name} must be real numbers on 1 or 2 axes, found "
            f"{array.dtype} with shape {array.shape}"
        )
    return np.asarray(array, float).reshape(len(array), array.shape[1] if array.ndim == 2 else 1)


class Digits(Source):
    """scikit-learn's 1,797 handwritten digits: 64 pixels / 16, one-hot targets."""

    source: Literal["digits"] = "digits"

    def rows(self, folder: Path, seed: int) -> Points:
        """Pixels in scikit-learn's order, not centred."""
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        return Points(
            digits.data / 16.0, np.eye(10)[digits.target], None, tuple(map(str, range(10)))
        )


class OpenML(Source):
    """A data set of openml.org by name, downloaded once and then kept by scikit-learn.

    Inputs are divided by the largest absolute value among them (255 for the pixels of MNIST).
    Class labels become one-hot targets, in the order of their sorted names; numbers stay.
    """

    source: Literal["openml"] = "openml"
    name: Annotated[str, Field(min_length=1)]
    version: Annotated[int, Strict(), Field(ge=1)] = 1

    def rows(self, folder: Path, seed: int) -> Points:
        """The data set's numeric columns, and its target as the data set names it."""
        inputs, targets = self._fetched()
        if not isinstance(inputs, np.ndarray) or not _real(inputs):
            raise ValueError(f"name: {self.name!r} has inputs that are not a table of numbers")
        largest = float(np.nanmax(np.abs(inputs), initial=0.0)) or 1.0
        if _real(targets):
            numbers = np.asarray(targets, float).reshape(len(targets), -1)
            return Points(inputs / largest, numbers, None, _count_up(numbers))
        if targets.ndim > 1:
            raise ValueError(f"name: {self.name!r} has several columns of class labels as targets")
        return _one_hot(Points(inputs / largest, targets[:, None], None, ("class",)))

    def _fetched(self) -> Any:
        """Inputs and targets as scikit-learn hands them out."""
        from sklearn.datasets import fetch_openml

        called = f"{self.name!r} (version {self.version})"
        try:
            return fetch_openml(self.name, version=self.version, as_frame=False, return_X_y=True)
        except OSError as error:
            raise ValueError(
                f"name: {called} is not on this machine yet and openml.org was not reached "
                f"({error}); it is needed once"
            ) from None
        except ValueError as error:
            raise ValueError(f"name: {called} was not had from openml.org: {error}") from None


def _count_up(targets: np.ndarray) -> tuple[str, ...]:
    return tuple(str(channel) for channel in range(targets.shape[1]))
