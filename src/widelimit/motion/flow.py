"""Particle gradient flow: an ensemble carried through mean-field time.

    dθ/dt = −ξ(t) G(θ, ensemble),  the limit ε → 0 of SGD with clock t = k ε (`learning_rules`)

It serves limits and networks alike; only the ensemble differs. Time stepping is diffrax's.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from widelimit.basics.errors import Diverged
from widelimit.ensemble.dynamics import Dynamics
from widelimit.ensemble.equations import Batch, Equations
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.motion.control import Control
from widelimit.motion.moments import Moment, along
from widelimit.motion.spans import Span, spans_to, within

MAX_STEPS = 100_000
"""Most steps between two observed times."""

STRETCH, FEWEST = 128, 4
"""Most and fewest steps of the flow in one compiled call: between two it is told how far it has
come, and may be left."""

STRETCH_FLOPS = 2e12
"""A call is not to take much more work than this: half a minute of two cores."""

FLOPS_EACH = 30
"""A step takes about so many operations for each parameter and data point."""

STIFF = 2_000_000
"""Most steps of the flow between two observed times, hours of the smallest limits."""

LOOSE = 1e-4
"""From this step tolerance on a third-order method is cheaper than a fifth-order one (digits, two
hidden layers, where stability limits the step: 0.92 s against 1.49 s at the same error)."""

COPIES = {diffrax.Heun: 8, diffrax.Bosh3: 12, diffrax.Tsit5: 15}
"""How many times the parameters are held while a method steps: measured peaks of memory with
200,000 neurons of one layer (8.3, 11.6, 14.4), the values at the data points included."""

DIVERGENCE_CAUSE = (
    "the flow grows without bound (an unbounded activation, or initial laws with very large "
    "values); reduce the laws' size or the horizon"
)

STIFF_CAUSE = (
    f"it took {STIFF:,} steps between two observed times: the flow is stiff, because inputs, "
    "targets or initial laws are large; divide inputs and targets by their size, or reduce the "
    "horizon"
)


def method_for(
    tolerance: float, fits: Callable[[int], bool] = lambda copies: True
) -> diffrax.AbstractERK:
    """The Runge–Kutta method that reaches a step tolerance at the least cost.

    `fits` tells whether so many copies of the parameters can be held: if the best method cannot,
    Heun's, which holds fewest, is taken.
    """
    best = diffrax.Bosh3() if tolerance >= LOOSE else diffrax.Tsit5()
    return best if fits(COPIES[type(best)]) else diffrax.Heun()


def integrate(
    field: Callable[[Any, Any], Any],
    method: diffrax.AbstractERK,
    span: Span,
    first_step: Array,
    state: Any,
    controller: diffrax.AbstractAdaptiveStepSizeController,
    times: Array | None = None,
) -> tuple[Any, Array, Array]:
    """A state carried over a span of time by `field(t, state)`.

    Where it ends (or is at `times`), how many steps it took, and whether it went well: an
    integration that cannot go on is told, not raised, so that it can be batched. The field is
    evaluated at times of the span alone, which ends before what begins at its end.
    """
    saved = diffrax.SaveAt(t1=True) if times is None else diffrax.SaveAt(ts=times)
    solution = _solution(field, method, span, first_step, state, controller, saved, MAX_STEPS)
    end = jax.tree.map(lambda leaf: leaf[-1], solution.ys)
    completed = (solution.result == diffrax.RESULTS.successful) & _finite(end)
    found = end if times is None else solution.ys
    return found, solution.stats["num_accepted_steps"], completed


def _solution(
    field: Callable[[Any, Any], Any],
    method: diffrax.AbstractERK,
    span: Span,
    first_step: Array,
    state: Any,
    controller: diffrax.AbstractAdaptiveStepSizeController,
    saved: diffrax.SaveAt,
    most: int,
) -> diffrax.Solution:
    """What diffrax makes of it in at most so many steps."""
    return diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, now, _: field(within(span, t), now)), method, *span,
        first_step, state,
        stepsize_controller=controller, max_steps=most, throw=False, saveat=saved,
    )  # fmt: skip


def _finite(state: Any) -> Array:
    """Whether a state is made of finite numbers."""
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(state)]))


class Advance(eqx.Module):
    """The outcome of one piece of integration: where and when it ended, and how."""

    ensemble: Ensemble
    time: Array
    steps: Array
    completed: Array
    """Whether it may go on: it came to its end, or has only used up its steps."""


def advance(
    solver: diffrax.AbstractERK,
    equations: Equations,
    dynamics: Dynamics,
    batch: Batch,
    ensemble: Ensemble,
    start: Array,
    stop: Array,
    first_step: Array,
    tolerance: Array,
    stretch: int,
) -> Advance:
    """Integrate from `start` towards `stop` with relative and absolute step error `tolerance`.

    It ends after `stretch` steps at the latest.
    """

    # The state is the bare list of arrays: diffrax's loop mistakes the empty tuple of
    # hidden-to-hidden weights at depth 1 for a leaf.
    state, layout = jax.tree.flatten(ensemble.state)

    def field(t: Any, state: list[Array]) -> list[Array]:
        now = ensemble.at(jax.tree.unflatten(layout, state))
        return jax.tree.leaves(dynamics.velocity(equations, now, batch, t))

    shapes = None
    if ensemble.counted is not None:
        shapes = [leaf.shape for leaf in jax.tree.leaves(ensemble.unfilled().state)]
    controller = Control.of(tolerance, shapes)
    span, saved = Span(start, stop), diffrax.SaveAt(t1=True)
    found = _solution(field, solver, span, first_step, state, controller, saved, stretch)
    assert found.ts is not None
    end, time = jax.tree.map(lambda leaf: leaf[-1], found.ys), found.ts[-1]
    # A stretch of no length that another of the batch waits for is at its end.
    moved = (time > start) | (start == stop)
    whole = found.result == diffrax.RESULTS.successful
    cut = found.result == diffrax.RESULTS.max_steps_reached
    reached = ensemble.at(jax.tree.unflatten(layout, end))
    steps = found.stats["num_accepted_steps"]
    return Advance(reached, time, steps, (whole | cut) & _finite(end) & moved)


advance_one = eqx.filter_jit(advance)
advance_many = eqx.filter_jit(
    eqx.filter_vmap(advance, in_axes=(None, None, None, None, 0, 0, None, 0, None, None))
)
"""`advance` for a batch of ensembles, each with steps of its own."""


Told = Callable[[float], None]
"""Hears of the times that an integration has reached."""


def untold(time: float) -> None:
    """Nobody listens."""


class _Place(NamedTuple):
    """Where a flow is between two observed times: spans passed, times reached, the next steps."""

    spans: Any
    reached: Any
    first_step: Any


@dataclass(frozen=True)
class FlowPath:
    """The flow of an ensemble, or of a batch of them, through the increasing `times` from time 0.

    `step` is `advance_one` or `advance_many`, `solver` diffrax's method. Steps end at the
    observed times, so outputs there carry no interpolation error, and where schedules stop;
    `halved` halves the spans between. `told` hears of times reached, the least of a batch's.
    """

    step: Callable[..., Advance]
    solver: diffrax.AbstractERK
    system: System
    times: np.ndarray
    tolerance: float
    what: str
    halved: bool = False
    told: Told = untold

    def first(self, start: Ensemble) -> Moment:
        """The moment before anything has moved."""
        shape, dtype = start.weights[0].shape[:-1], start.weights[0].dtype
        first_step = np.full(shape, min(1e-2, self.times[-1] / 10 or 1e-2))
        return Moment(start, 0, _Place(0, np.zeros(shape, dtype), first_step))

    def onward(self, moment: Moment) -> Iterator[Moment]:
        """The moments after this one, at most `STRETCH` steps apart. Raises `Diverged`."""
        dtype = moment.ensemble.weights[0].dtype
        legs = list(spans_to(self.times, self.system.dynamics, dtype, self.halved))
        return along(legs, self._across, moment)

    def _across(self, span: Span, moment: Moment) -> Iterator[Moment]:
        """Moments on the way to the end of a span, the last one there."""
        now, observed, (passed, reached, first_step) = moment
        begin, stop = np.asarray(span.start), float(span.stop)
        start, stretch = np.maximum(reached, begin), stretch_of(self.system, now)
        dtype = start.dtype
        for _ in range(STIFF // stretch):
            left = np.where(start < stop, stop - np.asarray(start, float), first_step)
            result = self.step(
                self.solver, self.system.equations, self.system.dynamics, self.system.batch, now,
                start, span.stop, np.asarray(np.minimum(first_step, left), dtype),
                np.asarray(self.tolerance, dtype), stretch,
            )  # fmt: skip
            reached, steps = np.asarray(result.time), np.asarray(result.steps)
            self.told(float(reached.min()))
            if not np.asarray(result.completed).all():
                raise Diverged(self.what, float(reached.min()), DIVERGENCE_CAUSE)
            mean = (np.asarray(reached, float) - start) / np.maximum(steps, 1)
            first_step, start = np.where(steps > 0, mean, first_step), reached
            now = result.ensemble
            if over := bool(reached.min() >= stop):
                passed = passed + 1
            yield Moment(now, observed, _Place(passed, reached, first_step))
            if over:
                return
        raise Diverged(self.what, float(start.min()), STIFF_CAUSE)


def stretch_of(system: System, ensemble: Ensemble) -> int:
    """Steps in one compiled call: fewer where a step takes long, so that moments are not rare."""
    held = sum(leaf.size for leaf in jax.tree.leaves(ensemble.parameters))
    work = FLOPS_EACH * held * len(system.batch.inputs)
    return int(np.clip(STRETCH_FLOPS // work, FEWEST, STRETCH))


@dataclass(frozen=True)
class Flow:
    """Carries the nodes of a limit to the observed `times`; with noise `langevin` has another."""

    times: np.ndarray

    def path(
        self,
        method: diffrax.AbstractERK,
        system: System,
        tolerance: float,
        scrambles: Sequence[int],
        halved: bool = False,
        told: Told = untold,
    ) -> FlowPath:
        """The way of an ensemble through the observed times; `told` hears of times between them.

        `halved` asks for steps half as long: a stricter tolerance, and a stop between any two.
        `scrambles` are those of the nodes; nothing else is random here.
        """
        if halved:
            order = method.order(None)
            assert order is not None
            double = system.inputs.dtype == np.float64
            tolerance = max(tolerance / 2**order, 1e-12 if double else 2e-6)
        times, what = self.times, "the limit"
        return FlowPath(advance_one, method, system, times, tolerance, what, halved, told)

    def variables(self) -> dict[str, Any]:
        """What else is known of the limit."""
        return {}
