"""Collapse: neurons that are alike in the limit, although networks tell them apart.

Of independent weights between two hidden layers the limit keeps the mean alone (Nguyen & Pham
2023, §5), so neurons with equal labels are one neuron there. In a network each of them has weights
of its own, and where these have a deviation its neurons differ by width^(-1/2). Nothing in the
limit holds such differences back: they can grow exponentially, and then networks leave the limit
(equations.md §6).

Which neurons have equal labels is seen by drawing labels: middle layers have none, laws of
readouts or input weights may have atoms, or be so narrow that networks cannot tell. Biases do not
count as labels: they shift what neurons take in, and differences can grow beside them. Whether they
do, and when, is another question: that of `validity`.
"""

import numpy as np

from widelimit.basics.precision import in_precision
from widelimit.basics.streams import Stream, generator
from widelimit.nodes.points import entries, image
from widelimit.problem.network.architecture import Architecture
from widelimit.problem.network.marks import Block, coordinates
from widelimit.problem.problem import Problem

DRAWN = 256
"""So many labels of a layer are drawn and compared."""

NEAR = 1 / 64
"""Labels are equal if they differ by less than this share of their size (RMS): networks of width
4,096 differ by as much, where weights are of the size of their deviation."""

COMMON = 1 / 16
"""Neurons are alike if they share their labels with at least so many of the others: with fewer
there are hardly two of a kind in narrow networks, and in wide ones differences are small."""


def random_layers(network: Architecture) -> set[int]:
    """Layers, from 0, whose neurons differ in networks by weights that the limit leaves out."""
    random = [pair for pair, law in network.independent.items() if law.deviation() > 0]
    return {layer for pair in random for layer in (pair, pair + 1)}


def collapsed_layers(problem: Problem) -> tuple[int, ...]:
    """Hidden layers, from 1, with neurons that are alike in the limit and not in networks.

    Neurons that follow Brownian paths of their own are never alike.

    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh"] * 3},
    ...     "data": {"source": "table", "inputs": [1.0], "targets": [0.5]},
    ...     "training": {"horizon": 1.0},
    ... })
    >>> collapsed_layers(problem)
    (2,)
    """
    network, data = problem.network, problem.dataset
    if problem.measured:
        return ()  # networks' weights are all there
    marks = network.marks(data.inputs.shape[1], data.targets.shape[1])
    paths = problem.training.paths(network)
    reached = {network.spaces[layer] for layer in random_layers(network)}
    alike = {space for space in reached if not paths[space] and _shared(marks[space]) >= COMMON}
    return tuple(k for k, space in enumerate(network.spaces, 1) if space in alike)


def unknown_because(problem: Problem) -> str | None:
    """Why it is not known when networks leave a collapsed limit, or None if `validity` tells."""
    if problem.training.rule.noisy:
        return "with training.temperature"
    infinite = problem.population is not None and problem.population.inputs.dimension == "inf"
    return "at dimension 'inf', where there are no networks" if infinite else None


def _shared(mark: tuple[Block, ...]) -> float:
    """The probability that two neurons have equal labels, biases left aside."""
    labels = [block for block in mark if not block.name.startswith("bias")]
    rng = generator(Stream.EQUAL_LABELS, 0)
    with in_precision("float64"):
        drawn = np.asarray(image(labels, rng.normal(size=(DRAWN, coordinates(labels)))))
    equal = np.ones((DRAWN, DRAWN), bool)
    for own in entries({block.name: block.size for block in labels}, drawn).values():
        apart = np.abs(own[:, None] - own[None]).max(axis=-1, initial=0.0)
        equal &= apart <= NEAR * np.sqrt(np.mean(own**2))
    return float((equal.sum() - DRAWN) / (DRAWN * (DRAWN - 1)))
