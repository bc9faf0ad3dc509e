"""The same finite network in other parametrisations: which multiplier and which rate go where.

A layer computes with the effective weight W = n^(−a) w, its entries w start with standard
deviation σ n^(−b), and SGD moves them with learning rate η n^(−c), n being the width (all hidden
layers alike; W_1 has a finite fan-in, and its σ is what the user's framework starts with, 1/√d
say). What the network computes and how it learns depends on W alone: on its start, σ n^(−a−b),
and on the rate at which it moves, η n^(−c−2a).

| exponents (a, b, c) | input | hidden | readout |
|---|---|---|---|
| standard | 0, 0, 0 | 0, ½, 0 | 0, ½, 0 |
| ntk (neural tangent kernel) | 0, 0, 0 | ½, 0, 0 | ½, 0, 0 |
| mup (maximal update, SGD; Yang & Hu 2021) | 0, 0, −1 | 0, ½, 0 | 0, 1, 1 |
| mean field (1/n, "integrable"; this library) | 0, 0, −1 | 1, 0, −2 | 1, 0, −1 |

In the mean field η is the step ε times ξ, and n^(−c) is what a gradient is multiplied with: the
number of parameters that are averaged. With one hidden layer mup and the mean field are the same
network. From two on, their weights move at the same rates, but those between hidden layers start
as n^(−1/2) N(0, σ²) in mup and as 1/n times numbers of order 1 in the mean field: other limits,
although both learn features. Much of the literature calls mup "mean field". A mup network is one
of this library's with the hidden law N(0, σ² n), a law that depends on the width and is not
replaced by its mean: its limit has no closed flow, and is measured (`limit.measured`).
"""

import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from widelimit.problem.network.network import Network
from widelimit.problem.scaling import scaled
from widelimit.problem.training.finite_rules import AdamSteps
from widelimit.problem.training.kinds import Kinds
from widelimit.problem.training.training import Training

Name = Literal["standard", "ntk", "mup", "mean field"]


class Exponents(NamedTuple):
    """How one kind of weights goes with the width: W = n^(−a) w, w ~ σ n^(−b), rate η n^(−c)."""

    multiplier: float
    start: float
    rate: float

    @property
    def effective_start(self) -> float:
        """W starts with σ n to minus this."""
        return self.multiplier + self.start

    @property
    def effective_rate(self) -> float:
        """W moves with η n to minus this."""
        return self.rate + 2 * self.multiplier


KINDS = ("input", "hidden", "readout")

EXPONENTS: dict[str, dict[str, Exponents]] = {
    name: dict(zip(KINDS, (Exponents(*map(float, row)) for row in rows), strict=True))
    for name, rows in {
        "standard": [(0, 0, 0), (0, 0.5, 0), (0, 0.5, 0)],
        "ntk": [(0, 0, 0), (0.5, 0, 0), (0.5, 0, 0)],
        "mup": [(0, 0, -1), (0, 0.5, 0), (0, 1, 1)],
        "mean field": [(0, 0, -1), (1, 0, -2), (1, 0, -1)],
    }.items()
}
"""The table above."""


def factors(source: Name, target: Name, width: int) -> dict[str, tuple[float, float]]:
    """What weights and learning rates of `source` are multiplied with to be those of `target`.

    For each kind of weights: w_target = first · w_source, rate_target = second · rate_source give
    the same outputs before and after every step of SGD.

    >>> factors("ntk", "standard", 100)["readout"]
    (0.1, 0.01)
    """
    found = {}
    for kind in KINDS:
        old, new = (EXPONENTS[name][kind].multiplier for name in (source, target))
        found[kind] = width ** (new - old), width ** (2 * (new - old))
    return found


def sections(
    source: Name,
    width: int,
    depth: int,
    *,
    std: tuple[float, float, float] = (1.0, 1.0, 1.0),
    rate: float = 1.0,
) -> dict[str, dict[str, Any]]:
    """`[network.initial]`, `[training.learning_rates]` and the step of a network of one width.

    The network has `depth` hidden layers of this width, all weights centred normal with σ = `std`
    (input, hidden, readout) and learning rate η = `rate` in the parametrisation `source`. The
    problem's networks of this width are that network, in law and step by step; its limit is that
    of widening it in the mean-field way from there.

    >>> sections("ntk", 100, 1)["initial"]["readout"]
    {'law': 'normal', 'mean': 0.0, 'std': 10.0}
    """
    laws, rates, step = {}, {}, 1.0 / width
    for kind, sigma in zip(KINDS, std, strict=True):
        own, ours = EXPONENTS[source][kind], EXPONENTS["mean field"][kind]
        size = sigma * width ** (ours.multiplier - own.effective_start)
        laws[kind] = {"law": "normal", "mean": 0.0, "std": size}
        rates[kind] = rate / step * width ** (ours.effective_rate - own.effective_rate)
    if depth == 1:
        del laws["hidden"], rates["hidden"]
    return {"initial": laws, "learning_rates": rates, "networks": {"widths": [width], "step": step}}


# --- problems in these parametrisations ----------------------------------------------------------


def at_width(
    network: Network, training: Training, widths: tuple[int, ...]
) -> tuple[Network, Training]:
    """The network of these widths, and its training, in the mean field's parametrisation.

    With mup hidden laws are those of N(0, σ² n_{l−1}); everything else is as it is. With ntk
    readouts are those of N(0, σ² n_L) too, and a layer's rates are divided by its width (those of
    the readout are not). Weights decay in a step as they do at width 1.

    >>> from widelimit import Problem
    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh", "tanh"], "parametrisation": "mup"},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 3.0},
    ... })
    >>> at_width(problem.network, problem.training, (64, 64))[0].initial.hidden[0].std
    8.0
    """
    if network.parametrisation == "mean field":
        return network, training
    ntk = network.parametrisation == "ntk"
    laws: dict[str, Any] = {
        "hidden": tuple(
            scaled(law, math.sqrt(n))
            for law, n in zip(network.initial.hidden, widths, strict=False)
        )
    }
    if ntk:
        laws["readout"] = scaled(network.initial.readout, math.sqrt(widths[-1]))
        shares = [1 / n for n in widths]
        factors = _PerArray(shares[0], shares[1:], 1.0, [*shares, 1.0])
        training = _with_rates(network, training, factors)
    initial = network.initial.model_copy(update=laws)
    own = {"initial": initial, "parametrisation": "mean field"}
    return network.model_copy(update=own), training


def without_base(network: Network, training: Training) -> tuple[Network, Training]:
    """Laws and rates at width 1 in place of those of a framework at `base_width`.

    At n_0 a framework's weights are w = W/n_0 between hidden layers and A/n_0 in the readout; ξ is
    η/n_0 for input and biases, η for hidden weights, η n_0 for the readout, and for Adam and sign
    descent η, η n_0, η n_0; the output's bias has η (mup.md §2). A step takes the share ε η λ from
    decaying weights in both. Adam's δ stands beside gradients, which are n_0 times the framework's
    but at the output.
    """
    if network.base_width is None:
        return network, training
    base, ntk = float(network.base_width), network.parametrisation == "ntk"
    initial = network.initial
    laws = {
        "hidden": tuple(scaled(law, math.sqrt(base)) for law in initial.hidden),
        "readout": scaled(initial.readout, math.sqrt(base) if ntk else base),
    }
    own = {"initial": initial.model_copy(update=laws), "base_width": None}
    rates = (
        _Factors(1.0, base, base, 1.0)
        if training.rule.finite
        else _Factors(1 / base, 1.0, base, 1.0)
    )
    if ntk:  # at width n they are those at width 1, divided by n
        rates = rates._replace(layer=base * rates.layer, hidden=base * rates.hidden)
    training = _with_rates(network, training, rates.of(network))
    if isinstance(training.adam, AdamSteps):
        units = _Factors(base, base, 1.0, 1.0).of(network)
        epsilon = _times(network, training.adam.epsilon, units)
        adam = training.adam.model_copy(update={"epsilon": epsilon})
        training = training.model_copy(update={"adam": adam})
    return network.model_copy(update=own), training


class _Factors(NamedTuple):
    """Factors of input weights and biases of layers, of hidden weights, readout, output bias."""

    layer: float
    hidden: float
    readout: float
    output: float

    def of(self, network: Network) -> "_PerArray":
        """The same for every layer."""
        depth = network.depth
        bias = [*[self.layer] * depth, self.output]
        return _PerArray(self.layer, [self.hidden] * (depth - 1), self.readout, bias)


class _PerArray(NamedTuple):
    """Factors of the kinds of parameters: one for each of several layers."""

    input: float
    hidden: Sequence[float]
    readout: float
    bias: Sequence[float]


def _times(network: Network, kinds: Kinds, factors: _PerArray) -> Kinds:
    """Numbers of all kinds of parameters times their factors."""
    depth = network.depth
    found: dict[str, Any] = {
        "input": scaled(kinds.input, factors.input),
        "readout": scaled(kinds.readout, factors.readout),
    }
    if depth > 1:
        found["hidden"] = tuple(map(scaled, kinds.hidden_rates(depth), factors.hidden))
    if network.biases or network.output_bias:
        found["bias"] = tuple(map(scaled, kinds.bias_rates(depth), factors.bias))
    return kinds.model_copy(update=found)


def _with_rates(network: Network, training: Training, factors: _PerArray) -> Training:
    """Learning rates times these factors, and weights that decay in a step by the same share."""
    found: dict[str, Any] = {"learning_rates": _times(network, training.learning_rates, factors)}
    if training.weight_decay is not None:
        inverse = _PerArray(
            1 / factors.input,
            [1 / own for own in factors.hidden],
            1 / factors.readout,
            [1 / own for own in factors.bias],
        )
        found["weight_decay"] = _times(network, training.weight_decay, inverse)
    return training.model_copy(update=found)
