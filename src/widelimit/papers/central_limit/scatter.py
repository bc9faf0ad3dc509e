"""How networks scatter around their mean: numbers whose means are known for Gaussian fields.

Every function gives one sample for each network, so that a mean has the standard error of a mean.
Deviations are those from the sample mean: offsets of order 1/N do not count.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import chi2

from widelimit.papers.claims import Measured, mean
from widelimit.results.trajectory import Trajectory

LEADING = 2
"""Principal directions of a predicted covariance that Gaussianity is looked at in."""


def deviations(networks: Trajectory, time: float) -> list[np.ndarray]:
    """√N (f − mean over networks) at a time, `(seed, input)` for each width, one channel.

    Times (S/(S − 1))^½ with S networks, so that the mean of products has no bias.
    """
    outputs = networks.dataset.output.sel(time=time).isel(channel=0).astype(float)
    found = []
    for width, of_width in zip(outputs.width.values, outputs.values, strict=True):
        count = len(of_width)
        scale = math.sqrt(width * count / (count - 1))
        found.append(scale * (of_width - of_width.mean(axis=0)))
    return found


def at_infinity(
    widths: Sequence[int], samples: Sequence[np.ndarray], power: float = 1.0
) -> Measured:
    """The value a of a + c/N^power that means of samples have at width N; needs two widths.

    The term c/N^power is the first correction at finite widths. Least squares with equal weights
    (the errors of variances know of their values; weights from them would shift a).
    """
    small = (min(widths) / np.asarray(widths, float)) ** power
    intercept = np.linalg.pinv(np.stack([np.ones_like(small), small], axis=1))[0]
    means = [mean(s) for s in samples]
    value = float(intercept @ [m.value for m in means])
    error = math.sqrt(intercept**2 @ [m.error**2 for m in means])
    return Measured(value, error, min(m.freedom for m in means))


def with_doubt(measured: Measured, relative: float) -> Measured:
    """With the relative standard error of the prediction that it is measured in units of."""
    return measured._replace(error=math.hypot(measured.error, relative * measured.value))


def size(deviation: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """|δ|²/tr C: the mean is 1 if the variances of C add up to those of δ."""
    return (deviation**2).sum(axis=1) / np.trace(covariance)


def mahalanobis(deviation: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """δᵀ C⁻¹ δ/dim: the mean is 1 if δ has the covariance C, slow and small modes included."""
    solved = np.linalg.solve(covariance, deviation.T).T
    return (deviation * solved).sum(axis=1) / len(covariance)


def off_diagonal(deviation: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Σ_(x ≠ x') δ(x) δ(x') C(x, x') / Σ_(x ≠ x') C(x, x')²: how much of C's correlations δ has."""
    pairs = covariance - np.diag(np.diag(covariance))
    return np.einsum("sx,sy,xy->s", deviation, deviation, pairs) / (pairs**2).sum()


def part(deviation: np.ndarray, parts: Sequence[np.ndarray], which: int) -> np.ndarray:
    """How often δ's covariance contains one of several parts: the coefficient b in Σ_k b_k C_k.

    By the dual basis of the C_k in the Frobenius product; the mean is 1 if every part is there.
    """
    flat = np.stack([p.ravel() for p in parts])
    dual = np.linalg.solve(flat @ flat.T, flat)[which].reshape(parts[0].shape)
    return np.einsum("sx,sy,xy->s", deviation, deviation, dual)


def in_leading(deviation: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """δ in the leading principal directions of C, in units of their standard deviations."""
    values, directions = np.linalg.eigh(covariance)
    return deviation @ directions[:, : -LEADING - 1 : -1] / np.sqrt(values[: -LEADING - 1 : -1])


def inside(standard: np.ndarray, level: float) -> np.ndarray:
    """Whether a network is inside the ellipsoid that holds a Gaussian with this probability."""
    radius = chi2.ppf(level, standard.shape[1])
    return ((standard**2).sum(axis=1) < radius).astype(float)


def kurtosis(standard: np.ndarray) -> np.ndarray:
    """m_4/m_2² of every direction, their mean: 3 for Gaussians. Its influence values plus itself.

    With u centred, m_4/m_2² has the influence (u⁴ − m_4 − 4 m_3 u)/m_2² − 2 m_4 (u² − m_2)/m_2³.
    """
    u, m = _centred(standard)
    m_2, m_3, m_4 = m(2), m(3), m(4)
    influence = (u**4 - m_4 - 4 * m_3 * u) / m_2**2 - 2 * m_4 * (u**2 - m_2) / m_2**3
    return (m_4 / m_2**2 + influence).mean(axis=1)


def skewness(standard: np.ndarray) -> np.ndarray:
    """m_3/m_2^(3/2) of the first direction, as influence values plus itself: 0 for Gaussians.

    The influence is (u³ − m_3 − 3 m_2 u)/m_2^(3/2) − (3/2) m_3 (u² − m_2)/m_2^(5/2). Directions
    have no sign of their own, so that a mean over several would cancel.
    """
    u, m = _centred(standard[:, 0])
    m_2, m_3 = m(2), m(3)
    influence = (u**3 - m_3 - 3 * m_2 * u) / m_2**1.5 - 1.5 * m_3 * (u**2 - m_2) / m_2**2.5
    return m_3 / m_2**1.5 + influence


def _centred(values: np.ndarray) -> tuple[np.ndarray, Callable[[int], np.ndarray]]:
    """Values minus their mean, and central moments."""
    u = values - values.mean(axis=0)
    return u, lambda order: (u**order).mean(axis=0)
