"""What limits of residual networks come to: no networks are trained.

Global convergence (Lu, Ma, Lu, Lu & Ying 2020; Ding, Chen, Li & Wright 2021; Chizat 2025), the
dissipation that it rests on, and outputs that networks are held against.
"""

from functools import cache

import numpy as np

from widelimit.limit.solve import solved
from widelimit.papers.claims import Claim, Measured
from widelimit.papers.measures.dissipation import lost_over_dissipated
from widelimit.papers.measures.late_times import end_of, until_late
from widelimit.papers.residual.study import data, of_atoms, problem
from widelimit.results.trajectory import Trajectory

DEPTHS = [4, 8, 16, 32]

RATES = {
    "perceptron_input": 0.5,
    "perceptron_readout": 2.0,
    "embedding": 0.3,
    "unembedding": 1.5,
}
"""Learning rates by name of parameter: both ends move too."""

LATE = [40.0, 80.0, 120.0, 160.0]


@cache
def output(depth: int | str, residual_scale: float = 1.0) -> np.ndarray:
    """Outputs `(output,)` of a limit at the horizon."""
    asked = of_atoms(depth, network={"residual_scale": residual_scale})
    return solved(asked, progress=False).dataset.output.isel(time=-1).values.ravel()


@cache
def _rated() -> Trajectory:
    """A limit in which everything moves, each kind of parameter at its own rate."""
    rates = {name.removeprefix("perceptron_"): rate for name, rate in RATES.items()}
    return solved(
        of_atoms(4, training={"learning_rates": rates}, observe={"times": 41}), progress=False
    )


def dissipation(**wrong: float) -> Measured:
    """Loss of risk over the integral of Σ E|∂_t θ|²/ξ."""
    return lost_over_dissipated(_rated(), RATES | wrong)


def end_of_risk(contradictory: bool) -> Measured:
    """Where the risk of six points ends, in units of its start; a seventh may contradict one."""
    table = data(6)
    if contradictory:
        table["inputs"] = [*table["inputs"], table["inputs"][0]]
        table["targets"] = [*table["targets"], table["targets"][0] + 3.0]
    asked = problem(network={"depth": 4}, data=table, limit={"tolerance": 1e-4})
    return end_of(until_late(asked, [256], LATE).dataset.risk.values)


def claims() -> list[Claim]:
    """The claims about limits alone."""
    return [
        Claim(
            "dissipation",
            "the risk falls by the integral of Σ E|∂_t θ|²/ξ, both ends of the stream included "
            "(ratio)",
            "gradient flow form of the mean ODE; Lu et al. 2020",
            1.0,
            0.5,
            dissipation,
            "the unembedding's own term is left out",
            lambda: dissipation(unembedding=0.0),
        ),
        Claim(
            "zero-loss",
            "normal laws, separate points: the risk goes to 0 (its end in units of its start)",
            "Lu et al. 2020; Ding et al. 2021; Chizat 2025",
            0.0,
            0.1,
            lambda: end_of_risk(contradictory=False),
            "one point has two targets",
            lambda: end_of_risk(contradictory=True),
        ),
    ]
