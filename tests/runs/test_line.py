"""The line in 1/n against NumPy, SciPy, and tables whose limit is known."""

import numpy as np
import pytest
from scipy import optimize, stats

from widelimit.runs.line import Means, free_power, least_scatter

WIDTHS = [32, 64, 128, 256]


def drawn(rng, mean, seeds, variance=0.01):
    """Runs of every width with this mean, n·Var = `variance`."""
    return [mean(n) + rng.normal(size=seeds) * (variance / n) ** 0.5 for n in WIDTHS]


def test_intercept_and_slope_are_those_of_weighted_least_squares():
    rng = np.random.default_rng(0)
    runs = [rng.normal(size=(k, 3)) for k in (5, 2, 7, 3)]
    means = Means.of(WIDTHS, runs)
    x, counts = 1 / np.array(WIDTHS, float), np.array([5, 2, 7, 3])
    root = np.sqrt(counts * np.array(WIDTHS))
    fitted = np.polyfit(x, np.stack([r.mean(axis=0) for r in runs]), 1, w=root)
    assert np.allclose(means.estimate(means.combination(row=1)), fitted[0])
    assert np.allclose(means.estimate(means.combination(row=0)), fitted[1])
    curved = np.polyfit(x, np.stack([r.mean(axis=0) for r in runs]), 2, w=root)
    assert np.allclose(means.estimate(means.combination((1.0, 2.0))), curved[2])


def test_order_of_widths_does_not_matter():
    runs = drawn(np.random.default_rng(1), lambda n: 1 / n, 4)
    one, other = Means.of(WIDTHS, runs), Means.of(WIDTHS[::-1], runs[::-1])
    assert one.estimate(one.combination()) == other.estimate(other.combination())


def test_error_of_two_widths_is_welchs():
    """With two widths the intercept is 2 y_2n − y_n; SciPy has the interval of a difference."""
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=6), 0.3 * rng.normal(size=4)
    means = Means.of([1, 2], [a, b])
    low, high = stats.ttest_ind(2 * b, a, equal_var=False).confidence_interval(0.95)
    c = means.combination()
    assert means.estimate(c) == pytest.approx((low + high) / 2)
    assert means.half_width(c) == pytest.approx((high - low) / 2)


def test_a_width_with_one_run_scatters_as_the_others():
    rng = np.random.default_rng(3)
    runs = [rng.normal(size=5), rng.normal(size=1), rng.normal(size=5), rng.normal(size=5)]
    means = Means.of(WIDTHS, runs)
    scaled = [n * r.var(ddof=1) for n, r in zip(WIDTHS, runs, strict=True) if len(r) > 1]
    assert means.variances[1] == pytest.approx(np.mean(scaled) / 64)
    with pytest.raises(ValueError, match="one run of every width"):
        Means.of(WIDTHS, [r[:1] for r in runs])


@pytest.mark.parametrize("seeds", [3, 30])
def test_intervals_hold_the_limit(seeds):
    """600 tables each: a 95 % interval holds in 565 or more of 600 but for once in 1,000 times
    if it is not too short (binomial: 0.05 … 548); with the model error it is longer than that."""
    rng, held = np.random.default_rng(seeds), 0
    for _ in range(600):
        means = Means.of(WIDTHS, drawn(rng, lambda n: 0.3 + 2 / n, seeds))
        c = means.combination()
        held += abs(means.estimate(c) - 0.3) < means.half_width(c) + means.model_error()
    assert held >= 565


def test_misfit_is_a_probability():
    """Under the model it is below 5 % in 30 of 600 tables: 52 or more once in 10,000 times."""
    rng = np.random.default_rng(4)
    tables = [Means.of(WIDTHS, drawn(rng, lambda n: 0.3 + 2 / n, 5)) for _ in range(600)]
    assert 12 <= sum(table.misfit() < 0.05 for table in tables) <= 51
    bent = [Means.of(WIDTHS, drawn(rng, lambda n: 3 / n**0.3, 20)) for _ in range(20)]
    assert all(table.misfit() < 0.01 for table in bent)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 2.0])
def test_free_exponent_is_found(alpha):
    rng = np.random.default_rng(5)
    means = Means.of(WIDTHS, drawn(rng, lambda n: 0.3 + 4 * (32 / n) ** alpha, 20))
    found = free_power(means)

    def lack(p):
        y = p[0] + p[1] * (32 / means.widths) ** p[2]
        return np.sqrt(means.counts * means.widths) * (means.values - y)

    by_scipy = optimize.least_squares(lack, [0.3, 4.0, 1.0]).x
    assert found.exponent == pytest.approx(by_scipy[2], rel=0.01)
    assert found.exponent_low < alpha < found.exponent_high
    assert found.low < 0.3 < found.high
    assert (found.unlike_one < 1e-6) == (alpha != 1)


def test_one_number_more_scatter_than_least_is_not_refused():
    """`least_scatter` is where the χ² test stands at 5 %."""
    values = [4.1184, 3.7086, 3.4041]  # microsoft/mup#66, learning rate 2^-9
    needed = least_scatter([96, 192, 384], values)
    n = np.array([96.0, 192, 384])
    off = values - np.polyval(np.polyfit(1 / n, values, 1, w=np.sqrt(n)), 1 / n)
    assert stats.chi2.sf((n * off**2).sum() / needed, 1) == pytest.approx(0.05, rel=1e-3)
