"""The run folder: what was saved is what is loaded, whose results they are, whole files only."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import xarray as xr
from filelock import FileLock

from conftest import small_problem, table
from widelimit import (
    Problem,
    RunFolder,
    RunFolderError,
    predict_fluctuations,
    render_report,
    solve,
    train,
)
from widelimit.results.folders.files import LOCK, OWNER

BOTH = ("limit", "networks")

# Three atoms have no quadrature to refine, and gradient descent draws nothing: both are quick.
ATOMS = {"law": "atoms", "points": [[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4], [0.3, -0.8, -1.0]]}
QUICK = {
    "title": "three <atoms> & more",
    "network": {"activations": ["tanh"], "initial": {"neuron": ATOMS}},
    "networks": {"widths": [4, 8], "seeds": 2, "method": "gd", "step": 0.1},
}


@pytest.fixture(scope="module")
def problem():
    return small_problem(**QUICK)


@pytest.fixture(scope="module")
def limit(problem):
    return solve(problem, progress=False)


@pytest.fixture(scope="module")
def networks(problem):
    return train(problem, progress=False)


@pytest.fixture(scope="module")
def saved(tmp_path_factory, problem, limit, networks):
    """The path of a folder with both results; tests work on copies."""
    folder = RunFolder(tmp_path_factory.mktemp("saved") / "run")
    folder.prepare(problem, BOTH, overwrite=False)
    folder.save(limit, 1.5)
    folder.save(networks, 2.5)
    return folder.path


@pytest.fixture
def full(tmp_path, saved):
    """A folder with both results, to be changed at will."""
    return RunFolder(shutil.copytree(saved, tmp_path / "run"))


def names(folder):
    """All files but those that say whose the folder is."""
    return sorted({path.name for path in folder.path.iterdir()} - {LOCK, OWNER})


def contents(folder):
    return {name: (folder.path / name).read_bytes() for name in names(folder)}


def assert_same_dataset(found, expected):
    """Values, names, coordinates and types; `found` may say more in its attributes."""
    xr.testing.assert_identical(found.drop_attrs(), expected.drop_attrs())
    for name in expected.variables:
        assert found[name].dtype.kind == expected[name].dtype.kind, name
    for name, value in expected.attrs.items():
        np.testing.assert_array_equal(np.squeeze(found.attrs[name]), np.squeeze(value))


# Round trip


@pytest.mark.parametrize("kind", BOTH)
def test_results_come_back_as_they_were_saved(full, limit, networks, kind):
    saved = {"limit": limit, "networks": networks}[kind]
    found = full.load(kind)
    assert_same_dataset(found.dataset, saved.dataset)
    assert found.kind == kind
    assert found.warnings == saved.warnings
    assert found.met == saved.met
    assert sorted(found.states.children) == sorted(saved.states.children)
    for name, group in saved.states.children.items():
        assert_same_dataset(found.states[name].to_dataset(), group.to_dataset())


def test_states_are_of_the_right_ensembles(full):
    assert list(full.load("limit").states.children) == ["limit"]
    assert sorted(full.load("networks").states.children) == ["width_4", "width_8"]
    nodes = full.load("limit").states["limit"].to_dataset()
    start = np.column_stack([nodes["input"][0], nodes["readout"][0]])
    assert sorted(start.tolist()) == sorted(ATOMS["points"])
    np.testing.assert_allclose(nodes["weight_1"], np.full(3, 1 / 3), rtol=1e-12)


def test_files_can_be_read_without_widelimit(full, limit):
    with xr.open_dataset(full.path / "limit.nc") as found:
        assert set(found["output"].dims) == {"time", "input", "channel"}
        assert np.array_equal(found["output"], limit.dataset["output"])
    with xr.open_dataset(full.path / "networks.nc") as found:
        assert found["output"].dims == ("width", "seed", "time", "input", "channel")
        assert found["width"].values.tolist() == [4, 8]
        assert found["widths"].values.tolist() == [[4], [8]]


def test_fluctuations_come_back_and_belong_to_their_problem(full, problem):
    found = predict_fluctuations(problem, progress=False)
    full.save_fluctuations(found, 0.5)
    assert_same_dataset(full.load_fluctuations().dataset, found.dataset)
    assert full.load("limit").met  # the others are still there
    assert full.provenance()["fluctuations"]["wall_seconds"] == 0.5
    page = render_report(full)
    assert "How networks scatter" in page
    std = float(np.sqrt((found.dataset.output_std.isel(time=-1, width=0) ** 2).mean()))
    assert f"{std:.3g}" in page
    other = problem.with_changes(training={"horizon": 0.5})
    with pytest.raises(RunFolderError, match="holds results of another problem"):
        full.prepare(other, ("fluctuations",), overwrite=False)
    full.prepare(other, ("fluctuations",), overwrite=True)
    assert not full.has("fluctuations")


def test_networks_of_another_step_do_not_keep_fluctuations(tmp_path, problem):
    folder = RunFolder(tmp_path / "run")
    folder.prepare(problem, ("fluctuations",), overwrite=False)
    folder.save_fluctuations(predict_fluctuations(problem, progress=False), 0.5)
    other = problem.with_changes(networks={"step": 0.05})
    with pytest.raises(RunFolderError, match="holds results of another problem"):
        folder.prepare(other, ("networks",), overwrite=False)
    folder.prepare(other, ("limit",), overwrite=False)  # a limit depends on no networks
    assert folder.has("fluctuations")


def test_problem_in_the_folder_can_be_read_back(full, problem):
    assert full.problem().as_dict() == problem.as_dict()
    again = Problem.from_file(full.path / "problem.toml")
    assert again.digest("network", "data", "training") == problem.digest(
        "network", "data", "training"
    )


def test_provenance_tells_of_both_results(full, problem):
    record = json.loads((full.path / "provenance.json").read_text(encoding="utf-8"))
    assert record["limit"]["wall_seconds"] == 1.5
    assert record["networks"]["wall_seconds"] == 2.5
    assert record["limit"]["precision"] == "float64"
    assert record["networks"]["precision"] == "float32"
    assert record["limit"]["data"] == problem.dataset.digest()
    assert {"jax", "numpy", "widelimit"} <= set(record["versions"])


# Whose results they are


CHANGES = {
    "limit": {"limit": {"tolerance": 0.5}},
    "networks": {"networks": {"seeds": 3}},
    "seed": {"seed": 1},
    "network": {"network": {"activations": ["erf"]}},
    "data": {"data": table(seed=1)},
    "training": {"training": {"horizon": 2.0}},
    "observe": {"observe": {"times": 4}},
}


@pytest.mark.parametrize("section", CHANGES)
def test_results_of_another_problem_are_refused(full, problem, section):
    other, before = problem.with_changes(**CHANGES[section]), contents(full)
    refused = "networks" if section == "networks" else "limit"
    with pytest.raises(RunFolderError, match=f"{refused}.nc holds results of another problem"):
        full.prepare(other, BOTH, overwrite=False)
    assert contents(full) == before


def test_each_file_is_judged_by_the_sections_it_depends_on(full, problem):
    full.prepare(problem.with_changes(limit={"tolerance": 0.5}), ("networks",), overwrite=False)
    full.prepare(problem.with_changes(networks={"seeds": 3}), ("limit",), overwrite=False)
    with pytest.raises(RunFolderError, match=r"networks\.nc holds results of another problem"):
        full.prepare(problem.with_changes(networks={"seeds": 3}), ("networks",), overwrite=False)
    # a file that is not asked for still must not belong to different data
    (full.path / "networks.nc").unlink()
    with pytest.raises(RunFolderError, match=r"limit\.nc holds results of another problem"):
        full.prepare(problem.with_changes(seed=1), ("networks",), overwrite=False)


def test_the_title_and_more_widths_refuse_nothing(full, problem):
    before = contents(full)
    full.prepare(problem.with_changes(title="another"), BOTH, overwrite=False)
    full.prepare(problem.with_changes(networks={"widths": [4, 8, 12]}), BOTH, overwrite=False)
    assert contents(full) == before


def test_overwrite_replaces(full, problem, limit, networks):
    (full.path / "comparison.json").write_text("{}", encoding="utf-8")
    (full.path / "report.html").write_text("old", encoding="utf-8")
    other = problem.with_changes(seed=1)
    full.prepare(other, ("limit",), overwrite=True)
    assert names(full) == ["problem.toml", "provenance.json", "states.nc"]
    full.save(type(limit)(other, limit.dataset, limit.states), 9.0)
    assert full.problem().seed == 1
    assert full.load("limit").dataset.attrs["digest"] != limit.dataset.attrs.get("digest")
    # nothing of the other problem's networks is left, neither states nor provenance
    with xr.open_datatree(full.path / "states.nc", engine="h5netcdf") as tree:
        assert list(tree.children) == ["limit"]
    assert "networks" not in full.provenance()
    with pytest.raises(RunFolderError, match=r"no networks.nc; make it with widelimit train"):
        full.load("networks")


def test_overwrite_keeps_what_is_of_the_same_problem(full, problem):
    before = contents(full)
    full.prepare(problem.with_changes(networks={"seeds": 3}), BOTH, overwrite=True)
    assert names(full) == ["limit.nc", "problem.toml", "provenance.json", "states.nc"]
    assert (full.path / "limit.nc").read_bytes() == before["limit.nc"]


def test_known_widths_are_not_trained_again(full, problem, monkeypatch):
    wider = problem.with_changes(networks={"widths": [4, 8, 12]})
    full.prepare(wider, BOTH, overwrite=False)
    known = full.load("networks")
    marked = known.dataset.copy(deep=True)
    marked["output"][:] = 123.0  # no training gives this: it can only have been taken over
    known = type(known)(known.problem, marked, known.states)
    kept = []
    found = train(wider, known=known, keep=kept.append, progress=False)
    assert found.dataset["width"].values.tolist() == [4, 8, 12]
    assert (found.dataset["output"].sel(width=[4, 8]) == 123.0).all()
    assert not (found.dataset["output"].sel(width=12) == 123.0).any()
    full.save(found, 1.0)
    assert sorted(full.load("networks").states.children) == ["width_12", "width_4", "width_8"]
    assert full.load("limit").states.children.keys() == {"limit"}


def test_nothing_is_lost_by_asking_for_less(full, problem):
    """A width that is not asked for any more stays, from the first file that is written on."""
    less = problem.with_changes(networks={"widths": [12, 8]})
    before = full.load("networks")
    written = []

    def keep(trained):
        full.save(trained, 1.0)
        written.append(full.load("networks").dataset["width"].values.tolist())

    found = train(less, known=before, keep=keep, progress=False)
    assert found.dataset["width"].values.tolist() == [12, 8]
    assert written == [[4, 8, 12]]
    after = full.load("networks")
    assert after.problem.networks.widths == ((4,), (8,), (12,))
    assert sorted(after.states.children) == ["width_12", "width_4", "width_8"]
    xr.testing.assert_identical(
        after.dataset["output"].sel(width=[4, 8]), before.dataset["output"].sel(width=[4, 8])
    )
    kept = []
    train(problem.with_changes(networks={"widths": [8]}), known=after, keep=kept.append)
    assert kept == []


def test_a_kill_in_the_first_save_is_no_reason_to_refuse(tmp_path, problem, limit):
    """The problem is written first; that of somebody else is never replaced."""
    folder = RunFolder(tmp_path / "run")
    folder.prepare(problem, BOTH, overwrite=False)
    (folder.path / "problem.toml").write_text(problem.to_toml(), encoding="utf-8")
    folder.prepare(problem, BOTH, overwrite=False)
    with pytest.raises(RunFolderError, match="would be replaced"):
        folder.prepare(problem.with_changes(title="another"), BOTH, overwrite=True)


# One process at a time

HOLDER = """
import sys, time
from widelimit.results.folders.runfolder import RunFolder
folder = RunFolder(sys.argv[1])
folder.hold()
print("held", flush=True)
time.sleep(60)
"""


def test_another_process_is_kept_away_until_it_ends(full, problem):
    """Even if it is killed: no lock outlives its process."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(full.path)], stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        before = contents(full)
        with pytest.raises(RunFolderError, match=rf"in use by process {other.pid} on .*, since"):
            full.prepare(problem, BOTH, overwrite=True)
        assert contents(full) == before
        other.kill()
    full.prepare(problem, BOTH, overwrite=False)
    RunFolder(full.path).prepare(problem, BOTH, overwrite=False)  # the same process may again


# Whole or not at all


def fail_in_the_middle(path, *_, **__):
    """What a full disk does: some bytes arrive, then the write ends."""
    path.write_bytes(b"half of it")
    raise OSError(28, "No space left on device")


def full_disk(folder, name, *_):
    """Writing a result where there is no room for it."""
    folder._write(name, fail_in_the_middle)


@pytest.mark.parametrize("name", ["limit.nc", "problem.toml", "states.nc", "provenance.json"])
def test_a_failed_write_leaves_the_old_file(full, limit, monkeypatch, name):
    before, write = contents(full), RunFolder._write

    def failing(folder, file, action):
        write(folder, file, fail_in_the_middle if file == name else action)

    monkeypatch.setattr(RunFolder, "_write", failing)
    with pytest.raises(RunFolderError, match="cannot be written: No space left"):
        full.save(limit, 99.0)
    assert names(full) == sorted(before)
    assert contents(full)[name] == before[name]
    monkeypatch.undo()
    assert_same_dataset(full.load("limit").dataset, limit.dataset)


@pytest.mark.parametrize("step", ["os.fsync", "os.replace"])
def test_a_failure_before_the_rename_is_done_leaves_the_old_file(full, limit, monkeypatch, step):
    before = contents(full)

    def broken(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(f"widelimit.results.folders.files.{step}", broken)
    with pytest.raises(RunFolderError, match="Input/output"):
        full.save(limit, 99.0)
    assert contents(full) == before


def test_a_first_write_that_fails_leaves_nothing(tmp_path, limit, problem, monkeypatch):
    folder = RunFolder(tmp_path / "new")
    folder.prepare(problem, ("limit",), overwrite=False)
    monkeypatch.setattr(RunFolder, "_write_netcdf", full_disk)
    with pytest.raises(RunFolderError, match="No space left"):
        folder.save(limit, 1.0)
    assert not folder.has("limit")
    assert [name for name in names(folder) if name.endswith(".tmp")] == []


def test_old_temporary_files_are_swept_and_fresh_ones_left(full, problem):
    old, fresh = full.path / ".limit.nc.a.tmp", full.path / ".limit.nc.b.tmp"
    for path in (old, fresh):
        path.write_bytes(b"half")
    yesterday = time.time() - 86_400
    os.utime(old, (yesterday, yesterday))
    full.prepare(problem, BOTH, overwrite=False)
    assert not old.exists()
    assert fresh.exists()


def test_what_a_killed_process_left_is_swept_after_a_minute(full, problem):
    """Not what a living one may still write, nor what is so young that another machine may."""
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], stdout=-1)
    age = {"dead": 120, "young": 10, "living": 120}
    pids = {"dead": int(dead.stdout), "young": int(dead.stdout), "living": os.getpid()}
    paths = {name: full.path / f".limit.nc.{name}.{pid}.tmp" for name, pid in pids.items()}
    for name, path in paths.items():
        path.write_bytes(b"half")
        then = time.time() - age[name]
        os.utime(path, (then, then))
    full.prepare(problem, BOTH, overwrite=False)
    assert {name for name, path in paths.items() if path.exists()} == {"young", "living"}


# Damaged and foreign folders


def spoiled(path):
    whole = path.read_bytes()
    yield b""
    yield b"not netCDF at all"
    yield whole[: len(whole) // 2]


def test_a_damaged_result_is_told_in_a_sentence(full, problem):
    path = full.path / "limit.nc"
    for content in spoiled(path):
        path.write_bytes(content)
        with pytest.raises(RunFolderError, match=r"limit\.nc cannot be read: it is damaged"):
            full.load("limit")
        with pytest.raises(RunFolderError, match=r"limit\.nc cannot be read as a result"):
            full.prepare(problem, BOTH, overwrite=False)
        assert path.read_bytes() == content
    full.prepare(problem, BOTH, overwrite=True)
    assert not path.exists()


def test_somebody_elses_netcdf_is_not_a_result(full, problem):
    path = full.path / "limit.nc"
    path.unlink()
    xr.Dataset({"a": ("x", [1.0])}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(RunFolderError, match="not a result of widelimit"):
        full.load("limit")
    with pytest.raises(RunFolderError, match="cannot be read as a result of widelimit"):
        full.prepare(problem, ("limit",), overwrite=False)


def test_damaged_states_are_told_in_a_sentence(full):
    for content in spoiled(full.path / "states.nc"):
        (full.path / "states.nc").write_bytes(content)
        with pytest.raises(RunFolderError, match=r"states\.nc cannot be read.* delete this file"):
            full.load("networks")
        found = full.load("networks", states=False)
        assert found.dataset.sizes["width"] == 2
        assert list(found.states.children) == []


def test_damaged_provenance_is_told_before_computing(full, problem):
    (full.path / "provenance.json").write_text('{"limit": ', encoding="utf-8")
    with pytest.raises(RunFolderError, match=r"provenance\.json cannot be read"):
        full.prepare(problem, BOTH, overwrite=False)


def test_states_may_be_absent(full):
    (full.path / "states.nc").unlink()
    assert list(full.load("limit").states.children) == []


@pytest.mark.parametrize("kind", BOTH)
def test_what_is_not_there_names_the_command_that_makes_it(tmp_path, kind):
    command = {"limit": "solve", "networks": "train"}[kind]
    with pytest.raises(RunFolderError, match=f"no {kind}.nc; make it with widelimit {command}"):
        RunFolder(tmp_path).load(kind)


def test_a_file_is_no_run_folder(tmp_path, problem):
    (tmp_path / "run").write_text("text", encoding="utf-8")
    with pytest.raises(RunFolderError, match="is not a folder"):
        RunFolder(tmp_path / "run").prepare(problem, BOTH, overwrite=True)
    with pytest.raises(RunFolderError, match=r"has no problem\.toml"):
        RunFolder(tmp_path).problem()


def test_whoever_only_looks_does_not_keep_others_away(tmp_path):
    """`status` has the lock for a moment; a command that starts then waits for that long."""
    looking = FileLock(tmp_path / LOCK, thread_local=False)
    looking.acquire()
    threading.Timer(0.1, looking.release, kwargs={"force": True}).start()
    folder = RunFolder(tmp_path)
    folder.hold()
    assert folder.at_work() is not None
    folder.release()
    assert folder.at_work() is None


def test_a_kill_in_a_first_save_leaves_the_folder_ours(tmp_path):
    """The problem then has the widths trained so far; beside it there is unfinished work."""
    problem = small_problem()
    folder = RunFolder(tmp_path)
    narrow = problem.with_widths([8]).to_toml()
    (tmp_path / "problem.toml").write_text(narrow, encoding="utf-8")
    with pytest.raises(RunFolderError, match="is no result of widelimit"):
        folder.prepare(problem, ("networks",), False)
    (tmp_path / "unfinished" / "networks").mkdir(parents=True)
    folder.prepare(problem, ("networks",), False)
