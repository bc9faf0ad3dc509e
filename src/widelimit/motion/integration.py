"""Single integrations of a limit: nodes placed by their rules, then carried through time.

Memory is bounded (see `memory`), and integrations that do not depend on each other run side by
side.
"""

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from tqdm import tqdm

from widelimit.basics.progress import progress_bar
from widelimit.basics.statistics import step_error
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.neurons import Ensemble, limit_ensemble
from widelimit.ensemble.system import System, dims_of_functionals, look, outputs
from widelimit.motion.flow import COPIES, Flow, advance_one, follow, method_for
from widelimit.motion.langevin import Diffusion, carrier_of
from widelimit.motion.memory import Memory, default_memory
from widelimit.nodes.measure import Measure
from widelimit.nodes.points import Nodes
from widelimit.nodes.rules import Rule, layer_rules, principal_directions
from widelimit.problem.problem import Problem

STATES_BYTES = 2**28
"""The neurons of a limit are kept at all observed times while they fit into this; of more, the
first ones of each Sobol rule, which are a Sobol rule themselves."""


@dataclass
class Integrator:
    """What does not change between the many integrations of one problem."""

    problem: Problem
    system: System
    carrier: Flow | Diffusion
    candidates: tuple[tuple[Rule, ...], ...]
    """The rules that each layer may use."""
    memory: Memory
    bar: tqdm
    measure: Measure | None = None
    """The law of the data where nodes stand for it: its rule is the last one then."""
    fineness: int = 1
    """Layers that hold a quadrature take so many times their nodes."""
    states: list[Ensemble] = field(default_factory=list)
    """Replicate 0 of the latest sizes at the observed times."""
    seen: dict[Any, dict[str, np.ndarray]] = field(default_factory=dict)
    """Functionals over time, of every integration."""
    compiled: set[tuple[int, ...]] = field(default_factory=set)
    """Sizes that were integrated before, and how many data points."""
    seconds: float = 0.0
    """How long the latest integration took."""

    @classmethod
    def of(cls, problem: Problem, dtype: DTypeLike, progress: bool | None) -> "Integrator":
        """An integrator of a problem, its numbers held as `dtype`."""
        data, system = problem.dataset, System.of(problem, dtype)
        dims = data.inputs.shape[1], data.targets.shape[1]
        frame = principal_directions(data.inputs, data.weights)
        paths = problem.training.paths(problem.network)
        candidates = layer_rules(problem.network, dims, frame, problem.seed, paths)
        budget, costs = problem.limit.memory or default_memory(), problem.network.costs(*dims)
        memory = Memory(budget, costs, jnp.dtype(dtype).itemsize, len(system.inputs))
        measure = problem.data if isinstance(problem.data, Measure) else None
        if measure is not None:
            candidates += (measure.rules(),)
        bar = progress_bar("limit", progress)
        return cls(problem, system, carrier_of(problem), candidates, memory, bar, measure)

    @property
    def double(self) -> bool:
        """Whether the limit is solved in double precision."""
        return self.system.inputs.dtype == jnp.float64

    def outputs(
        self,
        rules: Sequence[Rule],
        counts: Sequence[int],
        scrambles: Sequence[int],
        tolerance: float,
        what: str,
        halved: bool = False,
    ) -> np.ndarray:
        """Outputs `(time, point, channel)` on nodes of the given counts, one scramble a layer.

        `halved` asks for steps half as long, and for twice the nodes inside layers.
        """
        started, fineness = time.perf_counter(), self.fineness * (2 if halved else 1)
        start = self.placed(rules, counts, scrambles)
        method, system = self.means(start.sizes, tolerance)
        system = self.with_data(system, rules, counts, scrambles).finer(fineness)
        shape = " × ".join(map(str, start.sizes))
        self.bar.set_description_str(f"limit: {shape} nodes, {what}")
        path = self.carrier.path(method, system, start, tolerance, scrambles, halved)
        kept, values, states, seen = self.kept(start.sizes), [], [], []
        for time_now, ensemble in zip(self.problem.times, path, strict=True):
            values.append(np.asarray(outputs(system, ensemble), float))
            seen.append(jax.tree.map(np.asarray, look(system, ensemble, time_now)))
            if not any(scrambles):
                states.append(jax.tree.map(np.asarray, ensemble.first(kept)))
            self.bar.set_postfix_str(f" t = {time_now:.3g}", refresh=False)
            self.bar.update()
        if states:
            self.states = states
        if system.functionals:
            self.seen[_called(rules, counts, scrambles, halved)] = jax.tree.map(
                lambda *at: np.stack(at), *seen
            )
        self.compiled.add((*start.sizes, len(system.batch.inputs)))
        self.seconds = time.perf_counter() - started
        return np.stack(values)

    def functionals(
        self, rules: Sequence[Rule], counts: Sequence[int], replicates: int
    ) -> dict[str, tuple[tuple[str, ...], np.ndarray, np.ndarray]]:
        """By variable its dimensions, replicates `(replicate, time, …)`, and their time error.

        Steps are halved before nodes are many, as for outputs.
        """
        if not self.seen:
            return {}
        runs = [
            self.seen[_called(rules, counts, [run] * len(counts), False)]
            for run in range(replicates)
        ]
        *with_nodes, _ = [key for key in self.seen if key[-1]][-1]
        halved, whole = (self.seen[(*with_nodes, kind)] for kind in (True, False))
        return {
            name: (
                dims,
                np.stack([run[name] for run in runs]),
                step_error(whole[name], halved[name]),
            )
            for name, dims in dims_of_functionals(self.system, self.states[0]).items()
        }

    def several(
        self,
        rules: Sequence[Rule],
        counts: Sequence[int],
        scrambles: Sequence[Sequence[int]],
        tolerance: float,
        what: str,
    ) -> list[np.ndarray]:
        """`outputs` for each entry of `scrambles`, side by side where memory allows."""
        sizes = self.sizes(rules, counts)

        def one(chosen: Sequence[int]) -> np.ndarray:
            return self.outputs(rules, counts, chosen, tolerance, what)

        return self.side_by_side(sizes, tolerance, one, scrambles)

    def side_by_side(
        self,
        sizes: tuple[int, ...],
        tolerance: float,
        one: Callable[[Any], Any],
        entries: Sequence[Any],
    ) -> list[Any]:
        """`one(entry)` for every entry, each an integration of these sizes, in threads.

        Sizes are those of the layers, and the number of data points.
        """
        copies, layers = COPIES[type(method_for(tolerance))], sizes[: self.layers]
        each = self.memory.needed(layers, copies, self.memory.points_at_once(layers, copies))
        alone = 0 if sizes in self.compiled else 1  # or every thread would compile the same

        def in_thread(entry: Any) -> Any:
            with jax.enable_x64(self.double):  # JAX's flag belongs to a thread
                return one(entry)

        found = [one(entry) for entry in entries[:alone]]
        self.compiled.add(sizes)
        with ThreadPoolExecutor(min(os.cpu_count() or 1, self.memory.budget // each or 1)) as pool:
            return found + list(pool.map(in_thread, entries[alone:]))

    def traced(
        self,
        rules: Sequence[Rule],
        counts: Sequence[int],
        scrambles: Sequence[int],
        tolerance: float,
        labels: Sequence[Sequence[np.ndarray]],
    ) -> list[list[list[Ensemble]]]:
        """Neurons with labels `[network][layer] (neuron, entries)`, carried by the limit.

        They are tracers: nodes of weight zero, which the limit moves and does not feel. Returns
        them at the observed times, `[network][scramble][time]`.
        """
        last = [len(layer) for layer in labels[0]]
        *held, points = self.sizes(rules, counts)
        sizes = (*(n + m for n, m in zip(held, last, strict=True)), points)
        self.bar.set_description_str("limit: tracers")

        def one(entry: tuple[Sequence[np.ndarray], int]) -> list[Ensemble]:
            start = self.placed(rules, counts, [entry[1]] * len(counts), entry[0])
            method, system = self.means(start.sizes, tolerance)
            system = self.with_data(system, rules, counts, [entry[1]] * len(counts))
            times = self.problem.times
            path = follow(advance_one, method, system, start, times, tolerance, "the limit")
            return [jax.tree.map(np.asarray, ensemble.last(last)) for ensemble in path]

        found = self.side_by_side(sizes, tolerance, one, list(product(labels, scrambles)))
        each = len(scrambles)
        return [found[k * each : (k + 1) * each] for k in range(len(labels))]

    def means(self, sizes: tuple[int, ...], tolerance: float) -> tuple[diffrax.AbstractERK, System]:
        """The method, and the system in pieces, with which such an ensemble fits into memory."""
        method = method_for(tolerance, lambda copies: self.memory.fits(sizes, copies))
        pieces = self.memory.points_at_once(sizes, COPIES[type(method)])
        return method, self.system.in_pieces(pieces)

    @property
    def layers(self) -> int:
        """How many of the rules place neurons: all, but for that of the data law."""
        return len(self.candidates) - (self.measure is not None)

    def sizes(self, rules: Sequence[Rule], counts: Sequence[int]) -> tuple[int, ...]:
        """How many neurons each index space holds, and the number of data points."""
        held = tuple(rule.size(n) for rule, n in zip(rules, counts, strict=True))
        return held if self.measure is not None else (*held, len(self.system.batch.inputs))

    def with_data(
        self,
        system: System,
        rules: Sequence[Rule],
        counts: Sequence[int],
        scrambles: Sequence[int],
    ) -> System:
        """The system on nodes of the data law, where these stand for the data."""
        if self.measure is None:
            return system
        rng = generator(Stream.DATA_NODES, self.problem.seed, scrambles[-1])
        nodes = self.measure.points(rules[-1].place(counts[-1], rng))
        return system.with_batch(*nodes)

    def placed(
        self,
        rules: Sequence[Rule],
        counts: Sequence[int],
        scrambles: Sequence[int],
        labels: Sequence[np.ndarray] | None = None,
    ) -> Ensemble:
        """The limit at time zero on nodes of the given counts, tracers last."""
        seed = self.problem.seed
        nodes = [
            rule.place(count, generator(Stream.NODES, seed, layer, scramble))
            for layer, (rule, count, scramble) in enumerate(
                zip(rules[: self.layers], counts, scrambles, strict=False)
            )
        ]
        if labels is not None:
            nodes = [
                Nodes(np.concatenate([n.points, own]), np.append(n.weights, np.zeros(len(own))))
                for n, own in zip(nodes, labels, strict=True)
            ]
        data, dtype = self.system.batch, self.system.inputs.dtype
        dims = data.inputs.shape[1], data.targets.shape[1]
        start = limit_ensemble(self.problem.network, nodes, *dims, dtype)
        return self.system.dynamics.started(start)

    def kept(self, sizes: Sequence[int]) -> tuple[int, ...]:
        """How many of each layer's neurons are kept over time."""
        kept = list(sizes)
        most = STATES_BYTES // len(self.problem.times)
        while self.memory.itemsize * self.memory.edges(kept) > most and max(kept) > 1:
            largest = int(np.argmax(kept))
            kept[largest] = (kept[largest] + 1) // 2
        return tuple(kept)


def _called(
    rules: Sequence[Rule], counts: Sequence[int], scrambles: Sequence[int], halved: bool
) -> tuple[Any, ...]:
    """What tells an integration from others."""
    return tuple(rule.name for rule in rules), tuple(counts), tuple(scrambles), halved
