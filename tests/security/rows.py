"""The tests of the rows of the table of vulnerabilities.

``@row`` marks a test of one row, ``@rows`` a test of several, with a line that describes the attack. The descriptions
of the rows are in classes.py. table.py writes docs/security.md from both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest

F = TypeVar("F", bound=Callable[..., Any])

ROOT = Path(__file__).parents[2]


class Shown(NamedTuple):
    """A test of a row.

    Attributes:
        attack: a description of the attack, in one line.
        test: the place of the test: ``path::name``.
    """

    attack: str
    test: str


#: Row number -> its tests, as far as their modules have been imported.
SHOWN: defaultdict[int, list[Shown]] = defaultdict(list)


def row(number: int, attack: str) -> Callable[[F], F]:
    """Mark a test of a row; ``attack`` describes the attack in one line."""

    def register(function: F) -> F:
        path = Path(function.__code__.co_filename).relative_to(ROOT)
        SHOWN[number].append(Shown(attack, f"{path}::{function.__name__}"))
        return function

    return register


def rows(names: str, *cases: tuple[Any, ...]) -> Callable[[F], F]:
    """Mark a parametrized test whose cases belong to rows.

    Args:
        names: the names of the parameters, separated by commas.
        cases: row number, attack, and the values of the parameters.
    """

    def register(function: F) -> F:
        parameters = []
        for number, attack, *values in cases:
            row(number, attack)(function)
            parameters.append(pytest.param(*values, id=f"row {number}: {attack}"))
        marked: F = pytest.mark.parametrize(names, parameters)(function)
        return marked

    return register
