"""Learning-rate schedules ξ(t) ≥ 0 in mean-field time.

A problem file gives a number or a table `{ schedule = "power", … }`. Numbers of a schedule are
arrays in compiled code, so that changing them compiles nothing anew.

No step of an integration crosses a stop of a schedule: where the limit is at rest, an error that is
estimated from a step does not show what the schedule does within it. Between two stops a schedule
does not jump; it falls by a factor of e at most, or by a part of a cosine, and one of one's own has
no feature that is over sooner.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike
from jaxtyping import Array
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)

from widelimit.problem.network.laws import Number

Level = Annotated[Number, Field(ge=0)]
Duration = Annotated[Number, Field(gt=0)]

FALLS = 37
"""A falling rate has so many stops, one for each factor of e: what is left is rounding."""

QUARTERS = 4
"""Half a cosine has so many stops, the last one where it ends."""

OWN_SHARE = 256
"""Functions of one's own: the longest step is the last time that is asked for, divided by this."""


class _Schedule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def family(self) -> Any:
        """What is compiled: it has `at(t, *numbers)`, and `stops(end, *numbers)` up to a time."""
        return type(self)

    def numbers(self) -> tuple[Sequence[float] | float, ...]:
        """All numbers of the schedule, in the order in which `at` and `stops` take them."""
        return tuple(getattr(self, name) for name in type(self).model_fields if name != "schedule")

    def highest(self) -> float:
        """The largest rate at any time."""
        return self.numbers()[0]  # type: ignore[return-value]

    @property
    def frozen(self) -> bool:
        """Whether the rate is 0 at all times."""
        return self.highest() == 0


class Constant(_Schedule):
    """ξ(t) = value; written as the bare number."""

    schedule: Literal["constant"] = "constant"
    value: Level

    @staticmethod
    def at(t: Array, value: Array) -> Array:
        """The rate at time t."""
        return value

    @staticmethod
    def stops(end: float, value: np.ndarray) -> np.ndarray:
        """None."""
        return np.zeros(0)

    @model_serializer
    def _bare(self) -> float:
        return self.value


class Power(_Schedule):
    """ξ(t) = value · (1 + t/time)^(−exponent)."""

    schedule: Literal["power"] = "power"
    value: Level
    exponent: Level
    time: Duration = 1.0

    @staticmethod
    def at(t: Array, value: Array, exponent: Array, time: Array) -> Array:
        """The rate at time t."""
        return value * (1 + t / time) ** -exponent

    @staticmethod
    def stops(end: float, value: np.ndarray, exponent: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Where the rate has fallen by one more factor of e."""
        with np.errstate(over="ignore", divide="ignore"):  # never, with an exponent near 0
            return time * np.expm1(np.arange(1, FALLS + 1) / exponent)


class Exponential(_Schedule):
    """ξ(t) = value · exp(−t/time)."""

    schedule: Literal["exponential"] = "exponential"
    value: Level
    time: Duration

    @staticmethod
    def at(t: Array, value: Array, time: Array) -> Array:
        """The rate at time t."""
        return value * jnp.exp(-t / time)

    @staticmethod
    def stops(end: float, value: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Where the rate has fallen by one more factor of e."""
        return time * np.arange(1, FALLS + 1)


class Cosine(_Schedule):
    """Half a cosine from `value` down to `low` at `time`, and `low` from then on."""

    schedule: Literal["cosine"] = "cosine"
    value: Level
    time: Duration
    low: Level = 0.0

    @model_validator(mode="after")
    def _falling(self) -> "Cosine":
        if self.low > self.value:
            raise ValueError(f"found low = {self.low} above value = {self.value}; swap them")
        return self

    @staticmethod
    def at(t: Array, value: Array, time: Array, low: Array) -> Array:
        """The rate at time t."""
        return low + (value - low) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(t / time, 1.0)))

    @staticmethod
    def stops(end: float, value: np.ndarray, time: np.ndarray, low: np.ndarray) -> np.ndarray:
        """Quarters of the way down; at the end the second derivative jumps."""
        return time * np.arange(1, QUARTERS + 1) / QUARTERS


class Piecewise(_Schedule):
    """values[0] before times[0], values[k] from times[k−1] on."""

    schedule: Literal["piecewise"] = "piecewise"
    times: Annotated[tuple[Duration, ...], Field(min_length=1)]
    values: tuple[Level, ...]

    @model_validator(mode="after")
    def _fitting(self) -> "Piecewise":
        if any(np.diff(self.times) <= 0):
            raise ValueError("times: must increase")
        if len(self.values) != len(self.times) + 1:
            raise ValueError(
                f"values: found {len(self.values)} values for {len(self.times)} times; give one "
                "more than there are times"
            )
        return self

    def highest(self) -> float:
        """The largest of the values."""
        return max(self.values)

    @staticmethod
    def at(t: Array, times: Array, values: Array) -> Array:
        """The rate at time t."""
        return values[jnp.searchsorted(times, t, side="right")]

    @staticmethod
    def stops(end: float, times: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Where the value changes."""
        return times[np.diff(values) != 0]


class Own(_Schedule):
    """A function of one's own (in Python only): `function(t)` ≥ 0, by `jax.numpy`.

    `peak` is its largest value, which advice on steps needs; that at time 0 if it is not given.
    `longest` is the longest step that sees all that the function does, in mean-field time: no
    integration of a limit steps further. It is the last observed time, divided by 256, if it is
    not given; say it for a function that jumps or has features shorter than that.

    >>> import jax.numpy as jnp
    >>> float(Own(function=lambda t: jnp.exp(-t) / (1 + t)).at(jnp.asarray(0.0)))
    1.0
    """

    schedule: Literal["own"] = "own"
    function: Callable[[Array], Array]
    peak: Level | None = None
    longest: Duration | None = None

    @property
    def family(self) -> "Own":
        """What is compiled is this function."""
        return self

    def numbers(self) -> tuple[()]:
        """None."""
        return ()

    def highest(self) -> float:
        """The largest rate at any time."""
        return float(self.function(jnp.zeros(()))) if self.peak is None else self.peak

    @property
    def frozen(self) -> bool:
        """A function may rise from 0: only a peak of 0 freezes."""
        return self.peak == 0

    def at(self, t: Array) -> Array:
        """The rate at time t."""
        return jnp.asarray(self.function(t))

    def stops(self, end: float) -> np.ndarray:
        """One after each longest step."""
        longest = self.longest or end / OWN_SHARE
        return longest * np.arange(1, math.ceil(end / longest))


def _written_out(value: Any) -> Any:
    """A bare number is a constant schedule, a function one of one's own."""
    if callable(value) and not isinstance(value, _Schedule):
        return {"schedule": "own", "function": value}
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"schedule": "constant", "value": value}
    if isinstance(value, Mapping | _Schedule):
        return value
    raise ValueError(f"found {value!r}; must be a number, or a table with the key schedule")


Schedule = Annotated[
    Annotated[
        Constant | Power | Exponential | Cosine | Piecewise | Own, Field(discriminator="schedule")
    ],
    BeforeValidator(_written_out),
]
"""Any schedule, told apart by its key `schedule`; a number is a constant."""


class Rate(eqx.Module):
    """A schedule in compiled code: its family, and its numbers as arrays."""

    family: Any = eqx.field(static=True)
    numbers: tuple[Array, ...]
    highest: Array

    @classmethod
    def of(cls, schedule: _Schedule, dtype: DTypeLike) -> "Rate":
        """The rate of a schedule, its numbers held as `dtype`."""
        numbers = tuple(jnp.asarray(n, dtype) for n in schedule.numbers())
        return cls(schedule.family, numbers, jnp.asarray(schedule.highest(), dtype))

    def at(self, t: ArrayLike) -> Array:
        """The rate at time t."""
        return self.family.at(jnp.asarray(t), *self.numbers)

    def at_its_highest(self) -> "Rate":
        """The constant rate that this one is where it is largest."""
        return Rate(Constant, (self.highest,), self.highest)

    def stops(self, end: float) -> np.ndarray:
        """Times, up to `end` at least, that no step crosses; the rate holds from each one on."""
        return self.family.stops(end, *(np.asarray(n, float) for n in self.numbers))


def stops_among(tree: Any, end: float) -> np.ndarray:
    """The stops before `end` of all `Rate`s in a tree, in order.

    >>> stops_among([Rate.of(Piecewise(times=(1, 2), values=(0, 3, 3)), float)], 5.0).tolist()
    [1.0]
    """
    leaves = jax.tree.leaves(tree, is_leaf=lambda leaf: isinstance(leaf, Rate))
    own = [leaf.stops(end) for leaf in leaves if isinstance(leaf, Rate)]
    found = np.unique(np.concatenate([np.zeros(0), *own]))
    return found[(found > 0) & (found < end)]
