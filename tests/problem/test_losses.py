"""Losses: their values by hand, the networks' gradient by automatic differentiation, mistakes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem, table
from widelimit import Problem, ProblemError, predict_fluctuations, solve, train
from widelimit.problem.training.losses import Huber, Logistic, Softmax, Squared

F, Y = np.array([0.3, -1.7, 2.0]), np.array([0.0, 1.0, 0.0])


def test_values_are_those_of_the_formulas():
    """Against SciPy-free formulas written out, at one point."""
    sigma = 1 / (1 + np.exp(-F))
    softmax = np.exp(F) / np.exp(F).sum()
    r = F - Y
    expected = [
        (Squared(), 0.5 * (r**2).sum()),
        (Squared(output_activation="sigmoid"), 0.5 * ((sigma - Y) ** 2).sum()),
        (Huber(width=0.5), np.where(abs(r) < 0.5, r**2 / 2, 0.5 * (abs(r) - 0.25)).sum()),
        (Logistic(), -(Y * np.log(sigma) + (1 - Y) * np.log(1 - sigma)).sum()),
        (Softmax(), -np.log(softmax[1])),
    ]
    for loss, value in expected:
        assert float(loss(jnp.asarray(F), jnp.asarray(Y))) == pytest.approx(value, rel=1e-6)


def with_loss(loss, **more):
    """Three classes in the plane, two hidden layers."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(9, 2))
    y = np.eye(3)[np.arange(9) % 3] if loss != "logistic" else (x[:, :1] > 0).astype(float)
    return small_problem(
        2,
        data={"source": "table", "inputs": x.tolist(), "targets": y.tolist()},
        training={"horizon": 1.0, "loss": loss},
        **more,
    )


LOSSES = [
    {"loss": "huber", "width": 0.3},
    {"loss": "squared", "output_activation": "sigmoid"},
    "logistic",
    "softmax",
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_one_step_is_the_gradient_of_a_plain_network(loss):
    """n · ∂R/∂A of (1/n) Σ A φ, written with jax.grad for the whole network, moves the readout."""
    problem = with_loss(
        loss,
        networks={"widths": [8], "seeds": 1, "method": "gd", "step": 1.0, "precision": "float64"},
        observe={"times": [0.0, 1.0]},
    )
    state = train(problem, progress=False).states["width_8_8"].to_dataset()
    start, end = state.isel(time=0), state.isel(time=1)
    data, function = problem.dataset, problem.training.loss

    def risk(readout):
        first = np.tanh(data.inputs @ start.input.values.T)
        last = np.tanh(first @ start.hidden_2.values / 8)
        return jnp.mean(jax.vmap(function)(last @ readout / 8, jnp.asarray(data.targets)))

    with jax.enable_x64(True):
        step = -8 * np.asarray(jax.grad(risk)(jnp.asarray(start.readout.values)))
    np.testing.assert_allclose(end.readout.values - start.readout.values, step, rtol=1e-9)


def test_a_loss_of_ones_own_is_that_loss():
    """½|f − y|² as a function gives the same limit as the name; it is refused in files."""
    own = with_loss(lambda f, y: 0.5 * jnp.sum((f - y) ** 2))
    found, named = (solve(p, progress=False).dataset for p in (own, with_loss("squared")))
    np.testing.assert_array_equal(found.output.values, named.output.values)
    with pytest.raises(ProblemError, match=r"training\.loss\.function: a function of one's own"):
        own.to_toml()


def test_two_classes_have_an_accuracy():
    """With the logistic loss a network says class 1 where its output is positive."""
    problem = with_loss("logistic")
    limit = solve(problem, progress=False).dataset
    right = (limit.output.values[..., 0] > 0) == (problem.dataset.targets[:, 0] > 0.5)
    np.testing.assert_allclose(limit.accuracy.values[:, 0], right.mean(axis=1))
    networks = train(problem, progress=False).dataset
    assert networks.accuracy.dims == ("width", "seed", "time", "part")


def test_a_loss_without_second_derivative_is_warned_of():
    """Fluctuations are derivatives of the flow."""
    raw = {"law": "atoms", "points": [[1.0, 0.4, 2.0], [-0.5, 1.0, 1.0]]}
    problem = small_problem(
        network={"activations": ["tanh"], "initial": {"neuron": raw}},
        training={"horizon": 0.5, "loss": "huber"},
    )
    warnings = predict_fluctuations(problem, [64], progress=False).warnings
    assert any("the loss 'huber' has no second derivative" in warning for warning in warnings)


LABELS = ["cat", "dog", "cow", "dog", "cat", "cat", "cow", "cow"]


def test_class_labels_become_one_hot(tmp_path):
    """Words in a table and in a csv file, and numbers; channels are the sorted labels."""
    inputs = table()["inputs"]
    data = {"source": "table", "inputs": inputs, "targets": LABELS, "classes": True}
    words = small_problem(data=data).dataset
    assert words.channels == ("cat", "cow", "dog")
    assert [words.channels[k] for k in words.targets.argmax(axis=1)] == LABELS
    rows = "\n".join(f"{a},{b},{c}" for (a, b), c in zip(inputs, LABELS, strict=True))
    (tmp_path / "animals.csv").write_text(f"x,y,animal\n{rows}\n", encoding="utf-8")
    source = {"source": "csv", "path": "animals.csv", "targets": ["animal"], "classes": True}
    read = Problem.from_dict(small_problem().as_dict() | {"data": source}, tmp_path).dataset
    np.testing.assert_array_equal(read.targets, words.targets)
    np.testing.assert_allclose(read.inputs, words.inputs)
    numbers = small_problem(data=data | {"targets": [3, 1, 2, 1, 3, 3, 2, 2]}).dataset
    assert numbers.channels == ("1", "2", "3")


@pytest.mark.parametrize(
    ("data", "loss", "said"),
    [
        ({"targets": LABELS}, "squared", "data.targets: found 'cat', which is not a number"),
        ({"targets": [1.0] * 8, "classes": True}, "squared", "the class 1.0 alone"),
        ({"targets": [[1.0, 2.0]] * 8, "classes": True}, "squared", "2 columns of targets"),
        ({"targets": [1.0] * 8}, "softmax", "training.loss: 'softmax' needs one output a class"),
        ({"targets": [[0.5, 0.6]] * 8}, "softmax", "point 0 has [0.5, 0.6]"),
        ({"targets": [0.5] * 7 + [2.0]}, "logistic", "point 7 has 2.0"),
        ({}, "hinge", "training.loss: found 'hinge'; the known losses are squared, huber"),
        ({}, {"loss": "huber", "wdth": 1.0}, "training.loss.wdth: unknown key; did you mean"),
        ({}, {"loss": "huber", "width": 0.0}, "training.loss.width: found 0.0; must be greater"),
        ({}, {"loss": "squared", "output_activation": "tan"}, "'tan'; the known activations"),
        ({}, 3, "training.loss: found 3; must be the name of a loss"),
    ],
)
def test_mistakes_are_told(data, loss, said):
    """With place, finding, and what is allowed."""
    with pytest.raises(ProblemError) as told:
        small_problem(data=table() | data, training={"horizon": 1.0, "loss": loss})
    assert said in str(told.value)
