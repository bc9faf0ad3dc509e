"""Claim: μP on digits, three hidden layers: ± 0.01 (RMS) in ten minutes, ± 0.005 in forty.

1,438 images, 10 outputs, tanh, t = 10. The limit is measured to a tolerance; checked by networks
four times as wide as the widest used, of other seeds, whose own bias B/n and scatter are known.

    python benchmarks measured_limits_reach_digits
    python benchmarks/measured_limits_reach_digits.py 0.005
"""

import sys
import time

import numpy as np
from table import Row

from widelimit import Problem
from widelimit.basics.progress import progress
from widelimit.limit.measured.sample import EVERYWHERE, Sampler
from widelimit.limit.solve import solved

GROUPS = 64
"""Groups of wide networks that check."""

ASKED = {0.01: 10.0, 0.005: 40.0}
"""Minutes by tolerance."""


def problem(tolerance: float) -> Problem:
    """The problem."""
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"] * 3, "parametrisation": "mup"},
            "data": {"source": "digits", "holdout": 0.2},
            "training": {"horizon": 10.0},
            "observe": {"times": [0.0, 1.0, 3.0, 10.0]},
            "limit": {"tolerance": tolerance},
        }
    )


def checked(asked: Problem, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean outputs of networks of a width, their standard errors, and how many there were."""
    sampler, sums = Sampler.of(asked, 1e-4), None
    size = sampler.together(width)
    with progress("networks that check", None, GROUPS) as told:
        for first in range(10_000, 10_000 + GROUPS * size, size):  # keys no measurement takes
            own = sampler.runs(width, range(first, first + size), told).sums
            sums = own if sums is None else sums.joined(own)
    assert sums is not None
    view = slice(len(asked.dataset.inputs))
    error = np.sqrt(sums.variance(EVERYWHERE) / sums.runs)
    return sums.mean[EVERYWHERE][:, view], error[:, view], sums.runs * (1 + sampler.mirrored)


def measured(tolerance: float) -> Row:
    """One row: minutes, and the distance of wide networks from the limit."""
    asked, started = problem(tolerance), time.perf_counter()
    limit = solved(asked)
    minutes, d = (time.perf_counter() - started) / 60, limit.dataset
    width = 4 * int(np.max(d.attrs["widths_used"]))
    mean, error, count = checked(asked, width)
    off = d["output"].values - mean + d["bias"].values / width
    rms, noise = (float(np.sqrt((own**2).mean(axis=(1, 2))).max()) for own in (off, error))
    return Row(
        "limit of digits in μP, three hidden layers, t = 10",
        f"± {tolerance:g} (RMS, 95 %) in {ASKED[tolerance]:g} minutes",
        f"stated {d.attrs['error']:.4f} ({'met' if limit.met else 'not met'}) in {minutes:.1f} "
        f"minutes; {count} networks of width {width} are {rms:.4f} away",
        f"{np.asarray(d.attrs['networks_used']).tolist()} networks of widths "
        f"{np.asarray(d.attrs['widths_used']).tolist()}, and "
        f"{np.asarray(d.attrs.get('coreset_networks', 0)).tolist()} that learn from "
        f"{d.attrs.get('coreset', 0)} centres; the mean of those that "
        f"check has a standard error of {noise:.4f} itself, and B/n is taken off",
    )


def measure() -> list[Row]:
    """Both tolerances."""
    return list(map(measured, ASKED))


if __name__ == "__main__":
    print(measured(float(sys.argv[1]) if len(sys.argv) > 1 else 0.01))
