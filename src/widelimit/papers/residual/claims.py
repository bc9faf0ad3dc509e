"""Claims on residual networks: rates in depth, width and dimension, the lazy limit, convergence.

    h_l = h_{l-1} + (α/(LM)) Σ_i v(h_{l-1}, θ_{l,i}),   |f_{L,M} − f| ≲ 1/L + √(D/(LM))

(Chizat 2025, arXiv:2509.10167; 2026, 2603.18168; before them Lu, Ma, Lu, Lu & Ying 2020,
2003.05508.) The two terms are measured apart: networks of different seeds scatter by the second,
Euler's error is the first.
"""

from collections.abc import Callable, Sequence
from functools import cache, cached_property

import numpy as np

from widelimit.papers import Effort
from widelimit.papers.claims import Claim, Measured, exponent
from widelimit.papers.measures.cut import trained_in_pieces
from widelimit.papers.measures.spread import (
    apart,
    local_exponent,
    scattered,
    shifted,
    times_larger,
    trained,
)
from widelimit.papers.residual import late, lazy, limits
from widelimit.papers.residual.study import ATOMS, in_dimension, problem

SIZES: dict[Effort, list[int]] = {
    "smoke": [2, 4, 8, 16],
    "quick": [2, 4, 8, 16, 32],
    "full": [2, 4, 8, 16, 32, 64],
}
"""L at a fixed M, and M at a fixed L."""

SEEDS: dict[Effort, int] = {"smoke": 300, "quick": 1000, "full": 4000}

LATE: dict[Effort, int] = {"smoke": 24, "quick": 96, "full": 384}
"""Networks of each width at late times: they are integrated, not stepped."""

FIXED = 4
"""L or M, while the other one grows."""

PIECES = 4
"""Every block is cut into so many where Euler's error is looked at."""

DIMENSIONS = [4, 8, 16, 32]

SMOKE = ["scatter-in-depth", "one-unit-a-block", "euler-in-depth"]

CHIZAT = "Chizat 2025, Theorem 1"
PERCEPTRONS = "Chizat 2025, perceptrons"


class Study:
    """What several claims look at, trained once."""

    def __init__(self, effort: Effort):
        self.sizes, self.seeds = SIZES[effort], SEEDS[effort]
        self.alike, self.moved = cache(self._alike), cache(self._moved)

    @cached_property
    def wide(self) -> list[np.ndarray]:
        """Outputs of networks of four blocks, by width."""
        return trained(problem(), [[FIXED, m] for m in self.sizes], self.seeds)

    @cached_property
    def deep(self) -> list[np.ndarray]:
        """Outputs of networks with four units a block, by depth."""
        return trained(problem(), [[depth, FIXED] for depth in self.sizes], self.seeds)

    def _alike(self, depth: int, width: int) -> np.ndarray:
        """Samples of the scatter of one shape."""
        return scattered(trained(problem(), [[depth, width]], self.seeds)[0])

    def _moved(self, depth: int, width: int) -> np.ndarray:
        """f of networks, less that of the same ones with all blocks cut: Euler's error."""
        whole, thin = (
            trained_in_pieces(problem(), (depth, width), self.seeds, k) for k in (1, PIECES)
        )
        return whole - thin

    def scatter(self, outputs: Sequence[np.ndarray]) -> Measured:
        """The exponent of the scatter in the sizes."""
        return exponent(self.sizes, [scattered(f) for f in outputs], 0.5)

    def in_dimension(self, complete: bool) -> Measured:
        """The exponent in D, with residual scale √D or 1."""
        found = [
            scattered(trained(in_dimension(d, complete), [[16, 4]], self.seeds)[0])
            for d in DIMENSIONS
        ]
        return exponent(DIMENSIONS, found, 0.5)


def claims(effort: Effort) -> list[Claim]:
    """Everything that is checked; the smoke form has a few."""
    study = Study(effort)
    everything = [*_scatter(study), *_euler(study), *_distance(study), *_regimes(study)]
    everything += limits.claims() + late.claims(LATE[effort])
    return [c for c in everything if effort != "smoke" or c.id in SMOKE]


# --- scatter ------------------------------------------------------------------------------------


def _scatter(study: Study) -> list[Claim]:
    def tied() -> Measured:
        """L blocks with the same units are as many as one block has."""
        shallow = trained(problem(), [[1, FIXED]], study.seeds * len(study.sizes))[0]
        return study.scatter(np.split(shallow, len(study.sizes)))

    return [
        Claim(
            "scatter-in-depth",
            "networks scatter ∝ L^(−1/2) at a fixed width",
            CHIZAT,
            -0.5,
            0.0,
            lambda: study.scatter(study.deep),
            "one block at all depths: no more units in deeper networks",
            tied,
        ),
        Claim(
            "scatter-in-width",
            "… and ∝ M^(−1/2) at a fixed depth",
            CHIZAT,
            -0.5,
            0.0,
            lambda: study.scatter(study.wide),
            "networks of two units a block in place of wider ones",
            lambda: study.scatter(np.array_split(study.wide[0], len(study.sizes))),
        ),
        Claim(
            "one-unit-a-block",
            "128 units scatter alike, one a block or eight (exponent between them in M)",
            f"{CHIZAT}, any M",
            0.0,
            -0.5,
            lambda: times_larger(study.alike(128, 1), study.alike(16, 8), 8),
            "128 blocks of eight units too",
            lambda: times_larger(study.alike(128, 1), study.alike(128, 8), 8),
        ),
    ]


# --- Euler's error ------------------------------------------------------------------------------


def _euler(study: Study) -> list[Claim]:
    sizes = study.sizes

    def along(shapes: Sequence[tuple[int, int]], of: Callable) -> list[np.ndarray]:
        return [of(study.moved(*shape)) for shape in shapes]

    deep, wide = [(2 * d, 1) for d in sizes], [(2, m) for m in sizes]
    return [
        Claim(
            "euler-in-depth",
            "one unit a block: the mean of networks less that of the same ones with all blocks "
            "cut, Euler's error, is ∝ L^(−1)",
            CHIZAT,
            -1.0,
            -0.5,
            lambda: exponent(sizes, along(deep, shifted), 0.5),
            "scatter in place of Euler's error",
            lambda: exponent(sizes, [study.alike(*s) for s in deep], 0.5),
        ),
        Claim(
            "euler-in-width",
            "… and does not depend on M",
            f"{CHIZAT}, any M",
            0.0,
            -0.5,
            lambda: exponent(sizes, along(wide, shifted), 0.5),
            "scatter in place of Euler's error",
            lambda: exponent(sizes, [study.alike(*s) for s in wide], 0.5),
        ),
    ]


# --- distance from the limit --------------------------------------------------------------------


def _distance(study: Study) -> list[Claim]:
    sizes = study.sizes[1:]

    @cache
    def square() -> list[np.ndarray]:
        flowing = problem(network={"initial": ATOMS}, networks={"method": "flow"})
        return trained(flowing, [[n, n] for n in sizes], study.seeds // 2)

    def distance(depth: int | str) -> Measured:
        g = limits.output(depth)
        return exponent(sizes, [apart(f, g) for f in square()], 0.5)

    def wide(residual_scale: Callable[[int], float]) -> Measured:
        infinite = limits.output("limit")
        found = [limits.output(n, residual_scale(n)) for n in limits.DEPTHS]
        off = [float(np.sqrt(np.mean((f - infinite) ** 2))) for f in found]
        return local_exponent(limits.DEPTHS, off)

    return [
        Claim(
            "wide-blocks",
            "infinitely wide networks of L blocks are ∝ L^(−1) away from the mean ODE",
            CHIZAT,
            -1.0,
            -0.5,
            lambda: wide(lambda _: 1.0),
            "blocks are divided by √L in place of L",
            lambda: wide(lambda n: float(np.sqrt(n))),
        ),
        Claim(
            "deep-and-wide",
            "gradient flow: n blocks of n units are ∝ n^(−1) away from the mean ODE",
            CHIZAT,
            -1.0,
            -0.5,
            lambda: distance("limit"),
            "the limit of networks of four blocks",
            lambda: distance(4),
        ),
    ]


# --- residual scales ----------------------------------------------------------------------------


def _regimes(study: Study) -> list[Claim]:
    return [
        Claim(
            "dimension",
            "residual scale √D/(LM), for which all features are learned: the scatter is ∝ D^(1/2)",
            PERCEPTRONS,
            0.5,
            0.0,
            lambda: study.in_dimension(complete=True),
            "residual scale 1/(LM)",
            lambda: study.in_dimension(complete=False),
        ),
        Claim(
            "lazy",
            "residual scale α/(LM): the limit approaches the lazy ODE ∝ α^(−2) where the law of "
            "readouts is symmetric",
            "Chizat 2025, α → ∞; the exponent: papers/residual/lazy.py",
            -2.0,
            -1.0,
            lambda: lazy.approach(skew=False),
            "readouts of mean zero that are not symmetric (then −1)",
            lambda: lazy.approach(skew=True),
        ),
    ]
