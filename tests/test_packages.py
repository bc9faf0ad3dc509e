"""What is shipped: packages that install on their own, and what checks run before a commit."""

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

import widelimit
from conftest import quick_problem

ROOT = Path(__file__).parents[1]


def test_the_hooks_are_what_make_check_runs():
    (rule,) = re.findall(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text("utf-8"), re.M)
    made = [line.strip().replace("$(BIN)", ".venv/bin") for line in rule.splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text("utf-8")
    assert re.findall(r"entry: (.*)", hooks) == made
    assert len(made) == 3


def test_the_changelog_tells_of_this_version():
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert headings[0] == "Unreleased"
    assert headings[1] == widelimit.__version__


def test_the_version_stands_in_one_place():
    """The citation names none, and the project's metadata take it from the package."""
    for name in ("pyproject.toml", "CITATION.cff"):
        assert not re.search(r"^version\b", (ROOT / name).read_text("utf-8"), re.M)


def done(*call: object, **options) -> str:
    """Standard output of a command that must succeed; Python is the environment's own alone."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    ended = subprocess.run(
        [str(part) for part in call],
        capture_output=True,
        encoding="utf-8",
        env=environment,
        **options,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
def test_packages_are_built_checked_and_installed(tmp_path):
    """Source and wheel from a clean folder; the wheel alone solves a problem and has the demo."""
    done(sys.executable, "-m", "build", "--outdir", tmp_path, ROOT)
    (wheel,), (source,) = tmp_path.glob("*.whl"), tmp_path.glob("*.tar.gz")
    assert wheel.name.startswith(f"widelimit-{widelimit.__version__}-")
    assert source.name == f"widelimit-{widelimit.__version__}.tar.gz"
    done(sys.executable, "-m", "twine", "check", "--strict", wheel, source)
    done(sys.executable, "-m", "check_wheel_contents", wheel)

    venv.create(tmp_path / "own", with_pip=True)
    bin_folder = tmp_path / "own" / ("Scripts" if os.name == "nt" else "bin")
    done(bin_folder / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel)
    command = bin_folder / "widelimit"
    assert done(command, "--version").strip() == widelimit.__version__
    (tmp_path / "problem.toml").write_text(quick_problem().to_toml(), "utf-8")
    done(command, "run", "problem.toml", "-o", "run", cwd=tmp_path)
    assert (tmp_path / "run" / "report.html").is_file()
    demo = "from importlib import resources; import widelimit as w; "
    demo += "print(w.Problem.from_file(resources.files('widelimit.command') / 'demo.toml').title)"
    assert done(bin_folder / "python", "-c", demo, cwd=tmp_path).strip()
