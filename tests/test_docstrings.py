"""Every example in a docstring is run, and gives what it says."""

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest

import widelimit

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
