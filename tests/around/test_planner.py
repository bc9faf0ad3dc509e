"""The width planner: against closed forms at time 0, predicted variances, and trained networks."""

import math
from dataclasses import replace

import numpy as np
import pytest

from test_fluctuations import HORIZON, POINTS, PURE_NOISE, atomic
from widelimit import Problem, predict_fluctuations
from widelimit.around.planner import check_plan, plan_width, why_refuted


def test_width_from_a_variance_in_closed_form():
    """At t = 0 the output at one input is a mean of n independent c tanh(w x): Var/n = rms²."""
    raw = {**PURE_NOISE, "observe": {"times": 2, "inputs": [[1.5]]}}
    problem = Problem.from_dict({**raw, "networks": {"widths": [100], "method": "flow"}})
    w, c = np.array(PURE_NOISE["network"]["initial"]["neuron"]["points"]).T
    plan = plan_width(problem, 0.05, time=0.0, progress=False)
    (choice,) = plan.choices
    assert choice.widths == (math.ceil(np.var(c * np.tanh(1.5 * w)) / 0.05**2),)
    assert plan.cheapest == choice
    assert plan.error < 1e-6


@pytest.mark.parametrize("step", ["1/width", pytest.param(0.002, marks=pytest.mark.slow)])
def test_predictions_at_the_width_are_what_was_asked(step):
    """A plan's widths, put back into the prediction, give its rms, for every batch."""
    problem = atomic(networks={"widths": [[50, 20]], "method": "sgd", "step": step})
    plan = plan_width(problem, 0.03, progress=False)
    for choice in (plan.choices[0], plan.choices[3]):
        assert choice.widths[0] / choice.widths[1] == pytest.approx(2.5, rel=0.05)
        again = problem.with_changes(
            networks={"widths": [list(choice.widths)], "batch": choice.batch},
        )
        found = predict_fluctuations(again, progress=False).dataset.sel(time=HORIZON)
        reached = float(np.sqrt((found.output_std**2).mean()))
        assert 0.97 * 0.03 < reached <= 0.03  # widths are rounded up
    assert plan.cheapest.work <= min(choice.work for choice in plan.choices)
    assert sum(plan.sources.values()) == pytest.approx(0.03**2)


def test_a_step_too_large_for_any_width():
    problem = atomic(networks={"widths": [50], "method": "sgd", "step": 0.5})
    plan = plan_width(problem, 1e-3, progress=False)
    assert all(choice.batch > 1 for choice in plan.choices)
    assert plan.sources["layer 1"] == pytest.approx(0.0, abs=1e-15)
    assert plan.sources["sgd"] > 1e-6


@pytest.mark.parametrize(
    ("rms", "time", "said"),
    [(0.0, None, "must be a positive number"), (0.1, 7.0, "between 0 and the horizon 1")],
)
def test_wrong_targets(rms, time, said):
    with pytest.raises(ValueError, match=said):
        plan_width(atomic(), rms, time)


def test_a_check_trains_networks_of_the_planned_width():
    """The measured RMS distance is the planned one: five standard errors and 5 % for 1/n terms."""
    problem = atomic(
        networks={"widths": [[50, 20]], "method": "flow"},
        observe={"times": [0.0, HORIZON], "inputs": POINTS["inputs"]},
    )
    plan = plan_width(problem, 0.05, progress=False)
    found = check_plan(problem, plan, progress=False)
    ((distance,),), ((error,),) = found.rms, found.rms_se
    assert abs(distance - 0.05) < 5 * error + 0.0025
    assert 0 < error < 0.02
    assert why_refuted(plan, found) is None  # a false alarm has p < 1e-3


@pytest.mark.slow
def test_a_check_refutes_a_width_that_does_not_suffice():
    """The same networks, had they been promised to be five times as near."""
    problem = atomic(networks={"widths": [[50, 20]], "method": "flow"})
    plan = plan_width(problem, 0.1, progress=False)
    found = check_plan(problem, plan, progress=False)
    refuted = why_refuted(replace(plan, rms=0.02), found)
    assert "networks of that width are not within 0.02" in refuted
