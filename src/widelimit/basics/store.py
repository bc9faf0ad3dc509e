"""Long work kept in a folder: what was done is taken over, what was begun goes on where it was.

A piece of work is named by all that it depends on: its entry has their digest for a name, with the
versions that compute it, so nothing is ever taken for something else. Entries hold plain arrays.
"""

import hashlib
import io
import logging
import os
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import jax
import numpy as np

from widelimit import __version__
from widelimit.basics.errors import RunFolderError
from widelimit.basics.whole import sweep, write_whole

PAUSE = 20.0
"""Work that goes on writes down where it is every so many seconds."""

SHORT = 0.1
"""What took fewer seconds is done again rather than kept."""

UNREADABLE = (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError)
"""What NumPy raises on a file that is damaged."""

LOG = logging.getLogger(__name__)

_here: ContextVar["Store | None"] = ContextVar("where work is kept", default=None)


@contextmanager
def kept_in(folder: str | Path, *, noted: bool = True) -> Iterator[None]:
    """Long work inside the block is kept in a folder, and goes on from there when begun again.

    What comes out is the same, bit for bit, as without a kill in between. Kept is what integrations
    of limits and the training of networks have found, and every 20 seconds where they are; delete
    the folder when its work is done. Problems with functions of one's own have no digest: their
    work is not kept. How far the work is stands beside it, if it is `noted`.

    >>> import tempfile
    >>> from widelimit import Problem, solve
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"]}, "training": {"horizon": 1.0},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ... })
    >>> with tempfile.TemporaryDirectory() as folder, kept_in(folder):
    ...     limit = solve(problem)
    """
    token = _here.set(Store(Path(folder), noted))
    try:
        yield
    finally:
        _here.reset(token)


class Store:
    """Where work is kept, or nowhere."""

    def __init__(self, folder: Path | None, noted: bool = False):
        self.folder, self.noted = folder, noted

    @classmethod
    def here(cls) -> "Store":
        """The folder of the block that this thread is in; nowhere outside `kept_in`."""
        return _here.get() or cls(None)

    def entry(self, *depends: Any) -> "Entry":
        """The place of the work that depends on this: a tree of arrays, numbers and text."""
        if self.folder is None or any(own is None for own in depends):
            return Entry(None)
        self.folder.mkdir(parents=True, exist_ok=True)
        sweep(self.folder)
        return Entry(self.folder / _digest(depends))


class Entry:
    """The place of one piece of work."""

    def __init__(self, path: Path | None):
        self.path = path
        self.begun = self.written = time.monotonic()

    def part(self, name: str) -> "Entry":
        """The place of a part of the work."""
        return Entry(None if self.path is None else self.path.with_name(f"{self.path.name}-{name}"))

    def once(self, work: Callable[[], Any], like: Callable[[], Any]) -> Any:
        """What `work()` finds, in the layout of `like()`: taken over if it is kept, kept if not."""
        found = self.found(like)
        if found is None:
            found = work()
            self.done(found)
        return found

    def along(
        self, count: int, step: Callable[[int, Any], tuple[Any, Any]], like: Any, state: Any
    ) -> list[Any]:
        """What `step(k, state)` finds for every k below `count`, beside the state that it leaves.

        All are in the layout of `like`, and kept as they come.
        """
        found, state = self.resumed(lambda known: ([like] * known, state)) or ([], state)
        for k in range(len(found), count):
            one, state = step(k, state)
            found.append(one)
            self.going(k + 1, lambda now=(found, state): now)
        return found

    def found(self, like: Callable[[], Any]) -> Any:
        """What was found by the whole work, in the layout of `like()`; None if it is not done."""
        return self._read("done", lambda _: like())

    def done(self, found: Any) -> None:
        """Keep what the whole work has found, unless it took no time."""
        if self.path is None:
            return
        going = self._file("going")
        if time.monotonic() - self.begun > SHORT:
            self._write("done", found)
        going.unlink(missing_ok=True)

    def resumed(self, like: Callable[[int], Any]) -> Any:
        """Where the work was, in the layout of `like(count)`; None if it has not begun."""
        return self._read("going", like)

    def going(self, count: int, now: Callable[[], Any]) -> None:
        """Keep where the work is, if that was not done for some time."""
        if self.path is not None and time.monotonic() - self.written > PAUSE:
            self._write("going", now(), count)
            self.written = time.monotonic()

    def _file(self, state: str) -> Path:
        assert self.path is not None
        return self.path.with_suffix(f".{state}.npz")

    def _write(self, state: str, tree: Any, count: int = 0) -> None:
        held = {str(place): np.asarray(leaf) for place, leaf in enumerate(jax.tree.leaves(tree))}
        made = io.BytesIO()
        np.savez(made, allow_pickle=False, count=count, **held)
        try:
            write_whole(self._file(state), lambda p: p.write_bytes(made.getbuffer()))
        except FileNotFoundError:
            folder = self._file(state).parent
            raise RunFolderError(
                f"{folder} is gone: it was deleted while work was kept there; start again"
            ) from None
        except OSError as error:  # what is not kept is lost by a kill alone
            LOG.warning("work cannot be kept in %s: %s", self._file(state), error.strerror)
            self.path = None

    def _read(self, state: str, like: Callable[[int], Any]) -> Any:
        if self.path is None or not self._file(state).is_file():
            return None
        try:
            held = io.BytesIO(self._file(state).read_bytes())
            with np.load(held, allow_pickle=False) as file:
                leaves = [file[str(place)] for place in range(len(file.files) - 1)]
                count = int(file["count"])
            return jax.tree.unflatten(jax.tree.structure(like(count)), leaves)
        except UNREADABLE:  # a disk's fault: it is done again
            return None


def _digest(depends: Any) -> str:
    """SHA-256 of arrays, numbers and text in a tree, of its layout, and of what computes with them.

    What is no array of an ensemble, such as the depth of its units, is part of the layout.
    """
    versions = [__version__, jax.__version__, np.__version__, os.environ.get("XLA_FLAGS", "")]
    found = hashlib.sha256(repr(versions).encode())
    leaves, layout = jax.tree.flatten(depends)
    found.update(str(layout).encode())
    for leaf in leaves:
        if isinstance(leaf, str):
            found.update(f"text {len(leaf)} {leaf}".encode())
            continue
        values = np.ascontiguousarray(leaf)
        found.update(f"{values.dtype} {values.shape}".encode())
        found.update(values.data)
    return found.hexdigest()
