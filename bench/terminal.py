"""Telling on a terminal."""

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
    """Show what is going on, on a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="", flush=True)


def table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns: the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (
            f"{cell:{'>' if i else '<'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]).rstrip())


def rows_of(results: Results, cell: Cell) -> list[list[str]]:
    """The table of a cell: a heading, and a row for each contestant of which there is a sample."""
    found = results.of(cell)
    metrics = present([sample for samples in found.values() for sample in samples])
    rows = [["", *(metric.heading for metric in metrics)]]
    rows += [[name, *(spread(samples, metric) for metric in metrics)] for name, samples in found.items()]
    return rows


def tell_cell(results: Results, cell: Cell) -> None:
    """Print a cell's table, and whose rate was the load's."""
    if not results.of(cell):
        return
    say(f"\n{cell.name}: median (least-most)")
    table(rows_of(results, cell))
    for line in limited_by_load(results, cell):
        say(line)


def limited_by_load(results: Results, cell: Cell) -> list[str]:
    """A sentence for each contestant that waited for the load generator: its rate is at least what was measured."""
    return [
        f"{name} could do more: the load generator was busy for {max(busy):.0%} of the time, it for {idle:.0%}."
        for name, samples in results.of(cell).items()
        if (busy := [sample.get("load_busy", 0) for sample in samples])
        and (idle := max(sample.get("busy", 0) for sample in samples)) < 0.9
        and max(busy) > 0.95
    ]


def tell_demands(verdicts: Iterable[Verdict]) -> None:
    """Print the demands of which something was measured."""
    rows = [
        [{True: "met", False: "NOT MET", None: "?"}[v.met], v.cell, v.who, v.must, v.measured]
        for v in verdicts
        if v.met is not None
    ]
    if rows:
        say("\nDemands")
        table([["", "", "", "must be", "is"], *rows])
