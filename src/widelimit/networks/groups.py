"""Networks that are trained together: what is kept of them along their path."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from widelimit.basics.progress import Piece
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System, dims_of_functionals, look
from widelimit.networks.course import Course
from widelimit.nodes.points import Numbers


class Group(NamedTuple):
    """Networks that were trained together: outputs and functionals over time, of some the neurons.

    `values (seed, time, point, channel)`, `states[time]`, `labels[layer]`; functionals by name, and
    their dimensions (`axes`).
    """

    values: np.ndarray
    states: list[Ensemble]
    seen: dict[str, np.ndarray]
    labels: tuple[np.ndarray, ...]
    axes: dict[str, tuple[str, ...]]


def carried(
    course: Course,
    start: Ensemble,
    labels: tuple[Numbers, ...],
    data_keys: Key[Array, "seeds parts"],
    kept: int,
    piece: Piece,
) -> Group:
    """Networks carried through their training; of so many of them (`kept`) also the neurons."""
    seen = course.run(start, data_keys, piece, _look_at(course.system, kept))
    return _group(seen, _first(labels, kept), _axes(course.system, start))


def _look_at(system: System, kept: int) -> Callable[[Ensemble, np.ndarray, float], Any]:
    """What is kept of networks at a time: outputs, the neurons of so many, functionals."""

    def seen(ensembles: Ensemble, found: np.ndarray, time: float) -> Any:
        return found, _first(ensembles, kept), _looked_at(system, ensembles, time)

    return seen


def _group(
    seen: Sequence[Any], labels: tuple[np.ndarray, ...], axes: dict[str, tuple[str, ...]]
) -> Group:
    """What was seen of networks along their path."""
    rows, states, looks = map(list, zip(*seen, strict=True))
    functionals = jax.tree.map(lambda *at: np.stack(at, axis=1), *looks)
    return Group(np.stack(rows, axis=1), states, functionals, labels, axes)


def _axes(system: System, networks: Ensemble) -> dict[str, tuple[str, ...]]:
    """Dimensions of functionals of one of the networks."""
    return dims_of_functionals(system, jax.tree.map(lambda leaf: leaf[0], networks))


def _looked_at(system: System, networks: Ensemble, time: float) -> dict[str, np.ndarray]:
    """Functionals of a batch of networks, one network after the other: kernels are large."""
    if not system.functionals:
        return {}
    each = [
        look(system, jax.tree.map(lambda leaf, s=seed: leaf[s], networks), time)
        for seed in range(len(networks.weights[0]))
    ]
    return jax.tree.map(lambda *parts: np.stack([np.asarray(part) for part in parts]), *each)


def _first(networks: Any, count: int) -> Any:
    """The first networks of a batch, none if `count` is not positive."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[: max(0, count)]), networks)


def joined_groups(groups: Sequence[Any]) -> Any:
    """Networks of several batches as one batch."""
    return jax.tree.map(lambda *parts: np.concatenate(parts), *groups)
