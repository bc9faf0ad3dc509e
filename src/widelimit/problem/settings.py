"""What is wanted: how accurate a limit, which networks, and where both are looked at."""

import sys
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from widelimit.basics.words import shown
from widelimit.problem.data.sources import Dataset, Rows
from widelimit.problem.functionals import Asked, Functionals, misnamed
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.laws import Count, Number, not_a_number
from widelimit.problem.network.marks import rule_names
from widelimit.problem.training.learning_rules import Adam
from widelimit.problem.training.training import Training

Positive = Annotated[Number, Field(gt=0)]
Precision = Literal["float64", "float32"]
RuleName = Literal["auto", "exact", "lattice", "sobol", "paths", "joint"]


MOST_TIMES = 10_000
"""Everything observed is kept at every time, and integrations stop there."""


def _memory(value: Any) -> Any:
    """Bytes, as a number or with a unit."""
    try:
        size = int(TypeAdapter(ByteSize).validate_python(value))
    except ValidationError:
        size = 0
    if size <= 0 or isinstance(value, bool):
        raise ValueError(f"found {shown(value)}; must be an amount of memory such as '4 GB'")
    return size


def _one_or_each(value: Any) -> Any:
    """A list with one entry a layer; with one layer the entry alone will do."""
    return value if isinstance(value, list | tuple) else (value,)


class LimitSettings(BaseModel):
    """How accurately the limit is wanted (`[limit]`).

    `tolerance` bounds the largest, over observed times, RMS over observed inputs and outputs of
    `output_error`; `max_nodes` is the largest number of quadrature nodes in one layer, `memory`
    the most memory in bytes (None: a quarter of the machine's). Refinement ends where its next
    level would take longer than what is left of `max_seconds`. `rules` names the rule of each
    layer, `nodes` fixes their numbers. `how` = "measured" asks for a limit that is measured with
    networks even where one can be solved, "none" for none: a sweep trains networks only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: Positive = 1e-2
    how: Literal["auto", "measured", "none"] = "auto"
    max_nodes: Count = 16_384
    memory: Annotated[int, BeforeValidator(_memory)] | None = None
    max_seconds: Positive | None = None
    precision: Precision = "float64"
    rules: Annotated[tuple[RuleName, ...], BeforeValidator(_one_or_each)] | None = None
    nodes: Annotated[tuple[Count, ...], BeforeValidator(_one_or_each)] | None = None

    def mismatches(self, network: Architecture, training: Training, data: Dataset) -> list[str]:
        """Rules and nodes that do not fit the layers."""
        count = len(set(network.spaces))
        what = "layers" if count == len(network.spaces) else "sets of neurons that layers have"
        found = [
            f"limit.{key}: found {len(given)} entries; give one for each of {count} {what}"
            for key, given in (("rules", self.rules), ("nodes", self.nodes))
            if given is not None and len(given) != count
        ]
        if found or self.rules is None:
            return found
        dims = data.inputs.shape[1], data.targets.shape[1]
        finite = network.by_space(network.finite_widths)
        possible = [
            ("sampled",) if width is not None else ("paths",) if noisy else rule_names(mark)
            for mark, width, noisy in zip(
                network.marks(*dims), finite, training.paths(network), strict=True
            )
        ]
        return [
            f"limit.rules: found {name!r} for layer {layer}; its law allows 'auto', "
            f"{', '.join(map(repr, names))}"
            for layer, (name, names) in enumerate(zip(self.rules, possible, strict=True), 1)
            if name not in ("auto", *names)
        ]


def _widths(value: Any) -> Any:
    """Each width as a tuple, one entry a layer; a single number stands for all layers."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list of widths, such as [64, 256, 1024]")
    return tuple(tuple(w) if isinstance(w, list | tuple) else (w,) for w in value)


def _step(value: Any) -> Any:
    """A step size, or the words that tie it to the width."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value == "1/width" or (number and 0 < value <= sys.float_info.max):
        return value
    raise ValueError(f"found {shown(value)}; must be a positive number or '1/width'")


def _times(value: Any) -> Any:
    """A count of times, or the times themselves; pydantic would report both readings."""
    if isinstance(value, int) and not isinstance(value, bool):
        if 2 <= value <= MOST_TIMES:
            return value
        if value > MOST_TIMES:
            raise ValueError(f"found {shown(value)} times; at most {MOST_TIMES:,} are kept")
        raise ValueError(f"found {value}; a count of times must be at least 2")
    if not isinstance(value, list | tuple):
        raise ValueError(f"found {shown(value)}; must be a count of times or a list of times")
    if len(value) > MOST_TIMES:
        raise ValueError(f"found {len(value)} times; at most {MOST_TIMES:,} are kept")
    for index, time in enumerate(value):
        wrong = not_a_number(time)
        if wrong or not 0 <= time < np.inf:
            raise ValueError(f"entry {index} is {wrong or time}; times are numbers from 0 on")
    return tuple(map(float, value))


Sizes = Annotated[tuple[tuple[Count, ...], ...], BeforeValidator(_widths), Field(min_length=1)]


class NetworkSettings(BaseModel):
    """Which networks are trained, and how (`[networks]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Sizes | None = None
    shapes: Sizes | None = None
    seeds: Count = 20
    method: Literal["sgd", "gd", "flow"] = "sgd"
    step: Annotated[float | str, BeforeValidator(_step)] = "1/width"
    batch: Count = 1
    draw: Literal["independent", "distinct", "epochs"] = "independent"
    precision: Precision = "float32"
    states: Count = 1

    @model_validator(mode="after")
    def _sizes_given(self) -> "NetworkSettings":
        if self.widths and self.shapes:
            raise ValueError("shapes: found beside widths; give one of them")
        if not self.widths and not self.shapes:
            raise ValueError("widths: is missing; it is required")
        return self

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """The sizes of networks as they were given."""
        return self.shapes or self.widths or ()

    def layer_widths(self, network: Architecture) -> tuple[tuple[int, ...], ...]:
        """All widths of a network, for every size asked for."""
        return tuple(network.shape(w) for w in self.sizes)

    def step_size(self, network: Architecture, widths: tuple[int, ...]) -> float:
        """ε of the network with these layer widths."""
        return 1.0 / network.growing_width(widths) if isinstance(self.step, str) else self.step

    def mismatches(self, network: Architecture, data: Dataset | None) -> list[str]:
        """Widths that do not fit the layers and batches that do not fit the data."""
        found = network.unfit_widths(self.sizes, "shapes" if self.shapes else "widths")
        if self.states > self.seeds:
            found.append(
                f"networks.states: found {self.states}, more than the {self.seeds} seeds; it is "
                "how many networks of each width are kept whole"
            )
        if data is not None and data.fresh:
            found += self._without_finite_data()
        elif data is not None and self.method == "sgd" and self.draw != "independent":
            if not data.equal_weights:
                found.append(f"networks.draw: {self.draw!r} needs equal data weights")
            if self.batch > len(data.inputs):
                found.append(
                    f"networks.batch: found {self.batch}, more than the {len(data.inputs)} "
                    f"training points; {self.draw!r} draws without replacement"
                )
        return found

    def unfit_for(self, training: Training) -> list[str]:
        """Methods and batches that are not what the learning rule is about."""
        found = []
        if training.label_noise > 0 and self.method != "sgd":
            found.append(
                f"networks.method: found {self.method!r}; training.label_noise is drawn at every "
                "step of 'sgd'"
            )
        if training.rule.noisy and self.method == "flow":
            found.append(
                "networks.method: found 'flow'; as ε → 0 the steps of training.temperature = "
                f"{training.temperature} are a stochastic equation, not a flow: use 'gd' with a "
                "small networks.step"
            )
        if training.rule.finite:
            found += self._without_flow()
        if isinstance(training.adam, Adam):
            own = self.batch if self.method == "sgd" else "all"
            if own != training.adam.batch:
                found.append(
                    f"training.adam.batch: found {training.adam.batch!r}; networks use {own!r}, "
                    "and the limit depends on it: make them equal"
                )
            if self.method == "sgd" and self.draw != "independent":
                found.append(
                    f"networks.draw: found {self.draw!r}; the limit of Adam is known for points "
                    "drawn independently"
                )
        return found

    def _without_flow(self) -> list[str]:
        """What rules of steps do not allow."""
        found = []
        if self.method == "flow":
            found.append(
                "networks.method: found 'flow'; the learning rule is one of steps, from which no "
                "flow is derived: use 'gd' or 'sgd'"
            )
        if self.step == "1/width":
            found.append(
                "networks.step: found '1/width'; the learning rule is one of steps that stay as "
                "they are, so give a number (with 1 time counts steps)"
            )
        return found

    def _without_finite_data(self) -> list[str]:
        """What fresh points do not allow."""
        given = "give data.samples = n to train on n points of the population"
        if self.method != "sgd":
            return [
                f"networks.method: found {self.method!r}, which needs a finite data set; {given}, "
                "or use 'sgd', which draws fresh points at every step"
            ]
        if self.draw != "independent":
            return [
                f"networks.draw: found {self.draw!r}, which needs a finite data set; {given}, "
                "or leave it out: every step draws fresh points"
            ]
        return []


class ObserveSettings(BaseModel):
    """Where and when outputs are kept (`[observe]`): times, and inputs; and functionals.

    The inputs are by default those of the training points, or of the first `population.OBSERVED`
    points that measure the risk where training draws fresh ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: Annotated[int | tuple[float, ...], BeforeValidator(_times)] = 11
    inputs: Rows | None = None
    functionals: Functionals = ()

    def unfit(self, asked: Asked) -> list[str]:
        """Functionals that do not fit the problem, or each other."""
        found = [
            f"observe.functionals[{place}].{said}"
            for place, functional in enumerate(self.functionals)
            for said in (
                ["functional: looks at the weights of layers, which a residual network has not"]
                if functional.of_layers and not asked.layered
                else functional.mismatches(asked)
            )
        ]
        return found + [f"observe.functionals: {said}" for said in misnamed(self.functionals)]

    def mismatches(self, horizon: float | None, inputs: int | None) -> list[str]:
        """Times outside the horizon or out of order, and inputs of the wrong length."""
        found = []
        if isinstance(self.times, tuple):
            if len(self.times) == 0 or any(np.diff(self.times) <= 0):
                found.append("observe.times: must be a non-empty increasing list of times")
            elif horizon is not None and self.times[-1] > horizon:
                found.append(f"observe.times: found {self.times[-1]}, beyond the horizon {horizon}")
        if self.inputs is not None and inputs not in (None, len(self.inputs[0])):
            found.append(
                f"observe.inputs: found rows of {len(self.inputs[0])}; the data have {inputs}"
            )
        if self.inputs is not None and not np.isfinite(self.inputs).all():
            found.append("observe.inputs: found NaN or infinity")
        return found
