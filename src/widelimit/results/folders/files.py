"""Files of a folder, each written whole or not at all."""

import json
import math
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import xarray as xr
from filelock import BaseFileLock, FileLock, Timeout

from widelimit.basics.errors import RunFolderError
from widelimit.basics.whole import sweep, write_whole

UNREADABLE = (
    OSError, ValueError, LookupError, RuntimeError, TypeError, AttributeError, AssertionError,
    MemoryError,
)  # fmt: skip
"""What xarray and h5py raise on a file that is damaged, or is none of ours."""


MOMENT = 0.3
"""Seconds that whoever wants a folder waits for one who only looks whether it is free."""

LOCK, OWNER = ".lock", ".owner"
"""Files that tell whose a folder is."""

COMPRESSION = {"zlib": True, "complevel": 2}


class Files:
    """A folder whose files are written whole or not at all."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self._lock: BaseFileLock | None = None

    def _make(self, patience: float = MOMENT) -> None:
        """The folder itself, writable, ours, and without what killed processes left."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFolderError(f"{self.path} cannot be made: {error.strerror}") from None
        if not os.access(self.path, os.W_OK):
            raise RunFolderError(f"{self.path} cannot be written to; name another with -o")
        self.hold(patience)
        sweep(self.path)

    def hold(self, patience: float = MOMENT) -> None:
        """Keep other processes away from the folder, if it is there, while this object lives.

        The system's lock on a file ends with the process, however that ends: no lock is ever stale.
        Raises `RunFolderError` if another process holds the folder for so many seconds more.
        """
        if not self.path.is_dir():
            return
        lock = FileLock(self.path.resolve() / LOCK, is_singleton=True)
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise RunFolderError(
                f"{self.path} is in use by {self._owner()}; wait for it, or name another folder "
                "with -o"
            ) from None
        except (NotImplementedError, OSError):
            return  # a file system without locks
        self._lock = lock
        mine = f"process {os.getpid()} on {platform.node()}, since {time.strftime('%F %T')}"
        (self.path / OWNER).write_text(mine, encoding="utf-8")

    def release(self) -> None:
        """Let other processes have the folder."""
        if self._lock is not None:
            self._lock.release(force=True)
            self._lock = None

    def at_work(self) -> str | None:
        """Which process holds the folder; None if none does."""
        if not (self.path / LOCK).is_file():
            return None
        try:
            with FileLock(self.path.resolve() / LOCK, timeout=0):
                return None
        except Timeout:
            return self._owner()
        except (NotImplementedError, OSError):
            return None

    def _owner(self) -> str:
        owner = self.path / OWNER
        return owner.read_text(encoding="utf-8") if owner.is_file() else "another process"

    def _read_json(self, name: str, kind: Callable[..., Any]) -> Any:
        """What a file holds, as a `kind` (dict or list); an empty one if there is no file."""
        path = self.path / name
        if not path.is_file():
            return kind()
        try:
            return kind(json.loads(path.read_text(encoding="utf-8")))
        except UNREADABLE:
            raise RunFolderError(f"{path} cannot be read: it is damaged; delete it") from None

    def _attribute(self, name: str, attribute: str) -> str | None:
        """An attribute of a netCDF file; None if it has none, or is none of ours."""
        try:
            with xr.open_dataset(self.path / name, engine="h5netcdf") as file:
                return file.attrs.get(attribute)
        except UNREADABLE:  # not a result of ours: never silently replaced
            return None

    def _groups(self, name: str, digest: str | None) -> dict[str, xr.Dataset]:
        """The groups of a netCDF file that belong to the result with this digest."""
        path, groups = self.path / name, {}
        if digest is None or not path.is_file():
            return groups
        try:
            with xr.open_datatree(path, engine="h5netcdf") as tree:
                for own, group in tree.children.items():
                    if group.attrs.get("digest") == digest:
                        groups[own] = group.to_dataset().load()
        except UNREADABLE:
            raise RunFolderError(
                f"{path} cannot be read: it is damaged; delete this file alone: limits and "
                "networks are whole in theirs. Without it a report has no laws of weights, and "
                "widelimit train trains its networks again"
            ) from None
        return groups

    def _write_groups(self, name: str, groups: dict[str, xr.Dataset]) -> None:
        tree = xr.DataTree.from_dict(groups)
        encoding = {f"/{own}": dict.fromkeys(g.data_vars, COMPRESSION) for own, g in groups.items()}
        self._write_netcdf(name, tree, encoding)

    def _write_netcdf(
        self, name: str, held: xr.Dataset | xr.DataTree, encoding: dict[Any, Any] | None = None
    ) -> None:
        """A netCDF file, made in memory: HDF5 ends the whole process where a disk is full."""
        made = held.to_netcdf(engine="h5netcdf", encoding=encoding)
        self._write(name, lambda p: p.write_bytes(made))

    def _write_json(self, name: str, value: Any) -> None:
        text = json.dumps(_nan_as_null(value), indent=1, allow_nan=False)
        self.save_text(name, text)

    def save_text(self, name: str, text: str) -> None:
        """Write a file of plain text."""
        self._write(name, lambda p: p.write_text(text, encoding="utf-8"))

    def _write(self, name: str, write: Callable[[Path], Any]) -> None:
        """A file of the folder, whole or not at all."""
        try:
            write_whole(self.path / name, write)
        except OSError as error:
            reason = error.strerror or str(error)
            after = "what was there stays" if self.path.is_dir() else f"{self.path} is gone"
            raise RunFolderError(
                f"{self.path / name} cannot be written: {reason}; {after}"
            ) from None


def _nan_as_null(value: Any) -> Any:
    """JSON has no NaN: what could not be estimated is null."""
    if isinstance(value, dict):
        return {key: _nan_as_null(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_nan_as_null(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value
