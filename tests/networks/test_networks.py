"""Sampled networks: updates against autograd, draws, methods, and the approach to the limit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem, table
from widelimit import Diverged, compare, train
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.layered.placing import sampled_network
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.limit.solve import solved
from widelimit.motion.descent import descend
from widelimit.motion.draws import BLOCK, Drawn, Sampling
from widelimit.networks.course import network_keys


def plain_output(parameters, x):
    """The network of the papers, as one would write it in any framework."""
    h = x @ parameters["W"][0].T
    for layer in range(len(parameters["n"])):
        if layer > 0:
            h = h @ parameters["W"][layer] / parameters["n"][layer - 1]
        if parameters["b"] is not None:
            h = h + parameters["b"][layer]
        h = jnp.tanh(h)
    return h @ parameters["A"] / parameters["n"][-1] + parameters["a0"]


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_updates_are_multiplier_times_autograd(depth, biased):
    """SGD's move is ε ξ · multiplier · autograd gradient of the plain network, to rounding."""
    widths = (5, 7, 4, 6)[:depth]
    problem = small_problem(
        depth,
        network={"activations": ["tanh"] * depth, "biases": biased, "output_bias": biased}
        | ({"initial": {"bias": {"law": "normal"}}} if biased else {}),
        networks={"widths": [list(widths)] if depth > 1 else [5]},
    )
    with jax.enable_x64(True):
        system = System.of(problem, jnp.float64)
        ensemble, _ = sampled_network(jax.random.key(1), problem.layers, widths, 2, 1, jnp.float64)
        p = ensemble.parameters
        plain = {
            "W": [p.input, *p.hidden],
            "A": p.readout,
            "b": None if p.biases is None else list(p.biases),
            "a0": jnp.zeros(1) if p.output_bias is None else p.output_bias,
        }

        def loss(plain):
            f = plain_output({**plain, "n": widths}, system.batch.inputs)
            return 0.5 * jnp.mean(jnp.sum((f - system.batch.targets) ** 2, axis=1))

        slope = jax.grad(loss)(plain)
        move = system.dynamics.velocity(system.equations, ensemble, system.batch)[0]
        pairs = [(move.input, widths[0] * slope["W"][0])]
        pairs += [
            (m, a * b * s)
            for m, a, b, s in zip(move.hidden, widths, widths[1:], slope["W"][1:], strict=False)
        ]
        pairs += [(move.readout, widths[-1] * slope["A"])]
        if biased:
            assert move.biases is not None
            assert move.output_bias is not None
            pairs += [(m, n * s) for m, n, s in zip(move.biases, widths, slope["b"], strict=True)]
            pairs += [(move.output_bias, slope["a0"])]
        for found, expected in pairs:
            np.testing.assert_allclose(found, -expected, rtol=1e-11, atol=1e-13)


def test_sgd_is_the_plain_loop():
    """Two hundred steps of batch 3 against a loop with autograd on the same rows."""
    problem = small_problem(2, networks={"widths": [6], "precision": "float64"})
    with jax.enable_x64(True):
        system = System.of(problem, jnp.float64)
        key, widths, step = jax.random.key(3), (6, 6), 0.1
        start, _ = sampled_network(key, problem.layers, widths, 2, 1, jnp.float64)
        rows = Sampling("independent", 3, True).rows(key, system.batch.weights, 0)
        p = start.parameters
        plain = {"W": [p.input, *p.hidden], "A": p.readout, "b": None, "a0": jnp.zeros(1)}
        slope = jax.jit(
            jax.grad(
                lambda q, x, y: (
                    0.5 * jnp.mean(jnp.sum((plain_output({**q, "n": widths}, x) - y) ** 2, axis=1))
                )
            )
        )
        for row in rows[:200]:
            g = slope(plain, system.batch.inputs[row], system.batch.targets[row])
            plain["W"] = [
                plain["W"][0] - step * 6 * g["W"][0],
                plain["W"][1] - step * 36 * g["W"][1],
            ]
            plain["A"] = plain["A"] - step * 6 * g["A"]
        many = jax.tree.map(lambda leaf: leaf[None], start)
        end = descend(
            system.equations,
            system.dynamics,
            Drawn(system.batch, rows[None]),
            many,
            jnp.asarray(200),
            jnp.asarray(step),
        ).parameters
        np.testing.assert_allclose(end.hidden[0][0], plain["W"][1], rtol=1e-9)
        np.testing.assert_allclose(end.readout[0], plain["A"], rtol=1e-9)


def test_replicating_and_permuting_neurons_changes_nothing():
    """At fixed ε, on any data stream: the output depends on the measure of neurons alone."""
    problem = small_problem(2, networks={"widths": [4], "precision": "float64"})
    with jax.enable_x64(True):
        system = System.of(problem, jnp.float64)
        base, _ = sampled_network(jax.random.key(0), problem.layers, (4, 3), 2, 1, jnp.float64)
        order, other = np.array([2, 0, 3, 1] * 2), np.array([1, 2, 0] * 3)
        p = base.parameters
        copied = Ensemble(
            (jnp.full(8, 1 / 8), jnp.full(9, 1 / 9)),
            LayerParameters(
                p.input[order], (p.hidden[0][order][:, other],), p.readout[other], None, None
            ),
        )
        rows = Sampling("independent", 1, True).rows(jax.random.key(5), system.batch.weights, 0)
        ends = [
            descend(
                system.equations,
                system.dynamics,
                Drawn(system.batch, rows[None]),
                jax.tree.map(lambda leaf: leaf[None], e),
                jnp.asarray(50),
                jnp.asarray(0.1),
            )
            for e in (base, copied)
        ]
        np.testing.assert_allclose(
            ends[1].parameters.input[0], ends[0].parameters.input[0][order], atol=1e-12
        )


def test_same_networks_whatever_else_is_in_the_sweep():
    few = train(small_problem(2, networks={"widths": [16], "seeds": 2}), progress=False)
    many = train(small_problem(2, networks={"widths": [8, 16, 24], "seeds": 4}), progress=False)
    a = few.dataset.output.sel(width=16)
    b = many.dataset.output.sel(width=16).isel(seed=slice(0, 2))
    np.testing.assert_allclose(a, b, atol=1e-5)
    one, other = (run.states["width_16_16"].to_dataset()["input"][0] for run in (few, many))
    np.testing.assert_array_equal(one, other)
    assert not np.allclose(b.isel(seed=0), b.isel(seed=1))


def test_keys_are_folded_as_documented():
    key = jax.random.fold_in(jax.random.fold_in(jax.random.fold_in(jax.random.key(7), 5), 3), 2)
    found = jax.random.key_data(network_keys(jax.random.key(7), (5, 3), 4)[2])
    np.testing.assert_array_equal(found, jax.random.key_data(key))


@pytest.mark.parametrize("draw", ["independent", "distinct", "epochs"])
def test_draws(draw):
    count, size = 10, 4
    weights = jnp.full(count, 0.1)
    sampling = Sampling(draw, size, True)
    rows = np.asarray(sampling.rows(jax.random.key(0), weights, 0))
    later = np.asarray(sampling.rows(jax.random.key(0), weights, 100))
    np.testing.assert_array_equal(rows[100:], later[: BLOCK - 100])
    assert rows.shape == (BLOCK, size)
    if draw == "distinct":
        assert all(len(set(row)) == size for row in rows)
    if draw == "epochs":
        epochs = rows.ravel()[: BLOCK * size // count * count].reshape(-1, count)
        assert all(sorted(epoch) == list(range(count)) for epoch in epochs)
    # Each point has mean share 1/10; sd of the share ≤ 0.3/√(512·4): five of them, p < 1e-5.
    share = np.bincount(rows.ravel(), minlength=count) / rows.size
    assert np.abs(share - 0.1).max() < 5 * 0.3 / np.sqrt(rows.size)


def test_weighted_draws_follow_the_weights():
    weights = jnp.asarray([0.5, 0.1, 0.4])
    rows = Sampling("independent", 8, False).rows(jax.random.key(0), weights, 0)
    share = np.bincount(np.asarray(rows).ravel(), minlength=3) / rows.size
    # sd of a share ≤ 0.5/√4096 = 0.0078; five of them, false alarm < 1e-5
    np.testing.assert_allclose(share, weights, atol=5 * 0.0078)


def test_gd_and_flow_agree_as_the_step_shrinks():
    """Full-batch descent is Euler's method for the flow: its error is of first order in ε."""
    errors, steps = [], [0.1, 0.05, 0.025]
    base = small_problem(2, networks={"widths": [12], "seeds": 3, "precision": "float64"})
    flow = train(base.with_changes(networks={"method": "flow"}), progress=False)
    for step in steps:
        changes = {"method": "gd", "step": step}
        found = train(base.with_changes(networks=changes), progress=False)
        errors.append(float(np.sqrt(((found.dataset.output - flow.dataset.output) ** 2).mean())))
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert abs(slope - 1) < 0.15


def test_atomic_networks_cost_their_atoms():
    """Width 10^6 by multinomial frequencies: N·Var of the output as for sampled neurons."""
    neuron = {"law": "atoms", "points": [[1.0, 0.5, 1.0], [-0.5, 1.0, 2.0], [0.2, -1.0, -1.0]]}
    problem = small_problem(
        network={"activations": ["tanh"], "initial": {"neuron": neuron}},
        networks={"widths": [1_000_000], "seeds": 400, "method": "flow", "precision": "float64"},
        training={"horizon": 0.5},
    )
    networks = train(problem, progress=False)
    start = networks.dataset.output.values[0, :, 0, :, 0]
    points, x = np.array(neuron["points"]), problem.dataset.inputs
    phi = points[:, 2:] * np.tanh(points[:, :2] @ x.T)  # (atom, input)
    expected = phi.var(axis=0) / 1e6
    # 400 draws: the variance's relative sd is √(2/400) = 0.071; five of them, false alarm < 1e-5
    np.testing.assert_allclose(start.var(axis=0, ddof=1), expected, rtol=5 * 0.071)
    distance = compare(solved(problem, progress=False), networks).rms[-1][0]
    assert distance < 5e-3


def test_atomic_layers_next_to_random_weights_are_not_merged():
    """Neurons with equal marks but random hidden weights are different neurons."""
    atoms = {"law": "atoms", "points": [[1.0, 0.0]]}
    network = {"activations": ["tanh"] * 2, "initial": {"input": atoms}}
    networks = train(small_problem(2, network=network), progress=False)
    assert networks.states["width_32_32"].sizes["neuron_1"] == 32


def test_widths_may_differ_by_layer():
    problem = small_problem(2, networks={"widths": [[8, 4], [16, 8]], "seeds": 2})
    networks = train(problem, progress=False)
    np.testing.assert_array_equal(networks.dataset["widths"], [[8, 4], [16, 8]])
    np.testing.assert_array_equal(networks.dataset["width"], [8, 16])


def test_divergence_is_told_with_its_cause():
    problem = small_problem(
        network={"activations": ["relu"]},
        networks={"widths": [16], "step": 50.0},
        training={"horizon": 10000.0},
    )
    with pytest.raises(Diverged, match=r"a network of width 16 diverged.*networks.step"):
        train(problem, progress=False)


def test_train_needs_networks():
    raw = {"network": {"activations": ["tanh"]}, "data": table(), "training": {"horizon": 1.0}}
    from widelimit import Problem

    with pytest.raises(ValueError, match=r"no \[networks\] section"):
        train(Problem.from_dict(raw))


def exponent_at_the_end(depth, method, widths, tolerance=1e-3):
    """Fitted exponent for four targets at 16 points.

    Hidden weights have law N(1, 0.5²). At depth L ≥ 3 corrections of relative order 1/n are larger
    for the default N(0.5, 1): for linear units and depth 3 the variance at t = 0 is there
    (v/16n)(1 + 5/n + 44/n²), the slope between 64 and 512 −0.518.
    """
    rng = np.random.default_rng(1)
    x = rng.normal(size=(16, 2))
    y = [np.sin(x[:, 0]), np.cos(2 * x[:, 1]), x[:, 0] * x[:, 1] / 2, np.tanh(x[:, 0] - x[:, 1])]
    hidden = {"hidden": {"law": "normal", "mean": 1.0, "std": 0.5}} if depth > 1 else {}
    problem = small_problem(
        depth,
        network={"activations": ["tanh"] * depth, "initial": hidden},
        data={"source": "table", "inputs": x.tolist(), "targets": np.stack(y, 1).tolist()},
        training={"horizon": 0.5},
        limit={"tolerance": tolerance},
        networks={"widths": widths, "seeds": 100, "method": method},
        observe={"times": 2},
    )
    return compare(solved(problem, progress=False), train(problem, progress=False)).exponent[-1]


def test_networks_approach_the_limit_as_the_square_root():
    """Exponent −1/2 ± 0.1 with 100 seeds (the fit scatters by 0.02 … 0.03; seeds are fixed).

    One layer up to width 256, for speed: the slow test goes from 64 to 1,024 in six cases.
    """
    fit = exponent_at_the_end(1, "sgd", [32, 91, 256], 3e-3)
    assert abs(fit["value"] + 0.5) < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["flow", "sgd"])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_exponent_up_to_width_1024(depth, method):
    fit = exponent_at_the_end(depth, method, [64, 128, 256, 512, 1024])
    print(f"\ndepth {depth}, {method}: {fit}")
    assert abs(fit["value"] + 0.5) < 0.1


def test_as_many_networks_are_kept_whole_as_asked():
    """What is kept is what the outputs were made from: f = mean of a tanh(w·x), seed by seed."""
    problem = small_problem(1, networks={"widths": [16], "seeds": 5, "states": 3})
    networks = train(problem, progress=False)
    kept = networks.states["width_16"].to_dataset()
    assert kept["input"].dims[:2] == ("seed", "time")
    assert kept.sizes["seed"] == 3
    phi = np.tanh(kept["input"].values @ problem.dataset.inputs.T)  # (seed, time, neuron, point)
    found = np.einsum("stnx,stnc->stxc", phi, kept["readout"].values) / 16
    np.testing.assert_allclose(found, networks.dataset.output.values[0, :3], atol=1e-6)
    one = train(problem.with_changes(networks={"states": 1}), progress=False)
    first = one.states["width_16"]["input"].values
    np.testing.assert_array_equal(first, kept["input"].values[0])


def test_outputs_are_computed_in_pieces_that_fit(monkeypatch):
    """Two points at a time, of eight: the same outputs."""
    problem = small_problem(networks={"widths": [4], "seeds": 2, "precision": "float64"})
    whole = train(problem, progress=False).dataset.output
    monkeypatch.setattr("widelimit.networks.course.VALUES", 16)
    pieces = train(problem, progress=False).dataset.output
    np.testing.assert_allclose(pieces, whole, atol=1e-14)
