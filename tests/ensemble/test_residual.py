"""Residual networks: the gradient of the discrete map, invariances, and exact oracles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import plain_residual
from conftest import called, table
from widelimit import Problem, ProblemError, RunFolder, Unit, compare, solve
from widelimit.basics.precision import in_precision
from widelimit.ensemble.equations import Batch
from widelimit.ensemble.model import model_of
from widelimit.ensemble.neurons import Depth, Ensemble, Share
from widelimit.ensemble.residual.equations import units_of
from widelimit.ensemble.system import System
from widelimit.limit.search import seen_of_limit
from widelimit.motion.engine import Steps, engine

DIMS = (2, 1)


def residual(**changes) -> Problem:
    """A small residual problem; keys of the network and whole sections replace parts."""
    sections = {
        name: changes.pop(name)
        for name in ("training", "networks", "limit", "observe", "data", "seed")
        if name in changes
    }
    raw = {
        "network": {"architecture": "residual", **changes},
        "data": table(),
        "training": {"horizon": 1.0},
        "observe": {"times": 3},
    }
    return Problem.from_dict({**raw, **sections})


def drawn(problem: Problem, shape=(3, 4), rule: Any = "euler") -> tuple[System, Ensemble]:
    """A network with unequal weights of its units."""
    system, rng = System.of(problem, jnp.float64), np.random.default_rng(1)
    inputs, channels = system.inputs.shape[1], system.batch.targets.shape[1]
    found, _ = model_of(problem).drawn(jax.random.key(0), shape, (inputs, channels), jnp.float64)
    weights = tuple(jnp.asarray(rng.dirichlet(np.ones(len(w)))) for w in found.weights)
    return system, Ensemble(weights, found.parameters, depth=Depth(shape[0], rule))


class Gate(Unit):
    """A unit of one's own, `a (w·h) / (1 + (w·h)²)`: products and cotangents are JAX's."""

    def sizes(self, stream: int, biases: bool) -> dict[str, int]:
        return {"input": stream, "readout": stream}

    def value(self, theta, h):
        z = h @ theta["input"]
        return (z / (1 + z**2))[:, None] * theta["readout"]


NETWORKS = {
    "one's own": {"blocks": [Gate(norm=True), Gate()], "residual_scale": 2.0},
    "perceptron": {},
    "biases": {"biases": True, "output_bias": True, "residual_scale": 3.0},
    "wide stream": {"stream": 5},
    "heads": {"blocks": [{"unit": "attention", "key": 2}], "tokens": 2},
    "causal, last": {
        "blocks": [{"unit": "attention", "key": 2, "causal": True}, "perceptron"],
        "tokens": 2,
        "pool": "last",
        "stream": 3,
        "initial": {"position": {"law": "normal"}, "embedding": {"law": "normal"}},
    },
    "normed": {"blocks": [{"unit": "perceptron", "norm": True, "activation": "sin"}]},
    "two kinds": {"blocks": ["perceptron", {"unit": "perceptron", "activation": "sin"}]},
    "alternating": {"blocks": ["perceptron", "perceptron"], "alternating": True},
}


@pytest.mark.parametrize("rule", ["euler", "midpoint"])
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_that_of_the_map(name, rule):
    """Automatic differentiation of the risk, divided by what parameters weigh in averages."""
    with in_precision("float64"):
        system, network = drawn(residual(**NETWORKS[name]), rule=rule)
        equations, batch = system.equations, system.batch

        def risk(theta):
            now = network.at((theta, ()))
            return equations.risk(equations.output(now, batch.inputs), batch)

        expected = jax.grad(risk)(network.parameters)
        found, masses = equations.gradient(network, batch), network.masses()
        for a, b, mass in zip(*map(jax.tree.leaves, (found, expected, masses)), strict=True):
            np.testing.assert_allclose(a * mass, b, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("name", ["biases", "causal, last"])
def test_squares_and_pieces(name):
    """E_π[G_z²] point by point, and the same numbers when data are handled in pieces."""
    with in_precision("float64"):
        system, network = drawn(residual(**NETWORKS[name]))
        equations, batch = system.equations, system.batch
        rows = [jax.tree.map(lambda own, k=k: own[k : k + 1], batch) for k in range(8)]
        single = [
            equations.gradient(network, Batch(row.inputs, row.targets, jnp.ones(1))) for row in rows
        ]
        expected = jax.tree.map(lambda *g: sum(own**2 for own in g) / 8, *single)
        pieces = equations.in_pieces(3)
        for a, b in zip(
            jax.tree.leaves(
                (pieces.gradient_squares(network, batch), pieces.gradient(network, batch))
            ),
            jax.tree.leaves((expected, equations.gradient(network, batch))),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-13)


def test_outputs_are_those_of_plain_loops():
    """Perceptrons with biases, against code that knows nothing of the library."""
    with in_precision("float64"):
        system, network = drawn(residual(biases=True, residual_scale=2.0))
        x, y = np.asarray(system.batch.inputs), np.asarray(system.batch.targets)
        units, weights, ends = plainly(network)
        f, found = plain_residual.slopes(
            units, weights, x, y, ends, np.tanh, lambda z: 1 / np.cosh(z) ** 2, 2.0
        )
        slope = units_of(replace_parameters(network, system)).units[0]
        np.testing.assert_allclose(
            system.equations.output(network, system.batch.inputs), f, rtol=1e-12
        )
        own = [np.concatenate([w, [b], a]) for block in found for w, b, a in block]
        names = ("input", "bias", "readout")
        np.testing.assert_allclose(
            np.concatenate([np.asarray(slope[n]) for n in names], axis=1),
            own,
            rtol=1e-9,
            atol=1e-12,
        )


def replace_parameters(network, system):
    """The ensemble with its gradient in place of its parameters."""
    return network.at((system.equations.gradient(network, system.batch), ()))


def plainly(network: Ensemble):
    """Units, their weights and the ends as plain numbers."""
    theta = units_of(network)
    own = {name: np.asarray(values) for name, values in theta.units[0].items()}
    count = len(own["input"])
    biases = own["bias"][:, 0] if "bias" in own else np.zeros(count)
    flat = list(zip(own["input"], biases, own["readout"], strict=True))
    depth = network.depth.nodes
    width = count // depth
    weights = np.asarray(network.weights[0]).reshape(depth, width)
    units = [flat[k * width : (k + 1) * width] for k in range(depth)]
    ends = {"embedding": np.asarray(theta.embedding), "unembedding": np.asarray(theta.unembedding)}
    return units, weights, ends


@pytest.mark.parametrize("causal", [False, True])
def test_heads_are_those_of_plain_loops(causal):
    """Three blocks of four heads on two tokens, read at the last one."""
    unit = {"unit": "attention", "key": 2, "causal": causal}
    with in_precision("float64"):
        system, network = drawn(residual(blocks=[unit], tokens=2, stream=3, pool="last"))
        theta = units_of(network)
        own = {name: np.asarray(v).reshape(3, 4, 3, 2) for name, v in theta.units[0].items()}
        shares, found = np.asarray(network.weights[0]).reshape(3, 4), []
        for x in np.asarray(system.batch.inputs):
            h = x.reshape(2, 1) @ np.asarray(theta.embedding)
            for k in range(3):
                heads = [
                    shares[k, m] * plain_residual.head(h, {n: own[n][k, m] for n in own}, causal)
                    for m in range(4)
                ]
                h = h + sum(heads)
            found.append(h[-1] @ np.asarray(theta.unembedding))
        output = system.equations.output(network, system.batch.inputs)
        np.testing.assert_allclose(output, found, rtol=1e-12)


def moments(network: Ensemble):
    """(E aaᵀ, E awᵀ, E wwᵀ) of the units of each depth."""
    own = units_of(network).units[0]
    depth = network.depth.nodes
    w, a = (np.asarray(own[n]).reshape(depth, -1, 2) for n in ("input", "readout"))
    p = depth * np.asarray(network.weights[0]).reshape(depth, -1)
    pairs = ((a, a), (a, w), (w, w))
    return [[np.einsum("i,id,ie->de", p[k], x[k], y[k]) for x, y in pairs] for k in range(depth)]


LINEAR = {"blocks": [{"unit": "perceptron", "activation": "identity"}]}


def test_linear_units_at_the_depth_of_their_nodes():
    """Second moments obey an equation of their own: SciPy's solution of it, on the same nodes."""
    problem = residual(**LINEAR, depth=6, seed=3)
    with engine(problem, "limit", False) as work:
        design = work.first_design()
        start, data = work.placed(design), problem.dataset
        theta = units_of(start)
        ends = {name: np.asarray(getattr(theta, name)) for name in ("embedding", "unembedding")}
        found = work.run(design, Steps(1e-11), seen_of_limit).seen["outputs"][-1]
        expected = plain_residual.linear(moments(start), data.inputs, data.targets, ends, 1.0)
    np.testing.assert_allclose(found, expected, atol=1e-8)


@pytest.mark.parametrize("depth", [5, "limit"])
def test_linear_units_against_their_law(depth):
    """Moments of the law, at the same depth or from 64 and 128 blocks: within what is told."""
    problem = residual(**LINEAR, depth=depth, limit={"tolerance": 5e-3})
    limit, data = solve(problem, progress=False), problem.dataset
    with in_precision("float64"):
        ends = model_of(problem).drawn(jax.random.key(0), (1, 1), DIMS, jnp.float64)[0].parameters
    own = {name: np.asarray(getattr(ends, name)) for name in ("embedding", "unembedding")}
    law = [np.eye(2), np.zeros((2, 2)), np.eye(2) / 2]  # a of variance 1, w of 1/D

    def at(blocks):
        return plain_residual.linear([law] * blocks, data.inputs, data.targets, own, 1.0, 1e-9)

    expected = at(depth) if depth != "limit" else 2 * at(128) - at(64)
    error = limit.dataset.output.values[-1] - expected
    assert limit.met
    assert np.sqrt(np.mean(error**2)) <= limit.dataset.attrs["error"] <= 5e-3


def test_tracers_move_as_units_do():
    """A unit of weight zero feels the gradient of one that has weight."""
    with in_precision("float64"):
        system, network = drawn(residual())
        doubled = network.taken([np.repeat(np.arange(12), 2)])
        weights = np.asarray(doubled.weights[0]).copy()
        weights[1::2] = 0.0
        slope = system.equations.gradient(doubled.weighted((weights,)), system.batch)
        expected = system.equations.gradient(network, system.batch)
        for own, once in zip(*(jax.tree.leaves(g.units) for g in (slope, expected)), strict=True):
            np.testing.assert_allclose(own[::2], once, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(own[1::2], once, rtol=1e-12, atol=1e-14)


# --- oracles ------------------------------------------------------------------------------------

ATOMS = {
    "input": {"law": "atoms", "points": [[0.8, -0.3], [-0.5, 1.1]]},
    "readout": {"law": "atoms", "points": [[0.4, 0.9]]},
    "unembedding": {"law": "atoms", "points": [1.0]},
}


@pytest.mark.parametrize("alpha", [1.0, 2.0])
def test_atoms_as_units(alpha):
    """Two kinds of units in four blocks against SciPy's solution of plain loops."""
    problem = residual(depth=4, initial=ATOMS, limit={"tolerance": 1e-7}, residual_scale=alpha)
    limit = solve(problem, progress=False)
    data = problem.dataset
    block = [
        (np.array(w), 0.0, np.array(ATOMS["readout"]["points"][0]))
        for w in ATOMS["input"]["points"]
    ]
    expected = plain_residual.flow(
        [block] * 4,
        np.full((4, 2), 1 / 8),
        data.inputs,
        data.targets,
        {"embedding": np.eye(2), "unembedding": np.ones((2, 1))},
        np.tanh,
        lambda z: 1 / np.cosh(z) ** 2,
        1.0,
        alpha,
    )
    error = limit.dataset.output.values[-1] - expected
    assert np.abs(error).max() < 1e-6
    assert np.abs(error).max() <= limit.dataset.output_error.values[-1].max()
    assert limit.met


def test_one_block_is_a_hidden_layer():
    """x + E[a φ(w x + b)] with frozen ends: one hidden layer that learns y − x."""
    points = [[0.7, 1.2], [-1.1, 0.4], [0.3, -0.8]]
    x, y = [-1.0, -0.2, 0.5, 1.3], [0.4, 0.1, -0.3, 0.9]
    whole = {"training": {"horizon": 2.0}, "observe": {"times": 4}, "limit": {"tolerance": 1e-9}}
    hidden = Problem.from_dict(
        {
            "network": {
                "activations": ["tanh"],
                "initial": {"neuron": {"law": "atoms", "points": points}},
            },
            "data": {
                "source": "table",
                "inputs": x,
                "targets": [b - a for a, b in zip(x, y, strict=True)],
            },
            **whole,
        }
    )
    block = residual(
        depth=1,
        initial={
            "input": {"law": "atoms", "points": [p[0] for p in points]},
            "readout": {"law": "atoms", "points": [p[1] for p in points]},
            "unembedding": {"law": "atoms", "points": [1.0]},
        },
        data={"source": "table", "inputs": x, "targets": y},
        **whole,
    )
    # All nine pairs of atoms there, so the hidden layer has them too.
    pairs = [[w[0], a[1]] for w in points for a in points]
    hidden = hidden.with_changes(network={"initial": {"neuron": {"law": "atoms", "points": pairs}}})
    once, other = solve(hidden, progress=False), solve(block, progress=False)
    expected = once.dataset.output.values + np.asarray(x)[None, :, None]
    np.testing.assert_allclose(other.dataset.output.values, expected, atol=1e-8)


def test_networks_are_held_against_their_limit(tmp_path, capfd):
    """All files of a run, read back; networks of every shape, and their units by depth."""
    shapes = [[2, 4], [4, 4], [4, 8]]
    problem = residual(
        limit={"tolerance": 5e-2}, networks={"shapes": shapes, "seeds": 4}, biases=True
    )
    (tmp_path / "problem.toml").write_text(problem.to_toml(), encoding="utf-8")
    status, _, said = called(capfd, "run", tmp_path / "problem.toml", "-o", tmp_path / "run")
    assert status == 0, said
    folder = RunFolder(tmp_path / "run")
    limit, networks = folder.load("limit"), folder.load("networks")
    assert networks.dataset["widths"].values.tolist() == shapes
    assert networks.dataset["depth"].values.tolist() == [2, 4, 4]
    assert networks.dataset["width"].values.tolist() == [4, 4, 8]
    assert limit.dataset.attrs["depth_nodes"] >= 4
    errors = [limit.dataset[f"{name}_error"] for name in ("quadrature", "time", "depth")]
    np.testing.assert_allclose(limit.dataset["output_error"], sum(errors))
    units = networks.states["width_4_8"].to_dataset()
    assert (8 * units["depth_perceptron"].values).tolist() == np.repeat([1, 3, 5, 7], 8).tolist()
    assert compare(limit, networks).widths == [8, 16, 32]
    assert "average 1/(LM)" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_what_is_not_known_of_them_is_refused():
    """What is about layers."""
    problem = residual(networks={"shapes": [[4, 8]]})
    with pytest.raises(ProblemError, match=r"network\.architecture: found 'residual'"):
        _ = problem.layers


@pytest.mark.parametrize("depths", [7, 100, 300])
def test_every_depth_has_the_whole_law(depths):
    """A rare part of the law too, where there are fewer nodes than depths or they do not divide."""
    law = {"law": "atoms", "points": [1.0, -3.0], "weights": [0.9, 0.1]}
    problem = residual(depth=depths, biases=True, initial={"bias": law}, limit={"nodes": [256]})
    with engine(problem, "limit", False) as work:
        start = work.placed(work.first_design().with_counts([256]))
    weights = np.asarray(start.weights[0]).reshape(depths, -1)
    biases = np.asarray(units_of(start).units[0]["bias"]).reshape(depths, -1)
    np.testing.assert_allclose(weights.sum(axis=1), 1 / depths)
    np.testing.assert_allclose((weights * biases).sum(axis=1), 0.6 / depths)


@pytest.mark.parametrize("depths", [3, 10, 12, 31, 64])
def test_all_scrambles_have_one_shape(depths):
    """Compiled once: weightless units make up for what a scramble has less of at some depth."""
    problem = residual(depth=depths, limit={"nodes": [256]})
    with engine(problem, "limit", False) as work:
        design = work.first_design().with_counts([256])
        starts = [work.placed(design.replicate(number)) for number in range(24)]
    assert len({start.sizes for start in starts}) == 1
    felt = np.array([(np.asarray(start.weights[0]) > 0).sum() for start in starts])
    np.testing.assert_array_equal(felt, 256)
    assert starts[0].sizes[0] <= 256 + 2 * depths * 2  # units come in pairs of ± readouts


def test_units_scatter_depth_by_depth():
    """Variances of sampling are those inside each depth: what differs between depths is fixed."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 12))
    law = np.concatenate([rng.dirichlet(np.ones(4)) / 3 for _ in range(3)])
    share, expected = Share(law, 3), np.zeros((2, 2))
    for k in range(3):
        own, p = values[:, 4 * k : 4 * k + 4], 3 * law[4 * k : 4 * k + 4]
        centred = own - (own @ p)[:, None]
        expected += (centred * p) @ centred.T / 3
    np.testing.assert_allclose(share.covariance(values), expected, rtol=1e-12)
    noise = share.noise(rng, 200_000)
    np.testing.assert_allclose(noise.reshape(-1, 3, 4).sum(axis=2), 0.0, atol=1e-12)
    found = values @ np.cov(noise.T) @ values.T
    np.testing.assert_allclose(found, expected, atol=0.02 * np.abs(expected).max())  # six sigma
