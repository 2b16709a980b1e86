"""The switch between the two builds: WASCLEAN_PURE=1 makes the Python files run where compiled ones lie beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from os.path import join

#: The packages that have compiled modules.
COMPILED = ("dom", "wire", "socket", "aio")


def prefer_sources(package: Iterable[str]) -> None:
    """Let the import system see only the Python files below a package's directories.

    Args:
        package: the package's ``__path__``; it must not have imported anything of its own yet.
    """
    for root in package:
        for folder in (root, *(join(root, package) for package in COMPILED)):
            sys.path_importer_cache[folder] = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))
