"""Progress of long work: a bar where somebody watches, lines in the log where nobody does."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from widelimit.basics.words import duration

LOG = logging.getLogger("widelimit")
"""Forecasts and, without a bar, how far long work has come; commands show it on standard error."""

SILENCE = 60.0
"""Without a bar a line is logged about every so many seconds."""


class Progress:
    """What is done of some work, and how long it has taken."""

    def __init__(self, what: str, bar: tqdm):
        self.what, self.bar = what, bar
        self.count, self.total = 0, bar.total
        self.started = self.logged = time.monotonic()

    def expect(self, more: int) -> None:
        """So many steps are to come."""
        self.total = self.bar.total = self.count + more
        self.bar.refresh()

    def named(self, what: str) -> None:
        """What is being done now."""
        self.what = what
        self.bar.set_description_str(what)

    def at(self, place: str) -> None:
        """Where in a step the work is."""
        self.bar.set_postfix_str(f" {place}", refresh=False)
        self.bar.update(0)

    def done(self, steps: int = 1) -> None:
        """So many steps are done."""
        self.count += steps
        self.bar.update(steps)
        if self.bar.disable and time.monotonic() - self.logged > SILENCE:
            share = f"{self.count} of {self.total} steps" if self.total else "under way"
            self.say(f"{share}, {duration(time.monotonic() - self.started)} so far")

    def say(self, sentence: str) -> None:
        """A sentence for whoever waits."""
        self.logged = time.monotonic()
        with _beside(self.bar):
            LOG.info("%s: %s", self.what, sentence)


@contextmanager
def _beside(bar: tqdm) -> Iterator[None]:
    """Lines that do not tear the bar."""
    if bar.disable:
        yield
    else:
        with tqdm.external_write_mode(file=bar.fp):
            yield


@contextmanager
def progress(what: str, shown: bool | None = None, total: int | None = None) -> Iterator[Progress]:
    """Progress of some work, on standard error.

    `shown` shows or hides the bar; None shows it if standard error is a terminal.
    """
    with progress_bar(what, shown, total) as bar:
        yield Progress(what, bar)


def progress_bar(what: str, progress: bool | None = None, total: int | None = None) -> tqdm:
    """A bar that tells what is done and how long it has taken."""
    return tqdm(
        total=total,
        desc=what,
        disable=None if progress is None else not progress,
        bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
    )
