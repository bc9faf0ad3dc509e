"""The engine: nodes are placed, carried through time and looked at; what was seen is returned.

Limits, kernels, free energies, tracers and validity differ in their nodes and in what is looked at.
Memory is bounded (see `memory`), and runs that do not depend on each other go side by side, or one
after the other where each is spread over all devices (see `devices`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import diffrax
import jax
import numpy as np
from jax.typing import DTypeLike

from widelimit.basics.compiled import make_room
from widelimit.basics.cores import cores
from widelimit.basics.hands import ahead
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Progress, progress
from widelimit.basics.store import Store
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.model import Model, model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.motion.devices import Devices, agreed
from widelimit.motion.flow import COPIES, Flow, method_for
from widelimit.motion.langevin import Diffusion, carrier_of
from widelimit.motion.memory import Memory, default_memory
from widelimit.motion.moments import seen_along
from widelimit.nodes.design import Design
from widelimit.nodes.measure import Measure
from widelimit.nodes.points import Nodes
from widelimit.nodes.rules import Rule, layer_rules, principal_directions
from widelimit.problem.problem import Problem

Look = Callable[[System, Ensemble, float], Any]
"""What is seen of an ensemble at an observed time: a tree of arrays."""


class Steps(NamedTuple):
    """How time is stepped: relative and absolute step error, nodes inside layers, half as long."""

    tolerance: float
    fineness: int = 1
    """Layers that hold a quadrature take so many times their nodes."""
    halved: bool = False
    """Steps half as long, and twice the nodes inside layers."""
    depths: int = 1
    """A limit in depth has so many times its fewest nodes there."""

    @property
    def inside(self) -> int:
        """So many times their own nodes are inside layers that hold a quadrature."""
        return 2 * self.fineness if self.halved else self.fineness


class Run(NamedTuple):
    """One integration: its nodes, what was seen at the observed times (first axis), its time."""

    design: Design
    seen: Any
    seconds: float


@dataclass(frozen=True)
class Engine:
    """What the many runs of one problem have in common."""

    problem: Problem
    system: System
    carrier: Flow | Diffusion
    candidates: tuple[tuple[Rule, ...], ...]
    """The rules that can serve each law, the likeliest first; that of the data is the last."""
    memory: Memory
    progress: Progress
    store: Store
    """Where runs are kept, if anywhere."""
    identity: str | None
    """What tells the problem apart in the store; None where nothing does."""
    compiled: set[tuple[int, ...]] = field(default_factory=set)
    """Sizes that have been run: side by side, all would compile the same."""

    @classmethod
    def of(cls, problem: Problem, dtype: DTypeLike, progress: Progress) -> "Engine":
        """The engine of a problem as its limit sees it, in the precision that is switched on."""
        data, system = problem.dataset, System.of(problem, dtype)
        dims = data.inputs.shape[1], data.targets.shape[1]
        frame = principal_directions(data.inputs, data.weights)
        paths = problem.training.paths(problem.network)
        candidates = layer_rules(problem.network, dims, frame, problem.seed, paths)
        if isinstance(problem.data, Measure):
            candidates += (problem.data.rules(),)
        budget, costs = problem.limit.memory, problem.network.costs(*dims)
        budget = int(agreed(float(default_memory()))) if budget is None else budget
        itemsize, devices = np.dtype(dtype).itemsize, Devices.here()
        memory = Memory(budget, costs, itemsize, len(system.inputs), devices=devices)
        carrier, store = carrier_of(problem), Store.here() if devices.ours else Store(None)
        identity = problem.identity("network", "training", "observe") if store.folder else None
        return cls(problem, system, carrier, candidates, memory, progress, store, identity)

    @property
    def precision(self) -> str:
        """ "float64" or "float32"."""
        return self.system.inputs.dtype.name

    @property
    def measure(self) -> Measure | None:
        """The law of the data, where nodes stand for it."""
        return self.problem.data if isinstance(self.problem.data, Measure) else None

    @property
    def layers(self) -> int:
        """How many of the rules place neurons: all, but for that of the data law."""
        return len(self.candidates) - (self.measure is not None)

    def first_design(self) -> Design:
        """The likeliest rules, with as many nodes as they start with."""
        rules = [choices[0] for choices in self.candidates]
        return Design.of(rules, [rule.start for rule in rules])

    def sizes(self, design: Design) -> tuple[int, ...]:
        """How many neurons each index space holds, and the number of data points."""
        points = () if self.measure is not None else (len(self.system.batch.inputs),)
        return (*design.sizes, *points)

    # --- one run --------------------------------------------------------------------------------

    def run(self, design: Design, steps: Steps, look: Look, start: Ensemble | None = None) -> Run:
        """Nodes, or what was made of them (`start`), carried to the observed times.

        Raises `Diverged`.
        """
        started = time.perf_counter()
        start = self.placed(design, depths=steps.depths) if start is None else start
        method, system = self.means(start.sizes, steps.tolerance)
        system = self.on_data(system, design).finer(steps.inside)
        scrambles, data = design.scrambles, (system.inputs, system.batch)
        spread = self.memory.spread(start.sizes)
        placed = start, data, system.equations.points, spread.pieces
        entry = self.store.entry(self.identity, look.__qualname__, steps, scrambles, *placed)
        start, system = spread.over(start), spread.everywhere(system)
        piece, horizon = self.progress.piece(), self.problem.times[-1]

        def told(now: float) -> None:
            piece.at(now / horizon if horizon > 0 else 0.0, f"t = {now:.3g} of {horizon:.3g}")

        def seen_at(now: Ensemble, time: float) -> Any:
            return spread.gathered(look(system, now.unfilled(), time))

        path = spread.along(
            self.carrier.path(method, system, steps.tolerance, scrambles, steps.halved, told)
        )
        found = entry.found(lambda: (seen_at(start, float(self.problem.times[0])), 0.0))
        if found is None:
            seen = seen_along(path, start, self.problem.times, seen_at, entry)
            stacked = jax.tree.map(lambda *at: np.stack(at), *seen)
            found = stacked, agreed(time.perf_counter() - started)
            entry.done(found)
        piece.at(1.0, f"t = {horizon:.3g}")
        self.compiled.add((*start.sizes, len(system.batch.inputs)))
        return Run(design, found[0], float(found[1]))

    def placed(
        self, design: Design, labels: Sequence[np.ndarray] | None = None, depths: int = 1
    ) -> Ensemble:
        """The limit at time zero on the nodes of a design; tracers with these labels come last."""
        nodes = design.nodes(self.problem.seed, self.layers)
        if labels is not None:
            nodes = [
                Nodes(np.concatenate([n.points, own]), np.append(n.weights, np.zeros(len(own))))
                for n, own in zip(nodes, labels, strict=True)
            ]
        return self.started(model_of(self.problem), nodes, depths)

    def started(self, model: Model, nodes: Sequence[Nodes], depths: int = 1) -> Ensemble:
        """The limit of an architecture at time zero on these nodes."""
        data, dtype = self.system.batch, self.system.inputs.dtype
        dims = data.inputs.shape[1], data.targets.shape[1]
        return self.system.dynamics.started(model.limit(nodes, dims, dtype, depths))

    def means(self, sizes: tuple[int, ...], tolerance: float) -> tuple[diffrax.AbstractERK, System]:
        """The method, and the system in pieces, with which such an ensemble fits into memory."""
        method = method_for(tolerance, lambda copies: self.memory.fits(sizes, copies))
        pieces = self.memory.points_at_once(sizes, COPIES[type(method)])
        return method, self.system.in_pieces(pieces)

    def on_data(self, system: System, design: Design) -> System:
        """The system on nodes of the data law, where these stand for the data."""
        if self.measure is None:
            return system
        rng = generator(Stream.DATA_NODES, self.problem.seed, design.scrambles[-1])
        nodes = self.measure.points(design.rules[-1].place(design.counts[-1], rng))
        return system.with_batch(*nodes)

    # --- several runs ---------------------------------------------------------------------------

    def runs(self, designs: Sequence[Design], steps: Steps, look: Look) -> list[Run]:
        """A run for each of several designs of the same sizes.

        Other hands have done them before, where there are any: `look` is a function of a module,
        by whose name they find it.
        """
        if found := _done_ahead(self, designs, steps, look):
            return found
        return self.side_by_side(
            self.sizes(designs[0]), steps, lambda design: self.run(design, steps, look), designs
        )

    def side_by_side(
        self,
        sizes: tuple[int, ...],
        steps: Steps,
        one: Callable[[Any], Any],
        entries: Sequence[Any],
    ) -> list[Any]:
        """`one(entry)` for every entry, each a run of these sizes, in threads as memory allows.

        Sizes are those of the layers, and the number of data points.
        """
        alone = 0 if sizes in self.compiled else 1  # or every thread would compile the same

        def in_thread(entry: Any) -> Any:
            with in_precision(self.precision):
                return one(entry)

        found = [one(entry) for entry in entries[:alone]]
        self.compiled.add(sizes)
        with ThreadPoolExecutor(self.at_once(sizes, steps)) as pool:
            return found + list(pool.map(in_thread, entries[alone:]))

    def at_once(self, sizes: tuple[int, ...], steps: Steps) -> int:
        """How many runs of these sizes go on at the same time.

        Those that are spread over devices wait for each other there, and must come in one order.
        """
        copies, layers = COPIES[type(method_for(steps.tolerance))], sizes[: self.layers]
        if self.memory.spread(layers).held or not self.memory.devices.ours:
            return 1
        each = self.memory.needed(layers, copies, self.memory.points_at_once(layers, copies))
        return min(cores(), self.memory.budget // each or 1)


@contextmanager
def engine(
    problem: Problem, what: str, shown: bool | None = None, precision: str | None = None
) -> Iterator[Engine]:
    """An engine in the precision of the problem's limit, or in another, with progress.

    `shown` shows or hides the bar; None shows it if standard error is a terminal.
    """
    make_room()
    with in_precision(precision or problem.limit.precision) as dtype, progress(what, shown) as bar:
        yield Engine.of(problem, dtype, bar)


def _done_ahead(work: Engine, designs: Sequence[Design], steps: Steps, look: Look) -> list[Run]:
    """Runs that other hands have done before; none where there are no hands."""
    named = {f"run {number + 1}": design for number, design in enumerate(designs)}
    own = work.problem, work.precision, work.memory.budget, work.memory.kept
    pieces = {name: (*own, design, steps, look) for name, design in named.items()}
    found = {name: work.run(named[name], steps, look) for name in ahead(_run_ahead, pieces)}
    return [found[name] for name in named] if found else []


def _run_ahead(
    problem: Problem,
    precision: str,
    budget: int,
    kept: int,
    design: Design,
    steps: Steps,
    look: Look,
) -> None:
    """A run of an engine with such a memory, for whoever looks for it in the store."""
    with engine(problem, "run", False, precision) as work:
        memory = replace(work.memory, budget=budget, kept=kept)
        replace(work, memory=memory).run(design, steps, look)
