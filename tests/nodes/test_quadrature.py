"""Quadrature nodes against moments, closed forms and measured convergence."""

import jax
import numpy as np
import pytest
from scipy import integrate, stats

from widelimit.nodes.lattice import Lattice
from widelimit.nodes.points import exact_nodes
from widelimit.nodes.rules import Exact, principal_directions, rules_for
from widelimit.nodes.sobol import Sobol
from widelimit.problem.network.laws import Atoms, Normal, Uniform
from widelimit.problem.network.marks import Block

EYE = np.eye(3)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def _rules(*blocks):
    return [type(rule) for rule in rules_for(blocks, np.eye(blocks[0].size if blocks else 1))]


def test_rules_are_offered_by_law():
    normal, atoms = Normal(), Atoms(points=(1.0, 2.0))
    assert _rules() == [Exact]
    assert _rules(Block("input", atoms, 3)) == [Exact]
    assert _rules(Block("readout", normal, 1)) == [Lattice, Sobol]
    assert _rules(Block("bias", atoms, 1), Block("readout", normal, 1)) == [Lattice, Sobol]
    assert _rules(Block("input", normal, 3)) == [Lattice, Sobol]
    assert _rules(Block("input", normal, 4)) == [Sobol]
    assert _rules(Block("input", Normal(std=0.0), 64)) == [Exact]


def test_atoms_beyond_the_limit_are_treated_as_any_law():
    law = Atoms(points=(-1.0, 1.0))
    assert exact_nodes((Block("input", law, 12),), 4096) is not None
    assert exact_nodes((Block("input", law, 13),), 4096) is None
    (rule,) = rules_for((Block("input", law, 13),), np.eye(13))
    nodes = rule.place(256, np.random.default_rng(0))
    assert set(np.unique(nodes.points)) == {-1.0, 1.0}


def test_empty_mark_is_one_neuron():
    nodes = rules_for((), EYE)[0].place(1, np.random.default_rng(0))
    assert nodes.points.shape == (1, 0)
    assert nodes.weights.tolist() == [1.0]


@pytest.mark.parametrize(
    ("law", "density"),
    [
        (Normal(mean=0.4, std=1.3), stats.norm(0.4, 1.3)),
        (Uniform(low=-1.0, high=3.0), stats.uniform(-1.0, 4.0)),
    ],
)
def test_lattice_converges_exponentially_on_a_line(law, density):
    """E tanh(2x)² against adaptive quadrature: 3e-2 with 16 nodes, 1e-5 with 128."""
    exact = integrate.quad(lambda x: np.tanh(2 * x) ** 2 * density.pdf(x), *density.ppf([0, 1]))[0]
    rule = Lattice((Block("readout", law, 1),))
    for count, accuracy in ((16, 3e-2), (64, 1e-3), (128, 3e-5), (512, 1e-10)):
        for seed in range(4):
            nodes = rule.place(count, np.random.default_rng(seed))
            found = nodes.weights @ np.tanh(2 * nodes.points[:, 0]) ** 2
            assert abs(found - exact) < accuracy


def _rms(rule, count, function, exact, replicates=20):
    nodes = [rule.place(count, np.random.default_rng(seed)) for seed in range(replicates)]
    return np.sqrt(np.mean([(n.weights @ function(n.points) - exact) ** 2 for n in nodes]))


def test_lattice_beats_gauss_hermite_on_steep_functions():
    """The reason for its choice: tanh(8x)² by 64 nodes."""
    exact = integrate.quad(lambda x: np.tanh(8 * x) ** 2 * stats.norm.pdf(x), -9, 9, points=[0])[0]
    rule = Lattice((Block("readout", Normal(), 1),))
    x, w = np.polynomial.hermite_e.hermegauss(64)
    gauss = abs(w @ np.tanh(8 * x) ** 2 / w.sum() - exact)
    assert _rms(rule, 64, lambda p: np.tanh(8 * p[:, 0]) ** 2, exact) < gauss


@pytest.mark.parametrize(("dimension", "gain"), [(2, 100), (3, 10)])
def test_lattice_beats_sobol_in_few_dimensions(dimension, gain):
    """A smooth function of all coordinates, 4,096 nodes."""
    weights = np.array([0.7, -0.6, 0.4])[:dimension]
    s = float(np.linalg.norm(weights))
    exact = integrate.quad(lambda z: np.tanh(s * z + 0.3) * stats.norm.pdf(z), -9, 9)[0]
    errors = [
        _rms(rule, 4096, lambda points: np.tanh(points @ weights + 0.3), exact)
        for rule in rules_for((Block("input", Normal(), dimension),), np.eye(dimension))
    ]
    assert gain * errors[0] < errors[1]


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_cutting_the_lattice_off_leaves_no_bias(dimension):
    """Replicates only show errors that they do not share: their mean must be as good as √R says.

    40 replicates, each function with false-alarm probability 1e-4 (Student's t, 39 degrees).
    """
    rule = Lattice((Block("input", Normal(), dimension),))
    cases = [(np.cos, np.exp(-dimension / 2)), (lambda s: s**4, 3.0 * dimension**2)]
    for count in (4 * 4**dimension, 16 * 4**dimension):
        nodes = [rule.place(count, np.random.default_rng(seed)) for seed in range(40)]
        for function, exact in cases:
            found = np.array([n.weights @ function(n.points.sum(axis=1)) for n in nodes])
            bound = stats.t.ppf(1 - 5e-5, 39) * found.std(ddof=1) / np.sqrt(40)
            assert abs(found.mean() - exact) < bound


def test_sobol_has_exact_moments_and_the_law():
    law = Normal(mean=1.0, std=2.0)
    frame = principal_directions(np.random.default_rng(0).normal(size=(20, 3)), np.full(20, 0.05))
    np.testing.assert_allclose(frame @ frame.T, np.eye(3), atol=1e-12)
    nodes = Sobol((Block("input", law, 3),), frame).place(1024, np.random.default_rng(0))
    np.testing.assert_allclose(nodes.points.mean(axis=0), 1.0, atol=1e-12)
    np.testing.assert_allclose(np.cov(nodes.points.T, bias=True), 4 * np.eye(3), atol=1e-12)
    for column in nodes.points.T:  # quasi-random points lie closer to the law than samples do
        assert stats.kstest(column, stats.norm(1, 2).cdf).statistic < 1.36 / np.sqrt(1024)


def test_principal_directions_come_in_order():
    inputs = np.random.default_rng(0).normal(size=(200, 3)) * [0.1, 3.0, 1.0]
    frame = principal_directions(inputs, np.full(200, 1 / 200))
    assert np.abs(frame).argmax(axis=1).tolist() == [1, 2, 0]


def test_sobol_error_falls_almost_like_one_over_the_count():
    """RMS error of a smooth expectation in 2 dimensions; Monte Carlo would have slope −1/2."""
    rule = Sobol((Block("input", Normal(), 2),), np.eye(2))
    weights = np.array([0.7, -1.1])
    s = float(np.linalg.norm(weights))
    exact = integrate.quad(lambda z: np.tanh(s * z + 0.3) * stats.norm.pdf(z), -9, 9)[0]
    counts, errors = [64, 256, 1024, 4096], []
    for count in counts:
        found = [
            np.tanh(rule.place(count, np.random.default_rng(r)).points @ weights + 0.3).mean()
            for r in range(40)
        ]
        errors.append(np.sqrt(np.mean((np.array(found) - exact) ** 2)))
    slope = np.polyfit(np.log(counts), np.log(errors), 1)[0]
    assert slope < -0.85


def test_weights_sum_to_one():
    blocks = (Block("input", Normal(), 2), Block("readout", Atoms(points=(0.0, 1.0)), 1))
    for rule in rules_for(blocks, np.eye(2)):
        nodes = rule.place(64, np.random.default_rng(0))
        assert nodes.weights.sum() == pytest.approx(1.0, abs=1e-14)
        assert nodes.points.shape == (rule.size(64), 3) == (128, 3)
