"""The problem: network, data, training, and what is wanted; read from TOML, checked as a whole."""

import hashlib
import json
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ByteSize,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    TypeAdapter,
    ValidationError,
)

from widelimit.data import Csv, Dataset, Digits, Npz, OpenML, Rows, Table
from widelimit.embedding import Given
from widelimit.errors import ProblemError
from widelimit.laws import Count, Number, not_a_number
from widelimit.losses import Own
from widelimit.mistakes import in_words, shown
from widelimit.network import Network
from widelimit.population import OBSERVED, Population
from widelimit.quadrature import layer_rules
from widelimit.training import Training

Positive = Annotated[Number, Field(gt=0)]
Precision = Literal["float64", "float32"]
RuleName = Literal["auto", "exact", "lattice", "sobol"]
DataSource = Annotated[
    Table | Csv | Npz | Digits | OpenML | Population, Field(discriminator="source")
]


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
    the most memory in bytes (None: a quarter of the machine's). `rules` names the rule of each
    layer, `nodes` fixes their numbers.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tolerance: Positive = 1e-2
    max_nodes: Count = 16_384
    memory: Annotated[int, BeforeValidator(_memory)] | None = None
    precision: Precision = "float64"
    rules: Annotated[tuple[RuleName, ...], BeforeValidator(_one_or_each)] | None = None
    nodes: Annotated[tuple[Count, ...], BeforeValidator(_one_or_each)] | None = None

    def mismatches(self, network: Network, data: Dataset) -> list[str]:
        """Rules and nodes that do not fit the layers."""
        found = [
            f"limit.{key}: found {len(given)} entries; give one for each of {network.depth} layers"
            for key, given in (("rules", self.rules), ("nodes", self.nodes))
            if given is not None and len(given) != network.depth
        ]
        if found or self.rules is None:
            return found
        dims = data.inputs.shape[1], data.targets.shape[1]
        rules = layer_rules(network, dims, np.eye(dims[0]), 0)
        possible = [[rule.name for rule in choices] for choices in rules]
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
        if value >= 2:
            return value
        raise ValueError(f"found {value}; a count of times must be at least 2")
    if not isinstance(value, list | tuple):
        raise ValueError(f"found {shown(value)}; must be a count of times or a list of times")
    for index, time in enumerate(value):
        wrong = not_a_number(time)
        if wrong or not 0 <= time < np.inf:
            raise ValueError(f"entry {index} is {wrong or time}; times are numbers from 0 on")
    return tuple(map(float, value))


class NetworkSettings(BaseModel):
    """Which networks are trained, and how (`[networks]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    widths: Annotated[tuple[tuple[Count, ...], ...], BeforeValidator(_widths), Field(min_length=1)]
    seeds: Count = 20
    method: Literal["sgd", "gd", "flow"] = "sgd"
    step: Annotated[float | str, BeforeValidator(_step)] = "1/width"
    batch: Count = 1
    draw: Literal["independent", "distinct", "epochs"] = "independent"
    precision: Precision = "float32"
    states: Count = 1

    def layer_widths(self, network: Network) -> tuple[tuple[int, ...], ...]:
        """(n_1, …, n_L) for every width asked for; one number leaves finite layers as they are."""
        fixed = network.finite_widths
        return tuple(tuple(own or w[0] for own in fixed) if len(w) == 1 else w for w in self.widths)

    def step_size(self, network: Network, widths: tuple[int, ...]) -> float:
        """ε of the network with these layer widths."""
        return 1.0 / network.growing_width(widths) if isinstance(self.step, str) else self.step

    def mismatches(self, network: Network, data: Dataset | None) -> list[str]:
        """Widths that do not fit the layers and batches that do not fit the data."""
        depth = network.depth
        found = [
            f"networks.widths: found {list(w)}; give one number, or one for each of {depth} layers"
            for w in self.widths
            if len(w) not in (1, depth)
        ]
        shapes = self.layer_widths(network)
        found += [
            f"networks.widths: found {list(w)} more than once"
            for w in dict.fromkeys(shapes)
            if shapes.count(w) > 1
        ]
        found += [
            f"networks.widths: found {n} for layer {layer} of {list(w)}; network.ensembles gives "
            f"it {own}"
            for w in shapes
            if len(w) == depth
            for layer, (n, own) in enumerate(zip(w, network.finite_widths, strict=True), 1)
            if own not in (None, n)
        ]
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
        if training.adam is not None:
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
    """Where and when outputs are kept (`[observe]`): times, and inputs.

    The inputs are by default those of the training points, or of the first `population.OBSERVED`
    points that measure the risk where training draws fresh ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    times: Annotated[int | tuple[float, ...], BeforeValidator(_times)] = 11
    inputs: Rows | None = None

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


class Problem(BaseModel):
    """A network given by its laws, data, training, and what is to be computed.

    Make one with `Problem.from_file("problem.toml")` or `Problem.from_dict({...})`; both check
    everything, data included, and raise `ProblemError` with all mistakes at once.

    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"]},
    ...     "data": {"source": "table", "inputs": [[-1.0], [1.0]], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 3.0},
    ... })
    >>> problem.network.words()
    '1 hidden layer (tanh), without biases'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = "problem"
    format: Literal[1] = 1
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**32)] = 0
    network: Network
    data: DataSource
    training: Training
    limit: LimitSettings = LimitSettings()
    networks: NetworkSettings | None = None
    observe: ObserveSettings = ObserveSettings()

    _folder: Path = PrivateAttr(default_factory=Path)
    _dataset: Dataset | None = PrivateAttr(default=None)

    @classmethod
    def from_file(cls, path: str | Path) -> "Problem":
        """Read and check a problem file; paths inside it are relative to its folder."""
        path = Path(path)
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            reason = error.strerror or str(error)
            raise ProblemError([f"cannot be read: {reason}"], str(path)) from None
        except UnicodeDecodeError:
            raise ProblemError(["cannot be read: it is not UTF-8 text"], str(path)) from None
        except tomllib.TOMLDecodeError as error:
            raise ProblemError([f"is not TOML: {error}"], str(path)) from None
        return cls.from_dict({"title": path.stem, **raw}, path.parent, str(path))

    @classmethod
    def from_dict(
        cls, raw: Mapping[str, Any], folder: str | Path = ".", source: str = "the problem"
    ) -> "Problem":
        """Check a problem written as nested tables, the data files in `folder` included."""
        mistakes: list[str] = []
        parts: dict[str, Any] = {}
        try:
            problem = cls.model_validate(dict(raw))
            parts = {name: getattr(problem, name) for name in cls.model_fields}
        except ValidationError as error:
            problem = None
            mistakes += in_words(error, raw, cls)
            parts = _valid_parts(cls, raw)
        data = _load(parts, Path(folder), mistakes)
        mistakes += _cross_check(parts, data)
        if mistakes or problem is None:
            raise ProblemError(mistakes, source)
        problem._folder = Path(folder)
        problem._dataset = data
        return problem

    def with_changes(self, **sections: Mapping[str, Any] | Any) -> "Problem":
        """A new problem with some keys replaced, checked again.

        `problem.with_changes(networks={"widths": [64, 256]}, seed=1)` keeps all other keys.
        """
        raw = self.as_dict()
        for name, value in sections.items():
            raw[name] = {**raw.get(name, {}), **value} if isinstance(value, Mapping) else value
        return type(self).from_dict(raw, self._folder)

    def with_widths(self, widths: Sequence[int | Sequence[int]] | None) -> "Problem":
        """The problem with networks of these widths; None leaves those that it has.

        Raises `ValueError` if there are none.
        """
        if widths is not None:
            return self.with_changes(networks={"widths": list(widths)})
        if self.networks is None:
            raise ValueError("the problem has no [networks] section: give widths")
        return self

    @property
    def dataset(self) -> Dataset:
        """The data as arrays, holdout taken out."""
        if self._dataset is None:
            self._dataset = self.data.load(self._folder, self.seed)
        return self._dataset

    @property
    def times(self) -> np.ndarray:
        """The observed mean-field times."""
        times = self.observe.times
        if isinstance(times, int):
            return np.linspace(0.0, self.training.horizon, times)
        return np.asarray(times, float)

    @property
    def observed_inputs(self) -> np.ndarray:
        """Inputs `(input, d)` at which outputs are kept: see `ObserveSettings`."""
        if self.observe.inputs is not None:
            return np.asarray(self.observe.inputs)
        return self.dataset.inputs[:OBSERVED] if self.dataset.fresh else self.dataset.inputs

    @property
    def population(self) -> Population | None:
        """The law that training draws fresh points from; None where the data are finite."""
        return self.data if isinstance(self.data, Population) and self.dataset.fresh else None

    def require_finite_data(self) -> None:
        """Raise `ProblemError` if there is no limit to solve yet: over a whole population."""
        if self.dataset.fresh:
            raise ProblemError([
                "data.samples: is missing; the limit over a whole population needs a quadrature of "
                "it whose error is estimated, which is not built yet: give data.samples = n to "
                "solve the limit on n points of it, or give points and weights of your own as a "
                "table"
            ], self.title)  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """All keys with their defaults written, as they would stand in a problem file."""
        raw = self.model_dump(mode="python", exclude_none=True, exclude={"networks": {"widths"}})
        raw["network"]["initial"] = {k: v for k, v in raw["network"]["initial"].items() if v != ()}
        raw["data"] = {"source": raw["data"].pop("source"), **raw["data"]}
        if self.network.depth == 1:
            for kinds in ("learning_rates", "weight_decay"):
                raw["training"].get(kinds, {}).pop("hidden", None)
        if self.networks is not None:
            widths = [w[0] if len(w) == 1 else list(w) for w in self.networks.widths]
            raw["networks"] = {"widths": widths, **raw["networks"]}
        return _plain(raw)

    def to_toml(self) -> str:
        """The problem file of this problem; data paths are made absolute."""
        raw = self.as_dict()
        if "path" in raw["data"]:
            path = self._folder / Path(raw["data"]["path"]).expanduser()
            raw["data"]["path"] = str(path.resolve())
        self._refuse_functions()
        return tomli_w.dumps(raw)

    def _refuse_functions(self) -> None:
        """Raise `ProblemError` for what only Python can hold."""
        network = self.network
        places = [
            f"network.activations[{k}]" for k, a in enumerate(network.activations) if callable(a)
        ]
        places += [
            f"network.initial.hidden[{k}].function"
            for k, law in enumerate(network.initial.hidden)
            if isinstance(law, Given)
        ]
        if isinstance(self.training.loss, Own):
            places.append("training.loss")
        if places:
            said = (
                "a function of one's own cannot be written to a file; keep the problem in Python "
                "(solve, train and compare take it)"
            )
            raise ProblemError([f"{place}: {said}" for place in places], self.title)

    def digest(self, *sections: str) -> str:
        """SHA-256 of some sections (of the data: their numbers), to tell results apart."""
        self._refuse_functions()
        raw = self.as_dict()
        chosen = {name: raw.get(name) for name in sections}
        if "data" in sections:
            chosen["data"] = self.dataset.digest()
            if self.data.samples is not None:
                chosen["samples"] = self.data.samples
        if "limit" in sections:  # the same numbers whatever the memory
            chosen["limit"] = {k: v for k, v in raw["limit"].items() if k != "memory"}
        if "networks" in sections:  # each width has its own result: adding widths refuses none
            chosen["networks"] = {k: v for k, v in raw["networks"].items() if k != "widths"}
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Tuples as lists, so that TOML and JSON write the same thing."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _valid_parts(model: type[BaseModel], raw: Mapping[str, Any]) -> dict[str, Any]:
    """The sections that are right by themselves, so that checks between them still run."""
    parts = {}
    for name in model.model_fields:
        probe: Any = {"network": {"activations": ["tanh"]}, "training": {"horizon": 1.0}}
        probe["data"] = {"source": "table", "inputs": [0.0], "targets": [0.0]}
        if name in raw or name not in probe:
            probe |= {name: raw[name]} if name in raw else {}
            try:
                parts[name] = getattr(model.model_validate(probe), name)
            except ValidationError:
                continue
    return parts


def _load(parts: dict[str, Any], folder: Path, mistakes: list[str]) -> Dataset | None:
    if parts.get("data") is None:
        return None
    try:
        return parts["data"].load(folder, parts.get("seed", 0))
    except ValueError as error:
        mistakes.append(f"data.{error}" if ":" in str(error).split(" ")[0] else f"data: {error}")
        return None


def _cross_check(parts: dict[str, Any], data: Dataset | None) -> list[str]:
    """Mistakes that only show when sections are held against each other."""
    found: list[str] = []
    network, training = parts.get("network"), parts.get("training")
    if network is not None and data is not None:
        found += network.mismatches(data.inputs.shape[1], data.targets.shape[1])
    if network is not None and training is not None:
        found += training.mismatches(network.depth)
    if training is not None and data is not None:
        found += training.loss.mismatches(data.targets)
    if training is not None and parts.get("networks") is not None:
        found += parts["networks"].unfit_for(training)
    if network is not None and parts.get("networks") is not None:
        found += parts["networks"].mismatches(network, data)
    if network is not None and data is not None and parts.get("limit") is not None and not found:
        found += parts["limit"].mismatches(network, data)
    if parts.get("observe") is not None:
        found += parts["observe"].mismatches(
            training.horizon if training else None, data.inputs.shape[1] if data else None
        )
    return found
