"""The parameters of a residual network: units one after the other in depth, and both ends."""

import equinox as eqx

from widelimit.ensemble.neurons import Parameters
from widelimit.nodes.points import Numbers


class UnitParameters(Parameters):
    """The parameters of units of several kinds, in the order of their depth, and both ends.

    Or something of the same layout.
    """

    units: tuple[dict[str, Numbers], ...]  # of each kind by name (units, entries)
    embedding: Numbers  # (numbers of a token, D)
    position: Numbers | None  # (tokens, D)
    unembedding: Numbers  # (D, channels)
    output_bias: Numbers | None  # (channels,)
    kinds: tuple[str, ...] = eqx.field(static=True)

    @property
    def layers(self) -> tuple[str, ...]:
        """What the kinds of units are called."""
        return self.kinds

    @property
    def axes(self) -> tuple[tuple[int, ...], ...]:
        """Of every array, in their order, the kind of units that its first axis is of."""
        of_units = [(kind,) for kind, own in enumerate(self.units) for _ in own]
        ends = (self.embedding, self.position, self.unembedding, self.output_bias)
        return (*of_units, *[() for end in ends if end is not None])

    def parts(self) -> dict[str, tuple[int, ...]]:
        """Each kind of units; both ends."""
        found, start = {}, 0
        for kind, own in zip(self.kinds, self.units, strict=True):
            found[kind] = tuple(range(start, start + len(own)))
            start += len(own)
        split = start + 1 + (self.position is not None)
        found["embedding"] = tuple(range(start, split))
        return {**found, "unembedding": tuple(range(split, len(self.named())))}

    def named(self) -> dict[str, tuple[str, ...]]:
        """The name of every array, in their order, and those of its axes beyond units."""
        found: dict[str, tuple[str, ...]] = {}
        for kind, own in zip(self.kinds, self.units, strict=True):
            for name in sorted(own):  # as trees have them
                whole = own[name].shape[-1] == self.embedding.shape[-1]  # of one number a token's
                found[f"{kind}_{name}"] = ("stream" if whole else f"{kind}_{name}_entry",)
        found["embedding"] = ("token_entry", "stream")
        if self.position is not None:
            found["position"] = ("token", "stream")
        found["unembedding"] = ("stream", "output")
        return found if self.output_bias is None else {**found, "output_bias": ("output",)}
