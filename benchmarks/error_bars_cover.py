"""Claim: `output_error` is a 95 % half-width, at any depth, dimension, law and horizon.

Draws problems from a stated prior, solves each to its tolerance, and compares with a reference:
the same problem on other scrambles, with 4 times the nodes in every layer, 32 replicates (so at
least 16 times as many nodes in all) and time steps for a hundredth of the tolerance.

The prior: depth 1, 2, 3 and 1, 2, 5, 20, 64 inputs, equally likely; laws all normal, all uniform,
mixed (normal inputs, atoms or uniform readouts), or mixtures (of two normal laws, the second with a
weight of 0.002 … 0.3 and up to ten times as large, for readouts or inputs); rates constant, falling
as a power, or in pulses; one layer of 8 neurons beside the limit in one of five at depth 2 and 3;
horizon uniform in 0.5 … 2 or 8 … 20; tolerance log-uniform in 1e-3 … 3e-2 up to 2 inputs and 1e-2 …
5e-2 beyond; biases in one of four; 16 data points from N(0, 4/d), targets sin and cos of random
directions; activation tanh. Where a layer is finite its neurons are drawn by the seed, and the
reference has the same seed: its nodes are others by their number alone.

    python benchmarks/error_bars_cover.py [draws]
"""

import sys
import time
from collections.abc import Sequence

import numpy as np
import pandas as pd
from draws import drawn, shares
from scipy import stats

from widelimit import Problem
from widelimit.limit.solve import solved

POINTS = 16
STRATA = ("depth", "inputs", "law", "horizon", "rates", "finite")


def problem(number: int) -> tuple[dict, dict]:
    """Draw number `number` of the prior: what it is, and the problem as nested tables."""
    rng = np.random.default_rng([2026, number])
    depth, inputs = int(rng.integers(1, 4)), int(rng.choice([1, 2, 5, 20, 64]))
    law = rng.choice(["normal", "uniform", "mixed", "mixture"])
    horizon = rng.choice(["short", "long"])
    end = float(rng.uniform(*((0.5, 2) if horizon == "short" else (8, 20))))
    rates, finite = rng.choice(["constant", "power", "pulses"]), depth > 1 and rng.random() < 0.2
    low, high = (1e-3, 3e-2) if inputs <= 2 else (1e-2, 5e-2)
    x = rng.normal(size=(POINTS, inputs)) * 2 / np.sqrt(inputs)
    directions = rng.normal(size=(2, inputs)) / np.sqrt(2)
    raw = {
        "seed": number,
        "network": {
            "activations": ["tanh"] * depth,
            "biases": bool(rng.random() < 0.25),
            "initial": _initial(law, rng),
        },
        "data": {
            "source": "table",
            "inputs": x.tolist(),
            "targets": (np.sin(x @ directions[0]) + 0.5 * np.cos(x @ directions[1])).tolist(),
        },
        "training": {"horizon": end, "learning_rates": _rates(rates, end, depth, rng)},
        "limit": {"tolerance": float(np.exp(rng.uniform(np.log(low), np.log(high))))},
        "observe": {"times": 3},
    }
    if finite:
        widths: list[str | int] = ["limit"] * depth
        widths[int(rng.integers(depth))] = 8
        raw["network"]["ensembles"] = widths
    kind = {"number": number, "depth": depth, "inputs": inputs, "law": law, "horizon": horizon}
    return kind | {"rates": rates, "finite": finite}, raw


def _rates(rates: str, end: float, depth: int, rng: np.random.Generator) -> dict:
    """One schedule for all parameters; pulses are short and follow a rest."""
    chosen: float | dict = 1.0
    if rates == "power":
        chosen = {"schedule": "power", "value": 2.0, "exponent": 0.5, "time": end / 10}
    if rates == "pulses":
        starts = np.sort(rng.uniform(0.1, 0.9, 2)) * end
        times = [float(s) for start in starts for s in (start, start + 0.03 * end)]
        if times[1] < times[2]:
            values = [0.0, 10.0, 0.0, 10.0, 0.0]
            chosen = {"schedule": "piecewise", "times": times, "values": values}
    kinds = ("input", "readout") if depth == 1 else ("input", "hidden", "readout")
    return dict.fromkeys(kinds, chosen)


def _initial(law: str, rng: np.random.Generator) -> dict:
    """Laws of inputs and readouts with means and spreads of order one."""
    mean, std = float(rng.uniform(-0.5, 1.0)), float(rng.uniform(0.5, 1.5))
    normal = {"law": "normal", "mean": mean, "std": std}
    uniform = {"law": "uniform", "low": mean - 1.7 * std, "high": mean + 1.7 * std}
    if law == "normal":
        return {"readout": normal}
    if law == "mixture":
        weight, far = float(np.exp(rng.uniform(np.log(0.002), np.log(0.3)))), rng.uniform(2, 10)
        parts = [
            {"weight": 1 - weight, "mean": mean, "std": std},
            {"weight": weight, "mean": float(far * mean), "std": float(far * std)},
        ]
        return {rng.choice(["readout", "input"]): {"law": "mixture", "components": parts}}
    if law == "uniform":
        return {"input": {"law": "uniform", "low": -1.7, "high": 1.7}, "readout": uniform}
    atoms = {"law": "atoms", "points": [mean - std, mean + std], "weights": [0.4, 0.6]}
    return {"readout": atoms if rng.random() < 0.5 else uniform}


def draw(number: int) -> dict:
    """One draw: reported and true error."""
    kind, raw = problem(number)
    asked = Problem.from_dict(raw)
    started = time.perf_counter()
    limit = solved(asked, progress=False)
    seconds = time.perf_counter() - started
    a = limit.dataset.attrs
    finer = [
        int(n if rule in ("exact", "sampled") else 4 * n)
        for n, rule in zip(a["points"], a["rules"], strict=True)
    ]
    rules = ["auto" if rule == "sampled" else rule for rule in a["rules"]]
    reference = solved(
        asked.with_changes(
            seed=number if kind["finite"] else number + 10**6,
            limit={"nodes": finer, "tolerance": asked.limit.tolerance / 100, "rules": rules},
        ),
        progress=False,
    )
    error = (limit.dataset.output - reference.dataset.output).values
    true = float(np.sqrt(np.mean(error**2, axis=(1, 2))).max())
    return kind | {
        "tolerance": asked.limit.tolerance,
        "met": limit.met,
        "reported": a["error"],
        "true": true,
        "reference": reference.dataset.attrs["error"],
        "nodes": " × ".join(map(str, a["nodes"])),
        "rules": " ".join(a["rules"]),
        "replicates": a["replicates"],
        "seconds": seconds,
    }


def summary(found: pd.DataFrame, strata: Sequence[str] = STRATA) -> str:
    """The claims in words, with their numbers."""
    found = found[found.reported > 1e-6]  # all atoms: exact, with nothing to cover
    covered = found.true <= found.reported
    interval = stats.binomtest(int(covered.sum()), len(found)).proportion_ci()
    ratio = (found.reported / found.true).median()
    overshoot = (found.met & (found.true > 3 * found.tolerance)).sum()
    lines = [
        f"draws {len(found)}, met {found.met.mean():.1%}, "
        f"median seconds {found.seconds.median():.2g}",
        f"true ≤ reported in {covered.mean():.1%} "
        f"(95 % interval {interval.low:.1%} … {interval.high:.1%})",
        f"median reported/true {ratio:.2f}",
        f"met, but true error above 3 × tolerance: {overshoot}",
        f"median reference error/reported {(found.reference / found.reported).median():.2f}",
    ]
    lines += [shares(covered, found[name]) for name in strata]
    return "\n".join(lines)


def main(draws: int) -> None:
    """Run all draws and print what was found."""
    print(summary(drawn(draw, draws, "error_bars_cover")))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
