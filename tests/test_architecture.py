"""What the tree promises: imports point one way, folders and pieces stay small, one place each."""

import ast
import os
import re
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

import widelimit
from conftest import small_problem

ROOMS = [  # a room imports only rooms before it, whether at the top, in functions or for types
    "basics",
    "problem",
    "nodes",
    "ensemble",
    "motion",
    "results",
    "runs",
    "networks",
    "limit",
    "around",
    "papers",
    "report",
    "command",
]

FOLDER = Path(widelimit.__file__).parent

UPWARDS = FOLDER / "results" / "questions.py"
"""The one file that may call rooms further down, when a result is asked."""

FILES = [path for path in sorted(FOLDER.rglob("*.py")) if path != FOLDER / "__init__.py"]


def name_of(path: Path) -> str:
    """A module's name inside the library."""
    return ".".join(path.relative_to(FOLDER).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name_of(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """All modules of the library that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("widelimit."):
            module = str(node.module).removeprefix("widelimit.")
            inner = {f"{module}.{alias.name}" for alias in node.names} & set(MODULES)
            found |= inner | ({module} if len(inner) < len(node.names) else set())
    return found


def test_rooms_are_these():
    assert {name.partition(".")[0] for name in MODULES} == set(ROOMS)


def test_imports_point_one_way():
    wrong = [
        f"{name} imports {target}"
        for name, path in MODULES.items()
        for target in imports(path)
        if ROOMS.index(target.partition(".")[0]) > ROOMS.index(name.partition(".")[0])
    ]
    assert wrong == []


def test_modules_do_not_import_each_other_in_a_circle():
    left = {name: imports(path) & set(MODULES) - {name} for name, path in MODULES.items()}
    while free := [name for name, needs in left.items() if not needs & set(left)]:
        left = {name: needs for name, needs in left.items() if name not in free}
    assert left == {}


def test_one_file_alone_imports_by_name():
    """Nothing slips past these tests by importing from a string, but results that are asked."""
    allowed = {UPWARDS, FOLDER / "papers" / "__init__.py"}  # the latter: papers, each a folder
    found = {path for path in FILES if "import_module" in path.read_text(encoding="utf-8")}
    assert found == allowed


def test_predictions_train_no_networks():
    """Fluctuations come from the limit alone: nothing they reach imports sampled networks."""
    reached, left = set(), ["around.fluctuations"]
    while left:
        name = left.pop()
        reached.add(name)
        left += [target for target in imports(MODULES[name]) - reached if target in MODULES]
    assert "around.influence" in reached
    assert not {name for name in reached if name.startswith("networks.")}
    assert "motion.descent" not in reached


def docstring_lines(node: ast.AST) -> int:
    """Lines of all docstrings inside a node."""
    inner = [
        own.body[0]
        for own in ast.walk(node)
        if isinstance(own, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(own)
    ]
    return sum((text.end_lineno or 0) - text.lineno + 1 for text in inner)


@pytest.mark.parametrize(("kind", "most"), [(ast.ClassDef, 150), (ast.FunctionDef, 40)])
def test_classes_and_functions_stay_small(kind, most):
    """Lines without docstrings: what is explained is not what is long."""
    long = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, kind):
                assert isinstance(node, ast.ClassDef | ast.FunctionDef)
                lines = (node.end_lineno or 0) - node.lineno + 1 - docstring_lines(node)
                long += [f"{name}: {node.name}"] if lines > most else []
    assert long == []


def test_modules_stay_small():
    lines = [len(path.read_text(encoding="utf-8").splitlines()) for path in FILES]
    assert max(lines) <= 500
    assert sorted(lines)[len(lines) // 2] <= 200


def test_a_folder_holds_a_dozen():
    folders = {path.parent for path in FILES}
    hidden = ("__init__.py", "__pycache__", "py.typed")
    crowded = [
        folder
        for folder in folders
        if len([entry for entry in folder.iterdir() if entry.name not in hidden]) > 12
    ]
    assert crowded == []


def test_tests_stand_in_rooms():
    """As the modules do; those of the whole tree, and of what is above all rooms, stand outside."""
    here = Path(__file__).parent
    rooms = {path.parent.name for path in here.rglob("test_*.py") if path.parent != here}
    assert rooms <= set(ROOMS)
    assert len(list(here.glob("*.py"))) <= 12


def test_tests_are_half_as_long_as_what_they_test():
    own = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in FILES)
    tests = Path(__file__).parent.rglob("*.py")
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in tests) > own / 2


@pytest.mark.parametrize(
    ("pattern", "homes"),
    [
        (r"diffeqsolve\(", {"motion.flow"}),  # time stepping
        (r"enable_x64\(", {"basics.precision"}),
        (r"SeedSequence\(|default_rng\(", {"basics.streams"}),
        (r"random\.key\(", {"networks.sampled"}),  # networks' keys are promised by the problem file
    ],
)
def test_one_place_for(pattern, homes):
    """Papers' data sets and examples in docstrings are their own."""
    found = {
        name
        for name, path in MODULES.items()
        if not name.startswith("papers.")
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(pattern, line) and ">>>" not in line
    }
    assert found == homes


def test_every_benchmark_is_run():
    """By `python benchmarks`, or on its own if it says so there."""
    folder = Path(__file__).parents[1] / "benchmarks"
    lists = ast.parse((folder / "__main__.py").read_text(encoding="utf-8"))
    alone = {node.value for node in ast.walk(lists) if isinstance(node, ast.Constant)}
    for path in set(folder.glob("*.py")) - {folder / "__main__.py"}:
        inner = ast.parse(path.read_text(encoding="utf-8")).body
        defined = {node.name for node in inner if isinstance(node, ast.FunctionDef)}
        assert path.stem in alone or "measure" in defined, path


def caller_of(frame: FrameType) -> FrameType | None:
    """The nearest function of the library that led to a call."""
    caller = frame.f_back
    while caller is not None and not caller.f_code.co_filename.startswith(f"{FOLDER}{os.sep}"):
        caller = caller.f_back
    return caller


def test_a_solve_climbs_seldom():
    """Functions that a room is handed and calls lead against the order of rooms: at most six do."""
    problem, climbs = small_problem(1), set()
    places = {str(path): ROOMS.index(name.partition(".")[0]) for name, path in MODULES.items()}

    def called(frame: FrameType, event: str, _: object) -> None:
        here = places.get(frame.f_code.co_filename)
        caller = caller_of(frame) if event == "call" and here else None
        if caller and here and here > places.get(caller.f_code.co_filename, here):
            climbs.add((caller.f_code.co_qualname, frame.f_code.co_qualname))

    try:
        threading.setprofile(called)
        sys.setprofile(called)
        widelimit.solve(problem, progress=False)
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    assert 0 < len(climbs) <= 6, climbs
