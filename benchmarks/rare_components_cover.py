"""Claim: laws with rare, large parts are not missed: the stated error covers the true one.

Draws problems whose laws are mixtures: two or three normal components with weights log-uniform in
1e-4 … 0.5 (the first has the rest), means and standard deviations of random sign and log-uniform
size in 0.1 … 1000. They are the laws of readouts, and of single or of whole input weights.
Tolerances are 1e-3 … 3e-2 of Σ weight · (|mean| + std) of the readouts.

- `start`: depth 1 and 2, 1, 2, 5 inputs, t = 0; the reference is a closed form but for integrals
  over one normal number, by SciPy.
- `trained` (one draw in three): depth 1, one input, sizes of input weights up to 10, a horizon of
  0.3 … 1 over E a² (1 at least); the reference is a NumPy code of its own: trapezoidal rules in
  every component, and SciPy's DOP853. Its error is its change with half the nodes.

Laws that are refused in words are counted, and draws whose reference is not known to a third of
the error that is to be judged.

    python benchmarks/rare_components_cover.py [draws]
"""

import itertools
import sys

import numpy as np
import pandas as pd
from draws import drawn, shares
from scipy import integrate, stats

from widelimit import Problem, ProblemError, solve

POINTS = 6


def components(rng: np.random.Generator, size: int | None, most: float) -> list[dict]:
    """Components of a mixture of numbers, or of vectors of a size, of sizes up to `most`."""
    count = int(rng.integers(2, 4))
    rare = np.exp(rng.uniform(np.log(1e-4), np.log(0.5 / (count - 1)), count - 1))

    def log_uniform(shape: int | None = None) -> np.ndarray:
        return np.exp(rng.uniform(np.log(0.1), np.log(most), shape))

    def mean() -> float | list[float]:
        found = log_uniform(size) * rng.choice([-1.0, 1.0], size)
        return found.tolist() if size else float(found)

    own = [{"weight": float(1 - rare.sum()), "std": 1.0, "mean": [0.0] * size if size else 0.0}]
    return own + [{"weight": float(p), "mean": mean(), "std": float(log_uniform())} for p in rare]


def problem(number: int) -> tuple[dict, dict]:
    """Draw number `number`: what it is, and the problem as nested tables."""
    rng = np.random.default_rng([17, number])
    kind = "trained" if number % 3 == 2 else "start"
    depth = int(rng.integers(1, 3)) if kind == "start" else 1
    inputs = int(rng.choice([1, 2, 5])) if kind == "start" else 1
    law = str(rng.choice(["readout", "entries", "vectors"]))
    initial: dict = {
        "readout": _mixture(components(rng, None, 1.0 if rng.random() < 0.3 else 1000.0))
    }
    if law != "readout":
        most = 1000.0 if kind == "start" else 10.0
        initial["input"] = _mixture(components(rng, inputs if law == "vectors" else None, most))
    if depth == 2:
        initial["hidden"] = {"law": "normal", "mean": float(rng.uniform(0.5, 1.5)), "std": 1.0}
    size, square = _sizes(initial, inputs)
    horizon = float(rng.uniform(0.3, 1.0) / max(1.0, square))
    raw = {
        "seed": number,
        "network": {"activations": ["tanh"] * depth, "initial": initial},
        "data": {
            "source": "table",
            "inputs": (2 * rng.normal(size=(POINTS, inputs)) / np.sqrt(inputs)).tolist(),
            "targets": (size * rng.normal(size=POINTS)).tolist(),
        },
        "training": {"horizon": horizon},
        "limit": {"tolerance": float(size * np.exp(rng.uniform(np.log(1e-3), np.log(3e-2))))},
        "observe": {"times": [0.0] if kind == "start" else [0.0, horizon]},
    }
    return {"number": number, "kind": kind, "depth": depth, "inputs": inputs, "law": law}, raw


def _mixture(own: list[dict]) -> dict:
    return {"law": "mixture", "components": own}


def _parts(initial: dict, inputs: int) -> list[tuple[float, np.ndarray, np.ndarray]]:
    """Weight, means and standard deviations of (w, a) of every component of neurons."""
    plain = [{"weight": 1.0, "mean": 0.0, "std": 1.0}]
    own = initial["input"]["components"] if "input" in initial else plain
    vectors = isinstance(own[0]["mean"], list)
    rows = [[c] * inputs for c in own] if vectors else list(itertools.product(own, repeat=inputs))
    found = []
    for row, a in itertools.product(rows, initial["readout"]["components"]):
        share = row[0]["weight"] if vectors else np.prod([c["weight"] for c in row])
        means = row[0]["mean"] if vectors else [c["mean"] for c in row]
        stds = [c["std"] for c in row]
        found.append(
            (share * a["weight"], np.array([*means, a["mean"]]), np.array([*stds, a["std"]]))
        )
    return found


def _sizes(initial: dict, inputs: int) -> tuple[float, float]:
    """Σ weight · (|mean| + std) and E a² of the readouts."""
    parts = _parts(initial, inputs)
    size = sum(p * (abs(m[-1]) + s[-1]) for p, m, s in parts)
    return float(size), float(sum(p * (m[-1] ** 2 + s[-1] ** 2) for p, m, s in parts))


def _mean_tanh(mean: float, std: float) -> float:
    """E tanh(mean + std·G)."""

    def density(g: float) -> float:
        return np.tanh(mean + std * g) * stats.norm.pdf(g)

    steps = np.clip((np.array([-3.0, 0.0, 3.0]) - mean) / std, -9, 9)
    ends = np.unique([-9.0, *steps, 9.0])
    return sum(integrate.quad(density, a, b, epsabs=1e-12)[0] for a, b in itertools.pairwise(ends))


def at_start(raw: dict) -> np.ndarray:
    """f(x) = E a tanh(w·x), or E a · tanh(m E tanh(w·x)) at depth 2, with m the hidden mean."""
    initial, x = raw["network"]["initial"], np.array(raw["data"]["inputs"])
    parts, hidden = _parts(initial, x.shape[1]), initial.get("hidden")
    inner = np.array(
        [
            [
                _mean_tanh(m[:-1] @ row, np.sqrt((s[:-1] * row) ** 2 @ np.ones(len(row))))
                for row in x
            ]
            for _, m, s in parts
        ]
    )
    p, a = np.array([own[0] for own in parts]), np.array([own[1][-1] for own in parts])
    return (p * a) @ inner if hidden is None else (p @ a) * np.tanh(hidden["mean"] * (p @ inner))


def trained(raw: dict, nodes: int) -> np.ndarray:
    """Outputs at the horizon, by trapezoidal rules: `nodes` w by half as many a per component."""
    x, y = np.array(raw["data"]["inputs"])[:, 0], np.array(raw["data"]["targets"])
    z, v = np.linspace(-7.5, 7.5, nodes), np.linspace(-7.5, 7.5, nodes // 2)
    share = np.outer(stats.norm.pdf(z), stats.norm.pdf(v)).ravel()
    w, a, p = [], [], []
    for weight, mean, std in _parts(raw["network"]["initial"], 1):
        w.append(np.repeat(mean[0] + std[0] * z, len(v)))
        a.append(np.tile(mean[1] + std[1] * v, len(z)))
        p.append(weight * share / share.sum())
    start, weights = np.concatenate([*w, *a]), np.concatenate(p)
    count = len(weights)

    def velocity(t: float, state: np.ndarray) -> np.ndarray:
        w, a = state[:count], state[count:]
        phi = np.tanh(w[:, None] * x)
        off = ((weights * a) @ phi - y) / len(x)
        return -np.concatenate([a * ((1 - phi**2) @ (off * x)), phi @ off])

    size = np.sqrt(weights @ start[count:] ** 2)
    end = integrate.solve_ivp(
        velocity,
        (0, raw["training"]["horizon"]),
        start,
        method="DOP853",
        rtol=1e-7,
        atol=1e-7 * max(1.0, size),
    ).y[:, -1]
    return (weights * end[count:]) @ np.tanh(end[:count, None] * x)


def draw(number: int) -> dict:
    """One draw: reported and true error."""
    kind, raw = problem(number)
    try:
        limit = solve(Problem.from_dict(raw), progress=False)
    except ProblemError as error:
        return kind | {"refused": str(error)}
    reference, off = [at_start(raw)], 0.0
    if kind["kind"] == "trained":
        coarse, fine = trained(raw, 128), trained(raw, 256)
        reference.append(fine)
        off = float(np.sqrt(np.mean((fine - coarse) ** 2)))
    error = limit.dataset.output.values[:, :, 0] - np.stack(reference)
    attributes = limit.dataset.attrs
    return kind | {
        "tolerance": raw["limit"]["tolerance"],
        "met": limit.met,
        "reported": attributes["error"],
        "true": float(np.sqrt(np.mean(error**2, axis=1)).max()),
        "reference": off,
        "nodes": " × ".join(map(str, attributes["nodes"])),
        "refused": "",
    }


def summary(found: pd.DataFrame) -> str:
    """The claims in words, with their numbers."""
    refused, found = found[found.refused != ""], found[found.refused == ""]
    known = found.reference <= found.reported / 3
    unknown, found = found[~known], found[known]
    covered = found.true <= found.reported
    interval = stats.binomtest(int(covered.sum()), len(found)).proportion_ci()
    met = found.met.astype(bool)
    wrong = met & (found.true > 3 * found.tolerance)
    lines = [
        f"solved {len(found)}, refused in words {len(refused)}, reference too coarse "
        f"{len(unknown)}, met {met.mean():.1%}",
        f"true ≤ reported in {covered.mean():.1%} "
        f"(95 % interval {interval.low:.1%} … {interval.high:.1%})",
        f"met, but true error above 3 × tolerance: {wrong.sum()}",
        f"median reported/true {(found.reported / found.true).median():.2f}",
    ]
    lines += [shares(covered, found[name]) for name in ("kind", "law")]
    return "\n".join(lines)


def main(draws: int) -> None:
    """Run all draws and print what was found."""
    print(summary(drawn(draw, draws, "rare_components_cover")))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 90)
