"""What `solve` and `train` both return: outputs, risks and errors over time, labelled.

A `Trajectory` holds an xarray Dataset (`output`, `risk`, …) and the neurons at the observed
times. Limits have no `seed` and `width` dimension; otherwise both are the same thing.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from widelimit.problem.problem import Problem
from widelimit.results import questions
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.validity import Validity

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Trajectory:
    """Outputs of a limit or of networks over mean-field time `t = k ε`.

    `dataset`: for a limit `output(time, input, channel)` with `output_error` and its two parts,
    `quadrature_error` and `time_error`, and `risk(time)` with `risk_error`; for networks
    `output(width, seed, time, input, channel)`, `risk(width, seed, time)`, where training draws
    fresh points also `risk_error` (half-width of a 95 % interval for the sample that measures
    it); with a holdout `holdout_risk`, for one-hot targets `accuracy(…, part)`.
    `states`: a tree with one group per ensemble: the neurons' parameters and weights.
    """

    problem: Problem
    dataset: xr.Dataset
    states: xr.DataTree

    @property
    def kind(self) -> str:
        """ "limit" or "networks"."""
        return self.dataset.attrs["kind"]

    @property
    def met(self) -> bool:
        """Whether what was asked for was reached (networks have nothing to miss)."""
        return bool(self.dataset.attrs.get("met", 1))

    @property
    def warnings(self) -> list[str]:
        """What the user should know, one sentence each."""
        return json.loads(self.dataset.attrs["warnings"])

    def fluctuations(self, widths: Sequence[Any] | None = None, **settings: Any) -> Fluctuations:
        """What networks of these widths (default: the problem's) scatter by around this limit.

        Settings are those of `predict_fluctuations`. Raises `ValueError` if this is no limit.
        """
        self._require_limit("fluctuations are predicted from a limit")
        found = questions.predict_fluctuations(self.problem, widths, **settings)
        if self.met:
            return found
        note = (
            "the limit itself has not reached its tolerance; fluctuations are computed on nodes of "
            "their own and carry their own error, but they are those of a limit not known as well"
        )
        warnings = json.dumps([*found.warnings, note])
        return replace(found, dataset=found.dataset.assign_attrs(warnings=warnings))

    def validity(self, widths: Sequence[Any] | None = None, **settings: Any) -> Validity:
        """Until when this limit describes networks of these widths (default: the problem's).

        Settings are those of `predict_validity`. Raises `ValueError` if this is no limit.
        """
        self._require_limit("validity is predicted from a limit")
        return questions.predict_validity(self.problem, widths, **settings)

    def with_validity(self, found: Validity) -> "Trajectory":
        """This limit with a validity in its dataset, and `describes(width, time)`."""
        d = found.dataset
        describes = self.dataset.time < d.describes_until
        added = d.assign(describes=describes.transpose("width", "time"))
        kept = self.dataset.drop_dims(["width", "validity_time"], errors="ignore")
        notes = list(dict.fromkeys([*self.warnings, *found.warnings]))
        kept = kept.assign_attrs(warnings=json.dumps(notes))
        return replace(self, dataset=kept.merge(added, combine_attrs="override"))

    def warned(self, sentences: Sequence[str]) -> "Trajectory":
        """The same with more that the user should know; nothing is said twice."""
        said = json.dumps(list(dict.fromkeys([*self.warnings, *sentences])))
        return replace(self, dataset=self.dataset.assign_attrs(warnings=said))

    def kernel(self, **settings: Any) -> xr.Dataset:
        """The tangent kernel of this limit over time, how far it moves, and its alignment.

        Settings are those of `tangent_kernels`. Raises `ValueError` if this is no limit.
        """
        return questions.tangent_kernels(self, **settings)

    def free_energy(self, **settings: Any) -> xr.Dataset:
        """R + (λ/2) E|θ|² − τ Ent over time, of a limit with `training.temperature` τ.

        Settings are those of `free_energy.free_energy`. Raises `ValueError` if this is no limit.
        """
        return questions.free_energy(self, **settings)

    @property
    def averaged(self) -> list[int]:
        """How many neurons an average has in networks of each width. Of networks alone."""
        shapes = map(tuple, self.dataset["widths"].values.tolist())
        return list(map(self.problem.network.growing_width, shapes))

    def _require_limit(self, what: str) -> None:
        if self.kind != "limit":
            raise ValueError(f"{what}, and these are networks")

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw the risk over time, with its error band or the spread over seeds."""
        return questions.pictures().draw_risk([self], ax)

    def __repr__(self) -> str:
        d = self.dataset
        if self.kind == "limit":
            size = _found_with(d.attrs)
            end = f"risk {d.risk.values[-1]:.4g} ± {d.risk_error.values[-1]:.1g}"
        else:
            size = f"widths {', '.join(map(str, d.width.values))}; {d.sizes['seed']} seeds"
            end = f"mean risk {', '.join(f'{r:.4g}' for r in d.risk[:, :, -1].mean('seed').values)}"
        return f"<Trajectory: {self.kind}, {size}; at t = {d.time.values[-1]:g}: {end}>"

    def _repr_html_(self) -> str:
        from html import escape

        return f"<p>{escape(repr(self))}</p>{self.dataset._repr_html_()}"


def _found_with(attrs: dict[str, Any]) -> str:
    """How many nodes, or networks of which widths, a limit was found with."""
    if attrs.get("how") == "measured":
        widths = ", ".join(map(str, np.atleast_1d(attrs["widths_used"])))
        return f"measured with {np.sum(attrs['networks_used'])} networks of widths {widths}"
    return f"{' × '.join(map(str, np.atleast_1d(attrs['nodes'])))} nodes"
