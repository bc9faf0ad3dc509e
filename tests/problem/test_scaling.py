"""Laws and schedules times a factor: every quantile, every time, is so many times as large."""

import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter

from conftest import small_problem
from widelimit import ProblemError
from widelimit.problem.network.laws import Law
from widelimit.problem.parametrisation.scaling import scaled
from widelimit.problem.training.schedules import Schedule

FACTOR = 3.5

LAWS = {
    "normal": {"law": "normal", "mean": 0.3, "std": 2.0},
    "uniform": {"law": "uniform", "low": -1.0, "high": 2.0},
    "truncated": {"law": "truncated normal", "mean": -0.2, "std": 0.5, "cut": 1.5},
    "sphere": {"law": "sphere", "radius": 2.0},
    "mixture": {
        "law": "mixture",
        "components": [{"mean": 1.0, "std": 0.5, "weight": 0.3}, {"mean": -1.0, "weight": 0.7}],
    },
    "mixture of vectors": {
        "law": "mixture", "components": [{"mean": [1.0, 0.0]}, {"mean": [-1.0, 2.0]}]
    },
    "atoms": {"law": "atoms", "points": [-1.0, 2.0], "weights": [0.25, 0.75]},
    "atoms of vectors": {"law": "atoms", "points": [[1.0, 2.0], [3.0, 4.0]]},
    "product": {
        "law": "product",
        "factors": [{"law": "normal"}, {"law": "uniform", "low": 0.0, "high": 1.0}],
    },
    "own": lambda z: jnp.tanh(z) + 0.1,
}  # fmt: skip

SCHEDULES = {
    "constant": 0.7,
    "power": {"schedule": "power", "value": 2.0, "exponent": 0.5},
    "exponential": {"schedule": "exponential", "value": 2.0, "time": 3.0},
    "cosine": {"schedule": "cosine", "value": 2.0, "time": 3.0, "low": 0.5},
    "piecewise": {"schedule": "piecewise", "times": [1.0], "values": [2.0, 0.5]},
    "own": lambda t: 1 / (1 + t),
}


@pytest.mark.parametrize("name", LAWS)
def test_laws_are_stretched(name):
    law = TypeAdapter(Law).validate_python(LAWS[name])
    larger = scaled(law, FACTOR)
    assert type(larger) is type(law)
    z = np.random.default_rng(0).normal(size=(50, law.coordinates(2))).astype(np.float32)
    expected = FACTOR * np.asarray(law.transform(z), float)
    assert np.allclose(np.asarray(larger.transform(z), float), expected, rtol=1e-5)
    if not law.joint:
        assert larger.expectation() == pytest.approx(FACTOR * law.expectation())
        assert larger.deviation() == pytest.approx(FACTOR * law.deviation())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_stretched(name):
    schedule = TypeAdapter(Schedule).validate_python(SCHEDULES[name])
    larger = scaled(schedule, FACTOR)
    for t in (0.0, 0.5, 1.0, 2.5, 10.0):
        own, other = (
            float(s.family.at(jnp.asarray(t), *map(jnp.asarray, s.numbers())))
            for s in (schedule, larger)
        )
        assert other == pytest.approx(FACTOR * own, rel=1e-5)
    assert larger.highest() == pytest.approx(FACTOR * schedule.highest())


def test_nothing_else_is_stretched():
    with pytest.raises(TypeError, match="neither a law nor a schedule"):
        scaled("normal", FACTOR)


def test_one_learning_rate_multiplies_all():
    """Of every kind that is given, schedules too; decay stays, and the file holds the product."""
    rates = {
        "input": 0.5,
        "readout": {"schedule": "power", "value": 2.0, "exponent": 0.5, "time": 1.0},
    }
    own = {"horizon": 1.0, "learning_rate": 3.0, "learning_rates": rates, "weight_decay": 0.1}
    problem = small_problem(training=own)
    found = problem.training.learning_rates
    assert found.input.highest() == 1.5
    assert found.readout.highest() == 6.0
    assert problem.training.weight_decay is not None
    assert problem.training.weight_decay.input.highest() == 0.1
    again = type(problem).from_dict(problem.as_dict())
    assert again.training.learning_rates.input.highest() == 1.5
    assert again.training.learning_rate == 1.0
    residual = {"architecture": "residual", "stream": 2, "depth": 2}
    halved = small_problem(network=residual, training={"horizon": 1.0, "learning_rate": 0.5})
    given = small_problem(
        network=residual,
        training={"horizon": 1.0, "learning_rates": {"input": 0.5, "readout": 0.5}},
    )
    assert halved.as_dict() == given.as_dict()
    with pytest.raises(ProblemError, match=r"training\.learning_rate: found 0"):
        small_problem(training={"horizon": 1.0, "learning_rate": 0})
