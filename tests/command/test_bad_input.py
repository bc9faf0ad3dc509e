"""Bad input ends with exit 2, a place and a sentence, soon; what is the user's stays as it is."""

import io
import os
import shutil
import subprocess
import sys
import time
import tomllib
import types
import zipfile

import numpy as np
import pytest
import tomli_w
import xarray as xr

from conftest import WIDELIMIT, called
from widelimit.command.cli import _guarded

TABLE = 'source = "table"\ninputs = [-1.0, 1.0]\ntargets = [0.5, -0.5]\n'
GOOD = f"""
[network]
activations = ["tanh"]
[data]
{TABLE}
[training]
horizon = 1.0
[networks]
widths = [8]
seeds = 3
[observe]
times = 3
"""


def with_data(table: str) -> str:
    """The problem with other data."""
    return GOOD.replace(TABLE, table)


CSV = with_data('source = "csv"\npath = "data.csv"\ntargets = ["y"]\n')
NPZ = with_data('source = "npz"\npath = "data.npz"\n')
WIDE = ",".join(f"c{k}" for k in range(20_001))


def changed(old: str, new: str) -> str:
    """The problem with one line changed."""
    assert old in GOOD
    return GOOD.replace(old, new)


WRONG = {
    "a null in the title": ('title = "a\\u0000b"\n' + GOOD, "title: found 'a\\x00b'"),
    "an escape in the title": ('title = "\\u001b[31m"\n' + GOOD, "control characters"),
    "lists 4,000 deep": (changed("[-1.0, 1.0]", "[" * 4000 + "1" + "]" * 4000), "deep"),
    "an integer of 5,000 digits": (changed("= 1.0\n", f"= {'9' * 5000}\n"), "thousands of digits"),
    "an integer of 400 digits": (changed("= 1.0\n", f"= {'9' * 400}\n"), "training.horizon"),
    "a key of 20,000 parts": (".".join("a" * 20_000) + " = 1\n" + GOOD, "20000 parts"),
    "5,000 unknown keys": (
        GOOD + "".join(f"k{n} = 1\n" for n in range(5000)), "… and 4980 more",
    ),
    "100,000 layers": (changed('["tanh"]', str(["tanh"] * 10**5)), "at most 100"),
    "10^6 times": (changed("times = 3", "times = 1000000"), "observe.times: found 1000000"),
    "10^18 times": (changed("times = 3", f"times = {10**18}"), "at most 10,000"),
    "a home of nobody": (CSV.replace("data.csv", "~nosuchuser/x"), "data.path: found no file"),
    "a name of 300 letters": (CSV.replace("data.csv", "x" * 300), "too long"),
    "neurons by the billion": (changed("[8]", f"[{10**9}]"), "networks.widths: one network"),
    "seeds by the billion": (changed("seeds = 3", f"seeds = {10**12}"), "networks.seeds"),
    "10^30 steps": (changed("seeds = 3", "step = 1e-30"), "networks.step: found 1e-30"),
    "a key of 10,000 letters": (f"{'x' * 10_000} = 1\n{GOOD}", "x … x"),
    "the smallest step": (changed("seeds = 3", "step = 5e-324"), "inf steps"),
}  # fmt: skip


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_file_is_told(what, tmp_path, capfd):
    text, said = WRONG[what]
    refused(tmp_path, capfd, text, said)


FILES = {
    "one name for two columns": ("a,y,y\n1,2,3\n", "several columns 'y'"),
    "a number of 400 digits": (f"a,y\n1,{'9' * 400}\n2,3\n", "data row 1"),
    "an escape in a name": ("a\x1b[31m,y\n1,2\n", "'a\\x1b[31m'"),
    "20,001 columns": (f"{WIDE}\n{WIDE}\n", "20001 columns"),
}


@pytest.mark.parametrize("what", FILES)
def test_a_wrong_csv_is_told(what, tmp_path, capfd):
    held, said = FILES[what]
    (tmp_path / "data.csv").write_text(held, encoding="utf-8")
    refused(tmp_path, capfd, CSV, said)


def test_thirty_thousand_labels_are_no_classes(tmp_path, capfd):
    rows = "".join(f"{n},{n}\n" for n in range(30_000))
    (tmp_path / "data.csv").write_text(f"a,y\n{rows}", encoding="utf-8")
    refused(tmp_path, capfd, CSV.replace('["y"]', '["y"]\nclasses = true'), "different labels")


@pytest.mark.parametrize("kind", ["csv", "npz"])
def test_no_rows_are_no_classes(kind, tmp_path, capfd):
    np.savez(tmp_path / "data.npz", inputs=np.zeros((0, 1)), targets=np.zeros(0))
    (tmp_path / "data.csv").write_text("a,y\n", encoding="utf-8")
    text = {"csv": CSV, "npz": NPZ}[kind].replace('path = "', 'classes = true\npath = "')
    refused(tmp_path, capfd, text, "found no rows")


def test_classes_are_as_many_as_memory_bears(tmp_path, capfd, monkeypatch):
    rows = "".join(f"{n},{n % 900}\n" for n in range(30_000))
    (tmp_path / "data.csv").write_text(f"a,y\n{rows}", encoding="utf-8")
    memory = types.SimpleNamespace(total=8 * 10**8, available=8 * 10**8)
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    text = CSV.replace('["y"]', '["y"]\nclasses = true')
    refused(tmp_path, capfd, text, "found 900 different labels in 30000 rows, which take 0.864 GB")


def archive(header: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    """An archive with one array of this header and eight bytes."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", compression) as file:
        size = len(header).to_bytes(2, "little")
        file.writestr("inputs.npy", b"\x93NUMPY\x01\x00" + size + header + bytes(8))
    return held.getvalue()


def announced(*shape: int) -> bytes:
    """A header that announces this shape."""
    return f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape!r}, }}\n".encode()


ARCHIVES = {
    "100 GB": archive(announced(10**11 // 8)),
    "10^30 numbers": archive(announced(10**15, 10**15)),
    "a broken header": archive(b"{'descr': oh no\n"),
    "no header": archive(b""),
    "a compression of its own": archive(announced(1)).replace(
        b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x00\x00\x63\x00"
    ),
    "half of it": archive(announced(1))[:40],
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_a_wrong_archive_is_told(what, tmp_path, capfd):
    (tmp_path / "data.npz").write_bytes(ARCHIVES[what])
    refused(tmp_path, capfd, NPZ, "cannot be read as npz")


def refused(folder, capfd, text: str, said: str) -> None:
    """Exit 2 within 20 seconds (machines are busy), a sentence, no control characters, no run."""
    (folder / "p.toml").write_text(text, encoding="utf-8")
    started = time.monotonic()
    status, out, err = called(capfd, "train", folder / "p.toml", "-o", folder / "run")
    assert (status, out) == (2, "")
    assert said in err
    assert time.monotonic() - started < 20
    assert len(err) < 4000
    assert all(c.isprintable() or c == "\n" for c in err)
    assert not (folder / "run").exists()


def test_ten_thousand_problems_are_no_family(tmp_path, capfd):
    horizons = np.linspace(1, 2, 10**4).tolist()
    text = f"{GOOD}[sweep]\ntraining.horizon = {horizons}\n"
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    status, _, err = called(capfd, "sweep", tmp_path / "p.toml", "-o", tmp_path / "run")
    assert status == 2
    assert "sweep: makes 10000 problems" in err


def test_a_mark_of_byte_order_is_no_mistake(tmp_path, capfd):
    (tmp_path / "p.toml").write_text("\ufeff" + GOOD, encoding="utf-8")
    assert called(capfd, "train", tmp_path / "p.toml", "-o", tmp_path / "run")[0] == 0


def test_a_problem_file_of_the_users_is_not_replaced(tmp_path, capfd, monkeypatch):
    path = tmp_path / "problem.toml"
    path.write_text(f"# mine\n{GOOD}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    status, _, err = called(capfd, "train", "problem.toml", "-o", ".")
    assert status == 2
    assert "would be replaced" in err
    assert path.read_text(encoding="utf-8").startswith("# mine")


def test_a_folder_where_a_result_belongs_is_told(tmp_path, capfd):
    (tmp_path / "p.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "run" / "networks.nc").mkdir(parents=True)
    status, _, err = called(capfd, "train", tmp_path / "p.toml", "-o", tmp_path / "run")
    assert status == 2
    assert "is a folder" in err


@pytest.mark.parametrize(
    "edit", [("training", "horizon", 2.0), ("data", "targets", [[0.7], [-0.5]])]
)
def test_a_problem_edited_by_hand_is_seen(edit, tmp_path, capfd):
    path, run = tmp_path / "p.toml", tmp_path / "run"
    path.write_text(GOOD, encoding="utf-8")
    assert called(capfd, "run", path, "-o", run)[0] in (0, 1)
    held = tomllib.loads((run / "problem.toml").read_text(encoding="utf-8"))
    section, key, value = edit
    assert held[section][key] != value
    held[section][key] = value
    (run / "problem.toml").write_text(tomli_w.dumps(held), encoding="utf-8")
    for command in ("compare", "report"):
        status, _, err = called(capfd, command, run)
        assert status == 2, err
        assert "which has been changed since" in err


# Results that are damaged


def spoiled(name: str, **changes):
    """A netCDF file with some variables or attributes replaced; None takes an attribute away."""

    def spoil(folder):
        with xr.open_dataset(folder / name, engine="h5netcdf") as file:
            found = file.load()
        for key, value in changes.items():
            if value is None:
                del found.attrs[key]
            elif key in found:
                found[key] = found[key] * value
            else:
                found.attrs[key] = value
        found.to_netcdf(folder / name, engine="h5netcdf")

    return spoil


def cut(name: str):
    """Half of a file."""

    def spoil(folder):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return spoil


@pytest.fixture
def run(finished_run, tmp_path):
    """A folder with results, to be damaged."""
    return shutil.copytree(finished_run[0], tmp_path / "run")


DAMAGE = {
    "a risk of NaN": (spoiled("limit.nc", risk=np.nan), "limit.nc"),
    "a risk of infinity": (spoiled("limit.nc", risk=np.inf), "limit.nc"),
    "an output of NaN": (spoiled("networks.nc", output=np.nan), "networks.nc"),
    "no warnings": (spoiled("limit.nc", warnings=None), "limit.nc"),
    "warnings that are none": (spoiled("networks.nc", warnings="{"), "networks.nc"),
    "no count of replicates": (spoiled("limit.nc", replicates=None), "limit.nc"),
    "seconds in words": (spoiled("limit.nc", wall_seconds="é"), "limit.nc"),
    "an unknown rule": (spoiled("limit.nc", rules="none"), "limit.nc"),
    "nodes in words": (spoiled("limit.nc", nodes="many"), "limit.nc"),
    "another kind": (spoiled("networks.nc", kind=[1, 2]), "networks.nc"),
    "other times": (spoiled("networks.nc", time=2.0), "networks.nc"),
    "widths of zero": (spoiled("networks.nc", widths=0), "networks.nc"),
    "half a file": (cut("networks.nc"), "networks.nc"),
}


@pytest.mark.parametrize("command", ["compare", "report"])
@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_result_is_told(what, command, run, capfd):
    spoil, name = DAMAGE[what]
    spoil(run)
    status, out, err = called(capfd, command, run)
    assert (status, out) == (2, "")
    assert f"{name} cannot be read: it is damaged" in err
    assert "delete it and make it again" in err


@pytest.mark.parametrize("variable", ["holdout_risk", "accuracy"])
def test_what_a_problem_has_is_missed(variable, run, capfd):
    path = run / "networks.nc"
    with xr.open_dataset(path, engine="h5netcdf") as file:
        found = file.load()
    found.drop_vars(variable).to_netcdf(path, engine="h5netcdf")
    status, _, err = called(capfd, "report", run)
    assert status == 2
    assert f"{variable} is missing" in err


def test_damaged_states_cost_the_laws_of_weights_alone(run, capfd):
    cut("states.nc")(run)
    assert called(capfd, "compare", run)[0] in (0, 1)
    status, _, err = called(capfd, "report", run)
    assert status == 2
    assert "delete this file alone" in err
    assert "no laws of weights" in err
    (run / "states.nc").unlink()
    assert called(capfd, "compare", run)[0] in (0, 1)
    assert called(capfd, "report", run)[0] == 0


@pytest.mark.parametrize("held", ['{"a": 1}', "[1]", '[{"verdict": "holds"}]', '[{"control": {}}]'])
def test_claims_that_are_none_are_told(held, run, capfd):
    (run / "claims.json").write_text(held, encoding="utf-8")
    status, _, err = called(capfd, "report", run)
    assert status == 2
    assert "claims.json cannot be read: it is damaged" in err


def test_what_was_computed_is_kept_beside_damaged_states(run, capfd):
    (run / "limit.nc").unlink()
    cut("states.nc")(run)
    status, _, err = called(capfd, "solve", run / "problem.toml", "-o", run)
    assert status == 0
    assert "states.nc is replaced, without what it held of the networks" in err
    with xr.open_datatree(run / "states.nc", engine="h5netcdf") as tree:
        assert list(tree.children) == ["limit"]


def test_labels_of_a_table_are_read_back(tmp_path, capfd):
    (tmp_path / "p.toml").write_text(
        GOOD.replace("[0.5, -0.5]", '["a", "b"]\nclasses = true'), encoding="utf-8"
    )
    assert called(capfd, "run", tmp_path / "p.toml", "-o", tmp_path / "run")[0] in (0, 1)


def test_a_folder_that_is_deleted_meanwhile_is_told(tmp_path, capfd, monkeypatch):
    from widelimit.networks.train import train

    def deleting(problem, *, keep, **settings):
        def gone(trained):
            shutil.rmtree(tmp_path / "run")
            keep(trained)

        return train(problem, keep=gone, **settings)

    monkeypatch.setattr("widelimit.networks.train.train", deleting)
    (tmp_path / "p.toml").write_text(GOOD, encoding="utf-8")
    status, _, err = called(capfd, "train", tmp_path / "p.toml", "-o", tmp_path / "run")
    assert status == 2
    assert f"{tmp_path / 'run'} is gone" in err


def test_a_folder_that_is_deleted_under_work_is_told(tmp_path, capfd, monkeypatch):
    """Work is kept before a result is: here every piece of it."""
    from widelimit.networks.train import train

    def deleting(problem, **settings):
        place = tmp_path / "run"
        monkeypatch.setattr("widelimit.basics.store.SHORT", -1.0)
        monkeypatch.setattr("widelimit.basics.store.sweep", lambda _: shutil.rmtree(place))
        return train(problem, **settings)

    monkeypatch.setattr("widelimit.networks.train.train", deleting)
    (tmp_path / "p.toml").write_text(GOOD, encoding="utf-8")
    status, _, err = called(capfd, "train", tmp_path / "p.toml", "-o", tmp_path / "run")
    assert status == 2
    assert "is gone: it was deleted while work was kept there" in err


# Networks of twice the width

MUCH = {
    "widths": ([], f"[{10**9}]", "one network of 2000000000 (2 times 1000000000) takes"),
    "pairs": (["--pairs", 10**12], "[8]", f"pairs: found {10**12}"),
}


@pytest.mark.parametrize("what", MUCH)
def test_a_bias_that_no_machine_measures_is_refused(what, tmp_path, capfd):
    more, widths, said = MUCH[what]
    (tmp_path / "p.toml").write_text(changed("[8]", widths), encoding="utf-8")
    status, out, err = called(capfd, "bias", tmp_path / "p.toml", "-o", tmp_path / "run", *more)
    assert (status, out) == (2, "")
    assert said in err
    assert not (tmp_path / "run").exists()


# Nobody listens


class Closing:
    """A file of a library that fails when it is closed."""

    def __del__(self):
        raise OSError("damaged")


def test_what_libraries_fail_at_in_closing_is_not_told(capfd):
    def call():
        Closing()
        return 0

    assert _guarded(call) == 0
    assert capfd.readouterr() == ("", "")


def quiet(folder, redirected: str, environment: dict | None = None):
    """`widelimit train` with its streams as a shell redirects them; status, standard error."""
    (folder / "p.toml").write_text(f'title = "é ∞"\n{GOOD}', encoding="utf-8")
    call = f'"$0" -c "$1" train p.toml -o run {redirected}'
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", call, sys.executable, WIDELIMIT],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        timeout=300,
    )
    return done


STREAMS = {
    "a full disk": (">/dev/full", "cannot be printed: No space left on device; results are in run"),
    "two full disks": (">/dev/full 2>/dev/full", ""),
    "a closed pipe": ("| sleep 0", "cannot be printed: Broken pipe; results are in run"),
    "two closed pipes": ("2>&1 | sleep 0", ""),
    "no output": (">&-", ""),
    "no streams": (">&- 2>&-", ""),
}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full disk")
@pytest.mark.parametrize(
    "where",
    ["a full disk", "two closed pipes", "no streams"]
    + [
        pytest.param(where, marks=pytest.mark.slow)
        for where in ("two full disks", "a closed pipe", "no output")
    ],
)
def test_results_are_kept_where_nobody_listens(where, tmp_path):
    redirected, said = STREAMS[where]
    done = quiet(tmp_path, redirected)
    assert done.returncode == 0
    assert said in done.stderr
    assert "internal" not in done.stderr
    assert (tmp_path / "run" / "networks.nc").is_file()


def test_an_ascii_terminal_is_written_to(tmp_path):
    ascii_only = {"LANG": "C", "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = quiet(tmp_path, "", ascii_only)
    assert done.returncode == 0
    assert "\\xe9 \\u221e: 1 hidden layer" in done.stderr
    assert "1 width \\xd7 3 seeds" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="the system has no full disk")
def test_help_and_lists_need_no_reader():
    for call in ("papers", "--help"):
        with open("/dev/full", "w", encoding="utf-8") as full:
            done = subprocess.run(
                [sys.executable, "-c", WIDELIMIT, call], stdout=full, stderr=subprocess.PIPE
            )
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), call
