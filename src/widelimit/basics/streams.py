"""Named streams of random numbers: nothing that is drawn shares its numbers with anything else.

A stream is told by its name, the problem's seed, and a place in it (a layer, a replicate). The
words that seed it are (seed | name's length, letters | places): the length makes names readable in
one way only, so no two streams have the same words, and NumPy hashes words into 128 bits. (Bare
lists would not do: the seeds [5], [5, 0] and [5, 0, 0] are one stream of NumPy's.)

Networks have keys that the problem file's documentation promises: see `networks.course`.
"""

from enum import StrEnum

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray


class Stream(StrEnum):
    """What draws random numbers."""

    HOLDOUT = "holdout"
    SAMPLE = "sample of a population"
    EVALUATION = "points that measure a risk over a population"
    NODES = "scrambles of nodes"
    DATA_NODES = "scrambles of the data's nodes"
    RISK_NODES = "scrambles of the nodes that measure a risk"
    ENDS = "embeddings of residual networks"
    FINITE_LAYERS = "neurons of layers of finite width"
    BROWNIAN_PATHS = "brownian paths of a limit"
    MEASURING = "networks that measure a limit"
    LIKES = "networks that learn from a coreset"
    CORESET = "clusters of data"
    ORDER = "data that networks which measure a limit are shown"
    COORDINATES = "networks whose coordinates are checked"
    PAIRS = "pairs of networks that measure a bias"
    DIFFERENCES = "differences between like neurons"
    EQUAL_LABELS = "labels that are looked at for equal ones"
    SAMPLED_LABELS = "labels as networks sample them"
    SAMPLE_PATHS = "sample paths of fluctuations"
    COMBINATIONS = "random combinations of outputs"
    DIRECTIONS = "combinations that find directions of outputs"
    PILOT = "pilot nodes that advice looks at"
    KERNEL_POINTS = "points that advice computes a kernel on"
    REFERENCE = "normal points that tell an estimator's bias"
    RESAMPLES = "seeds of runs drawn again"
    SEARCH = "starts of a search"


def generator(stream: Stream, seed: int, *place: int) -> np.random.Generator:
    """NumPy's generator at a place of a stream.

    >>> a = generator(Stream.HOLDOUT, 5).random(3)
    >>> b = generator(Stream.HOLDOUT, 5, 0).random(3)
    >>> bool((a == b).any())
    False
    """
    return np.random.default_rng(_seeded(stream, seed, place))


def key(stream: Stream, seed: int, *place: int) -> PRNGKeyArray:
    """JAX's key at a place of a stream."""
    words = jnp.asarray(_seeded(stream, seed, place).generate_state(2))
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _seeded(stream: Stream, seed: int, place: tuple[int, ...]) -> np.random.SeedSequence:
    name = stream.value.encode()
    return np.random.SeedSequence(seed, spawn_key=(len(name), *name, *place))
