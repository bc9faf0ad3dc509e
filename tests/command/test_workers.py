"""Workers: pieces of one problem done ahead by other processes, and found where they are kept."""

import json
import os
import pickle
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
import xarray as xr

from conftest import called, command, table
from widelimit import Problem, measure_bias, solve, train
from widelimit.basics import store
from widelimit.basics.errors import Diverged
from widelimit.basics.hands import helped_by
from widelimit.basics.store import kept_in
from widelimit.motion import engine
from widelimit.networks import course
from widelimit.papers import claims_of, reproduce
from widelimit.papers.claims import Measured


def smooth(**sections) -> Problem:
    """Nodes and replicates, two widths: some seconds of work at most."""
    raw = {
        "network": {"activations": ["tanh"]},
        "data": table(5),
        "training": {"horizon": 0.5},
        "limit": {"tolerance": 0.05},
        "observe": {"times": 2},
        "networks": {"widths": [8, 16], "seeds": 3, "method": "gd", "step": 0.1},
    }
    return Problem.from_dict({**raw, **sections})


class Others:
    """Other hands, in this process: who has done what, and how often each has integrated."""

    def __init__(self):
        self.done, self.at_work, self.integrations = [], False, Counter()

    def carry(self, tasks):
        """Do tasks that have come by pickle."""
        for task in tasks:
            self.at_work = True
            pickle.loads(pickle.dumps(task)).do()
            self.at_work = False
            self.done.append(task.name)
            yield task

    def counted(self, integrate):
        """The same function, counted."""

        def counting(*given):
            self.integrations["others" if self.at_work else "here"] += 1
            return integrate(*given)

        return counting


@contextmanager
def others(folder, monkeypatch):
    """Other hands while the block lasts; everything is kept."""
    hands = Others()
    monkeypatch.setattr(store, "SHORT", -1.0)
    for module in (engine, course):
        monkeypatch.setattr(module, "seen_along", hands.counted(module.seen_along))
    with kept_in(folder), helped_by(hands.carry):
        yield hands


def test_networks_are_trained_by_other_hands(tmp_path, monkeypatch):
    alone = train(smooth(), progress=False).dataset
    with others(tmp_path, monkeypatch) as hands:
        found = train(smooth(), progress=False).dataset
    assert hands.done == ["width 8, group 1", "width 16, group 1"]
    assert hands.integrations == {"others": 2}
    xr.testing.assert_equal(found, alone)


def test_pairs_are_trained_by_other_hands(tmp_path, monkeypatch):
    alone = measure_bias(smooth(), pairs=3, progress=False).dataset
    with others(tmp_path, monkeypatch) as hands:
        found = measure_bias(smooth(), pairs=3, progress=False).dataset
    assert hands.done == ["width 8, group 1", "width 16, group 1"]
    assert hands.integrations == {"others": 4}  # halves, and whole networks
    xr.testing.assert_equal(found, alone)


def test_replicates_are_run_by_other_hands(tmp_path, monkeypatch):
    """All but the first one, in steps and in halved ones."""
    alone = solve(smooth(), progress=False).dataset
    with others(tmp_path, monkeypatch) as hands:
        found = solve(smooth(), progress=False).dataset
    assert found.attrs["replicates"] == alone.attrs["replicates"] > 1
    assert hands.integrations["here"] <= 3
    assert hands.integrations["others"] == len(hands.done) >= found.attrs["replicates"] - 1
    for name in ("output", "output_error", "risk"):
        np.testing.assert_array_equal(found[name], alone[name])


def test_claims_are_measured_by_other_hands(tmp_path, monkeypatch):
    asked = Counter()

    def measured(*, by):
        asked[by] += 1
        return Measured(0.25, 0.01, 7.0)

    first = replace(
        claims_of("central-limit", "smoke")[0],
        measure=lambda: measured(by="claim"),
        control=lambda: measured(by="control"),
    )
    monkeypatch.setattr("widelimit.papers.claims_of", lambda *_, **__: [first])
    with others(tmp_path, monkeypatch) as hands:
        (found,) = reproduce("central-limit", "smoke", progress=False)
    assert hands.done == [first.id]
    assert asked == {"claim": 1, "control": 1}  # the second time they are found
    assert (found.measured, found.error) == (0.25, 0.01)
    assert found.half_width == Measured(0.25, 0.01, 7.0).half_width


def test_errors_of_other_hands_are_met_here(tmp_path, monkeypatch):
    """Who asks for a piece that could not be done comes upon the reason."""
    grows = {"activations": ["identity"]}
    steps = {"widths": [8], "seeds": 2, "method": "gd", "step": 50.0}
    problem = smooth(network=grows, networks=steps, training={"horizon": 5e4})
    with others(tmp_path, monkeypatch), pytest.raises(Diverged, match="too large"):
        train(problem, progress=False)


@pytest.mark.slow
def test_engines_find_the_same_numbers(tmp_path):
    """Bit for bit: one worker, two, and Dask's where it is installed."""
    file = tmp_path / "problem.toml"
    file.write_text(smooth().to_toml(), encoding="utf-8")
    ways = [["--workers", 1], ["--workers", 2]]
    if find_spec("distributed"):
        ways.append(["--workers", 2, "--engine", "dask"])
    for name in (["solve"], ["train"], ["bias", "--pairs", 3]):
        found = []
        for number, way in enumerate(ways):
            run = tmp_path / f"{name[0]} {number}"
            said = command(name[0], file, *name[1:], *way, "-o", run, "--json")
            assert said.returncode == 0, said.stderr
            own = json.loads(said.stdout)
            with xr.open_dataset(next(run.glob("*.nc")), engine="h5netcdf") as dataset:
                found.append((own["error"], dataset.load().drop_attrs()))
        for error, dataset in found[1:]:
            assert error == found[0][0]
            xr.testing.assert_equal(dataset, found[0][1])


ONLY_WORKERS = """
import os
from widelimit.command.workers.threads import one_thread
os.environ.update(one_thread())  # before JAX is imported
from widelimit.networks import course
course.seen_along = None
from widelimit.command.cli import main
main()
"""
"""A command that cannot train by itself."""


@pytest.mark.slow
def test_what_workers_did_is_found(tmp_path):
    """Other processes name their pieces as the command does."""
    file = tmp_path / "problem.toml"
    file.write_text(smooth().to_toml(), encoding="utf-8")
    call = [sys.executable, "-c", ONLY_WORKERS, "train", file, "-o", tmp_path / "run"]
    alone = subprocess.run(call, capture_output=True, encoding="utf-8")
    assert alone.returncode == 3
    said = subprocess.run([*call, "--workers", "1"], capture_output=True, encoding="utf-8")
    assert said.returncode == 0, said.stderr


SBATCH = """\
#!/bin/sh
# Takes a job script as SLURM's does, and runs it here at once.
cp "$1" "$JOBS/$$.sh"
setsid sh "$JOBS/$$.sh" >"$JOBS/$$.log" 2>&1 &
echo "Submitted batch job $!"
"""
SCANCEL = """\
#!/bin/sh
for job in "$@"; do kill -- "-$job"; done
"""


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("dask_jobqueue"), reason="needs widelimit[dask]")
def test_jobs_of_slurm_find_the_same_numbers(tmp_path, monkeypatch):
    """Through dask-jobqueue, with a stand-in for SLURM that runs jobs on this machine."""
    file, jobs = tmp_path / "problem.toml", tmp_path / "jobs"
    file.write_text(smooth().to_toml(), encoding="utf-8")
    jobs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("JOBS", str(jobs))
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = []
    for way in ([], ["--engine", "dask", "--scheduler", "slurm"]):
        run = tmp_path / f"run{len(way)}"
        said = command("train", file, "--workers", 2, *way, "-o", run)
        assert said.returncode == 0, said.stderr
        with xr.open_dataset(run / "networks.nc", engine="h5netcdf") as dataset:
            found.append(dataset.load().drop_attrs())
    assert "Start worker at" in "".join(log.read_text("utf-8") for log in jobs.glob("*.log"))
    xr.testing.assert_equal(*found)


def test_engines_that_cannot_be_are_told(tmp_path, capfd):
    file = tmp_path / "problem.toml"
    file.write_text(smooth().to_toml(), encoding="utf-8")
    for words in (["solve", file], ["train", file], ["bias", file], ["reproduce", "deep"]):
        call = [*words, "-o", tmp_path / "run"]
        status, _, said = called(capfd, *call, "--scheduler", "slurm")
        assert (status, "take --engine dask" in said) == (2, True)
        assert called(capfd, *call, "--workers", 0)[0] == 2
    assert not (tmp_path / "run").exists()
