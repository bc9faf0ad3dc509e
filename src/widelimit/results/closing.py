"""Whether networks close in on a limit as they get wider: what distances say, and how surely.

Networks that approach their limit are off by a spread ∝ n^(-1/2) and an offset of the mean that
falls faster, ∝ 1/n (equations.md §4). They do not close in if, at any of T observed times,

- the exponent's interval, widened from 95 % so that it holds at all T times together (level
  1 − 0.05/T), lies above `FLATTEST` as a whole, or
- the offset stays: at the widest width it is resolved (by `RESOLVED` standard errors), larger than
  the limit's error, and larger than (n_1/n)^(1/2) times that at the narrowest width n_1, by more
  than the limit's error at both and Student's t at level 1 − `ALARM`/T times their standard error.

Networks that close in are denied it with a probability of at most `ALARM` for their offset and
2.5 % for their exponent (far less if that is near −1/2). They are said to close in if nothing
speaks against it and the 95 % interval at the last time lies below `FLATTEST` as a whole.
"""

from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from widelimit.results.scores import losses_of
from widelimit.results.trajectory import Trajectory

FLATTEST = -0.3
"""An exponent above this is not that of networks which approach their limit."""

RESOLVED = 5.0
"""An offset of fewer standard errors is not resolved."""

ALARM = 0.01
"""How often, at most, an offset that does fall like n^(-1/2) is said to stay."""

RUN_AWAY = 1e6
"""A risk of so many times that of no answer, or of the start, is no result of learning."""

Fit = dict[str, float]


def too_flat(fits: Sequence[Fit | None], freedom: int) -> int | None:
    """The first time whose exponent is too flat, its error having `freedom` degrees of freedom."""
    wider = stdtrit(freedom, 1 - 0.025 / len(fits)) / stdtrit(freedom, 0.975)
    for time, fit in enumerate(fits):
        if fit is not None and fit["value"] - wider * (fit["value"] - fit["low"]) > FLATTEST:
            return time
    return None


def offset_stays(
    widths: np.ndarray, offset: np.ndarray, error: np.ndarray, limit_error: np.ndarray, seeds: int
) -> int | None:
    """The first time at which the offset stays; None if at none, or if that cannot be told.

    `offset (width, time)` with standard errors `error`, narrowest first; `limit_error (time,)`.
    """
    if widths[0] == widths[-1] or seeds < 3:
        return None
    share = (widths[0] / widths[-1]) ** 0.5
    excess = offset[-1] - share * offset[0] - (1 + share) * limit_error
    apart = stdtrit(seeds - 1, 1 - ALARM / len(limit_error)) * np.hypot(error[-1], share * error[0])
    resolved = offset[-1] > np.maximum(RESOLVED * error[-1], limit_error)
    stays = resolved & (excess > apart)
    return int(np.argmax(stays)) if stays.any() else None


def ran_away(networks: Trajectory) -> str | None:
    """A sentence about networks whose risk has left all bounds, if there are any."""
    d, data = networks.dataset, networks.problem.dataset
    silent = losses_of(networks.problem.training.loss, np.zeros_like(data.targets), data.targets)
    risk = d["risk"].transpose("width", "time", "seed").values.max(axis=-1)
    width, time = np.unravel_index(risk.argmax(), risk.shape)
    bound = float(np.nanmax([silent @ data.weights, risk[:, 0].max()]))
    if not risk[width, time] > RUN_AWAY * bound:
        return None
    return (
        f"networks have run away: of width {d['width'].values[width]} one has the risk "
        f"{risk[width, time]:.2g} at t = {d['time'].values[time]:g}, where outputs of 0 and the "
        f"start have at most {bound:.2g}; that is no result of learning: use a smaller "
        "networks.step or smaller training.learning_rates"
    )
