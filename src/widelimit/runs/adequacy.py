"""Whether runs follow the model E y_n = y_∞ + B/n, Var y_n = V/n: what their table says about it.

Three tests, each of which refuses a right model once in forty times: means lie on a line in 1/n
(F test), the exponent of 1/n that fits best is not far better than 1 (F test), and the variance
does not stay while widths grow.
"""

import math
from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from widelimit.runs.line import FEWEST_WIDTHS, Means, Power, free_power

ALARM = 0.025
"""Each test of the model refuses a right one so often."""

RIVAL = 0.5
"""The exponent that 1/n must be told apart from, to be called adequate; and the least power of 1/n
with which a variance may fall."""


class Verdict(NamedTuple):
    """Whether the model serves (None: that cannot be told), why, and the fits it comes from."""

    adequate: bool | None
    why: str
    misfit: float
    power: Power


def judged(means: Means, alarm: float = ALARM) -> Verdict:
    """Whether the means of one number follow the model; each test refuses a right one so often."""
    power, misfit = free_power(means), float(means.misfit())
    adequate, why = _judged(means, power, misfit, alarm)
    return Verdict(adequate, why, misfit, power)


def _judged(means: Means, power: Power, misfit: float, alarm: float) -> tuple[bool | None, str]:
    interval = f"{_end(power.exponent_low)} … {_end(power.exponent_high)}"
    b = means.combination(row=1)
    if means.constant:
        return None, "is the same in all runs: there is nothing to extrapolate"
    if misfit < alarm:
        return False, (
            f"means do not lie on a line in 1/n (that they are so far off it has a probability of "
            f"{misfit:.1g}); with a free exponent it is {power.exponent:.2f} ({interval})"
            + _better_without(means)
        )
    if (falls := fall_of_variance(means, alarm)) < RIVAL:
        return False, (
            f"runs of wide networks scatter as those of narrow ones: their variance is "
            f"∝ n^(−{max(falls, 0.0):.2g}) at most, and V/n asks for 1: something random stays at "
            "every width (a step that does not shrink, data drawn anew, noise)"
        )
    if abs(means.estimate(b)) <= means.half_width(b):
        return None, (
            "means of different widths differ by no more than runs scatter, so that 1/n is neither "
            "confirmed nor refused; the interval is that of a line in 1/n"
        )
    if power.unlike_one < alarm:
        return False, (
            f"means shrink with another power: the exponent is {power.exponent:.2f} ({interval}), "
            "and 1/n has 1" + _better_without(means)
        )
    if power.exponent_low <= RIVAL:
        return None, (
            f"a line in 1/n fits, and so would other powers (exponent {interval}): more seeds, or "
            "widths farther apart, would tell"
        )
    return True, f"means lie on a line in 1/n (free exponent {interval})"


def fall_of_variance(means: Means, alarm: float = ALARM) -> float:
    """The largest γ with Var ∝ n^(−γ) that the variances of one number allow (at 1 − `alarm`).

    Logarithms of variances with ν degrees of freedom scatter by about √(2/ν).
    """
    own = (means.counts > 1) & (means.variances > 0)
    if own.sum() < 2:
        return math.inf
    x, weight = np.log(means.widths[own]), means.freedom[own] / 2
    y = np.log(means.variances[own]) + 1 / means.freedom[own]  # E log χ²_ν/ν ≈ −1/ν
    apart = x - np.average(x, weights=weight)
    spread = float(weight @ apart**2)
    return -float(weight * apart @ y) / spread + float(ndtri(1 - alarm)) / math.sqrt(spread)


def _better_without(means: Means) -> str:
    """Whether the other widths do lie on a line where the narrowest is left out."""
    rest = means
    while len(rest.widths) > FEWEST_WIDTHS:
        rest = rest.without_narrowest()
        if free_power(rest).unlike_one >= ALARM and float(rest.misfit()) >= ALARM:
            return f"; from width {rest.widths[0]:g} on they do: leave narrower ones out"
    return ""


def _end(value: float) -> str:
    """An end of an interval; where it is open nothing is seen."""
    return f"{value:.2f}" if math.isfinite(value) else ("0" if value < 0 else "∞")
