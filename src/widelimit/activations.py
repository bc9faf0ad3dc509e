"""Activation functions by name, and which of them the limit theorems cover."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Activation = str | Callable[[Any], Any]
"""A name, or (in Python) any function of arrays that JAX can differentiate."""

ACTIVATIONS: dict[str, Callable] = {
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "erf": jax.scipy.special.erf,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "identity": lambda z: z,
}

BOUNDED = frozenset({"tanh", "sigmoid", "erf", "sin", "cos"})
"""Bounded and smooth: what the theorems ask for (Nguyen & Pham 2023, Assumptions 2 and 3)."""


KINKED = frozenset({"relu"})
"""Without a second derivative somewhere."""


def named(activation: Activation) -> str:
    """The name of an activation, or of a function of one's own."""
    return activation if isinstance(activation, str) else getattr(activation, "__name__", "given")
