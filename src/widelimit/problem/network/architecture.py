"""What all networks tell of themselves: their neurons' laws, how many there are, what they cost."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict

from widelimit.problem.network.activations import Activation
from widelimit.problem.network.laws import Single
from widelimit.problem.network.marks import Block


@runtime_checkable
class Costs(Protocol):
    """What neurons cost in memory and time; sizes are those of the index spaces."""

    @property
    def laws(self) -> int:
        """How many index spaces there are."""
        ...

    @property
    def chain(self) -> tuple[int, ...]:
        """The spaces of layers that matrices join, one after the other; none if it is otherwise."""
        ...

    @property
    def ends(self) -> tuple[int, int]:
        """Numbers that join a neuron to the input, and to the output."""
        ...

    @property
    def spare(self) -> tuple[int, int]:
        """Copies of the parameters beside those that a method holds, and bytes of compiled code."""
        ...

    def held(self, sizes: Sequence[int]) -> int:
        """How many numbers so many neurons a space have, inputs and outputs included."""
        ...

    def values(self, sizes: Sequence[int]) -> int:
        """How many numbers so many neurons a space have at a data point."""
        ...

    def work(self, sizes: Sequence[int]) -> int:
        """Multiplications of one evaluation at a data point."""
        ...


class Architecture(BaseModel):
    """A network without its size: the same description has a limit and networks of any width.

    Neurons are of index spaces: what belongs to two layers of one space belongs to the same
    neurons. `widths` are the numbers that tell the size of a network.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parametrisation: Literal["mean field", "mup", "ntk"] = "mean field"
    """How laws and learning rates go with the width, see `problem.parametrisation.exponents`."""

    @property
    def used_activations(self) -> tuple[Activation, ...]:
        """The activations of all its neurons."""
        raise NotImplementedError

    @property
    def spaces(self) -> tuple[int, ...]:
        """The index space that the neurons of each layer are of, counted from 0."""
        raise NotImplementedError

    @property
    def space_names(self) -> tuple[str, ...]:
        """What the index spaces are called."""
        raise NotImplementedError

    def by_space(self, per_layer: Sequence[Any]) -> tuple[Any, ...]:
        """What the first layer of every index space has."""
        spaces = self.spaces
        return tuple(per_layer[spaces.index(space)] for space in range(max(spaces) + 1))

    @property
    def finite_widths(self) -> tuple[int | None, ...]:
        """The width of each layer that has a finite one, None for layers in the limit."""
        return (None,) * len(self.spaces)

    @property
    def independent(self) -> dict[int, Single]:
        """Laws of weights that belong to no label, by the layer below them."""
        return {}

    @property
    def moving(self) -> frozenset[str]:
        """The kinds of parameters that learning rates may be given for."""
        raise NotImplementedError

    @property
    def parts(self) -> tuple[str, ...]:
        """What its parameters belong to: layers and readout, or kinds of units and both ends."""
        raise NotImplementedError

    @property
    def depths_of_rates(self) -> int:
        """So many layers may have rates of their own."""
        return 1

    @property
    def table(self) -> dict[str, Any]:
        """All keys as they would stand in a problem file."""
        raise NotImplementedError

    def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """All widths of a network from those that were given."""
        raise NotImplementedError

    def neurons(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """How many neurons each index space of a network of these widths holds."""
        raise NotImplementedError

    def growing(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """The numbers of neurons that grow towards the limit; none if all stay."""
        raise NotImplementedError

    def growing_width(self, widths: tuple[int, ...]) -> int:
        """The number of neurons that an average over a network of these widths has."""
        return (self.growing(widths) or widths)[0]

    def scaled(self, widths: tuple[int, ...], scale: float) -> tuple[int, ...]:
        """Widths so many times as large, rounded up, but for those that stay."""
        raise NotImplementedError

    def in_sequence(self, widths: tuple[int, ...]) -> int:
        """How many layers of networks of these widths work one after the other."""
        return len(widths)

    def as_deep_as(self, widths: tuple[int, ...] | None) -> "Architecture":
        """The description whose limit networks of these widths scatter around.

        None: the one with nothing finite that need not be.
        """
        return self

    def connections(self, widths: tuple[int, ...]) -> int:
        """What the work of a step grows with."""
        raise NotImplementedError

    def name(self, widths: Sequence[int]) -> str:
        """What networks of these widths are called."""
        return " × ".join(map(str, widths))

    def coordinates(self, widths: tuple[int, ...]) -> dict[str, int]:
        """What tells networks of these widths apart in results, by the names it has there."""
        return {"width": self.growing_width(widths)}

    def unfit_widths(self, given: Sequence[tuple[int, ...]], key: str) -> list[str]:
        """Sizes of networks that do not fit, given as "widths" or as "shapes"."""
        raise NotImplementedError

    def marks(self, inputs: int, outputs: int) -> tuple[tuple[Block, ...], ...]:
        """What stays attached to the neurons of each index space: their labels."""
        raise NotImplementedError

    def costs(self, inputs: int, outputs: int) -> Costs:
        """What neurons cost in memory and time."""
        raise NotImplementedError

    def mismatches(self, inputs: int, outputs: int) -> list[str]:
        """What does not fit the data, each with its place."""
        raise NotImplementedError

    @property
    def averages(self) -> str:
        """What its limit is, and what is averaged, up to a closing parenthesis."""
        raise NotImplementedError

    def words(self) -> str:
        """The network in words, to be read back by the user."""
        raise NotImplementedError
