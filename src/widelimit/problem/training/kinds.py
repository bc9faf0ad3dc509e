"""A number, or a schedule of them, for every kind of parameter."""

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict

from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.units import READOUTS
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


Kinds = TypeVar("Kinds", bound=PerKind)


def alike(of: type[Kinds], value: float) -> Kinds:
    """One number for all parameters, none of which was asked for by its kind."""
    one = Constant(value=value)
    return of.model_construct(set(), input=one, hidden=(one,), readout=one)
