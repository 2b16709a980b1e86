"""Makes docs/faults.md from the rows and from what is not shown: ``python -m tests.faults.table``."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from tests.faults.not_shown import NOT_SHOWN
from tests.faults.rows import ROWS, Row

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "faults.md"
IDS = [f"C{number:02}" for number in range(1, 119)]

#: The parts, and the number of each one's first row.
PARTS = {
    1: "Closing when all goes well",
    17: "Closing while connecting",
    33: "Data that is not read, or not sent",
    46: "A peer that misbehaves while closing",
    60: "The network fails",
    82: "Errors in the protocol, and limits",
    90: "The application and its runtime",
    107: "The process and the system",
}

INTRODUCTION = """\
# Faults

The ways in which a connection can end, and what the two sides see of each. `make faults` writes this page from the
tests in `tests/faults`: a row is what the tests of its id check, on asyncio and on uvloop, and where it matters as a
client and as a server, over TCP and over TLS. Of the {total} rows {shown} are shown so; the others stand at the end,
with the reason.

How to read a row:

- **code**, **wasClean**, **initiator** and **cause** are what our close event says. `varies`: that depends on the
  variant of the fault, and the tests say how. A dash: there is no event, for there was no connection, or it lives on.
- **the peer sees** is what arrives at the other end.
- **delivered** is what becomes of messages, and of exceptions.
- **within** is how long that takes: an option bounds it, or it happens `at once`.

Whatever happens: there is exactly one `close` event, and nothing after it; everybody who waits is let go; the
descriptor, the timers and the tasks are gone, and the socket is freed without the garbage collector.
"""

HEAD = "| id | fault | code | wasClean | initiator | cause | the peer sees | delivered | within |"


def collect() -> None:
    """Fill ROWS: import all modules with rows."""
    for path in sorted(Path(__file__).parent.glob("test_rows_*.py")):
        import_module(f"tests.faults.{path.stem}")


def page() -> str:
    """The whole page."""
    lines = [INTRODUCTION.format(total=len(IDS), shown=sum(name in ROWS for name in IDS))]
    for first, title in PARTS.items():
        last = min((number for number in PARTS if number > first), default=len(IDS) + 1)
        rows = [ROWS[name] for name in IDS[first - 1 : last - 1] if name in ROWS]
        if rows:
            lines += [f"## {title}", "", HEAD, re.sub(r"[^|]+", "---", HEAD), *map(line, rows), ""]
    if NOT_SHOWN:
        lines += ["## Not shown", "", "| id | why |", "|---|---|"]
        lines += [f"| {name} | {cell(NOT_SHOWN[name])} |" for name in IDS if name in NOT_SHOWN]
    return "\n".join(lines).rstrip() + "\n"


def line(row: Row) -> str:
    """A row of a table."""
    facts = ["-"] * 4
    if row.sees is not None:
        code, clean, initiator, cause, _ = row.sees
        facts = ["varies" if fact is None else str(fact) for fact in (code, clean, initiator, cause)]
        facts[3] = facts[3] if cause is None else f"`{cause}`"
    cells = [row.id, row.fault, *facts, row.peer or "-", row.delivered or "-", row.within]
    return "| " + " | ".join(map(cell, cells)) + " |"


def cell(text: str) -> str:
    """A text as it may stand in a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    collect()
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page())
