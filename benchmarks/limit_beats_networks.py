"""Claim: solving the limit reaches a stated accuracy far cheaper than simulating networks.

Three problems; RMS errors of the outputs at the observed times against a fine solve. Against

(a) the cheapest network estimator: the mean of R networks of width n, n and R chosen to win, with
    or without its O(1/n) bias removed by the coupled halves of a width-2n network,
    2 f_2n − ½ (f_a + f_b); networks are trained by gradient flow in float32, many at once or one
    by one, whichever is faster;
(b) one wide network, the same engine.

A network estimator is measured on 64 … 256 samples for its variance V and bias B at each width;
R = V / (e² − B²). Errors too small to be run are extrapolated from this law, and (b) from its
variance ∝ 1/n and its time at the largest width run, growing with the fitted power of n, at most
1 with one hidden layer and 2 with more; marked (x).

The limit is timed twice, both without compiling: `known`, as many replicates on the nodes that the
search ends with as bring the RMS error (of 8 replicates) below e; and `found`, a whole `solve` to
tolerance e, with its search for nodes and its error estimate. A tolerance bounds a 95 %
half-width, so the RMS error comes out smaller than e. Ratios are at equal RMS error: the
networks' times are those for the RMS error that the limit reached (for `found`, over several
seeds).
"""

import math
import sys
import time
from dataclasses import dataclass
from functools import cached_property

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from table import Row, lines

from widelimit import Problem, solve
from widelimit.ensemble.model import model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, outputs
from widelimit.limit.search import seen_of_limit
from widelimit.motion.engine import Engine, Steps, engine
from widelimit.motion.flow import FlowPath, advance_many, method_for
from widelimit.motion.moments import ensembles
from widelimit.nodes.design import Design
from widelimit.problem.network.residual import FEWEST_DEPTHS

SAMPLES = {(8,): 256, (16,): 256, (32,): 256, (64,): 128, (128,): 64, (256,): 32}
"""Networks trained at each width to measure a variance and a bias; fewer where data are many."""

ENOUGH_SECONDS = 10
"""A time is the best of three runs, or of those that were begun within so many seconds."""


def small(depth: int) -> Problem:
    """Two inputs, 32 points, times up to 3."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(32, 2))
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"] * depth},
            "data": {
                "source": "table",
                "inputs": x.tolist(),
                "targets": (np.sin(x[:, 0]) + 0.5 * np.cos(2 * x[:, 1])).tolist(),
            },
            "training": {"horizon": 3.0},
            "observe": {"times": [0.0, 1.0, 3.0]},
        }
    )


def digits() -> Problem:
    """The demo at three of its times; no holdout, for that depends on the seed."""
    from importlib import resources

    demo = Problem.from_file(str(resources.files("widelimit.command") / "demo.toml"))
    return demo.with_changes(data={"holdout": 0.0}, observe={"times": [0.0, 3.0, 30.0]})


def half(ensemble: Ensemble, side: int) -> Ensemble:
    """One of the two halves of a network: its own neurons, the diagonal blocks of weights."""
    sizes = [n // 2 for n in ensemble.sizes]
    cut = [slice(side * n, (side + 1) * n) for n in sizes]
    chosen = ensemble.cut(cut)
    return chosen.weighted(tuple(2 * w for w in chosen.weights))


@dataclass
class Contest:
    """One problem: its reference, its networks and its limit."""

    problem: Problem
    finest: float
    """Tolerance of the reference."""
    samples: dict[tuple[int, ...], int]
    seeds: int
    """Whole solves whose errors are averaged."""
    wide: tuple[tuple[int, ...], ...]
    """Widths of single networks whose times are measured."""
    halves: bool = True
    """Whether coupled halves are among the estimators."""
    double: bool = False
    """Whether the reference is in double precision where the limit is not."""

    @cached_property
    def reference(self) -> np.ndarray:
        """Outputs `(time, point, channel)` of a fine solve on other scrambles."""
        finer = {"tolerance": self.finest, "max_nodes": 65536}
        if self.double:
            finer["precision"] = "float64"
        fine = self.problem.with_changes(seed=12345, limit=finer)
        return self.outputs_of(solve(fine, progress=False))

    def outputs_of(self, limit) -> np.ndarray:
        """Observed outputs as an array."""
        return limit.dataset.output.values

    def rms(self, error: np.ndarray) -> float:
        """The largest, over times, RMS over inputs and channels."""
        return float(np.sqrt(np.mean(error**2, axis=(-2, -1))).max())

    # --- networks -------------------------------------------------------------------------------

    def networks(
        self, given: tuple[int, ...], tolerance: float, halves: bool
    ) -> tuple[np.ndarray, float]:
        """Samples `(sample, time, point, channel)` of an estimator, and seconds for each."""
        problem, samples = self.problem, self.samples[given]
        system, model = System.of(problem, jnp.float32), model_of(problem)
        dims = system.inputs.shape[1], system.batch.targets.shape[1]
        width = problem.network.shape(given)
        shape = problem.network.scaled(width, 2.0) if halves else width
        keys = jax.random.split(jax.random.key(1), samples)
        draw = jax.jit(jax.vmap(lambda k: model.drawn(k, shape, dims, jnp.float32)[0]))
        batches = [draw(keys)]
        if halves:
            batches += [jax.vmap(lambda e, side=side: half(e, side))(batches[0]) for side in (0, 1)]
        runs = [self._run(system, batch, tolerance) for batch in batches]
        values = [run[0] for run in runs]
        together = sum(run[1] for run in runs) / samples
        alone = self._alone(shape) + (2 * self._alone(width) if halves else 0.0)
        seconds = min(together, alone)
        return (2 * values[0] - 0.5 * (values[1] + values[2]) if halves else values[0]), seconds

    def _run(self, system: System, batch: Ensemble, tolerance: float) -> tuple[np.ndarray, float]:
        """Outputs of a batch of networks, and the warm time of all: the best of a few runs."""
        read = eqx.filter_jit(eqx.filter_vmap(outputs, in_axes=(None, 0)))

        def path(times: np.ndarray) -> np.ndarray:
            solver, observed = method_for(tolerance), system.view("observed")
            way = FlowPath(advance_many, solver, system, times, tolerance, "a network")
            found = [np.asarray(read(system, e))[:, observed] for e in ensembles(way, batch)]
            return np.stack(found, axis=1)

        path(np.array([0.0, 1e-3]))  # compiles
        values, seconds = np.empty(0), []
        while len(seconds) < 3 and sum(seconds) < ENOUGH_SECONDS:
            started = time.perf_counter()
            values = path(self.problem.times)
            seconds.append(time.perf_counter() - started)
        return values, min(seconds)

    @cached_property
    def estimators(self) -> list[dict]:
        """Variance, bias and time of every network estimator."""
        found = []
        for halves in (False, True)[: 1 + self.halves]:
            for width in [w for w in self.samples if not (halves and w == max(self.samples))]:
                values, seconds = self.networks(width, 1e-4, halves)
                count = len(values)
                variance = np.mean(np.var(values, axis=0, ddof=1), axis=(-2, -1))
                offset = np.mean((values.mean(0) - self.reference) ** 2, axis=(-2, -1))
                bias = np.maximum(0.0, offset - variance / count)
                found.append(
                    {
                        "width": width,
                        "halves": halves,
                        "seconds": seconds,
                        "variance": variance,
                        "bias2": bias,
                    }
                )
        return found

    def cheapest(self, error: float) -> tuple[float, str]:
        """(a): seconds, and what was averaged."""
        best = (math.inf, "none")
        for e in self.estimators:
            room = error**2 - e["bias2"]
            if (room > 0).all():
                replicas = max(1, math.ceil(float((e["variance"] / room).max())))
                seconds = replicas * e["seconds"]
                mark = " (x)" if replicas > self.samples[e["width"]] else ""
                kind = "halves of 2n, " if e["halves"] else ""
                name = " × ".join(map(str, e["width"]))
                best = min(best, (seconds, f"{kind}n = {name}, R = {replicas:,}{mark}"))
        return best

    def one_wide(self, error: float) -> tuple[float, str]:
        """(b): seconds, and the width."""
        plain = [e for e in self.estimators if not e["halves"]]
        largest, (*_, (known,)) = plain[-1], self.wide
        width = math.ceil(float(largest["variance"].max()) * largest["width"][0] / error**2)
        shape = self.problem.network.shape
        times = [self._alone(shape(n)) for n in self.wide]
        slope = np.polyfit(np.log([n for (n,) in self.wide]), np.log(times), 1)[0]
        slope = min(slope, 1.0 if self.problem.network.depth == 1 else 2.0)
        mark = " (x)" if width > known else ""
        return times[-1] * (width / known) ** slope, f"n = {width:,}{mark}"

    def _alone(self, shape: tuple[int, ...]) -> float:
        """Seconds of one network of these widths."""
        width = shape
        if width not in self.__dict__.setdefault("_times", {}):
            system = System.of(self.problem, jnp.float32)
            dims = system.inputs.shape[1], system.batch.targets.shape[1]
            model = model_of(self.problem)
            one, _ = model.drawn(jax.random.key(2), shape, dims, jnp.float32)
            batch = jax.tree.map(lambda leaf: leaf[None], one)
            self.__dict__["_times"][width] = self._run(system, batch, 1e-4)[1]
        return self.__dict__["_times"][width]

    # --- the limit ------------------------------------------------------------------------------

    def known(self, error: float) -> tuple[float, float, str]:
        """Seconds and RMS error of the fewest replicates, on nodes found to reach the error."""
        chosen = solve(self.problem.with_changes(limit={"tolerance": error}), progress=False)
        attrs = chosen.dataset.attrs
        with engine(self.problem, "limit", False) as work:
            rules = [
                next(rule for rule in choices if rule.name == name)
                for choices, name in zip(
                    work.candidates, np.atleast_1d(attrs["rules"]).tolist(), strict=True
                )
            ]
            design = Design.of(rules, np.atleast_1d(attrs["points"]).tolist())
            depths = int(attrs.get("depth_nodes", FEWEST_DEPTHS)) // FEWEST_DEPTHS
            steps = Steps(error / 100, depths=depths)
            seconds, spread = self._replicate(work, design, steps)
            shape = " × ".join(map(str, np.atleast_1d(attrs["nodes"])))
        replicates = math.ceil((spread / error) ** 2)
        reached = spread / math.sqrt(replicates)
        what = f"{replicates} replicate(s) of {shape}, RMS {reached:.1e}"
        return replicates * seconds, reached, what

    def _replicate(self, work: Engine, design: Design, steps: Steps) -> tuple[float, float]:
        """Seconds and RMS error of a replicate, over 8."""
        squares, seconds = [], []
        for scramble in range(9):  # the first one compiles
            started = time.perf_counter()
            run = work.run(design.replicate(scramble), steps, seen_of_limit)
            values = run.seen["outputs"]
            seconds.append(time.perf_counter() - started)
            squares.append(self.rms(values[:, work.system.view("observed")] - self.reference) ** 2)
        return min(seconds[1:]), float(np.sqrt(np.mean(squares[1:])))

    def found(self, error: float) -> tuple[float, float, str]:
        """Seconds and RMS error of whole solves to this tolerance, on sizes that are compiled."""
        asked = self.problem.with_changes(limit={"tolerance": error})
        limit, squares, seconds = solve(asked, progress=False), [], []
        for seed in range(1, 1 + self.seeds):
            own = asked.with_changes(seed=seed)
            solve(own, progress=False)  # another seed may need other sizes: this compiles them
            started = time.perf_counter()
            limit = solve(own, progress=False)
            seconds.append(time.perf_counter() - started)
            squares.append(self.rms(self.outputs_of(limit) - self.reference) ** 2)
        a, reached = limit.dataset.attrs, float(np.sqrt(np.mean(squares)))
        shape = " × ".join(map(str, np.atleast_1d(a["nodes"])))
        what = f"{shape}, {a['replicates']} replicates, RMS {reached:.1e}"
        return float(np.median(seconds)), reached, what


TIMES_ASKED = {
    "1 hidden layer, 2 inputs": {
        1e-3: "(b) known ≥ 100 ×, found ≥ 50 ×",
        1e-4: "(b) known ≥ 500 ×, found ≥ 200 ×",
    },
    "2 hidden layers, 2 inputs": {1e-3: "(a), (b) ≥ 1,000 ×"},
    "digits, 2 hidden layers": {1e-2: "(a) ≥ 10 ×, (b) ≥ 60 ×"},
}

CONTESTS = {
    "1 hidden layer, 2 inputs": lambda: Contest(
        small(1), 1e-5, SAMPLES, 4, ((2**16,), (2**18,), (2**20,))
    ),
    "2 hidden layers, 2 inputs": lambda: Contest(
        small(2), 1e-6, SAMPLES, 4, ((512,), (1024,), (2048,))
    ),
    "digits, 2 hidden layers": lambda: Contest(
        digits(), 6e-3, {(16,): 64, (32,): 64, (64,): 32}, 1, ((256,), (512,), (1024,))
    ),
}


def times_faster(ratio: float) -> str:
    """A ratio in words: no estimator that was tried may have a small enough bias."""
    if not math.isfinite(ratio):
        return "out of the networks' reach"
    return f"{ratio:,.0f} ×" if ratio >= 10 else f"{ratio:.1f} ×"


def measure(names: tuple[str, ...] = tuple(CONTESTS)) -> list[Row]:
    """One row a problem and accuracy."""
    rows = []
    for name in names:
        contest = CONTESTS[name]()
        for error in (1e-2,) if name.startswith("digits") else (1e-2, 1e-3, 1e-4):
            known, found = contest.known(error), contest.found(error)
            ratios, how = [], [f"known {known[0]:.3g} s ({known[2]})"]
            how.append(f"found {found[0]:.3g} s ({found[2]})")
            for label, estimate in (("a", contest.cheapest), ("b", contest.one_wide)):
                times = [estimate(limit[1])[0] / limit[0] for limit in (known, found)]
                ratios.append(
                    f"({label}) known {times_faster(times[0])}, found {times_faster(times[1])}"
                )
                seconds, what = estimate(error)
                how.append(f"({label}) for RMS {error:g}: {seconds:.3g} s ({what})")
            asked = TIMES_ASKED[name].get(error, "")
            rows.append(Row(f"{name}, {error:g}", asked, "; ".join(ratios), "; ".join(how)))
            print(lines(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


if __name__ == "__main__":
    print(lines(measure(tuple(sys.argv[1:]) or tuple(CONTESTS))))
