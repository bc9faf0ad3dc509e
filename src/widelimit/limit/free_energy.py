"""The free energy of noisy SGD: what training at a temperature minimises.

    F(t) = R + (λ/2) E|θ|² − τ Ent(law of θ),   dF/dt = −E[ξ |G + λθ + τ ∇ log density|²] ≤ 0

(Mei, Montanari & Nguyen 2018, §5; θ all parameters of a neuron, one hidden layer, one λ and one τ.)
From two hidden layers on hidden-to-hidden weights remember the paths of the labels, and nothing
shows that a sum with the entropies of present values decreases: there it is refused.

The entropy is estimated by Kozachenko & Leonenko (1987): for N independent points in R^d, ε_i the
distance from point i to its nearest neighbour and c_d the volume of the unit ball,

    Ent ≈ ψ(N) − ψ(1) + log c_d + (d/N) Σ_i log ε_i,

less what it is wrong by for N normal points. The size of this correction is part of the error (of
16,384 points: 0.004 in R^3, 0.02 in R^4, 0.05 in R^6, and falling slowly: R^4 is the last offered).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array, Float
from scipy.spatial import KDTree
from scipy.special import digamma, gammaln

from widelimit.basics.errors import ProblemError
from widelimit.basics.statistics import Estimate
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.layered.equations import layered
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, outputs
from widelimit.motion.engine import Engine, Steps, engine
from widelimit.nodes.design import Design
from widelimit.nodes.points import Nodes, image
from widelimit.nodes.sobol import Paths
from widelimit.problem.network.marks import coordinates
from widelimit.problem.problem import Problem
from widelimit.problem.training.schedules import Constant
from widelimit.results.trajectory import Trajectory

NODES = 16_384
REPLICATES = 8
"""Neurons that tell the law, and how many independent sets of them."""

MOST_DIMENSIONS = 4
"""Entropies of more moving parameters a neuron are too uncertain."""

REFERENCES = 16
"""Sets of normal points that tell the entropy's bias."""


@dataclass(frozen=True)
class Independent(Paths):
    """Independent initial values: points of low discrepancy repel each other, and would look more
    spread out than the law is."""

    def size(self, count: int) -> int:
        """As many as are asked for."""
        return count

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` independent neurons."""
        points = image(self.mark, rng.normal(size=(count, coordinates(self.mark))))
        return Nodes(np.asarray(points), np.full(count, 1 / count))


def free_energy(limit: Trajectory, *, progress: bool | None = None) -> xr.Dataset:
    """F and its three parts over the observed times, on independent neurons and paths of their own.

    `free_energy(time)`, `risk`, `ridge` (λ/2 E|θ|²), `entropy` (of the parameters that are not
    frozen), each with `…_error`: the 95 % half-width over replicates, a bound from halved
    steps, and what a finite number of neurons may do to the mean. Where the initial law has atoms,
    F is infinite at time 0.

    Raises `ValueError` if this is no limit, `ProblemError` where F is not known to decrease or
    there are more than `MOST_DIMENSIONS` moving parameters a neuron.

    >>> from widelimit import Problem, solve
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"]},
    ...     "data": {"source": "table", "inputs": [0.0], "targets": [0.0]},
    ...     "training": {"horizon": 1.0, "temperature": 0.5, "weight_decay": 1.0},
    ...     "limit": {"nodes": [256]}, "observe": {"times": 2},
    ... })
    >>> found = free_energy(solve(problem), progress=False)
    >>> bool(found.free_energy[1] < found.free_energy[0])
    True
    """
    if limit.kind != "limit":
        raise ValueError("the free energy is that of a limit, and these are networks")
    problem, tolerance = limit.problem, float(limit.dataset.attrs["step_tolerance"])
    if found := reasons_against(problem):
        raise ProblemError(found, problem.title)
    with engine(problem, "free energy", progress, "float64") as work:
        work.progress.expect(REPLICATES + 1)
        bias = entropy_bias(NODES, len(_moving(problem)))

        def seen(replicate: int, halved: bool) -> _Seen:
            return _run(work, Steps(tolerance, halved=halved), replicate)

        runs = [seen(number, False) for number in range(REPLICATES)]
        return _described(work, runs, seen(0, True), bias)


def reasons_against(problem: Problem) -> list[str]:
    """Why there is no free energy, each with its place."""
    training, network = problem.training, problem.layers
    found = problem.missing_data("the free energy")
    if not training.rule.noisy:
        found.append("training.temperature: found 0; the free energy belongs to noisy training")
    if network.depth > 1:
        found.append(
            f"network.activations: found {network.depth} hidden layers; weights between them "
            "remember the paths of the labels, and no free energy is known to decrease: give one"
        )
    found += _mixed_decay(problem) if not found else []
    found += _half_frozen(problem) if not found else []
    if not found and (moving := len(_moving(problem))) > MOST_DIMENSIONS:
        found.append(
            f"data: a neuron has {moving} moving parameters; the entropy of their law is estimated "
            f"up to {MOST_DIMENSIONS}"
        )
    return found


def _mixed_decay(problem: Problem) -> list[str]:
    """Weight decays that are not one constant."""
    decay, biases = problem.training.weight_decay, problem.layers.biases
    if decay is None:
        return []
    own = [decay.input, decay.readout, *(decay.bias_rates(1)[:1] if biases else ())]
    if all(isinstance(rate, Constant) and rate == own[0] for rate in own):
        return []
    return ["training.weight_decay: the free energy needs one number for all parameters"]


def _kinds(problem: Problem) -> list[tuple[str, int, bool]]:
    """Name, entries, and whether it is frozen, of every kind of parameter of a neuron."""
    rates, network, data = problem.training.learning_rates, problem.layers, problem.dataset
    entries = network.entries(data.inputs.shape[1], data.targets.shape[1])
    bias = [("bias_1", 1, rates.bias_rates(1)[0].frozen)] * network.biases
    first = ("input", entries[0], rates.input.frozen)
    return [first, *bias, ("readout", entries[-1], rates.readout.frozen)]


def _moving(problem: Problem) -> np.ndarray:
    """Which of a neuron's numbers move, in the order input, bias, readout."""
    kinds = _kinds(problem)
    return np.flatnonzero(np.repeat([not still for _, _, still in kinds], [n for _, n, _ in kinds]))


def _half_frozen(problem: Problem) -> list[str]:
    """Frozen parameters that differ between neurons: the law of all has no density then."""
    laws: dict[str, Any] = {block.name: block.law for block in _mark(problem)}
    found = []
    for name, _, still in _kinds(problem):
        atoms = laws[name if name in laws else "neuron"].atoms()
        if still and (atoms is None or len(atoms[1]) > 1):
            found.append(
                f"training.learning_rates: {name} is frozen and differs between neurons; the "
                "entropy is estimated where frozen parameters are the same for all"
            )
    return found


def _mark(problem: Problem) -> tuple:
    data = problem.dataset
    return problem.layers.marks(data.inputs.shape[1], data.targets.shape[1])[0]


class _Seen(NamedTuple):
    """One replicate over time: outputs at the data, and the parts of F."""

    outputs: Float[np.ndarray, "time points channels"]
    risk: Float[np.ndarray, " time"]
    squares: Float[np.ndarray, " time"]
    entropy: Float[np.ndarray, " time"]


def _run(work: Engine, steps: Steps, replicate: int) -> _Seen:
    rule = work.candidates[0][0]
    assert isinstance(rule, Paths)
    moving, marks = _moving(work.problem), _mark(work.problem)
    atomic = any(block.law.atoms() is not None for block in marks)

    def look(system: System, ensemble: Ensemble, now: float) -> _Seen:
        f, own_risk = _at(system, ensemble)
        theta = _labels(ensemble)
        own = -np.inf if now == 0 and atomic else entropy(theta[:, moving])
        squares = (theta**2).sum(axis=1).mean()
        return _Seen(np.asarray(f), np.asarray(own_risk), np.asarray(squares), np.asarray(own))

    design = Design.of([Independent(rule.mark, rule.frame)], [NODES], replicate)
    return work.run(design, steps, look).seen


@eqx.filter_jit
def _at(system: System, ensemble: Ensemble) -> tuple[Array, Array]:
    """Outputs at the training points, and their risk."""
    f = outputs(system, ensemble)[system.view("train")]
    return f, system.equations.risk(f, system.batch)


def _labels(ensemble: Ensemble) -> Float[np.ndarray, "neuron entries"]:
    theta = layered(ensemble)
    biases = [] if theta.biases is None else [np.asarray(theta.biases[0])[:, None]]
    return np.concatenate([np.asarray(theta.input), *biases, np.asarray(theta.readout)], axis=1)


def entropy(points: Float[np.ndarray, "neuron entries"]) -> float:
    """−∫ p log p by the distances to nearest neighbours, of points made round (covariance 1) first.

    >>> points = np.random.default_rng(0).normal(size=(4096, 1))
    >>> exact = 0.5 * np.log(2 * np.pi * np.e)
    >>> bool(abs(entropy(points) - exact) < 0.1)
    True
    """
    count, dimension = points.shape
    factor = np.linalg.cholesky(np.cov(points.T).reshape(dimension, dimension))
    rounded = np.linalg.solve(factor, points.T).T
    distances = KDTree(rounded).query(rounded, k=2)[0][:, 1]  # the first is the point itself
    ball = 0.5 * dimension * math.log(math.pi) - gammaln(1 + dimension / 2)
    stretch = np.log(np.diag(factor)).sum()
    nearest = dimension * np.log(distances).mean()
    return float(digamma(count) - digamma(1) + ball + nearest + stretch)


def entropy_bias(count: int, dimension: int) -> float:
    """By how much `entropy` is off on so many normal points, on average."""
    rng, off = generator(Stream.REFERENCE, 0), []
    for _ in range(REFERENCES):
        points = rng.normal(size=(count, dimension))
        exact = 0.5 * (dimension * math.log(2 * math.pi) + (points**2).sum(axis=1).mean())
        off.append(entropy(points) - exact)  # with log p at the same points it scatters less
    return float(np.mean(off))


def _described(work: Engine, runs: Sequence[_Seen], halved: _Seen, bias: float) -> xr.Dataset:
    """F and its parts with their errors, `bias` being that of the entropies."""
    problem, system = work.problem, work.system
    training, whole = problem.training, [*runs, halved]
    decay = 0.0 if training.weight_decay is None else training.weight_decay.input.highest()
    risks = np.stack([run.risk for run in whole])
    ridges = 0.5 * decay * np.stack([run.squares for run in whole])
    entropies = np.stack([run.entropy for run in whole]) - bias
    mean = np.mean([run.outputs for run in runs], axis=0)
    of_mean = np.stack([system.equations.risk(jnp.asarray(f), system.batch) for f in mean])
    gap = risks[:-1].mean(axis=0) - of_mean  # R is not linear in the outputs
    energies = risks + ridges - training.temperature * entropies
    parts = {
        "risk": (risks - gap, np.abs(gap)),
        "ridge": (ridges, 0.0),
        "entropy": (entropies, abs(bias)),
        "free_energy": (energies - gap, np.abs(gap) + training.temperature * abs(bias)),
    }
    variables = {}
    with np.errstate(invalid="ignore"):  # infinities at time 0
        for name, (values, off) in parts.items():
            found = Estimate.of(list(values[:-1]), values[-1])
            variables[name] = ("time", found.value)
            variables[f"{name}_error"] = ("time", found.error + off)
    attrs = {"kind": "free energy", "title": problem.title, "replicates": len(runs)}
    return xr.Dataset(variables, {"time": problem.times}, attrs)
