"""Functionals by name, in limits and networks, against plain NumPy and identities."""

import jax.numpy as jnp
import numpy as np
import pytest

import reference
from conftest import small_problem, table
from widelimit import Problem, ProblemError, RunFolder, render_report, solve, train
from widelimit.limit.kernels import tangent_kernels
from widelimit.problem.functionals import TAKEN
from widelimit.report.tables import budget_rows

NAMED = {"functional": "coefficient", "formula": "x1"}
POINTS = np.array([[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4], [0.3, -0.8, -1.0]])
SHARES = np.array([0.5, 0.3, 0.2])
ATOMS = {"neuron": {"law": "atoms", "points": POINTS.tolist(), "weights": SHARES.tolist()}}
ALL = [
    "moments",
    "overlaps",
    "kernel",
    "dissipation",
    {"functional": "coefficient", "formula": "x1*x2 - 1"},
    {"functional": "law", "of": "readout", "edges": [-2.0, 0.0, 2.0, 4.0]},
]


def atomic(functionals, times=(0.0, 1.0), **sections) -> Problem:
    return small_problem(
        network={"activations": ["tanh"], "initial": ATOMS},
        observe={"times": list(times), "functionals": functionals},
        **sections,
    )


def weights_at(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Input weights and readouts at t = 1 by a plain Runge–Kutta integration."""
    data = problem.dataset
    rates = {"input": 1.0, "hidden": [], "readout": 1.0}

    def field(theta):
        return reference.speeds(
            theta, [SHARES], data.inputs, data.targets, data.weights, rates, False
        )

    w, a = reference.rk4([POINTS[:, :2], POINTS[:, 2:]], field, 1.0, 200)
    return w, a[:, 0]


def test_atoms_against_plain_sums():
    """Every functional at t = 0 and 1 of three atoms, 1e-7."""
    problem = atomic(ALL)
    found = solve(problem, progress=False).dataset
    data, p = problem.dataset, SHARES
    x, y, q = data.inputs, data.targets[:, 0], data.weights
    for k, (w, a) in enumerate([(POINTS[:, :2], POINTS[:, 2]), weights_at(problem)]):
        at, h = found.isel(time=k), np.tanh(x @ w.T)
        expected = {
            "input_mean": p @ w,
            "input_square": p @ w**2,
            "readout_mean": [p @ a],
            "readout_square": [p @ a**2],
            "overlap": (w.T * p) @ w,
            "projection": ((w.T * p) @ a)[:, None],
            "coefficient": [np.sum(q * (x[:, 0] * x[:, 1] - 1) * (h @ (p * a)))],
            "law_readout": [p[(lo <= a) & (a < lo + 2)].sum() for lo in (-2.0, 0.0, 2.0)],
        }
        r, slope = h @ (p * a) - y, (1 - h**2) * a
        g_w, g_a = (slope * (q * r)[:, None]).T @ x, h.T @ (q * r)
        expected["dissipation"] = [p @ (g_w**2).sum(axis=1), p @ g_a**2]
        kernel = (h * p) @ h.T + ((slope * p) @ slope.T) * (x @ x.T)
        expected["kernel"] = kernel[:, None, :, None]
        for name, value in expected.items():
            np.testing.assert_allclose(at[name], value, atol=1e-7, err_msg=name)
            assert (at[f"{name}_error"] < 1e-6).all(), name


def test_units_dissipate_what_the_risk_loses():
    """The same for two kinds of units and both ends, which move, with rates, α and positions."""
    atoms = {"law": "atoms", "points": [0.7, -0.4]}
    laws = dict.fromkeys(("input", "readout", "position"), atoms)
    rates = {"input": 0.5, "embedding": 2.0, "unembedding": 1.0}
    problem = Problem.from_dict(
        {
            "network": {
                "architecture": "residual",
                "depth": 3,
                "tokens": 2,
                "stream": 2,
                "blocks": [{"unit": "attention", "key": 1}, "perceptron"],
                "residual_scale": 2.0,
                "initial": laws,
            },
            "data": table(),
            "training": {"horizon": 1.0, "learning_rates": rates},
            "limit": {"nodes": [64, 64], "tolerance": 1.0},
            "observe": {"times": 33, "functionals": ["dissipation"]},
        }
    )
    found = solve(problem, progress=False).dataset
    rate = found.dissipation.sum("weights_of").values
    assert found.sizes["weights_of"] == len(problem.network.parts) == 4
    assert (found.dissipation.values[1:] > 0).all()
    simpson = np.array([1, *[4, 2] * 15, 4, 1]) / (3 * 32)
    lost = float(found.risk[0] - found.risk[-1])
    assert lost > 0.05
    np.testing.assert_allclose(simpson @ rate, lost, rtol=1e-4)


def test_dissipation_is_what_the_risk_loses():
    """dR/dt = −Σ ξ E|G|², with rates and a scale: Simpson's rule over 65 times, 1e-6."""
    points = {"input": [1.0, -0.5], "hidden": [0.7], "readout": [1.0, 2.0]}
    initial = {name: {"law": "atoms", "points": own} for name, own in points.items()}
    problem = small_problem(
        2,
        network={
            "activations": ["tanh"] * 2,
            "scale": 2.0,
            "biases": True,
            "output_bias": True,
            "initial": initial,
        },
        training={"horizon": 1.0, "learning_rates": {"input": 0.5, "hidden": 2.0}},
        observe={"times": 65, "functionals": ["dissipation"]},
    )
    found = solve(problem, progress=False).dataset
    rate = found.dissipation.sum("weights_of").values
    simpson = np.array([1, *[4, 2] * 31, 4, 1]) / (3 * 64)
    lost = float(found.risk[0] - found.risk[-1])
    assert lost > 0.05
    np.testing.assert_allclose(simpson @ rate, lost, rtol=1e-6)


def test_errors_hold_the_truth():
    """Continuous laws: a limit to 2e-2 against one to 2e-4, 1.5 half-widths for every entry.

    By Student's t with 7 degrees of freedom or more an entry is outside in 1 % of repetitions, and
    entries of a kernel depend on each other; seeds are fixed.
    """
    rough, fine = (
        solve(
            small_problem(
                1, observe={"times": [1.0], "functionals": ALL[:5]}, limit={"tolerance": tolerance}
            ),
            progress=False,
        ).dataset
        for tolerance in (2e-2, 2e-4)
    )
    for name in ("input_mean", "readout_square", "overlap", "dissipation", "coefficient", "kernel"):
        error = rough[f"{name}_error"]
        assert (error > 0).all()
        assert (abs(rough[name] - fine[name]) < 1.5 * error + 1.5 * fine[f"{name}_error"]).all()


def test_the_kernel_is_that_of_tangent_kernels():
    limit = solve(atomic(["kernel"]), progress=False)
    expected = tangent_kernels(limit, progress=False).kernel
    np.testing.assert_allclose(limit.dataset.kernel, expected, atol=1e-7)


def test_networks_have_the_same_functionals():
    """A network held as its atoms' frequencies, width 4,000: within 6 standard errors over 6 seeds.

    By Student's t with 5 degrees of freedom: 0.2 % an entry, 3 % for all 14; seeds are fixed.
    """
    problem = atomic(ALL, networks={"widths": [4000], "seeds": 6, "method": "flow"})
    limit, networks = solve(problem, progress=False).dataset, train(problem, progress=False).dataset
    for name in (
        "input_mean",
        "overlap",
        "projection",
        "coefficient",
        "dissipation",
        "law_readout",
    ):
        dims = networks[name].dims
        assert dims == ("width", "seed", *limit[name].dims)
        spread = networks[name].std("seed") / np.sqrt(4) + 1e-6
        assert (abs(networks[name].mean("seed") - limit[name]) < 5 * spread).all(), name


def test_the_population_of_a_sample():
    """Linear units on 20 points of a plane: the risk over the population is ½|v − β|²."""
    data = {
        "source": "population",
        "inputs": {"law": "gaussian", "dimension": 2},
        "target": {"formula": "x1 - 2*x2"},
        "samples": 20,
    }
    problem = small_problem(
        data=data,
        network={"activations": ["identity"], "initial": ATOMS},
        observe={"times": [0.0, 1.0], "functionals": ["population risk", "overlaps"]},
        networks={"widths": [50], "seeds": 2, "method": "flow"},
    )
    for found in (solve(problem, progress=False).dataset, train(problem, progress=False).dataset):
        v = found.projection.isel(readout_entry=0).values
        risk = 0.5 * ((v - [1.0, -2.0]) ** 2).sum(axis=-1)
        assert found.population_risk_error.max() < 1e-2
        distance = np.abs(found.population_risk.values - risk)
        assert np.all(distance < 2 * found.population_risk_error.values + 1e-5)


def test_coefficients_of_a_folded_population():
    """On the corners of a cube in infinitely many dimensions: sums over what is observed."""
    corners = np.array(np.meshgrid(*[[-1.0, 1.0]] * 2)).reshape(2, 4).T
    problem = Problem.from_dict(
        {
            "network": {
                "activations": ["tanh"],
                "biases": True,
                "initial": {
                    "bias": {"law": "atoms", "points": [-0.5, 1.0]},
                    "readout": {"law": "atoms", "points": [1.0, -2.0]},
                },
            },
            "data": {
                "source": "population",
                "inputs": {"law": "hypercube", "dimension": "inf"},
                "target": {"formula": "x1 + x1*x2"},
            },
            "training": {"horizon": 3.0},
            "observe": {
                "times": [3.0],
                "inputs": corners.tolist(),
                "functionals": [
                    {"functional": "coefficient", "formula": "x1", "name": "first"},
                    {"functional": "coefficient", "formula": "x1*x2", "name": "both"},
                ],
            },
        }
    )
    found = solve(problem, progress=False).dataset.isel(time=0, channel=0)
    f = found.output.values
    np.testing.assert_allclose(found.first, np.mean(f * corners[:, 0]), atol=1e-9)
    np.testing.assert_allclose(found.both, np.mean(f * corners.prod(1)), atol=1e-9)
    assert found.first > 0.3


def test_functions_of_ones_own():
    def largest_readout(sight):
        return jnp.max(jnp.abs(sight.parameters.readout))

    found = solve(atomic([largest_readout]), progress=False).dataset
    np.testing.assert_allclose(found.largest_readout[0], 2.0)
    assert found.largest_readout.dims == ("time",)


@pytest.mark.parametrize(
    ("functionals", "place", "said"),
    [
        ("moments", "", ["found 'moments'", "must be a list"]),
        (["momnets"], "[0].functional", ["'momnets'", "did you mean 'moments'"]),
        ([{"functional": "coefficient", "formula": "x3"}], "[0].formula", ["found 'x3'"]),
        ([{"functional": "overlaps", "coordinates": 3}], "[0].coordinates", ["found 3"]),
        ([{"functional": "law", "of": "readout", "edges": [1, 0]}], "[0].edges", ["increasing"]),
        (["moments", "moments"], "", ["'input_mean' is there more than once"]),
        ([NAMED | {"name": "output"}], "", ["'output' is what"]),
        ([NAMED | {"name": "time"}], "", ["'time' is what"]),
        ([NAMED | {"name": "risk_error"}], "", ["_error"]),
        (["population risk"], "[0]", ["no sample of a population", "data.samples"]),
        ([{"functional": "kernel", "name": "k"}], "[0].name", ["unknown key"]),
    ],
)
def test_mistakes(functionals, place, said):
    raw = small_problem(data=table()).as_dict()
    raw["observe"]["functionals"] = functionals
    with pytest.raises(ProblemError) as caught:
        Problem.from_dict(raw)
    sentence = caught.value.mistakes[0]
    assert sentence.startswith(f"observe.functionals{place}: ")
    for words in said:
        assert words in sentence


def test_the_report_shows_where_the_risk_went(tmp_path):
    """A row for the risk, each layer and all of them: what is spent is what is lost."""
    problem = atomic(["dissipation", "moments"], np.linspace(0, 1, 21).tolist())
    limit = solve(problem, progress=False)
    rows = {row[0]: row[1] for row in budget_rows(limit)}
    assert list(rows) == ["risk", "layer 1", "readout", "all"]
    assert float(rows["all"]) == pytest.approx(-float(rows["risk"]), rel=1e-3)
    folder = RunFolder(tmp_path / "run")
    folder.prepare(problem, ("limit",), False)
    folder.save(limit, 1.0)
    page = render_report(folder)
    assert "Where the risk went" in page
    assert page.count("The functional ") == 5


def test_every_variable_of_results_is_taken():
    """What a limit and networks write by themselves may not be a functional's name."""
    problem = small_problem(
        1,
        data=table() | {"holdout": 0.25},
        limit={"nodes": [16]},
        networks={"widths": [4], "seeds": 2},
        observe={"times": 2},
    )
    limit = solve(problem, progress=False)
    marked = limit.with_validity(limit.validity(progress=False))
    for found in (marked.dataset, train(problem, progress=False).dataset):
        for name in map(str, [*found.variables, *found.dims]):
            assert name in TAKEN or name.endswith(("_error", "_low", "_high")), name


@pytest.mark.slow
def test_no_budget_where_the_identity_does_not_hold():
    """Noise, momentum and decay spend or store what the gradient alone does not tell."""
    for training in ({"temperature": 0.5}, {"momentum": {"friction": 1.0}}, {"weight_decay": 0.1}):
        problem = small_problem(
            1,
            training={"horizon": 0.2} | training,
            limit={"nodes": [16]},
            networks=None,
            observe={"times": 5, "functionals": ["dissipation"]},
        )
        assert budget_rows(solve(problem, progress=False)) == []


def test_problems_with_functions_can_be_changed():
    """The function stays what it is; a file cannot hold it."""

    def total(sight):
        return jnp.sum(sight.parameters.readout)

    problem = atomic([total, "moments"])
    changed = problem.with_changes(seed=1)
    assert changed.observe.functionals == problem.observe.functionals
    assert solve(problem, progress=False).fluctuations([32], progress=False).met
    with pytest.raises(ProblemError, match=r"observe\.functionals\[0\]: a function"):
        problem.to_toml()


@pytest.mark.parametrize(
    ("functional", "place", "said"),
    [
        ({"functional": "overlaps", "coordinates": 3}, "coordinates", ["found 3", "x1 is not"]),
        ("overlaps", "coordinates", ["found all", "x1 is not"]),
        ("moments", "functional", ["all input weights", "x1 is not"]),
        ({"functional": "law", "of": "input", "edges": [0, 1]}, "of", ["x1 is not"]),
        ({"functional": "coefficient", "formula": "x2"}, "formula", ["x2 is not"]),
    ],
)
def test_folded_coordinates_are_no_functionals(functional, place, said):
    """The target sees x3 of five alone: the limit knows w_3 and the length of the others."""
    raw = population("tanh(x3)").as_dict()
    raw["observe"]["functionals"] = [functional]
    with pytest.raises(ProblemError) as caught:
        Problem.from_dict(raw)
    (sentence,) = caught.value.mistakes
    assert sentence.startswith(f"observe.functionals[0].{place}: ")
    for words in said:
        assert words in sentence


def population(formula, **sections):
    """Gaussian inputs in five dimensions, of which the target knows some."""
    inputs = {"law": "gaussian", "dimension": 5}
    data = {"source": "population", "inputs": inputs, "target": {"formula": formula}}
    return small_problem(data=data, networks=None, **sections)


@pytest.mark.slow
def test_overlaps_of_what_is_kept_are_those_of_networks():
    """The first two of five coordinates, both relevant: 6 standard errors over 6 networks.

    By Student's t with 5 degrees of freedom 0.2 % an entry, and the limit's own error; fixed seeds.
    """
    overlaps = {"functional": "overlaps", "coordinates": 2}
    sections = {"training": {"horizon": 1.0}, "limit": {"tolerance": 2e-2}}
    observe = {"observe": {"times": [1.0], "functionals": [overlaps]}}
    problem = population("2*tanh(x1) + x2", **sections, **observe)
    limit = solve(problem, progress=False).dataset
    settings = {"widths": [300], "seeds": 6, "batch": 4}
    networks = train(problem.with_changes(networks=settings), progress=False).dataset
    for name in ("overlap", "projection"):
        seeds = networks[name].isel(width=0)
        assert seeds.shape[1:] == limit[name].shape
        allowed = 6 * seeds.std("seed", ddof=1) / np.sqrt(6) + limit[f"{name}_error"]
        assert (abs(seeds.mean("seed") - limit[name]) < allowed).all(), name
    assert limit.projection[0, 0, 0] > 0.2


def test_kernels_of_many_outputs_are_refused():
    """1,200 observed inputs would have 1,440,000 entries at every time."""
    with pytest.raises(ProblemError, match=r"functionals\[0\].functional: a tangent kernel"):
        small_problem(data=table(points=1200), observe={"functionals": ["kernel"]})


def test_time_errors_of_functionals_are_those_of_halved_steps():
    """Atoms have no other error: it is not 0 once something has moved, and below 1e-6."""
    found = solve(atomic(["moments", "dissipation"]), progress=False).dataset.isel(time=1)
    for name in ("input_mean", "readout_square", "dissipation"):
        assert (found[f"{name}_error"] > 0).all(), name
        assert (found[f"{name}_error"] < 1e-6).all(), name
