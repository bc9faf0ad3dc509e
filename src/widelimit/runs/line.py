"""The line in 1/n: what the means of runs of several widths say about infinite width.

For smooth activations and losses, at a fixed time (equations.md §4; Pham & Nguyen 2021, second
order)

    E y_n = y_∞ + B/n + C/n² + …,    Var y_n = V/n + …

so that y_∞ is the intercept of a regression of means on 1/n. With N_k runs of width n_k weights are
N_k n_k, which V/n makes best and no datum changes: every estimate is Σ c_k ȳ_k with numbers c_k
that are known beforehand, it is unbiased where the model holds, and its standard error
(Σ c_k² s_k²/N_k)^½ needs no other law of the variance than what each width shows by itself. Degrees
of freedom are those of Welch and Satterthwaite.

What the model leaves out, C/n² and more, is seen by how far estimates are apart that feel it
differently: all widths, all but the narrowest, and a fit with C. The farthest counts, noise
included: with 3 … 30 seeds of widths 32 … 256, intervals with it held the true value in 95 … 99.7 %
of simulated tables with C = 0 or B/n > 6 C/n² at the narrowest width, those without it in 80 … 96 %
(`benchmarks/tables_are_extrapolated.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import chdtri, fdtrc, fdtri, stdtrit  # scipy.stats takes long to import

Numbers = Float[np.ndarray, "..."]

FEWEST_WIDTHS = 3
"""Two widths always lie on a line."""

LEVEL = 0.95

CURVED = (1.0, 2.0)
"""Powers of 1/n of a fit with the next term."""

EXPONENTS = 0.05, 8.0
"""Exponents of 1/n are looked for between these."""

ROUNDING = 1e-24
"""Squares that are so small a share of those of the values are rounding."""

TRIED = 256
"""So many, first over the whole range, then about those that the data do not exclude."""


@dataclass(frozen=True)
class Means:
    """Means `(width, …)` of `counts (width,)` runs of each of `widths`, and variances of a run.

    The variance at a width with one run is that of the others, as V/n makes it. `freedom (width,)`
    counts the squares that a variance is of.
    """

    widths: np.ndarray
    counts: np.ndarray
    values: Numbers
    variances: Numbers
    freedom: np.ndarray

    @classmethod
    def of(cls, widths: Sequence[int], runs: Sequence[Numbers]) -> "Means":
        """From the runs `(run, …)` of every width, in increasing order of widths.

        Raises `ValueError` if no width has two runs.
        """
        order = np.argsort(widths, kind="stable")
        sorted_widths = np.asarray(widths, float)[order]
        held = [np.asarray(runs[place], float) for place in order]
        counts = np.array([len(own) for own in held])
        if counts.max() < 2:
            raise ValueError("there is one run of every width, so nothing tells how runs scatter")
        freedom = counts - 1
        own = np.stack(
            [g.var(axis=0, ddof=1) if len(g) > 1 else np.zeros(g.shape[1:]) for g in held]
        )
        scaled = _column(freedom * sorted_widths, own) * own
        pooled = scaled.sum(axis=0) / freedom.sum()
        alone = _column(counts < 2, own)
        variances = np.where(alone, pooled / _column(sorted_widths, own), own)
        told = np.where(counts < 2, freedom.sum(), freedom)
        values = np.stack([g.mean(axis=0) for g in held])
        return cls(sorted_widths, counts, values, variances, told)

    @property
    def scatter(self) -> Numbers:
        """n·Var y_n, the mean over widths, each as sure as its degrees of freedom."""
        scaled = _column(self.widths, self.variances) * self.variances
        return np.asarray(np.average(scaled, axis=0, weights=self.freedom))

    def without_narrowest(self) -> "Means":
        """All widths but the narrowest."""
        return Means(*(column[1:] for column in vars(self).values()))

    # --- estimates Σ c_k ȳ_k --------------------------------------------------------------------

    def combination(self, powers: Sequence[float] = (1.0,), row: int = 0) -> np.ndarray:
        """c `(width,)` of the regression on 1 and these powers of 1/n; `row` 0 is the intercept."""
        x = self.widths[:, None] ** -np.array([0.0, *powers])
        root = np.sqrt(self.counts * self.widths)
        return (np.linalg.pinv(root[:, None] * x) * root)[row]

    def estimate(self, c: np.ndarray) -> Numbers:
        """Σ c_k ȳ_k; of several combinations `(…, width)` each."""
        return np.asarray(np.tensordot(c, self.values, axes=1))

    def variance(self, c: np.ndarray) -> Numbers:
        """The variance of Σ c_k ȳ_k."""
        return np.asarray(np.tensordot(c**2 / self.counts, self.variances, axes=1))

    def half_width(self, c: np.ndarray) -> Numbers:
        """Half of the 95 % interval of Σ c_k ȳ_k, without what the model leaves out."""
        parts = _column(c**2 / self.counts, self.variances) * self.variances
        squares = (parts**2 / _column(self.freedom, parts)).sum(axis=0)
        whole = parts.sum(axis=0)
        freedom = whole**2 / np.maximum(squares, np.finfo(float).tiny)
        return np.asarray(stdtrit(np.maximum(freedom, 1.0), 0.5 + LEVEL / 2) * np.sqrt(whole))

    @property
    def constant(self) -> bool:
        """Whether one number is the same in all runs."""
        return float(self._noise()) == 0 and float(self._lack(())) == 0

    # --- whether the model serves ---------------------------------------------------------------

    def left_out(self) -> list[np.ndarray]:
        """Combinations that are 0 in the mean where the model holds: intercepts less this one."""
        own = self.combination()
        rest = np.concatenate([[0.0], self.without_narrowest().combination()])
        return [rest - own, self.combination(CURVED) - own]

    def model_error(self) -> Numbers:
        """What the model leaves out of the intercept, as far as it is seen."""
        return np.asarray(np.maximum(*(np.abs(self.estimate(c)) for c in self.left_out())))

    def misfit(self) -> Numbers:
        """The probability that means on a line in 1/n lie off it by as much as these."""
        lack, noise = self._lack((1.0,)), self._noise()
        free = len(self.widths) - 2
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(noise > 0, lack / free / noise, np.where(lack > 0, np.inf, 0.0))
        return np.asarray(fdtrc(free, self.freedom_of_noise, ratio))

    @property
    def freedom_of_noise(self) -> int:
        """How many squares the scatter of all widths together is of."""
        return int(self.freedom[self.counts > 1].sum())

    def _noise(self) -> Numbers:
        """n·Var of a run, from all widths that have several."""
        own = self.counts > 1
        scaled = _column(self.widths, self.variances) * self.variances
        return np.asarray(np.average(scaled[own], axis=0, weights=self.freedom[own]))

    def _lack(self, powers: Sequence[float]) -> Numbers:
        """The weighted sum of squares of means about a fit."""
        rows = [self.combination(powers, row) for row in range(1 + len(powers))]
        fitted = sum(
            _column(self.widths**-power, self.values) * self.estimate(c)
            for power, c in zip((0.0, *powers), rows, strict=True)
        )
        lack, whole = (
            np.tensordot(self.counts * self.widths, own**2, axes=1)
            for own in (self.values - fitted, self.values)
        )
        return np.where(lack <= ROUNDING * whole, 0.0, lack)


def _column(of_widths: np.ndarray, like: Numbers) -> np.ndarray:
    """Numbers of widths `(width,)` against values `(width, …)`."""
    return np.asarray(of_widths).reshape(-1, *[1] * (np.ndim(like) - 1))


@dataclass(frozen=True)
class Power:
    """y_n = y_∞ + B n^(−α) with α free: α and y_∞ with 95 % intervals; ±∞ where none is seen.

    `unlike_one`: the probability that means which follow 1/n speak so much against it.
    """

    unlike_one: float
    exponent: float
    exponent_low: float
    exponent_high: float
    infinite: float
    low: float
    high: float


def free_power(means: Means) -> Power:
    """The exponent that one number's means follow, by the profile of the sum of squares."""
    noise, freedom = float(means._noise()), means.freedom_of_noise
    slack, grid = noise * fdtri(1, freedom, LEVEL), np.geomspace(*EXPONENTS, TRIED)
    for _ in range(2):
        _, lacks = _intercepts(means, grid)
        inside = np.flatnonzero(lacks <= lacks.min() + slack)
        first, last = max(0, int(inside[0]) - 1), min(TRIED - 1, int(inside[-1]) + 1)
        grid = np.geomspace(grid[first], grid[last], TRIED)
    c, lacks = _intercepts(means, grid)
    inside = np.flatnonzero(lacks <= lacks.min() + slack)
    chosen, values = int(lacks.argmin()), means.estimate(c)
    halves = np.array([float(means.half_width(own)) for own in c[inside]])
    low, high = float(grid[inside[0]]), float(grid[inside[-1]])
    ends = low > EXPONENTS[0], high < EXPONENTS[1]
    against = max(0.0, float(means._lack((1.0,))) - lacks.min())
    return Power(
        float(fdtrc(1, freedom, against / noise)) if noise > 0 else float(against == 0),
        float(grid[chosen]),
        low if ends[0] else -np.inf,
        high if ends[1] else np.inf,
        float(values[chosen]),
        float((values[inside] - halves).min()) if ends[0] else -np.inf,
        float((values[inside] + halves).max()) if ends[0] else np.inf,
    )


def _intercepts(means: Means, exponents: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """c `(exponent, width)` of the intercepts with each exponent, and their sums of squares."""
    weight = means.counts * means.widths
    share, x = weight / weight.sum(), means.widths ** -exponents[:, None]
    centre = (x @ share)[:, None]
    slope = share * (x - centre) / ((x - centre) ** 2 @ share)[:, None]
    c, y = share - centre * slope, means.values
    off = y - (c @ y)[:, None] - (slope @ y)[:, None] * x
    return c, off**2 @ weight


def least_scatter(widths: Sequence[int], values: Sequence[float]) -> float:
    """n·Var that single runs must have for a line in 1/n not to be refused (at 5 %).

    The noise is taken as known: with χ² in place of F.
    """
    count = len(widths)
    n, y = np.asarray(widths, float), np.asarray(values, float)
    means = Means(n, np.ones(count), y, np.zeros(count), np.full(count, np.inf))
    return float(means._lack((1.0,)) / chdtri(count - 2, 1 - LEVEL))
