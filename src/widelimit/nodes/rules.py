"""Quadrature nodes for the laws of neurons' marks.

Every mark is the image of independent standard normals (see `laws`). Five rules place them:

- `Exact`: all blocks are atoms, and their product is small enough to be written out;
- `Lattice`: up to three continuous coordinates; a cubic lattice, randomly shifted and turned, with
  weights ∝ exp(−|z|²/2). For analytic integrands the error falls exponentially in the spacing;
- `Paths`: neurons under noise, which tells even like ones apart; Sobol points at first;
- `Joint`: units of residual networks; Sobol points of depth and parameters together;
- `Sobol`: any number of coordinates; scrambled Sobol points, moved so that their mean and
  covariance are exact, and turned so that the first (best) Sobol coordinates lie along the
  principal directions of the data.

All but `Exact` are random rules: independent replicates give an error estimate. What was
measured to choose them, and what was tried and did not win, is in docs/method.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from widelimit.basics.streams import Stream, generator
from widelimit.nodes.lattice import Lattice
from widelimit.nodes.points import Nodes, exact_nodes, image
from widelimit.nodes.sobol import Joint, Paths, Sobol
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.marks import ATOM_LIMIT, Block, coordinates, rule_names


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


Rule = Exact | Lattice | Sobol | Paths | Joint


def rules_for(mark: tuple[Block, ...], frame: np.ndarray) -> tuple[Rule, ...]:
    """The rules that can serve the law of a mark; an empty mark is one neuron of weight 1."""
    made = {
        "exact": lambda: Exact(_all_atoms(mark)),
        "lattice": lambda: Lattice(mark),
        "sobol": lambda: Sobol(mark, frame),
        "joint": lambda: Joint(mark, frame),
    }
    return tuple(made[name]() for name in rule_names(mark))


def _all_atoms(mark: tuple[Block, ...]) -> Nodes:
    atoms = exact_nodes(mark, ATOM_LIMIT)
    assert atoms is not None
    return atoms


def layer_rules(
    network: Architecture,
    dims: tuple[int, int],
    frame: np.ndarray,
    seed: int,
    paths: Sequence[bool],
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


def finite_layers(
    network: Architecture, dims: tuple[int, int], seed: int
) -> tuple[Nodes | None, ...]:
    """The neurons of the layers of finite width, None for the others, by index space."""
    found: list[Nodes | None] = []
    widths = network.by_space(network.finite_widths)
    for layer, (mark, width) in enumerate(zip(network.marks(*dims), widths, strict=True)):
        if width is None:
            found.append(None)
            continue
        rng = generator(Stream.FINITE_LAYERS, seed, layer)
        points = np.asarray(image(mark, rng.normal(size=(width, coordinates(mark)))))
        found.append(Nodes(points, np.full(width, 1 / width)))
    return tuple(found)


def principal_directions(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Orthonormal rows, leading principal directions of weighted inputs `(n, d)` first."""
    moments = (inputs * weights[:, None]).T @ inputs
    return np.linalg.eigh(moments)[1].T[::-1]
