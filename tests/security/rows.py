"""The rows of the table of vulnerabilities, and which tests show them.

A test says with ``@row``, or with ``@rows`` if it has several, which row it shows, and in a line how. The classes that
the rows stand for are in classes.py; docs/security.md is made from both (see table.py).
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
    """One way in which a row is shown.

    Attributes:
        attack: what the test does, in a line.
        test: where it is: ``path::name``.
    """

    attack: str
    test: str


#: All that has been imported, by the row's number.
SHOWN: defaultdict[int, list[Shown]] = defaultdict(list)


def row(number: int, attack: str) -> Callable[[F], F]:
    """Mark a test as one of a row: ``attack`` is what it does, in a line."""

    def register(function: F) -> F:
        path = Path(function.__code__.co_filename).relative_to(ROOT)
        SHOWN[number].append(Shown(attack, f"{path}::{function.__name__}"))
        return function

    return register


def rows(names: str, *cases: tuple[Any, ...]) -> Callable[[F], F]:
    """Mark a test as that of several rows: parameters for it, and before those of each a row's number and its attack.

    Args:
        names: of the parameters, with commas.
        cases: number, attack, and the parameters' values; the first two name the case.
    """

    def register(function: F) -> F:
        parameters = []
        for number, attack, *values in cases:
            row(number, attack)(function)
            parameters.append(pytest.param(*values, id=f"row {number}: {attack}"))
        marked: F = pytest.mark.parametrize(names, parameters)(function)
        return marked

    return register
