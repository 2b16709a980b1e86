"""Writes docs/faults.md from the rows and from NOT_SHOWN: ``python -m tests.faults.table``."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from tests.faults.not_shown import NOT_SHOWN
from tests.faults.rows import ROWS, Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
IDS = [f"C{number:02}" for number in range(1, 119)]

#: Number of the first row -> title of a section.
PARTS = {
    1: "Normal closing",
    17: "Closing while connecting",
    33: "Unread and unsent data",
    46: "A peer that misbehaves while closing",
    60: "Failures of the network",
    82: "Violations of the protocol, and limits",
    90: "The application and its runtime",
    107: "The process and the system",
}

INTRODUCTION = """\
# Faults

This page lists the ways in which a connection can end, and what each end observes. `make faults` generates it from
`tests/faults`: each row is checked by the tests with its id, on asyncio and uvloop, and where it matters as client and
as server, over TCP and over TLS. {shown} of the {total} rows have tests; the last section has the reasons for the
others.

"We" and "our" refer to the end that uses wasclean. The columns are:

- **code**, **wasClean**, **initiator** and **cause**: attributes of our close event. `varies`: they depend on the
  variant of the fault, see the tests. A dash: there is no event, because there was no connection, or because it stays
  open.
- **the peer sees**: what arrives at the other end.
- **delivered**: what happens to messages and exceptions.
- **within**: the time that this takes, which is `at once`, or limited by an option.

In all rows, there is exactly one `close` event, and no event after it. All waiting calls return or raise. The
descriptor, the timers and the tasks are gone, and the socket is freed without the garbage collector.
"""

HEAD = "| id | fault | code | wasClean | initiator | cause | the peer sees | delivered | within |"


def collect() -> None:
    """Import all modules with rows, which fills ROWS."""
    for path in sorted(Path(__file__).parent.glob("test_rows_*.py")):
        import_module(f"tests.faults.{path.stem}")


def page() -> str:
    """Return the page."""
    lines = [INTRODUCTION.format(total=len(IDS), shown=sum(name in ROWS for name in IDS))]
    for first, title in PARTS.items():
        last = min((number for number in PARTS if number > first), default=len(IDS) + 1)
        rows = [ROWS[name] for name in IDS[first - 1 : last - 1] if name in ROWS]
        if rows:
            lines += [f"## {title}", "", HEAD, re.sub(r"[^|]+", "---", HEAD), *map(line, rows), ""]
    if NOT_SHOWN:
        lines += ["## Without tests", "", "| id | reason |", "|---|---|"]
        lines += [f"| {name} | {cell(NOT_SHOWN[name])} |" for name in IDS if name in NOT_SHOWN]
    return "\n".join(lines).rstrip() + "\n"


def line(row: Row) -> str:
    """Return a line of a table."""
    facts = ["-"] * 4
    if row.sees is not None:
        code, clean, initiator, cause, _ = row.sees
        facts = ["varies" if fact is None else str(fact) for fact in (code, clean, initiator, cause)]
        facts[3] = facts[3] if cause is None else f"`{cause}`"
    cells = [row.id, row.fault, *facts, row.peer or "-", row.delivered or "-", row.within]
    return "| " + " | ".join(map(cell, cells)) + " |"


def cell(text: str) -> str:
    """Escape a text for a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    collect()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
