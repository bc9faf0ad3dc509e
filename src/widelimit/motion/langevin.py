"""Noisy SGD in the limit: labels on Brownian paths, and what noise makes of other weights.

    dθ(c) = −ξ(t) (G(c) + λθ(c)) dt + √(2τξ(t)) dB_c         labels: input weights, biases, readout
    dw/dt = −ξ (G + λw),   dV/dt = −2ξλV + 2τξ                hidden-to-hidden: mean, variance

(Mei, Montanari & Nguyen 2018, §5; clock t = kε; with a scale κ all ξ are ξ/κ².) A label is initial
values and a whole path, B independent for every neuron. Noise being added, whatever the state,
Heun's method has weak order 2; its fixed steps let halved ones take the same path.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array, Float, Key, PRNGKeyArray

from widelimit.basics.errors import Diverged
from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, key
from widelimit.ensemble.dynamics import Dynamics
from widelimit.ensemble.equations import Batch, Equations
from widelimit.ensemble.layered.equations import layered
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.neurons import Ensemble, Parameters, State
from widelimit.ensemble.system import System
from widelimit.motion.flow import DIVERGENCE_CAUSE, Flow, Told, integrate, stretch_of, untold
from widelimit.motion.moments import Moment, along
from widelimit.motion.spans import Span, spans_to, within
from widelimit.problem.problem import Problem
from widelimit.problem.training.schedules import Constant, Rate

FIRST_STEP = 10.0
"""Steps are this times the root of the step tolerance, at learning rates of 1."""

VARIANCE_TOLERANCE = 1e-10
"""Step tolerance of the equation for V."""

CAUSE = (
    "the steps are too long for it (ask a smaller limit.tolerance), or it grows without bound (an "
    "unbounded activation, or initial laws with very large values)"
)


@dataclass(frozen=True)
class Diffusion:
    """Carries the neurons of a problem's limit along Brownian paths, in place of `flow.Flow`."""

    problem: Problem

    def path(
        self,
        method: diffrax.AbstractERK,
        system: System,
        tolerance: float,
        scrambles: Sequence[int],
        halved: bool = False,
        told: Told = untold,
    ) -> "BrownianPath":
        """The way of an ensemble through the observed times; `told` hears of times between them.

        Every space of neurons has the paths of its scramble; those of `halved` steps are the same.
        """
        keys = path_keys(self.problem.seed, scrambles)
        step = self.step(tolerance)
        return BrownianPath(system, self.problem.times, step, keys, int(halved), told)

    def step(self, tolerance: float) -> float:
        """The longest step: of second order, and shorter where learning rates are high."""
        chosen, depth = self.problem.training.learning_rates, self.problem.layers.depth
        rates = (chosen.input, chosen.readout, *chosen.hidden_rates(depth))
        biases = chosen.bias_rates(depth)[:-1] if self.problem.layers.biases else ()
        fastest = max(rate.highest() for rate in (*rates, *biases))
        return FIRST_STEP * math.sqrt(tolerance) / max(1.0, fastest)

    def variables(self) -> dict[str, Any]:
        """`hidden_variance` over time and pairs of layers, where there are such pairs."""
        depth = self.problem.layers.depth
        if depth == 1:
            return {}
        names = [f"hidden_{layer}" for layer in range(2, depth + 1)]
        variance = (("time", "pair"), hidden_variance(self.problem))
        return {"hidden_variance": variance, "pair": names}


def carrier_of(problem: Problem) -> Flow | Diffusion:
    """What carries the neurons of a problem's limit through time."""
    return Diffusion(problem) if problem.training.rule.noisy else Flow(problem.times)


def path_keys(seed: int, scrambles: Sequence[int]) -> Key[Array, " spaces"]:
    """A key for the Brownian paths of every index space."""
    return jnp.stack([key(Stream.BROWNIAN_PATHS, seed, *place) for place in enumerate(scrambles)])


def path_normals(
    key: PRNGKeyArray, shape: tuple[int, ...], dtype: DTypeLike, index: ArrayLike, halvings: int
) -> Array:
    """The increments of Brownian paths over a step, divided by the root of its length.

    Step `index` is one of 2^`halvings` equal parts of a base step, over which the sum of increments
    does not depend on `halvings`: they are split by Lévy's construction,
    B(middle) − B(start) = (B(end) − B(start))/2 ± √length/2 · N(0, 1).
    """
    index = jnp.asarray(index)
    own = jax.random.fold_in(key, index >> halvings)
    found, node = jax.random.normal(jax.random.fold_in(own, 0), shape, dtype), jnp.asarray(1)
    for left in reversed(range(halvings)):
        second = (index >> left) & 1
        bridge = jax.random.normal(jax.random.fold_in(own, node), shape, dtype)
        found = (found + jnp.where(second == 1, -bridge, bridge)) / math.sqrt(2)
        node = 2 * node + second
    return found


class _Place(NamedTuple):
    """Where a path is: spans passed since an observed time, steps in this one, steps before it."""

    spans: Any
    low: Any
    done: Any


@dataclass(frozen=True)
class BrownianPath:
    """An ensemble through the increasing `times` from time 0, in steps of at most `step`.

    `halvings` halves all steps so many times, on the same paths; `told` hears of times reached.
    """

    system: System
    times: np.ndarray
    step: float
    keys: Key[Array, " spaces"]
    halvings: int = 0
    told: Told = untold

    def first(self, start: Ensemble) -> Moment:
        """The moment before anything has moved."""
        return Moment(start, 0, _Place(0, 0, 0))

    def onward(self, moment: Moment) -> Iterator[Moment]:
        """The moments after this one, at most `STRETCH` steps apart. Raises `Diverged`."""
        dtype = moment.ensemble.weights[0].dtype
        return along(list(spans_to(self.times, self.system.dynamics, dtype)), self._across, moment)

    def _across(self, span: Span, moment: Moment) -> Iterator[Moment]:
        """Moments on the way to the end of a span, the last one there."""
        ensemble, observed, (passed, begun, done) = moment
        begin, length = float(span.start), float(span.stop) - float(span.start)
        count = math.ceil(length / self.step)
        stretch = stretch_of(self.system, ensemble)  # how steps are cut changes no number
        for low in range(int(begun), count, stretch):
            high = min(low + stretch, count)
            counts = (int(done), count, low, high)
            ensemble, finite = _advance(
                self.system.equations,
                self.system.dynamics,
                self.system.batch,
                ensemble,
                self.keys,
                span,
                _Steps(*(jnp.asarray(k << self.halvings) for k in counts)),
                self.halvings,
            )
            self.told(begin + length * high / count)
            if not finite:
                raise Diverged("the limit", begin + length * low / count, CAUSE)
            over = high == count
            place = _Place(passed + 1, 0, done + count) if over else _Place(passed, high, done)
            yield Moment(ensemble, observed, place)


class _Steps(NamedTuple):
    """Steps `low` … `high` of the `whole` number of a span; its first is number `first` of all."""

    first: Array
    whole: Array
    low: Array
    high: Array


@eqx.filter_jit
def _advance(
    equations: Equations,
    dynamics: Dynamics,
    batch: Batch,
    ensemble: Ensemble,
    keys: Key[Array, " spaces"],
    span: Span,
    steps: _Steps,
    halvings: int,
) -> tuple[Ensemble, Array]:
    """Some steps of Heun's method, and whether they ended in finite numbers."""
    size = (span.stop - span.start) / steps.whole

    def moved(state: State, speed: State, length: Array, kicks: Parameters) -> State:
        theta = jax.tree.map(lambda own, v: own + length * v, state, speed)
        return jax.tree.map(jnp.add, theta[0], kicks), theta[1]

    def move(k: Array, state: State) -> State:
        time = span.start + k * size
        now, then = within(span, time), within(span, time + size)
        ends = [dynamics.rates_at(equations, t) for t in (now, then)]
        rates = jax.tree.map(lambda a, b: (a + b) / 2, *ends)
        kicks = dynamics.kicks(
            rates, size, _label_normals(ensemble, keys, steps.first + k, halvings)
        )
        here = dynamics.velocity(equations, ensemble.at(state), batch, now)
        ahead = ensemble.at(moved(state, here, size, kicks))
        there = dynamics.velocity(equations, ahead, batch, then)
        mean = jax.tree.map(lambda a, b: (a + b) / 2, here, there)
        return moved(state, mean, size, kicks)

    start = jax.tree.map(jnp.asarray, ensemble.state)
    end = jax.lax.fori_loop(steps.low, steps.high, move, start)
    finite = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(end)]
    return ensemble.at(end), jnp.all(jnp.stack(finite))


def _label_normals(
    ensemble: Ensemble, keys: Key[Array, " spaces"], index: Array, halvings: int
) -> Parameters:
    """`path_normals` of all labels; hidden-to-hidden weights move by their mean, without noise."""
    theta = layered(ensemble)
    layers = ensemble.by_layer(list(keys))

    def of(layer: int, kind: int, like: Any) -> Array:
        key = jax.random.fold_in(layers[layer], kind)
        return path_normals(key, like.shape, like.dtype, index, halvings)

    still = jnp.zeros((), theta.input.dtype)
    biases = theta.biases
    return LayerParameters(
        input=of(0, 0, theta.input),
        hidden=(still,) * len(theta.hidden),
        readout=of(-1, 1, theta.readout),
        biases=None if biases is None else tuple(of(k, 2 + k, b) for k, b in enumerate(biases)),
        output_bias=None if theta.output_bias is None else still,
    )


def hidden_variance(problem: Problem) -> Float[np.ndarray, "time pair"]:
    """The variance of hidden-to-hidden weights given the labels, at the observed times.

    It starts at that of the initial law (0 for embeddings) and follows
    dV/dt = −2ξλV + 2τξ: (initial variance) · e^(−2∫ξλ) plus that of the noise.
    """
    training, depth = problem.training, problem.layers.depth
    decay = training.weight_decay
    decays = (Constant(value=0.0),) * (depth - 1) if decay is None else decay.hidden_rates(depth)
    rates, found = training.learning_rates.hidden_rates(depth), []
    with in_precision("float64"):
        for pair, schedules in enumerate(zip(rates, decays, strict=True)):
            law = problem.layers.independent.get(pair)
            start = 0.0 if law is None else law.deviation() ** 2
            xi, lam = (Rate.of(schedule, jnp.float64) for schedule in schedules)
            found.append(_variance(problem, xi, lam, start))
    return np.stack(found, axis=1)


def _variance(problem: Problem, xi: Rate, lam: Rate, start: float) -> np.ndarray:
    """V at the observed times."""
    heat, factor = problem.training.temperature, 2 / problem.layers.scale**2
    now, found = jnp.asarray(start, float), []
    for spans in spans_to(problem.times, (xi, lam), float):
        for span in spans:
            now, completed = _variance_after(span, now, xi, lam, heat, factor)
            if not completed:
                raise Diverged("hidden_variance", float(span.start), DIVERGENCE_CAUSE)
        found.append(now)
    return np.asarray(found)


@eqx.filter_jit
def _variance_after(
    span: Span, start: Array, xi: Rate, lam: Rate, heat: float, factor: float
) -> tuple[Array, Array]:
    """V at the end of a span, and whether it got there."""
    controller = diffrax.PIDController(VARIANCE_TOLERANCE, VARIANCE_TOLERANCE)

    def field(t: Any, v: Array) -> Array:
        return factor * xi.at(t) * (heat - lam.at(t) * v)

    first_step = (span.stop - span.start) / 100
    end, _, completed = integrate(field, diffrax.Tsit5(), span, first_step, start, controller)
    return end, completed
