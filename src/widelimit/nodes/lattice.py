"""Lattices: the trapezoidal rule for up to three continuous coordinates."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc, gammainccinv

from widelimit.nodes.coverage import enough
from widelimit.nodes.points import Nodes, in_strata
from widelimit.problem.network.marks import Block, coordinates, strata

ANALYTIC = 0.7
"""Distance a from the reals up to which integrands are taken to be analytic: tanh(w·z) with
|w| = 1 is analytic up to π/2, and training steepens it. (Measured: 0.7 beats 1 and 1.5 on
tanh(3z)², max(z, 0) and networks at late times.)"""

TAIL_SHARE = 16
"""One in so many lattice nodes is a random one outside the ball: without them replicates would
share the error of cutting off and not show it (57 times the half-width for E z⁴)."""


@dataclass(frozen=True)
class Lattice:
    """The trapezoidal rule in up to three coordinates, randomly shifted and turned.

    Of the lattice of spacing h the points nearest to the origin are used, a ball of radius r, and
    a few random points stand for what is outside. Replacing an integral by a lattice sum costs
    exp(−2πa/h) for an integrand that is analytic up to distance a from the reals; leaving out what
    is beyond r costs exp(−r²/2). Both are equal at r³ = 4πa r/h.
    """

    mark: tuple[Block, ...]
    name = "lattice"
    reason = "few continuous coordinates"

    @property
    def start(self) -> int:
        """A first number of points: more where few would miss a part of the law."""
        return enough(self.mark, 4 ** (1 + self.dimension))

    @property
    def order(self) -> float:
        """Assumed decay of the error in the number of nodes, when sizes are planned."""
        return 4 / self.dimension

    @property
    def dimension(self) -> int:
        """How many continuous coordinates there are."""
        return coordinates(strata(self.mark)[0].mark)

    def size(self, count: int) -> int:
        """Nodes in all, for `count` points of the lattice."""
        return count * len(strata(self.mark))

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` nodes in each stratum of the law."""
        k, outside = self.dimension, 2 * max(1, count // (2 * TAIL_SHARE))
        ball = math.pi ** (k / 2) / math.gamma(k / 2 + 1)
        steps = ((count - outside) / ball) ** (1 / k)  # the radius, in lattice spacings
        radius = (4 * math.pi * ANALYTIC * steps) ** (1 / 3)
        reach = math.ceil(steps) + 2
        axes = [np.arange(-reach, reach + 1)] * k
        z = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, k) + rng.random(k)
        nearest = np.argsort((z**2).sum(axis=1), kind="stable")[: count - outside]
        z = radius / steps * z[nearest]
        weights = np.exp(-0.5 * (z**2).sum(axis=1))
        beyond = _share_beyond(radius, k)
        weights = [weights * (1 - beyond) / weights.sum(), np.full(outside, beyond / outside)]
        turn = np.linalg.qr(rng.normal(size=(k, k)))[0]
        z = np.concatenate([z @ turn, _beyond(radius, outside, k, rng)])
        return in_strata(self.mark, z, np.concatenate(weights))


def _share_beyond(radius: float, dimension: int) -> float:
    """P(|Z| > radius) for standard normals Z: |Z|²/2 follows the gamma law of shape dimension/2."""
    return float(gammaincc(dimension / 2, radius**2 / 2))


def _beyond(radius: float, count: int, dimension: int, rng: np.random.Generator) -> np.ndarray:
    """Opposite pairs of points from the normal law outside a ball, stratified by their norm."""
    strata = (np.arange(count // 2) + rng.random(count // 2)) / (count // 2)
    directions = rng.normal(size=(count // 2, dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    share = strata * _share_beyond(radius, dimension)
    norms = np.sqrt(2 * gammainccinv(dimension / 2, share))
    half = norms[:, None] * directions
    return np.concatenate([half, -half])
