"""Many outputs span few directions among their cotangents, and only directions are pulled back.

Output i ≈ Σ_m C[i, m] direction_m at its own time. Outputs of all times share one sweep: where the
cotangents of later times pass an observed time, those of its outputs join, and of both together as
many directions are kept as they span; what each has gathered on the way is booked for every time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from widelimit.around.linearisation import (
    Cotangents,
    Path,
    Tangents,
    covariance,
    pull,
    read,
    read_back,
)
from widelimit.basics.store import Entry
from widelimit.ensemble.neurons import Ensemble, Share
from widelimit.ensemble.system import System

FILL = 48
"""Directions are filled up with zeros to a multiple of this: few shapes, few compilations."""

FIRST = 32
"""So many random combinations are the first to look for directions."""

MANY = 4
"""Outputs that are not so many times as many as combinations are taken themselves."""

NOTHING = 1e-14
"""A share of the squared cotangents that rounding alone makes."""


class Gathered(NamedTuple):
    """What the directions of one time have gathered: see `Cotangents`."""

    weights: list[np.ndarray]
    data: np.ndarray
    noise: np.ndarray

    @classmethod
    def of(cls, vectors: Cotangents) -> "Gathered":
        """What cotangents have gathered."""
        weights = [np.asarray(own, float) for own in vectors.weights]
        return cls(weights, np.asarray(vectors.data, float), np.asarray(vectors.noise, float))

    def with_more(self, share: np.ndarray, more: "Gathered") -> "Gathered":
        """With what others have gathered of which these are the combinations `share`."""
        weights = [a + share @ b for a, b in zip(self.weights, more.weights, strict=True)]
        return Gathered(
            weights, self.data + share @ more.data, self.noise + share @ more.noise @ share.T
        )

    def matrices(self, shares: Sequence[Share], pi: np.ndarray) -> np.ndarray:
        """Covariances of all pairs `(source, direction, direction)`; the last source is data."""
        layers = [p.covariance(own) for own, p in zip(self.weights, shares, strict=True)]
        return np.stack([*layers, self.noise, covariance(self.data, pi)])


class Known(NamedTuple):
    """The outputs at one time: `along (output, direction)`, `share (direction, pulled vector)`."""

    along: np.ndarray
    share: np.ndarray
    gathered: Gathered

    @property
    def energy(self) -> np.ndarray:
        """Second moments over outputs of the pulled vectors in them, of trace 1 at their time."""
        own = self.along.T @ self.along
        return self.share.T @ own @ self.share / max(np.trace(own), np.finfo(float).tiny)

    def passed(self, more: Gathered) -> "Known":
        """After a piece, in which the pulled vectors have gathered `more`."""
        return Known(self.along, self.share, self.gathered.with_more(self.share, more))


def swept(
    system: System,
    path: Path,
    missed: float,
    rng: Callable[[int], np.random.Generator],
    entry: Entry,
) -> list[Known]:
    """Outputs at all observed times, pulled back to time zero in one sweep.

    The directions leave out the share `missed` of the outputs' squared cotangents; `rng(k)` draws
    combinations that find them at the k-th time. `entry` is where the sweep is kept.
    """
    one, _ = _layouts(path)
    return entry.once(
        lambda: _swept(system, path, missed, rng, entry)[::-1],
        lambda: [one] * len(path.ensembles),
    )


def _swept(
    system: System,
    path: Path,
    missed: float,
    rng: Callable[[int], np.random.Generator],
    entry: Entry,
) -> list[Known]:
    """`swept`, the last time first."""
    one, all_of_them = _layouts(path)
    begun = entry.resumed(lambda times: ([one] * times, all_of_them))
    known, vectors = begun or ([], None)
    for k in reversed(range(len(path.ensembles) - len(known))):
        pieces, ensemble = path.pieces[k], path.ensembles[k]
        own, along = directions(system, ensemble, missed, rng(k))
        new = Known(along, np.eye(along.shape[1]), Gathered.of(own))
        vectors, known = _joined(ensemble, vectors, own, known, new, missed)
        for piece in reversed(pieces):
            vectors = pull(system.motion, piece, vectors.bare())
            more = Gathered.of(vectors)
            known = [one.passed(more) for one in known]
        entry.going(len(known), lambda now=(known, vectors): now)
    return known


def _layouts(path: Path) -> tuple[Known, Cotangents]:
    """How what is known of one time, and cotangents, are laid out."""
    first, none = path.ensembles[0], np.zeros((0, 0))
    spaces, leaves = len(first.weights), len(jax.tree.leaves(first.state))
    known = Known(none, none, Gathered([none] * spaces, none, none))
    return known, Cotangents([none] * leaves, (none,) * spaces, none, none)


def directions(
    system: System, ensemble: Ensemble, missed: float, rng: np.random.Generator
) -> tuple[Cotangents, np.ndarray]:
    """Directions that the outputs' cotangents span, and the outputs along them.

    Random combinations of the outputs span the same directions; there are enough of them when the
    last ones add nothing new.
    """
    metric = Metric.of(ensemble)
    count, size = system.observed_outputs, FIRST
    while True:
        few = MANY * size >= count
        chosen = np.eye(count) if few else rng.normal(size=(size, count))
        vectors = read_back(system, ensemble, of_outputs(chosen))
        rows = metric.rows(vectors).astype(float)
        energy, axes = np.linalg.eigh(rows @ rows.T)
        share = np.cumsum(energy) / max(energy.sum(), np.finfo(float).tiny)
        if few or share[size // 4] <= missed:
            break
        size *= 2
    kept = share > missed
    combine = _filled((axes[:, kept] / np.sqrt(energy[kept])).T)
    found = vectors.combined(combine)
    along = read(system, ensemble, metric.tangents(found))
    return found, np.asarray(along, float)[:, :-1].T


def _joined(
    ensemble: Ensemble,
    later: Cotangents | None,
    own: Cotangents,
    known: list[Known],
    new: Known,
    missed: float,
) -> tuple[Cotangents, list[Known]]:
    """Directions of later outputs and of those of now together, and all outputs along them.

    Those are kept that hold most of the outputs' squared cotangents, a time counting as much as
    another.
    """
    if later is None:
        return own, [new]
    before, now = len(later.data), len(own.data)
    known = [Known(k.along, np.pad(k.share, ((0, 0), (0, now))), k.gathered) for k in known]
    known.append(Known(new.along, np.pad(new.share, ((0, 0), (before, 0))), new.gathered))
    both = later.joined(own)
    rows = Metric.of(ensemble).moved(both).astype(float)
    lengths, axes = np.linalg.eigh(rows @ rows.T)
    lengths = np.where(lengths > NOTHING * lengths[-1], lengths, 0.0)
    root = axes * np.sqrt(lengths)
    energy, turn = np.linalg.eigh(root.T @ sum(k.energy for k in known) @ root)
    share = np.cumsum(np.maximum(energy, 0)) / max(energy.sum(), np.finfo(float).tiny)
    kept = turn[:, share > max(missed, NOTHING)]
    inverse = np.where(lengths > 0, 1 / np.sqrt(np.where(lengths > 0, lengths, 1.0)), 0.0)
    to_new = _filled((root @ kept).T).T
    found = both.combined(_filled((axes * inverse @ kept).T))
    return found, [Known(k.along, k.share @ to_new, k.gathered) for k in known]


def of_outputs(rows: np.ndarray) -> jax.Array:
    """Combinations of outputs as combinations of all readings: the risk is the last of these."""
    return jnp.asarray(np.pad(rows, ((0, 0), (0, 1))))


def _filled(rows: np.ndarray) -> np.ndarray:
    """Rows filled up with zeros to a multiple of `FILL`, of which there is one at least."""
    count = max(1, -(-len(rows) // FILL)) * FILL
    return np.pad(rows, ((0, count - len(rows)), (0, 0)))


@dataclass(frozen=True)
class Metric:
    """Lengths of cotangents: those of functions of labels, in mean square."""

    weights: tuple[np.ndarray, ...]
    leaves: list[np.ndarray]

    @classmethod
    def of(cls, ensemble: Ensemble) -> "Metric":
        """That of an ensemble."""
        masses = jax.tree.map(np.asarray, jax.tree.leaves(ensemble.masses()))
        p = tuple(np.asarray(own) for own in ensemble.weights)
        return cls(p, masses * (1 + len(ensemble.memory)))

    def moved(self, vectors: Cotangents) -> Float[np.ndarray, "vector entry"]:
        """λ as rows whose scalar products are those of this metric."""
        parts = [
            np.asarray(leaf) / np.sqrt(np.where(w > 0, w, np.inf))
            for leaf, w in zip(vectors.leaves, self.leaves, strict=True)
        ]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def rows(self, vectors: Cotangents) -> Float[np.ndarray, "vector entry"]:
        """The same of whole cotangents, at their own time: with the weights' part."""
        parts = [
            np.asarray(own) * np.sqrt(p)
            for own, p in zip(vectors.weights, self.weights, strict=True)
        ]
        return np.concatenate([self.moved(vectors), *parts], axis=1)

    def tangents(self, vectors: Cotangents) -> Tangents:
        """The changes of an ensemble whose readings are scalar products with these cotangents."""
        leaves = [
            leaf / np.where(w > 0, w, np.inf)
            for leaf, w in zip(vectors.leaves, self.leaves, strict=True)
        ]
        weights = tuple(own * p for own, p in zip(vectors.weights, self.weights, strict=True))
        return Tangents(weights, leaves)
