"""Claim: three workers of a Dask cluster are killed during a sweep of 60 members; none is lost.

Two processes of this machine compute the members; three times one of them is killed (-9) while it
works. All members have their answers at the end, no answer is written twice, and the outputs are
those of the same sweep that local workers compute, bit for bit.

python benchmarks/dask_workers_die.py
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import tomli_w
from kills_lose_nothing import differing, workers
from sweeps_use_workers import CALL, family
from table import Row, lines

MEMBERS, KILLS = 60, 3


def sweep(folder: Path, name: str, *more: str) -> subprocess.Popen[bytes]:
    """A sweep on its way."""
    call = [sys.executable, "-c", CALL, "sweep", str(folder / "family.toml")]
    call += ["-o", str(folder / name), "--workers", "2", *more]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(call, stdout=said, stderr=said)


def answers(run: Path) -> dict[Path, int]:
    """When each member's answer was written."""
    return {path: path.stat().st_mtime_ns for path in run.glob("members/*/answer.json")}


def measure() -> list[Row]:
    """The row of this file."""
    with tempfile.TemporaryDirectory() as made:
        return [measured_in(Path(made))]


def measured_in(folder: Path) -> Row:
    """A sweep on Dask that is disturbed, and one that is not."""
    (folder / "family.toml").write_text(tomli_w.dumps(family(MEMBERS, 64, 1e-5)), encoding="utf-8")
    process, kills, seen, again = sweep(folder, "dask", "--engine", "dask"), 0, {}, 0
    while process.poll() is None:
        now = answers(folder / "dask")
        again += sum(now[path] != then for path, then in seen.items())
        seen = now
        if kills < KILLS and len(now) >= 12 * (kills + 1) and (there := workers(process)):
            with suppress(psutil.Error):
                there[kills % len(there)].kill()
                kills += 1
        time.sleep(0.1)
    there = len(answers(folder / "dask"))
    local = sweep(folder, "local").wait()
    wrong = differing(folder / "dask", folder / "local")
    how = f"{kills} kills, exit {process.returncode} and {local}, {len(wrong)} numbers differ"
    found = f"{there} of {MEMBERS}, {again} written twice"
    return Row("members after kills of Dask's workers", "all, none twice", found, how)


if __name__ == "__main__":
    print(lines(measure()))
