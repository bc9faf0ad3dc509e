"""The folder of a family of problems: a run folder for each member, and what all have found."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from widelimit.problem.problem import Problem
from widelimit.results.folders.files import Files
from widelimit.results.folders.runfolder import SECTIONS, RunFolder

MEMBERS, NAMES, JOINED, ANSWER = "members", "sweep.json", "sweep.nc", "answer.json"


SAID = {"problem", "met", "error", "seconds", "warnings", "lines", "own"}
"""What an answer holds."""


class MemberFolder(RunFolder):
    """The run folder of one member, and its answer, which is written last."""

    def lay(self, problem: Problem) -> None:
        """Write the problem of results that are to come; a problem as it is there stays."""
        text, path = problem.to_toml(), self.path / "problem.toml"
        if not path.is_file() or path.read_bytes() != text.encode():
            self.save_text("problem.toml", text)

    def answer(self, problem: Problem) -> dict[str, Any] | None:
        """What was found, if this is the answer for such a problem."""
        found = self.last_answer()
        return found if found and found.get("problem") == _whole_digest(problem) else None

    def last_answer(self) -> dict[str, Any]:
        """What was found last, of whatever problem; empty if nothing was, or it is damaged."""
        found = self._read_json(ANSWER, dict)
        return found if found.keys() >= SAID and isinstance(found["own"], dict) else {}

    def save_answer(self, problem: Problem | None, answer: dict[str, Any]) -> None:
        """Write what was found; of no `problem` if it is to be tried again."""
        self._write_json(ANSWER, {"problem": problem and _whole_digest(problem), **answer})


class SweepFolder(Files):
    """Results of a family: `members/NAME` for each, `sweep.json` with the names, `sweep.nc`."""

    def prepare(self, names: Sequence[str]) -> None:
        """Make the folder ready for members of these names, in their order."""
        self._make()
        if self.names() != list(names):
            self._write_json(NAMES, list(names))

    def names(self) -> list[str]:
        """The names of the members in their order; none if this is no sweep's folder."""
        return self._read_json(NAMES, list)

    def member(self, name: str) -> MemberFolder:
        """The folder of one member."""
        return MemberFolder(self.path / MEMBERS / name)

    def save(self, groups: dict[str, xr.Dataset]) -> Path:
        """Results of the family, one group for each kind; sweep.nc."""
        self._write_netcdf(JOINED, xr.DataTree.from_dict(groups))
        return self.path / JOINED


def _whole_digest(problem: Problem) -> str:
    """Tells all apart that a member finds."""
    kinds = ("limit",) if problem.networks is None else ("limit", "networks")
    widths = None if problem.networks is None else problem.networks.sizes
    return " ".join([*(problem.digest(*SECTIONS[kind]) for kind in kinds), str(widths)])
