"""The output of the demo."""

from __future__ import annotations

import os
from time import perf_counter

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..model.registry import describe_code
from .demo import Reporter, Result, Seen

#: Columns, if the output is not a terminal and the variable COLUMNS is not set.
WIDTH = 120


class Printer(Reporter):
    """Prints the progress and the results; in colour on a terminal, and wrapped to its width."""

    def __init__(self) -> None:
        console = Console(highlight=False, markup=False, emoji=False)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = WIDTH
        self._console = console
        self._start = perf_counter()
        self._results: list[Result] = []
        self._article_ok = False

    def title(self, text: str) -> None:
        """Print the first line."""
        self._print(text, "bold")

    def port_taken(self, port: int, error: OSError) -> None:
        """Print why the server uses another port."""
        why = os.strerror(error.errno) if error.errno else str(error)
        self._print(f"Port {port} is not available ({why}), so the system has assigned another one.", "yellow")

    def listening(self, port: int) -> None:
        """Print the URL of the server."""
        self._print(f"The server is listening at ws://localhost:{port}")
        self._print("\nThe article's example, line by line:\n", "bold")

    def line(self, text: str) -> None:
        """Print a line of the example."""
        self._print(f"    >>> {text}", "cyan")

    def logged(self, text: str) -> None:
        """Print a line that the example has printed."""
        self._print(f"    {text}", "green")

    def article_done(self, ok: bool) -> None:
        """Explain the end of the example."""
        self._article_ok = ok
        if ok:
            self._print(
                "\n1006, as in a browser: close() was called while the socket was still connecting. So onopen never\n"
                "ran, and there was no connection yet that could have carried a Close frame."
            )
        else:
            self._print("\nDIFFERS: it should have logged 1006, since close() was called too early.", "bold red")
        self._print("\nEvery registered close code, and the close events of both sides:", "bold")

    def scenario_done(self, result: Result) -> None:
        """Keep the result for the table."""
        self._results.append(result)

    def summary(self, ok: bool) -> None:
        """Print the table and the number of scenarios with the expected result."""
        table = Table(box=box.HORIZONTALS, leading=1, padding=(0, 1, 0, 0))
        table.add_column("code", no_wrap=True)
        table.add_column("where", no_wrap=True)
        table.add_column("scenario", overflow="fold", ratio=27)
        table.add_column("the client's event", overflow="fold", ratio=31)
        table.add_column("the server's event", overflow="fold", ratio=31)
        table.add_column("ms", no_wrap=True, justify="right")
        for result in self._results:
            table.add_row(
                _mark(result),
                result.expected.where(result.scenario.code),
                "\n".join([result.scenario.description, *result.notes]),
                _cell(result.client, result.expected.client, result.scenario.code),
                _cell(result.server, result.expected.server, result.scenario.code),
                f"{result.milliseconds:.1f}",
                style=None if result.ok else "red",
            )
        self._console.print(table)
        self._print(
            "where: the side whose event has the code. 1005, 1006 and 1015 are never sent; 1004 is reserved.\n", "dim"
        )
        good = sum(result.ok for result in self._results)
        article = "" if self._article_ok else " The article's example DIFFERS."
        seconds = perf_counter() - self._start
        self._print(
            f"{good} of {len(self._results)} scenarios gave the expected result, in {seconds:.2f} s.{article}",
            "bold green" if ok else "bold red",
        )

    def _print(self, text: str, style: str | None = None) -> None:
        self._console.print(text, style=style, soft_wrap=True)


def _mark(result: Result) -> Text:
    code = str(int(result.scenario.code))
    return Text(code, "bold green") if result.ok else Text(f"{code}\nDIFFERS", "bold red")


def _cell(seen: Seen | None, expected: Seen | None, code: int) -> Text:
    """Describe the event of one side, and the expected one if that differs."""
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
