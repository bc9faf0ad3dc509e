"""Araújo, Oliveira & Yukimura, A mean-field limit for certain deep neural networks (2019).

    z_1 = W_1·x,  z_l(j) = N^(-1) Σ_i W_l[i, j] φ(z_{l-1}(i)),  f = N^(-1) Σ_j A[j] φ(z_L(j)),
    W_l ← W_l − ε α(kε) N² ∇ ½|y − f|²  for l = 2 … L;  W_1 and A are random features, frozen.

Four hidden layers, so that W_3 lies between two middle layers. `equations.md` §2.1: the limit has
one neuron in each of the layers 2 and 3, W_2(t) − W_2(0) depends on the first layer's neuron
alone, W_3(t) − W_3(0) is one number, W_4(t) − W_4(0) depends on the readout alone.
"""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import xarray as xr
from scipy.integrate import cumulative_simpson

from widelimit.limit.solve import solved
from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, mean, step_exponent, width_exponent
from widelimit.papers.data import eight_points
from widelimit.papers.measures.observables import (
    moved,
    neurons,
    spread_of_moves,
    spread_of_moves_over,
    spread_of_units,
)
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

HORIZON = 2.0
POWER, WRONG_POWER = 0.5, 4.0
"""α(t) = (1 + t)^(-1/2), and what the controls take in its place."""

SIZES: dict[Effort, dict] = {
    "smoke": {"widths": [64], "seeds": 60},
    "quick": {"widths": [16, 32, 64, 128], "seeds": 300},
    "full": {"widths": [64, 128, 256, 512], "seeds": 600},
}

STEPS: dict[Effort, list[float]] = {
    "quick": [0.08, 0.04, 0.02, 0.01, 0.005],
    "full": [0.08, 0.04, 0.02, 0.01, 0.005, 0.0025],
}
STEP_WIDTH = 32

ROUNDS = 25
"""Picard iterations; each multiplies the error by about horizon/round."""


def problem(**changes) -> Problem:
    """Eight points with two inputs, ends frozen, hidden laws N(1, ½²)."""
    return Problem.from_dict(
        {
            "title": "random features at both ends, four hidden layers",
            "network": {
                "activations": ["tanh"] * 4,
                "initial": {"hidden": {"law": "normal", "mean": 1.0, "std": 0.5}},
            },
            "data": eight_points(),
            "training": {
                "horizon": HORIZON,
                "learning_rates": _rates(POWER),
            },
            "limit": {"tolerance": 1e-3},
            "observe": {"times": [0.0, HORIZON]},
        }
    ).with_changes(**changes)


def _rates(power: float) -> dict:
    """Frozen ends, and α(t) = (1 + t)^(-power) between them."""
    return {
        "input": 0.0,
        "hidden": {"schedule": "power", "value": 1.0, "exponent": power},
        "readout": 0.0,
    }


ATOMS = {
    "input": {"law": "atoms", "points": [[1.0, 0.3], [-0.4, 0.8], [0.5, -1.2]]},
    "readout": {"law": "atoms", "points": [0.4, 1.0, 2.2]},
}
"""Laws for which the limit is a finite system without quadrature error."""


class Study:
    """What several claims share."""

    def __init__(self, effort: Effort):
        self.effort: Effort = effort
        self.sizes = SIZES[effort]

    @cached_property
    def limit(self) -> Trajectory:
        """The limit."""
        return solved(problem(), progress=False)

    @cached_property
    def wrong(self) -> Trajectory:
        """A limit that is wrong: its rates fall too fast."""
        return solved(problem(training={"learning_rates": _rates(WRONG_POWER)}), progress=False)

    @cached_property
    def networks(self) -> Trajectory:
        """Networks under gradient flow, kept whole."""
        asked = {**self.sizes, "method": "flow", "states": self.sizes["seeds"]}
        return train(problem(networks=asked), progress=False)

    def rate(self, squares: Callable[[int], np.ndarray]) -> Measured:
        """The exponent in N of a root mean square, one sample per network."""
        return width_exponent(self.sizes["widths"], squares)

    def squared_loss_error(self, limit: Trajectory, width: int) -> np.ndarray:
        """(loss of a network − loss of the limit)² at the horizon."""
        found = self.networks.dataset.risk.sel(width=width, time=HORIZON).values
        return (found - float(limit.dataset.risk.sel(time=HORIZON))) ** 2

    def step_rate(self, method: str) -> Measured:
        """The exponent in ε of the distance from gradient flow started alike, N fixed."""
        few = {"widths": [STEP_WIDTH], "seeds": self.sizes["seeds"]}
        flow = self._outputs({**few, "method": "flow"})

        def squares(e: float) -> np.ndarray:
            found = self._outputs({**few, "method": method, "step": e})
            return ((found - flow) ** 2).mean(axis=1)

        return step_exponent(STEPS[self.effort], squares)

    def _outputs(self, settings: dict) -> np.ndarray:
        asked = {**settings, "precision": "float64"}
        trained = train(problem(networks=asked), progress=False)
        return trained.dataset.output.values[0, :, -1, :, 0]

    # --- neurons ----------------------------------------------------------------------------------

    def kept(self, width: int) -> xr.Dataset:
        """The neurons of all networks of a width."""
        return neurons(self.networks, width)

    def spread_of_units(self, layer: int, width: int) -> np.ndarray:
        """Variance over a layer's neurons of their pre-activation at T, mean over the data."""
        return spread_of_units(self.kept(width), problem().dataset.inputs, layer)

    def spread_of_moves(self, layer: int, width: int) -> np.ndarray:
        """Variance over a layer's weights of how far they moved."""
        return spread_of_moves(self.kept(width), layer)

    def one_ended(self, layer: int, neurons_of: int) -> Measured:
        """Exponent in N of the spread of W_layer's moves over the neurons at one end."""
        return self.rate(lambda n: spread_of_moves_over(self.kept(n), layer, neurons_of))

    def correlation(self, other: str) -> Measured:
        """Correlation along disjoint paths of W_2's move with W_4's move, or with its feature.

        Paths (i_1, i_2, …) with all indices equal; one correlation for each network.
        """
        kept = self.kept(self.sizes["widths"][-1])
        mine = np.einsum("snn->sn", moved(kept, 2).values)
        if other == "far layer":
            theirs = np.einsum("snn->sn", moved(kept, 4).values)
        else:
            theirs = kept["input"].values[:, 0, :, 0].astype(float)
        mine, theirs = (v - v.mean(axis=1, keepdims=True) for v in (mine, theirs))
        norms = np.sqrt((mine**2).sum(axis=1) * (theirs**2).sum(axis=1))
        return mean((mine * theirs).sum(axis=1) / norms)

    # --- the fixed point --------------------------------------------------------------------------

    def picard(self, power: float) -> Measured:
        """Distance of Picard's fixed point from the ODE's limit, for atomic ends.

        In units of the limit's own move; `power` is the exponent of the schedule that the
        iteration uses. The error is the change from half as many times.
        """
        exact = problem(network={"initial": {**problem().as_dict()["network"]["initial"], **ATOMS}})
        limit = solved(exact, progress=False).dataset.output.values[:, :, 0]
        fine, coarse = (_fixed_point(exact, power, count) for count in (129, 65))
        scale = np.sqrt(np.mean((limit[-1] - limit[0]) ** 2))
        off = [float(np.sqrt(np.mean((f - limit[-1]) ** 2)) / scale) for f in (fine, coarse)]
        return Measured(off[0], abs(off[0] - off[1]) + 1e-7)


def _fixed_point(exact: Problem, power: float, count: int) -> np.ndarray:
    """Outputs at the horizon of the path law that its own mean fields drive.

    The fields (values and sensitivities along paths, at all times) are guessed, all weights are
    integrated in the guessed fields, new fields are averages over the new paths; repeated.
    """
    w, a = (np.array(ATOMS[name]["points"], float) for name in ("input", "readout"))
    data = exact.dataset
    x, y = data.inputs, data.targets[:, 0]
    times = np.linspace(0.0, HORIZON, count)
    rate = (1 + times) ** -power
    feature = np.tanh(x @ w.T)  # (point, first neuron): frozen
    shapes = [(len(w),), (), (len(a),)]
    moves = [np.zeros((count, *shape)) for shape in shapes]  # of W_2, W_3, W_4 over time
    f = np.zeros((count, len(y)))
    for _ in range(ROUNDS):
        w_2, w_3, w_4 = (1.0 + move for move in moves)  # the laws' mean is 1
        z_2 = np.einsum("xi,ti->tx", feature, w_2) / len(w)
        z_3 = w_3[:, None] * np.tanh(z_2)
        z_4 = np.tanh(z_3)[:, :, None] * w_4[:, None, :]
        f = (np.tanh(z_4) * a).mean(axis=2)
        pull = (f - y) / len(y)
        d_4 = pull[:, :, None] * a * (1 - np.tanh(z_4) ** 2)
        d_3 = (d_4 * w_4[:, None, :]).mean(axis=2) * (1 - np.tanh(z_3) ** 2)
        d_2 = d_3 * w_3[:, None] * (1 - np.tanh(z_2) ** 2)
        speeds = [
            np.einsum("tx,xi->ti", d_2, feature),
            (d_3 * np.tanh(z_2)).sum(axis=1),
            np.einsum("txj,tx->tj", d_4, np.tanh(z_3)),
        ]
        moves = [-cumulative_simpson((rate * s.T).T, x=times, axis=0, initial=0) for s in speeds]
    return f[-1]


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked; rates are left out of the smoke form."""
    study = Study(effort)
    everything = [*_about_the_limit(study), *_about_paths(study), *_about_ends(study)]
    return [c for c in everything if effort != "smoke" or c.id in ("picard", "independence")]


def _about_the_limit(study: Study) -> list[Claim]:
    return [
        Claim(
            "picard",
            "the McKean-Vlasov fixed point, by iterating path laws, is the ODE's limit "
            "(distance at the horizon in units of the limit's move)",
            "Theorem 5.3",
            0.0,
            0.1,
            lambda: study.picard(POWER),
            "the iteration uses α(t) = (1 + t)^(-4)",
            lambda: study.picard(WRONG_POWER),
        ),
        Claim(
            "error-in-width",
            "the loss of networks approaches the limit's: RMS error ∝ N^(-1/2)",
            "Theorem 5.4",
            -0.5,
            0.0,
            lambda: study.rate(lambda n: study.squared_loss_error(study.limit, n)),
            "the limit uses α(t) = (1 + t)^(-4)",
            lambda: study.rate(lambda n: study.squared_loss_error(study.wrong, n)),
        ),
        Claim(
            "error-in-step",
            "SGD approaches gradient flow: RMS distance ∝ ε^(1/2)",
            "Theorem 5.4",
            0.5,
            1.0,
            lambda: study.step_rate("sgd"),
            "whole batches in place of single samples",
            lambda: study.step_rate("gd"),
        ),
    ]


def _about_paths(study: Study) -> list[Claim]:
    def alike(
        id: str,
        statement: str,
        spread: Callable[[int, int], np.ndarray],
        at_the_end: int,
        wrong: str,
    ) -> Claim:
        """The spread over layer 3 vanishes; that over a layer next to a frozen end does not."""
        return Claim(
            id,
            statement,
            "structure of ideal paths",
            -0.5,
            0.0,
            lambda: study.rate(lambda n: spread(3, n)),
            wrong,
            lambda: study.rate(lambda n: spread(at_the_end, n)),
        )

    return [
        alike(
            "middle-units",
            "all units of a middle layer compute the same function: their spread ∝ N^(-1/2)",
            study.spread_of_units,
            4,
            "the units next to the frozen readout are taken",
        ),
        alike(
            "translation",
            "weights between middle layers move by one deterministic number: the "
            "spread of their moves ∝ N^(-1/2)",
            study.spread_of_moves,
            2,
            "the weights next to the frozen first layer are taken",
        ),
    ]


def _about_ends(study: Study) -> list[Claim]:
    return [
        _one_ended(
            study,
            "first-moves",
            2,
            2,
            1,
            "weights after the frozen features move by what their "
            "lower neuron says alone: spread over upper ones ∝ N^(-1/2)",
        ),
        _one_ended(
            study,
            "last-moves",
            4,
            3,
            4,
            "weights before the frozen readout move by what their "
            "upper neuron says alone: spread over lower ones ∝ N^(-1/2)",
        ),
        Claim(
            "independence",
            "weights of distant layers on a path are independent: correlation of "
            "the moves of W_2 and W_4 is 0",
            "factorised marginals",
            0.0,
            0.5,
            lambda: study.correlation("far layer"),
            "the frozen feature below is taken in place of the distant weight",
            lambda: study.correlation("own feature"),
        ),
    ]


def _one_ended(
    study: Study, id: str, layer: int, silent: int, telling: int, statement: str
) -> Claim:
    """Moves of a layer's weights do not depend on the neurons of its `silent` end."""
    return Claim(
        id,
        statement,
        "structure of ideal paths",
        -0.5,
        0.0,
        lambda: study.one_ended(layer, silent),
        "spread over the other end's neurons",
        lambda: study.one_ended(layer, telling),
    )
