"""Commands that are killed (-9) at random: nothing is lost, wrong or half."""

from importlib import import_module, util
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
KILLS = 100


@pytest.mark.slow
def test_a_hundred_kills_lose_nothing(monkeypatch):
    """Every command, and the engines that are installed; results are those of undisturbed runs."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    script = import_module("kills_lose_nothing")
    names = [
        name for name in script.COMMANDS if "dask" not in name or util.find_spec("distributed")
    ]
    assert script.measure(KILLS, names) == []
