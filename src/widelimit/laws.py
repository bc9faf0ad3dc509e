"""Laws of initial parameters: mean, draws, exact atoms, and a map from standard normals.

A law describes either one entry (every entry of a vector is then an independent copy) or, for
vector atoms, a whole vector at once. Quadrature sees every law as the image of independent
standard normals: quadrature places those normals, a sampled network draws them, and one map
serves both.
"""

import math
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.scipy import special
from jaxtyping import Array, Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""A finite real number; text and booleans are not numbers."""

Count = Annotated[int, Strict(), Field(ge=1)]
"""A whole number from 1 on."""

Entries = Float[Array | np.ndarray, "*shape"]

WEIGHT_SUM_TOLERANCE = 1e-6

ROUNDING = 1e-12
"""Sums this close to 1 are 1: weights that were normalised once are then kept bit for bit."""


def checked_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """`count` non-negative weights that sum to 1 (equal ones by default), or a ValueError."""
    if weights is None:
        return (1.0 / count,) * count
    if len(weights) != count:
        raise ValueError(
            f"weights: found {len(weights)} weights for {count} points; give one weight each"
        )
    if min(weights) < 0:
        raise ValueError(f"weights: found {min(weights)}; weights must not be negative")
    total = float(np.sum(weights))
    if not abs(total - 1.0) <= WEIGHT_SUM_TOLERANCE:  # written so that NaN is refused too
        raise ValueError(f"weights: found weights that sum to {total:.8g}; they must sum to 1")
    if abs(total - 1.0) <= ROUNDING:
        return tuple(map(float, weights))
    return tuple(w / total for w in weights)


def ndtr(z: Entries) -> Entries:
    """The standard normal distribution function, by NumPy for its arrays (ten times as quick)."""
    return scipy.special.ndtr(z) if isinstance(z, np.ndarray) else special.ndtr(z)


def not_a_number(entry: Any) -> str | None:
    """What is wrong with an entry of a table of numbers, or None."""
    if isinstance(entry, bool) or not isinstance(entry, int | float):
        return f"{entry!r}, which is not a number"
    if isinstance(entry, int) and abs(entry) > sys.float_info.max:
        return "a whole number that is too large"
    return None


def checked_rows(value: Sequence[Any], noun: str) -> list[Sequence[Any]]:
    """Rows of numbers of one length, or a ValueError that names the wrong one by `noun`.

    A flat list means rows of one entry.
    """
    rows: list[Sequence[Any]] = [r if isinstance(r, list | tuple) else [r] for r in value]
    for index, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"{noun} {index} has {len(row)} entries and {noun} 0 has {len(rows[0])}"
            )
        for entry in row:
            if wrong := not_a_number(entry):
                raise ValueError(f"{noun} {index} holds {wrong}")
    return rows


class _Law(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def vector_size(self) -> int | None:
        """Length of the vectors this law draws as a whole; None for a law of single entries."""
        return None

    def coordinates(self, size: int) -> int:
        """How many standard normals make `size` entries."""
        return size

    def atoms(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Points `(K, 1 or vector_size)` and weights `(K,)` of a discrete law, else None."""
        return None


class Normal(_Law):
    """`mean + std·G` with G standard normal; `std = 0` is one atom."""

    law: Literal["normal"] = "normal"
    mean: Number = 0.0
    std: Annotated[Number, Field(ge=0)] = 1.0

    def expectation(self) -> float:
        """The mean of one entry."""
        return self.mean

    def deviation(self) -> float:
        """The standard deviation of one entry."""
        return self.std

    def transform(self, z: Entries) -> Entries:
        """Entries with this law from standard normals, shape kept."""
        return self.mean + self.std * z

    def atoms(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The single atom of a law without spread."""
        return (np.array([[self.mean]]), np.ones(1)) if self.std == 0 else None


class Uniform(_Law):
    """Uniform on the interval [low, high]."""

    law: Literal["uniform"] = "uniform"
    low: Number
    high: Number

    @model_validator(mode="after")
    def _ordered(self) -> "Uniform":
        if self.low > self.high:
            raise ValueError(f"found low = {self.low} above high = {self.high}; swap them")
        return self

    def expectation(self) -> float:
        """The mean of one entry."""
        return 0.5 * (self.low + self.high)

    def deviation(self) -> float:
        """The standard deviation of one entry."""
        return (self.high - self.low) / math.sqrt(12)

    def transform(self, z: Entries) -> Entries:
        """Entries with this law from standard normals, shape kept."""
        return self.low + (self.high - self.low) * ndtr(z)

    def atoms(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The single atom of an interval of length zero."""
        return (np.array([[self.low]]), np.ones(1)) if self.low == self.high else None


def _points(value: Any) -> Any:
    """All numbers, or all vectors of one length; pydantic's own union messages are unreadable."""
    if not isinstance(value, list | tuple) or len(value) == 0:
        raise ValueError("points must be a non-empty list of numbers or of equally long vectors")
    if len({isinstance(point, list | tuple) for point in value}) > 1:
        raise ValueError("points mixes numbers and vectors; use one kind")
    for row, vector in enumerate(checked_rows(value, "point")):
        for entry in vector:
            if not np.isfinite(entry):
                raise ValueError(f"point {row} holds {entry!r}, which is not finite")
    return value


class Atoms(_Law):
    """Finitely many points with weights: numbers (law of each entry) or vectors (a joint law)."""

    law: Literal["atoms"] = "atoms"
    points: Annotated[tuple[float, ...] | tuple[tuple[float, ...], ...], BeforeValidator(_points)]
    weights: tuple[Number, ...] | None = None

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "Atoms":
        object.__setattr__(self, "weights", checked_weights(self.weights, len(self.points)))
        return self

    @property
    def vector_size(self) -> int | None:
        """Length of vector points; None for scalar points."""
        first = self.points[0]
        return len(first) if isinstance(first, tuple) else None

    def coordinates(self, size: int) -> int:
        """One per entry for scalar points; one in all for vector points."""
        return size if self.vector_size is None else 1

    def expectation(self) -> float:
        """The mean of one entry (scalar points)."""
        return float(np.dot(np.asarray(self.points), np.asarray(self.weights)))

    def deviation(self) -> float:
        """The standard deviation of one entry (scalar points)."""
        squares = (np.asarray(self.points) - self.expectation()) ** 2
        return math.sqrt(float(np.dot(squares, np.asarray(self.weights))))

    def transform(
        self, z: Float[Array | np.ndarray, "... normals"]
    ) -> Float[Array | np.ndarray, "... entries"]:
        """The quantile map: `(..., k)` normals to `(..., k)` entries or to `(..., d)` vectors."""
        points, weights = self.atoms()
        cumulative = jnp.asarray(np.cumsum(weights)[:-1], z.dtype)
        index = jnp.searchsorted(cumulative, ndtr(z), side="right")
        chosen = jnp.asarray(points, z.dtype)[index]  # (..., coordinates, vector size or 1)
        return chosen.reshape(*z.shape[:-1], -1)

    def atoms(self) -> tuple[np.ndarray, np.ndarray]:
        """The points as rows, and their weights."""
        return np.asarray(self.points, float).reshape(len(self.points), -1), np.asarray(
            self.weights
        )


Law = Annotated[Normal | Uniform | Atoms, Field(discriminator="law")]
"""Any law, told apart by its key `law`."""
