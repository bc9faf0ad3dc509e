"""What results can be asked beyond what they hold: each answer comes from a room further down.

The one file that imports against the order of rooms, when a question is asked and not before, so
that results answer for themselves and rooms still know only those above them.
"""

from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any


def _answer(module: str, name: str) -> Callable[..., Any]:
    """A function of another room, imported when it is first called."""

    def asked(*arguments: Any, **settings: Any) -> Any:
        return getattr(import_module(f"widelimit.{module}"), name)(*arguments, **settings)

    return asked


predict_fluctuations = _answer("around.fluctuations", "predict_fluctuations")
sample_paths = _answer("around.fluctuations", "sample_paths")
predict_validity = _answer("limit.validity", "predict_validity")
tangent_kernels = _answer("limit.kernels", "tangent_kernels")
free_energy = _answer("limit.free_energy", "free_energy")


def pictures() -> ModuleType:
    """What draws results."""
    return import_module("widelimit.report.pictures")


def pictures_of_runs() -> ModuleType:
    """What draws what tables of runs say."""
    return import_module("widelimit.report.runs.pictures")
