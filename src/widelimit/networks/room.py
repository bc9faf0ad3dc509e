"""Networks that no machine trains are refused before anything is computed, in words."""

import math

import psutil

from widelimit.basics.errors import ProblemError
from widelimit.basics.words import shape_name
from widelimit.ensemble.neurons import held_sizes, neuron_kinds
from widelimit.problem.problem import Problem

MOST_STEPS = 10**11
"""More steps of SGD take the smallest network months."""

COPIES = 6
"""A network is held about so many times while it is drawn, and while it trains."""


def refuse_impossible(problem: Problem) -> None:
    """Raise `ProblemError` for widths, seeds and steps that memory or a life does not suffice for.

    >>> from widelimit import Problem
    >>> refuse_impossible(Problem.from_dict({
    ...     "network": {"activations": ["tanh"]}, "training": {"horizon": 1.0},
    ...     "data": {"source": "table", "inputs": [-1.0, 1.0], "targets": [0.5, -0.5]},
    ...     "networks": {"widths": [64], "step": 1e-30},
    ... }))
    Traceback (most recent call last):
    ...
    widelimit.basics.errors.ProblemError: problem: 1 mistake
      networks.step: found 1e-30, which makes 1e+30 steps to the horizon 1; take at most 1e+11
    """
    if problem.networks is None:
        return
    shapes = problem.networks.layer_widths(problem.network)
    found = [said for widths in shapes for said in _too_much(problem, widths)]
    if found:
        raise ProblemError(list(dict.fromkeys(found)), problem.title)


def bytes_held(problem: Problem, widths: tuple[int, ...]) -> int:
    """What the weights of one network take."""
    settings, data = problem.networks, problem.dataset
    assert settings is not None
    dims = data.inputs.shape[1], data.targets.shape[1]
    kinds = neuron_kinds(problem.network, widths, *dims, problem.training.rule.noisy)
    sizes = held_sizes(kinds, problem.network.by_space(widths))
    itemsize = 4 if settings.precision == "float32" else 8
    return itemsize * problem.network.costs(*dims).held(sizes)


def _too_much(problem: Problem, widths: tuple[int, ...]) -> list[str]:
    """What there is too much of in networks of one shape."""
    settings, data = problem.networks, problem.dataset
    assert settings is not None
    found, memory = [], psutil.virtual_memory().total
    if settings.method != "flow":
        horizon = problem.training.horizon
        steps = horizon / settings.step_size(problem.network, widths)
        if steps > MOST_STEPS:
            found.append(
                f"networks.step: found {settings.step}, which makes {steps:.2g} steps to the "
                f"horizon {horizon:g}; take at most {MOST_STEPS:.0e}"
            )
    needed = COPIES * bytes_held(problem, widths)
    if needed > memory:
        found.append(
            f"networks.widths: one network of {shape_name(widths)} takes {needed / 1e9:.3g} GB to "
            f"train, and this machine has {memory / 1e9:.3g}; make it narrower"
        )
    looked = len(problem.observed_inputs) + len(data.inputs) + len(data.holdout_inputs)
    kept = settings.seeds * len(problem.times) * looked * data.targets.shape[1] * 8
    if COPIES * kept > memory:
        most = math.floor(settings.seeds * memory / (COPIES * kept))
        found.append(
            f"networks.seeds: found {settings.seeds}; their outputs at all times take "
            f"{COPIES * kept / 1e9:.3g} GB, and this machine has {memory / 1e9:.3g}: take at most "
            f"{most}, fewer times or fewer inputs"
        )
    return found
