"""Units: what is added to the stream of a residual network at every depth.

A stream has a value h(x) in R^(T × D), T tokens of D numbers. A unit takes it in and gives one of
the same shape, `v(h, θ)`; a block is the average of its units:

    h_{l+1} = h_l + α E_θ[v(h_l, θ)] / L

(Chizat 2025, §2; theory of attention heads as units: 2605.11059.) A unit of one's own is a class
with `sizes` and `value`; it needs nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from widelimit.problem.network.activations import Activation, GivenActivation, function_of
from widelimit.problem.network.byname import by_name
from widelimit.problem.network.laws import Count

Stream = Float[Array, "points tokens stream"]
Token = Float[Array, "tokens stream"]
Fields = Float[Array, "points tokens k units"]
Scores = Float[Array, "points tokens tokens units"]
Theta = Mapping[str, Any]
"""The parameters of one unit by name, or those of all with their number as first axis."""

READOUTS = frozenset({"readout", "output"})
"""Parameters in which a unit's value is linear."""

FLAT = 1e-5
"""Added to variances of tokens before they are divided by."""


class Unit(BaseModel):
    """What units are made from. Units are constants of compiled code."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    norm: StrictBool = False
    """Whether every token is brought to mean 0 and variance 1 before the unit takes it in."""

    @property
    def kind(self) -> str:
        """What such units are called."""
        return str(getattr(self, "unit", type(self).__name__.lower()))

    @property
    def activations(self) -> tuple[Activation, ...]:
        """The activations in it."""
        return ()

    def sizes(self, stream: int, biases: bool) -> dict[str, int]:
        """How many numbers each parameter of a unit has, by its name."""
        raise NotImplementedError

    def value(self, theta: Theta, h: Token) -> Token:
        """v(h, θ) for one unit and the tokens of one input."""
        raise NotImplementedError

    def products(self, stream: int, tokens: int, biases: bool) -> int:
        """Multiplications that a unit takes for one input, about."""
        return 2 * tokens * sum(self.sizes(stream, biases).values())

    def fields(self, tokens: int) -> int:
        """How many numbers a unit holds for one input on the way."""
        return tokens

    def total(self, theta: Theta, p: Float[Array, " units"], h: Stream) -> Stream:
        """Σ_i p_i v(h, θ_i)."""

        def of_point(one: Token) -> Token:
            each = jax.vmap(lambda own: self.value(own, one))(dict(theta))
            return jnp.tensordot(p, each, 1)

        return jax.vmap(of_point)(h)

    def pulled(
        self, theta: Theta, p: Float[Array, " units"], h: Stream, q: Stream
    ) -> tuple[Stream, dict[str, Array]]:
        """A cotangent of `total` as one of h, and of every unit's parameters without its weight."""
        one, own = jnp.ones_like(p), dict(theta)
        of_h = jax.vjp(lambda h: self.total(own, p, h), h)[1](q)[0]
        return of_h, jax.vjp(lambda own: self.total(own, one, h), own)[1](q)[0]

    def taken_in(self, h: Stream) -> Stream:
        """The stream as units see it."""
        if not self.norm:
            return h
        centred = h - h.mean(axis=-1, keepdims=True)
        return centred / jnp.sqrt((centred**2).mean(axis=-1, keepdims=True) + FLAT)


class Projected(Unit):
    """A unit that takes in projections z = hW of the stream; what it makes of them is times O.

    `total` and `pulled` are products of matrices with all units at once.
    """

    inner: ClassVar[tuple[str, ...]]
    """The parameters W, each of D × k numbers."""
    outer: ClassVar[str]
    """O, of D × k numbers."""

    @property
    def size(self) -> int:
        """k."""
        return 1

    def made(self, theta: Theta, z: Sequence[Fields]) -> Fields:
        """What all units make of projections, from the parameters that are neither W nor O."""
        raise NotImplementedError

    def unmade(
        self, theta: Theta, z: Sequence[Fields], c: Fields
    ) -> tuple[Fields, dict[str, Array], Sequence[Fields]]:
        """What is made of projections, and its cotangent c as one of θ and of the projections."""
        made, back = jax.vjp(self.made, theta, z)
        return made, *back(c)

    def value(self, theta: Theta, h: Token) -> Token:
        """One unit."""
        alone = {name: jnp.asarray(own)[None] for name, own in theta.items()}
        return self.total(alone, jnp.ones(1, h.dtype), h[None])[0]

    def total(self, theta: Theta, p: Float[Array, " units"], h: Stream) -> Stream:
        """Σ_i p_i v(h, θ_i)."""
        z = [jnp.einsum("utd,dkm->utkm", h, self._last(theta[name])) for name in self.inner]
        out = self._last(theta[self.outer])
        return jnp.einsum("utkm,dkm->utd", self.made(self._others(theta), z) * p, out)

    def pulled(
        self, theta: Theta, p: Float[Array, " units"], h: Stream, q: Stream
    ) -> tuple[Stream, dict[str, Array]]:
        """See `Unit.pulled`."""
        weights = [self._last(theta[name]) for name in self.inner]
        z, out = [jnp.einsum("utd,dkm->utkm", h, own) for own in weights], theta[self.outer]
        c = jnp.einsum("utd,dkm->utkm", q, self._last(out))
        made, slopes, of_z = self.unmade(self._others(theta), z, c)
        of_h = sum(
            jnp.einsum("utkm,dkm->utd", own * p, w) for own, w in zip(of_z, weights, strict=True)
        )
        slopes |= {
            name: self._first(jnp.einsum("utd,utkm->dkm", h, own))
            for name, own in zip(self.inner, of_z, strict=True)
        }
        slopes[self.outer] = self._first(jnp.einsum("utd,utkm->dkm", q, made))
        return jnp.asarray(of_h), {name: slopes[name] for name in theta}

    def _others(self, theta: Theta) -> dict[str, Array]:
        """The parameters that are neither W nor O."""
        return {name: own for name, own in theta.items() if name not in (*self.inner, self.outer)}

    def _last(self, own: Array) -> Float[Array, "stream k units"]:
        """A parameter with its units as last axis."""
        return jnp.moveaxis(own.reshape(len(own), -1, self.size), 0, -1)

    def _first(self, own: Float[Array, "stream k units"]) -> Array:
        """The inverse of `_last`."""
        return jnp.moveaxis(own, -1, 0).reshape(own.shape[-1], -1)


class Perceptron(Projected):
    """`a φ(w·h + b)` on every token."""

    inner, outer = ("input",), "readout"

    unit: Literal["perceptron"] = "perceptron"
    activation: GivenActivation = "tanh"

    @property
    def activations(self) -> tuple[Activation, ...]:
        """φ."""
        return (self.activation,)

    def sizes(self, stream: int, biases: bool) -> dict[str, int]:
        """w and a of the stream's size, and a bias."""
        return {"input": stream, **({"bias": 1} if biases else {}), "readout": stream}

    def made(self, theta: Theta, z: Sequence[Fields]) -> Fields:
        """φ(w·h + b)."""
        shifted = z[0] + theta["bias"].T if "bias" in theta else z[0]
        return function_of(self.activation)(shifted)


class Attention(Projected):
    """A head: `softmax(hQ (hK)ᵀ/√d) h V Oᵀ` over the tokens of an input, d being `key`.

    With `causal` a token sees itself and those before it.
    """

    inner, outer = ("query", "key", "value"), "output"

    unit: Literal["attention"] = "attention"
    key: Count = 4
    causal: StrictBool = False

    @property
    def size(self) -> int:
        """d."""
        return self.key

    def sizes(self, stream: int, biases: bool) -> dict[str, int]:
        """Q, K, V, O, each of D × d numbers."""
        return dict.fromkeys((*self.inner, self.outer), stream * self.key)

    def products(self, stream: int, tokens: int, biases: bool) -> int:
        """Tokens squared for the scores and what they weigh."""
        return 4 * tokens * stream * self.key + 2 * tokens**2 * self.key

    def fields(self, tokens: int) -> int:
        """Scores, and four vectors a token."""
        return tokens * (tokens + 4 * self.key)

    def made(self, theta: Theta, z: Sequence[Fields]) -> Fields:
        """What heads read: the values of all tokens, weighed by the softmax of the scores."""
        q, k, v = z
        return _over_tokens(self._shares(q, k), v)

    def unmade(
        self, theta: Theta, z: Sequence[Fields], c: Fields
    ) -> tuple[Fields, dict[str, Array], Sequence[Fields]]:
        """The same as by automatic differentiation, in less than half the time.

        With shares s_ts = softmax_s(σ_ts): ∂σ_ts = s_ts (∂s_ts − Σ_r s_tr ∂s_tr).
        """
        q, k, v = z
        share = self._shares(q, k)
        of_share = _over_entries(c, v)
        mean = (share * of_share).sum(axis=2, keepdims=True)
        scores = share * (of_share - mean) / math.sqrt(self.key)
        turned = scores.swapaxes(1, 2)
        of_z = (
            _over_tokens(scores, k),
            _over_tokens(turned, q),
            _over_tokens(share.swapaxes(1, 2), c),
        )
        return _over_tokens(share, v), {}, of_z

    def _shares(self, q: Fields, k: Fields) -> Scores:
        """How much of every token each token reads."""
        scores = _over_entries(q, k) / math.sqrt(self.key)
        if self.causal:
            seen = np.tril(np.ones(scores.shape[1:3], bool))
            scores = jnp.where(seen[None, :, :, None], scores, -jnp.inf)
        return jax.nn.softmax(scores, axis=2)


def _over_entries(a: Fields, b: Fields) -> Scores:
    """Σ_k a_tk b_sk: sums that are written out are done at once, with units side by side."""
    return jnp.asarray(sum(a[:, :, None, k] * b[:, None, :, k] for k in range(a.shape[2])))


def _over_tokens(share: Scores, b: Fields) -> Fields:
    """Σ_s share_ts b_s."""
    return jnp.asarray(sum(share[:, :, s, None] * b[:, None, s] for s in range(b.shape[1])))


Known = Annotated[Perceptron | Attention, Field(discriminator="unit")]
"""Units that a problem file may ask for, told apart by their key `unit`."""


AnyUnit = Annotated[Known, by_name("unit", Unit)]
"""A unit by its name, its table, or one of one's own."""
