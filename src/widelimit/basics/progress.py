"""Progress of long work: a bar where somebody watches, lines in the log where nobody does."""

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from widelimit.basics.store import Store
from widelimit.basics.whole import write_whole
from widelimit.basics.words import duration

LOG = logging.getLogger("widelimit")
"""Forecasts and, without a bar, how far long work has come; commands show it on standard error."""

SILENCE = 60.0
"""Without a bar nobody waits longer than so many seconds for a line."""

FIRST_SILENCE = 15.0
"""The first line does not wait so long."""

ENOUGH = 3.0
"""Seconds of work that tell how long the rest takes; what takes no longer is not forecast."""


NOTE, NOTED = "progress.json", 5.0
"""The file that tells others how far kept work has come, and how old it is at most."""

BAR = "{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"
"""What is done, and how long it has taken."""


class Point(NamedTuple):
    """When so much was done."""

    time: float
    done: float


class Progress:
    """What is done of some work, how long it has taken, and what is to come.

    Work is counted in `Piece`s, which may go on side by side. The bar is full when all is over, not
    before: more may turn out to be needed.
    """

    def __init__(self, what: str, bar: tqdm):
        self.what, self.bar = what, bar
        self.place = "under way"
        self.done, self.total = 0.0, 0.0
        self.started, self.logged, self.quiet = time.monotonic(), time.monotonic(), FIRST_SILENCE
        self.noted = self.started
        self.pace: Point | None = None
        self.forecast = False
        self.lock = threading.RLock()

    def expect(self, more: int) -> None:
        """So many pieces are known to come."""
        with self.lock:
            self.total = self.done + more
            self.pace, self.forecast = None, False
            self.bar.total = self.total + 1
            self.bar.refresh()

    def named(self, what: str) -> None:
        """What is being done now."""
        self.what = what
        self.bar.set_description_str(what)

    def piece(self) -> "Piece":
        """A piece of the work begins."""
        return Piece(self)

    def advanced(self, amount: float, place: str) -> None:
        """So much of a piece is done, and where in it the work is."""
        with self.lock:
            self.done += amount
            if self.done > self.total:
                self.total, self.bar.total = self.done, self.done + 1
            self.place = place
            self.bar.set_postfix_str(f" {place}", refresh=False)
            self.bar.update(amount)
            now = Point(time.monotonic(), self.done)
            self.pace = self.pace or now  # what comes before it is compiling
            tells = now.time - self.pace.time > ENOUGH and self.to_come() > FIRST_SILENCE
            if tells and not self.forecast and self.bar.disable:
                self.tell()
        self.break_silence()

    def to_come(self) -> float:
        """Seconds that what is known to come takes at the present pace; 0 where none is known."""
        if self.pace is None or self.done <= self.pace.done:
            return 0.0
        passed = time.monotonic() - self.pace.time
        return (self.total - self.done) * passed / (self.done - self.pace.done)

    def tell(self) -> None:
        """Say where the work is and how long what is known to come takes."""
        said, left = f"{self.place}, {duration(time.monotonic() - self.started)} so far", ""
        if (seconds := self.to_come()) > 0:
            self.forecast = True
            left = f", about {duration(seconds)} to come at this pace"
        self.say(said + left)

    def break_silence(self) -> None:
        """Without a bar, say something if nothing has been said for long."""
        with self.lock:
            if self.bar.disable and time.monotonic() - self.logged > self.quiet:
                self.tell()

    def note(self, folder: Path) -> None:
        """Write down how far the work has come, beside what is kept of it, now and then."""
        now = time.monotonic()
        if now - self.noted < NOTED or not folder.is_dir():
            return
        self.noted = now
        told = {"what": self.what, "place": self.place, "seconds": now - self.started}
        told["seconds_to_come"] = self.to_come()
        with suppress(OSError):  # a note is not worth an error
            write_whole(folder / NOTE, lambda p: p.write_text(json.dumps(told), encoding="utf-8"))

    def say(self, sentence: str) -> None:
        """A sentence for whoever waits."""
        with self.lock:
            self.logged, self.quiet = time.monotonic(), SILENCE
            with _beside(self.bar):
                LOG.info("%s: %s", self.what, sentence)


class Piece:
    """A piece of the work on its way: one integration, or networks trained together."""

    def __init__(self, progress: Progress):
        self.progress, self.share = progress, 0.0

    def at(self, share: float, place: str) -> None:
        """The share of it that is done (0 … 1), and where that is."""
        self.progress.advanced(share - self.share, place)
        self.share = share


@contextmanager
def _beside(bar: tqdm) -> Iterator[None]:
    """Lines that do not tear the bar."""
    if bar.disable:
        yield
    else:
        with tqdm.external_write_mode(file=bar.fp):
            yield


@contextmanager
def progress(what: str, shown: bool | None = None, expected: int = 0) -> Iterator[Progress]:
    """Progress of some work, on standard error; so many pieces are `expected`.

    `shown` shows or hides the bar; None shows it if standard error is a terminal. Without a bar a
    line is logged now and then, even while nothing is done that could be counted.
    """
    hidden = None if shown is None else not shown
    with tqdm(desc=what, disable=hidden, bar_format=BAR) as bar:
        found, over = Progress(what, bar), threading.Event()
        if expected:
            found.expect(expected)

        store = Store.here()

        def watch() -> None:
            while not over.wait(1.0):
                found.break_silence()
                if store.folder is not None and store.noted:
                    found.note(store.folder)

        watcher = threading.Thread(target=watch, name="widelimit progress", daemon=True)
        watcher.start()
        try:
            yield found
        finally:
            over.set()
            watcher.join()
        bar.update(max(0.0, (bar.total or 0) - bar.n))
