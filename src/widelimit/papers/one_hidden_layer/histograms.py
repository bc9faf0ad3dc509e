"""Histograms of trained parameters on real images, as in the figures of the law of large numbers.

Sirignano & Spiliopoulos 2020, §2: networks with 10,000, 100,000 and 250,000 units trained on MNIST
have histograms that look alike. Here their distance is measured, at widths where it can be told.
"""

import numpy as np

from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, width_exponent
from widelimit.papers.measures.observables import histogram_distance
from widelimit.problem.problem import Problem

HORIZON = 1.0

WRONG_STEP = 0.2
"""The rate of networks trained wrong, at every N."""

SIZES: dict[Effort, dict] = {
    "quick": {"widths": [100, 250, 700, 2000], "seeds": 16},
    "full": {"widths": [300, 1000, 3000, 10000], "seeds": 12},
}

IMAGES: dict[str, tuple[dict, dict]] = {
    "digits": ({"source": "digits"}, {"law": "normal", "mean": 0.1, "std": 0.25}),
    "mnist": (
        {"source": "openml", "name": "mnist_784"},
        {"law": "normal", "mean": 0.02, "std": 0.1},
    ),
}
"""Data, and the law of input weights with which pre-activations are about N(2, 1) at the start.

Their mean is not 0: else the noise that SGD gives to all readouts would push as many of them up
as down, and histograms of readouts would not show it.
"""


def problem(images: str, step: float | str, effort: Effort) -> Problem:
    """One hidden layer with 64 or 784 inputs and ten outputs; batch 1, readouts on [−1, 1]."""
    data, weights = IMAGES[images]
    sizes = SIZES[effort]
    return Problem.from_dict(
        {
            "title": f"one hidden layer on {images}",
            "network": {
                "activations": ["tanh"],
                "initial": {
                    "input": weights,
                    "readout": {"law": "uniform", "low": -1.0, "high": 1.0},
                },
            },
            "data": data,
            "training": {"horizon": HORIZON},
            "networks": {**sizes, "step": step, "states": sizes["seeds"]},
            "observe": {"times": [HORIZON]},
        }
    )


def claim(images: str, effort: Effort) -> Claim:
    """Distance of two networks' cumulative histograms of all their readouts, output by output."""

    def distance(step: float | str) -> Measured:
        networks = train(problem(images, step, effort), progress=False)

        def squares(width: int) -> np.ndarray:
            readouts = networks.states[f"width_{width}"].to_dataset()["readout"]
            return histogram_distance(readouts.values[:, -1], -1.0, 1.0)

        return width_exponent(SIZES[effort]["widths"], squares)

    return Claim(
        f"histograms-{images}",
        f"{images}, ten outputs: histograms of trained readouts stabilise "
        "as N grows: distance between those of two networks ∝ N^(-1/2)",
        "Figures of section 2",
        -0.5,
        0.0,
        lambda: distance("1/width"),
        f"the rate is {WRONG_STEP} at every width in place of α/N",
        lambda: distance(WRONG_STEP),
    )
