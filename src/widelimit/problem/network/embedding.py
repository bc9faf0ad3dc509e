"""Neuronal embeddings: hidden-to-hidden weights as functions of the labels of two neurons.

    W_l(0, c', c) = w_l^0(c', c)                        (Nguyen & Pham 2023, §4.1)

Labels are drawn independently; the weights that share a neuron are then correlated, and layers do
not collapse. Every neuron has one label ν, which serves the weights below and above it: its initial
input weights in the first layer, standard normals in the others. (Were labels above and below
independent of each other, averages over neurons would lose them, and layers would collapse.)
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import BaseModel, ConfigDict, Field, Strict

from widelimit.problem.network.laws import Number

Label = Mapping[str, Float[Array | np.ndarray, "_ _"]]
"""Entries `(neuron, …)` of a layer's labels by name: input, bias, readout, incoming (ν)."""


def _nu(label: Label, size: int) -> Array:
    """ν `(neuron, size)`."""
    return jnp.asarray(label["incoming"] if "incoming" in label else label["input"][:, :size])


class _Family(BaseModel):
    """`mean + scale · function(ν', ν)`, ν having `size` coordinates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    law: Literal["embedding"] = "embedding"
    mean: Number = 0.0
    scale: Number = 1.0
    size: Annotated[int, Strict(), Field(ge=1)] = 1

    def join(self, lower: Label, upper: Label) -> Float[Array, "_ _"]:
        """w^0 for all pairs of neurons."""
        below, above = _nu(lower, self.size), _nu(upper, self.size)
        return self.mean + self.scale * self.function(below, above)

    def function(self, lower: Array, upper: Array) -> Array:
        """`(lower, upper)` from coordinates `(neuron, size)`."""
        raise NotImplementedError


class RankOne(_Family):
    """`mean + scale · a(ν') a(ν)` with a = tanh of the coordinates' sum."""

    family: Literal["rank-one"] = "rank-one"

    def function(self, lower: Array, upper: Array) -> Array:
        """`(lower, upper)` from coordinates `(neuron, size)`."""
        return jnp.outer(jnp.tanh(lower.sum(axis=1)), jnp.tanh(upper.sum(axis=1)))


class Features(_Family):
    """`mean + scale · tanh(ν'·ν)`: every neuron's weights are a random feature of the labels."""

    family: Literal["features"] = "features"

    def function(self, lower: Array, upper: Array) -> Array:
        """`(lower, upper)` from coordinates `(neuron, size)`."""
        return jnp.tanh(lower @ upper.T)


class Kernel(_Family):
    """`mean + scale · exp(−|ν' − ν|²/(2 length²))`."""

    family: Literal["kernel"] = "kernel"
    length: Annotated[Number, Field(gt=0)] = 1.0

    def function(self, lower: Array, upper: Array) -> Array:
        """`(lower, upper)` from coordinates `(neuron, size)`."""
        apart = lower[:, None, :] - upper[None, :, :]
        return jnp.exp(-0.5 * (apart**2).sum(axis=2) / self.length**2)


class Given(BaseModel):
    """A function of one's own (in Python only): `function(lower, upper)` gives `(lower, upper)`.

    Its arguments hold the entries of both layers' labels, `(neuron, …)`, by name: the initial
    `input`, `bias`, `readout`, and `incoming`, which is ν in all layers but the first: as many
    standard normals as `size` says.

    >>> import jax.numpy as jnp
    >>> Given(function=lambda lower, upper: jnp.tanh(lower["input"] @ upper["incoming"].T),
    ...       size=2).family
    'given'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    law: Literal["embedding"] = "embedding"
    family: Literal["given"] = "given"
    function: Callable[[Label, Label], Float[Array, "_ _"]]
    size: Annotated[int, Strict(), Field(ge=0)] = 1

    def join(self, lower: Label, upper: Label) -> Float[Array, "_ _"]:
        """w^0 for all pairs of neurons."""
        return self.function(lower, upper)


Embedding = RankOne | Features | Kernel | Given
