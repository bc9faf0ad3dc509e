"""Central limit theorems: Sirignano & Spiliopoulos 2020, Pham & Nguyen 2021.

    √N (g^N_t(x) − g_t(x)) → ⟨c σ(w·x), η̄_t⟩, Gaussian:   the initial field plus a martingale with
    Cov M̄_t = α² ∫_0^t Cov_π[R_s] ds              (Stoch. Proc. Appl. 130, Theorem 1.5, Lemma 5.2)

SGD with single samples and ε = 1/N, as theirs; gradient flow and two hidden layers for Pham &
Nguyen (NeurIPS 2021). Predictions are `predict_fluctuations`, or closed forms (`optimum`).
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
from scipy.stats import norm

from widelimit.papers import Effort
from widelimit.papers.central_limit import scatter, second_order
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
from widelimit.papers.central_limit.optimum import ELSEWHERE, INPUTS
from widelimit.papers.claims import Claim, Measured
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.trajectory import Trajectory

HORIZON = 2.0

LEVEL = 0.95
"""Share of networks that a predicted ellipsoid should hold."""


SMOKE = ["pure-noise", "off-the-data", "self-healing"]
"""What the smoke form measures: one training, and predictions for atoms."""


class Theorem(Study):
    """Networks trained by SGD, on data and at an optimum."""

    @cached_property
    def single(self) -> Trajectory:
        """Networks as the theorem has them."""
        return self.trained(problem(TARGETS, NOISE, [HORIZON]), **moving())

    @cached_property
    def batches(self) -> Trajectory:
        """Networks with batches of four."""
        return self.trained(problem(TARGETS, NOISE, [HORIZON]), **moving(4))

    @cached_property
    def predicted(self) -> Fluctuations:
        """What the library predicts for single samples."""
        return self.predicted_for(problem(TARGETS, NOISE, [HORIZON]), **moving())

    def doubted(self, measured: Measured) -> Measured:
        """With the error of the predicted variances (twice that of standard deviations)."""
        return scatter.with_doubt(measured, 2 * self.predicted.dataset.attrs["error"] / 1.96)

    def variance(self, *sources: str) -> Measured:
        """Sum of measured variances over that of predicted ones with these sources."""
        c = covariance(self.predicted, HORIZON, *sources)
        return self.doubted(self.ratio(self.single, HORIZON, lambda d: scatter.size(d, c)))

    def pairs(self, order: int) -> Measured:
        """How much of the predicted correlations there is; `order` −1 exchanges the inputs."""
        c = covariance(self.predicted, HORIZON)[::order, ::order]
        return self.doubted(self.ratio(self.single, HORIZON, lambda d: scatter.off_diagonal(d, c)))

    def martingale(self, networks: Trajectory) -> Measured:
        """How often the predicted covariance of SGD's noise is in the networks' covariance."""
        parts = [covariance(self.predicted, HORIZON, s) for s in ("sgd", "layer 1")]
        return self.doubted(self.ratio(networks, HORIZON, lambda d: scatter.part(d, parts, 0)))

    def shape(self, samples: Callable, power: float = 1.0) -> Measured:
        """A number that tells Gaussians, for deviations in leading directions."""
        c = covariance(self.predicted, HORIZON)
        return self.ratio(self.single, HORIZON, lambda d: samples(scatter.in_leading(d, c)), power)

    def inside(self, *sources: str) -> Measured:
        """Share of networks in the ellipsoid predicted with these sources.

        A relative error e of standard deviations moves the share by 0.3 e: far less than it varies.
        """
        c = covariance(self.predicted, HORIZON, *sources)
        return self.ratio(
            self.single, HORIZON, lambda d: scatter.inside(scatter.in_leading(d, c), LEVEL)
        )

    # --- at an optimum ----------------------------------------------------------------------------

    @cached_property
    def noisy(self) -> Trajectory:
        """Networks at an optimum with pure-noise labels, SGD."""
        return self.trained(standing(NOISE), **moving())

    def noise(self, variance: float) -> Measured:
        """Mahalanobis ratio on the data to the closed form for labels with this variance."""
        c = self.optimum.covariance(AT_OPTIMUM, variance)[ON_DATA, ON_DATA]
        return self.ratio(self.noisy, AT_OPTIMUM, lambda d: scatter.mahalanobis(d[:, ON_DATA], c))

    def off_data(self, parted: np.ndarray) -> Measured:
        """Variances of what a matrix makes of the outputs, over those at the start."""
        start = parted @ self.optimum.start @ parted.T
        return self.ratio(self.noisy, AT_OPTIMUM, lambda d: scatter.size(d @ parted.T, start))

    def computed(self, batch: int) -> Measured:
        """Relative distance of the library's prediction from the closed form, at all inputs."""
        found = self.predicted_for(standing(NOISE), **moving(batch))
        exact = self.optimum.covariance(AT_OPTIMUM, NOISE**2)
        off = np.linalg.norm(covariance(found, AT_OPTIMUM) - exact) / np.linalg.norm(exact)
        return Measured(float(off), 2 * found.dataset.attrs["error"] / 1.96)


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked; the smoke form has a few."""
    study = Theorem(effort)
    everything = [
        *_about_covariances(study),
        *_about_the_noise(study),
        *_about_gaussians(study),
        *_about_an_optimum(study),
        *second_order.claims(effort),
    ]
    return [c for c in everything if effort != "smoke" or c.id in SMOKE]


def _about_covariances(study: Theorem) -> list[Claim]:
    return [
        Claim(
            "variance",
            "√N (g^N − g) has the variances of the linear SPDE: their sum over the "
            "predicted one (ratio)",
            "Theorem 1.5",
            1.0,
            1.25,
            lambda: study.variance(),
            "SGD's noise is left out of the prediction",
            lambda: study.variance("layer 1"),
        ),
        Claim(
            "correlations",
            "… and its covariances at different inputs (coefficient of the "
            "predicted ones in the measured ones)",
            "Theorem 1.5",
            1.0,
            0.0,
            lambda: study.pairs(1),
            "the inputs of the prediction are exchanged",
            lambda: study.pairs(-1),
        ),
    ]


def _about_the_noise(study: Theorem) -> list[Claim]:
    single = "single samples"
    return [
        Claim(
            "martingale",
            "SGD adds a martingale with the covariance of R_s over the data "
            "(coefficient of its predicted part in the measured covariance)",
            "Lemma 5.2",
            1.0,
            0.0,
            lambda: study.martingale(study.single),
            f"batches of four in place of {single}",
            lambda: study.martingale(study.batches),
        ),
        Claim(
            "batches",
            "with batches of four the martingale has a quarter of that covariance",
            "Lemma 5.2; batches: Descours et al. 2022",
            0.25,
            1.0,
            lambda: study.martingale(study.batches),
            single,
            lambda: study.martingale(study.single),
        ),
    ]


def _about_gaussians(study: Theorem) -> list[Claim]:
    return [
        Claim(
            "kurtosis",
            "the limit is Gaussian: kurtosis in the leading directions",
            "Theorem 1.5",
            3.0,
            4.0,
            lambda: study.shape(scatter.kurtosis),
            "each deviation u is replaced by the probability of smaller ones, Φ(u)",
            lambda: study.shape(lambda u: scatter.kurtosis(norm.cdf(u))),
        ),
        Claim(
            "skewness",
            "… and skewness in the first direction",
            "Theorem 1.5",
            0.0,
            1.0,
            lambda: study.shape(scatter.skewness, 0.5),
            "each deviation u is replaced by |u|",
            lambda: study.shape(lambda u: scatter.skewness(np.abs(u)), 0.5),
        ),
        Claim(
            "ellipsoid",
            "… and the predicted ellipsoid for 95 % in the leading directions holds "
            "this share of networks",
            "Theorem 1.5",
            LEVEL,
            0.85,
            lambda: study.inside(),
            "SGD's noise is left out of the prediction",
            lambda: study.inside("layer 1"),
        ),
    ]


def _about_an_optimum(study: Theorem) -> list[Claim]:
    twice = "the labels' variance is taken to be twice what it is"
    off = np.eye(len(INPUTS) + len(ELSEWHERE))[len(INPUTS) :]
    return [
        Claim(
            "pure-noise",
            "labels that scatter around the limit's outputs: these stay, and √N "
            "(g^N − g) is the Ornstein-Uhlenbeck process with the tangent kernel (Mahalanobis "
            "ratio on the data to its closed form)",
            "Theorem 1.5; equations.md §5",
            1.0,
            1.25,
            lambda: study.noise(NOISE**2),
            twice,
            lambda: study.noise(2 * NOISE**2),
        ),
        Claim(
            "off-the-data",
            "… and off the data, what the kernel does not interpolate from the "
            "data keeps its initial variances (ratio)",
            "Theorem 1.5; equations.md §5",
            1.0,
            1.25,
            lambda: study.off_data(study.optimum.rest),
            "nothing is interpolated",
            lambda: study.off_data(off),
        ),
        Claim(
            "pure-noise-predicted",
            "… and the library predicts what the closed form says "
            "(relative distance of covariances, on and off the data)",
            "Theorem 1.5; equations.md §5",
            0.0,
            0.1,
            lambda: study.computed(1),
            "the prediction is for batches of two",
            lambda: study.computed(2),
        ),
    ]
