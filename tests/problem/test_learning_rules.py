"""Learning rules: closed forms and plain re-derivations of limits, plain loops of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import expm

from conftest import small_problem, table
from widelimit import ProblemError, predict_fluctuations, solve, train

ATOMS = [[0.8, -0.4, 1.5], [-0.6, 1.1, 0.7], [0.3, 0.9, -1.2]]
"""(w_1, w_2, a) of three neurons of weights 0.5, 0.3, 0.2."""

P = np.array([0.5, 0.3, 0.2])


def atomic(training, **sections):
    """One hidden layer with three kinds of neurons."""
    law = {"law": "atoms", "points": ATOMS, "weights": P.tolist()}
    network = {"activations": ["tanh"], "initial": {"neuron": law}}
    return small_problem(network=network, training={"horizon": 2.0} | training, **sections)


def gradients(theta, x, y):
    """G_z of w `(point, neuron, 2)` and of a `(point, neuron)` at every point, written out."""
    w, a = theta
    h = np.tanh(x @ w.T)
    r = h @ (P * a) - y
    return (r[:, None] * a * (1 - h**2))[:, :, None] * x[:, None, :], r[:, None] * h


def test_decay_without_data_is_an_exponential():
    """Zero inputs give zero gradients: θ(t) = θ(0) e^(−ξλt), each kind with numbers of its own."""
    problem = atomic(
        {"weight_decay": {"input": 0.7, "readout": 0.2}, "learning_rates": {"input": 2.0}},
        data={"source": "table", "inputs": [[0.0, 0.0]], "targets": [1.0]},
    )
    states = solve(problem, progress=False).states["limit"].to_dataset().isel(time=-1)
    atoms = np.array(ATOMS)
    np.testing.assert_allclose(states.input.values, atoms[:, :2] * np.exp(-2.8), rtol=1e-7)
    np.testing.assert_allclose(states.readout.values, atoms[:, 2:] * np.exp(-0.4), rtol=1e-7)


def test_decay_of_all_parameters_shrinks_the_mean_of_hidden_weights():
    """One number decays everything; the mean of hidden-to-hidden weights too."""
    problem = small_problem(
        2,
        data={"source": "table", "inputs": [[0.0, 0.0]], "targets": [0.0]},
        training={"horizon": 1.0, "weight_decay": 0.5},
        limit={"tolerance": 1e-6},
    )
    hidden = solve(problem, progress=False).states["limit"]["hidden_2"].values
    np.testing.assert_allclose(hidden[-1], 0.5 * np.exp(-0.5), rtol=1e-7)


def test_heavy_ball_with_frozen_features_is_a_damped_oscillator():
    """f'' = −γ f' − K (f − y) with K = E[φ(x) φ(x')] / n: a matrix exponential."""
    frozen = {"input": 0.0, "readout": 3.0}
    problem = atomic({"momentum": {"friction": 0.6}, "learning_rates": frozen})
    data, count = problem.dataset, len(problem.dataset.inputs)
    h = np.tanh(data.inputs @ np.array(ATOMS)[:, :2].T)
    kernel = 3.0 * (h * P) @ h.T / count
    start = h @ (P * np.array(ATOMS)[:, 2]) - data.targets[:, 0]
    zero = np.zeros((count, count))
    field = np.block([[zero, np.eye(count)], [-kernel, -0.6 * np.eye(count)]])
    limit = solve(problem, progress=False).dataset
    for k, t in enumerate(limit.time.values):
        f = (expm(t * field) @ np.append(start, np.zeros(count)))[:count] + data.targets[:, 0]
        np.testing.assert_allclose(limit.output.values[k, :, 0], f, atol=1e-7)


@pytest.mark.parametrize(("first", "batch"), [(5.0, 1), (5.0, 4), (5.0, "all"), ("none", 1)])
def test_slow_moments_against_scipy(first, batch):
    """dm = κ₁(G − m), dq = κ₂(G² + Var(G_z)/b − q), dθ = −m/(√q + δ), written out for atoms."""
    adam = {"first": first, "second": 2.0, "delta": 0.1, "batch": batch}
    own = {"method": "gd"} if batch == "all" else {"batch": batch}
    problem = atomic({"adam": adam}, networks={"widths": [8]} | own)
    slow = 0.0 if first == "none" else first
    x, y = problem.dataset.inputs, problem.dataset.targets[:, 0]

    atoms = np.array(ATOMS)
    shapes = [(3, 2), (3,)] * 3

    def arrays(flat):
        stops = np.cumsum([int(np.prod(shape)) for shape in shapes])
        return [a.reshape(s) for a, s in zip(np.split(flat, stops[:-1]), shapes, strict=True)]

    def field(_, flat):
        state = arrays(flat)
        theta, m, q = state[:2], state[2:4], state[4:]
        single = gradients(theta, x, y)
        mean = [s.mean(axis=0) for s in single]
        moves = m if slow else mean
        ahead = [-v / (np.sqrt(np.maximum(s, 0)) + 0.1) for v, s in zip(moves, q, strict=True)]
        rise = [slow * (g - kept) for g, kept in zip(mean, m, strict=True)]
        share = 0.0 if batch == "all" else 1 / batch
        noise = [s.var(axis=0) * share for s in single]
        squares = [2.0 * (g**2 + v - s) for g, v, s in zip(mean, noise, q, strict=True)]
        return np.concatenate([part.ravel() for part in (*ahead, *rise, *squares)])

    start = np.concatenate([atoms[:, :2].ravel(), atoms[:, 2], np.zeros(18)])
    path = solve_ivp(field, (0.0, 2.0), start, rtol=1e-8, atol=1e-10)
    end = arrays(path.y[:, -1])
    h = np.tanh(x @ end[0].T)
    found = solve(problem, progress=False).dataset.output.values[-1, :, 0]
    np.testing.assert_allclose(found, h @ (P * end[1]), atol=2e-5)  # √q starts with infinite slope


RULES = {
    "decay": {"weight_decay": 0.3},
    "momentum": {"momentum": {"friction": 1.5}, "weight_decay": 0.1},
    "adam": {"adam": {"batch": "all", "delta": 0.05}, "weight_decay": 0.1},
}


@pytest.mark.parametrize("name", RULES)
def test_steps_are_those_of_a_plain_loop(name):
    """Three steps on all data, in the form in which libraries write the rule, by jax.grad."""
    n, eps = 6, 0.1
    settings = {"widths": [n], "seeds": 1, "method": "gd", "step": eps, "precision": "float64"}
    problem = small_problem(
        2,
        networks=settings,
        training={"horizon": 0.3} | RULES[name],
        observe={"times": 4},
    )
    states = train(problem, progress=False).states["width_6_6"].to_dataset()
    names, multipliers = ("input", "hidden_2", "readout"), (n, n * n, n)

    def risk(theta):
        h = jnp.tanh(jnp.tanh(x @ theta[0].T) @ theta[1] / n)
        return 0.5 * jnp.mean(jnp.sum((h @ theta[2] / n - y) ** 2, axis=1))

    with jax.enable_x64(True):
        x, y = jnp.asarray(problem.dataset.inputs), jnp.asarray(problem.dataset.targets)
        theta = [jnp.asarray(states[k].values[0]) for k in names]
        m, q = [0.0] * 3, [0.0] * 3
        for step in range(3):
            slopes = jax.grad(risk)(theta)
            for k, (slope, many) in enumerate(zip(slopes, multipliers, strict=True)):
                g = many * slope
                if name == "decay":
                    theta[k] = theta[k] - eps * (g + 0.3 * theta[k])
                elif name == "momentum":
                    m[k] = (1 - 1.5 * eps) * m[k] + g + 0.1 * theta[k]
                    theta[k] = theta[k] - eps**2 * m[k]
                else:
                    m[k] = (1 - 10 * eps) * m[k] + 10 * eps * g
                    q[k] = (1 - eps) * q[k] + eps * g**2
                    moved = m[k] / (jnp.sqrt(q[k]) + 0.05) + 0.1 * theta[k]
                    theta[k] = theta[k] - eps * moved
            for k, own in zip(names, theta, strict=True):
                np.testing.assert_allclose(states[k].values[step + 1], own, rtol=1e-9, atol=1e-12)


def test_label_noise_leaves_the_mean_and_adds_scatter():
    """Of 400 networks with the same features, SGD on one point: Var f has the noise's part.

    One step on f = mean of a φ with frozen φ: f(1) − f(0) = ε K (y + η − f(0)), η ~ N(0, v). The
    sample variance is within 5 of its standard errors √(2/399) (false alarm 6e-7).
    """
    v, eps = 0.7, 0.25
    problem = atomic(
        {"label_noise": v, "horizon": eps, "learning_rates": {"input": 0.0}},
        data={"source": "table", "inputs": [[0.5, 1.0]], "targets": [0.4]},
        observe={"times": [eps]},
        networks={"widths": [64], "seeds": 400, "step": eps, "precision": "float64", "states": 400},
    )
    found = train(problem, progress=False)
    weights = found.states["width_64"]["weight_1"].values
    h = np.tanh(np.array(ATOMS)[:, :2] @ [0.5, 1.0])
    kernel, start = weights @ h**2, weights @ (h * np.array(ATOMS)[:, 2])
    noise = (found.dataset.output.values.ravel() - start) / (eps * kernel) - (0.4 - start)
    assert abs(noise.mean()) < 5 * np.sqrt(v / 400)
    assert abs(noise.var(ddof=1) / v - 1) < 5 * np.sqrt(2 / 399)


def test_fluctuations_of_adam_are_refused():
    """Its flow has no linearisation at time zero."""
    with pytest.raises(ProblemError, match=r"training\.adam: √q starts at zero"):
        predict_fluctuations(atomic({"adam": {}}), [32], progress=False)


def test_label_noise_scatters_like_its_closed_form():
    """Frozen features: f' = −M (f − y), M = K/n; labels add (ε/b) v n ∫ |row of e^(−Ms) M|² ds.

    M being symmetric, the integral is M (1 − e^(−2Mt))/2; the rest is that without label noise.
    """
    frozen = {"learning_rates": {"input": 0.0}}
    networks = {"widths": [64], "step": 0.02, "batch": 2}
    plain, noisy = (
        predict_fluctuations(
            atomic(frozen | {"label_noise": v}, networks=networks), progress=False
        ).dataset
        for v in (0.0, 0.7)
    )
    problem = atomic(frozen)
    count = len(problem.dataset.inputs)
    h = np.tanh(problem.dataset.inputs @ np.array(ATOMS)[:, :2].T)
    m = (h * P) @ h.T / count
    expected = 0.02 / 2 * 0.7 * count * np.diag(m @ (np.eye(count) - expm(-4.0 * m)) / 2)
    added = (noisy.variance - plain.variance).sel(source="sgd", time=2.0).values[0, :, 0]
    np.testing.assert_allclose(added, expected, rtol=1e-4)
    assert (noisy.attrs["way"], plain.attrs["way"]) == ("reverse", "lyapunov")


@pytest.mark.parametrize(
    ("training", "networks", "said"),
    [
        ({"momentum": 0.9}, {}, "training.momentum: found 0.9; give { friction = γ }"),
        ({"momentum": {"friction": 0.0}}, {}, "training.momentum.friction: found 0.0"),
        ({"momentum": {"friction": 1.0}, "adam": {}}, {}, "training.adam: found beside momentum"),
        ({"adam": {"batch": 2}}, {}, "training.adam.batch: found 2; networks use 1"),
        ({"adam": {}}, {"method": "gd"}, "training.adam.batch: found 1; networks use 'all'"),
        ({"adam": {}}, {"draw": "distinct"}, "networks.draw: found 'distinct'; the limit of Adam"),
        ({"weight_decay": -1.0}, {}, "training.weight_decay"),
        ({"weight_decay": {"hidden": 1.0}}, {}, "there are no hidden-to-hidden weights at depth 1"),
        ({"label_noise": 0.1}, {"method": "gd"}, "networks.method: found 'gd'"),
        ({"label_noise": 0.1, "loss": "huber"}, {}, "training.label_noise: the limit stays"),
    ],
)
def test_mistakes_are_told(training, networks, said):
    """With place, finding, and what to do."""
    with pytest.raises(ProblemError) as told:
        small_problem(
            data=table(),
            training={"horizon": 1.0} | training,
            networks={"widths": [8], "seeds": 1} | networks,
        )
    assert said in str(told.value)
