"""The version is told in two places, and once."""

from __future__ import annotations

import tomllib
from pathlib import Path

import wasclean


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert wasclean.__version__ == project["version"]
