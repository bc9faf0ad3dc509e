"""`widelimit sweep`: lay out a family, have its members computed, join what they found."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from widelimit.basics.cores import cores
from widelimit.basics.words import counted
from widelimit.command.answer import Answer
from widelimit.command.members import joined_results, laid_out, told, work_on

if TYPE_CHECKING:
    from widelimit.problem.problem import Problem

MEMORY_EACH = 2 * 10**9
"""Bytes that a member is taken to need if `limit.memory` does not say."""


class Who(NamedTuple):
    """Who computes members: an engine, its scheduler, how many at a time."""

    engine: str = "local"
    scheduler: str | None = None
    workers: int | None = None

    def at_a_time(self, problem: "Problem") -> int:
        """As many as were asked for; else as there are cores, and as memory that is free bears."""
        each = problem.limit.memory or MEMORY_EACH
        free = psutil.virtual_memory().available // each
        return self.workers or max(1, min(cores(), free))

    def carry(self, problem: "Problem", tasks: Sequence[Path]) -> Iterator[Path]:
        """Compute the members in these folders; each is yielded when it has ended."""
        count = min(self.at_a_time(problem), max(1, len(tasks)))
        if self.engine == "dask":
            from widelimit.command.workers.cluster import on_dask

            return on_dask(work_on, tasks, count, self.scheduler)
        from widelimit.command.workers.local import in_processes

        return in_processes(work_on, tasks, count)


def sweep(problem: "Problem", run: Path, who: Who, overwrite: bool, answer: Answer) -> None:
    """Solve, train and compare each problem of a family; sweep.nc.

    Raises `RunFolderError` if another process holds the folder, or workers are killed for good.
    """
    from widelimit.basics.errors import RunFolderError
    from widelimit.basics.progress import progress
    from widelimit.problem.sweeps import members
    from widelimit.results.folders.sweepfolder import SweepFolder

    if who.scheduler is not None and who.engine != "dask":
        raise RunFolderError("--scheduler: is Dask's; take --engine dask with it")
    whole, family = SweepFolder(run), members(problem)
    if tasks := laid_out(family, whole, overwrite):
        with progress(f"sweep of {counted(len(family), 'problem')}", None, len(tasks)) as shown:
            for task in who.carry(problem, tasks):
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
