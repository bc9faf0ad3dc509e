"""A paper's claims, each measured against its prediction, with an error and a verdict.

A claim predicts a number p and names a rival r: what would be found if the claim were false. A
measurement m with standard error s has the interval m ± k s, k from Student's t so that it misses
the truth with probability 1e-3. The claim *holds* if the interval contains p and not r, it
*fails* if the interval does not contain p, and is *not decided* otherwise: no tolerance is chosen.
Every claim is measured once more on a system that was made wrong on purpose, its control, which
must come out as fails.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.special import stdtrit

from widelimit.basics.store import Entry

Verdict = Literal["holds", "fails", "not decided"]

FALSE_ALARM = 1e-3
"""Probability that a claim that is true is said to fail."""


class Measured(NamedTuple):
    """A number, its standard error, and the degrees of freedom that the error has."""

    value: float
    error: float
    freedom: float = math.inf

    @property
    def half_width(self) -> float:
        """Half of the interval that misses the truth with probability `FALSE_ALARM`."""
        freedom = min(self.freedom, 1e9)  # as good as infinite
        return float(stdtrit(freedom, 1 - FALSE_ALARM / 2) * self.error)


def judged(predicted: float, rival: float, measured: Measured) -> Verdict:
    """Whether a measurement agrees with a prediction and can tell it from its rival.

    >>> judged(-0.5, 0.0, Measured(-0.52, 0.02))
    'holds'
    >>> judged(-0.5, 0.0, Measured(-0.1, 0.02))
    'fails'
    >>> judged(-0.5, 0.0, Measured(-0.3, 0.2))
    'not decided'
    """
    if not (math.isfinite(measured.value) and math.isfinite(measured.error)):
        return "not decided"
    if abs(measured.value - predicted) > measured.half_width:
        return "fails"
    return "holds" if abs(measured.value - rival) > measured.half_width else "not decided"


@dataclass(frozen=True)
class Claim:
    """One statement of a paper that can be observed.

    `measure` and `control` do the work; the control is the same measurement on a system made
    wrong as `wrong` says.
    """

    id: str
    statement: str
    source: str
    predicted: float
    rival: float
    measure: Callable[[], Measured]
    wrong: str
    control: Callable[[], Measured]


@dataclass(frozen=True)
class Finding:
    """What was found about a claim: an entry of claims.json (`error` is a standard error)."""

    id: str
    statement: str
    source: str
    predicted: float
    rival: float
    measured: float
    error: float
    half_width: float
    verdict: Verdict
    control: dict[str, Any]

    @property
    def control_failed(self) -> bool:
        """Whether the control came out as fails, as it must."""
        return self.control["verdict"] == "fails"

    def words(self) -> str:
        """The numbers in one line."""
        control = self.control
        return (
            f"{self.measured:.4g} ± {self.half_width:.2g}, predicted {self.predicted:g}; "
            f"control {control['measured']:.4g} ± {control['half_width']:.2g}: {control['verdict']}"
        )

    def as_dict(self) -> dict[str, Any]:
        """The entry of claims.json."""
        return asdict(self)


def checked(claim: Claim, entry: Entry) -> Finding:
    """Measure a claim and its control; what was measured is kept in `entry`, if anywhere."""

    def measured() -> tuple[Measured, Measured]:
        return claim.measure(), claim.control()

    numbers = entry.once(measured, lambda: (Measured(0.0, 0.0), Measured(0.0, 0.0)))
    found, wrong = (Measured(*map(float, one)) for one in numbers)
    return Finding(
        claim.id,
        claim.statement,
        claim.source,
        claim.predicted,
        claim.rival,
        found.value,
        found.error,
        found.half_width,
        judged(claim.predicted, claim.rival, found),
        {
            "wrong": claim.wrong,
            "measured": wrong.value,
            "error": wrong.error,
            "half_width": wrong.half_width,
            "verdict": judged(claim.predicted, claim.rival, wrong),
        },
    )


def mean(samples: np.ndarray) -> Measured:
    """The mean of independent samples."""
    count = len(samples)
    return Measured(
        float(np.mean(samples)), float(np.std(samples, ddof=1) / math.sqrt(count)), count - 1
    )


def exponent(
    widths: Sequence[int | float], samples: Sequence[np.ndarray], power: float = 1.0
) -> Measured:
    """The exponent b in m(n) = a n^b (1 + c/n), m(n) being the mean of samples at width n.

    The term c/n is the correction that a first-order law has at finite widths; without it a slope
    would be off by more than its standard error. `power` is taken of m first (½ for the root of a
    mean square). Weighted least squares on logarithms; needs four widths or more.
    """
    n = np.asarray(widths, float)
    found = [mean(s) for s in samples]
    logs = power * np.log(np.abs([m.value for m in found]))
    errors = power * np.array([m.error / abs(m.value) for m in found])
    design = np.stack([np.ones_like(n), np.log(n), n.min() / n], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope = (covariance @ design.T @ (logs / errors))[1]
    return Measured(float(slope), math.sqrt(covariance[1, 1]), min(m.freedom for m in found))


def width_exponent(widths: Sequence[int], squares: Callable[[int], np.ndarray]) -> Measured:
    """The exponent in the width n of a root mean square; `squares(n)` has one sample a network."""
    return exponent(widths, [squares(n) for n in widths], 0.5)


def step_exponent(steps: Sequence[float], squares: Callable[[float], np.ndarray]) -> Measured:
    """The exponent in the step ε of a root mean square: n = 1/ε in `exponent`, sign changed."""
    found = exponent([1 / e for e in steps], [squares(e) for e in steps], 0.5)
    return found._replace(value=-found.value)
