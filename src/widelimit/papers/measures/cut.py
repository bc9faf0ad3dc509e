"""Networks of residual blocks, and the same ones with every block cut into thin copies of itself.

A block of units of weight p becomes k blocks of the same units, each of weight p/k: what changes is
Euler's error in depth, and nothing else that is random. Chizat 2025 bounds that error and the
sampling of units together; here the one is seen without the other.
"""

from typing import Any

import jax
import numpy as np

from widelimit.basics.precision import in_precision
from widelimit.basics.progress import progress
from widelimit.ensemble.neurons import Depth, Ensemble
from widelimit.ensemble.system import System
from widelimit.networks.course import Course
from widelimit.networks.sampled import drawn, groups_of
from widelimit.problem.problem import Problem


def trained_in_pieces(
    problem: Problem, shape: tuple[int, int], seeds: int, pieces: int
) -> np.ndarray:
    """Outputs `(seed, output)` at the last time of networks [L, M] whose blocks are cut.

    Seed by seed they start as networks that are not cut do (those of `train`, in double precision).
    """
    asked = problem.with_changes(networks={"shapes": [list(shape)], "seeds": seeds, "states": 1})
    with in_precision("float64") as dtype, progress("networks", False, 1) as told:
        system = System.of(asked, dtype)
        course, found = Course(asked, system, shape, "float64"), []
        for keys in groups_of(asked, system, shape, seeds):
            start, _, data_keys = drawn(asked, system, shape, keys)
            found.append(course.run(cut(start, pieces), data_keys, told.piece(), _outputs)[-1])
    return np.concatenate(found)[:seeds].astype(float).reshape(seeds, -1)


def cut(networks: Ensemble, pieces: int) -> Ensemble:
    """A batch of networks with every block cut into so many."""
    depth = networks.depth.nodes
    chosen = [
        np.repeat(np.arange(size).reshape(depth, -1), pieces, axis=0).ravel()
        for size in networks.sizes
    ]
    taken = jax.vmap(lambda network: network.taken(chosen))(networks)
    weights = tuple(own / pieces for own in taken.weights)
    return Ensemble(weights, *taken.state, depth=Depth(depth * pieces))


def _outputs(networks: Ensemble, outputs: np.ndarray, time: float) -> Any:
    """What is kept of networks at a time."""
    return outputs
