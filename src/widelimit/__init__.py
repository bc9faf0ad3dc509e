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
    from widelimit.basics.store import kept_in as kept_in
    from widelimit.limit.certificate import optimality_gap as optimality_gap
    from widelimit.limit.free_energy import free_energy as free_energy
    from widelimit.limit.kernels import tangent_kernels as tangent_kernels
    from widelimit.limit.solve import solve as solve
    from widelimit.limit.validity import predict_validity as predict_validity
    from widelimit.networks.bias import measure_bias as measure_bias
    from widelimit.networks.coordinates import coordinate_check as coordinate_check
    from widelimit.networks.train import train as train
    from widelimit.problem.data.sources import Points as Points
    from widelimit.problem.data.sources import Source as Source
    from widelimit.problem.network.embedding import Given as Given
    from widelimit.problem.network.layers import Layer as Layer
    from widelimit.problem.network.units import Unit as Unit
    from widelimit.problem.problem import Problem as Problem
    from widelimit.problem.sweeps import sweep as sweep
    from widelimit.report.page import render_report as render_report
    from widelimit.results.bias import Bias as Bias
    from widelimit.results.comparison import Comparison as Comparison
    from widelimit.results.comparison import compare as compare
    from widelimit.results.fluctuations import Fluctuations as Fluctuations
    from widelimit.results.folders.runfolder import RunFolder as RunFolder
    from widelimit.results.plan import Plan as Plan
    from widelimit.results.trajectory import Trajectory as Trajectory
    from widelimit.runs.coordinates import CoordinateCheck as CoordinateCheck
    from widelimit.runs.extrapolation import Extrapolation as Extrapolation
    from widelimit.runs.extrapolation import extrapolate as extrapolate
    from widelimit.runs.transfer import Transfer as Transfer
    from widelimit.runs.transfer import transfer as transfer

_HOMES = {
    "Bias": "results.bias",
    "Comparison": "results.comparison",
    "CoordinateCheck": "runs.coordinates",
    "Diverged": "basics.errors",
    "Extrapolation": "runs.extrapolation",
    "Fluctuations": "results.fluctuations",
    "Given": "problem.network.embedding",
    "Layer": "problem.network.layers",
    "Plan": "results.plan",
    "Points": "problem.data.sources",
    "Problem": "problem.problem",
    "ProblemError": "basics.errors",
    "RunFolder": "results.folders.runfolder",
    "RunFolderError": "basics.errors",
    "Source": "problem.data.sources",
    "Trajectory": "results.trajectory",
    "Transfer": "runs.transfer",
    "Unit": "problem.network.units",
    "WidelimitError": "basics.errors",
    "compare": "results.comparison",
    "coordinate_check": "networks.coordinates",
    "extrapolate": "runs.extrapolation",
    "free_energy": "limit.free_energy",
    "kept_in": "basics.store",
    "measure_bias": "networks.bias",
    "optimality_gap": "limit.certificate",
    "plan_width": "around.planner",
    "predict_fluctuations": "around.fluctuations",
    "predict_validity": "limit.validity",
    "render_report": "report.page",
    "solve": "limit.solve",
    "sweep": "problem.sweeps",
    "tangent_kernels": "limit.kernels",
    "train": "networks.train",
    "transfer": "runs.transfer",
}

__all__ = [
    "Bias",
    "Comparison",
    "CoordinateCheck",
    "Diverged",
    "Extrapolation",
    "Fluctuations",
    "Given",
    "Layer",
    "Plan",
    "Points",
    "Problem",
    "ProblemError",
    "RunFolder",
    "RunFolderError",
    "Source",
    "Trajectory",
    "Transfer",
    "Unit",
    "WidelimitError",
    "compare",
    "coordinate_check",
    "extrapolate",
    "free_energy",
    "kept_in",
    "measure_bias",
    "optimality_gap",
    "plan_width",
    "predict_fluctuations",
    "predict_validity",
    "render_report",
    "solve",
    "sweep",
    "tangent_kernels",
    "train",
    "transfer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'widelimit' has no attribute {name!r}")
    return getattr(import_module(f"widelimit.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
