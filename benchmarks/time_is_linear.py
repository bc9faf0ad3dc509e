"""Claim: the time of a solve grows linearly in nodes and in data points.

One hidden layer, 64 inputs, fixed steps (one piece of integration with a loose tolerance), over
two decades; the exponent is a least-squares slope on log axes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from table import Row, lines
from timing import best

from widelimit import Problem
from widelimit.ensemble.layered.placing import limit_ensemble
from widelimit.ensemble.system import System
from widelimit.motion.flow import STRETCH, advance_one, method_for
from widelimit.motion.memory import Memory
from widelimit.nodes.points import Nodes

NODES = (1024, 3072, 10240, 32768, 102400)
POINTS = (64, 192, 640, 1920, 6400)
DIMS = (64, 10)


def seconds(nodes: int, points: int) -> float:
    """Time of one short integration in float32."""
    rng = np.random.default_rng(0)
    problem = Problem.from_dict(
        {
            "network": {"activations": ["tanh"]},
            "data": {
                "source": "table",
                "inputs": rng.normal(size=(points, DIMS[0])).tolist(),
                "targets": rng.normal(size=(points, DIMS[1])).tolist(),
            },
            "training": {"horizon": 0.1},
        }
    )
    placed = Nodes(rng.normal(size=(nodes, sum(DIMS))), np.full(nodes, 1 / nodes))
    start = limit_ensemble(problem.network, [placed], *DIMS, jnp.float32)
    memory = Memory(10**10, problem.network.costs(*DIMS), 4, points)
    system = System.of(problem, jnp.float32).in_pieces(memory.points_at_once((nodes,), 12))
    begin, stop, step, tolerance = (jnp.asarray(t, jnp.float32) for t in (0.0, 0.02, 0.02, 0.1))

    def run() -> jax.Array:
        motion = system.equations, system.dynamics, system.batch
        given = start, begin, stop, step, tolerance, STRETCH
        return advance_one(method_for(1e-2), *motion, *given).steps

    return best(run, 3)


def measure() -> list[Row]:
    """The exponent in nodes (640 points) and in points (10,240 nodes)."""
    rows = []
    for name, grid, call in (
        ("nodes", NODES, lambda n: seconds(n, 640)),
        ("data points", POINTS, lambda n: seconds(10240, n)),
    ):
        found = [call(n) for n in grid]
        slope = np.polyfit(np.log(grid), np.log(found), 1)[0]
        rows.append(
            Row(
                f"time ∝ ({name})^p, {grid[0]:,} … {grid[-1]:,}",
                "p ≤ 1.1",
                f"{slope:.2f}",
                "seconds " + ", ".join(f"{s:.2g}" for s in found),
            )
        )
    return rows


if __name__ == "__main__":
    print(lines(measure()))
