"""Claim: a small problem's first result comes soon, in a new process, sooner with kept code.

`widelimit solve` on one hidden layer, 2 inputs, tolerance 1e-2: first with an empty cache of
compiled code, then again.
"""

import os
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


def measure() -> list[Row]:
    """Wall times of whole processes, and of the imports alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "problem.toml"
        file.write_text(PROBLEM, encoding="utf-8")
        environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(Path(folder) / "cache")}

        def seconds(*arguments: str) -> float:
            started = time.perf_counter()
            subprocess.run(
                [sys.executable, *arguments], env=environment, check=True, capture_output=True
            )
            return time.perf_counter() - started

        command = "from widelimit.command.cli import main; main()"
        cold = seconds("-c", command, "solve", str(file), "-o", f"{folder}/cold")
        warm = min(
            seconds("-c", command, "solve", str(file), "-o", f"{folder}/warm{k}") for k in range(3)
        )
        imports = min(
            seconds("-c", "import widelimit.limit, widelimit.results.runfolder") for _ in range(3)
        )
    how = f"imports alone {imports:.1f} s in the same run"
    return [
        Row("first result of a small problem, nothing compiled", "≤ 7 s", f"{cold:.1f} s", how),
        Row("… with kept compiled code", "≤ 4 s", f"{warm:.1f} s", how),
    ]


if __name__ == "__main__":
    print(lines(measure()))
