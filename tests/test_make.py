"""What `make` and pip need: versions of Python, packages by folder, the kernel of .venv."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from conftest import ROOT

STUDY = ["requirements.txt"]
APP = [*STUDY, "requirements-app.txt"]
SHORT = re.search(r"^SHORT = (.*)", (ROOT / "Makefile").read_text(), re.M)[1].split()
FOLDERS = ["network.py", "mlp.py", "rnns.py", "study", "study/plots", "study/reading"]
NEEDS = dict.fromkeys([*FOLDERS, *SHORT], STUDY)  # what each needs to be installed
NEEDS |= dict.fromkeys(["study/drawing", "app", "app/offline", "experiments"], APP)
NEEDS["study/cluster.py"] = [*STUDY, "requirements-cluster.txt"]
BY_MODULE = importlib.metadata.packages_distributions()
BIN = Path(sys.executable).parent


def run_make(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={k: v for k, v in os.environ.items() if not k.startswith("MAKE")} | environment,
        capture_output=True,
        text=True,
    )


@pytest.fixture
def clone(tmp_path) -> Path:
    """A folder with the Makefile and what it reads."""
    for path in (ROOT / "Makefile", *ROOT.glob("requirements*.txt"), ROOT / "constraints.txt"):
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize("version", ["3.10", "3.15", "4.0"])
def test_make_says_which_python_it_needs(clone, version):
    """A python3 that says it has another version is named in one sentence; nothing is installed."""
    numbers = ", ".join(version.split("."))
    fake = clone / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/sh\n"{sys.executable}" -c "import sys; sys.version_info = ({numbers}, 0); '
        f'sys.executable = \'{fake}\'; exec(sys.argv[1])" "$2"\n'
    )
    fake.chmod(0o755)
    done = run_make(clone, "run", PATH=f"{fake.parent}:{os.environ['PATH']}")
    assert done.returncode != 0 and done.stdout == ""
    said = f"Python 3.11 to 3.14 is needed, and {fake} is Python {version}: name another"
    assert done.stderr.startswith(said) and not (clone / ".venv").exists()


def test_bounds_of_python_are_the_same_everywhere():
    bounds = (ROOT / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11,<3.15"' in bounds
    assert "Python 3.11 to 3.14" in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("precision, minutes", [("bfloat16", "14 to 25"), ("float32", "an hour")])
def test_make_run_says_beforehand_how_long_it_takes(precision, minutes):
    """With no notebook to execute, that is all it does."""
    done = run_make(
        ROOT, "-o", ".venv/study", "run", "SHORT=", f"BIN={BIN}", STUDY_PRECISION=precision
    )
    assert done.returncode == 0, done.stderr
    assert minutes in done.stdout


@pytest.mark.parametrize(
    "target, mode",
    [("run", "renew"), ("long", "renew"), ("record NOTEBOOK=x", "renew"), ("render", "read")],
)
def test_only_trainings_of_its_own_renew_the_record(clone, target, mode):
    """Where the environment says nothing; each notebook says what it would do."""
    python = clone / "bin" / "python"
    python.parent.mkdir()
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    skipped = ("-o", ".venv/study", "-o", ".venv/app")
    execute = "EXECUTE=printenv STUDY_RECORD || echo read; :"
    done = run_make(clone, *skipped, *target.split(), execute, f"BIN={python.parent}")
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line in ("read", "renew")]
    assert set(said) == {mode} and len(said) == len(
        re.findall(r"== \d\d:\d\d \w+\.ipynb", done.stdout)
    )


def test_make_record_asks_for_a_notebook(clone):
    done = run_make(clone, "-o", ".venv/study", "-o", ".venv/app", "record")
    assert done.returncode != 0 and "make record NOTEBOOK=train" in done.stderr


def test_notebooks_run_in_the_kernel_of_the_environment(clone, tmp_path):
    """Not in another kernel called python3, wherever Jupyter is told to look for it."""
    kernel = tmp_path / "elsewhere" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    other = {"argv": ["/bin/false", "{connection_file}"], "display_name": "x", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(other))
    cell = nbformat.v4.new_code_cell("import sys, torch\nprint(sys.prefix)")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "x", "language": "python"}
    nbformat.write(notebook, clone / "tiny.ipynb")
    (clone / "study").symlink_to(ROOT / "study")
    elsewhere = str(kernel.parent.parent)
    done = run_make(
        clone, "-o", ".venv/study", "run", "SHORT=tiny", f"BIN={BIN}",
        JUPYTER_PATH=elsewhere, JUPYTER_DATA_DIR=elsewhere, JUPYTER_PREFER_ENV_PATH="0",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    [cell] = nbformat.read(clone / "tiny.ipynb", as_version=4).cells
    assert cell.outputs[0].text.strip() == sys.prefix


def installed_by(files: list[str]) -> set[str]:
    """The names of the packages in these lists, as pip compares them."""
    lines = "\n".join((ROOT / file).read_text() for file in files)
    return {normal(name) for name in re.findall(r"^[\w.-]+", lines, re.M)}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def packages(source: str) -> set[str]:
    """The packages of other people that a module imports at its top."""
    names = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module.partition(".")[0])
    ours = {path.stem for path in ROOT.iterdir()}
    names -= ours | set(sys.stdlib_module_names)
    return {normal(BY_MODULE[name][0]) for name in names}


@pytest.mark.parametrize("name", NEEDS)
def test_imports_are_in_the_list_of_packages(name):
    if (ROOT / f"{name}.ipynb").exists():
        cells = nbformat.read(ROOT / f"{name}.ipynb", as_version=4).cells
        sources = ["\n".join(cell.source for cell in cells if cell.cell_type == "code")]
    else:
        path = ROOT / name
        modules = [path] if path.is_file() else path.glob("*.py")
        alone = [ROOT / other for other in NEEDS if other != name]
        sources = [module.read_text() for module in modules if module not in alone]
    used = set().union(*map(packages, sources))
    assert used and used <= installed_by(NEEDS[name])


def test_what_make_run_needs_is_little():
    assert len(installed_by(STUDY)) <= 20


def test_every_package_has_an_exact_version():
    files = [path.name for path in ROOT.glob("requirements*.txt")]
    exact = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(), re.M)
    assert installed_by(files) <= set(map(normal, exact))
