"""The tables that a problem file is made of: its sections, read, checked by type, and written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    Strict,
    WrapValidator,
)

from widelimit.basics.errors import ProblemError
from widelimit.basics.words import printable, shown
from widelimit.problem import functionals
from widelimit.problem.data.population import Population
from widelimit.problem.data.sources import Csv, Digits, Npz, OpenML, Source, Table
from widelimit.problem.network.network import Network
from widelimit.problem.network.residual import ResidualNetwork
from widelimit.problem.settings import LimitSettings, NetworkSettings, ObserveSettings
from widelimit.problem.training.training import Training


def _own_source(value: Any, known: Callable[[Any], Any]) -> Any:
    """A source of one's own is taken as it is."""
    return value if isinstance(value, Source) else known(value)


DataSource = Annotated[
    Annotated[Table | Csv | Npz | Digits | OpenML | Population, Field(discriminator="source")],
    WrapValidator(_own_source),
]


def _architecture(value: Any) -> Any:
    """A network by its key `architecture`; the keys of the other one are told as such."""
    if not isinstance(value, Mapping):
        return value
    name = value.get("architecture", "layered")
    if not isinstance(name, str) or name not in NETWORKS:
        allowed = ", ".join(map(repr, NETWORKS))
        raise ValueError(f"architecture: found {shown(name)}; must be one of {allowed}")
    own = {key: entry for key, entry in value.items() if key != "architecture"}
    for other in NETWORKS.keys() - {name}:
        foreign = NETWORKS[other].model_fields.keys() - NETWORKS[name].model_fields.keys()
        if misplaced := sorted(foreign & own.keys()):
            raise ValueError(
                f"{misplaced[0]}: belongs to architecture = {other!r}, and this network is {name}: "
                "leave it out, or change network.architecture"
            )
    return NETWORKS[name].model_validate(own)


NETWORKS: dict[str, type[Network] | type[ResidualNetwork]] = {
    "layered": Network,
    "residual": ResidualNetwork,
}
"""The architectures of networks by their names in problem files."""

AnyNetwork = Annotated[Network | ResidualNetwork, BeforeValidator(_architecture)]

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


def _printed(title: str) -> str:
    if title != printable(title) or "\n" in title:
        raise ValueError(f"found {shown(title)}; control characters cannot stand in a title")
    return title


class Tables(BaseModel):
    """All sections of a problem, each right by itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: Annotated[str, AfterValidator(_printed)] = "problem"
    format: Literal[1] = 1
    seed: Annotated[int, Strict(), Field(ge=0, lt=2**32)] = 0
    network: AnyNetwork
    data: DataSource
    training: Training
    limit: LimitSettings = LimitSettings()
    networks: NetworkSettings | None = None
    observe: ObserveSettings = ObserveSettings()
    sweep: Annotated[dict[str, tuple[Any, ...]], BeforeValidator(_swept)] | None = None

    _folder: Path = PrivateAttr(default_factory=Path)

    def as_dict(self) -> dict[str, Any]:
        """All keys with their defaults written, as they would stand in a problem file."""
        own = "source" not in type(self.data).model_fields  # a class of the user's
        left: Any = {
            "network": True,
            "networks": {"widths", "shapes"},
            "observe": {"functionals"},
        } | ({"data": True} if own else {})
        dumped = self.model_dump(mode="python", exclude_none=True, exclude=left)
        dumped["network"] = self.network.table
        raw = {name: dumped[name] for name in type(self).model_fields if name in dumped}
        if self.observe.functionals:
            tables = [functionals.table_of(f) for f in self.observe.functionals]
            raw["observe"]["functionals"] = tables
        if own:
            raw["data"] = self.data
        else:
            raw["data"] = {"source": raw["data"].pop("source"), **raw["data"]}
        there = self.network.moving - ({"hidden"} if self.network.depths_of_rates == 1 else set())
        for tables, kinds in (
            (raw["training"], "learning_rates"),
            (raw["training"], "weight_decay"),
            (raw["training"].get("adam", {}), "epsilon"),
        ):
            if kinds in tables:
                own = tables[kinds]
                tables[kinds] = {name: own[name] for name in own if name in there}
        if self.networks is not None:
            sizes = [w[0] if len(w) == 1 else list(w) for w in self.networks.sizes]
            key = "shapes" if self.networks.shapes else "widths"
            raw["networks"] = {key: sizes, **raw["networks"]}
        return _plain(raw)

    def to_toml(self) -> str:
        """The problem file of this problem; data paths are made absolute."""
        self.refuse_functions()
        raw = self.as_dict()
        if "path" in raw["data"]:
            path = self._folder / Path(raw["data"]["path"]).expanduser()
            raw["data"]["path"] = str(path.resolve())
        return tomli_w.dumps(raw)

    def refuse_functions(self) -> None:
        """Raise `ProblemError` for what only Python can hold."""
        said = (
            "a function of one's own cannot be written to a file; keep the problem in Python "
            "(solve, train and compare take it)"
        )
        if places := only_in_python(self.as_dict(), ""):
            raise ProblemError([f"{place}: {said}" for place in places], self.title)

    @property
    def measured(self) -> bool:
        """Whether its limit is measured with networks: none that is solved is known, or wanted."""
        network, mup = self.network, self.network.parametrisation == "mup"
        random = mup and isinstance(network, Network) and network.depth > 1
        own = random or network.parametrisation == "ntk" or self.training.rule.finite
        return own or self.limit.how == "measured"

    @property
    def measured_with(self) -> NetworkSettings:
        """How the networks that measure its limit are trained.

        As `[networks]` says where steps have a size of their own; else by the flow, for steps of
        1/n (the default) are none in the limit.
        """
        own = self.networks or NetworkSettings(widths=((1,),))
        flow = not isinstance(own.step, float | int) or own.method == "flow"
        return own.model_copy(update={"method": "flow", "states": 1} if flow else {"states": 1})

    def require_solved(self, what: str) -> None:
        """Raise `ProblemError` where the limit is measured, and `what` needs one that is solved."""
        if self.measured:
            raise ProblemError([f"{self._why_measured()}; {what}"], self.title)

    def require_limit(self) -> None:
        """Raise `ProblemError` where no limit is wanted."""
        if self.limit.how == "none":
            said = "limit.how: found 'none', which wants networks only: leave it out to solve"
            raise ProblemError([said], self.title)

    def _why_measured(self) -> str:
        """What it is that leaves a limit to be measured, with its place."""
        if self.training.rule.finite:
            place = "adam" if self.training.adam else "sign_descent"
            return f"training.{place}: is a rule of steps, whose limit is measured with networks"
        if self.network.parametrisation != "mean field":
            found = f"network.parametrisation: found {self.network.parametrisation!r}"
            return f"{found}, whose limit is measured with networks"
        return f"limit.how: found {self.limit.how!r}"


def only_in_python(value: Any, place: str) -> list[str]:
    """Where there are functions, or layers of one's own."""
    if isinstance(value, dict):
        parts = [(f"{place}.{key}" if place else key, item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        parts = [(f"{place}[{k}]", item) for k, item in enumerate(value)]
    else:
        return [place] if callable(value) or isinstance(value, BaseModel) else []
    return [found for name, item in parts for found in only_in_python(item, name)]


def _plain(value: Any) -> Any:
    """Tuples as lists, so that TOML and JSON write the same thing."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value
