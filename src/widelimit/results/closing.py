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
from dataclasses import dataclass

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


@dataclass(frozen=True)
class Distances:
    """Distances by observed time and width, with standard errors, and fitted exponents.

    `rms[time][width]` with standard error `rms_se`; `spread` and `offset` likewise (the spread's
    is the jackknife's over seeds; `offset` is free of the part that the spread alone would cause).
    `layer_widths[width]` are the widths of all layers (of residual networks depth and width), and
    `names[width]` what such networks are called. `exponent[time]` is `{"value", "low",
    "high"}` (95 % interval of the slope of log rms in log n_1), or None with the reason in
    `exponent_reason[time]`. `limit_error[time]` is the RMS of the limit's own error, which no
    distance resolves.
    """

    times: list[float]
    widths: list[int]
    layer_widths: list[list[int]]
    names: list[str]
    rms: list[list[float]]
    rms_se: list[list[float]]
    spread: list[list[float]]
    spread_se: list[list[float]]
    offset: list[list[float]]
    offset_se: list[list[float]]
    exponent: list[dict[str, float] | None]
    exponent_reason: list[str | None]
    limit_error: list[float]
    seeds: int


def verdict(
    found: Distances, networks: Trajectory, in_proportion: bool
) -> tuple[bool | None, str | None]:
    """Whether networks close in on the limit, and if not, or if it cannot be told, why.

    Offsets are judged where all layers grow `in_proportion`.
    """
    if runaway := ran_away(networks):
        return False, runaway
    flat = too_flat(found.exponent, len(found.widths) * (found.seeds - 1))
    if flat is not None:
        fit = found.exponent[flat]
        assert fit is not None
        said = (
            f"at t = {found.times[flat]:g} their distance is ∝ width^({fit['value']:.2f}), 95 % "
            f"interval {fit['low']:.2f} … {fit['high']:.2f}, where −0.5 is expected"
        )
    elif in_proportion and (stays := offset_stays(found)) is not None:
        low, high = ((found.offset[stays][k], found.offset_se[stays][k]) for k in (0, -1))
        said = (
            f"at t = {found.times[stays]:g} their mean stays away from it, by {low[0]:.2g} ± "
            f"{low[1]:.1g} at width {found.widths[0]} and {high[0]:.2g} ± {high[1]:.1g} at width "
            f"{found.widths[-1]} (standard errors)"
        )
    else:
        return _not_denied(found)
    return False, f"networks do not close in on the limit: {said}; {_causes(networks)}"


def _not_denied(found: Distances) -> tuple[bool | None, str | None]:
    """Whether the exponent at the end shows what nothing speaks against."""
    last = found.exponent[-1]
    if last is None:
        return None, found.exponent_reason[-1]
    if last["high"] < FLATTEST:
        return True, None
    return None, (
        f"the exponent's 95 % interval {last['low']:.2f} … {last['high']:.2f} does not lie on one "
        f"side of −{-FLATTEST}; train more seeds or wider networks"
    )


def _causes(networks: Trajectory) -> str:
    """What keeps networks away, as far as the problem tells."""
    settings = networks.problem.networks
    if settings is not None and settings.method != "flow" and settings.step != "1/width":
        return (
            f"the step ε = {settings.step} is the same at all widths, and what it does stays: take "
            "networks.step = '1/width', method = 'flow' or a smaller step"
        )
    return (
        "these widths are too narrow for it, or it is not what networks approach: train wider ones "
        "(networks.widths), and see the notes on this problem"
    )


def too_flat(fits: Sequence[dict[str, float] | None], freedom: int) -> int | None:
    """The first time whose exponent is too flat, its error having `freedom` degrees of freedom."""
    wider = stdtrit(freedom, 1 - 0.025 / len(fits)) / stdtrit(freedom, 0.975)
    for time, fit in enumerate(fits):
        if fit is not None and fit["value"] - wider * (fit["value"] - fit["low"]) > FLATTEST:
            return time
    return None


def offset_stays(found: Distances) -> int | None:
    """The first time at which the offset stays; None if at none, or if that cannot be told."""
    if found.widths[0] == found.widths[-1] or found.seeds < 3:
        return None
    offset, error = (np.array(rows)[:, [0, -1]].T for rows in (found.offset, found.offset_se))
    share, limit_error = (found.widths[0] / found.widths[-1]) ** 0.5, np.array(found.limit_error)
    level = 1 - ALARM / len(limit_error)
    excess = offset[1] - share * offset[0] - (1 + share) * limit_error
    apart = stdtrit(found.seeds - 1, level) * np.hypot(error[1], share * error[0])
    resolved = offset[1] > np.maximum(RESOLVED * error[1], limit_error)
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


def offset_falls_faster(found: Distances) -> bool:
    """Whether the offset at the end is seen to shrink faster with the width than the spread.

    Between the narrowest and the widest networks, with 95 % intervals (two standard errors) of all
    four numbers taken against it.
    """
    offset, spread = (np.array(at)[[0, -1]] for at in (found.offset[-1], found.spread[-1]))
    offset_se, spread_se = (
        np.array(at)[[0, -1]] for at in (found.offset_se[-1], found.spread_se[-1])
    )
    most = (offset[1] + 2 * offset_se[1] + found.limit_error[-1]) * (spread[0] + 2 * spread_se[0])
    least = (offset[0] - 2 * offset_se[0] - found.limit_error[-1]) * (spread[1] - 2 * spread_se[1])
    return bool(found.widths[0] < found.widths[-1] and most < least)
