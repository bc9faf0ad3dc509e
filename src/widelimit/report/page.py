"""The page of a run folder: one self-contained file, drawn from its results."""

import json
from typing import TYPE_CHECKING, Any

import xarray as xr
from jinja2 import Environment, PackageLoader, select_autoescape
from markupsafe import Markup

from widelimit.report import tables
from widelimit.report.cards import cards
from widelimit.report.figures import figures
from widelimit.report.laws import histograms
from widelimit.results.comparison import compare

if TYPE_CHECKING:
    from widelimit.results.folders.runfolder import RunFolder


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
        averages=limit.problem.network.averages,
        black="one network of those that measured the limit" if limit.problem.measured else "limit",
        cards=cards(limit, networks, comparison),
        warnings=list(dict.fromkeys(w for t in shown for w in t.warnings)),
        figures=figures(limit, networks, comparison, fluctuations),
        times=Markup(json.dumps([round(float(t), 6) for t in limit.dataset["time"].values])),
        laws=Markup(_script_json(histograms(states))),
        limit_rows=tables.limit_rows(limit),
        network_rows=tables.network_rows(networks, comparison) if networks and comparison else [],
        budget_rows=tables.budget_rows(limit),
        fit_rows=tables.fit_rows(comparison) if comparison else [],
        scatter_rows=tables.scatter_rows(fluctuations, comparison) if fluctuations else [],
        **(tables.bias_table(bias) if bias else {}),
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
