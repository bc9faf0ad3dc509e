"""Claim: one hidden layer with 10^6 nodes, 1,797 points and 64 inputs runs in 4 GB.

`solve` with `limit.nodes = 1000000`, `limit.memory = "4 GB"`, float32 and a short horizon; the
peak of resident memory of the whole process is measured.
"""

import resource
import subprocess
import sys
import time

from table import Row, lines

NODES, HORIZON = 2**20, 0.05


def run() -> None:
    """One integration on 2^20 nodes; prints the peak in bytes and the seconds."""

    from widelimit import Problem
    from widelimit.limit.search import seen_of_limit
    from widelimit.motion.engine import Steps, engine

    problem = Problem.from_dict({
        "network": {"activations": ["tanh"]},
        "data": {"source": "digits"},
        "training": {"horizon": HORIZON},
        "limit": {"nodes": [NODES], "memory": "4 GB", "precision": "float32"},
        "observe": {"times": 2},
    })  # fmt: skip
    started = time.perf_counter()
    with engine(problem, "one replicate", False) as work:
        work.run(work.first_design().with_counts([NODES]), Steps(1e-2), seen_of_limit)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(peak, time.perf_counter() - started)


def measure() -> list[Row]:
    """The peak of a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "run"], check=True, capture_output=True, encoding="utf-8"
    )
    peak, seconds = map(float, done.stdout.split())
    how = f"one integration to t = {HORIZON:g} in {seconds:.0f} s, float32"
    return [
        Row(
            "one hidden layer, 2^20 nodes, 1,797 points, 64 inputs",
            "≤ 4 GB",
            f"{peak / 1e9:.2f} GB",
            how,
        )
    ]


if __name__ == "__main__":
    run() if sys.argv[1:] == ["run"] else print(lines(measure()))
