"""`--dry-run`: what a command would take, estimated and not done; nothing is written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from widelimit.basics.tasks import Task
from widelimit.basics.words import counted
from widelimit.command import stages
from widelimit.command.answer import Answer

if TYPE_CHECKING:
    from widelimit.command.workers.who import Who
    from widelimit.papers import Effort
    from widelimit.problem.problem import Problem


def of_problem(path: Path, kinds: tuple[str, ...], answer: Answer, **asked: Any) -> int:
    """The plan of results of these kinds, as the answer of the command."""
    problem = stages.read(path, kinds)

    def plan() -> None:
        _told(_tasks(problem, kinds, **asked), answer)

    return answer.after(plan)


def _tasks(problem: "Problem", kinds: tuple[str, ...], **asked: Any) -> list[Task]:
    from widelimit.around.fluctuations import forecast_fluctuations
    from widelimit.limit.forecast import forecast_limit
    from widelimit.networks.price import forecast_bias, forecast_networks

    found = []
    if "limit" in kinds:
        found.append(forecast_limit(problem))
    if "networks" in kinds:
        found += forecast_networks(problem)
    if "bias" in kinds:
        found += forecast_bias(problem, asked["pairs"])
    if "fluctuations" in kinds:
        found.append(forecast_fluctuations(problem, asked["what"], asked["tolerance"]))
    return found


def of_family(problem: "Problem", run: Path, who: "Who", answer: Answer) -> int:
    """The plan of a sweep: the members that are left, each taken to be like the first of them."""
    from widelimit.command.families.members import kinds_of
    from widelimit.problem.sweeps import members
    from widelimit.results.folders.sweepfolder import SweepFolder

    family, whole = members(problem), SweepFolder(run)
    left = [own for own in family if whole.member(own.name).answer(own.problem) is None]
    count = min(who.at_a_time(problem), max(1, len(left)))

    def plan() -> None:
        tasks = _tasks(left[0].problem, kinds_of(left[0].problem)) if left else []
        done = counted(len(family) - len(left), "member")
        answer.lines.append(f"{done} of {len(family)} done; each of the others, {count} at a time:")
        answer.own |= {"members": len(family), "left": len(left), "at_a_time": count}
        _told(tasks, answer, times=len(left) / count, at_once=count)

    return answer.after(plan)


def of_claims(name: str, effort: "Effort", answer: Answer) -> int:
    """The plan of a reproduction: its claims; how long they take is not known beforehand."""
    from widelimit.papers import claims_of

    def plan() -> None:
        claims = claims_of(name, effort)
        answer.own |= {"tasks": [claim.id for claim in claims], "estimated_seconds": None}
        answer.lines += [f"{claim.id:<22} {claim.statement}" for claim in claims]
        answer.lines.append(
            f"{counted(len(claims), 'claim')}, each with a control; how long they take is not "
            "known beforehand: docs/papers tells what they took"
        )

    return answer.after(plan)


def _told(tasks: list[Task], answer: Answer, times: float = 1.0, at_once: int = 1) -> None:
    """The tasks and what all take, done so many times with several at once."""
    memory = at_once * max((task.bytes for task in tasks), default=0)
    known = [task.seconds for task in tasks if task.seconds is not None]
    seconds = times * sum(known) if len(known) == len(tasks) else None
    answer.own |= {"tasks": [task.as_dict() for task in tasks], "estimated_seconds": seconds}
    answer.own["gigabytes"] = memory / 1e9
    answer.lines += [task.words() for task in tasks]
    whole = Task("in all", "", memory, seconds, any(task.grows for task in tasks))
    answer.lines.append(whole.words())
    if memory > (there := psutil.virtual_memory().total):
        answer.met = False
        answer.warn([f"this machine has {there / 1e9:.3g} GB: it would not fit"])
