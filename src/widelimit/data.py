"""The law π of the data as weighted atoms (x, y), and where real data come from."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from widelimit.laws import Number, checked_weights


@dataclass(frozen=True)
class Dataset:
    """Weighted data points `inputs (n, d)`, `targets (n, o)`, `weights (n,)`, and a holdout."""

    inputs: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    holdout_inputs: np.ndarray
    holdout_targets: np.ndarray
    channels: tuple[str, ...]

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
class _Rows:
    inputs: np.ndarray
    targets: np.ndarray
    weights: tuple[float, ...] | None
    channels: tuple[str, ...]
    row_name: str = "row"


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    holdout: Annotated[Number, Field(ge=0, lt=1)] = 0.0

    def rows(self, folder: Path) -> _Rows:
        """All rows of the source, before the holdout is taken; ValueError says what is wrong."""
        raise NotImplementedError

    def load(self, folder: Path, seed: int) -> Dataset:
        """The data as arrays; paths are relative to `folder`, `seed` draws the holdout.

        Raises `ValueError` when arrays differ in length, hold NaN or infinity (the row is
        named) or cannot be read.
        """
        rows = self.rows(folder)
        count = len(rows.inputs)
        if len(rows.targets) != count:
            raise ValueError(f"found {count} inputs and {len(rows.targets)} targets")
        if count == 0:
            raise ValueError("found no rows; at least one data point is needed")
        for name, array in (("inputs", rows.inputs), ("targets", rows.targets)):
            bad = np.flatnonzero(~np.isfinite(array).all(axis=1))
            if len(bad):
                raise ValueError(
                    f"{name}: found NaN or infinity in {rows.row_name} {bad[0]}"
                    + (f" and {len(bad) - 1} more" if len(bad) > 1 else "")
                    + "; remove the row or fill it in"
                )
        weights = np.asarray(checked_weights(rows.weights, count))
        held = np.random.default_rng(seed).permutation(count)[: round(self.holdout * count)]
        kept = np.setdiff1d(np.arange(count), held)
        if len(kept) == 0:
            raise ValueError(f"holdout = {self.holdout} leaves no training point of {count}")
        return Dataset(
            rows.inputs[kept],
            rows.targets[kept],
            weights[kept] / weights[kept].sum(),
            rows.inputs[np.sort(held)],
            rows.targets[np.sort(held)],
            rows.channels,
        )


def _numbers(value: Any) -> Any:
    """A list of numbers or of equally long rows of numbers (arrays welcome) as nested tuples."""
    rows = value.tolist() if isinstance(value, np.ndarray) else value
    if not isinstance(rows, list | tuple) or len(rows) == 0:
        raise ValueError("must be a non-empty list of numbers or of rows of numbers")
    vectors = [r if isinstance(r, list | tuple) else [r] for r in rows]
    for index, vector in enumerate(vectors):
        if len(vector) != len(vectors[0]):
            raise ValueError(
                f"row {index} has {len(vector)} entries and row 0 has {len(vectors[0])}"
            )
        for entry in vector:
            if isinstance(entry, bool) or not isinstance(entry, int | float):
                raise ValueError(f"row {index} holds {entry!r}, which is not a number")
    return tuple(tuple(float(e) for e in v) for v in vectors)


Rows = Annotated[tuple[tuple[float, ...], ...], BeforeValidator(_numbers)]
"""Rows of numbers; a flat list means rows of one entry."""


class Table(_Source):
    """The numbers themselves, in the problem file or as arrays."""

    source: Literal["table"] = "table"
    inputs: Rows
    targets: Rows
    weights: tuple[Number, ...] | None = None

    def rows(self, folder: Path) -> _Rows:
        """The table as it stands."""
        targets = np.asarray(self.targets)
        return _Rows(np.asarray(self.inputs), targets, self.weights, _count_up(targets))


class Csv(_Source):
    """A text file with a header row; `targets` names columns, all others are inputs."""

    source: Literal["csv"] = "csv"
    path: str
    targets: Annotated[tuple[str, ...], Field(min_length=1)]

    def rows(self, folder: Path) -> _Rows:
        """The file's columns; every entry must be a number."""
        import pandas as pd

        path = _existing(folder, self.path)
        try:
            frame = pd.read_csv(path)
        except (ValueError, OSError) as error:
            raise ValueError(f"path: {path} cannot be read as csv: {error}") from None
        missing = [name for name in self.targets if name not in frame.columns]
        if missing:
            raise ValueError(
                f"targets: no column {missing[0]!r} in {path.name}; it has {', '.join(frame.columns)}"
            )
        numbers = frame.apply(pd.to_numeric, errors="coerce")
        broken = numbers.isna() & frame.notna()
        if broken.any(axis=None):
            row, column = np.argwhere(broken.to_numpy())[0]
            raise ValueError(
                f"{path.name}: row {row + 2}, column {frame.columns[column]!r} holds "
                f"{frame.iat[row, column]!r}, which is not a number"
            )
        others = [name for name in frame.columns if name not in self.targets]
        if not others:
            raise ValueError(f"targets: they are all columns of {path.name}; no inputs are left")
        return _Rows(
            numbers[others].to_numpy(float),
            numbers[list(self.targets)].to_numpy(float),
            None,
            self.targets,
            "data row",
        )


class Npz(_Source):
    """A NumPy archive with arrays `inputs`, `targets` and perhaps `weights`; never a pickle."""

    source: Literal["npz"] = "npz"
    path: str

    def rows(self, folder: Path) -> _Rows:
        """The archive's arrays; one-dimensional ones become one column."""
        path = _existing(folder, self.path)
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: np.asarray(archive[name]) for name in archive.files}
        except (ValueError, OSError, EOFError) as error:
            raise ValueError(f"path: {path} cannot be read as npz: {error}") from None
        for name in ("inputs", "targets"):
            if name not in arrays:
                raise ValueError(f"path: {path.name} has no array {name!r}; it has {list(arrays)}")
            if not np.issubdtype(arrays[name].dtype, np.number) or arrays[name].ndim not in (1, 2):
                raise ValueError(f"path: {name} must be a table of numbers with 1 or 2 axes")
        inputs, targets = (
            np.asarray(arrays[name], float).reshape(len(arrays[name]), -1)
            for name in ("inputs", "targets")
        )
        weights = tuple(map(float, arrays["weights"])) if "weights" in arrays else None
        return _Rows(inputs, targets, weights, _count_up(targets))


class Digits(_Source):
    """scikit-learn's 1,797 handwritten digits: 64 pixels / 16, one-hot targets."""

    source: Literal["digits"] = "digits"

    def rows(self, folder: Path) -> _Rows:
        """Pixels in scikit-learn's order, not centred."""
        from sklearn.datasets import load_digits

        digits: Any = load_digits()
        return _Rows(
            digits.data / 16.0, np.eye(10)[digits.target], None, tuple(map(str, range(10)))
        )


DataSource = Annotated[Table | Csv | Npz | Digits, Field(discriminator="source")]
"""Any source, told apart by its key `source`."""


def _existing(folder: Path, path: str) -> Path:
    full = (folder / path).expanduser()
    if not full.is_file():
        raise ValueError(f"path: found no file {full}")
    return full


def _count_up(targets: np.ndarray) -> tuple[str, ...]:
    return tuple(str(channel) for channel in range(targets.reshape(len(targets), -1).shape[1]))
