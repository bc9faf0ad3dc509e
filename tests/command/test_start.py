"""Starting: the command, its version, and what is imported for it and for a first result."""

import subprocess
import sys
import time
from importlib import metadata
from importlib.util import find_spec

import pytest

import widelimit
from conftest import WIDELIMIT, called, command, quick_problem

HEAVY = {
    "diffrax",
    "equinox",
    "h5py",
    "jax",
    "jinja2",
    "matplotlib",
    "numpy",
    "pandas",
    "pydantic",
    "scipy",
    "sklearn",
    "tqdm",
    "xarray",
}


def imported(code: str, *arguments: object) -> set[str]:
    """Full names of the modules that a fresh process has imported when it has run the code."""
    call = [sys.executable, "-X", "importtime", "-c", code, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, encoding="utf-8", check=True)
    lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
    return {line.split("|")[-1].strip() for line in lines}


def libraries(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_the_installed_script_is_this_command():
    (script,) = metadata.entry_points(group="console_scripts", name="widelimit")
    assert script.value == "widelimit.command.cli:main"


def test_version(capfd):
    status, out, _ = called(capfd, "--version")
    assert status == 0
    assert out.strip() == widelimit.__version__


@pytest.mark.slow
def test_help_comes_at_once():
    """Wall time of an idle machine: the fast suite shares its cores, so it checks imports only."""
    done, took = command("--help"), []
    for _ in range(5):
        started = time.perf_counter()
        command("--help")
        took.append(time.perf_counter() - started)
    assert done.returncode == 0
    for name in ("solve", "train", "compare", "report", "run", "demo"):
        assert name in done.stdout
    assert min(took) < 0.3


@pytest.mark.parametrize("arguments", [["--help"], ["solve", "--help"], ["--version"]])
def test_help_imports_no_heavy_library(arguments):
    found = libraries(imported(WIDELIMIT, *arguments))
    assert "cyclopts" in found
    assert found & HEAVY == set()


def test_importing_the_package_imports_nothing_else():
    """Public names come when they are used; the first one brings its libraries."""
    own = {name for name in imported("import widelimit") if name.startswith("widelimit")}
    assert own == {"widelimit"}
    assert libraries(imported("import widelimit")) & (HEAVY | {"cyclopts"}) == set()
    assert {"jax", "pydantic"} <= libraries(imported("import widelimit; widelimit.Problem"))


def test_solving_imports_what_it_needs(tmp_path):
    """No pictures, pages, statistics' distributions or data sets that nobody asked for."""
    file = tmp_path / "problem.toml"
    file.write_text(quick_problem().to_toml(), encoding="utf-8")
    found = imported(WIDELIMIT, "solve", file, "-o", tmp_path / "run")
    assert (tmp_path / "run" / "limit.nc").is_file()
    assert {"jax", "diffrax", "xarray", "widelimit.limit.solve"} <= found
    unused = {"matplotlib", "jinja2", "sklearn", "scipy.stats", "scipy.integrate"}
    if find_spec("dask"):  # xarray imports it where it is installed, and it imports jinja2
        unused.remove("jinja2")
    assert found & unused == set()
