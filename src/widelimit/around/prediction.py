"""How fluctuations are computed: on nodes, which are doubled until the tolerance is met.

See `fluctuations` for the formulas. Scrambles of the nodes tell the error that they make, shorter
steps that of time integration, random combinations of outputs what directions leave out.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from widelimit.around.influence import Influence, Spread
from widelimit.around.lyapunov import MOST_PARAMETERS, lyapunov
from widelimit.basics.errors import ProblemError
from widelimit.basics.statistics import replicate_half_width, rms_over_outputs, step_error
from widelimit.basics.streams import Stream, generator
from widelimit.basics.words import shape_name
from widelimit.ensemble.collapse import collapsed_layers
from widelimit.limit.advice import examine, refuse_kinks
from widelimit.limit.validity import predict_validity
from widelimit.motion.integration import Integrator
from widelimit.nodes.rules import Exact
from widelimit.problem.network.activations import is_kinked, named
from widelimit.problem.problem import Problem

REPLICATES = 4
"""How many scrambles of the nodes tell the error of a variance."""

MORE_HELP = 1.8
"""With errors up to so many times the tolerance twice the scrambles will do, without more nodes."""

MOST_DOUBLINGS = 5
"""Nodes are at most so many factors of two more than rules start with."""

INTERVALS = 64
"""Sample paths see the noise of SGD as constant on so many intervals of the training."""

LEFT_OUT = 1e-2
"""Outputs' directions may leave out this share of the tolerance (of their squared cotangents)."""

COARSEST = 5e-3
"""Standard deviations are computed in single precision only if this much error is allowed."""

STEP_TOLERANCE = 1e-4
EXACT_STEP_TOLERANCE = 1e-9
"""Step tolerances of the path, with quadrature nodes and with atoms alone."""


def refuse_unknown(problem: Problem) -> None:
    """Raise `ProblemError` where there is no limit, or no linearisation of its rule."""
    refuse_kinks(problem)
    problem.require_noiseless("Brownian paths are one more source of scatter, not derived yet")
    if not problem.training.rule.linear:
        raise ProblemError([
            "training.adam: √q starts at zero, where it has no derivative, and with SGD noise is "
            "squared and divided by: fluctuations are not derived; measure them with networks"
        ], problem.title)  # fmt: skip


def in_double(problem: Problem, tolerance: float) -> bool:
    """Whether to compute in double precision: single if the limit is, and if that is enough."""
    return problem.limit.precision == "float64" or tolerance < COARSEST


class Prediction:
    """One call of `predict_fluctuations`."""

    def __init__(self, problem: Problem, tolerance: float, covariance: bool, progress: bool | None):
        self.problem, self.tolerance, self.covariance = problem, tolerance, covariance
        self.work = Integrator.of(problem, jnp.zeros(()).dtype, progress)  # x64 is on or off
        self.work.bar.set_description_str("fluctuations")
        self.rules = [choices[0] for choices in self.work.candidates]
        self.exact = all(isinstance(rule, Exact) for rule in self.rules)
        self.replicates = 1
        self.factor, self.notes = factors(problem)

    def made(self) -> xr.Dataset:
        """Refine until the standard deviations are accurate enough, or sizes are used up."""
        doublings = 0
        while True:
            counts = [
                rule.start if isinstance(rule, Exact) else rule.start * 2**doublings
                for rule in self.rules
            ]
            dataset = self.with_error(counts)
            error = _relative_error(dataset)
            if error <= self.tolerance or self.exact or doublings >= MOST_DOUBLINGS:
                break
            wanted = doublings + math.ceil(math.log2(error / self.tolerance))
            doublings = min(wanted, MOST_DOUBLINGS)
        assert self.problem.networks is not None
        shapes = self.problem.networks.layer_widths(self.problem.network)
        dataset["widths"] = (("width", "layer"), [list(widths) for widths in shapes])
        if collapsed_layers(self.problem):
            dataset = self.refused(dataset)
        self.notes += _extrapolated(dataset)
        return dataset.assign_attrs(self.facts(counts, error))

    def refused(self, dataset: xr.Dataset) -> xr.Dataset:
        """No standard deviations beyond t_CLT, where what the limit leaves out has outgrown them.

        (equations.md §6.)
        """
        ends = predict_validity(self.problem, progress=False).dataset["clt_until"]
        valid = dataset.time <= ends
        for name in ("output_std", "risk_std"):
            for kind in (name, f"{name}_error"):
                dataset[kind] = dataset[kind].where(valid)
        self.notes += [
            f"width {shape_name(shape)}: no standard deviations after t = {end:.3g}; differences "
            "between neurons that are alike in the limit have grown beyond what sampled labels do"
            for shape, end in zip(dataset["widths"].values.tolist(), ends.values, strict=True)
            if end < self.problem.times[-1]
        ]
        return dataset.assign(clt_until=ends)

    def with_error(self, counts: Sequence[int]) -> xr.Dataset:
        """Variances on so many nodes with their errors; more scrambles where these will do."""
        self.replicates = 1 if self.exact else REPLICATES
        self.work.bar.total = self.work.bar.n + self.replicates + 1
        found = self.scrambled(counts, range(self.replicates))
        finer = self.compared(self.spreads(counts, 0, halved=True))
        self.work.bar.update()
        dataset = _with_errors(found, finer, self.factor)
        if self.exact or not 1 < _relative_error(dataset) / self.tolerance <= MORE_HELP:
            return dataset
        self.replicates *= 2
        self.work.bar.total += REPLICATES
        found += self.scrambled(counts, range(REPLICATES, self.replicates))
        return _with_errors(found, finer, self.factor)

    def scrambled(self, counts: Sequence[int], scrambles: Sequence[int]) -> list[xr.Dataset]:
        """Variances for unit noise with these scrambles of the nodes."""
        found = []
        for scramble in scrambles:
            found.append(self.unit_variances(self.spreads(counts, scramble)))
            self.work.bar.update()
        return found

    def unit_variances(self, spreads: Sequence[Spread]) -> xr.Dataset:
        """Variances for unit noise at all times, labelled."""
        channels = list(self.problem.dataset.channels)
        each, outputs = (-1, len(channels)), ("input", "channel")

        def over_time(pick: Callable[[Spread], np.ndarray], *axes: int) -> np.ndarray:
            stacked = np.stack([pick(spread) for spread in spreads], axis=1)
            return stacked.reshape(*stacked.shape[:2], *axes)

        variables = {
            "variance": (("source", "time", *outputs), over_time(lambda s: s.variance, *each)),
            "missed": (("source", "time"), over_time(lambda s: s.missed)),
            "signal": ((), max(np.sqrt(np.mean(s.outputs**2)) for s in spreads)),
        }
        if self.covariance:
            dims = ("source", "time", *outputs, "other_input", "other_channel")
            pairs = (len(spreads[0].along) // len(channels), len(channels)) * 2
            variables["covariance"] = (dims, over_time(lambda s: s.covariance, *pairs))
        coordinates = {"source": self.sources, "time": self.problem.times, "channel": channels}
        labelled = xr.Dataset(variables, coordinates).sel(source=self.factor.source.values)
        return labelled.assign(self.compared(spreads))

    def compared(self, spreads: Sequence[Spread]) -> xr.Dataset:
        """What shorter steps are judged by."""
        dims = ("source", "time")
        found = {
            "compared": ((*dims, "combination"), np.stack([s.compared for s in spreads], 1)),
            "risk_variance": (dims, np.stack([s.risk for s in spreads], 1)),
        }
        named = xr.Dataset(found, {"source": self.sources})
        return named.sel(source=self.factor.source.values)

    @property
    def sources(self) -> list[str]:
        """Names of all sources in their order, whether or not they are there."""
        return [*self.problem.network.space_names, "sgd", "data"]

    @property
    def with_data(self) -> bool:
        """Whether the finite data set is a source."""
        return "data" in self.factor.source

    def way(self, sizes: Sequence[int]) -> str:
        """The cheapest of three ways with so many neurons: all give the same.

        With atoms and few parameters, and labels without noise: Lyapunov's equation. Without noise
        of SGD and with fewer weights than outputs: one tangent for each weight, forward. Otherwise
        the outputs, or the directions they span, are pulled back: reverse.
        """
        noisy = self.work.system.label_noise is not None
        if self.exact and not noisy and self.work.memory.edges(sizes) <= MOST_PARAMETERS:
            return "lyapunov"
        weights = sum(sizes) + (len(self.problem.dataset.weights) if self.with_data else 0)
        few = "sgd" not in self.factor.source and weights <= self.work.system.observed_outputs
        return "forward" if few else "reverse"

    def spreads(self, counts: Sequence[int], scramble: int, halved: bool = False) -> list[Spread]:
        """The fluctuations at all times on one set of nodes."""
        times = self.problem.times
        tolerance = EXACT_STEP_TOLERANCE if self.exact else STEP_TOLERANCE
        initial = self.work.placed(self.rules, counts, [scramble] * len(counts))
        way, system = self.way(initial.sizes), self.work.system
        if way == "lyapunov":
            initial = jax.tree.map(jnp.asarray, initial)
            return lyapunov(system, initial, times, tolerance / (100 if halved else 1))
        influence = Influence.of(system, initial, times, tolerance, halved)
        if way == "forward":
            return influence.forward(self.with_data)
        if halved:
            return [influence.compared(k) for k in range(len(times))]
        missed = 0.0 if self.exact else LEFT_OUT * self.tolerance
        return [influence.spread(k, missed) for k in range(len(times))]

    def paths(self, counts: Sequence[int], count: int, seed: int) -> xr.DataArray:
        """Sample paths of the outputs for unit noise of each source."""
        if self.work.system.label_noise is not None:
            raise ProblemError([
                "training.label_noise: sample paths are not built for it; its variances are"
            ], self.problem.title)  # fmt: skip
        tolerance = EXACT_STEP_TOLERANCE if self.exact else STEP_TOLERANCE
        initial = self.work.placed(self.rules, counts, [0] * len(counts))
        influence = Influence.of(self.work.system, initial, self.problem.times, tolerance)
        names, used = self.sources, list(self.factor.source.values)
        own = np.repeat([names.index(name) for name in used], count)
        intervals = INTERVALS if "sgd" in used else 1
        longest = self.problem.training.horizon / intervals
        found = influence.sampled(generator(Stream.SAMPLE_PATHS, seed), own, longest)
        channels = list(self.problem.dataset.channels)
        shape = len(used), count, len(self.problem.times), -1, len(channels)
        dims = "source", "sample", "time", "input", "channel"
        coordinates = {"source": used, "time": self.problem.times, "channel": channels}
        return xr.DataArray(found.reshape(shape), coordinates, dims)

    def facts(self, counts: Sequence[int], error: float) -> dict[str, Any]:
        """How the prediction came about."""
        settings, notes = self.problem.networks, [*examine(self.problem), *self.notes]
        assert settings is not None
        notes += [
            f"{what} has no second derivative everywhere, and fluctuations are linearised along "
            "the limit: take standard deviations as a guide"
            for what in _kinked(self.problem)
        ]
        sizes = [rule.size(n) for rule, n in zip(self.rules, counts, strict=True)]
        if error > self.tolerance:
            notes.append(
                f"standard deviations have a relative error of {error:.2g}, more than the "
                f"{self.tolerance:g} asked for, with {' × '.join(map(str, counts))} nodes"
            )
        return {
            "kind": "fluctuations",
            "title": self.problem.title,
            "way": self.way(sizes),
            "precision": self.work.system.inputs.dtype.name,
            "method": settings.method,
            "step": str(settings.step),
            "nodes": sizes,
            "points": list(counts),
            "replicates": self.replicates,
            "tolerance": self.tolerance,
            "error": error,
            "met": int(error <= self.tolerance),
            "warnings": json.dumps(list(dict.fromkeys(notes))),
        }


def _kinked(problem: Problem) -> list[str]:
    """What in a problem has a first derivative that jumps."""
    chosen = dict.fromkeys(problem.network.activations)
    found = [f"the activation {named(a)}" for a in chosen if is_kinked(a)]
    loss = problem.training.loss
    return found if loss.smooth else [*found, f"the loss {loss.loss!r}"]


def _extrapolated(dataset: xr.Dataset) -> list[str]:
    """Mark widths whose networks scatter by more than the outputs themselves, and say so."""
    std = rms_over_outputs(dataset.output_std)
    dataset["extrapolated"] = std > dataset.signal
    return [
        f"width {shape_name(shape)}: networks scatter by up to {float(size.max()):.2g}, more than "
        f"the outputs themselves ({float(dataset.signal):.2g} RMS): an extrapolation from wide "
        "networks"
        for shape, size in zip(dataset["widths"].values.tolist(), std, strict=True)
        if float(size.max()) > float(dataset.signal)
    ]


def factors(problem: Problem) -> tuple[xr.DataArray, list[str]]:
    """What the variance for unit noise is multiplied by, `(width, source)`; and what to know.

    Layers: 1/n_l. SGD with step ε and batch b: ε/b for independent draws, (ε/b)(n − b)/(n − 1) for
    batches of distinct points among n, and 0 for epochs, whose noise vanishes to leading order
    (dynamics.md). A data set of so many samples: 1/samples.
    """
    settings, network = problem.networks, problem.network
    assert settings is not None
    shapes, notes = settings.layer_widths(network), []
    fixed = network.by_space(network.finite_widths)  # the same neurons in all networks
    sizes = [network.by_space(widths) for widths in shapes]
    columns = {
        name: [0.0 if fixed[k] else 1 / widths[k] for widths in sizes]
        for k, name in enumerate(network.space_names)
    }
    if settings.method == "sgd":
        rows, batch = len(problem.dataset.inputs), settings.batch
        draw = {
            "independent": 1.0,
            "distinct": (rows - batch) / max(1, rows - 1),
            "epochs": 0.0,
        }[settings.draw]
        columns["sgd"] = [draw / batch * settings.step_size(network, w) for w in shapes]
        if settings.draw == "epochs":
            notes.append("with draw = 'epochs' the noise of SGD vanishes to leading order")
    if problem.data.samples is not None:
        columns["data"] = [1 / problem.data.samples] * len(shapes)
    factor = xr.DataArray(
        np.array(list(columns.values())).T, dims=("width", "source"),
        coords={
            "source": list(columns),
            "width": [network.growing_width(w) for w in shapes],
        },
    )  # fmt: skip
    return factor, notes


def _with_errors(found: list[xr.Dataset], finer: xr.Dataset, factor: xr.DataArray) -> xr.Dataset:
    """Variances and standard deviations for every width, and their errors.

    `found` are those of the scrambles of the nodes, `finer` compares the first with shorter steps.
    """
    replicates, first = xr.concat(found, "replicate"), found[0]
    change = (step_error(first.compared, finer.compared) ** 2).sum("combination") ** 0.5
    size = (first.compared**2).sum("combination") ** 0.5
    relative = change / size.where(size > 0, 1.0) + replicates.missed.max("replicate")
    rest = {
        "variance": relative * replicates.variance.mean("replicate"),
        "risk_variance": step_error(first.risk_variance, finer.risk_variance),
    }
    made: dict[str, xr.DataArray] = {"factor": factor}
    for name, std in (("variance", "output_std"), ("risk_variance", "risk_std")):
        made[f"unit_{name}"] = replicates[name].mean("replicate")
        made[f"unit_{name}_error"] = _half_width(replicates[name]) + rest[name]
        made[name] = factor * made[f"unit_{name}"]
        made[f"{name}_error"] = factor * made[f"unit_{name}_error"]
        total = (factor * replicates[name]).sum("source")
        made[std] = total.mean("replicate") ** 0.5
        error = _half_width(total) + (factor * rest[name]).sum("source")
        made[f"{std}_error"] = error / (2 * made[std].where(made[std] > 0, 1.0))
    made["signal"] = replicates.signal.mean("replicate")
    if "covariance" in replicates:
        made["covariance"] = factor * replicates.covariance.mean("replicate")
    return xr.Dataset(made)


def _half_width(values: xr.DataArray) -> xr.DataArray:
    """95 % half-width of the mean over replicates."""
    mean = values.mean("replicate")
    ordered = values.transpose("replicate", *mean.dims)
    return mean.copy(data=replicate_half_width(ordered.values))


def _relative_error(dataset: xr.Dataset) -> float:
    """The largest over widths and times of the relative error, RMS over outputs."""
    size, error = (rms_over_outputs(dataset[n]) for n in ("output_std", "output_std_error"))
    return float((error / size.where(size > 0, np.inf)).max())
