"""Few weighted data points in place of many: networks that learn from them are a control variate.

Networks y that learn from all data and their likes z, of the same initial weights, that learn from
a coreset have nearly the same chance in them, and likes are cheap: E y = E[y − z] + E z, with the
difference from few pairs and E z from many other likes (Giles 2015, two levels). The coreset is the
centres of clusters of inputs and targets together (k-means): the data without what varies inside of
clusters. How good it is costs work, never truth.
"""

import warnings
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from widelimit.basics.streams import Stream, generator
from widelimit.problem.data.sources import Dataset

SHARE = 8
"""Data points for one of the coreset: digits are as quick with 4 … 16."""

FEWEST, MOST = 64, 512
"""Points of coresets: fewer are not much cheaper than all, and more take k-means too long."""

ROUNDS = 20
"""Of k-means."""


class Coreset(NamedTuple):
    """Weighted points that stand for the data, as `System.with_batch` takes them."""

    inputs: Float[np.ndarray, "points inputs"]
    targets: Float[np.ndarray, "points channels"]
    weights: Float[np.ndarray, " points"]


def coreset_of(data: Dataset, seed: int) -> Coreset | None:
    """Centres of clusters of the data, or None where there are few data."""
    from scipy.cluster.vq import kmeans2  # few problems need it

    parts = [data.inputs, data.targets]
    spreads = [float(np.sqrt(part.var(axis=0).sum())) or 1.0 for part in parts]
    points = np.concatenate([p / s for p, s in zip(parts, spreads, strict=True)], axis=1)
    unlike, where = np.unique(points, axis=0, return_inverse=True)
    count = min(len(unlike) // SHARE, MOST)
    if count < FEWEST:
        return None
    rng = generator(Stream.CORESET, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of clusters that are empty: they are left out
        _, cluster = kmeans2(unlike, count, iter=ROUNDS, minit="++", rng=rng)
    return _centres(parts, data.weights, cluster[where])


def _centres(parts: list[np.ndarray], weights: np.ndarray, cluster: np.ndarray) -> Coreset:
    """The means of inputs and targets over clusters, and their weights."""
    masses = np.bincount(cluster, weights)
    full = masses > 0
    inputs, targets = (
        np.stack([np.bincount(cluster, weights * column)[full] for column in part.T], axis=1)
        / masses[full, None]
        for part in parts
    )
    return Coreset(inputs, targets, masses[full])
