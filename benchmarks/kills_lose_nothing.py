"""Claim: a command that is killed (-9) at any moment goes on, and its results are as undisturbed.

Every command and both engines are killed at random moments, again and again, until one call ends by
itself: where there are workers, all of it is killed or one of them. After each kill every file of
the folder is whole; at the end all numbers are those of a folder that nobody disturbed, bit for
bit. How much work a kill took is what passed since something was last kept: a process writes down
where it is every 20 seconds, here every fifth of one, so that there is much to go on from.

python benchmarks/kills_lose_nothing.py [kills] [command …]

With `long` in place of kills, work of many minutes on digits is killed once a command, after one to
two minutes, with pauses of 20 seconds as users have them: what is lost is what passed since.

python benchmarks/kills_lose_nothing.py long
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import tomli_w
import xarray as xr

from widelimit.command.workers.local import ATTEMPTS

PLAIN = "from widelimit.command.cli import main; main()"
CALL = f"from widelimit.basics import store; store.PAUSE = 0.2; store.SHORT = 0.0\n{PLAIN}"
"""A command that keeps what it does often: the default is every 20 seconds."""

LONGEST = 12.0
"""Kills come within so many seconds of the start, later and later while nothing ends."""

COMMANDS: dict[str, list[str]] = {
    "solve": ["solve", "FILE"],
    "train": ["train", "FILE"],
    "run": ["run", "FILE"],
    "fluctuations": ["fluctuations", "FILE"],
    "bias": ["bias", "FILE", "--pairs", "8"],
    "reproduce": ["reproduce", "transformers", "--quick"],
    "solve workers": ["solve", "FILE", "--workers", "2"],
    "train workers": ["train", "FILE", "--workers", "2"],
    "bias workers": ["bias", "FILE", "--pairs", "8", "--workers", "2"],
    "measure": ["solve", "MEASURED"],
    "measure workers": ["solve", "MEASURED", "--workers", "2"],
    "sweep": ["sweep", "FAMILY", "--workers", "2"],
    "sweep dask": ["sweep", "FAMILY", "--workers", "2", "--engine", "dask"],
}


def problem() -> dict:
    """Some seconds of work for each command."""
    x = np.random.default_rng(0).normal(size=(12, 2)).round(2)
    return {
        "network": {"activations": ["tanh", "tanh"]},
        "data": {
            "source": "table",
            "inputs": x.tolist(),
            "targets": np.sin(x[:, 0]).round(3).tolist(),
        },
        "training": {"horizon": 4.0},
        "limit": {"tolerance": 0.01},
        "observe": {"times": 5},
        "networks": {"widths": [32, 64], "seeds": 8, "step": 4e-4},
    }


LONG: dict[str, list[str]] = {
    "solve": ["solve", "FILE"],
    "train": ["train", "FILE"],
    "fluctuations": ["fluctuations", "FILE"],
    "fluctuations --rms": ["fluctuations", "FILE", "--rms"],
    "bias": ["bias", "FILE", "--pairs", "64"],
}


def long_problem() -> dict:
    """Many minutes of work for each command."""
    return {
        "network": {"activations": ["tanh", "tanh"]},
        "data": {"source": "digits", "holdout": 0.2},
        "training": {"horizon": 10.0},
        "limit": {"tolerance": 5e-4},
        "networks": {"widths": [1024], "seeds": 40},
    }


def whole(run: Path) -> list[str]:
    """Files of a folder that cannot be read, temporary ones left out."""
    broken = []
    for path in run.rglob("*"):
        if path.name.startswith(".") or not path.is_file():
            continue
        try:
            if path.suffix == ".nc":
                xr.open_datatree(path, engine="h5netcdf").close()
            elif path.suffix == ".json":
                json.loads(path.read_text(encoding="utf-8"))
            elif path.suffix == ".npz":
                with np.load(path, allow_pickle=False) as file:
                    [file[name] for name in file.files]
        except Exception as error:  # whatever it is: the file is not whole
            broken.append(f"{path.relative_to(run)}: {error}")
    return broken


def numbers(run: Path) -> Iterator[tuple[str, np.ndarray]]:
    """All numbers of all results in a folder, by their names."""
    for path in sorted(run.rglob("*.nc")):
        with xr.open_datatree(path, engine="h5netcdf") as tree:
            for node in tree.subtree:
                for name, values in node.to_dataset().variables.items():
                    yield f"{path.relative_to(run)}:{node.path}:{name}", np.asarray(values)


def differing(run: Path, undisturbed: Path) -> list[str]:
    """Numbers that are not the same in two folders."""
    found, expected = dict(numbers(run)), dict(numbers(undisturbed))
    wrong = sorted(found.keys() ^ expected.keys())
    for name in found.keys() & expected.keys():
        a, b = found[name], expected[name]
        same = a.shape == b.shape and (
            np.array_equal(a, b, equal_nan=True) if a.dtype.kind == "f" else np.array_equal(a, b)
        )
        wrong += [] if same else [name]
    return wrong


def started(words: list[str], folder: Path, run: Path, code: str = CALL) -> subprocess.Popen[bytes]:
    """A command on its way, in a session of its own."""
    files = {name: str(folder / f"{name.lower()}.toml") for name in ("FILE", "FAMILY", "MEASURED")}
    call = [sys.executable, "-c", code, *[files.get(word, word) for word in words], "-o", str(run)]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(call, stdout=said, stderr=said, start_new_session=True)


def last_kept(run: Path) -> float:
    """When something in the folder was last written."""
    times = [0.0]
    for path in run.rglob("*"):
        try:
            times += [path.stat().st_mtime] if path.suffix in (".npz", ".nc", ".json") else []
        except FileNotFoundError:
            continue
    return max(times)


def workers(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that compute members of a sweep."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.Error):
                found += [child] if "spawn_main" in " ".join(child.cmdline()) else []
    return found


def kill(process: subprocess.Popen[bytes], rng: np.random.Generator) -> bool:
    """Kill a command, or one of a sweep's workers; whether the command itself is gone."""
    children = workers(process)
    if children and rng.random() < 0.5:
        with suppress(psutil.NoSuchProcess):
            children[rng.integers(len(children))].kill()
        return False
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    psutil.wait_procs(children, timeout=30)
    return True


class Story(NamedTuple):
    """What was seen of one run: kills, seconds of work lost at most, broken files, its status."""

    kills: int
    lost: float
    broken: list[str]
    status: int


def killed(words: list[str], folder: Path, run: Path, most: int, rng: np.random.Generator) -> Story:
    """Start a command again and again, and kill it so often at most, until it ends by itself.

    A sweep whose workers are killed several times in a row ends in words: it is called again.
    """
    kills, lost, broken, patience = 0, 0.0, [], 2.0
    while True:
        process, begun, hit = started(words, folder, run), time.time(), 0
        while process.poll() is None:
            wait = rng.uniform(0.2, patience) if kills < most else None
            with suppress(subprocess.TimeoutExpired):
                process.wait(wait)
                break
            gone = kill(process, rng)
            kills, hit, patience = kills + 1, hit + 1, min(patience + 0.3, LONGEST)
            if gone:
                lost = max(lost, time.time() - max(begun, last_kept(run)))
                broken += whole(run)
        else:
            continue  # it was killed
        if process.returncode == 0 or hit < ATTEMPTS:
            return Story(kills, lost, broken, process.returncode)


def measure(most: int, names: list[str]) -> list[str]:
    """Kill every command so often in all, and say what was found."""
    rng, seen, wrong = np.random.default_rng(0), Counter(), []
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        raw = problem()
        mup = {"activations": ["tanh", "tanh"], "parametrisation": "mup"}
        for file, more in (
            ("file", {}),
            ("family", {"sweep": {"seed": [0, 1, 2, 3]}}),
            ("measured", {"network": mup, "limit": {"tolerance": 0.03}}),
        ):
            (folder / f"{file}.toml").write_text(tomli_w.dumps(raw | more), encoding="utf-8")
        for name in names:
            words, undisturbed = COMMANDS[name], folder / f"{name} undisturbed"
            assert started(words, folder, undisturbed).wait() == 0, (
                folder / "said.txt"
            ).read_text()
            share, rounds, lost = -(-most // len(names)), 0, 0.0
            while seen[name] < share:
                run = folder / f"{name} {rounds}"
                story = killed(words, folder, run, share - seen[name], rng)
                seen[name] += story.kills
                rounds, lost = rounds + 1, max(lost, story.lost)
                found = (
                    story.broken if story.status else [*story.broken, *differing(run, undisturbed)]
                )
                if story.status:
                    said = (folder / "said.txt").read_text(encoding="utf-8").splitlines()
                    found += [f"ended with {story.status}", *said[-6:]]
                wrong += [f"{name}: {each}" for each in found]
            print(f"{name:<14} {seen[name]:>4} kills in {rounds} runs, {lost:.1f} s lost at most",
                  flush=True)  # fmt: skip
    print(f"{sum(seen.values())} kills: {len(wrong)} wrong or half files")
    return wrong


def lost_of_long_work() -> None:
    """Kill every command once in the middle of long work, and say what that costs."""
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        (folder / "file.toml").write_text(tomli_w.dumps(long_problem()), encoding="utf-8")
        for name, words in LONG.items():
            run, begun = folder / name, time.time()
            process = started(words, folder, run, PLAIN)
            with suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(60, 120))
            assert process.poll() is None, (folder / "said.txt").read_text(encoding="utf-8")
            kill(process, rng)
            after, lost = time.time() - begun, time.time() - max(begun, last_kept(run))
            print(f"{name:<20} killed after {after:.0f} s: {lost:.0f} s lost", flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["long"]:
        lost_of_long_work()
        sys.exit()
    chosen = sys.argv[2:] or list(COMMANDS)
    found = measure(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, chosen)
    print("\n".join(found))
    sys.exit(bool(found))
