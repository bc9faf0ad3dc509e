"""`solve`: the infinite-width limit of a problem, with an error bar.

Quadrature nodes stand for the laws of the neurons' marks, and independent replicates of a random
rule estimate the quadrature error: the mean of R replicates with the half-width of a 95 %
interval by Student's t. Sizes grow, layer by layer where it pays, until `limit.tolerance` is
met. The time-integration error is the change when time steps are halved.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from scipy import stats
from tqdm import tqdm

from widelimit.advice import examine
from widelimit.flow import advance_one, follow, method_for
from widelimit.neurons import Ensemble, limit_ensemble
from widelimit.problem import Problem
from widelimit.quadrature import Exact, Rule, principal_directions, rule_for
from widelimit.system import System, outputs
from widelimit.trajectory import Trajectory, limit_trajectory, replicate_half_width

REPLICATES = (8, 16, 32)
"""How many replicates are run: more than the first number when they replace larger sizes."""

EXACT_STEP_TOLERANCE = 1e-9
"""Step tolerance of problems without quadrature error."""

LAYER_REPLICATES = 4
"""Solves that vary one layer's nodes only, to learn which layer needs more of them."""

MOST_DOUBLINGS = 4
"""A layer grows at most by this many factors of two between two levels."""


def solve(problem: Problem, *, progress: bool | None = None) -> Trajectory:
    """The infinite-width limit of `problem` at its observed times and inputs.

    Solves the mean-field ODE (Nguyen & Pham 2023, §2.2) in the reduced form for independent
    initialisation (§5). Time is mean-field time `t = k ε`. `progress` shows a bar on standard
    error (None: if that is a terminal).

    Returns a `Trajectory`; `trajectory.met` tells whether `limit.tolerance` was reached.
    Raises `Diverged` if the flow leaves the finite numbers.

    >>> from widelimit.problem import Problem
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
    double = problem.limit.precision == "float64"
    with jax.enable_x64(double):
        solver = _Solver.of(problem, jnp.float64 if double else jnp.float32, progress)
        notes = examine(problem)
        with solver.bar:
            if all(isinstance(rule, Exact) for rule in solver.rules):
                return solver.exact(notes)
            return solver.to_tolerance(notes)


@dataclass
class _Solver:
    """One call of `solve`: what does not change between its many integrations."""

    problem: Problem
    system: System
    rules: tuple[Rule, ...]
    bar: tqdm
    states: list[Ensemble] = field(default_factory=list)
    """Replicate 0 of the latest sizes at the observed times."""

    @classmethod
    def of(cls, problem: Problem, dtype: DTypeLike, progress: bool | None) -> "_Solver":
        data = problem.dataset
        marks = problem.network.marks(data.inputs.shape[1], data.targets.shape[1])
        bar = tqdm(
            desc="limit",
            unit="time",
            disable=None if progress is None else not progress,
            bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
        )
        frame = principal_directions(data.inputs, data.weights)
        rules = tuple(rule_for(mark, frame) for mark in marks)
        return cls(problem, System.of(problem, dtype), rules, bar)

    # --- single integrations ------------------------------------------------------------------

    def integrate(
        self,
        counts: Sequence[int],
        scrambles: Sequence[int],
        tolerance: float,
        what: str,
        halved: bool = False,
    ) -> np.ndarray:
        """Outputs `(time, point, channel)` on nodes of the given counts, one scramble a layer.

        `halved` asks for steps half as long: a stricter tolerance, and a stop between any two
        observed times.
        """
        seed, system = self.problem.seed, self.system
        nodes = [
            rule.place(count, np.random.default_rng([seed, layer, scramble]))
            for layer, (rule, count, scramble) in enumerate(
                zip(self.rules, counts, scrambles, strict=True)
            )
        ]
        dims = system.batch.inputs.shape[1], system.batch.targets.shape[1]
        start = limit_ensemble(self.problem.network, nodes, *dims, system.inputs.dtype)
        times, values, states = self.problem.times, [], []
        stops, method = times, method_for(tolerance)
        if halved:
            stops = np.union1d(times, 0.5 * (times + np.concatenate([[0.0], times[:-1]])))
            order = method.order(None)
            assert order is not None
            tolerance /= 2**order
            tolerance = max(tolerance, 1e-12 if self.double else 2e-6)
        shape = " × ".join(map(str, start.sizes))
        self.bar.set_description_str(f"limit: {shape} nodes, {what}")
        path = follow(
            advance_one, method, system.equations, system.rates, system.batch, start, stops,
            tolerance, "the limit",
        )  # fmt: skip
        for time, ensemble in zip(stops, path, strict=True):
            if time not in times:
                continue
            values.append(np.asarray(outputs(system, ensemble), float))
            if not any(scrambles):
                states.append(jax.tree.map(np.asarray, ensemble))
            self.bar.set_postfix_str(f" t = {time:.3g}", refresh=False)
            self.bar.update()
        if states:
            self.states = states
        return np.stack(values)

    def timed(self, counts: Sequence[int], tolerance: float) -> tuple[np.ndarray, np.ndarray]:
        """Replicate 0, and how much it changes when its steps are halved."""
        zeros = [0] * len(counts)
        finer = self.integrate(counts, zeros, tolerance, "time steps halved", halved=True)
        values = self.integrate(counts, zeros, tolerance, "replicate 1")
        return values, np.abs(values - finer)

    def largest_rms(self, error: np.ndarray) -> float:
        """The largest, over times, RMS over observed inputs and outputs."""
        observed = error[:, self.system.view("observed")]
        return float(np.sqrt(np.mean(observed**2, axis=(1, 2))).max())

    # --- exact problems -----------------------------------------------------------------------

    def exact(self, notes: list[str]) -> Trajectory:
        """All marks are atoms: one integration, no quadrature error."""
        counts = [rule.start for rule in self.rules]
        floor = EXACT_STEP_TOLERANCE if self.double else 1e-5
        self.bar.total = 2 * len(self.problem.times)
        values, time_error = self.timed(counts, floor)
        return self.finished([values], np.zeros_like(values), time_error, counts, floor, notes)

    # --- problems with quadrature error ---------------------------------------------------------

    def to_tolerance(self, notes: list[str]) -> Trajectory:
        """Refine until the estimated error is below the tolerance, or the budget is used up."""
        goal = self.problem.limit.tolerance
        counts = [min(rule.start, self.most_nodes) for rule in self.rules]
        step_tolerance = max(goal / 100, 1e-10 if self.double else 1e-6)
        first, time_error = self.timed(counts, step_tolerance)
        while self.largest_rms(time_error) > goal / 5 and step_tolerance > 1e-10:
            step_tolerance /= 10
            first, time_error = self.timed(counts, step_tolerance)
        budget = max(goal - self.largest_rms(time_error), goal / 10)
        values = [first]
        while True:
            values = self.replicates(values, counts, step_tolerance, budget)
            half_width = replicate_half_width(np.stack(values))
            if self.largest_rms(half_width) <= budget:
                break
            larger = self.larger(values, counts, step_tolerance, budget)
            if larger == counts:
                break
            counts, values = larger, []
        return self.finished(values, half_width, time_error, counts, step_tolerance, notes)

    @property
    def most_nodes(self) -> int:
        """The largest power of two in the budget: Sobol points are balanced at these only."""
        return 2 ** (self.problem.limit.max_nodes.bit_length() - 1)

    @property
    def double(self) -> bool:
        """Whether the limit is solved in double precision."""
        return self.system.inputs.dtype == jnp.float64

    def replicates(
        self, values: list[np.ndarray], counts: list[int], tolerance: float, budget: float
    ) -> list[np.ndarray]:
        """Enough replicates to decide: few when hopeless, more when that alone will do."""
        values, target = list(values), REPLICATES[0]
        self.bar.total = self.bar.n + target * len(self.problem.times)
        while len(values) < target:
            r = len(values)
            what = f"replicate {r + 1} of {target}"
            values.append(self.integrate(counts, [r] * len(counts), tolerance, what))
            if len(values) not in (LAYER_REPLICATES, *REPLICATES):
                continue
            spread = self.largest_rms(np.std(values, axis=0, ddof=1))
            enough = [n for n in REPLICATES if _predicted(spread, n) <= budget]
            if not enough and self.can_grow(counts):
                return values
            target = max(target, enough[0] if enough else REPLICATES[-1])
            self.bar.total = self.bar.n + (target - len(values)) * len(self.problem.times)
        return values

    def can_grow(self, counts: Sequence[int]) -> bool:
        """Whether any layer may still have more nodes."""
        return any(
            not isinstance(rule, Exact) and 2 * count <= self.most_nodes
            for rule, count in zip(self.rules, counts, strict=True)
        )

    def larger(
        self, values: list[np.ndarray], counts: list[int], tolerance: float, budget: float
    ) -> list[int]:
        """Sizes predicted to meet the budget, doubling layers where that pays most."""
        variances = self.layer_variances(values, counts, tolerance)
        spread = self.largest_rms(np.std(values, axis=0, ddof=1))
        plans = [
            (n, self.grown(variances, counts, (0.85 * budget / _predicted(spread, n)) ** 2))
            for n in REPLICATES
        ]
        return min(plans, key=lambda plan: plan[0] * self.work(plan[1]))[1]

    def grown(self, variances: dict[int, float], counts: list[int], factor: float) -> list[int]:
        """Sizes whose predicted variance is `factor` times today's, at little work."""
        variances, sizes = dict(variances), list(counts)
        needed = factor * sum(variances.values())
        while sum(variances.values()) > needed:
            gains = {}
            for layer, variance in variances.items():
                if 2 * sizes[layer] > min(self.most_nodes, counts[layer] * 2**MOST_DOUBLINGS):
                    continue
                doubled = [2 * c if k == layer else c for k, c in enumerate(sizes)]
                price = self.work(doubled) / self.work(sizes) - 1
                gains[layer] = variance * (1 - self.decay(layer)) / price
            if not gains:
                break
            layer = max(gains, key=lambda k: gains[k])
            sizes[layer] *= 2
            variances[layer] *= self.decay(layer)
        return sizes

    def decay(self, layer: int) -> float:
        """Assumed factor by which doubling a layer's nodes reduces its share of the variance."""
        rule = self.rules[layer]
        assert not isinstance(rule, Exact)
        return 2.0 ** (-2 * rule.order)

    def work(self, counts: Sequence[int]) -> float:
        """Multiplications of one evaluation of the network, up to a factor."""
        dims = self.system.batch.inputs.shape[1], self.system.batch.targets.shape[1]
        sizes = [dims[0], *counts, dims[1]]
        return float(sum(a * b for a, b in pairwise(sizes)))

    def layer_variances(
        self, values: list[np.ndarray], counts: Sequence[int], tolerance: float
    ) -> dict[int, float]:
        """Share of the replicate variance that each layer's nodes bring in."""
        random = [k for k, rule in enumerate(self.rules) if not isinstance(rule, Exact)]
        total = self.largest_rms(np.std(values, axis=0, ddof=1)) ** 2
        shares = {}
        for layer in random[1:]:
            varied = [values[0]]
            for scramble in range(1, LAYER_REPLICATES):
                scrambles = [scramble if k == layer else 0 for k in range(len(counts))]
                what = f"layer {layer + 1} alone, {scramble} of {LAYER_REPLICATES - 1}"
                varied.append(self.integrate(counts, scrambles, tolerance, what))
            shares[layer] = self.largest_rms(np.std(varied, axis=0, ddof=1)) ** 2
        rest = max(total - sum(shares.values()), 0.05 * total)
        return {random[0]: rest, **shares}

    # --- the result -----------------------------------------------------------------------------

    def finished(
        self,
        values: list[np.ndarray],
        half_width: np.ndarray,
        time_error: np.ndarray,
        counts: Sequence[int],
        step_tolerance: float,
        notes: list[str],
    ) -> Trajectory:
        """The trajectory with its errors, and whether they are as small as was asked."""
        goal = self.problem.limit.tolerance
        reached = self.largest_rms(half_width + time_error)
        if reached > goal:
            notes = [*notes, self.shortfall(reached, half_width, counts)]
        facts = {
            "nodes": [int(n) for n in self.states[0].sizes],
            "rules": [type(rule).__name__.lower() for rule in self.rules],
            "replicates": len(values),
            "step_tolerance": step_tolerance,
            "tolerance": goal,
            "error": reached,
            "quadrature_error": self.largest_rms(half_width),
            "time_error": self.largest_rms(time_error),
            "met": int(reached <= goal),
            "precision": self.problem.limit.precision,
        }
        return limit_trajectory(
            self.problem, self.system, np.stack(values), half_width, time_error, self.states, facts,
            notes,
        )  # fmt: skip

    def shortfall(self, reached: float, half_width: np.ndarray, counts: Sequence[int]) -> str:
        """Why the tolerance was missed, and what to raise."""
        goal = self.problem.limit.tolerance
        sizes = " × ".join(map(str, self.states[0].sizes))
        said = f"the tolerance {goal:g} was not met: the error is {reached:.2g} with {sizes} nodes"
        orders = [rule.order for rule in self.rules if not isinstance(rule, Exact)]
        if self.largest_rms(half_width) < goal or not orders:
            return f"{said}; it comes from time integration, so raise the tolerance"
        factor = (self.largest_rms(half_width) / goal) ** (1 / min(orders))
        wanted = 2 ** math.ceil(math.log2(factor * max(counts)))
        return f"{said}; raise limit.max_nodes to about {wanted}, or the tolerance"


def _predicted(spread: float, replicates: int) -> float:
    """Half-width to expect from this many replicates with this spread."""
    return float(stats.t.ppf(0.975, replicates - 1) * spread / math.sqrt(replicates))
