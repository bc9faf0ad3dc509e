"""The radial system of isotropic Gaussians against integrals and differences of the risk."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import chi

from widelimit.papers.landscape.radial import (
    CUSP,
    DIPPING,
    MONOTONE,
    NUMPY,
    particles,
    population,
    shells,
    smoothed,
)


def first_coordinate(g, dimension):
    """Density of the first coordinate of a uniform vector of length √dimension."""
    if math.isinf(dimension):
        return math.exp(-(g**2) / 2) / math.sqrt(2 * math.pi)
    scale = math.gamma(dimension / 2) / math.gamma((dimension - 1) / 2)
    return scale / math.sqrt(math.pi * dimension) * (1 - g**2 / dimension) ** ((dimension - 3) / 2)


@pytest.mark.parametrize("dimension", [5, 20, math.inf])
@pytest.mark.parametrize("knots", [MONOTONE, DIPPING], ids=["monotone", "dipping"])
@pytest.mark.parametrize("z", [0.3, 1.0, 4.0])
def test_activations_are_averaged_over_directions(dimension, knots, z):
    t, value = np.array(knots).T
    most = min(math.sqrt(dimension), 12.0)
    bends = [b for b in t / z if 0 < b < most]
    expected, _ = quad(
        lambda g: np.interp(z * g, t, value) * first_coordinate(g, dimension),
        -most,
        most,
        points=[0.0, *bends],
        epsabs=1e-11,
    )
    found = smoothed(np.array([z]), knots, dimension, NUMPY)[0]
    assert abs(found - expected) < 10 * CUSP**2 + 1e-8


@pytest.mark.parametrize("dimension", [20, 40, 80])
def test_shells_have_the_moments_of_gaussian_lengths(dimension):
    s, p = shells(dimension)
    law = chi(dimension, scale=1 / math.sqrt(dimension))
    for power in (1, 2, 3, 4, 8):
        np.testing.assert_allclose(p @ s**power, law.moment(power), rtol=1e-7)


@pytest.mark.parametrize("dimension", [20, math.inf])
def test_particles_go_down_the_slope_of_the_risk(dimension):
    """dr_i/dt = −∂R/∂r_i / p_i, by differences of the risk, which the speed does not use."""
    radii, weights = np.array([0.4, 0.9, 1.5]), np.array([0.2, 0.5, 0.3])
    s, y, p = population(dimension, 0.5)

    def risk(r):
        h = smoothed(np.outer(r, s), MONOTONE, dimension, NUMPY)
        return p @ (y - weights @ h) ** 2

    nudges = 1e-5 * np.eye(3)
    slope = np.array([(risk(radii + n) - risk(radii - n)) / 2e-5 for n in nudges])
    step = 1e-5
    path = particles(dimension, 0.5, radii, weights, MONOTONE, [0.0, step])
    np.testing.assert_allclose((path[1] - radii) / step, -slope / weights, rtol=2e-3)


def test_more_shells_change_nothing(monkeypatch):
    """The error of the limit that networks are held against is far below their distance."""

    def end():
        start, weights = shells(20)
        path = particles(20, 0.5, 0.4 * start, weights, MONOTONE, [0.0, 0.05])
        return np.cos(np.outer([2.0, 4.0, 6.0], path[-1])) @ weights

    few = end()
    monkeypatch.setattr("widelimit.papers.landscape.radial.SHELLS", 40)
    np.testing.assert_allclose(end(), few, atol=1e-6)
