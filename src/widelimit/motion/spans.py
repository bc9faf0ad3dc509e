"""Stretches of time that no integration steps out of: between observed times and schedules' stops.

A schedule holds from its jumps on: a span that starts at a jump sees the value after it, and one
that ends there the value before.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array

from widelimit.problem.training.schedules import stops_among


class Span(NamedTuple):
    """The times from `start` to `stop`, `stop` itself left out."""

    start: Array
    stop: Array


def within(span: Span, time: ArrayLike) -> Array:
    """The nearest time that belongs to the span."""
    return jnp.clip(time, span.start, jnp.nextafter(span.stop, span.start))


def spans_to(
    times: np.ndarray, scheduled: Any, dtype: DTypeLike, halved: bool = False
) -> Iterator[list[Span]]:
    """For each of the increasing `times` the spans that lead to it from the one before, or from 0.

    They end at the stops of all rates in `scheduled`, and with `halved` half-way between as well;
    `dtype` holds their ends. There is none where no time passes.

    >>> times = np.array([0.0, 1.0, 3.0])
    >>> [[(float(a), float(b)) for a, b in spans] for spans in spans_to(times, None, float)]
    [[], [(0.0, 1.0)], [(1.0, 3.0)]]
    """
    start, stops = 0.0, stops_among(scheduled, float(times[-1]))
    for time in times:
        inner = stops[(stops > start) & (stops < time)]
        ends = np.unique(np.asarray([start, *inner, time], dtype))
        if halved:
            ends = np.unique(np.concatenate([ends, 0.5 * (ends[:-1] + ends[1:])]))
        yield [Span(jnp.asarray(a), jnp.asarray(b)) for a, b in pairwise(ends)]
        start = time
