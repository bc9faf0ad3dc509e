"""Quadrature nodes for the laws of neurons' marks.

Every mark is the image of independent standard normals (see `laws`). Four rules place them:

- `Exact`: all blocks are atoms, and their product is small enough to be written out;
- `Lattice`: up to three continuous coordinates; a cubic lattice, randomly shifted and turned, with
  weights ∝ exp(−|z|²/2). For analytic integrands the error falls exponentially in the spacing;
- `Paths`: neurons under noise, which tells even like ones apart; Sobol points at first;
- `Sobol`: any number of coordinates; scrambled Sobol points, moved so that their mean and
  covariance are exact, and turned so that the first (best) Sobol coordinates lie along the
  principal directions of the data.

All but `Exact` are random rules: independent replicates give an error estimate. What was
measured to choose them, and what was tried and did not win, is in docs/method.md.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from scipy.special import gammaincc, gammainccinv, ndtri

from widelimit.problem.network.network import Block, Network

ATOM_LIMIT = 4096
"""Atoms of a layer's mark are written out exactly up to this many."""

SPLIT_LIMIT = 16
"""Atoms beside continuous coordinates are written out exactly up to this many."""

LATTICE_MOST = 3
"""Lattices serve up to this many coordinates. Below it they scatter less than Sobol points in
every case measured, at it that depends on the problem, beyond it Sobol points need fewer nodes."""


ANALYTIC = 0.7
"""Distance a from the reals up to which integrands are taken to be analytic: tanh(w·z) with
|w| = 1 is analytic up to π/2, and training steepens it. (Measured: 0.7 beats 1 and 1.5 on
tanh(3z)², max(z, 0) and networks at late times.)"""

TAIL_SHARE = 16
"""One in so many lattice nodes is a random one outside the ball: without them replicates would
share the error of cutting off and not show it (57 times the half-width for E z⁴)."""


NO_SCRAMBLE = 2**32 - 1
"""In place of a scramble's number where neurons of finite layers are drawn: all replicates share
them."""

Numbers = Array | np.ndarray
"""Ensembles are placed by NumPy and moved by JAX: small arrays are cheaper to cut in the former."""


@dataclass(frozen=True)
class Nodes:
    """Weighted points of a mark: `points (node, entries)`, `weights (node,)` with sum 1."""

    points: np.ndarray
    weights: np.ndarray


@dataclass(frozen=True)
class Exact:
    """Nodes that are the law itself: all its atoms, or the neurons of a layer of finite width."""

    nodes: Nodes
    name: str = "exact"
    reason: str = "all atoms are written out"

    @property
    def start(self) -> int:
        """The number of nodes, which cannot be chosen."""
        return len(self.nodes.weights)

    def size(self, count: int) -> int:
        """The number of nodes."""
        return self.start

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """The nodes."""
        return self.nodes


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
        """A first number of points."""
        return 4 ** (1 + self.dimension)

    @property
    def order(self) -> float:
        """Assumed decay of the error in the number of nodes, when sizes are planned."""
        return 4 / self.dimension

    @property
    def dimension(self) -> int:
        """How many continuous coordinates there are."""
        return coordinates(_split_atoms(self.mark)[1])

    def size(self, count: int) -> int:
        """Nodes in all, for `count` points of the lattice."""
        return count * _atoms_beside(self.mark)

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` nodes for each combination of atoms beside the coordinates."""
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
        return _tensor(self.mark, z, np.concatenate(weights))


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
        """Fewer points first for a readout than for inputs: edges cost their product."""
        return 64 if self.mark[0].name.startswith(("bias", "readout")) else 256

    @property
    def order(self) -> float:
        """Assumed decay of the error in the number of nodes: slow in many dimensions."""
        return 0.5 + 0.4 * min(1.0, 4 / coordinates(_split_atoms(self.mark)[1]))

    def size(self, count: int) -> int:
        """Nodes in all, for `count` Sobol points."""
        return count * _atoms_beside(self.mark)

    def place(self, count: int, rng: np.random.Generator) -> Nodes:
        """`count` points (a power of two) for each combination of atoms beside them."""
        from scipy.stats import qmc  # takes a second to import, and only this rule needs it

        smooth = _split_atoms(self.mark)[1]
        uniforms = qmc.Sobol(coordinates(smooth), scramble=True, rng=rng).random(count)
        z = _matched(ndtri(np.clip(uniforms, 2.0**-54, 1 - 2.0**-53)))
        turns = smooth[0].name == "input" and smooth[0].size == len(self.frame)
        if turns and smooth[0].law.vector_size is None:
            z[:, : smooth[0].size] = z[:, : smooth[0].size] @ self.frame
        return _tensor(self.mark, z, np.full(count, 1 / count))


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
        """`count` neurons (a power of two) for each combination of atoms beside coordinates."""
        if coordinates(_split_atoms(self.mark)[1]) > 0:
            return super().place(count, rng)
        return _tensor(self.mark, np.zeros((count, 0)), np.full(count, 1 / count))


Rule = Exact | Lattice | Sobol | Paths


def rules_for(mark: tuple[Block, ...], frame: np.ndarray) -> tuple[Rule, ...]:
    """The rules that can serve the law of a mark; an empty mark is one neuron of weight 1."""
    atoms = exact_nodes(mark, ATOM_LIMIT)
    if atoms is not None:
        return (Exact(atoms),)
    if coordinates(_split_atoms(mark)[1]) <= LATTICE_MOST:
        return Lattice(mark), Sobol(mark, frame)
    return (Sobol(mark, frame),)


def layer_rules(
    network: Network, dims: tuple[int, int], frame: np.ndarray, seed: int, paths: Sequence[bool]
) -> tuple[tuple[Rule, ...], ...]:
    """The rules that can serve each index space, `dims` being the numbers of inputs and outputs.

    `paths` tells of which spaces the neurons follow Brownian paths.
    """
    reason = "a layer of finite width, drawn by the problem's seed"
    found: list[tuple[Rule, ...]] = []
    marks, finite = network.marks(*dims), finite_layers(network, dims, seed)
    for mark, drawn, noisy in zip(marks, finite, paths, strict=True):
        if drawn is not None:
            found.append((Exact(drawn, "sampled", reason),))
        else:
            found.append((Paths(mark, frame),) if noisy else rules_for(mark, frame))
    return tuple(found)


def finite_layers(network: Network, dims: tuple[int, int], seed: int) -> tuple[Nodes | None, ...]:
    """The neurons of the layers of finite width, None for the others, by index space."""
    found: list[Nodes | None] = []
    widths = network.by_space(network.finite_widths)
    for layer, (mark, width) in enumerate(zip(network.marks(*dims), widths, strict=True)):
        if width is None:
            found.append(None)
            continue
        rng = np.random.default_rng([seed, layer, NO_SCRAMBLE])
        points = np.asarray(image(mark, rng.normal(size=(width, coordinates(mark)))))
        found.append(Nodes(points, np.full(width, 1 / width)))
    return tuple(found)


def image(mark: Sequence[Block], z: Numbers) -> Numbers:
    """Marks `(neuron, entries)` of standard normals `(neuron, coordinates)`; NumPy stays NumPy."""
    arrays = np if isinstance(z, np.ndarray) else jnp
    columns, start = [z[:, :0]], 0
    for block in mark:
        stop = start + block.law.coordinates(block.size)
        columns.append(arrays.asarray(block.law.transform(z[:, start:stop])))
        start = stop
    return arrays.concatenate(columns, axis=1)


def entries(sizes: Mapping[str, int], points: Numbers) -> dict[str, Numbers]:
    """Columns of marks by name."""
    found, start = {}, 0
    for name, size in sizes.items():
        found[name] = points[:, start : start + size]
        start += size
    return found


def exact_nodes(mark: Sequence[Block], most: int) -> Nodes | None:
    """All atoms of a discrete mark, or None if it is not discrete or has more than `most`."""
    factors = []
    for block in mark:
        atoms = block.law.atoms()
        if atoms is None:
            return None
        repeats = 1 if block.law.vector_size is not None else block.size
        factors += [atoms] * repeats
    count = 1
    for points, _ in factors:
        count *= len(points)
        if count > most:
            return None
    empty = np.zeros(0)  # an empty mark: one neuron without entries
    rows = [
        np.concatenate([empty, *c]) for c in itertools.product(*(points for points, _ in factors))
    ]
    weights = [np.prod(c) for c in itertools.product(*(weights for _, weights in factors))]
    return Nodes(np.array(rows, float).reshape(count, -1), np.array(weights))


def principal_directions(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Orthonormal rows, leading principal directions of weighted inputs `(n, d)` first."""
    moments = (inputs * weights[:, None]).T @ inputs
    return np.linalg.eigh(moments)[1].T[::-1]


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


def coordinates(mark: Sequence[Block]) -> int:
    """How many standard normals make a mark."""
    return sum(block.law.coordinates(block.size) for block in mark)


def _split_atoms(mark: tuple[Block, ...]) -> tuple[list[Block], list[Block]]:
    """Blocks to be written out as atoms, and blocks to be covered by normals."""
    discrete = [b for b in mark if b.law.atoms() is not None]
    if exact_nodes(discrete, SPLIT_LIMIT) is None:
        discrete = []
    return discrete, [b for b in mark if b not in discrete]


def _atoms_beside(mark: tuple[Block, ...]) -> int:
    """How many combinations of atoms stand beside the continuous coordinates."""
    atoms = exact_nodes(_split_atoms(mark)[0], SPLIT_LIMIT)
    assert atoms is not None
    return len(atoms.weights)


def _tensor(mark: tuple[Block, ...], z: np.ndarray, weights: np.ndarray) -> Nodes:
    """The product of the exact atoms of a mark with normals `z (node, coordinate)`."""
    discrete, smooth = _split_atoms(mark)
    atoms = exact_nodes(discrete, SPLIT_LIMIT)
    assert atoms is not None
    columns = {
        **entries(_sizes(smooth), np.repeat(image(smooth, z), len(atoms.weights), axis=0)),
        **entries(_sizes(discrete), np.tile(atoms.points, (len(z), 1))),
    }
    points = np.concatenate([columns[block.name] for block in mark], axis=1)
    return Nodes(points, np.outer(weights, atoms.weights).ravel())


def _sizes(blocks: Sequence[Block]) -> dict[str, int]:
    return {block.name: block.size for block in blocks}
