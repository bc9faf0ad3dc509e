"""Claim: `time_error` bounds the error of time integration, whatever schedules do.

Draws exact problems (all laws are atoms) from a stated prior and compares outputs with SciPy's
DOP853 (relative tolerance 1e-13, a new start at every jump) on a right-hand side of its own: a
plain network, its gradient by `jax.grad`, divided by what each parameter weighs.

The prior: depth 1, 2, 3; 1 … 3 inputs; losses squared, huber, logistic, softmax; rules descent,
heavy ball, Adam, RMSProp; every learning rate constant, a pulse, a staircase, a power, an
exponential or a cosine; weight decay none, constant, or schedules of the same kinds; all equally
likely; 2 or 3 atoms in the first and last layer; horizon log-uniform in 2 … 30; 5 points;
activation tanh. A problem is covered if the largest RMS error, over two times, is at most the one
that is told. The same at a step tolerance of 1e-4, such as problems with quadrature nodes have.

    python benchmarks/time_errors_cover.py [draws]
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.flatten_util import ravel_pytree
from scipy import stats
from scipy.integrate import solve_ivp
from table import Row, lines
from tqdm import tqdm

from widelimit import Problem, solve
from widelimit.basics.statistics import step_error
from widelimit.command.compilation import keep_compiled
from widelimit.limit.search import seen_of_limit
from widelimit.motion.engine import Steps, engine

LOOSE = 1e-4
STRATA = ("depth", "loss", "rule")


def schedule(rng: np.random.Generator, horizon: float) -> Any:
    """A learning rate of order one."""
    value, ends = float(rng.uniform(0.3, 2)), np.sort(rng.uniform(0.05, 0.9, 3)) * horizon
    time = float(rng.uniform(0.05, 1)) * horizon
    return [
        value,
        {"schedule": "piecewise", "times": ends[:2].tolist(), "values": [0.0, value, 0.0]},
        {"schedule": "piecewise", "times": ends.tolist(),
         "values": rng.uniform(0, 2, 4).tolist()},
        {"schedule": "power", "value": value, "exponent": float(rng.uniform(0, 2)), "time": time},
        {"schedule": "exponential", "value": value, "time": time},
        {"schedule": "cosine", "value": value, "time": time, "low": 0.1 * value},
    ][rng.integers(6)]  # fmt: skip


def rate(chosen: Any, t: float, span: tuple[float, float]) -> float:
    """A schedule at a time within a span that has no jump inside."""
    if not isinstance(chosen, dict):
        return chosen
    if chosen["schedule"] == "piecewise":
        return chosen["values"][int(np.searchsorted(chosen["times"], np.mean(span)))]
    value, share = chosen["value"], t / chosen["time"]
    if chosen["schedule"] == "power":
        return value * (1 + share) ** -chosen["exponent"]
    if chosen["schedule"] == "exponential":
        return value * np.exp(-share)
    low = chosen["low"]
    return low + (value - low) * (1 + np.cos(np.pi * min(share, 1.0))) / 2


def problem(number: int) -> tuple[dict, dict]:
    """Draw number `number` of the prior: what it is, and the problem as nested tables."""
    rng = np.random.default_rng([2027, number])
    depth, inputs = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    loss = str(rng.choice(["squared", "huber", "logistic", "softmax"]))
    rule = str(rng.choice(["descent", "heavy ball", "adam", "rmsprop"]))
    horizon, channels = float(np.exp(rng.uniform(np.log(2), np.log(30)))), 1 + (loss == "softmax")
    kinds = ["input", "readout"] + ["hidden"] * (depth > 1)
    decays: list[Any] = [None, 0.05, {kind: schedule(rng, horizon) for kind in kinds}]
    x, y = rng.normal(size=(5, inputs)), rng.normal(size=(5, channels))
    if loss in ("logistic", "softmax"):
        y = rng.dirichlet(np.ones(2), 5)[:, :channels]
    training = {
        "horizon": horizon, "loss": loss,
        "learning_rates": {kind: schedule(rng, horizon) for kind in kinds},
        "weight_decay": decays[rng.integers(3)],
        "momentum": {"friction": 1.0} if rule == "heavy ball" else None,
        "adam": {"first": "none" if rule == "rmsprop" else 3.0, "delta": 0.1, "batch": "all"},
    }  # fmt: skip
    if rule not in ("adam", "rmsprop"):
        del training["adam"]
    raw = {
        "network": {"activations": ["tanh"] * depth, "initial": _initial(rng, depth, inputs, y)},
        "data": {"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        "training": {name: own for name, own in training.items() if own is not None},
        "observe": {"times": [horizon / 2, horizon]},
    }
    return {"number": number, "depth": depth, "loss": loss, "rule": rule}, raw


def _initial(rng: np.random.Generator, depth: int, inputs: int, y: np.ndarray) -> dict:
    """Atoms for the first and the last layer, constants between hidden layers."""

    def atoms(entries: int) -> dict:
        count = int(rng.integers(2, 4))
        weights = rng.dirichlet(4 * np.ones(count)).tolist()
        return {"law": "atoms", "points": rng.normal(size=(count, entries)).tolist(),
                "weights": weights}  # fmt: skip

    if depth == 1:
        return {"neuron": atoms(inputs + y.shape[1])}
    middle = {"law": "atoms", "points": [float(rng.uniform(0.5, 1.5))]}
    return {"input": atoms(inputs), "hidden": middle, "readout": atoms(y.shape[1])}


class Plain:
    """A problem as plain arrays: the weights of the neurons, and their parameters in a list."""

    def __init__(self, raw: dict):
        self.training, depth = raw["training"], len(raw["network"]["activations"])
        self.x, self.y = (jnp.asarray(raw["data"][name]) for name in ("inputs", "targets"))
        initial, inputs = raw["network"]["initial"], self.x.shape[1]
        if depth == 1:
            points, last = np.array(initial["neuron"]["points"]), initial["neuron"]
            self.p = [np.array(last["weights"])]
            self.theta = [points[:, :inputs], points[:, inputs:]]
        else:
            ends = [initial["input"], initial["readout"]]
            first, last = (np.array(own["weights"]) for own in ends)
            self.p = [first, *[np.ones(1)] * (depth - 2), last]
            constant = initial["hidden"]["points"][0]
            hidden = [np.full((len(a), len(b)), constant) for a, b in pairwise(self.p)]
            self.theta = [np.array(ends[0]["points"]), *hidden, np.array(ends[1]["points"])]
        self.kinds = ["input", *["hidden"] * (depth - 1), "readout"]
        pairs = [np.outer(a, b) for a, b in pairwise(self.p)]
        self.mass = [self.p[0][:, None], *pairs, self.p[-1][:, None]]

    def output(self, theta: list) -> jax.Array:
        """f at the inputs."""
        h = jnp.tanh(self.x @ theta[0].T)
        for p, w in zip(self.p, theta[1:-1], strict=False):
            h = jnp.tanh((h * p) @ w)
        return (h * self.p[-1]) @ theta[-1]

    def risk(self, theta: list) -> jax.Array:
        """The mean loss."""
        f, y = self.output(theta), self.y
        r = jnp.abs(f - y)
        each = {
            "squared": lambda: r**2 / 2,
            "huber": lambda: jnp.where(r < 1, r**2 / 2, r - 1 / 2),
            "logistic": lambda: jnp.log(1 + jnp.exp(f)) - y * f,
            "softmax": lambda: jnp.log(jnp.exp(f).sum(1)) - (y * f).sum(1),
        }[self.training["loss"]]()
        return each.sum() / len(y)

    def speed(self, state: list, rates: jax.Array, decays: jax.Array) -> list:
        """Of parameters, and of two memories beside them."""
        theta, m, q = state
        g = [s / mass for s, mass in zip(jax.grad(self.risk)(theta), self.mass, strict=True)]
        decayed = [lam * t for lam, t in zip(decays, theta, strict=True)]
        zeros = [jnp.zeros_like(t) for t in theta]
        if "momentum" in self.training:
            moved = [-xi * b for xi, b in zip(rates, m, strict=True)]
            return [moved, [a + d - b for a, d, b in zip(g, decayed, m, strict=True)], zeros]
        if adam := self.training.get("adam"):
            ahead = g if adam["first"] == "none" else m
            moved = [
                -xi * (a / (jnp.sqrt(jnp.maximum(s, 0)) + adam["delta"]) + d)
                for xi, a, s, d in zip(rates, ahead, q, decayed, strict=True)
            ]
            fast = 0.0 if adam["first"] == "none" else adam["first"]
            rises = [fast * (a - b) for a, b in zip(g, m, strict=True)]
            return [moved, rises, [a**2 - s for a, s in zip(g, q, strict=True)]]
        return [[-xi * (a + d) for xi, a, d in zip(rates, g, decayed, strict=True)], zeros, zeros]

    def numbers(self, name: str, t: float, span: tuple[float, float]) -> np.ndarray:
        """Learning rates or weight decays of all arrays."""
        chosen = self.training.get(name, 0.0)
        own = [chosen[kind] if isinstance(chosen, dict) else chosen for kind in self.kinds]
        return np.array([rate(one, t, span) for one in own])

    def jumps(self) -> set[float]:
        """When a learning rate or a weight decay jumps, or a cosine ends."""
        tables = [self.training.get(name) for name in ("learning_rates", "weight_decay")]
        own = [s for t in tables if isinstance(t, dict) for s in t.values() if isinstance(s, dict)]
        steps = {time for s in own if s["schedule"] == "piecewise" for time in s["times"]}
        return steps | {s["time"] for s in own if s["schedule"] == "cosine"}

    def outputs_at(self, times: list[float]) -> np.ndarray:
        """Outputs `(time, point, channel)` by DOP853."""
        zeros = [np.zeros_like(t) for t in self.theta]
        flat, unravel = ravel_pytree([self.theta, zeros, zeros])
        field = jax.jit(
            lambda s, rates, decays: ravel_pytree(self.speed(unravel(s), rates, decays))[0]
        )
        state, start, found = np.asarray(flat), 0.0, []
        for end in sorted({t for t in self.jumps() if t < times[-1]} | set(times)):
            span = start, end

            def moved(t: float, s: np.ndarray, span: tuple[float, float] = span) -> np.ndarray:
                own = [self.numbers(n, t, span) for n in ("learning_rates", "weight_decay")]
                return np.asarray(field(s, *own))

            path = solve_ivp(
                moved, span, state, "DOP853", rtol=1e-13, atol=1e-15, max_step=(end - start) / 16
            )
            assert path.success, path.message
            state, start = path.y[:, -1], end
            if end in times:
                found.append(np.asarray(self.output(unravel(jnp.asarray(state))[0])))
        return np.stack(found)


def _rms(values: np.ndarray) -> float:
    """The largest over times."""
    return float(np.sqrt(np.mean(np.asarray(values) ** 2, axis=(1, 2))).max())


def loose(asked: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Outputs in one integration at a loose step tolerance, and the error that would be told."""
    with engine(asked, "loose", False, "float64") as work:
        whole, halved = (
            work.run(work.first_design(), Steps(LOOSE, halved=half), seen_of_limit).seen["outputs"]
            for half in (False, True)
        )
    return whole, step_error(whole, halved)


def draw(number: int) -> dict:
    """One draw: told and true errors."""
    kind, raw = problem(number)
    with jax.enable_x64(True):
        asked = Problem.from_dict(raw)
        exact = Plain(raw).outputs_at(raw["observe"]["times"])
        limit = solve(asked, progress=False).dataset
        rough, told = loose(asked)
    off = np.abs(limit.output.values - exact)
    return kind | {
        "told": _rms(limit.time_error.values), "true": _rms(off),
        "outputs": np.mean(off <= limit.time_error.values),
        "told_loose": _rms(told), "true_loose": _rms(rough - exact),
        "outputs_loose": np.mean(np.abs(rough - exact) <= told),
    }  # fmt: skip


def measure(draws: int = 60) -> list[Row]:
    """The shares covered with the steps that are taken, and with loose ones."""
    keep_compiled()  # the processes inherit the environment before they import JAX
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        table = pd.DataFrame(tqdm(pool.map(draw, range(draws)), total=draws, disable=None))
    return [_row(table, "", "exact problems"), _row(table, "_loose", f"steps for {LOOSE:g}")]


def _row(table: pd.DataFrame, kind: str, name: str) -> Row:
    told, true = table[f"told{kind}"], table[f"true{kind}"]
    covered, ratio = true <= told, true / told
    interval = stats.binomtest(int(covered.sum()), len(table)).proportion_ci()
    strata = [
        f"{by} {key} {share:.0%}"
        for by in STRATA
        for key, share in covered.groupby(table[by]).mean().items()
        if share < 1
    ]
    return Row(
        f"time_error ≥ the true one, {name}",
        "95 %",
        f"{covered.mean():.1%} of {len(table)} "
        f"(95 % interval {interval.low:.1%} … {interval.high:.1%})",
        f"true/told: median {ratio.median():.2f}, largest {ratio.max():.2f}; largest true error "
        f"{true.max():.1e}; single outputs {table[f'outputs{kind}'].mean():.1%}"
        + "".join(f"; {own}" for own in strata),
    )


if __name__ == "__main__":
    print(lines(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 60)))
