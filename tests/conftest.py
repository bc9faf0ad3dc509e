"""Shared by all tests: small problems, and folders with results of one small run."""

import gc
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from widelimit.command.compilation import keep_compiled

# The suite mostly traces and compiles. XLA's older emitters compile a third faster, and code in one
# piece a sixteenth; unknown flags end the process, so these are for the versions that are known to
# have them. Without optimisation it is again a third less, but what runs long runs longer: not for
# slow tests. Workers inherit the flags.
if "PYTEST_XDIST_WORKER" not in os.environ:
    flags = [os.environ.get("XLA_FLAGS", "")]
    if version("jaxlib").startswith("0.10."):
        flags += [
            "--xla_cpu_use_fusion_emitters=false",
            "--xla_cpu_parallel_codegen_split_count=1",
        ]
    if "slow" not in sys.argv:
        flags.append("--xla_backend_optimization_level=0")
    os.environ["XLA_FLAGS"] = " ".join(flags)

# Tracing makes very many small objects that live long: looking through them as often as Python does
# by default takes a fifteenth of the time.
gc.set_threshold(50_000, 20, 100)

# Workers, commands and later runs share compiled code: most of the suite's time is compiling.
COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(COMPILED)
keep_compiled()  # for commands; here a plugin has imported JAX before
jax.config.update("jax_compilation_cache_dir", str(COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

from widelimit import Problem  # noqa: E402
from widelimit.basics import store  # noqa: E402
from widelimit.basics.compiled import make_room  # noqa: E402
from widelimit.basics.store import Entry  # noqa: E402
from widelimit.command.cli import main  # noqa: E402
from widelimit.motion import flow  # noqa: E402
from widelimit.networks import course  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "allow")


@pytest.fixture(autouse=True)
def _room_for_compiled_code():
    """Forget compiled code before there is too much of it: it is on disk."""
    yield
    make_room()


def table(points: int = 8, inputs: int = 2, seed: int = 0) -> dict:
    """A smooth regression problem as a data section."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(points, inputs))
    y = np.sin(x[:, 0]) + 0.5 * np.cos(2 * x[:, -1])
    return {"source": "table", "inputs": x.tolist(), "targets": y.tolist()}


def small_problem(depth: int = 1, **sections) -> Problem:
    """A problem that solves in a second; sections given as keyword arguments replace parts."""
    raw = {
        "network": {"activations": ["tanh"] * depth},
        "data": table(),
        "training": {"horizon": 1.0},
        "observe": {"times": 3},
        "networks": {"widths": [8, 16, 32], "seeds": 5},
    }
    return Problem.from_dict({**raw, **sections})


@pytest.fixture
def problem_file(tmp_path):
    """A problem file on disk that `run` finishes in seconds."""
    path = tmp_path / "problem.toml"
    path.write_text(small_problem(depth=2).to_toml(), encoding="utf-8")
    return path


WIDELIMIT = "from widelimit.command.cli import main; main()"


def command(*arguments, **options) -> subprocess.CompletedProcess:
    """`widelimit` with these arguments in a process of its own, compiled like the suite."""
    return subprocess.run(
        [sys.executable, "-c", WIDELIMIT, *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        **options,
    )


HOSTILE_TITLE = "<script>alert(1)</script>"


def quick_problem(**sections) -> Problem:
    """Three atoms and gradient descent: no quadrature to refine, nothing to draw while training."""
    rng = np.random.default_rng(1)
    inputs = rng.normal(size=(10, 1))
    raw = {
        "title": HOSTILE_TITLE,
        "network": {
            "activations": ["tanh"],
            "initial": {
                "neuron": {
                    "law": "atoms",
                    "points": [[1.0, 0.5, 2.0], [-0.7, 1.2, 0.4], [0.3, -0.8, -1.0]],
                }
            },
        },
        "data": {
            "source": "table",
            "inputs": inputs.tolist(),
            "targets": np.where(inputs > 0, [1.0, 0.0], [0.0, 1.0]).tolist(),
            "holdout": 0.2,
        },
        "training": {"horizon": 1.0},
        "observe": {"times": 3},
        "networks": {"widths": [4, 8, 16], "seeds": 5, "method": "gd", "step": 0.1},
    }
    return Problem.from_dict({**raw, **sections})


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> tuple[Path, subprocess.CompletedProcess]:
    """A run folder made by `widelimit run --json` on the quick problem, and what was said."""
    folder = tmp_path_factory.mktemp("finished")
    file = folder / "problem.toml"
    file.write_text(quick_problem().to_toml(), encoding="utf-8")
    return folder / "run", command("run", file, "-o", folder / "run", "--json")


def called(capfd, *arguments) -> tuple[Any, str, str]:
    """Exit status, standard output and standard error of a call in this process."""
    capfd.readouterr()
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code, *capfd.readouterr()


class BrokenError(Exception):
    """A kill, as far as this process can tell one."""


@pytest.fixture
def always_kept(monkeypatch):
    """Work is kept at every moment, however short, and moments are two steps apart at first."""
    monkeypatch.setattr(store, "PAUSE", -1.0)
    monkeypatch.setattr(store, "SHORT", -1.0)
    monkeypatch.setattr(flow, "STRETCH", 2)
    monkeypatch.setattr(flow, "FEWEST", 2)
    monkeypatch.setattr(course, "FIRST_STEPS", 2)


def broken_off(monkeypatch, work, moments):
    """Break work off when it has been kept so many times; how many times it was kept in all."""
    kept, going, done = [0], Entry.going, Entry.done

    def counted(method):
        def keep(self, *what):
            method(self, *what)
            kept[0] += self.path is not None
            if kept[0] == moments:
                raise BrokenError

        return keep

    with monkeypatch.context() as patched:
        patched.setattr(Entry, "going", counted(going))
        patched.setattr(Entry, "done", counted(done))
        try:
            work()
        except BrokenError:
            return None
    return kept[0]
