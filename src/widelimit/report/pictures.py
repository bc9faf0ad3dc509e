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

from widelimit.trajectory import rms_over_outputs

if TYPE_CHECKING:
    from widelimit.comparison import Comparison
    from widelimit.trajectory import Trajectory

LIMIT_COLOUR = "#111111"
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
                label = f"width {d['width'].values[row]}"
                ax.plot(times, mean, color=colour, lw=1.2, label=label)
        ax.set_xlabel("mean-field time t = kε")
        ax.legend()
    return ax


def draw_fluctuations(fluctuations: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Predicted standard deviation over mean-field time, RMS over outputs, for the last width.

    The sum of all sources with its error, and each source for itself.
    """
    d = fluctuations.isel(width=-1)
    total, error = rms_over_outputs(d.output_std), rms_over_outputs(d.output_std_error)
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        times = d["time"].values
        ax.fill_between(times, total - error, total + error, color=LIMIT_COLOUR, alpha=0.25, lw=0)
        ax.plot(times, total, color=LIMIT_COLOUR, lw=1.8, label="all sources")
        for source, colour in zip(d.source.values, width_colours(d.sizes["source"]), strict=True):
            own = np.sqrt(d.variance.sel(source=source).mean(["input", "channel"]))
            ax.plot(times, own, color=colour, lw=1.2, label=str(source))
        ax.set_xlabel("mean-field time t = kε")
        ax.set_ylabel(f"standard deviation, width {d.width.item()}")
        ax.set_ylim(bottom=0)
        ax.legend()
    return ax


def draw_distance(comparison: "Comparison", ax: Axes | None = None, row: int = -1) -> Axes:
    """RMS distance to the limit against the width at one observed time, on log axes."""
    widths = np.asarray(comparison.widths, float)
    rms, bars = np.asarray(comparison.rms[row]), np.asarray(comparison.rms_se[row])
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        ax.errorbar(
            widths, rms, np.nan_to_num(1.96 * bars), fmt="o", color="#31688e", label="RMS distance",
            capsize=3, ms=5, zorder=4,
        )  # fmt: skip
        for name, marker, values in (
            ("spread over seeds", "^", comparison.spread[row]),
            ("offset of the mean", "v", comparison.offset[row]),
        ):
            shown = np.where(np.asarray(values) > 0, values, np.nan)
            ax.plot(widths, shown, marker, color="#888888", ms=4, label=name, alpha=0.8)
        centre = np.exp(np.mean(np.log(widths)))
        level = np.exp(np.mean(np.log(np.maximum(rms, 1e-300))))
        fitted = comparison.exponent[row]
        if fitted is not None:
            weight = (rms / bars) ** 2
            x = (weight @ np.log(widths)) / weight.sum()
            y = (weight @ np.log(rms)) / weight.sum()
            line = np.exp(y + fitted["value"] * (np.log(widths) - x))
            ax.plot(
                widths,
                line,
                color="#31688e",
                lw=1.5,
                label=f"slope {fitted['value']:.2f}".replace("-", "−"),
            )
        ax.plot(
            widths, level * (widths / centre) ** -0.5, "--", color="#cc6633", lw=1,
            label="slope −1/2",
        )  # fmt: skip
        error = comparison.limit_error[row]
        if error > 0:
            ax.axhline(error, color=LIMIT_COLOUR, lw=0.8, ls=":", label="error of the limit")
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xticks(widths, [f"{w:g}" for w in widths])
        ax.xaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        ax.yaxis.set_minor_formatter(NullFormatter())
        ax.set_xlabel("width n₁")
        ax.set_ylabel(f"distance at t = {comparison.times[row]:g}")
        ax.legend(fontsize=8)
    return ax


def as_svg(ax: Axes) -> str:
    """The figure of these axes as an SVG element for a page, without outside references."""
    buffer = StringIO()
    figure = ax.get_figure()
    assert isinstance(figure, Figure)
    with matplotlib.rc_context(STYLE):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def histograms(states: xr.DataTree, bins: int = 48) -> list[dict[str, Any]]:
    """Laws of the weights over time: the limit's nodes against one network's neurons.

    Hidden-to-hidden weights are shown by their displacement from the start: in the limit only
    their conditional mean exists, and both displacements have the same law.
    """
    names = list(states.children)
    networks = [name for name in names if name.startswith("width_")]
    if "limit" not in names:
        return []
    limit = states["limit"].to_dataset()
    widest = max(networks, key=lambda n: states[n].to_dataset().sizes["neuron_1"], default=None)
    network = None if widest is None else states[widest].to_dataset()
    found = []
    for name in (n for n in limit.data_vars if "time" in limit[n].dims):
        pair = [_samples(d, str(name)) for d in (limit, network) if d is not None]
        values = np.concatenate([v[:, w > 1e-9].ravel() for v, w in pair])
        low, high = np.quantile(values, [0.002, 0.998])
        margin = 0.05 * (high - low) or 0.5
        edges = np.linspace(low - margin, high + margin, bins + 1)
        found.append(
            {
                "title": _TITLES[str(name).partition("_")[0]].format(str(name).partition("_")[2]),
                "low": round(float(edges[0]), 5),
                "high": round(float(edges[-1]), 5),
                "limit": _densities(*pair[0], edges),
                "network": _densities(*pair[1], edges) if len(pair) > 1 else [],
            }
        )
    return found


_TITLES = {
    "input": "first-layer weights",
    "readout": "readout weights",
    "bias": "biases of layer {}",
    "output": "output bias",
    "hidden": "displacement of weights into layer {}",
}


def _samples(d: xr.Dataset, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Values `(time, sample)` of a parameter and the weight of each sample."""
    array = d[name].transpose("time", ...)
    if name.startswith("hidden"):
        array = array - array.isel(time=0)
    weights = xr.ones_like(array.isel(time=0, drop=True))
    for dim in weights.dims:
        key = f"weight_{str(dim).partition('_')[2]}"
        weights = weights * d[key] if key in d else weights / weights.sizes[dim]
    values = array.values.reshape(array.sizes["time"], -1)
    return values, weights.transpose(*array.dims[1:]).values.ravel()


def _densities(values: np.ndarray, weights: np.ndarray, edges: np.ndarray) -> list[list[float]]:
    width = edges[1] - edges[0]
    counts = [np.histogram(row, edges, weights=weights)[0] / width for row in values]
    return [[float(f"{c:.3g}") for c in row] for row in counts]
