"""What the network is: its layers, and the laws of its initial parameters.

    z_1 = W_1·x + b_1,   z_l = (1/n_{l-1}) Σ_j W_l[j] φ_{l-1}(z_{l-1}[j]) + b_l,
    f = (1/n_L) Σ_i A[i] φ_L(z_L[i]) + a_0

Widths are no part of it: the same description has an infinite-width limit and networks of any
width.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, field_validator, model_validator

from widelimit.activations import ACTIVATIONS
from widelimit.laws import Atoms, Law, Normal


@dataclass(frozen=True)
class Block:
    """A part of a neuron's mark: `size` entries with the same law."""

    name: str  # "input", "bias", "readout", or "neuron" for the joint law of all three
    law: Normal | Atoms | Any
    size: int


def _expanded(value: Any, count: int) -> list:
    """One law for each of `count` layers from one law, or the list as it was written."""
    return list(value) if isinstance(value, list | tuple) else [value] * count


class Initial(BaseModel):
    """Laws of the initial parameters; `neuron` is the joint law of (w, b, a) at depth 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Law | None = None
    hidden: tuple[Law, ...] = ()
    readout: Law | None = None
    bias: tuple[Law, ...] = ()
    neuron: Atoms | None = None


class Network(BaseModel):
    """A fully connected network of any width, described by its laws (`[network]`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    activations: Annotated[tuple[str, ...], Field(min_length=1)]
    biases: StrictBool = False
    output_bias: StrictBool = False
    initial: Initial = Initial()

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, raw: Any) -> Any:
        """Write the default laws down: which ones exist depends on depth and biases."""
        if not isinstance(raw, dict) or not isinstance(raw.get("activations"), list | tuple):
            return raw
        depth = len(raw["activations"])
        initial = raw.get("initial", {})
        if isinstance(initial, Initial):
            initial = initial.model_dump(exclude_none=True)
        if not isinstance(initial, dict):
            return raw
        initial = {**initial}
        if "neuron" not in initial:
            initial.setdefault("input", {"law": "normal", "mean": 0.0, "std": 1.0})
            initial.setdefault("readout", {"law": "normal", "mean": 1.0, "std": 1.0})
            if raw.get("biases") is True:
                bias = initial.get("bias", {"law": "atoms", "points": [0.0]})
                initial["bias"] = _expanded(bias, depth)
        if depth > 1:
            hidden = initial.get("hidden", {"law": "normal", "mean": 0.5, "std": 1.0})
            initial["hidden"] = _expanded(hidden, depth - 1)
        for key in ("hidden", "bias"):  # reported by _check_layout when they do not belong here
            if key in initial:
                initial[key] = _expanded(initial[key], 1)
        return {**raw, "initial": initial}

    @field_validator("activations")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in ACTIVATIONS:
                raise ValueError(f"found {name!r}; the known activations are {_list(ACTIVATIONS)}")
        return names

    @model_validator(mode="after")
    def _check_layout(self) -> "Network":
        laws, depth = self.initial, self.depth
        if depth == 1 and laws.hidden:
            raise ValueError("initial.hidden: there are no hidden-to-hidden weights at depth 1")
        if depth > 1 and len(laws.hidden) != depth - 1:
            raise ValueError(f"initial.hidden: found {len(laws.hidden)} laws, needs {depth - 1}")
        if laws.neuron and depth > 1:
            raise ValueError("initial.neuron: a joint law of a neuron needs one hidden layer")
        if laws.neuron and (laws.input or laws.readout or laws.bias):
            raise ValueError("initial.neuron: takes the place of input, bias and readout")
        if laws.bias and not self.biases:
            raise ValueError("initial.bias: given although biases = false; set biases = true")
        if self.biases and not laws.neuron and len(laws.bias) != depth:
            raise ValueError(f"initial.bias: found {len(laws.bias)} laws, needs {depth}")
        for name in ("hidden", "bias"):
            for place, law in enumerate(getattr(laws, name)):
                if law.vector_size is not None:
                    where = f"initial.{name}[{place}].points"
                    raise ValueError(f"{where}: found vectors; use numbers")
        return self

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self.activations)

    @cached_property
    def activation_functions(self) -> tuple[Callable, ...]:
        """φ_1 … φ_L."""
        return tuple(ACTIVATIONS[name] for name in self.activations)

    def marks(self, inputs: int, outputs: int) -> tuple[tuple[Block, ...], ...]:
        """What stays attached to the neurons of each layer under independent initialisation.

        Layer 1: its incoming weights and bias; layers 2 … L−1: the bias; layer L: the bias and
        the readout (Nguyen & Pham 2023, §5). An empty mark means that all neurons of the layer
        are alike.
        """
        if self.initial.neuron:
            size = inputs + self.biases + outputs
            return ((Block("neuron", self.initial.neuron, size),),)
        layers = []
        for layer in range(self.depth):
            blocks = [Block("input", self.initial.input, inputs)] if layer == 0 else []
            if self.biases:
                blocks.append(Block("bias", self.initial.bias[layer], 1))
            if layer == self.depth - 1:
                blocks.append(Block("readout", self.initial.readout, outputs))
            layers.append(tuple(blocks))
        return tuple(layers)

    def mismatches(self, inputs: int, outputs: int) -> list[str]:
        """Laws of vectors whose length is not what the data ask for, each with its place."""
        found = []
        for block in (b for mark in self.marks(inputs, outputs) for b in mark):
            size = block.law.vector_size
            if size is not None and size != block.size:
                found.append(
                    f"network.initial.{block.name}.points: found points with {size} entries; the "
                    f"data ({inputs} inputs, {outputs} outputs) ask for {block.size}"
                )
            if block.name == "neuron" and size is None and block.size != 1:
                found.append(
                    f"network.initial.neuron.points: needs vectors of {block.size} entries"
                )
        return found

    def words(self) -> str:
        """The architecture in words, to be read back by the user."""
        layers = "1 hidden layer" if self.depth == 1 else f"{self.depth} hidden layers"
        names = dict.fromkeys(self.activations)
        shown = ", ".join(self.activations) if len(names) > 1 else self.activations[0]
        return f"{layers} ({shown}), {'with' if self.biases else 'without'} biases"


def _list(names: Any) -> str:
    return ", ".join(sorted(names))
