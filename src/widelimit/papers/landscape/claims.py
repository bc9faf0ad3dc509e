"""Mei, Montanari & Nguyen, A mean field view of the landscape of two-layer neural networks (2018).

    y = ±1 with probability ½,   x | y ~ N(0, (1 ± Δ)² I_d),   ŷ = N^(-1) Σ_i σ(⟨w_i, x⟩)
    ∂_t ρ = 2 ξ(t) ∇·(ρ ∇Ψ(w; ρ)),   Ψ = V + ∫ U dρ        (distributional dynamics)

By rotation invariance only r = |w| counts (their §2.2): see `radial`. The radial system at d = ∞ is
the library's with the activation h and one input s; networks in d dimensions are trained on fresh
samples of the population. Their loss has no ½, so their time counts twice.
"""

import math
from collections.abc import Callable
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.optimize import minimize_scalar

from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, width_exponent
from widelimit.papers.landscape.radial import (
    CUSP,
    DIPPING,
    MONOTONE,
    NUMPY,
    Dimension,
    Knots,
    particles,
    population,
    radial_limit,
    shells,
    smoothed,
)
from widelimit.papers.measures.late_times import end_of
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

RADII = np.geomspace(0.05, 12.0, 600)

START = [0.6, 0.8, 1.0, 1.2, 1.4]

ROUNDING, RESOLUTION = 1e-7, 1e-4

TIMES = {0.4: [0.0, 20.0, 40.0, 60.0, 80.0], 0.1: [0.0, 0.2, 0.3, 0.4, 0.5]}
"""When radii that start from these values are looked at (from 0.1 they are soon at 0)."""

LATE = [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
"""The paper's times at which radii in finite dimension are looked at until they stay."""

SGD_TIME = 0.05
"""The paper's time at which networks are looked at: radii have then doubled."""

SGD = {"dimension": 20, "delta": 0.5, "start": 0.4, "step": 0.004}
"""Networks: w ~ N(0, start²/d I). N ε is so small that the noise of steps, which makes |w| grow as
ε d, does not outweigh what is random about N neurons: both are then of order N^(-1/2)."""

SIZES: dict[Effort, dict] = {
    "smoke": {},
    "quick": {"widths": [16, 32, 64, 128], "seeds": 600},
    "full": {"widths": [16, 32, 64, 128, 256], "seeds": 1000},
}

FREQUENCIES = np.array([2.0, 4.0, 6.0])
"""Test functions f(r) = cos(k r) + sin(k r), one for each k."""

THRESHOLDS = {20: (0.08, 0.38), 40: (0.03, 0.42), 80: (0.02, 0.45), math.inf: (0.0, 0.47)}
"""Their table: for Δ between these the uniform law on one sphere is optimal."""


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

    def risk(self, radii: np.ndarray, weights: np.ndarray) -> float:
        """E (y − ∫ h(r s) ρ(dr))²."""
        return float(self.p @ (self.y - weights @ self.values(radii)) ** 2)

    def best(self) -> float:
        """The radius of the sphere of least risk."""
        alone = np.array([self.alone(r) for r in RADII])
        k = int(np.clip(np.argmin(alone), 1, len(RADII) - 2))
        return minimize_scalar(
            self.alone,
            bounds=(RADII[k - 1], RADII[k + 1]),
            method="bounded",
            options={"xatol": 1e-10},
        ).x

    def excess(self) -> float:
        """min_r Ψ(r; δ_r*) − Ψ(r*; δ_r*) for the best sphere r*: 0 if that is optimal, else < 0."""
        h = self.values(np.append(RADII, self.best()))
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


# --- networks in d dimensions -------------------------------------------------------------------


def _sigma(t: Array) -> Array:
    """The monotone activation, of which `radial` has the mean over directions."""
    (start, low), (stop, high) = MONOTONE
    return jnp.clip(low + (high - low) / (stop - start) * (t - start), low, high)


class Networks:
    """Networks trained by SGD on fresh samples, and what the radial limit says of them."""

    def __init__(self, effort: Effort):
        self.sizes = SIZES[effort]

    @cached_property
    def trained(self) -> list[np.ndarray]:
        """Lengths of the weights at the end `(seed, neuron)`, width by width."""
        found = []
        for width in self.sizes["widths"]:
            group = self._one_width(width).states[f"width_{width}"].to_dataset()
            end = group["input"].isel(time=-1).values.astype(float)
            found.append(np.linalg.norm(end, axis=-1))
        return found

    def _one_width(self, width: int) -> Trajectory:
        d, delta, seeds = SGD["dimension"], SGD["delta"], self.sizes["seeds"]
        classes = [{"std": 1 + delta, "target": 1.0}, {"std": 1 - delta, "target": -1.0}]
        law = {"law": "normal", "std": SGD["start"] / math.sqrt(d)}
        one = {"law": "atoms", "points": [1.0]}
        return train(
            Problem.from_dict(
                {
                    "title": "isotropic Gaussians in d dimensions",
                    "network": {"activations": [_sigma], "initial": {"input": law, "readout": one}},
                    "data": {
                        "source": "population",
                        "inputs": {"law": "mixture", "dimension": d, "components": classes},
                    },
                    "training": {"horizon": 2 * SGD_TIME, "learning_rates": {"readout": 0.0}},
                    "observe": {"times": [0.0, 2 * SGD_TIME]},
                    "networks": {
                        "widths": [width],
                        "seeds": seeds,
                        "states": seeds,
                        "step": SGD["step"] / width,
                    },
                }
            ),
            progress=False,
        )

    def distance(self, time: float) -> Measured:
        """The exponent in N of the RMS over networks and f of ⟨f, ρ_N⟩ − ⟨f, ρ_t⟩ at `time`."""
        start, weights = shells(SGD["dimension"])
        radii = particles(
            SGD["dimension"], SGD["delta"], SGD["start"] * start, weights, MONOTONE, [0.0, time]
        )[-1]
        expected = _tests(radii) @ weights
        squares = {
            width: ((_tests(r).mean(-1) - expected[:, None]) ** 2).mean(0)
            for width, r in zip(self.sizes["widths"], self.trained, strict=True)
        }
        return width_exponent(self.sizes["widths"], lambda width: squares[width])


def _tests(radii: np.ndarray) -> np.ndarray:
    """The test functions `(function, …)` at radii."""
    angles = np.multiply.outer(FREQUENCIES, radii)
    return np.cos(angles) + np.sin(angles)


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
    share = np.full(len(START), 1 / len(START))
    pairs = particles(math.inf, 0.5, np.array(START), share, MONOTONE, [0.0, times[-1] / clock])[-1]
    moved = np.sqrt(np.mean((pairs - START) ** 2))
    return Measured(float(np.sqrt(np.mean((library - pairs) ** 2)) / moved), 1e-6)


def ended(start: float, what: Callable[[Trajectory], np.ndarray]) -> Measured:
    """Where something ends when all radii start alike, with the activation that dips."""
    values = what(radial_limit(0.5, [start], DIPPING, TIMES[start]))
    found = end_of(values)
    scale = float(values[0])
    return Measured(found.value * scale, found.error * scale + 10 * CUSP)


def above_the_sphere(delta: float) -> Measured:
    """Where the risk ends at d = 40, less that of the best sphere, in units of this at time 0."""
    sphere, (start, weights) = Sphere(40, delta), shells(40)
    least = sphere.risk(np.array([sphere.best()]), np.ones(1))
    path = particles(40, delta, 0.4 * start, weights, MONOTONE, LATE)
    found = end_of(np.array([sphere.risk(radii, weights) - least for radii in path]))
    return found._replace(error=found.error + ROUNDING)


def _risk(limit: Trajectory) -> np.ndarray:
    """Their risk has no ½."""
    return 2 * limit.dataset.risk.values


def _radius(limit: Trajectory) -> np.ndarray:
    return limit.states["limit"].to_dataset()["input"].values[:, 0, 0]


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked; the smoke form has two thresholds and what is quick at d = ∞."""
    thresholds = _about_thresholds()
    if effort == "smoke":
        return [*thresholds[1::4], *_about_dynamics()]
    rest = _about_spheres(), _about_networks(Networks(effort))
    return [*thresholds, *_about_dynamics(), *rest]


def _about_thresholds() -> list[Claim]:
    def entry(dimension: Dimension, upper: bool, other: Dimension) -> Claim:
        side, name = ("high", "Δ_h") if upper else ("low", "Δ_l")
        shown = "inf" if math.isinf(dimension) else dimension
        return Claim(
            f"threshold-{shown}-{side}",
            f"d = {shown}: the uniform law on one sphere is optimal "
            f"{'up to' if upper else 'from'} Δ = {name}",
            "§2.2 and table of the supplement",
            THRESHOLDS[dimension][upper],
            THRESHOLDS[other][upper],
            lambda: table_entry(dimension, upper),
            f"d = {other}",
            lambda: table_entry(other, upper),
        )

    return [
        entry(20, False, 40),
        entry(20, True, 40),
        entry(40, False, 20),
        entry(40, True, 20),
        entry(80, True, 40),
        entry(math.inf, True, 80),
    ]


def _about_dynamics() -> list[Claim]:
    return [
        Claim(
            "same-dynamics",
            "distributional dynamics, with pair potentials V and U, are the "
            "library's flow at twice the time (difference of radii in units of their move)",
            "eq. (4), distributional dynamics",
            0.0,
            0.1,
            lambda: same_dynamics(2.0),
            "the clock is not doubled",
            lambda: same_dynamics(1.0),
        ),
        Claim(
            "good-start",
            "an activation that dips, Δ = 0.5: from |w| = 0.4 radii go to 2.088",
            "§2.4; the number: d = ∞, computed for this project's notes",
            2.088,
            0.0,
            lambda: _rounded(ended(0.4, _radius), 5e-4),
            "from |w| = 0.1",
            lambda: _rounded(ended(0.1, _radius), 5e-4),
        ),
        Claim(
            "bad-start",
            "from |w| = 0.1 radii go to 0 and the risk to ½(1 − σ(0))² + ½(1 + σ(0))²",
            "§2.4, failure",
            7.25,
            0.0,
            lambda: ended(0.1, _risk),
            "from |w| = 0.4",
            lambda: ended(0.4, _risk),
        ),
    ]


def _about_spheres() -> Claim:
    return Claim(
        "optimal-sphere",
        "d = 40, Δ = 0.2, w ~ N(0, 0.4²/d I): the risk ends at that of the best "
        "sphere (difference in units of that at the start)",
        "§2.2, figure 2",
        0.0,
        1.0,
        lambda: above_the_sphere(0.2),
        "Δ = 0.8, where spheres are not optimal",
        lambda: above_the_sphere(0.8),
    )


def _about_networks(networks: Networks) -> Claim:
    return Claim(
        "sgd-in-d-dimensions",
        f"d = {SGD['dimension']}, fresh samples, ε = {SGD['step']}/N: SGD's "
        "law of |w| is N^(-1/2) away from the radial limit in the same dimension",
        "Theorem 3, figure 1",
        -0.5,
        0.0,
        lambda: networks.distance(SGD_TIME),
        "the limit's clock runs half as fast",
        lambda: networks.distance(SGD_TIME / 2),
    )


def _rounded(found: Measured, rounding: float) -> Measured:
    """With the error that the predicted number, given to so many digits, has itself."""
    return found._replace(error=found.error + rounding / Measured(0.0, 1.0).half_width)
