"""The parameters of layers, in the layout that everything else of the same kind has."""

from itertools import pairwise

from widelimit.ensemble.neurons import Parameters
from widelimit.nodes.points import Numbers


class LayerParameters(Parameters):
    """The parameters of layers, or something of the same layout (a gradient, rates)."""

    input: Numbers  # (n_1, entries of a neuron's first weight)
    hidden: tuple[Numbers, ...]  # (n_{l-1}, n_l, …) for l = 2 … L
    readout: Numbers  # (n_L, channels), positions of an image within a channel
    biases: tuple[Numbers, ...] | None  # (n_l,) for l = 1 … L
    output_bias: Numbers | None  # (channels,)

    @property
    def layers(self) -> tuple[str, ...]:
        """Layers are counted from 1."""
        return tuple(str(layer) for layer in range(1, len(self.hidden) + 2))

    @property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        """Of every array, in their order, the layers that its first axes are neurons of."""
        every = range(len(self.hidden) + 1)
        single = [(layer,) for layer in every]
        biases = [] if self.biases is None else single
        last = [] if self.output_bias is None else [()]
        return (single[0], *pairwise(every), single[-1], *biases, *last)

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Each layer's weights and biases; the readout and its bias."""
        found: dict[str, tuple[int, ...]] = {}
        for place, name in enumerate(self.named()):
            kind, _, layer = name.partition("_")
            part = "readout" if kind in ("readout", "output") else f"layer {layer or 1}"
            found[part] = (*found.get(part, ()), place)
        return found

    def named(self) -> dict[str, tuple[str, ...]]:
        """The name of every array, in their order, and those of its axes beyond neurons."""
        found: dict[str, tuple[str, ...]] = {"input": ("dimension",)}
        for layer in self.layers[1:]:
            found[f"hidden_{layer}"] = tuple(f"entry_{layer}_{axis}" for axis in (1, 2, 3))
        found["readout"] = ("output",)
        if self.biases is not None:
            found |= {f"bias_{layer}": () for layer in self.layers}
        return found if self.output_bias is None else {**found, "output_bias": ("output",)}
