"""What every neuron and every data point does to the outputs, and the noise that comes of it.

Readings of one time are pulled back to time zero through the linearised flow (`linearisation`).
What arrives at the neurons' weights and at the data weights are influence functions; their
variances under the laws of the neurons and of the data are the fluctuations per unit of noise:

    layer l: Cov_c[IF_l],    sgd: ∫_0^t Cov_z[J_s] ds,    data: Cov_z[∫_0^t J_s ds]

Of many outputs the directions that they span are pulled (`directions`). Random combinations of all
outputs are pulled besides, whole: they tell what the directions have missed, and what shorter steps
change; alone they tell the mean over outputs.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from widelimit.around.directions import Known, of_outputs, swept
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
from widelimit.around.spread import Spread
from widelimit.basics.errors import Diverged
from widelimit.basics.store import Entry
from widelimit.basics.streams import Stream, generator
from widelimit.ensemble.neurons import Ensemble, Share
from widelimit.ensemble.system import System, outputs
from widelimit.motion.memory import PIECE_VALUES
from widelimit.motion.spans import Span

FEW = 24
"""Up to so many outputs at a time each is pulled back; of more, the directions they span."""

COMBINATIONS = 2
"""Where directions are pulled, so many random combinations of all outputs are pulled besides."""

AT_ONCE = PIECE_VALUES // 8
"""Values of neurons above which the data are cut into pieces: there is one for each cotangent."""

GROWTH = (
    "small changes grow without bound along the limit, or need more steps than there may be; "
    "reduce the horizon"
)


@dataclass(frozen=True)
class Influence:
    """The limit on one set of nodes, its path, and its linearised flow.

    `draw` is the place of its random combinations in their stream; `done(k)` is told when the
    outputs of the k-th time are known; `entry` is where all this is kept.
    """

    system: System
    initial: Ensemble
    path: Path
    draw: tuple[int, ...]
    done: Callable[[int], None]
    entry: Entry

    @classmethod
    def of(
        cls,
        system: System,
        initial: Ensemble,
        times: np.ndarray,
        tolerance: float,
        halved: bool = False,
        draw: tuple[int, ...] = (0,),
        done: Callable[[int], None] = lambda k: None,
        entry: Entry | None = None,
    ) -> "Influence":
        """The limit from these neurons on; `halved` makes its steps half as long."""
        initial = jax.tree.map(jnp.asarray, initial)
        at_once = max(16, AT_ONCE // sum(initial.sizes))
        system = system.in_pieces(min(at_once, len(system.inputs)))
        path = path_of(system.motion, initial, times, tolerance, halved)
        return cls(system, initial, path, draw, done, entry or Entry(None))

    def spreads(self, missed: float) -> list[Spread]:
        """The fluctuations at all observed times. Raises `Diverged`.

        Directions leave out the share `missed` of the outputs' squared cotangents.
        """
        if self.system.observed_outputs <= FEW:
            return self._at_all_times(self.of_each)
        rng = lambda k: generator(Stream.DIRECTIONS, *self.draw, k)  # noqa: E731
        known = swept(self.system, self.path, missed, rng, self.entry.part("directions"))
        return self._at_all_times(lambda k: self._tested(k, known[k]))

    def combinations(self, count: int) -> list[Spread]:
        """`of_combinations` at all observed times."""
        return self._at_all_times(lambda k: self.of_combinations(k, count))

    def _at_all_times(self, one: Callable[[int], Spread]) -> list[Spread]:
        return self._along(lambda k, nothing: (one(k), nothing), ())

    def _along(self, step: Callable[[int, Any], tuple[Spread, Any]], state: Any) -> list[Spread]:
        return self.entry.along(len(self.path.pieces), step, Spread.layout(), state)

    def of_each(self, k: int) -> Spread:
        """The fluctuations at the k-th observed time, every output and the risk pulled back."""
        count = self.system.observed_outputs
        whole, profile = self._pulled(k, np.eye(count))
        self.done(k)
        seen, risk = self._seen(k), whole[:, -1, -1]
        return Spread.exact(np.eye(count), whole[:, :-1, :-1], risk, seen, profile)

    def of_combinations(self, k: int, count: int) -> Spread:
        """So many random combinations and the risk alone, or each of few outputs."""
        if self.system.observed_outputs <= FEW:
            return self.of_each(k)
        combined, risk, profile = self._combined(k, self._signs(k, count))
        self.done(k)
        return Spread.of_combinations(combined, risk, self._seen(k), profile)

    def _tested(self, k: int, known: Known) -> Spread:
        """The fluctuations at one time from directions, and what they have missed."""
        tests = self._signs(k, COMBINATIONS)
        combined, risk, _ = self._combined(k, tests)
        shares = [Share(p.law.astype(float), p.strata) for p in self.initial.shares]
        matrices = known.gathered.matrices(shares, np.asarray(self.system.batch.weights, float))
        profile = profile_of(shares, (known.along @ own for own in known.gathered.weights))
        found = Spread.exact(known.along, _finite(matrices), risk, self._seen(k), profile)
        self.done(k)
        return found.tested(tests, combined, risk)

    def _signs(self, k: int, count: int) -> np.ndarray:
        """Random combinations `(combination, output)` of the outputs at the k-th time."""
        shape = count, self.system.observed_outputs
        return generator(Stream.COMBINATIONS, *self.draw, k).choice([-1.0, 1.0], size=shape)

    def _combined(self, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Variances `(source, combination)` of combinations of outputs, the risk's, and a profile.

        The profile `(combination, depth)` is that of `Spread`.
        """
        whole, profile = self._pulled(k, rows)
        found = np.diagonal(whole, axis1=1, axis2=2)
        return found[:, :-1], found[:, -1], profile

    def _pulled(self, k: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Covariances `(source, one, other)` of combinations of outputs, the risk the last one.

        And the profile in depth of all but the risk.
        """
        covectors = of_outputs(np.concatenate([rows, np.zeros((1, rows.shape[1]))]))
        vectors = self._back(k, covectors.at[-1, -1].set(1.0))
        for piece in reversed([piece for own in self.path.pieces[: k + 1] for piece in own]):
            vectors = pull(self.system.motion, piece, vectors)
        pi, shares = np.asarray(self.system.batch.weights), self.initial.shares
        layers = [
            p.covariance(np.asarray(own)) for own, p in zip(vectors.weights, shares, strict=True)
        ]
        data = covariance(np.asarray(vectors.data), pi)
        profile = profile_of(shares, (np.asarray(own)[:-1] for own in vectors.weights))
        return _finite(np.stack([*layers, np.asarray(vectors.noise), data])), profile

    def forward(self, with_data: bool) -> list[Spread]:
        """The fluctuations at all observed times from one tangent for each weight.

        Tangents of the data's weights serve the finite data set only `with_data`; the noise of
        SGD is not told. Raises `Diverged`.
        """
        shares = [*self.initial.shares, Share(np.asarray(self.system.batch.weights))]
        stops = np.cumsum([len(p.law) for p in shares])
        count = stops[-1] if with_data else stops[-2]
        *units, changes = (
            jnp.asarray(u) for u in np.split(np.eye(count, stops[-1]), stops[:-1], 1)
        )
        matrices = np.zeros((len(shares) + 1, count, count))
        for source, (p, stop) in enumerate(zip(shares, stops, strict=True)):
            own = slice(stop - len(p.law), stop)
            if stop <= count:
                place = source if source < len(shares) - 1 else -1
                matrices[place, own, own] = p.covariance(np.eye(len(p.law)))

        def pushed(k: int, tangents: Tangents) -> tuple[Spread, Tangents]:
            for piece in self.path.pieces[k]:
                tangents = push(self.system.motion, piece, tangents, changes)
            seen = np.asarray(read(self.system, self.path.ensembles[k], tangents))
            risk = np.einsum("d,sde,e->s", seen[:, -1], matrices, seen[:, -1])
            along = _finite(seen[:, :-1].T)
            profile = profile_of(self.initial.shares, np.split(along, stops[:-1], axis=1)[:-1])
            self.done(k)
            return Spread.exact(along, matrices, risk, self._seen(k), profile), tangents

        return self._along(pushed, still(self.initial, units))

    def sampled(
        self, rng: np.random.Generator, own: np.ndarray, longest: float
    ) -> Float[np.ndarray, "sample time output"]:
        """Sample paths of outputs for unit noise, sample s by the source number `own[s]` alone.

        Sources are the layers, sgd, data. Labels give Gaussian changes of the neurons' weights, a
        data set those of the data's, once for all; SGD gives the data's weights white noise,
        constant on intervals no longer than `longest`: what that changes is of second order in
        their length. Raises `Diverged`.
        """
        depth = len(self.initial.weights)
        pi = Share(np.asarray(self.system.batch.weights))

        def noise(share: Share, source: int) -> Array:
            return jnp.asarray(share.noise(rng, len(own)) * (own == source)[:, None])

        tangents = still(self.initial, [noise(p, k) for k, p in enumerate(self.initial.shares)])
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

    def _seen(self, k: int) -> np.ndarray:
        """The observed outputs of the limit at the k-th time."""
        found = np.asarray(outputs(self.system, self.path.ensembles[k]))
        return found[self.system.view("observed")].ravel()


def profile_of(shares: Sequence[Share], values: Iterable[np.ndarray]) -> np.ndarray:
    """Variances `(output, depth)` that units at each depth make, those of all kinds together.

    `values (output, unit)` are what the weights of each kind do to outputs.
    """
    found = [p.profile(own) for p, own in zip(shares, values, strict=True)]
    return np.sum(found, axis=0)


def _intervals(piece: Piece, longest: float) -> list[Span]:
    """A piece's time cut into equal intervals."""
    start, stop = map(float, piece.span)
    ends = np.linspace(start, stop, max(1, math.ceil((stop - start) / longest - 1e-9)) + 1)
    return [Span(jnp.asarray(a), jnp.asarray(b)) for a, b in pairwise(ends)]


def _finite(values: np.ndarray) -> np.ndarray:
    """The values themselves. Raises `Diverged` if the linearised flow could not be followed."""
    if not np.isfinite(values).all():
        raise Diverged("the linearised flow", 0.0, GROWTH)
    return values
