"""Networks at an optimum of the limit: the limit stays, and the networks' scatter is known.

Labels are the outputs f_0 of the limit's initial law, plus ±√v: every input twice. The mean-field
gradient vanishes, the tangent kernel K keeps its initial value, and √N (f^N − f_0) = O solves

    dO_t(x) = −Σ_k π_k K(x, x_k) O_t(x_k) dt + dM_t(x),
    Cov(dM_t(x), dM_t(x')) = (v/b) Σ_k π_k K(x, x_k) K(x_k, x') dt

for SGD with ε = 1/N and batch b (Sirignano & Spiliopoulos 2020, Theorem 1.5), without the noise
for gradient flow (Pham & Nguyen 2021: the fluctuation shrinks even at an optimum). One hidden
layer, tanh, laws uniform on intervals: all by Gauss's rule and matrix exponentials.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import expm

WEIGHTS = (-1.0, 2.0)
READOUTS = (-1.0, 3.0)
"""Where input weights and readouts start, uniform: the theorem asks for compact supports."""

INPUTS = np.array([[1.2, 0.2], [-0.4, 1.1], [-0.9, -0.8]])
ELSEWHERE = np.array([[0.5, 1.5], [1.0, -1.0]])
"""Training inputs, and others where networks are observed too."""

GAUSS = 40
"""Gauss points for each of two input weights."""


@dataclass(frozen=True)
class Optimum:
    """What is known at the start: outputs f_0, K and Cov √N f^N_0 at all observed inputs.

    The training inputs are the first ones.
    """

    outputs: np.ndarray
    kernel: np.ndarray
    start: np.ndarray

    @classmethod
    def of_uniform_laws(cls) -> "Optimum":
        """K = E φφ' + E c² E[φ̇ φ̇'] x·x', Cov = E c² E φφ' − (E c)² E φ E φ', φ = tanh(w·x)."""
        nodes, weights = np.polynomial.legendre.leggauss(GAUSS)
        (low, high), points = WEIGHTS, np.concatenate([INPUTS, ELSEWHERE])
        side = low + (high - low) * (nodes + 1) / 2
        w = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
        p = np.outer(weights, weights).ravel() / 4
        phi = np.tanh(w @ points.T)
        products, average = (phi.T * p) @ phi, p @ phi
        slopes = ((1 - phi**2).T * p) @ (1 - phi**2)
        centre = sum(READOUTS) / 2
        square = centre**2 + (READOUTS[1] - READOUTS[0]) ** 2 / 12
        return cls(
            centre * average,
            products + square * slopes * (points @ points.T),
            square * products - centre**2 * np.outer(average, average),
        )

    def covariance(self, time: float, noise: float) -> np.ndarray:
        """Cov O_t, `(input, input)`, for noise v/b (0 for gradient flow).

        Σ' = −AΣ − ΣAᵀ + Q by Van Loan's block exponential, which also holds growing modes: good
        to rounding for times of some multiples of 1/|A| (|A| is about 1), not for late ones.
        """
        count = len(INPUTS)
        drift = np.zeros_like(self.kernel)
        drift[:, :count] = self.kernel[:, :count] / count
        source = noise / count * self.kernel[:, :count] @ self.kernel[:count]
        block = expm(time * np.block([[-drift, source], [np.zeros_like(drift), drift.T]]))
        dim = len(drift)
        decay, made = block[:dim, :dim], block[:dim, dim:]
        return decay @ self.start @ decay.T + made @ decay.T

    @property
    def stationary(self) -> np.ndarray:
        """½ K on the data: Cov O_t for t → ∞ and v/b = 1."""
        return self.kernel[: len(INPUTS), : len(INPUTS)] / 2

    @property
    def rest(self) -> np.ndarray:
        """The map from outputs to f(x) − K(x, X) K(X, X)⁻¹ f(X), x not in the data X.

        What SGD does to f is a combination of K(·, x_k): this part of f never moves.
        """
        count = len(INPUTS)
        on, off = self.kernel[:count, :count], self.kernel[count:, :count]
        return np.hstack([-np.linalg.solve(on, off.T).T, np.eye(len(off))])
