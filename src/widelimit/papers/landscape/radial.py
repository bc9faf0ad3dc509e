"""The radial system of isotropic Gaussians: what d-dimensional neurons become when only |w| counts.

    y = ±1 with probability ½,   x | y ~ N(0, (1 ± Δ)² I_d),   ŷ = N^(-1) Σ_i σ(⟨w_i, x⟩)
    ṙ = −2 ∂_r Ψ(r; ρ),   Ψ(r; ρ) = E (∫ h(r' s) ρ(dr') − y) h(r s)

With ⟨w, x⟩ = r s g, r = |w|, s = |x|/√d and g the first coordinate of a random vector of length √d,
h(z) = E σ(z g). At d = ∞, g is normal and s = 1 ± Δ.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array
from scipy.integrate import solve_ivp
from scipy.special import gammaln, roots_genlaguerre

from widelimit.limit.solve import solved
from widelimit.nodes.points import Numbers
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

MONOTONE = ((0.5, -2.5), (1.5, 7.5))
DIPPING = ((0.0, -2.5), (0.5, -4.0), (1.5, 7.5))
"""Knots (t, σ(t)) of piecewise linear activations, constant outside (their §2.2 and §2.4)."""

Dimension = int | float
"""d, or infinity."""

Knots = tuple[tuple[float, float], ...]


class Functions(NamedTuple):
    """Where array and special functions come from."""

    arrays: Any
    special: Any


JAX, NUMPY = Functions(jnp, jax.scipy.special), Functions(np, scipy.special)

CUSP = 1e-4
"""h has a cusp at 0 where σ has a knot there, and radii that reach it stay: it is rounded off."""

SHELLS = 24
"""Gauss points for the length of a Gaussian vector."""


def smoothed(z: Numbers, knots: Knots, dimension: Dimension, by: Functions = JAX) -> Numbers:
    """h_d(z) = E σ(z g): a sum over knots of E (|z| g − t)_+ times the change of slope."""
    size = by.arrays.sqrt(z**2 + CUSP**2)
    total = by.arrays.full_like(size, knots[0][1])
    for (t, _), change in zip(knots, _changes(knots), strict=True):
        a = t / size
        above, mean_above = _tail(a, dimension, by)
        total = total + change * size * (mean_above - a * above)
    return total


def _changes(knots: Knots) -> np.ndarray:
    """By how much the slope of σ changes at each knot."""
    t, value = np.array(knots).T
    return np.diff(np.diff(value) / np.diff(t), prepend=0.0, append=0.0)


def _tail(a: Numbers, dimension: Dimension, by: Functions) -> tuple[Numbers, Numbers]:
    """P(g > a) and E[g; g > a]."""
    if math.isinf(dimension):
        return by.special.ndtr(-a), by.arrays.exp(-0.5 * a**2) / math.sqrt(2 * math.pi)
    b = by.arrays.clip(a / math.sqrt(dimension), -1.0, 1.0)
    half = (dimension - 1) / 2
    log_constant = gammaln(dimension / 2) - gammaln(half) - 0.5 * math.log(math.pi)
    above = 0.5 * (1 - by.arrays.sign(b) * by.special.betainc(0.5, half, b**2))
    scale = math.exp(log_constant + 0.5 * math.log(dimension)) / (dimension - 1)
    return above, scale * (1 - b**2) ** half


def shells(dimension: Dimension) -> tuple[np.ndarray, np.ndarray]:
    """|G|/√d for a standard normal vector G in d dimensions: points and weights."""
    if math.isinf(dimension):
        return np.ones(1), np.ones(1)
    points, weights = roots_genlaguerre(SHELLS, dimension / 2 - 1)
    return np.sqrt(2 * points / dimension), weights / weights.sum()


def population(dimension: Dimension, delta: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """s, y and their weights."""
    s, p = shells(dimension)
    sizes = np.concatenate([(1 + delta) * s, (1 - delta) * s])
    return sizes, np.repeat([1.0, -1.0], len(s)), np.concatenate([p, p]) / 2


def radial_limit(delta: float, radii: list[float], knots: Knots, times: list[float]) -> Trajectory:
    """The limit at d = ∞ for radii |w| that start from equally likely values; library's time."""
    s, y, p = population(math.inf, delta)
    law = {"law": "atoms", "points": [[r] for r in radii]}
    one = {"law": "atoms", "points": [1.0]}

    def activation(z: Array) -> Numbers:
        return smoothed(z, knots, math.inf)

    return solved(Problem.from_dict({
        "title": "isotropic Gaussians",
        "network": {"activations": [activation], "initial": {"input": law, "readout": one}},
        "data": {
            "source": "table", "inputs": s.tolist(), "targets": y.tolist(), "weights": p.tolist(),
        },
        "training": {"horizon": times[-1], "learning_rates": {"readout": 0.0}},
        "observe": {"times": times},
    }), progress=False)  # fmt: skip


def particles(
    dimension: Dimension,
    delta: float,
    radii: np.ndarray,
    weights: np.ndarray,
    knots: Knots,
    times: list[float],
) -> np.ndarray:
    """Weighted radii `(time, radius)` at the paper's times (the first is 0), each on its own.

    ṙ_i = −2 ∂_r [V(r_i) + Σ_j p_j U(r_i, r_j)], by the pair potentials and without the library.
    """
    s, y, p = population(dimension, delta)

    def speed(_: float, r: np.ndarray) -> np.ndarray:
        z = np.outer(r, s)
        h, slope = smoothed(z, knots, dimension, NUMPY), _slope(z, knots, dimension)
        v = -(slope * s) @ (p * y)
        u = (slope * s) @ (p[:, None] * h.T)  # ∂_r U(r_i, r_j)
        return -2 * (v + u @ weights)

    path = solve_ivp(
        speed, (0.0, times[-1]), radii, t_eval=times, rtol=1e-10, atol=1e-12
    )  # fmt: skip
    return path.y.T


def _slope(z: np.ndarray, knots: Knots, dimension: Dimension) -> np.ndarray:
    """h'(z) = E g σ'(z g) for z > 0."""
    tails = [_tail(t / z, dimension, NUMPY)[1] for t, _ in knots]
    return np.tensordot(_changes(knots), tails, axes=1)
