"""Pages that go from a question to an answer: their code and their commands, as they stand."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from widelimit.command.cli import main

DOCS = Path(__file__).parents[2] / "docs"

BLOCK = re.compile(r"```(python|console|toml)\n(.*?)```", re.DOTALL)


def run(page, folder, capsys):
    """All blocks of a page in their order; what the commands printed."""
    script, printed = "", []
    for kind, text in BLOCK.findall((DOCS / page).read_text(encoding="utf-8")):
        if kind == "toml":
            name = re.match(r"# (\S+)\n", text)
            assert name is not None
            (folder / name[1]).write_text(text, encoding="utf-8")
        if kind == "python":
            script += text
            ran = subprocess.run(
                [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True
            )
            assert ran.returncode == 0, ran.stderr
        for line in text.splitlines() if kind == "console" else ():
            with pytest.raises(SystemExit) as ended:
                main(shlex.split(line.removeprefix("$ widelimit ")))
            assert ended.value.code in (0, 1), line
            printed.append(capsys.readouterr().out)
    return printed


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
def test_a_network_of_torch_is_wide_enough_or_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told, solved, width = run("wide-enough.md", tmp_path, capsys)
    assert "loss at infinite width" in told or "loss: " in told
    assert "measured with networks" in solved
    assert "width " in width


@pytest.mark.slow
def test_learning_rates_transfer_or_not(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    _, told = run("transfer.md", tmp_path, capsys)
    assert "infinite width: η* = " in told
