"""Pham & Nguyen, Limiting fluctuation and trajectorial stability (NeurIPS 2021).

    √N (f^N − f) → δf, linear in the noise 𝒢_l of sampling each layer's neurons, drawn once;
    layer l of width n_l = r_l N counts with r_l^(-1/2) 𝒢_l                (second-order limit)
    ∂_t δf_t(x) = −E_X'[K(x, X') δf_t(X')] at an optimum: training makes the scatter vanish

Gradient flow as theirs, but for networks that train until they fit: these are trained by SGD too,
whose noise vanishes with the residuals.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np

from widelimit.papers import Effort
from widelimit.papers.central_limit import scatter
from widelimit.papers.central_limit.fluctuating import (
    AT_OPTIMUM,
    NOISE,
    ON_DATA,
    TARGETS,
    Study,
    covariance,
    moving,
    problem,
    standing,
)
from widelimit.papers.claims import Claim, Measured
from widelimit.papers.measures.late_times import CHECKPOINTS, end_of
from widelimit.problem.problem import Problem
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.trajectory import Trajectory

HORIZON = 2.0
LATE = 8.0
"""When fluctuations that vanish are looked at."""

ATOMS = {
    "input": {"law": "atoms", "points": [[1.0, 0.3], [-0.4, 0.8], [0.5, -1.2]]},
    "hidden": {"law": "normal", "mean": 0.5, "std": 0.5},
    "readout": {"law": "atoms", "points": [0.4, 1.0, 2.2]},
}
"""Laws of two hidden layers for which predictions have no quadrature error."""

NEURONS = [
    [1.0, 0.3, 2.0],
    [-0.4, 0.8, 1.0],
    [0.5, -1.2, -1.0],
    [-1.1, -0.2, 0.5],
    [0.2, 1.5, -0.5],
    [1.6, 1.1, 1.5],
]
"""Atoms (w_1, w_2, c) of one hidden layer."""


def two_layers() -> dict:
    """Changes to a problem that make it one with two hidden layers."""
    return {"network": {"activations": ["tanh", "tanh"], "initial": ATOMS}}


class SecondOrder(Study):
    """Networks that rest, networks that train until they fit, and deep ones."""

    @cached_property
    def resting(self) -> Trajectory:
        """Networks at an optimum that fits all labels, gradient flow."""
        return self.trained(standing(0.0), method="flow")

    def rest(self, time: float) -> Measured:
        """Variances on the data without noise, at some time, over the closed form's at the end.

        Sums of variances: Mahalanobis' ratio would be about modes that have died out.
        """
        c = self.optimum.covariance(AT_OPTIMUM, 0.0)[ON_DATA, ON_DATA]
        return self.ratio(self.resting, time, lambda d: scatter.size(d[:, ON_DATA], c))

    def _fitting(self, noise: float, times: list[float]) -> Problem:
        law = {"neuron": {"law": "atoms", "points": NEURONS}}
        return problem(TARGETS, noise, times, network={"activations": ["tanh"], "initial": law})

    def end(self, noise: float) -> Measured:
        """Where the predicted variance on the data ends, in units of its start."""
        found = self.predicted_for(self._fitting(noise, [0.0, *CHECKPOINTS]), **moving()).dataset
        variances = found.variance.sum("source").isel(input=ON_DATA, width=0)
        return end_of(variances.sum(["input", "channel"]).values)

    @cached_property
    def fitting(self) -> Fluctuations:
        """The prediction for labels without noise."""
        return self.predicted_for(self._fitting(0.0, [LATE]), **moving())

    def late(self, noise: float) -> Measured:
        """Late variances of networks on the data over those predicted for labels without noise."""
        c = covariance(self.fitting, LATE)[ON_DATA, ON_DATA]
        networks = self.trained(self._fitting(noise, [LATE]), **moving())
        return self.ratio(networks, LATE, lambda d: scatter.size(d[:, ON_DATA], c))

    @cached_property
    def deep(self) -> Trajectory:
        """Networks with N/2 and N neurons in two hidden layers, gradient flow."""
        asked = problem(TARGETS, 0.0, [HORIZON], **two_layers())
        widths = [[n // 2, n] for n in self.sizes["widths"]]
        return self.trained(asked, method="flow", widths=widths)

    def layers(self, other: float, samples: Callable) -> Measured:
        """Samples of the scatter of `deep`, from both sources of the prediction for N/2 and N.

        The second source is multiplied by `other`.
        """
        asked = problem(TARGETS, 0.0, [HORIZON], **two_layers())
        found = self.predicted_for(asked, method="flow", widths=[[1, 2]])
        first, second = (covariance(found, HORIZON, f"layer {k}") for k in (1, 2))
        return self.ratio(self.deep, HORIZON, lambda d: samples(d, first, other * second))


def claims(effort: Effort) -> list[Claim]:
    """What is claimed of gradient flow, of late times, and of two layers."""
    study = SecondOrder(effort)
    return [*_about_healing(study), *_about_layers(study)]


def _about_healing(study: SecondOrder) -> list[Claim]:
    return [
        Claim(
            "rest",
            "networks that start at an optimum draw together there: variances on the data "
            "over those of exp(−K t) on the initial field (ratio)",
            "Pham & Nguyen 2021, stability; equations.md §4",
            1.0,
            1.25,
            lambda: study.rest(AT_OPTIMUM),
            "the parameters are frozen",
            lambda: study.rest(0.0),
        ),
        Claim(
            "self-healing",
            "labels without noise: the predicted variance on the data goes to 0, "
            "that of SGD's noise included (where it ends, in units of its start)",
            "Pham & Nguyen 2021, stability; for SGD from Theorem 1.5",
            0.0,
            0.1,
            lambda: study.end(0.0),
            "every input has two labels",
            lambda: study.end(NOISE),
        ),
        Claim(
            "healing-networks",
            "… and so does that of networks: late variances over the predicted ones (ratio)",
            "Pham & Nguyen 2021, stability; for SGD from Theorem 1.5",
            1.0,
            1.25,
            lambda: study.late(0.0),
            "every input has two labels",
            lambda: study.late(NOISE),
        ),
    ]


def _about_layers(study: SecondOrder) -> list[Claim]:
    return [
        Claim(
            "two-layers",
            "widths n and 2n, gradient flow: variances over those that the noise of "
            "both layers' neurons predicts (ratio)",
            "Pham & Nguyen 2021, Theorem 6",
            1.0,
            1.25,
            lambda: study.layers(1.0, _together),
            "the second layer's noise is left out",
            lambda: study.layers(0.0, _together),
        ),
        Claim(
            "second-layer",
            "the noise of the second layer's neurons counts by its own width "
            "(coefficient of its predicted part in the measured covariance)",
            "Pham & Nguyen 2021, Theorem 6; unequal widths: equations.md §4",
            1.0,
            2.0,
            lambda: study.layers(1.0, _second),
            "both layers are taken to be as wide as the first",
            lambda: study.layers(2.0, _second),
        ),
    ]


def _together(deviation: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return scatter.size(deviation, first + second)


def _second(deviation: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return scatter.part(deviation, [first, second], 1)
