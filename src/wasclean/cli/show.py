"""What the demo prints."""

from __future__ import annotations

import os
from time import perf_counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..model.registry import describe_code
from .demo import Report, Row, Seen

#: Columns when the output is no terminal, and nobody says how many there are.
WIDTH = 120


class Printer(Report):
    """Prints how the demo goes: with colours on a terminal, and all of it, wrapped, wherever."""

    def __init__(self) -> None:
        console = Console(highlight=False, markup=False, emoji=False)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = WIDTH
        self._console = console
        self._start = perf_counter()
        self._rows: list[Row] = []
        self._article_ok = False

    def title(self, text: str) -> None:
        """Print the first line."""
        self._print(text, "bold")

    def port_taken(self, port: int, error: OSError) -> None:
        """Print why the server has another port."""
        why = os.strerror(error.errno) if error.errno else str(error)
        self._print(f"Port {port} can't be had ({why}), so the system has assigned another one.", "yellow")

    def listening(self, port: int) -> None:
        """Print where the server is."""
        self._print(f"The server is listening at ws://localhost:{port}")
        self._print("\nThe article's example, line by line:\n", "bold")

    def line(self, text: str) -> None:
        """Print a line of the example."""
        self._print(f"    >>> {text}", "cyan")

    def logged(self, text: str) -> None:
        """Print what the example has printed."""
        self._print(f"    {text}", "green")

    def article_done(self, ok: bool) -> None:
        """Explain how the example has ended."""
        self._article_ok = ok
        if ok:
            self._print(
                "\n1006, as in a browser: close() came while the socket was still connecting. So onopen never ran,\n"
                "and there was no connection yet that a Close frame could have travelled on."
            )
        else:
            self._print("\nDIFFERS: it should have logged 1006, for close() came while it was connecting.", "bold red")
        self._print("\nEvery close code there is, and what both sides' onclose saw of it:", "bold")

    def row(self, row: Row) -> None:
        """Keep a row of the table."""
        self._rows.append(row)

    def summary(self, ok: bool) -> None:
        """Print the table, and whether everything was as expected."""
        table = Table(box=box.HORIZONTALS, leading=1, padding=(0, 1, 0, 0))
        table.add_column("code", no_wrap=True)
        table.add_column("where", no_wrap=True)
        table.add_column("what is done", overflow="fold", ratio=27)
        table.add_column("the client's event", overflow="fold", ratio=31)
        table.add_column("the server's event", overflow="fold", ratio=31)
        table.add_column("ms", no_wrap=True, justify="right")
        for row in self._rows:
            table.add_row(
                _mark(row),
                row.expected.where(row.scenario.code),
                "\n".join([row.scenario.what, *row.notes]),
                _cell(row.client, row.expected.client, row.scenario.code),
                _cell(row.server, row.expected.server, row.scenario.code),
                f"{row.milliseconds:.1f}",
                style=None if row.ok else "red",
            )
        self._console.print(table)
        self._print(
            "where: whose event is to carry the code. Nobody sends 1005, 1006 or 1015; 1004 has no meaning.\n", "dim"
        )
        good = sum(row.ok for row in self._rows)
        article = "" if self._article_ok else " The article's example DIFFERS."
        seconds = perf_counter() - self._start
        self._print(
            f"{good} of {len(self._rows)} scenarios gave what the registry says, in {seconds:.2f} s.{article}",
            "bold green" if ok else "bold red",
        )

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, soft_wrap=True)


def _mark(row: Row) -> Text:
    code = str(int(row.scenario.code))
    return Text(code, "bold green") if row.ok else Text(f"{code}\nDIFFERS", "bold red")


def _cell(seen: Seen | None, expected: Seen | None, code: int) -> Text:
    """What one side saw and, if that differs, what it was to see."""
    text = _describe(seen, code)
    if seen != expected:
        text.append("\nexpected: ", "bold red").append_text(_describe(expected, code))
    return text


def _describe(seen: Seen | None, code: int) -> Text:
    if seen is None:
        return Text("-")
    text = Text(f"{seen.code} {describe_code(seen.code)}", "bold" if seen.code == code else "")
    text.append("\nwasClean" if seen.was_clean else "\nnot wasClean", "not bold")
    if seen.sent is not None and seen.sent != seen.code:
        text.append(f", sent {seen.sent}", "not bold")
    if seen.reason:
        text.append(f', "{seen.reason}"', "not bold")
    return text
