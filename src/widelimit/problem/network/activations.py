"""Activation functions by name, and which of them the limit theorems cover."""

from collections.abc import Callable
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import WrapValidator

from widelimit.basics.precision import in_precision

Activation = str | Callable[[Any], Any]
"""A name, or (in Python) any function of arrays that JAX can differentiate."""

ACTIVATIONS: dict[str, Callable] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "erf": jax.scipy.special.erf,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "relu": jax.nn.relu,
    "leaky relu": jax.nn.leaky_relu,  # slope 0.01 below 0
    "gelu": lambda z: jax.nn.gelu(z, approximate=False),
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "square": jnp.square,
    "identity": lambda z: z,
}

BOUNDED = frozenset({"tanh", "sigmoid", "erf", "sin", "cos"})
"""Bounded and smooth: what the theorems ask for (Nguyen & Pham 2023, Assumptions 2 and 3)."""

KINKED = frozenset({"relu", "leaky relu"})
"""With a slope that jumps: without a second derivative somewhere."""

LOOKED_AT = 8.0
"""A function of one's own is looked at between plus and minus this."""

FAR = 1e4
"""Where a function that grows without bound has left the values that it has nearby."""


def known_activation(value: Any) -> str:
    """The name of an activation, or a `ValueError`."""
    if not isinstance(value, str):
        raise ValueError(f"found {value!r}; must be a string, the name of an activation")
    if value not in ACTIVATIONS:
        known = ", ".join(sorted(ACTIVATIONS))
        raise ValueError(f"found {value!r}; the known activations are {known}")
    return value


def _given(value: Any, _: Any) -> Any:
    """A known name or a function; pydantic's own union would report both readings."""
    return value if callable(value) else known_activation(value)


GivenActivation = Annotated[Activation, WrapValidator(_given)]
"""An activation in a problem."""


def function_of(activation: Activation) -> Callable:
    """φ."""
    return ACTIVATIONS[activation] if isinstance(activation, str) else activation


def named(activation: Activation) -> str:
    """The name of an activation, or of a function of one's own."""
    return activation if isinstance(activation, str) else getattr(activation, "__name__", "given")


def is_bounded(activation: Activation) -> bool:
    """Whether an activation is bounded; one's own is, if it stays so far out (±`FAR`).

    >>> is_bounded("tanh"), is_bounded(jnp.arctan), is_bounded(jnp.sinh)
    (True, True, False)
    """
    if isinstance(activation, str):
        return activation in BOUNDED
    near, far = (
        np.abs(np.asarray(activation(jnp.asarray(z))))
        for z in (
            np.linspace(-LOOKED_AT, LOOKED_AT, 1001),
            np.array([-FAR, -FAR / 3, FAR / 3, FAR]),
        )
    )
    return bool(np.all(np.isfinite(far)) and far.max() <= 1.5 * near.max())


def is_kinked(activation: Activation) -> bool:
    """Whether the slope of an activation jumps; one's own, if it does where it changes fastest.

    >>> is_kinked("relu"), is_kinked(jnp.abs), is_kinked(jnp.tanh)
    (True, True, False)
    """
    if isinstance(activation, str):
        return activation in KINKED
    with in_precision("float64"):
        slope = jax.vmap(jax.grad(lambda z: jnp.sum(activation(z))))
        low, high = -LOOKED_AT, LOOKED_AT
        first = last = 0.0
        for _ in range(5):  # the fastest change is looked for in ever shorter intervals
            z = np.linspace(low, high, 1002)
            rise = np.abs(np.diff(np.asarray(slope(jnp.asarray(z)))))
            last, where = float(rise.max()), int(rise.argmax())
            first = first or last
            low, high = z[where], z[where + 1]
    return last > 1e-3 * first > 0
