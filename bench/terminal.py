"""Output on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from bench.cells import Cell
from bench.demands import Verdict
from bench.metrics import present, spread
from bench.results import Results


def say(line: str) -> None:
    """Print a line in place of the progress."""
    print(f"\r\033[K{line}" if sys.stdout.isatty() else line, flush=True)


def progress(line: str) -> None:
    """Show the progress, if the output is a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="", flush=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns; the first is aligned to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (
            f"{cell:{'>' if i else '<'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]).rstrip())


def rows_of(results: Results, cell: Cell) -> list[list[str]]:
    """Return the table of a cell: a heading, and a row for each contestant with a sample."""
    found = results.of(cell)
    metrics = present([sample for samples in found.values() for sample in samples])
    rows = [["", *(metric.heading for metric in metrics)]]
    rows += [[name, *(spread(samples, metric) for metric in metrics)] for name, samples in found.items()]
    return rows


def tell_cell(results: Results, cell: Cell) -> None:
    """Print the table of a cell, and its remarks."""
    if not results.of(cell):
        return
    say(f"\n{cell.name}: median (least-most)")
    table(rows_of(results, cell))
    if cell.note:
        say(cell.note)
    for line in remarks(results, cell):
        say(line)


def remarks(results: Results, cell: Cell) -> list[str]:
    """Return a sentence for each contestant that the load generator limited, or that did not keep up with the pace."""
    found = []
    for name, samples in results.of(cell).items():
        load, own, unanswered = (max(s.get(key, 0) for s in samples) for key in ("load_busy", "busy", "unanswered"))
        if load > 0.95 and own < 0.9:
            found.append(
                f"{name} could do more: the load generator was busy for {load:.0%} of the time, it for {own:.0%}."
            )
        if unanswered > 0.02:
            found.append(
                f"{name} did not keep up with the pace: {unanswered:.0%} of the messages had no answer at the end."
            )
    return found


def tell_demands(verdicts: Iterable[Verdict]) -> None:
    """Print the demands that were measured."""
    rows = [
        [{True: "met", False: "NOT MET", None: "?"}[v.met], v.cell, v.who, v.must, v.measured]
        for v in verdicts
        if v.met is not None
    ]
    if rows:
        say("\nDemands")
        table([["", "", "", "required", "measured"], *rows])
