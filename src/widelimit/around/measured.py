"""The width that suffices where the limit is measured: V and B of networks come with it.

One network of width n is off the limit by (V/n + B²/n²)^½, RMS over outputs.
"""

import math

from widelimit.limit.solve import solve
from widelimit.networks.room import numbers_held
from widelimit.problem.problem import Problem
from widelimit.results.plan import Choice, Plan


def plan_measured(problem: Problem, rms: float, time: float, progress: bool | None) -> Plan:
    """The width at which networks are within `rms` of a measured limit at a time.

    The limit is measured to `limit.tolerance`; the error of the width is that of V and B. How many
    outputs scatter independently is not known: one at least.
    """
    at = {"times": [time], "inputs": problem.observed_inputs.tolist()}
    limit = solve(problem.with_changes(observe=at), progress=progress)
    d, settings, network = limit.dataset.isel(time=0), problem.networks, problem.network
    assert settings is not None
    scatter, scatter_error = (float(d[name].mean()) for name in ("scatter", "scatter_error"))
    noise = float(((d["bias_error"] / 2) ** 2).mean())
    bias = math.sqrt(max(0.0, float((d["bias"] ** 2).mean()) - noise))
    n = _least(scatter, bias, rms)
    wide = _least(scatter + scatter_error, bias + 2 * math.sqrt(noise), rms)
    widths = network.shape((max(1, math.ceil(n)),))
    step = settings.step_size(network, widths)
    choice = Choice(
        settings.batch, widths, step, work=1.0, weights=numbers_held(problem, widths), sequence=1.0
    )
    sources = {"scatter": scatter / n, "bias": (bias / n) ** 2}
    return Plan(rms, time, (choice,), sources, wide / n - 1, tuple(limit.warnings), 1.0)


def _least(scatter: float, bias: float, rms: float) -> float:
    """The least n with V/n + B²/n² ≤ rms²."""
    return (scatter + math.sqrt(scatter**2 + 4 * (rms * bias) ** 2)) / (2 * rms**2)
