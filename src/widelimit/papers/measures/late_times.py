"""The end of a training: where a risk goes, and what goes with it."""

import numpy as np

from widelimit.limit.solve import solved
from widelimit.papers.claims import Measured
from widelimit.papers.measures.observables import pre_activations
from widelimit.problem.problem import Problem
from widelimit.results.trajectory import Trajectory

CHECKPOINTS = [48.0, 96.0, 144.0, 192.0]
"""When a limit is looked at to see where it ends."""


def until_late(asked: Problem, nodes: list[int], times: list[float] = CHECKPOINTS) -> Trajectory:
    """The limit of a problem at the start and at late times, on so many nodes a layer.

    The flow of these nodes has itself the properties that are looked at: no other error than that
    of its time steps counts.
    """
    late = asked.with_changes(
        training={"horizon": times[-1]},
        observe={"times": [0.0, *times]},
        limit={"nodes": nodes},
    )
    return solved(late, progress=False)


def end_of(values: np.ndarray) -> Measured:
    """Where a quantity at equally spaced times ends, in units of its start: Aitken's extrapolation.

    It suits what decays exponentially. `values[0]` is the start, the other times are late ones;
    the error is the change from the extrapolation that ends one time earlier.
    """
    late = values[1:]
    ends = [
        c - (c - b) ** 2 / ((c - b) - (b - a)) if abs((c - b) - (b - a)) > 0 else c
        for a, b, c in zip(late, late[1:], late[2:], strict=False)
    ]
    return Measured(float(ends[-1] / values[0]), float(abs(ends[-1] - ends[-2]) / values[0]))


def risk_by_speed(limit: Trajectory) -> Measured:
    """The exponent p in R ∝ (sup over neurons of |∂_t A|)^p between the last two times.

    Risk and speed are those of the nodes that are kept, which are one finite system. The error is
    the change from the exponent one time earlier.
    """
    h, off = _last_layer(limit)
    data = limit.problem.dataset
    risk = 0.5 * np.einsum("txo,x->t", off**2, data.weights)
    speed = np.abs(np.einsum("txo,txn,x->tno", off, h, data.weights)).max(axis=(1, 2))
    slopes = np.diff(np.log(risk[1:])) / np.diff(np.log(speed[1:]))
    return Measured(float(slopes[-1]), float(abs(slopes[-1] - slopes[-2])))


def _last_layer(limit: Trajectory) -> tuple[np.ndarray, np.ndarray]:
    """φ(z_L) `(time, point, neuron)` and f − y `(time, point, channel)`, for tanh."""
    states, last = limit.states["limit"].to_dataset(), limit.problem.layers.depth
    data = limit.problem.dataset
    h = np.tanh(pre_activations(states, data.inputs, last))
    f = h @ (states[f"weight_{last}"].values[:, None] * states["readout"].values)
    return h, f - data.targets
