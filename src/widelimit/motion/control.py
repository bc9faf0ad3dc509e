"""How long steps are: as the tolerance lets them be, and short enough to see what grows from rest.

Near rest the error of any step is below an absolute tolerance, and steps would become so long that
they take e^(λh) for a polynomial: what grows out of a state that is almost at rest would be missed,
and by halved steps too. So while the motion gains speed, a step that moves the state by less than
`SMALL` is held to the tolerance relative to its own movement. Motion that dies out is left alone.

At the kink of an activation the velocity jumps, and the error of a step is the same share of its
movement however short it is. That is seen after a few steps that were not taken; this one and the
next ones are then judged by their error alone.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALL = 1e-3
"""Movement that steps are measured against while the motion gains speed."""

ATTEMPTS, STAYS = 6, 0.1
"""The velocity jumps where so many shorter and shorter steps leave this share of the relative
error: each is a fifth of the one before, and a smooth motion's falls at least like the length."""

FASTER = 2.0
"""At a jump a step is not much faster than the one before: what grows in steps that are far too
long is, however short they have become by then."""

UNTESTED = 100
"""So many steps after a jump are not asked whether they see what grows: jumps come in crowds, where
the motion slides along a kink."""

ROUNDING = 8.0
"""So many units in the last place of the state are rounding."""


def by_kind(errors: list[Array]) -> Float[Array, ""]:
    """The largest RMS over kinds of parameters: edges are many, and must not hide the readout."""
    return jnp.max(jnp.stack([jnp.sqrt(jnp.mean(e**2)) for e in errors]))


def by_kind_of(shapes: Sequence[tuple[int, ...]], errors: list[Array]) -> Float[Array, ""]:
    """`by_kind` of arrays that are filled up: what counts is their first part of these shapes."""
    return jnp.sqrt(jnp.max(jnp.stack(list(map(_mean_square, shapes, errors)))))


def _mean_square(shape: tuple[int, ...], error: Array) -> Array:
    """The mean square over the first part; no array is made that is not cut as the error is."""
    for axis, (own, length) in enumerate(zip(shape, error.shape, strict=True)):
        if own < length:
            counts = jnp.arange(length) < own
            error = jnp.where(counts.reshape(-1, *[1] * (error.ndim - axis - 1)), error, 0)
    return jnp.sum(error**2) / math.prod(shape)


class _Known(NamedTuple):
    """What a controller remembers: diffrax's memory, and how fast the state moved last.

    Of steps that were not taken since: their number (negative: so many more are not tested), and
    the first one's error by its movement.
    """

    inner: Any
    speed: Array
    attempts: Array
    first: Array


class Control(diffrax.AbstractAdaptiveStepSizeController):
    """diffrax's controller of errors, told a larger error where a growing motion is not seen."""

    inner: diffrax.PIDController
    rtol: Any
    atol: Any

    def __init__(self, inner: diffrax.PIDController):
        self.inner, self.rtol, self.atol = inner, inner.rtol, inner.atol

    @classmethod
    def of(cls, tolerance: Array, shapes: Sequence[tuple[int, ...]] | None = None) -> "Control":
        """Steps with this relative and absolute error, the state being a list of arrays.

        `shapes` are those of the parts that count, where arrays are filled up.
        """
        norm = by_kind if shapes is None else partial(by_kind_of, tuple(shapes))
        return cls(diffrax.PIDController(tolerance, tolerance, norm=norm))

    def norm(self, x: Any) -> Any:
        """What is compared with 1."""
        return self.inner.norm(x)

    def wrap(self, direction: Any) -> "Control":
        """The controller for a direction of time."""
        return Control(self.inner.wrap(direction))

    def init(
        self,
        terms: Any,
        t0: Any,
        t1: Any,
        y0: Any,
        dt0: Any,
        args: Any,
        func: Any,
        error_order: Any,
    ) -> tuple[Any, _Known]:
        """The end of the first step, and what is known then."""
        end, inner = self.inner.init(terms, t0, t1, y0, dt0, args, func, error_order)
        speed = self.norm(func(terms, t0, y0, args))
        return end, _Known(inner, speed, jnp.zeros((), jnp.int32), jnp.zeros_like(speed))

    def adapt_step_size(
        self,
        t0: Any,
        t1: Any,
        y0: Any,
        y1_candidate: Any,
        args: Any,
        y_error: Any,
        error_order: Any,
        controller_state: _Known,
    ) -> tuple[Any, Any, Any, Any, _Known, Any]:
        """Whether the step is taken, and when the next one ends."""
        moved = self.norm(jax.tree.map(jnp.subtract, y1_candidate, y0))
        speed = moved / (t1 - t0)
        factor = self._unseen(moved, y0, y1_candidate, y_error)
        known = controller_state
        share = self.norm(y_error) / jnp.where(moved > 0, moved, 1.0)
        jumps = (known.attempts >= ATTEMPTS) & (share > STAYS * known.first)
        jumps &= speed < FASTER * known.speed
        tested = (known.attempts >= 0) & ~jumps
        factor = jnp.where((speed > known.speed) & tested, factor, 1.0)
        y_error = jax.tree.map(lambda e: factor.astype(e.dtype) * e, y_error)
        taken, start, end, jumped, inner, result = self.inner.adapt_step_size(
            t0, t1, y0, y1_candidate, args, y_error, error_order, known.inner
        )
        now = _Known(
            inner,
            jnp.where(taken, speed, known.speed),
            self._attempts(known.attempts, taken, jumps),
            jnp.where(known.attempts == 0, share, known.first),
        )
        return taken, start, end, jumped, now, result

    def _attempts(self, before: Array, taken: Any, jumps: Array) -> Array:
        """How many steps have not been taken, or how many more will not be tested."""
        after = jnp.where(jumps, -UNTESTED, jnp.minimum(before + 1, 0))
        return jnp.where(taken, after, jnp.where(before < 0, before, before + 1))

    def _unseen(self, moved: Array, y0: Any, y1: Any, error: Any) -> Array:
        """By how much the error is above the share of the movement that it may be, or 1."""
        scaled = jax.tree.map(
            lambda e, a, b: e / (self.atol + self.rtol * jnp.maximum(jnp.abs(a), jnp.abs(b))),
            error,
            y0,
            y1,
        )
        rounding = ROUNDING * jnp.finfo(moved.dtype).eps * self.norm(y0)
        unseen = self.norm(error) / (self.rtol * moved / SMALL + rounding)
        told = self.norm(scaled)
        return jnp.where(unseen > told, unseen / told, 1.0)
