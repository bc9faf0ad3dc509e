"""Numbers with their errors: intervals of means, RMS, what averaging noisy seeds leaves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr
from scipy.special import stdtrit


def rms_over_outputs(values: xr.DataArray) -> xr.DataArray:
    """The root of the mean square over observed inputs and channels."""
    return (values**2).mean(["input", "channel"]) ** 0.5


def offset(values: np.ndarray, f: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RMS over outputs of E_s f_s − f, and its standard error, both `(width, time)`.

    `values (width, seed, time, input, channel)` are the f_s. The square is without the bias that
    averaging S noisy seeds adds to it:

    with distances δ_s = f_s − f: mean over x of (Σ_{s≠r} δ_s δ_r) / (S(S−1)) estimates the
    square without bias; its standard error is the jackknife's over seeds.
    """
    seeds = values.shape[1]
    if seeds < 3:
        shape = values.shape[0], values.shape[2]
        return np.full(shape, np.nan), np.full(shape, np.nan)
    delta = values - f
    total, own = delta.sum(axis=1), (delta**2).mean(axis=(-2, -1))

    def square(sum_: np.ndarray, own_sum: np.ndarray, count: int) -> np.ndarray:
        return ((sum_**2).mean(axis=(-2, -1)) - own_sum) / (count * (count - 1))

    whole = square(total, own.sum(axis=1), seeds)
    left_out = np.stack(
        [square(total - delta[:, s], own.sum(axis=1) - own[:, s], seeds - 1) for s in range(seeds)]
    )
    deviation = left_out - left_out.mean(axis=0)
    square_se = np.sqrt((seeds - 1) / seeds * (deviation**2).sum(axis=0))
    size, hidden = np.sqrt(np.maximum(whole, 0.0)), np.sqrt(square_se)
    # d√q = dq / 2√q where q is resolved; else √(its error) bounds what may hide below it.
    resolved = np.maximum(size, np.maximum(hidden, np.finfo(float).tiny))
    return size, np.where(whole > square_se, square_se / (2 * resolved), hidden)


def half_width(spread: Any, replicates: int) -> Any:
    """95 % half-width of a mean over this many replicates with this standard deviation."""
    return stdtrit(replicates - 1, 0.975) * spread / math.sqrt(replicates)


def replicate_half_width(values: np.ndarray) -> np.ndarray:
    """Half-width of the 95 % interval of a mean over replicates (first axis), by Student's t.

    One replicate alone is exact: it has no quadrature error.
    """
    count = len(values)
    if count == 1:
        return np.zeros_like(values[0])
    return half_width(np.std(values, axis=0, ddof=1), count)


HALVING = 2.0
"""A bound on the error of steps is so many times what halving them changes: it holds where halving
makes the error half as large or smaller, which methods of order 1 do. On 60 random exact problems
the change had to be multiplied by 1.3 at most, by 1.5 at loose tolerances: orders are 3 and 5
(`benchmarks/time_errors_cover.py`)."""


def step_error(values: Any, finer: Any) -> Any:
    """A bound on the error of `values` that steps make, `finer` being those of halved steps."""
    return HALVING * abs(values - finer)


@dataclass(frozen=True)
class Estimate:
    """A number, or an array of them, with its error: the mean over replicates of random nodes.

    `quadrature` is the 95 % half-width for the nodes, `time` a bound on the error of steps.
    """

    value: np.ndarray
    quadrature: np.ndarray
    time: np.ndarray

    @classmethod
    def of(cls, replicates: Sequence[Any], finer: Any) -> "Estimate":
        """From replicates, the first of which is known with finer steps too."""
        first = np.asarray(replicates[0], float)
        bound = step_error(first, np.asarray(finer, float))
        value, spread = np.empty_like(first), np.empty_like(first)
        rows = np.atleast_1d(value), np.atleast_1d(spread)
        for place in range(len(rows[0])):  # large arrays are not stacked whole
            own = slice(place, place + 1)
            values = np.stack([np.atleast_1d(np.asarray(one, float))[own] for one in replicates])
            rows[0][own], rows[1][own] = values.mean(axis=0), replicate_half_width(values)
        return cls(value, spread, bound)

    @property
    def error(self) -> np.ndarray:
        """Both errors together."""
        return self.quadrature + self.time


def measured(one: Callable[[int, bool], Any], replicates: int) -> Any:
    """What `one(replicate, finer)` finds, a tree of arrays, as a tree of `Estimate`s.

    It is called for every replicate, and once more for the first with finer steps.
    """
    runs = [one(number, False) for number in range(replicates)]
    return jax.tree.map(lambda last, *each: Estimate.of(each, last), one(0, True), *runs)
