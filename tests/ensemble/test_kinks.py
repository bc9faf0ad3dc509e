"""Limits that hang on the slope at a kink are refused, and no others."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from conftest import called, small_problem
from widelimit import (
    ProblemError,
    measure_bias,
    predict_fluctuations,
    solve,
    train,
)
from widelimit.around.planner import plan_width
from widelimit.ensemble.advice import examine
from widelimit.ensemble.layered.kinks import kinks
from widelimit.limit.validity import predict_validity

CENTRED = {"law": "normal", "mean": 0.0, "std": 1.0}
SHIFTED = {"law": "normal", "mean": 0.5, "std": 1.0}
FOUR = {
    "source": "table",
    "inputs": [[1.0, 0.5], [-1.0, 0.3], [0.2, -1.0], [-0.5, -0.8]],
    "targets": [1.0, -0.5, 0.3, 0.8],
}
PARITY = {
    "source": "table",
    "inputs": [[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]],
    "targets": [1.0, -1.0, -1.0, 1.0],
}


def two_layers(activations=("relu", "relu"), hidden=CENTRED, **sections):
    """Two hidden layers on four points; keywords that are no section belong to the network."""
    known = ("data", "training", "networks", "observe")
    own = {name: sections.pop(name) for name in known if name in sections}
    initial = {"hidden": hidden, **sections.pop("initial", {})}
    network = {"activations": list(activations), "initial": initial, **sections}
    return small_problem(2, **{"network": network, "data": FOUR, **own})


def biased(law, hidden=CENTRED):
    return two_layers(biases=True, hidden=hidden, initial={"bias": law})


def hard_tanh(z):
    return jnp.clip(z, -1.0, 1.0)


ON_A_KINK = {
    "relu": (two_layers(), (2, 1.0)),
    "leaky relu": (two_layers(["leaky relu"] * 2), (2, 1.0)),
    "the size of inputs does not matter": (
        two_layers(data={**FOUR, "inputs": (1e4 * np.array(FOUR["inputs"])).tolist()}),
        (2, 1.0),
    ),
    # E tanh(w·x) = 0 for centred w, whatever the mean of the weights above
    "an odd activation below": (two_layers(["tanh", "relu"], SHIFTED), (2, 1.0)),
    "equal weights above sampled neurons": (
        two_layers(["tanh", "relu"], {"law": "atoms", "points": [0.5]}),
        (2, 1.0),
    ),
    # the slopes of one velocity cancel over these points, those of each point do not
    "an even target": (two_layers(["tanh", "relu"], data=PARITY), (2, 1.0)),
    "two of three atoms of a bias": (
        biased({"law": "atoms", "points": [0.0, 0.0, 1.0]}),
        (2, 2 / 3),
    ),
    "a function of one's own": (two_layers(["relu", jnp.abs]), (2, 1.0)),
    "a kink elsewhere": (
        two_layers(
            ["tanh", hard_tanh], biases=True, initial={"bias": {"law": "atoms", "points": [-1.0]}}
        ),
        (2, 1.0),
    ),
    "a layer of finite width": (two_layers(ensembles=["limit", 4]), (2, 1.0)),
    "the third of three layers": (
        small_problem(
            3,
            data=FOUR,
            network={
                "activations": ["tanh", "tanh", "relu"],
                "initial": {"hidden": [CENTRED, SHIFTED]},
            },
        ),
        (3, 1.0),
    ),
}


@pytest.mark.parametrize("name", ON_A_KINK)
def test_layers_on_a_kink_are_found(name):
    problem, (layer, share) = ON_A_KINK[name]
    (found,) = kinks(problem)
    assert (found.layer, found.points, found.looked_at) == (layer, 4, 4)
    assert found.share == pytest.approx(share)


NOT_ON_A_KINK = {
    "smooth": two_layers(["relu", "gelu"]),
    "the kink is in the first layer": two_layers(["relu", "tanh"]),
    "one layer": small_problem(network={"activations": ["relu"]}),
    "a non-zero mean": two_layers(hidden=SHIFTED),
    "random biases": biased({"law": "normal", "mean": 0.0, "std": 1.0}),
    "constant biases": biased({"law": "atoms", "points": [0.3]}),
    # z_1 = 0 in both worlds, so that z_2 = 0 in both
    "an input that is zero": two_layers(
        hidden=SHIFTED, data={**FOUR, "inputs": [*FOUR["inputs"][:3], [0.0, 0.0]]}
    ),
    "first weights that are zero": two_layers(initial={"input": {"law": "atoms", "points": [0.0]}}),
    "hidden weights that are zero": two_layers(hidden={"law": "atoms", "points": [0.0]}),
    # nothing that moves feels the slope: random features
    "the readout alone learns": two_layers(
        training={"horizon": 1.0, "learning_rates": {"input": 0.0, "hidden": 0.0}}
    ),
    "a minimum": two_layers(data={**FOUR, "targets": [0.0] * 4}),
    # velocities are 0 with either slope: all of the deviation is of order n^(-1/2)
    "three centred layers": small_problem(
        3, data=FOUR, network={"activations": ["relu"] * 3, "initial": {"hidden": CENTRED}}
    ),
    "a function of labels": two_layers(
        hidden={"law": "embedding", "family": "features", "mean": 0.5}
    ),
    # weights to and from a layer of finite width stay attached to labels: z_2 is continuous
    "above a layer of finite width": two_layers(ensembles=[4, "limit"]),
    "a skip connection": two_layers(layers=["dense", {"map": "dense", "skip": 1}]),
}


@pytest.mark.parametrize("name", NOT_ON_A_KINK)
def test_no_false_alarms(name):
    assert kinks(NOT_ON_A_KINK[name]) == []


def test_random_ordinary_problems_are_not_refused():
    """Of 10^4 continuous fields one is within 1e-10 of 0 with a probability of about 1e-6."""
    for seed, name in itertools.product(range(2), ("relu", "leaky relu")):
        rng = np.random.default_rng(seed)
        data = {
            "source": "table",
            "inputs": rng.normal(size=(20, 3)).tolist(),
            "targets": rng.normal(size=20).tolist(),
        }
        assert kinks(two_layers([name] * 2, hidden=SHIFTED, data=data)) == []


@pytest.mark.parametrize(
    "ask",
    [
        solve,
        predict_fluctuations,
        predict_validity,
        measure_bias,
        lambda problem, progress: plan_width(problem, 0.1, progress=progress),
    ],
)
def test_what_needs_a_limit_is_refused(ask):
    with pytest.raises(ProblemError, match=r"network.activations\[1\]: found 'relu'") as refused:
        ask(two_layers(), progress=False)
    for words in (
        "all neurons of layer 2",
        "4 of 4 data points",
        "a smooth activation",
        "non-zero",
        "random biases",
    ):
        assert words in str(refused.value)


@pytest.mark.parametrize(
    ("arguments", "writes"),
    [
        (("solve",), True),
        (("run",), True),
        (("fluctuations",), True),
        (("bias",), True),
        (("width", "--rms", 0.1), False),
    ],
)
def test_commands_refuse_and_write_nothing(tmp_path, capfd, arguments, writes):
    path, folder = tmp_path / "problem.toml", tmp_path / "run"
    path.write_text(two_layers(["leaky relu"] * 2).to_toml(), encoding="utf-8")
    name, *rest = arguments
    where = ("-o", folder) if writes else ()
    status, out, err = called(capfd, name, path, *rest, *where)
    assert (status, out) == (2, "")
    assert "network.activations[1]: found 'leaky relu'" in err
    assert not folder.exists()


def test_networks_alone_are_trained_with_a_note():
    settings = {"widths": [8], "seeds": 2, "method": "gd", "step": 0.1}
    problem = two_layers(networks=settings)
    networks = train(problem, progress=False)
    assert np.isfinite(networks.dataset.risk).all()
    (note,) = [w for w in networks.warnings if "there is no limit" in w]
    assert "network.activations[1]" in note
    assert not [w for w in examine(two_layers(hidden=SHIFTED)) if "no limit" in w]
