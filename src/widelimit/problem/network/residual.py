"""Residual networks: a measure on depth × unit.

    h(x; 0) = x E + e_0,   h_l = h_{l-1} + (α/(LM)) Σ_i v(h_{l-1}, θ_{l,i}),   l = 1 … L
    f(x) = pool(h_L) U + u_0

L blocks of M units (Chizat 2025). As L and M grow, in any way, training follows a limit in which
units of every depth s in [0, 1] have a law μ_s of their own. A number as `depth` takes M alone to
infinity.
"""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, model_validator

from widelimit.basics.words import shown
from widelimit.problem.network.activations import Activation, named
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.byname import table_of
from widelimit.problem.network.laws import Atoms, Count, Law, Normal, Number, Uniform
from widelimit.problem.network.marks import Block
from widelimit.problem.network.units import READOUTS, AnyUnit, Unit

MOST_BLOCKS = 100_000
"""A deeper network has the limit's numbers to five digits."""


class UnitCosts(NamedTuple):
    """What units cost: of each kind the numbers that one has, holds and multiplies at a point."""

    entries: tuple[int, ...]
    fields: tuple[int, ...]
    products: tuple[int, ...]
    ends: tuple[int, int]
    stream: int
    """Numbers of the stream at a data point."""

    @property
    def laws(self) -> int:
        """How many index spaces there are."""
        return len(self.entries)

    @property
    def chain(self) -> tuple[int, ...]:
        """Units are not cut over devices."""
        return ()

    @property
    def spare(self) -> tuple[int, int]:
        """Measured peaks: 256 to 131,072 units of D = 64 in four depths, on digits."""
        return 3, 120 * 10**6

    def held(self, sizes: Sequence[int]) -> int:
        """How many numbers so many units of each kind have, embeddings included."""
        return sum(n * each for n, each in zip(sizes, self.entries, strict=True)) + self.stream * (
            sum(self.ends)
        )

    def values(self, sizes: Sequence[int]) -> int:
        """How many numbers they have at a data point: units of one depth at a time."""
        units = sum(n * each for n, each in zip(sizes, self.fields, strict=True))
        return max(1, units // FEWEST_DEPTHS) + FEWEST_DEPTHS * self.stream

    def work(self, sizes: Sequence[int]) -> int:
        """Multiplications of one evaluation at a data point."""
        return sum(n * each for n, each in zip(sizes, self.products, strict=True))


FEWEST_DEPTHS = 4
"""A limit has at least so many depth nodes."""


class Depth(Uniform):
    """The law of a unit's depth: all of [0, 1], or the middle of one of so many `blocks`."""

    blocks: int | None = None


def _embedding(value: Any) -> Any:
    """The word or a law; pydantic would report both readings."""
    if value != "identity" and isinstance(value, str | int | float | list):
        raise ValueError(f"found {shown(value)}; must be 'identity' or the table of a law")
    return value


class UnitLaws(BaseModel):
    """Laws of the initial parameters of units, each that of every entry; and of the ends.

    `embedding` is "identity" (inputs stand in the first entries of the stream) or a law of each
    entry of E, `position` that of e_0 (none: 0), `unembedding` that of U.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Law | None = None
    bias: Law | None = None
    readout: Law | None = None
    query: Law | None = None
    key: Law | None = None
    value: Law | None = None
    output: Law | None = None
    embedding: Annotated[Literal["identity"] | Law, BeforeValidator(_embedding)] = "identity"
    position: Law | None = None
    unembedding: Law | None = None


def _blocks(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


def _depth(value: Any) -> Any:
    """A number of blocks, or the word for infinitely many; pydantic would report both readings."""
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value == "limit" or (whole and 1 <= value <= MOST_BLOCKS):
        return value
    raise ValueError(
        f"found {shown(value)}; must be 'limit' or a number of blocks from 1 to {MOST_BLOCKS:,}"
    )


NO_KERNEL = (
    "parametrisation: found 'ntk'; a stream of fixed width has no limit there, for its blocks stay "
    "random: take 'mup', which is the mean field here (blocks have one hidden layer). Depth-μP, "
    "blocks of size 1/√L with random weights, is another limit, in which the stream is as wide as "
    "the layers: use layers with skip, parametrisation = 'mup' and hidden laws of size 1/√L, at a "
    "depth of your own"
)


class _Shapes(Architecture):
    """How large residual networks are: their widths are L and M."""

    depth: Annotated[Literal["limit"] | int, BeforeValidator(_depth)] = "limit"

    def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """(L, M): blocks, and units of each kind in a block."""
        if len(given) == 1 and isinstance(self.depth, int):
            return self.depth, given[0]
        return given

    def unfit_widths(self, given: Sequence[tuple[int, ...]], key: str) -> list[str]:
        """Shapes that are no pairs, or stand there twice."""
        found = [
            f"networks.{key}: found {w[0]}; a residual network has a depth too: give "
            f"networks.shapes = [[depth, {w[0]}]], or a number as network.depth"
            for w in given
            if len(w) == 1 and self.depth == "limit"
        ]
        found += [
            f"networks.{key}: found {list(w)}; give [depth, units in a block]"
            for w in given
            if len(w) > 2
        ]
        shapes = [self.shape(w) for w in given]
        return found + [
            f"networks.{key}: found {list(w)} more than once"
            for w in dict.fromkeys(shapes)
            if shapes.count(w) > 1
        ]

    def neurons(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """L · M of each kind."""
        return (math.prod(widths),) * len(self.spaces)

    def scaled(self, widths: tuple[int, ...], scale: float) -> tuple[int, ...]:
        """As deep, and so many times as wide."""
        depth, width = widths
        return depth, max(1, math.ceil(scale * width * (1 - 1e-12)))

    def in_sequence(self, widths: tuple[int, ...]) -> int:
        """L."""
        return widths[0]

    def as_deep_as(self, widths: tuple[int, ...] | None) -> "_Shapes":
        """The same with the depth of such networks; None: infinitely deep."""
        return self.model_copy(update={"depth": "limit" if widths is None else widths[0]})

    def connections(self, widths: tuple[int, ...]) -> int:
        """Units."""
        return math.prod(widths)

    def growing(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """L · M: so many units an average has."""
        return (math.prod(widths),)

    def coordinates(self, widths: tuple[int, ...]) -> dict[str, int]:
        """M and L."""
        return {"width": widths[1], "depth": widths[0]}


class ResidualNetwork(_Shapes):
    """A residual network described by its units and their laws (`architecture = "residual"`).

    `stream` is D (None: that of a token), `blocks` are the kinds of units that a block has, side
    by side, or one after the other where they are `alternating`. `tokens` cuts inputs into so many
    tokens of equal size, `pool` says what is read of them at the end.
    """

    architecture: Literal["residual"] = "residual"
    stream: Count | None = None
    blocks: Annotated[tuple[AnyUnit, ...], BeforeValidator(_blocks), Field(min_length=1)]
    alternating: StrictBool = False
    residual_scale: Annotated[Number, Field(gt=0)] = 1.0
    tokens: Count = 1
    pool: Literal["mean", "last"] = "mean"
    biases: StrictBool = False
    output_bias: StrictBool = False
    initial: UnitLaws = UnitLaws()

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, raw: Any) -> Any:
        """Perceptrons, if nothing else is said."""
        return {"blocks": ["perceptron"], **raw} if isinstance(raw, dict) else raw

    @model_validator(mode="after")
    def _check_laws(self) -> "ResidualNetwork":
        if self.parametrisation == "ntk":
            raise ValueError(NO_KERNEL)
        known = {name for unit in self.blocks for name in unit.sizes(1, self.biases)}
        for name in UnitLaws.model_fields.keys() - {"embedding", "position", "unembedding"}:
            if getattr(self.initial, name) is not None and name not in known:
                raise ValueError(
                    f"initial.{name}: given, and no unit of {', '.join(self.kinds)} has it"
                    + ("; set biases = true" if name == "bias" else "")
                )
        return self

    # --- sizes ----------------------------------------------------------------------------------

    @property
    def kinds(self) -> tuple[str, ...]:
        """What the kinds of units are called, numbered where there are several of one."""
        names = [unit.kind for unit in self.blocks]
        return tuple(
            name if names.index(name) == place else f"{name}_{names[: place + 1].count(name)}"
            for place, name in enumerate(names)
        )

    @property
    def table(self) -> dict[str, Any]:
        """All keys as they would stand in a problem file."""
        raw = self.model_dump(mode="python", exclude_none=True, exclude={"blocks"})
        return {**raw, "blocks": [table_of("unit", unit) for unit in self.blocks]}

    @property
    def averages(self) -> str:
        """What its limit is, and what is averaged."""
        return "limit of many units (average 1/(LM) over L blocks of M units"

    @property
    def moving(self) -> frozenset[str]:
        """Parameters of its units, and both ends."""
        own = {name for unit in self.blocks for name in unit.sizes(1, self.biases)}
        return frozenset(own | {"embedding", "unembedding"})

    @property
    def parts(self) -> tuple[str, ...]:
        """Kinds of units, and both ends."""
        return (*self.kinds, "embedding", "unembedding")

    @property
    def used_activations(self) -> tuple[Activation, ...]:
        """The activations of all units."""
        return tuple(a for unit in self.blocks for a in unit.activations)

    @property
    def spaces(self) -> tuple[int, ...]:
        """Each kind of units is an index space."""
        return tuple(range(len(self.blocks)))

    @property
    def space_names(self) -> tuple[str, ...]:
        """What the index spaces are called."""
        return ("units",) if len(self.blocks) == 1 else self.kinds

    def token(self, inputs: int) -> int:
        """How many numbers a token of an input has."""
        return inputs // self.tokens

    def width_of_stream(self, inputs: int) -> int:
        """D."""
        return self.stream or self.token(inputs)

    # --- laws -----------------------------------------------------------------------------------

    def law(self, name: str, stream: int) -> Any:
        """The law of each entry of a parameter."""
        given = getattr(self.initial, name, None)
        if given is not None:
            return given
        if name == "bias":
            return Atoms(points=(0.0,))
        return Normal(std=1.0 if name in READOUTS else 1 / math.sqrt(stream))

    def unit_blocks(self, unit: Unit, stream: int) -> tuple[Block, ...]:
        """The laws of a unit's parameters, in their order."""
        sizes = unit.sizes(stream, self.biases)
        return tuple(Block(name, self.law(name, stream), size) for name, size in sizes.items())

    def marks(self, inputs: int, outputs: int) -> tuple[tuple[Block, ...], ...]:
        """What stays attached to a unit: its depth, and all of its parameters."""
        stream = self.width_of_stream(inputs)
        blocks = None if self.depth == "limit" else self.depth
        depth = Block("depth", Depth(low=0.0, high=1.0, blocks=blocks), 1)
        return tuple((depth, *self.unit_blocks(unit, stream)) for unit in self.blocks)

    def costs(self, inputs: int, outputs: int) -> UnitCosts:
        """What units cost in memory and time."""
        stream = self.width_of_stream(inputs)
        own = [unit.sizes(stream, self.biases) for unit in self.blocks]
        return UnitCosts(
            tuple(sum(sizes.values()) for sizes in own),
            tuple(unit.fields(self.tokens) for unit in self.blocks),
            tuple(unit.products(stream, self.tokens, self.biases) for unit in self.blocks),
            (inputs, outputs),
            self.tokens * stream,
        )

    # --- checks and words -----------------------------------------------------------------------

    def mismatches(self, inputs: int, outputs: int) -> list[str]:
        """Tokens that inputs do not divide into, streams that they do not fit into, and laws."""
        if inputs % self.tokens:
            return [
                f"network.tokens: found {self.tokens}; the {inputs} inputs do not divide into so "
                "many tokens of equal size"
            ]
        stream, found = self.width_of_stream(inputs), []
        if self.initial.embedding == "identity" and stream < self.token(inputs):
            found.append(
                f"network.stream: found {stream}, narrower than a token, which has "
                f"{self.token(inputs)} numbers, and the embedding is the identity; make it wider, "
                "or give network.initial.embedding a law"
            )
        for block in (b for mark in self.marks(inputs, outputs) for b in mark):
            size = block.law.vector_size
            if size is not None and size != block.size:
                found.append(
                    f"network.initial.{block.name}: is a law of vectors with {size} entries; such "
                    f"a parameter has {block.size}"
                )
        for name in ("embedding", "position", "unembedding"):
            law = getattr(self.initial, name)
            if law not in (None, "identity") and law.joint:
                found.append(
                    f"network.initial.{name}: is a law of vectors; each of these parameters is a "
                    "number"
                )
        return found

    def words(self) -> str:
        """The network in words, to be read back by the user."""
        deep = "infinite depth" if self.depth == "limit" else f"{self.depth} blocks"
        kinds = [
            unit.kind + (f" ({', '.join(map(named, unit.activations))})" * bool(unit.activations))
            for unit in self.blocks
        ]
        joined = (" then " if self.alternating else " and ").join(kinds)
        stream = "" if self.stream is None else f", stream of {self.stream}"
        tokens = "" if self.tokens == 1 else f", {self.tokens} tokens"
        biases = "with" if self.biases else "without"
        return f"residual, {deep} of {joined}{stream}{tokens}, {biases} biases"
