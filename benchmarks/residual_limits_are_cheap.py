"""Claims: a residual limit costs far less than networks of the same error; its time is linear.

Tanh perceptrons with standard normal laws on a stream of D numbers, D inputs, frozen ends, 24
points, times up to 3. Against the mean of R networks of L blocks of M units, L, M and R chosen to
win, trained by gradient flow in single precision, as limits are (see `limit_beats_networks`, whose
rules these are: their bias, which is Euler's, has to be below the error too). Times are those of
one run.

The right-hand side: 32 depths of 512 units, 1,438 points, D = 64, single precision, held against
the rate of products of matrices of its own shapes; and exponents of its time in depth nodes, units,
points, tokens.

    python benchmarks/residual_limits_are_cheap.py [cost] [rate]
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from limit_beats_networks import Contest, times_faster
from table import Row, lines

from widelimit import Problem
from widelimit.basics.precision import in_precision
from widelimit.ensemble.equations import Batch
from widelimit.ensemble.model import model_of
from widelimit.ensemble.system import System

SHAPES = {
    (4, 8): 128,
    (8, 8): 128,
    (16, 16): 256,
    (32, 16): 512,
    (64, 16): 1024,
    (128, 4): 1024,
}
"""Networks of each shape: enough for their bias to be known where it is as small as 1e-3."""

ASKED = {1e-2: "≥ 5 ×", 1e-3: "≥ 20 ×"}


def problem(inputs: int, points: int = 24, **network: object) -> Problem:
    """Networks that learn a smooth function of so many inputs."""
    x = np.random.default_rng(0).normal(size=(points, inputs))
    y = np.sin(x[:, 0]) + 0.5 * np.cos(2 * x[:, -1])
    normal = {"law": "normal"}
    end = {"law": "atoms", "points": [inputs**-0.5]}  # no draw: the reference has another seed
    return Problem.from_dict(
        {
            "network": {
                "architecture": "residual",
                "initial": {"input": normal, "readout": normal, "unembedding": end},
                **network,
            },
            "data": {"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
            "training": {"horizon": 3.0},
            "observe": {"times": [0.0, 1.0, 3.0]},
        }
    )


def cost() -> list[Row]:
    """One row a dimension and accuracy."""
    rows = []
    for stream, finest in ((2, 2e-4), (4, 5e-4)):
        asked = problem(stream).with_changes(limit={"precision": "float32"})
        contest = Contest(asked, finest, SHAPES, 2, (), halves=False, double=True)
        for error in ASKED:
            known, found = contest.known(error), contest.found(error)
            ratios = [contest.cheapest(limit[1])[0] / limit[0] for limit in (known, found)]
            seconds, what = contest.cheapest(error)
            how = f"known {known[0]:.3g} s ({known[2]}); found {found[0]:.3g} s ({found[2]}); "
            how += f"networks for RMS {error:g}: {seconds:.3g} s ({what})"
            said = f"known {times_faster(ratios[0])}, found {times_faster(ratios[1])}"
            rows.append(Row(f"residual, D = {stream}, {error:g}", ASKED[error], said, how))
            print(lines(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


def seconds_of(work: Callable[..., Any], *given: Any) -> float:
    """The best of some warm calls."""
    jax.block_until_ready(work(*given))  # it compiles
    best, begun = np.inf, time.perf_counter()
    while time.perf_counter() - begun < 2.0:
        started = time.perf_counter()
        jax.block_until_ready(work(*given))
        best = min(best, time.perf_counter() - started)
    return best


def gradient_seconds(
    depth: int, units: int, points: int, stream: int, tokens: int = 1, kind: str = "perceptron"
) -> float:
    """Seconds of one gradient of a network in single precision."""
    blocks = [{"unit": "attention", "key": 4}] if kind == "attention" else ["perceptron"]
    laws: dict = {"initial": {}} if kind == "attention" else {}
    asked = problem(stream * tokens, 4, blocks=blocks, tokens=tokens, stream=stream, **laws)
    with in_precision("float32"):
        system, model = System.of(asked, jnp.float32), model_of(asked)
        network, _ = model.drawn(
            jax.random.key(0), (depth, units), (stream * tokens, 1), jnp.float32
        )
        x = jax.random.normal(jax.random.key(1), (points, stream * tokens))
        batch = Batch(x, x[:, :1], jnp.full(points, 1 / points))
        return seconds_of(jax.jit(system.equations.gradient), network, batch)


def matrix_seconds(depth: int, units: int, points: int, stream: int) -> float:
    """Seconds of the products that a gradient is made of, one after the other, and nothing else.

    Two forward, z = hWᵀ and s a; four back, q aᵀ, sᵀq, δᵀh and δ W.
    """
    with in_precision("float32"):
        h = jax.random.normal(jax.random.key(0), (points, stream))
        w = jax.random.normal(jax.random.key(1), (depth, units, stream)) / stream

        def block(h: jax.Array, w: jax.Array) -> tuple[jax.Array, Any]:
            z = h @ w.T
            back = h @ w.T
            return z @ w, (back @ w, z.T @ h, back.T @ h)

        return seconds_of(jax.jit(lambda h: jax.lax.scan(block, h, w)), h)


def rate() -> list[Row]:
    """The share of the matrix rate, and the exponents of the time."""
    size = 32, 512, 1438, 64
    own, products = gradient_seconds(*size), matrix_seconds(*size)
    flops = 6 * 2 * np.prod(size) / 1e9
    rows = [
        Row(
            "residual right-hand side, 32 × 512 units, 1,438 points, D = 64",
            "≥ 50 %",
            f"{products / own:.0%}",
            f"{own:.3f} s; its products alone {products:.3f} s ({flops / products:.0f} GFLOP/s)",
        )
    ]
    grown: dict[str, tuple[str, list[dict]]] = {
        "depth nodes": ("perceptron", [{"depth": 8 * 2**k} for k in range(4)]),
        "units": ("perceptron", [{"units": 128 * 2**k} for k in range(4)]),
        "points": ("perceptron", [{"points": 256 * 2**k} for k in range(4)]),
        "tokens": ("attention", [{"tokens": 2 * 2**k, "units": 64} for k in range(4)]),
    }
    base = {"depth": 8, "units": 256, "points": 512, "stream": 16}
    for name, (kind, changes) in grown.items():
        each = [gradient_seconds(**{**base, **own}, kind=kind) for own in changes]
        sizes = [next(iter(own.values())) for own in changes]
        slope = np.polyfit(np.log(sizes), np.log(each), 1)[0]
        asked = "≤ 2.1 (tokens²)" if name == "tokens" else "≤ 1.1"
        how = ", ".join(f"{n}: {1e3 * s:.2g} ms" for n, s in zip(sizes, each, strict=True))
        rows.append(Row(f"residual, time ∝ {name} to the power", asked, f"{slope:.2f}", how))
    return rows


def measure(parts: tuple[str, ...] = ("cost", "rate")) -> list[Row]:
    """All rows."""
    own = {"cost": cost, "rate": rate}
    return [row for part in parts for row in own[part]()]


if __name__ == "__main__":
    print(lines(measure(tuple(sys.argv[1:]) or ("cost", "rate"))))
