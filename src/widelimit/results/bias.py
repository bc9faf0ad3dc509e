"""The measured bias of networks: how far their mean is from the limit, to order 1/n."""

import json
from dataclasses import dataclass
from typing import NamedTuple

import xarray as xr

from widelimit.problem.problem import Problem


class Shift(NamedTuple):
    """How far the mean of networks with these layer widths is from the limit.

    `bias` is the RMS over outputs, without what the scatter of pairs adds to it, `bias_se` its
    standard error; `risk` is the shift of the mean risk, `risk_error` its 95 % half-width.
    """

    name: str
    widths: tuple[int, ...]
    bias: float
    bias_se: float
    risk: float
    risk_error: float


@dataclass(frozen=True)
class Bias:
    """Measured differences, to order 1/n, between the mean of networks and their limit.

    `dataset`: `bias(width, time, input, channel)`, the mean output minus the limit's, and
    `risk_shift(width, time)`, the mean risk minus the limit's (with a holdout also
    `holdout_risk_shift`), each with an `…_error`: 95 % half-width by Student's t over pairs.
    `bias_rms(width, time)` is the RMS over outputs with `bias_rms_se`, as in `Shift`. Time is
    mean-field time `t = k ε`.
    """

    problem: Problem
    dataset: xr.Dataset

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return json.loads(self.dataset.attrs["warnings"])

    def at_the_end(self) -> list[Shift]:
        """What was measured for every width at the last time."""
        last = self.dataset.isel(time=-1)
        columns = (
            last[name].values.tolist()
            for name in ("bias_rms", "bias_rms_se", "risk_shift", "risk_shift_error")
        )
        shapes = list(map(tuple, last["widths"].values.tolist()))
        names = map(self.problem.network.name, shapes)
        return [Shift(*row) for row in zip(names, shapes, *columns, strict=True)]

    def __repr__(self) -> str:
        end, time = self.at_the_end()[-1], self.dataset.time.values[-1]
        return (
            f"<Bias: measured with {self.dataset.attrs['pairs']} pairs; width {end.name} at "
            f"t = {time:g}: bias {end.bias:.3g} ± {end.bias_se:.1g} (RMS over inputs, standard "
            f"error), risk {end.risk:+.3g} ± {end.risk_error:.1g} (95 %)>"
        )
