"""Signals end a command with exit 130: the first one soon, the second one at once."""

import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import WIDELIMIT, small_problem

SLOW = """
import signal, time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)  # whatever runs the tests ignores
{before}
from widelimit.command.interrupts import interruptible
print("ready", flush=True)
try:
    with interruptible():
        {work}
except KeyboardInterrupt:
    print("heard", flush=True)
    raise SystemExit(130)
"""

HEARING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""Whatever runs the tests ignores."""


def begun(code: str) -> subprocess.Popen:
    """A process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_heard(number):
    process = begun(SLOW.format(before="", work="time.sleep(60)"))
    process.send_signal(number)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, "heard\n")


def test_what_is_ignored_stays_ignored():
    """As nohup asks for SIGHUP."""
    ignored = "signal.signal(signal.SIGHUP, signal.SIG_IGN)"
    process = begun(SLOW.format(before=ignored, work="time.sleep(1.5)"))
    process.send_signal(signal.SIGHUP)
    out, _ = process.communicate(timeout=20)
    assert (process.returncode, out) == (0, "")


DEAF = """while True:
            try:
                ctypes.CDLL(None).usleep(100_000)
            except KeyboardInterrupt:
                pass"""


def deaf() -> subprocess.Popen:
    """A process that goes on whatever it hears."""
    return begun(SLOW.format(before="import ctypes", work=DEAF))


def test_the_second_signal_ends_what_does_not_hear():
    process = deaf()
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - started < 5
    assert "once more ends at once" in err


def test_patience_ends():
    """Batch systems kill after a while: it ends itself before."""
    process = deaf()
    started = time.monotonic()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - started < 10 + 2  # machines are busy


def test_a_command_is_interrupted_while_it_computes(tmp_path):
    """No traceback, a sentence, and no half file."""
    path = tmp_path / "p.toml"
    problem = small_problem(
        networks={"widths": [512], "seeds": 20, "step": 1e-6}, training={"horizon": 10.0}
    )
    path.write_text(problem.to_toml(), encoding="utf-8")
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            HEARING + WIDELIMIT,
            "train",
            str(path),
            "-o",
            str(tmp_path / "run"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stderr is not None
    assert process.stderr.readline()  # the problem is said before it is computed
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; files that were complete stay" in err
    assert "Traceback" not in err
    assert [p.name for p in (tmp_path / "run").glob("*.nc")] == []
