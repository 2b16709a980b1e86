"""The switch between the two builds: with WASCLEAN_PURE=1, Python files are imported rather than compiled modules."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.machinery import SOURCE_SUFFIXES, FileFinder, SourceFileLoader
from os.path import join

#: The packages that have compiled modules.
COMPILED = ("dom", "wire", "closing", "socket", "aio")


def prefer_sources(package: Iterable[str]) -> None:
    """Make the import system ignore compiled modules in a package and in its subpackages COMPILED.

    Args:
        package: the ``__path__`` of the package, which must not have imported any of its own modules yet.
    """
    for root in package:
        for folder in (root, *(join(root, package) for package in COMPILED)):
            sys.path_importer_cache[folder] = FileFinder(folder, (SourceFileLoader, SOURCE_SUFFIXES))
