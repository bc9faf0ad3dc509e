"""Claim: `output_error` of residual limits is a 95 % half-width: units, depth and time together.

Draws problems from a stated prior, solves each to its tolerance, and compares with a reference: the
same problem on other scrambles, with 4 times the units, as many replicates as there may be, depth
nodes and time steps for a twentieth of the tolerance.

The prior: depth infinite in two of three, else 2 … 12 blocks; D = 2, 4, 8, 16; one to three kinds
of units out of tanh perceptrons, sine perceptrons and heads (two tokens), side by side, or one
after the other in a quarter; laws of readouts normal, uniform or of two atoms, of mean 0 or not;
biases in half; α = 1 or 2; horizon uniform in 0.5 … 2; tolerance log-uniform in 5e-3 … 5e-2;
8 data points from N(0, 1) in two dimensions (heads: four), targets sin and cos of directions. Ends
are the identity and equal numbers, for the seed tells them otherwise.

    python benchmarks/residual_errors_cover.py [draws]
"""

import sys
import time

import numpy as np
from draws import drawn
from error_bars_cover import summary

from widelimit import Problem
from widelimit.limit.solve import solved

POINTS = 8
STRATA = ("depth", "stream", "kinds", "law", "biases")
UNITS = (
    {"unit": "perceptron"},
    {"unit": "perceptron", "activation": "sin"},
    {"unit": "attention", "key": 2},
)


def problem(number: int) -> tuple[dict, dict]:
    """Draw number `number` of the prior: what it is, and the problem as nested tables."""
    rng = np.random.default_rng([2027, number])
    count = int(rng.integers(1, 4))
    blocks = [UNITS[k] for k in sorted(rng.choice(3, count, replace=False))]
    tokens = 2 if UNITS[2] in blocks else 1
    stream, law = int(rng.choice([2, 4, 8, 16])), str(rng.choice(["normal", "uniform", "atoms"]))
    depth = "limit" if rng.random() < 2 / 3 else int(rng.integers(2, 13))
    biases = bool(rng.random() < 0.5) and any(own["unit"] == "perceptron" for own in blocks)
    readout = _readout(law, rng)
    names = {"readout": readout} if any(own["unit"] == "perceptron" for own in blocks) else {}
    names |= {"output": readout} if tokens == 2 else {}
    names |= {"bias": {"law": "normal", "std": 0.5}} if biases else {}
    x = rng.normal(size=(POINTS, 2 * tokens))
    directions = rng.normal(size=(2, 2 * tokens)) / np.sqrt(2 * tokens)
    raw = {
        "seed": number,
        "network": {
            "architecture": "residual",
            "depth": depth,
            "stream": stream,
            "blocks": blocks,
            "tokens": tokens,
            "alternating": bool(rng.random() < 0.25),
            "residual_scale": float(rng.choice([1.0, 2.0])),
            "biases": biases,
            "initial": {**names, "unembedding": {"law": "atoms", "points": [stream**-0.5]}},
        },
        "data": {
            "source": "table",
            "inputs": x.tolist(),
            "targets": (np.sin(x @ directions[0]) + 0.5 * np.cos(x @ directions[1])).tolist(),
        },
        "training": {"horizon": float(rng.uniform(0.5, 2.0))},
        "limit": {"tolerance": float(np.exp(rng.uniform(np.log(5e-3), np.log(5e-2))))},
        "observe": {"times": 3},
    }
    kind = {"number": number, "depth": "limit" if depth == "limit" else "finite"}
    return kind | {"stream": stream, "kinds": count, "law": law, "biases": biases}, raw


def _readout(law: str, rng: np.random.Generator) -> dict:
    """A law of readouts with a spread of order one."""
    mean, std = float(rng.choice([0.0, 0.5])), float(rng.uniform(0.5, 1.2))
    return {
        "normal": {"law": "normal", "mean": mean, "std": std},
        "uniform": {"law": "uniform", "low": mean - 1.7 * std, "high": mean + 1.7 * std},
        "atoms": {"law": "atoms", "points": [mean - std, mean + std]},
    }[law]


def draw(number: int) -> dict:
    """One draw: reported and true error."""
    kind, raw = problem(number)
    asked = Problem.from_dict(raw)
    started = time.perf_counter()
    limit = solved(asked, progress=False)
    seconds, a = time.perf_counter() - started, limit.dataset.attrs
    points = np.atleast_1d(a["points"]).tolist()
    finer = {"nodes": [4 * n for n in points], "tolerance": asked.limit.tolerance / 20}
    reference = solved(asked.with_changes(seed=number + 10**6, limit=finer), progress=False)
    error = (limit.dataset.output - reference.dataset.output).values
    return kind | {
        "tolerance": asked.limit.tolerance,
        "met": limit.met,
        "reported": a["error"],
        "true": float(np.sqrt(np.mean(error**2, axis=(1, 2))).max()),
        "reference": reference.dataset.attrs["error"],
        "depth_nodes": a.get("depth_nodes", 0),
        "nodes": " × ".join(map(str, np.atleast_1d(a["nodes"]))),
        "replicates": a["replicates"],
        "seconds": seconds,
    }


def main(draws: int) -> None:
    """Run all draws and print what was found."""
    print(summary(drawn(draw, draws, "residual_errors_cover"), STRATA))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 48)
