"""Populations as data: laws of inputs, formulas, samples, and fresh points at every step."""

import copy

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from widelimit import Problem, ProblemError, solve, train
from widelimit.motion.draws import Fresh
from widelimit.problem.data.formula import evaluate
from widelimit.problem.data.population import EVALUATION, OBSERVED
from widelimit.results.trajectory import Trajectory

MANY = 40_000

TWO_CLASSES = {
    "law": "mixture",
    "dimension": 2,
    "components": [
        {"weight": 0.25, "std": 1.5, "target": 1.0},
        {"weight": 0.75, "mean": [1.0, -2.0], "std": 0.5, "target": -1.0},
    ],
}


def population(inputs=None, formula: str | None = "x1", **keys):
    """A problem with population data; keys replace sections, keys of `data` are merged."""
    data = {"source": "population", "inputs": inputs or {"law": "gaussian", "dimension": 2}}
    if formula is not None:
        data["target"] = {"formula": formula}
    raw = {
        "network": {"activations": ["tanh"]},
        "data": data | keys.pop("data", {}),
        "training": {"horizon": 0.5},
        "observe": {"times": 3},
        "networks": {"widths": [8], "seeds": 3},
    }
    return Problem.from_dict(raw | keys)


def sample(inputs, formula: str | None = "x1", samples=MANY, seed=0):
    return population(inputs, formula, data={"samples": samples}, seed=seed).dataset


def assert_mean(values, expected):
    """Columns of independent rows: within 5 standard errors, false alarm 6e-7 a column."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert np.all(np.abs(values.mean(axis=0) - expected) <= 5 * error + 1e-12)


# Laws


@pytest.mark.parametrize(
    ("inputs", "second", "fourth"),
    [
        ({"law": "gaussian", "dimension": 3, "std": 0.7}, 0.7**2, 3 * 0.7**4),
        ({"law": "hypercube", "dimension": 3}, 1.0, 1.0),
        ({"law": "sphere", "dimension": 3}, 1.0, 9 / 5),  # E x⁴ = 3 d/(d + 2) at |x|² = d
        ({"law": "sphere", "dimension": 3, "radius": 2.0}, 4 / 3, 16 / 5),
    ],
)
def test_moments_of_symmetric_laws(inputs, second, fourth):
    x = sample(inputs).inputs
    assert x.shape == (MANY, 3)
    assert_mean(x, 0.0)
    assert_mean(x**2, second)
    assert_mean(x**4, fourth)
    assert_mean(np.stack([x[:, 0] * x[:, 1], x[:, 1] * x[:, 2]], axis=1), 0.0)


def test_points_lie_on_their_sphere_and_cube():
    on_sphere = sample({"law": "sphere", "dimension": 5}, samples=50).inputs
    np.testing.assert_allclose((on_sphere**2).sum(axis=1), 5.0, rtol=1e-12)
    assert set(np.unique(sample({"law": "hypercube", "dimension": 5}, samples=50).inputs)) == {
        -1.0,
        1.0,
    }


def test_mixtures_have_their_components():
    data = sample(TWO_CLASSES, None)
    first = data.targets[:, 0] == 1.0
    assert set(np.unique(data.targets)) == {-1.0, 1.0}
    assert_mean(first.astype(float)[:, None], 0.25)
    for chosen, mean, std in ((first, [0.0, 0.0], 1.5), (~first, [1.0, -2.0], 0.5)):
        assert_mean(data.inputs[chosen], mean)
        assert_mean((data.inputs[chosen] - mean) ** 2, std**2)


def test_mixtures_without_targets_of_their_own_take_a_formula():
    inputs = copy.deepcopy(TWO_CLASSES)
    for component in inputs["components"]:
        del component["target"], component["weight"]
    data = sample(inputs, "x1 - x2")
    assert_mean(data.inputs, [0.5, -1.0])  # equally likely
    np.testing.assert_allclose(data.targets[:, 0], data.inputs[:, 0] - data.inputs[:, 1])


# Formulas


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("x1 + 2*x2 - x3/4", lambda a, b, c: a + 2 * b - c / 4),
        ("-x1**2 + +x2", lambda a, b, c: -(a**2) + b),
        ("(-x1)**3", lambda a, b, c: -(a**3)),
        ("tanh(x1) * sin(x2) * cos(x3)", lambda a, b, c: np.tanh(a) * np.sin(b) * np.cos(c)),
        ("exp(sign(x1)) - abs(x2)", lambda a, b, c: np.exp(np.sign(a)) - np.abs(b)),
        ("sqrt(x3**2 + 1e-3)", lambda a, b, c: np.sqrt(c**2 + 1e-3)),
        (" 3 ", lambda a, b, c: np.full_like(a, 3.0)),
    ],
)
def test_formulas_are_numpys(formula, expected):
    data = sample({"law": "gaussian", "dimension": 3}, formula, samples=20)
    np.testing.assert_allclose(data.targets[:, 0], expected(*data.inputs.T), rtol=1e-12)


def test_formulas_keep_the_precision_of_their_inputs():
    for dtype in (jnp.float32, jnp.float16):
        assert evaluate("x1 + 2.5", jnp.ones((3, 1), dtype)).dtype == dtype


def test_long_sums_are_read():
    terms = " + ".join(f"x{k}" for k in range(1, 201))
    data = sample({"law": "hypercube", "dimension": 200}, terms, samples=3)
    np.testing.assert_allclose(data.targets[:, 0], data.inputs.sum(axis=1))


# Samples


def test_samples_are_drawn_by_the_seed_and_are_all_the_data():
    inputs = {"law": "gaussian", "dimension": 2}
    assert sample(inputs, samples=50).digest() == sample(inputs, samples=50).digest()
    assert sample(inputs, samples=50).digest() != sample(inputs, samples=50, seed=1).digest()
    problem = population(data={"samples": 50, "holdout": 0.2})
    assert problem.dataset.inputs.shape == (40, 2)
    assert problem.dataset.holdout_inputs.shape == (10, 2)
    assert problem.observed_inputs is problem.dataset.inputs
    assert problem.population is None


def test_a_sample_is_solved_and_trained_like_the_table_of_its_points():
    problem = population(data={"samples": 12})
    data = problem.dataset
    rows = {"source": "table", "inputs": data.inputs.tolist(), "targets": data.targets.tolist()}
    table = Problem.from_dict(problem.as_dict() | {"data": rows})
    for compute in (solve, train):
        found, expected = (compute(p, progress=False).dataset for p in (problem, table))
        np.testing.assert_array_equal(found.output, expected.output)
        assert "risk_error" in found or compute is train


def test_the_problem_survives_its_own_file(tmp_path):
    for problem in (population(TWO_CLASSES, None), population(data={"samples": 5})):
        path = tmp_path / "copy.toml"
        path.write_text(problem.to_toml(), encoding="utf-8")
        again = Problem.from_file(path)
        assert again.as_dict() == problem.as_dict()
        assert again.digest("data") == problem.digest("data")


# Fresh points


def test_without_samples_the_risk_is_measured_on_a_sample_of_its_own():
    problem = population(TWO_CLASSES, None)
    assert problem.dataset.inputs.shape == (EVALUATION, 2)
    np.testing.assert_array_equal(problem.observed_inputs, problem.dataset.inputs[:OBSERVED])
    same = population(TWO_CLASSES, None, data={"samples": EVALUATION})
    assert not np.any(np.isin(same.dataset.inputs, problem.dataset.inputs))


def keys(problem: Problem) -> jax.Array:
    """The data keys of the networks of the only width, made as documented."""
    (width,) = problem.networks.widths[0]
    base = jax.random.fold_in(jax.random.key(problem.seed), width)
    own = [jax.random.fold_in(base, s) for s in range(problem.networks.seeds)]
    data = [jax.random.split(key)[1] for key in own]
    return jnp.stack([jax.random.fold_in(key, 0) for key in data])  # 0: points of the data


def plain_sgd(networks: Trajectory, seed: int) -> np.ndarray:
    """Input weights after a plain loop of SGD from the initial weights of one network."""
    problem = networks.problem
    (width,), batch = problem.networks.widths[0], problem.networks.batch
    state = networks.states[f"width_{width}"].to_dataset().isel(seed=seed, time=0)
    w, a = state["input"].values.astype(float), state["readout"].values[:, 0].astype(float)
    assert problem.population is not None
    source, key = Fresh(problem.population, batch), keys(problem)[seed]
    steps = round(problem.training.horizon * width)
    for k in range(steps):
        points = source.batch(key, k, jnp.float32)
        x, y = np.asarray(points.inputs, float), np.asarray(points.targets, float)[:, 0]
        h = np.tanh(x @ w.T)
        slope = (h @ a / width - y) / batch
        moved = (slope[:, None] * a * (1 - h**2)).T @ x
        a = a - h.T @ slope / width
        w = w - moved / width
    return w


@pytest.fixture(scope="module")
def networks() -> Trajectory:
    """Two networks after 600 steps, more than one block."""
    problem = population(
        TWO_CLASSES,
        None,
        training={"horizon": 37.5},
        observe={"times": [0.0, 3.3, 37.5]},
        networks={"widths": [16], "seeds": 2, "states": 2, "batch": 3},
    )
    return train(problem, progress=False)


def test_every_step_of_sgd_takes_fresh_points_of_the_networks_own_stream(networks):
    """Against a plain loop over the same points."""
    final = networks.states["width_16"].to_dataset()["input"].values[:, -1]
    for seed in range(2):
        np.testing.assert_allclose(final[seed], plain_sgd(networks, seed), atol=2e-4)


def test_the_same_points_whatever_the_cuts_and_the_sweep():
    few = train(population(networks={"widths": [8], "seeds": 2}), progress=False).dataset
    other = population(
        networks={"widths": [16, 8], "seeds": 4},
        observe={"times": [0.0, 0.1, 0.2, 0.37, 0.5]},
    )
    many = train(other, progress=False).dataset.sel(width=8)
    np.testing.assert_allclose(
        many.output.sel(time=0.5).values[:2], few.output.sel(width=8, time=0.5), atol=1e-5
    )


def test_the_points_have_the_law_of_the_population():
    """Means and squares over 4,000 steps and 2 keys, 5 standard errors each: false alarm 5e-6."""
    problem = population(TWO_CLASSES, None)
    assert problem.population is not None
    source = Fresh(problem.population, 1)
    steps = jnp.arange(4000)
    for key in keys(problem)[:2]:
        points = jax.vmap(lambda k, key=key: source.batch(key, k, jnp.float32))(steps)
        x, y = np.asarray(points.inputs)[:, 0], np.asarray(points.targets)[:, 0]
        assert_mean(y, -0.5)
        assert_mean(x, [0.75, -1.5])
        assert_mean(x**2, [0.25 * 2.25 + 0.75 * 1.25, 0.25 * 2.25 + 0.75 * 4.25])


def test_frozen_features_follow_their_closed_form():
    """x = ±1, y = 2x, atoms w = 1, readouts alone move: E a after k steps is that of gradient flow.

    h = tanh(±1), so x h and h² do not depend on the point: every path is the same,
    a_k = c + (1 − ε h²)^k (a_0 − c) with c = 2/h.
    """
    problem = population(
        {"law": "hypercube", "dimension": 1},
        "2*x1",
        network={
            "activations": ["tanh"],
            "initial": {"neuron": {"law": "atoms", "points": [[1.0, 0.5]]}},
        },
        training={"horizon": 2.0, "learning_rates": {"input": 0.0}},
        networks={"widths": [64], "seeds": 2, "precision": "float64"},
        observe={"inputs": [[1.0]], "times": [0.0, 2.0]},
    )
    h = np.tanh(1.0)
    a = 2 / h + (1 - h**2 / 64) ** 128 * (0.5 - 2 / h)
    found = train(problem, progress=False).dataset
    np.testing.assert_allclose(found.output.values[0, :, -1, 0, 0], a * h, rtol=1e-12)
    np.testing.assert_allclose(found.risk[0, :, -1], (a * h - 2) ** 2 / 2, rtol=1e-9)
    np.testing.assert_allclose(found.risk_error, 0.0, atol=1e-12)


def test_fresh_points_lead_to_the_limit_over_the_population():
    """One Gaussian input: the limit on 24 Gauss–Hermite points; the distance falls with the width.

    At a rate n^(-1/2) widths 16 and 256 differ by a factor 4. With 100 networks each, a ratio
    below 2 would need a mean square off by a factor 4: chi-square with 100 degrees of freedom or
    more, probability under 1e-12.
    """
    x, p = np.polynomial.hermite_e.hermegauss(24)
    atoms = {"law": "atoms", "points": [[1.0, 1.0], [-0.5, 2.0], [2.0, -1.0], [0.3, 3.0]]}
    common = {
        "network": {"activations": ["tanh"], "initial": {"neuron": atoms}},
        "training": {"horizon": 1.0},
        "observe": {"times": [0.0, 1.0], "inputs": [[-1.0], [0.5], [2.0]]},
    }
    rows = {
        "source": "table",
        "inputs": x.tolist(),
        "targets": (np.sin(x) + 1).tolist(),
        "weights": (p / p.sum()).tolist(),
    }
    limit = solve(Problem.from_dict({"data": rows, **common}), progress=False)
    problem = population(
        {"law": "gaussian", "dimension": 1},
        "sin(x1) + 1",
        networks={"widths": [16, 256], "seeds": 100},
        **common,
    )
    networks = train(problem, progress=False)
    difference = (networks.dataset.output - limit.dataset.output).isel(time=-1)
    narrow, wide = np.sqrt((difference**2).mean(["seed", "input", "channel"]).values)
    assert 2.0 < narrow / wide < 8.0


def test_the_error_of_the_risk_is_that_of_its_sample(networks):
    """Against a sample ten times as large: the difference is 1.05 standard errors of the smaller.

    2.5 half-widths of 95 % are 4.7 standard errors of the difference: false alarm 3e-6.
    """
    d, state = networks.dataset.isel(seed=0, time=0), networks.states["width_16"].to_dataset()
    data = sample(TWO_CLASSES, None, samples=10 * EVALUATION)
    w, a = (state[name].values[0, 0].astype(float) for name in ("input", "readout"))
    f = np.tanh(data.inputs @ w.T) @ a / 16
    risk = 0.5 * np.mean((f - data.targets) ** 2)
    assert networks.dataset.attrs["draw"] == "fresh"
    assert networks.dataset.attrs["evaluation_points"] == EVALUATION
    assert 0 < abs(float(d.risk[0]) - risk) < 2.5 * float(d.risk_error[0])


# Mistakes


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("data.inputs.law", "gauss", ["found 'gauss'", "'gaussian', 'hypercube', 'sphere', 'mix"]),
        ("data.inputs", [1.0], ["found [1.0]", "must be a table"]),
        ("data.inputs.dimension", "inf", ["found 'inf' beside [networks]", "finite dimension"]),
        ("data.inputs.dimension", 0, ["found 0", "from 1 on, or 'inf'"]),
        ("data.inputs.dimension", 10**6, ["4096 points with 1000000 inputs", "ask for less"]),
        ("data.inputs.std", -1.0, ["found -1.0", "greater than 0"]),
        ("data.inputs.sdt", 1.0, ["did you mean 'std'"]),
        ("data.inputs", {"law": "gaussian"}, ["inputs.dimension: is missing"]),
        ("data.inputs", {"law": "sphere", "dimension": 2, "radius": 0}, ["radius: found 0"]),
        ("data.samples", 0, ["found 0", "greater than or equal to 1"]),
        ("data.samples", 10**8, ["100000000 points with 2 inputs", "ask for less"]),
        ("data.sample", 10, ["did you mean 'samples'"]),
        ("data.holdout", 0.2, ["needs a finite data set", "data.samples = n"]),
        ("data.target", {"formula": 3}, ["formula: found 3", "string"]),
        ("data.target", "x1", ["found 'x1'", "must be a table"]),
        ("networks.method", "gd", ["found 'gd'", "finite data set", "data.samples = n"]),
        ("networks.method", "flow", ["found 'flow'", "data.samples = n", "'sgd'"]),
        ("networks.draw", "epochs", ["found 'epochs'", "finite data set", "fresh"]),
        ("observe.inputs", [[1.0]], ["rows of 1", "the data have 2"]),
    ],
)
def test_mistakes(place, value, said):
    raw = population().as_dict()
    *path, key = place.split(".")
    here = raw
    for name in path:
        here = here[name]
    here[key] = value
    assert_only_mistake(raw, place, said)


def assert_only_mistake(raw, place, said):
    with pytest.raises(ProblemError) as caught:
        Problem.from_dict(raw)
    (sentence,) = caught.value.mistakes
    assert sentence.startswith(place)
    for words in said:
        assert words in sentence


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        ("x3", ["found 'x3'", "x1 … x2"]),
        ("x0 + x1", ["found 'x0'"]),
        ("y", ["found 'y'"]),
        ("tnah(x1)", ["found 'tnah'", "did you mean 'tanh'"]),
        ("x1^2", ["found 'x1 ^ 2'", "**"]),
        ("x1 +", ["cannot be read", "allowed are"]),
        ("", ["cannot be read"]),
        ("x1\0", ["cannot be read"]),
        ("x1 < 2", ["found 'x1 < 2'", "allowed are"]),
        ("sin(x1, x2)", ["found 'sin(x1, x2)'"]),
        ("sin(*x1)", ["found '*x1'"]),
        ("True", ["found 'True'"]),
        ("1e999", ["allowed are"]),
        ("'x1'", ["allowed are"]),
        ("[x1 for x1 in x2]", ["allowed are"]),
        ("__import__('os').system('true')", ["allowed are"]),
        ("open('file')", ["found 'open'"]),
        ("x1.__class__", ["allowed are"]),
        ("lambda: 0", ["allowed are"]),
        ("(x1 := 2)", ["allowed are"]),
        ("-" * 5000 + "x1", ["nested deeper than 300"]),
        ("x1" + " + x1" * 301, ["nested deeper than 300"]),
        ("sqrt(x1)", ["is nan at x = (", "finite everywhere"]),
        ("1/(x1 - x1)", ["finite everywhere"]),
        ("9**9**9**9", ["is inf at x = ("]),
    ],
)
def test_formulas_that_are_refused(formula, said):
    raw = population().as_dict()
    raw["data"]["target"] = {"formula": formula}
    assert_only_mistake(raw, "data.target.formula: ", said)


@pytest.mark.parametrize(
    ("change", "place", "said"),
    [
        ({"components": []}, "data.inputs.components", ["found []", "at least 1"]),
        ({"components": [{"traget": 1}]}, "data.inputs.components[0].traget", ["'target'"]),
        ({"components": [{"mean": "a", "target": 1}]}, "data.inputs.components[0].mean", ["'a'"]),
        ({"components": [{"mean": [1.0], "target": 1}]}, "data.inputs.components[0].mean", ["1 e"]),
        ({"components": [{"target": 1}, {}]}, "data.inputs.components[1].target", ["is missing"]),
        (
            {"components": [{"weight": 1, "target": 1}, {"target": 1}]},
            "data.inputs.components[1].weight",
            ["is missing"],
        ),
        (
            {"components": [{"weight": 0.5, "target": 1}, {"weight": 0.4, "target": 1}]},
            "data.inputs.components",
            ["sum to 0.9"],
        ),
        ({"components": [{}]}, "data.target", ["is missing", "formula", "every component"]),
    ],
)
def test_mixtures_that_are_refused(change, place, said):
    raw = population(TWO_CLASSES, None).as_dict()
    raw["data"]["inputs"] |= change
    assert_only_mistake(raw, place, said)


def test_targets_are_given_once():
    raw = population(TWO_CLASSES, None).as_dict()
    raw["data"]["target"] = {"formula": "x1"}
    assert_only_mistake(raw, "data.target", ["give one kind"])
    raw = population().as_dict()
    del raw["data"]["target"]
    assert_only_mistake(raw, "data.target", ["is missing", "tanh(x1)"])
