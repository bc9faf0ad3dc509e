"""Rare, large parts of laws: nodes of their own, exact weights, or a refusal in words."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, stats

from conftest import small_problem, table
from widelimit import ProblemError, solve
from widelimit.nodes.coverage import enough, kurtosis
from widelimit.nodes.lattice import Lattice
from widelimit.nodes.rules import rules_for
from widelimit.nodes.sobol import Paths, Sobol
from widelimit.problem.network.laws import (
    Atoms,
    Component,
    Mixture,
    Normal,
    Own,
    Product,
    Sphere,
    Uniform,
)
from widelimit.problem.network.marks import Block, strata

RARE = Mixture(components=(Component(weight=0.9998), Component(weight=0.0002, mean=1000.0)))


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("rule", [Lattice, Sobol, Paths])
def test_every_component_has_its_weight_and_nodes_of_its_own(rule):
    """Mean .2 and mean square .9998 + .0002 (1000² + 1), which 64 nodes of the law miss."""
    mark = (Block("input", Normal(), 2), Block("readout", RARE, 1))
    placed = (rule(mark) if rule is Lattice else rule(mark, np.eye(2))).place(
        64, np.random.default_rng(0)
    )
    a, rare = placed.points[:, 2], placed.points[:, 2] > 500
    assert rare.sum() == 64
    assert placed.weights[rare].sum() == pytest.approx(0.0002, rel=1e-12)
    assert placed.weights @ a == pytest.approx(0.2, abs=0.05 * np.sqrt(0.9998) + 1e-4)
    assert placed.weights @ a**2 == pytest.approx(0.9998 + 0.0002 * (1e6 + 1), rel=1e-3)


def test_strata_are_all_combinations_with_the_products_of_their_weights():
    """2 components of each of two entries, 3 atoms: 12 strata; a normal law is left whole."""
    pair = Mixture(components=(Component(weight=0.25, mean=-1.0), Component(weight=0.75, std=2.0)))
    atoms = Atoms(points=(1.0, 2.0, 3.0), weights=(0.5, 0.3, 0.2))
    blocks = (Block("input", pair, 2), Block("bias_1", Normal(), 1), Block("readout", atoms, 1))
    found = strata(blocks)
    expected = [p * q * r for p in (0.25, 0.75) for q in (0.25, 0.75) for r in (0.5, 0.3, 0.2)]
    assert [own.weight for own in found] == pytest.approx(expected)
    assert [rule.name for rule in rules_for(blocks, np.eye(2))] == ["lattice", "sobol"]


def test_the_rarest_parts_are_split_where_not_all_can_be():
    """2^20 combinations of the inputs' components stay whole, the readout's two do not."""
    even = Mixture(components=(Component(mean=-1.0), Component(mean=1.0)))
    found = strata((Block("input", even, 20), Block("readout", RARE, 1)))
    assert [own.weight for own in found] == pytest.approx([0.9998, 0.0002])
    assert [own.mark[0].law for own in found] == [even, even]


def test_strata_of_vectors_and_products():
    """A mixture of vectors needs no coordinate to choose; a product's atoms are exact."""
    vectors = Mixture(components=(Component(mean=(1.0, 2.0)), Component(mean=(0.0, 0.0), std=3.0)))
    first, second = strata((Block("input", vectors, 2),))
    z = np.array([[0.5, -0.5]])
    assert first.mark[0].law.transform(z).tolist() == [[1.5, 1.5]]
    assert second.mark[0].law.transform(z).tolist() == [[1.5, -1.5]]
    law = Product(factors=(Atoms(points=(0.0, 5.0), weights=(0.999, 0.001)), Atoms(points=(1.0,))))
    (rule,) = rules_for((Block("input", law, 2),), np.eye(2))
    nodes = rule.place(1, np.random.default_rng(0))
    assert rule.name == "exact"
    assert nodes.points.tolist() == [[0.0, 1.0], [5.0, 1.0]]
    assert nodes.weights.tolist() == pytest.approx([0.999, 0.001])


def test_kurtosis_is_that_of_scipy():
    """Of unsplit mixtures, atoms and laws of one's own; others hide nothing and count as 1."""
    draws = 0.9998 * 3 + 0.0002 * stats.norm(1000, 1).moment(4)
    expected = draws / (0.9998 + 0.0002 * (1e6 + 1)) ** 2
    assert kurtosis(Block("readout", RARE, 2)) == pytest.approx(expected, rel=1e-12)
    atoms = Atoms(points=((1.0, 0.0), (2.0, 10.0)), weights=(0.9, 0.1))
    known = max((0.9 + 0.1 * 16) / (0.9 + 0.1 * 4) ** 2, 0.1 * 1e4 / (0.1 * 100) ** 2)
    assert kurtosis(Block("input", atoms, 2)) == pytest.approx(known)
    law = Product(factors=(Uniform(low=-1.0, high=3.0), Own(function=jnp.exp)))
    exp = [
        integrate.quad(lambda z, k=k: np.exp(k * z) * stats.norm.pdf(z), -20, 20)[0] for k in (2, 4)
    ]
    assert kurtosis(Block("input", law, 2)) == pytest.approx(exp[1] / exp[0] ** 2, rel=1e-8)
    assert kurtosis(Block("input", Sphere(), 3)) == kurtosis(Block("input", Normal(), 3)) == 1.0


def test_needed_nodes_see_the_mean_square_and_fewer_do_not():
    """40 inputs whose weights are 30 with probability 1e-3: 2^40 combinations stay whole.

    The mean squares of the entries, over 8 replicates of as many nodes as are asked for and of 64.
    """
    law = Mixture(components=(Component(weight=0.999), Component(weight=0.001, mean=30.0)))
    mark = (Block("input", law, 40),)
    rule, exact = Sobol(mark, np.eye(40)), 0.999 + 0.001 * 901

    def off(count):
        placed = [rule.place(count, np.random.default_rng(r)) for r in range(8)]
        found = np.mean([(nodes.points**2).mean(axis=0) for nodes in placed], axis=0)
        return np.abs(found / exact - 1).max()

    count = enough(mark, 256)
    assert count == 2048  # κ = (3 + 30⁴/1000 + …)/1.9² = 226 asks for 1,800
    assert off(count) < 0.4
    assert off(64) > 0.9 * 0.9 / exact  # some column has no 30 at all


def test_a_limit_on_too_few_nodes_is_refused():
    """The same law for 32 inputs; and one without a fourth moment."""
    rare = {"law": "mixture", "components": [{"weight": 0.999}, {"weight": 0.001, "mean": 30.0}]}
    network = {"activations": ["tanh"], "initial": {"input": rare}}
    problem = small_problem(network=network, data=table(inputs=32))
    with pytest.raises(ProblemError, match=r"limit.nodes: found 256; the law of input, readout"):
        solve(problem.with_changes(limit={"nodes": 256}), progress=False)
    with pytest.raises(ProblemError, match=r"limit.max_nodes: found 512; .* 1,80. nodes"):
        solve(problem.with_changes(limit={"max_nodes": 512}), progress=False)
    tails = {"activations": ["tanh"], "initial": {"readout": lambda z: jnp.exp(z**2 / 6)}}
    with pytest.raises(ProblemError, match="the law of readout has no fourth moment"):
        solve(small_problem(network=tails), progress=False)


def test_a_readout_whose_mean_comes_from_one_neuron_in_5000():
    """f(x) = 0.2 E tanh(w·x), w ~ N(0.5, I): one normal number w·x, by SciPy."""
    x = [
        [0.0, 0.3, -0.27, -0.89],
        [-0.45, -0.99, 0.06, 1.34],
        [-0.49, -0.62, 0.49, 0.36],
        [0.11, -0.93, -0.03, 0.7],
        [-1.34, -0.46, -1.9, -1.29],
        [-1.84, -0.24, -1.27, 0.27],
    ]
    components = [{"weight": 0.9998}, {"weight": 0.0002, "mean": 1000.0}]
    initial = {"input": {"law": "normal", "mean": 0.5}}
    initial["readout"] = {"law": "mixture", "components": components}
    problem = small_problem(
        network={"activations": ["tanh"], "initial": initial},
        data={"source": "table", "inputs": x, "targets": [0.0] * 6},
        observe={"times": [0.0]},
        limit={"tolerance": 1e-2},
    )
    limit = solve(problem, progress=False)
    exact = []
    for row in np.array(x):
        law = 0.5 * row.sum(), np.linalg.norm(row)
        mean = integrate.quad(lambda s, law=law: np.tanh(s) * stats.norm.pdf(s, *law), -9, 9)[0]
        exact.append(0.2 * mean)
    off = limit.dataset.output.values[0, :, 0] - exact
    assert limit.met
    assert np.sqrt(np.mean(off**2)) < limit.dataset.attrs["error"] < 1e-2
