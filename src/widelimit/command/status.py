"""What `widelimit status` says: how a run or a sweep stands. It reads, and changes nothing."""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from widelimit.basics.progress import NOTE
from widelimit.basics.words import counted, duration
from widelimit.command.answer import Answer

if TYPE_CHECKING:
    from widelimit.results.folders.runfolder import RunFolder
    from widelimit.results.folders.sweepfolder import SweepFolder

DONE, RUNNING, BEGUN, WAITING, FAILED = "done", "running", "begun", "waiting", "failed"


def standing(run: Path, answer: Answer) -> None:
    """How a run folder, or that of a sweep, stands. Raises `RunFolderError` if it is neither."""
    from widelimit.results.folders.runfolder import RunFolder
    from widelimit.results.folders.sweepfolder import SweepFolder

    family = SweepFolder(run)
    if family.names():
        _of_sweep(family, answer)
    else:
        _of_run(RunFolder(run), answer)


def _of_run(folder: "RunFolder", answer: Answer) -> None:
    """The results that are there, and the work on others."""
    from widelimit.results.folders.runfolder import CLAIMS, FILES

    if not (folder.path / CLAIMS).is_file() and not folder.places_of_work():
        folder.problem()  # or it is no run folder
    owner = folder.at_work()
    states = {kind: DONE for kind, name in FILES.items() if (folder.path / name).is_file()}
    states |= {"claims": DONE} if (folder.path / CLAIMS).is_file() else {}
    work = {kind: _work(place) for kind, place in folder.places_of_work().items()}
    states |= dict.fromkeys(work, RUNNING if owner else BEGUN)
    answer.own |= {"results": states, "owner": owner, "work": work}
    answer.lines += [
        f"{kind:<13} {state}{_words(work.get(kind))}" for kind, state in states.items()
    ]
    if owner:
        answer.lines.append(f"in use by {owner}")
    elif BEGUN in states.values():
        answer.lines.append("nobody works on it; the same command goes on where it was")


def _work(place: Path) -> dict[str, Any]:
    """How far the work kept in a place has come."""
    try:
        told = json.loads((place / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        told = {}
    kept = [path.stat().st_mtime for path in place.glob("*.npz")]
    since = round(time.time() - max(kept), 1) if kept else None
    return told | {"pieces_kept": len(kept), "kept_seconds_ago": since}


def _words(work: dict[str, Any] | None) -> str:
    """The same in words."""
    if not work:
        return ""
    said = [f"{work['what']}: {work['place']}"] if "what" in work else []
    if work.get("seconds_to_come"):
        said.append(f"about {duration(work['seconds_to_come'])} to come at this pace")
    if work["kept_seconds_ago"] is not None:
        said.append(f"kept {duration(work['kept_seconds_ago'])} ago")
    return "   " + ", ".join(said)


def _of_sweep(family: "SweepFolder", answer: Answer) -> None:
    """How many members are done, under way, failed; how long the others take."""
    names, states, seconds = family.names(), {}, []
    for name in names:
        member = family.member(name)
        found = member.last_answer()
        if found and found.get("problem"):
            states[name] = FAILED if "failed" in found["own"] else DONE
            seconds.append(found["seconds"])
        elif member.at_work():
            states[name] = RUNNING
        else:
            states[name] = FAILED if found else BEGUN if member.places_of_work() else WAITING
    count = {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}
    left = len(names) - count.get(DONE, 0) - count.get(FAILED, 0)
    answer.own |= {"members": states, "count": count, "seconds_to_come": None}
    answer.lines += [f"{name:<40} {state}" for name, state in states.items()]
    answer.lines.append(
        f"{counted(len(names), 'member')}: "
        + ", ".join(f"{number} {state}" for state, number in count.items())
    )
    if left and seconds:
        each, at_once = sum(seconds) / len(seconds), max(1, count.get(RUNNING, 0))
        answer.own["seconds_to_come"] = left * each / at_once
        answer.lines.append(
            f"about {duration(left * each / at_once)} to come, at {duration(each)} for a member "
            f"and {at_once} at a time"
        )
    if left and not count.get(RUNNING):
        answer.lines.append("nobody works on it; the same widelimit sweep goes on where it was")
