"""The house's rules, which ARCHITECTURE.md states."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wasclean

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "src" / "wasclean"
CORE = ("dom", "model", "wire", "closing", "opening")


def files_in_print_order() -> list[str]:
    """The files of the tree that ARCHITECTURE.md prints, as paths below src/wasclean without their suffix."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    (tree,) = re.findall(r"```\nsrc/wasclean/\n(.*?)```", text, re.DOTALL)
    files: list[str] = []
    folders: list[str] = []
    for line in tree.splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2 - 1
        del folders[depth:]
        if name.endswith("/"):
            folders.append(name.rstrip("/"))
        else:
            files.append("/".join([*folders, name.removesuffix(".py")]))
    return files


def imports_of(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it, as paths like those of files_in_print_order()."""
    package = path.relative_to(SOURCES).parent.parts
    found: set[str] = set()
    tree = ast.parse(path.read_text())
    for_types = {
        id(child)
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for child in node.body
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or node.level == 0 or id(node) in for_types:
            continue
        base = package[: len(package) - node.level + 1]
        if node.module is not None:
            found.add("/".join([*base, *node.module.split(".")]))
        else:
            found.update("/".join([*base, alias.name]) for alias in node.names)
    return {name if not (SOURCES / name).is_dir() else f"{name}/__init__" for name in found}


def test_the_printed_tree_is_the_real_one() -> None:
    real = {path.relative_to(SOURCES).with_suffix("").as_posix() for path in SOURCES.rglob("*.py")}
    assert set(files_in_print_order()) == real


@pytest.mark.parametrize("name", files_in_print_order())
def test_a_file_imports_only_files_printed_above_it(name: str) -> None:
    order = files_in_print_order()
    above = set(order[: order.index(name)])
    for imported in imports_of(SOURCES / f"{name}.py"):
        package = imported.rpartition("/")[0]
        name_of_package = f"{package}/__init__".lstrip("/")  # where the imported name comes from if it is no module
        assert imported in above or name_of_package in above, f"{name} imports {imported}"


def test_every_hot_module_has_its_pxd_and_no_other_has() -> None:
    setup = (ROOT / "setup.py").read_text()
    hot = set(re.findall(r'"wasclean/(.*?)\.pyx?"', setup))
    native = {"native"}  # C for compiled modules, Python for the others
    assert hot | native == {path.relative_to(SOURCES).with_suffix("").as_posix() for path in SOURCES.rglob("*.pxd")}


def test_the_core_knows_no_sockets_clocks_or_threads() -> None:
    banned = {"asyncio", "socket", "ssl", "threading", "time", "selectors"}
    core = [SOURCES / "connection.py", *(path for package in CORE for path in (SOURCES / package).glob("*.py"))]
    for path in core:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            allowed = {"time"} if path.stem == "events" else set()  # an Event's timeStamp, when its user makes it
            assert not {name.split(".")[0] for name in names} & (banned - allowed), path.name


def test_the_state_is_assigned_on_one_line_of_the_project() -> None:
    lines = [
        line
        for path in SOURCES.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"\bself\.state\s*=[^=]", line)
    ]
    assert [line.strip() for line in lines] == ["self.state = CONNECTING", "self.state = state"]


def test_the_public_names_exist_and_are_sorted() -> None:
    assert list(wasclean.__all__) == sorted(wasclean.__all__)
    for name in wasclean.__all__:
        assert hasattr(wasclean, name)


def test_importing_the_package_loads_neither_zlib_nor_the_command_line() -> None:
    code = "import sys, wasclean; print({'zlib', 'click', 'rich', 'wasclean.cli'} & set(sys.modules))"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output == "set()\n"
