"""Families of problems: any key of the problem file with several values, results along it.

    [sweep]
    network.scale = [1.0, 2.0, 4.0]
    training.horizon = [1.0, 3.0]

is a problem for each pair of values; results get the dimensions `network.scale` and
`training.horizon` (the key `seed` becomes `sweep.seed`: networks have seeds of their own).
"""

import itertools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from widelimit.basics.errors import ProblemError
from widelimit.problem.problem import Problem

MOST_MEMBERS = 1000
"""Problems of a family: each is checked whole before the first is solved."""


class Member(NamedTuple):
    """One problem of a family, and the values that it has of the keys that are swept."""

    values: dict[str, Any]
    problem: Problem

    @property
    def name(self) -> str:
        """Its values in a form that files may be called."""
        said = ",".join(f"{key}={value}" for key, value in self.values.items())
        return re.sub(r"[^A-Za-z0-9.=,_-]+", "-", said)[:100]


def members(problem: Problem) -> list[Member]:
    """All problems of the family that `[sweep]` asks for, the last key running fastest.

    Raises `ProblemError` with the mistakes of all of them, and if there is no `[sweep]`.

    >>> family = Problem.from_dict({
    ...     "network": {"activations": ["tanh"]},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 3.0}, "sweep": {"network.scale": [1.0, 2.0]},
    ... })
    >>> [member.name for member in members(family)]
    ['network.scale=1.0', 'network.scale=2.0']
    """
    if problem.sweep is None:
        raise ProblemError(
            ["sweep: is missing; it says which keys have several values"], problem.title
        )
    count = math.prod(len(values) for values in problem.sweep.values())
    if count > MOST_MEMBERS:
        raise ProblemError(
            [f"sweep: makes {count} problems; a family has at most {MOST_MEMBERS:,}: split it"],
            problem.title,
        )
    found, mistakes = [], []
    for chosen in itertools.product(*problem.sweep.values()):
        values = dict(zip(problem.sweep, chosen, strict=True))
        try:
            found.append(Member(values, problem.with_values(values)))
        except ProblemError as error:
            said = ", ".join(f"{key} = {value!r}" for key, value in values.items())
            mistakes += [f"sweep: with {said}: {mistake}" for mistake in error.mistakes]
    names = [member.name for member in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    mistakes += [f"sweep: found {name} more than once" for name in twice]
    if len({member.problem.observed_inputs.shape for member in found}) > 1:
        mistakes.append(
            "observe.inputs: is missing; training inputs differ between the problems of the "
            "sweep, so give inputs at which the outputs of all of them are kept"
        )
    if mistakes:
        raise ProblemError(mistakes, problem.title)
    return found


def sweep(problem: Problem, work: Callable[[Problem], Any]) -> xr.Dataset:
    """What `work` (`solve`, `train`, …) finds for each problem of a family, in one dataset.

    Its dimensions are those of the results and the keys that are swept. Where other coordinates
    differ (times, widths), what a problem does not have is NaN.
    """
    family = members(problem)
    return joined(family, [work(member.problem).dataset for member in family])


def joined(family: Sequence[Member], found: Sequence[xr.Dataset | None]) -> xr.Dataset:
    """Results of all members of a family along the keys that are swept; NaN where there is none."""
    like = next(dataset for dataset in found if dataset is not None)
    found = [like.where(xr.DataArray(False)) if dataset is None else dataset for dataset in found]
    found = [dataset.drop_encoding() for dataset in found]  # NaN is no whole number of a file
    keys = list(family[0].values)
    labels = {
        key: list(dict.fromkeys(_label(member.values[key]) for member in family)) for key in keys
    }

    def along(rest: list[str], left: Iterator[xr.Dataset]) -> xr.Dataset:
        if not rest:
            return next(left)
        key, *inner = rest
        parts = [along(inner, left) for _ in labels[key]]
        index = pd.Index(labels[key], name="sweep.seed" if key == "seed" else key)
        whole = xr.concat(parts, index, join="outer", combine_attrs="drop_conflicts")
        assert isinstance(whole, xr.Dataset)
        return whole

    return along(keys, iter(found))


def _label(value: Any) -> Any:
    """A value as a coordinate: numbers and text as they are, all else written out."""
    plain = isinstance(value, str | int | float | np.number) and not isinstance(value, bool)
    return value if plain else str(value)
