"""Until when a limit describes networks of a width, with error bars."""

import math
from dataclasses import dataclass

import xarray as xr

from widelimit.basics.words import end_in_words
from widelimit.problem.problem import Problem


@dataclass(frozen=True)
class Validity:
    """How far networks are from the limit, and until when it describes them.

    `dataset`: by `(width, validity_time)` RMS over observed outputs and networks: what sampled
    labels move them by, `band`; what weights that the limit leaves out do beside them, `departure`;
    both together, `distance`; the `gain` of differences between like neurons since time 0 and
    their `growth_rate` λ (per unit of mean-field time; NaN where no neurons are alike);
    by `width` the times `clt_until` (t_CLT: departure = band) and `describes_until` (t*: distance =
    `left`), infinite where the horizon comes first, with bounds `…_low`, `…_high` (95 %); `left` is
    the distance at which a network has left, NaN where outputs and targets are 0 and nothing tells
    what is far: t* is NaN then. `…_error` are 95 % half-widths.
    """

    problem: Problem
    dataset: xr.Dataset

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        if not self.dataset.left.isnull().any():
            return []
        return [
            "until when the limit describes networks is not known: its outputs and the targets are "
            "0, so nothing tells which distance is large; give targets that are not all 0"
        ]

    def reaches_horizon(self) -> bool:
        """Whether the limit is known to describe networks of all these widths until the end."""
        return bool((self.dataset.describes_until == math.inf).all())

    def __repr__(self) -> str:
        ends = zip(
            self.dataset.widths.values.tolist(), self.dataset.describes_until.values, strict=True
        )
        name = self.problem.network.name
        said = ", ".join(f"{name(shape)}: {end_in_words(until)}" for shape, until in ends)
        return f"<Validity: the limit describes networks until, by width, {said}>"
