"""How the network learns: loss, horizon, and a learning rate for every kind of parameter.

Clock: after k steps of size ε the mean-field time is `t = k ε`; a parameter moves by
`ε · ξ · multiplier · gradient`, the multiplier being the number of parameters it is averaged with.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from widelimit.laws import Number
from widelimit.losses import Loss, Squared
from widelimit.schedules import Constant, Schedule


def _tuple_of_rates(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


Rates = Annotated[tuple[Schedule, ...], BeforeValidator(_tuple_of_rates)]


class LearningRates(BaseModel):
    """ξ(t) ≥ 0 for each kind of parameter, a number or a schedule; 0 freezes it.

    `input` moves W_1 and b_1, `hidden` W_l and b_l (one number, or L−1 of them), `readout` A and
    the output bias. `bias`, when given, moves the biases instead: one number for all of them and
    the output bias, or a list of L (b_1 … b_L), or of L+1 (and the output bias).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Schedule = Constant(value=1.0)
    hidden: Rates = (Constant(value=1.0),)
    readout: Schedule = Constant(value=1.0)
    bias: Rates | None = None

    def hidden_rates(self, depth: int) -> tuple[Schedule, ...]:
        """ξ_2 … ξ_L."""
        return self.hidden * (depth - 1) if len(self.hidden) == 1 else self.hidden

    def bias_rates(self, depth: int) -> tuple[Schedule, ...]:
        """Rates of b_1 … b_L and of the output bias."""
        own = (self.input, *self.hidden_rates(depth), self.readout)
        if self.bias is None:
            return own
        if len(self.bias) == 1:
            return self.bias * (depth + 1)
        return (*self.bias, *own[len(self.bias) :])

    def mismatches(self, depth: int) -> list[str]:
        """Lists whose length is not what the depth asks for, each with its place."""
        found = []
        place = "training.learning_rates"
        if "hidden" in self.model_fields_set and depth == 1:
            found.append(f"{place}.hidden: there are no hidden-to-hidden weights at depth 1")
        elif len(self.hidden) not in (1, depth - 1) and depth > 1:
            asked = "one" if depth == 2 else f"one, or {depth - 1}"
            found.append(f"{place}.hidden: found {len(self.hidden)} rates; give {asked}")
        if self.bias is not None and len(self.bias) not in (1, depth, depth + 1):
            asked = f"one, {depth} or {depth + 1}" if depth > 1 else "one or 2"
            found.append(f"{place}.bias: found {len(self.bias)} rates; give {asked}")
        return found


class Training(BaseModel):
    """Loss, horizon (mean-field time) and learning rates (`[training]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Loss = Squared()
    horizon: Annotated[Number, Field(gt=0)]
    learning_rates: LearningRates = LearningRates()
