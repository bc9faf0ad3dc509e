"""How the network learns: loss, horizon, and a learning rate for every kind of parameter.

Clock: after k steps of size ε the mean-field time is `t = k ε`; a parameter moves by
`ε · ξ · multiplier · gradient`, the multiplier being the number of parameters it is averaged with.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.laws import Number
from widelimit.problem.network.network import Network
from widelimit.problem.training.finite_rules import AdamSteps, SignDescent
from widelimit.problem.training.kinds import PerKind, Rates, alike
from widelimit.problem.training.learning_rules import Adam, HeavyBall, Langevin, LearningRule
from widelimit.problem.training.losses import Loss, Squared
from widelimit.problem.training.schedules import Constant, Schedule


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
        return alike(WeightDecay, value)
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


def _adam(value: Any) -> Any:
    """With `betas` or `epsilon` that of frameworks, else the one that has a flow."""
    own = isinstance(value, Mapping) and {"betas", "epsilon"} & value.keys()
    return AdamSteps.model_validate(value) if own else value


class Training(BaseModel):
    """Loss, horizon (mean-field time), learning rates, and the rule (`[training]`).

    `learning_rate` multiplies all `learning_rates` (a problem that is read has them multiplied).
    `momentum` asks for the heavy ball and `adam` for Adam in place of descent (`learning_rules`),
    `adam` with `betas` and `sign_descent` for rules of steps that do not shrink (`finite_rules`);
    `label_noise` is the variance of normal noise, fresh at every step, that is added to targets;
    `temperature` is that of noise on all parameters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Loss = Squared()
    horizon: Annotated[Number, Field(gt=0)]
    learning_rate: Annotated[Number, Field(gt=0)] = 1.0
    learning_rates: LearningRates = LearningRates()
    weight_decay: Annotated[WeightDecay, BeforeValidator(_decay)] | None = None
    momentum: Annotated[HeavyBall, BeforeValidator(_momentum)] | None = None
    adam: Annotated[Adam | AdamSteps, BeforeValidator(_adam)] | None = None
    sign_descent: StrictBool = False
    label_noise: Annotated[Number, Field(ge=0)] = 0.0
    temperature: Annotated[Number, Field(ge=0)] = 0.0

    @model_validator(mode="after")
    def _one_rule(self) -> "Training":
        given = [name for name in ("momentum", "adam", "sign_descent") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"{given[1]}: found beside {given[0]}; each is a rule: leave one out")
        other = given[0] if given else None
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
        signs = SignDescent() if self.sign_descent else None
        return self.momentum or self.adam or signs or LearningRule()

    @property
    def epsilon(self) -> PerKind | None:
        """The δ of a rule that has one for every kind of parameter."""
        return self.adam.epsilon if isinstance(self.adam, AdamSteps) else None

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
        if unfit := self._unfit_parametrisation(network):
            return unfit
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

    def _unfit_parametrisation(self, network: Architecture) -> list[str]:
        """Rules that the network's parametrisation does not have."""
        name = network.parametrisation
        if name == "mean field":
            return []
        said = f"network.parametrisation: found {name!r} beside training"
        if self.rule.noisy:
            return [f"{said}.temperature; noise is built for the mean field's alone: leave it out"]
        if name == "ntk" and not self.rule.linear:
            rule = "sign_descent" if self.sign_descent else "adam"
            return [
                f"{said}.{rule}; the kernel's limit is that of descent, whose rates are divided by "
                "the width: take 'mup'"
            ]
        if isinstance(network, Network) and network.base_width and isinstance(self.adam, Adam):
            return [
                "network.base_width: found beside training.adam with slow moments, which no "
                "framework has: give adam = { betas = [0.9, 0.999] }"
            ]
        return []

    def mismatches(self, network: Architecture) -> list[str]:
        """Rates that do not fit the network, each with its place."""
        found = self.learning_rates.mismatches(network, "training.learning_rates")
        if isinstance(self.adam, AdamSteps):
            found += self.adam.epsilon.mismatches(network, "training.adam.epsilon")
        if self.weight_decay is not None:
            found += self.weight_decay.mismatches(network, "training.weight_decay")
        return found
