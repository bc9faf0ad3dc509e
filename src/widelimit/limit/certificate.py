"""A certificate of optimality for one hidden layer: how much lower could the risk be?

Against all networks with units of the same kind, weights within a box and a given variation norm,

    F(B, r) = {x ↦ κ ∫ a φ(w·x + b) dμ :  ∫ |a| dμ ≤ B,  |w_i|, |b| ≤ r},

a risk that is convex in the outputs satisfies (Frank & Wolfe 1956; Jaggi 2013)

    R(f) − inf_F R ≤ gap,  gap = E_π[∇ℓ·f] + κ B sup_(w, b) |E_π[∇ℓ(x) φ(w·x + b)]|.

The supremum is searched for from many starts. What is found may be less than it, and so may the
gap: `reached`, the share of the starts that ended at the largest value, tells how hard it was.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from scipy.optimize import minimize

from widelimit.basics.errors import ProblemError
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import progress as progress_of
from widelimit.basics.streams import Stream, generator
from widelimit.problem.network.layers import Dense
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

STARTS = 64
"""Half of them are neurons of the limit, half uniform in the box."""

SAME = 1e-3
"""Relative difference at which two searches have reached the same value."""


def optimality_gap(
    limit: Trajectory,
    *,
    bound: float | None = None,
    radius: float | None = None,
    starts: int = STARTS,
    progress: bool | None = None,
) -> xr.Dataset:
    """The gap at the observed times, and the `risk` that it is to be compared with.

    `bound` is B (default: the limit's own E|a| at each time), `radius` is r (default: its largest
    weight). `gap_error` is what the error of the outputs does to the gap, to first order. Raises
    `ValueError` if this is no limit, `ProblemError` if the problem has more than one hidden layer
    or one of its own kind, a loss that is not convex in the outputs, or observed inputs that are
    not the training inputs.

    >>> from widelimit import Problem, solve
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [1.0], "targets": [0.5]},
    ...     "training": {"horizon": 50.0},
    ... })
    >>> gap = optimality_gap(solve(problem), progress=False).gap
    >>> f = (2 * np.tanh(1.0) + np.tanh(-0.5)) / 2   # B = 3/2, and |w| ≤ 1
    >>> bool(np.isclose(gap[0], (f - 0.5) * (f + 1.5 * np.tanh(1.0))))
    True
    >>> bool(abs(gap[-1]) < 1e-6)
    True
    """
    if limit.kind != "limit":
        raise ValueError("the gap is that of a limit, and these are networks")
    problem = limit.problem
    _refuse(problem)
    states, data = limit.states["limit"].to_dataset(), problem.dataset
    scale, found = problem.layers.scale, []
    count = len(problem.times)
    with in_precision("float64"), progress_of("certificate", progress, count) as told:
        for k in range(count):
            now, f = states.isel(time=k), limit.dataset.output.values[k]
            weights = _units(now)
            box = float(np.abs(weights).max()) if radius is None else radius
            norms = np.linalg.norm(now["readout"].values, axis=1)
            size = float(now["weight_1"].values @ norms) if bound is None else bound
            slope = np.asarray(jax.vmap(jax.grad(problem.training.loss))(f, data.targets))
            slope = slope * data.weights[:, None]
            best, reached = _largest(_effect(problem, slope), weights, box, starts, k)
            if "output_bias" in now:  # the others have it too
                f = f - scale * now["output_bias"].values
            doubt = np.sum(np.abs(slope) * limit.dataset.output_error.values[k])
            found.append((np.sum(slope * f) + scale * size * best, doubt, reached, size, box))
            told.piece().at(1.0, f"t = {problem.times[k]:.3g}")
    names = "gap", "gap_error", "reached", "bound", "radius"
    series = {name: ("time", column) for name, column in zip(names, np.array(found).T, strict=True)}
    coordinates = {"time": problem.times}
    attrs = {"kind": "certificate", "title": problem.title, "starts": starts}
    return xr.Dataset(series, coordinates, attrs).assign(risk=limit.dataset.risk)


def _refuse(problem: Problem) -> None:
    """Raise `ProblemError` where the inequality does not hold, or is not known to."""
    problem.require_solved("the certificate looks at the nodes of a limit that is solved")
    network, loss = problem.layers, problem.training.loss
    mistakes = []
    if network.depth > 1:
        mistakes.append("network.activations: outputs are convex in the law of one hidden layer")
    elif not isinstance(network.layer_maps[0], Dense):
        mistakes.append("network.layers: the certificate is for a fully connected layer")
    if not loss.convex:
        mistakes.append(f"training.loss: {loss.loss!r} is not known to be convex in the outputs")
    if problem.observed_inputs is not problem.dataset.inputs:
        mistakes.append("observe.inputs: leave it out: the gap is that of the training inputs")
    if mistakes:
        raise ProblemError(mistakes, problem.title)


def _units(neurons: xr.Dataset) -> np.ndarray:
    """Weights and biases of the neurons, `(neuron, entries)`."""
    weights = neurons["input"].values.astype(float)
    if "bias_1" not in neurons:
        return weights
    return np.column_stack([weights, neurons["bias_1"].values])


def _effect(problem: Problem, slope: np.ndarray) -> Callable[[Array], Array]:
    """½ |E_π[∇ℓ(x) φ(w·x + b)]|² of a unit (w, b)."""
    (activation,) = problem.layers.activation_functions
    inputs, biased = problem.dataset.inputs, problem.layers.biases

    def effect(unit: Array) -> Array:
        z = inputs @ unit[:-1] + unit[-1] if biased else inputs @ unit
        return 0.5 * jnp.sum((activation(z) @ slope) ** 2)

    return effect


def _largest(
    effect: Callable[[Array], Array], weights: np.ndarray, box: float, starts: int, seed: int
) -> tuple[float, float]:
    """The largest |E_π[∇ℓ φ]| found in the box, and the share of starts that reached it."""
    rng = generator(Stream.SEARCH, seed)
    own = weights[rng.integers(len(weights), size=starts // 2)]
    anywhere = rng.uniform(-box, box, size=(starts - len(own), weights.shape[1]))
    uphill = jax.jit(jax.value_and_grad(effect))
    size = max(float(uphill(unit)[0]) for unit in own) or 1.0

    def downhill(unit: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = uphill(unit)
        return -float(value) / size, -np.asarray(slope) / size

    ends = np.array(
        [
            -minimize(
                downhill, start, jac=True, method="L-BFGS-B", bounds=[(-box, box)] * len(start)
            ).fun
            for start in np.clip(np.concatenate([own, anywhere]), -box, box)
        ]
    )
    norms = np.sqrt(2 * size * np.maximum(ends, 0))
    return float(norms.max()), float(np.mean(norms >= (1 - SAME) * norms.max()))
