"""Compiled code kept on disk, so that the next process need not compile it again."""

import contextlib
import hashlib
import os
import platform
from pathlib import Path

from platformdirs import user_cache_path

MOST_BYTES = 2**29
"""The cache forgets what was used longest ago beyond this size."""


def keep_compiled() -> None:
    """Let JAX keep compiled code in the user's cache folder, unless JAX_… variables say otherwise.

    To be called before JAX is imported. `JAX_ENABLE_COMPILATION_CACHE=false` switches it off.
    Checks inside compiled code (diffrax has some) give NaN, not exceptions, for these need host
    callbacks, and code with host callbacks is never kept; `flow` looks for NaN.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = user_cache_path("widelimit") / _processor()
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
        os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(MOST_BYTES))
        _date_entries(folder)
    wanted = {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "EQX_ON_ERROR": "nan",
    }
    for name, value in wanted.items():
        os.environ.setdefault(name, value)


def _date_entries(folder: Path) -> None:
    """Give every entry the time of use that JAX keeps beside it, and cannot do without.

    A process that was killed between two files, or one that set no size, leaves entries without
    it; a bounded cache then refuses every further entry.
    """
    for entry in folder.glob("*-cache"):
        used = entry.with_name(f"{entry.name.removesuffix('-cache')}-atime")
        if not used.exists():
            with contextlib.suppress(OSError):  # another process may be as quick, or own the folder
                used.write_bytes(entry.stat().st_mtime_ns.to_bytes(8, "little"))


def _processor() -> str:
    """A name for this kind of processor: code compiled for one may not run on another."""
    lines = [platform.machine(), platform.processor()]
    description = Path("/proc/cpuinfo")  # Linux; elsewhere the name has to do
    if description.is_file():
        text = description.read_text(encoding="utf-8", errors="replace")
        lines += [line for line in text.splitlines() if line.startswith(("flags", "Features"))][:1]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]
