"""Layers of other kinds: against JAX's own convolution, autograd, and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from conftest import small_problem
from widelimit import Problem, ProblemError, compare, predict_fluctuations, train
from widelimit.ensemble.layered.parameters import LayerParameters
from widelimit.ensemble.layered.placing import sampled_network
from widelimit.ensemble.system import System
from widelimit.limit.solve import solved
from widelimit.problem.network.layers import Convolution, Layer, Product, Radial

CONV = {"map": "convolution", "kernel": 3}


def images(points=12, side=5, colours=1):
    """Blobs at random places and where they are."""
    rng = np.random.default_rng(0)
    places = rng.uniform(0, side - 1, size=(points, 2))
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij"), -1)
    bright = np.exp(-((grid - places[:, None, None]) ** 2).sum(-1) / 2)
    x = np.stack([bright / (1 + k) for k in range(colours)], -1).reshape(points, -1)
    y = (places - side / 2 + 0.5) / side * 2
    return {"source": "table", "inputs": x.tolist(), "targets": y.tolist()}


def convolutional(**sections):
    """Two convolutions: 5 × 5 images, 5 × 5 positions pooled to 2 × 2, then 2 × 2 positions."""
    network = {
        "activations": ["tanh"] * 2,
        "image": [5, 5],
        "biases": True,
        "layers": [
            {**CONV, "padding": 1, "pool": 2},
            {"map": "convolution", "kernel": 2, "padding": 1, "stride": 2},
        ],
        "initial": {"hidden": {"law": "normal", "mean": 0.5, "std": 1.0}},
    }
    raw = {"network": network, "data": images(), "networks": {"widths": [8]}}
    return small_problem(**(raw | sections))


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def a_network(problem, widths):
    """A sampled network of a problem and its system, in double precision."""
    dims = problem.dataset.inputs.shape[1], problem.dataset.targets.shape[1]
    ensemble, _ = sampled_network(jax.random.key(0), problem.network, widths, *dims, jnp.float64)
    return System.of(problem, jnp.float64), ensemble


def by_lax(parameters, x):
    """The network of `convolutional` written out with JAX's convolution, channels last."""
    n1, n2 = len(parameters["b1"]), len(parameters["b2"])

    def moved(h, w, stride, padding):
        return jax.lax.conv_general_dilated(
            h,
            w,
            (stride, stride),
            [(padding, padding)] * 2,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    first = parameters["w1"].reshape(n1, 3, 3, 1).transpose(1, 2, 3, 0)
    h = jnp.tanh(moved(x.reshape(-1, 5, 5, 1), first, 1, 1) + parameters["b1"])
    h = h[:, :4, :4].reshape(-1, 2, 2, 2, 2, n1).mean(axis=(2, 4))
    second = parameters["w2"].transpose(2, 3, 0, 1) / n1
    h = jnp.tanh(moved(h, second, 2, 1) + parameters["b2"])
    readout = parameters["a"].reshape(n2, 2, 2, 2)  # channel of the output, row, column
    return jnp.einsum("pyxn,ncyx->pc", h, readout) / n2


def written_out(parameters):
    """Parameters by the names that `by_lax` uses."""
    return {
        "w1": parameters.input,
        "w2": parameters.hidden[0],
        "a": parameters.readout,
        "b1": parameters.biases[0],
        "b2": parameters.biases[1],
    }


def test_convolutions_are_those_of_jax(x64):
    """Outputs, and gradients times the numbers of neurons, by autograd: rounding apart."""
    system, ensemble = a_network(convolutional(), (6, 4))
    batch, theta = system.batch, written_out(ensemble.parameters)
    theta |= {name: theta[name] + 0.1 * (1 + k) for k, name in enumerate(["b1", "b2"])}
    ensemble = ensemble.at(
        (
            LayerParameters(
                theta["w1"], (theta["w2"],), theta["a"], (theta["b1"], theta["b2"]), None
            ),
            (),
        )
    )
    found = system.equations.output(ensemble, batch.inputs)
    np.testing.assert_allclose(found, by_lax(theta, batch.inputs), rtol=1e-12)

    def loss(theta, x, y, share):
        return share @ (0.5 * jnp.sum((by_lax(theta, x) - y) ** 2, axis=1))

    plain = jax.grad(loss)(theta, batch.inputs, batch.targets, batch.weights)
    times = {"w1": 6, "w2": 24, "a": 4, "b1": 6, "b2": 4}
    ours = written_out(system.equations.gradient(ensemble, batch))
    squares = written_out(system.equations.gradient_squares(ensemble, batch))
    each = jax.jit(jax.vmap(lambda x, y: jax.grad(loss)(theta, x[None], y[None], jnp.ones(1))))(
        batch.inputs, batch.targets
    )
    for name, factor in times.items():
        np.testing.assert_allclose(ours[name], factor * plain[name], rtol=1e-10, atol=1e-13)
        mean = jnp.tensordot(batch.weights, (factor * each[name]) ** 2, 1)
        np.testing.assert_allclose(squares[name], mean, rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize("layer", [Product(), Radial()])
def test_other_units_by_autograd(layer, x64):
    """A unit in the first layer: values as its formula says, gradients by autograd."""
    problem = small_problem(
        network={"activations": ["sin"], "layers": [layer], "output_bias": True},
        networks={"widths": [5]},
    )
    system, ensemble = a_network(problem, (5,))
    batch, w, a = system.batch, ensemble.parameters.input, ensemble.parameters.readout

    def plain(w, a, x):
        if isinstance(layer, Product):
            z = (x @ w[:, :2].T) * (x @ w[:, 2:].T)
        else:
            z = 0.5 * ((x[:, None] - w) ** 2).sum(-1)
        return jnp.sin(z) @ a / 5

    found = system.equations.output(ensemble, batch.inputs)
    np.testing.assert_allclose(found, plain(w, a, batch.inputs), rtol=1e-12)
    slopes = jax.grad(
        lambda w, a: batch.weights @ (0.5 * (plain(w, a, batch.inputs) - batch.targets)[:, 0] ** 2),
        (0, 1),
    )(w, a)
    ours = system.equations.gradient(ensemble, batch)
    np.testing.assert_allclose(ours.input, 5 * slopes[0], rtol=1e-10)
    np.testing.assert_allclose(ours.readout, 5 * slopes[1], rtol=1e-10)


def test_tangent_kernel_of_a_convolution(x64):
    """∂_t f(x) = −E_{x'}[K(x, x') ∇ℓ(x')]."""
    system, ensemble = a_network(convolutional(), (6, 4))
    batch = system.batch
    speed = system.dynamics.velocity(system.equations, ensemble, batch)
    f, moved = jax.jvp(
        lambda *state: system.equations.output(ensemble.at(state), batch.inputs),
        ensemble.state,
        speed,
    )
    kernel = system.equations.tangent_kernel(system.dynamics.rates, ensemble, batch.inputs)
    residual = (f - batch.targets) * batch.weights[:, None]
    np.testing.assert_allclose(moved, -jnp.einsum("xcyk,yk->xc", kernel, residual), rtol=1e-10)


ATOMS = {"law": "atoms", "points": [-0.4, 0.5]}


def test_a_kernel_as_large_as_the_image_is_a_dense_layer():
    """The same limit from two descriptions, by atoms: 1e-8."""
    initial = {"input": ATOMS, "hidden": {"law": "atoms", "points": [0.7]}, "readout": ATOMS}
    whole = {"map": "convolution", "kernel": 2}
    found = [
        solved(
            small_problem(
                data=images(side=2),
                networks=None,
                network={"activations": ["tanh"] * 2, "initial": initial, **layers},
            ),
            progress=False,
        ).dataset.output
        for layers in (
            {},
            {"image": [2, 2], "layers": [{**whole, "pool": "all"}, "dense"]},
            {"image": [2, 2, 1], "layers": [whole, {"map": "convolution", "kernel": 1}]},
        )
    ]
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], atol=1e-8)


def test_predictions_of_a_convolution_agree(monkeypatch):
    """Tangents forward and cotangents back give the same variances: 1e-5."""
    initial = {
        "input": {"law": "atoms", "points": [[0.1] * 9, [-0.3, 0.5, 1.0] * 3]},
        "readout": {"law": "atoms", "points": [[0.5] * 2, [1.0, -1.0]]},
    }
    problem = small_problem(
        data=images(4),
        networks={"widths": [8], "method": "flow"},
        observe={"times": [0.5]},
        network={
            "activations": ["tanh"],
            "image": [5, 5],
            "layers": [CONV | {"pool": "all"}],
            "initial": initial,
        },
    )
    found = []
    for way in ("forward", "reverse", "lyapunov"):
        monkeypatch.setattr("widelimit.around.ways.Case.way", lambda self, sizes, way=way: way)
        found.append(predict_fluctuations(problem, progress=False).dataset.variance)
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-12)
    assert float(found[0].max()) > 1e-4


def residual(depth=3, **sections):
    """Layers 2 and 3 add what the same neurons had in the layer below."""
    network = {
        "activations": ["tanh"] * depth,
        "biases": True,
        "layers": ["dense", *[{"map": "dense", "skip": 1}] * (depth - 1)],
        "initial": {
            "bias": {"law": "normal", "std": 0.5},
            "hidden": {"law": "normal", "std": 0.5, "mean": 0.5},
        },
    }
    return small_problem(1, **({"network": network} | sections))


def test_skip_connections_by_autograd(x64):
    """Outputs and gradients of a residual network written out: rounding apart."""
    system, ensemble = a_network(residual(), (6, 6, 6))
    batch, theta = system.batch, ensemble.parameters

    def plain(w, u, v, a, b, x):
        z = x @ w.T + b[0]
        z = z + jnp.tanh(z) @ u / 6 + b[1]
        z = z + jnp.tanh(z) @ v / 6 + b[2]
        return jnp.tanh(z) @ a / 6

    assert theta.biases is not None
    u, v = theta.hidden
    arguments = (theta.input, u, v, theta.readout, jnp.stack(theta.biases))
    found = system.equations.output(ensemble, batch.inputs)
    np.testing.assert_allclose(found, plain(*arguments, batch.inputs), rtol=1e-12)

    def risk(w, u, v, a, b):
        f = plain(w, u, v, a, b, batch.inputs)
        return batch.weights @ (0.5 * (f - batch.targets)[:, 0] ** 2)

    slopes = jax.grad(risk, range(5))(*arguments)
    ours = system.equations.gradient(ensemble, batch)
    assert ours.biases is not None
    pairs = zip(
        (ours.input, *ours.hidden, ours.readout, jnp.stack(ours.biases)),
        slopes,
        (6, 36, 36, 6, 6),
        strict=True,
    )
    for own, expected, factor in pairs:
        np.testing.assert_allclose(own, factor * expected, rtol=1e-10, atol=1e-14)


def test_a_skip_connection_alone_leaves_the_layer_below():
    """With hidden weights 0 that do not learn, two layers are one: the same limit, 1e-8."""
    law = {"input": {"law": "atoms", "points": [[0.5, -1.0], [1.5, 0.2]]}, "readout": ATOMS}
    two = small_problem(
        network={
            "activations": ["identity", "tanh"],
            "layers": ["dense", {"map": "dense", "skip": 1}],
            "initial": law | {"hidden": {"law": "atoms", "points": [0.0]}},
        },
        training={"horizon": 1.0, "learning_rates": {"hidden": 0.0}},
    )
    atoms = [[*w, a] for w in law["input"]["points"] for a in ATOMS["points"]]
    one = small_problem(
        network={"activations": ["tanh"], "initial": {"neuron": {"law": "atoms", "points": atoms}}}
    )
    found = [solved(problem, progress=False).dataset.output for problem in (two, one)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-8)


def test_neurons_that_layers_share_are_one_source():
    """Fluctuations of a residual network: three ways, 1e-5; the label is that of layer 1."""
    initial = {
        "input": {"law": "atoms", "points": [[0.5, -1.0], [1.5, 0.2]]},
        "readout": ATOMS,
        "bias": ATOMS,
        "hidden": {"law": "atoms", "points": [0.7]},
    }
    problem = residual(2, networks={"widths": [8], "method": "flow"}, observe={"times": [0.5]})
    problem = problem.with_changes(network=problem.as_dict()["network"] | {"initial": initial})
    found = []
    with pytest.MonkeyPatch.context() as patch:
        for way in ("forward", "reverse", "lyapunov"):
            patch.setattr("widelimit.around.ways.Case.way", lambda self, sizes, w=way: w)
            found.append(predict_fluctuations(problem, progress=False).dataset)
    for other in found[1:]:
        np.testing.assert_allclose(other.variance, found[0].variance, rtol=1e-5, atol=1e-12)
    assert list(found[0].source.values) == ["layer 1"]
    assert float(found[0].variance.max()) > 1e-4


class Wave(Layer):
    """A layer of one's own: cos(w·h + v), with a phase of its own."""

    def weight(self, before):
        """A direction and a phase."""
        return (before[0] + 1,)

    def shape(self, before):
        """One number."""
        return ()

    def pair(self, weight, value):
        """cos(w·h + v)."""
        return jnp.cos(weight[:-1] @ value + weight[-1])


def test_a_layer_of_ones_own_is_one_that_is_there():
    """cos(w·x + v) by a layer, and by a dense one with a bias and the activation cos."""
    atoms = [[0.5, -1.0, 0.3], [1.5, 0.2, -0.7]]
    own = small_problem(
        network={
            "activations": ["identity"],
            "layers": [Wave()],
            "initial": {"neuron": {"law": "atoms", "points": [[*w, 1.0] for w in atoms]}},
        }
    )
    known = small_problem(
        network={
            "activations": ["cos"],
            "biases": True,
            "initial": {"neuron": {"law": "atoms", "points": [[*w, 1.0] for w in atoms]}},
        }
    )
    found = [solved(problem, progress=False).dataset.output for problem in (own, known)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-8)
    assert "Wave" in own.network.words()
    with pytest.raises(ProblemError, match=r"network.layers\[0\]: a function of one's own"):
        own.to_toml()
    assert own.with_changes(seed=3).network.layers == (Wave(),)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"layers": [CONV]}, r"network.layers\[0\]: a convolution moves over .*image missing"),
        ({"layers": [CONV], "image": [5, 6]}, r"network.image: found \[5, 6\], 30 numbers; .* 25"),
        ({"layers": [CONV | {"kernel": 6}], "image": [5, 5]}, "kernel 6 does not fit into 5 × 5"),
        ({"layers": [CONV | {"pool": 4}], "image": [5, 5]}, "pool 4 does not fit into 3 × 3"),
        (
            {"layers": ["dense", CONV], "image": [5, 5], "activations": ["tanh"] * 2},
            r"network.layers\[1\]: a convolution moves over images; below it are single numbers",
        ),
        (
            {"layers": ["dense", "radial"], "activations": ["tanh"] * 2},
            r"network.layers\[1\]: is not linear in its weights",
        ),
        (
            {"layers": [{"map": "dense", "skip": 1}]},
            r"layers\[0\].skip: found 1; layer 1 has 0 hidden layers below",
        ),
        ({"layers": ["dense"] * 3}, "layers: found 3 entries; give one for each of 1 layers"),
        ({"layers": [{"map": "convolutoin"}]}, r"network.layers\[0\].*convolutoin"),
        ({"layers": [CONV | {"kernal": 3}]}, "kernal: unknown key; did you mean 'kernel'"),
    ],
)
def test_mistakes_are_told(network, told):
    with pytest.raises(ProblemError, match=told):
        small_problem(data=images(), network={"activations": ["tanh"], **network})


def test_layers_with_the_same_neurons_have_one_width():
    with pytest.raises(ProblemError, match="joined by a skip connection have the same neurons"):
        residual(networks={"widths": [[8, 8, 9]]})


def test_files_hold_layers(tmp_path):
    """Written, read, and solved to the same digest."""
    problem = convolutional()
    path = tmp_path / "conv.toml"
    path.write_text(problem.to_toml())
    again = Problem.from_file(path)
    assert again.network.layers == problem.network.layers
    assert isinstance(again.network.layers[0], Convolution)
    assert again.digest("network") == problem.digest("network")


UNITS = {
    "convolution": {
        "activations": ["tanh"] * 2,
        "image": [5, 5],
        "layers": [{**CONV, "pool": 2, "padding": 1}, {"map": "convolution", "kernel": 2}],
    },
    "skip connections": residual(2).as_dict()["network"],
    "product": {
        "activations": ["tanh"],
        "layers": ["product"],
        "initial": {"input": {"law": "normal", "std": 0.5}},
    },
    "radial": {
        "activations": ["cos"],
        "layers": ["radial"],
        "initial": {"input": {"law": "normal", "std": 0.5}},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("unit", UNITS)
def test_networks_come_to_the_limit(unit):
    """Exponent −1/2 ± 0.1 with 60 seeds (the fit scatters by about 0.03; seeds are fixed)."""
    problem = small_problem(
        data=images(),
        network=UNITS[unit],
        limit={"tolerance": 5e-3},
        observe={"times": 2},
        networks={"widths": [32, 96, 288], "seeds": 60},
    )
    fit = compare(solved(problem, progress=False), train(problem, progress=False)).exponent[-1]
    print(f"\n{unit}: {fit}", end="")
    assert fit is not None
    assert abs(fit["value"] + 0.5) < 0.1
