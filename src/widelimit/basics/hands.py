"""Other hands: pieces of long work are done ahead by other processes, and found in the store.

Whoever has many pieces to do asks for them by `ahead` and then does all of them: those that other
hands have done are there already. So nothing depends on who did them, and where hands fail,
nothing is missing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from widelimit.basics.progress import progress
from widelimit.basics.store import Store, kept_in


@dataclass(frozen=True, eq=False)
class Ahead:
    """A piece of work that is to be kept in a folder: `work(*given)`, for other processes."""

    name: str
    work: Callable[..., Any]
    given: tuple[Any, ...]
    folder: Path

    def do(self) -> None:
        """Do it, and keep what it finds. Who needs it comes upon its errors, and tells them.

        How far the whole work is, is told by who gave it.
        """
        with kept_in(self.folder, noted=False), suppress(Exception):
            self.work(*self.given)


Hands = Callable[[Sequence[Ahead]], Iterator[Ahead]]
"""Has pieces done by other processes; each is yielded when it has ended."""

_hands: ContextVar[Hands | None] = ContextVar("other hands", default=None)


@contextmanager
def helped_by(hands: Hands) -> Iterator[None]:
    """Pieces of work inside the block are given to other hands, where work is kept."""
    token = _hands.set(hands)
    try:
        yield
    finally:
        _hands.reset(token)


def ahead(work: Callable[..., Any], pieces: Mapping[str, tuple[Any, ...]]) -> Iterator[str]:
    """Have `work(*given)` done for all pieces, by their names; yields each that has ended.

    Functions and what they are given go to other processes by pickle. Nothing is done, and nothing
    yielded, where there are no other hands, or no work is kept.
    """
    hands, folder = _hands.get(), Store.here().folder
    if hands is None or folder is None:
        return
    for task in hands([Ahead(name, work, given, folder) for name, given in pieces.items()]):
        yield task.name


def all_ahead(
    what: str,
    work: Callable[..., Any],
    pieces: Callable[[], Mapping[str, tuple[Any, ...]]],
    shown: bool | None,
) -> None:
    """Have all pieces done before going on; see `ahead`. `shown` is that of `progress`."""
    if _hands.get() is None:
        return
    asked = pieces()
    with progress(f"{what}: by workers", shown, len(asked)) as told:
        for name in ahead(work, asked):
            told.piece().at(1.0, name)
