"""The coordinate check: how sizes of pre-activations and outputs go with the width.

For every layer, step and kind (the size itself, or how far it has changed since step 0) the mean
over seeds of the RMS over neurons and inputs is taken for ∝ n^α, and α is held against what a
parametrisation predicts (Yang & Hu 2021, §4 and appendix F; here in terms of the usual notation):

| | z_l at step 0 | f at step 0 | change of z_l | change of f |
|---|---|---|---|---|
| mup | 0 | −½ (readouts centred; later between −½ and 0) | 0 | 0 |
| ntk | 0 | 0 | −½ | 0 |
| standard, rates of order 1, first step | 0 | 0 | ½ | 1 |

Exponents of finite widths are off those of infinite ones by the next order in 1/n: what is within
`SLACK` of a prediction is as predicted.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import stdtrit

from widelimit.basics.errors import ProblemError
from widelimit.basics.words import as_json, counted
from widelimit.results import questions
from widelimit.runs.line import FEWEST_WIDTHS
from widelimit.runs.table import file_of, read_runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OUTPUT = "output"

SLACK = 0.1

WIDE = 0.5
"""An interval longer than this tells no prediction from the next."""

PREDICTED: dict[str, dict[tuple[bool, bool], float]] = {
    "mup": {(False, False): 0.0, (True, False): -0.5, (False, True): 0.0, (True, True): 0.0},
    "ntk": {(False, False): 0.0, (True, False): 0.0, (False, True): -0.5, (True, True): 0.0},
    "standard": {(False, False): 0.0, (True, False): 0.0, (False, True): 0.5, (True, True): 1.0},
}
"""The table above: exponents by whether it is the output, and whether it is a change."""


@dataclass(frozen=True)
class Exponent:
    """α of size ∝ n^α for one layer at one step, with its 95 % interval; NaN where not known.

    `kind` is "size" or "change" (since step 0). `predicted` is None where nothing is. `verdict`:
    "as predicted", "not as predicted", "cannot be told" or "nothing predicted"; `why` in words.
    """

    layer: str
    step: int
    kind: str
    value: float
    low: float
    high: float
    predicted: float | None
    verdict: str
    why: str

    @property
    def interval(self) -> str:
        """α and its interval in words."""
        if not math.isfinite(self.value):
            return "not known"
        value, low, high = (
            f"{round(own, 2) + 0.0:.2f}" for own in (self.value, self.low, self.high)
        )
        return f"{value} ({low} … {high})"

    @property
    def said(self) -> str:
        """The whole in words."""
        expected = "" if self.predicted is None else f", predicted {self.predicted:g}"
        return f"{self.kind} at step {self.step}: ∝ n^α, α = {self.interval}{expected}"


@dataclass(frozen=True)
class CoordinateCheck:
    """Exponents of all layers, steps and kinds, and the `sizes` that they come from.

    `sizes` has the columns layer, step, width, seed, kind, size.
    """

    sizes: pd.DataFrame
    exponents: tuple[Exponent, ...]
    parametrisation: str | None

    @property
    def met(self) -> bool:
        """Whether nothing is seen to be other than predicted."""
        return all(own.verdict != "not as predicted" for own in self.exponents)

    def verdicts(self) -> dict[str, str]:
        """One a layer, over all steps: the worst."""
        order = ["not as predicted", "cannot be told", "as predicted", "nothing predicted"]
        found: dict[str, str] = {}
        for own in self.exponents:
            before = found.get(own.layer, order[-1])
            found[own.layer] = min(before, own.verdict, key=order.index)
        return found

    def caption(self, kind: str) -> str:
        """What a picture of sizes or changes shows."""
        what = "Sizes" if kind == "size" else "Changes since step 0"
        return f"{what} over widths, layer by layer, at the last step; dots are seeds."

    @property
    def dataset(self) -> xr.Dataset:
        """Exponents by layer, step and kind."""
        names = ("value", "low", "high")
        rows = [
            {"layer": e.layer, "step": e.step, "kind": e.kind}
            | {name: getattr(e, name) for name in names}
            | {"predicted": math.nan if e.predicted is None else e.predicted}
            for e in self.exponents
        ]
        found = pd.DataFrame(rows).set_index(["layer", "step", "kind"]).to_xarray()
        return found.assign_attrs(kind="coordinate check", verdicts=json.dumps(self.verdicts()))

    def as_dict(self) -> dict[str, Any]:
        """All exponents, and a verdict for each layer."""
        found = {
            "parametrisation": self.parametrisation,
            "verdicts": self.verdicts(),
            "exponents": list(map(asdict, self.exponents)),
        }
        return as_json(found)

    def plot(self, ax: "Axes | None" = None, kind: str = "size", step: int | None = None) -> "Axes":
        """Draw sizes (or changes) against the width, a line for each layer, at the last step."""
        return questions.pictures_of_runs().draw_coordinates(self, kind, step, ax)

    def __repr__(self) -> str:
        said = "; ".join(f"{layer}: {verdict}" for layer, verdict in self.verdicts().items())
        return f"<CoordinateCheck ({self.parametrisation or 'nothing predicted'}): {said}>"


def lines(found: CoordinateCheck) -> list[str]:
    """What was found in words: a verdict for each layer, and its exponents at the last step.

    Of other steps those are told that are not as predicted, or in doubt.
    """
    said = [f"{layer}: {verdict}" for layer, verdict in found.verdicts().items()]
    last = max((own.step for own in found.exponents), default=0)
    told = ("not as predicted", "cannot be told")
    shown = [own for own in found.exponents if own.step == last or own.verdict in told]
    return said + [
        f"{own.layer}, {own.said}" + (f": {own.verdict}" if own.verdict in told else "")
        for own in shown
    ]


def check_sizes(
    sizes: Any, parametrisation: str | None = None, output: str = OUTPUT
) -> CoordinateCheck:
    """The exponents of a table of sizes, and whether they are as predicted.

    `sizes`: columns `layer`, `width`, `size`, perhaps `seed`, `step` (default 0) and `kind`
    ("size", or "change" since step 0): the path of a csv file, a DataFrame, or columns by name. The
    layer called `output` is the network's output. Raises `ProblemError` for tables that cannot be
    read.

    >>> found = check_sizes({"layer": ["lm_head"] * 3, "width": [64, 128, 256],
    ...                      "size": [0.1484, 0.1215, 0.0975]})
    >>> own = found.exponents[0]
    >>> round(own.value, 2), own.verdict
    (-0.3, 'nothing predicted')
    """
    if parametrisation is not None and parametrisation not in PREDICTED:
        known = ", ".join(map(repr, PREDICTED))
        raise ProblemError([f"parametrisation: found {parametrisation!r}; known are {known}"])
    frame = _checked(sizes)
    found = []
    for layer in dict.fromkeys(frame["layer"]):
        for step in sorted(set(frame["step"])):
            for kind in ("size", "change"):
                here = (frame["layer"] == layer) & (frame["step"] == step)
                own = frame.loc[here & (frame["kind"] == kind)]
                if len(own):
                    expected = _predicted(parametrisation, layer == output, int(step), kind)
                    found.append(_exponent(str(layer), int(step), kind, own, expected))
    return CoordinateCheck(frame, tuple(found), parametrisation)


def _checked(sizes: Any) -> pd.DataFrame:
    """The table with all columns, or `ProblemError`."""
    raw = file_of(Path(sizes)).frame if isinstance(sizes, str | Path) else pd.DataFrame(sizes)
    if missing := [name for name in ("layer", "width", "size") if name not in raw]:
        raise ProblemError([f"column {missing[0]!r} is missing"], "the sizes")
    raw = raw.assign(
        **{name: value for name, value in (("step", 0), ("kind", "size")) if name not in raw}
    )
    parts = []
    layers, kinds = raw["layer"].to_numpy(), raw["kind"].to_numpy()
    for layer, kind in dict.fromkeys(zip(layers.tolist(), kinds.tolist(), strict=True)):
        if kind not in ("size", "change"):
            raise ProblemError([f"column 'kind': found {kind!r}; must be 'size' or 'change'"])
        own = raw.loc[(layers == layer) & (kinds == kind)].drop(columns=["layer", "kind"])
        parts.append(read_runs(own, ["size"]).table.assign(layer=layer, kind=kind))
    return pd.concat(parts, ignore_index=True)


def _predicted(name: str | None, output: bool, step: int, kind: str) -> float | None:
    """What a parametrisation predicts; None where it says nothing."""
    between = name == "mup" and output and kind == "size" and step > 0
    if name is None or between or (name == "standard" and step > 1):
        return None
    return PREDICTED[name][output, kind == "change"]


def _exponent(
    layer: str, step: int, kind: str, rows: pd.DataFrame, expected: float | None
) -> Exponent:
    """The exponent of one layer at one step, and whether it is as predicted."""
    widths = np.unique(rows["width"].to_numpy())
    values = [rows.loc[rows["width"] == n, "size"].to_numpy() for n in widths]
    nan = math.nan
    if len(widths) < FEWEST_WIDTHS:
        why = f"needs at least {FEWEST_WIDTHS} widths, found {len(widths)}"
        return Exponent(layer, step, kind, nan, nan, nan, expected, "cannot be told", why)
    if not all(np.isfinite(v).all() and v.mean() > 0 for v in values):
        why = "sizes are not all positive numbers: something diverged, or does not move"
        return Exponent(layer, step, kind, nan, nan, nan, expected, "cannot be told", why)
    value, half, how = _slope(widths, values)
    verdict, why = _judged(value, half, expected)
    return Exponent(
        layer, step, kind, value, value - half, value + half, expected, verdict, f"{why} ({how})"
    )


def _slope(widths: np.ndarray, values: Sequence[np.ndarray]) -> tuple[float, float, str]:
    """α with its 95 % half-width: from seeds where there are several, else from the residuals."""
    x, y = np.log(widths), np.log([v.mean() for v in values])
    apart = x - x.mean()
    c = apart / (apart @ apart)
    value, off = float(c @ y), y - y.mean() - apart * float(c @ y)
    scatter = (off @ off) / (len(x) - 2)
    times, freedom = float(stdtrit(len(x) - 2, 0.975)), sum(len(v) - 1 for v in values)
    from_line = times * math.sqrt(scatter / float(apart @ apart))
    if min(map(len, values)) < 2:
        return value, from_line, "one run of a width: the interval is from how they lie off a line"
    relative = np.array([v.var(ddof=1) / len(v) / v.mean() ** 2 for v in values])
    half = float(stdtrit(freedom, 0.975)) * math.sqrt(float(c**2 @ relative))
    return value, half, f"interval from {counted(freedom + len(values), 'run')}"


def _judged(value: float, half: float, predicted: float | None) -> tuple[str, str]:
    if predicted is None:
        return "nothing predicted", f"∝ n^({value:.2f} ± {half:.2f})"
    said = f"∝ n^({value:.2f} ± {half:.2f}), predicted {predicted:g}"
    if abs(value - predicted) > half + SLACK:
        return "not as predicted", said
    if half > WIDE / 2:
        return "cannot be told", said
    return "as predicted", said
