"""One finite network in four parametrisations: the same outputs, step by step."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem, table
from widelimit import Problem, ProblemError, train
from widelimit.limit.solve import solved
from widelimit.problem.parametrisation.exponents import EXPONENTS, KINDS, factors, sections

PAGE = Path(__file__).parents[2] / "docs" / "parametrisations.md"

WIDTH, RATE, STEPS = 16, 0.05, 5


def outputs(weights, name, x):
    """f of a network with weights w in a parametrisation, tanh in both hidden layers."""
    a = {kind: WIDTH ** -EXPONENTS[name][kind].multiplier for kind in KINDS}
    h = jnp.tanh(x @ (a["input"] * weights["input"]))
    return jnp.tanh(h @ (a["hidden"] * weights["hidden"])) @ (a["readout"] * weights["readout"])


def trained(weights, rates, name, x, y):
    """Outputs after every step of gradient descent on all data, by jax.grad."""

    def risk(w):
        return 0.5 * jnp.mean((outputs(w, name, x) - y) ** 2)

    found = [outputs(weights, name, x)]
    for _ in range(STEPS):
        slope = jax.grad(risk)(weights)
        weights = {k: weights[k] - rates[k] * slope[k] for k in KINDS}
        found.append(outputs(weights, name, x))
    return np.stack(found)


def standard_network():
    """Weights, rates, inputs and targets of a network as a framework starts it."""
    rng = np.random.default_rng(0)
    shapes = {"input": (2, WIDTH), "hidden": (WIDTH, WIDTH), "readout": (WIDTH,)}
    sizes = {"input": 1.0, "hidden": WIDTH**-0.5, "readout": WIDTH**-0.5}
    weights = {k: sizes[k] * rng.normal(size=shapes[k]) for k in KINDS}
    x = np.array(table()["inputs"])
    return weights, dict.fromkeys(KINDS, RATE), x, np.array(table()["targets"])


@pytest.mark.parametrize("name", ["ntk", "mup", "mean field"])
def test_converted_networks_have_the_same_outputs(name):
    """Weights and rates times their factors: equal to rounding after every step."""
    with jax.enable_x64(True):
        weights, rates, x, y = standard_network()
        expected = trained(weights, rates, "standard", x, y)
        change = factors("standard", name, WIDTH)
        moved = {k: change[k][0] * weights[k] for k in KINDS}
        there = {k: change[k][1] * rates[k] for k in KINDS}
        np.testing.assert_allclose(trained(moved, there, name, x, y), expected, rtol=1e-10)


@pytest.mark.parametrize("name", ["standard", "ntk", "mup", "mean field"])
def test_sections_describe_that_network(name):
    """A network drawn by the library, taken over into `name`, is trained alike by a plain loop."""
    found = sections(name, WIDTH, 2, rate=RATE)
    problem = small_problem(
        2,
        network={"activations": ["tanh"] * 2, "initial": found["initial"]},
        training={"horizon": STEPS / WIDTH, "learning_rates": found["learning_rates"]},
        networks=found["networks"] | {"seeds": 1, "method": "gd", "precision": "float64"},
        observe={"times": STEPS + 1},
    )
    networks = train(problem, progress=False)
    state = networks.states[f"width_{WIDTH}_{WIDTH}"].to_dataset().isel(time=0)
    ours = {
        "input": state.input.values.T,
        "hidden": state.hidden_2.values,
        "readout": state.readout.values[:, 0],
    }
    change = factors("mean field", name, WIDTH)
    exponents = EXPONENTS[name]
    rates = {k: RATE * WIDTH ** -exponents[k].rate for k in KINDS}
    with jax.enable_x64(True):
        weights = {k: jnp.asarray(change[k][0] * ours[k]) for k in KINDS}
        x, y = problem.dataset.inputs, problem.dataset.targets[:, 0]
        expected = trained(weights, rates, name, x, y)
    np.testing.assert_allclose(
        networks.dataset.output.values[0, 0, :, :, 0], expected, rtol=1e-9, atol=1e-12
    )
    for kind in KINDS:
        size = found["initial"][kind]["std"] * change[kind][0]
        assert size == pytest.approx(WIDTH ** -exponents[kind].start)


def test_mup_is_the_mean_field_with_one_hidden_layer_alone():
    """There both give the same sections; with two, pre-activations of mup's second layer scatter.

    Their spread over the layer stays of order 1 in mup and falls like n^(−1/2) in the mean field.
    """
    one = [sections(name, 64, 1) for name in ("mup", "mean field")]
    assert one[0] == one[1]

    def spread(name, width):
        found = sections(name, width, 2)
        problem = small_problem(
            2,
            network={"activations": ["tanh"] * 2, "initial": found["initial"]},
            networks={"widths": [width], "seeds": 1},
            observe={"times": [0.0]},
        )
        state = (
            train(problem, progress=False)
            .states[f"width_{width}_{width}"]
            .to_dataset()
            .isel(time=0)
        )
        h = np.tanh(problem.dataset.inputs @ state["input"].values.T)
        return (h @ state["hidden_2"].values / width).std(axis=1).mean()

    ratios = {name: spread(name, 256) / spread(name, 16) for name in ("mup", "mean field")}
    assert abs(ratios["mup"] - 1) < 0.4
    assert abs(ratios["mean field"] - 0.25) < 0.1


@pytest.mark.slow
def test_the_page_runs_and_three_layers_tell_mup_from_the_mean_field():
    """The page's numbers to their last digit; with three centred layers the limit never moves.

    With one hidden layer both are the same networks: equal to rounding, and near one limit.
    """
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    space = {}
    for block in blocks:
        exec(block, space)
    limit, mup, ours = (space[name] for name in ("limit", "mup", "ours"))
    y = np.asarray(space["DATA"]["targets"])
    assert limit == pytest.approx((y**2).mean() / 2, abs=1e-3)  # f = 0 at all times
    told = [float(n) for line in re.findall(r"# (0\..*)", blocks[-1]) for n in line.split(", ")]
    assert [limit, mup, ours] == pytest.approx(told, abs=6e-4)
    networks, risk = space["networks"], space["risk"]
    one = [risk(networks(name, 64, 1)) for name in ("mup", "mean field")]
    assert one[0] == one[1]
    one_limit = float(solved(networks("mup", 64, 1), progress=False).dataset.risk[-1])
    assert abs(one[0] - one_limit) < 0.01


# Parametrisations of problems

MUP = {"activations": ["tanh"] * 3, "parametrisation": "mup"}


def test_laws_and_rates_go_with_the_width():
    """mup: hidden laws times √n. ntk: readouts too, and rates of layers are divided by n."""
    rates = {"input": 2.0, "hidden": 3.0, "readout": 5.0}
    training = {"horizon": 1.0, "learning_rates": rates}
    for name in ("mup", "ntk"):
        network = MUP | {"parametrisation": name, "biases": True}
        own = small_problem(network=network, training=training).at_width((16, 64, 256))
        assert [law.std for law in own.network.initial.hidden] == [4.0, 8.0]
        assert own.network.parametrisation == "mean field"
        ntk = name == "ntk"
        assert own.network.initial.readout.std == (16.0 if ntk else 1.0)
        found = own.training.learning_rates
        shares = [1 / n if ntk else 1.0 for n in (16, 64, 256)]
        assert found.input.value == 2.0 * shares[0]
        assert [rate.value for rate in found.hidden_rates(3)] == [3 * s for s in shares[1:]]
        assert found.readout.value == 5.0
        kinds = [2.0, 3.0, 3.0]
        expected = [*(k * s for k, s in zip(kinds, shares, strict=True)), 5.0]
        assert [rate.value for rate in found.bias_rates(3)] == expected


def test_files_keep_parametrisations():
    problem = small_problem(network=MUP | {"parametrisation": "ntk"})
    assert Problem.from_dict(problem.as_dict()).as_dict() == problem.as_dict()
    assert problem.digest("network") != small_problem(network=MUP).digest("network")


REFUSED = {
    "network.initial.hidden[0]: found a law of mean 0.5": MUP
    | {"initial": {"hidden": {"law": "normal", "mean": 0.5}}},
    "initial.readout: found a law of mean 1": MUP
    | {"parametrisation": "ntk", "initial": {"readout": {"law": "normal", "mean": 1.0}}},
    "network.base_width: is that of parametrisation": {"activations": ["tanh"], "base_width": 8},
    "initial.input: is missing; with base_width": MUP | {"base_width": 8},
    "ensembles: layers of finite width beside 'mup'": MUP | {"ensembles": ["limit", 8, "limit"]},
    "parametrisation: found 'ntk'; a stream of fixed width": {
        "architecture": "residual", "stream": 2, "parametrisation": "ntk"
    },
    "network.parametrisation: found 'μP'": {"activations": ["tanh"], "parametrisation": "μP"},
}  # fmt: skip


@pytest.mark.parametrize("said", REFUSED)
def test_networks_that_do_not_fit_are_refused(said):
    with pytest.raises(ProblemError) as caught:
        small_problem(network=REFUSED[said], networks=None)
    assert said.removeprefix("network.") in str(caught.value)


def test_rules_of_steps_ask_for_steps():
    adam = {"horizon": 1.0, "adam": {"betas": [0.9, 0.999]}}
    for training in (adam, {"horizon": 1.0, "sign_descent": True}):
        with pytest.raises(ProblemError, match=r"networks\.step: found '1/width'"):
            small_problem(training=training)
        with pytest.raises(ProblemError, match=r"networks\.method: found 'flow'"):
            small_problem(
                training=training, networks={"widths": [8], "method": "flow", "step": 0.1}
            )
    with pytest.raises(ProblemError, match="each is a rule: leave one out"):
        small_problem(training=adam | {"sign_descent": True})
    with pytest.raises(ProblemError, match="take 'mup'"):
        small_problem(
            network=MUP | {"parametrisation": "ntk"}, training=adam,
            networks={"widths": [8], "method": "gd", "step": 0.1},
        )  # fmt: skip


def test_signs_move_every_parameter_by_one_step():
    problem = small_problem(
        training={"horizon": 0.5, "sign_descent": True},
        networks={
            "widths": [8], "seeds": 1, "method": "gd", "step": 0.25, "precision": "float64"
        },
    )  # fmt: skip
    states = train(problem).states["width_8"].to_dataset()
    moved = np.abs(np.diff(states["input"].values, axis=0))
    assert np.allclose(moved[[0, 1]], [[[0.25]], [[0.25]]])
