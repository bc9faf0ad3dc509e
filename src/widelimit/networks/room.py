"""Networks that no machine trains are refused before anything is computed, in words."""

import psutil

from widelimit.basics.errors import ProblemError
from widelimit.ensemble.model import model_of
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
    settings, found = problem.networks, []
    itemsize = 4 if settings.precision == "float32" else 8
    for widths in settings.layer_widths(problem.network):
        found += _too_many_steps(problem, widths) + _too_wide(problem, widths, itemsize)
    if (most := _most_seeds(problem, itemsize)) < settings.seeds:
        found.append(
            f"networks.seeds: found {settings.seeds}; the memory of this machine holds the outputs "
            f"of {most} at all times: take fewer seeds, times or inputs"
        )
    _refuse(problem, found)


def refuse_impossible_pairs(problem: Problem, pairs: int) -> None:
    """The same for pairs of networks and those of twice the widths, in double precision."""
    if problem.networks is None:
        return
    found = []
    for widths in problem.networks.layer_widths(problem.network):
        found += _too_many_steps(problem, widths, 2) + _too_wide(problem, widths, 8, 2)
    if (most := _most_seeds(problem, 8) // 3) < pairs:
        found.append(
            f"pairs: found {pairs}; the memory of this machine holds the outputs of {most} at all "
            "times: take fewer pairs, times or inputs"
        )
    _refuse(problem, found)


def _refuse(problem: Problem, found: list[str]) -> None:
    """Raise `ProblemError` if there is anything to say."""
    if found:
        raise ProblemError(list(dict.fromkeys(found)), problem.title)


def _too_many_steps(problem: Problem, widths: tuple[int, ...], parts: int = 1) -> list[str]:
    """That a network which is the union of `parts` of these widths takes too many steps."""
    settings, horizon = problem.networks, problem.training.horizon
    assert settings is not None
    if settings.method == "flow":
        return []
    steps = parts * horizon / settings.step_size(problem.network, widths)
    if steps <= MOST_STEPS:
        return []
    return [
        f"networks.step: found {settings.step}, which makes {steps:.2g} steps to the "
        f"horizon {horizon:g}; take at most {MOST_STEPS:.0e}"
    ]


def _too_wide(
    problem: Problem, widths: tuple[int, ...], itemsize: int, parts: int = 1
) -> list[str]:
    """That the union of `parts` networks of these widths does not fit into the memory."""
    memory, whole = psutil.virtual_memory().total, problem.network.scaled(widths, float(parts))
    needed = COPIES * itemsize * numbers_held(problem, widths, parts)
    if needed <= memory:
        return []
    named = problem.network.name
    said = "" if parts == 1 else f" ({parts} times {named(widths)})"
    return [
        f"networks.widths: one network of {named(whole)}{said} takes {needed / 1e9:.3g} GB to "
        f"train, and this machine has {memory / 1e9:.3g}; make it narrower"
    ]


def numbers_held(problem: Problem, widths: tuple[int, ...], parts: int = 1) -> int:
    """How many weights the union of `parts` networks of these widths has."""
    data = problem.dataset
    dims = data.inputs.shape[1], data.targets.shape[1]
    sizes = model_of(problem).held(widths, dims, problem.training.rule.noisy, parts)
    return problem.network.costs(*dims).held(sizes)


def _most_seeds(problem: Problem, itemsize: int) -> int:
    """How many networks of one width memory bears to have outputs of, at all observed times."""
    data = problem.dataset
    looked = len(problem.observed_inputs) + len(data.inputs) + len(data.holdout_inputs)
    each = len(problem.times) * looked * data.targets.shape[1] * itemsize
    return psutil.virtual_memory().total // (COPIES * each)
