"""Fluctuations at one time, in the form in which they are computed and combined."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Spread(NamedTuple):
    """Fluctuations at one time for unit noise; sources are the layers, sgd, data.

    `along (output, direction)` and `matrices (source, direction, direction)` make the covariances
    of outputs, `risk (source,)` is the variance of the risk, and `combined (source, combination)`
    are variances of random combinations of the outputs, if there are. `missed (source,)` is the
    relative error of variances from what the directions leave out. `outputs` are the limit's, and
    `profile (output or combination, depth)` tells where in depth units make the variance.
    """

    along: np.ndarray
    matrices: np.ndarray
    risk: np.ndarray
    combined: np.ndarray
    missed: np.ndarray
    outputs: np.ndarray
    profile: np.ndarray

    @classmethod
    def exact(
        cls,
        along: np.ndarray,
        matrices: np.ndarray,
        risk: np.ndarray,
        seen: np.ndarray,
        profile: np.ndarray | None = None,
    ) -> "Spread":
        """Nothing is left out."""
        count, flat = len(matrices), np.zeros((len(along), 0))
        profile = flat if profile is None else profile
        return cls(along, matrices, risk, np.zeros((count, 0)), np.zeros(count), seen, profile)

    @classmethod
    def of_combinations(
        cls, combined: np.ndarray, risk: np.ndarray, seen: np.ndarray, profile: np.ndarray
    ) -> "Spread":
        """Random combinations of the outputs alone: their mean is known, each for itself is not."""
        count = len(combined)
        none = np.zeros((len(seen), 0)), np.zeros((count, 0, 0))
        return cls(*none, risk, combined, np.zeros(count), seen, profile)

    def tested(self, tests: np.ndarray, combined: np.ndarray, risk: np.ndarray) -> "Spread":
        """The same, with what combinations `tests (combination, output)` pulled whole have told."""
        own = np.einsum("td,sde,te->st", *[tests @ self.along, self.matrices, tests @ self.along])
        missed = np.abs(own - combined) / np.where(combined > 0, combined, 1.0)
        missed = missed.max(axis=1, initial=0.0)
        return self._replace(risk=risk, combined=combined, missed=missed)

    @classmethod
    def layout(cls) -> "Spread":
        """Something that is laid out so."""
        return cls(*[np.zeros(0)] * len(cls._fields))

    @property
    def each(self) -> bool:
        """Whether every output is known for itself."""
        return self.along.shape[1] > 0 or not self.combined.size

    @property
    def compared(self) -> Float[np.ndarray, "source combination"]:
        """Variances to tell what shorter steps change: random combinations', or all outputs'."""
        return self.combined if self.combined.size else self.variance

    @property
    def mean(self) -> Float[np.ndarray, " source"]:
        """The mean of Var f over outputs; that of random combinations is an estimate of their sum.

        E_σ Var(Σ_i σ_i f_i) = Σ_i Var f_i for independent signs σ (Hutchinson 1989).
        """
        if self.each:
            return self.variance.mean(axis=1)
        return self.combined.mean(axis=1) / len(self.along)

    @property
    def mean_profile(self) -> Float[np.ndarray, " depth"]:
        """The mean of `profile` over outputs, which that of combinations estimates."""
        own = self.profile.mean(axis=0)
        return own if self.each else own / len(self.along)

    @property
    def overlap(self) -> Float[np.ndarray, "source source"]:
        """The mean over pairs of outputs of C_ij C'_ij, for the covariances of two sources.

        Of random combinations Cov_σ(σᵀCσ, σᵀC'σ) = 2 (tr(C C') − Σ_i C_ii C'_ii), of which the
        second term is left out: it is small where outputs are many.
        """
        pairs = len(self.along) ** 2
        if self.each:
            turned = self.matrices @ (self.along.T @ self.along)
            return np.einsum("sde,ted->st", turned, turned) / pairs
        return np.atleast_2d(np.cov(self.combined)) / (2 * pairs)

    @property
    def variance(self) -> Float[np.ndarray, "source output"]:
        """Var f of every output."""
        return np.einsum("od,sde,oe->so", self.along, self.matrices, self.along, optimize=True)

    @property
    def covariance(self) -> Float[np.ndarray, "source output other"]:
        """Cov(f, f') of all pairs of outputs."""
        return np.einsum("od,sde,pe->sop", self.along, self.matrices, self.along, optimize=True)
