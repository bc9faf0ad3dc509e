"""`solve`: the infinite-width limit of a problem, with an error bar.

Quadrature nodes stand for the laws of the neurons' marks, and independent replicates of a random
rule estimate the quadrature error: the mean of R replicates with the half-width of a 95 %
interval by Student's t. Sizes grow, layer by layer where it pays, until `limit.tolerance` is
met. The time-integration error is a bound from the change when time steps are halved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import DTypeLike

from widelimit.basics.errors import ProblemError
from widelimit.basics.statistics import replicate_half_width
from widelimit.limit.advice import examine
from widelimit.limit.tracers import Tracers
from widelimit.motion.flow import COPIES, step_error
from widelimit.motion.integration import Integrator
from widelimit.nodes.lattice import Lattice
from widelimit.nodes.reduction import reduced
from widelimit.nodes.refinement import REPLICATES, Level, half_width
from widelimit.nodes.rules import Exact, Rule
from widelimit.problem.network.marks import LATTICE_MOST
from widelimit.problem.problem import Problem
from widelimit.results.layout import limit_trajectory
from widelimit.results.trajectory import Trajectory

EXACT_STEP_TOLERANCE = 1e-9
"""Step tolerance of problems without quadrature error."""

MOST_FINENESS = 8
"""Nodes inside layers are not doubled more than three times."""

PILOT_REPLICATES = 4
"""Solves that vary one layer's nodes only, to learn which rule suits it or how much it needs."""


def solve(
    problem: Problem,
    *,
    progress: bool | None = None,
    tracers: xr.Dataset | xr.DataTree | None = None,
) -> Trajectory:
    """The infinite-width limit of `problem` at its observed times and inputs.

    Solves the mean-field ODE (Nguyen & Pham 2023, §2.2) in the reduced form for independent
    initialisation (§5). Time is mean-field time `t = k ε`. `progress` shows a bar on standard
    error (None: if that is a terminal).

    `tracers` are neurons of sampled networks, such as `networks.states["width_64"]`: the limit is
    then also evaluated at their own initial labels (the coupling of Nguyen & Pham 2023, §4.1),
    and `limit.states["tracers"]` holds, in the same layout and with errors, the parameters that
    these networks would have were they in the limit.

    Where the data are a whole population, quadrature nodes stand for it too (`measure`), and
    what its symmetry leaves undetermined is averaged over exactly (`symmetry`).

    Returns a `Trajectory`; `trajectory.met` tells whether `limit.tolerance` was reached.
    Raises `Diverged` if the flow leaves the finite numbers, `ProblemError` if `limit.memory` is
    too small for the first sizes, `ValueError` if `tracers` do not fit the problem.

    >>> from widelimit import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 3.0},
    ... })
    >>> limit = solve(problem)
    >>> bool(limit.dataset.risk[-1] < limit.dataset.risk[0]), limit.met
    (True, True)
    """
    if tracers is not None:
        problem.require_finite_data("the limit at the labels of networks")
        problem.require_noiseless("labels of sampled neurons do not tell their paths")
    double, seen = problem.limit.precision == "float64", reduced(problem)
    with jax.enable_x64(double):
        solver = _Solver.of(seen, jnp.float64 if double else jnp.float32, progress)
        solver.tracers = None if tracers is None else Tracers.of(problem, tracers)
        notes = examine(problem)
        with solver.work.bar:
            exact = all(isinstance(choices[0], Exact) for choices in solver.work.candidates)
            found = solver.exact(notes) if exact else solver.to_tolerance(notes)
    return replace(found, problem=problem)


def check_memory(problem: Problem) -> None:
    """Raise `ProblemError` if `limit.memory` is too small for the first sizes of a solve."""
    with jax.enable_x64(problem.limit.precision == "float64"):
        _Solver.of(reduced(problem), jnp.dtype(problem.limit.precision), False)


@dataclass
class _Solver:
    """One call of `solve`: how nodes are chosen, layer by layer, until the tolerance is met."""

    work: Integrator
    rules: list[Rule] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    tracers: Tracers | None = None

    @classmethod
    def of(cls, problem: Problem, dtype: DTypeLike, progress: bool | None) -> "_Solver":
        work = Integrator.of(problem, dtype, progress)
        solver = cls(work, [choices[0] for choices in work.candidates])
        solver.refuse_too_little_memory()
        return solver

    @property
    def problem(self) -> Problem:
        """What is solved."""
        return self.work.problem

    def refuse_too_little_memory(self) -> None:
        """Say how much memory the first sizes need, if that is more than there may be."""
        sizes, fewest = self.sizes(self.first_counts()), COPIES[diffrax.Heun]
        if not self.work.memory.fits(sizes, fewest):
            needed = self.work.memory.needed(sizes, fewest, 1)
            raise ProblemError([
                f"limit.memory: found {self.work.memory.budget / 1e6:.0f} MB; "
                f"{' × '.join(map(str, sizes))} nodes need at least {math.ceil(needed / 1e6)} MB"
            ], self.problem.title)  # fmt: skip

    # --- sizes ----------------------------------------------------------------------------------

    @property
    def most_nodes(self) -> int:
        """The largest power of two in the budget: Sobol points are balanced at these only."""
        return 2 ** (self.problem.limit.max_nodes.bit_length() - 1)

    def first_counts(self) -> tuple[int, ...]:
        """The nodes asked for, or those that the rules start with."""
        asked = self.problem.limit.nodes or ()
        own = [
            rule.start if isinstance(rule, Exact) else min(rule.start, self.most_nodes)
            for rule in self.rules
        ]
        return (*asked, *own[len(asked) :])

    def sizes(self, counts: Sequence[int]) -> tuple[int, ...]:
        """Neurons held in each layer: nodes times the atoms beside them."""
        return self.work.sizes(self.rules, counts)[: self.work.layers]

    def allowed(self, counts: Sequence[int]) -> bool:
        """Whether budgets of nodes and memory bear these sizes; nodes that were asked for stay."""
        random = [
            n for rule, n in zip(self.rules, counts, strict=True) if not isinstance(rule, Exact)
        ]
        asked = self.problem.limit.nodes or ()
        fits = self.work.memory.fits(self.sizes(counts), COPIES[diffrax.Heun])
        return fits and max(random) <= self.most_nodes and tuple(counts[: len(asked)]) == asked

    # --- single integrations ------------------------------------------------------------------

    def timed(self, counts: Sequence[int], tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Replicate 0, and a bound on the error of its steps, from steps half as long."""
        zeros = [0] * len(counts)
        outputs = partial(self.work.outputs, self.rules, counts, zeros, tolerance)
        finer, values = outputs("time steps halved", halved=True), outputs("replicate 1")
        return values, step_error(values, finer)

    def timed_to(
        self, goal: float, counts: Sequence[int], tolerance: float
    ) -> tuple[np.ndarray, np.ndarray, float]:
        """`timed` with steps, and nodes inside layers, fine enough for a goal; the tolerance."""
        values, error = self.timed(counts, tolerance)
        while self.largest_rms(error) > goal / 5 and tolerance > 1e-10:
            tolerance /= 10
            self.work.fineness = min(2 * self.work.fineness, MOST_FINENESS)
            values, error = self.timed(counts, tolerance)
        return values, error, tolerance

    def largest_rms(self, error: np.ndarray) -> float:
        """The largest, over times, RMS over observed inputs and outputs."""
        observed = error[:, self.work.system.view("observed")]
        return float(np.sqrt(np.mean(observed**2, axis=(1, 2))).max())

    def spread(self, values: Sequence[np.ndarray]) -> float:
        """The largest RMS standard deviation over replicates."""
        return self.largest_rms(np.std(values, axis=0, ddof=1))

    # --- exact problems -----------------------------------------------------------------------

    def exact(self, notes: list[str]) -> Trajectory:
        """All marks are atoms: one integration, no quadrature error."""
        counts = self.first_counts()
        floor = EXACT_STEP_TOLERANCE if self.work.double else 1e-5
        self.work.bar.total = 2 * len(self.problem.times)
        self.choose_rules()
        values, time_error, floor = self.timed_to(self.problem.limit.tolerance, counts, floor)
        return self.finished([values], np.zeros_like(values), time_error, counts, floor, notes)

    # --- problems with quadrature error ---------------------------------------------------------

    def to_tolerance(self, notes: list[str]) -> Trajectory:
        """Refine until the estimated error is below the tolerance, or the budget is used up."""
        goal = self.problem.limit.tolerance
        step_tolerance = max(goal / 100, 1e-10 if self.work.double else 1e-6)
        undecided = self.choose_rules()
        counts, shortfall = self.first_counts(), None
        first, time_error, step_tolerance = self.timed_to(goal, counts, step_tolerance)
        budget = max(goal - self.largest_rms(time_error), goal / 10)
        values = [first]
        while True:
            values = self.replicates(values, counts, step_tolerance, budget)
            error = replicate_half_width(np.stack(values))
            if self.largest_rms(error) <= budget:
                break
            if undecided:
                changed, undecided = self.compare_rules(undecided, step_tolerance), []
                if changed:
                    values = []
                    continue
            level = self.level(values, counts, step_tolerance)
            shortfall = level.unreachable(budget, self.allowed)
            larger = level.next_counts(budget, self.allowed)
            if shortfall or larger == counts:
                last = REPLICATES[0] if shortfall else REPLICATES[-1]
                values = self.replicates(values, counts, step_tolerance, budget, last)
                error = replicate_half_width(np.stack(values))
                break
            counts, values = larger, []
        return self.finished(values, error, time_error, counts, step_tolerance, notes, shortfall)

    def choose_rules(self) -> list[int]:
        """A rule for each layer, and the layers where only a measurement can tell the best one."""
        asked = self.problem.limit.rules or ("auto",) * self.work.layers
        asked += ("auto",) * (len(self.rules) - len(asked))
        self.reasons, undecided = [], []
        for layer, (choices, name) in enumerate(zip(self.work.candidates, asked, strict=True)):
            named = [rule for rule in choices if rule.name == name]
            if isinstance(choices[0], Exact):
                reason = choices[0].reason
            elif named:
                self.rules[layer], reason = named[0], "asked for"
            elif len(choices) == 1 or _few(choices[0]):
                reason = choices[0].reason
            else:
                reason = "its first nodes suffice, whether or not another rule is better"
                undecided.append(layer)
            self.reasons.append(reason)
        return undecided

    def compare_rules(self, layers: Sequence[int], tolerance: float) -> bool:
        """Take the rules that scatter least at an equal number of nodes; whether any is new."""
        counts, changed, states = self.first_counts(), False, self.work.states
        for layer in layers:
            choices, spreads = self.work.candidates[layer], []
            for self.rules[layer] in choices:
                spreads.append(self.spread(self.varied(layer, counts, tolerance)))
            best = int(np.argmin(spreads))
            self.rules[layer] = choices[best]
            changed = changed or best > 0  # the first choice is what was used so far
            found = ", ".join(
                f"{spread:.1e} ({rule.name})" for rule, spread in zip(choices, spreads, strict=True)
            )
            self.reasons[layer] = (
                f"spread over {PILOT_REPLICATES} scrambles, {counts[layer]} nodes: {found}"
            )
        self.work.states = states  # not those of the rule that was tried last
        return changed

    def varied(self, layer: int, counts: Sequence[int], tolerance: float) -> list[np.ndarray]:
        """Solves in which the nodes of one layer alone are scrambled anew."""
        scrambles = [
            [scramble if k == layer else 0 for k in range(len(counts))]
            for scramble in range(PILOT_REPLICATES)
        ]
        what = f"layer {layer + 1}" if layer < self.work.layers else "data"
        return self.work.several(self.rules, counts, scrambles, tolerance, f"{what} alone")

    def growable(self, counts: tuple[int, ...]) -> bool:
        """Whether any layer may have more nodes."""
        return any(
            self.allowed((*counts[:k], 2 * n, *counts[k + 1 :]))
            for k, (rule, n) in enumerate(zip(self.rules, counts, strict=True))
            if not isinstance(rule, Exact)
        )

    def replicates(
        self,
        values: list[np.ndarray],
        counts: tuple[int, ...],
        tolerance: float,
        budget: float,
        last: int | None = None,
    ) -> list[np.ndarray]:
        """Enough replicates to decide: few when hopeless, more when that alone will do.

        `last` replicates are run in any case where sizes will not grow any more.
        """
        values, target = list(values), REPLICATES[0]
        for stop in (PILOT_REPLICATES, *REPLICATES):
            if len(values) >= max(target, last or 0):
                break
            self.work.bar.total = self.work.bar.n + (target - len(values)) * len(self.problem.times)
            scrambles = [[r] * len(counts) for r in range(len(values), stop)]
            what = f"replicates {len(values) + 1} … {stop} of {target}"
            values += self.work.several(self.rules, counts, scrambles, tolerance, what)
            enough = [n for n in REPLICATES if half_width(self.spread(values), n) <= budget]
            if not enough and last is None and self.growable(counts):
                break
            target = max(target, enough[0] if enough else REPLICATES[-1] if last is None else last)
        return values

    def level(self, values: list[np.ndarray], counts: tuple[int, ...], tolerance: float) -> Level:
        """What this level has shown: the share of the variance that each layer brings in."""
        random = [k for k, rule in enumerate(self.rules) if not isinstance(rule, Exact)]
        total = self.spread(values) ** 2
        shares = {
            layer: self.spread(self.varied(layer, counts, tolerance)) ** 2 for layer in random[1:]
        }
        rest = max(total - sum(shares.values()), 0.05 * total)
        variances = {random[0]: rest, **shares}
        return Level(
            tuple(self.rules), self.work.memory.costs, counts, variances, self.work.seconds
        )

    # --- the result -----------------------------------------------------------------------------

    def finished(
        self,
        values: list[np.ndarray],
        error: np.ndarray,
        time_error: np.ndarray,
        counts: Sequence[int],
        step_tolerance: float,
        notes: list[str],
        shortfall: str | None = None,
    ) -> Trajectory:
        """The trajectory with its errors, and whether they are as small as was asked."""
        goal = self.problem.limit.tolerance
        reached = self.largest_rms(error + time_error)
        if reached > goal:
            notes = [*notes, self.missed(reached, error, counts, shortfall)]
        facts = {
            "nodes": [int(n) for n in self.sizes(counts)],
            "data_points": self.work.sizes(self.rules, counts)[-1],
            "points": [int(n) for n in counts],
            "rules": [rule.name for rule in self.rules],
            "rule_reasons": self.reasons,
            "replicates": len(values),
            "step_tolerance": step_tolerance,
            "tolerance": goal,
            "error": reached,
            "quadrature_error": self.largest_rms(error),
            "time_error": self.largest_rms(time_error),
            "met": int(reached <= goal),
            "precision": self.problem.limit.precision,
        }
        found = limit_trajectory(
            self.problem, self.work.system, np.stack(values), error, time_error,
            self.work.states, facts, notes,
            self.work.functionals(self.rules, counts, len(values)),
        )  # fmt: skip
        found = replace(found, dataset=found.dataset.assign(self.work.carrier.variables()))
        if self.tracers is None:
            return found
        scrambles = range(min(len(values), PILOT_REPLICATES))
        return self.with_tracers(found, self.tracers, counts, scrambles)

    def with_tracers(
        self, found: Trajectory, tracers: Tracers, counts: Sequence[int], scrambles: Sequence[int]
    ) -> Trajectory:
        """The limit, and what it makes of neurons of sampled networks."""
        tolerance = found.dataset.attrs["step_tolerance"]
        traced = self.work.traced(self.rules, counts, scrambles, tolerance, tracers.labels)
        limit = found.states["limit"].to_dataset()
        groups = {"limit": limit, "tracers": tracers.moved(traced)}
        return replace(found, states=xr.DataTree.from_dict(groups))

    def missed(
        self, reached: float, error: np.ndarray, counts: Sequence[int], shortfall: str | None
    ) -> str:
        """Why the tolerance was missed, and what to raise."""
        goal = self.problem.limit.tolerance
        sizes = " × ".join(map(str, self.sizes(counts)))
        said = f"the tolerance {goal:g} was not met: the error is {reached:.2g} with {sizes} nodes"
        if self.largest_rms(error) < goal / 2:
            return f"{said}; it comes from time integration, so raise the tolerance"
        if self.problem.limit.nodes is not None:
            return f"{said}; raise limit.nodes (or leave it out), or the tolerance"
        because = f": {shortfall}" if shortfall else ""
        return f"{said}{because}; raise limit.max_nodes, limit.memory or the tolerance"


def _few(rule: Rule) -> bool:
    """Whether a lattice is known to be best."""
    return isinstance(rule, Lattice) and rule.dimension < LATTICE_MOST
