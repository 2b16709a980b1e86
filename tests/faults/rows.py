"""The rows of the fault matrix: the expected close event of each fault, for the tests and for docs/faults.md.

A test of a row is decorated with ``@row``; it gets the Row as an argument, and calls ``row.check()`` with the close
event. table.py writes docs/faults.md from all rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from wasclean import Cause, CloseEvent


class Sees(NamedTuple):
    """The expected attributes of our close event. None: it depends on the variant, and the test checks it."""

    code: int | None
    clean: bool | None
    initiator: str | None
    cause: str | None
    reason: str | None = ""


@dataclass(frozen=True)
class Row:
    """One row.

    Attributes:
        id: the name, such as ``C46``.
        fault: a description of the fault.
        sees: the expected close event; None if there is none, or if the connection stays open.
        peer: a description of what the peer receives.
        delivered: a description of the messages that are delivered.
        within: the time that it may take: ``at once``, or the option that limits it.
    """

    id: str
    fault: str
    sees: Sees | None
    peer: str = ""
    delivered: str = ""
    within: str = "at once"

    def check(self, event: CloseEvent) -> None:
        """Check that a close event is as expected."""
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
    """Mark a test of a row. The test gets the Row as ``row``, and the id of the row becomes part of its name."""
    entry = Row(id, fault, sees, peer, delivered, within)
    assert ROWS.setdefault(id, entry) == entry, f"{id} has two different definitions"
    return pytest.mark.parametrize("row", [pytest.param(entry, id=id)])
