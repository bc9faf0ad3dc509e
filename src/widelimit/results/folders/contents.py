"""What a result of each kind holds at least: what lacks it is damaged, or none of ours."""

import json
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from widelimit.problem.problem import Problem
from widelimit.results.scores import has_classes


class Contents(NamedTuple):
    """Variables with their dimensions, those of them that are never NaN, and attributes."""

    variables: dict[str, str]
    known: tuple[str, ...]
    numbers: tuple[str, ...]
    words: tuple[str, ...]


WORDS = ("digest", "shared_digest", "precision")
"""Attributes of all results; `warnings` is one more, and a list."""

HELD = {
    "limit": Contents(
        {
            "output": "time input channel",
            "output_error": "time input channel",
            "risk": "time",
            "risk_error": "time",
        },
        ("output", "risk"),
        ("error", "time_error", "tolerance", "met"),
        WORDS,
    ),
    "networks": Contents(
        {
            "output": "width seed time input channel",
            "risk": "width seed time",
            "widths": "width layer",
            "width": "width",
        },
        ("output", "risk"),
        (),
        (*WORDS, "method"),
    ),
    "fluctuations": Contents(
        {
            "factor": "width source",
            "source": "source",
            "rms_variance": "width source time",
            "rms_std": "width time",
            "rms_std_error": "width time",
            "widths": "width layer",
            "width": "width",
        },
        ("factor",),
        ("error", "met"),
        (*WORDS, "way"),
    ),
    "bias": Contents(
        {
            "bias": "width time input channel",
            "bias_rms": "width time",
            "bias_rms_se": "width time",
            "risk_shift": "width time",
            "risk_shift_error": "width time",
            "widths": "width layer",
            "width": "width",
        },
        ("bias", "risk_shift"),
        ("pairs",),
        WORDS,
    ),
}
"""By kind of result; `time` is in all of them."""

FOUND = {
    "measured": ("interval", "model_error", "mirrored"),
    "solved": ("quadrature_error", "replicates", "data_points"),
}
"""Numbers of limits that were measured with networks, and of those that were solved."""

RULES = {"exact", "sampled", "lattice", "sobol", "paths", "joint"}
"""Names of the rules that a limit's nodes may follow."""

MEASURED = ("measured", "half_width")
"""Numbers of a claim and of its control; null where they are not known."""

VALIDITY = {
    "widths": "width layer",
    "describes_until": "width",
    "clt_until": "width",
    "departure": "width validity_time",
    "band": "width validity_time",
    "left": "width",
    "validity_time": "validity_time",
}
"""What a limit with collapsed layers may hold besides: all of it or nothing."""


def is_claim(entry: Any) -> bool:
    """Whether an entry of claims.json has what a page shows of it, and of its control."""
    if not isinstance(entry, dict) or not isinstance(entry.get("control"), dict):
        return False
    control = entry["control"]
    words = [*map(entry.get, ("id", "statement", "source", "verdict"))]
    words += map(control.get, ("verdict", "wrong"))
    numbers = [found.get(key, "none") for found in (entry, control) for key in MEASURED]
    return (
        all(isinstance(word, str) and word for word in words)
        and all(number is None or isinstance(number, int | float) for number in numbers)
        and isinstance(entry.get("predicted"), int | float)
    )


def require_whole(kind: str, found: xr.Dataset) -> None:
    """Raise `ValueError` if a result lacks what all of its kind have, or holds what none has."""
    held = HELD[kind]
    if str(found.attrs.get("kind")) != kind:
        raise ValueError(f"kind is {found.attrs.get('kind')!r}")
    _require_variables({"time": "time"} | held.variables, found)
    if any(name in found for name in VALIDITY) and kind == "limit":
        _require_variables(VALIDITY, found)
    for name in held.known:
        if not np.issubdtype(found[name].dtype, np.floating) or bool(found[name].isnull().any()):
            raise ValueError(f"{name} holds what is no number")
    if kind == "limit" and not bool(np.isfinite(found["risk"]).all()):
        raise ValueError("risk is not finite")  # such limits have diverged, and are not saved
    if "widths" in found and not bool((found["widths"] > 0).all()):
        raise ValueError("widths are not positive")
    _require_attributes(kind, held, found)


def require_all_of(problem: Problem, kind: str, found: xr.Dataset) -> None:
    """Raise `ValueError` if a result lacks what results of this problem have."""
    times = found["time"].values
    if times.shape != problem.times.shape or not np.allclose(times, problem.times):
        raise ValueError("time is not what is observed")
    if kind not in ("limit", "networks"):
        return
    lead = {"limit": "", "networks": "width seed "}[kind]
    wanted = {"holdout_risk": f"{lead}time"} if len(problem.dataset.holdout_inputs) else {}
    wanted |= {"accuracy": f"{lead}time part", "part": "part"} if has_classes(problem) else {}
    _require_variables(wanted, found)
    names = [name for functional in problem.observe.functionals for name in functional.names]
    errors = [f"{name}_error" for name in names] if kind == "limit" else []
    if missing := [name for name in (*names, *errors) if name not in found]:
        raise ValueError(f"{missing[0]} is missing")


def _require_variables(wanted: dict[str, str], found: xr.Dataset) -> None:
    """Raise `ValueError` if variables are missing, empty, or have other dimensions."""
    for name, dims in wanted.items():
        if name not in found or " ".join(map(str, found[name].dims)) != dims:
            raise ValueError(f"{name} is missing or has other dimensions")
        if found[name].size == 0:
            raise ValueError(f"{name} is empty")


def _require_attributes(kind: str, held: Contents, found: xr.Dataset) -> None:
    """Raise `ValueError` if attributes are missing or of another type."""
    measured = kind == "limit" and found.attrs.get("how") == "measured"
    own = FOUND["measured" if measured else "solved"] if kind == "limit" else ()
    for name in (*held.numbers, *own, "wall_seconds"):
        if not isinstance(found.attrs.get(name), int | float | np.number):
            raise ValueError(f"{name} is no number")
    if measured:
        shapes = [
            np.shape(np.atleast_1d(found.attrs.get(f"{w}_used", "")))
            for w in ("widths", "networks")
        ]
        if shapes[0] != shapes[1] or not isinstance(found.attrs.get("why"), str):
            raise ValueError("widths_used and networks_used do not fit")
    elif kind == "limit":
        nodes, rules = (np.atleast_1d(found.attrs.get(name, "")) for name in ("nodes", "rules"))
        if nodes.dtype.kind not in "iu" or not set(map(str, rules)) <= RULES:
            raise ValueError("nodes or rules are none")
    if missing := [name for name in held.words if not isinstance(found.attrs.get(name), str)]:
        raise ValueError(f"{missing[0]} is missing")
    warnings = json.loads(str(found.attrs.get("warnings")))
    if not isinstance(warnings, list) or not all(isinstance(said, str) for said in warnings):
        raise ValueError("warnings are no list of sentences")
