"""Hash the code that a training run passes through, and compare it with what was imported.

Only the standard library is used, and nothing in it that differs between versions of Python, so
that the hash is the same in each of them.
"""

import ast
import dis
import hashlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType

ROOT = Path(__file__).resolve().parent.parent
# The files that every training run passes through. What else they import only shows or logs.
TRAINING = tuple(
    ROOT / "study" / f"{name}.py"
    for name in ("data", "augmentation", "evaluation", "device", "training")
)
ALWAYS = "*"  # stands for statements in a module that define no name, such as a call


class CodeError(RuntimeError):
    """A network's code cannot be matched to its file; the message says what to do."""


def code_hash(network: type) -> str:
    """Return a hash of the code, as it is on disk, that training ``network`` passes through.

    Raises:
        CodeError: the class is not in a file.
    """
    return hash_of(_file_of(network), network.__name__)


def hash_of(file: Path, name: str) -> str:
    """Return the hash of the network that is called ``name`` in ``file``.

    It covers the files of ``TRAINING`` as a whole; and, in the network's own file and in the files
    of this repository that it imports, the class and every definition that it mentions, directly or
    through others. Comments and docstrings do not count.
    """
    training = [[_dump(part) for part in _bare(path).body] for path in TRAINING]
    dumps = {one: sorted(map(_dump, parts)) for one, parts in sorted(mentioned(file, name).items())}
    return hashlib.sha256(repr((training, dumps)).encode()).hexdigest()[:12]


def mentioned(file: Path, name: str) -> dict[str, list[ast.stmt]]:
    """Return ``name`` and all names that its definition leads to, each with its definitions.

    A name stands for every definition of it in any of the files. Strings count as names, since
    ``getattr`` takes them.

    Args:
        file: where ``name`` is defined.
        name: of a class or a function.
    """
    known: dict[str, list[ast.stmt]] = {}
    for path in _with_imports(file):
        for statement in _bare(path).body:
            for defined, part in _definitions(statement):
                known.setdefault(defined, []).append(part)
    reached, waiting = {}, [name, ALWAYS]
    while waiting:
        current = waiting.pop()
        if current in known and current not in reached:
            reached[current] = known[current]
            for node in (node for part in known[current] for node in ast.walk(part)):
                names = (getattr(node, key, None) for key in ("id", "attr", "name", "value"))
                waiting += [one for one in names if isinstance(one, str)]
    return reached


def check_imported(network: type) -> None:
    """Compare what was imported with the files, where training ``network`` passes through.

    Raises:
        CodeError: the class is not in a file; a file was edited after it was imported; or something
            was changed in memory, for instance by assigning a method in a notebook.
    """
    file = _file_of(network)
    names = mentioned(file, network.__name__)
    files = dict.fromkeys(_with_imports(file), names) | dict.fromkeys(TRAINING)
    for module in list(sys.modules.values()):
        path = _path_of(module)
        if path not in files:
            continue
        tree, wanted = _bare(path), files[path]
        body = [s for s in tree.body if wanted is None or wanted.keys() & dict(_definitions(s))]
        functions = _functions(compile(path.read_bytes(), path, "exec"))
        if name := _difference(body, module, functions):
            raise CodeError(
                f"{name} in memory is not what {path.name} says. If the file was edited, restart "
                "the kernel; if it was changed in a notebook, put the change into the file."
            )
    if getattr(sys.modules[network.__module__], network.__name__, None) is not network:
        raise CodeError(
            f"{file.name} has been imported again since, or {network.__name__} is not at its top "
            "level: restart the kernel, or move the class."
        )


def _file_of(network: type) -> Path:
    path = _path_of(sys.modules.get(network.__module__))
    if path is None or network.__module__ == "__main__":
        raise CodeError(
            f"{network.__name__} was defined in a notebook or a script: put it in a file of its "
            "own and import it from there, as the processes that train it do."
        )
    return path


def _path_of(module: ModuleType | None) -> Path | None:
    file = getattr(module, "__file__", None)
    return _resolved(file) if file and file.endswith(".py") else None


@cache  # for each of some thousand modules, the file system is asked once
def _resolved(file: str) -> Path:
    return Path(file).resolve()


def _with_imports(file: Path) -> list[Path]:
    """Return ``file`` and every file of this repository, or beside it, that it leads to."""
    found, waiting = [], [file]
    while waiting:
        path = waiting.pop()
        if path.is_file() and path not in found:
            found.append(path)
            waiting += _imports(path, (ROOT, file.parent))
    return found


def _imports(path: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """Return where the modules that a file imports would be, and the packages around them."""
    for node in ast.walk(_bare(path)):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        origin = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        level = getattr(node, "level", 0)
        for folder in [path.parents[level - 1]] if level else roots:
            for alias in node.names:  # of "from a import b", b may be a module
                parts = f"{origin}{alias.name}".strip(".").split(".")
                for depth in range(1, len(parts) + 1):
                    base = folder.joinpath(*parts[:depth])
                    yield from (base.with_name(f"{base.name}.py"), base / "__init__.py")


def _bare(path: Path) -> ast.Module:
    """Return a module's syntax tree without docstrings."""
    return _parsed(path, path.read_bytes())


@lru_cache(maxsize=100)  # a search asks for the same files repeatedly; an edit is another text
def _parsed(path: Path, text: bytes) -> ast.Module:
    tree = ast.parse(text, path)
    for node in ast.walk(tree):
        is_documented = isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        if is_documented and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.copy_location(ast.Pass(), node.body[0])]
    return tree


def _definitions(statement: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """Return the names that a statement of a module defines, each with what defines it."""
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            yield alias.asname or alias.name.partition(".")[0], ast.Import([alias])
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            one = ast.ImportFrom(statement.module, [alias], statement.level)
            yield alias.asname or alias.name, one
    elif isinstance(statement, ast.FunctionDef | ast.ClassDef):
        yield statement.name, statement
    elif isinstance(statement, ast.Assign | ast.AnnAssign):
        for name in _stored(statement) or [ALWAYS]:  # as of "table[0] = 1"
            yield name, statement
    elif not isinstance(statement, ast.Pass):
        yield ALWAYS, statement


def _stored(statement: ast.stmt) -> list[str]:
    """Return the names that a statement, or what is nested in it, sets."""
    names = (node for node in ast.walk(statement) if isinstance(node, ast.Name))
    return [node.id for node in names if isinstance(node.ctx, ast.Store)]


def _dump(node) -> str:
    """Write a syntax tree as text, the same in every version of Python (ast.dump is not)."""
    if isinstance(node, ast.AST):
        fields = [f"{k}={_dump(v)}" for k, v in ast.iter_fields(node) if v not in (None, [])]
        return f"{type(node).__name__}({', '.join(fields)})"
    if isinstance(node, list):
        return f"[{', '.join(map(_dump, node))}]"
    return repr(node)


def _functions(code: CodeType) -> dict[str, list[CodeType]]:
    """Return the code of each function of a module, by its qualified name."""
    found: dict[str, list[CodeType]] = {}
    waiting = [code]
    while waiting:
        nested = [one for one in waiting.pop().co_consts if isinstance(one, CodeType)]
        waiting += nested
        for one in nested:
            found.setdefault(one.co_qualname, []).append(one)
    return found


def _difference(body: list[ast.stmt], owner, functions: dict[str, list[CodeType]]) -> str | None:
    """Return the first name that a module or class in memory does not have as ``body`` says."""
    here = vars(owner)
    fields = here.get("__dataclass_fields__", {})  # a dataclass may move its defaults there
    here = {name: field.default for name, field in fields.items()} | here
    stored = Counter(name for statement in body for name in _stored(statement))
    for statement in body:
        for name, _ in _definitions(statement):
            value = here.get(name)
            if isinstance(statement, ast.ClassDef) and isinstance(value, type):
                if inner := _difference(statement.body, value, functions):
                    return f"{name}.{inner}"
            elif isinstance(statement, ast.FunctionDef):
                if not _is_function(value, statement, functions.get(_qualified(owner, name), [])):
                    return name
            elif name not in here or stored[name] > 1 or _is_member(value, owner):
                continue  # also set elsewhere
            elif value != _constants(statement).get(name, value):
                return name
    if any(base.__module__.startswith("torch.") for base in getattr(owner, "__mro__", ())):
        told = {name for statement in body for name, _ in _definitions(statement)}
        return next((n for n in here if n not in told and isinstance(here[n], FunctionType)), None)
    return None


def _qualified(owner: ModuleType | type, name: str) -> str:
    return f"{owner.__qualname__}.{name}" if isinstance(owner, type) else name


def _is_member(value, owner: ModuleType | type) -> bool:
    """Return whether a value is a member of the enumeration in which it stands."""
    return isinstance(owner, type) and isinstance(value, owner)


def _is_function(value, statement: ast.FunctionDef, codes: list[CodeType]) -> bool:
    """Return whether a function in memory, without its decorators, is as the file says."""
    function = inspect.unwrap(getattr(value, "fget", None) or getattr(value, "func", value))
    if not isinstance(function, FunctionType):  # missing, or what a decorator made of it
        return value is not None and not isinstance(function, BuiltinFunctionType)
    if any(_steps(function.__code__) == _steps(code) for code in codes):
        told, named = statement.args, function.__kwdefaults__ or {}
        if len(told.defaults) != len(function.__defaults__ or ()):
            return False
        pairs = [*zip(told.defaults, function.__defaults__ or (), strict=True)]
        pairs += [
            (node, named.get(one.arg))
            for one, node in zip(told.kwonlyargs, told.kw_defaults, strict=True)
            if node is not None
        ]
        return all(_literal(node, default) == default for node, default in pairs)
    # A decorator may hide the function that it was given.
    return bool(statement.decorator_list) and function.__module__ != "__main__"


def _literal(node: ast.expr, otherwise):
    """Return the value of a literal; ``otherwise`` where it has to be computed."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError):
        return otherwise


def _steps(code: CodeType) -> list:
    """Return the instructions of a function, wherever in a file it stands."""
    return [
        (one.opname, _steps(one.argval) if isinstance(one.argval, CodeType) else one.argval)
        for one in dis.get_instructions(code)
        if one.opname != "NOP"  # of a docstring
    ]


def _constants(statement: ast.stmt) -> dict[str, object]:
    """Return the numbers and texts that a statement such as ``a, b = 1, 2`` assigns, by name."""
    value = _literal(statement.value, None) if hasattr(statement, "value") else None
    target = statement.targets[0] if isinstance(statement, ast.Assign) else None
    target = statement.target if isinstance(statement, ast.AnnAssign) else target
    pairs = [(target, value)]
    if isinstance(target, ast.Tuple) and isinstance(value, tuple):
        starred = any(isinstance(one, ast.Starred) for one in target.elts)
        pairs = [] if starred else zip(target.elts, value, strict=False)
    plain = (int, float, str, tuple)  # what is filled later, such as a list, may differ
    return {t.id: v for t, v in pairs if isinstance(t, ast.Name) and isinstance(v, plain)}
