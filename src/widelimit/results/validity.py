"""Until when a limit describes networks of a width, with error bars."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from widelimit.problem.problem import Problem


@dataclass(frozen=True)
class Validity:
    """How far networks are from the limit to leading order, and until when it describes them.

    `dataset`: by `(width, validity_time)` the RMS over observed outputs of what sampled labels do,
    `band` = s/√n, and of what differences between like neurons do, `departure`;
    the `gain` of these differences since time 0 and their `growth_rate` λ (per unit of mean-field
    time); by `width` the times `clt_until` (t_CLT) and `describes_until` (t*),
    infinite where the horizon comes first, with bounds `…_low`, `…_high` (95 %); `left` is the
    distance at which a network has left. `…_error` are 95 % half-widths.
    """

    problem: Problem
    dataset: xr.Dataset

    def reaches_horizon(self) -> bool:
        """Whether the limit describes networks of all these widths until the end."""
        return bool(np.isinf(self.dataset.describes_until).all())

    def __repr__(self) -> str:
        ends = zip(
            self.dataset.widths.values, self.dataset.describes_until.values, strict=True
        )  # fmt: skip
        said = ", ".join(f"{shape[0]}: t = {until:.3g}" for shape, until in ends)
        return f"<Validity: the limit describes networks until, by width, {said}>"
