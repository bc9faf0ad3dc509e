"""The tangent kernel along the limit: how far features move, and whether towards the target.

    K_t(x, x') = Σ_θ ξ_θ(t) E[∂f(x)/∂θ ∂f(x')/∂θ],  ∂_t f(x) = −E_{x'}[K_t(x, x') ∇ℓ(x')]  (descent)

(the sum over kinds of parameters, E over neurons; ξ inside). K_0 is the neural tangent kernel of
the lazy regime; after training, K_T is the kernel that features were learned into ("after kernel").

    movement(t) = |K_t − K_0| / |K_0|,    alignment(t) = <K_t, y yᵀ> / (|K_t| |y|²)

in the norm weighted with the data's weights (Cortes, Mohri & Rostamizadeh 2012, not centred).
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import ArrayLike
from jaxtyping import Array

from widelimit.basics.errors import ProblemError
from widelimit.basics.statistics import replicate_half_width
from widelimit.ensemble.meanfield import tangent_kernel
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.motion.flow import advance_one, follow, step_error
from widelimit.motion.integration import Integrator
from widelimit.nodes.rules import Exact, Rule
from widelimit.problem.functionals import kernel_of
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
    problem.require_finite_data("the tangent kernel")
    problem.require_noiseless("tangent kernels along Brownian paths are not built")
    with jax.enable_x64(problem.limit.precision == "float64"):
        work = Integrator.of(problem, jnp.dtype(problem.limit.precision), progress)
        if too_many := kernel_of(work.system.observed_outputs):
            raise ProblemError([f"observe.inputs: {too_many}"], problem.title)
        names, counts = (np.atleast_1d(facts[key]).tolist() for key in ("rules", "points"))
        rules = [
            next(rule for rule in choices if rule.name == name)
            for choices, name in zip(work.candidates, names, strict=True)
        ]
        exact = all(isinstance(rule, Exact) for rule in rules)
        runs, tolerance = (1 if exact else REPLICATES), float(facts["step_tolerance"])
        work.bar.set_description_str("tangent kernel")
        work.bar.total = runs + 1
        with work.bar:
            found = np.stack([_over_time(work, rules, counts, r, tolerance) for r in range(runs)])
            finer = _over_time(work, rules, counts, 0, tolerance * FINER)
    return _described(limit, found, finer)


def _over_time(
    work: Integrator, rules: Sequence[Rule], counts: Sequence[int], scramble: int, tolerance: float
) -> np.ndarray:
    """K `(time, input, channel, other_input, other_channel)` on one set of nodes."""
    start, times = work.placed(rules, counts, [scramble] * len(counts)), work.problem.times
    method, system = work.means(start.sizes, tolerance)
    path = follow(advance_one, method, system, start, times, tolerance, "the limit")
    found = [np.asarray(_at(system, now, t), float) for now, t in zip(path, times, strict=True)]
    work.bar.update()
    return np.stack(found)


@eqx.filter_jit
def _at(system: System, ensemble: Ensemble, time: ArrayLike) -> Array:
    inputs = system.inputs[system.view("observed")]
    return tangent_kernel(system.equations, system.dynamics.rates, ensemble, inputs, time)


def _described(limit: Trajectory, found: np.ndarray, finer: np.ndarray) -> xr.Dataset:
    """Replicates `(replicate, time, …)` of K, and the first with finer steps, as a dataset."""
    data, seen = limit.problem.dataset, limit.problem.observed_inputs
    own = seen is data.inputs
    share = data.weights if own else np.full(len(seen), 1 / len(seen))
    whole = np.concatenate([found, finer[None]])
    dims = "time", "input", "channel", "other_input", "other_channel"
    series = {"kernel": (dims, whole), "movement": (("time",), _movement(whole, share))}
    if own:
        series["alignment"] = (("time",), _alignment(whole, share, data.targets))
    variables = {}
    for name, (axes, values) in series.items():
        runs, change = values[:-1], step_error(values[0], values[-1])
        variables[name] = (axes, runs.mean(axis=0))
        variables[f"{name}_error"] = (axes, replicate_half_width(runs) + change)
    channels = list(data.channels)
    coordinates = {"time": limit.problem.times, "channel": channels, "other_channel": channels}
    attrs = {"kind": "tangent kernel", "title": limit.problem.title, "replicates": len(found)}
    return xr.Dataset(variables, coordinates, attrs)


def _norm(kernels: np.ndarray, share: np.ndarray) -> np.ndarray:
    return np.sqrt(np.einsum("rtxcyd,x,y->rt", kernels**2, share, share))


def _movement(kernels: np.ndarray, share: np.ndarray) -> np.ndarray:
    first = kernels[:, :1]
    size = _norm(first, share)
    return _norm(kernels - first, share) / np.where(size > 0, size, 1.0)


def _alignment(kernels: np.ndarray, share: np.ndarray, targets: np.ndarray) -> np.ndarray:
    weighted = targets * share[:, None]
    along = np.einsum("rtxcyd,xc,yd->rt", kernels, weighted, weighted)
    size = _norm(kernels, share) * (share @ (targets**2).sum(axis=1))
    return along / np.where(size > 0, size, 1.0)
