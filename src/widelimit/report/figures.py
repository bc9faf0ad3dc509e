"""The figures of the report with their captions."""

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from widelimit.report import pictures
from widelimit.results.closing import offset_falls_faster
from widelimit.results.comparison import Comparison
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.trajectory import Trajectory

Figure = dict[str, str | Markup]

MOST_ENTRIES = 12
"""Functionals with more entries are not drawn."""


def figures(
    limit: Trajectory,
    networks: Trajectory | None,
    comparison: Comparison | None,
    fluctuations: Fluctuations | None,
) -> list[Figure]:
    """All that there is to draw."""
    shown = [limit] if networks is None else [limit, networks]
    found = [
        _figure(
            pictures.draw_risk(shown),
            f"Risk over time. Black: the limit with its error band; colours: {_networks(shown)}.",
        )
    ]
    if "accuracy" in limit.dataset:
        part = str(limit.dataset["part"].values[-1])
        drawn = pictures.draw_accuracy(shown, part)
        found.append(_figure(drawn, f"Accuracy on the {part} points."))
    if comparison is not None:
        found.append(_figure(pictures.draw_distance(comparison), _of_distance(comparison)))
    if "departure" in limit.dataset:
        found.append(
            _figure(
                pictures.draw_validity(limit.dataset),
                "How far networks are from the limit, predicted. Lines: what weights that the "
                "limit leaves out do, ∝ 1/n at first; dashed: what sampled labels do, "
                "∝ n^(-1/2). Where a line meets its dashed one, error bars end; when both "
                "together reach the dotted level networks have left.",
            )
        )
    if fluctuations is not None:
        found += _scatter(limit, networks, fluctuations)
    return found + _functionals(limit, shown)


def _networks(shown: list[Trajectory]) -> str:
    """What stands for the networks of a width."""
    if shown[-1].dataset.sizes.get("seed") == 1:
        return "networks, one seed of each width"
    return "networks, mean over seeds ± one standard deviation"


def _of_distance(comparison: Comparison) -> str:
    """What the picture shows, and what was measured of it."""
    bars = "one seed: no error bars" if comparison.seeds == 1 else "bars: 95 %"
    said = [f"Distance of networks from the limit at the end ({bars})."]
    if comparison.closes is False:
        said.append("Networks do not close in on the limit.")
    elif offset_falls_faster(comparison):
        said.append("The offset of the mean shrinks faster than the spread.")
    return " ".join(said)


def _functionals(limit: Trajectory, shown: list[Trajectory]) -> list[Figure]:
    """The free energy, and what was asked for by name where it has few entries."""
    found, d = [], limit.dataset
    if "free_energy" in d:
        drawn = pictures.draw_functional([limit], "free_energy")
        found.append(_figure(drawn, "The free energy R + (λ/2) E|θ|² − τ Ent with its error."))
    names = [name for f in limit.problem.observe.functionals for name in f.names]
    small = [name for name in names if name in d and d[name][0].size <= MOST_ENTRIES]
    caption = (
        "The functional {name} over time, a line for each entry. Full: the limit with its error; "
        "dashed: the widest {networks}."
    )
    return found + [
        _figure(
            pictures.draw_functional(shown, name),
            caption.format(name=name, networks=_networks(shown)),
        )
        for name in small
    ]


def _scatter(
    limit: Trajectory, networks: Trajectory | None, fluctuations: Fluctuations
) -> list[Figure]:
    """Predicted fluctuations, and networks among them where both know a width."""
    found = [
        _figure(
            fluctuations.plot(),
            "Predicted standard deviation of the outputs of the widest network, and what each "
            "source brings in (squares add up). No network was trained for it.",
        )
    ]
    d = fluctuations.dataset
    same_times = np.array_equal(d.time.values, limit.dataset.time.values)
    if networks is None or "output_std" not in d or not same_times:
        return found
    widest = networks.dataset["widths"].values[pictures.widest(networks)]
    if (d["widths"].values == widest).all(axis=1).any():
        band = pictures.draw_band(limit, networks, d)
        caption = (
            "The output that scatters most: the limit (black), the band in which 95 % of networks "
            "should lie (grey), and networks (blue)."
        )
        found.append(_figure(band, caption))
        scaled = pictures.draw_scaled(limit, networks, d)
        caption = (
            "Deviations of networks from the limit at the end, all outputs, in units of the "
            "predicted standard deviation (outputs of one network depend on each other)."
        )
        found.append(_figure(scaled, caption))
    return found


def _figure(drawn: Axes, caption: str) -> Figure:
    return {"caption": caption, "svg": Markup(pictures.as_svg(drawn))}
