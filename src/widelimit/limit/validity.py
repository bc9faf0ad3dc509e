"""Until when the limit describes networks of a width: what grows out of what it leaves out.

Networks differ from the limit by the labels that their neurons happen to have (equations.md §4),
and by their weights between hidden layers, of which the limit keeps the mean alone: neurons that
are alike in the limit receive slightly different signals. Such differences can grow, and then
networks leave the limit after a time that grows like ln n (equations.md §6). Networks whose like
neurons are held in `bundles` are carried along with the limit, with and without these weights,

    band s_n:       RMS of f(labels) − f,   departure d_n: RMS of f(labels, weights) − f(labels),
    distance r_n:   RMS of f(labels, weights) − f,
    t_CLT(n):       d_n = s_n,              t*(n): r_n = ½ · largest RMS output,

the root of the mean square over observed outputs and draws of networks. Both parts move together:
networks that have begun to leave do not scatter by labels as the limit would.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from scipy.special import stdtrit

from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.advice import refuse_kinks
from widelimit.ensemble.collapse import random_layers
from widelimit.ensemble.layered.bundles import Bundles, labelled, told_apart
from widelimit.ensemble.layered.equations import Layered
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, outputs
from widelimit.motion.engine import Engine, Steps, engine
from widelimit.nodes.design import Design
from widelimit.nodes.points import Numbers
from widelimit.nodes.reduction import reduced
from widelimit.problem.problem import Problem
from widelimit.problem.settings import ObserveSettings
from widelimit.results.validity import Validity

COPIES = 64
"""A layer's bundles together are held as at least so many neurons, each as two or more."""

DRAWS = 8
"""So many independent nodes, and networks on them, tell distances and their errors."""

FINER = 4
"""Nodes are so many times those that rules start with: networks sample their labels from them."""

SCALES = 3
"""At most so many widths have networks of their own; between them distances are interpolated
(a straight line in logarithms)."""

TIMES = 49
"""Equally spaced times at which distances are known; between them they grow exponentially."""

STEPS = Steps(1e-5)
"""How time is stepped: far finer than draws scatter."""

LEFT = 0.5
"""A network has left when its outputs are off by this share of the limit's largest outputs."""

SILENT = 1e-3
"""Outputs below this share of the targets are nothing to measure by: the targets are then."""

LEAST = float(np.finfo(float).tiny)
"""Mean squares below this are 0."""

WIDTHS = (64, 256, 1024, 4096)
"""Widths that are looked at where the problem names none."""


def predict_validity(
    problem: Problem,
    widths: Sequence[int | Sequence[int]] | None = None,
    *,
    progress: bool | None = None,
) -> Validity:
    """Until when the limit of `problem` describes networks of the given widths.

    Widths are those of `problem.networks` (if it has none, `WIDTHS`) unless they are given.
    Networks follow the flow, whatever the problem's method. A whole population is represented by
    nodes of its law, other ones in every draw. Where the limit's outputs stay 0 the
    targets tell what is large; where they are 0 too, times are NaN. Raises `Diverged`, and
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
    problem.require_solved("networks approach it, and how far they are off is in it: scatter, bias")
    problem.require_noiseless("noise keeps like neurons apart, and its part is not derived")
    if widths is None and problem.networks is None:
        widths = WIDTHS
    if widths is not None:
        problem = problem.with_changes(networks={"widths": list(widths)})
    refuse_kinks(problem)
    seen = reduced(problem, looks=1)
    rows = tuple(map(tuple, seen.observed_inputs.tolist()))
    asked = seen.model_copy(update={"observe": ObserveSettings(times=TIMES, inputs=rows)})
    assert problem.networks is not None
    shapes = problem.networks.layer_widths(problem.network)
    with engine(asked, "validity", progress) as work:
        found = _by_proportion(work, shapes)
    found["widths"] = (("width", "layer"), [list(shape) for shape in shapes])
    found["width"] = [problem.network.growing_width(shape) for shape in shapes]
    return Validity(problem, found)


def _by_proportion(work: Engine, shapes: Sequence[tuple[int, ...]]) -> xr.Dataset:
    """The distances of all widths; those between widths of like proportions are interpolated."""
    alike: dict[tuple[float, ...], list[tuple[int, ...]]] = {}
    for shape in sorted(shapes):
        alike.setdefault(tuple(n / shape[0] for n in shape), []).append(shape)
    found = {}
    for own in alike.values():
        samples = _Networks.of(work, _scales(own)).samples()
        found |= {shape: _distances(samples, shape[0], work.problem.times) for shape in own}
    joined = xr.concat([found[shape] for shape in shapes], "width", data_vars="all")
    assert isinstance(joined, xr.Dataset)
    return joined.assign_coords(validity_time=work.problem.times)


def _scales(shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Of increasing shapes the first, the last, and some between them."""
    places = np.linspace(0, len(shapes) - 1, min(SCALES, len(shapes)))
    return [shapes[place] for place in places.round().astype(int)]


class _Run(NamedTuple):
    """One integration: outputs `(time, input, channel)`, and how much like neurons differ."""

    values: np.ndarray
    spread: np.ndarray


@dataclass(frozen=True)
class _Samples:
    """What draws have shown of networks of like proportions, `widths` being those integrated.

    Mean squares over observed outputs `(scale, draw, time)`: what labels move, what weights move
    beside them, both together; that of like neurons' differences. `scale` is what outputs are
    measured by.
    """

    widths: np.ndarray
    band: np.ndarray
    departure: np.ndarray
    distance: np.ndarray
    spread: np.ndarray
    scale: float


@dataclass(frozen=True)
class _Networks:
    """Networks of the widths `shapes`, their like neurons held in bundles."""

    work: Engine
    shapes: Sequence[tuple[int, ...]]
    design: Design
    copies: tuple[int, ...]

    @classmethod
    def of(cls, work: Engine, shapes: Sequence[tuple[int, ...]]) -> "_Networks":
        """Copies in each space that weights without labels reach: two of each node, or more."""
        first, network = work.first_design(), work.problem.network
        reached = {network.spaces[layer] for layer in random_layers(network)}
        finer = [
            FINER * count if place in first.random and place < work.layers else count
            for place, count in enumerate(first.counts)
        ]
        design = first.with_counts(finer)
        copies = tuple(
            max(2, math.ceil(COPIES / size)) if space in reached else 1
            for space, size in enumerate(design.sizes[: work.layers])
        )
        return cls(work, shapes, design, copies)

    def samples(self) -> _Samples:
        """In each draw the limit, and for each width its labels, alone and with its weights."""
        self.work.progress.expect(DRAWS * (1 + 2 * len(self.shapes)))
        limits = [self.limit(draw) for draw in range(DRAWS)]
        base = np.stack([run.values for run in self.runs(limits)])
        found: list[tuple[np.ndarray, ...]] = []
        for shape in self.shapes:
            bundles = [self.bundles(draw, shape, own) for draw, own in enumerate(limits)]
            starts = [labelled(*pair) for pair in zip(limits, bundles, strict=True)]
            alone = whole = self.runs(starts)
            if random_layers(self.work.problem.network):
                pairs = enumerate(zip(starts, bundles, strict=True))
                apart = [self.apart(draw, *pair) for draw, pair in pairs]
                whole = self.runs(apart, [[own.nodes for own in each] for each in bundles])
            labels, both = (np.stack([run.values for run in runs]) for runs in (alone, whole))
            squares = ((d**2).mean((-2, -1)) for d in (labels - base, both - labels, both - base))
            found.append((*squares, np.stack([run.spread for run in whole])))
        widths = np.array([shape[0] for shape in self.shapes])
        return _Samples(widths, *map(np.stack, zip(*found, strict=True)), scale=self.scale(base))

    def runs(
        self, starts: Sequence[Ensemble], nodes: Sequence[Sequence[np.ndarray]] | None = None
    ) -> list[_Run]:
        """Integrations of all draws side by side; `nodes` tell which neurons are alike."""
        entries = list(zip(range(DRAWS), starts, nodes or [None] * DRAWS, strict=True))
        sizes = (*starts[0].sizes, *self.work.sizes(self.design)[self.work.layers :])
        return self.work.side_by_side(sizes, STEPS, self.run, entries)

    def run(self, entry: tuple[int, Ensemble, Sequence[np.ndarray] | None]) -> _Run:
        """Observed outputs over time, and how much neurons at one node differ."""
        draw, start, nodes = entry

        def look(system: System, now: Ensemble, _: float) -> _Run:
            values = np.asarray(outputs(system, now), float)[system.view("observed")]
            apart = 0.0 if nodes is None else float(_spread(system, now, tuple(nodes)))
            return _Run(values, np.asarray(apart))

        return self.work.run(self.design.replicate(draw), STEPS, look, start).seen

    def limit(self, draw: int) -> Ensemble:
        """The limit at time zero on one scramble of its nodes."""
        return self.work.placed(self.design.replicate(draw))

    def bundles(self, draw: int, shape: tuple[int, ...], limit: Ensemble) -> list[Bundles]:
        """The neurons of one network of this shape; those of finite layers are the limit's own."""
        network = self.work.problem.network
        widths, finite = map(network.by_space, (shape, network.finite_widths))
        rng = generator(Stream.SAMPLED_LABELS, self.work.problem.seed, draw, *shape)
        return [
            Bundles.sampled(rng, np.asarray(p), n, copies)
            if fixed is None
            else Bundles.whole(np.asarray(p))
            for p, n, fixed, copies in zip(limit.weights, widths, finite, self.copies, strict=True)
        ]

    def apart(self, draw: int, labels: Ensemble, bundles: Sequence[Bundles]) -> Ensemble:
        """The network of these neurons, its weights between hidden layers drawn."""
        sizes = [len(own.nodes) for own in bundles]
        rng = generator(Stream.DIFFERENCES, self.work.problem.seed, draw, *sizes)
        return told_apart(rng, self.work.problem.layers, labels, bundles)

    def scale(self, base: np.ndarray) -> float:
        """What outputs are measured by: the limit's largest RMS, that of the targets if it is 0."""
        data = self.work.problem.dataset
        own = float(np.sqrt((base.mean(axis=0) ** 2).mean(axis=(-2, -1))).max())
        targets = float(np.sqrt(data.weights @ (data.targets**2).mean(axis=1)))
        return own if own > SILENT * targets else targets or math.nan


@eqx.filter_jit
def _spread(system: System, ensemble: Ensemble, nodes: tuple[Numbers, ...]) -> Array:
    """The mean square over data and layers of how φ(z) of like neurons differs from their mean."""
    total = jnp.asarray(0.0)
    assert isinstance(system.equations, Layered)
    layers = system.equations.layer_values(ensemble, system.batch.inputs)
    own = map(ensemble.by_layer, (ensemble.weights, nodes))
    for values, weights, alike in zip(layers, *own, strict=True):
        kinds, by_neuron = len(weights), jnp.moveaxis(values, 1, 0)

        def summed(each: Array, alike: Array = alike, kinds: int = kinds) -> Array:
            return jax.ops.segment_sum(each, alike, kinds)

        p = weights.reshape(-1, *[1] * (by_neuron.ndim - 1))
        mass = summed(p)
        mean = summed(p * by_neuron) / jnp.where(mass > 0, mass, 1.0)
        square = (p * (by_neuron - mean[alike]) ** 2).sum(axis=0)
        total += system.batch.weights @ square.reshape(len(square), -1).mean(axis=-1)
    return total


def _distances(samples: _Samples, width: int, times: np.ndarray) -> xr.Dataset:
    """Distances of networks of one width, and when they reach what is large."""
    at = np.interp(np.log(width), np.log(samples.widths), np.arange(len(samples.widths)))
    logs = {
        name: _Logarithm.of(getattr(samples, name)).between(float(at))
        for name in ("band", "departure", "distance", "spread")
    }
    series = {}
    for name in ("band", "departure", "distance"):
        series[name], series[f"{name}_error"] = logs[name].root()
    gain = logs["spread"].minus(logs["spread"].first())
    series["gain"], series["gain_error"] = gain.root()
    if not samples.spread.any():  # no two neurons are alike
        series["gain"] = series["gain_error"] = np.full(len(times), np.nan)
    series["growth_rate"] = np.gradient(0.5 * gain.value, times) + 0 * series["gain"]
    found = xr.Dataset({name: ("validity_time", v) for name, v in series.items()})
    left = LEFT * samples.scale
    ends = logs["departure"].minus(logs["band"]).reaches("clt_until", 0.0, times)
    ends |= logs["distance"].reaches("describes_until", 2 * math.log(left), times)
    return found.assign({"left": left, **ends})


@dataclass(frozen=True)
class _Logarithm:
    """The logarithm of a mean over draws, and those of the means without one: `(draw, …)`."""

    value: np.ndarray
    without: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray) -> "_Logarithm":
        """From positive numbers `(scale, draw, time)`; 0 stands as the smallest number."""
        total, draws = values.sum(axis=1), values.shape[1]
        without = (total - np.moveaxis(values, 1, 0)) / (draws - 1)
        return cls(*(np.log(np.maximum(each, LEAST)) for each in (total / draws, without)))

    def between(self, at: float) -> "_Logarithm":
        """At a place between two scales, in a straight line."""
        low = int(at)
        high, share = min(low + 1, len(self.value) - 1), at - low
        return _Logarithm(
            *(
                (1 - share) * each[..., low, :] + share * each[..., high, :]
                for each in (self.value, self.without)
            )
        )

    def first(self) -> "_Logarithm":
        """That at time zero."""
        return _Logarithm(self.value[..., :1], self.without[..., :1])

    def minus(self, other: "_Logarithm") -> "_Logarithm":
        """The logarithm of a quotient."""
        return _Logarithm(self.value - other.value, self.without - other.without)

    @property
    def half_width(self) -> np.ndarray:
        """Of the 95 % interval: the jackknife's standard error, Student's t."""
        draws = len(self.without)
        scatter = ((self.without - self.without.mean(axis=0)) ** 2).sum(axis=0)
        return stdtrit(draws - 1, 0.975) * np.sqrt((draws - 1) / draws * scatter)

    def root(self) -> tuple[np.ndarray, np.ndarray]:
        """The root of the number itself, and its half-width."""
        size = np.where(self.value > math.log(LEAST), np.exp(0.5 * self.value), 0.0)
        return size, 0.5 * size * self.half_width

    def reaches(self, name: str, level: float, times: np.ndarray) -> dict[str, float]:
        """When it first reaches a level, with the times at which its bounds do."""
        over = self.value - level
        return {
            f"{name}{bound}": _crossing(times, over + sign * self.half_width)
            for bound, sign in (("", 0), ("_low", 1), ("_high", -1))
        }


def _crossing(times: np.ndarray, above: np.ndarray) -> float:
    """When `above` first exceeds 0, linear between times; infinite if never, NaN if unknown."""
    if np.isnan(above).any():
        return math.nan
    reached = np.flatnonzero(above > 0)
    if len(reached) == 0:
        return math.inf
    k = reached[0]
    return float(np.interp(0.0, above[k - 1 : k + 1], times[k - 1 : k + 1]) if k else times[0])
