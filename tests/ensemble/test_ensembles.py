"""Limits taken one after the other: some layers in the limit, others of a finite width."""

import itertools

import numpy as np
import pytest

import reference
from conftest import small_problem
from widelimit import ProblemError, compare, train
from widelimit.limit.solve import solved

INPUT = {"law": "atoms", "points": [[0.8, -0.4], [-1.1, 0.6]], "weights": [0.3, 0.7]}
HIDDEN = {"law": "atoms", "points": [-0.5, 1.2], "weights": [0.4, 0.6]}


def _problem(ensembles, depth=2, **sections):
    """Atoms in the layers that are in the limit, readouts and biases with densities."""
    network = {
        "activations": ["tanh"] * depth,
        "ensembles": ensembles,
        "initial": {"input": INPUT, "hidden": HIDDEN},
    }
    return small_problem(depth, network=network, **sections)


def _vectors(size):
    """All vectors of independent hidden-to-hidden weights, with their probabilities."""
    choices = list(zip(HIDDEN["points"], HIDDEN["weights"], strict=True))
    for combination in itertools.product(choices, repeat=size):
        yield [u for u, _ in combination], float(np.prod([q for _, q in combination]))


def _expected(problem, theta, p):
    x, y = problem.dataset.inputs, problem.dataset.targets
    rates = {"input": 1.0, "hidden": [1.0] * (len(p) - 1), "readout": 1.0}
    w = np.full(len(x), 1 / len(x))
    end = reference.rk4(theta, lambda t: reference.speeds(t, p, x, y, w, rates, False), 1.0, 100)
    return reference.outputs(end, p, x, False)


def test_first_layer_in_the_limit_next_to_three_neurons():
    """A first-layer neuron is (w; u_1, u_2, u_3) (Sirignano & Spiliopoulos 2022, Lemma 2.2)."""
    problem = _problem(["limit", 3])
    limit = solved(problem, progress=False)
    assert limit.dataset.attrs["rules"] == ["exact", "sampled"]
    assert limit.dataset.attrs["quadrature_error"] == 0
    kinds = [
        (w, u, q * r)
        for w, q in zip(INPUT["points"], INPUT["weights"], strict=True)
        for u, r in _vectors(3)
    ]
    readout = limit.states["limit"]["readout"].values[0]
    theta = [np.array([w for w, _, _ in kinds]), np.array([u for _, u, _ in kinds]), readout]
    expected = _expected(problem, theta, [np.array([q for *_, q in kinds]), np.full(3, 1 / 3)])
    np.testing.assert_allclose(limit.dataset.output.values[-1], expected, atol=1e-7)


def test_a_middle_layer_next_to_a_finite_one_has_labels():
    problem = _problem(["limit", "limit", 2], depth=3)
    limit = solved(problem, progress=False)
    assert limit.dataset.attrs["nodes"] == [2, 4, 2]
    # Atoms make few kinds: two of layer 1, four of layer 2, and weights differ between them.
    assert any("neurons of hidden layers 1 and 2 are alike" in note for note in limit.warnings)
    kinds = list(_vectors(2))
    mean = float(np.dot(HIDDEN["points"], HIDDEN["weights"]))
    theta = [
        np.array(INPUT["points"]),
        np.full((2, 4), mean),
        np.array([u for u, _ in kinds]),
        limit.states["limit"]["readout"].values[0],
    ]
    p = [np.array(INPUT["weights"]), np.array([q for _, q in kinds]), np.full(2, 1 / 2)]
    expected = _expected(problem, theta, p)
    np.testing.assert_allclose(limit.dataset.output.values[-1], expected, atol=1e-7)


def test_last_layer_in_the_limit_above_two_neurons():
    readout = {"law": "atoms", "points": [0.5, 1.5]}
    problem = _problem([2, "limit"])
    initial = {"input": {"law": "normal"}, "hidden": HIDDEN, "readout": readout}
    problem = problem.with_changes(network={"initial": initial})
    limit = solved(problem, progress=False)
    kinds = [(u, [a], q / 2) for u, q in _vectors(2) for a in readout["points"]]
    theta = [
        limit.states["limit"]["input"].values[0],
        np.array([u for u, *_ in kinds]).T,
        np.array([a for _, a, _ in kinds]),
    ]
    expected = _expected(problem, theta, [np.full(2, 0.5), np.array([q for *_, q in kinds])])
    np.testing.assert_allclose(limit.dataset.output.values[-1], expected, atol=1e-7)


def test_two_finite_neighbours_are_an_ordinary_network():
    """With all layers finite the limit is the network, and all networks are the same one."""
    settings = {"widths": [[4, 3]], "seeds": 2, "method": "flow", "precision": "float64"}
    problem = _problem([4, 3], networks=settings)
    limit, networks = solved(problem, progress=False), train(problem, progress=False)
    for seed in (0, 1):
        found = networks.dataset.output.values[0, seed]
        np.testing.assert_allclose(found, limit.dataset.output.values, atol=1e-6)
    other = solved(problem.with_changes(seed=1), progress=False)
    assert abs(other.dataset.output - limit.dataset.output).max() > 0.01


def test_networks_share_the_finite_layer_and_keep_their_width():
    problem = _problem(["limit", 3], networks={"widths": [8, 16], "seeds": 4, "states": 4})
    networks = train(problem, progress=False)
    assert networks.dataset["widths"].values.tolist() == [[8, 3], [16, 3]]
    assert networks.dataset["width"].values.tolist() == [8, 16]
    limit = solved(problem, progress=False)
    for name in ("width_8_3", "width_16_3"):
        start = networks.states[name]["readout"].values[:, 0]
        shared = np.broadcast_to(limit.states["limit"]["readout"].values[0], start.shape)
        np.testing.assert_allclose(start, shared, rtol=1e-6)
    assert compare(limit, networks).widths == [8, 16]


def test_width_of_a_step_is_that_of_the_layer_that_grows():
    problem = _problem([3, "limit"], networks={"widths": [8, 32]})
    shapes = problem.networks.layer_widths(problem.network)
    assert shapes == ((3, 8), (3, 32))
    assert [problem.networks.step_size(problem.network, s) for s in shapes] == [1 / 8, 1 / 32]


@pytest.mark.parametrize(
    ("ensembles", "said"),
    [
        (["limit"], "network.ensembles: found 1 entries; give one for each of 2 layers"),
        (["limit", 0], "network.ensembles: found 0 for layer 2; must be 'limit' or a width"),
        (["limit", "finite"], "found 'finite' for layer 2"),
        (64, "network.ensembles: must be a list"),
    ],
)
def test_wrong_ensembles(ensembles, said):
    with pytest.raises(ProblemError, match=said):
        _problem(ensembles)


def test_widths_must_agree_with_ensembles():
    with pytest.raises(ProblemError, match=r"found 5 for layer 2 of .8, 5.; network\.ensembles"):
        _problem(["limit", 3], networks={"widths": [[8, 5]]})


@pytest.mark.slow
def test_networks_approach_the_intermediate_limit():
    """Exponent −½ in N_1 with N_3 = 3, depth 3; five standard errors (false alarm 6e-7)."""
    settings = {"widths": [32, 64, 128, 256], "seeds": 200, "method": "flow"}
    laws = {"hidden": {"law": "normal", "mean": 1.0, "std": 0.5}}
    problem = small_problem(
        3,
        networks=settings,
        limit={"tolerance": 2e-3},
        network={"activations": ["tanh"] * 3, "ensembles": ["limit", "limit", 3], "initial": laws},
    )
    fit = compare(solved(problem, progress=False), train(problem, progress=False)).exponent[-1]
    assert abs(fit["value"] + 0.5) < 5 * (fit["high"] - fit["low"]) / 4
    assert fit["high"] - fit["low"] < 0.15
