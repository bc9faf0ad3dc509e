"""The tangent kernel along the limit: how far features move, and whether towards the target.

    K_t(x, x') = Σ_θ ξ_θ(t) E[∂f(x)/∂θ ∂f(x')/∂θ],  ∂_t f(x) = −E_{x'}[K_t(x, x') ∇ℓ(x')]  (descent)

(the sum over kinds of parameters, E over neurons; ξ inside). K_0 is the neural tangent kernel of
the lazy regime; after training, K_T is the kernel that features were learned into ("after kernel").

    movement(t) = |K_t − K_0| / |K_0|,    alignment(t) = <K_t, y yᵀ> / (|K_t| |y|²)

in the norm weighted with the data's weights (Cortes, Mohri & Rostamizadeh 2012, not centred).
"""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Array

from widelimit.basics.errors import ProblemError
from widelimit.basics.statistics import Estimate, measured
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.motion.engine import Engine, Steps, engine
from widelimit.nodes.design import Design
from widelimit.problem.functionals import kernel_of
from widelimit.problem.network.residual import FEWEST_DEPTHS
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

REPLICATES = 8
"""How many scrambles of the limit's nodes tell the error."""

FINER = 0.1
"""Steps are compared with those of this share of the limit's step tolerance."""


def tangent_kernels(limit: Trajectory, *, progress: bool | None = None) -> xr.Dataset:
    """K_t at the observed inputs and times, on the nodes that the limit took.

    `kernel(time, input, channel, other_input, other_channel)`, `movement(time)` and, where the
    observed inputs are the training points, `alignment(time)`; each with `…_error`, the 95 %
    half-width over scrambles of the nodes plus a bound from finer steps. Units: K is per unit
    of mean-field time. Raises `ValueError` if this is no limit, `ProblemError` if there are more
    than `MOST_OUTPUTS` outputs or the data are a whole population.

    >>> from widelimit import Problem, solve
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["identity"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [1.0], "targets": [0.5]},
    ...     "training": {"horizon": 1.0},
    ... })
    >>> found = tangent_kernels(solve(problem), progress=False)
    >>> found.kernel.values[0].item()     # E[a² + w²] = (4 + 1)/2 + (1 + ¼)/2
    3.125
    """
    if limit.kind != "limit":
        raise ValueError("the tangent kernel is that of a limit, and these are networks")
    problem, facts = limit.problem, limit.dataset.attrs
    problem.require_solved("ask for the functional 'kernel', which is measured with it")
    problem.require_finite_data("the tangent kernel")
    problem.require_noiseless("tangent kernels along Brownian paths are not built")
    with engine(problem, "tangent kernel", progress) as work:
        if too_many := kernel_of(work.system.observed_outputs):
            raise ProblemError([f"observe.inputs: {too_many}"], problem.title)
        design = _design_of(work, facts)
        runs = REPLICATES if design.random else 1
        work.progress.expect(runs + 1)
        depths = int(facts.get("depth_nodes", FEWEST_DEPTHS)) // FEWEST_DEPTHS
        steps = Steps(float(facts["step_tolerance"]), depths=depths)
        finer = steps._replace(tolerance=steps.tolerance * FINER)

        def seen(replicate: int, closer: bool) -> dict[str, np.ndarray]:
            found = work.run(design.replicate(replicate), finer if closer else steps, _at)
            return _quantities(problem, np.asarray(found.seen, float))

        return _described(problem, measured(seen, runs), runs)


def _design_of(work: Engine, facts: Mapping[str, Any]) -> Design:
    """The nodes that a limit took."""
    names, counts = (np.atleast_1d(facts[key]).tolist() for key in ("rules", "points"))
    rules = [
        next(rule for rule in choices if rule.name == name)
        for choices, name in zip(work.candidates, names, strict=True)
    ]
    return Design.of(rules, counts)


@eqx.filter_jit
def _at(system: System, ensemble: Ensemble, time: ArrayLike) -> Array:
    """K at the observed inputs."""
    inputs = system.inputs[system.view("observed")]
    return system.equations.tangent_kernel(system.dynamics.rates, ensemble, inputs, time)


def _quantities(problem: Problem, kernels: np.ndarray) -> dict[str, np.ndarray]:
    """What is told of K `(time, input, channel, other_input, other_channel)`."""
    data, seen = problem.dataset, problem.observed_inputs
    own = seen is data.inputs
    share = data.weights if own else np.full(len(seen), 1 / len(seen))
    found = {"kernel": kernels, "movement": _movement(kernels, share)}
    return found | ({"alignment": _alignment(kernels, share, data.targets)} if own else {})


def _described(problem: Problem, found: dict[str, Estimate], replicates: int) -> xr.Dataset:
    """Estimates as a dataset."""
    dims = "time", "input", "channel", "other_input", "other_channel"
    variables = {}
    for name, estimate in found.items():
        own = dims if name == "kernel" else ("time",)
        variables[name] = (own, estimate.value)
        variables[f"{name}_error"] = (own, estimate.error)
    channels = list(problem.dataset.channels)
    coordinates = {"time": problem.times, "channel": channels, "other_channel": channels}
    attrs = {"kind": "tangent kernel", "title": problem.title, "replicates": replicates}
    return xr.Dataset(variables, coordinates, attrs)


def _norm(kernels: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("txcyd,x,y->t", kernels**2, share, share))


def _movement(kernels: np.ndarray, share: np.ndarray) -> np.ndarray:
    first = kernels[:1]
    size = _norm(first, share)
    return _norm(kernels - first, share) / np.where(size > 0, size, 1.0)


def _alignment(kernels: np.ndarray, share: np.ndarray, targets: np.ndarray) -> np.ndarray:
    weighted = targets * share[:, None]
    along = np.einsum("txcyd,xc,yd->t", kernels, weighted, weighted)
    size = _norm(kernels, share) * (share @ (targets**2).sum(axis=1))
    return along / np.where(size > 0, size, 1.0)
