"""Noisy SGD: closed forms of its moments, both worlds, the order of its errors, the free energy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from conftest import called, small_problem, table
from test_both_worlds import regression
from widelimit import (
    ProblemError,
    compare,
    measure_bias,
    plan_width,
    predict_fluctuations,
    solve,
    train,
)
from widelimit.limit.search import seen_of_limit
from widelimit.motion.engine import Steps, engine
from widelimit.motion.langevin import BrownianPath, hidden_variance, path_keys, path_normals
from widelimit.motion.moments import ensembles

STILL = {"source": "table", "inputs": [[0.0, 0.0]], "targets": [0.0]}
"""At x = 0 tanh networks without biases have no gradient: parameters are Ornstein–Uhlenbeck."""

HEAT = {"temperature": 0.3, "weight_decay": 0.7}


def decayed(start, rate, t, tau=0.3, decay=0.7):
    """The variance of dθ = −ξλθ dt + √(2τξ) dB."""
    kept = np.exp(-2 * rate * decay * t)
    return start * kept + tau / decay * (1 - kept)


def test_without_gradients_labels_are_ornstein_uhlenbeck():
    """Mean and variance of 512 labels of two entries, of 512 readouts at κ = 2 (rates ξ/4).

    Within 4 standard errors, √(2/N) of variances: false alarm of these eight below 6e-4.
    """
    problem = small_problem(
        2,
        data=STILL,
        limit={"nodes": [512, 512], "tolerance": 1.0},
        network={"activations": ["tanh"] * 2, "scale": 2.0},
        training={"horizon": 2.0, "learning_rates": {"input": 6.0, "readout": 2.0}} | HEAT,
    )
    limit = solve(problem, progress=False)
    states = limit.states["limit"].to_dataset()
    for name, rate, mean in (("input", 1.5, 0.0), ("readout", 0.5, 1.0)):
        for k, t in enumerate(problem.times[1:], 1):
            own = states[name].values[k].ravel()
            expected = decayed(1.0, rate, t)
            error = 4 / np.sqrt(len(own))
            assert abs(own.mean() - mean * np.exp(-rate * 0.7 * t)) < error * np.sqrt(expected)
            assert abs(own.var() / expected - 1) < np.sqrt(2) * error
    np.testing.assert_allclose(states.hidden_2.values[-1], 0.5 * np.exp(-0.35), rtol=1e-3)
    known = decayed(1.0, 0.25, problem.times)
    np.testing.assert_allclose(limit.dataset.hidden_variance.values[:, 0], known, rtol=1e-6)
    assert limit.dataset.pair.values.tolist() == ["hidden_2"]


def test_hidden_variance_follows_schedules():
    """dV = 2ξ(τ − λV) dt with ξ(t), λ(t), against SciPy to 1e-6; frozen weights keep theirs."""
    rate = {"schedule": "power", "value": 2.0, "exponent": 0.5}
    decay = {"schedule": "cosine", "value": 1.0, "time": 1.0}
    problem = small_problem(
        3,
        data=STILL,
        limit={"nodes": [8, 1, 8], "tolerance": 1.0},
        training={
            "horizon": 1.5,
            "temperature": 0.2,
            "learning_rates": {"hidden": [rate, 0.0]},
            "weight_decay": {"hidden": decay},
        },
    )

    def field(t, v):
        level = 0.5 * (1 + np.cos(np.pi * min(t, 1.0)))
        return 2 * 2 * (1 + t) ** -0.5 * (0.2 - level * v)

    exact = solve_ivp(field, (0, 1.5), [1.0], t_eval=problem.times, rtol=1e-10, atol=1e-12)
    found = solve(problem, progress=False).dataset.hidden_variance.values
    np.testing.assert_allclose(found[:, 0], exact.y[0], rtol=1e-6)
    np.testing.assert_allclose(found[:, 1], 1.0, rtol=1e-12)


def test_hidden_variance_sees_a_pulse():
    """V = V_0 e^(−2λs) + (τ/λ)(1 − e^(−2λs)) with the clock s = ∫ξ: 0, half of it, and all."""
    rate = {"schedule": "piecewise", "times": [50.0, 50.2], "values": [0.0, 3.0, 0.0]}
    problem = small_problem(
        2,
        data=STILL,
        limit={"nodes": [8, 8], "tolerance": 1.0},
        training={"horizon": 100.0, "learning_rates": {"hidden": rate, "input": 0.0}} | HEAT,
        observe={"times": [0.0, 50.0, 50.1, 100.0]},
    )
    with jax.enable_x64(True):
        found = hidden_variance(problem)[:, 0]
    clock = np.array([0.0, 0.0, 0.3, 0.6])
    np.testing.assert_allclose(found, decayed(1.0, 1.0, clock), rtol=1e-9)


def test_paths_of_labels_see_a_pulse():
    """Steps are longer than the pulse, and the whole of it is taken: weights shrink by e^(−λs).

    One step of Heun's method is off by (λs)³/6 = 1.3e-6 of them; the noise is 2e-8.
    """
    rate = {"schedule": "piecewise", "times": [5.0, 5.02], "values": [0.0, 1.0, 0.0]}
    problem = small_problem(
        1,
        data=STILL,
        training={
            "horizon": 9.0,
            "learning_rates": {"input": rate, "readout": rate},
            "temperature": 1e-14,
            "weight_decay": 1.0,
        },
        observe={"times": [9.0]},
    )
    with engine(problem, "test", False) as work:
        start = work.placed(work.first_design().with_counts([64]))
        for halvings in (0, 1):
            keys = path_keys(problem.seed, [0])
            path = BrownianPath(work.system, problem.times, 1.0, keys, halvings)
            (end,) = ensembles(path, start)
            first, last = (np.asarray(e.parameters.input) for e in (start, end))
            np.testing.assert_allclose(last, np.exp(-0.02) * first, rtol=1.4e-6, atol=2e-7)


def linear(**training):
    """f(x) = E[a w] x with w ~ N(0, 1), a ~ N(1, 1), at three points of the line."""
    return small_problem(
        network={"activations": ["identity"]},
        data={"source": "table", "inputs": [-1.0, 0.5, 1.0], "targets": [-1.5, 1.0, 1.0]},
        training={"horizon": 2.0} | training,
    )


@pytest.mark.slow
def test_a_linear_problem_follows_its_moments():
    """f = E[aw] x: the moments of (w, a) close; SciPy solves them. Off by at most twice the error.

    dw = −(g a + λw) dt + √2τ dB, g = E_x[(E[aw] x − y) x], and likewise a. The error told is a
    half-width of 95 %, twice it is missed once in 500 times.
    """
    limit = solve(linear(temperature=0.4, weight_decay=0.2), progress=False)
    x, y = np.array([-1.0, 0.5, 1.0]), np.array([-1.5, 1.0, 1.0])

    def field(_, m):
        ww, aa, aw = m
        g = np.mean((aw * x - y) * x)
        both = [-2 * (g * aw + 0.2 * own) + 2 * 0.4 for own in (ww, aa)]
        return [*both, -g * (aa + ww) - 2 * 0.2 * aw]

    exact = solve_ivp(field, (0, 2), [1.0, 2.0, 0.0], t_eval=limit.problem.times, rtol=1e-9)
    off = limit.dataset.output.values[:, :, 0] - exact.y[2][:, None] * x
    assert (np.abs(off) <= 2 * limit.dataset.output_error.values[:, :, 0] + 1e-9).all()
    assert limit.met
    assert limit.dataset.attrs["time_error"] < 2e-3
    assert limit.dataset.attrs["rules"] == ["paths"]
    assert any("Brownian path" in note for note in limit.warnings)


@pytest.mark.slow
def test_as_the_noise_vanishes_the_limit_is_that_of_descent():
    """At τ = 1e-14 even atoms are many nodes, and outputs are those of the flow to 1e-3."""
    law = {"law": "atoms", "points": [[0.8, -0.4, 1.5], [-0.6, 1.1, 0.7]], "weights": [0.3, 0.7]}
    problem = small_problem(network={"activations": ["tanh"], "initial": {"neuron": law}})
    noisy = problem.with_changes(
        training={"temperature": 1e-14, "weight_decay": 0.3}, limit={"tolerance": 1e-3}
    )
    still = problem.with_changes(training={"weight_decay": 0.3})
    found, exact = (solve(p, progress=False) for p in (noisy, still))
    np.testing.assert_allclose(found.dataset.output, exact.dataset.output, atol=1e-3)
    assert found.dataset.attrs["nodes"] == [512]
    assert exact.dataset.attrs["nodes"] == [2]


def test_paths_are_the_same_at_all_steps():
    """Increments of halved steps add up to those of whole ones; they are independent normals.

    Sums of squares and of neighbours' products of 8 × 4,096: within 4.5 standard errors (7e-6).
    """
    with jax.enable_x64(True):
        key, shape = jax.random.key(3), (4096,)
        fine = np.stack([path_normals(key, shape, jnp.float64, k, 2) for k in range(8)])
        coarse = np.stack([path_normals(key, shape, jnp.float64, k, 0) for k in range(2)])
    np.testing.assert_allclose(fine.reshape(2, 4, -1).sum(axis=1) / 2, coarse, atol=1e-12)
    assert abs((fine**2).mean() - 1) < 4.5 * np.sqrt(2 / fine.size)
    assert abs((fine[1:] * fine[:-1]).mean()) < 4.5 / np.sqrt(fine[1:].size)


def test_the_error_falls_with_the_root_of_the_nodes():
    """Spread of 48 replicates at 64, 1,024 nodes: slope −½; its standard error is 0.053."""
    problem = linear(temperature=0.4, weight_decay=0.2)
    spreads = []
    with engine(problem, "test", False) as work:
        for n in (64, 1024):
            designs = [work.first_design().with_counts([n]).replicate(r) for r in range(48)]
            runs = [run.seen["outputs"] for run in work.runs(designs, Steps(1e-3), seen_of_limit)]
            spreads.append(np.std(runs, axis=0, ddof=1)[-1].mean())
    assert abs(np.log(spreads[1] / spreads[0]) / np.log(16) + 0.5) < 0.16


def test_halving_steps_on_the_same_paths_has_its_order():
    """Heun's method with added noise: at least order 1 path by path, order 2 in the mean."""
    problem = linear(temperature=0.4, weight_decay=0.2).with_changes(observe={"times": [2.0]})
    with engine(problem, "test", False) as work:
        start = work.placed(work.first_design().with_counts([256]))
        ends = []
        for halvings in (0, 1, 2, 3, 6):
            path = BrownianPath(work.system, problem.times, 0.25, path_keys(0, [0]), halvings)
            (end,) = ensembles(path, start)
            ends.append(np.asarray(end.parameters.input)[:, 0])
    errors = [np.sqrt(np.mean((end - ends[-1]) ** 2)) for end in ends[:-1]]
    orders = -np.diff(np.log2(errors))
    assert (orders > 0.8).all()
    assert (orders < 2.5).all()


def test_a_step_adds_normal_noise_to_every_parameter():
    """√(2τξε)/κ on input, hidden and readout; none on what is frozen. 4.5 standard errors.

    At x = 0 what a step changes beyond decay is noise. A standard deviation scatters by 1/√(2N):
    false alarm of these nine below 7e-5.
    """
    n, eps, kappa = 64, 0.1, 2.0
    problem = small_problem(
        3,
        data=STILL,
        network={"activations": ["tanh"] * 3, "scale": kappa},
        training={"horizon": eps, "learning_rates": {"input": 2.0, "hidden": [0.5, 0.0]}} | HEAT,
        networks={
            "widths": [n],
            "seeds": 3,
            "states": 3,
            "method": "gd",
            "step": eps,
            "precision": "float64",
        },
        observe={"times": [0.0, eps]},
    )
    states = train(problem, progress=False).states["width_64_64_64"].to_dataset()
    for name, rate in (("input", 2.0), ("hidden_2", 0.5), ("hidden_3", 0.0), ("readout", 1.0)):
        before, after = np.moveaxis(states[name].values, 1, 0)
        noise = after - before * (1 - eps * rate / kappa**2 * 0.7)
        expected = np.sqrt(2 * 0.3 * rate * eps) / kappa
        if rate == 0:
            assert np.abs(noise).max() == 0
            continue
        assert abs(noise.std() / expected - 1) < 4.5 / np.sqrt(2 * noise.size)
        assert abs(noise.mean()) < 4.5 * expected / np.sqrt(noise.size)
        assert abs(np.mean(noise[0] * noise[1])) < 4.5 * expected**2 / np.sqrt(noise[0].size)


def test_hidden_weights_of_networks_have_the_variance_of_the_limit():
    """16,384 weights: within 4 standard errors (6e-5) of the steps' own variance, 1 % of V."""
    n, eps = 128, 1 / 64
    problem = small_problem(
        2,
        data=STILL,
        training={"horizon": 1.0} | HEAT,
        limit={"nodes": [8, 8], "tolerance": 1.0},
        networks={"widths": [n], "seeds": 1, "step": eps},
        observe={"times": 2},
    )
    end = train(problem, progress=False).states["width_128_128"]["hidden_2"].values[-1]
    steps = 1.0
    for _ in range(64):
        steps = steps * (1 - eps * 0.7) ** 2 + 2 * 0.3 * eps
    assert abs(end.var() / steps - 1) < 4 * np.sqrt(2 / end.size)
    limit = solve(problem, progress=False).dataset.hidden_variance.values[-1, 0]
    assert abs(limit / steps - 1) < 0.01


def test_noisy_biases_tell_the_neurons_of_a_middle_layer_apart():
    """All laws are one atom: where labels move under noise there are many nodes, else one."""
    one = {"law": "atoms", "points": [0.5]}
    laws = {"input": one, "hidden": one, "readout": one, "bias": one}
    problem = small_problem(
        3,
        network={"activations": ["tanh"] * 3, "biases": True, "initial": laws},
        training={"horizon": 0.5, "temperature": 0.1},
    )
    frozen = problem.with_changes(training={"learning_rates": {"bias": 0.0}})
    for asked, names in ((problem, ["paths"] * 3), (frozen, ["paths", "exact", "paths"])):
        with engine(asked, "test", False) as work:
            design = work.first_design().with_counts([8] * 3)
            assert [rule.name for rule in design.rules] == names
            sizes = work.placed(design).sizes
            assert sizes == tuple(8 if name == "paths" else 1 for name in names)


@pytest.mark.slow
def test_the_free_energy_of_normal_laws_is_known():
    """Without gradients the law stays normal: ridge, entropy and F within two half-widths.

    The half-widths are 95 % of Student's t with 7 degrees of freedom: twice as much is missed with
    probability 0.2 % by each of the 12 numbers, which share their neurons.
    """
    problem = small_problem(data=STILL, training={"horizon": 2.0} | HEAT, limit={"nodes": [64]})
    found = solve(problem, progress=False).free_energy(progress=False)
    t = problem.times
    variance, mean = decayed(1.0, 1.0, t), np.exp(-0.7 * t)
    ridge = 0.35 * (3 * variance + mean**2)
    entropy = 1.5 * np.log(2 * np.pi * np.e * variance)
    for name, known in (
        ("ridge", ridge),
        ("entropy", entropy),
        ("risk", np.zeros_like(t)),
        ("free_energy", ridge - 0.3 * entropy),
    ):
        assert (np.abs(found[name] - known) <= 2 * found[f"{name}_error"] + 1e-12).all(), name
    assert float(found.free_energy_error.max()) < 0.02


@pytest.mark.slow
def test_the_free_energy_never_increases():
    """With data and from atoms, where it starts infinite; by no more than its error."""
    law = {"law": "atoms", "points": [0.5, -0.5]}
    problem = small_problem(
        network={"activations": ["tanh"], "initial": {"readout": law}},
        training={"horizon": 8.0, "temperature": 0.05, "weight_decay": 0.1},
        limit={"tolerance": 0.05},
        observe={"times": 17},
    )
    found = solve(problem, progress=False).free_energy(progress=False)
    energy, error = found.free_energy.values, found.free_energy_error.values
    assert energy[0] == np.inf
    assert (np.diff(energy[1:]) <= error[1:-1] + error[2:]).all()
    assert energy[1] - energy[-1] > 10 * error[-1]


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2])
def test_networks_come_to_the_limit(depth):
    """Exponent −½ ± 0.1 (the fit scatters by about 0.03; seeds are fixed), means at the limit."""
    hidden = {"hidden": {"law": "normal", "mean": 1.0, "std": 0.5}} if depth > 1 else {}
    problem = small_problem(
        depth,
        network={"activations": ["tanh"] * depth, "initial": hidden},
        data=regression(),
        training={"horizon": 1.0, "temperature": 0.1, "weight_decay": 0.2},
        networks={"widths": [24, 72, 216], "seeds": 60},
        limit={"tolerance": 5e-3},
        observe={"times": 2},
    )
    found = compare(solve(problem, progress=False), train(problem, progress=False))
    fit = found.exponent[-1]
    print(f"\ndepth {depth}: {fit}, offset {found.offset[-1]} of {found.rms[-1]}", end="")
    assert fit is not None
    assert abs(fit["value"] + 0.5) < 0.1
    assert found.offset[-1][-1] < 0.5 * found.rms[-1][-1]


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"training": {"temperature": -1.0}}, "training.temperature: found -1.0"),
        (
            {"training": {"temperature": 0.1, "momentum": {"friction": 1.0}}},
            "training.temperature: found 0.1 beside momentum; the limit of noisy steps is known",
        ),
        ({"training": {"temperature": 0.1, "adam": {}}}, "temperature: found 0.1 beside adam"),
        (
            {"training": {"temperature": 0.1}, "networks": {"widths": [8], "method": "flow"}},
            "networks.method: found 'flow'; as ε → 0 the steps of training.temperature = 0.1",
        ),
        (
            {
                "training": {"temperature": 0.1},
                "network": {"activations": ["tanh"], "output_bias": True},
            },
            "training.temperature: found 0.1; the output bias is a single number",
        ),
        (
            {
                "training": {"temperature": 0.1},
                "network": {"activations": ["tanh"] * 2, "ensembles": ["limit", 4]},
            },
            "training.temperature: found 0.1; the noise of a layer of finite width",
        ),
        (
            {
                "training": {"temperature": 0.1},
                "network": {
                    "activations": ["tanh"] * 2,
                    "layers": ["dense", {"map": "product"}],
                    "initial": {"hidden": {"law": "atoms", "points": [0.5]}},
                },
            },
            "training.temperature: found 0.1; network.layers[1] is not linear in its weights",
        ),
    ],
)
def test_mistakes_are_told(sections, said):
    """With place, finding, and what to do."""
    sections["training"] = {"horizon": 1.0} | sections["training"]
    with pytest.raises(ProblemError) as told:
        small_problem(**sections)
    assert said in str(told.value)


def test_what_noise_is_not_derived_for_is_refused():
    """Each with the reason."""
    problem = small_problem(
        training={"horizon": 0.1, "temperature": 0.1},
        limit={"nodes": [16]},
        networks={"widths": [8], "seeds": 1},
    )
    limit, networks = solve(problem, progress=False), train(problem, progress=False)
    for asked in (
        lambda: predict_fluctuations(problem, progress=False),
        lambda: plan_width(problem, 0.1, progress=False),
        lambda: measure_bias(problem, pairs=2, progress=False),
        lambda: limit.validity(progress=False),
        lambda: limit.kernel(progress=False),
        lambda: solve(problem, progress=False, tracers=networks.states.children["width_8"]),
    ):
        with pytest.raises(ProblemError, match=r"training\.temperature: found 0\.1; "):
            asked()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"training": {"horizon": 0.1}}, "training.temperature: found 0; the free energy"),
        ({"network": {"activations": ["tanh"] * 2}}, "network.activations: found 2 hidden layers"),
        ({"data": table(inputs=4)}, "data: a neuron has 5 moving parameters"),
        (
            {"training": {"horizon": 0.1, "temperature": 0.1, "weight_decay": {"input": 1.0}}},
            "training.weight_decay: the free energy needs one number",
        ),
        (
            {"training": {"horizon": 0.1, "temperature": 0.1, "learning_rates": {"readout": 0.0}}},
            "training.learning_rates: readout is frozen and differs between neurons",
        ),
    ],
)
def test_free_energies_are_refused_with_the_reason(changes, said):
    """Where it is not known to decrease, or its entropy cannot be estimated."""
    sections = {"training": {"horizon": 0.1, "temperature": 0.1}} | changes
    depth = len(sections.get("network", {"activations": [0]})["activations"])
    limit = solve(small_problem(**sections, limit={"nodes": [16] * depth}), progress=False)
    with pytest.raises(ProblemError) as told:
        limit.free_energy(progress=False)
    assert said in str(told.value)


def test_a_run_tells_the_free_energy(tmp_path, capfd):
    """By command, on the page; with two layers the reason why there is none."""
    sections = {
        "training": {"horizon": 1.0} | HEAT,
        "limit": {"tolerance": 0.05},
        "networks": {"widths": [8, 16], "seeds": 2, "method": "gd", "step": 0.1},
        "data": {"source": "table", "inputs": [-1.0, 0.5, 1.0], "targets": [0.5, 0.0, -0.5]},
    }
    for depth in (1, 2):
        file, run = tmp_path / f"{depth}.toml", tmp_path / f"run{depth}"
        file.write_text(small_problem(depth, **sections).to_toml(), encoding="utf-8")
        code, _, err = called(capfd, "run", file, "-o", run)
        assert code == 0, err
        page = (run / "report.html").read_text(encoding="utf-8")
        assert "Brownian paths" in page
        assert ("The free energy R" in page) == (depth == 1)
        assert ("no free energy: network.activations: found 2 hidden" in err) == (depth == 2)
