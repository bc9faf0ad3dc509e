"""Schedules against their formulas, what they do to limits and networks, and where steps stop."""

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

import reference
from conftest import small_problem
from widelimit import Problem, ProblemError, solve, train
from widelimit.motion.spans import spans_to, within
from widelimit.problem.training.schedules import (
    Constant,
    Cosine,
    Exponential,
    Own,
    Piecewise,
    Power,
    Rate,
)

FAMILIES = [
    (Constant(value=0.7), lambda t: 0.7),
    (Power(value=2.0, exponent=0.25, time=0.5), lambda t: 2.0 / (1 + 2 * t) ** 0.25),
    (Exponential(value=2.0, time=3.0), lambda t: 2.0 * np.exp(-t / 3)),
    (
        Cosine(value=2.0, time=1.5, low=0.5),
        lambda t: 0.5 + 0.75 * (1 + np.cos(np.pi * t / 1.5)) if t < 1.5 else 0.5,
    ),
    (
        Piecewise(times=(0.5, 1.2), values=(1.0, 2.5, 0.0)),
        lambda t: 1.0 if t < 0.5 else 2.5 if t < 1.2 else 0.0,
    ),
]

NAMES = [type(schedule).__name__ for schedule, _ in FAMILIES]


@pytest.mark.parametrize(("schedule", "formula"), FAMILIES, ids=NAMES)
def test_formulas(schedule, formula):
    with jax.enable_x64(True):
        rate = Rate.of(schedule, jnp.float64)
        times = [0.0, 0.3, 0.5, 1.0, 1.4, 2.0]
        found = [float(rate.at(t)) for t in times]
        assert found == pytest.approx([formula(t) for t in times], rel=1e-12)
        assert max(found) <= float(rate.highest)
        assert float(rate.at_its_highest().at(9.0)) == schedule.highest()


def _scheduled(schedule, times, horizon=2.0, **networks):
    """Atoms at depth 2, every rate under the same schedule."""
    rates = dict.fromkeys(("input", "hidden", "readout"), schedule.model_dump())
    atoms = {"law": "atoms", "points": [-1.0, 0.5]}
    return small_problem(
        2,
        network={"activations": ["tanh"] * 2, "initial": {"input": atoms, "readout": atoms}},
        training={"horizon": horizon, "learning_rates": rates},
        observe={"times": times},
        networks={"widths": [16], "seeds": 2, **networks},
    )


SLOWLY = [
    pytest.param(*family, id=name, marks=[] if name == "Constant" else pytest.mark.slow)
    for family, name in zip(FAMILIES, NAMES, strict=True)
]


@pytest.mark.parametrize(("schedule", "formula"), SLOWLY)
def test_a_schedule_common_to_all_layers_is_a_change_of_clock(schedule, formula):
    """dθ/dt = ξ(t) v(θ) has θ(t) = the constant-rate solution at ∫_0^t ξ."""
    times = [0.4, 1.0, 2.0]
    clocks = [quad(formula, 0.0, t, points=[0.5, 1.2, 1.5], limit=200)[0] for t in times]
    found = solve(_scheduled(schedule, times), progress=False).dataset.output
    kept = list(dict.fromkeys(round(c, 12) for c in clocks))  # the last piece stands still
    plain = _scheduled(Constant(value=1.0), kept, horizon=max(kept))
    expected = solve(plain, progress=False).dataset.output.values
    for row, clock in zip(found.values, clocks, strict=True):
        np.testing.assert_allclose(row, expected[kept.index(round(clock, 12))], atol=1e-7)


@pytest.mark.parametrize("method", ["sgd", "gd", "flow"])
def test_networks_stop_when_their_rates_do(method):
    """Rates that fall to 0 at t = 1: afterwards nothing moves, before it is as it was."""
    times = [0.5, 1.0, 2.0]
    stopped = _scheduled(Piecewise(times=(1.0,), values=(1.0, 0.0)), times, method=method)
    plain = _scheduled(Constant(value=1.0), times, method=method)
    found, expected = (train(p, progress=False).dataset.output[0] for p in (stopped, plain))
    np.testing.assert_allclose(found[:, :2], expected[:, :2], atol=1e-4 if method == "flow" else 0)
    np.testing.assert_allclose(found[:, 2], found[:, 1], atol=2e-4 if method == "flow" else 0)
    assert np.abs(expected[:, 2] - expected[:, 1]).max() > 1e-2


@pytest.mark.parametrize(
    ("rates", "said"),
    [
        ({"input": -1}, "input: found -1; must be greater than or equal to 0"),
        ({"input": {"schedule": "powr", "value": 1}}, "did you mean 'power'"),
        ({"readout": "fast"}, "readout: found 'fast'; must be a number, or a table"),
        ({"readout": {"value": 1}}, "readout.schedule: is missing"),
        ({"readout": {"schedule": "cosine", "value": 1, "tme": 3}}, "tme: unknown key; did you"),
        (
            {"input": {"schedule": "piecewise", "times": [1], "values": [1]}},
            "input.values: found 1 values for 1 times; give one more",
        ),
        ({"input": {"schedule": "piecewise", "times": [2, 1], "values": [1, 2, 3]}}, "increase"),
        ({"input": {"schedule": "cosine", "value": 1, "time": 1, "low": 2}}, "swap them"),
    ],
)
def test_wrong_schedules_are_told(rates, said):
    with pytest.raises(ProblemError, match=said.replace("(", r"\(")):
        small_problem(1, training={"horizon": 1.0, "learning_rates": rates})


def test_schedules_survive_the_problem_file():
    problem = _scheduled(FAMILIES[4][0], [0.0, 1.0])
    import tomllib

    assert Problem.from_dict(tomllib.loads(problem.to_toml())).as_dict() == problem.as_dict()


# --- steps stop where schedules do --------------------------------------------------------------

NEURONS = np.array([[1.0, 2.0], [-0.5, 1.0]])
"""(w, a) of two kinds of neurons, equally many."""

X, Y = np.array([[-1.0], [1.0], [0.4]]), np.array([[0.5], [-0.5], [0.2]])


def pulsed(horizon, times=None, **rates):
    """One hidden layer of two atoms at three points of the line, with these learning rates."""
    return Problem.from_dict(
        {
            "network": {
                "activations": ["tanh"],
                "initial": {"neuron": {"law": "atoms", "points": NEURONS.tolist()}},
            },
            "data": {"source": "table", "inputs": X.tolist(), "targets": Y.tolist()},
            "training": {"horizon": horizon, "learning_rates": rates},
            "observe": {"times": [0.0, horizon] if times is None else times},
            "networks": {
                "widths": [8],
                "seeds": 2,
                "states": 2,
                "method": "flow",
                "precision": "float64",
            },
        }
    )


def pulse(start, stop, value):
    """A rate of 0 but for a while."""
    return {"schedule": "piecewise", "times": [start, stop], "values": [0.0, value, 0.0]}


def plain(theta, p, stops, rates):
    """Neurons of weights p at the last of `stops`; `rates(t, middle)` are those of w and a."""

    def field(t, now, middle):
        w, a = rates(t, middle)
        own = {"input": w, "hidden": [], "readout": a}
        return reference.speeds(now, [p], X, Y, np.full(3, 1 / 3), own, False)

    return reference.by_spans(theta, field, stops)


def plain_outputs(stops, rates):
    """f at the data and the risk, of the two atoms."""
    p = np.full(2, 0.5)
    end = plain([NEURONS[:, :1], NEURONS[:, 1:]], p, stops, rates)
    f = reference.outputs(end, [p], X, False)
    return f[:, 0], ((f - Y) ** 2).mean() / 2


@pytest.mark.parametrize(
    ("start", "stop", "value", "horizon", "outputs", "risk"),
    [
        (5.0, 10.0, 1.0, 100.0, [0.40365726, -0.40365726, -0.20300521], 0.03016284),
        (1.0, 1.1, 10.0, 3.0, [0.03470899, -0.03470899, -0.03377165], 0.08127344),
    ],
)
def test_a_pulse_is_not_jumped_over(start, stop, value, horizon, outputs, risk):
    """The limit rests before and after: outputs by SciPy, which starts anew at the jumps."""
    rate = pulse(start, stop, value)
    found = solve(pulsed(horizon, input=rate, readout=rate), progress=False).dataset.isel(time=-1)

    def rates(t, middle):
        return (value if start < middle < stop else 0.0,) * 2

    expected, known = plain_outputs([start, stop, horizon], rates)
    np.testing.assert_allclose(expected, outputs, atol=6e-9)
    assert known == pytest.approx(risk, abs=6e-9)
    off = np.abs(found.output.values[:, 0] - expected)
    assert (off <= found.time_error.values[:, 0] + 1e-12).all()
    assert found.time_error.max() < 1e-8
    assert float(found.risk) == pytest.approx(known, abs=1e-8)


def bump(t):
    return np.exp(-8 * (t - 301.0) ** 2)


LATE = {
    "a jump": (pulse(300.0, 302.0, 1.0), lambda t, middle: float(300 < middle < 302)),
    "smooth": (lambda t: jnp.exp(-8 * (t - 301.0) ** 2), lambda t, middle: bump(t)),
}


@pytest.mark.parametrize("name", LATE)
def test_a_late_pulse_of_one_layer_is_seen_while_another_has_come_to_rest(name):
    """Readouts have been trained to rest when inputs move; the function is one of one's own."""
    rate, written = LATE[name]
    found = solve(pulsed(400.0, input=rate), progress=False).dataset.isel(time=-1)
    expected, _ = plain_outputs(
        [298.0, 300.0, 302.0, 304.0, 400.0], lambda t, middle: (written(t, middle), 1.0)
    )
    still, _ = plain_outputs([400.0], lambda t, middle: (0.0, 1.0))
    assert np.abs(expected - still).max() > 1e-4
    off = np.abs(found.output.values[:, 0] - expected)
    assert (off <= found.time_error.values[:, 0] + 1e-11).all()
    assert found.time_error.max() < 1e-7


def test_the_longest_step_of_a_function_is_kept():
    """A feature of 4e-4 in a time of 1 is not seen by default; where `longest` is given, it is."""

    def sharp(t):
        return jnp.where(jnp.abs(t - 0.6) < 4e-4, 2e3 * jnp.cos(0.5 * jnp.pi * (t - 0.6) / 4e-4), 0)

    told = Own(function=sharp, peak=2e3, longest=2e-3)
    assert np.diff(told.stops(1.0)).max() == pytest.approx(2e-3)
    assert np.diff(Own(function=sharp).stops(1.0)).max() == pytest.approx(1 / 256)
    found = solve(pulsed(1.0, input=told, readout=told), progress=False).dataset.isel(time=-1)
    clock = 2e3 * 4e-4 * 4 / np.pi
    expected, _ = plain_outputs([clock], lambda t, middle: (1.0, 1.0))
    assert (np.abs(found.output.values[:, 0] - expected) <= found.time_error.values[:, 0]).all()
    with pytest.raises(ProblemError, match=r"longest: found 0; must be greater than 0"):
        pulsed(1.0, input={"schedule": "own", "function": sharp, "longest": 0})


def test_networks_by_flow_and_tracers_see_pulses():
    """Each network against SciPy from its own neurons, and tracers against the atoms."""
    rate = pulse(5.0, 5.3, 4.0)
    problem = pulsed(60.0, input=rate, readout=rate)

    def rates(t, middle):
        return (4.0 if 5 < middle < 5.3 else 0.0,) * 2

    drawn = train(problem.with_changes(network={"initial": {}}), progress=False)
    states = drawn.states["width_8"].to_dataset()
    for seed in range(2):
        start = [states[name].values[seed, 0].reshape(8, 1) for name in ("input", "readout")]
        end = plain([s.astype(float) for s in start], np.full(8, 1 / 8), [5.0, 5.3, 60.0], rates)
        expected = reference.outputs(end, [np.full(8, 1 / 8)], X, False)
        found = drawn.dataset.output.isel(width=0, seed=seed, time=-1)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert np.abs(drawn.dataset.output.isel(width=0, seed=seed, time=0) - found).max() > 0.01
    kinds = train(problem, progress=False).states["width_8"].to_dataset()
    traced = solve(problem, progress=False, tracers=kinds).states["tracers"].isel(time=-1)
    end = plain([NEURONS[:, :1], NEURONS[:, 1:]], np.full(2, 0.5), [5.0, 5.3, 60.0], rates)
    for name, own in zip(("input", "readout"), end, strict=True):
        np.testing.assert_allclose(traced[name].values[0].ravel(), own.ravel(), atol=1e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_spans_end_where_rates_jump_and_see_the_side_they_are_on(dtype):
    """Observed times, one of them a jump but for rounding, and jumps; spans have one rate each."""
    schedule = Piecewise(times=(0.1, 0.30000000000000004, 1.0, 1.5), values=(1, 3, 2, 2, 5))
    with jax.enable_x64(dtype == jnp.float64):
        rate = Rate.of(schedule, dtype)
        for halved in (False, True):
            times = np.array([0.0, 0.3, 2.0])
            each = list(spans_to(times, {"own": (rate,)}, dtype, halved))
            assert each[0] == []
            spans = [span for spans in each for span in spans]
            ends = [float(spans[0].start), *(float(span.stop) for span in spans)]
            assert ends == sorted(set(ends))
            for at in (0.1, 0.3, 1.5, 2.0):
                assert np.isclose(ends, at, rtol=1e-7).any()
            assert 1.0 not in ends  # nothing changes there
            for span in spans:
                for t in (span.start - 1, span.start, span.stop, span.stop + 1):
                    seen = within(span, t)
                    assert float(span.start) <= float(seen) < float(span.stop)
                    assert float(rate.at(seen)) == float(rate.at(span.start))


@pytest.mark.parametrize(("schedule", "formula"), FAMILIES, ids=NAMES)
def test_between_stops_schedules_change_little(schedule, formula):
    """By a factor of e, or a part of a cosine of 0.36: jumps are at stops."""
    stops = np.asarray(Rate.of(schedule, jnp.float32).stops(2.0))
    ends = [0.0, *stops[stops < 2.0], 2.0]
    for start, stop in pairwise(ends):
        seen = [formula(t) for t in np.linspace(start, stop - 1e-6, 50)]
        assert max(seen) <= np.e * (min(seen) + 1e-6) or max(seen) - min(seen) < 0.36 * 1.5
