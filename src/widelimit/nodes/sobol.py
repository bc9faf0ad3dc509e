"""Scrambled Sobol points, and neurons on Brownian paths that start at them.

Two independent scrambles of one Sobol dimension agree point by point: the correlation of the i-th
points over i is 0.75 in RMS at 64, 256 and 1,024 points alike, because a scramble permutes the
digits of the same sequence. Nothing may therefore pair two rules by the index. Layers (and data)
are combined by full tensor products, in which only averages meet, and the errors of averages are
uncorrelated over scrambles (a test); of neurons that are kept, each layer's first are, for all
pairs of them. A random order would remove the correlation, and with it that first points are a
Sobol rule themselves.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from widelimit.nodes.coverage import enough
from widelimit.nodes.points import Nodes, in_strata
from widelimit.problem.network.marks import Block, coordinates, strata
from widelimit.problem.network.units import READOUTS


@dataclass(frozen=True)
class Sobol:
    """Scrambled Sobol points with exact mean and covariance.

    `frame (d, d)` holds the principal directions of the data as rows: standard normals stay
    standard normals when they are turned, as those of weights for whole inputs are.
    """

    mark: tuple[Block, ...]
    frame: np.ndarray
    name = "sobol"
    reason = "too many continuous coordinates for a lattice"

    @property
    def start(self) -> int:
        """Fewer points first for a readout than for inputs: edges cost their product.

        More where few would miss a part of the law.
        """
        return enough(self.mark, 64 if self.mark[0].name.startswith(("bias", "readout")) else 256)

    @property
    def smooth(self) -> tuple[Block, ...]:
        """The blocks that normals make, as they are in a stratum."""
        return tuple(b for b in strata(self.mark)[0].mark if coordinates([b]) > 0)

    @property
    def order(self) -> float:
        """Assumed decay of the error in the number of nodes: slow in many dimensions."""
        return 0.5 + 0.4 * min(1.0, 4 / coordinates(self.smooth))

    def size(self, count: int) -> int:
        """Nodes in all, for `count` Sobol points."""
        return count * len(strata(self.mark))

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` points (a power of two) in each stratum of the law."""
        from scipy.stats import qmc  # takes a second to import, and only this rule needs it

        smooth = self.smooth
        uniforms = qmc.Sobol(coordinates(smooth), scramble=True, rng=rng).random(count)
        z = _matched(ndtri(np.clip(uniforms, 2.0**-54, 1 - 2.0**-53)))
        turns = smooth[0].name == "input" and smooth[0].size == len(self.frame)
        if turns and smooth[0].law.vector_size is None:
            z[:, : smooth[0].size] = z[:, : smooth[0].size] @ self.frame
        return in_strata(self.mark, z, np.full(count, 1 / count))


@dataclass(frozen=True)
class Paths(Sobol):
    """Neurons that will follow a Brownian path each: Sobol points are their initial values.

    Atoms of their law are replicated: what neurons are alike in at first, their paths tell apart.
    Paths are independent, so that the error decays like that of Monte Carlo.
    """

    name = "paths"
    reason = "Monte Carlo: every neuron follows a Brownian path of its own"

    @property
    def order(self) -> float:
        """Decay of the error in the number of nodes."""
        return 0.5

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` neurons (a power of two) in each stratum of the law."""
        if self.smooth:
            return super().place(count, rng)
        return in_strata(self.mark, np.zeros((count, 0)), np.full(count, 1 / count))


FIRST_UNITS = 256
"""A limit of units starts with so many."""

EACH_BLOCK = 16
"""Where blocks are finitely many, each has at least so many units to start with."""


@dataclass(frozen=True)
class Joint(Sobol):
    """Sobol points of a unit's depth and its parameters together, in the order of their depth.

    Units at different depths average each other's error: 2^m points cut by depth into 2^k pieces
    are 2^(m−k) in each, other ones everywhere, and all of them are low-discrepancy points. Every
    unit has a twin whose readout is reflected: a unit's value is linear in it.
    """

    name = "joint"
    reason = "one design for depth and parameters: units at all depths average each other's error"

    @property
    def start(self) -> int:
        """As many as are some depths with some units each."""
        blocks = getattr(self.mark[0].law, "blocks", None) or 1
        return enough(self.mark, max(FIRST_UNITS, 2 ** math.ceil(math.log2(EACH_BLOCK * blocks))))

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` points (a power of two) in each stratum of the law; depth is the first entry."""
        from scipy.stats import qmc  # takes a second to import, and only rules like this need it

        smooth = self.smooth
        mirrored = self._mirrored(smooth)
        points = max(1, count // 2) if mirrored.any() else count
        uniforms = qmc.Sobol(len(mirrored), scramble=True, rng=rng).random(points)
        uniforms = uniforms[np.argsort(uniforms[:, 0], kind="stable")]
        z = ndtri(np.clip(uniforms, 2.0**-54, 1 - 2.0**-53))
        if mirrored.any() and count > 1:
            z = np.stack([z, np.where(mirrored, -z, z)], axis=1).reshape(count, -1)
        return in_strata(self.mark, z, np.full(count, 1 / count))

    def _mirrored(self, smooth: tuple[Block, ...]) -> np.ndarray:
        """Which coordinates are those of a readout."""
        return np.concatenate(
            [np.full(coordinates([block]), block.name in READOUTS) for block in smooth]
        )


def _matched(z: np.ndarray) -> np.ndarray:
    """Points moved affinely so that mean and covariance are those of standard normals.

    Left alone when there are too few points for their covariance to be known.
    """
    count, dimension = z.shape
    z = z - z.mean(axis=0)
    if count < 4 * dimension:
        return z
    factor = np.linalg.cholesky(z.T @ z / count)
    return np.linalg.solve(factor, z.T).T
