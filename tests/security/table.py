"""Writes docs/security.md from the classes and their tests: ``python -m tests.security.table``."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from tests.faults.table import cell
from tests.security.classes import DANGERS, DOCUMENTED, ELSEWHERE, MISSING, NUMBERS, PARTS
from tests.security.rows import ROOT, SHOWN, Shown

PAGE = ROOT / "docs" / "security.md"

INTRODUCTION = """\
# Security

This page lists the classes of vulnerabilities that were published for WebSocket implementations, the behaviour of
wasclean in each case, and the test for it. `make security` generates it from `tests/security`. Of the {total} rows,
{shown} have tests, {documented} are advice for applications, and {missing} has no test here; see the end of the page.

If both ends can be attacked, both are tested, over real sockets. If an attack is on memory, the attacked end runs in a
process of its own. Codes are those of the Close frame that the attacker receives (1002, 1007, 1008, 1009), or of the
HTTP response (400 and above).
"""

HEAD = "| | class | what wasclean does | shown by |\n|---|---|---|---|"


def collect() -> None:
    """Import all modules with rows, which fills SHOWN."""
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.stem != "test_table":
            import_module(f"tests.security.{path.stem}")


def shown() -> dict[int, list[Shown]]:
    """Return the tests of each row that has any."""
    found = {number: [Shown(*ELSEWHERE[number])] if number in ELSEWHERE else [] for number in NUMBERS}
    for number, tests in SHOWN.items():
        found[number] += [test for test in dict.fromkeys(tests) if test not in found[number]]
    return {number: tests for number, tests in found.items() if tests}


def page() -> str:
    """Return the page."""
    tests = shown()
    numbers = {"total": NUMBERS, "shown": tests, "documented": DOCUMENTED, "missing": MISSING}
    lines = [INTRODUCTION.format(**{name: len(rows) for name, rows in numbers.items()})]
    for first, title in PARTS.items():
        last = min((number for number in PARTS if number > first), default=NUMBERS[-1] + 1)
        rows = [number for number in NUMBERS if first <= number < last and number in DANGERS]
        if rows:
            lines += [f"## {title}", "", HEAD, *(line(number, tests.get(number, [])) for number in rows), ""]
    lines += ["## For applications", "", *(f"- **{number}.** {text}" for number, text in DOCUMENTED.items()), ""]
    lines += ["## Without tests", "", "| | reason |", "|---|---|"]
    lines += [f"| {number} | {cell(why)} |" for number, why in MISSING.items()]
    return "\n".join(lines) + "\n"


def line(number: int, tests: list[Shown]) -> str:
    """Return a line of a table; the attacks of one test are followed by its place."""
    danger = DANGERS[number]
    places = dict.fromkeys(test.test for test in tests)
    attacks = [
        f"{'; '.join(test.attack for test in tests if test.test == place)}: `{place.replace('::', ' ')}`"
        for place in places
    ]
    cells = [str(number), danger.what, danger.answer, ". ".join(attacks) or "-"]
    return "| " + " | ".join(map(cell, cells)) + " |"


if __name__ == "__main__":
    collect()
    PAGE.write_text(page())
