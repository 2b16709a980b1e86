"""The results of a run, which can be written as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.cells import Cell
from bench.contestants import Contestant

Samples = list[dict[str, float]]


@dataclass
class Results:
    """All samples, by the names of cells and contestants.

    Attributes:
        fixed: the conditions of the run: versions, cores, rounds.
        samples: the measured values.
        failures: failed measurements: cell, contestant, reason.
        skipped: reasons for cells and contestants that were left out.
    """

    fixed: dict[str, Any]
    samples: dict[str, dict[str, Samples]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, cell: Cell, contestant: Contestant, sample: dict[str, float]) -> None:
        """Add a sample."""
        self.samples.setdefault(cell.name, {}).setdefault(contestant.name, []).append(sample)

    def fail(self, cell: Cell, contestant: Contestant, what: str) -> None:
        """Add a failure."""
        self.failures.append((cell.name, contestant.name, what))

    def of(self, cell: Cell) -> dict[str, Samples]:
        """Return the samples of a cell, in the order of its contestants."""
        found = self.samples.get(cell.name, {})
        return {contestant.name: found[contestant.name] for contestant in cell.contestants if contestant.name in found}

    def write(self, path: Path, cells: Iterable[Cell]) -> None:
        """Write the results and the definitions of the cells as JSON."""
        about = {}
        for cell in cells:
            about[cell.name] = {**asdict(cell), "contestants": [contestant.name for contestant in cell.contestants]}
        path.write_text(json.dumps({**asdict(self), "cells": about}, indent=1, ensure_ascii=False) + "\n")
