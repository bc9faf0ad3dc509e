"""Moments on a way through time: between two compiled calls, all is what a moment holds.

Whoever goes along a way may stop at any moment and go on from it, in another process if need be:
what comes is the same, bit for bit.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from widelimit.basics.store import Entry
from widelimit.ensemble.neurons import Ensemble
from widelimit.motion.spans import Span


class Moment(NamedTuple):
    """An ensemble on its way: how many observed times it has reached, and where it is since.

    `place` belongs to the way, a tree of numbers and arrays.
    """

    ensemble: Ensemble
    observed: int
    place: Any


@runtime_checkable
class Way(Protocol):
    """A way through the observed times."""

    def first(self, start: Ensemble) -> Moment:
        """The moment before anything has moved."""
        ...

    def onward(self, moment: Moment) -> Iterator[Moment]:
        """The moments after this one: every observed time is one of them. Raises `Diverged`."""
        ...


def along(
    legs: Sequence[Sequence[Span]],
    across: Callable[[Span, Moment], Iterator[Moment]],
    moment: Moment,
) -> Iterator[Moment]:
    """The moments after one, through the spans that lead to each observed time.

    `across` goes to the end of a span, and counts the spans passed since an observed time in
    `place.spans`.
    """
    for observed in range(int(moment.observed), len(legs)):
        for span in legs[observed][int(moment.place.spans) :]:
            for later in across(span, moment):
                yield later
                moment = later
        moment = Moment(moment.ensemble, observed + 1, moment.place._replace(spans=0))
        yield moment


def seconds_of(way: Way, start: Ensemble, enough: float) -> float:
    """What the first part of a way takes when it is compiled: `enough` seconds of it, or all."""
    first = way.first(start)
    for moment in islice(way.onward(first), 2):  # compiled; the first may be time zero
        jax.block_until_ready(moment.ensemble)
    begun = time.perf_counter()
    for moment in way.onward(first):
        jax.block_until_ready(moment.ensemble)
        if time.perf_counter() - begun > enough:
            break
    return time.perf_counter() - begun


def ensembles(way: Way, start: Ensemble) -> Iterator[Ensemble]:
    """The ensemble at each observed time."""
    seen = 0
    for moment in way.onward(way.first(start)):
        if moment.observed > seen:
            seen = moment.observed
            yield moment.ensemble


def seen_along(
    way: Way,
    start: Ensemble,
    times: np.ndarray,
    look: Callable[[Ensemble, float], Any],
    entry: Entry,
) -> list[Any]:
    """What is seen at each of the observed `times`; it goes on from where `entry` was left."""
    first = way.first(start)

    def like(count: int) -> tuple[list[Any], Moment]:
        return [look(start, float(times[0]))] * count, first

    seen, begun = entry.resumed(like) or ([], first)
    for moment in way.onward(begun):
        if moment.observed > len(seen):
            seen.append(jax.tree.map(np.asarray, look(moment.ensemble, float(times[len(seen)]))))
        entry.going(len(seen), lambda now=moment: (seen, now))
    return seen
