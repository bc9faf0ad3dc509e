"""Predicted fluctuations of sampled networks around the limit, from the limit alone.

The output f_t(x) is a functional of the laws of the neurons' labels, of the data seen at each
time, and of the data set. To leading order a network's deviation from the limit is that
functional's derivative times the noise of these measures (equations.md §4; Sirignano &
Spiliopoulos 2020, CLT, Theorem 1.5; Pham & Nguyen 2021):

    layer l   (1/n_l) Var_c[IF_l(c)],          IF_l(c) = ∂f_t(x)/∂P_l(c)
    sgd       (ε/b) ∫_0^t Var_z[J_s(z)] + v E_z|D_s(z)|² ds,
                                               J_s(z) = ∂f_t(x)/∂(weight of z at time s),
              D_s(z) = ∂f_t(x)/∂(label of z at time s), v the variance of fresh label noise
    data      (1/samples) Var_z[∂f_t(x)/∂π(z)]

No network is trained here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np
import xarray as xr

from widelimit.prediction import Prediction, in_double, refuse_unknown
from widelimit.problem import Problem
from widelimit.trajectory import rms_over_outputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TOLERANCE = 0.02
"""Relative error of standard deviations that is asked for if nothing else is."""


class Scatter(NamedTuple):
    """How networks with these layer widths scatter: standard deviation, RMS over outputs.

    `error` is that of the standard deviation, `shares` are those of the sources in the variance.
    The standard deviation is NaN beyond `until`, the time t_CLT until which there is one.
    """

    widths: tuple[int, ...]
    std: float
    error: float
    shares: dict[str, float]
    until: float

    def sources(self) -> str:
        """The shares in words."""
        return ", ".join(f"{name} {share:.0%}" for name, share in self.shares.items())


@dataclass(frozen=True)
class Fluctuations:
    """Predicted variances of the outputs and of the risk of networks around their limit.

    `dataset`: `variance(width, source, time, input, channel)` and `output_std(width, time, input,
    channel)`, `risk_variance(width, source, time)` and `risk_std(width, time)`, each with an
    `…_error` (95 % half-width for the nodes, plus time integration, plus directions left out).
    Sources are "layer 1" … "layer L", "sgd" and "data"; `factor(width, source)` is what the
    variance per unit of noise, `unit_variance(source, time, input, channel)`, is multiplied by:
    1/n_l, ε/b, 1/samples. Time is mean-field time `t = k ε`.
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

    def at_the_end(self) -> list[Scatter]:
        """How networks of every width scatter at the last time."""
        last = self.dataset.isel(time=-1)
        each = last.variance.mean(["input", "channel"])
        total = each.sum("source")
        shares = (each / total.where(total > 0, 1.0)).transpose("width", "source").values
        std, error = rms_over_outputs(last.output_std), rms_over_outputs(last.output_std_error)
        names = [str(source) for source in each.source.values]
        ends = np.full(len(shares), np.inf)
        if "clt_until" in self.dataset:
            ends = self.dataset["clt_until"].values
        return [
            Scatter(tuple(shape), size, doubt, dict(zip(names, share, strict=True)), end)
            for shape, size, doubt, share, end in zip(
                self.dataset["widths"].values.tolist(), std.values.tolist(),
                error.values.tolist(), shares.tolist(), ends.tolist(), strict=True,
            )
        ]  # fmt: skip

    def paths(self, count: int = 8, *, seed: int = 0) -> xr.DataArray:
        """Sample paths of the Gaussian process that networks follow around their limit.

        `(width, sample, time, input, channel)`: f_network − f_limit to leading order in the width,
        jointly over times and inputs (the linear equation of Sirignano & Spiliopoulos 2020, CLT,
        Theorem 1.5; Pham & Nguyen 2021). Sample s of all widths comes from the same noise.
        Raises `Diverged`, and `ProblemError` if labels have fresh noise.
        """
        with jax.enable_x64(self.dataset.attrs["precision"] == "float64"):
            units = Prediction(self.problem, 1.0, False, False).paths(
                np.atleast_1d(self.dataset.attrs["points"]).tolist(), count, seed
            )
        factor = self.dataset.factor**0.5
        return (factor * units).sum("source").transpose("width", "sample", ...)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the RMS standard deviation of the outputs over time, source by source."""
        from widelimit.report.pictures import draw_fluctuations

        return draw_fluctuations(self.dataset, ax)

    def __repr__(self) -> str:
        last, time = self.at_the_end()[-1], self.dataset.time.values[-1]
        return (
            f"<Fluctuations: {', '.join(last.shares)}; width {last.widths[0]} at t = {time:g}: "
            f"standard deviation {last.std:.3g} (RMS over inputs), relative error "
            f"{self.dataset.attrs['error']:.1g}>"
        )


def predict_fluctuations(
    problem: Problem,
    widths: Sequence[int | Sequence[int]] | None = None,
    *,
    tolerance: float = TOLERANCE,
    covariance: bool = False,
    progress: bool | None = None,
) -> Fluctuations:
    """Variances of outputs and risk of networks with the given widths, source by source.

    Widths, step, batch and draw are those of `problem.networks` unless `widths` are given.
    `tolerance` is the relative error of standard deviations (RMS over inputs) to be reached.
    With `covariance` the dataset also holds `covariance(width, source, time, input, channel,
    other_input, other_channel)`.

    Raises `ValueError` if there are no widths, `Diverged` if the limit leaves the finite numbers,
    `ProblemError` if the data are a whole population or the rule is Adam.

    >>> from widelimit.problem import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 1.0},
    ... })
    >>> found = predict_fluctuations(problem, widths=[100], progress=False)
    >>> start = found.dataset.output_std.sel(time=0.0, input=1).item()
    >>> import numpy as np
    >>> bool(np.isclose(start, np.std([2 * np.tanh(1.0), np.tanh(-0.5)]) / 10))
    True
    """
    problem.require_finite_data("predicting fluctuations")
    problem = problem.with_widths(widths)
    refuse_unknown(problem)
    with jax.enable_x64(in_double(problem, tolerance)):
        prediction = Prediction(problem, tolerance, covariance, progress)
        with prediction.work.bar:
            return Fluctuations(problem, prediction.made())
