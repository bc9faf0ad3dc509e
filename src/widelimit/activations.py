"""Activation functions by name, and which of them the limit theorems cover."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

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
