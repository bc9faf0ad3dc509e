"""Laws and schedules of which everything is so many times as large."""

from functools import singledispatch
from typing import Any

import numpy as np

from widelimit.problem.network.laws import (
    Atoms,
    Component,
    Mixture,
    Normal,
    Own,
    Product,
    Sphere,
    TruncatedNormal,
    Uniform,
)
from widelimit.problem.training.schedules import Constant, Cosine, Exponential, Piecewise, Power
from widelimit.problem.training.schedules import Own as OwnSchedule


@singledispatch
def scaled(what: Any, factor: float) -> Any:
    """A law of numbers that are `factor` > 0 times as large, or a schedule of such rates.

    >>> scaled(Uniform(low=-1.0, high=2.0), 3.0).high
    6.0
    """
    raise TypeError(f"{type(what).__name__} is neither a law nor a schedule")


@scaled.register
def _(law: Normal, factor: float) -> Normal:
    return Normal(mean=factor * law.mean, std=factor * law.std)


@scaled.register
def _(law: Uniform, factor: float) -> Uniform:
    return Uniform(low=factor * law.low, high=factor * law.high)


@scaled.register
def _(law: TruncatedNormal, factor: float) -> TruncatedNormal:
    return TruncatedNormal(mean=factor * law.mean, std=factor * law.std, cut=law.cut)


@scaled.register
def _(law: Sphere, factor: float) -> Sphere:
    return Sphere(radius=factor * law.radius)


@scaled.register
def _(law: Mixture, factor: float) -> Mixture:
    return Mixture(
        components=tuple(
            Component(weight=own.weight, mean=_times(own.mean, factor), std=factor * own.std)
            for own in law.components
        )
    )


@scaled.register
def _(law: Atoms, factor: float) -> Atoms:
    points: Any = tuple(_times(point, factor) for point in law.points)
    return Atoms(points=points, weights=law.weights)


@scaled.register
def _(law: Product, factor: float) -> Product:
    return Product(factors=tuple(scaled(own, factor) for own in law.factors))


@scaled.register
def _(law: Own, factor: float) -> Own:
    return Own(function=lambda z: factor * law.function(z))


@scaled.register(Constant)
@scaled.register(Power)
@scaled.register(Exponential)
def _(schedule: Any, factor: float) -> Any:
    return schedule.model_copy(update={"value": factor * schedule.value})


@scaled.register
def _(schedule: Cosine, factor: float) -> Cosine:
    ends = {"value": factor * schedule.value, "low": factor * schedule.low}
    return schedule.model_copy(update=ends)


@scaled.register
def _(schedule: Piecewise, factor: float) -> Piecewise:
    return schedule.model_copy(update={"values": _times(schedule.values, factor)})


@scaled.register
def _(schedule: OwnSchedule, factor: float) -> OwnSchedule:
    peak = None if schedule.peak is None else factor * schedule.peak
    own = {"function": lambda t: factor * schedule.function(t), "peak": peak}
    return schedule.model_copy(update=own)


def _times(value: Any, factor: float) -> Any:
    """A number, or a vector as a tuple."""
    many = np.ndim(value) > 0
    return tuple(factor * entry for entry in value) if many else factor * value
