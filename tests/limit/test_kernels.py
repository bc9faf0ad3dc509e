"""The tangent kernel along the limit: against closed forms, velocities, and the lazy scale."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem, table
from test_lazy import at_scale, erf_kernel
from test_schedules import NEURONS, X, plain, pulse, pulsed
from widelimit import ProblemError, solve, train
from widelimit.ensemble.layered.placing import limit_ensemble
from widelimit.ensemble.system import System
from widelimit.nodes.rules import rules_for


def test_the_first_kernel_of_erf_networks_is_known():
    """K_0 in closed form (Williams 1997), off by no more than the error that is told."""
    problem = at_scale(1.0).with_changes(observe={"times": [0.0, 1.0]})
    found = solve(problem, progress=False).kernel(progress=False).isel(time=[0])
    expected = erf_kernel(problem.dataset.inputs)
    off = np.abs(found.kernel.squeeze().values - expected)
    assert (off <= found.kernel_error.squeeze().values + 1e-9).all()
    assert float(found.kernel_error.max()) < 1e-3 * expected.max()
    assert float(found.movement[0]) == 0


def test_kernels_turn_slopes_into_velocities():
    """∂_t f = −E[K_t ∇ℓ] along the limit of two outputs, by central differences: 1e-4."""
    data = table(points=5)
    data["targets"] = [[y, -0.5 * y] for y in data["targets"]]
    law = {"law": "atoms", "points": [[0.5, -1.0, 1.0, 0.3], [1.5, 0.2, -0.4, 0.9]]}
    step = 1e-3
    problem = small_problem(
        data=data,
        network={"activations": ["tanh"], "initial": {"neuron": law}},
        observe={"times": [0.6 - step, 0.6, 0.6 + step]},
        training={
            "horizon": 1.0,
            "learning_rates": {"input": {"schedule": "exponential", "value": 2.0, "time": 0.5}},
        },
    )
    limit = solve(problem, progress=False)
    f, kernel = limit.dataset.output.values, limit.kernel(progress=False).kernel.values[1]
    slope = (f[1] - problem.dataset.targets) / 5
    np.testing.assert_allclose(
        (f[2] - f[0]) / (2 * step), -np.einsum("xcyd,yd->xc", kernel, slope), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("depth", [1, 2])
def test_a_kernel_in_blocks_is_the_same(depth, monkeypatch):
    """To rounding; by the way each entry is the product of two gradients by automatic derivatives.

    Blocks of one, of three (the last one is filled up) and of all rows.
    """
    inputs = np.random.default_rng(1).normal(size=(7, 2)).tolist()
    problem = small_problem(depth, observe={"times": [1.0], "inputs": inputs})
    with jax.enable_x64(True):
        system = System.of(problem, jnp.float64)
        rng = np.random.default_rng(0)
        nodes = [
            rules_for(mark, np.eye(2))[0].place(16, rng) for mark in problem.network.marks(2, 1)
        ]
        ensemble = limit_ensemble(problem.layers, nodes, 2, 1, jnp.float64)
        numbers = sum(leaf.size for leaf in jax.tree.leaves(ensemble.parameters))
        found = []
        for rows in (1, 3, 7):
            monkeypatch.setattr("widelimit.ensemble.equations.ROW_NUMBERS", rows * numbers)
            found.append(
                system.equations.tangent_kernel(
                    system.dynamics.rates, ensemble, jnp.asarray(inputs)
                )
            )
        theta = ensemble.parameters
        slopes = jax.jacobian(
            lambda theta: system.equations.output(
                ensemble.at((theta, ensemble.memory)), jnp.asarray(inputs)
            )
        )(theta)
        plain = sum(
            jnp.tensordot((g / m).reshape(7, -1), g.reshape(7, -1), ([1], [1]))
            for g, m in zip(
                jax.tree.leaves(slopes), jax.tree.leaves(ensemble.masses()), strict=True
            )
        )
    for kernel in found:
        assert kernel.shape == (7, 1, 7, 1)
        np.testing.assert_allclose(kernel[:, 0, :, 0], plain, rtol=1e-10)


def test_a_kernel_sees_a_pulse():
    """Inputs move from 5 to 5.3 alone, and readouts always: K = E[φ φ'] at SciPy's inputs."""
    limit = solve(pulsed(60.0, input=pulse(5.0, 5.3, 4.0)), progress=False)
    found = limit.kernel(progress=False).isel(time=-1)
    start, p = [NEURONS[:, :1], NEURONS[:, 1:]], np.full(2, 0.5)
    end = plain(start, p, [5.0, 5.3, 60.0], lambda t, middle: (4.0 * (5 < middle < 5.3), 1.0))
    phi, still = (np.tanh(X @ w.T) for w in (end[0], start[0]))
    off = np.abs(found.kernel.squeeze().values - phi @ phi.T / 2)
    assert (off <= found.kernel_error.squeeze().values + 1e-12).all()
    assert found.kernel_error.max() < 1e-6
    assert np.abs(phi - still).max() > 0.01


@pytest.mark.slow
def test_kernels_move_less_the_larger_the_scale():
    """Movement falls like κ⁻² for readouts of both signs alike: fitted exponent −2 ± 0.15."""
    scales = [4.0, 8.0, 16.0]
    moved = []
    for scale in scales:
        limit = solve(at_scale(scale).with_changes(observe={"times": [0.0, 3.0]}), progress=False)
        found = limit.kernel(progress=False)
        assert float(found.movement_error[-1]) < 0.05 * float(found.movement[-1])
        moved.append(float(found.movement[-1]))
    assert abs(np.polyfit(np.log(scales), np.log(moved), 1)[0] + 2) < 0.15


def test_alignment_is_that_of_its_formula():
    """<K, y yᵀ>/(|K| |y|²) with the data's weights; training raises it where features are learned.

    A linear network learns the direction of its one target: its kernel's alignment rises.
    """
    rng = np.random.default_rng(0)
    x, share = rng.normal(size=(6, 3)), np.arange(1.0, 7.0) / 21
    y = x @ np.array([1.0, -2.0, 0.5])
    points = [
        [*w, a] for w, a in zip(0.3 * rng.normal(size=(4, 3)), (0.3, 0.2, 0.4, 0.1), strict=True)
    ]
    problem = small_problem(
        data={
            "source": "table",
            "inputs": x.tolist(),
            "targets": y.tolist(),
            "weights": share.tolist(),
        },
        network={
            "activations": ["identity"],
            "initial": {"neuron": {"law": "atoms", "points": points}},
        },
        training={"horizon": 5.0},
        observe={"times": [0.0, 5.0]},
    )
    found = solve(problem, progress=False).kernel(progress=False)
    for t in range(2):
        kernel = found.kernel.values[t, :, 0, :, 0]
        weighted = kernel * np.sqrt(np.outer(share, share))
        v = np.sqrt(share) * y
        expected = v @ weighted @ v / (np.linalg.norm(weighted) * (v @ v))
        assert float(found.alignment[t]) == pytest.approx(expected, rel=1e-9)
    assert float(found.alignment[1]) > float(found.alignment[0]) + 0.1


def test_what_has_no_kernel_is_refused():
    with pytest.raises(ValueError, match="these are networks"):
        train(small_problem(), progress=False).kernel()
    many = small_problem(observe={"times": 2, "inputs": np.zeros((1001, 2)).tolist()})
    limit = solve(small_problem(), progress=False)
    with pytest.raises(ProblemError, match="observe inputs with at most 1000 outputs"):
        type(limit)(many, limit.dataset, limit.states).kernel()
