"""Writes the page of a run with its plots, docs/performance.md. One section of it is written by hand, and kept."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.cells import Cell
from bench.demands import verdicts
from bench.metrics import MAIN, METRICS, Metric, present, values
from bench.plot import Bar, Panel, draw
from bench.results import Results, Samples
from bench.terminal import remarks, rows_of

BEGIN, END = "<!-- by hand, kept by make bench -->", "<!-- end of what is by hand -->"
HOW_TO_REPRODUCE = """\
On Linux, with at least two cores and no other work:

    apt-get install gcc make python3-venv python3-dev libssl-dev zlib1g-dev nodejs npm
    make bench                                      # everything; writes this page
    make bench BENCH_ARGS=--quick                   # two minutes; writes .bench/performance.md
    make bench BENCH_ARGS="--cell TLS --only picows --only wasclean"
    make bench BENCH_ARGS=--list                    # the names of the cells

All samples are in `.bench/results.json`.
"""
ABOUT = """\
This page was written by `make bench`; all figures come from one run. A figure is the median of {rounds} rounds, in
which the contestants took turns; the minimum and the maximum are in parentheses. Compare figures within a table only:
another machine, or the same one on another day, has other figures.
"""
GLOSSARY = """\
"Per second" counts messages, connections that are opened and closed, or, for a broadcast, messages that arrive. "Each"
is the contestant's CPU time for one of them, in all its threads. MB/s counts the messages of one direction; a megabyte
is a million bytes. Memory is resident memory, of the whole server or client, or for each idle connection.
"""
_LARGE = 8 * 1024  # bytes from which a plot shows bytes, not messages


def write_page(page: Path, cells: Sequence[Cell], results: Results, rounds: int) -> None:
    """Write the page, and the plots into a folder of the same name."""
    plots = page.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    measured = [cell for cell in cells if results.of(cell)]
    for cell in measured:
        (plots / f"{slug(cell)}.svg").write_text(plot(cell, results))
    page.write_text("\n".join(_sections(page, plots.name, measured, results, rounds)))


def slug(cell: Cell) -> str:
    """Return the name of the plot of a cell."""
    return re.sub(r"[^a-z0-9]+", "-", cell.name.lower().replace(",0", "0")).strip("-")


def _sections(page: Path, folder: str, cells: list[Cell], results: Results, rounds: int) -> Iterator[str]:
    yield "# Performance\n"
    yield ABOUT.format(rounds=rounds)
    yield "## Conditions\n"
    yield table([["", ""], *([name, str(value)] for name, value in results.fixed.items())])
    yield "## Requirements and results\n"
    yield table(
        [
            ["", "", "required", "measured", ""],
            *(
                [v.cell, v.who, v.must, v.measured, {True: "yes", False: "**no**", None: ""}[v.met]]
                for v in verdicts(results)
            ),
        ]
    )
    yield from _troubles(results)
    yield "## How it works\n"
    yield f"{BEGIN}\n{_by_hand(page)}\n{END}\n"
    yield "## How to reproduce it\n"
    yield HOW_TO_REPRODUCE
    yield "## All figures\n"
    yield GLOSSARY
    for cell in cells:
        yield f"### {cell.name[0].upper()}{cell.name[1:]}\n"
        yield f"![{cell.name}]({folder}/{slug(cell)}.svg)\n"
        yield table(rows_of(results, cell))
        if cell.note:
            yield f"{cell.note}\n"
        yield from (f"{line}\n" for line in remarks(results, cell))


def _troubles(results: Results) -> Iterator[str]:
    if results.skipped or results.failures:
        yield "Failed measurements, which do not count:\n"
        yield "\n".join(
            [
                *(f"- {line}" for line in results.skipped),
                *(f"- {cell}: {contestant}: {what}" for cell, contestant, what in results.failures),
            ]
        )
        yield ""


def _by_hand(page: Path) -> str:
    """Return the section that is written by hand, from the old page."""
    text = page.read_text() if page.exists() else ""
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown; columns of figures are aligned to the right."""
    head, *body = rows
    figures = [bool(body) and all(re.match(r"[\d,.]*( \(|$)", row[i]) for row in body) for i in range(len(head))]
    marks = ["---:" if right else "---" for right in figures]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in [head, marks, *body]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# ---- plots ----


def plot(cell: Cell, results: Results) -> str:
    """Return the plot of a cell: its main metric, and CPU time if it was measured."""
    found = results.of(cell)
    there = {metric.name for metric in present([sample for samples in found.values() for sample in samples])}
    main = "megabytes" if cell.size >= _LARGE else next(name for name in MAIN if name in there)
    chosen = [metric for metric in METRICS if metric.name in there and metric.name in (main, "cpu", "drain_cpu")]
    panels = [Panel(metric.heading, [_bar(samples, metric) for samples in found.values()]) for metric in chosen]
    return draw(cell.name, list(found), panels)


def _bar(samples: Samples, metric: Metric) -> Bar | None:
    found = values(samples, metric.name)
    if not found:
        return None
    middle = statistics.median(found)
    return Bar(min(found), middle, max(found), f"{middle:,.{metric.digits}f}")
