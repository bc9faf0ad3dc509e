"""`widelimit sweep`: members in processes of their own, each with its folder and its answer."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import psutil
import pytest
import xarray as xr

from conftest import WIDELIMIT, called, command, quick_problem
from widelimit import ProblemError, train, transfer
from widelimit.command.workers.who import Who
from widelimit.results.folders.sweepfolder import MEMBERS

STEEP = {"network.scale": [1.0, 2.0]}


def family_file(path, swept, **sections):
    """A family of quick problems in a file."""
    problem = quick_problem(**sections)
    raw = problem.as_dict() | {"sweep": swept}
    path.write_text(type(problem).from_dict(raw).to_toml(), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A family, its run folder, and what `widelimit sweep` said."""
    folder = tmp_path_factory.mktemp("swept")
    file = family_file(folder / "family.toml", STEEP)
    return file, folder / "run", command("sweep", file, "-o", folder / "run", "--workers", 2)


def outputs(run):
    """Outputs of all members by their names."""
    found = {}
    for place in sorted((run / MEMBERS).iterdir()):
        for kind in ("limit", "networks"):
            with xr.open_dataset(place / f"{kind}.nc", engine="h5netcdf") as file:
                found[place.name, kind] = file.output.load().values
    return found


def changed(run):
    """When each file of a sweep was written."""
    return {path: path.stat().st_mtime_ns for path in run.rglob("*.nc") if path.name != "sweep.nc"}


def test_members_have_folders_and_are_joined(swept):
    _, run, said = swept
    assert said.returncode == 0, said.stderr
    assert "network.scale=2.0" in said.stdout
    with xr.open_datatree(run / "sweep.nc", engine="h5netcdf") as tree:
        assert tree["limit"].sizes["network.scale"] == 2
        assert tree["networks"].sizes["seed"] == 5  # its own dimension keeps its name
        joined = tree["limit"].output.sel({"network.scale": 2.0})
        np.testing.assert_array_equal(joined.values, outputs(run)["network.scale=2.0", "limit"])


def test_what_is_done_stays_done(swept, capfd):
    """A second call starts no worker and says the same."""
    file, run, said = swept
    before = changed(run)
    status, again, _ = called(capfd, "sweep", file, "-o", run)
    assert status == 0
    assert changed(run) == before
    assert again == said.stdout


def test_damaged_answers_are_no_answers(tmp_path, capfd):
    """A member whose answer lacks something is computed again."""
    file, run = family_file(tmp_path / "f.toml", {"seed": [0]}), tmp_path / "run"
    assert called(capfd, "sweep", file, "-o", run, "--job-array")[0] == 0
    assert called(capfd, "member", 0, "-o", run)[0] == 0
    answer = run / MEMBERS / "seed=0" / "answer.json"
    whole = json.loads(answer.read_text(encoding="utf-8"))
    answer.write_text(json.dumps({"problem": whole["problem"]}), encoding="utf-8")
    status, said, _ = called(capfd, "status", run)
    assert (status, "1 member: 1 waiting" in said) == (0, True)
    assert called(capfd, "member", 0, "-o", run)[0] == 0
    again = json.loads(answer.read_text(encoding="utf-8"))
    assert again.keys() == whole.keys()
    log = (answer.parent / "log.txt").read_text(encoding="utf-8").splitlines()
    assert len(log) == len(set(log))  # nothing is said twice


@pytest.mark.slow
def test_every_engine_finds_the_same_numbers(swept, tmp_path):
    """Bit for bit: workers here, the tasks of a job array, and Dask where it is installed."""
    file, run, _ = swept
    array = tmp_path / "array"
    laid = command("sweep", file, "-o", array, "--job-array")
    assert laid.returncode == 0, laid.stderr
    assert (array / "tasks.txt").read_text(encoding="utf-8").count("\n") == 2
    script = (array / "job-array.sbatch").read_text(encoding="utf-8")
    assert "#SBATCH --array=0-1" in script
    for number in range(2):
        assert command("member", number, "-o", array).returncode == 0
    collected = command("sweep", file, "-o", array)
    assert collected.returncode == 0
    assert "[" in collected.stdout
    runs = [array]
    try:
        import dask.distributed  # pyright: ignore[reportMissingImports]  # noqa: F401
    except ImportError:
        pass
    else:
        runs.append(tmp_path / "dask")
        more = ["--engine", "dask", "--workers", 2]
        assert command("sweep", file, "-o", runs[-1], *more).returncode == 0
    expected = outputs(run)
    for other in runs:
        found = outputs(other)
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=str(name))


def test_a_member_that_fails_ends_no_sweep(tmp_path, capfd):
    """The others are there, it is NaN among them, and a second call does not try again."""
    initial = quick_problem().as_dict()["network"]["initial"]
    grows = {"network": {"activations": ["identity"], "initial": initial}}
    more = {"training": {"horizon": 300.0}, "observe": {"times": [0.0, 300.0]}}
    steps = {"networks.step": [0.1, 20.0]}
    file, run = family_file(tmp_path / "f.toml", steps, **grows, **more), tmp_path / "run"
    first = command("sweep", file, "-o", run, "--json")
    told = json.loads(first.stdout)
    assert first.returncode == 1, first.stderr
    assert told["failed"] == ["networks.step=20.0"]
    assert "too large" in " ".join(told["warnings"])
    with xr.open_datatree(run / "sweep.nc", engine="h5netcdf") as tree:
        finite = np.isfinite(tree["networks"].risk).all(["width", "seed", "time"])
        assert finite.values.tolist() == [True, False]
        assert np.isnan(tree["networks"].widths[1]).all()
    answer = run / MEMBERS / "networks.step=20.0" / "answer.json"
    before = answer.stat().st_mtime_ns
    assert called(capfd, "sweep", file, "-o", run)[0] == 1
    assert answer.stat().st_mtime_ns == before
    assert "2 members: 1 done, 1 failed" in called(capfd, "status", run)[1]


LONGER = {"seed": [0, 1, 2]}
SLOW = {"networks": {"widths": [64], "seeds": 5, "method": "sgd", "step": 1e-5}}


def started(file, run):
    """A sweep on its way, when its workers have begun with members."""
    call = [sys.executable, "-c", WIDELIMIT, "sweep", file, "-o", run, "--workers", "2"]
    process = subprocess.Popen(
        [*map(str, call)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    )
    deadline = time.monotonic() + 100
    while len(list(run.glob(f"{MEMBERS}/*/limit.nc"))) < 2:
        assert time.monotonic() < deadline, process.kill()
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    return process


def workers(process):
    """The processes that compute members."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.slow
def test_killed_workers_and_killed_sweeps_lose_nothing(tmp_path, capfd):
    """A worker, then all: what was done stays, and the rest is as if nothing had happened."""
    file, run = family_file(tmp_path / "f.toml", LONGER, **SLOW), tmp_path / "run"
    process = started(file, run)
    status, said, _ = called(capfd, "status", run, "--json")
    assert (status, json.loads(said)["count"]["running"]) in [(0, 1), (0, 2)]
    status, _, said = called(capfd, "sweep", file, "-o", run)
    assert status == 2
    assert f"in use by process {process.pid}" in said
    workers(process)[0].kill()
    while not list(run.glob(f"{MEMBERS}/*/answer.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    children = workers(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    psutil.wait_procs(children, timeout=10)
    assert not any(child.is_running() for child in children)  # nobody is left behind
    done = {place.parent: place.stat().st_mtime_ns for place in run.rglob("answer.json")}
    assert command("sweep", file, "-o", run, "--workers", 1).returncode == 0
    assert all((place / "answer.json").stat().st_mtime_ns == t for place, t in done.items())
    alone = tmp_path / "alone"
    assert command("sweep", file, "-o", alone, "--workers", 2).returncode == 0
    found, expected = outputs(run), outputs(alone)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=str(name))
    assert not list(run.rglob("*.npz"))


def test_wrong_calls_are_told(tmp_path, swept, capfd):
    """With what to do instead."""
    file, run, _ = swept
    status, _, said = called(capfd, "member", 9, "-o", run)
    assert status == 2
    assert "has 2 members, counted from 0; found 9" in said
    status, _, said = called(capfd, "member", 0, "-o", tmp_path)
    assert status == 2
    assert "holds no sweep" in said
    status, _, said = called(capfd, "sweep", file, "-o", tmp_path / "x", "--scheduler", "slurm")
    assert status == 2
    assert "take --engine dask" in said
    assert not (tmp_path / "x").exists()
    assert called(capfd, "sweep", file, "-o", run, "--engine", "ray")[0] == 2
    assert called(capfd, "sweep", file, "-o", run, "--workers", 0)[0] == 2
    assert called(capfd, "status", tmp_path)[0] == 2


def test_workers_are_as_many_as_memory_bears(monkeypatch):
    problem = quick_problem(limit={"memory": "1 GB"})
    memory = psutil.virtual_memory()._replace(available=3 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setenv("WIDELIMIT_THREADS", "8")
    assert Who().at_a_time(problem) == 3
    assert Who(workers=5).at_a_time(problem) == 5


@pytest.mark.slow
def test_learning_rates_are_swept_and_transferred(tmp_path, capfd):
    """sweep.nc is the table that transfer reads: the same as with rates given one by one."""
    rates, widths = [0.25, 0.5, 1.0, 2.0], [8, 16, 32]
    own = {
        "limit": {"how": "none"},
        "networks": {"widths": widths, "seeds": 4, "method": "gd", "step": 1.0},
        "training": {"horizon": 2.0},
        "observe": {"times": [2.0]},
    }
    file = family_file(tmp_path / "f.toml", {"training.learning_rate": rates}, **own)
    run = tmp_path / "run"
    assert called(capfd, "sweep", file, "-o", run)[0] == 0
    assert not list(run.rglob("limit.nc"))
    problem, rows = quick_problem(**own), []
    for rate in rates:
        each = dict.fromkeys(("input", "hidden", "readout"), rate)
        each = {name: each[name] for name in problem.as_dict()["training"]["learning_rates"]}
        one = problem.with_changes(training={"learning_rates": each})
        risk = train(one).dataset["risk"]
        rows += [
            (n, rate, seed, float(loss))
            for n in widths
            for seed, loss in enumerate(risk.sel(width=n).values[:, -1])
        ]
    frame = pd.DataFrame(rows, columns=["width", "learning_rate", "seed", "risk"])
    swept, given = transfer(run / "sweep.nc", metric="risk"), transfer(frame)
    np.testing.assert_allclose(swept.losses.values, given.losses.values, rtol=1e-6)


def test_no_limit_is_wanted(tmp_path, capfd):
    problem = quick_problem(limit={"how": "none"})
    (tmp_path / "p.toml").write_text(problem.to_toml(), encoding="utf-8")
    status, _, said = called(capfd, "solve", tmp_path / "p.toml", "-o", tmp_path / "run")
    assert status == 2
    assert "limit.how: found 'none', which wants networks only" in said
    raw = problem.as_dict()
    del raw["networks"]
    with pytest.raises(ProblemError, match="leaves nothing else to compute"):
        type(problem).from_dict(raw)
