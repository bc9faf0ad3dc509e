"""Moments on a way through time: between two compiled calls, all is what a moment holds.

Whoever goes along a way may stop at any moment and go on from it, in another process if need be:
what comes is the same, bit for bit.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from widelimit.basics.store import Entry
from widelimit.ensemble.neurons import Ensemble


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
