"""Claim: two workers do sixteen members of a sweep 1.7 times as fast as one; a member costs .1 s.

Members train networks of width 128 for some four seconds; compiled code is on disk before anything
is timed. Starting takes about five seconds, on two workers as on one, and counts: members of one
second gain 1.5 times, of half a second 1.2. What a member costs beyond its work is the slope of the
time of sweeps of small members, less what the same work takes in one process that calls it
directly. And training that is kept takes no more than 3 % longer: runs with and without a store
take turns.

python benchmarks/sweeps_use_workers.py
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tomli_w
from table import Row, lines

from widelimit import Problem, kept_in, train

CALL = "from widelimit.command.cli import main; main()"

DIRECT = """
import os, sys, time
from widelimit.command.workers.threads import one_thread
os.environ.update(one_thread())
from pathlib import Path
from widelimit.command.compilation import keep_compiled
keep_compiled()
from widelimit.command.families.members import work_on
places = sorted(Path(sys.argv[1]).glob("members/*"))
work_on(places[0])
begun = time.perf_counter()
for place in places[1:]:
    work_on(place)
print((time.perf_counter() - begun) / (len(places) - 1))
"""


def family(members: int, width: int, step: float) -> dict:
    """So many problems that differ in their seed."""
    x = np.random.default_rng(0).normal(size=(20, 2)).round(2)
    return {
        "network": {"activations": ["tanh"]},
        "data": {
            "source": "table",
            "inputs": x.tolist(),
            "targets": np.sin(x[:, 0]).round(3).tolist(),
        },
        "training": {"horizon": 1.0},
        "limit": {"tolerance": 0.1},
        "observe": {"times": 2},
        "networks": {"widths": [width], "seeds": 10, "step": step},
        "sweep": {"seed": list(range(members))},
    }


def seconds(raw: dict, workers: int, *more: str) -> tuple[float, Path]:
    """What a sweep in a new folder takes, and the folder."""
    folder = Path(tempfile.mkdtemp())
    (folder / "family.toml").write_text(tomli_w.dumps(raw), encoding="utf-8")
    call = [sys.executable, "-c", CALL, "sweep", str(folder / "family.toml")]
    call += ["-o", str(folder / "run"), "--workers", str(workers), *more]
    begun = time.perf_counter()
    subprocess.run(call, check=True, capture_output=True)
    return time.perf_counter() - begun, folder / "run"


def efficiency() -> Row:
    """Sixteen members on one worker and on two, in turn."""
    raw = family(16, 128, 2e-6)
    seconds(family(2, 128, 5e-5), 1)  # compiled
    one, two = (seconds(raw, n)[0] for n in (1, 2))
    how = f"{one:.1f} s on one, {two:.1f} s on two"
    return Row("16 members, two workers against one", "≥ 1.7 ×", f"{one / two:.2f} ×", how)


def overhead() -> Row:
    """What a member costs beyond its work."""
    few, many = family(4, 8, 0.1), family(44, 8, 0.1)
    seconds(few, 1)
    slope = (seconds(many, 1)[0] - seconds(few, 1)[0]) / 40
    place = seconds(many, 1, "--job-array")[1]
    direct = subprocess.run(
        [sys.executable, "-c", DIRECT, str(place)], check=True, capture_output=True, text=True
    )
    work = float(direct.stdout)
    how = f"{slope:.2f} s a member, of which its work {work:.2f} s"
    return Row("a member beyond its work", "≤ 0.1 s", f"{slope - work:.3f} s", how)


def keeping() -> Row:
    """Training with and without a store, taking turns."""
    raw = family(1, 1024, 1e-4)
    del raw["sweep"]
    problem = Problem.from_dict(raw)

    def once() -> float:
        begun = time.perf_counter()
        train(problem, progress=False)
        return time.perf_counter() - begun

    def kept() -> float:
        with tempfile.TemporaryDirectory() as folder, kept_in(folder):
            return once()

    once()
    ratios = [kept() / once() for _ in range(7)]
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    how = f"quartiles {low - 1:+.1%} … {high - 1:+.1%} of 7 pairs"
    return Row("training that is kept", "≤ 3 % longer", f"{middle - 1:+.1%}", how)


def measure() -> list[Row]:
    """The rows of this file."""
    return [efficiency(), overhead(), keeping()]


if __name__ == "__main__":
    print(lines(measure()))
