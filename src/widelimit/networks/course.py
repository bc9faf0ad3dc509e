"""A batch of sampled networks carried through training, with their outputs at the observed times.

Networks of one shape are trained together. A network may be the union of several parts: then it
reads the data streams of its parts in turn, with steps that are shorter by their number, so that
the part of its error that comes from the step shrinks with the width.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PRNGKeyArray

from widelimit.basics.errors import Diverged
from widelimit.basics.progress import Piece
from widelimit.basics.store import Entry, Store
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, outputs
from widelimit.motion.descent import descend
from widelimit.motion.draws import BLOCK, Draws, Fresh, Sampling
from widelimit.motion.flow import FlowPath, advance_many, method_for
from widelimit.motion.moments import Moment, Way, seen_along
from widelimit.problem.problem import Problem
from widelimit.problem.settings import NetworkSettings

GROUP_BYTES = 2**26
"""Networks are trained together while their parameters fit into this."""

VALUES = 2**26
"""Most values of neurons, of all networks trained together, while outputs are computed."""

FIRST_STEPS = 16
"""Steps of the first block; the next ones are as long as all before, up to `BLOCK`."""

LONGEST = 10.0
"""Seconds that a block of steps may take: blocks become shorter where it takes more."""

FLOW_TOLERANCE = {"float64": 1e-8, "float32": 1e-4}
"""Step tolerance of `method = "flow"`: far below the spread between networks."""

OVERSHOOT = (
    "the step ε = {step:.3g} is too large for this problem, or an unbounded activation lets the "
    "state run away; use a smaller networks.step, wider networks with step = '1/width', or "
    "smaller learning rates"
)


def network_keys(
    root: PRNGKeyArray, widths: tuple[int, ...], count: int, first: int = 0
) -> Key[Array, " count"]:
    """One key a network: fold_in of the root with n_1, …, n_L and the network's number.

    Numbers go from `first` on. The root of networks is the key of the problem's seed (a promise of
    the problem file).
    """
    for width in widths:
        root = jax.random.fold_in(root, width)
    numbers = jnp.arange(count) + first
    return jax.vmap(lambda number: jax.random.fold_in(root, number))(numbers)


def in_groups(keys: Key[Array, " count"], bytes_each: int) -> list[Key[Array, " group"]]:
    """The keys in groups of one size, hence one compilation, that fit into `GROUP_BYTES`.

    The last group is filled up with the first keys.
    """
    count = len(keys)
    groups = math.ceil(count / max(1, min(count, GROUP_BYTES // bytes_each)))
    size = math.ceil(count / groups)
    padded = jnp.concatenate([keys, keys[: groups * size - count]])
    return [padded[group * size : (group + 1) * size] for group in range(groups)]


@dataclass(frozen=True)
class Course:
    """How networks that are unions of `parts` networks of `widths` are trained.

    The method is that of `problem.networks`; SGD and gradient descent take steps of ε/parts, ε
    being the step of one part. `precision` is "float64" or "float32", that of `system`. `tolerance`
    is that of the flow's steps (None: what `FLOW_TOLERANCE` has).
    """

    problem: Problem
    system: System
    widths: tuple[int, ...]
    precision: str
    parts: int = 1
    tolerance: float | None = None

    @property
    def step(self) -> float:
        """The step of SGD and gradient descent."""
        return self.settings.step_size(self.problem.network, self.widths) / self.parts

    def steps_to(self, time: float) -> int:
        """How many steps of SGD or gradient descent lead to an observed time."""
        return self.parts * round(time / (self.parts * self.step))

    @property
    def flow_tolerance(self) -> float:
        """The step tolerance of `method = "flow"`."""
        return self.tolerance or FLOW_TOLERANCE[self.precision]

    @property
    def settings(self) -> NetworkSettings:
        """The problem's `[networks]`."""
        assert self.problem.networks is not None
        return self.problem.networks

    @property
    def called(self) -> str:
        """What the networks are called in messages."""
        width = self.parts * self.problem.network.growing_width(self.widths)
        return f"a network of width {width}"

    def run(
        self,
        initial: Ensemble,
        data_keys: Key[Array, "seeds parts"],
        piece: Piece,
        look: Callable[[Ensemble, np.ndarray, float], Any],
    ) -> list[Any]:
        """What is seen of the networks at every observed time.

        `look` gets the networks, their outputs `(seed, point, channel)` at all inputs of the
        system, and the time. The state at time t is that of step `parts · round(t / (parts ·
        step))`. Raises `Diverged` if an output stops being finite.
        """
        held = initial.weights[0].shape[0] * sum(initial.sizes)
        initial = self.system.dynamics.started(initial)
        looked = self.system.in_pieces(max(1, VALUES // held))

        def seen(ensembles: Ensemble, time: float) -> Any:
            found = np.asarray(_many_outputs(looked, ensembles))
            if not np.isfinite(found).all():
                raise Diverged(self.called, time, OVERSHOOT.format(step=self.step))
            return look(ensembles, found, time)

        entry = self._entry(look.__qualname__, initial, data_keys)
        times = self.problem.times
        found = entry.found(lambda: [seen(initial, float(times[0]))] * len(times))
        if found is None:
            found = seen_along(self.way(data_keys, piece), initial, times, seen, entry)
            entry.done(found)
        piece.at(1.0, f"t = {times[-1]:.3g}")
        return found

    def _entry(self, look: str, initial: Ensemble, data_keys: Key[Array, "seeds parts"]) -> Entry:
        """Where what is seen of these networks is kept."""
        store, system = Store.here(), self.system
        if store.folder is None:
            return store.entry()
        law = ("data",) if self.problem.population is not None else ()
        identity = self.problem.identity("network", "training", "observe", *law)
        settings = self.settings.model_dump_json(exclude={"widths", "seeds"})
        drawn = jax.random.key_data(data_keys)
        data = (system.inputs, system.batch)
        way = self.step, self.parts, self.flow_tolerance
        return store.entry(identity, settings, look, *way, initial, drawn, data)

    def way(self, data_keys: Key[Array, "seeds parts"], piece: Piece) -> Way:
        """How networks with these keys go through the observed times."""
        by_flow = self.settings.method == "flow"
        return self._flow(piece) if by_flow else self._descent(data_keys, piece)

    def _flow(self, piece: Piece) -> FlowPath:
        tolerance, times = self.flow_tolerance, self.problem.times

        def told(now: float) -> None:
            piece.at(now / times[-1] if times[-1] > 0 else 0.0, f"t = {now:.3g} of {times[-1]:.3g}")

        solver = method_for(tolerance)
        return FlowPath(advance_many, solver, self.system, times, tolerance, self.called, told=told)

    def _descent(self, data_keys: Key[Array, "seeds parts"], piece: Piece) -> "_Descent":
        stops = tuple(self.steps_to(time) for time in self.problem.times)

        def told(done: int) -> None:
            piece.at(done / stops[-1], f"step {done:,} of {stops[-1]:,}")

        return _Descent(self.system, self._draws(data_keys), self.step, stops, self.parts, told)

    def _draws(self, data_keys: Key[Array, "seeds parts"]) -> Draws:
        """What networks with these keys draw while they train."""
        settings, system, population = self.settings, self.system, self.problem.population
        data = system.batch if population is None else Fresh(population, settings.batch)
        sampling = None
        if settings.method == "sgd":
            equal = self.problem.dataset.equal_weights
            sampling = Sampling(settings.draw, settings.batch, equal)
        noisy = system.dynamics.rule.noisy
        channels = system.batch.targets.shape[1]
        return Draws(data, sampling, data_keys, channels, system.label_noise, noisy)


@dataclass(frozen=True)
class _Descent:
    """SGD or gradient descent on a batch of networks, to the steps `stops`; see `descend`.

    Networks are unions of `parts`, whose streams they read in turn.
    """

    system: System
    draws: Draws
    step: float
    stops: tuple[int, ...]
    parts: int
    told: Callable[[int], None]

    def first(self, start: Ensemble) -> Moment:
        """The moment before anything has moved."""
        return Moment(start, 0, 0)

    def onward(self, moment: Moment) -> Iterator[Moment]:
        """The moments after this one. How steps are cut into blocks changes no number."""
        ensembles, observed, done = moment.ensemble, int(moment.observed), int(moment.place)
        step, longest = jnp.asarray(self.step, self.system.inputs.dtype), BLOCK
        while observed < len(self.stops):
            target = self.stops[observed]
            while done < target:  # the first steps tell soon how long the others take
                blocks = self.parts * min(longest, max(FIRST_STEPS, done // self.parts))
                count, before, begun = min(blocks, target - done), ensembles, time.perf_counter()
                ensembles = descend(
                    self.system.equations,
                    self.system.dynamics,
                    self.draws.block(done // self.parts),
                    ensembles,
                    jnp.asarray(count),
                    step,
                    jnp.asarray(done),
                )
                done += count
                self.told(done)
                jax.block_until_ready(before)  # draws are made while the block before goes on
                if time.perf_counter() - begun > LONGEST:
                    longest = max(1, longest // 2)
                yield Moment(ensembles, observed, done)
            observed += 1
            yield Moment(ensembles, observed, done)


@eqx.filter_jit
def _many_outputs(system: System, ensembles: Ensemble) -> Float[Array, "seeds points channels"]:
    """Outputs of a batch of networks."""
    return jax.vmap(lambda ensemble: outputs(system, ensemble))(ensembles)
