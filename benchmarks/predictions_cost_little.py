"""Claims: fluctuations cost a few solves of the limit, and far less than an ensemble of networks.

One output at one time at most 6 solves at the same nodes; 100 inputs × 10 times with all sources
at most 200; five outputs to 5 % against the 200 networks of width 1,024 that know a standard
deviation as well: at least 50 times cheaper with two and three hidden layers, 10 times with one.
Times are warm (nothing is compiled in them).
"""

import time

import numpy as np
from table import Row, lines
from timing import best

from widelimit import Problem, predict_fluctuations, train
from widelimit.around.influence import Influence
from widelimit.limit.search import seen_of_limit
from widelimit.motion.engine import Steps, engine

HORIZON, WIDTH, ENSEMBLE, TRAINED = 3.0, 1024, 200, 4
STEP_TOLERANCE = 1e-4
MISSED = 2e-4
"""Directions leave out this share: that of a tolerance of 2 %."""


def problem(depth: int, inputs: int, times: int) -> Problem:
    """Twenty points of a smooth target of two inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(20, 2))
    y = np.sin(x[:, 0]) + 0.5 * np.cos(2 * x[:, 1])
    at = np.linspace(HORIZON / times, HORIZON, times).tolist()
    return Problem.from_dict({
        "network": {"activations": ["tanh"] * depth},
        "data": {"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        "training": {"horizon": HORIZON},
        "observe": {"times": at, "inputs": rng.normal(size=(inputs, 2)).tolist()},
        "networks": {"widths": [WIDTH], "seeds": TRAINED, "method": "sgd"},
    })  # fmt: skip


def in_solves(depth: int, inputs: int, times: int) -> float:
    """How many solves of the limit all variances cost, at the same nodes and step tolerance."""
    asked = problem(depth, inputs, times)
    with engine(asked, "", False) as work:
        design = work.first_design()
        start = work.placed(design)

        def variances() -> list[np.ndarray]:
            found = Influence.of(work.system, start, asked.times, STEP_TOLERANCE)
            return [spread.variance for spread in found.spreads(MISSED)]

        one = best(lambda: work.run(design, Steps(STEP_TOLERANCE), seen_of_limit).seen)
        return best(variances) / one


def against_an_ensemble(depth: int) -> float:
    """How much cheaper the prediction for five outputs is than an ensemble of networks."""
    asked = problem(depth, 5, 1)
    predicted = best(lambda: predict_fluctuations(asked, tolerance=0.05, progress=False), 1)
    train(asked, progress=False)
    started = time.perf_counter()
    train(asked, progress=False)
    return (time.perf_counter() - started) * ENSEMBLE / TRAINED / predicted


def measure() -> list[Row]:
    """All ratios."""
    rows = []
    for depth in (1, 2, 3):
        few, many = in_solves(depth, 1, 1), in_solves(depth, 100, 10)
        layers = f"{depth} hidden layer{'s' if depth > 1 else ''}"
        rows += [
            Row(f"fluctuations of one output, {layers}", "≤ 6 solves", f"{few:.1f}", "same nodes"),
            Row(f"… of 100 inputs × 10 times, {layers}", "≤ 200 solves", f"{many:.0f}", "SGD"),
            Row(
                f"… of five outputs to 5 % against {ENSEMBLE} networks of width {WIDTH}, {layers}",
                f"≥ {10 if depth == 1 else 50} ×", f"{against_an_ensemble(depth):.0f} × (x)",
                f"{TRAINED} networks trained by SGD, times {ENSEMBLE // TRAINED}",
            ),
        ]  # fmt: skip
    return rows


if __name__ == "__main__":
    print(lines(measure()))
