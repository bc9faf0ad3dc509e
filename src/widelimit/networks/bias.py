"""The O(1/n) bias of networks, and what it does to the risk: measured with coupled halves.

The mean output of networks of widths n is f + B/n + O(1/n²), f the limit. Two independent networks
a and b of widths n are the halves of one with twice the widths: it has the neurons of both, the
hidden-to-hidden blocks a → a and b → b are theirs, and those between the halves are drawn in
addition. Then (equations.md §4; second-order term of Pham & Nguyen 2021)

    B/n = 2 E[½(f_a + f_b) − f_2n] + O(1/n²),

and the fluctuations of order n^(−1/2) cancel in every pair: to first order the wide network's
deviation from the limit is the mean of its halves', for it samples the same labels. What is left
of a pair scatters by O(1/n), like the bias itself, so that some dozens of pairs suffice. Nothing
but independence of the halves is used: the variance of hidden-to-hidden weights, which neither
the limit nor the fluctuations see, is in it.

Steps: SGD on the wide network takes a's batch, then b's, in steps of ε/2. To first order its noise
is the mean of the halves' noises, and what is proportional to ε (discretisation, and Itô's term of
the gradient noise) halves like 1/n does. So the same formula gives the whole bias of networks with
(n, ε), against the limit n → ∞, ε → 0; `method = "gd"` halves its step too, "flow" has none.

Risk: for any smooth loss E R_n = R + C/n + O(1/n²), and first orders cancel in the same way, hence
C/n = 2 E[½(R_a + R_b) − R_2n]. For ℓ = ½|f − y|² it is half the variance of the outputs plus
E[(f − y)·bias].

Unlike fluctuations, nothing here is predicted: networks are trained, the limit is not solved.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax.typing import DTypeLike
from jaxtyping import Array, Key

from widelimit.basics.errors import ProblemError
from widelimit.basics.hands import all_ahead
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import Progress
from widelimit.basics.progress import progress as progress_of
from widelimit.basics.statistics import offset, replicate_half_width
from widelimit.basics.streams import Stream, key
from widelimit.ensemble.advice import refuse_kinks
from widelimit.ensemble.model import Model, model_of
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.networks.course import Course, in_groups, network_keys
from widelimit.networks.room import refuse_impossible_pairs
from widelimit.networks.train import facts_of_training
from widelimit.problem.problem import Problem
from widelimit.results.bias import Bias
from widelimit.results.layout import network_dataset

PAIRS = 64
"""How many pairs of networks are trained if nothing is said."""

PRECISION = "float64"
"""Differences between networks are small, and in single precision steps of `method = "flow"` are
too coarse for them; see docs/method.md for what was measured."""

SHIFTS = {"output": "bias", "risk": "risk_shift", "holdout_risk": "holdout_risk_shift"}
"""What the difference in an observable is called."""


def measure_bias(
    problem: Problem,
    widths: Sequence[int | Sequence[int]] | None = None,
    *,
    pairs: int = PAIRS,
    progress: bool | None = None,
) -> Bias:
    """How far the mean output and risk of networks are from the limit, to order 1/n and ε.

    Widths, method, step, batch and draw are those of `problem.networks` unless `widths` are given;
    `pairs` pairs of networks are trained for each, with the networks of twice the widths that they
    make up, in double precision whatever `networks.precision` says.

    Raises `ValueError` if there are no widths or fewer than two pairs, `ProblemError` if layers
    have a finite width in the limit (`network.ensembles`) or start on a kink of their activation,
    or if memory or a life does not suffice for networks of twice the widths, `Diverged` if a state
    stops being finite.

    >>> from widelimit.problem.problem import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 1.0}, "observe": {"times": 2},
    ...     "networks": {"widths": [8], "method": "gd", "step": 0.1},
    ... })
    >>> found = measure_bias(problem, pairs=8, progress=False).dataset
    >>> float(abs(found.bias.sel(time=0.0)).max()) < 1e-12  # f is linear in the law of neurons
    True
    """
    problem = problem.with_widths(widths)
    problem.require_noiseless("paths of neurons are not shared with the network of twice the width")
    check_halves(problem)
    refuse_kinks(problem)
    if pairs < 2:
        raise ValueError(f"pairs: found {pairs}; their scatter tells the error, give 2 or more")
    refuse_impossible_pairs(problem, pairs)
    settings = problem.networks
    assert settings is not None
    with in_precision(PRECISION) as dtype:
        system = System.of(problem, dtype)
        courses = [
            Course(problem, system, shape, PRECISION)
            for shape in settings.layer_widths(problem.network)
        ]
        all_ahead("bias", _one_group, lambda: _pieces(courses, pairs), progress)
        found = xr.concat([_one_width(course, pairs, progress) for course in courses], "width")
    assert isinstance(found, xr.Dataset)
    facts = facts_of_training(problem, PRECISION)
    return Bias(problem, found.assign_attrs(kind="bias", measured=1, pairs=pairs, **facts))


def check_halves(problem: Problem) -> None:
    """Raise `ProblemError` if networks cannot be divided into two independent halves."""
    problem.require_solved("the bias of networks is measured with it: bias of a limit")
    if any(problem.network.finite_widths):
        raise ProblemError(
            [
                "network.ensembles: gives a layer a finite width, and its neurons are the same "
                "ones in "
                "all networks; the bias is measured with halves that have neurons of their own in "
                "every layer: leave network.ensembles out"
            ],
            problem.title,
        )


def _one_width(course: Course, pairs: int, progress: bool | None) -> xr.Dataset:
    """The differences of one width: means over pairs and their errors."""
    problem, groups = course.problem, _groups(course, pairs)
    shape = problem.network.name(course.widths)
    with progress_of(f"bias: width {shape}", progress, 2 * len(groups)) as told:
        found = [_trained(course, group, told) for group in groups]
    columns = [np.concatenate(values)[:pairs] for values in zip(*found, strict=True)]
    first, second, whole = (
        network_dataset(problem, course.system, values, course.widths, {}) for values in columns
    )
    variables: dict[str, Any] = {"widths": whole["widths"]}
    for observed, name in SHIFTS.items():
        if observed in whole:
            difference = first[observed] + second[observed] - 2 * whole[observed]
            variables |= _mean_over_pairs(difference, name)
    return xr.Dataset(variables)


def _groups(course: Course, pairs: int) -> list[Key[Array, " pairs"]]:
    """The keys of so many pairs, in groups that fit into memory."""
    keys = network_keys(key(Stream.PAIRS, course.problem.seed), course.widths, pairs)
    return in_groups(keys, _bytes_of_pair(course))


def _pieces(courses: Sequence[Course], pairs: int) -> dict[str, tuple[Any, ...]]:
    """All groups of pairs of all widths, by name what `_one_group` is given."""
    return {
        f"width {own.problem.network.name(own.widths)}, group {number + 1}": (
            own.problem, own.widths, pairs, number
        )
        for own in courses
        for number in range(len(_groups(own, pairs)))
    }  # fmt: skip


def _one_group(problem: Problem, widths: tuple[int, ...], pairs: int, number: int) -> None:
    """Train one group of pairs, for whoever looks for it in the store."""
    with in_precision(PRECISION) as dtype, progress_of("bias", False) as told:
        course = Course(problem, System.of(problem, dtype), widths, PRECISION)
        _trained(course, _groups(course, pairs)[number], told)


def _mean_over_pairs(difference: xr.DataArray, name: str) -> dict[str, xr.DataArray]:
    """Mean of `difference (width, seed, …)` and the half-width of its 95 % interval."""
    mean = difference.mean("seed")
    half_width = replicate_half_width(difference.transpose("seed", *mean.dims).values)
    found = {name: mean, f"{name}_error": mean.copy(data=half_width)}
    if name == "bias":
        size = mean.mean(["input", "channel"])
        rms = offset(difference.values, np.zeros(mean.shape[1:]))
        found |= {
            key: size.copy(data=value)
            for key, value in zip(("bias_rms", "bias_rms_se"), rms, strict=True)
        }
    return found


def _bytes_of_pair(course: Course) -> int:
    """What the weights of two halves and of the network that they make up take."""
    dims = course.system.inputs.shape[1], course.system.batch.targets.shape[1]
    model, costs = model_of(course.problem), course.problem.network.costs(*dims)
    half, whole = (costs.held(model.held(course.widths, dims, parts=parts)) for parts in (1, 2))
    return (2 * half + whole) * course.system.inputs.dtype.itemsize


def _trained(
    course: Course, keys: Key[Array, " pairs"], told: Progress
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs `(pair, time, point, channel)` of first halves, second halves and wide networks."""
    system, dtype = course.system, course.system.inputs.dtype
    dims = system.inputs.shape[1], system.batch.targets.shape[1]
    own = jax.vmap(lambda key: jax.random.split(key, 3))(keys)
    initial_keys, data_keys = own[:, 0], own[:, 1:]
    model = model_of(course.problem)
    halves, whole = _halves(model, initial_keys, course.widths, dims, dtype)
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *halves)
    streams = jnp.concatenate([data_keys[:, 0], data_keys[:, 1]])
    first, second = np.split(_outputs(course, both, streams[:, None], told), 2)
    return first, second, _outputs(replace(course, parts=2), whole, data_keys, told)


def _outputs(
    course: Course, initial: Ensemble, data_keys: Key[Array, "seeds parts"], told: Progress
) -> np.ndarray:
    """Outputs `(seed, time, point, channel)` at the observed times."""

    def look(_: Ensemble, found: np.ndarray, __: float) -> np.ndarray:
        return found

    return np.stack(course.run(initial, data_keys, told.piece(), look), axis=1)


@eqx.filter_jit
def _halves(
    model: Model,
    keys: Key[Array, " pairs"],
    widths: tuple[int, ...],
    dims: tuple[int, int],
    dtype: DTypeLike,
) -> tuple[tuple[Ensemble, Ensemble], Ensemble]:
    """A batch of pairs at time zero."""
    return jax.vmap(lambda key: model.halves(key, widths, dims, dtype))(keys)
