"""Claim: an offset that falls like width^(-1/2) is said to stay in at most 1 % of comparisons.

The hardest outputs are those that are all alike in a network: one Gaussian number ∝ n^(-1/2) each.
Prints the share of alarms by seeds, observed times and offset.

    python benchmarks/verdicts_alarm_rarely.py [draws]      about ten minutes for 20,000
"""

import sys
from types import SimpleNamespace

import numpy as np

from widelimit.basics.statistics import offset
from widelimit.results.closing import offset_stays

WIDTHS = np.array([64, 128, 256, 512])
OFFSETS = {
    "0": lambda n: 0 * n,
    "8/n": lambda n: 8 / n,
    "0.5 n^(-1/2)": lambda n: 0.5 * n**-0.5,
    "n^(-1/2)": lambda n: n**-0.5,
    "4 n^(-1/2)": lambda n: 4 * n**-0.5,
}


def alarms(seeds: int, times: int, name: str, draws: int) -> float:
    """The share of comparisons in which the offset is said to stay."""
    rng, n = np.random.default_rng(0), WIDTHS[:, None, None, None, None].astype(float)
    found = 0
    for _ in range(draws):
        noise = rng.normal(size=(len(WIDTHS), seeds, times, 1, 1)) * n**-0.5
        size, error = offset(noise + OFFSETS[name](n), np.zeros((times, 1, 1)))
        measured = SimpleNamespace(
            widths=WIDTHS, seeds=seeds, offset=size.T, offset_se=error.T, limit_error=[0.0] * times
        )
        found += offset_stays(measured) is not None
    return found / draws


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for of_seeds in (5, 8, 20):
        for at_times in (1, 3):
            for name in OFFSETS:
                share = alarms(of_seeds, at_times, name, count)
                print(f"{of_seeds} seeds, {at_times} times, offset {name}: {share:.2%}", flush=True)
