"""Until when the limit describes networks of a width: what grows out of what it leaves out.

Of the weights between two hidden layers the limit keeps the conditional mean alone (Nguyen & Pham
2023, §5). In a network they differ from it by independent numbers of standard deviation σ, and so
neurons that are alike in the limit receive slightly different signals, forward and backward,

    δz_i(x) = (σ_l n_{l-1}^(-1/2)) Gaussian with covariance E[φ_{l-1} φ_{l-1}'],
    δS_i(x) = (σ_{l+1} n_{l+1}^(-1/2)) Gaussian with covariance E[Δ_{l+1} Δ_{l+1}'].

Their mean over the layer stays, but the differences can grow: then networks leave the limit after
a time that grows like ln n (equations.md §6). Here a few copies of such neurons are carried along
with the limit, started as different as in networks of width n. That moves the outputs by d_n(t, x),
which is q_t(x)/n until the copies have left; the sampled labels move them by s_t(x) n^(-1/2) (§4),
which needs no copies. Hence

    rms²(n, t) = s_t²/n + d_n²,  t_CLT(n): d_n = s n^(-1/2),  t*(n): rms = ½ · largest RMS output

No network is trained here.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Array
from scipy.special import stdtrit

from widelimit.basics.statistics import offset, replicate_half_width
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.meanfield import layer_values
from widelimit.ensemble.neurons import Ensemble, weight_noise
from widelimit.ensemble.system import System, outputs
from widelimit.limit.advice import refuse_kinks
from widelimit.motion.flow import advance_one, follow
from widelimit.motion.integration import Integrator
from widelimit.nodes.reduction import reduced
from widelimit.problem.network.network import Network
from widelimit.problem.problem import Problem
from widelimit.problem.settings import ObserveSettings
from widelimit.results.validity import Validity

COPIES = 32
"""Of all kinds of neurons of a layer together there are at least so many copies, of each two."""

SOLVES = 16
"""At most so many solves of the limit's size, for all widths of like proportions."""

SCALES = 3
"""At most so many widths are started as different as their networks are; between them the
departure is interpolated (a straight line in logarithms)."""

TIMES = 49
"""Equally spaced times at which distances are known; between them they grow exponentially."""

STEP_TOLERANCE = 1e-5

LEFT = 0.5
"""A network has left when its outputs are off by this share of the limit's largest outputs."""

WIDTHS = (64, 256, 1024, 4096)
"""Widths that are looked at where the problem names none."""


def predict_validity(
    problem: Problem,
    widths: Sequence[int | Sequence[int]] | None = None,
    *,
    progress: bool | None = None,
) -> Validity:
    """Until when the limit of `problem` describes networks of the given widths.

    Widths are those of `problem.networks` (if it has none, `WIDTHS`) unless they are given. It
    takes at most `SOLVES` solves for each proportion of the layers' widths. A whole population is
    represented by one of the quadratures that measure the limit's risk. Raises `Diverged`, and
    `ProblemError` where neurons start on a kink of their activation.

    >>> from widelimit import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [1.0], "targets": [0.5]},
    ...     "training": {"horizon": 1.0},
    ... })
    >>> found = predict_validity(problem, widths=[100], progress=False)
    >>> found.dataset.describes_until.item()
    inf
    """
    problem.require_noiseless("noise keeps like neurons apart, and its part is not derived")
    refuse_kinks(problem)
    if widths is None and problem.networks is None:
        widths = WIDTHS
    if widths is not None:
        problem = problem.with_changes(networks={"widths": list(widths)})
    seen = reduced(problem, looks=1)
    rows = tuple(map(tuple, seen.observed_inputs.tolist()))
    asked = seen.model_copy(update={"observe": ObserveSettings(times=TIMES, inputs=rows)})
    assert problem.networks is not None
    shapes = problem.networks.layer_widths(problem.network)
    double = problem.limit.precision == "float64"
    with jax.enable_x64(double):
        work = Integrator.of(asked, jnp.float64 if double else jnp.float32, progress)
        work.bar.set_description_str("validity")
        with work.bar:
            found = _by_proportion(work, shapes)
    found["widths"] = (("width", "layer"), [list(shape) for shape in shapes])
    found["width"] = [problem.network.growing_width(shape) for shape in shapes]
    return Validity(problem, found)


def random_layers(network: Network) -> set[int]:
    """Layers, from 0, whose neurons differ in networks by weights that the limit leaves out."""
    random = [pair for pair, law in network.independent.items() if law.deviation() > 0]
    return {layer for pair in random for layer in (pair, pair + 1)}


def has_collapsed(problem: Problem) -> bool:
    """Whether neurons of a middle layer differ in networks by what the limit leaves out.

    Without labels, or with biases for labels, nothing keeps them where the limit has them.
    """
    return any(0 < layer < problem.network.depth - 1 for layer in random_layers(problem.network))


def _by_proportion(work: Integrator, shapes: Sequence[tuple[int, ...]]) -> xr.Dataset:
    """The distances of all widths; networks with like proportions share their solves."""
    alike: dict[tuple[float, ...], list[tuple[int, ...]]] = {}
    for shape in sorted(shapes):
        alike.setdefault(tuple(n / shape[0] for n in shape), []).append(shape)
    found = {}
    for own in alike.values():
        samples = _Differences.of(work, _scales(own)).samples()
        found |= {shape: _distances(samples, shape[0], work.problem.times) for shape in own}
    joined = xr.concat([found[shape] for shape in shapes], "width", data_vars="all")
    assert isinstance(joined, xr.Dataset)
    return joined.assign_coords(validity_time=work.problem.times)


def _scales(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Of increasing shapes the first, the last, and some between them."""
    places = np.linspace(0, len(shapes) - 1, min(SCALES, len(shapes)))
    return [shapes[place] for place in places.round().astype(int)]


@dataclass(frozen=True)
class _Samples:
    """What replicates have shown for networks of like proportions, `widths` being those solved.

    Mean squares of the limit's observed outputs and of what the labels of the narrowest networks
    move them by, both `(replicate, time)`, and of differences between copies `(scale, replicate,
    time)`; RMS `(scale, time)` of what differences move outputs by in the mean over replicates,
    and its 95 % half-width.
    """

    widths: np.ndarray
    signal: np.ndarray
    band: np.ndarray
    spread: np.ndarray
    departure: np.ndarray
    departure_error: np.ndarray


@dataclass(frozen=True)
class _Differences:
    """Copies of the neurons that are alike, different as in networks of the widths `shapes`."""

    work: Integrator
    shapes: Sequence[tuple[int, ...]]
    copies: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, work: Integrator, shapes: Sequence[tuple[int, ...]]) -> "_Differences":
        """Copies in each space that weights without labels reach: two of each node, or more."""
        rules = [choices[0] for choices in work.candidates[: work.layers]]
        network = work.problem.network
        reached = {network.spaces[layer] for layer in random_layers(network)}
        copies = tuple(
            max(2, math.ceil(COPIES / rule.size(rule.start))) if space in reached else 1
            for space, rule in enumerate(rules)
        )
        return cls(work, shapes, copies, tuple(rule.start for rule in rules))

    @property
    def alone(self) -> bool:
        """Whether no neurons are alike: there are no copies."""
        return max(self.copies) == 1

    @property
    def replicates(self) -> int:
        """Independent nodes and differences that the solves suffice for."""
        return SOLVES // (2 + (0 if self.alone else len(self.shapes)))

    def samples(self) -> _Samples:
        """In each replicate the limit, other labels, and differences of each width."""
        solves = 2 if self.alone else 2 + len(self.shapes)
        self.work.bar.total = self.work.bar.n + self.replicates * solves
        base, _ = self.solved()
        labels, _ = self.solved(labels=True)
        found = [
            (base, np.zeros(base.shape[:2])) if self.alone else self.solved(different=shape)
            for shape in self.shapes
        ]
        moved = np.stack([values - base for values, _ in found])
        departure, error = offset(moved, np.zeros(base.shape[1:]))
        return _Samples(
            np.array([shape[0] for shape in self.shapes]),
            _mean_square(base), _mean_square(labels - base), np.stack([s for _, s in found]),
            departure, stdtrit(self.replicates - 1, 0.975) * error,
        )  # fmt: skip

    def solved(
        self, labels: bool = False, different: tuple[int, ...] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Observed outputs `(replicate, time, input, channel)`, and the mean square differences."""
        starts = [self.start(run, labels, different) for run in range(self.replicates)]
        found = self.work.side_by_side(starts[0].sizes, STEP_TOLERANCE, self.path, starts)
        values, spreads = zip(*found, strict=True)
        return np.stack(values), np.stack(spreads)

    def path(self, start: Ensemble) -> tuple[np.ndarray, np.ndarray]:
        """Observed outputs over time, and how much copies of a neuron differ."""
        work = self.work
        method, system = work.means(start.sizes, STEP_TOLERANCE)
        seen, values, spreads = system.view("observed"), [], []
        times = work.problem.times
        for now in follow(advance_one, method, system, start, times, STEP_TOLERANCE, "the limit"):
            values.append(np.asarray(outputs(system, now), float)[seen])
            spreads.append(float(_spread(system, now, self.copies)))
        work.bar.update()
        return np.stack(values), np.array(spreads)

    def start(self, run: int, labels: bool, different: tuple[int, ...] | None) -> Ensemble:
        """The limit at time zero, or what sampling does to its labels or to its copies."""
        rules = [choices[0] for choices in self.work.candidates]
        ensemble = self.work.placed(rules, self.counts, [run] * len(rules))
        rng = generator(Stream.DIFFERENCES, self.work.problem.seed, run)
        if labels:
            ensemble = ensemble.weighted(self.sampled(rng, ensemble.weights))
        ensemble = ensemble.replicated(self.copies)
        return ensemble if different is None else self.perturbed(rng, ensemble, different)

    def sampled(self, rng: np.random.Generator, weights: Sequence[Any]) -> tuple[np.ndarray, ...]:
        """Weights of neurons as samples of so many neurons have them, but for finite layers."""
        network = self.work.problem.network
        widths, finite = map(network.by_space, (self.shapes[0], network.finite_widths))
        laws = [np.asarray(p) for p in weights]
        return tuple(
            p if fixed else (p + weight_noise(rng, p, 1)[0] / math.sqrt(n)).astype(p.dtype)
            for p, n, fixed in zip(laws, widths, finite, strict=True)
        )

    def perturbed(
        self, rng: np.random.Generator, ensemble: Ensemble, shape: tuple[int, ...]
    ) -> Ensemble:
        """Copies that differ by Gaussian weights from and to their neighbouring layers.

        A weight between nodes of weights p and q stands for many: differences of variance σ²/(n p)
        make forward signals scatter by σ² E[φ²]/n. Means over the copies of a node stay.
        """
        hidden = list(ensemble.parameters.hidden)
        copies, weights = map(ensemble.by_layer, (self.copies, ensemble.weights))
        for pair, law in self.work.problem.network.independent.items():
            w, (a, b) = np.asarray(hidden[pair]), copies[pair : pair + 2]
            (p, q), (n, m) = weights[pair : pair + 2], shape[pair : pair + 2]
            last = np.moveaxis(w, (0, 1), (-2, -1)).shape  # entries of a pair, pairs
            forward = _centred(rng, last, b) / np.sqrt(n * np.asarray(p))[:, None]
            turned = _centred(rng, (*last[:-2], last[-1], last[-2]), a).swapaxes(-1, -2)
            backward = turned / np.sqrt(m * np.asarray(q))
            change = np.moveaxis(law.deviation() * (forward + backward), (-2, -1), (0, 1))
            hidden[pair] = (w + change).astype(w.dtype)
        parameters = dataclasses.replace(ensemble.parameters, hidden=tuple(hidden))
        return ensemble.at((parameters, ensemble.memory))


def _centred(rng: np.random.Generator, shape: tuple[int, ...], copies: int) -> np.ndarray:
    """Standard normals less their mean over the `copies` of each node along the last axis.

    Their variance over copies stays 1; nothing is left for nodes of one copy.
    """
    drawn = rng.normal(size=(*shape[:-1], shape[-1] // copies, copies))
    centred = drawn - drawn.mean(axis=-1, keepdims=True)
    return centred.reshape(shape) * math.sqrt(copies / max(1, copies - 1))


def _mean_square(values: np.ndarray) -> np.ndarray:
    """The mean square over observed inputs and channels (the last two axes)."""
    return (values**2).mean(axis=(-2, -1))


@eqx.filter_jit
def _spread(system: System, ensemble: Ensemble, copies: tuple[int, ...]) -> Array:
    """The mean square over data and layers of how φ(z) of copies differs from their mean."""
    total = jnp.asarray(0.0)
    layers = layer_values(system.equations, ensemble, system.batch.inputs)
    own = map(ensemble.by_layer, (ensemble.weights, copies))
    for values, weights, count in zip(layers, *own, strict=True):
        each = values.reshape(len(values), len(weights) // count, count, -1)
        kinds = weights.reshape(-1, count).sum(axis=1)
        total += system.batch.weights @ (each.var(axis=2).mean(axis=-1) @ kinds)
    return total


def _distances(samples: _Samples, width: int, times: np.ndarray) -> xr.Dataset:
    """Distances of networks of one width: what labels move falls like n^(-1/2)."""
    narrower = samples.widths[0] / width
    band = np.sqrt(samples.band.mean(axis=0) * narrower)
    band_error = replicate_half_width(samples.band) * narrower / (2 * np.where(band, band, 1.0))
    at = np.interp(np.log(width), np.log(samples.widths), np.arange(len(samples.widths)))
    departure, departure_error = (
        np.exp(_between(np.log(np.maximum(found, np.finfo(float).tiny)), at))
        for found in (samples.departure, samples.departure_error)
    )
    signal = float(np.sqrt(samples.signal.mean(axis=0)).max())
    first = samples.spread[..., :1]
    gain = _between(np.sqrt(samples.spread / np.where(first > 0, first, 1)), at)
    series = {
        "band": band, "band_error": band_error, "departure": departure,
        "departure_error": departure_error, "gain": gain.mean(axis=0),
        "gain_error": replicate_half_width(gain),
    }  # fmt: skip
    grown = np.where(series["gain"] > 0, series["gain"], np.nan)  # no rate where nothing parts
    series["growth_rate"] = np.gradient(np.log(grown), times)
    found = xr.Dataset({name: ("validity_time", v) for name, v in series.items()})
    ends = {}
    for bound, sign in (("", 0), ("_low", 1), ("_high", -1)):
        s, q = band + sign * band_error, departure + sign * departure_error
        ends[f"clt_until{bound}"] = _crossing(times, q, s)
        ends[f"describes_until{bound}"] = _crossing(times, np.hypot(s, q), LEFT * signal)
    return found.assign(left=LEFT * signal, **ends)


def _between(values: np.ndarray, at: float) -> np.ndarray:
    """Values at a place between two entries of the first axis, in a straight line."""
    low = int(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def _crossing(times: np.ndarray, values: np.ndarray, level: ArrayLike) -> float:
    """When `values` first reach `level`, exponential between times; infinite if never."""
    tiny = np.finfo(float).tiny
    above = np.log(np.maximum(values, tiny)) - np.log(np.maximum(level, tiny))
    reached = np.flatnonzero(above >= 0)
    if len(reached) == 0:
        return math.inf
    k = reached[0]
    return float(np.interp(0.0, above[k - 1 : k + 1], times[k - 1 : k + 1]) if k else times[0])
