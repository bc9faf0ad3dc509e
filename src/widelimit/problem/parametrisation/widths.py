"""A problem's network at one width: laws and rates as its parametrisation has them there.

See `exponents` for what the parametrisations are, and mup.md §1 and §2 for the factors.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.network import Network
from widelimit.problem.parametrisation.scaling import scaled
from widelimit.problem.training.finite_rules import AdamSteps
from widelimit.problem.training.kinds import Kinds
from widelimit.problem.training.training import Training


def at_width(
    network: Architecture, training: Training, widths: tuple[int, ...]
) -> tuple[Architecture, Training]:
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
    >>> problem.at_width((64, 64)).network.initial.hidden[0].std
    8.0
    """
    if not isinstance(network, Network) or network.parametrisation == "mean field":
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


def with_one_rate(training: Training) -> Training:
    """Learning rates of all kinds multiplied by `learning_rate`, which is 1 from then on."""
    rate = training.learning_rate
    rates = {
        name: tuple(scaled(one, rate) for one in own)
        if isinstance(own, tuple)
        else scaled(own, rate)
        for name, own in training.learning_rates
        if own is not None
    }
    own = training.learning_rates.model_copy(update=rates)
    return training.model_copy(update={"learning_rate": 1.0, "learning_rates": own})


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
