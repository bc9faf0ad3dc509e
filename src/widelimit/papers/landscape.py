"""Mei, Montanari & Nguyen, A mean field view of the landscape of two-layer networks (2018).

    y = ±1 with probability ½,   x | y ~ N(0, (1 ± Δ)² I_d),   ŷ = N^(-1) Σ_i σ(⟨w_i, x⟩)
    ∂_t ρ = 2 ξ(t) ∇·(ρ ∇Ψ(w; ρ)),   Ψ = V + ∫ U dρ        (distributional dynamics)

By rotation invariance only r = |w| counts (their §2.2). With ⟨w, x⟩ = r s g, s = |x|/√d and g the
first coordinate of a random vector of length √d, the network is one with a single input s and the
activation h_d(z) = E σ(z g): the radial system is the library's with this activation. At d = ∞, g
is normal and s = 1 ± Δ. Their loss has no ½, so their time counts twice.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jaxtyping import Array
from scipy.integrate import solve_ivp
from scipy.optimize import minimize_scalar
from scipy.special import gammaln, roots_genlaguerre

from widelimit.limit import solve
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured
from widelimit.papers.late_times import end_of
from widelimit.problem import Problem
from widelimit.quadrature import Numbers
from widelimit.trajectory import Trajectory

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

RADII = np.geomspace(0.05, 12.0, 600)

START = [0.6, 0.8, 1.0, 1.2, 1.4]

ROUNDING, RESOLUTION = 1e-7, 1e-4

CUSP = 1e-4
"""h has a cusp at 0 where σ has a knot there, and radii that reach it stay: it is rounded off."""

TIMES = {0.4: [0.0, 20.0, 40.0, 60.0, 80.0], 0.1: [0.0, 0.2, 0.3, 0.4, 0.5]}
"""When radii that start from these values are looked at (from 0.1 they are soon at 0)."""

SHELLS = 24
"""Gauss points for the length of a Gaussian vector."""

THRESHOLDS = {20: (0.08, 0.38), 40: (0.03, 0.42), 80: (0.02, 0.45), math.inf: (0.0, 0.47)}
"""Their table: for Δ between these the uniform law on one sphere is optimal."""


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

    return solve(Problem.from_dict({
        "title": "isotropic Gaussians",
        "network": {"activations": [activation], "initial": {"input": law, "readout": one}},
        "data": {
            "source": "table", "inputs": s.tolist(), "targets": y.tolist(), "weights": p.tolist(),
        },
        "training": {"horizon": times[-1], "learning_rates": {"readout": 0.0}},
        "observe": {"times": times},
    }), progress=False)  # fmt: skip


def pairwise(delta: float, radii: list[float], knots: Knots, horizon: float) -> np.ndarray:
    """Radii at the paper's time `horizon`: ṙ_i = −2 ∂_r [V(r_i) + mean_j U(r_i, r_j)]."""
    s, y, p = population(math.inf, delta)

    def speed(_: float, r: np.ndarray) -> np.ndarray:
        z = np.outer(r, s)
        h, slope = smoothed(z, knots, math.inf, NUMPY), _slope(z, knots)
        v = -(slope * s) @ (p * y)
        u = (slope * s) @ (p[:, None] * h.T)  # ∂_r U(r_i, r_j)
        return -2 * (v + u.mean(axis=1))

    path = solve_ivp(speed, (0.0, horizon), radii, rtol=1e-10, atol=1e-12)
    return path.y[:, -1]


def _slope(z: np.ndarray, knots: Knots) -> np.ndarray:
    """h'(z) = E g σ'(z g) for z > 0 at d = ∞."""
    tails = [_tail(t / z, math.inf, NUMPY)[1] for t, _ in knots]
    return np.tensordot(_changes(knots), tails, axes=1)


# --- one sphere -----------------------------------------------------------------------------------


class Sphere:
    """V and U of radii, for one d and Δ: v(r) = −E y h(r s), u(r, r') = E h(r s) h(r' s)."""

    def __init__(self, dimension: Dimension, delta: float, knots: Knots = MONOTONE):
        self.s, self.y, self.p = population(dimension, delta)
        self.knots, self.dimension = knots, dimension

    def values(self, r: np.ndarray) -> np.ndarray:
        """h(r s): `(radius, point)`."""
        return np.asarray(smoothed(np.outer(r, self.s), self.knots, self.dimension, NUMPY))

    def alone(self, r: float) -> float:
        """The risk of the uniform law on the sphere of radius r, less E y²."""
        h = self.values(np.array([r]))[0]
        return float(self.p @ (h**2 - 2 * self.y * h))

    def excess(self) -> float:
        """min_r Ψ(r; δ_r*) − Ψ(r*; δ_r*) for the best sphere r*: 0 if that is optimal, else < 0."""
        alone = np.array([self.alone(r) for r in RADII])
        k = int(np.clip(np.argmin(alone), 1, len(RADII) - 2))
        best = minimize_scalar(
            self.alone, bounds=(RADII[k - 1], RADII[k + 1]), method="bounded",
            options={"xatol": 1e-10},
        ).x  # fmt: skip
        h = self.values(np.append(RADII, best))
        psi = h @ (self.p * (h[-1] - self.y))
        return float(psi.min() - psi[-1])


def threshold(dimension: Dimension, low: float, high: float) -> float:
    """Where, between two values of Δ, one sphere starts or ceases to be optimal, by bisection."""
    begins = Sphere(dimension, low).excess() < -ROUNDING
    while high - low > RESOLUTION:
        middle = 0.5 * (low + high)
        if (Sphere(dimension, middle).excess() < -ROUNDING) == begins:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


# --- what is checked ------------------------------------------------------------------------------


def table_entry(dimension: Dimension, upper: bool) -> Measured:
    """Δ_l or Δ_h; their table has steps of 0.01, which is its error, not that of the bisection."""
    found = threshold(dimension, *((0.2, 0.6) if upper else (0.0, 0.2)))
    return Measured(found, 0.01 / Measured(0.0, 1.0).half_width)


def same_dynamics(clock: float) -> Measured:
    """RMS difference of radii between the library and pair potentials, in units of their move."""
    times = [0.0, clock * 2.0]
    library = (
        radial_limit(0.5, START, MONOTONE, times)
        .states["limit"]
        .to_dataset()["input"]
        .values[-1, :, 0]
    )
    pairs = pairwise(0.5, START, MONOTONE, times[-1] / clock)
    moved = np.sqrt(np.mean((pairs - START) ** 2))
    return Measured(float(np.sqrt(np.mean((library - pairs) ** 2)) / moved), 1e-6)


def ended(start: float, what: Callable[[Trajectory], np.ndarray]) -> Measured:
    """Where something ends when all radii start alike, with the activation that dips."""
    values = what(radial_limit(0.5, [start], DIPPING, TIMES[start]))
    found = end_of(values)
    scale = float(values[0])
    return Measured(found.value * scale, found.error * scale + 10 * CUSP)


def _risk(limit: Trajectory) -> np.ndarray:
    """Their risk has no ½."""
    return 2 * limit.dataset.risk.values


def _radius(limit: Trajectory) -> np.ndarray:
    return limit.states["limit"].to_dataset()["input"].values[:, 0, 0]


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked, by computing alone; the smoke form has two of the thresholds."""
    thresholds = _about_thresholds()
    return [*(thresholds[1::4] if effort == "smoke" else thresholds), *_about_dynamics()]


def _about_thresholds() -> list[Claim]:
    def entry(dimension: Dimension, upper: bool, other: Dimension) -> Claim:
        side, name = ("high", "Δ_h") if upper else ("low", "Δ_l")
        shown = "inf" if math.isinf(dimension) else dimension
        return Claim(
            f"threshold-{shown}-{side}", f"d = {shown}: the uniform law on one sphere is optimal "
            f"{'up to' if upper else 'from'} Δ = {name}",
            "§2.2 and table of the supplement",
            THRESHOLDS[dimension][upper], THRESHOLDS[other][upper],
            lambda: table_entry(dimension, upper), f"d = {other}",
            lambda: table_entry(other, upper),
        )  # fmt: skip

    return [
        entry(20, False, 40), entry(20, True, 40), entry(40, False, 20), entry(40, True, 20),
        entry(80, True, 40), entry(math.inf, True, 80),
    ]  # fmt: skip


def _about_dynamics() -> list[Claim]:
    return [
        Claim(
            "same-dynamics", "distributional dynamics, with pair potentials V and U, are the "
            "library's flow at twice the time (difference of radii in units of their move)",
            "eq. (4), distributional dynamics", 0.0, 0.1,
            lambda: same_dynamics(2.0), "the clock is not doubled", lambda: same_dynamics(1.0),
        ),
        Claim(
            "good-start", "an activation that dips, Δ = 0.5: from |w| = 0.4 radii go to 2.088",
            "§2.4; the number: d = ∞, computed for this project's notes", 2.088, 0.0,
            lambda: _rounded(ended(0.4, _radius), 5e-4), "from |w| = 0.1",
            lambda: _rounded(ended(0.1, _radius), 5e-4),
        ),
        Claim(
            "bad-start", "from |w| = 0.1 radii go to 0 and the risk to ½(1 − σ(0))² + ½(1 + σ(0))²",
            "§2.4, failure", 7.25, 0.0,
            lambda: ended(0.1, _risk), "from |w| = 0.4", lambda: ended(0.4, _risk),
        ),
    ]  # fmt: skip


def _rounded(found: Measured, rounding: float) -> Measured:
    """With the error that the predicted number, given to so many digits, has itself."""
    return found._replace(error=found.error + rounding / Measured(0.0, 1.0).half_width)
