"""Members of a sweep: problems with a folder each, `RUN/members/NAME`, and an answer written last.

A member's folder is a run folder. Its `answer.json` says what was found, or why nothing was, and
whose answer it is; where it is there, nothing is left to do.
"""

import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import TYPE_CHECKING, Any

from widelimit.command import stages
from widelimit.command.answer import Answer
from widelimit.command.streams import logged

if TYPE_CHECKING:
    from widelimit.problem.problem import Problem
    from widelimit.problem.sweeps import Member
    from widelimit.results.folders.runfolder import RunFolder
    from widelimit.results.folders.sweepfolder import SweepFolder

LOG = "log.txt"
"""What was said while a member was computed."""

WAIT = 20.0
"""Seconds that a worker waits for another one that is about to leave a folder."""


def kinds_of(problem: "Problem") -> tuple[str, ...]:
    """The results that a member has."""
    if problem.limit.how == "none":
        return ("networks",)
    return ("limit",) if problem.networks is None else ("limit", "networks")


def laid_out(family: "Sequence[Member]", whole: "SweepFolder", overwrite: bool) -> list[Path]:
    """The folders of the members that have no answer yet, each with its problem.

    Raises `RunFolderError` where one holds results of another problem, unless `overwrite`.
    """
    whole.prepare([member.name for member in family])
    left = []
    for member in family:
        folder = whole.member(member.name)
        if folder.answer(member.problem) is None:
            folder.prepare(member.problem, kinds_of(member.problem), overwrite, WAIT)
            folder.lay(member.problem)
            folder.release()
            left.append(folder.path)
    return left


def work_on(place: Path) -> None:
    """Solve, train and compare the problem of a member's folder, unless it has its answer.

    What diverges or cannot be solved is an answer too. An error of ours is written down and not
    taken for an answer: the next sweep tries again.
    """
    from widelimit.basics.errors import Diverged, ProblemError, RunFolderError
    from widelimit.command.compilation import keep_compiled
    from widelimit.results.folders.sweepfolder import MemberFolder

    keep_compiled()
    folder, own = MemberFolder(place), Answer("run", place, as_json=False)
    folder.hold(WAIT)
    problem = folder.problem()
    if folder.answer(problem) is not None:
        return
    final = True
    log = (place / LOG).open("a", encoding="utf-8", buffering=1)
    with log, redirect_stderr(log), logged():
        try:
            _all_three(problem, folder, own)
        except (Diverged, ProblemError) as error:
            own.met = False
            own.own["failed"] = str(error)
        except RunFolderError as error:  # a full disk, say
            final = own.met = False
            own.own["failed"] = str(error)
        except Exception as error:
            final = own.met = False
            own.own["failed"] = f"internal error: {type(error).__name__}: {error}"
            traceback.print_exc()
    folder.save_answer(problem if final else None, own.as_dict())
    folder.release()


def _all_three(problem: "Problem", folder: "RunFolder", own: Answer) -> None:
    from widelimit.ensemble.advice import examine, refuse_kinks

    kinds = kinds_of(problem)
    if "limit" in kinds:
        refuse_kinks(problem)
        own.warn(examine(problem))
        stages.solve(problem, folder, own)
    if "networks" in kinds:
        stages.train(problem, folder, own)
    if len(kinds) == 2:
        stages.compare(folder, own)


Found = tuple["Member", dict[str, Any]]
"""A member and its answer."""


def joined_results(found: Sequence[Found], whole: "SweepFolder") -> dict[str, Any]:
    """By kind the results of all members along what is swept; those that failed are NaN."""
    from widelimit.problem.sweeps import joined

    family, results = [member for member, _ in found], {}
    for kind in kinds_of(family[0].problem):
        folders = [whole.member(member.name) for member in family]
        own = [
            folder.load(kind, states=False).dataset if folder.has(kind) else None
            for folder in folders
        ]
        if any(dataset is not None for dataset in own):
            results[kind] = joined(family, own)
    return results


def told(found: Sequence[Found], answer: Answer) -> None:
    """What the members have found, as the answer of the sweep."""
    for member, own in found:
        failed = own["own"].get("failed")
        answer.met = answer.met and own["met"]
        if own["error"] is not None:
            answer.error = max(answer.error or 0.0, own["error"])
        answer.warn([f"{member.name}: {sentence}" for sentence in own["warnings"]])
        answer.lines += [member.name, *own["lines"]]
        if failed:
            answer.warn([f"{member.name}: {failed}"])
            answer.lines.append(f"          failed: {failed.splitlines()[0]}")
    answer.own["members"] = [member.name for member, _ in found]
    answer.own["failed"] = [member.name for member, own in found if "failed" in own["own"]]
