"""Layers: how a neuron takes in what comes from the neurons below it.

A neuron's value at a data point is an array: one number in a fully connected network, a map over
positions in a convolutional one, whose neurons are its channels (Nguyen & Pham 2023, §2.3: the
framework asks for an average over the neurons below, whatever is averaged):

    z_l(c) = E_{c'}[pair(w_l(c', c), h_{l-1}(c'))] + b_l(c),    h_l(c) = pooled(φ_l(z_l(c)))

Below the first layer there is one neuron, whose value is the input, and no average is taken. The
output takes h_L in like a dense layer. With `skip = k` the layer's neurons are those of the layer k
below, and z_{l-k}(c) is added: the two layers share one index space. A layer of one's own is a
class with `shape`, `weight` and `pair`; it needs nothing else.
"""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
)

from widelimit.problem.network.byname import by_name
from widelimit.problem.network.laws import Count

Shape = tuple[int, ...]
Numbers = np.ndarray | Array
Values = Float[Array, "points below *shape"]
Weights = Float[Numbers, "below neurons *weight"]


class Layer(BaseModel):
    """What layers are made from. Layers are constants of compiled code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    linear: ClassVar[bool] = False
    """Whether `pair` is linear in the weight: its mean is then all that a limit needs to know."""

    skip: Annotated[int, Field(strict=True, ge=0)] = 0
    """Of so many layers below the same neuron's z is added; 0: nothing is."""

    def named(self) -> str:
        """The layer's name in words."""
        return str(getattr(self, "map", type(self).__name__))

    def weight(self, before: Shape) -> Shape:
        """The shape of the weight that a neuron has for a neuron below, whose value has `before`.

        Raises `ValueError` if the layer cannot take in such values.
        """
        raise NotImplementedError

    def shape(self, before: Shape) -> Shape:
        """The shape of z."""
        raise NotImplementedError

    def pair(self, weight: Array, value: Array) -> Array:
        """What one neuron below brings to z."""
        raise NotImplementedError

    def pooled(self, values: Values) -> Float[Array, "points below *after"]:
        """h from φ(z)."""
        return values

    def after(self, before: Shape) -> Shape:
        """The shape of h."""
        return self.shape(before)

    def finer(self, times: int) -> "Layer":
        """With so many times as many nodes, if the layer itself holds a quadrature."""
        return self

    def total(self, weights: Weights, values: Values) -> Float[Array, "points neurons *after"]:
        """The sum over the neurons below."""
        neurons = jax.vmap(self.pair, in_axes=(0, None))
        below = jax.vmap(neurons, in_axes=(0, 0))
        return jax.vmap(lambda value: below(jnp.asarray(weights), value).sum(0))(values)

    def mean(
        self, p: Numbers, weights: Weights, values: Values
    ) -> Float[Array, "points neurons *after"]:
        """The average over the neurons below, whose weights are `p`."""
        neurons = jax.vmap(self.pair, in_axes=(0, None))
        below = jax.vmap(neurons, in_axes=(0, 0))
        return jax.vmap(lambda value: jnp.tensordot(p, below(jnp.asarray(weights), value), 1))(
            values
        )

    def back(self, weights: Weights, values: Values, cotangent: Array) -> Values:
        """Cotangents of the values below from those of `total`."""
        return jax.vjp(lambda h: self.total(weights, h), values)[1](cotangent)[0]

    def slope(self, weights: Weights, values: Values, cotangent: Array) -> Weights:
        """Cotangents of the weights, summed over data points."""
        return jax.vjp(lambda w: self.total(w, values), weights)[1](cotangent)[0]

    def squares(self, weights: Weights, values: Values, cotangent: Array, share: Array) -> Weights:
        """Squared cotangents of the weights, averaged over data points with weights `share`."""

        def add(gathered: Array, point: tuple[Array, Array, Array]) -> tuple[Array, None]:
            value, own, weight = point
            return gathered + weight * self.slope(weights, value[None], own[None]) ** 2, None

        return jax.lax.scan(add, jnp.zeros_like(weights), (values, cotangent, share))[0]


class Linear(Layer):
    """A layer whose `pair` is linear in weight and value: sums are products of matrices."""

    linear: ClassVar[bool] = True

    def seen(self, values: Values) -> Float[Array, "points below *weight_and_shape"]:
        """What each entry of a weight is multiplied with for each entry of z."""
        raise NotImplementedError

    def total(self, weights: Weights, values: Values) -> Float[Array, "points neurons *after"]:
        """The sum over the neurons below."""
        seen, own = self.seen(values), range(2, weights.ndim)
        found = jnp.tensordot(seen, weights, ([1, *own], [0, *own]))
        return jnp.moveaxis(found, -1, 1)

    def mean(
        self, p: Numbers, weights: Weights, values: Values
    ) -> Float[Array, "points neurons *after"]:
        """The average over the neurons below, whose weights are `p`."""
        return self.total(p.reshape(-1, *[1] * (weights.ndim - 1)) * weights, values)


class Dense(Linear):
    """Fully connected: `w·h`, one number for each entry of h."""

    map: Literal["dense"] = "dense"

    def weight(self, before: Shape) -> Shape:
        """One number for each entry of the value below."""
        return before

    def shape(self, before: Shape) -> Shape:
        """One number."""
        return ()

    def seen(self, values: Values) -> Values:
        """The value itself."""
        return values

    def squares(self, weights: Weights, values: Values, cotangent: Array, share: Array) -> Weights:
        """At one point a gradient is a product of two factors, and so is its square."""
        return self.slope(weights, values**2, cotangent**2 * share[:, None])


class Convolution(Linear):
    """A square kernel moved over an image `(rows, columns)` or `(rows, columns, colours)`.

    `pool` averages values over squares of so many positions, "all" over all of them.
    """

    map: Literal["convolution"] = "convolution"
    kernel: Count = 3
    stride: Count = 1
    padding: Annotated[int, Field(strict=True, ge=0)] = 0
    pool: Count | Literal["all"] = 1

    def weight(self, before: Shape) -> Shape:
        """The kernel, one for each colour."""
        self.shape(before)
        return self.kernel, self.kernel, *before[2:]

    def shape(self, before: Shape) -> Shape:
        """Positions of the kernel."""
        if len(before) not in (2, 3):
            found = "single numbers" if not before else f"values of shape {list(before)}"
            raise ValueError(f"a convolution moves over images; below it are {found}")
        sides = [(side + 2 * self.padding - self.kernel) // self.stride + 1 for side in before[:2]]
        if min(sides) < 1:
            raise ValueError(
                f"kernel {self.kernel} does not fit into {before[0]} × {before[1]} positions with "
                f"padding {self.padding}"
            )
        return tuple(sides)

    def after(self, before: Shape) -> Shape:
        """Positions after pooling; none if all are pooled."""
        shape = self.shape(before)
        if self.pool == "all":
            return ()
        if self.pool > min(shape):
            raise ValueError(
                f"pool {self.pool} does not fit into {shape[0]} × {shape[1]} positions"
            )
        return tuple(side // self.pool for side in shape)

    def pooled(self, values: Values) -> Float[Array, "points below *after"]:
        """Averages over squares of positions; what is left over at the border is left out."""
        if self.pool == 1:
            return values
        if self.pool == "all":
            return values.mean(axis=(2, 3))
        size = self.pool
        rows, columns = (side // size for side in values.shape[2:])
        kept = values[:, :, : rows * size, : columns * size]
        return kept.reshape(*values.shape[:2], rows, size, columns, size).mean(axis=(3, 5))

    def seen(self, values: Values) -> Array:
        """All patches: `(points, below, kernel row, kernel column, …, row, column)`."""
        edge, step = self.padding, self.stride
        around = [(0, 0), (0, 0), (edge, edge), (edge, edge), *[(0, 0)] * (values.ndim - 4)]
        padded, (rows, columns) = jnp.pad(values, around), self.shape(values.shape[2:])

        def shifted(i: int, j: int) -> Array:
            part = padded[:, :, i : i + step * rows : step, j : j + step * columns : step]
            return jnp.moveaxis(part, (2, 3), (-2, -1))

        size = range(self.kernel)
        return jnp.stack([jnp.stack([shifted(i, j) for j in size], 2) for i in size], 2)


class Product(Layer):
    """A bilinear unit, `(w·h)(v·h)`; with equal halves the square (w·h)²."""

    map: Literal["product"] = "product"

    def weight(self, before: Shape) -> Shape:
        """Two numbers for each entry of the value below."""
        return 2, *before

    def shape(self, before: Shape) -> Shape:
        """One number."""
        return ()

    def pair(self, weight: Array, value: Array) -> Array:
        """(w·h)(v·h)."""
        return jnp.sum(weight[0] * value) * jnp.sum(weight[1] * value)


class Radial(Layer):
    """A radial unit, ½|h − w|²: with an activation such as exp(−z) a bump around w."""

    map: Literal["radial"] = "radial"

    def weight(self, before: Shape) -> Shape:
        """The centre."""
        return before

    def shape(self, before: Shape) -> Shape:
        """One number."""
        return ()

    def pair(self, weight: Array, value: Array) -> Array:
        """½|h − w|²."""
        return 0.5 * jnp.sum((value - weight) ** 2)


Known = Annotated[Dense | Convolution | Product | Radial, Field(discriminator="map")]
"""Layers that a problem file may ask for, told apart by their key `map`."""


AnyLayer = Annotated[Known, by_name("map", Layer)]
"""A layer by its name, its table, or one of one's own."""
