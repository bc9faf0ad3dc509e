"""The list of public names, and the direction of imports."""

import ast
from pathlib import Path

import widelimit

ROOMS = [  # an import may only point to an earlier room, or inside its own
    "errors", "words", "progress", "mistakes", "activations", "laws", "layers", "embedding",
    "network", "quadrature", "data", "formula", "population", "functionals", "schedules", "losses",
    "rules", "training", "symmetry", "measure", "settings", "problem", "sweeps", "neurons",
    "meanfield", "dynamics", "system", "flow", "langevin", "memory", "linearisation", "influence",
    "lyapunov", "descent", "course", "advice", "integration", "trajectory", "tracers", "refinement",
    "limit", "kernels", "free_energy", "certificate", "validity", "prediction", "fluctuations",
    "networks", "comparison", "bias", "planner", "papers", "runfolder", "report", "parametrisation",
    "compilation", "answer", "stages", "cli",
]  # fmt: skip

FOLDER = Path(widelimit.__file__).parent


def test_public_names():
    assert sorted(widelimit.__all__) == [
        "Bias",
        "Comparison",
        "Diverged",
        "Fluctuations",
        "Given",
        "Layer",
        "Plan",
        "Points",
        "Problem",
        "ProblemError",
        "RunFolder",
        "RunFolderError",
        "Source",
        "Trajectory",
        "WidelimitError",
        "compare",
        "free_energy",
        "measure_bias",
        "optimality_gap",
        "plan_width",
        "predict_fluctuations",
        "predict_validity",
        "render_report",
        "solve",
        "sweep",
        "tangent_kernels",
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


def _asked_of_a_result(node: ast.ImportFrom) -> bool:
    """Results know how to draw themselves and limits what follows from them: inside methods."""
    asked = ("report.pictures", "fluctuations", "validity", "kernels", "free_energy")
    return node.module in [f"widelimit.{room}" for room in asked] and node.col_offset > 0


def test_imports_point_one_way():
    files = [p for p in FOLDER.rglob("*.py") if p != FOLDER / "__init__.py"]
    assert {_room(p) for p in files} == set(ROOMS)
    wrong = [
        f"{path.name} imports {target}"
        for path in files
        for target, node in _imports(path)
        if ROOMS.index(target) > ROOMS.index(_room(path)) and not _asked_of_a_result(node)
    ]
    assert wrong == []


def test_predictions_train_no_networks():
    """Fluctuations come from the limit alone: nothing they reach imports sampled networks."""
    reached, left = set(), ["fluctuations"]
    while left:
        room = left.pop()
        reached.add(room)
        found = {target for target, _ in _imports(FOLDER / f"{room}.py")}
        left += [
            target for target in found - reached
            if (FOLDER / f"{target}.py").is_file()
        ]  # fmt: skip
    assert {"limit", "networks", "descent", "course", "bias"} & reached <= {"limit"}
    assert "influence" in reached


def test_modules_stay_small():
    lines = [len(p.read_text(encoding="utf-8").splitlines()) for p in FOLDER.rglob("*.py")]
    assert max(lines) <= 500
    assert sorted(lines)[len(lines) // 2] <= 200
