"""`widelimit sweep`: lay out a family, have its members computed, join what they found."""

from pathlib import Path
from typing import TYPE_CHECKING

from widelimit.basics.words import counted
from widelimit.command.answer import Answer
from widelimit.command.families.members import joined_results, laid_out, told, work_on
from widelimit.command.workers.who import Who

if TYPE_CHECKING:
    from widelimit.problem.problem import Problem


def sweep(problem: "Problem", run: Path, who: Who, overwrite: bool, answer: Answer) -> None:
    """Solve, train and compare each problem of a family; sweep.nc.

    Raises `RunFolderError` if another process holds the folder, or workers are killed for good.
    """
    from widelimit.basics.progress import progress
    from widelimit.problem.sweeps import members
    from widelimit.results.folders.sweepfolder import SweepFolder

    who.require_possible()
    whole, family = SweepFolder(run), members(problem)
    if tasks := laid_out(family, whole, overwrite):
        what, count = f"sweep of {counted(len(family), 'problem')}", who.at_a_time(problem)
        with (
            progress(what, None, len(tasks)) as shown,
            who.at_work(min(count, len(tasks))) as carry,
        ):
            for task in carry(work_on, tasks):
                shown.piece().at(1.0, task.name)
    found = [(own, whole.member(own.name).last_answer()) for own in family]
    told(found, answer)
    if results := joined_results(found, whole):
        path = whole.save(results)
        answer.lines.append(f"sweep     {path.resolve()}")


def job_array(problem: "Problem", path: Path, run: Path, overwrite: bool, answer: Answer) -> None:
    """Lay out a family, and write what `sbatch` needs to compute its members."""
    from widelimit.command.workers.job_array import SCRIPT, texts
    from widelimit.problem.sweeps import members
    from widelimit.results.folders.sweepfolder import SweepFolder

    family, whole = members(problem), SweepFolder(run)
    laid_out(family, whole, overwrite)
    names = whole.names()
    for place, text in texts(run, path, names).items():
        whole.save_text(place.name, text)
    answer.own |= {"members": names, "script": str(run / SCRIPT)}
    answer.lines.append(f"job array {(run / SCRIPT).resolve()}: {counted(len(names), 'task')}")


def member(run: Path, number: int, answer: Answer) -> None:
    """Compute one member of a sweep that is laid out."""
    from widelimit.basics.errors import RunFolderError
    from widelimit.results.folders.sweepfolder import SweepFolder

    whole = SweepFolder(run)
    names = whole.names()
    if not 0 <= number < len(names):
        raise RunFolderError(
            f"{run} has {counted(len(names), 'member')}, counted from 0; found {number}"
            if names
            else f"{run} holds no sweep: lay one out with widelimit sweep PROBLEM -o {run} "
            "--job-array"
        )
    folder = whole.member(names[number])
    work_on(folder.path)
    own = folder.last_answer()
    answer.met, answer.error = own["met"], own["error"]
    answer.own |= own["own"]
    answer.warn(own["warnings"])
    answer.lines += [names[number], *own["lines"]]
    if failed := own["own"].get("failed"):
        answer.warn([failed])
