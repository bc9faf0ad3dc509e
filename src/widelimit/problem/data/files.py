"""Files that data are read from: csv and npz, never executed, refused in words where damaged."""

import lzma
import math
import tokenize
import warnings
import zipfile
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from widelimit.basics.words import shown

if TYPE_CHECKING:
    from pandas import DataFrame

BROKEN = (
    ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
    NotImplementedError, RuntimeError, MemoryError, OverflowError, KeyError, SyntaxError, TypeError,
    tokenize.TokenError,
)  # fmt: skip
"""What NumPy and zipfile raise on an archive that is damaged, or is none."""

MOST_BYTES = 10**10
"""Larger arrays are not read: data are held in memory several times."""

MOST_INPUTS = 4096
"""More columns than these are no inputs of a problem that can be solved: principal directions of
all of them are looked for, and Sobol points have so many coordinates at most."""


def existing(folder: Path, path: str) -> Path:
    """Where a file is. Raises `ValueError` if it is not there."""
    try:
        full = folder / Path(path).expanduser()
        there = full.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a name that is too long
        reason = getattr(error, "strerror", None) or str(error)
        raise ValueError(f"path: found no file {shown(path)}: {reason}") from None
    if not there:
        raise ValueError(f"path: found no file {full}")
    return full


def read_csv(path: Path) -> "DataFrame":
    """A csv file as it is."""
    import pandas as pd

    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        _check_names(list(map(str, header.iloc[0])), path)
        with warnings.catch_warnings():
            # A row longer than the header is otherwise cut short or taken for row names.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            return pd.read_csv(path, index_col=False)
    except (ValueError, OSError, pd.errors.ParserWarning) as error:
        if str(error).startswith("path: "):
            raise
        reason = str(error).strip()
        raise ValueError(f"path: {path} cannot be read as csv: {reason}") from None


def _check_names(names: list[str], path: Path) -> None:
    """Raise `ValueError` for names of columns that stand there twice, or cannot be printed."""
    if twice := [name for name, count in Counter(names).items() if count > 1 and name]:
        raise ValueError(
            f"path: {path.name} has several columns {twice[0]!r}; give each a name of its own"
        )
    if strange := [name for name in names if not name.isprintable()]:
        raise ValueError(
            f"path: {path.name} has control characters in the name of a column, {strange[0]!r}; "
            "write another name"
        )
    if len(names) > MOST_INPUTS:
        raise ValueError(
            f"path: {path.name} has {len(names)} columns; at most {MOST_INPUTS:,} are taken: keep "
            "those that matter"
        )


def checked_numbers(frame: "DataFrame", path: Path) -> "DataFrame":
    """A table's entries as numbers; `ValueError` names the first that is none."""
    import pandas as pd

    numbers = pd.DataFrame({name: _numeric(frame[name]) for name in frame.columns})
    broken = np.argwhere((numbers.isna() & frame.notna()).to_numpy())
    if len(broken):
        row, column = broken[0]
        raise ValueError(
            f"path: data row {row + 1} of {path.name}, column {frame.columns[column]!r}, "
            f"holds {shown(frame.iat[row, column])}, which is not a number"
        )
    return numbers


def _numeric(column: Any) -> Any:
    """A column's entries as numbers, NaN where they are none or too large for one."""
    import pandas as pd

    try:
        numbers: Any = pd.to_numeric(column, errors="coerce")
        return numbers.astype(float)
    except (OverflowError, ValueError):
        numbers: Any = pd.to_numeric(column.astype(str), errors="coerce")
        return numbers.where(np.isfinite(numbers))


def arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of an archive; nothing in it is ever executed."""
    try:
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise ValueError("it is a single array (npy)")
            _check_sizes(file)
            return {name: np.asarray(archive[name]) for name in archive.files}
    except BROKEN as error:
        reason = "it holds Python objects, or is no archive at all"
        reason = reason if "pickle" in str(error) else str(error) or type(error).__name__
        raise ValueError(f"path: {path} cannot be read as npz: {reason}") from None


def _check_sizes(file: BinaryIO) -> None:
    """Raise `ValueError` for arrays that announce more numbers than the archive holds."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as held:
                major, _ = np.lib.format.read_magic(held)
                read = {1: "read_array_header_1_0", 2: "read_array_header_2_0"}.get(major)
                if read is None:
                    raise ValueError(f"{member.filename} has a header of an unknown version")
                shape, _, dtype = getattr(np.lib.format, read)(held)
            announced = math.prod(map(int, shape)) * dtype.itemsize
            if announced > member.file_size:
                raise ValueError(
                    f"{member.filename} announces {announced:.3g} bytes and holds "
                    f"{member.file_size:.3g}"
                )
            if announced > MOST_BYTES:
                raise ValueError(
                    f"{member.filename} is larger than {MOST_BYTES:.0e} bytes; keep fewer rows"
                )
