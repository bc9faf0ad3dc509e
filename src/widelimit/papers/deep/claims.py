"""Sirignano & Spiliopoulos, Mean field analysis of deep neural networks (2022).

    g(x) = N_2^(-1) Σ_i C_i σ(Z_i(x)),   Z_i(x) = N_1^(-1) Σ_j U_ij σ(W_j·x)
    SGD on ½(y − g)² with rates α_C = N_2/N_1, α_W = 1, α_U = N_2 on the ordinary gradients,
    clock k = ⌊N_1 t⌋; first N_1 → ∞ (Lemma 2.2), then N_2 → ∞ (Theorem 2.3)

(Math. Oper. Res. 47 (2022); U is their W².) The intermediate limit keeps N_2 neurons in the second
layer: `network.ensembles = ["limit", N_2]`. A first-layer neuron is then (w; u_1 … u_{N_2}).
"""

from collections.abc import Callable
from functools import cache, cached_property

import numpy as np
import xarray as xr

from widelimit.limit.search import seen_of_limit
from widelimit.limit.solve import solved
from widelimit.motion.engine import Steps, engine
from widelimit.networks.train import train
from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, width_exponent
from widelimit.papers.data import eight_points
from widelimit.papers.measures.late_times import end_of, until_late
from widelimit.papers.measures.observables import (
    mean_square,
    moved,
    neurons,
    spread_of_units,
    squared_distance,
)
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

HORIZON = 2.0

SIZES: dict[Effort, dict] = {
    "quick": {"widths": [16, 32, 64, 128], "seeds": 300},
    "full": {"widths": [16, 32, 64, 128, 256], "seeds": 1000},
}

FINITE: dict[Effort, dict] = {
    "quick": {"widths": [4, 8, 16, 32, 64], "samples": 150},
    "full": {"widths": [4, 8, 16, 32, 64, 128], "samples": 600},
}
"""Widths of a finite layer beside a layer in the limit, and samples of it at each width."""

STEP_TOLERANCE = 1e-4

TRACED: dict[Effort, int] = {"quick": 50, "full": 120}
"""Networks of each width that are compared with the limit neuron by neuron."""

KEPT = 4
"""The width of the finite layer where the other one grows."""

WIDER = 4
"""That one is so many times as wide as layers elsewhere: it costs little beside so few neurons,
and at 16 … 128 neurons their scatter could hide the control's offset (−.36 ± .21)."""

LAWS = {
    "input": {"law": "uniform", "low": -2.0, "high": 2.0},
    "hidden": {"law": "uniform", "low": -1.0, "high": 2.0},
    "readout": {"law": "uniform", "low": -1.0, "high": 3.0},
}
"""Compact supports with densities, as the theorems ask for."""


def problem(depth: int = 2, **changes) -> Problem:
    """Eight points with two inputs, a smooth target."""
    return Problem.from_dict({
        "title": f"deep, {depth} hidden layers",
        "network": {"activations": ["tanh"] * depth, "initial": LAWS},
        "data": eight_points(),
        "training": {"horizon": HORIZON},
        "limit": {"tolerance": 2e-3},
        "observe": {"times": [0.0, HORIZON]},
    }).with_changes(**changes)  # fmt: skip


def _with_law(name: str, law: dict) -> dict:
    """The network with one law replaced."""
    return {"initial": {**LAWS, name: law}}


MEAN_ONLY = _with_law("hidden", {"law": "atoms", "points": [0.5]})
"""U replaced by its mean: right next to a layer in the limit, wrong next to a finite one."""

WRONG = _with_law("readout", {"law": "uniform", "low": 0.0, "high": 4.0})
"""Readouts of another mean: a limit that is wrong."""


class Study:
    """What several claims share."""

    def __init__(self, effort: Effort):
        self.effort: Effort = effort

    @property
    def sizes(self) -> dict:
        """Widths of the networks, and how many of each."""
        return SIZES[self.effort]

    @property
    def finite(self) -> dict:
        """Widths of a finite layer, and how many samples of it."""
        return FINITE[self.effort]

    def rate(self, squares: Callable[[int], np.ndarray]) -> Measured:
        """The exponent in n of a root mean square, one sample per network."""
        return width_exponent(self.sizes["widths"], squares)

    # --- the order of limits ------------------------------------------------------------------

    def first_stage(self, network: dict) -> Measured:
        """Exponent in N_1 of the distance of networks with N_2 fixed from a limit N_1 → ∞."""
        ensembles = {"ensembles": ["limit", KEPT]}
        limit = solved(problem(network={**network, **ensembles}), progress=False)
        outputs = self.beside_few.dataset.output
        widths = self.beside_few.dataset["width"].values.tolist()
        return width_exponent(widths, lambda n: squared_distance(outputs.sel(width=n), limit))

    def second_stage(self, finite_layer: int, network: dict) -> Measured:
        """Exponent in the width of one finite layer of the distance from the full limit."""
        limit = solved(problem(network=network), progress=False).dataset.output.values[-1]
        return width_exponent(
            self.finite["widths"],
            lambda n: ((self.intermediate(finite_layer, n) - limit) ** 2).mean(axis=(1, 2)),
        )

    @cache  # noqa: B019
    def intermediate(self, finite_layer: int, width: int) -> np.ndarray:
        """Outputs `(sample, point, channel)` at the horizon of limits with one layer finite.

        One set of nodes for each sample of the finite layer: what quadrature adds to their spread
        is far below it.
        """
        ensembles = [width, "limit"] if finite_layer == 1 else ["limit", width]
        asked, found = problem(network={"ensembles": ensembles}), []
        for seed in range(self.finite["samples"]):
            with engine(asked.with_changes(seed=seed), "limit", False, "float64") as work:
                run = work.run(work.first_design(), Steps(STEP_TOLERANCE), seen_of_limit)
                found.append(run.seen["outputs"][-1])
        return np.stack(found)

    def jointly(self, depth: int, network: dict) -> Measured:
        """Exponent in n = N_1 = N_2 = … of the distance of networks from the limit."""
        limit = solved(problem(depth, network=network), progress=False)
        outputs = self.networks(depth).dataset.output
        return self.rate(lambda n: squared_distance(outputs.sel(width=n), limit))

    # --- networks -----------------------------------------------------------------------------

    def trained(self, asked: Problem, widths: list[int] | None = None) -> Trajectory:
        """Networks under gradient flow, all kept whole."""
        settings = {**self.sizes, "method": "flow", "states": self.sizes["seeds"]}
        settings["widths"] = widths or settings["widths"]
        return train(asked.with_changes(networks=settings), progress=False)

    @cache  # noqa: B019
    def networks(self, depth: int) -> Trajectory:
        """Networks whose layers have the same width."""
        return self.trained(problem(depth))

    @cached_property
    def beside_few(self) -> Trajectory:
        """Networks with two layers, of which the second has width `KEPT`."""
        widths = [WIDER * n for n in self.sizes["widths"]]
        return self.trained(problem(network={"ensembles": ["limit", KEPT]}), widths)

    # --- neuron by neuron ---------------------------------------------------------------------

    def coupled(self, shift: int) -> Measured:
        """Exponent of the distance of parameters from the limit at their own initial labels.

        With a shift networks are compared with the limit at another network's labels.
        """
        return self.rate(lambda n: self.squared_coupling(n, shift))

    def squared_coupling(self, width: int, shift: int) -> np.ndarray:
        """Mean squared distance per kind of parameter at the horizon, summed: one per network."""
        kept, limit = self.pair(width)
        off = (kept - limit.roll(seed=shift)).isel(time=-1)
        return np.sum([mean_square(off[n]) for n in ("input", "hidden_2", "readout")], axis=0)

    @cache  # noqa: B019
    def pair(self, width: int) -> tuple[xr.Dataset, xr.Dataset]:
        """Neurons of networks, and the limit at their labels."""
        kept = neurons(self.networks(2), width).isel(seed=slice(TRACED[self.effort]))
        limit = solved(problem(), progress=False, tracers=kept)
        return kept, limit.states["tracers"].to_dataset()

    def explained(self, by: Callable[[xr.Dataset], xr.DataArray]) -> Measured:
        """Exponent of the correlation of U(T) − u with something of the neurons, over edges."""
        return self.rate(lambda n: _correlation(neurons(self.networks(2), n), by) ** 2)

    # --- rates --------------------------------------------------------------------------------

    def as_written(self, common: bool) -> Measured:
        """Distance of a network from the paper's updates written out, in units of its move.

        N_1 = 6, N_2 = 10, all points at every step. The error bounds rounding. `common`: one
        learning rate for all parameters in place of the paper's three.
        """
        asked = {"widths": [[6, 10]], "seeds": 2, "states": 2, "method": "gd"}
        asked = problem(networks={**asked, "precision": "float64"})
        found = train(asked, progress=False).states["width_6_10"]
        network = found.to_dataset()
        written = _paper_descent(network.isel(time=0), common)
        end = [network[name].isel(time=-1).values for name in ("input", "hidden_2", "readout")]
        start = [network[name].isel(time=0).values for name in ("input", "hidden_2", "readout")]
        off = max(np.abs(a - b).max() for a, b in zip(written, end, strict=True))
        far = max(np.abs(a - b).max() for a, b in zip(start, end, strict=True))
        return Measured(float(off / far), 1e-12)

    def motion(self, common: bool) -> Measured:
        """Exponent in n of how far U moves, with the paper's rates or one common rate.

        A common rate α gives U the effective step α/(N_1 N_2): 1/N_2 of the paper's.
        """
        if not common:
            return self.rate(lambda n: mean_square(moved(neurons(self.networks(2), n), 2)))

        def slowed(n: int) -> np.ndarray:
            rates = {"input": 1.0, "hidden": 1 / n, "readout": 1.0}
            asked = problem(training={"learning_rates": rates})
            return mean_square(moved(neurons(self.trained(asked, [n]), n), 2))

        return self.rate(slowed)

    # --- three layers -------------------------------------------------------------------------

    def spread(self, layer: int) -> Measured:
        """Exponent of the standard deviation over a layer's units of their pre-activations."""
        inputs = problem().dataset.inputs
        return self.rate(lambda n: spread_of_units(neurons(self.networks(3), n), inputs, layer))

    # --- the end of training ------------------------------------------------------------------

    def floor(self, input_rate: float, network: dict) -> Measured:
        """Where the risk of the limit ends, in units of its start."""
        rates = {"learning_rates": {"input": input_rate}}
        found = until_late(problem(network=network, training=rates), [32, 16])
        return end_of(found.dataset.risk.values)


def _correlation(network: xr.Dataset, by: Callable[[xr.Dataset], xr.DataArray]) -> np.ndarray:
    """Correlation over the edges of each network of U(T) − u with an initial quantity."""
    pair = xr.broadcast(moved(network, 2), by(network.isel(time=0)))
    return xr.corr(*pair, ["neuron_1", "neuron_2"]).values


def _paper_descent(start: xr.Dataset, common: bool) -> list[np.ndarray]:
    """W, U, C after N_1 T steps of the paper's updates (its §2), for networks `(seed, …)`."""
    w, u, c = start["input"].values, start["hidden_2"].values, start["readout"].values[..., 0]
    x, y = problem().dataset.inputs, problem().dataset.targets[:, 0]
    n_1, n_2 = u.shape[1:]
    alpha_c, alpha_w, alpha_u = (1.0, 1.0, 1.0) if common else (n_2 / n_1, 1.0, n_2)
    for _ in range(round(n_1 * HORIZON)):
        h_1 = np.tanh(np.einsum("xd,sjd->sxj", x, w))
        h_2 = np.tanh(np.einsum("sxj,sji->sxi", h_1, u) / n_1)
        off = (y - np.einsum("sxi,si->sx", h_2, c) / n_2) / len(y)
        d_2 = c[:, None, :] * (1 - h_2**2)
        d_1 = np.einsum("sxi,sji->sxj", d_2, u) / n_2 * (1 - h_1**2)
        c, w, u = (
            c + alpha_c / n_2 * np.einsum("sx,sxi->si", off, h_2),
            w + alpha_w / n_1 * np.einsum("sx,sxj,xd->sjd", off, d_1, x),
            u + alpha_u / (n_1 * n_2) * np.einsum("sx,sxi,sxj->sji", off, d_2, h_1),
        )
    return [w, u, c[..., None]]


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked, in the order of the paper; the smoke form has no rates."""
    study = Study(effort)
    found = [*_about_rates(study), *_about_the_order(study), *_about_labels(study), *_beyond(study)]
    return [c for c in found if effort != "smoke" or c.id in ("as-written", "zero-loss")]


def _about_rates(study: Study) -> list[Claim]:
    common = "one learning rate for all parameters"
    return [
        Claim(
            "as-written", "updates with α_C = N_2/N_1, α_W = 1, α_U = N_2 are the library's with "
            "step 1/N_1 (largest difference in units of the largest move)",
            "§2, learning rates", 0.0, 1e-3,
            lambda: study.as_written(common=False), common,
            lambda: study.as_written(common=True),
        ),
        Claim(
            "all-layers-move", "with these rates U moves by O(1) at any width: its RMS move ∝ n^0",
            "§2, learning rates", 0.0, -1.0,
            lambda: study.motion(common=False), common + ": U freezes",
            lambda: study.motion(common=True),
        ),
    ]  # fmt: skip


def _about_the_order(study: Study) -> list[Claim]:
    wrong = "the limit has readouts of another mean"

    def rate(id: str, statement: str, source: str, measure: Callable[[dict], Measured],
             wrong: str = wrong, law: dict = WRONG) -> Claim:  # fmt: skip
        return Claim(
            id, statement, source, -0.5, 0.0, lambda: measure({}), wrong, lambda: measure(law)
        )

    return [
        rate(
            "first-stage", f"N_2 = {KEPT} fixed: networks approach the limit N_1 → ∞ with labels "
            "(w; u_1 … u_{N_2}) as N_1^(-1/2)",
            "Lemma 2.2", study.first_stage, "the labels u are replaced by their mean", MEAN_ONLY,
        ),
        rate(
            "second-stage", "the limits N_1 = ∞ approach the full limit as N_2^(-1/2)",
            "Theorem 2.3", lambda network: study.second_stage(2, network),
        ),
        rate(
            "other-order", "so do the limits N_2 = ∞, as N_1^(-1/2)", "not claimed by the paper",
            lambda network: study.second_stage(1, network),
        ),
        rate(
            "jointly", "and networks with N_1 = N_2 = n, as n^(-1/2)", "not claimed by the paper",
            lambda network: study.jointly(2, network),
        ),
    ]  # fmt: skip


def _about_labels(study: Study) -> list[Claim]:
    return [
        Claim(
            "neuron-by-neuron", "parameters of networks are those of the limit at their own "
            "initial labels: RMS distance ∝ n^(-1/2)",
            "§2, parametrisation by the initialisation", -0.5, 0.0,
            lambda: study.coupled(0), "another network's labels",
            lambda: study.coupled(1),
        ),
        Claim(
            "move-without-label", "U(T) − u does not depend on u: its correlation with u ∝ n^(-1)",
            "limit system: dU/dt has no u", -1.0, 0.0,
            lambda: study.explained(lambda start: start["hidden_2"]),
            "correlation with the readout label in place of u",
            lambda: study.explained(lambda start: start["readout"].isel(output=0)),
        ),
    ]  # fmt: skip


def _beyond(study: Study) -> list[Claim]:
    return [
        Claim(
            "three-layers", "networks with three hidden layers approach their limit as n^(-1/2)",
            "§4.2, candidate system", -0.5, 0.0,
            lambda: study.jointly(3, {}), "the limit has readouts of another mean",
            lambda: study.jointly(3, WRONG),
        ),
        Claim(
            "interior-units", "units of the middle one of three layers become alike: spread "
            "∝ n^(-1/2)",
            "§4.2, no label for interior layers", -0.5, 0.0,
            lambda: study.spread(2), "units of the last layer are taken",
            lambda: study.spread(3),
        ),
        Claim(
            "zero-loss", "the risk of the limit goes to 0 (its end in units of its start)",
            "Theorem 3.4, conditional", 0.0, 0.1,
            lambda: study.floor(1.0, {}),
            "a hypothesis fails: the first layer's law is one atom, and stays so",
            lambda: study.floor(0.0, _with_law("input", {"law": "atoms", "points": [[1.0, 0.5]]})),
        ),
    ]  # fmt: skip
