"""Claims: 2^20 nodes on 1,797 points of 64 inputs run in 4 GB; so does a functional of 10^6 values.

One hidden layer with `limit.nodes = 1000000`, float32 and a short horizon; a whole solve that looks
at the tangent kernel of 1,000 outputs, at eleven times; and 2^16 units of a residual network on the
same points, in 1.2 GB. `limit.memory` says so; the peak of resident memory of the whole process is
measured.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

from table import Row, lines

NODES, HORIZON = 2**20, 0.05
UNITS = 2**16


def of_nodes() -> None:
    """One integration on 2^20 nodes."""
    from widelimit import Problem
    from widelimit.limit.search import seen_of_limit
    from widelimit.motion.engine import Steps, engine

    problem = Problem.from_dict(
        {
            "network": {"activations": ["tanh"]},
            "data": {"source": "digits"},
            "training": {"horizon": HORIZON},
            "limit": {"nodes": [NODES], "memory": "4 GB", "precision": "float32"},
            "observe": {"times": 2},
        }
    )
    with engine(problem, "one replicate", False) as work:
        work.run(work.first_design().with_counts([NODES]), Steps(1e-2), seen_of_limit)


def of_a_functional() -> None:
    """The tangent kernel of 1,000 outputs at eleven times, with its error."""
    import numpy as np

    from widelimit import Problem, solve

    x = np.linspace(-2, 2, 1000)
    problem = Problem.from_dict(
        {
            "network": {"activations": ["tanh"]},
            "data": {"source": "table", "inputs": [-1.0, 0.0, 1.0], "targets": [0.0, 1.0, 0.5]},
            "training": {"horizon": 1.0},
            "limit": {"memory": "4 GB", "tolerance": 1e-2},
            "observe": {"times": 11, "inputs": x.tolist(), "functionals": ["kernel"]},
        }
    )
    assert solve(problem, progress=False).dataset.kernel.shape == (11, 1000, 1, 1000, 1)


def of_units() -> None:
    """One integration on 2^16 units, a little further than no time at all."""
    from widelimit import Problem
    from widelimit.limit.search import seen_of_limit
    from widelimit.motion.engine import Steps, engine

    problem = Problem.from_dict(
        {
            "network": {"architecture": "residual", "depth": "limit"},
            "data": {"source": "digits"},
            "training": {"horizon": HORIZON / 25},
            "limit": {"memory": "1.2 GB", "precision": "float32"},
            "observe": {"times": 2},
        }
    )
    with engine(problem, "one replicate", False) as work:
        work.run(work.first_design().with_counts([UNITS]), Steps(1e-2), seen_of_limit)


CASES = {
    "nodes": ("one hidden layer, 2^20 nodes, 1,797 points, 64 inputs", 4.0, of_nodes),
    "functional": ("a functional of 1,000 × 1,000 at 11 times", 4.0, of_a_functional),
    "units": ("2^16 units of a residual limit, 1,797 points, D = 64", 1.2, of_units),
}


def run(case: str) -> None:
    """One case; prints the peak in bytes and the seconds."""
    started = time.perf_counter()
    CASES[case][2]()
    print(peak(), time.perf_counter() - started)


def peak() -> int:
    """The peak of resident memory in bytes; getrusage's is the parent's if that was larger."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    (line,) = (own for own in status.read_text().splitlines() if own.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measured(case: str) -> Row:
    """The peak of a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, case], check=True, capture_output=True, encoding="utf-8"
    )
    most, seconds = map(float, done.stdout.split())
    what, allowed, _ = CASES[case]
    return Row(what, f"≤ {allowed:g} GB", f"{most / 1e9:.2f} GB", f"in {seconds:.0f} s")


def measure() -> list[Row]:
    """All cases."""
    return [measured(case) for case in CASES]


if __name__ == "__main__":
    run(sys.argv[1]) if sys.argv[1:] else print(lines(measure()))
