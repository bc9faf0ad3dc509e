"""The measured bias: against second derivatives, closed forms, and ensembles of networks."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from numpy.polynomial.hermite_e import hermegauss
from scipy.stats import norm

import reference
from conftest import quick_problem, small_problem, table
from widelimit import (
    Problem,
    ProblemError,
    RunFolder,
    RunFolderError,
    measure_bias,
    render_report,
    solve,
    train,
)
from widelimit.command.cli import app
from widelimit.ensemble.layered.placing import coupled_networks

POINTS = {"inputs": [[0.5, 1.0], [1.0, -0.3], [-1.0, 0.5]], "targets": [0.5, -0.5, 1.0]}
ATOMS = [[1.0, 0.3, 2.0], [-0.5, 1.0, 1.0], [0.2, -1.0, -1.5]]
LAW = np.array([0.2, 0.5, 0.3])
HORIZON = 2.0

INTERVALS = norm.isf(0.0005) / norm.isf(0.025)
"""Half-widths of 95 % times this: missed with probability 0.001."""


def inside(found, name, expected, slack=0.0):
    """Whether all values lie in their enlarged intervals, false alarm 0.001 each."""
    far = np.abs(found[name] - expected)
    return bool((far <= INTERVALS * found[f"{name}_error"] + slack).all())


# Against second derivatives


def plain_end(p):
    """Outputs and risk at the horizon for atoms with weights p, by the plain reference."""
    atoms = np.array(ATOMS)
    x, y = np.array(POINTS["inputs"]), np.array(POINTS["targets"])[:, None]
    rates = {"input": 1.0, "readout": 1.0}
    end = reference.rk4(
        [atoms[:, :2], atoms[:, 2:]],
        lambda now: reference.speeds(now, [p], x, y, np.full(3, 1 / 3), rates, False),
        HORIZON,
        24,
    )
    f = reference.outputs(end, [p], x, False)
    return np.append(f[:, 0], 0.5 * ((f - y) ** 2).mean())


def second_order():
    """½ Σ_jk ∂²F/∂p_j∂p_k (p_j δ_jk − p_j p_k) of outputs and risk: n times their shift.

    By second differences along the eigenvectors of the multinomial covariance.
    """
    sizes, directions = np.linalg.eigh(np.diag(LAW) - np.outer(LAW, LAW))
    h, centre, total = 1e-3, plain_end(LAW), np.zeros(4)
    for size, v in zip(sizes, directions.T, strict=True):
        curved = (plain_end(LAW + h * v) - 2 * centre + plain_end(LAW - h * v)) / h**2
        total += 0.5 * size * curved
    return total


def test_atoms_have_the_bias_of_their_second_derivatives():
    """Three atoms under flow; corrections of order 1/n² are below 1 % of the largest bias."""
    neuron = {"law": "atoms", "points": ATOMS, "weights": LAW.tolist()}
    problem = Problem.from_dict(
        {
            "network": {"activations": ["tanh"], "initial": {"neuron": neuron}},
            "data": {"source": "table", **POINTS},
            "training": {"horizon": HORIZON},
            "observe": {"times": [0.0, HORIZON]},
            "networks": {"widths": [256], "method": "flow"},
        }
    )
    found = measure_bias(problem, pairs=1000, progress=False)
    assert "1000 pairs; width 256" in repr(found)
    start, end = found.dataset.isel(time=0), found.dataset.isel(time=1)
    assert float(np.abs(start.bias).max()) < 1e-14  # f is linear in the law of neurons
    expected = second_order() / 256
    largest = np.abs(expected[:3]).max()
    assert float(end.bias_error.max()) < 0.15 * largest
    assert inside(end, "bias", expected[:3, None], 0.01 * largest)
    assert inside(end, "risk_shift", expected[3], 0.01 * abs(expected[3]))
    (line,) = found.at_the_end()
    rms = np.sqrt((expected[:3] ** 2).mean())
    assert line.bias == pytest.approx(rms, abs=4 * line.bias_se)


# At time zero


@pytest.mark.parametrize("width", [4, 32])
def test_random_hidden_weights_have_the_bias_of_a_curved_activation(width):
    """One atom below: z = mh + σh g/√n exactly, so E f_n = E[a] E tanh(z) is a Gaussian integral.

    Exact for every n, the estimator's mean being 2 (E f_n − E f_2n); as n grows that is
    ½ E[a] σ²h² tanh''(mh) / n.
    """
    problem = Problem.from_dict(
        {
            "network": {
                "activations": ["tanh", "tanh"],
                "initial": {
                    "input": {"law": "atoms", "points": [[1.0]]},
                    "hidden": {"law": "normal", "mean": 0.8, "std": 1.5},
                    "readout": {"law": "atoms", "points": [2.0]},
                },
            },
            "data": {"source": "table", "inputs": [1.0, -0.4], "targets": [0.5, 0.0]},
            "training": {"horizon": 1.0},
            "observe": {"times": [0.0]},
            "networks": {"widths": [width], "method": "flow"},
        }
    )
    found = measure_bias(problem, pairs=4000, progress=False).dataset.isel(width=0, time=0)
    g, weights = hermegauss(60)
    h = np.tanh([1.0, -0.4])

    def mean(n):
        values = np.tanh(0.8 * h[:, None] + 1.5 * h[:, None] * g / np.sqrt(n))
        return 2.0 * values @ weights / weights.sum()

    expected = 2 * (mean(width) - mean(2 * width))
    assert inside(found, "bias", expected[:, None])
    value = np.tanh(0.8 * h)
    curvature = -2 * value * (1 - value**2)
    leading = 0.5 * 2.0 * 1.5**2 * h**2 * curvature / width
    if width == 32:
        assert inside(found, "bias", leading[:, None], 0.1 * np.abs(leading).max())
        assert float(found.bias_error.max()) < 0.3 * np.abs(leading).max()


# The halves


def test_halves_are_the_blocks_of_the_wide_network():
    problem = small_problem(3, network={"activations": ["tanh"] * 3, "biases": True})
    with jax.enable_x64(True):
        halves, whole = coupled_networks(
            jax.random.key(2), problem.layers, (30, 20, 10), 2, 1, jnp.float64
        )
    assert whole.sizes == (60, 40, 20)
    joined = whole.parameters
    for place, half in enumerate(halves):
        own = half.parameters
        assert half.sizes == (30, 20, 10)
        cut = [slice(place * n, (place + 1) * n) for n in half.sizes]
        np.testing.assert_array_equal(own.input, joined.input[cut[0]])
        np.testing.assert_array_equal(own.readout, joined.readout[cut[2]])
        for layer in range(2):
            block = joined.hidden[layer][cut[layer], cut[layer + 1]]
            np.testing.assert_array_equal(own.hidden[layer], block)
        for share, n in zip(half.weights, half.sizes, strict=True):
            np.testing.assert_allclose(share, np.full(n, 1 / n))
    for share, n in zip(whole.weights, whole.sizes, strict=True):
        np.testing.assert_allclose(share, np.full(n, 1 / n))
    for rows in (slice(30), slice(30, 60)):
        for columns in (slice(20), slice(20, 40)):  # all four blocks have the law: 5 s.e.
            block = np.asarray(joined.hidden[0][rows, columns])
            assert abs(block.mean() - 0.5) < 5 / np.sqrt(600)
            assert abs(block.std() - 1.0) < 5 / np.sqrt(1200)
    assert len(np.unique(joined.hidden[0])) == 60 * 40


def test_halves_of_kinds_share_them_and_have_their_own_frequencies():
    network, keys = quick_problem().layers, jax.random.split(jax.random.key(0), 400)
    with jax.enable_x64(True):
        (a, b), whole = jax.jit(
            jax.vmap(lambda key: coupled_networks(key, network, (50,), 1, 2, jnp.float64))
        )(keys)
    assert a.sizes == b.sizes == whole.sizes == (3,)
    first, second = np.asarray(a.weights[0]), np.asarray(b.weights[0])
    np.testing.assert_allclose(whole.weights[0], (first + second) / 2)
    np.testing.assert_array_equal(a.parameters.input, whole.parameters.input)
    for found in (first, second):
        np.testing.assert_allclose(50 * found, np.round(50 * found), atol=1e-9)
        assert np.abs(found.mean(0) - 1 / 3).max() < 5 * np.sqrt(2 / 9 / 50 / 400)
    together = np.corrcoef(first[:, 0], second[:, 0])[0, 1]
    assert abs(together) < 5 / np.sqrt(400)


# Steps: f(x) = a x, readouts alone move, no other neuron than w = 1

STEP, COUNT, GAP = 0.05, 20, -1.5


def linear(data, **networks):
    """Targets 2x and a(0) = 0.5: a − 2 is `GAP` and is multiplied by 1 − ε x² in every step."""
    neuron = {"law": "atoms", "points": [[1.0, 2.0 + GAP]]}
    return Problem.from_dict(
        {
            "network": {"activations": ["identity"], "initial": {"neuron": neuron}},
            "data": data,
            "training": {"horizon": STEP * COUNT, "learning_rates": {"input": 0.0}},
            "observe": {"times": [STEP * COUNT], "inputs": [[1.0]]},
            "networks": {"widths": [8], "step": STEP, **networks},
        }
    )


def table_of(*x):
    inputs = np.array(x)[:, None]
    return {"source": "table", "inputs": inputs.tolist(), "targets": (2 * inputs).tolist()}


def difference(factor):
    """2 [factor(ε)^k − factor(ε/2)^(2k)]: the estimator's mean."""
    return 2 * (factor(STEP) ** COUNT - factor(STEP / 2) ** (2 * COUNT))


SQUARES = np.array([0.25, 1.0])


@pytest.mark.parametrize("method", ["gd", "epochs"])
def test_the_step_is_halved_and_both_streams_are_used_up(method):
    """Gradient descent, and epochs of two points after whole epochs: no chance is left."""
    settings = {"method": "gd"} if method == "gd" else {"method": "sgd", "draw": "epochs"}
    found = measure_bias(linear(table_of(0.5, 1.0), **settings), pairs=8, progress=False).dataset
    if method == "gd":
        expected = GAP * difference(lambda step: 1 - step * SQUARES.mean())
        k, t = SQUARES.mean(), STEP * COUNT
        assert expected == pytest.approx(-0.5 * STEP * t * k**2 * np.exp(-k * t) * GAP, rel=0.05)
    else:
        expected = GAP * difference(lambda step: np.sqrt(np.prod(1 - step * SQUARES)))
    assert found.bias.item() == pytest.approx(expected, abs=1e-13)
    assert found.bias_error.item() < 1e-13


@pytest.mark.parametrize("data", ["table", "population"])
def test_noise_of_sgd_has_its_bias(data):
    """E(a − 2) and E(a − 2)² are multiplied by 1 − εE x² and 1 − 2εE x² + ε²E x⁴ in every step."""
    if data == "table":
        problem, second, fourth = linear(table_of(0.5, 1.0)), SQUARES.mean(), (SQUARES**2).mean()
        measured = second
    else:
        source = {
            "source": "population",
            "inputs": {"law": "gaussian", "dimension": 1},
            "target": {"formula": "2*x1"},
        }
        problem, second, fourth = linear(source), 1.0, 3.0
        measured = (problem.dataset.inputs**2).mean()  # the risk is that of a sample
    found = measure_bias(problem, pairs=1000, progress=False).dataset
    bias = GAP * difference(lambda step: 1 - step * second)
    assert inside(found, "bias", bias)
    risk = 0.5 * measured * GAP**2 * difference(lambda s: 1 - 2 * s * second + s**2 * fourth)
    assert inside(found, "risk_shift", risk)
    assert found.risk_shift_error.item() < 0.3 * abs(risk)
    assert found.attrs["draw"] == ("independent" if data == "table" else "fresh")


def test_the_wide_network_takes_its_halves_batches():
    """Targets 0 or 2 at x = 1: noise of size √ε in each network, of size ε in the difference.

    With streams of its own the wide network would leave √ε: pairs would scatter 20 times more.
    """
    noisy = {"source": "table", "inputs": [1.0, 1.0], "targets": [0.0, 4.0]}
    found = measure_bias(linear(noisy), pairs=200, progress=False).dataset
    assert inside(found, "bias", GAP * difference(lambda step: 1 - step))
    each = 2.0 * np.sqrt(STEP / 2)  # standard deviation of one network, about
    scatter = found.bias_error.item() * np.sqrt(200) / 1.96
    assert scatter < 0.1 * each


# What is refused, and results on disk


def test_what_cannot_be_measured_is_refused():
    problem = small_problem(2)
    with pytest.raises(ProblemError, match="halves that have neurons of their own"):
        measure_bias(problem.with_changes(network={"ensembles": ["limit", 4]}))
    with pytest.raises(ValueError, match="pairs: found 1"):
        measure_bias(problem, pairs=1)
    with pytest.raises(ValueError, match="give widths"):
        measure_bias(Problem.from_dict({**problem.as_dict(), "networks": None}))


def test_a_run_folder_keeps_it_and_the_report_shows_it(finished_run, tmp_path, capfd):
    """Measured by the command, read back, drawn; the numbers of all three are the same."""
    whole = RunFolder(finished_run[0])
    file = tmp_path / "problem.toml"
    file.write_text(whole.problem().to_toml(), encoding="utf-8")
    run = tmp_path / "run"
    arguments = ["bias", str(file), "-o", str(run), "--pairs", "6", "--json"]
    assert app(arguments, exit_on_error=False, result_action="return_value") == 0
    answer = json.loads(capfd.readouterr().out)
    folder = RunFolder(run)
    found = folder.load_bias()
    d = found.dataset
    assert (d.attrs["kind"], d.attrs["measured"], d.attrs["pairs"]) == ("bias", 1, 6)
    assert d.bias.dims == ("width", "time", "input", "channel")
    assert d.risk_shift.dims == d.holdout_risk_shift.dims == ("width", "time")
    assert d["widths"].values.tolist() == [[4], [8], [16]]
    end = found.at_the_end()
    assert [answer["risk_shift"][str(n)] for n in (4, 8, 16)] == [line.risk for line in end]
    again = measure_bias(folder.problem(), pairs=6, progress=False)
    xr.testing.assert_allclose(again.dataset, d)
    assert folder.provenance()["bias"]["precision"] == "float64"
    folder.save(whole.load("limit"), 1.0)
    page = render_report(folder)
    assert "<h2>Bias of networks, measured</h2>" in page
    assert f"<td>{end[0].risk:+.3g} ± {end[0].risk_error:.1g}</td>" in page
    other = folder.problem().with_changes(training={"horizon": 0.5})
    with pytest.raises(RunFolderError, match="holds results of another problem"):
        folder.prepare(other, ("bias",), overwrite=False)
    folder.prepare(other, ("bias",), overwrite=True)
    assert not folder.has("bias")


# Against ensembles

NETWORKS, WIDTH = 1500, 64


@pytest.mark.slow
@pytest.mark.parametrize("method", ["flow", "sgd"])
@pytest.mark.parametrize(("depth", "std"), [(1, 0.0), *((d, s) for d in (2, 3) for s in (0, 1, 2))])
@pytest.mark.parametrize("seed", [0, 1])
def test_many_networks_have_the_bias_that_is_measured(depth, std, method, seed):
    """Two data sets for each law and method, 28 problems; 1,500 networks of width 64 each.

    The risk's shift has the sign of E R_n − R wherever that exceeds 3 of its standard errors, and
    the shifts of the risk and of the mean output along the residual f − y agree within 20 % or 4
    standard errors of the difference (false alarm 6e-5 each at most). At depth 3 the terms of
    order 1/n² are 15 … 40 % of the bias at width 64: 3,000 networks of width 128 there.
    """
    width, count = (2 * WIDTH, 2 * NETWORKS) if depth == 3 else (WIDTH, NETWORKS)
    initial = {} if depth == 1 else {"hidden": {"law": "normal", "mean": 1.0, "std": float(std)}}
    problem = small_problem(
        depth,
        network={"activations": ["tanh"] * depth, "initial": initial},
        data=table(seed=seed),
        observe={"times": [3.0]},
        training={"horizon": 3.0},
        limit={"tolerance": 3e-4},
        networks={"widths": [width], "seeds": count, "method": method},
    )
    limit = solve(problem, progress=False).dataset.isel(time=0)
    networks = train(problem, progress=False).dataset.isel(time=0, width=0)
    found = measure_bias(problem, pairs=128, progress=False).dataset.isel(time=0, width=0)
    along = limit.output - problem.dataset.targets
    along = along / np.sqrt((along**2).sum())
    projected = (networks.output * along).sum(["input", "channel"])
    rows = {
        "risk": (networks.risk - limit.risk, found.risk_shift, found.risk_shift_error),
        "output": (
            projected - float((limit.output * along).sum()),
            (found.bias * along).sum(),
            (found.bias_error * np.abs(along)).sum(),  # errors at inputs may add up
        ),
    }
    for name, (ensemble, shift, error) in rows.items():
        truth, se = float(ensemble.mean()), float(ensemble.std(ddof=1)) / np.sqrt(count)
        both = np.hypot(se, float(error) / 1.96)
        print(
            f"\n{depth} layers, std {std}, {method}, data {seed}: {name} {truth:+.5f} ± {se:.5f}, "
            f"measured {float(shift):+.5f} ± {float(error) / 1.96:.5f} (standard errors)",
            end="",
        )
        if abs(truth) > 3 * se:
            assert np.sign(truth) == np.sign(float(shift))
        assert abs(float(shift) - truth) < max(0.2 * abs(truth), 4 * both)
