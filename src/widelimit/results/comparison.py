"""The distance of networks from the limit, and the rate at which it shrinks with the width.

For network s of one width, D_s² is the mean over observed inputs and outputs of (f_s − f)².

    rms = (mean_s D_s²)^½,  spread = (mean_x Var_s f_s)^½,  offset = (mean_x (E_s f_s − f)²)^½

Where networks approach the limit, the spread over seeds shrinks as width^(-1/2), the mean's offset
faster (as 1/width): the exponent is fitted to `rms`, both parts are kept apart, and whether they do
shrink is judged as in `closing`.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from widelimit.basics.statistics import offset
from widelimit.results import questions
from widelimit.results.closing import Distances, verdict
from widelimit.results.trajectory import Trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FEWEST_WIDTHS = 3
FEWEST_SEEDS = 5
LARGEST_SHARE = 0.5
"""An exponent is refused when the limit's error bar is more than this share of a distance.

The bar is a 95 % half-width, so the error itself is about half of it; errors add in squares, and
a distance is then wrong by at most about 3 %.
"""


@dataclass(frozen=True)
class Comparison(Distances):
    """Distances of networks from a limit, and whether these close in on it with the width.

    `closes` (see `closing`): if it is False or None (it cannot be told), `closes_reason` says why.
    """

    closes: bool | None
    closes_reason: str | None

    def as_dict(self) -> dict[str, Any]:
        """The content of `comparison.json`."""
        return asdict(self)

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the distance against the width at the last time, with the fitted line."""
        return questions.pictures().draw_distance(self, ax)


def compare(limit: Trajectory, networks: Trajectory) -> Comparison:
    """Hold networks against a limit at their common observed times and inputs.

    Raises `ValueError` if they are not a limit and networks of one problem.
    """
    _require_both(limit, networks)
    f, d = limit.dataset["output"], networks.dataset
    network = networks.problem.network
    d = d.isel(width=np.argsort(networks.averaged, kind="stable"))
    values = d["output"].values.astype(float)  # (width, seed, time, input, channel)
    seeds = values.shape[1]
    squared = ((values - f.values) ** 2).mean(axis=(-2, -1))  # (width, seed, time)
    rms = np.sqrt(squared.mean(axis=1))
    rms_se = _standard_error(squared) / np.maximum(2 * rms, np.finfo(float).tiny)
    spread, spread_se = _spread(values)
    apart, apart_se = offset(values, f.values)
    error = np.sqrt((limit.dataset["output_error"].values ** 2).mean(axis=(-2, -1)))
    sizes = list(map(tuple, d["widths"].values.tolist()))
    shapes = np.array([network.growing(widths) for widths in sizes])
    fits = [_fitted(shapes, rms[:, t], rms_se[:, t], error[t], seeds) for t in range(rms.shape[1])]
    found = Distances(
        times=f.time.values.tolist(),
        widths=[network.growing_width(widths) for widths in sizes],
        layer_widths=d["widths"].values.tolist(),
        names=list(map(network.name, sizes)),
        rms=rms.T.tolist(),
        rms_se=rms_se.T.tolist(),
        spread=spread.T.tolist(),
        spread_se=spread_se.T.tolist(),
        offset=apart.T.tolist(),
        offset_se=apart_se.T.tolist(),
        exponent=[fit if isinstance(fit, dict) else None for fit in fits],
        exponent_reason=[fit if isinstance(fit, str) else None for fit in fits],
        limit_error=error.tolist(),
        seeds=seeds,
    )
    closes, reason = verdict(found, networks, _in_proportion(shapes))
    return Comparison(**asdict(found), closes=closes, closes_reason=reason)


def _require_both(limit: Trajectory, networks: Trajectory) -> None:
    if (limit.kind, networks.kind) != ("limit", "networks"):
        raise ValueError(f"compare takes a limit and networks, not {limit.kind}, {networks.kind}")
    f, sampled = limit.dataset["output"], networks.dataset["output"]
    if sampled.shape[2:] != f.shape or not np.allclose(sampled.time, f.time):
        raise ValueError("limit and networks were observed at different times or inputs")


def _in_proportion(shapes: np.ndarray) -> bool:
    """Whether the widths of layers `(width, layer)` that grow do so together."""
    return shapes.size > 0 and np.allclose(shapes / shapes[:, :1], shapes[0] / shapes[0, 0])


def _standard_error(values: np.ndarray) -> np.ndarray:
    """Standard error of the mean over seeds (axis 1); NaN for a single seed."""
    seeds = values.shape[1]
    if seeds == 1:
        return np.full_like(values[:, 0], np.nan)
    return values.std(axis=1, ddof=1) / np.sqrt(seeds)


def _spread(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """RMS over inputs of the standard deviation over seeds; its standard error by the jackknife.

    Leaving seed s out takes S/(S − 1) times its squared deviation from the sum of squares.
    """
    seeds = values.shape[1]
    nothing = np.full((values.shape[0], values.shape[2]), np.nan)
    if seeds == 1:
        return nothing, nothing
    squares = ((values - values.mean(axis=1, keepdims=True)) ** 2).mean(axis=(-2, -1))
    total = squares.sum(axis=1)
    spread = np.sqrt(total / (seeds - 1))
    if seeds == 2:
        return spread, nothing
    left_out = (total[:, None] - squares * seeds / (seeds - 1)) / (seeds - 2)
    deviation = left_out - left_out.mean(axis=1, keepdims=True)
    error = np.sqrt((seeds - 1) / seeds * (deviation**2).sum(axis=1))
    return spread, error / np.maximum(2 * spread, np.finfo(float).tiny)


def _fitted(
    shapes: np.ndarray, rms: np.ndarray, rms_se: np.ndarray, limit_error: float, seeds: int
) -> dict[str, float] | str:
    """Slope of log rms in the width with a 95 % interval, or the reason why there is none.

    `shapes (width, layer)` are the widths of the layers that grow; the first is called the width.
    Weighted least squares with the standard errors of log rms; they are enlarged when the points
    scatter about the line by more than they say.
    """
    if shapes.size == 0:
        return "all layers have the widths that network.ensembles gives them"
    widths = shapes[:, 0]
    if len(np.unique(widths)) < FEWEST_WIDTHS:
        return f"needs at least {FEWEST_WIDTHS} widths, found {len(np.unique(widths))}"
    if seeds < FEWEST_SEEDS:
        return f"needs at least {FEWEST_SEEDS} seeds, found {seeds}"
    if not _in_proportion(shapes):
        return "the layers' widths are not in the same proportion in all networks"
    if np.any(rms <= 0):
        return "a distance is exactly zero"
    if limit_error > LARGEST_SHARE * rms.min():
        return (
            f"the limit's error bar {limit_error:.2g} is more than {LARGEST_SHARE:.0%} of the "
            f"smallest distance {rms.min():.2g}; lower limit.tolerance"
        )
    x, y, se = np.log(widths), np.log(rms), rms_se / rms
    weight = 1 / se**2
    centre = (weight @ x) / weight.sum()
    slope = (weight * (x - centre)) @ y / (weight @ (x - centre) ** 2)
    scatter = (weight @ (y - (weight @ y) / weight.sum() - slope * (x - centre)) ** 2) / (
        len(x) - 2
    )
    # Errors of log rms come from S seeds each: Student's t with the pooled degrees of freedom.
    half = stdtrit(len(x) * (seeds - 1), 0.975) * np.sqrt(
        max(1.0, scatter) / (weight @ (x - centre) ** 2)
    )
    return {"value": float(slope), "low": float(slope - half), "high": float(slope + half)}
