"""Claims: predictions at the size users have: a table of 120 rows, and handwritten digits.

One hidden layer on 120 rows of three inputs, all 120 outputs at 11 times, SGD at three widths: a
forecast within 10 seconds, the RMS scatter to 10 % within 2 minutes, every output to 2 % within 5.
Digits as in the demo (1,437 × 10 outputs, two hidden layers): the RMS scatter within 10 minutes.
Nothing is compiled before. Processor seconds are told beside those of the clock.

python benchmarks/predictions_at_size.py [--digits]
"""

import logging
import sys
import time
import tomllib
from importlib import resources

import numpy as np
from table import Row, lines

from widelimit import Fluctuations, Problem, predict_fluctuations
from widelimit.networks.price import rival

MOST = {"rms": 120.0, "all": 300.0}
"""Seconds allowed for 120 rows."""

MOST_FORECAST, MOST_DIGITS = 10.0, 600.0


class First(logging.Handler):
    """When the first sentence was said."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.seconds = time.perf_counter(), float("inf")

    def emit(self, record: logging.LogRecord) -> None:
        """Note the time of a sentence, and print it."""
        now = time.perf_counter() - self.started
        self.seconds = min(self.seconds, now)
        print(f"{now:7.1f} s  {record.getMessage()}", file=sys.stderr, flush=True)


def rows_120() -> Problem:
    """A smooth target of three inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    y = np.tanh(x[:, 0] - 0.5 * x[:, 1]) + 0.3 * np.sin(2 * x[:, 2])
    return Problem.from_dict({
        "network": {"activations": ["tanh"]},
        "data": {"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        "training": {"horizon": 10.0},
        "networks": {"widths": [64, 256, 1024], "method": "sgd"},
    })  # fmt: skip


def digits() -> Problem:
    """The built-in example."""
    text = resources.files("widelimit.command").joinpath("demo.toml").read_text(encoding="utf-8")
    return Problem.from_dict(tomllib.loads(text))


def predicted(problem: Problem, what: str) -> tuple[Fluctuations, float, float, float]:
    """What was found; seconds until the first forecast, until the answer, and of processors."""
    log = logging.getLogger("widelimit")
    log.setLevel(logging.INFO)
    log.addHandler(first := First())
    spent = time.process_time()
    found = predict_fluctuations(problem, what=what, progress=False)
    taken, spent = time.perf_counter() - first.started, time.process_time() - spent
    log.removeHandler(first)
    return found, first.seconds, taken, spent


def held(problem: Problem, name: str, what: str, most: float) -> list[Row]:
    """Rows of one prediction: its forecast, its seconds, and what networks tell in these."""
    found, forecast, taken, spent = predicted(problem, what)
    error = float(found.dataset.attrs["error"])
    other = rival(problem, taken, found.effective_outputs)
    said = f"{name}, {'RMS' if what == 'rms' else 'every output'}"
    nodes = " × ".join(map(str, np.atleast_1d(found.dataset.attrs["nodes"])))
    how = f"cold, {nodes} nodes, {found.dataset.attrs['replicates']} scrambles"
    return [
        Row(f"{said}: forecast", f"≤ {MOST_FORECAST:g} s", f"{forecast:.1f} s", how),
        Row(
            f"{said}, std to {found.dataset.attrs['tolerance']:g}", f"≤ {most:g} s",
            f"{taken:.0f} s ({spent:.0f} s of processors), std to {error:.2g}", how,
        ),
        Row(
            f"{said}: networks that train as long", "their error told",
            f"{other.networks:.0f} of width {other.widths[0]}: std to {other.error:.2g}",
            "timed in the same run",
        ),
    ]  # fmt: skip


def measure() -> list[Row]:
    """The rows of this file, for 120 rows of data."""
    return [row for what, most in MOST.items() for row in held(rows_120(), "120 rows", what, most)]


if __name__ == "__main__":
    if "--digits" in sys.argv:
        print(lines(held(digits(), "digits", "rms", MOST_DIGITS)))
    else:
        print(lines(measure()))
