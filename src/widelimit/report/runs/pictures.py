"""Pictures of what tables of runs say about infinite width."""

from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from widelimit.report.pictures import LIMIT_COLOUR, STYLE, new_axes, width_colours
from widelimit.runs.line import Means

if TYPE_CHECKING:
    from widelimit.runs.coordinates import CoordinateCheck
    from widelimit.runs.extrapolation import Extrapolated, Extrapolation
    from widelimit.runs.transfer import Optimum, Transfer

RUN_COLOUR = "#31688e"


def draw_extrapolation(
    entry: "Extrapolated", found: "Extrapolation", ax: Axes | None = None
) -> Axes:
    """A metric against 1/width: runs, their means with 95 % bars, the line, and 1/n = 0."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        for width, values in found.values_of(entry).items():
            x = np.full(len(values), 1 / width)
            ax.plot(x, values, ".", color=RUN_COLOUR, alpha=0.35, ms=4)
        x = 1 / np.asarray(entry.widths, float)
        ax.errorbar(
            x, entry.means, 1.96 * np.nan_to_num(entry.errors), fmt="o", color=RUN_COLOUR,
            capsize=3, ms=5, zorder=4, label="mean over seeds, 95 %",
        )  # fmt: skip
        if entry.known:
            _line(ax, entry, found)
        ax.set_xlim(-0.04 * x.max(), 1.06 * x.max())
        _spaced(ax, x)
        ax.set_xlabel("width (axis: 1/width)")
        ax.set_ylabel(entry.named)
        ax.legend(fontsize=8)
    return ax


def _line(ax: Axes, entry: "Extrapolated", found: "Extrapolation") -> None:
    """The line in 1/n with its 95 % band, and the value at infinite width with its interval."""
    values = found.values_of(entry)
    means, at = Means.of(list(values), list(values.values())), np.linspace(0, 1, 60)
    at = at / min(entry.widths)
    rows = [means.combination(row=0), means.combination(row=1)]
    combined = [rows[0] + x * rows[1] for x in at]
    middle = np.array([float(means.estimate(c)) for c in combined])
    half = np.array([float(means.half_width(c)) for c in combined])
    ax.fill_between(at, middle - half, middle + half, color=RUN_COLOUR, alpha=0.15, lw=0)
    ax.plot(at, middle, color=RUN_COLOUR, lw=1.2, label="line in 1/n, 95 %")
    bar = [[entry.infinite - entry.low], [entry.high - entry.infinite]]
    ax.errorbar(
        [0], [entry.infinite], bar, fmt="D", color=LIMIT_COLOUR, capsize=4, ms=5, zorder=5,
        label="infinite width, 95 %",
    )  # fmt: skip


def _spaced(ax: Axes, x: np.ndarray) -> None:
    """Names of widths that stand too close to the next wider one are left out."""
    named, labels = [0.0], ["∞"]
    for place in sorted(x):
        if place - named[-1] > 0.06 * x.max():
            named.append(float(place))
            labels.append(f"{1 / place:.0f}")
    ax.set_xticks(named, labels)


def draw_steps(found: "Extrapolation", entry: "Extrapolated", ax: Axes | None = None) -> Axes:
    """An entry's metric at infinite width over steps, with its interval; means of all widths."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        clock, rows = found.runs.clock, found.of(entry.metric)
        assert clock is not None
        fixed = [(key, value) for key, value in entry.place.items() if key != clock]
        rows = [e for e in rows if all(e.place[key] == value for key, value in fixed)]
        for colour, width in _coloured(rows[-1].widths):
            own = [(e.place[clock], e.means[e.widths.index(width)]) for e in rows
                   if width in e.widths]  # fmt: skip
            ax.plot(*zip(*own, strict=True), color=colour, lw=1.1, label=f"width {width}")
        known = [e for e in rows if e.known]
        at = [e.place[clock] for e in known]
        low, high = ([getattr(e, end) for e in known] for end in ("low", "high"))
        ax.fill_between(at, low, high, color=LIMIT_COLOUR, alpha=0.2, lw=0)
        middle = [e.infinite for e in known]
        ax.plot(at, middle, color=LIMIT_COLOUR, lw=1.8, label="infinite width, 95 %")
        ax.set_xlabel(clock)
        ax.set_ylabel(entry.metric)
        ax.legend(fontsize=8)
    return ax


def _coloured(widths: tuple[int, ...]) -> list[tuple[Any, int]]:
    """A colour for each width."""
    return list(zip(width_colours(len(widths)), widths, strict=True))


def draw_transfer(found: "Transfer", ax: Axes | None = None) -> Axes:
    """η*(n) against 1/n with 95 % bars, the line through it, and η*(∞)."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        known = [own for own in found.optima if np.isfinite(own.rate)]
        x = np.array([1 / own.width for own in known])
        for own, at in zip(known, x, strict=True):
            _point(ax, own, at, "o", RUN_COLOUR, "best rate, 95 %" if at == x[0] else None)
        if np.isfinite(found.infinite.rate):
            along = np.linspace(0, x.max(), 60)
            line = found.infinite.rate * np.exp(found.drift[0] * along)
            ax.plot(along, line, color=RUN_COLOUR, lw=1.2, label="log η* = log η*(∞) + b/n")
            _point(ax, found.infinite, 0.0, "D", LIMIT_COLOUR, "infinite width, 95 %")
        if len(x):
            ax.set_xlim(-0.04 * x.max(), 1.06 * x.max())
            _spaced(ax, x)
        ax.set_yscale("log")
        ax.set_xlabel("width (axis: 1/width)")
        ax.set_ylabel("best learning rate η*")
        ax.legend(fontsize=8)
    return ax


def _point(
    ax: Axes, own: "Optimum", at: float, marker: str, colour: str, label: str | None
) -> None:
    """A best rate, with its interval where there is one."""
    bar = [[own.rate - own.low], [own.high - own.rate]] if np.isfinite(own.low) else None
    ax.errorbar(
        [at], [own.rate], bar, fmt=marker, color=colour, capsize=3, ms=5, label=label, zorder=4
    )


def draw_valleys(found: "Transfer", ax: Axes | None = None) -> Axes:
    """Mean losses against the learning rate, a line for each width, and where each is least."""
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        losses = found.losses.mean("seed")
        widths = tuple(int(n) for n in losses["width"].values)
        for (colour, width), own in zip(_coloured(widths), found.optima, strict=True):
            values = losses.sel(width=width)
            ax.plot(
                losses["learning_rate"], values, "o-", color=colour, lw=1.2, ms=3,
                label=f"width {width}",
            )  # fmt: skip
            if np.isfinite(own.rate):
                ax.plot([own.rate], [own.loss], "v", color=colour, ms=8, mec="#111111", mew=0.6)
        ax.set_xscale("log")
        ax.set_xlabel("learning rate")
        ax.set_ylabel(f"{found.metric}, mean over seeds")
        ax.legend(fontsize=8)
    return ax


def draw_coordinates(
    found: "CoordinateCheck", kind: str, step: int | None, ax: Axes | None = None
) -> Axes:
    """Sizes (or changes) against the width on log axes, a line for each layer, seeds as dots."""
    table = {name: column.to_numpy() for name, column in found.sizes.items()}
    here = table["kind"] == kind
    step = int(table["step"][here].max()) if step is None else step
    here &= table["step"] == step
    with matplotlib.rc_context(STYLE):
        ax = new_axes() if ax is None else ax
        layers = list(dict.fromkeys(table["layer"][here].tolist()))
        for (colour, _), layer in zip(_coloured(tuple(range(len(layers)))), layers, strict=True):
            own = here & (table["layer"] == layer)
            widths, sizes = table["width"][own], table["size"][own]
            ax.plot(widths, sizes, ".", color=colour, alpha=0.4, ms=4)
            each = np.unique(widths)
            means = [sizes[widths == n].mean() for n in each]
            ax.plot(each, means, "o-", color=colour, lw=1.3, ms=4, label=str(layer))
        ax.set_xscale("log", base=2)
        ax.set_yscale("log")
        ax.set_xlabel("width")
        what = "size (RMS)" if kind == "size" else "change since step 0 (RMS)"
        ax.set_ylabel(f"{what} at step {step}")
        ax.legend(fontsize=8)
    return ax
