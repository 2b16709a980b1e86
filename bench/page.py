"""Writes the page of a run, with its plots: docs/performance.md, of which one section is written by hand and kept."""

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
On Linux with two cores or more, and nothing else to do for them:

    apt-get install gcc make python3-venv python3-dev libssl-dev zlib1g-dev nodejs npm
    make bench                                      # all of it, writes this page
    make bench BENCH_ARGS=--quick                   # two minutes, writes .bench/performance.md
    make bench BENCH_ARGS="--cell TLS --only picows --only wasclean"
    make bench BENCH_ARGS=--list                    # the names of the cells

All samples are in `.bench/results.json`.
"""
ABOUT = """\
`make bench` has written this page: every figure was measured in one run. A figure is the median of the rounds
({rounds}), in which the contestants took turns; in parentheses are the least and the most. Compare within a table:
another machine, or the same one on another day, has other figures.
"""
GLOSSARY = """\
"Per second" are messages, or connections that come and go; of a broadcast, messages that arrive. "Each" is the CPU
time of the contestant for one of them, with all its threads. MB/s are the messages of one direction; a megabyte has a
million bytes. Memory is what is resident: of a server or client as a whole, or for each idle connection.
"""
_LARGE = 8 * 1024  # bytes from which a plot shows bytes, not messages


def write_page(page: Path, cells: Sequence[Cell], results: Results, rounds: int) -> None:
    """Write the page, and its plots into a folder beside it that has its name."""
    plots = page.with_suffix("")
    plots.mkdir(parents=True, exist_ok=True)
    for old in plots.glob("*.svg"):
        old.unlink()
    measured = [cell for cell in cells if results.of(cell)]
    for cell in measured:
        (plots / f"{slug(cell)}.svg").write_text(plot(cell, results))
    page.write_text("\n".join(_sections(page, plots.name, measured, results, rounds)))


def slug(cell: Cell) -> str:
    """The name of a cell's plot."""
    return re.sub(r"[^a-z0-9]+", "-", cell.name.lower().replace(",0", "0")).strip("-")


def _sections(page: Path, folder: str, cells: list[Cell], results: Results, rounds: int) -> Iterator[str]:
    yield "# Performance\n"
    yield ABOUT.format(rounds=rounds)
    yield "## What was fixed\n"
    yield table([["", ""], *([name, str(value)] for name, value in results.fixed.items())])
    yield "## Demanded and measured\n"
    yield table(
        [
            ["", "", "must be", "is", ""],
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
        yield "What went wrong, and does not count:\n"
        yield "\n".join(
            [
                *(f"- {line}" for line in results.skipped),
                *(f"- {cell}: {contestant}: {what}" for cell, contestant, what in results.failures),
            ]
        )
        yield ""


def _by_hand(page: Path) -> str:
    """The section that the page had."""
    text = page.read_text() if page.exists() else ""
    return text.partition(BEGIN)[2].partition(END)[0].strip("\n")


def table(rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown: text to the left, figures to the right."""
    head, *body = rows
    figures = [bool(body) and all(re.match(r"[\d,.]*( \(|$)", row[i]) for row in body) for i in range(len(head))]
    marks = ["---:" if right else "---" for right in figures]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in row)} |" for row in [head, marks, *body]) + "\n"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


# ---- plots ----


def plot(cell: Cell, results: Results) -> str:
    """A cell's plot: its main figure, and CPU time where there is any."""
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
