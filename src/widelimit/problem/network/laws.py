"""Laws of initial parameters: mean, draws, exact atoms, and a map from standard normals.

A law describes either one entry (every entry of a vector is then an independent copy) or, for
vector atoms, a whole vector at once. Quadrature sees every law as the image of independent
standard normals: quadrature places those normals, a sampled network draws them, and one map
serves both.
"""

import math
import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special
from jax.scipy import special
from jaxtyping import Array, Float
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict, model_validator

from widelimit.basics.precision import in_precision

Number = Annotated[float, Strict(), Field(allow_inf_nan=False)]
"""A finite real number; text and booleans are not numbers."""

Count = Annotated[int, Strict(), Field(ge=1)]
"""A whole number from 1 on."""

Entries = Float[Array | np.ndarray, "*shape"]
Normals = Float[Array | np.ndarray, "... normals"]
Vectors = Float[Array | np.ndarray, "... entries"]

ENDS = 38.0
"""Beyond, the density of a standard normal is no double."""

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


def ndtri(p: Entries) -> Entries:
    """The inverse of `ndtr`."""
    return scipy.special.ndtri(p) if isinstance(p, np.ndarray) else special.ndtri(p)


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


def number_or_vector(value: Any) -> Any:
    """A number, or a vector; pydantic's own union messages are unreadable."""
    entries = value if isinstance(value, list | tuple) else [value]
    rows = checked_rows(entries, "entry")
    if len(rows) == 0 or len(rows[0]) != 1 or not np.isfinite(rows).all():
        raise ValueError(f"found {value!r}; must be a finite number, or a list of them")
    found = tuple(float(row[0]) for row in rows)
    return found if entries is value else found[0]


class _Law(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def vector_size(self) -> int | None:
        """Length of the vectors this law draws as a whole; None if it serves any length."""
        return None

    @property
    def joint(self) -> bool:
        """Whether it is the law of a whole vector, not of each of its entries."""
        return self.vector_size is not None

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


class TruncatedNormal(_Law):
    """`mean + std·G`, G standard normal under the condition |G| ≤ cut (not rescaled)."""

    law: Literal["truncated normal"] = "truncated normal"
    mean: Number = 0.0
    std: Annotated[Number, Field(ge=0)] = 1.0
    cut: Annotated[Number, Field(gt=0)] = 2.0

    def expectation(self) -> float:
        """The mean of one entry."""
        return self.mean

    def deviation(self) -> float:
        """The standard deviation of one entry: Var G = 1 − 2 c φ(c)/(2Φ(c) − 1)."""
        density = math.exp(-0.5 * self.cut**2) / math.sqrt(2 * math.pi)
        return self.std * math.sqrt(1 - 2 * self.cut * density / math.erf(self.cut / math.sqrt(2)))

    def transform(self, z: Entries) -> Entries:
        """Entries with this law from standard normals, shape kept."""
        inside = math.erf(self.cut / math.sqrt(2))
        return self.mean + self.std * ndtri(0.5 + inside * (ndtr(z) - 0.5))


class Sphere(_Law):
    """The whole vector is uniform on the sphere |w| = radius."""

    law: Literal["sphere"] = "sphere"
    radius: Annotated[Number, Field(gt=0)] = 1.0

    @property
    def joint(self) -> bool:
        """Always, for vectors of any length."""
        return True

    def transform(self, z: Entries) -> Entries:
        """`(..., d)` normals to `(..., d)` vectors."""
        return self.radius * z / ((z**2).sum(axis=-1, keepdims=True) ** 0.5)


class Component(BaseModel):
    """One normal law of a mixture, equally likely unless each has a weight."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    weight: Number | None = None
    mean: Annotated[float | tuple[float, ...], BeforeValidator(number_or_vector)] = 0.0
    std: Annotated[Number, Field(gt=0)] = 1.0


def given_to_all(components: Sequence[Any], key: str) -> list[float]:
    """What every component gives under a key, nothing if none does; ValueError if only some do."""
    values = [getattr(component, key) for component in components]
    given = [value is not None for value in values]
    if any(given) and not all(given):
        raise ValueError(
            f"components[{given.index(False)}].{key}: is missing; give one to every component, or "
            "none"
        )
    return values if all(given) else []


def component_weights(components: Sequence[Any]) -> np.ndarray:
    """The probabilities of a mixture's components, equal if none is given, or a ValueError."""
    given = given_to_all(components, "weight")
    try:
        return np.array(checked_weights(given or None, len(components)))
    except ValueError as error:
        raise ValueError(f"components: {str(error).removeprefix('weights: ')}") from None


HALVINGS = 60
"""Bisections for a quantile of a mixture: more would not change a double."""


class Mixture(_Law):
    """A mixture of normal laws N(mean, std²): of each entry, or of whole vectors N(mean, std² I).

    It is the law of vectors when means are vectors.
    """

    law: Literal["mixture"] = "mixture"
    components: Annotated[tuple[Component, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _fits(self) -> "Mixture":
        sizes = {len(c.mean) if isinstance(c.mean, tuple) else None for c in self.components}
        if len(sizes) > 1:
            raise ValueError(
                "components: their means must all be numbers, or vectors of one length"
            )
        component_weights(self.components)
        return self

    def _means_and_stds(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array([c.mean for c in self.components]), np.array(
            [c.std for c in self.components]
        )

    @property
    def vector_size(self) -> int | None:
        """Length of vector means; None for numbers."""
        first = self.components[0].mean
        return len(first) if isinstance(first, tuple) else None

    def coordinates(self, size: int) -> int:
        """One per entry; vectors take one more, which chooses the component."""
        return size if self.vector_size is None else size + 1

    def expectation(self) -> float:
        """The mean of one entry (means that are numbers)."""
        return float(component_weights(self.components) @ self._means_and_stds()[0])

    def deviation(self) -> float:
        """The standard deviation of one entry (means that are numbers)."""
        means, stds = self._means_and_stds()
        squares = stds**2 + (means - self.expectation()) ** 2
        return math.sqrt(float(component_weights(self.components) @ squares))

    def parts(self) -> tuple[list[Any], np.ndarray]:
        """The components, each a law of its own, and their weights."""
        laws: list[Any] = []
        for own in self.components:
            means = own.mean if isinstance(own.mean, tuple) else (own.mean,)
            normals = tuple(Normal(mean=mean, std=own.std) for mean in means)
            laws.append(normals[0] if self.vector_size is None else Product(factors=normals))
        return laws, component_weights(self.components)

    def transform(self, z: Normals) -> Vectors:
        """Entries from normals, shape kept; `(..., d + 1)` normals to `(..., d)` vectors."""
        arrays = np if isinstance(z, np.ndarray) else jnp
        means, stds = (arrays.asarray(a, z.dtype) for a in self._means_and_stds())
        shares = component_weights(self.components)
        if self.vector_size is not None:
            edges = arrays.asarray(np.cumsum(shares)[:-1], z.dtype)
            chosen = arrays.searchsorted(edges, ndtr(z[..., 0]), side="right")
            return means[chosen] + stds[chosen][..., None] * z[..., 1:]
        weights, levels = arrays.asarray(shares, z.dtype), ndtr(z)

        def halved(_: Any, ends: tuple[Entries, Entries]) -> tuple[Entries, Entries]:
            low, high = ends
            middle = 0.5 * (low + high)
            below = ndtr((middle[..., None] - means) / stds) @ weights < levels
            return arrays.where(below, middle, low), arrays.where(below, high, middle)

        far = 12 * float(self._means_and_stds()[1].max())  # 1e-32 is beyond
        low, high = (arrays.zeros_like(z) + end for end in (means.min() - far, means.max() + far))
        if arrays is jnp:
            return jax.lax.fori_loop(0, HALVINGS, halved, (low, high))[0]
        for _ in range(HALVINGS):
            low, high = halved(None, (low, high))
        return low


def _points(value: Any) -> Any:
    """All numbers, or all vectors of one length; pydantic's own union messages are unreadable."""
    value = value.tolist() if isinstance(value, np.ndarray) else value
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

    def transform(self, z: Normals) -> Vectors:
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


class Own(_Law):
    """A law of one's own (in Python only): that of `function(G)`, G standard normal.

    `function` works entry by entry, by `jax.numpy`. Raises `ValueError` if its mean and mean square
    cannot be computed to nine digits.

    >>> import jax.numpy as jnp
    >>> round(Own(function=jnp.exp).expectation(), 6)  # e^(1/2)
    1.648721
    """

    law: Literal["own"] = "own"
    function: Callable[[Normals], Entries]

    @model_validator(mode="after")
    def _with_moments(self) -> "Own":
        assert len(self._moments) == 2
        return self

    def moment(self, power: int) -> float:
        """E a^power of one entry; ValueError if it cannot be computed."""
        from scipy.integrate import quad  # takes a while to import, and only this law needs it

        def density(z: float) -> float:
            return float(self.function(jnp.asarray(z))) ** power * math.exp(-0.5 * z**2)

        with in_precision("float64"):
            found, error, *more = quad(
                density, -ENDS, ENDS, limit=200, epsabs=1e-13, epsrel=1e-11, full_output=1
            )
        failed = len(more) > 1 or not math.isfinite(found)  # beside the details a message
        if failed or error > 1e-9 * max(1.0, abs(found)):
            raise ValueError("function: its mean under normals cannot be computed")
        return found / math.sqrt(2 * math.pi)

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and mean square of one entry."""
        return self.moment(1), self.moment(2)

    def expectation(self) -> float:
        """The mean of one entry."""
        return self._moments[0]

    def deviation(self) -> float:
        """The standard deviation of one entry."""
        return math.sqrt(max(0.0, self._moments[1] - self._moments[0] ** 2))

    def transform(self, z: Entries) -> Entries:
        """Entries with this law from standard normals, shape kept."""
        return jnp.asarray(self.function(z))


def law_written_out(value: Any) -> Any:
    """A function stands for the law of its values."""
    function = callable(value) and not isinstance(value, _Law)
    return {"law": "own", "function": value} if function else value


Single = Annotated[
    Annotated[
        Normal | Uniform | TruncatedNormal | Mixture | Atoms | Own, Field(discriminator="law")
    ],
    BeforeValidator(law_written_out),
]
"""Laws that may be those of each entry."""


class Product(_Law):
    """The entries of a vector are independent, each with a law of its own."""

    law: Literal["product"] = "product"
    factors: Annotated[tuple[Single, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _of_entries(self) -> "Product":
        for place, factor in enumerate(self.factors):
            if factor.joint:
                raise ValueError(
                    f"factors[{place}]: is a law of vectors; each entry has a number's"
                )
        return self

    @property
    def vector_size(self) -> int:
        """One entry a factor."""
        return len(self.factors)

    def transform(self, z: Entries) -> Entries:
        """`(..., d)` normals to `(..., d)` vectors."""
        arrays = np if isinstance(z, np.ndarray) else jnp
        columns = [f.transform(z[..., k : k + 1]) for k, f in enumerate(self.factors)]
        return arrays.concatenate([arrays.asarray(c) for c in columns], axis=-1)


Law = Annotated[
    Annotated[
        Normal | Uniform | TruncatedNormal | Mixture | Sphere | Product | Atoms | Own,
        Field(discriminator="law"),
    ],
    BeforeValidator(law_written_out),
]
"""Any law, told apart by its key `law`."""
