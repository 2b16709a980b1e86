"""The rows of the fault matrix: what each fault must look like to us, said once for the tests and for the docs.

A test of a row is decorated with ``@row``; it gets the Row, and checks what has happened with ``row.check``. The table
in docs/faults.md is made from all of them (see table.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from wasclean import Cause, CloseEvent


class Sees(NamedTuple):
    """What our close event says; None: it differs between the variants of the row, and the test says how."""

    code: int | None
    clean: bool | None
    initiator: str | None
    cause: str | None
    reason: str | None = ""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        id: its name, such as ``C46``.
        fault: what happens, in words.
        sees: what our close event says; None where there is none, or where the connection lives on.
        peer: what the peer gets to see, in words.
        delivered: what of the messages is delivered, in words.
        within: how long it may take, in words: ``at once``, or the option that bounds it.
    """

    id: str
    fault: str
    sees: Sees | None
    peer: str = ""
    delivered: str = ""
    within: str = "at once"

    def check(self, event: CloseEvent) -> None:
        """The event says what the row says."""
        assert self.sees is not None
        seen = Sees(event.code, event.wasClean, str(event.initiator), str(event.cause), event.reason)
        differs = {
            name: (value, expected)
            for name, value, expected in zip(Sees._fields, seen, self.sees, strict=True)
            if expected is not None and value != expected
        }
        assert not differs, f"{self.id}: {differs} (seen, expected); {event}"
        assert isinstance(event.cause, Cause)
        assert event.explain()


#: All rows whose tests have been imported.
ROWS: dict[str, Row] = {}


def row(
    id: str,
    fault: str,
    sees: Sees | None = None,
    *,
    peer: str = "",
    delivered: str = "",
    within: str = "at once",
) -> Callable[[Callable[..., Any]], Any]:
    """Mark a test as the one of a row: it is named after the row's id, and takes the Row as ``row``."""
    entry = Row(id, fault, sees, peer, delivered, within)
    assert ROWS.setdefault(id, entry) == entry, f"{id} is told in two ways"
    return pytest.mark.parametrize("row", [pytest.param(entry, id=id)])
