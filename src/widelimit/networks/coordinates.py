"""`coordinate_check`: sizes in networks of several widths, of ours or of anyone's module."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jaxtyping import Array

from widelimit.basics.errors import ProblemError
from widelimit.basics.precision import in_precision
from widelimit.basics.progress import progress as progress_of
from widelimit.basics.streams import Stream, key
from widelimit.ensemble.layered.equations import Layered
from widelimit.ensemble.neurons import Ensemble
from widelimit.ensemble.system import System
from widelimit.networks.course import Course, network_keys
from widelimit.networks.modules import sizes_of_modules
from widelimit.networks.sampled import drawn
from widelimit.problem.problem import Problem
from widelimit.runs.coordinates import OUTPUT, CoordinateCheck, check_sizes

WIDTHS = (64, 128, 256, 512)
STEPS = (0, 1, 2, 5, 10)

MOST_POINTS = 64
"""Data points that are looked at, the first ones."""


def coordinate_check(
    what: Any,
    *,
    widths: Sequence[int] = WIDTHS,
    seeds: int = 5,
    steps: Sequence[int] = STEPS,
    inputs: Any = None,
    parametrisation: str | None = None,
    output: str = OUTPUT,
    progress: bool | None = None,
) -> CoordinateCheck:
    """How pre-activations, outputs and their changes go with the width, layer by layer.

    `what` is a problem (networks are trained as `[networks]` says, with `method` "sgd" or "gd"; its
    parametrisation is what is predicted), a table of sizes (`check_sizes`; `output` is the name of
    its output layer), or `make(width)`,
    which gives a torch module and a function that trains it by one step: a fresh one each time, for
    each of so many `seeds` (set by `torch.manual_seed`). Then sizes are looked at by forward hooks
    while the module is given `inputs`, in the layers that have a weight, and
    `parametrisation` ("mup", "ntk", "standard") says what is predicted. See `runs.coordinates`.

    Raises `ProblemError` for problems whose networks take no steps, and for wrong tables.

    >>> problem = Problem.from_dict({
    ...     "network": {"activations": ["tanh", "tanh"], "parametrisation": "mup"},
    ...     "data": {"source": "table", "inputs": [-1.0, 0.5], "targets": [0.5, -0.5]},
    ...     "training": {"horizon": 3.0},
    ...     "networks": {"widths": [64], "method": "gd", "step": 0.5},
    ... })
    >>> found = coordinate_check(problem, widths=[64, 256, 1024], steps=[0, 1], progress=False)
    >>> found.verdicts()["layer 2"]
    'as predicted'
    """
    if isinstance(what, Problem):
        sizes = sizes_of_networks(what, widths, seeds, steps, progress)
        name = what.network.parametrisation
        return check_sizes(sizes, None if name == "mean field" else name)
    if callable(what):
        if inputs is None:
            raise ProblemError(["inputs: is missing; give those that modules are shown"])
        sizes = sizes_of_modules(what, inputs, widths, seeds, steps, progress)
        return check_sizes(sizes, parametrisation)
    return check_sizes(what, parametrisation, output)


def sizes_of_networks(
    problem: Problem,
    widths: Sequence[int],
    seeds: int,
    steps: Sequence[int],
    progress: bool | None = None,
) -> pd.DataFrame:
    """Sizes in networks of a problem: columns layer, step, width, seed, kind, size.

    Raises `ProblemError` if its networks take no steps, or are not of layers.
    """
    settings = problem.networks
    assert problem.layers
    if settings is None or settings.method == "flow":
        found = "is missing" if settings is None else "found 'flow'"
        raise ProblemError(
            [f"networks.method: {found}; a coordinate check counts steps: take 'sgd' or 'gd'"],
            problem.title,
        )
    rows: list[dict[str, Any]] = []
    with progress_of("coordinate check", progress, len(widths)) as told:
        for width in widths:
            own = problem.at_width(problem.network.shape((width,)))
            with in_precision(settings.precision) as dtype:
                system = System.of(own, dtype)
                rows += _of_width(own, system, width, seeds, steps, told.piece())
    return pd.DataFrame(rows)


def _of_width(
    problem: Problem, system: System, width: int, seeds: int, steps: Sequence[int], piece: Any
) -> list[dict[str, Any]]:
    """Sizes in networks of one width."""
    settings, widths = problem.networks, problem.network.shape((width,))
    assert settings is not None
    step = settings.step_size(problem.network, widths)
    times = tuple(float(k * step) for k in steps)
    at = problem.observe.model_copy(update={"times": times})
    seen = Course(problem.with_parts(observe=at), system, widths, settings.precision)
    keys = network_keys(key(Stream.COORDINATES, problem.seed), widths, seeds)
    start, _, data_keys = drawn(problem, system, widths, keys)
    found = seen.run(start, data_keys, piece, lambda e, _, __: _fields(system, e))
    names = [*(f"layer {layer + 1}" for layer in range(problem.layers.depth)), OUTPUT]
    rows = []
    for k, now in zip(steps, found, strict=True):
        for name, value, first in zip(names, now, found[0], strict=True):
            kinds = {"size": value} | ({"change": value - first} if k > 0 else {})
            rows += [
                {"layer": name, "step": k, "width": width, "seed": seed, "kind": kind, "size": own}
                for kind, values in kinds.items()
                for seed, own in enumerate(_rms(values))
            ]
    return rows


def _rms(values: np.ndarray) -> list[float]:
    """By network."""
    return np.sqrt((values.reshape(len(values), -1) ** 2).mean(axis=1)).tolist()


def _fields(system: System, networks: Ensemble) -> list[np.ndarray]:
    """z of every layer `(network, point, neuron, …)`, and the outputs."""
    return [np.asarray(own, float) for own in _looked(system, networks)]


@eqx.filter_jit
def _looked(system: System, networks: Ensemble) -> list[Array]:
    equations, x = system.equations, system.batch.inputs[:MOST_POINTS]
    assert isinstance(equations, Layered)

    def one(network: Ensemble) -> list[Array]:
        fields = [step.z for step in equations.layer_steps(network, x)]
        return [*fields, jnp.asarray(equations.output(network, x))]

    return jax.vmap(one)(networks)
