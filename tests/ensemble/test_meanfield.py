"""Identities of the equations: dissipation, tangent kernel, tracers, symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem, table
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.layered.placing import sampled_network
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.motion.flow import FlowPath, advance_one, method_for
from widelimit.motion.moments import ensembles

RATES = {"input": 0.6, "hidden": [1.5, 0.8], "readout": 0.9, "bias": [0.7, 1.2, 0.4, 0.5]}


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def biased(x64):
    """Depth 3, all biases, unequal rates and weights of neurons: nothing is special about it."""
    network = {
        "activations": ["tanh", "sigmoid", "sin"],
        "biases": True,
        "output_bias": True,
        "initial": {"bias": {"law": "normal", "std": 0.3}},
    }
    training = {"horizon": 1.0, "learning_rates": RATES}
    problem = small_problem(3, network=network, training=training, networks={"widths": [5]})
    system = System.of(problem, jnp.float64)
    ensemble, _ = sampled_network(jax.random.key(0), problem.layers, (5, 6, 4), 2, 1, jnp.float64)
    rng = np.random.default_rng(0)
    weights = tuple(jnp.asarray(rng.dirichlet(np.ones(len(w)))) for w in ensemble.weights)
    return system, Ensemble(weights, ensemble.parameters)


def _risk(system, ensemble):
    f = system.equations.output(ensemble, system.batch.inputs)
    return system.equations.risk(f, system.batch)


def _weighted_square(ensemble, tree):
    """E|G|² over every kind of parameter, as a tree of the same layout."""
    p = ensemble.weights
    return LayerParameters(
        input=p[0] @ jnp.sum(tree.input**2, axis=1),
        hidden=tuple(a @ h**2 @ b for a, h, b in zip(p, tree.hidden, p[1:], strict=False)),
        readout=p[-1] @ jnp.sum(tree.readout**2, axis=1),
        biases=tuple(w @ b**2 for w, b in zip(p, tree.biases, strict=True)),
        output_bias=jnp.sum(tree.output_bias**2),
    )


def test_dissipation(biased):
    """dR/dt = −Σ_layers ξ_l E|G_l|² along the flow, by a directional derivative."""
    system, ensemble = biased
    speed = system.dynamics.velocity(system.equations, ensemble, system.batch)[0]
    _, slope = jax.jvp(
        lambda q: _risk(system, Ensemble(ensemble.weights, q)), (ensemble.parameters,), (speed,)
    )
    squares = _weighted_square(ensemble, system.equations.gradient(ensemble, system.batch))
    pairs = zip(
        jax.tree.leaves(system.dynamics.rates.at(0.0)), jax.tree.leaves(squares), strict=True
    )
    expected = -sum(rate * square for rate, square in pairs)
    assert float(slope) == pytest.approx(float(expected), rel=1e-12)


def test_tangent_kernel(biased):
    """∂_t f(x) = −E_{x'}[K(x, x') ∇ℓ(x')]."""
    system, ensemble = biased
    inputs = system.batch.inputs
    speed = system.dynamics.velocity(system.equations, ensemble, system.batch)[0]
    f, moved = jax.jvp(
        lambda q: system.equations.output(Ensemble(ensemble.weights, q), inputs),
        (ensemble.parameters,),
        (speed,),
    )
    kernel = system.equations.tangent_kernel(system.dynamics.rates, ensemble, inputs)
    residual = (f - system.batch.targets) * system.batch.weights[:, None]
    np.testing.assert_allclose(moved, -jnp.einsum("xcyk,yk->xc", kernel, residual), rtol=1e-11)


def test_tracers_follow_without_being_felt(biased):
    """Neurons of weight zero leave outputs alone and move as their heavy twins do."""
    system, ensemble = biased
    twin = jax.tree.map(lambda leaf: leaf, ensemble.parameters)
    order = np.array([0, 1, 2, 3, 4, 2])  # neuron 5 of layer 1 is a tracer at neuron 2's place
    tracing = Ensemble(
        (jnp.append(ensemble.weights[0], 0.0), *ensemble.weights[1:]),
        LayerParameters(
            twin.input[order],
            (twin.hidden[0][order], *twin.hidden[1:]),
            twin.readout,
            (twin.biases[0][order], *twin.biases[1:]),
            twin.output_bias,
        ),
    )
    ends = []
    for start in (ensemble, tracing):
        times, solver = np.array([1.0]), method_for(1e-9)
        path = FlowPath(advance_one, solver, system, times, 1e-9, "test")
        ends.append(next(ensembles(path, start)))
    np.testing.assert_allclose(
        system.equations.output(ends[0], system.inputs),
        system.equations.output(ends[1], system.inputs),
        atol=1e-9,
    )
    moved = ends[1].parameters
    np.testing.assert_allclose(moved.input[5], moved.input[2], atol=1e-12)
    assert float(jnp.abs(moved.input[5] - tracing.parameters.input[5]).max()) > 1e-3


def test_differentiable_by_neuron_weights(biased):
    """Fluctuations are derivatives by the weights: finite differences agree."""
    system, ensemble = biased
    direction = tuple(
        jnp.asarray(np.random.default_rng(1).normal(size=w.shape)) for w in ensemble.weights
    )

    def speed_sum(step):
        weights = tuple(w + step * d for w, d in zip(ensemble.weights, direction, strict=True))
        moved = Ensemble(weights, ensemble.parameters)
        tree = system.dynamics.velocity(system.equations, moved, system.batch)[0]
        return sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree))

    slope = jax.grad(speed_sum)(0.0)
    difference = (speed_sum(1e-5) - speed_sum(-1e-5)) / 2e-5
    assert float(slope) == pytest.approx(float(difference), rel=1e-7)


def test_time_stepping_converges_at_its_order(x64):
    """Step tolerance to error: two runs of the flow against a much finer one."""
    problem = small_problem(data=table(points=6), networks={"widths": [4]})
    system = System.of(problem, jnp.float64)
    start, _ = sampled_network(jax.random.key(0), problem.layers, (4,), 2, 1, jnp.float64)

    def end(tolerance):
        times, solver = np.array([20.0]), method_for(tolerance)
        path = FlowPath(advance_one, solver, system, times, tolerance, "test")
        end = next(ensembles(path, start))
        return np.asarray(system.equations.output(end, system.inputs))

    fine = end(1e-12)
    for tolerance in (1e-3, 1e-5, 1e-7):
        assert np.abs(end(tolerance) - fine).max() < 30 * tolerance
