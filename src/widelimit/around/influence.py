"""What every neuron and every data point does to the outputs, and the noise that comes of it.

Readings of one time are pulled back to time zero through the linearised flow (`linearisation`).
What arrives at the neurons' weights and at the data weights are influence functions; their
variances under the laws of the neurons and of the data are the fluctuations per unit of noise:

    layer l: Cov_c[IF_l],    sgd: ∫_0^t Cov_z[J_s] ds,    data: Cov_z[∫_0^t J_s ds]

Many outputs at one time span few directions among their cotangents, and only directions are
pulled: output i ≈ Σ_m C[i, m] direction_m. Random combinations of all outputs are pulled besides,
whole: they tell what the directions have missed, and what shorter steps change.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.around.linearisation import (
    Cotangents,
    Path,
    Piece,
    Tangents,
    covariance,
    path_of,
    pull,
    push,
    read,
    read_back,
    still,
)
from widelimit.basics.errors import Diverged
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.neurons import Ensemble, weight_noise
from widelimit.ensemble.system import System, outputs
from widelimit.motion.memory import PIECE_VALUES
from widelimit.motion.spans import Span

FEW = 24
"""Up to so many outputs at a time each is pulled back; of more, the directions they span."""

COMBINATIONS = 3
"""Where directions are pulled, so many random combinations of all outputs are pulled besides."""

FILL = 16
"""Directions are filled up with zeros to a multiple of this: few shapes, few compilations."""

GROWTH = (
    "small changes grow without bound along the limit, or need more steps than there may be; "
    "reduce the horizon"
)

MISSED = 1e-5
"""Share of the outputs' squared cotangents that the directions may leave out."""


@dataclass(frozen=True)
class Spread:
    """Fluctuations at one time for unit noise; sources are the layers, sgd, data.

    `along (output, direction)` and `matrices (source, direction, direction)` make the covariances
    of outputs, `risk (source,)` is the variance of the risk, and `combined (source, combination)`
    are variances of random combinations of the outputs, if there are. `missed (source,)` is the
    relative error of variances from what the directions leave out. `outputs` are the limit's.
    """

    along: np.ndarray
    matrices: np.ndarray
    risk: np.ndarray
    combined: np.ndarray
    missed: np.ndarray
    outputs: np.ndarray

    @classmethod
    def exact(
        cls, along: np.ndarray, matrices: np.ndarray, risk: np.ndarray, seen: np.ndarray
    ) -> "Spread":
        """Nothing is left out."""
        count = len(matrices)
        return cls(along, matrices, risk, np.zeros((count, 0)), np.zeros(count), seen)

    @property
    def compared(self) -> Float[np.ndarray, "source combination"]:
        """Variances to tell what shorter steps change: random combinations', or all outputs'."""
        return self.combined if self.combined.size else self.variance

    @property
    def variance(self) -> Float[np.ndarray, "source output"]:
        """Var f of every output."""
        return np.einsum("od,sde,oe->so", self.along, self.matrices, self.along, optimize=True)

    @property
    def covariance(self) -> Float[np.ndarray, "source output other"]:
        """Cov(f, f') of all pairs of outputs."""
        return np.einsum("od,sde,pe->sop", self.along, self.matrices, self.along, optimize=True)


@dataclass(frozen=True)
class Influence:
    """The limit on one set of nodes, its path, and its linearised flow."""

    system: System
    initial: Ensemble
    path: Path

    @classmethod
    def of(
        cls,
        system: System,
        initial: Ensemble,
        times: np.ndarray,
        tolerance: float,
        halved: bool = False,
    ) -> "Influence":
        """The limit from these neurons on; `halved` makes its steps half as long."""
        initial = jax.tree.map(jnp.asarray, initial)
        at_once = max(16, PIECE_VALUES // (sum(initial.sizes) * FILL))
        system = system.in_pieces(min(at_once, len(system.inputs)))
        return cls(system, initial, path_of(system.motion, initial, times, tolerance, halved))

    def spread(self, k: int, missed: float = MISSED) -> Spread:
        """The fluctuations at the k-th observed time. Raises `Diverged`."""
        rng, count = generator(Stream.COMBINATIONS, k), self.system.observed_outputs
        if count <= FEW:
            along, tests = np.eye(count), np.zeros((0, count))
            directions = self._back(k, self._covectors(along))
        else:
            tests = _signs(rng, count)
            directions, along = self._directions(k, missed, rng)
        return self._pulled(k, along, directions, tests)

    def compared(self, k: int) -> Spread:
        """The same where it serves comparison alone: without directions, if there would be some."""
        count = self.system.observed_outputs
        if count <= FEW:
            return self.spread(k)
        return self._pulled(
            k, np.zeros((count, 0)), None, _signs(generator(Stream.COMBINATIONS, k), count)
        )

    def _pulled(
        self, k: int, along: np.ndarray, directions: Cotangents | None, tests: np.ndarray
    ) -> Spread:
        """Directions, tests and the risk pulled back to time zero."""
        extra = self._covectors(np.concatenate([tests, np.zeros((1, tests.shape[1]))]))
        vectors = self._back(k, extra.at[-1, -1].set(1.0))
        if directions is not None:
            vectors = _joined(directions, vectors)
        for piece in reversed([piece for own in self.path.pieces[: k + 1] for piece in own]):
            vectors = pull(self.system.motion, piece, vectors)
        return self._spread(along, vectors, tests, self._seen(self.path.ensembles[k]))

    def forward(self, with_data: bool) -> list[Spread]:
        """The fluctuations at all observed times from one tangent for each weight.

        Tangents of the data's weights serve the finite data set only `with_data`; the noise of
        SGD is not told. Raises `Diverged`.
        """
        laws = [np.asarray(p) for p in self.initial.weights]
        laws.append(np.asarray(self.system.batch.weights))
        stops = np.cumsum([len(law) for law in laws])
        count = stops[-1] if with_data else stops[-2]
        *units, changes = (
            jnp.asarray(u) for u in np.split(np.eye(count, stops[-1]), stops[:-1], 1)
        )
        tangents, found = still(self.initial, units), []
        matrices = np.zeros((len(laws) + 1, count, count))
        for source, (law, stop) in enumerate(zip(laws, stops, strict=True)):
            own = slice(stop - len(law), stop)
            if stop <= count:
                place = source if source < len(laws) - 1 else -1
                matrices[place, own, own] = covariance(np.eye(len(law)), law)
        for pieces, ensemble in zip(self.path.pieces, self.path.ensembles, strict=True):
            for piece in pieces:
                tangents = push(self.system.motion, piece, tangents, changes)
            seen = np.asarray(read(self.system, ensemble, tangents))
            risk = np.einsum("d,sde,e->s", seen[:, -1], matrices, seen[:, -1])
            along = _finite(seen[:, :-1].T)
            found.append(Spread.exact(along, matrices, risk, self._seen(ensemble)))
        return found

    def sampled(
        self, rng: np.random.Generator, own: np.ndarray, longest: float
    ) -> Float[np.ndarray, "sample time output"]:
        """Sample paths of outputs for unit noise, sample s by the source number `own[s]` alone.

        Sources are the layers, sgd, data. Labels give Gaussian changes of the neurons' weights, a
        data set those of the data's, once for all; SGD gives the data's weights white noise,
        constant on intervals no longer than `longest`: what that changes is of second order in
        their length. Raises `Diverged`.
        """
        depth, pi = len(self.initial.weights), np.asarray(self.system.batch.weights)

        def noise(law: np.ndarray, source: int) -> Array:
            return jnp.asarray(weight_noise(rng, law, len(own)) * (own == source)[:, None])

        tangents = still(
            self.initial, [noise(np.asarray(p), k) for k, p in enumerate(self.initial.weights)]
        )
        lasting, found = noise(pi, depth + 1), []
        for pieces, ensemble in zip(self.path.pieces, self.path.ensembles, strict=True):
            for piece, span in ((p, span) for p in pieces for span in _intervals(p, longest)):
                changes = lasting + noise(pi, depth) / math.sqrt(
                    float(span.stop) - float(span.start)
                )
                tangents = push(self.system.motion, piece, tangents, changes, span)
            seen = np.asarray(read(self.system, ensemble, tangents))[:, :-1]
            found.append(_finite(seen))
        return np.stack(found, axis=1)

    def _back(self, k: int, covectors: Array) -> Cotangents:
        return read_back(self.system, self.path.ensembles[k], covectors)

    @staticmethod
    def _covectors(rows: np.ndarray) -> Array:
        """Combinations of outputs as combinations of all readings."""
        return jnp.asarray(np.pad(rows, ((0, 0), (0, 1))))

    def _directions(
        self, k: int, missed: float, rng: np.random.Generator
    ) -> tuple[Cotangents, np.ndarray]:
        """Directions that the outputs' cotangents span, and the outputs along them.

        Random combinations of the outputs span the same directions; there are enough of them
        when the last ones add nothing new.
        """
        ensemble = self.path.ensembles[k]
        metric = _Metric.of(ensemble)
        count, size = self.system.observed_outputs, 2 * FILL
        while True:
            few = size >= count
            chosen = np.eye(count) if few else rng.normal(size=(size, count))
            vectors = self._back(k, self._covectors(chosen))
            rows = metric.rows(vectors).astype(float)
            energy, axes = np.linalg.eigh(rows @ rows.T)
            share = np.cumsum(energy) / max(energy.sum(), np.finfo(float).tiny)
            if few or share[size // 4] <= missed:
                break
            size *= 2
        kept = share > missed
        combine = np.zeros((-(-int(kept.sum()) // FILL) * FILL, len(rows)))
        combine[: kept.sum()] = (axes[:, kept] / np.sqrt(energy[kept])).T
        directions = _combined(combine, vectors)
        along = read(self.system, ensemble, metric.tangents(directions))
        return directions, np.asarray(along)[:, :-1].T

    def _seen(self, ensemble: Ensemble) -> np.ndarray:
        """The observed outputs of the limit."""
        return np.asarray(outputs(self.system, ensemble))[self.system.view("observed")].ravel()

    def _spread(
        self, along: np.ndarray, vectors: Cotangents, tests: np.ndarray, seen: np.ndarray
    ) -> Spread:
        """Covariances from what has arrived at time zero, the tests' and the risk's last."""
        arrived = [*vectors.weights, vectors.data]
        laws = [*self.initial.weights, self.system.batch.weights]
        found = [
            covariance(np.asarray(influence), np.asarray(law))
            for influence, law in zip(arrived, laws, strict=True)
        ]
        whole = _finite(np.stack([*found[:-1], np.asarray(vectors.noise), found[-1]]))
        kept = along.shape[1]
        inner, risk = whole[:, :kept, :kept], whole[:, -1, -1]
        if not len(tests):
            return Spread.exact(along, inner, risk, seen)
        exact = np.diagonal(whole, axis1=1, axis2=2)[:, kept:-1]
        combined = np.einsum("td,sde,te->st", tests @ along, inner, tests @ along)
        missed = np.abs(combined - exact) / np.where(exact > 0, exact, 1.0)
        return Spread(along, inner, risk, exact, missed.max(axis=1), seen)


@dataclass(frozen=True)
class _Metric:
    """Lengths of cotangents: those of functions of labels, in mean square."""

    weights: tuple[np.ndarray, ...]
    leaves: list[np.ndarray]

    @classmethod
    def of(cls, ensemble: Ensemble) -> "_Metric":
        masses = jax.tree.map(np.asarray, jax.tree.leaves(ensemble.masses()))
        p = tuple(np.asarray(own) for own in ensemble.weights)
        return cls(p, masses * (1 + len(ensemble.memory)))

    def rows(self, vectors: Cotangents) -> Float[np.ndarray, "vector entry"]:
        """Cotangents as rows whose scalar products are those of this metric."""
        parts = [
            np.asarray(leaf) / np.sqrt(np.where(w > 0, w, np.inf))
            for leaf, w in zip(vectors.leaves, self.leaves, strict=True)
        ]
        parts += [
            np.asarray(own) * np.sqrt(p)
            for own, p in zip(vectors.weights, self.weights, strict=True)
        ]
        return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

    def tangents(self, vectors: Cotangents) -> Tangents:
        """The changes of an ensemble whose readings are scalar products with these cotangents."""
        leaves = [
            leaf / np.where(w > 0, w, np.inf)
            for leaf, w in zip(vectors.leaves, self.leaves, strict=True)
        ]
        weights = tuple(own * p for own, p in zip(vectors.weights, self.weights, strict=True))
        return Tangents(weights, leaves)


def _joined(first: Cotangents, second: Cotangents) -> Cotangents:
    """The vectors of both, none of which has gathered noise yet."""
    bare = [(v.leaves, v.weights, v.data) for v in (first, second)]
    parts = jax.tree.map(lambda *both: jnp.concatenate(both), *bare)
    count = len(first.data) + len(second.data)
    return Cotangents(*parts, noise=jnp.zeros((count, count)))


def _combined(matrix: np.ndarray, vectors: Cotangents) -> Cotangents:
    """Linear combinations of vectors, none of which has gathered noise yet."""
    parts = jax.tree.map(
        lambda part: jnp.tensordot(jnp.asarray(matrix), part, axes=1),
        (vectors.leaves, vectors.weights, vectors.data),
    )
    return Cotangents(*parts, noise=jnp.zeros((len(matrix), len(matrix))))


def _intervals(piece: Piece, longest: float) -> list[Span]:
    """A piece's time cut into equal intervals."""
    start, stop = map(float, piece.span)
    ends = np.linspace(start, stop, max(1, math.ceil((stop - start) / longest - 1e-9)) + 1)
    return [Span(jnp.asarray(a), jnp.asarray(b)) for a, b in pairwise(ends)]


def _signs(rng: np.random.Generator, count: int) -> np.ndarray:
    """Random combinations of so many outputs."""
    return rng.choice([-1.0, 1.0], size=(COMBINATIONS, count))


def _finite(values: np.ndarray) -> np.ndarray:
    """The values themselves. Raises `Diverged` if the linearised flow could not be followed."""
    if not np.isfinite(values).all():
        raise Diverged("the linearised flow", 0.0, GROWTH)
    return values
