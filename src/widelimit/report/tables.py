"""The tables of the report, as rows of text."""

from typing import Any

import numpy as np
from scipy.integrate import simpson, trapezoid

from widelimit.basics.words import mean_with_scatter, with_error
from widelimit.report.words import shift_in_words
from widelimit.results.bias import Bias
from widelimit.results.comparison import Comparison
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.trajectory import Trajectory


def number(value: float, digits: int = 3) -> str:
    """A number, or that it is not known."""
    return "not known" if np.isnan(value) else f"{value:.{digits}g}"


def scatter_rows(fluctuations: Fluctuations, comparison: Comparison | None) -> list[list[str]]:
    """Predicted and measured standard deviations at the last time, width by width."""
    measured = {}
    if comparison is not None:
        at_end = zip(comparison.spread[-1], comparison.spread_se[-1], strict=True)
        measured = dict(zip(map(tuple, comparison.layer_widths), at_end, strict=True))
    rows = []
    for scatter in fluctuations.at_the_end():
        found = "not trained"
        if scatter.widths in measured:
            found = with_error(*measured[scatter.widths])
        predicted = f"{scatter.std:.3g} ± {scatter.error:.1g}"
        if np.isnan(scatter.std):
            predicted = f"none after t = {scatter.until:.3g}"
        sources = scatter.sources() + shift_in_words(scatter)
        rows.append([scatter.name, predicted, found, sources])
    return rows


def bias_table(bias: Bias) -> dict[str, Any]:
    """Measured shifts of the mean output and of the mean risk at the last time, by width."""
    rows = [
        [
            shift.name,
            with_error(shift.bias, shift.bias_se),
            f"{shift.risk:+.3g} ± {shift.risk_error:.1g}",
        ]
        for shift in bias.at_the_end()
    ]
    return {"bias_rows": rows, "pairs": int(bias.dataset.attrs["pairs"])}


def limit_rows(limit: Trajectory) -> list[tuple[str, str]]:
    """How the limit was computed, and how accurate it is."""
    a = limit.dataset.attrs
    if a.get("how") == "measured":
        return _measured_rows(limit)
    sizes, names = np.atleast_1d(a["nodes"]), np.atleast_1d(a["rules"])
    rules = {
        "exact": "all atoms",
        "sampled": "a finite width",
        "lattice": "shifted lattice",
        "sobol": "scrambled Sobol",
        "paths": "Brownian paths",
        "joint": "one Sobol design of depth and parameters",
    }
    depth = [("… from nodes in depth", f"{a['depth_error']:.2e}")] if "depth_error" in a else []

    nodes = " × ".join(str(int(n)) for n in sizes)
    used = [rules[str(name)] for name in names]
    of_data = used[len(sizes) :]
    return [
        ("quadrature nodes by layer", f"{nodes} ({', '.join(used[: len(sizes)])})"),
        *(("nodes of the data", f"{a['data_points']} ({name})") for name in of_data),
        ("independent replicates", str(a["replicates"])),
        ("error (largest over times, RMS over inputs)", f"{a['error']:.2e}"),
        ("… from quadrature (95 % half-width)", f"{a['quadrature_error']:.2e}"),
        ("… from time integration", f"{a['time_error']:.2e}"),
        *depth,
        ("tolerance", f"{a['tolerance']:g} ({'met' if limit.met else 'NOT met'})"),
        ("precision", str(a["precision"])),
        ("seconds", f"{a.get('wall_seconds', float('nan')):.1f}"),
    ]


def _measured_rows(limit: Trajectory) -> list[tuple[str, str]]:
    """How networks measured the limit, and how accurate it is."""
    a = limit.dataset.attrs
    widths, networks = (np.atleast_1d(a[name]) for name in ("widths_used", "networks_used"))
    used = ", ".join(f"{n} of width {w}" for w, n in zip(widths, networks, strict=True))
    pairs = " (pairs with mirrored readouts)" if a["mirrored"] else ""
    end = limit.dataset.isel(time=-1)
    scatter, bias = (float(np.sqrt((end[v] ** p).mean())) for v, p in (("scatter", 1), ("bias", 2)))
    return [
        ("networks", f"{used}{pairs}, {a['method']}"),
        ("whether E fₙ = f + B/n serves", f"{a['adequate']}: {a['why']}"),
        ("error (largest over times, RMS over inputs)", f"{a['error']:.2e}"),
        ("… from the scatter of networks (95 % half-width)", f"{a['interval']:.2e}"),
        ("… from what 1/n leaves out", f"{a['model_error']:.2e}"),
        ("… from time integration", f"{a['time_error']:.2e}"),
        (
            "one network of width n is off by (RMS, at the end)",
            f"({scatter:.3g}²/n + {bias:.3g}²/n²)^½",
        ),
        ("tolerance", f"{a['tolerance']:g} ({'met' if limit.met else 'NOT met'})"),
        ("precision", str(a["precision"])),
        ("seconds", f"{a.get('wall_seconds', float('nan')):.1f}"),
    ]


def budget_rows(limit: Trajectory) -> list[list[str]]:
    """What the risk has lost, and where ξ E|G|² was spent; nothing where that is no budget.

    Dissipation is integrated over the observed times by Simpson's rule, whose difference from the
    trapezoidal rule stands for its error.
    """
    d, training = limit.dataset, limit.problem.training
    descent = not (training.rule.memories or training.rule.noisy)
    if "dissipation" not in d or training.weight_decay is not None or not descent:
        return []
    times = d["time"].values
    if len(times) < 3 or times[0] > 0:
        return []
    rates, doubt = d["dissipation"].values.T, d["dissipation_error"].values.T
    places = limit.problem.network.parts
    rows = [["risk", f"{float(d.risk[-1] - d.risk[0]):.4g}", f"{float(d.risk_error.max()):.1g}"]]
    spent = np.array([simpson(rate, x=times) for rate in rates])
    error = np.abs(spent - [trapezoid(rate, times) for rate in rates])
    error += [trapezoid(own, times) for own in doubt]
    parts = zip([*places, "all"], [*spent, spent.sum()], [*error, error.sum()], strict=True)
    return rows + [[place, f"{size:.4g}", f"{own:.1g}"] for place, size, own in parts]


def network_rows(networks: Trajectory, comparison: Comparison) -> list[list[str]]:
    """One row a network shape, in the comparison's order."""
    d, rows = networks.dataset.isel(time=-1), []
    for k, row in enumerate(np.argsort(networks.averaged, kind="stable")):
        at = d.isel(width=row)
        accuracy = "—"
        if "accuracy" in d:
            accuracy = f"{float(at.accuracy.isel(part=-1).mean()):.3f}"
        rows.append(
            [
                comparison.names[k],
                str(comparison.seeds),
                mean_with_scatter(at.risk.values.tolist()),
                accuracy,
                with_error(comparison.rms[-1][k], comparison.rms_se[-1][k]),
                number(comparison.spread[-1][k]),
                with_error(comparison.offset[-1][k], comparison.offset_se[-1][k], 2),
            ]
        )
    return rows


def fit_rows(comparison: Comparison) -> list[tuple[str, str]]:
    """The fitted exponent at every observed time."""
    rows = []
    for time, fit, reason in zip(
        comparison.times, comparison.exponent, comparison.exponent_reason, strict=True
    ):
        text = f"{fit['value']:.3f}  ({fit['low']:.3f} … {fit['high']:.3f})" if fit else str(reason)
        rows.append((f"{time:g}", text))
    return rows
