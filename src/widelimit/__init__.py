"""widelimit: the infinite-width (mean-field) limit of neural networks trained by SGD.

    import widelimit as wl

    problem = wl.Problem.from_file("problem.toml")
    limit, networks = wl.solve(problem), wl.train(problem)
    wl.compare(limit, networks).plot()

Names are imported when they are first used, so that the command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
"""The one place of the version: the package, the command and results take it from here."""

if TYPE_CHECKING:
    from widelimit.around.fluctuations import predict_fluctuations as predict_fluctuations
    from widelimit.around.planner import plan_width as plan_width
    from widelimit.basics.errors import Diverged as Diverged
    from widelimit.basics.errors import ProblemError as ProblemError
    from widelimit.basics.errors import RunFolderError as RunFolderError
    from widelimit.basics.errors import WidelimitError as WidelimitError
    from widelimit.limit.solve import solve as solve
    from widelimit.networks.bias import measure_bias as measure_bias
    from widelimit.networks.train import train as train
    from widelimit.problem.problem import Problem as Problem
    from widelimit.problem.sweeps import sweep as sweep
    from widelimit.report.page import render_report as render_report
    from widelimit.results.bias import Bias as Bias
    from widelimit.results.comparison import Comparison as Comparison
    from widelimit.results.comparison import compare as compare
    from widelimit.results.fluctuations import Fluctuations as Fluctuations
    from widelimit.results.plan import Plan as Plan
    from widelimit.results.runfolder import RunFolder as RunFolder
    from widelimit.results.trajectory import Trajectory as Trajectory

_HOMES = {
    "Bias": "results.bias",
    "Comparison": "results.comparison",
    "Diverged": "basics.errors",
    "Fluctuations": "results.fluctuations",
    "Plan": "results.plan",
    "Problem": "problem.problem",
    "ProblemError": "basics.errors",
    "RunFolder": "results.runfolder",
    "RunFolderError": "basics.errors",
    "Trajectory": "results.trajectory",
    "WidelimitError": "basics.errors",
    "compare": "results.comparison",
    "measure_bias": "networks.bias",
    "plan_width": "around.planner",
    "predict_fluctuations": "around.fluctuations",
    "render_report": "report.page",
    "solve": "limit.solve",
    "sweep": "problem.sweeps",
    "train": "networks.train",
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
