"""Risk and accuracy of outputs, with the error that outputs' errors make."""

import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array
from scipy.special import stdtrit

from widelimit.basics.statistics import replicate_half_width
from widelimit.ensemble.neurons import Numbers
from widelimit.ensemble.system import System
from widelimit.nodes.reduction import whole_population
from widelimit.problem.data.sources import Dataset
from widelimit.problem.problem import Problem
from widelimit.problem.training.losses import Logistic, Loss


def parts_of(problem: Problem, system: System) -> dict[str, tuple[slice, Dataset]]:
    """Where the training points, the holdout and the population stand, and what they are."""
    data, whole = problem.dataset, whole_population(problem)
    parts = {"": (system.view("train"), data)}
    if len(data.holdout_targets):
        parts["holdout_"] = (system.view("holdout"), data.held_out)
    if whole is not None:
        parts["population_"] = (system.view("population"), whole)
    return parts


def rated(
    parts: dict[str, tuple[slice, Dataset]],
) -> list[tuple[slice, np.ndarray, np.ndarray]]:
    """Training points and holdout: their places, targets and weights."""
    return [
        (view, whole.targets, whole.weights)
        for name, (view, whole) in parts.items()
        if name != "population_"
    ]


def has_classes(problem: Problem) -> bool:
    """Whether targets are classes: one-hot rows, or 0 and 1 under the logistic loss."""
    targets = problem.dataset.targets
    two = isinstance(problem.training.loss, Logistic) and targets.shape[1] == 1
    return problem.dataset.one_hot or (two and bool(np.isin(targets, (0, 1)).all()))


def class_scores(outputs: np.ndarray) -> np.ndarray:
    """One score a class: a single output f stands for the scores −f and f of classes 0 and 1."""
    return np.concatenate([-outputs, outputs], axis=-1) if outputs.shape[-1] == 1 else outputs


def sampling_error(losses: np.ndarray) -> np.ndarray:
    """95 % half-width of a mean over independent points (last axis)."""
    count = losses.shape[-1]
    return stdtrit(count - 1, 0.975) * np.std(losses, axis=-1, ddof=1) / math.sqrt(count)


def losses_of(loss: Loss, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """ℓ at every point; leading axes of `outputs (…, point, channel)` are kept."""
    flat = outputs.reshape(-1, *outputs.shape[-2:])
    found = _values_and_slopes(loss, flat, targets)[0]
    return np.asarray(found, float).reshape(outputs.shape[:-1])


@eqx.filter_jit
def _values_and_slopes(loss: Callable, outputs: Numbers, targets: Numbers) -> tuple[Array, Array]:
    """ℓ and ∇ℓ for `outputs (row, point, channel)`."""
    return jax.vmap(jax.vmap(jax.value_and_grad(loss)), in_axes=(0, None))(outputs, targets)


def risk_with_error(
    loss: Loss,
    values: np.ndarray,
    half_width: np.ndarray,
    time_error: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    groups: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Risk of the mean output, and its error to first and second order in the output's error.

    First order: replicates give ∇ℓ(f̄)·(f_r − f̄) averaged over π, hence an interval; second
    order: ½[ℓ(f̄ + h) + ℓ(f̄ − h)] − ℓ(f̄) with h the half-width. Where points are several
    independent quadratures of π, `groups` of them, their scatter adds an interval.
    """
    mean = values.mean(axis=0)
    rows = np.concatenate([mean, mean + half_width, mean - half_width])
    found = _values_and_slopes(loss, rows, targets)
    at_mean, above, below = np.split(np.asarray(found[0], float), 3)
    slope = np.asarray(found[1], float)[: len(mean)]
    along = np.einsum("rtxc,txc,x->rt", values - mean, slope, weights)
    first = replicate_half_width(along)
    second = np.abs((0.5 * (above + below) - at_mean) @ weights)
    moved = np.einsum("txc,txc,x->t", np.abs(slope), time_error, weights)
    scatter = scatter_of_groups(at_mean, weights, groups)
    return at_mean @ weights, first + second + moved + scatter


def scatter_of_groups(losses: np.ndarray, weights: np.ndarray, groups: int) -> np.ndarray:
    """95 % half-width of a mean over points (last axis) that are `groups` of quadratures."""
    parts = (groups * losses * weights).reshape(*losses.shape[:-1], groups, -1).sum(axis=-1)
    return replicate_half_width(np.moveaxis(parts, -1, 0))


def accuracy_with_error(
    mean: np.ndarray, error: np.ndarray, rated: list[tuple[slice, np.ndarray, np.ndarray]]
) -> dict[str, Any]:
    """The accuracy of a limit on each part, and the share of points that its error leaves open."""
    scored = [accuracy(class_scores(mean[:, v]), class_scores(t - 0.5), w) for v, t, w in rated]
    doubt = [_doubt(class_scores(mean[:, v]), error[:, v], w) for v, _, w in rated]
    return {
        "accuracy": (("time", "part"), np.stack(scored, axis=-1)),
        "accuracy_error": (("time", "part"), np.stack(doubt, axis=-1)),
    }


def accuracy(outputs: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of points whose largest output is their class."""
    return (outputs.argmax(-1) == targets.argmax(-1)) @ weights


def _doubt(outputs: np.ndarray, error: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Share of points whose winning class another one could overtake within the error."""
    best = outputs.argmax(-1)[..., None]
    low = np.take_along_axis(outputs - error, best, -1)
    high = outputs + error
    np.put_along_axis(high, best, -np.inf, -1)
    return (high.max(-1) > low[..., 0]) @ weights
