"""The compiled build and the Python sources side by side, in one process."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import wasclean

PURE = "pure_wasclean"
PACKAGES = ("dom", "model", "wire", "closing")
SOURCES = Path(wasclean.__file__).parent


class SourceFinder(MetaPathFinder):
    """Imports the modules of PURE from the sources of wasclean, ignoring compiled modules."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, *names = fullname.split(".")
        if package != PURE:
            return None
        place = SOURCES.joinpath(*names)
        if not place.is_dir():
            return spec_from_file_location(fullname, loader=SourceFileLoader(fullname, f"{place}.py"))
        init = SourceFileLoader(fullname, str(place / "__init__.py"))
        return spec_from_file_location(fullname, loader=init, submodule_search_locations=[str(place)])


class Build:
    """The modules of one build."""

    connection: Any
    event: Any
    event_target: Any
    frames: Any
    handshake: Any
    keepalive: Any
    liveness: Any
    messages: Any
    outcome: Any
    receiver: Any
    registry: Any
    sender: Any
    violations: Any

    def __init__(self, package: str) -> None:
        for module in Build.__annotations__:
            folder = next((folder for folder in PACKAGES if (SOURCES / folder / f"{module}.py").exists()), "")
            setattr(self, module, import_module(".".join(filter(None, (package, folder, module)))))


@cache
def both_builds() -> tuple[Build, Build]:
    """Return the modules of the compiled build, and those of the sources.

    Modules that are never compiled are shared by both, and so are their enumerations and exceptions.
    """
    compiled = Build("wasclean")
    sys.modules[PURE] = package = ModuleType(PURE)
    package.__path__ = [str(SOURCES)]
    for folder in PACKAGES:
        for source in (SOURCES / folder).glob("*.py"):
            if source.stem != "__init__" and not source.with_suffix(".pxd").exists():
                sys.modules[f"{PURE}.{folder}.{source.stem}"] = import_module(f"wasclean.{folder}.{source.stem}")
    finder = SourceFinder()
    sys.meta_path.insert(sys.meta_path.index(PathFinder), finder)  # after finders that wrap others, such as coverage's
    try:
        return compiled, Build(PURE)
    finally:
        sys.meta_path.remove(finder)
