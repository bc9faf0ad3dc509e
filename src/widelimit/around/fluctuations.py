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

from collections.abc import Sequence

import jax
import numpy as np
import xarray as xr

from widelimit.around.prediction import Prediction, in_double, refuse_unknown
from widelimit.problem.problem import Problem
from widelimit.results.fluctuations import Fluctuations

TOLERANCE = 0.02
"""Relative error of standard deviations that is asked for if nothing else is."""


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

    >>> from widelimit.problem.problem import Problem
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


def sample_paths(found: Fluctuations, count: int, seed: int) -> xr.DataArray:
    """See `Fluctuations.paths`."""
    d = found.dataset
    with jax.enable_x64(d.attrs["precision"] == "float64"):
        units = Prediction(found.problem, 1.0, False, False).paths(
            np.atleast_1d(d.attrs["points"]).tolist(), count, seed
        )
    return (d.factor**0.5 * units).sum("source").transpose("width", "sample", ...)
