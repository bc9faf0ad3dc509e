"""Claim: the 95 % interval of t*, until when a limit describes networks, covers.

Twelve problems whose networks leave the limit (a few stay): three and four layers, a constant, a
narrow and a two-atom readout, biases, images, outputs that are 0 in the limit, shared neurons.
Networks of widths 64 and 256 are trained by the flow; they have left when the root of the mean
square over seeds of their distance from the limit reaches the same level as in the prediction. That
time has an error of its own (jackknife over seeds), so a row is covered if it lies within the
interval widened by that.

    python benchmarks/validity_covers.py [name …]
"""

import sys
import time

import numpy as np
from scipy.special import stdtrit
from sklearn.datasets import load_digits

from widelimit import Problem, solve, train
from widelimit.command.compilation import keep_compiled

WIDTHS, SEEDS, TIMES = [64, 256], 8, 81


def table(points: int, inputs: int, outputs: int) -> dict:
    """Normal inputs, and targets that are not a function of anything."""
    x = np.random.default_rng(2).normal(size=(points, inputs)).round(2)
    y = np.tanh(np.random.default_rng(5).normal(size=(points, outputs)).round(2)).round(3)
    return {"source": "table", "inputs": x.tolist(), "targets": y.tolist()}


def circle(outputs: int) -> dict:
    """Targets that few neurons cannot fit: waves of the first input, products."""
    x = np.random.default_rng(7).normal(size=(8, 2)).round(2)
    y = np.stack([np.sin(3 * x[:, 0]), x[:, 0] * x[:, 1]], 1).round(3)[:, :outputs]
    return {"source": "table", "inputs": x.tolist(), "targets": y.tolist()}


def images() -> dict:
    """Eight of scikit-learn's digits, one-hot targets."""
    digits = load_digits()
    targets = np.eye(10)[digits.target[:8]]
    return {
        "source": "table", "inputs": (digits.data[:8] / 16).tolist(), "targets": targets.tolist()
    }  # fmt: skip


def law(mean: float, std: float) -> dict:
    """A normal law."""
    return {"law": "normal", "mean": mean, "std": std}


def network(activations: list[str], more: dict | None = None, **initial: object) -> dict:
    """A network with these initial laws, the others by default."""
    return {"activations": activations, "initial": initial, **(more or {})}


def problems() -> dict[str, tuple[dict, dict, float]]:
    """By name the network, the data and the horizon."""
    two, three = ["tanh"] * 2, ["tanh"] * 3
    atoms = {"law": "atoms", "points": [0.99, 1.01]}
    wide = {"law": "uniform", "low": -1.5, "high": 2.5}
    shared = {"layers": ["dense", "dense", {"map": "dense", "skip": 1}]}
    return {
        "silu first, 3 layers": (network(["silu", "tanh", "tanh"]), table(8, 3, 3), 100.0),
        "tanh, 3 layers": (network(three), table(8, 3, 2), 100.0),
        "tanh, 4 layers": (network(["tanh"] * 4), table(8, 2, 2), 150.0),
        "constant readout": (network(two, readout=law(1.0, 0.0)), table(8, 2, 2), 60.0),
        "narrow readout": (network(two, readout=law(1.0, 0.01)), table(8, 2, 2), 60.0),
        "two-atom readout": (network(two, readout=atoms), table(8, 2, 2), 60.0),
        "biases": (network(three, {"biases": True}, bias=law(0.0, 1.0)), table(8, 2, 2), 80.0),
        "constant biases": (network(three, {"biases": True}), table(8, 3, 2), 80.0),
        "digits": (network(three), images(), 60.0),
        "outputs 0": (network(three, hidden=law(0.0, 1.0)), table(8, 2, 2), 40.0),
        "uniform weights": (network(three, hidden=wide), table(8, 2, 2), 80.0),
        "erf, sigmoid": (network(["erf", "sigmoid", "erf"]), table(8, 2, 1), 100.0),
        "shared neurons": (network(three, shared, readout=law(1.0, 0.0)), table(8, 3, 2), 80.0),
        "wide readout": (network(two), circle(2), 40.0),
    }


def crossing(times: np.ndarray, squares: np.ndarray, left: float) -> tuple[float, float]:
    """When the root of the mean over seeds of `squares (seed, time)` reaches `left`, its error.

    The error is half a 95 % interval, by the jackknife; infinite times have none.
    """

    def reached(some: np.ndarray) -> float:
        above = 0.5 * np.log(some.mean(axis=0)) - np.log(left)
        k = int(np.argmax(above > 0))
        if not (above > 0).any():
            return np.inf
        return float(np.interp(0.0, above[k - 1 : k + 1], times[k - 1 : k + 1])) if k else 0.0

    seeds = len(squares)
    without = np.array([reached(np.delete(squares, s, axis=0)) for s in range(seeds)])
    if not np.isfinite(without).all():
        return reached(squares), 0.0
    scatter = ((without - without.mean()) ** 2).sum() * (seeds - 1) / seeds
    return reached(squares), float(stdtrit(seeds - 1, 0.975) * np.sqrt(scatter))


def measure(name: str) -> list[tuple[bool, bool, str]]:
    """By width: whether the interval covers, whether networks left, and the row in words."""
    laws, data, horizon = problems()[name]
    started = time.perf_counter()
    problem = Problem.from_dict({
        "network": laws, "data": data, "training": {"horizon": horizon},
        "limit": {"tolerance": 1e-2}, "observe": {"times": TIMES},
        "networks": {"widths": WIDTHS, "seeds": SEEDS, "method": "flow"},
    })  # fmt: skip
    limit = solve(problem, progress=False)
    found = limit.validity(progress=False).dataset
    predicted = time.perf_counter() - started
    off = train(problem, progress=False).dataset.output - limit.dataset.output
    squares = (off**2).mean(["input", "channel"]).values
    rows = []
    for row, width in enumerate(WIDTHS):
        d = found.isel(width=row)
        at, error = crossing(limit.dataset.time.values, squares[row], float(d.left))
        low, until, high = (float(d[f"describes_until{bound}"]) for bound in ("_low", "", "_high"))
        inside = low - error <= at <= high + error
        said = f"{until:.1f} [{low:.1f}, {high:.1f}]"
        rows.append((inside, bool(np.isfinite(at)), (
            f"{name:<22} {width:>4}  t* {said:<22} networks {at:.1f} ± {error:.1f}  "
            f"{'inside' if low <= at <= high else 'with its error' if inside else 'OUTSIDE'}"
        )))  # fmt: skip
    total = time.perf_counter() - started
    print(f"{name}: {predicted:.0f} s, networks {total - predicted:.0f} s", file=sys.stderr)
    return rows


def main(words: list[str]) -> None:
    """Measure what was asked for, row by row, and count."""
    keep_compiled()
    rows = []
    for name in problems():
        if not words or any(word in name for word in words):
            new = measure(name)
            print("\n".join(row for *_, row in new), flush=True)
            rows += new
    left = [covered for covered, gone, _ in rows if gone]
    print(f"covered {sum(c for c, *_ in rows)} of {len(rows)}; of those that left {sum(left)} of "
          f"{len(left)}")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1:])
