"""The one place that says in which precision numbers are computed."""

from collections.abc import Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp


@contextmanager
def in_precision(name: str) -> Iterator[jnp.dtype]:
    """JAX computes in this precision inside the block, which gets the dtype.

    JAX's flag belongs to a thread: work given to other threads enters its own block.
    """
    with jax.enable_x64(name == "float64"):
        yield jnp.dtype(name)
