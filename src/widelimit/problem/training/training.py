"""How the network learns: loss, horizon, and a learning rate for every kind of parameter.

Clock: after k steps of size ε the mean-field time is `t = k ε`; a parameter moves by
`ε · ξ · multiplier · gradient`, the multiplier being the number of parameters it is averaged with.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.laws import Number
from widelimit.problem.network.network import Network
from widelimit.problem.network.units import READOUTS
from widelimit.problem.training.learning_rules import Adam, HeavyBall, Langevin, LearningRule
from widelimit.problem.training.losses import Loss, Squared
from widelimit.problem.training.schedules import Constant, Schedule


def _tuple_of_rates(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Rates = Annotated[tuple[Schedule, ...], BeforeValidator(_tuple_of_rates)]


class PerKind(BaseModel):
    """A number ≥ 0, or a schedule of them, for each kind of parameter.

    `input` is that of W_1 and b_1, `hidden` of W_l and b_l (one, or L−1 of them), `readout` of A
    and the output bias. `bias`, when given, is that of the biases instead: one for all of them and
    the output bias, or a list of L (b_1 … b_L), or of L+1 (and the output bias).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Schedule
    hidden: Rates
    readout: Schedule
    bias: Rates | None = None
    query: Schedule | None = None
    key: Schedule | None = None
    value: Schedule | None = None
    output: Schedule | None = None
    embedding: Schedule | None = None
    unembedding: Schedule | None = None

    def of(self, name: str) -> Schedule:
        """That of a parameter of units, or of the ends of a residual network.

        Unless they are given, `bias`, and what a head reads with, follow `input`; its output
        follows `readout`; the ends do not move.
        """
        given = getattr(self, name, None)
        if name == "bias" and self.bias is not None:
            return self.bias[0]
        if given is not None:
            return given
        if name in ("embedding", "unembedding"):
            return Constant(value=0.0)
        return self.readout if name in READOUTS else self.input

    def hidden_rates(self, depth: int) -> tuple[Schedule, ...]:
        """Those of W_2 … W_L."""
        return self.hidden * (depth - 1) if len(self.hidden) == 1 else self.hidden

    def bias_rates(self, depth: int) -> tuple[Schedule, ...]:
        """Those of b_1 … b_L and of the output bias."""
        own = (self.input, *self.hidden_rates(depth), self.readout)
        if self.bias is None:
            return own
        if len(self.bias) == 1:
            return self.bias * (depth + 1)
        return (*self.bias, *own[len(self.bias) :])

    def mismatches(self, network: Architecture, place: str) -> list[str]:
        """Rates of what the network has not got, and lists of another length, with their place."""
        known, found = network.moving, []
        for name in self.model_fields_set - known - {"hidden"}:
            if getattr(self, name) is not None:
                found.append(
                    f"{place}.{name}: no parameter of this network is called so; there are "
                    f"{', '.join(sorted(known))}"
                )
        return found or self._unfit_lists(network.depths_of_rates, place)

    def _unfit_lists(self, depth: int, place: str) -> list[str]:
        """Lists whose length is not what the depth asks for, each with its place."""
        found = []
        if "hidden" in self.model_fields_set and depth == 1:
            found.append(f"{place}.hidden: there are no hidden-to-hidden weights at depth 1")
        elif len(self.hidden) not in (1, depth - 1) and depth > 1:
            asked = "one" if depth == 2 else f"one, or {depth - 1}"
            found.append(f"{place}.hidden: found {len(self.hidden)} rates; give {asked}")
        if self.bias is not None and len(self.bias) not in (1, depth, depth + 1):
            asked = f"one, {depth} or {depth + 1}" if depth > 1 else "one or 2"
            found.append(f"{place}.bias: found {len(self.bias)} rates; give {asked}")
        return found


class LearningRates(PerKind):
    """ξ(t) for each kind of parameter; 0 freezes it."""

    input: Schedule = Constant(value=1.0)
    hidden: Rates = (Constant(value=1.0),)
    readout: Schedule = Constant(value=1.0)


class WeightDecay(PerKind):
    """λ(t) for each kind of parameter: training minimises R + ½ Σ λ E|θ|²."""

    input: Schedule = Constant(value=0.0)
    hidden: Rates = (Constant(value=0.0),)
    readout: Schedule = Constant(value=0.0)


def _decay(value: Any) -> Any:
    """A table, or one number for all parameters."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        one = Constant(value=value)
        return WeightDecay.model_construct(set(), input=one, hidden=(one,), readout=one)
    if isinstance(value, dict | WeightDecay):
        return value
    raise ValueError(f"found {value!r}; must be a number from 0 on, or a table")


def _momentum(value: Any) -> Any:
    """A table with the friction: a bare number would be taken for β."""
    if isinstance(value, dict | HeavyBall):
        return value
    raise ValueError(
        f"found {value!r}; give {{ friction = γ }}: the momentum of a step is 1 − γ ε. A fixed "
        "momentum β is, as ε → 0, plain descent with learning rates ξ/(1 − β)"
    )


class Training(BaseModel):
    """Loss, horizon (mean-field time), learning rates, and the rule (`[training]`).

    `momentum` asks for the heavy ball and `adam` for Adam in place of descent (`learning_rules`);
    `label_noise` is the variance of normal noise, fresh at every step, that is added to targets;
    `temperature` is that of noise on all parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Loss = Squared()
    horizon: Annotated[Number, Field(gt=0)]
    learning_rates: LearningRates = LearningRates()
    weight_decay: Annotated[WeightDecay, BeforeValidator(_decay)] | None = None
    momentum: Annotated[HeavyBall, BeforeValidator(_momentum)] | None = None
    adam: Adam | None = None
    label_noise: Annotated[Number, Field(ge=0)] = 0.0
    temperature: Annotated[Number, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _one_rule(self) -> "Training":
        if self.momentum is not None and self.adam is not None:
            raise ValueError("adam: found beside momentum; Adam has its own, so leave one out")
        other = "momentum" if self.momentum else "adam" if self.adam else None
        if self.temperature > 0 and other:
            raise ValueError(
                f"temperature: found {self.temperature} beside {other}; the limit of noisy steps "
                "is known for descent, where noise acts on parameters alone: leave one out"
            )
        if self.label_noise > 0 and not isinstance(self.loss, Squared):
            raise ValueError(
                f"label_noise: the limit stays the same only for the loss 'squared', found "
                f"{self.loss.loss!r}: put noise of another kind into the data"
            )
        return self

    @property
    def rule(self) -> LearningRule:
        """What is done with gradients."""
        if self.temperature > 0:
            return Langevin(temperature=self.temperature)
        return self.momentum or self.adam or LearningRule()

    def paths(self, network: Architecture) -> tuple[bool, ...]:
        """Of every index space whether its neurons have labels that follow Brownian paths."""
        if not self.rule.noisy or not isinstance(network, Network):
            return (False,) * (max(network.spaces) + 1)
        rates, last = self.learning_rates, network.depth - 1
        biases = rates.bias_rates(network.depth)
        found = [False] * (max(network.spaces) + 1)
        for layer, space in enumerate(network.spaces):
            moved = [rates.input] * (layer == 0) + [rates.readout] * (layer == last)
            moved += [biases[layer]] * network.biases
            found[space] |= self.rule.noisy and not all(rate.frozen for rate in moved)
        return tuple(found)

    def unfit_for(self, network: Architecture) -> list[str]:
        """What a network has whose noise does not average out, or has no known limit."""
        if not self.rule.noisy:
            return []
        found, said = [], f"training.temperature: found {self.temperature}; "
        if not isinstance(network, Network):
            return [f"{said}noise on the units of a residual network is not built: leave it out"]
        if network.output_bias and not self.learning_rates.bias_rates(network.depth)[-1].frozen:
            found.append(
                f"{said}the output bias is a single number, whose noise does not average out, so "
                "that outputs stay random in the limit: leave network.output_bias out, or freeze it"
            )
        if any(network.finite_widths):
            found.append(
                f"{said}the noise of a layer of finite width does not average out: leave "
                "network.ensembles out"
            )
        hidden = self.learning_rates.hidden_rates(network.depth)
        found += [
            f"{said}network.layers[{place}] is not linear in its weights, so that their noise does "
            "not average out and the limit is not known: freeze them, or take it as the first"
            for place, (layer, rate) in enumerate(
                zip(network.layer_maps[1:], hidden, strict=True), 1
            )
            if not layer.linear and not rate.frozen
        ]
        return found

    def mismatches(self, network: Architecture) -> list[str]:
        """Rates that do not fit the network, each with its place."""
        found = self.learning_rates.mismatches(network, "training.learning_rates")
        if self.weight_decay is not None:
            found += self.weight_decay.mismatches(network, "training.weight_decay")
        return found
