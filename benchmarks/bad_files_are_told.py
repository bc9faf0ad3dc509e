"""Claim: no file makes a command fail in a way that is ours; every refusal names its place.

Problems, data and folders with results are damaged at random (`damage`, from a fixed seed) and
handed to the command. Each call must end with status 0, 1 or 2 within 60 seconds, without a
traceback, and every refusal must name a key, a file or an option. What breaks that is listed, and
its files are kept. A process does the calls; one that hangs or dies is replaced.

    python benchmarks/bad_files_are_told.py [cases [first]]
"""

import contextlib
import io
import multiprocessing
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import tomli_w
from damage import ATOMS, base, case
from tqdm import tqdm

CASES, MOST_SECONDS, MOST_SAID = 240, 60.0, 8000

PLACE = re.compile(
    r"^  \S+( … \S+)?: |^  (cannot be read|is not TOML|has lists or tables)"
    r"|(^|\s)--[a-z]|problem\.toml|\w\.(nc|json|csv|npz)\b",
    re.MULTILINE,
)
"""A key at the start of a mistake, the file as a whole, an option, a file of results or data."""


class Found(NamedTuple):
    """How one call ended."""

    number: int
    what: str
    call: str
    status: int | str
    seconds: float
    said: str

    @property
    def wrong(self) -> str:
        """What the call should not have done; empty if all was well."""
        if self.status not in (0, 1, 2):
            return f"status {self.status}"
        if "Traceback" in self.said:
            return "a traceback"
        if self.seconds > MOST_SECONDS:
            return f"{self.seconds:.0f} seconds"
        if self.status == 2 and not PLACE.search(self.said):
            return "no place"
        if len(self.said) > MOST_SAID:
            return f"{len(self.said)} characters"
        return ""


def finished(folder: Path) -> Path:
    """A folder with results of all kinds, to be damaged."""
    import numpy as np

    from widelimit.command.cli import main

    path, run = folder / "right.toml", folder / "finished"
    raw = base(np.random.default_rng(0))
    raw["networks"]["widths"] = [4, 8]
    raw["data"] |= {"targets": ["a", "b", "a", "b"], "classes": True, "holdout": 0.25}
    raw["network"]["initial"] = {"input": ATOMS, "readout": ATOMS}
    raw["observe"]["functionals"] = ["moments"]
    del raw["data"]["weights"]
    path.write_text(tomli_w.dumps(raw), encoding="utf-8")
    for call in (["run"], ["fluctuations"], ["bias", "--pairs", "4"]):
        with contextlib.suppress(SystemExit):
            main([*call, str(path), "-o", str(run)])
    return run


def ended(number: int, folder: Path, right: Path) -> Found:
    """Make the files of one case and call the command in this process."""
    from widelimit.command.cli import main

    folder.mkdir(parents=True)
    what, arguments = case(number, folder, right)
    said, started, status = io.StringIO(), time.monotonic(), "no end"
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else str(end.code)
    seconds = time.monotonic() - started
    call = " ".join(a.replace(str(folder), ".") for a in arguments)
    return Found(number, what, call, status, seconds, said.getvalue())


def _work(pipe: Connection, place: Path, right: Path) -> None:
    """Do the cases whose numbers arrive."""
    with contextlib.suppress(EOFError):  # nobody asks any more
        while (number := pipe.recv()) is not None:
            pipe.send(ended(number, place / str(number), right))


def results(numbers: range, place: Path, right: Path) -> Iterator[Found]:
    """All cases, in a process that is replaced where one makes it hang or die."""
    context = multiprocessing.get_context("spawn")
    pipe = process = None
    for number in numbers:
        if process is None or not process.is_alive() or pipe is None:
            pipe, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs, place, right))
            process.start()
            theirs.close()
        pipe.send(number)
        try:
            if pipe.poll(3 * MOST_SECONDS):
                yield pipe.recv()
                continue
            how = "hangs"
        except EOFError:
            how = "dies"
        process.kill()
        process.join()
        yield Found(number, "", "", how, 3 * MOST_SECONDS if how == "hangs" else 0.0, "")
    if pipe is not None and process is not None:
        pipe.send(None)
        process.join()


def table(found: list[Found]) -> str:
    """How many ended how, the slowest, and what should not have been."""
    count = Counter(str(f.status) for f in found)
    lines = [f"{len(found)} cases; by status: {dict(sorted(count.items()))}", "slowest:"]
    slow = sorted(found, key=lambda f: -f.seconds)[:5]
    lines += [f"  {f.seconds:5.1f} s  {f.number:>4}  {f.what}: {f.call}" for f in slow]
    wrong = [f for f in found if f.wrong]
    lines.append(f"wrong: {len(wrong)}")
    for f in wrong:
        lines += [f"  {f.number:>4}  {f.wrong}  ({f.what}: {f.call})"]
        lines += [f"        {line[:300]}" for line in f.said.splitlines()[:4]]
    return "\n".join(lines)


def main(cases: int, first: int = 0) -> None:
    """Do all cases and print what was found; files of what went wrong are kept."""
    place = Path(tempfile.mkdtemp(prefix="bad-files-"))
    right, found = finished(place), []
    for one in tqdm(results(range(first, first + cases), place, right), total=cases, disable=None):
        found.append(one)
        if not one.wrong:
            shutil.rmtree(place / str(one.number), ignore_errors=True)
    print(table(found))
    print(f"files: {place}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:])) if sys.argv[1:] else main(CASES)
