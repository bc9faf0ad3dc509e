"""Claim: where matrix products dominate, the right-hand side runs near the machine's rate.

4,096 × 1,024 nodes on digits (1,797 points, 64 inputs, 10 outputs): the operations of its matrix
products over the time of one evaluation, against the rate of a 2,048² product in this process.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from table import Row, lines
from timing import best

from widelimit import Problem
from widelimit.ensemble.dynamics import Dynamics
from widelimit.ensemble.layered.placing import limit_ensemble
from widelimit.ensemble.system import System
from widelimit.motion.memory import Memory
from widelimit.nodes.points import Nodes

SIZES, DIMS, SQUARE = (4096, 1024), (64, 10), 2048


def share(precision: str) -> tuple[float, float]:
    """The share of the matrix rate that is reached, and that rate in operations per second."""
    with jax.enable_x64(precision == "float64"):
        dtype = jnp.dtype(precision)
        problem = Problem.from_dict(
            {
                "network": {"activations": ["tanh"] * 2},
                "data": {"source": "digits"},
                "training": {"horizon": 1.0},
            }
        )
        system = System.of(problem, dtype)
        points, rng = len(system.inputs), np.random.default_rng(0)
        memory = Memory(10**10, problem.network.costs(*DIMS), dtype.itemsize, points)
        system = system.in_pieces(memory.points_at_once(SIZES, 12))
        nodes = [
            Nodes(rng.normal(size=(size, entries)), np.full(size, 1 / size))
            for size, entries in zip(SIZES, DIMS, strict=True)
        ]
        start = limit_ensemble(problem.network, nodes, *DIMS, dtype)
        step = eqx.filter_jit(Dynamics.velocity)
        seconds = best(lambda: step(system.dynamics, system.equations, start, system.batch))
        products = 3 * memory.edges(SIZES) - DIMS[0] * SIZES[0]
        square = jnp.asarray(rng.normal(size=(SQUARE, SQUARE)), dtype)
        product = jax.jit(lambda a: a @ a)
        rate = 2 * SQUARE**3 / best(lambda: product(square))
        return 2 * points * products / seconds / rate, rate


def measure() -> list[Row]:
    """One row a precision."""
    rows = []
    for precision in ("float32", "float64"):
        reached, rate = share(precision)
        rows.append(
            Row(
                f"right-hand side at 4,096 × 1,024 nodes, 1,797 points, {precision}",
                "≥ 60 % of the matrix-product rate",
                f"{reached:.0%}",
                f"rate {rate / 1e9:.0f} GFLOP/s in the same process",
            )
        )
    return rows


if __name__ == "__main__":
    print(lines(measure()))
