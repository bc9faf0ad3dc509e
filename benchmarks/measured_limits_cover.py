"""Claim: `output_error` of a limit that is measured with networks is a 95 % half-width.

Draws problems, measures the limit of each, and compares with what is known otherwise: μP at depth 1
with the limit that is solved (to a tenth of the tolerance), the tangent kernel's parametrisation
with kernel regression, linear networks with the limit of a free operator (`oracles`), all others
with networks of other seeds at eight times the effort (a tolerance that is √8 times smaller).

The prior: depth 1 … 4; tanh, erf, gelu, silu, softplus (at depth 2 also identity); μP or the
tangent kernel's; 1, 2 or 5 inputs, 8 … 24 points from N(0, 1) (every sixth problem: 512, so many
that a coreset may be used), one output, sin and cos of a random direction; horizon 1 … 8 (kernels:
divided by the largest eigenvalue of K_0/P, times 3); tolerance log-uniform in 0.01 … 0.04.

    python benchmarks/measured_limits_cover.py [draws]
"""

import math
import sys
import time

import numpy as np
import pandas as pd
from draws import drawn, shares
from oracles import kernel_regression, linear_mup, tangent_kernel
from scipy import stats

from widelimit import Problem
from widelimit.limit.solve import solved

LONGEST = 120.0
"""Seconds of a measurement, and a quarter of those of a reference; what is not met by then is held
to the error that it states."""

SMOOTH = ("tanh", "erf", "gelu", "silu", "softplus")


def problem(number: int) -> tuple[dict, dict]:
    """Draw number `number` of the prior: what it is, and the problem as nested tables."""
    rng = np.random.default_rng([2027, number])
    depth, name = int(rng.integers(1, 5)), str(rng.choice(["mup", "ntk"]))
    activation = str(rng.choice([*SMOOTH, *["identity"] * 2 * (depth == 2 and name == "mup")]))
    points, inputs = int(rng.integers(8, 25)), int(rng.choice([1, 2, 5]))
    if number % 6 == 5:
        points = 512
    x = rng.normal(size=(points, inputs))
    along = x @ rng.normal(size=inputs) / math.sqrt(inputs)
    y = np.sin(along) + 0.5 * np.cos(2 * along)
    end = float(rng.uniform(1, 8))
    if name == "ntk":
        largest = np.linalg.eigvalsh(tangent_kernel(x, activation, depth) / points)[-1]
        end *= 3 / float(largest)
    raw = {
        "seed": number,
        "network": {"activations": [activation] * depth, "parametrisation": name},
        "data": {"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        "training": {"horizon": end},
        "limit": {
            "tolerance": float(np.exp(rng.uniform(np.log(0.01), np.log(0.04)))),
            "how": "measured",
            "max_seconds": LONGEST,
        },
        "observe": {"times": 4, "inputs": x[:24].tolist()},
    }
    reference = "kernel" if name == "ntk" else "solved" if depth == 1 else "effort"
    reference = "linear" if activation == "identity" else reference
    kind = {"number": number, "depth": depth, "activation": activation, "name": name}
    return kind | {"reference": reference}, raw


def truth(kind: dict, asked: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Outputs `(time, input, channel)` by another way, and their 95 % half-widths."""
    x, y, times = asked.dataset.inputs, asked.dataset.targets, asked.times
    seen = slice(len(asked.observed_inputs))
    if kind["reference"] == "kernel":
        own = kernel_regression(x, y[:, 0], kind["activation"], kind["depth"], times)[..., None]
        return own[:, seen], np.zeros_like(own[:, seen])
    if kind["reference"] == "linear":
        own = linear_mup(x, y, times)[:, seen]
        return own, np.zeros_like(own)
    tolerance = asked.limit.tolerance
    if kind["reference"] == "solved":
        other = asked.with_changes(limit={"how": "auto", "tolerance": tolerance / 10})
    else:
        changes = {"tolerance": tolerance / math.sqrt(8), "max_seconds": 4 * LONGEST}
        other = asked.with_changes(seed=kind["number"] + 10**6, limit=changes)
    d = solved(other, progress=False).dataset
    return d["output"].values, d["output_error"].values


def draw(number: int) -> dict:
    """One draw: stated and true error, and the share of outputs within theirs."""
    kind, raw = problem(number)
    asked, started = Problem.from_dict(raw), time.perf_counter()
    limit = solved(asked, progress=False)
    seconds = time.perf_counter() - started
    d, attrs = limit.dataset, limit.dataset.attrs
    known, doubt = truth(kind, asked)
    error = d["output"].values - known
    bars = np.hypot(d["output_error"].values, doubt)[1:]  # at time 0 all is known
    return kind | {
        "tolerance": asked.limit.tolerance,
        "met": limit.met,
        "adequate": attrs["adequate"],
        "reported": attrs["error"],
        "true": float(np.sqrt((error**2).mean(axis=(1, 2))).max()),
        "doubt": float(np.sqrt((doubt**2).mean(axis=(1, 2))).max()),
        "outputs": float((np.abs(error[1:]) <= bars).mean()),
        "interval": attrs["interval"],
        "model": attrs["model_error"],
        "coreset": int(attrs.get("coreset", 0)),
        "widest": int(np.max(attrs["widths_used"])),
        "networks": int(np.sum(attrs["networks_used"])),
        "seconds": seconds,
    }


def summary(found: pd.DataFrame) -> str:
    """The claims in words, with their numbers."""
    covered = found.true <= found.reported
    interval = stats.binomtest(int(covered.sum()), len(found)).proportion_ci()
    lines = [
        f"draws {len(found)}, met {found.met.mean():.1%}, "
        f"median seconds {found.seconds.median():.2g}",
        f"true ≤ reported (RMS over outputs, at the worst time) in {covered.mean():.1%} "
        f"(95 % interval {interval.low:.1%} … {interval.high:.1%})",
        f"outputs within their own error: {found.outputs.mean():.1%} "
        f"(lowest problem {found.outputs.min():.0%})",
        f"median reported/true {(found.reported / found.true).median():.2f}",
        f"met, but true error above 3 × tolerance: "
        f"{(found.met & (found.true > 3 * found.tolerance)).sum()}",
    ]
    lines += [shares(covered, found[name]) for name in ("depth", "activation", "reference")]
    return "\n".join(lines)


def main(draws: int) -> None:
    """Run all draws and print what was found."""
    print(summary(drawn(draw, draws, "measured_limits_cover")))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 48)
