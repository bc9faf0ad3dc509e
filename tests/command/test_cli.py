"""The command line as users meet it: files, answers, exit statuses, and silence where it is due."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from conftest import HOSTILE_TITLE, called, command, quick_problem, small_problem, table
from widelimit import Diverged, ProblemError, RunFolder, RunFolderError
from widelimit.command.cli import _guarded

FILES = {
    "limit.nc",
    "networks.nc",
    "states.nc",
    "comparison.json",
    "report.html",
    "problem.toml",
    "provenance.json",
}
HEAD = {"command", "run", "met", "error", "seconds", "warnings"}


@pytest.fixture
def problem_path(tmp_path):
    path = tmp_path / "problem.toml"
    path.write_text(quick_problem(title="quick").to_toml(), encoding="utf-8")
    return path


# A whole run


def test_run_makes_all_files(finished_run):
    folder, done = finished_run
    assert done.returncode == 0
    assert {path.name for path in folder.glob("[!.]*")} == FILES


def test_json_is_one_object_that_agrees_with_the_files(finished_run):
    folder, done = finished_run
    (line,) = done.stdout.splitlines()
    answer = json.loads(line)
    assert set(answer) >= HEAD
    assert (answer["command"], answer["run"], answer["met"]) == ("run", str(folder), True)
    assert answer["seconds"] > 0
    with xr.open_dataset(folder / "limit.nc") as limit:
        assert answer["error"] == limit.attrs["error"]
        assert answer["warnings"] == json.loads(limit.attrs["warnings"])
    comparison = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert answer["exponent"] == comparison["exponent"][-1]
    assert list(answer["rms"].values()) == comparison["rms"][-1]
    assert list(answer["rms"]) == ["4", "8", "16"]


def test_comparison_has_the_keys_of_the_contract(finished_run):
    folder, _ = finished_run
    found = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    assert found["times"] == [0.0, 0.5, 1.0]
    assert found["widths"] == [4, 8, 16]
    for key in ("rms", "rms_se", "spread", "offset", "offset_se"):
        assert [len(row) for row in found[key]] == [3, 3, 3], key
    for fit, reason in zip(found["exponent"], found["exponent_reason"], strict=True):
        assert (fit is None) == (reason is not None)
        if fit is not None:
            assert fit["low"] < fit["value"] < fit["high"]


def test_progress_is_silent_without_a_terminal(finished_run):
    _, done = finished_run
    answer = json.loads(done.stdout)
    notes = [f"note: {sentence}" for sentence in answer["warnings"]]
    heading = f"{HOSTILE_TITLE}: 1 hidden layer (tanh), without biases"
    assert done.stderr.splitlines() == [heading, *notes]


def test_fluctuations_and_a_width_are_predicted(tmp_path, capfd):
    path, run = tmp_path / "p.toml", tmp_path / "run"
    path.write_text(quick_problem(title="quick").to_toml(), encoding="utf-8")
    status, out, _ = called(capfd, "fluctuations", path, "-o", run, "--paths", 3, "--json")
    answer = json.loads(out)
    assert status == 0
    assert set(answer) >= HEAD
    with xr.open_dataset(run / "fluctuations.nc") as found:
        assert found.path.dims == ("width", "sample", "time", "input", "channel")
        assert found.sizes["sample"] == 3
        std = found.output_std.isel(time=-1)
        expected = np.sqrt((std**2).mean(["input", "channel"])).values
    assert list(answer["output_std"].values()) == pytest.approx(expected.tolist())
    status, out, _ = called(capfd, "width", path, "--rms", 0.01)
    assert status == 0
    assert "within 0.01 of the limit at t = 1" in out
    assert called(capfd, "width", path, "--rms", 0.01, "--at", 2)[0] == 2


def test_a_limit_that_is_there_is_not_solved_again(finished_run, capfd):
    folder, done = finished_run
    before = (folder / "limit.nc").stat().st_mtime_ns
    status, out, _ = called(capfd, "solve", folder / "problem.toml", "-o", folder, "--json")
    assert status == 0
    assert (folder / "limit.nc").stat().st_mtime_ns == before
    first, second = json.loads(done.stdout), json.loads(out)
    for key in ("met", "error", "warnings", "nodes", "replicates", "tolerance"):
        assert second[key] == first[key], key


# Every command by itself


def test_four_commands_make_what_run_makes(problem_path, tmp_path, finished_run, capfd):
    whole, _ = finished_run
    folder = tmp_path / "run"
    one_width = quick_problem(networks={"widths": [8], "seeds": 5, "method": "gd", "step": 0.1})
    problem_path.write_text(one_width.to_toml(), encoding="utf-8")
    wanted = [
        (("solve", problem_path, "-o", folder), {"limit.nc", "states.nc"}, "limit"),
        (("train", problem_path, "-o", folder), {"networks.nc"}, "networks"),
        (("compare", folder), {"comparison.json"}, "distance"),
        (("report", folder), {"report.html"}, "report"),
    ]
    made, out, err = {"problem.toml", "provenance.json"}, "", ""
    for arguments, files, heading in wanted:
        status, out, err = called(capfd, *arguments)
        assert status == 0, err
        made |= files
        assert {path.name for path in folder.glob("[!.]*")} == made
        assert out.startswith(heading)
    assert str(folder / "report.html") in out
    assert err == ""
    with xr.open_dataset(folder / "limit.nc") as one, xr.open_dataset(whole / "limit.nc") as other:
        xr.testing.assert_allclose(one, other, rtol=1e-5)
    with (
        xr.open_dataset(folder / "networks.nc") as one,
        xr.open_dataset(whole / "networks.nc") as other,
    ):
        xr.testing.assert_allclose(one, other.sel(width=[8]), rtol=1e-5)


@pytest.mark.parametrize("name", ["compare", "report"])
def test_json_of_the_commands_that_read_a_folder(finished_run, capfd, name):
    folder, _ = finished_run
    status, out, err = called(capfd, name, folder, "--json")
    assert status == 0
    (line,) = out.splitlines()
    answer = json.loads(line)
    assert set(answer) >= HEAD
    assert (answer["command"], answer["run"], answer["met"]) == (name, str(folder), True)
    assert err == ""


# Status 1: not what was asked for


def test_tolerance_not_met_is_kept_and_marked(tmp_path, capfd):
    path, folder = tmp_path / "problem.toml", tmp_path / "run"
    strict = small_problem(
        limit={"tolerance": 1e-9, "max_nodes": 256},
        data=table(points=3, inputs=1),
        observe={"times": 2},
    )
    path.write_text(strict.to_toml(), encoding="utf-8")
    done = command("solve", path, "-o", folder, "--json")
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert answer["met"] is False
    assert answer["error"] > answer["tolerance"] == 1e-9
    with xr.open_dataset(folder / "limit.nc") as limit:
        assert limit.attrs["met"] == 0
        assert limit.attrs["error"] == answer["error"]
    assert called(capfd, "report", folder)[0] == 0
    assert "tolerance NOT met" in (folder / "report.html").read_text(encoding="utf-8")


def test_divergence_keeps_what_was_complete(tmp_path, capfd):
    path, folder = tmp_path / "problem.toml", tmp_path / "run"
    wild = quick_problem(
        network={"activations": ["relu"]},
        training={"horizon": 100.0},
        networks={"widths": [4, 8], "seeds": 1, "method": "gd", "step": 20.0},
    )
    path.write_text(wild.to_toml(), encoding="utf-8")
    status, out, err = called(capfd, "train", path, "-o", folder, "--json")
    assert status == 1
    answer = json.loads(out)
    assert answer["met"] is False
    assert any("diverged" in sentence for sentence in answer["warnings"])
    assert "error: a network of width 4 diverged" in err
    assert "Traceback" not in err


@pytest.fixture
def far_away(finished_run, tmp_path):
    """A run whose networks are off by the same amount at all widths."""
    copy = RunFolder(shutil.copytree(finished_run[0], tmp_path / "far"))
    limit, networks = copy.load("limit"), copy.load("networks")
    moved = networks.dataset.assign(output=networks.dataset["output"] + 5.0)
    copy.save(limit, 1.0)
    copy.save(replace(networks, dataset=moved), 1.0)
    return copy.path


def test_networks_that_do_not_close_in_end_with_status_1(far_away, capfd):
    status, out, err = called(capfd, "compare", far_away, "--json")
    answer = json.loads(out)
    assert (status, answer["met"], answer["closes"]) == (1, False, False)
    assert answer["closes_reason"] in answer["warnings"]
    assert f"note: {answer['closes_reason']}" in err
    saved = json.loads((far_away / "comparison.json").read_text(encoding="utf-8"))
    assert saved["closes"] is False
    assert saved["closes_reason"] == answer["closes_reason"]
    status, out, _ = called(capfd, "compare", far_away)
    assert status == 1
    assert "NOT closing: networks do not close in on the limit" in out


def test_networks_that_ran_away_end_with_status_1(tmp_path, capfd):
    """Readouts alone learn, too fast: finite numbers, and no result."""
    path, folder = tmp_path / "problem.toml", tmp_path / "run"
    fast = quick_problem(
        training={"horizon": 400.0, "learning_rates": {"input": 0.0}},
        networks={"widths": [8], "seeds": 1, "method": "gd", "step": 20.0},
    )
    path.write_text(fast.to_toml(), encoding="utf-8")
    status, out, err = called(capfd, "train", path, "-o", folder)
    assert status == 1
    assert "note: networks have run away: of width 8" in err
    assert "networks  1 width × 1 seed, gd" in out
    assert "(one seed)" in out
    assert "± 0" not in out


def test_one_seed_has_no_errors(tmp_path, capfd):
    path, folder = tmp_path / "problem.toml", tmp_path / "run"
    alone = quick_problem(networks={"widths": [8], "seeds": 1, "method": "gd", "step": 0.1})
    path.write_text(alone.to_toml(), encoding="utf-8")
    status, out, _ = called(capfd, "run", path, "-o", folder)
    assert status == 0
    assert "error not known" in out
    page = (folder / "report.html").read_text(encoding="utf-8")
    for text in (out, page):
        assert not re.search(r"nan\b", text)
    assert "networks, one seed of each width" in page
    assert "one seed: no error bars" in page
    assert "standard deviation" not in page


# Status 2: a wrong file or call; nothing is written


def assert_refused(capfd, folder, *arguments):
    status, out, err = called(capfd, *arguments)
    assert status == 2
    assert out == ""
    assert "Traceback" not in err
    assert not Path(folder).exists()
    return err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("solve", "P"), "--output"),
        (("solve", "-o", "R"), "problem"),
        (("run", "P", "-o", "R", "--fast"), "--fast"),
        (("run", "P", "more", "-o", "R"), "more"),
        (("slove", "P", "-o", "R"), "slove"),
        (("report",), "run"),
    ],
)
def test_wrong_calls_are_explained_on_standard_error(
    problem_path, tmp_path, capfd, arguments, said
):
    folder = tmp_path / "run"
    names = {"P": problem_path, "R": folder}
    err = assert_refused(capfd, folder, *(names.get(a, a) for a in arguments))
    assert said in err.lower()


@pytest.mark.parametrize("name", ["solve", "train", "run"])
def test_a_wrong_file_writes_nothing(tmp_path, capfd, name):
    path, folder = tmp_path / "wrong.toml", tmp_path / "run"
    path.write_text("[network]\nactivations = ['tanhh']\n[training]\nhorizn = 1\n", "utf-8")
    err = assert_refused(capfd, folder, name, path, "-o", folder)
    for words in ("4 mistakes", "network.activations[0]: found 'tanhh'", "did you mean 'horizon'"):
        assert words in err


def test_a_wrong_file_in_a_process_of_its_own(tmp_path):
    done = command("solve", tmp_path / "absent.toml", "-o", tmp_path / "run")
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"error: {tmp_path / 'absent.toml'}: 1 mistake\n"
        "  cannot be read: No such file or directory\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["train", "run"])
def test_training_needs_networks(tmp_path, capfd, name):
    path, folder = tmp_path / "problem.toml", tmp_path / "run"
    path.write_text(quick_problem(networks=None).to_toml(), encoding="utf-8")
    err = assert_refused(capfd, folder, name, path, "-o", folder)
    assert "networks: is missing; give at least networks.widths" in err


@pytest.mark.parametrize("name", ["compare", "report"])
def test_a_folder_that_is_none(tmp_path, capfd, name):
    err = assert_refused(capfd, tmp_path / "none", name, tmp_path / "none")
    assert "has no limit.nc" in err


def test_results_of_another_problem_are_refused(finished_run, tmp_path, capfd):
    folder, _ = finished_run
    path = tmp_path / "other.toml"
    path.write_text(quick_problem(seed=5).to_toml(), encoding="utf-8")
    before = {p.name: p.read_bytes() for p in folder.glob("[!.]*")}
    status, out, err = called(capfd, "run", path, "-o", folder)
    assert (status, out) == (2, "")
    assert "holds results of another problem" in err
    assert "--overwrite" in err
    assert {p.name: p.read_bytes() for p in folder.glob("[!.]*")} == before


@pytest.mark.parametrize("name", ["compare", "report", "solve"])
def test_a_damaged_limit_is_a_sentence(problem_path, tmp_path, capfd, name):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "limit.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + b"damage" * 50)
    (folder / "problem.toml").write_bytes(problem_path.read_bytes())
    arguments = (problem_path, "-o", folder) if name == "solve" else (folder,)
    status, out, err = called(capfd, name, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith(f"error: {folder / 'limit.nc'} cannot be read")
    assert len(err.splitlines()) == 1


# Statuses of what goes wrong inside


def raising(error):
    def call():
        raise error

    return call


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (ProblemError(["training.horizon: is missing"], "a.toml"), 2, "error: a.toml: 1 mistake"),
        (RunFolderError("no limit here"), 2, "error: no limit here"),
        (Diverged("the limit", 0.5, "a cause"), 1, "error: the limit diverged at about t = 0.5"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
    ids=lambda v: type(v).__name__,
)
def test_failures_are_sentences_and_statuses(capfd, error, status, said):
    assert _guarded(raising(error)) == status
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert "Traceback" not in err


def test_an_internal_error_names_its_log(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert _guarded(raising(ZeroDivisionError("a bug"))) == 3
    out, err = capfd.readouterr()
    assert out == ""
    assert "internal error: ZeroDivisionError: a bug" in err
    assert "Traceback" not in err
    (log,) = tmp_path.glob("widelimit-*.log")
    assert str(log) in err
    text = log.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in text
    assert "in call" in text


def test_the_status_of_a_command_is_passed_on():
    assert [_guarded(lambda k=k: k) for k in (0, 1, None)] == [0, 1, 0]


# Papers


def _two_claims(effort):
    """One claim that holds and one that does not, both with controls that fail."""
    from widelimit.papers.claims import Claim, Measured

    def claim(name, value):
        return Claim(
            name,
            "<b>words</b>",
            "Theorem 1",
            1.0,
            0.0,
            lambda: Measured(value, 0.01),
            "halved",
            lambda: Measured(0.5, 0.01),
        )

    return [claim("right", 1.0), claim("wrong", 1.5)]


def test_papers_are_listed(capfd):
    status, out, _ = called(capfd, "papers")
    assert status == 0
    assert out.startswith("one-hidden-layer")
    _, out, _ = called(capfd, "papers", "--json")
    assert "one-hidden-layer" in json.loads(out)


def test_reproduce_writes_claims_and_a_report(capfd, tmp_path, monkeypatch):
    monkeypatch.setattr("widelimit.papers.one_hidden_layer.claims.claims", _two_claims)
    status, out, _ = called(capfd, "reproduce", "one-hidden-layer", "-o", tmp_path / "r", "--json")
    answer = json.loads(out)
    assert status == 1  # a claim fails
    assert answer["verdicts"] == {"right": "holds", "wrong": "fails"}
    assert answer["controls"] == {"right": "fails", "wrong": "fails"}
    claims = json.loads((tmp_path / "r" / "claims.json").read_text())
    assert [c["id"] for c in claims] == ["right", "wrong"]
    page = (tmp_path / "r" / "report.html").read_text()
    assert "&lt;b&gt;words" in page
    assert "halved: 0.5 ± 0.033, fails" in page
    about = json.loads((tmp_path / "r" / "provenance.json").read_text())["reproduction"]
    assert about["name"] == "one-hidden-layer"


def test_reproduce_refuses_what_it_does_not_know_or_own(capfd, tmp_path, monkeypatch):
    status, _, said = called(capfd, "reproduce", "one-hiden-layer", "-o", tmp_path / "r")
    assert status == 2
    assert "did you mean 'one-hidden-layer'?" in said
    assert not (tmp_path / "r").exists()
    (tmp_path / "claims.json").write_text("[]")
    monkeypatch.setattr("widelimit.papers.one_hidden_layer.claims.claims", _two_claims)
    status, _, said = called(capfd, "reproduce", "one-hidden-layer", "-o", tmp_path)
    assert status == 2
    assert "--overwrite" in said
    assert called(capfd, "reproduce", "one-hidden-layer", "-o", tmp_path, "--overwrite")[0] == 1
