"""Three ways to fluctuations on one set of nodes: all give the same, the cheapest is taken.

With atoms and few parameters, and labels without noise: Lyapunov's equation. Without noise of SGD
and with fewer weights than outputs: one tangent for each weight, forward. Otherwise the outputs, or
what stands for them, are pulled back: reverse.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import xarray as xr

from widelimit.around.influence import FEW, Influence
from widelimit.around.lyapunov import MOST_PARAMETERS, lyapunov
from widelimit.around.spread import Spread
from widelimit.basics.store import Entry
from widelimit.ensemble.neurons import Ensemble
from widelimit.motion.engine import Engine
from widelimit.nodes.design import Design

STEP_TOLERANCE = 1e-4
EXACT_STEP_TOLERANCE = 1e-9
"""Step tolerances of the path, with quadrature nodes and with atoms alone."""

SIGNS = 4
"""For the mean over outputs so many random combinations of them are pulled on each set of nodes."""

PILOTS = 7
"""So many tell how nodes scatter, before every output is pulled on as many nodes as it takes."""

COMPARED = 2
"""So many tell what shorter steps change."""

LEFT_OUT = 1e-3
"""Outputs' directions may leave out this share of the tolerance (of their squared cotangents). What
counts much there may count little at time zero, and the reverse: 120 rows at ten times to 2 % are
missed by .4 % of a variance at most; with ten times the share by 10 %."""


@dataclass(frozen=True)
class Case:
    """What is to be predicted: `factor (width, source)` says of which sources.

    With `rms` the mean over outputs is asked for, without it every output. `tolerance` is the
    relative error of standard deviations.
    """

    engine: Engine
    factor: xr.DataArray
    tolerance: float
    rms: bool
    covariance: bool = False

    @property
    def sources(self) -> list[str]:
        """Names of all sources in their order, whether or not they are there."""
        return [*self.engine.problem.network.space_names, "sgd", "data"]

    @property
    def used(self) -> list[str]:
        """Names of the sources that are there."""
        return list(self.factor.source.values)

    @property
    def channels(self) -> list[str]:
        """Names of the outputs' channels."""
        return list(self.engine.problem.dataset.channels)

    @property
    def first(self) -> Design:
        """The nodes to start with."""
        return self.engine.first_design()

    @property
    def exact(self) -> bool:
        """Whether nodes make no error."""
        return not self.first.random

    @property
    def count(self) -> int:
        """How many random combinations of many outputs are pulled at a time, where they are."""
        return SIGNS if self.rms else PILOTS

    @property
    def step_tolerance(self) -> float:
        """That of the path, and of all that is linearised about it."""
        return EXACT_STEP_TOLERANCE if self.exact else STEP_TOLERANCE

    def way(self, sizes: Sequence[int]) -> str:
        """The cheapest way with so many neurons: "lyapunov", "forward" or "reverse"."""
        system = self.engine.system
        quiet, edges = system.label_noise is None, self.engine.memory.edges(sizes)
        if self.exact and quiet and edges <= MOST_PARAMETERS:
            return "lyapunov"
        points = len(self.engine.problem.dataset.weights) if "data" in self.used else 0
        few = "sgd" not in self.used and sum(sizes) + points <= system.observed_outputs
        return "forward" if few else "reverse"

    def combines(self, design: Design) -> bool:
        """Whether random combinations stand for the outputs."""
        many = self.engine.system.observed_outputs > FEW
        return self.rms and many and self.way(design.sizes) == "reverse"

    def sweeps(self, design: Design) -> bool:
        """Whether every one of many outputs is pulled back."""
        many = self.engine.system.observed_outputs > FEW
        return not self.rms and many and self.way(design.sizes) == "reverse"


def seconds_to_pull(case: Case, design: Design) -> float:
    """What it takes on average to pull combinations, or few outputs, back from a time to the last.

    It is measured when all is compiled, and kept. 0 where nothing is pulled.
    """
    work = case.engine
    initial, times = work.placed(design), work.problem.times
    if case.way(initial.sizes) != "reverse" or times[-1] == 0:
        return 0.0
    place = initial, work.system.inputs, work.system.batch
    entry = work.store.entry(work.identity, "seconds to pull", case.count, place)
    return float(entry.once(lambda: _seconds_to_pull(case, initial), lambda: 0.0))


def _seconds_to_pull(case: Case, initial: Ensemble) -> float:
    """`seconds_to_pull` where something is pulled."""
    work, times = case.engine, case.engine.problem.times
    influence = Influence.of(work.system, initial, times, case.step_tolerance)
    first = next(k for k, pieces in enumerate(influence.path.pieces) if pieces)
    seconds = 0.0
    for _ in range(2):
        started = time.perf_counter()
        influence.of_combinations(first, case.count)
        seconds = time.perf_counter() - started
    steps = [sum(int(piece.steps) for piece in pieces) for pieces in influence.path.pieces]
    return seconds * sum(steps) / max(1, steps[first]) / (len(times) - 1 or 1)


def spreads(
    case: Case, design: Design, combined: bool = False, halved: bool = False
) -> list[Spread]:
    """The fluctuations at all times on one set of nodes; `halved` makes steps half as long.

    With `combined` random combinations stand for many outputs even if each is asked for: the same
    ones on all scrambles, to be compared; of halved steps a few of these. Raises `Diverged`.
    """
    initial = case.engine.placed(design)
    entry = _entry(case, design, initial, combined, halved)
    return entry.once(
        lambda: _spreads(case, design, initial, combined, halved, entry),
        lambda: [Spread.layout()] * len(case.engine.problem.times),
    )


def _entry(case: Case, design: Design, initial: Ensemble, combined: bool, halved: bool) -> Entry:
    """Where the fluctuations on one set of nodes are kept."""
    work, asked = case.engine, (case.used, case.rms, case.tolerance, combined, halved)
    place = (design.scrambles, initial, work.system.inputs, work.system.batch)
    return work.store.entry(work.identity, "spreads", asked, place)


def _spreads(
    case: Case, design: Design, initial: Ensemble, combined: bool, halved: bool, entry: Entry
) -> list[Spread]:
    """`spreads` on nodes that are placed."""
    work = case.engine
    times, system = work.problem.times, work.system
    way, tolerance = case.way(initial.sizes), case.step_tolerance
    piece = work.progress.piece()

    def done(k: int) -> None:
        piece.at((k + 1) / len(times), f"{k + 1} of {len(times)} times")

    if way == "lyapunov":
        initial = jax.tree.map(jnp.asarray, initial)
        found = lyapunov(system, initial, times, tolerance / (100 if halved else 1), entry)
        done(len(times) - 1)
        return found
    own = design.scrambles[:1] if case.rms or not combined else (0,)
    draw = (work.problem.seed, *own)
    influence = Influence.of(system, initial, times, tolerance, halved, draw, done, entry)
    if way == "forward":
        return influence.forward("data" in case.used)
    if case.rms or combined:
        return influence.combinations(COMPARED if halved else case.count)
    return influence.spreads(0.0 if case.exact else LEFT_OUT * case.tolerance)
