"""The report: one self-contained page, drawn from a run folder; it computes no results."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from widelimit.bias import Bias
from widelimit.comparison import Comparison, compare
from widelimit.fluctuations import Fluctuations
from widelimit.report import pictures
from widelimit.trajectory import Trajectory
from widelimit.words import shape_name

if TYPE_CHECKING:
    from widelimit.runfolder import RunFolder


def render_report(folder: "RunFolder") -> str:
    """The page of a run folder as HTML text; it asks the network for nothing.

    Needs a limit, or the claims of a reproduction; networks and their comparison are shown when
    they are there. Raises `RunFolderError` if there is neither.
    """
    pages = Environment(loader=PackageLoader("widelimit", "report"), autoescape=select_autoescape())
    claims = folder.claims()
    if claims and not folder.has("limit"):
        return _reproduction(pages, claims, folder.provenance())
    limit = folder.load("limit")
    networks = folder.load("networks") if folder.has("networks") else None
    comparison = compare(limit, networks) if networks is not None else None
    fluctuations = folder.load_fluctuations() if folder.has("fluctuations") else None
    bias = folder.load_bias() if folder.has("bias") else None
    shown = [limit] if networks is None else [limit, networks]
    states = limit.states.copy()
    if networks is not None:
        first = {
            name: group.to_dataset().isel(seed=0, missing_dims="ignore")
            for name, group in networks.states.children.items()
        }
        states = states.assign({name: xr.DataTree(group) for name, group in first.items()})
    return pages.get_template("page.html").render(
        title=limit.problem.title,
        words=limit.problem.network.words(),
        cards=_cards(limit, networks, comparison),
        warnings=list(dict.fromkeys(w for t in shown for w in t.warnings)),
        figures=_figures(shown, comparison, fluctuations),
        times=Markup(json.dumps([round(float(t), 6) for t in limit.dataset["time"].values])),
        laws=Markup(_script_json(pictures.histograms(states))),
        limit_rows=_limit_rows(limit),
        network_rows=_network_rows(networks, comparison) if networks and comparison else [],
        fit_rows=_fit_rows(comparison) if comparison else [],
        scatter_rows=_scatter_rows(fluctuations, comparison) if fluctuations else [],
        **(_bias_table(bias) if bias else {}),
        claims=[_claim(claim) for claim in claims],
        problem_file=limit.problem.to_toml(),
        provenance=folder.provenance(),
    )


def _reproduction(
    pages: Environment, claims: list[dict[str, Any]], provenance: dict[str, Any]
) -> str:
    """The page of a reproduction: its claims and nothing else."""
    about = provenance.get("reproduction", {})
    verdicts = [claim["verdict"] for claim in claims]
    caught = sum(claim["control"]["verdict"] == "fails" for claim in claims)
    return pages.get_template("reproduction.html").render(
        title=about.get("title", "claims"),
        words=f"{about.get('effort', '')} effort, {about.get('wall_seconds', 0):.0f} s",
        cards=[
            {
                "name": "claims that hold",
                "value": verdicts.count("holds"),
                "note": f"of {len(claims)}",
            },
            {"name": "claims that fail", "value": verdicts.count("fails"), "note": ""},
            {"name": "not decided", "value": verdicts.count("not decided"), "note": ""},
            {"name": "controls that fail", "value": caught, "note": "all of them must"},
        ],
        claims=[_claim(claim) for claim in claims],
        provenance=provenance,
    )


def _claim(claim: dict[str, Any]) -> dict[str, str]:
    """A row of the table of claims."""

    def interval(found: dict[str, Any]) -> str:
        if found["measured"] is None:
            return "not known"
        return f"{found['measured']:.4g} ± {found['half_width']:.2g}"

    control = claim["control"]
    return {
        **{key: claim[key] for key in ("id", "statement", "source", "verdict")},
        "look": claim["verdict"].split()[-1],
        "predicted": f"{claim['predicted']:g}",
        "measured": interval(claim),
        "control": f"{control['wrong']}: {interval(control)}, {control['verdict']}",
    }


def _script_json(value: Any) -> str:
    """JSON that cannot close the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _number(value: float, digits: int = 3) -> str:
    return "not known" if np.isnan(value) else f"{value:.{digits}g}"


def _cards(
    limit: Trajectory, networks: Trajectory | None, comparison: Comparison | None
) -> list[dict[str, str]]:
    """The first screen: what a reader wants to know before anything else."""
    d, attrs = limit.dataset.isel(time=-1), limit.dataset.attrs
    verdict = "tolerance met" if limit.met else "tolerance NOT met"
    cards = [
        {
            "name": "error of the limit",
            "value": f"{attrs['error']:.1e}",
            "note": f"{verdict} ({attrs['tolerance']:g}), 95 %",
        },
        {
            "name": f"risk at t = {float(d.time):g}",
            "value": f"{float(d.risk):.4g}",
            "note": f"± {float(d.risk_error):.1g}",
        },
    ]
    if "accuracy" in d:
        part = str(d.part.values[-1])
        note = ""
        if networks is not None:
            reached = networks.dataset["accuracy"].isel(time=-1).sel(part=part).mean("seed").values
            note = f"networks {reached.min():.3f} … {reached.max():.3f}"
        value = f"{float(d.accuracy.sel(part=part)):.3f}"
        cards.append({"name": f"{part} accuracy", "value": value, "note": note})
    if comparison is not None:
        last = comparison.exponent[-1]
        cards.append(
            {
                "name": "distance ∝ width to the power",
                "value": f"{last['value']:.2f}" if last else "not fitted",
                "note": f"95 %: {last['low']:.2f} … {last['high']:.2f}"
                if last
                else str(comparison.exponent_reason[-1]),
            }
        )
    if any(size == 1 for size in np.atleast_1d(attrs["nodes"])[1:-1]):
        cards.append(
            {
                "name": "describes networks until",
                "value": "not known",
                "note": "collapsed middle layers: see the notes",
            }
        )
    return cards


def _figures(
    shown: list[Trajectory], comparison: Comparison | None, fluctuations: Fluctuations | None
) -> list[dict[str, str | Markup]]:
    figures: list[dict[str, str | Markup]] = [
        {
            "caption": "Risk over time. Black: the limit with its error band; colours: mean over "
            "seeds ± one standard deviation.",
            "svg": Markup(pictures.as_svg(pictures.draw_risk(shown))),
        }
    ]
    if "accuracy" in shown[0].dataset:
        part = str(shown[0].dataset["part"].values[-1])
        figures.append(
            {
                "caption": f"Accuracy on the {part} points.",
                "svg": Markup(pictures.as_svg(pictures.draw_accuracy(shown, part))),
            }
        )
    if comparison is not None:
        figures.append(
            {
                "caption": "Distance of networks from the limit (bars: 95 %). The offset of the "
                "mean shrinks faster than the spread.",
                "svg": Markup(pictures.as_svg(pictures.draw_distance(comparison))),
            }
        )
    if fluctuations is not None:
        figures.append(
            {
                "caption": "Predicted standard deviation of the outputs of the widest network, and "
                "what each source brings in (squares add up). No network was trained for it.",
                "svg": Markup(pictures.as_svg(fluctuations.plot())),
            }
        )
    return figures


def _scatter_rows(fluctuations: Fluctuations, comparison: Comparison | None) -> list[list[str]]:
    """Predicted and measured standard deviations at the last time, width by width."""
    measured = {}
    if comparison is not None:
        at_end = zip(comparison.spread[-1], comparison.spread_se[-1], strict=True)
        measured = dict(zip(map(tuple, comparison.layer_widths), at_end, strict=True))
    rows = []
    for scatter in fluctuations.at_the_end():
        found = "not trained"
        if scatter.widths in measured:
            spread, spread_se = measured[scatter.widths]
            found = f"{_number(spread)} ± {_number(spread_se, 1)}"
        predicted = f"{scatter.std:.3g} ± {scatter.error:.1g}"
        rows.append([shape_name(scatter.widths), predicted, found, scatter.sources()])
    return rows


def _bias_table(bias: Bias) -> dict[str, Any]:
    """Measured shifts of the mean output and of the mean risk at the last time, by width."""
    rows = [
        [
            shape_name(shift.widths),
            f"{_number(shift.bias)} ± {_number(shift.bias_se, 1)}",
            f"{shift.risk:+.3g} ± {shift.risk_error:.1g}",
        ]
        for shift in bias.at_the_end()
    ]
    return {"bias_rows": rows, "pairs": int(bias.dataset.attrs["pairs"])}


def _limit_rows(limit: Trajectory) -> list[tuple[str, str]]:
    a = limit.dataset.attrs
    nodes = " × ".join(str(int(n)) for n in np.atleast_1d(a["nodes"]))
    rules = {
        "exact": "all atoms", "sampled": "a finite width", "lattice": "shifted lattice",
        "sobol": "scrambled Sobol",
    }  # fmt: skip
    used = ", ".join(rules[str(r)] for r in np.atleast_1d(a["rules"]))
    return [
        ("quadrature nodes by layer", f"{nodes} ({used})"),
        ("independent replicates", str(a["replicates"])),
        ("error (largest over times, RMS over inputs)", f"{a['error']:.2e}"),
        ("… from quadrature (95 % half-width)", f"{a['quadrature_error']:.2e}"),
        ("… from time integration", f"{a['time_error']:.2e}"),
        ("tolerance", f"{a['tolerance']:g} ({'met' if limit.met else 'NOT met'})"),
        ("precision", str(a["precision"])),
        ("seconds", f"{a.get('wall_seconds', float('nan')):.1f}"),
    ]


def _network_rows(networks: Trajectory, comparison: Comparison) -> list[list[str]]:
    """One row a network shape, in the comparison's order: by n_1, which need not be unique."""
    d, rows = networks.dataset.isel(time=-1).sortby("width"), []
    for k, shape in enumerate(comparison.layer_widths):
        at = d.isel(width=k)
        accuracy = "—"
        if "accuracy" in d:
            accuracy = f"{float(at.accuracy.isel(part=-1).mean()):.3f}"
        rows.append(
            [
                shape_name(shape),
                str(comparison.seeds),
                f"{float(at.risk.mean()):.4g} ± {float(at.risk.std()):.1g}",
                accuracy,
                f"{_number(comparison.rms[-1][k])} ± {_number(comparison.rms_se[-1][k], 1)}",
                _number(comparison.spread[-1][k]),
                f"{_number(comparison.offset[-1][k], 2)} ± "
                f"{_number(comparison.offset_se[-1][k], 1)}",
            ]
        )
    return rows


def _fit_rows(comparison: Comparison) -> list[tuple[str, str]]:
    rows = []
    for time, fit, reason in zip(
        comparison.times, comparison.exponent, comparison.exponent_reason, strict=True
    ):
        text = f"{fit['value']:.3f}  ({fit['low']:.3f} … {fit['high']:.3f})" if fit else str(reason)
        rows.append((f"{time:g}", text))
    return rows
