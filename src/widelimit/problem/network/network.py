"""What the network is: its layers, and the laws of its initial parameters."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from widelimit.problem.network.embedding import Embedding
from widelimit.problem.network.laws import (
    Atoms,
    Count,
    Law,
    Mixture,
    Normal,
    Single,
    TruncatedNormal,
    Uniform,
    law_written_out,
)
from widelimit.problem.network.laws import Own as OwnLaw
from widelimit.problem.network.layered import Layers
from widelimit.problem.network.layers import Shape
from widelimit.problem.network.marks import Block
from widelimit.problem.network.parametrised import refuse_missing, refuse_uncentred

HiddenLaw = Annotated[
    Annotated[
        Normal
        | Uniform
        | TruncatedNormal
        | Mixture
        | Atoms
        | OwnLaw
        | Annotated[Embedding, Field(discriminator="family")],
        Field(discriminator="law"),
    ],
    BeforeValidator(law_written_out),
]
"""Hidden-to-hidden weights: independent with a law, or a function of two neurons' labels."""


def _expanded(value: Any, count: int) -> list:
    """One law for each of `count` layers from one law, or the list as it was written."""
    return list(value) if isinstance(value, list | tuple) else [value] * count


def _with_defaults(raw: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """The laws that were given, and those that a network has if nothing is said."""
    depth, initial = len(raw["activations"]), {**given}
    hidden, bias = {"law": "normal", "mean": 0.5, "std": 1.0}, {"law": "atoms", "points": [0.0]}
    own = raw.get("base_width") is None  # PyTorch's laws are no defaults: see `refuse_missing`
    ours = raw.get("parametrisation", "mean field") == "mean field"
    if own and "neuron" not in initial:
        initial.setdefault("input", {"law": "normal", "mean": 0.0, "std": 1.0})
        initial.setdefault("readout", {"law": "normal", "mean": float(ours), "std": 1.0})
        if raw.get("biases") is True:
            initial.setdefault("bias", bias)
    if own and depth > 1:
        initial.setdefault("hidden", hidden if ours else hidden | {"mean": 0.0})
    for key, count, there in (
        ("hidden", depth - 1, depth > 1),
        ("bias", depth, raw.get("biases") is True and "neuron" not in initial),
    ):
        if key in initial:  # what does not belong here is reported by _check_layout
            initial[key] = _expanded(initial[key], count if there else 1)
    return initial


class Initial(BaseModel):
    """Laws of the initial parameters; `neuron` is the joint law of (w, b, a) at depth 1."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Law | None = None
    hidden: tuple[HiddenLaw, ...] = ()
    readout: Law | None = None
    bias: tuple[Law, ...] = ()
    neuron: Atoms | None = None


class Network(Layers):
    """A network described by its layers and their laws (`[network]`).

    `initial` are the laws of its initial parameters. `parametrisation` tells how they, and the
    learning rates, go with the width (see `problem.parametrisation`): with "mup" and "ntk" those at
    width 1 are given, or with `base_width` those of a network of this width in the usual notation.
    """

    initial: Initial = Initial()
    base_width: Count | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, raw: Any) -> Any:
        """Write the default laws down: which ones exist depends on depth and biases."""
        if not isinstance(raw, dict) or not isinstance(raw.get("activations"), list | tuple):
            return raw
        initial = raw.get("initial", {})
        if isinstance(initial, Initial):
            initial = initial.model_dump(exclude_none=True)
        if not isinstance(initial, dict):
            return raw
        return {**raw, "initial": _with_defaults(raw, initial)}

    @model_validator(mode="after")
    def _check_layout(self) -> "Network":
        laws, depth = self.initial, self.depth
        refuse_missing(self.base_width, self.parametrisation, laws, depth, self.biases)
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
                if not isinstance(law, Embedding) and law.joint:
                    raise ValueError(
                        f"initial.{name}[{place}]: is a law of vectors; each of these parameters "
                        "is a number"
                    )
        for place, pair in enumerate(pairwise(laws.hidden)):
            if isinstance(pair[1], Embedding) and not isinstance(pair[0], Embedding):
                raise ValueError(
                    f"initial.hidden[{place + 1}]: an embedding hands on the labels of the layer "
                    f"below; make hidden[{place}] an embedding too"
                )
        if self.parametrisation != "mean field":
            refuse_uncentred(self.parametrisation, laws, any(self.finite_widths))
        if self.skips and any(isinstance(law, Embedding) for law in laws.hidden):
            raise ValueError("initial.hidden: embeddings beside skip connections are not built")
        return self

    def marks(self, inputs: int, outputs: int) -> tuple[tuple[Block, ...], ...]:
        """What stays attached to the neurons of each index space: their labels.

        Layer 1: its incoming weights and bias; layers 2 … L−1: the bias; layer L: the bias and
        the readout (Nguyen & Pham 2023, §5); and what `attached` tells. An empty mark means that
        all neurons of the layer are alike. Layers that share their neurons share their label.
        """
        entries = self.entries(inputs, outputs)
        if self.initial.neuron:
            size = entries[0] + self.biases + entries[-1]
            return ((Block("neuron", self.initial.neuron, size),),)
        spaces: list[list[Block]] = [[] for _ in range(max(self.spaces) + 1)]
        for layer, space in enumerate(self.spaces):
            blocks: list[Block | None] = []
            if layer == 0:
                blocks.append(Block("input", self.initial.input, entries[0]))
            if layer > 0:
                blocks.append(self.attached(layer - 1, entries[layer])[1])
            if layer < self.depth - 1:
                blocks.append(self.attached(layer, entries[layer + 1])[0])
            if self.biases:
                blocks.append(Block(f"bias_{layer + 1}", self.initial.bias[layer], 1))
            if layer == self.depth - 1:
                blocks.append(Block("readout", self.initial.readout, entries[-1]))
            spaces[space] += [block for block in blocks if block is not None]
        return tuple(map(tuple, spaces))

    def attached(self, pair: int, entries: int = 1) -> tuple[Block | None, Block | None]:
        """What the weights between layers pair + 1 and pair + 2 leave on lower and upper neurons.

        A pair of neurons has so many `entries`.
        Independent weights between two layers in the limit: nothing, only their mean counts. Next
        to a layer of finite width they stay attached to the other one's neurons (Sirignano &
        Spiliopoulos 2022, Lemma 2.2), between two such layers to the upper one's. An embedding
        gives the coordinates of its label to the upper one.
        """
        law, (below, above) = self.initial.hidden[pair], self.finite_widths[pair : pair + 2]
        if isinstance(law, Embedding):
            return None, Block("incoming", Normal(), law.size) if law.size else None
        if below is not None:
            return None, Block("incoming", law, below * entries)
        if above is not None:
            return Block("outgoing", law, above * entries), None
        return None, None

    @property
    def independent(self) -> dict[int, Single]:
        """Laws of the weights between layers pair + 1 and pair + 2 that belong to no label."""
        return {
            pair: law
            for pair, law in enumerate(self.initial.hidden)
            if not isinstance(law, Embedding) and self.attached(pair) == (None, None)
        }

    def mismatches(self, inputs: int, outputs: int) -> list[str]:
        """Layers and laws of vectors that do not fit the data, each with its place."""
        if self.image is not None and math.prod(self.image) != inputs:
            return [
                f"network.image: found {list(self.image)}, {math.prod(self.image)} numbers; the "
                f"inputs have {inputs}"
            ]
        try:
            shapes = self.weight_shapes(inputs)
        except ValueError as error:
            return [f"network.{error}" + ("" if self.image else "; is network.image missing?")]
        return self._unfit_layers(shapes) or self._unfit_laws(inputs, outputs)

    def _unfit_layers(self, shapes: Sequence[Shape]) -> list[str]:
        """Layers that cannot have the weights that their laws give."""
        unfit = [
            f"network.layers[{pair + 1}]: a pair of neurons has {math.prod(shapes[pair + 1])} "
            "numbers, and the embedding gives one"
            for pair, law in enumerate(self.initial.hidden)
            if isinstance(law, Embedding) and shapes[pair + 1] != ()
        ]
        unfit += [
            f"network.layers[{pair + 1}]: is not linear in its weights, so their mean is not all "
            "that the limit needs to know: give the weights a law of one atom, or take such a "
            "layer as the first"
            for pair, law in self.independent.items()
            if law.deviation() > 0 and not self.layer_maps[pair + 1].linear
        ]
        return unfit

    def _unfit_laws(self, inputs: int, outputs: int) -> list[str]:
        """Laws of vectors, and labels of embeddings, of another size than the data ask for."""
        sizes = [law.size for law in self.initial.hidden if isinstance(law, Embedding)]
        found = [
            f"network.initial.hidden[{place}].size: found {size}; a first-layer label is the "
            f"neuron's input weights, and there are {inputs}"
            for place, size in enumerate(sizes)
            if size > inputs
        ]
        for block in (b for mark in self.marks(inputs, outputs) for b in mark):
            size = block.law.vector_size
            if size is not None and size != block.size:
                found.append(
                    f"network.initial.{block.name}: is a law of vectors with {size} entries; the "
                    f"layers and the data ({inputs} inputs, {outputs} outputs) ask for {block.size}"
                )
            if block.name == "neuron" and size is None and block.size != 1:
                found.append(
                    f"network.initial.neuron.points: needs vectors of {block.size} entries"
                )
        return found
