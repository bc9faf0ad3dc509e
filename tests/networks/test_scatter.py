"""How networks scatter: statistics with known means and errors, and closed forms at an optimum."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from widelimit import solve
from widelimit.papers.central_limit import scatter
from widelimit.papers.central_limit.fluctuating import standing
from widelimit.papers.central_limit.optimum import INPUTS, Optimum
from widelimit.papers.claims import mean

COVARIANCE = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])
OTHER = np.array([[0.3, -0.1, 0.0], [-0.1, 0.4, 0.1], [0.0, 0.1, 1.0]])


def drawn(count: int, covariance: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal(np.zeros(len(covariance)), covariance, size=count)


def agrees(samples: np.ndarray, expected: float) -> bool:
    """Within 4.5 standard errors: false alarm 7e-6."""
    found = mean(samples)
    return abs(found.value - expected) < 4.5 * found.error


@pytest.mark.parametrize(("power", "widths"), [(1.0, [32, 64]), (0.5, [32, 64, 128, 256])])
def test_the_first_correction_is_removed(power, widths):
    """Samples a + c/N^power ± ½: a exactly, and the error of the combination of their means."""
    samples = [2 + 3 / n**power + np.array([-0.5, 0.5] * 50) for n in widths]
    found = scatter.at_infinity(widths, samples, power)
    assert found.value == pytest.approx(2.0)
    alone = mean(samples[0]).error
    if len(widths) == 2:  # 2 m(2n) − m(n)
        assert found.error == pytest.approx(np.sqrt(5) * alone)
    assert found.error > alone
    assert found.freedom == 99


@pytest.mark.parametrize("samples", [scatter.size, scatter.mahalanobis, scatter.off_diagonal])
def test_ratios_are_one_for_the_right_covariance(samples):
    deviation = drawn(20_000, COVARIANCE)
    assert agrees(samples(deviation, COVARIANCE), 1.0)
    assert agrees(samples(deviation, COVARIANCE / 2), 2.0)
    assert not agrees(samples(deviation, COVARIANCE / 1.1), 1.0)


def test_parts_of_a_covariance():
    """δ with ½ C_1 + 2 C_2: each coefficient is found without the other."""
    deviation = drawn(20_000, 0.5 * COVARIANCE + 2 * OTHER)
    for which, expected in enumerate([0.5, 2.0]):
        found = scatter.part(deviation, [COVARIANCE, OTHER], which)
        assert agrees(found, expected)
        assert not agrees(found, 1.0)


@pytest.mark.parametrize("samples", [scatter.kurtosis, scatter.skewness])
def test_influence_values_tell_the_error(samples):
    """1,000 samples of 500 draws from Beta(2, 5), which is skewed: the error that is told is the
    standard deviation that is seen, to 10 % (which has itself an error of 2 %)."""
    rng = np.random.default_rng(1)
    found = [mean(samples(rng.beta(2, 5, size=(500, 1)))) for _ in range(1000)]
    spread = np.std([f.value for f in found])
    assert np.mean([f.error for f in found]) == pytest.approx(spread, rel=0.1)


def test_gaussians_have_the_shape_of_gaussians():
    standard = scatter.in_leading(drawn(20_000, COVARIANCE), COVARIANCE)
    assert standard.shape == (20_000, scatter.LEADING)
    np.testing.assert_allclose(np.cov(standard.T), np.eye(scatter.LEADING), atol=0.05)
    assert agrees(scatter.kurtosis(standard), 3.0)
    assert agrees(scatter.skewness(standard), 0.0)
    assert agrees(scatter.inside(standard, 0.95), 0.95)
    assert not agrees(scatter.kurtosis(np.abs(standard)), 3.0)
    assert not agrees(scatter.skewness(np.abs(standard)), 0.0)
    assert not agrees(scatter.inside(1.2 * standard, 0.95), 0.95)


def test_an_optimum_without_noise_shrinks_and_with_noise_stays():
    """Σ' = −AΣ − ΣAᵀ + Q integrated step by step; what the kernel does not interpolate is kept."""
    optimum, v, t = Optimum.of_uniform_laws(), 0.3, 3.0
    count, dim = len(INPUTS), len(optimum.kernel)
    drift = np.hstack([optimum.kernel[:, :count] / count, np.zeros((dim, dim - count))])
    source = v / count * optimum.kernel[:, :count] @ optimum.kernel[:count]

    def speed(_, flat):
        s = flat.reshape(dim, dim)
        return (source - drift @ s - s @ drift.T).ravel()

    path = solve_ivp(speed, (0, t), optimum.start.ravel(), rtol=1e-9, atol=1e-11)
    expected = path.y[:, -1].reshape(dim, dim)
    found = optimum.covariance(t, v)
    np.testing.assert_allclose(found, expected, atol=1e-7)
    kept = optimum.rest @ found @ optimum.rest.T
    np.testing.assert_allclose(kept, optimum.rest @ optimum.start @ optimum.rest.T, atol=1e-9)
    still = np.trace(optimum.covariance(t, 0.0)[:count, :count])
    assert still < 0.1 * np.trace(optimum.start[:count, :count])


@pytest.mark.slow
def test_the_limit_stays_at_its_optimum():
    """With Gauss's rule for its initial outputs as targets, at all times within its tolerance."""
    limit = solve(standing(0.5).with_changes(limit={"tolerance": 2e-3}), progress=False).dataset
    off = limit.output.isel(channel=0).values - Optimum.of_uniform_laws().outputs
    assert np.sqrt((off**2).mean(axis=1)).max() < 2e-3
