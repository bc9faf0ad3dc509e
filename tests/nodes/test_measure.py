"""Quadrature of a population beside that of neurons, against tables of Gauss points."""

import numpy as np
import pytest

from widelimit import Problem, ProblemError, solve

NEURONS = [[1.0, 1.0], [-0.5, 2.0], [2.0, -1.0], [0.3, 3.0]]


def problem(data, inputs=1, **sections):
    """Four atoms of neurons: all of the error is that of the data's quadrature."""
    points = [[*[w] * inputs, a] for w, a in NEURONS]
    atoms = {"neuron": {"law": "atoms", "points": points}}
    return Problem.from_dict(
        {
            "network": {"activations": ["tanh"], "initial": atoms},
            "data": data,
            "training": {"horizon": 1.0},
            "limit": {"tolerance": 1e-4},
            "observe": {"times": [0.0, 1.0], "inputs": [[x] * inputs for x in (-1.0, 0.5, 2.0)]},
        }
        | sections
    )


def normal_points(count=300):
    x, p = np.polynomial.hermite_e.hermegauss(count)
    return x, p / p.sum()


def table(x, y, p):
    return {"source": "table", "inputs": x.tolist(), "targets": y.tolist(), "weights": p.tolist()}


def assert_same(found, expected):
    """Within 1.5 times the stated errors, which have been met."""
    assert found.met
    f, g = found.dataset, expected.dataset
    assert f.output_error.max() > 0
    assert (np.abs(f.output - g.output) < 1.5 * f.output_error + 1e-8).all()
    assert (np.abs(f.risk - g.risk) < 1.5 * f.risk_error + 1e-6).all()


def test_gaussian_inputs_are_gauss_hermite():
    x, p = normal_points()
    data = {
        "source": "population",
        "inputs": {"law": "gaussian", "dimension": 1},
        "target": {"formula": "sin(2*x1) + 1"},
    }
    assert_same(
        *(solve(problem(d), progress=False) for d in (data, table(x, np.sin(2 * x) + 1, p)))
    )


def test_mixtures_are_their_components():
    inputs = {
        "law": "mixture",
        "dimension": 1,
        "components": [
            {"weight": 0.25, "std": 1.5, "target": 1.0},
            {"weight": 0.75, "mean": -2.0, "std": 0.5, "target": -1.0},
        ],
    }
    z, p = normal_points()
    x, y = np.concatenate([1.5 * z, -2 + 0.5 * z]), np.repeat([1.0, -1.0], len(z))
    exact = table(x, y, np.concatenate([0.25 * p, 0.75 * p]))
    data = {"source": "population", "inputs": inputs}
    assert_same(*(solve(problem(d), progress=False) for d in (data, exact)))


def test_the_hypercube_is_all_its_corners():
    """Three dimensions: eight points, no error of quadrature."""
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 3)).reshape(3, 8).T
    exact = {"source": "table", "inputs": corners.tolist(), "targets": corners.prod(1).tolist()}
    data = {
        "source": "population",
        "inputs": {"law": "hypercube", "dimension": 3},
        "target": {"formula": "x1*x2*x3"},
    }
    found, expected = (solve(problem(d, 3), progress=False) for d in (data, exact))
    np.testing.assert_allclose(found.dataset.output, expected.dataset.output, atol=1e-9)
    np.testing.assert_allclose(found.dataset.risk, expected.dataset.risk, atol=1e-9)
    assert found.dataset.attrs["data_points"] == 8
    assert found.dataset.attrs["quadrature_error"] == 0


def test_teachers_are_small_networks():
    w, a = np.array([[1.0, 0.5], [0.0, -2.0]]), np.array([2.0, -1.0])
    teacher = {"teacher": w.tolist(), "activation": "relu", "readout": a.tolist()}
    data = {
        "source": "population",
        "inputs": {"law": "gaussian", "dimension": 4},
        "samples": 30,
        "target": teacher,
    }
    found = problem(data, 4).dataset
    expected = np.maximum(found.inputs[:, :2] @ w.T, 0) @ a / 2
    np.testing.assert_allclose(found.targets[:, 0], expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("target", "place", "said"),
    [
        ({"teacher": [[1.0] * 5]}, "data.target.teacher", ["rows of 5", "dimension is 4"]),
        ({"teacher": [[1.0]], "readout": [1.0, 2.0]}, "data.target.readout", ["2 numbers for 1"]),
        ({"teacher": [[1.0]], "activation": "tnah"}, "data.target.activation", ["known act"]),
        ({"teacher": "x1"}, "data.target.teacher", ["non-empty list"]),
        ({"teacher": [[1.0]], "redout": [1.0]}, "data.target.redout", ["did you mean 'readout'"]),
    ],
)
def test_teachers_that_are_refused(target, place, said):
    data = {"source": "population", "inputs": {"law": "gaussian", "dimension": 4}, "target": target}
    with pytest.raises(ProblemError) as caught:
        problem(data, 4)
    (sentence,) = caught.value.mistakes
    assert sentence.startswith(f"{place}: ")
    for words in said:
        assert words in sentence


def test_what_needs_finite_data_says_so():
    data = {
        "source": "population",
        "inputs": {"law": "gaussian", "dimension": 1},
        "target": {"formula": "x1"},
    }
    limit = solve(problem(data, limit={"tolerance": 0.1}), progress=False)
    for asked in (limit.kernel, lambda: limit.fluctuations([100])):
        with pytest.raises(ProblemError, match=r"data.samples: is missing.*data.samples = n"):
            asked()
