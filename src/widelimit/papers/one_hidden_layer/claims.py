"""Sirignano & Spiliopoulos, Mean field analysis of neural networks: a law of large numbers.

    g^N(x) = (1/N) Σ_i c_i σ(w_i x),   SGD with rate α/N on fresh samples, clock t = k/N
    d⟨f, μ_t⟩/dt = α E_π[(y − ⟨c σ(w x), μ_t⟩) ⟨∇(c σ(w x))·∇f, μ_t⟩]            (SIAM J. Appl.
    Math. 80 (2020), eq. 1.5; α = 1, σ = tanh here)

One input, so that the law of a neuron (w, c) has two coordinates and its density can be followed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.integrate import simpson, solve_ivp
from scipy.interpolate import CubicSpline

from widelimit.limit.solve import solved
from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, exponent, mean
from widelimit.papers.measures.observables import histogram_distance, shift_in_units
from widelimit.papers.one_hidden_layer import histograms
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

HORIZON = 2.0

SIZES: dict[Effort, dict] = {
    "smoke": {"widths": [16, 32, 64, 128], "seeds": 400},
    "quick": {"widths": [32, 64, 128, 256, 512], "seeds": 1000},
    "full": {"widths": [64, 128, 256, 512, 1024, 2048], "seeds": 2000},
}

LIMITS: dict[Effort, dict] = {
    "smoke": {"tolerance": 3e-3},
    "quick": {"tolerance": 3e-4},
    "full": {"tolerance": 3e-4},
}
"""How the limit is solved: its error is far below the distances of networks from it."""

WRONG_STEP = 0.4
"""The rate of networks trained wrong, at every N."""

READOUT = {"low": -1.0, "high": 3.0}
"""Readouts start uniform: the theorem asks for a compact support."""

FREQUENCIES = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0], [2.0, 1.0]])
"""Test functions f(w, c) = cos(k·(w, c)) + sin(k·(w, c)), one for each row k."""


def problem(**changes) -> Problem:
    """Twelve points of a smooth target with fixed noise; batch 1, ε = 1/N as in the paper."""
    rng = np.random.default_rng(0)
    x = np.linspace(-2.0, 2.0, 12)
    targets = np.sin(1.5 * x) + 0.5 * x + 0.3 * rng.normal(size=12)
    return Problem.from_dict({
        "title": "one hidden layer, one input",
        "network": {
            "activations": ["tanh"],
            "initial": {"input": {"law": "normal"}, "readout": {"law": "uniform", **READOUT}},
        },
        "data": {"source": "table", "inputs": x.tolist(), "targets": targets.tolist()},
        "training": {"horizon": HORIZON},
        "observe": {"times": 41},
    }).with_changes(**changes)  # fmt: skip


@dataclass(frozen=True)
class Particles:
    """Neurons at the observed times: `w, c (…, time, neuron)` and their weights `(…, neuron)`."""

    w: np.ndarray
    c: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, group) -> "Particles":
        """From a group of a trajectory's states."""
        w, c = group["input"].values[..., 0], group["readout"].values[..., 0]
        return cls(w.astype(float), c.astype(float), group["weight_1"].values.astype(float))

    def average(self, values: np.ndarray) -> np.ndarray:
        """⟨·, μ_t⟩ of values `(…, time, neuron)`."""
        return np.einsum("...tn,...n->...t", values, self.weights)


class Study:
    """What several claims share: the limit, and networks trained right and wrong."""

    def __init__(self, effort: Effort):
        self.sizes, self.settings = SIZES[effort], LIMITS[effort]

    @cached_property
    def limit(self) -> Trajectory:
        """The limit at all observed times."""
        return self._solved()

    def _solved(self, **changes) -> Trajectory:
        settings = {**self.settings, **changes.pop("limit", {})}
        return solved(problem(limit=settings, **changes), progress=False)

    @cached_property
    def right(self) -> Trajectory:
        """Networks trained as the paper says."""
        return self._trained("1/width")

    @cached_property
    def wrong(self) -> Trajectory:
        """Networks whose rate does not shrink with N."""
        return self._trained(WRONG_STEP)

    def _trained(self, step: float | str) -> Trajectory:
        asked = {**self.sizes, "step": step, "states": self.sizes["seeds"]}
        few = [0.0, HORIZON / 2, HORIZON]
        return train(problem(networks=asked, observe={"times": few}), progress=False)

    def particles(self, networks: Trajectory, width: int) -> Particles:
        """The trained neurons of all seeds."""
        return Particles.of(networks.states[f"width_{width}"])

    # --- rates ----------------------------------------------------------------------------------

    def rate(self, samples: Callable[[Trajectory, int], np.ndarray], power: float, right: bool):
        """The exponent in N of a quantity that has one sample per network."""
        networks = self.right if right else self.wrong
        widths = self.sizes["widths"]
        return exponent(widths, [samples(networks, n) for n in widths], power)

    def squared_distance(self, networks: Trajectory, width: int) -> np.ndarray:
        """Mean over x of (g^N_T − g_T)², one for each network."""
        f = self.limit.dataset.output.sel(time=HORIZON).values
        found = networks.dataset.output.sel(width=width, time=HORIZON).values
        return ((found - f) ** 2).mean(axis=(1, 2))

    def squared_test_functions(self, networks: Trajectory, width: int) -> np.ndarray:
        """Mean over test functions of ⟨f, μ^N_T − μ_T⟩²."""
        found = _test_averages(self.particles(networks, width))[..., -1]
        expected = _test_averages(Particles.of(self.limit.states["limit"]))[..., -1]
        return ((found - expected[:, None]) ** 2).mean(axis=0)

    def covariance(self, networks: Trajectory, width: int) -> np.ndarray:
        """Samples whose mean is Cov(h(θ_1), h(θ_2)) of two neurons, h(θ) = c tanh(w).

        With m the mean and s² the sample variance of h over a network's neurons,
        Var m = s²/N + Cov exactly in expectation.
        """
        h = self._feature(networks, width)
        centre = h.mean(axis=1)
        spread = (centre - centre.mean()) ** 2 * len(h) / (len(h) - 1)
        return spread - h.var(axis=1, ddof=1) / width

    def triple(self, networks: Trajectory, width: int) -> np.ndarray:
        """Samples whose mean is E[h(θ_1) h(θ_2) h(θ_3)] − (E h)³ up to O(1/(N S))."""
        h = self._feature(networks, width)
        one, two, three = h.sum(axis=1), (h**2).sum(axis=1), (h**3).sum(axis=1)
        joint = (one**3 - 3 * one * two + 2 * three) / (width * (width - 1) * (width - 2))
        expected = h.mean()
        return joint - expected**3 - 3 * expected**2 * (h.mean(axis=1) - expected)

    def _feature(self, networks: Trajectory, width: int) -> np.ndarray:
        neurons = self.particles(networks, width)
        return neurons.c[:, -1] * np.tanh(neurons.w[:, -1])

    def histogram_distance(self, networks: Trajectory, width: int) -> np.ndarray:
        """Mean square over thresholds of F_1 − F_2, the shares of readouts below them."""
        low, high = EDGES[1][0], EDGES[1][-1]
        return histogram_distance(self.particles(networks, width).c[:, -1], low, high)

    # --- the equation -------------------------------------------------------------------------

    def weak_form(self, readout_rate: float) -> Measured:
        """The largest residual of the weak form over test functions, for the limit's measure.

        ⟨f, μ_T⟩ − ⟨f, μ_0⟩ − ∫ E_π[(y − g_t) ⟨∇(c σ)·∇f, μ_t⟩] dt by Simpson's rule, in units of
        ∫ |…| dt; its error is the change from half as many times. A `readout_rate` other than 1
        makes the equation wrong.
        """
        neurons = Particles.of(self.limit.states["limit"])
        moved = _test_averages(neurons)
        speed = _test_speeds(neurons, readout_rate)
        times = problem().times
        scale = simpson(np.abs(speed), x=times, axis=1)
        found = [
            (moved[:, -1] - moved[:, 0] - simpson(speed[:, ::k], x=times[::k], axis=1)) / scale
            for k in (1, 2)
        ]
        error = np.abs(found[0] - found[1])
        worst = int(np.argmax(np.abs(found[0])))
        return Measured(float(np.abs(found[0][worst])), float(error.max()) + 1e-8)

    def dissipation(self, multiplier: float) -> Measured:
        """Loss of risk over the integral of E|velocity|²; Simpson's rule as above."""
        neurons, times = Particles.of(self.limit.states["limit"]), problem().times
        w_speed, c_speed = _velocity(neurons, 1.0)
        power = multiplier * neurons.average(w_speed**2 + c_speed**2)
        risk = _risk(neurons)
        lost = risk[0] - risk[-1]
        fine, coarse = (lost / simpson(power[::k], x=times[::k]) for k in (1, 2))
        return Measured(float(fine), abs(float(fine - coarse)) + 1e-8)

    # --- densities and discretisations ----------------------------------------------------------

    def density(self, right: bool) -> Measured:
        """Where histograms stand between the density with and without −div v: 1 is with.

        β = Σ (p̂ − q)(p − q) / Σ (p − q)² over bins, p the density followed along
        characteristics, q the one whose factor exp(−∫ div v) is left out, p̂ the histogram of one
        network; the mean over networks with its standard error.
        """
        p, q = _bin_shares(self.limit)
        inside = np.isfinite(p) & np.isfinite(q)
        if not right:
            p, q = q, p
        width = self.sizes["widths"][-1]
        neurons = self.particles(self.right, width)
        direction = (p - q)[inside] / ((p - q)[inside] ** 2).sum()
        shares = np.stack([
            np.histogram2d(w, c, bins=EDGES)[0] / width
            for w, c in zip(neurons.w[:, -1], neurons.c[:, -1], strict=True)
        ])  # fmt: skip
        return mean((shares[:, inside] - q[inside]) @ direction)

    def discretisation(self, right: bool) -> Measured:
        """How far the limit moves when lattice nodes become Sobol points: 0 is not at all.

        In units of the move that initial readouts on [−1, 3.1] in place of [−1, 3] cause.
        """
        readout = {"law": "uniform", **READOUT, "high": 3.1}
        moved = {"network": {"initial": {"readout": readout}}}
        other = self._solved(limit={"rules": ["sobol"]}, **({} if right else moved))
        return shift_in_units(self.limit.dataset, other.dataset, self._solved(**moved).dataset)


EDGES = np.linspace(-2.5, 2.5, 17), np.linspace(-2.0, 4.0, 17)
POINTS = 6
"""Gauss points along each side of a bin."""


def _test_averages(neurons: Particles) -> np.ndarray:
    """⟨f, μ_t⟩ for every test function: `(function, …, time)`."""
    phases = [k[0] * neurons.w + k[1] * neurons.c for k in FREQUENCIES]
    return np.stack([neurons.average(np.cos(phase) + np.sin(phase)) for phase in phases])


def _test_speeds(neurons: Particles, readout_rate: float) -> np.ndarray:
    """⟨v·∇f, μ_t⟩ for every test function."""
    w_speed, c_speed = _velocity(neurons, readout_rate)
    found = []
    for k in FREQUENCIES:
        phase = k[0] * neurons.w + k[1] * neurons.c
        slope = np.cos(phase) - np.sin(phase)
        found.append(neurons.average(slope * (k[0] * w_speed + k[1] * c_speed)))
    return np.stack(found)


def _velocity(neurons: Particles, readout_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """E_π[(y − g_t) ∇(c σ(w x))], written out from the paper: `(time, neuron)` for w and c."""
    x, _ = _data()
    phi, residual = _fields(neurons)
    pull = residual / len(x)
    w_speed = np.einsum("tx,tn,tnx,x->tn", pull, neurons.c, 1 - phi**2, x)
    return w_speed, readout_rate * np.einsum("tx,tnx->tn", pull, phi)


def _risk(neurons: Particles) -> np.ndarray:
    return 0.5 * (_fields(neurons)[1] ** 2).mean(axis=1)


def _fields(neurons: Particles) -> tuple[np.ndarray, np.ndarray]:
    """σ(w x) `(time, neuron, point)` and y − g_t(x) `(time, point)`."""
    x, y = _data()
    phi = np.tanh(neurons.w[..., None] * x)
    return phi, y - np.einsum("tnx,tn,n->tx", phi, neurons.c, neurons.weights)


def _data() -> tuple[np.ndarray, np.ndarray]:
    data = problem().dataset
    return data.inputs[:, 0], data.targets[:, 0]


def _bin_shares(limit: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the bins at the horizon, with and without the factor exp(−∫ div v).

    Characteristics run backwards from Gauss points in the bins through the field of the limit,
    which depends on time through g_t(x) alone. Bins that the edge of the support passes are NaN.
    """
    x, y = _data()
    g = CubicSpline(limit.dataset.time.values, limit.dataset.output.values[..., 0])
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    sides = [
        (e[:-1, None] + np.diff(e)[:, None] * (nodes + 1) / 2, np.diff(e)[:, None] * weights / 2)
        for e in EDGES
    ]
    (w_at, w_by), (c_at, c_by) = ((at.ravel(), by.ravel()) for at, by in sides)
    w, c = np.meshgrid(w_at, c_at, indexing="ij")

    def field(t: float, state: np.ndarray) -> np.ndarray:
        w, c, _ = state.reshape(3, -1)
        phi = np.tanh(np.outer(w, x))
        pull = (y - g(t)) / len(x)
        w_speed = c * ((1 - phi**2) @ (pull * x))
        divergence = c * ((-2 * phi * (1 - phi**2)) @ (pull * x**2))
        return np.concatenate([w_speed, phi @ pull, divergence])

    start = np.concatenate([w.ravel(), c.ravel(), np.zeros(w.size)])
    path = solve_ivp(field, (HORIZON, 0.0), start, rtol=1e-8, atol=1e-8, method="DOP853")
    w_0, c_0, grown = path.y[:, -1].reshape(3, *w.shape)  # grown = −∫_0^T div v dt
    inside = (c_0 > READOUT["low"]) & (c_0 < READOUT["high"])
    initial = np.exp(-0.5 * w_0**2) / np.sqrt(2 * np.pi) / (READOUT["high"] - READOUT["low"])
    area = np.outer(w_by, c_by)

    def share(density: np.ndarray) -> np.ndarray:
        bins = (len(EDGES[0]) - 1, POINTS, len(EDGES[1]) - 1, POINTS)
        held = inside.reshape(bins).all(axis=(1, 3))
        return np.where(held, (density * area).reshape(bins).sum(axis=(1, 3)), np.nan)

    return share(initial * np.exp(grown)), share(initial)


def claims(effort: Effort, images: str = "digits") -> list[Claim]:
    """Everything that is checked; the smoke form has no networks on images."""
    study = Study(effort)
    small = [*_about_the_limit(study), *_about_networks(study), *_about_the_density(study)]
    return small if effort == "smoke" else [*small, histograms.claim(images, effort)]


def _about_the_limit(study: Study) -> list[Claim]:
    return [
        Claim(
            "weak-form",
            "the limit's measure solves the weak form of the PDE for all test functions "
            "(largest residual over a family)",
            "Theorem 1.6, eq. (1.5)", 0.0, 0.1,
            lambda: study.weak_form(1.0), "readouts move at twice the rate",
            lambda: study.weak_form(2.0),
        ),
        Claim(
            "dissipation", "the risk falls by the integral of the mean squared velocity (ratio)",
            "gradient flow form of eq. (1.5)", 1.0, 0.5,
            lambda: study.dissipation(1.0), "the rates are taken to be twice what they are",
            lambda: study.dissipation(2.0),
        ),
        Claim(
            "uniqueness",
            "the limit is unique: another discretisation of the initial law gives the same one "
            "(its shift, in units of what a slightly other law causes)",
            "Theorem 1.6", 0.0, 1.0,
            lambda: study.discretisation(True), "the law of the readouts is slightly wider",
            lambda: study.discretisation(False),
        ),
    ]  # fmt: skip


def _about_networks(study: Study) -> list[Claim]:
    unshrunk = f"the rate is {WRONG_STEP} at every width in place of α/N"

    def rated(id: str, statement: str, source: str, predicted: float, samples, power: float):
        return Claim(
            id, statement, source, predicted, 0.0,
            lambda: study.rate(samples, power, right=True), unshrunk,
            lambda: study.rate(samples, power, right=False),
        )  # fmt: skip

    return [
        rated(
            "law-of-large-numbers", "networks approach the limit: RMS distance ∝ N^(-1/2)",
            "Theorem 1.6; rate: their central limit theorem", -0.5, study.squared_distance, 0.5,
        ),
        rated(
            "test-functions", "the empirical measure approaches the limit's: ⟨f, μ^N − μ⟩ ∝ "
            "N^(-1/2) (RMS over a family of f)",
            "Theorem 1.6; rate: their central limit theorem", -0.5, study.squared_test_functions,
            0.5,
        ),
        rated(
            "histograms", "histograms of trained parameters stabilise as N grows: distance "
            "between those of two networks ∝ N^(-1/2)",
            "Figures of section 2", -0.5, study.histogram_distance, 0.5,
        ),
        rated(
            "chaos-covariance", "two neurons become independent: their covariance ∝ 1/N",
            "Theorem 1.7 (propagation of chaos)", -1.0, study.covariance, 1.0,
        ),
        rated(
            "chaos-triple", "three neurons become independent: E[h h h] − (E h)³ ∝ 1/N",
            "Theorem 1.7 (propagation of chaos)", -1.0, study.triple, 1.0,
        ),
    ]  # fmt: skip


def _about_the_density(study: Study) -> list[Claim]:
    return [
        Claim(
            "density", "the density follows d/dt log p = −div v along characteristics "
            "(1: histograms of trained networks are where this density is)",
            "eq. (1.6) for laws with a density", 1.0, 0.0,
            lambda: study.density(True), "the divergence is left out",
            lambda: study.density(False),
        ),
    ]  # fmt: skip
