"""Reads the source of the package: imports, sizes of classes and files, uses of private names."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src" / "wasclean"

#: The layers, lowest first: folders of the package, and files that stand beside them.
LAYERS = (
    {"pure", "version", "native"},
    {"dom"},
    {"model"},
    {"wire"},
    {"closing"},
    {"opening"},
    {"connection"},
    {"checks", "options", "foreign_names", "arguments"},
    {"socket"},
    {"aio"},
    {"process"},
    {"__init__"},
    {"cli"},
)

#: Attributes of a NamedTuple or an Enum that begin with an underscore only to stay clear of its fields.
_PUBLIC = {"_replace", "_fields", "_asdict", "_make", "_field_defaults"}


@cache
def modules() -> dict[str, ast.Module]:
    """The syntax trees of all files, by their paths below src/wasclean without the suffix."""
    return {
        path.relative_to(SOURCES).with_suffix("").as_posix(): ast.parse(path.read_text())
        for path in sorted(SOURCES.rglob("*.py"))
    }


def layer_of(module: str) -> int:
    """The index in LAYERS of a module."""
    (index,) = (index for index, names in enumerate(LAYERS) if module.partition("/")[0] in names)
    return index


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules of the package that a module imports, anywhere in it and also for type checkers only."""
    package = module.split("/")[:-1]
    found: set[str] = set()
    for node in ast.walk(modules()[module]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "wasclean":
                    found.add(_module("/".join(alias.name.split(".")[1:])))
        elif isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".") if node.module else []
            if node.level:
                base = [*package[: len(package) - node.level + 1], *parts]
            elif parts[:1] == ["wasclean"]:
                base = parts[1:]
            else:
                continue
            found.update(_module("/".join([*base, alias.name]), "/".join(base)) for alias in node.names)
    return frozenset(found - {module})


def _module(*candidates: str) -> str:
    """The first of the candidates that is a module or a package."""
    for name in candidates:
        for module in (name, f"{name}/__init__".lstrip("/")):
            if module in modules():
                return module
    raise AssertionError(f"no module {candidates}")


def cycles() -> list[set[str]]:
    """Sets of modules that import each other, directly or through others of the set."""
    reached: dict[str, set[str]] = {}
    for start in modules():
        seen: set[str] = set()
        todo = list(imports_of(start))
        while todo:
            module = todo.pop()
            if module not in seen:
                seen.add(module)
                todo.extend(imports_of(module))
        reached[start] = seen
    found: list[set[str]] = []
    for module, others in reached.items():
        if module in others and not any(module in cycle for cycle in found):
            found.append({other for other in others if module in reached[other]})
    return found


def _classes() -> Iterator[tuple[str, ast.ClassDef]]:
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield module, node


def _names_of_bases(node: ast.ClassDef) -> list[str]:
    return [ast.unparse(base).rpartition(".")[2] for base in node.bases]


def _own_attributes(node: ast.ClassDef) -> set[str]:
    found: set[str] = set()
    for statement in node.body:
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            if "ClassVar" not in ast.unparse(statement.annotation):
                found.add(statement.target.id)
        elif isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__slots__":
            found.update(
                each.value
                for each in ast.walk(statement.value)
                if isinstance(each, ast.Constant) and isinstance(each.value, str)
            )
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store) and ast.unparse(each.value) == "self":
            found.add(each.attr)
    return found


@cache
def attributes_of_classes() -> dict[str, int]:
    """Return the number of attributes of each class, including those of its bases in this package."""
    own: dict[str, tuple[set[str], set[str]]] = {}  # two classes of one name count as one
    for _, node in _classes():
        bases, attributes = own.setdefault(node.name, (set(), set()))
        bases.update(_names_of_bases(node))
        attributes.update(_own_attributes(node))

    def all_of(name: str, seen: set[str]) -> set[str]:
        bases, attributes = own[name]
        above = (bases & own.keys()) - seen
        return attributes.union(*(all_of(base, {*seen, base}) for base in above))

    return {name: len(all_of(name, {name})) for name in own if not name.endswith("Options")}  # those are TypedDicts


@cache
def methods_of_classes() -> dict[str, int]:
    """Return the number of methods that each class defines; a property counts once."""
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    found: dict[str, int] = defaultdict(int)
    for _, node in _classes():
        names = {statement.name for statement in node.body if isinstance(statement, functions)}
        found[node.name] = max(found[node.name], len(names))
    return dict(found)


@cache
def lines_of_files() -> dict[str, int]:
    """Return the number of lines of each file."""
    return {module: len((SOURCES / f"{module}.py").read_text().splitlines()) for module in modules()}


def _defined(tree: ast.Module) -> set[str]:
    """The private names that a file gives to functions, classes, variables and attributes."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self":
            found.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):  # __slots__
            found.add(node.value)
    return found


def reaches() -> tuple[dict[str, int], dict[str, int]]:
    """Return how often each file uses private names of other objects: of other packages, and of its own package.

    ``x._name`` counts if x is not self, cls or super(). The name is the own package's if a file of it defines one.
    """
    defined: dict[str, set[str]] = defaultdict(set)
    for module, tree in modules().items():
        defined[module.rpartition("/")[0]] |= _defined(tree)
    across: dict[str, int] = defaultdict(int)
    within: dict[str, int] = defaultdict(int)
    for module, tree in modules().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute) or not node.attr.startswith("_") or node.attr.startswith("__"):
                continue
            if node.attr in _PUBLIC or ast.unparse(node.value) in ("self", "cls", "super()"):
                continue
            own = node.attr in defined[module.rpartition("/")[0]]
            (within if own else across)[module] += 1
    return dict(across), dict(within)
