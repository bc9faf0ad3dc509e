"""Standard streams that take no more: a full disk, a closed pipe. Nothing that is said there is
worth a result, so what cannot be written is dropped, and commands go on.
"""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Stream:
    """A text stream that drops what cannot be written. `lost` is why, None while all is well."""

    def __init__(self, stream: Any):
        self._stream = _nowhere() if stream is None else stream
        self.lost: str | None = None

    def write(self, text: str) -> int:
        """Write, or drop."""
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._lose(error)
            return len(text)

    def flush(self) -> None:
        """Flush, or drop."""
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._lose(error)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def _lose(self, error: Exception) -> None:
        self.lost = getattr(error, "strerror", None) or str(error)
        self._stream = _nowhere()


def _nowhere() -> TextIO:
    """What takes the place of a stream, and its number, or the next file would get that."""
    return open(os.devnull, "w", encoding="utf-8")


@contextmanager
def forgiving() -> Iterator[None]:
    """Standard output and error drop what cannot be written, and what ASCII has not is escaped.

    Nor are they told what libraries fail at while they close a file that was damaged. Streams that
    were lost stay so: at its end Python would complain once more.
    """
    before, hook = (sys.stdout, sys.stderr), sys.unraisablehook
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    out, err = Stream(before[0]), Stream(before[1])
    sys.stdout, sys.stderr = out, err  # pyright: ignore[reportAttributeAccessIssue]
    sys.unraisablehook = lambda _: None
    try:
        yield
    finally:
        sys.unraisablehook = hook
        out.flush()
        err.flush()
        sys.stdout = before[0] if out.lost is None else out._stream
        sys.stderr = before[1] if err.lost is None else err._stream


class _ToStandardError(logging.StreamHandler[TextIO]):
    """What the library logs, on the standard error of the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line; a closed stream is no reason to stop computing."""
        self.stream = sys.stderr
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nobody listens any more."""


@contextmanager
def logged() -> Iterator[None]:
    """Forecasts and how far long work has come, on standard error, terminal or not, once."""
    log = logging.getLogger("widelimit")
    if any(isinstance(handler, _ToStandardError) for handler in log.handlers):
        yield
        return
    handler, before = _ToStandardError(), (log.level, log.propagate)
    handler.setFormatter(logging.Formatter("widelimit: %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False  # or loggers above it would say it again
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.level, log.propagate = before
