"""Weights given as functions of labels: against the plain equations, and in networks."""

import jax.numpy as jnp
import numpy as np
import pytest

import reference
from conftest import small_problem
from widelimit import ProblemError, RunFolder, compare, train
from widelimit.limit.solve import solved
from widelimit.problem.network.embedding import Features, Given, Kernel, RankOne

READOUTS = [[0.5], [1.5], [-0.4]]
INPUTS = [[0.8, -0.4], [-1.1, 0.6]]


def _own_labels(lower, upper):
    """w_2^0(c', c) from the input weights and readouts themselves: no latent coordinates."""
    return jnp.tanh(lower["input"] @ jnp.asarray([1.0, -0.5]))[:, None] * upper["readout"][:, 0]


def _given():
    atoms = {"law": "atoms", "weights": None}
    initial = {
        "input": {**atoms, "points": INPUTS},
        "readout": {**atoms, "points": READOUTS},
        "hidden": [Given(function=_own_labels, size=0)],
    }
    return small_problem(2, network={"activations": ["tanh"] * 2, "initial": initial})


def test_a_function_of_atoms_is_a_finite_system():
    problem = _given()
    limit = solved(problem, progress=False)
    assert limit.dataset.attrs["nodes"] == [2, 3]
    w, a = np.array(INPUTS), np.array(READOUTS)
    theta = [w, np.tanh(w @ [1.0, -0.5])[:, None] * a[:, 0], a]
    p = [np.full(2, 1 / 2), np.full(3, 1 / 3)]
    x, y = problem.dataset.inputs, problem.dataset.targets
    rates, shares = {"input": 1.0, "hidden": [1.0], "readout": 1.0}, np.full(len(x), 1 / len(x))
    end = reference.rk4(
        theta, lambda t: reference.speeds(t, p, x, y, shares, rates, False), 1.0, 100
    )
    expected = reference.outputs(end, p, x, False)
    np.testing.assert_allclose(limit.dataset.output.values[-1], expected, atol=1e-7)


@pytest.mark.parametrize(
    ("law", "formula"),
    [
        (RankOne(mean=0.5, scale=2.0), lambda a, b: 0.5 + 2.0 * np.tanh(a) @ np.tanh(b).T),
        (Features(mean=0.5, scale=2.0, size=2), lambda a, b: 0.5 + 2.0 * np.tanh(a @ b.T)),
        (Kernel(mean=1.0, length=0.3), lambda a, b: 1 + np.exp(-((a - b.T) ** 2) / 0.18)),
    ],
)
def test_networks_start_from_the_function_of_their_labels(law, formula):
    """One label a neuron, below and above: input weights in layer 1, normals in the others."""
    problem = small_problem(
        3,
        network={"activations": ["tanh"] * 3, "initial": {"hidden": law.model_dump()}},
        networks={"widths": [[30, 20, 10]], "seeds": 1, "states": 1},
    )
    neurons = train(problem, progress=False).states["width_30_20_10"]
    nu = [neurons[f"label_{layer}"].values[:, : law.size] for layer in (1, 2, 3)]
    np.testing.assert_array_equal(nu[0], neurons["input"].values[0, :, : law.size])
    for layer in (2, 3):
        found = neurons[f"hidden_{layer}"].values[0]
        np.testing.assert_allclose(found, formula(nu[layer - 2], nu[layer - 1]), atol=1e-5)


def test_labels_are_standard_normal():
    """1,600 coordinates: five standard errors (false alarm 6e-7 each)."""
    hidden = Features(size=2).model_dump()
    problem = small_problem(
        2,
        network={"activations": ["tanh"] * 2, "initial": {"hidden": hidden}},
        networks={"widths": [800], "seeds": 1},
    )
    label = train(problem, progress=False).states["width_800_800"]["label_2"].values[:, :2]
    assert abs(label.mean()) < 5 / np.sqrt(label.size)
    assert abs(label.var() - 1) < 5 * np.sqrt(2 / label.size)


def _features(**sections):
    hidden = {"law": "embedding", "family": "features", "mean": 1.0, "scale": 0.5}
    network = {"activations": ["tanh"] * 3, "initial": {"hidden": hidden}}
    return small_problem(3, network=network, **sections)


def test_layers_do_not_collapse():
    limit = solved(_features(), progress=False)
    assert min(limit.dataset.attrs["nodes"]) > 1
    assert not any("alike" in note for note in limit.warnings)


@pytest.mark.slow
def test_networks_approach_the_limit():
    """Exponent −½ in the width, three hidden layers; five standard errors (false alarm 6e-7)."""
    settings = {"widths": [32, 64, 128, 256], "seeds": 300, "method": "flow"}
    problem = _features(networks=settings, limit={"tolerance": 2e-3})
    limit = solved(problem, progress=False)
    assert limit.met
    fit = compare(limit, train(problem, progress=False)).exponent[-1]
    assert abs(fit["value"] + 0.5) < 5 * (fit["high"] - fit["low"]) / 4
    assert fit["high"] - fit["low"] < 0.15


def test_functions_stay_in_python(tmp_path):
    problem = _given()
    assert problem.with_changes(seed=3).network == problem.network
    with pytest.raises(ProblemError, match=r"hidden\[0\].function: a function of one's own"):
        problem.to_toml()
    with pytest.raises(ProblemError, match="cannot be written"):
        RunFolder(tmp_path / "run").save(solved(problem, progress=False), 1.0)


@pytest.mark.parametrize(
    ("law", "said"),
    [
        ({"family": "rank-on"}, r"hidden\[0\].family: found 'rank-on'.*did you mean 'rank-one'"),
        ({}, r"hidden\[0\].family: is missing; one of 'rank-one', 'features', 'kernel', 'given'"),
        ({"family": "rank-one", "size": 0}, r"hidden\[0\].size: found 0"),
        ({"family": "features", "size": 3}, r"hidden\[0\].size: found 3.*and there are 2"),
        ({"family": "kernel", "length": 0.0}, r"hidden\[0\].length: found 0.0"),
        ({"family": "features", "length": 2.0}, r"hidden\[0\].length: unknown key"),
    ],
)
def test_wrong_embeddings(law, said):
    hidden = [{"law": "embedding", **law}]
    with pytest.raises(ProblemError, match=said):
        small_problem(2, network={"activations": ["tanh"] * 2, "initial": {"hidden": hidden}})


def test_labels_are_handed_up():
    hidden = [{"law": "normal"}, {"law": "embedding", "family": "rank-one"}]
    with pytest.raises(ProblemError, match=r"hidden\[1\]: an embedding hands on the labels"):
        small_problem(3, network={"activations": ["tanh"] * 3, "initial": {"hidden": hidden}})
