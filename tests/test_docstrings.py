"""Examples in docstrings and in the README are run, and give what they say."""

import ast
import doctest
import re
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

import widelimit
from conftest import small_problem

SOURCE = Path(widelimit.__file__).parents[1]
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef


def documented(file: Path) -> list[tuple[str, str]]:
    """Names and docstrings that have examples; read from the text: decorators hide them."""
    nodes = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, DOCUMENTED)]
    found = [(getattr(node, "name", "module"), ast.get_docstring(node) or "") for node in nodes]
    return [(name, text) for name, text in found if ">>>" in text]


EXAMPLES = [
    pytest.param(file, text, id=f"{file.relative_to(SOURCE / 'widelimit')}:{name}")
    for file in sorted(SOURCE.rglob("*.py"))
    for name, text in documented(file)
]


@pytest.mark.parametrize(("file", "text"), EXAMPLES)
def test_examples_give_what_they_say(file, text):
    module = import_module(".".join(file.relative_to(SOURCE).with_suffix("").parts))
    example = doctest.DocTestParser().get_doctest(text, vars(module).copy(), file.stem, None, 0)
    said: list[str] = []
    result = doctest.DocTestRunner().run(example, out=said.append)
    assert result.attempted == text.count(">>>")
    assert result.failed == 0, "".join(said)


def test_no_example_is_passed_over():
    """Those in comments or variables' docstrings would be; nor may one be marked to be skipped."""
    for file in SOURCE.rglob("*.py"):
        text = file.read_text("utf-8")
        assert text.count(">>>") == sum(own.count(">>>") for _, own in documented(file)), file
        assert "doctest:" not in text


def blocks(language: str) -> list[str]:
    """Code of the README in this language."""
    page = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_readme_s_problem_is_right(tmp_path):
    (text,) = blocks("toml")
    (tmp_path / "problem.toml").write_text(text, "utf-8")
    (tmp_path / "measurements.csv").write_text("a,b,y\n0.1,0.3,1\n-0.4,0.2,0\n0.5,0.6,1\n", "utf-8")
    problem = widelimit.Problem.from_file(tmp_path / "problem.toml")
    assert problem.network.depth == 2
    assert problem.dataset.inputs.shape[1] == 2


@pytest.mark.slow
def test_the_readme_s_code_runs(tmp_path, monkeypatch):
    """The same blocks on a smaller problem; coupled neurons start together and stay near."""
    monkeypatch.chdir(tmp_path)
    hidden = {"law": "normal", "mean": 0.5}
    problem = small_problem(
        network={"activations": ["tanh", "tanh"], "initial": {"hidden": hidden}},
        limit={"tolerance": 0.1},
        networks={"widths": [16, 64], "seeds": 3, "method": "gd", "step": 0.1},
    )
    Path("problem.toml").write_text(problem.to_toml(), "utf-8")
    space: dict = {}
    for block in blocks("python"):
        exec(block, space)
    readouts = space["neurons"]["readout"], space["coupled"]["readout"]
    own, other = (values.isel(seed=0, missing_dims="ignore").values for values in readouts)
    assert own[0] == pytest.approx(other[0])
    apart = np.linalg.norm(own[-1] - other[-1])
    assert 0 < apart < 0.2 * np.linalg.norm(own[-1] - other[-1][::-1])
