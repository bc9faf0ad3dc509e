"""The certificate: a bound that holds, a supremum that is found, and what has none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem
from widelimit import ProblemError, solve, train
from widelimit.limit.certificate import _effect, _largest, optimality_gap

UNITS, READOUTS = np.array([[1.5, -0.5], [-0.3, 1.0]]), np.array([0.8, -0.6])


def taught(loss="squared", **sections):
    """Targets of two units: the least risk of networks with their path norm is zero."""
    x = np.random.default_rng(0).normal(size=(12, 2))
    y = np.tanh(x @ UNITS.T) @ READOUTS
    targets = (y > 0).astype(float) if loss == "logistic" else y
    return small_problem(
        data={"source": "table", "inputs": x.tolist(), "targets": targets.tolist()},
        training={"horizon": 20.0, "loss": loss},
        observe={"times": [0.0, 5.0, 20.0]},
        network={"activations": ["tanh"], "output_bias": True},
        **sections,
    )


def test_the_risk_is_within_the_gap():
    """R − 0 ≤ gap at all times; both fall in training."""
    limit = solve(taught(limit={"tolerance": 1e-3}), progress=False)
    bound = float(np.abs(READOUTS).sum())
    found = optimality_gap(limit, bound=bound, radius=1.5, progress=False)
    bias = limit.states["limit"].to_dataset()["output_bias"].values[:, 0]
    x, y = limit.problem.dataset.inputs, limit.problem.dataset.targets[:, 0]
    shifted = 0.5 * ((np.tanh(x @ UNITS.T) @ READOUTS + bias[:, None] - y) ** 2).mean(axis=1)
    excess = found.risk.values - shifted  # the teacher with the limit's own output bias
    assert (excess <= found.gap + found.gap_error + 1e-9).all()
    assert float(found.gap[-1]) < 0.2 * float(found.gap[0])
    assert (found.reached > 0).all()


def test_the_supremum_is_that_of_a_grid():
    """The search against 301 × 301 units of the box: 1e-3."""
    problem = taught("logistic")
    rng = np.random.default_rng(1)
    effect = _effect(problem, rng.normal(size=(12, 1)) / 12)
    axis = np.linspace(-3, 3, 301)
    grid = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    with jax.enable_x64(True):
        best, reached = _largest(effect, rng.normal(size=(8, 2)), 3.0, 32, 0)
        found = float(np.sqrt(2 * jax.vmap(effect)(jnp.asarray(grid)).max()))
    assert best >= found * (1 - 1e-9)
    assert best == pytest.approx(found, rel=1e-3)
    assert 0 < reached <= 1


def test_a_stationary_limit_that_is_not_optimal_has_a_gap():
    """All learning rates 0: the gap stays, and is at least what training would gain."""
    still = {"horizon": 1.0, "learning_rates": {"input": 0.0, "readout": 0.0}}
    problem = taught().with_changes(training=still, observe={"times": [0.0, 1.0]})
    found = optimality_gap(solve(problem, progress=False), progress=False)
    np.testing.assert_allclose(found.gap[0], found.gap[1], rtol=1e-6)
    assert float(found.gap[0]) > 0.1


def test_what_has_no_certificate_is_refused():
    with pytest.raises(ValueError, match="these are networks"):
        optimality_gap(train(small_problem(), progress=False))
    deep = small_problem(
        2,
        observe={"times": 2, "inputs": [[0.0, 0.0]]},
        training={"horizon": 0.1, "loss": {"loss": "squared", "output_activation": "tanh"}},
    )
    with pytest.raises(ProblemError) as told:
        optimality_gap(solve(deep, progress=False))
    places = [mistake.partition(":")[0] for mistake in told.value.mistakes]
    assert places == ["network.activations", "training.loss", "observe.inputs"]
