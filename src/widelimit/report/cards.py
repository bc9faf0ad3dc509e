"""The first screen of the report: what a reader wants to know before anything else."""

import numpy as np

from widelimit.basics.words import end_in_words, layers_in_words
from widelimit.ensemble.collapse import collapsed_layers
from widelimit.results.comparison import Comparison
from widelimit.results.trajectory import Trajectory

Card = dict[str, str]


def cards(
    limit: Trajectory, networks: Trajectory | None, comparison: Comparison | None
) -> list[Card]:
    """Accuracy, risk, rate, and until when the limit describes networks."""
    found = [_error(limit), _risk(limit)]
    if "accuracy" in limit.dataset:
        found.append(_accuracy(limit, networks))
    if comparison is not None:
        found += [_rate(comparison), *_apart(comparison)]
    if "describes_until" in limit.dataset:
        found.append(_validity(limit))
    elif layers := collapsed_layers(limit.problem):
        note = f"neurons of {layers_in_words(layers)} are alike: limit.validity(widths) tells"
        found.append({"name": "describes networks until", "value": "not computed", "note": note})
    return found


def _error(limit: Trajectory) -> Card:
    """The error that was reached, in red where that is not what was asked."""
    attrs = limit.dataset.attrs
    verdict = "tolerance met" if limit.met else "tolerance NOT met"
    card = {
        "name": "error of the limit",
        "value": f"{attrs['error']:.1e}",
        "note": f"{verdict} ({attrs['tolerance']:g}), 95 %",
    }
    return card if limit.met else {**card, "look": "fails"}


def _risk(limit: Trajectory) -> Card:
    d = limit.dataset.isel(time=-1)
    return {
        "name": f"risk at t = {float(d.time):g}",
        "value": f"{float(d.risk):.4g}",
        "note": f"± {float(d.risk_error):.1g}",
    }


def _accuracy(limit: Trajectory, networks: Trajectory | None) -> Card:
    d = limit.dataset.isel(time=-1)
    part, note = str(d.part.values[-1]), ""
    if networks is not None:
        reached = networks.dataset["accuracy"].isel(time=-1).sel(part=part).mean("seed").values
        note = f"networks {reached.min():.3f} … {reached.max():.3f}"
    value = f"{float(d.accuracy.sel(part=part)):.3f}"
    return {"name": f"{part} accuracy", "value": value, "note": note}


def _rate(comparison: Comparison) -> Card:
    name, last = "distance ∝ width to the power", comparison.exponent[-1]
    if last is None:
        return {"name": name, "value": "not fitted", "note": str(comparison.exponent_reason[-1])}
    note = f"95 %: {last['low']:.2f} … {last['high']:.2f}"
    return {"name": name, "value": f"{last['value']:.2f}", "note": note}


def _apart(comparison: Comparison) -> list[Card]:
    """That networks do not close in on the limit, in red, if they do not."""
    if comparison.closes is not False:
        return []
    name, note = "networks close in on the limit", str(comparison.closes_reason)
    return [{"name": name, "value": "no", "note": note, "look": "fails"}]


def _validity(limit: Trajectory) -> Card:
    """Until when, in red where networks leave the limit before the end."""
    d = limit.dataset
    shapes, ends = d["widths"].values.tolist(), d["describes_until"].values.tolist()
    said = [
        f"width {limit.problem.network.name(shape)}: {end_in_words(until)}"
        for shape, until in zip(shapes, ends, strict=True)
    ]
    name = "describes networks until"
    if all(until == np.inf for until in ends):
        return {"name": name, "value": "the end", "note": "at all widths"}
    first = np.nan if np.isnan(ends).any() else min(ends)
    card = {"name": name, "value": end_in_words(first), "note": ", ".join(said)}
    return card if np.isnan(first) else {**card, "look": "fails"}
