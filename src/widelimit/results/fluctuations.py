"""Predicted fluctuations: variances of outputs and risk, source by source, with errors."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import xarray as xr

from widelimit.problem.problem import Problem
from widelimit.results import questions

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Scatter(NamedTuple):
    """How networks of these widths scatter: standard deviation, RMS over outputs.

    `error` is that of the standard deviation, `shares` are those of the sources in the variance.
    The standard deviation is NaN beyond `until`, the time t_CLT until which there is one. `shift`
    is how far the depth of such networks takes their mean from the limit (RMS over outputs).
    """

    name: str
    widths: tuple[int, ...]
    std: float
    error: float
    shares: dict[str, float]
    until: float
    shift: float
    shift_error: float

    def sources(self) -> str:
        """The shares in words."""
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())


@dataclass(frozen=True)
class Fluctuations:
    """Predicted variances of the outputs and of the risk of networks around their limit.

    `dataset`: `variance(width, source, time, input, channel)` and `output_std(width, time, input,
    channel)` of every output, unless the RMS alone was asked for; `rms_variance(width, source,
    time)`, its mean over outputs, and `rms_std(width, time)`; `risk_variance(width, source, time)`
    and `risk_std(width, time)`; each with an `…_error` (95 % half-width for the nodes and for
    random combinations of outputs, plus time integration, plus directions left out).
    Sources are "layer 1" … "layer L", "sgd" and "data"; `factor(width, source)` is what the
    variance per unit of noise, `unit_variance(source, time, input, channel)`, is multiplied by:
    1/n_l, ε/b, 1/samples. Time is mean-field time `t = k ε`.

    Of residual networks each is predicted at its own depth, also where the limit's is infinite:
    with several depths what is for unit noise has the dimension width too. `depth_shift(width,
    time, input, channel)` is how far that depth takes their mean from the limit, and
    `depth_profile(depth_node, time, input, channel)` the variance per unit of noise that units at
    each depth make (of the deepest networks; its mean over depth nodes is that of all).
    """

    problem: Problem
    dataset: xr.Dataset

    @property
    def met(self) -> bool:
        """Whether standard deviations are as accurate as was asked."""
        return bool(self.dataset.attrs["met"])

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return json.loads(self.dataset.attrs["warnings"])

    @property
    def effective_outputs(self) -> float:
        """(Σ_i C_ii)² / Σ_ij C_ij² at the end for the first width, C the covariance of outputs.

        An RMS over outputs scatters as over so many independent ones (Satterthwaite 1946).
        """
        d = self.dataset.isel(width=0, time=-1)
        other = d.factor.rename(source="other_source")
        square = float((d.factor * d.overlap * other).sum())
        return float(d.rms_variance.sum()) ** 2 / square if square > 0 else 1.0

    def at_the_end(self) -> list[Scatter]:
        """How networks of every width scatter at the last time."""
        last = self.dataset.isel(time=-1)
        each = last.rms_variance
        total = each.sum("source")
        shares = (each / total.where(total > 0, 1.0)).transpose("width", "source").values
        std, error = last.rms_std, last.rms_std_error
        names = [str(source) for source in each.source.values]
        ends, shifts = np.full(len(shares), np.inf), np.zeros((2, len(shares)))
        if "clt_until" in self.dataset:
            ends = self.dataset["clt_until"].values
        if "rms_depth_shift" in last:
            shifts = np.stack([last.rms_depth_shift, last.rms_depth_shift_error])
        return [
            Scatter(
                self.problem.network.name(shape),
                tuple(shape),
                size,
                doubt,
                dict(zip(names, share, strict=True)),
                end,
                *shift,
            )
            for shape, size, doubt, share, end, shift in zip(
                self.dataset["widths"].values.tolist(),
                std.values.tolist(),
                error.values.tolist(),
                shares.tolist(),
                ends.tolist(),
                shifts.T.tolist(),
                strict=True,
            )
        ]

    def paths(self, count: int = 8, *, seed: int = 0) -> xr.DataArray:
        """Sample paths of the Gaussian process that networks follow around their limit.

        `(width, sample, time, input, channel)`: f_network − f_limit to leading order in the width,
        jointly over times and inputs (the linear equation of Sirignano & Spiliopoulos 2020, CLT,
        Theorem 1.5; Pham & Nguyen 2021). Sample s of all widths comes from the same noise.
        Raises `Diverged`, and `ProblemError` if labels have fresh noise.
        """
        return questions.sample_paths(self, count, seed)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the RMS standard deviation of the outputs over time, source by source."""
        return questions.pictures().draw_fluctuations(self, ax)

    def __repr__(self) -> str:
        last, time = self.at_the_end()[-1], self.dataset.time.values[-1]
        return (
            f"<Fluctuations: {', '.join(last.shares)}; width {last.name} at t = {time:g}: "
            f"standard deviation {last.std:.3g} (RMS over inputs), relative error "
            f"{self.dataset.attrs['error']:.1g}>"
        )
