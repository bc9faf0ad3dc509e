"""Files written whole or not at all, and what killed processes leave of them."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

ABANDONED_SECONDS = 3600
"""Temporary files older than this were left by a killed process."""

RECENT_SECONDS = 60
"""Younger ones are never taken away: another machine may write them."""


def write_whole(path: Path, write: Callable[[Path], Any]) -> None:
    """A file whole or not at all: temporary file, fsync, rename, fsync of the folder.

    `write` fills a file of that path. Raises `OSError`; what was there stays then.
    """
    handle, name = tempfile.mkstemp(
        prefix=f".{path.name}.", suffix=f".{os.getpid()}.tmp", dir=path.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        write(temporary)
        _sync(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove temporary files that killed processes left behind in a folder."""
    for path in folder.glob(".*.tmp"):
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            continue
        if age > ABANDONED_SECONDS or (age > RECENT_SECONDS and not _at_work(path)):
            path.unlink(missing_ok=True)


def _at_work(path: Path) -> bool:
    """Whether the process that a temporary file names is there, on this machine."""
    pid = path.name.split(".")[-2]
    return not pid.isdigit() or psutil.pid_exists(int(pid))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
