"""Initial laws: draws against their distribution functions, moments, quadrature, both worlds."""

import jax
import numpy as np
import pytest
from scipy import stats

from conftest import small_problem
from widelimit import ProblemError, compare, solve, train
from widelimit.problem.network.laws import (
    Component,
    Mixture,
    Normal,
    Product,
    Sphere,
    TruncatedNormal,
    Uniform,
)

COMPONENTS = (Component(weight=0.25, mean=-1.0, std=0.3), Component(weight=0.75, mean=2.0, std=0.8))
MIXED = Mixture(components=COMPONENTS)


def mixed_cdf(x):
    """P(X ≤ x) for the mixture above."""
    return 0.25 * stats.norm.cdf(x, -1, 0.3) + 0.75 * stats.norm.cdf(x, 2, 0.8)


SINGLE = {
    "truncated": (
        TruncatedNormal(mean=1.0, std=0.5, cut=1.5),
        stats.truncnorm(-1.5, 1.5, 1.0, 0.5),
    ),
    "uniform": (Uniform(low=-1.0, high=2.0), stats.uniform(-1.0, 3.0)),
}


@pytest.mark.parametrize("name", SINGLE)
def test_quantiles_and_moments_are_scipys(name):
    """transform(z) is the quantile at Φ(z), by NumPy and by JAX."""
    law, known = SINGLE[name]
    z = np.linspace(-4, 4, 41)
    expected = known.ppf(stats.norm.cdf(z))
    np.testing.assert_allclose(law.transform(z), expected, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(law.transform(jax.numpy.asarray(z)), expected, atol=2e-5)
    assert law.expectation() == pytest.approx(known.mean(), abs=1e-12)
    assert law.deviation() == pytest.approx(known.std(), rel=1e-12)


def test_a_mixture_of_numbers_has_its_quantiles_and_moments():
    """F(transform(z)) = Φ(z); mean and variance by the laws of total expectation and variance."""
    z = np.linspace(-4, 4, 41)
    np.testing.assert_allclose(mixed_cdf(MIXED.transform(z)), stats.norm.cdf(z), atol=1e-12)
    found = MIXED.transform(jax.numpy.asarray(z))
    np.testing.assert_allclose(mixed_cdf(np.asarray(found, float)), stats.norm.cdf(z), atol=1e-5)
    mean = 0.25 * -1 + 0.75 * 2
    assert MIXED.expectation() == pytest.approx(mean)
    square = 0.25 * (1 + 0.09) + 0.75 * (4 + 0.64)
    assert MIXED.deviation() == pytest.approx(np.sqrt(square - mean**2))


def test_laws_of_vectors():
    """Norms on a sphere; components of a mixture; each factor's own law. 4,000 draws, 5 errors."""
    z = np.random.default_rng(0).normal(size=(4000, 3))
    on_sphere = Sphere(radius=2.0).transform(z)
    np.testing.assert_allclose(np.linalg.norm(on_sphere, axis=1), 2.0)
    assert (np.abs(on_sphere.mean(axis=0)) < 5 * 2 / np.sqrt(3 * 4000)).all()
    means = ((0.0, 10.0), (10.0, 0.0))
    law = Mixture(components=tuple(Component(mean=m, std=0.1) for m in means))
    vectors = law.transform(z)
    first = vectors[:, 1] > 5
    assert abs(first.mean() - 0.5) < 5 * 0.5 / np.sqrt(4000)
    np.testing.assert_allclose(vectors[first].mean(axis=0), means[0], atol=5 * 0.1 / np.sqrt(1900))
    np.testing.assert_allclose(vectors[~first].mean(axis=0), means[1], atol=5 * 0.1 / np.sqrt(1900))
    product = Product(factors=(Normal(mean=3.0, std=0.5), Uniform(low=0.0, high=1.0)))
    found = product.transform(z[:, :2])
    np.testing.assert_allclose(found[:, 0], 3 + 0.5 * z[:, 0])
    np.testing.assert_allclose(found[:, 1], stats.norm.cdf(z[:, 1]))


PLACES = {
    "sphere": {"input": {"law": "sphere", "radius": 2.0}},
    "mixture of vectors": {
        "input": {
            "law": "mixture",
            "components": [{"mean": [1.5, 0.0], "std": 0.3}, {"mean": [-0.5, 1.0], "std": 0.5}],
        }
    },
    "product": {
        "input": {
            "law": "product",
            "factors": [{"law": "uniform", "low": 0.0, "high": 2.0}, {"law": "normal", "std": 0.5}],
        }
    },
    "mixture of numbers": {
        "readout": {
            "law": "mixture",
            "components": [{"mean": -0.5, "std": 0.2}, {"mean": 2.0, "std": 0.4}],
        }
    },
    "truncated": {
        "input": {"law": "truncated normal"},
        "readout": {"law": "truncated normal", "mean": 1.0, "cut": 1.0},
    },
}


@pytest.mark.parametrize("name", PLACES)
def test_the_limit_starts_where_many_draws_do(name):
    """f at time zero against the mean of 2^18 draws by SciPy's generators, 5 standard errors."""
    problem = small_problem(1, network={"activations": ["tanh"], "initial": PLACES[name]})
    problem = problem.with_changes(observe={"times": [0.0]}, limit={"tolerance": 2e-3})
    limit = solve(problem, progress=False)
    assert limit.met
    rng, count = np.random.default_rng(1), 2**18
    w, a = rng.normal(size=(count, 2)), 1 + rng.normal(size=count)
    if name == "sphere":
        angle = rng.uniform(0, 2 * np.pi, count)
        w = 2 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    elif name == "mixture of vectors":
        one = rng.random(count) < 0.5
        w = np.where(one[:, None], [1.5, 0] + 0.3 * w, [-0.5, 1.0] + 0.5 * w)
    elif name == "product":
        w = np.stack([rng.uniform(0, 2, count), 0.5 * w[:, 1]], axis=1)
    elif name == "mixture of numbers":
        a = np.where(
            rng.random(count) < 0.5, rng.normal(-0.5, 0.2, count), rng.normal(2, 0.4, count)
        )
    else:
        w = stats.truncnorm(-2, 2).rvs((count, 2), random_state=rng)
        a = stats.truncnorm(-1, 1, 1.0, 1.0).rvs(count, random_state=rng)
    each = a[:, None] * np.tanh(w @ problem.dataset.inputs.T)
    bound = 5 * each.std(axis=0) / np.sqrt(count) + limit.dataset.output_error.values[0, :, 0]
    off = np.abs(limit.dataset.output.values[0, :, 0] - each.mean(axis=0))
    np.testing.assert_array_less(off, bound)


def test_an_array_is_an_empirical_law():
    """Atoms take an array as it is, one row a neuron."""
    points = np.random.default_rng(0).normal(size=(50, 3))
    law = {"law": "atoms", "points": points}
    problem = small_problem(network={"activations": ["tanh"], "initial": {"neuron": law}})
    found = solve(problem, progress=False).dataset.output.values[0, :, 0]
    expected = np.tanh(problem.dataset.inputs @ points[:, :2].T) @ points[:, 2] / 50
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", PLACES)
def test_networks_come_to_the_limit(name):
    """Exponent −1/2 ± 0.1 with 60 seeds (the fit scatters by about 0.03; seeds are fixed)."""
    problem = small_problem(
        1,
        network={"activations": ["tanh"], "initial": PLACES[name]},
        networks={"widths": [32, 128, 512], "seeds": 60},
        limit={"tolerance": 2e-3},
    )
    fit = compare(solve(problem, progress=False), train(problem, progress=False)).exponent[-1]
    print(f"\n{name}: {fit}", end="")
    assert abs(fit["value"] + 0.5) < 0.1


@pytest.mark.parametrize(
    ("initial", "said"),
    [
        ({"hidden": {"law": "sphere"}}, "network.initial.hidden"),
        (
            {"input": {"law": "product", "factors": [{"law": "normal"}]}},
            "with 1 entries; the layers and the data",
        ),
        (
            {"input": {"law": "mixture", "components": [{"mean": 1.0}, {"mean": [1.0, 2.0]}]}},
            "network.initial.input.components: their means must all be numbers",
        ),
        (
            {"input": {"law": "mixture", "components": [{"weight": 0.2}, {"weight": 0.2}]}},
            "network.initial.input.components: found weights that sum to 0.4",
        ),
        ({"input": {"law": "truncated normal", "cut": 0.0}}, "network.initial.input.cut: found 0"),
        ({"input": {"law": "sphere", "radius": -1.0}}, "network.initial.input.radius: found -1"),
    ],
)
def test_mistakes_are_told(initial, said):
    """With place and finding."""
    with pytest.raises(ProblemError) as told:
        small_problem(2, network={"activations": ["tanh"] * 2, "initial": initial})
    assert said in str(told.value)
