"""The problem: network, data, training, and what is wanted; read from TOML, checked as a whole."""

import copy
import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import (
    PrivateAttr,
    ValidationError,
)

from widelimit.basics.errors import ProblemError
from widelimit.problem.checks import cross_check, loaded, observed, valid_parts
from widelimit.problem.data.population import Population
from widelimit.problem.data.sources import Dataset
from widelimit.problem.mistakes import in_words
from widelimit.problem.network.network import Network
from widelimit.problem.parametrisation.widths import at_width, with_one_rate, without_base
from widelimit.problem.tables import Tables, only_in_python

MOST_PARTS = 100
"""Keys of so many parts are none of ours."""


NOT_LAYERED = (
    "network.architecture: found 'residual'; this is known for layered networks alone: leave it "
    "out, or measure with networks"
)

A_FAMILY = (
    "sweep: makes this a family of problems; use widelimit sweep PROBLEM -o RUN, or "
    "widelimit.sweep(problem, widelimit.solve)"
)


class Problem(Tables):
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

    _dataset: Dataset | None = PrivateAttr(default=None)
    _written: dict[str, Any] | None = PrivateAttr(default=None)

    @classmethod
    def from_file(cls, path: str | Path) -> "Problem":
        """Read and check a problem file; paths inside it are relative to its folder."""
        path = Path(path)
        return cls.from_dict({"title": path.stem, **_tables_of(path)}, path.parent, str(path))

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
            parts = valid_parts(cls, raw)
        data = loaded(parts, Path(folder), mistakes)
        mistakes += cross_check(parts, data)
        if mistakes or problem is None:
            raise ProblemError(mistakes, source)
        problem = problem.with_parts(**_in_our_units(problem))
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
                value = {**_beside(before, value), **value}
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
            raise ProblemError([A_FAMILY], self.title)

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
    def layers(self) -> Network:
        """The network, where it is one of layers.

        Raises `ProblemError` for another: what asks for layers is not known there.
        """
        if isinstance(self.network, Network):
            return self.network
        raise ProblemError([NOT_LAYERED], self.title)

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
        return observed(self.observe, self.dataset)

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

    def at_width(self, widths: tuple[int, ...]) -> "Problem":
        """The problem of networks of these widths, in the mean field's parametrisation."""
        network, training = at_width(self.network, self.training, widths)
        return self.with_parts(network=network, training=training)

    def require_noiseless(self, what: str) -> None:
        """Raise `ProblemError` if parameters are under noise, which `what` does not cover."""
        if self.training.rule.noisy:
            raise ProblemError(
                [
                    f"training.temperature: found {self.training.temperature}; {what}: leave it "
                    "out, or measure with networks"
                ],
                self.title,
            )

    def digest(self, *sections: str) -> str:
        """SHA-256 of some sections (of the data: their numbers), to tell results apart."""
        self.refuse_functions()
        chosen = _told_apart(self, sections)
        return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()

    def identity(self, *sections: str) -> str | None:
        """The seed and some sections in words, the numbers of the data apart.

        None where they hold functions of one's own: these are not told apart.
        """
        raw = self.as_dict()
        chosen = {name: raw.get(name) for name in sections}
        return None if only_in_python(chosen, "") else json.dumps([self.seed, chosen])


def _told_apart(problem: Problem, sections: Sequence[str]) -> dict[str, Any]:
    """What of some sections results depend on."""
    raw = problem.as_dict()
    chosen = {name: raw.get(name) for name in sections}
    if "data" in sections:
        chosen["data"] = problem.dataset.digest()
        if problem.data.samples is not None:
            chosen["samples"] = problem.data.samples
    if "limit" in sections:  # the same numbers whatever the memory
        chosen["limit"] = {k: v for k, v in raw["limit"].items() if k != "memory"}
    if "limit" in sections and problem.measured:  # by networks, whose steps may be those of it
        own = problem.measured_with
        names = {"method", "precision"}
        names |= set() if own.method == "flow" else {"step", "batch", "draw"}
        chosen["measured with"] = own.model_dump(include=names)
    if "networks" in sections:  # each width has its own result: adding widths refuses none
        chosen["networks"] = {
            k: v for k, v in raw["networks"].items() if k not in ("widths", "shapes")
        }
    return chosen


def _in_our_units(problem: "Problem") -> dict[str, Any]:
    """Network and training with the laws and rates of width 1, whatever the base width."""
    network, training = problem.network, problem.training
    if training.learning_rate != 1:
        training = with_one_rate(training)
    if isinstance(network, Network):
        network, training = without_base(network, training)
    return {"network": network, "training": training}


def _beside(before: Mapping[str, Any], value: Mapping[str, Any]) -> dict[str, Any]:
    """What stays of a section: shapes of networks take the place of widths, and these of them."""
    other = {"widths": "shapes", "shapes": "widths"}
    replaced = {other[key] for key in value if key in other}
    return {key: entry for key, entry in before.items() if key not in replaced}


def _flat_enough(text: str) -> str:
    """The text itself. Raises `ValueError` for keys of very many parts, which take minutes."""
    for number, line in enumerate(text.splitlines(), 1):
        key = line.partition("=")[0]
        if '"' not in key and "'" not in key and key.count(".") >= MOST_PARTS:
            raise ValueError(
                f"the key in line {number} has {key.count('.') + 1} parts; keys have four at most"
            )
    return text


def _tables_of(path: Path) -> dict[str, Any]:
    """A file's tables. Raises `ProblemError` if it cannot be read."""
    try:
        return tomllib.loads(_flat_enough(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        reason = error.strerror or str(error)
        raise ProblemError([f"cannot be read: {reason}"], str(path)) from None
    except UnicodeDecodeError:
        raise ProblemError(["cannot be read: it is not UTF-8 text"], str(path)) from None
    except RecursionError:
        raise ProblemError(
            ["has lists or tables inside each other a thousand deep"], str(path)
        ) from None
    except ValueError as error:  # TOMLDecodeError among them
        if "integer string conversion" in str(error):
            error = ValueError("a whole number has thousands of digits")
        raise ProblemError([f"is not TOML: {error}"], str(path)) from None
