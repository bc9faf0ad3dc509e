"""The page of what a table of runs says at infinite width."""

import math

from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from widelimit.report.pictures import as_svg
from widelimit.report.runs.pictures import (
    draw_coordinates,
    draw_extrapolation,
    draw_steps,
    draw_transfer,
    draw_valleys,
)
from widelimit.runs.coordinates import CoordinateCheck, Exponent
from widelimit.runs.extrapolation import Extrapolated, Extrapolation, at
from widelimit.runs.transfer import Optimum, Transfer

MOST_DRAWN = 12
"""Entries that have a card and figures."""

MOST_ROWS = 200
"""Rows of the table; all entries are in the files beside the page."""


def render_extrapolation(found: Extrapolation) -> str:
    """One self-contained page: a card and a figure for each metric and label, all entries below."""
    pages = Environment(loader=PackageLoader("widelimit", "report"), autoescape=select_autoescape())
    last = [entry for metric in found.runs.metrics for entry in found.last(metric)][:MOST_DRAWN]
    return pages.get_template("runs/extrapolation.html").render(
        title=f"{found.runs.source} at infinite width",
        words="E yₙ = y∞ + B/n, Var yₙ = V/n; intervals are 95 %",
        cards=list(map(_card, last)),
        warnings=found.warnings,
        figures=[figure for entry in last for figure in _figures(entry, found)],
        places=[key.replace("_", " ") for key in found.runs.by],
        rows=[_row(entry, found.runs.by) for entry in found.entries[:MOST_ROWS]],
        left_out=len(found.entries) - MOST_ROWS,
    )


def render_transfer(found: Transfer) -> str:
    """One self-contained page: the best rates by width and at infinite width, and their losses."""
    pages = Environment(loader=PackageLoader("widelimit", "report"), autoescape=select_autoescape())
    drawn = [
        (draw_transfer(found), "The best learning rate against the width."),
        (draw_valleys(found), "Losses by learning rate; triangles: where they are least."),
    ]
    return pages.get_template("runs/transfer.html").render(
        title=f"{found.runs.source}: best learning rates",
        words="log η*(n) = log η*(∞) + b/n; intervals are 95 %, from seeds drawn again",
        cards=_cards_of_transfer(found),
        warnings=found.warnings,
        figures=[{"svg": Markup(as_svg(ax)), "caption": said} for ax, said in drawn],
        rows=[_row_of_optimum(own) for own in (*found.optima, found.infinite)],
    )


def render_coordinates(found: CoordinateCheck, source: str) -> str:
    """One self-contained page: a verdict for each layer, sizes and changes over widths."""
    pages = Environment(loader=PackageLoader("widelimit", "report"), autoescape=select_autoescape())
    there = found.sizes["kind"].tolist()
    kinds = [kind for kind in ("size", "change") if kind in there]
    drawn = [(draw_coordinates(found, kind, None), found.caption(kind)) for kind in kinds]
    return pages.get_template("runs/coordinates.html").render(
        title=f"{source}: sizes over widths",
        words=f"size ∝ n^α; parametrisation: {found.parametrisation or 'none is named'}",
        cards=[_card_of_layer(found, layer) for layer in found.verdicts()],
        warnings=[],
        figures=[{"svg": Markup(as_svg(ax)), "caption": said} for ax, said in drawn],
        rows=[_row_of_exponent(own) for own in found.exponents],
    )


def _card_of_layer(found: CoordinateCheck, layer: str) -> dict[str, str]:
    """The verdict on a layer, and the first exponent that makes it."""
    verdict = found.verdicts()[layer]
    first = next(e for e in found.exponents if (e.layer, e.verdict) == (layer, verdict))
    card = {"name": layer, "value": verdict, "note": first.said}
    return card | ({"look": "fails"} if verdict == "not as predicted" else {})


def _row_of_exponent(own: Exponent) -> list[str]:
    """What is known of one layer, step and kind."""
    predicted = "–" if own.predicted is None else f"{own.predicted:g}"
    why = "" if own.interval != "not known" else own.why
    return [own.layer, str(own.step), own.kind, own.interval, predicted, own.verdict, why]


def _cards_of_transfer(found: Transfer) -> list[dict[str, str]]:
    """η*(∞), whether rates settle, and from which width on."""
    settles = {True: "yes", False: "no", None: "cannot be told"}[found.settles]
    card = {"name": "η*(n) settles like 1/n", "value": settles, "note": found.infinite.why}
    widths = ", ".join(
        f"{share}: {'–' if n is None else format(n, ',')}" for share, n in found.width_for.items()
    )
    return [
        {"name": "η* at infinite width", **_shown(found.infinite)},
        {**card, "look": "fails"} if found.settles is False else card,
        {"name": "within a share of it from width", "value": widths, "note": ""},
    ]


def _shown(own: Optimum) -> dict[str, str]:
    if math.isnan(own.rate):
        return {"value": "not known", "note": own.why, "look": "fails"}
    interval = f"{own.low:.3g} … {own.high:.3g}" if math.isfinite(own.low) else own.why
    return {"value": f"{own.rate:.3g}", "note": interval}


def _row_of_optimum(own: Optimum) -> list[str]:
    """What is known of one width."""
    shown, name = _shown(own), "∞" if math.isinf(own.width) else f"{own.width:g}"
    loss = "–" if math.isnan(own.loss) else f"{own.loss:.5g}"
    lost = "–" if math.isnan(own.lost) else f"{own.lost:.2g}"
    if math.isfinite(own.lost_low):
        lost += f" ({own.lost_low:.2g} … {own.lost_high:.2g})"
    return [name, shown["value"], shown["note"], loss, lost, own.why]


def _card(entry: Extrapolated) -> dict[str, str]:
    if not entry.known:
        return {"name": entry.named, "value": "not known", "note": entry.why, "look": "fails"}
    note = f"{entry.low:.5g} … {entry.high:.5g}; {entry.why}"
    card = {"name": entry.named, "value": f"{entry.infinite:.4g}", "note": note}
    return {**card, "look": "fails"} if entry.adequate is False else card


def _figures(entry: Extrapolated, found: Extrapolation) -> list[dict[str, str | Markup]]:
    """A metric against 1/width, and over steps where there are several."""
    drawn = [(draw_extrapolation(entry, found), f"{entry.named}: {entry.why}.")]
    clock = found.runs.clock
    if clock and len({e.place[clock] for e in found.of(entry.metric)}) > 1:
        said = f"{entry.metric} by {clock}: means of each width, and infinite width where it is"
        drawn.append((draw_steps(found, entry), f"{said} known."))
    return [{"svg": Markup(as_svg(ax)), "caption": caption} for ax, caption in drawn]


def _row(entry: Extrapolated, by: tuple[str, ...]) -> list[str]:
    """What is known of one entry."""
    place = [at(entry.place[key]) for key in by]
    power = entry.exponent
    exponent = f"{power['value']:.2f}" if power else "–"
    served = {True: "yes", False: "no", None: "cannot be told"}[entry.adequate]
    if not entry.known:
        return [entry.metric, *place, "–", "–", "–", exponent, served, "–", entry.why]
    widths = ", ".join(
        f"{share}: {'–' if width is None else format(width, ',')}"
        for share, width in entry.width_for.items()
    )
    return [
        entry.metric, *place, f"{entry.infinite:.5g} ({entry.low:.5g} … {entry.high:.5g})",
        f"{entry.slope:.3g} ± {entry.slope_error:.1g}", f"{entry.scatter:.3g}", exponent, served,
        widths, entry.why,
    ]  # fmt: skip
