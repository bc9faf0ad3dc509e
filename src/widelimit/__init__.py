"""widelimit: the infinite-width (mean-field) limit of neural networks trained by SGD.

    import widelimit as wl

    problem = wl.Problem.from_file("problem.toml")
    limit, networks = wl.solve(problem), wl.train(problem)
    wl.compare(limit, networks).plot()

Names are imported when they are first used, so that the command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from widelimit.bias import Bias as Bias
    from widelimit.bias import measure_bias as measure_bias
    from widelimit.comparison import Comparison as Comparison
    from widelimit.comparison import compare as compare
    from widelimit.errors import Diverged as Diverged
    from widelimit.errors import ProblemError as ProblemError
    from widelimit.errors import RunFolderError as RunFolderError
    from widelimit.errors import WidelimitError as WidelimitError
    from widelimit.fluctuations import Fluctuations as Fluctuations
    from widelimit.fluctuations import predict_fluctuations as predict_fluctuations
    from widelimit.limit import solve as solve
    from widelimit.networks import train as train
    from widelimit.planner import Plan as Plan
    from widelimit.planner import plan_width as plan_width
    from widelimit.problem import Problem as Problem
    from widelimit.report import render_report as render_report
    from widelimit.runfolder import RunFolder as RunFolder
    from widelimit.sweeps import sweep as sweep
    from widelimit.trajectory import Trajectory as Trajectory

_HOMES = {
    "Bias": "bias",
    "Comparison": "comparison",
    "Diverged": "errors",
    "Fluctuations": "fluctuations",
    "Plan": "planner",
    "Problem": "problem",
    "ProblemError": "errors",
    "RunFolder": "runfolder",
    "RunFolderError": "errors",
    "Trajectory": "trajectory",
    "WidelimitError": "errors",
    "compare": "comparison",
    "measure_bias": "bias",
    "plan_width": "planner",
    "predict_fluctuations": "fluctuations",
    "render_report": "report",
    "solve": "limit",
    "sweep": "sweeps",
    "train": "networks",
}

__all__ = [
    "Bias",
    "Comparison",
    "Diverged",
    "Fluctuations",
    "Plan",
    "Problem",
    "ProblemError",
    "RunFolder",
    "RunFolderError",
    "Trajectory",
    "WidelimitError",
    "compare",
    "measure_bias",
    "plan_width",
    "predict_fluctuations",
    "render_report",
    "solve",
    "sweep",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'widelimit' has no attribute {name!r}")
    return getattr(import_module(f"widelimit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
