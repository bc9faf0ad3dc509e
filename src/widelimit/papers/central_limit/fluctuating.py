"""Networks whose fluctuations are measured, and what is predicted for them.

Three inputs with two labels each, one hidden layer, laws of compact support.
"""

from collections.abc import Callable

import numpy as np

from widelimit.around.fluctuations import predict_fluctuations
from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.central_limit import scatter
from widelimit.papers.central_limit.optimum import ELSEWHERE, INPUTS, READOUTS, WEIGHTS, Optimum
from widelimit.papers.claims import Measured
from widelimit.problem.problem import Problem
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.trajectory import Trajectory

TARGETS = [0.8, -0.5, 0.4]
NOISE = 0.5
"""Every input has two labels, its target ± this."""

ON_DATA = slice(len(INPUTS))
"""Networks are observed at the training inputs first."""

AT_OPTIMUM = 4.0
"""How long networks that start at an optimum are trained."""

SIZES: dict[Effort, dict] = {
    "smoke": {"widths": [16, 32], "seeds": 2000},
    "quick": {"widths": [32, 64, 128], "seeds": 2000},
    "full": {"widths": [64, 128, 256, 512], "seeds": 4000},
}

TOLERANCES: dict[Effort, float] = {"smoke": 2e-2, "quick": 5e-3, "full": 3e-3}
"""Relative error of predicted standard deviations; it counts in the errors of claims."""

UNIFORM = {
    "input": {"law": "uniform", "low": WEIGHTS[0], "high": WEIGHTS[1]},
    "readout": {"law": "uniform", "low": READOUTS[0], "high": READOUTS[1]},
}


def problem(targets: list[float], noise: float, times: list[float], **changes) -> Problem:
    """Three inputs, each with the labels target ± noise; one hidden layer, α = 1."""
    labels = np.add.outer(targets, [noise, -noise]).ravel()
    return Problem.from_dict(
        {
            "title": "fluctuations of one hidden layer",
            "network": {"activations": ["tanh"], "initial": UNIFORM},
            "data": {
                "source": "table",
                "inputs": INPUTS.repeat(2, axis=0).tolist(),
                "targets": labels.tolist(),
            },
            "training": {"horizon": times[-1]},
            "observe": {"times": times, "inputs": [*INPUTS.tolist(), *ELSEWHERE.tolist()]},
        }
    ).with_changes(**changes)


def moving(batch: int = 1) -> dict:
    """Networks as the theorem has them, or with larger batches."""
    return {"method": "sgd", "step": "1/width", "batch": batch}


def standing(noise: float) -> Problem:
    """The limit's initial outputs as targets: it stays there, whatever the noise of labels."""
    targets = Optimum.of_uniform_laws().outputs[ON_DATA].tolist()
    return problem(targets, noise, [0.0, AT_OPTIMUM])


class Study:
    """Networks of all widths, predictions, and what one is in units of the other."""

    def __init__(self, effort: Effort):
        self.sizes, self.tolerance = SIZES[effort], TOLERANCES[effort]
        self.optimum = Optimum.of_uniform_laws()

    def trained(self, asked: Problem, **settings) -> Trajectory:
        """Networks of all widths."""
        return train(asked.with_changes(networks={**self.sizes, **settings}), progress=False)

    def ratio(
        self, networks: Trajectory, time: float, samples: Callable, power: float = 1.0
    ) -> Measured:
        """What samples of √N-deviations average to at N = ∞."""
        found = scatter.deviations(networks, time)
        widths = networks.dataset.width.values.tolist()
        return scatter.at_infinity(widths, [samples(d) for d in found], power)

    def predicted_for(self, asked: Problem, **settings) -> Fluctuations:
        """What the library predicts, covariances included."""
        asked = asked.with_changes(networks={"widths": [1], **settings})
        return predict_fluctuations(
            asked, covariance=True, tolerance=self.tolerance, progress=False
        )


def covariance(found: Fluctuations, time: float, *sources: str) -> np.ndarray:
    """The predicted covariance of √N f^N, `(input, input)`, with these sources or with all."""
    each = found.dataset.covariance.sel(time=time).isel(width=0, channel=0, other_channel=0)
    chosen = each.sel(source=list(sources)) if sources else each
    return float(each.width) * chosen.sum("source").values
