"""The list of public names, and the direction of imports."""

import ast
from pathlib import Path

import widelimit

ROOMS = [  # an import may only point to an earlier room, or inside its own
    "errors", "progress", "activations", "laws", "embedding", "network", "quadrature", "data",
    "formula", "population", "schedules", "training", "mistakes", "problem", "neurons",
    "meanfield", "system", "flow", "descent", "advice", "memory", "integration", "trajectory",
    "tracers", "refinement", "limit", "networks", "comparison", "papers", "runfolder", "report",
    "compilation", "cli",
]  # fmt: skip

FOLDER = Path(widelimit.__file__).parent


def test_public_names():
    assert sorted(widelimit.__all__) == [
        "Comparison",
        "Diverged",
        "Problem",
        "ProblemError",
        "RunFolder",
        "RunFolderError",
        "Trajectory",
        "WidelimitError",
        "compare",
        "render_report",
        "solve",
        "train",
    ]
    assert dir(widelimit) == sorted(widelimit.__all__)
    for name in widelimit.__all__:
        assert getattr(widelimit, name).__doc__


def _room(path: Path) -> str:
    return path.relative_to(FOLDER).parts[0].removesuffix(".py")


def _imports(path: Path):
    """Rooms imported by a file, outside blocks for type checkers only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and id(node) not in typing_only:
            parts = (node.module or "").split(".")
            if parts[0] == "widelimit" and len(parts) > 1:
                yield parts[1], node


def _drawn_lazily(path: Path, node: ast.ImportFrom) -> bool:
    """Results know how to draw themselves: their `plot` methods reach for the pictures."""
    return node.module == "widelimit.report.pictures" and node.col_offset > 0


def test_imports_point_one_way():
    files = [p for p in FOLDER.rglob("*.py") if p != FOLDER / "__init__.py"]
    assert {_room(p) for p in files} == set(ROOMS)
    wrong = [
        f"{path.name} imports {target}"
        for path in files
        for target, node in _imports(path)
        if ROOMS.index(target) > ROOMS.index(_room(path)) and not _drawn_lazily(path, node)
    ]
    assert wrong == []


def test_modules_stay_small():
    lines = [len(p.read_text(encoding="utf-8").splitlines()) for p in FOLDER.rglob("*.py")]
    assert max(lines) <= 500
    assert sorted(lines)[len(lines) // 2] <= 200
