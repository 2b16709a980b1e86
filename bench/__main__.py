"""Compares wasclean with other WebSocket libraries: ``make bench``, or ``python -m bench``.

Each contestant runs alone on one core, and the load generator (load/, in C) on another. The contestants take turns in
each round, so that other work of the machine affects all of them.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path

from bench.able import able
from bench.cells import CELLS, Cell
from bench.certificates import Certificate, make_certificate
from bench.contestants import Contestant
from bench.demands import verdicts
from bench.facts import facts
from bench.measure import Timing, measure
from bench.page import write_page
from bench.processes import ROOT, WORK, Failure, build_load, cores
from bench.results import Results
from bench.terminal import progress, say, tell_cell, tell_demands


@dataclass(frozen=True)
class Plan:
    """The cells to measure, and the number and length of the rounds."""

    cells: list[Cell]
    rounds: int
    timing: Timing


def options() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--quick", action="store_true", help="some cells, short rounds: a first impression in 2 minutes"
    )
    parser.add_argument("--rounds", type=int, help="rounds for each cell (5; quick: 2)")
    parser.add_argument("--seconds", type=float, help="seconds of measuring for each figure (1; quick: 0.25)")
    parser.add_argument("--warmup", type=float, help="seconds before that (0.3; quick: 0.1)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="contestants with TEXT in their name"
    )
    parser.add_argument("--cell", action="append", default=[], metavar="TEXT", help="cells with TEXT in their name")
    parser.add_argument("--list", action="store_true", help="only name the cells")
    parser.add_argument(
        "--json", type=Path, default=WORK / "results.json", metavar="FILE", help="(.bench/results.json)"
    )
    return parser.parse_args()


def plan(chosen: argparse.Namespace) -> Plan:
    """Return the plan for the options of the command line."""
    cells = [cell for cell in CELLS if _named(cell.name, chosen.cell) and (cell.quick or not chosen.quick)]
    cells = [replace(cell, contestants=_only(cell.contestants, chosen.only)) for cell in cells]
    timing = Timing(chosen.seconds or (0.25 if chosen.quick else 1), chosen.warmup or (0.1 if chosen.quick else 0.3))
    return Plan([cell for cell in cells if cell.contestants], chosen.rounds or (2 if chosen.quick else 5), timing)


def rounds_of(plan: Plan) -> str:
    """Describe the number and length of the rounds."""
    timing = plan.timing
    each = f"{timing.seconds:g} s (latency: twice that) after {timing.warmup:g} s of warming up"
    return f"{plan.rounds}, each of {each}, by a new process"


def is_complete(chosen: argparse.Namespace) -> bool:
    """True for a complete run with default settings, whose figures may be published."""
    return not (chosen.quick or chosen.only or chosen.cell or chosen.rounds or chosen.seconds or chosen.warmup)


def shown(path: Path) -> Path:
    """Return a path for a message: relative to ROOT if it is below it."""
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def _named(name: str, texts: list[str]) -> bool:
    return not texts or any(text in name for text in texts)


def _only(contestants: tuple[Contestant, ...], texts: list[str]) -> tuple[Contestant, ...]:
    return tuple(contestant for contestant in contestants if _named(contestant.name, texts))


def measure_cell(cell: Cell, plan: Plan, results: Results, certificate: Certificate | None) -> None:
    """Measure all contestants in each round; each round starts with another one."""
    for turn in range(plan.rounds):
        start = turn % len(cell.contestants)
        for contestant in cell.contestants[start:] + cell.contestants[:start]:
            progress(f"{cell.name}: round {turn + 1} of {plan.rounds}, {contestant.name}")
            try:
                results.add(cell, contestant, measure(cell, contestant, plan.timing, certificate))
            except Failure as failure:
                results.fail(cell, contestant, str(failure))
                say(f"FAILED: {contestant.name}, {cell.name}: {failure}")


def main() -> None:
    """Measure all cells, print the results, and write the page."""
    if not sys.platform.startswith("linux"):
        sys.exit("The benchmark runs on Linux only (epoll, /proc, pinning to cores).")
    chosen = options()
    wanted = plan(chosen)
    if chosen.list:
        sys.exit("\n".join(cell.name for cell in wanted.cells))
    build_load()
    results = Results(facts() | {"Rounds": rounds_of(wanted)})
    cells = able(wanted.cells, results)
    for line in results.skipped:
        say(f"SKIPPED: {line}")
    if not cells:
        sys.exit("There is nothing to measure.")
    server, client = cores()
    alone = "" if server != client else " THERE IS NO OTHER: the figures mean little."
    say(f"Contestants on core {server}, load on core {client}.{alone}")
    certificate = make_certificate(WORK) if any(cell.tls for cell in cells) else None
    for cell in cells:
        measure_cell(cell, wanted, results, certificate)
        tell_cell(results, cell)
        results.write(chosen.json, cells)
    tell_demands(verdicts(results))
    page = (ROOT / "docs" if is_complete(chosen) else WORK) / "performance.md"
    write_page(page, cells, results, wanted.rounds)
    say(f"\nAll samples: {shown(chosen.json)}. Tables and plots: {shown(page)}")
    sys.exit(1 if results.failures else 0)


if __name__ == "__main__":
    main()
