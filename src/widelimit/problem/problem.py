"""The problem: network, data, training, and what is wanted; read from TOML, checked as a whole."""

import copy
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tomli_w
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    ValidationError,
    WrapValidator,
)

from widelimit.basics.errors import ProblemError
from widelimit.basics.words import shown
from widelimit.problem import functionals
from widelimit.problem.data.population import OBSERVED, Population
from widelimit.problem.data.sources import Csv, Dataset, Digits, Npz, OpenML, Source, Table
from widelimit.problem.functionals import Asked
from widelimit.problem.mistakes import in_words
from widelimit.problem.network.layers import table_of
from widelimit.problem.network.network import Network
from widelimit.problem.settings import LimitSettings, NetworkSettings, ObserveSettings
from widelimit.problem.symmetry import folding_of
from widelimit.problem.training.training import Training


def _own_source(value: Any, known: Callable[[Any], Any]) -> Any:
    """A source of one's own is taken as it is."""
    return value if isinstance(value, Source) else known(value)


DataSource = Annotated[
    Annotated[Table | Csv | Npz | Digits | OpenML | Population, Field(discriminator="source")],
    WrapValidator(_own_source),
]

UNSWEPT = ("title", "format", "sweep")
"""Keys that are the same for all problems of a family."""


def _swept(value: Any) -> Any:
    """Dotted keys with lists of values, from tables of tables."""
    found: dict[str, Any] = {}

    def gather(prefix: str, table: Any) -> None:
        for key, inner in table.items():
            place = f"{prefix}{key}"
            if isinstance(inner, Mapping):
                gather(f"{place}.", inner)
            elif not isinstance(inner, list | tuple) or len(inner) == 0:
                raise ValueError(f"{place} is {shown(inner)}; give a list of values")
            elif place.split(".")[0] in UNSWEPT:
                raise ValueError(f"{place} cannot be swept")
            else:
                found[place] = tuple(inner)

    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"found {shown(value)}; must be a table of keys with lists of values")
    gather("", value)
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
    sweep: Annotated[dict[str, tuple[Any, ...]], BeforeValidator(_swept)] | None = None

    _folder: Path = PrivateAttr(default_factory=Path)
    _dataset: Dataset | None = PrivateAttr(default=None)
    _written: dict[str, Any] | None = PrivateAttr(default=None)

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
        problem._written = dict(raw)
        return problem

    def with_changes(self, **sections: Mapping[str, Any] | Any) -> "Problem":
        """A new problem with some keys replaced, checked again.

        `problem.with_changes(networks={"widths": [64, 256]}, seed=1)` keeps all other keys.
        """
        raw = self.as_dict()
        for name, value in sections.items():
            before = raw.get(name, {})
            if isinstance(value, Mapping) and isinstance(before, Mapping):
                value = {**before, **value}
            raw[name] = value
        return type(self).from_dict(raw, self._folder)

    def with_values(self, values: Mapping[str, Any]) -> "Problem":
        """The problem with some keys, dotted, in place of what was written, and without `sweep`.

        Defaults that were not written follow from the new values.
        """
        raw = copy.deepcopy(self._written or self.as_dict())
        del raw["sweep"]
        for key, value in values.items():
            *tables, last = key.split(".")
            here = raw
            for table in tables:
                here = here.setdefault(table, {})
                if not isinstance(here, dict):
                    raise ProblemError([f"{key}: {table} is no table there"], self.title)
            here[last] = value
        return type(self).from_dict(raw, self._folder)

    def require_single(self) -> None:
        """Raise `ProblemError` if this is a family of problems."""
        if self.sweep is not None:
            raise ProblemError([
                "sweep: makes this a family of problems; use widelimit sweep PROBLEM -o RUN, or "
                "widelimit.sweep(problem, widelimit.solve)"
            ], self.title)  # fmt: skip

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
        return _observed(self.observe, self.dataset)

    @property
    def population(self) -> Population | None:
        """The law that training draws fresh points from; None where the data are finite."""
        return self.data if isinstance(self.data, Population) and self.dataset.fresh else None

    def require_finite_data(self, what: str) -> None:
        """Raise `ProblemError` for what is computed for finite data only."""
        if missing := self.missing_data(what):
            raise ProblemError(missing, self.title)

    def missing_data(self, what: str) -> list[str]:
        """What to give for something that is computed for finite data only."""
        if not self.dataset.fresh:
            return []
        return [
            f"data.samples: is missing; {what} over a whole population is not built: give "
            "data.samples = n to use n points of it"
        ]

    @property
    def folder(self) -> Path:
        """Where the paths of data files start."""
        return self._folder

    def with_parts(self, **parts: Any) -> "Problem":
        """The problem with some parts replaced by others that are known to be right."""
        changed = self.model_copy(update=parts)
        if "data" in parts:
            changed._dataset = None
        return changed

    def require_noiseless(self, what: str) -> None:
        """Raise `ProblemError` if parameters are under noise, which `what` does not cover."""
        if self.training.rule.noisy:
            raise ProblemError([
                f"training.temperature: found {self.training.temperature}; {what}: leave it out, "
                "or measure with networks"
            ], self.title)  # fmt: skip

    def as_dict(self) -> dict[str, Any]:
        """All keys with their defaults written, as they would stand in a problem file."""
        own = "source" not in type(self.data).model_fields  # a class of the user's
        left: Any = {"networks": {"widths"}, "network": {"layers"}, "observe": {"functionals"}} | (
            {"data": True} if own else {}
        )
        raw = self.model_dump(mode="python", exclude_none=True, exclude=left)
        raw["network"]["layers"] = [table_of(layer) for layer in self.network.layers]
        raw["network"]["initial"] = {k: v for k, v in raw["network"]["initial"].items() if v != ()}
        if self.observe.functionals:
            tables = [functionals.table_of(f) for f in self.observe.functionals]
            raw["observe"]["functionals"] = tables
        if own:
            raw["data"] = self.data
        else:
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
        self._refuse_functions()
        raw = self.as_dict()
        if "path" in raw["data"]:
            path = self._folder / Path(raw["data"]["path"]).expanduser()
            raw["data"]["path"] = str(path.resolve())
        return tomli_w.dumps(raw)

    def _refuse_functions(self) -> None:
        """Raise `ProblemError` for what only Python can hold."""
        said = (
            "a function of one's own cannot be written to a file; keep the problem in Python "
            "(solve, train and compare take it)"
        )
        if places := _only_in_python(self.as_dict(), ""):
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


def _only_in_python(value: Any, place: str) -> list[str]:
    """Where there are functions, or layers of one's own."""
    if isinstance(value, dict):
        parts = [(f"{place}.{key}" if place else key, item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{place}[{k}]", item) for k, item in enumerate(value)]
    else:
        return [place] if callable(value) or isinstance(value, BaseModel) else []
    return [found for name, item in parts for found in _only_in_python(item, name)]


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
        found += [] if found else training.unfit_for(network)
    if training is not None and data is not None:
        found += training.loss.mismatches(data.targets)
    if training is not None and parts.get("networks") is not None:
        found += parts["networks"].unfit_for(training)
    if isinstance(parts.get("data"), Population) and parts["data"].inputs.dimension == "inf":
        found += _at_infinity(parts)
    if network is not None and parts.get("networks") is not None:
        found += parts["networks"].mismatches(network, data)
    if None not in (network, training, data, parts.get("limit")) and not found:
        found += parts["limit"].mismatches(network, training, data)
    if parts.get("observe") is not None:
        found += parts["observe"].mismatches(
            training.horizon if training else None, data.inputs.shape[1] if data else None
        )
        if network is not None and data is not None:
            found += _unfit_functionals(parts, data)
    return found


def _unfit_functionals(parts: dict[str, Any], data: Dataset) -> list[str]:
    """Functionals that the problem has not got."""
    observe, network, folding = parts["observe"], parts["network"], None
    drawn = isinstance(parts["data"], Population)
    if drawn and data.fresh and parts.get("training") is not None:
        folding = folding_of(network, parts["training"], parts["data"])[0]
    kept = None if folding is None else folding.relevant
    outputs = len(_observed(observe, data)) * data.targets.shape[1]
    found = observe.unfit(Asked(data.inputs.shape[1], network.depth, outputs, kept))
    return found + [
        f"observe.functionals[{place}]: the data are no sample of a population: give one with "
        "data.samples" + (", or leave it out: risk is that of the population" if data.fresh else "")
        for place, functional in enumerate(observe.functionals)
        if functional.over_population and not (drawn and not data.fresh)
    ]


def _observed(observe: ObserveSettings, data: Dataset) -> np.ndarray:
    """Inputs `(input, d)` at which outputs are kept: see `ObserveSettings`."""
    if observe.inputs is not None:
        return np.asarray(observe.inputs)
    return data.inputs[:OBSERVED] if data.fresh else data.inputs


def _at_infinity(parts: dict[str, Any]) -> list[str]:
    """What has no meaning at dimension "inf": networks, and limits without the symmetry."""
    place, found = "data.inputs.dimension: found 'inf'", []
    if parts.get("networks") is not None:
        found.append(f"{place} beside [networks]; networks have a finite dimension: leave one out")
    if parts.get("network") is not None and parts.get("training") is not None:
        folding, reason = folding_of(parts["network"], parts["training"], parts["data"])
        if folding is None:
            found.append(f"{place}, and its limit is not known: {reason}")
    return found
