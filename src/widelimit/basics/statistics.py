"""Numbers with their errors: intervals of means, RMS, what averaging noisy seeds leaves."""

import math

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


def replicate_half_width(values: np.ndarray) -> np.ndarray:
    """Half-width of the 95 % interval of a mean over replicates (first axis), by Student's t.

    One replicate alone is exact: it has no quadrature error.
    """
    count = len(values)
    if count == 1:
        return np.zeros_like(values[0])
    spread = np.std(values, axis=0, ddof=1)
    return stdtrit(count - 1, 0.975) * spread / math.sqrt(count)
