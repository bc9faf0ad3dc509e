"""The scale κ that joins mean field and tangent kernel, against arc-sine kernel regression."""

import numpy as np
from scipy.linalg import expm

from conftest import small_problem, table
from widelimit import solve

POINTS = 6


def erf_kernel(x):
    """K_0 of f = E[a erf(w·x)], w ~ N(0, I), a = ±1: E[φφ'] + x·x' E[φ'φ'], in closed form.

    E[erf(u) erf(v)] = (2/π) arcsin(2 c/√((1 + 2p)(1 + 2q))), p, q, c the variances and covariance
    of u and v, and E[erf'(u) erf'(v)] = (4/π)/√((1 + 2p)(1 + 2q) − 4c²) (Williams 1997).
    """
    gram = x @ x.T
    own = 1 + 2 * np.diag(gram)
    whole = np.outer(own, own)
    values = 2 / np.pi * np.arcsin(2 * gram / np.sqrt(whole))
    return values + gram * 4 / np.pi / np.sqrt(whole - 4 * gram**2)


def at_scale(scale):
    """Input weights N(0, 1) in the plane, readouts ±1: the output starts at zero."""
    return small_problem(
        network={
            "activations": ["erf"],
            "scale": scale,
            "initial": {"readout": {"law": "atoms", "points": [-1.0, 1.0]}},
        },
        data=table(points=POINTS),
        training={"horizon": 3.0},
        limit={"tolerance": 1e-6},
        observe={"times": [1.0, 3.0]},
    )


def test_error_of_kernel_regression_falls_like_the_square_of_the_scale():
    """f(t) = (1 − exp(−K_0 t/n)) y + O(κ⁻²): fitted exponent −2 ± 0.15."""
    problem = at_scale(1.0)
    kernel = erf_kernel(problem.dataset.inputs) / POINTS
    y = problem.dataset.targets[:, 0]
    expected = np.stack([(np.eye(POINTS) - expm(-kernel * t)) @ y for t in problem.times])
    scales, off = [4.0, 8.0, 16.0], []
    for scale in scales:
        found = solve(at_scale(scale), progress=False).dataset
        off.append(np.sqrt(np.mean((found.output.values[..., 0] - expected) ** 2)))
    exponent = np.polyfit(np.log(scales), np.log(off), 1)[0]
    assert abs(exponent + 2) < 0.15
    assert off[-1] < 1e-3


def test_a_scale_moves_outputs_and_readouts_as_its_formula_says():
    """Frozen features: f = κ E[a φ] with rate ξ/κ² is f = E[a φ] from another start."""
    frozen = {"learning_rates": {"input": 0.0}, "horizon": 1.0}
    initial = {"neuron": {"law": "atoms", "points": [[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4]]}}
    scaled, plain = (
        solve(
            small_problem(
                network={"activations": ["tanh"], "scale": k, "initial": law}, training=frozen
            ),
            progress=False,
        ).dataset.output.values
        for k, law in [
            (3.0, initial),
            (1.0, {"neuron": {"law": "atoms", "points": [[1.0, 0.5, 6.0], [-0.7, 1.2, 1.2]]}}),
        ]
    )
    np.testing.assert_allclose(scaled, plain, atol=1e-8)
