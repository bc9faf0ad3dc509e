"""The layers of a network: shapes, costs, which of them are in the limit.

    z_1 = W_1·x + b_1,   z_l = (1/n_{l-1}) Σ_j W_l[j] φ_{l-1}(z_{l-1}[j]) + b_l,
    f = (1/n_L) Σ_i A[i] φ_L(z_L[i]) + a_0

Layers that are not fully connected have another product in place of W φ, see `layers`. Widths
are no part of it: the same description has an infinite-width limit and networks of any width. Only
where limits are taken one after the other (`ensembles`) some layers keep a finite one.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    BeforeValidator,
    Field,
    StrictBool,
    model_validator,
)

from widelimit.problem.network.activations import Activation, GivenActivation, function_of, named
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.byname import table_of
from widelimit.problem.network.laws import Count, Number
from widelimit.problem.network.layers import AnyLayer, Dense, Layer, Shape


class LayerCosts(NamedTuple):
    """What layers cost, from the first on and the output last.

    `entries`: numbers that join a neuron to one below; `fields`: numbers that a neuron of a hidden
    layer has at a data point; `products`: multiplications that a pair of neurons takes there.
    Sizes are those of the index spaces, `spaces` are those of the layers.
    """

    entries: tuple[int, ...]
    fields: tuple[int, ...]
    products: tuple[int, ...]
    spaces: tuple[int, ...]

    @property
    def laws(self) -> int:
        """How many index spaces there are."""
        return max(self.spaces) + 1

    @property
    def chain(self) -> tuple[int, ...]:
        """Matrices join the layers, one after the other."""
        return self.spaces

    @property
    def spare(self) -> tuple[int, int]:
        """What a method holds, and the least that a process takes, were measured with layers."""
        return 0, 0

    @property
    def ends(self) -> tuple[int, int]:
        """Numbers that join a neuron to the input, and to the output."""
        return self.entries[0], self.entries[-1]

    def held(self, sizes: Sequence[int]) -> int:
        """How many numbers join so many neurons a space, inputs and outputs included."""
        return self._over_pairs(sizes, self.entries)

    def values(self, sizes: Sequence[int]) -> int:
        """How many numbers so many neurons a space have at a data point."""
        return sum(sizes[s] * each for s, each in zip(self.spaces, self.fields, strict=True))

    def work(self, sizes: Sequence[int]) -> int:
        """Multiplications of one evaluation at a data point."""
        return self._over_pairs(sizes, self.products)

    def _over_pairs(self, sizes: Sequence[int], each: Sequence[int]) -> int:
        pairs = pairwise([1, *(sizes[s] for s in self.spaces), 1])
        return sum(a * b * own for (a, b), own in zip(pairs, each, strict=True))


def _ensembles(value: Any) -> Any:
    """One word or width a layer."""
    if not isinstance(value, list | tuple):
        raise ValueError("must be a list with 'limit' or a width for each layer")
    for layer, entry in enumerate(value, 1):
        whole = isinstance(entry, int) and not isinstance(entry, bool)
        if entry != "limit" and not (whole and entry >= 1):
            raise ValueError(f"found {entry!r} for layer {layer}; must be 'limit' or a width")
    return value


def _layers(value: Any) -> Any:
    """One layer a hidden layer; with one entry alone it stands for all."""
    return value if value is None or isinstance(value, list | tuple) else (value,)


MOST_LAYERS = 100
"""More are no layered network that anything is known of: its limit collapses long before."""


def _few_layers(value: Any) -> Any:
    if isinstance(value, list | tuple) and len(value) > MOST_LAYERS:
        raise ValueError(f"found {len(value)} layers; at most {MOST_LAYERS} are taken")
    return value


class _Sizes(Architecture):
    """How large networks of layers are: their widths are those of all layers."""

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        raise NotImplementedError

    def shape(self, given: tuple[int, ...]) -> tuple[int, ...]:
        """(n_1, …, n_L); one number leaves finite layers as they are."""
        return tuple(own or given[0] for own in self.finite_widths) if len(given) == 1 else given

    def unfit_widths(self, given: Sequence[tuple[int, ...]], key: str) -> list[str]:
        """Widths that do not fit the layers, or stand there twice."""
        if key == "shapes":
            return [
                "networks.shapes: pairs of depth and width are those of residual networks; give "
                "networks.widths"
            ]
        depth = self.depth
        found = [
            f"networks.widths: found {list(w)}; give one number, or one for each of {depth} layers"
            for w in given
            if len(w) not in (1, depth)
        ]
        shapes = tuple(self.shape(w) for w in given)
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
            for layer, (n, own) in enumerate(zip(w, self.finite_widths, strict=True), 1)
            if own not in (None, n)
        ]
        found += [
            f"networks.widths: found {list(w)}; layers joined by a skip connection have the same "
            "neurons, so give them one width"
            for w in shapes
            if len(w) == depth
            if any(n != w[self.spaces.index(s)] for n, s in zip(w, self.spaces, strict=True))
        ]
        return found

    def neurons(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """How many neurons each index space of a network of these widths holds."""
        return self.by_space(widths)

    def scaled(self, widths: tuple[int, ...], scale: float) -> tuple[int, ...]:
        """Widths so many times as large, rounded up, but for layers that have one of their own."""
        return tuple(
            own or max(1, math.ceil(scale * n * (1 - 1e-12)))
            for n, own in zip(widths, self.finite_widths, strict=True)
        )

    def name(self, widths: Sequence[int]) -> str:
        """The widths of the layers: one number if they are all the same."""
        return str(widths[0]) if len(set(widths)) == 1 else super().name(widths)

    def connections(self, widths: tuple[int, ...]) -> int:
        """Pairs of neurons, or neurons where there is one layer."""
        return sum(a * b for a, b in pairwise([*widths, 1] if len(widths) == 1 else widths))

    def growing(self, widths: tuple[int, ...]) -> tuple[int, ...]:
        """The widths of layers whose limit is taken."""
        pairs = zip(widths, self.finite_widths, strict=True)
        return tuple(n for n, fixed in pairs if fixed is None)


class Layers(_Sizes):
    """The layers of a network, without the laws of its weights.

    `layers` are fully connected if nothing else is said; one that stands alone is that of all.
    `image` is the shape of an input for those that move over it.
    `scale` is κ: outputs are κ times the average over neurons, learning rates are divided by κ².
    The mean field has κ = 1; as κ grows training becomes regression with the tangent kernel K_0.
    `ensembles` says of each layer whether it is taken to its limit or has a finite width (None:
    all are in the limit). Neurons of finite layers are drawn once, by the problem's seed, and are
    the same ones in the limit and in all networks.
    """

    activations: Annotated[
        tuple[GivenActivation, ...],
        BeforeValidator(_few_layers),
        Field(min_length=1),
    ]
    layers: Annotated[tuple[AnyLayer, ...], BeforeValidator(_layers), Field(min_length=1)] = (
        Dense(),
    )
    image: Annotated[tuple[Count, ...], Field(min_length=1, max_length=3)] | None = None
    biases: StrictBool = False
    output_bias: StrictBool = False
    scale: Annotated[Number, Field(gt=0)] = 1.0
    ensembles: Annotated[tuple[Literal["limit"] | int, ...] | None, BeforeValidator(_ensembles)] = (
        None
    )

    @model_validator(mode="after")
    def _check_layers(self) -> "Layers":
        depth = self.depth
        if len(self.layers) not in (1, depth):
            raise ValueError(
                f"layers: found {len(self.layers)} entries; give one for each of {depth} layers"
            )
        if self.ensembles is not None and len(self.ensembles) != depth:
            count = len(self.ensembles)
            raise ValueError(
                f"ensembles: found {count} entries; give one for each of {depth} layers"
            )
        for place, layer in enumerate(self.layer_maps):
            if layer.skip > place:
                raise ValueError(
                    f"layers[{place}].skip: found {layer.skip}; layer {place + 1} has {place} "
                    "hidden layers below"
                )
        if self.skips and self.ensembles is not None:
            raise ValueError(
                "ensembles: layers of finite width beside skip connections are not built"
            )
        return self

    @property
    def averages(self) -> str:
        """What its limit is, and what is averaged."""
        return "infinite-width limit (average 1/n in every layer"

    @property
    def moving(self) -> frozenset[str]:
        """Every layer's weights, and biases."""
        return frozenset({"input", "hidden", "readout", "bias"})

    @property
    def parts(self) -> tuple[str, ...]:
        """Layers from 1 on, and the readout."""
        return (*(f"layer {layer}" for layer in range(1, self.depth + 1)), "readout")

    @property
    def depths_of_rates(self) -> int:
        """L."""
        return self.depth

    @property
    def skips(self) -> bool:
        """Whether any layer has a skip connection: some share their neurons then."""
        return any(layer.skip for layer in self.layer_maps)

    @property
    def used_activations(self) -> tuple[Activation, ...]:
        """φ_1 … φ_L as they were given."""
        return self.activations

    @property
    def depth(self) -> int:
        """L, the number of hidden layers."""
        return len(self.activations)

    @property
    def spaces(self) -> tuple[int, ...]:
        """The index space that the neurons of each hidden layer are of, counted from 0."""
        found: list[int] = []
        for place, layer in enumerate(self.layer_maps):
            found.append(found[place - layer.skip] if layer.skip else max(found, default=-1) + 1)
        return tuple(found)

    @property
    def space_names(self) -> tuple[str, ...]:
        """Every index space by its first layer: "layer 1" …"""
        return tuple(f"layer {k}" for k in self.by_space(range(1, self.depth + 1)))

    @property
    def finite_widths(self) -> tuple[int | None, ...]:
        """The width of each layer that has a finite one, None for layers in the limit."""
        chosen = self.ensembles or ("limit",) * self.depth
        return tuple(entry if isinstance(entry, int) else None for entry in chosen)

    @property
    def activation_functions(self) -> tuple[Callable, ...]:
        """φ_1 … φ_L."""
        return tuple(map(function_of, self.activations))

    @property
    def layer_maps(self) -> tuple[Layer, ...]:
        """How each hidden layer takes in what is below."""
        return self.layers * self.depth if len(self.layers) == 1 else self.layers

    def value_shapes(self, inputs: int) -> tuple[Shape, ...]:
        """The shapes of values at a data point: of the input, and of neurons of every layer.

        Raises `ValueError` if a layer cannot take in what is below.
        """
        shapes: list[Shape] = [self.image or (inputs,)]
        spots: list[Shape] = []
        for place, layer in enumerate(self.layer_maps):
            try:
                own = layer.shape(shapes[-1])
                added = spots[place - layer.skip] if layer.skip else own
                if own != added:
                    raise ValueError(
                        f"skip adds values of shape {list(added)} to values of {list(own)}"
                    )
                spots.append(own)
                shapes.append(layer.after(shapes[-1]))
            except ValueError as error:
                raise ValueError(f"layers[{place}]: {error}") from None
        return tuple(shapes)

    def weight_shapes(self, inputs: int) -> tuple[Shape, ...]:
        """The shapes of a neuron's weights for one neuron below, for every hidden layer."""
        before = self.value_shapes(inputs)[:-1]
        return tuple(layer.weight(own) for layer, own in zip(self.layer_maps, before, strict=True))

    def entries(self, inputs: int, outputs: int) -> tuple[int, ...]:
        """How many numbers join a neuron to one below, for every hidden layer and the output."""
        last = self.value_shapes(inputs)[-1]
        own = [math.prod(shape) for shape in self.weight_shapes(inputs)]
        return (*own, outputs * math.prod(last))

    def costs(self, inputs: int, outputs: int) -> LayerCosts:
        """What layers cost in memory and time."""
        shapes, entries = self.value_shapes(inputs), self.entries(inputs, outputs)
        spots = [
            math.prod(layer.shape(before))
            for layer, before in zip(self.layer_maps, shapes, strict=False)
        ]
        products = tuple(n * own for n, own in zip(entries, [*spots, 1], strict=True))
        taken = [*(n for n in products[1:-1]), 1]  # what the layer above sees of a value
        return LayerCosts(entries, tuple(map(max, spots, taken)), products, self.spaces)

    @property
    def table(self) -> dict[str, Any]:
        """All keys as they would stand in a problem file."""
        raw = self.model_dump(mode="python", exclude_none=True, exclude={"layers"})
        raw["layers"] = [table_of("map", layer) for layer in self.layers]
        raw["initial"] = {k: v for k, v in raw["initial"].items() if v != ()}
        return raw

    def words(self) -> str:
        """The architecture in words, to be read back by the user."""
        kinds = dict.fromkeys(layer.named() for layer in self.layer_maps)
        layers = "1 hidden layer" if self.depth == 1 else f"{self.depth} hidden layers"
        names = [named(activation) for activation in self.activations]
        shown = ", ".join(names) if len(set(names)) > 1 else names[0]
        fixed = [f"layer {k} of width {n}" for k, n in enumerate(self.finite_widths, 1) if n]
        kept = f", {' and '.join(fixed)}" if fixed else ""
        moved = "" if set(kinds) == {"dense"} else f", {' and '.join(kinds)}"
        skips = [f"layer {k}" for k, own in enumerate(self.layer_maps, 1) if own.skip]
        kept += f", skip connections to {' and '.join(skips)}" if skips else ""
        biases = "with" if self.biases else "without"
        return f"{layers} ({shown}{moved}), {biases} biases{kept}"
