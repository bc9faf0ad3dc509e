"""Claim: help, imports and a small problem's first result come soon, in new processes.

`widelimit solve` on one hidden layer, 2 inputs, tolerance 1e-2: first with an empty cache of
compiled code, then again.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import Row, lines

PROBLEM = """
network = { activations = ["tanh"] }
training = { horizon = 3.0 }
[data]
source = "table"
inputs = [[0.1, 0.2], [1.0, -0.4], [-0.7, 0.3], [0.5, 0.9]]
targets = [0.3, -0.2, 0.8, 0.1]
"""
COMMAND = "from widelimit.command.cli import main; main()"
RUNS = 5


def cost(cache: str, *arguments: str) -> tuple[float, float]:
    """Wall time and processors' time of one Python process, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments],
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": cache},
        check=True,
        capture_output=True,
    )
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure() -> list[Row]:
    """The quickest of several processes each."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "problem.toml"
        file.write_text(PROBLEM, encoding="utf-8")

        def solve(cache: str, run: str) -> tuple[float, float]:
            return cost(f"{folder}/{cache}", "-c", COMMAND, "solve", str(file), "-o", run)

        asked = {
            "help of the command": ("≤ 0.3 s", lambda k: cost(folder, "-c", COMMAND, "--help")),
            "import of the package and its first name": (
                "≤ 1.2 s",
                lambda k: cost(folder, "-c", "import widelimit; widelimit.Problem"),
            ),
            "first result of a small problem, nothing compiled": (
                "≤ 6 s",
                lambda k: solve(f"cold{k}", f"{folder}/first{k}"),
            ),
            "… with kept compiled code": (
                "≤ 3.5 s",
                lambda k: solve("cold0", f"{folder}/again{k}"),
            ),
        }
        rows = []
        for claim, (wanted, call) in asked.items():
            wall, spent = map(min, zip(*map(call, range(RUNS)), strict=True))
            rows.append(Row(claim, wanted, f"{wall:.2f} s", f"{spent:.2f} s of processors' time"))
    return rows


if __name__ == "__main__":
    print(lines(measure()))
