"""Files damaged at random: every call ends with a sentence, and soon."""

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FEW, FROM = 16, 40

pytestmark = pytest.mark.filterwarnings("default")  # as users have it: absurd numbers overflow


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("bad_files_are_told")


def test_some_damaged_files_are_told(script, tmp_path, finished_run):
    numbers = range(FROM, FROM + FEW)
    found = [script.ended(n, tmp_path / str(n), finished_run[0]) for n in numbers]
    assert {one.status for one in found} >= {0, 2}
    assert [one for one in found if one.wrong] == [], script.table(found)


@pytest.mark.slow
def test_all_damaged_files_are_told(script, tmp_path):
    right = script.finished(tmp_path)
    found = list(script.results(range(script.CASES), tmp_path, right))
    assert [one for one in found if one.wrong] == [], script.table(found)


def test_what_is_wrong_is_seen(script):
    """The script tells a traceback, a status of ours, a silence about the place, and slowness."""
    well = script.Found(0, "csv", "train", 2, 1.0, "error: p.toml: 1 mistake\n  seed: found -1")
    assert well.wrong == ""
    assert well._replace(status=3).wrong == "status 3"
    assert well._replace(said="Traceback (most recent …)").wrong == "a traceback"
    assert well._replace(said="error: p.toml: 1 mistake\n  it is wrong").wrong == "no place"
    assert well._replace(seconds=61.0).wrong == "61 seconds"
    assert well._replace(said="seed: " * 10_000).wrong != ""
