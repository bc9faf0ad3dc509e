"""Nguyen & Pham, A rigorous framework for the mean field limit of multilayer networks (2023).

    z_1 = W_1·x + b_1,   z_l(j) = n^(-1) Σ_i W_l[i, j] φ(z_{l-1}(i)) + b_l(j),   f = n^(-1) A·φ(z_L)
    W_l(0, i, j) = w_l^0(C_{l-1}(i), C_l(j)) with labels C_l(j) drawn independently

The limit is an ODE for functions of labels (their §2.2); a network is coupled to it by its labels
(§4.1). With Pham & Nguyen, Global convergence of three-layer neural networks (ICLR 2021). They
count weight layers: L of theirs is one more than the hidden layers here.
"""

from collections.abc import Callable
from functools import cache, cached_property

import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from widelimit.limit.solve import solved
from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, exponent, step_exponent, width_exponent
from widelimit.papers.measures.observables import (
    least_diversity,
    mean_square,
    neurons,
    pre_activations,
    shift_in_units,
    spread_of_moves,
    spread_of_units,
    squared_distance,
    unexplained,
)
from widelimit.papers.neuronal_embedding import convergence
from widelimit.papers.neuronal_embedding.embedded import CORRELATED, HORIZON, INDEPENDENT, problem
from widelimit.problem.network.embedding import Label
from widelimit.results.trajectory import Trajectory

SIZES: dict[Effort, dict] = {
    "quick": {"widths": [8, 20, 50, 128], "seeds": 200},
    "full": {"widths": [16, 32, 64, 128, 256], "seeds": 300},
}

STEPS: dict[Effort, list[float]] = {
    "quick": [0.08, 0.04, 0.02, 0.01, 0.005],
    "full": [0.08, 0.04, 0.02, 0.01, 0.005, 0.0025],
}
STEP_WIDTH = 32

TRACED: dict[Effort, int] = {"quick": 40, "full": 120}
"""Networks of each width that are coupled to the limit, or have random biases."""

MEANS = {"law": "atoms", "points": [1.0]}
"""The mean of `INDEPENDENT` in place of its law."""

BIAS_DEGREE = 4
"""Degree of the polynomials of a neuron's initial bias."""


class Study:
    """What several claims share."""

    def __init__(self, effort: Effort):
        self.effort: Effort = effort

    @property
    def sizes(self) -> dict:
        """Widths of the networks, and how many of each."""
        return SIZES[self.effort]

    @property
    def traced(self) -> int:
        """How many networks of each width are coupled to the limit, or have random biases."""
        return TRACED[self.effort]

    def rate(self, squares: Callable[[int], np.ndarray]) -> Measured:
        """The exponent in n of a root mean square, one sample per network."""
        return width_exponent(self.sizes["widths"], squares)

    # --- coupling -----------------------------------------------------------------------------

    @cached_property
    def coupled_networks(self) -> Trajectory:
        """Two hidden layers with biases, correlated weights, gradient flow; all kept whole."""
        few = {**self.sizes, "seeds": self.traced, "states": self.traced, "method": "flow"}
        return train(problem(2, CORRELATED, True, networks=few), progress=False)

    def coupling(self, shift: int) -> Measured:
        """Exponent in n of D_T, networks from the limit at their own labels (or another's)."""
        return self.rate(
            lambda n: _squared_sup(
                neurons(self.coupled_networks, n), self.at_their_labels(n).roll(seed=shift)
            )
        )

    @cache  # noqa: B019
    def at_their_labels(self, width: int) -> xr.Dataset:
        """The limit at the labels of the networks of a width."""
        kept = neurons(self.coupled_networks, width)
        limit = solved(problem(2, CORRELATED, True), progress=False, tracers=kept)
        return limit.states["tracers"].to_dataset()

    def step_rate(self, method: str) -> Measured:
        """The exponent in ε of D_T, networks from gradient flow started alike, n fixed."""
        few = {"widths": [STEP_WIDTH], "seeds": self.traced, "states": self.traced}

        def states(**settings) -> xr.Dataset:
            asked = {**few, "precision": "float64", **settings}
            return neurons(
                train(problem(2, CORRELATED, True, networks=asked), progress=False), STEP_WIDTH
            )

        flow = states(method="flow")
        return step_exponent(
            STEPS[self.effort], lambda e: _squared_sup(states(method=method, step=e), flow)
        )

    # --- degeneracy ---------------------------------------------------------------------------

    @cached_property
    def independent(self) -> Trajectory:
        """Four hidden layers, independent weights."""
        return self._deep(INDEPENDENT, self.sizes["seeds"])

    @cached_property
    def correlated(self) -> Trajectory:
        """Four hidden layers, correlated weights."""
        return self._deep(CORRELATED, self.sizes["seeds"])

    @cached_property
    def biased(self) -> Trajectory:
        """Four hidden layers, independent weights, random biases: fewer suffice."""
        return self._deep(INDEPENDENT, self.traced, True)

    def _deep(self, hidden: dict, seeds: int, biases: bool = False) -> Trajectory:
        kept = {**self.sizes, "seeds": seeds, "states": seeds, "method": "flow"}
        asked = problem(4, hidden, biases, networks=kept, observe={"times": [0.0, HORIZON]})
        return train(asked, progress=False)

    def diversity(self, networks: Trajectory) -> Measured:
        """Exponent in n of the least eigenvalue of the covariance of z_2 at three inputs."""
        inputs, widths = networks.problem.dataset.inputs[:3], self.sizes["widths"]
        units = [pre_activations(neurons(networks, n).isel(time=-1), inputs, 2) for n in widths]
        return exponent(widths, [least_diversity(z) for z in units])

    def beside_biases(self, degree: int) -> Measured:
        """Exponent in n of the spread of z_3 that the neurons' initial biases do not explain."""

        def left(n: int) -> np.ndarray:
            kept = neurons(self.biased, n)
            z = pre_activations(kept.isel(time=-1), self.biased.problem.dataset.inputs, 3)
            return unexplained(z, kept["bias_3"].isel(time=0).values.astype(float), degree)

        return self.rate(left)

    def units(self, networks: Trajectory, layer: int) -> Measured:
        """Exponent in n of the spread of pre-activations over a layer."""
        inputs = networks.problem.dataset.inputs
        return self.rate(lambda n: spread_of_units(neurons(networks, n), inputs, layer))

    def translation(self, layer: int) -> Measured:
        """Exponent in n of the spread of a layer's moves."""
        return self.rate(lambda n: spread_of_moves(neurons(self.independent, n), layer))

    @cache  # noqa: B019
    def of_mean(self, mean: float) -> Trajectory:
        """Three hidden layers, independent weights of this mean."""
        hidden, asked = {**INDEPENDENT, "mean": mean}, {**self.sizes, "method": "flow"}
        times = {"times": [0.0, HORIZON]}
        return train(problem(3, hidden, networks=asked, observe=times), progress=False)

    def motion(self, mean: float) -> Measured:
        """Exponent in n of how far outputs move; hidden weights of this mean."""
        found = self.of_mean(mean).dataset.output
        moved = found.isel(time=-1) - found.isel(time=0)
        return self.rate(lambda n: mean_square(moved.sel(width=n)))

    def beside_means(self, points: list[float]) -> Measured:
        """Exponent in n of the distance from a limit whose hidden weights are these atoms."""
        law = {**MEANS, "points": points}
        limit = solved(problem(3, law, observe={"times": [0.0, HORIZON]}), progress=False)
        outputs = self.of_mean(1.0).dataset.output
        return self.rate(lambda n: squared_distance(outputs.sel(width=n), limit))

    # --- embeddings ---------------------------------------------------------------------------

    def other_embedding(self, mean: float) -> Measured:
        """How far the limit moves with another embedding of the same law: 0 is not at all.

        Labels of the upper layer are rotated before they enter, which normals do not notice. In
        units of the move when the weights' mean is 1.1 in place of 1.
        """
        fine = {"tolerance": 3e-3}
        base, other, shifted = (
            solved(problem(2, {"law": "embedding", **law}, limit=fine), progress=False).dataset
            for law in (_turned(1.0, 0.0), _turned(mean, 1.0), _turned(1.1, 0.0))
        )
        return shift_in_units(base, other, shifted)


def _turned(mean: float, angle: float) -> dict:
    """w^0 = mean + tanh(w·Qν), w the input weights below, ν the label above, Q a rotation."""
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])

    def function(lower: Label, upper: Label) -> Array:
        return mean + jnp.tanh(lower["input"] @ turn @ upper["incoming"].T)

    return {"family": "given", "function": function, "size": 2}


def _squared_sup(networks: xr.Dataset, limit: xr.Dataset) -> np.ndarray:
    """D_T²: per kind of parameter the mean over entries of sup_t |·|², the largest kind.

    (Nguyen & Pham 2023, §4.1; sup over the observed times.)
    """
    names = [str(n) for n in networks.data_vars if "time" in networks[n].dims]
    sups = [((networks[n] - limit[n]).astype(float) ** 2).max("time") for n in names]
    return np.max([s.mean([d for d in s.dims if d != "seed"]).values for s in sups], axis=0)


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked; the smoke form has no rates in the width."""
    study = Study(effort)
    found = [
        *_coupling(study),
        *_degeneracy(study),
        *_independence(study),
        *_labels(study),
        *convergence.claims(),
    ]
    smoke = ("embedding-free", "zero-loss-2", "dissipation")
    return [c for c in found if effort != "smoke" or c.id in smoke]


def _coupling(study: Study) -> list[Claim]:
    return [
        Claim(
            "coupling-width",
            "networks started from labels stay near the limit at these labels: D_T ∝ n^(-1/2)",
            "Theorem 15, Proposition 22",
            -0.5,
            0.0,
            lambda: study.coupling(0),
            "another network's labels",
            lambda: study.coupling(1),
        ),
        Claim(
            "coupling-step",
            "SGD stays near gradient flow: D_T ∝ ε^(1/2)",
            "Proposition 23",
            0.5,
            1.0,
            lambda: study.step_rate("sgd"),
            "whole batches in place of single samples",
            lambda: study.step_rate("gd"),
        ),
        Claim(
            "embedding-free",
            "the limit does not depend on the choice of the embedding (its "
            "shift, in units of what a slightly other law causes)",
            "Corollary on insensitivity, §4.1",
            0.0,
            1.0,
            lambda: study.other_embedding(1.0),
            "the other embedding is of the other law",
            lambda: study.other_embedding(1.1),
        ),
    ]


def _degeneracy(study: Study) -> list[Claim]:
    return [
        Claim(
            "degeneracy",
            "independent weights: units of a middle layer become alike, spread ∝ n^(-1/2)",
            "Corollary on degeneracy, §5",
            -0.5,
            0.0,
            lambda: study.units(study.independent, 3),
            "the last layer, which sees the readout",
            lambda: study.units(study.independent, 4),
        ),
        Claim(
            "translation",
            "weights between middle layers move by one number: spread of moves ∝ n^(-1/2)",
            "Corollary 30",
            -0.5,
            0.0,
            lambda: study.translation(3),
            "weights that see the first layer",
            lambda: study.translation(2),
        ),
    ]


def _independence(study: Study) -> list[Claim]:
    return [
        Claim(
            "stationary",
            "three layers, hidden weights of mean zero: the limit never moves, "
            "outputs of networks move by ∝ n^(-1)",
            "§5; Hajjar, Chizat & Giraud 2021",
            -1.0,
            0.0,
            lambda: study.motion(0.0),
            "hidden weights of mean 1",
            lambda: study.motion(1.0),
        ),
        Claim(
            "means-only",
            "networks with weights N(1, ½²) between hidden layers approach the limit "
            "of weights that are all 1: distance ∝ n^(-1/2)",
            "Corollary of the limit W*, §5",
            -0.5,
            0.0,
            lambda: study.beside_means([1.0]),
            "weights that are all ½",
            lambda: study.beside_means([0.5]),
        ),
    ]


def _labels(study: Study) -> list[Claim]:
    return [
        Claim(
            "bias-labels",
            "independent weights, random biases: units of a middle layer differ by "
            "their own initial bias alone, the spread beside it ∝ n^(-1/2)",
            "limit W*, §5: H_i depends on v_i",
            -0.5,
            0.0,
            lambda: study.beside_biases(BIAS_DEGREE),
            "the biases are left out of the regression",
            lambda: study.beside_biases(0),
        ),
        Claim(
            "no-collapse",
            "correlated weights: units of a middle layer stay different, spread ∝ n^0",
            "§7, bidirectional diversity",
            0.0,
            -0.5,
            lambda: study.units(study.correlated, 3),
            "independent weights",
            lambda: study.units(study.independent, 3),
        ),
        Claim(
            "diversity-kept",
            "correlated weights: the first middle layer's values at three inputs "
            "stay spread in all directions, least eigenvalue of their covariance ∝ n^0",
            "§7: the support of H_i is all of L²",
            0.0,
            -1.0,
            lambda: study.diversity(study.correlated),
            "independent weights",
            lambda: study.diversity(study.independent),
        ),
    ]
