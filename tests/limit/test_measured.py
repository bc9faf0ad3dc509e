"""Limits that are measured with networks, against limits that are known another way."""

import json
from importlib import import_module
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

from conftest import small_problem, table
from widelimit import ProblemError, compare, measure_bias, plan_width, predict_fluctuations, train
from widelimit.basics.progress import progress
from widelimit.ensemble.system import System
from widelimit.limit.measured.fit import Fit
from widelimit.limit.measured.plan import amplification, counts_for, proportions
from widelimit.limit.measured.sample import Sampler
from widelimit.limit.measured.sums import Sample, Sums
from widelimit.limit.solve import solve, solved
from widelimit.results.folders.runfolder import SECTIONS, RunFolder
from widelimit.runs.adequacy import judged
from widelimit.runs.line import Means

MUP = {"activations": ["tanh"] * 2, "parametrisation": "mup"}


@pytest.fixture
def oracles(monkeypatch):
    """Limits that are known exactly."""
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    return import_module("oracles")


def data_of(points):
    """A data section."""
    return table(points=points)


def rms(values):
    """The largest over times, over inputs and channels."""
    return float(np.sqrt((values**2).mean(axis=(1, 2))).max())


@pytest.fixture(scope="module")
def one_layer():
    """A limit that can be solved, measured all the same, and solved."""
    problem = small_problem(
        network={"activations": ["tanh"], "initial": {"readout": {"law": "normal", "mean": 0.3}}},
        limit={"tolerance": 0.04, "how": "measured"},
    )
    return solve(problem), solve(problem.with_changes(limit={"how": "auto", "tolerance": 1e-3}))


def test_one_layer_is_the_limit_that_is_solved(one_layer):
    measured, known = one_layer
    d, attrs = measured.dataset, measured.dataset.attrs
    assert attrs["how"] == "measured"
    assert measured.met
    assert known.dataset.attrs["how"] == "quadrature"
    assert rms((d.output - known.dataset.output).values) <= attrs["error"] <= 0.04
    for name in ("risk",):
        off = np.abs(d[name] - known.dataset[name])
        assert (off <= d[f"{name}_error"] + known.dataset[f"{name}_error"]).all()


def test_scatter_is_that_of_networks(one_layer):
    """n·Var at time 0 is E[a² φ²] − (E a φ)², by a million draws (0.3 % of it)."""
    d, rng = one_layer[0].dataset, np.random.default_rng(0)
    x = np.array(table()["inputs"])
    w, a = rng.normal(size=(1_000_000, 2)), 0.3 + rng.normal(size=1_000_000)
    own = np.array([np.var(a * np.tanh(w @ row)) for row in x])
    assert np.abs(d.scatter.values[0, :, 0] - own).max() < d.scatter_error.values[0].max() + 0.01


def test_files_hold_measured_limits(one_layer, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.prepare(one_layer[0].problem, ("limit",), False)
    folder.save(one_layer[0], 1.0)
    again = folder.load("limit")
    xr.testing.assert_allclose(again.dataset["output"], one_layer[0].dataset["output"])
    assert "measured with" in repr(again)


def test_linear_networks_follow_the_free_operator(oracles):
    """An error above the stated one (95 %, in RMS) is seen with one seed in 100 or fewer."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 2))
    y = np.stack([x[:, 0] - 0.5 * x[:, 1], 0.3 * x[:, 1] + 0.2], axis=1)
    problem = small_problem(
        network=MUP | {"activations": ["identity"] * 2},
        data={"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        limit={"tolerance": 0.04},
    )
    found = solve(problem)
    known = oracles.linear_mup(x, y, problem.times)
    assert np.abs(known - oracles.linear_mup(x, y, problem.times, cut=30)).max() < 1e-7
    assert np.abs(known[-1]).max() > 0.1
    assert rms(found.dataset["output"].values - known) <= found.dataset.attrs["error"] <= 0.04


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_tangent_kernel_is_kernel_regression(oracles, depth):
    """As above; the readout's rate is not divided by the width, all others are."""
    problem = small_problem(
        network={"activations": ["tanh"] * depth, "parametrisation": "ntk"},
        training={"horizon": 3.0}, limit={"tolerance": 0.02},
    )  # fmt: skip
    found, data = solve(problem), problem.dataset
    x, y = data.inputs, data.targets[:, 0]
    known = oracles.kernel_regression(x, y, "tanh", depth, problem.times)
    assert rms(found.dataset["output"].values - known[..., None]) <= found.dataset.attrs["error"]
    assert found.met


@pytest.mark.slow
def test_measured_limits_stand_in_for_others():
    """Networks close in on it, the planner knows widths, and a wide network is where it should."""
    problem = small_problem(
        network=MUP, limit={"tolerance": 0.01}, training={"horizon": 2.0},
        networks={"widths": [64, 128, 256, 512], "seeds": 40, "method": "flow"},
    )  # fmt: skip
    limit, networks = solve(problem), train(problem)
    found = compare(limit, networks)
    assert found.closes is not False
    d = limit.dataset.isel(time=-1)
    predicted = np.sqrt(float(d.scatter.mean()) / 512 + float((d.bias**2).mean()) / 512**2)
    assert found.rms[-1][-1] == pytest.approx(predicted, rel=0.35)  # 40 networks, a few outputs
    plan = plan_width(problem, predicted)
    assert plan.choices[0].widths[0] == pytest.approx(512, rel=0.1)


def test_sums_are_those_of_all_runs():
    rng = np.random.default_rng(0)
    values, apart = rng.normal(size=(12, 3)), rng.normal(size=(12, 3))
    parts = [Sums.of({"f": values[k]}, apart[k]) for k in (slice(0, 5), slice(5, 12))]
    both = parts[0].joined(parts[1])
    assert both.runs == 12
    assert np.allclose(both.mean["f"], values.mean(axis=0))
    assert np.allclose(both.variance("f"), values.var(axis=0, ddof=1))
    assert np.allclose(both.apart, apart.mean(axis=0))


def test_plans_have_the_variance_that_they_promise():
    """By simulation: 20,000 intercepts; their variance is known to 4 % (four standard errors)."""
    widths, scatter, goal = [32, 64, 128], 0.15, 1e-4
    counts = counts_for(widths, [1.0, 2.0, 5.0], scatter, goal)
    drawn = list(map(float, counts))
    rng, x = np.random.default_rng(0), 1 / np.array(widths, float)
    means = rng.normal(size=(20_000, 3)) * np.sqrt(scatter * x / np.array(counts))
    fitted = np.polyfit(x, means.T, 1, w=np.sqrt(np.array(counts) / x))[1]
    assert fitted.var() == pytest.approx(scatter * amplification(widths, drawn), rel=0.04)
    assert 0.5 * goal < fitted.var() < 1.04 * goal
    best = proportions(widths, [1.0, 2.0, 5.0])
    for other in ((1.0, 1.0, 1.0), (4.0, 2.0, 1.0)):
        worth = [amplification(widths, own) * np.dot(own, [1, 2, 5]) for own in (best, other)]
        assert worth[0] <= worth[1]


def test_networks_are_trained_as_the_problem_says():
    assert small_problem(network=MUP).measured_with.method == "flow"
    steps = {"widths": [8], "method": "gd", "step": 0.1}
    assert small_problem(network=MUP, networks=steps).measured_with.method == "gd"
    sampler = Sampler.of(small_problem(network=MUP), 1e-3)
    assert sampler.mirrored
    law = {"readout": {"law": "atoms", "points": [1.0, 2.0]}}
    assert not Sampler.of(small_problem(network=MUP | {"initial": law}), 1e-3).mirrored


@pytest.mark.slow
def test_what_time_does_not_allow_is_said():
    problem = small_problem(network=MUP, limit={"tolerance": 1e-5, "max_seconds": 1e-3})
    found = solved(problem, progress=False)
    assert not found.met
    (said,) = json.loads(found.dataset.attrs["warnings"])
    assert "it would take" in said
    assert "of width 128" in said


@pytest.mark.parametrize("ask", [measure_bias, predict_fluctuations])
def test_what_is_not_solved_is_refused(ask):
    problem = small_problem(network=MUP)
    with pytest.raises(ProblemError, match=r"network\.parametrisation: found 'mup', whose limit"):
        ask(problem)
    steps = {"widths": [8], "method": "gd", "step": 0.1}
    adam = {"horizon": 1.0, "adam": {"betas": [0.9, 0.99]}}
    with pytest.raises(ProblemError, match=r"training\.adam: is a rule of steps"):
        ask(small_problem(training=adam, networks=steps))


# Rules of steps, and what the search does


STEPS = {"widths": [8], "method": "gd", "step": 0.05}


@pytest.mark.slow
def test_steps_that_stay_have_a_limit_of_their_own():
    """Adam at fixed β with one hidden layer, by networks of width 8,192 (two of them, mirrored)."""
    problem = small_problem(
        network={"activations": ["tanh"], "parametrisation": "mup"},
        training={"horizon": 0.5, "adam": {"betas": [0.8, 0.9]}},
        networks=STEPS, limit={"tolerance": 0.05},
    )  # fmt: skip
    found = solve(problem)
    assert found.dataset.attrs["method"] == "gd"
    assert found.dataset.attrs["time_error"] == 0
    wide = train(problem.with_changes(networks={"widths": [8192], "seeds": 2}, seed=5))
    off = wide.dataset["output"].values[0].mean(axis=0) - found.dataset["output"].values
    scatter = np.sqrt(found.dataset["scatter"].values / 8192 / 2)
    assert np.abs(off).max() < found.dataset.attrs["error"] + 4 * scatter.max()


def test_all_networks_are_shown_the_same_data():
    """SGD with steps that stay: its noise is the same in all networks, so that it is no scatter."""
    problem = small_problem(
        network={"activations": ["tanh"], "parametrisation": "mup"},
        training={"horizon": 0.5}, limit={"how": "measured", "tolerance": 0.05},
        networks={"widths": [8], "method": "sgd", "step": 0.25},
    )  # fmt: skip
    sampler = Sampler.of(problem, 1e-3)
    with progress("test", False) as told:
        wide = sampler.runs(4096, range(sampler.together(4096)), told).sums
    own = wide.mean["outputs at all points"]
    assert np.abs(np.diff(own[[0, -1]], axis=0)).max() > 0.01
    spread = np.sqrt(wide.variance("outputs at all points"))
    assert spread.max() < 0.05  # n^(−1/2) = 0.016; other data would move it by 0.1 and more


def test_mirrored_networks_start_at_the_mean():
    problem = small_problem(network=MUP, limit={"tolerance": 0.05})
    with progress("test", False) as told:
        sums = Sampler.of(problem, 1e-2).runs(32, range(16), told).sums
    assert np.abs(sums.mean["outputs at all points"][0]).max() < 1e-6
    assert sums.apart[0].min() > 0


def test_widths_grow_where_the_line_is_bent():
    """Means 1/n + 40/n²: at width 32 the second term is larger than the first."""
    rng = np.random.default_rng(0)
    table, x = {}, np.linspace(-1, 1, 20)[None, :, None]
    for n in (32, 64, 128):
        runs = (1 / n + 40 / n**2) * (1 + x) + 0.01 * rng.normal(size=(50, 1, 20, 1)) / n**0.5
        values = {"outputs at all points": runs, "risk": runs.mean(axis=(2, 3))}
        table[n] = Sample(Sums.of(values, np.zeros_like(runs)))
    system = System.of(small_problem(data=data_of(20)), jnp.float32)
    fit = Fit(system, table, (32, 64, 128), {})
    assert fit.bent(0.01)
    assert not fit.bent(10.0)
    assert fit.verdict.adequate is False
    missed = fit.outputs.estimate(fit.outputs.combination())
    assert np.sqrt(np.mean(missed**2)) <= fit.rms


def test_limits_of_other_steps_are_other_limits():
    """What was measured at one step is not taken for the limit at another."""
    flow = small_problem(network=MUP)
    slow, quick, wide = (
        small_problem(network=MUP, networks=STEPS | own)
        for own in ({}, {"step": 0.5}, {"widths": [8, 16], "seeds": 3})
    )
    digests = [own.digest(*SECTIONS["limit"]) for own in (flow, slow, quick, wide)]
    assert len(set(digests[:3])) == 3
    assert digests[1] == digests[3]
    solved_ones = [small_problem(networks=STEPS | own) for own in ({}, {"step": 0.5})]
    assert len({own.digest(*SECTIONS["limit"]) for own in solved_ones}) == 1


def test_variances_that_stay_are_seen_at_any_of_many_times():
    """Var ∝ 1 in place of 1/n at one of 11 times; means on a line."""
    rng, table = np.random.default_rng(0), {}
    for n in (32, 64, 128):
        risk = 1 / n + rng.normal(size=(200, 11)) * np.where(np.arange(11) == 7, 0.1, n**-0.5)
        runs = np.zeros((200, 11, 8, 1))
        table[n] = Sample(Sums.of({"outputs at all points": runs, "risk": risk}, runs))
    system = System.of(small_problem(), jnp.float32)
    verdict = Fit(system, table, (32, 64, 128), {}).verdict
    assert verdict.adequate is False
    assert "scatter as those of narrow ones" in verdict.why


def test_what_never_differs_is_no_misfit():
    """Networks that are all the same, up to rounding: nothing speaks against 1/n."""
    for value in (0.0, 0.1, 1 / 3, 1e6 + 1 / 7):
        means = Means.of([32, 64, 128], [np.full((4, 1), value)] * 3)
        assert means.misfit()[0] == 1.0
        alone = Means.of([32, 64, 128], [np.full(4, value)] * 3)
        assert judged(alone).adequate is None


def test_steps_are_in_the_errors_of_all_variables():
    rng = np.random.default_rng(0)
    table = {
        n: Sample(Sums.of({"risk": 1 / n + rng.normal(size=(20, 3))}, np.zeros((20, 3, 8, 1))))
        for n in (32, 64, 128)
    }
    system, late = System.of(small_problem(), jnp.float32), np.array([0.0, 0.5, 2.0])
    with_steps, without = (
        Fit(system, table, (32, 64, 128), own).error_of("risk") for own in ({"risk": late}, {})
    )
    assert np.allclose(with_steps - without, late)


def test_networks_without_a_depth_measure_nothing():
    residual = {"architecture": "residual", "stream": 2}
    problem = small_problem(network=residual, limit={"how": "measured"}, networks=None)
    with pytest.raises(ProblemError, match=r"network\.depth: found 'limit'; networks have a depth"):
        solve(problem)
