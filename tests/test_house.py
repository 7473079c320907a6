"""The house: who imports whom, and how long a function and a module may be.

`make lint` checks the floors inside study/ and app/ (pyproject.toml); the rest is checked here.
"""

from __future__ import annotations

import ast

import nbformat
import pytest

from conftest import ROOT

MODULES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not {".venv", "runs", "tests"} & set(path.relative_to(ROOT).parts)
)
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
OURS = {"network", "rnns", "study", "app", "experiments", "tests"}
OURS |= {path.stem for path in NOTEBOOKS}


def imports(source: str) -> set[str]:
    """The first part of each name that a module imports, wherever it does."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module} if node.level == 0 else set()  # relative: its own package
    return {name.partition(".")[0] for name in names}


def may_import(name: str) -> set[str]:
    """Which of our packages a module may import, by its place."""
    floors = {
        "network.py": set(),
        "mlp.py": {"network"},
        "rnns.py": {"network"},
        "study": {"network", "rnns", "study"},
        "app": {"network", "study", "app"},
        "experiments": {"network", "rnns", "study", "app", "experiments"},
    }
    return floors.get(name.partition("/")[0], {"network", "rnns"})  # a network of your own


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_module_imports_from_floors_below(path):
    ours = imports(path.read_text(encoding="utf-8")) & OURS
    assert ours <= may_import(path.relative_to(ROOT).as_posix())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_imports_networks_study_and_app(path):
    cells = nbformat.read(path, as_version=4).cells
    source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    assert imports(source) & OURS <= {"network", "rnns", "study", "app"}


def test_modules_are_short():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path.name: n for path, n in lines.items() if n > 350} == {}


def lengths(path) -> dict[str, int]:
    """The lines of each function of a module, docstrings excepted."""
    functions = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions[f"{path.stem}.{node.name}"] = node.end_lineno - node.lineno + 1
            if ast.get_docstring(node) is not None:
                docstring = node.body[0]
                functions[f"{path.stem}.{node.name}"] -= docstring.end_lineno - docstring.lineno + 1
    return functions


def test_no_function_is_long():
    every = {name: length for path in MODULES for name, length in lengths(path).items()}
    assert {name: length for name, length in every.items() if length > 50} == {}
