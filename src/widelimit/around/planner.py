"""How wide is wide enough: the width at which networks scatter by a given amount, no more.

The predicted variances per unit of noise, averaged over inputs, make up the mean square distance of
networks from the limit (equations.md §4),

    rms² = (1/n) Σ_l U_l / r_l + (ε/b) U_sgd + U_data / samples,    layers of widths n_l = r_l n,

which is solved for n. The step ε is 1/n or a number, as the problem says. Residual networks of L
blocks are shifted from an infinitely deep limit by their depth, which adds |f_L − f|²: a plan tells
pairs of depth and width, from the fewest blocks that are near enough to those of fewest weights.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import xarray as xr
from scipy.special import stdtrit

from widelimit.around.depths import AtDepth, candidates
from widelimit.around.fluctuations import predict_fluctuations, refuse_unknown
from widelimit.around.measured import plan_measured
from widelimit.around.variances import factors
from widelimit.ensemble.collapse import collapsed_layers
from widelimit.limit.solve import solve
from widelimit.limit.validity import predict_validity
from widelimit.networks.room import numbers_held
from widelimit.networks.train import train
from widelimit.problem.problem import Problem
from widelimit.problem.settings import NetworkSettings
from widelimit.results.comparison import Comparison, compare
from widelimit.results.fluctuations import Fluctuations
from widelimit.results.plan import Choice, Plan

LARGEST_BATCH = 1024
"""Batches up to this size are looked at for one with which training costs less."""


CHECKED = 20
"""How many networks a check trains."""

REFUTED = 1e-3
"""How often, at most, a check refutes a width at which networks are as close as planned."""


def plan_width(
    problem: Problem,
    rms: float,
    time: float | None = None,
    *,
    tolerance: float | None = None,
    progress: bool | None = None,
) -> Plan:
    """The width at which networks are within `rms` of the limit (over inputs and networks).

    `time` is a mean-field time up to the horizon (default: the horizon). Method, step, batch and
    the proportions of the layers are those of the problem's networks (of its first width).
    `tolerance` is the relative error of standard deviations that is asked of the prediction, which
    tells their RMS over outputs alone (default: see `predict_fluctuations`).

    Raises `ValueError` for an `rms` that is not positive, a time beyond the horizon, or a problem
    without networks.

    >>> from widelimit.problem.problem import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"], "initial": {
    ...         "neuron": {"law": "atoms", "points": [[1.0, 2.0], [-0.5, 1.0]]}}},
    ...     "data": {"source": "table", "inputs": [1.0], "targets": [0.5]},
    ...     "training": {"horizon": 1.0}, "networks": {"widths": [100], "method": "flow"},
    ... })
    >>> plan = plan_width(problem, 0.1, time=0.0, progress=False)
    >>> import numpy as np
    >>> exact = np.var([2 * np.tanh(1.0), np.tanh(-0.5)]) / 0.01
    >>> plan.choices[0].widths[0] == int(np.ceil(exact))
    True
    """
    horizon = problem.training.horizon
    settings, time = _asked(problem, rms, horizon if time is None else time)
    if problem.measured:
        return plan_measured(problem, rms, time, progress)
    refuse_unknown(problem)
    at = {"times": [time], "inputs": problem.observed_inputs.tolist()}
    asked = {"what": "rms", "tolerance": tolerance, "progress": progress}
    known = [
        _Known(own, predict_fluctuations(own.problem, None, **asked))
        for own in candidates(problem.with_changes(observe=at), rms, progress)
    ]
    own, *larger = _batches(settings, len(problem.dataset.inputs))
    planned = [(one, *_chosen(one, rms, own)) for one in known]
    best, _, adds = min(planned, key=lambda one: one[1].work if one[1] else math.inf)
    planned.sort(key=lambda one: one[0] is not best)
    planned[1:1] = [(best, *_chosen(best, rms, batch)) for batch in larger]
    possible = [choice for _, choice, _ in planned if choice is not None]
    choices = tuple(choice.beside(possible[0]) for choice in possible)
    notes = [note for one in known for note in one.found.warnings]
    notes += _leaving(problem, choices, time)
    return Plan(
        rms,
        float(best.at.time),
        choices,
        adds,
        max(one.error(rms) for one in known),
        tuple(dict.fromkeys(notes)),
        best.found.effective_outputs,
    )


class _Known(NamedTuple):
    """What is predicted for networks of one depth."""

    own: AtDepth
    found: Fluctuations

    @property
    def at(self) -> xr.Dataset:
        """The prediction at the plan's time."""
        return self.found.dataset.isel(time=0)

    def error(self, rms: float) -> float:
        """The relative error of a width: those of the variances, and of what depth leaves them."""
        _, shift, error = self.own
        left = rms**2 - shift**2
        return 2 * float(self.at.attrs["error"]) + (2 * shift * error / left if left > 0 else 0.0)


def _asked(problem: Problem, rms: float, time: float) -> tuple[NetworkSettings, float]:
    """The networks' settings and the time, if a plan can be made for them."""
    if problem.networks is None:
        raise ValueError("the problem has no [networks] section: give at least networks.widths")
    if not 0 < rms < math.inf:
        raise ValueError(f"rms: found {rms}; must be a positive number")
    if not 0 <= time <= problem.training.horizon:
        most = problem.training.horizon
        raise ValueError(f"time: found {time}; must be between 0 and the horizon {most:g}")
    return problem.networks, time


def _leaving(problem: Problem, choices: Sequence[Choice], time: float) -> list[str]:
    """A warning if the planned networks scatter by more than their labels say (t_CLT)."""
    if not choices or not collapsed_layers(problem):
        return []
    found = predict_validity(problem, [choices[0].widths], progress=False)
    until = found.dataset.clt_until.item()
    return (
        []
        if until >= time
        else [
            f"width {problem.network.name(choices[0].widths)} does not suffice: from t = "
            f"{until:.3g} on differences between neurons that are alike in the limit count for "
            "more than what is planned with; limit.validity(widths) tells until when wider ones "
            "are described"
        ]
    )


def check_plan(problem: Problem, plan: Plan, *, progress: bool | None = None) -> Comparison:
    """Networks of the first choice, trained and held against the limit at the plan's time."""
    choice = plan.choices[0]
    found = problem.with_changes(
        networks={"widths": [list(choice.widths)], "seeds": CHECKED, "batch": choice.batch},
        observe={"times": [plan.time], "inputs": problem.observed_inputs.tolist()},
        limit={"tolerance": plan.rms / 10},
    )
    return compare(solve(found, progress=progress), train(found, progress=progress))


def why_refuted(plan: Plan, found: Comparison) -> str | None:
    """A sentence if the check `found` shows that networks are not within the plan's distance.

    Student's t at level 1 − `REFUTED` for the distance, beyond the error of the plan.
    """
    if found.closes is False:
        return found.closes_reason
    ((distance,),), ((error,),) = found.rms, found.rms_se
    least = distance - stdtrit(found.seeds - 1, 1 - REFUTED) * error
    return (
        None
        if least <= plan.rms * (1 + plan.error)
        else (
            f"networks of that width are not within {plan.rms:g}: {distance:.3g} ± {error:.1g} "
            "(standard error) is measured; the limit and its derivative do not describe them at "
            "this width, so no width is known: train networks of several widths and compare them"
        )
    )


def _batches(settings: NetworkSettings, rows: int) -> list[int]:
    """The problem's own batch, and powers of two times it that SGD could take."""
    most = min(LARGEST_BATCH, rows if settings.draw == "distinct" else LARGEST_BATCH)
    own = settings.batch
    return (
        [own]
        if settings.method != "sgd"
        else [own, *(b for b in (own * 2**k for k in range(1, 11)) if b <= most)]
    )


def _chosen(known: _Known, rms: float, batch: int) -> tuple[Choice | None, dict[str, float]]:
    """The width for one batch, if there is one, and what each source adds to rms² there.

    Every source adds a part that falls like 1/n and one that stays: two widths tell both.
    """
    problem, (first, *_) = known.own.problem, known.own.shapes
    settings, network = problem.networks, problem.network
    assert settings is not None
    pair = first, network.scaled(first, 2.0)
    asked = settings.model_copy(update={"widths": pair, "shapes": None, "batch": batch})
    one, two = factors(problem.model_copy(update={"networks": asked}))[0].values
    unit = dict(
        zip(map(str, known.at.source.values), known.at.unit_rms_variance.values, strict=True)
    )
    falling = {s: 2 * (a - b) * u for (s, u), a, b in zip(unit.items(), one, two, strict=True)}
    staying = {s: (2 * b - a) * u for (s, u), a, b in zip(unit.items(), one, two, strict=True)}
    if known.own.shift > 0:
        staying["depth"] = known.own.shift**2
    room = rms**2 - sum(staying.values())
    if room <= 0:
        return None, {name: float(value) for name, value in staying.items()}
    scale = sum(falling.values()) / room
    widths = network.scaled(first, scale)
    step = asked.step_size(network, widths)
    choice = Choice(
        batch,
        widths,
        step,
        work=network.connections(widths) * batch / step,
        weights=numbers_held(problem, widths),
        sequence=network.in_sequence(widths) / step,
    )
    falls = {s: value / scale if scale else 0.0 for s, value in falling.items()}
    return choice, {s: float(falls.get(s, 0.0) + own) for s, own in staying.items()}
