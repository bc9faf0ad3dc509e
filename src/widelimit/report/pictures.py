"""Pictures of results, drawn with matplotlib; nothing is computed here beyond what is drawn."""

from collections.abc import Sequence
from io import StringIO
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

if TYPE_CHECKING:
    from widelimit.results.comparison import Comparison
    from widelimit.results.fluctuations import Fluctuations
    from widelimit.results.trajectory import Trajectory

LIMIT_COLOUR = "#111111"
SHOWN = 1e6
"""Log axes show so many times more and less than the level that counts, no more."""
MOST_LINES = 20
"""How many networks are drawn one by one."""

STYLE: dict[Any, Any] = {
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "widelimit",
}


def width_colours(count: int) -> list[Any]:
    """One colour a width, from light (narrow) to dark (wide)."""
    return [matplotlib.colormaps["viridis_r"](x) for x in np.linspace(0.15, 0.85, max(count, 1))]


def new_axes(size: tuple[float, float] = (5.2, 3.4)) -> Axes:
    """Axes in a figure of their own, which no global state knows."""
    with matplotlib.rc_context(STYLE):
        return Figure(figsize=size).subplots()


def draw_risk(trajectories: "Sequence[Trajectory]", ax: Axes | None = None) -> Axes:
    """Risk over mean-field time: the limit with its error, networks with their spread."""
    ax = _drawn(trajectories, lambda d: d["risk"], lambda d: d["risk_error"], ax)
    ax.set_ylabel("risk")
    return ax


def draw_accuracy(trajectories: "Sequence[Trajectory]", part: str, ax: Axes | None = None) -> Axes:
    """Accuracy over mean-field time on "train" or "holdout"."""
    ax = _drawn(
        trajectories,
        lambda d: d["accuracy"].sel(part=part),
        lambda d: d["accuracy_error"].sel(part=part),
        ax,
    )
    ax.set_ylabel(f"accuracy ({part})")
    ax.set_ylim(0, 1)
    return ax


def _drawn(trajectories: "Sequence[Trajectory]", value: Any, error: Any, ax: Axes | None) -> Axes:
    """A score over time: `value` of each dataset, with `error` for limits."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        for trajectory in trajectories:
            d, times = trajectory.dataset, trajectory.dataset["time"].values
            if trajectory.kind == "limit":
                line, bar = value(d).values, error(d).values
                ax.fill_between(times, line - bar, line + bar, color=LIMIT_COLOUR, alpha=0.25, lw=0)
                ax.plot(times, line, color=LIMIT_COLOUR, lw=1.8, label="limit", zorder=5)
                continue
            for row, colour in enumerate(width_colours(d.sizes["width"])):
                seeds = value(d).isel(width=row).transpose("seed", "time").values
                mean, spread = seeds.mean(axis=0), seeds.std(axis=0, ddof=min(1, len(seeds) - 1))
                ax.fill_between(times, mean - spread, mean + spread, color=colour, alpha=0.2, lw=0)
                label = f"width {trajectory.problem.network.name(d['widths'].values[row].tolist())}"
                ax.plot(times, mean, color=colour, lw=1.2, label=label)
        ax.set_xlabel("mean-field time t = kε")
        ax.legend()
    return ax


def draw_functional(
    trajectories: "Sequence[Trajectory]", name: str, ax: Axes | None = None
) -> Axes:
    """A functional over time, a line for each entry: the limit, dashed the widest networks."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        for trajectory in trajectories:
            d, times = trajectory.dataset, trajectory.dataset["time"].values
            limit = trajectory.kind == "limit"
            values = d[name] if limit else d[name].isel(width=widest(trajectory))
            error = d[f"{name}_error"] if limit else values.std("seed")
            entries = values if limit else values.mean("seed")
            count = entries[0].size
            colours = [LIMIT_COLOUR] if limit and count == 1 else width_colours(count)
            rows = zip(
                entries.values.reshape(len(times), -1).T,
                error.values.reshape(len(times), -1).T,
                colours,
                strict=True,
            )
            for line, bar, colour in rows:
                ax.fill_between(times, line - bar, line + bar, color=colour, alpha=0.2, lw=0)
                ax.plot(times, line, color=colour, lw=1.5, ls="-" if limit else "--")
        ax.set_xlabel("mean-field time t = kε")
        ax.set_ylabel(name.replace("_", " "))
    return ax


def draw_fluctuations(fluctuations: "Fluctuations", ax: Axes | None = None) -> Axes:
    """Predicted standard deviation over mean-field time, RMS over outputs, for the last width.

    The sum of all sources with its error, and each source for itself.
    """
    d = fluctuations.dataset.isel(width=-1)
    name = fluctuations.problem.network.name(d["widths"].values.tolist())
    total, error = d.rms_std, d.rms_std_error
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        times = d["time"].values
        ax.fill_between(times, total - error, total + error, color=LIMIT_COLOUR, alpha=0.25, lw=0)
        ax.plot(times, total, color=LIMIT_COLOUR, lw=1.8, label="all sources")
        for source, colour in zip(d.source.values, width_colours(d.sizes["source"]), strict=True):
            own = np.sqrt(d.rms_variance.sel(source=source))
            ax.plot(times, own, color=colour, lw=1.2, label=str(source))
        ax.set_xlabel("mean-field time t = kε")
        ax.set_ylabel(f"standard deviation, width {name}")
        ax.set_ylim(bottom=0)
        ax.legend()
    return ax


def draw_band(
    limit: "Trajectory", networks: "Trajectory", fluctuations: xr.Dataset, ax: Axes | None = None
) -> Axes:
    """One output over time: the limit, its 95 % band for the widest networks, and these networks.

    The output is that which scatters most at the end.
    """
    row = widest(networks)
    shape = networks.dataset["widths"].values[row].tolist()
    own = np.flatnonzero((fluctuations["widths"].values == shape).all(axis=1))[0]
    std = fluctuations["output_std"].isel(width=own)
    place = fluctuations["variance"].isel(width=own, time=-1).sum("source").argmax(...)
    at = {str(dim): int(index) for dim, index in place.items()}
    line, bar = limit.dataset["output"].isel(at).values, 1.96 * std.isel(at).values
    middle = line + _shift(fluctuations, int(own)).isel(at).values
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        times = limit.dataset["time"].values
        ax.fill_between(times, middle - bar, middle + bar, color=LIMIT_COLOUR, alpha=0.15, lw=0)
        name = networks.problem.network.name(shape)
        for values in networks.dataset["output"].isel({"width": row, **at}).values[:MOST_LINES]:
            ax.plot(times, values, color="#31688e", lw=0.7, alpha=0.7)
        ax.plot(times, line, color=LIMIT_COLOUR, lw=1.8, zorder=5)
        ax.set_xlabel("mean-field time t = kε")
        channel = limit.dataset["channel"].values[at["channel"]]
        ax.set_ylabel(f"output {channel} at input {at['input']}, width {name}")
    return ax


def widest(networks: "Trajectory") -> int:
    """Which networks have the most neurons in an average."""
    return int(np.argmax(networks.averaged))


def _shift(fluctuations: xr.Dataset, row: int) -> xr.DataArray:
    """How far networks' own depth takes their mean from the limit, if that is known."""
    if "depth_shift" in fluctuations:
        return fluctuations["depth_shift"].isel(width=row)
    return xr.zeros_like(fluctuations["output_std"].isel(width=row))


def draw_scaled(
    limit: "Trajectory", networks: "Trajectory", fluctuations: xr.Dataset, ax: Axes | None = None
) -> Axes:
    """Deviations of networks in units of the predicted ones at the end, against the Gaussian."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        shapes = fluctuations["widths"].values
        rows = np.argsort(networks.averaged, kind="stable")
        for row, colour in zip(rows, width_colours(len(rows)), strict=True):
            shape = networks.dataset["widths"].values[row].tolist()
            own = np.flatnonzero((shapes == shape).all(axis=1))
            if len(own) == 0:
                continue
            std = fluctuations["output_std"].isel(width=own[0], time=-1)
            moved = networks.dataset["output"].isel(width=row, time=-1)
            middle = limit.dataset["output"] + _shift(fluctuations, int(own[0]))
            scaled = ((moved - middle.isel(time=-1)) / std).values.ravel()
            ax.hist(
                scaled[np.isfinite(scaled)],
                bins=np.linspace(-4, 4, 33).tolist(),
                density=True,
                histtype="step",
                color=colour,
                lw=1.3,
                label=f"width {networks.problem.network.name(shape)}",
            )
        z = np.linspace(-4, 4, 201)
        gaussian = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
        ax.plot(z, gaussian, color=LIMIT_COLOUR, lw=1.8, label="Gaussian")
        ax.set_xlabel("(network − limit) / predicted standard deviation")
        ax.set_ylabel("density")
        ax.legend(fontsize=8)
    return ax


def draw_validity(limit: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Predicted distances from the limit over time, width by width, and what counts as left."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        times = limit["validity_time"].values
        for row, colour in enumerate(width_colours(limit.sizes["width"])):
            d = limit.isel(width=row)
            name = d["widths"].values[0]
            ax.plot(times, d["departure"], color=colour, lw=1.6, label=f"weights, width {name}")
            ax.plot(times, d["band"], color=colour, lw=1, ls="--")
        left = float(limit["left"].max())
        ax.axhline(left, color=LIMIT_COLOUR, lw=0.8, ls=":")
        ax.set_yscale("log")
        _bounded(ax, left if left > 0 else float(limit["band"].max()))
        ax.set_xlabel("mean-field time t = kε")
        ax.set_ylabel("distance of networks (RMS)")
        ax.legend(fontsize=8)
    return ax


def draw_distance(comparison: "Comparison", ax: Axes | None = None, row: int = -1) -> Axes:
    """RMS distance to the limit against the width at one observed time, on log axes."""
    widths = np.asarray(comparison.widths, float)
    rms, bars = np.asarray(comparison.rms[row]), np.asarray(comparison.rms_se[row])
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        ax.errorbar(
            widths,
            rms,
            1.96 * bars,
            fmt="o",
            color="#31688e",
            label="RMS distance",
            capsize=3,
            ms=5,
            zorder=4,
        )
        for name, marker, values in (
            ("spread over seeds", "^", comparison.spread[row]),
            ("offset of the mean", "v", comparison.offset[row]),
        ):
            shown = np.where(np.asarray(values) > 0, values, np.nan)
            ax.plot(widths, shown, marker, color="#888888", ms=4, label=name, alpha=0.8)
        _slopes(ax, comparison, row)
        error = comparison.limit_error[row]
        if error > 0:
            ax.axhline(error, color=LIMIT_COLOUR, lw=0.8, ls=":", label="error of the limit")
        ax.set_xscale("log")
        ax.set_yscale("log")
        _bounded(ax, float(rms.max()))
        ax.set_xticks(widths, [f"{w:g}" for w in widths])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        first = [shape[0] for shape in comparison.layer_widths]
        ax.set_xlabel("width n₁" if comparison.widths == first else "units, depth × width")
        ax.set_ylabel(f"distance at t = {comparison.times[row]:g}")
        ax.legend(fontsize=8)
    return ax


def _bounded(ax: Axes, level: float) -> None:
    """Limits of a log axis: what is far from the level that counts is off the picture."""
    if not 0 < level < np.inf:
        return
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, level / SHOWN), min(high, level * SHOWN))


def _slopes(ax: Axes, comparison: "Comparison", row: int) -> None:
    """The fitted power of the width, and the power −1/2."""
    widths = np.asarray(comparison.widths, float)
    rms, bars = np.asarray(comparison.rms[row]), np.asarray(comparison.rms_se[row])
    fitted = comparison.exponent[row]
    if fitted is not None:
        weight = (rms / bars) ** 2
        x = (weight @ np.log(widths)) / weight.sum()
        y = (weight @ np.log(rms)) / weight.sum()
        line = np.exp(y + fitted["value"] * (np.log(widths) - x))
        label = f"slope {fitted['value']:.2f}".replace("-", "−")
        ax.plot(widths, line, color="#31688e", lw=1.5, label=label)
    if rms.min() <= 0:
        return
    centre = np.exp(np.mean(np.log(widths)))
    level = np.exp(np.mean(np.log(rms)))
    half = level * (widths / centre) ** -0.5
    ax.plot(widths, half, "--", color="#cc6633", lw=1, label="slope −1/2")


def as_svg(ax: Axes) -> str:
    """The figure of these axes as an SVG element for a page, without outside references."""
    buffer = StringIO()
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
