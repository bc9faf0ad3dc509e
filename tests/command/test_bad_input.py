"""Bad input ends with exit 2, a place and a sentence, soon; what is the user's stays as it is."""

import io
import time
import tomllib
import zipfile

import numpy as np
import pytest
import tomli_w

from conftest import called

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
