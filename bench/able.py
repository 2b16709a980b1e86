"""The cells and contestants that can be measured on this machine."""

from __future__ import annotations

import shutil
from dataclasses import replace

import wasclean
from bench.cells import Cell
from bench.contestants import ALL_CONTESTANTS, WS, Contestant
from bench.processes import ROOT, features, raise_file_limit
from bench.results import Results


def able(cells: list[Cell], results: Results) -> list[Cell]:
    """Return the cells and contestants that can be measured here, and add the reasons for all others to ``results``."""
    absent = _absent()
    results.skipped += absent.values()
    cells = [replace(cell, contestants=tuple(c for c in cell.contestants if c not in absent)) for cell in cells]
    cells = [cell for cell in cells if cell.contestants]
    for feature, package in (("tls", "libssl-dev"), ("deflate", "zlib1g-dev")):
        if not features()[feature] and any(getattr(cell, feature) for cell in cells):
            results.skipped.append(
                f"The load generator was built without {feature}, so the cells with it are skipped. "
                f"On Debian: apt-get install {package}"
            )
            cells = [cell for cell in cells if not getattr(cell, feature)]
    most = max((cell.connections for cell in cells), default=0)
    if (held := raise_file_limit(most)) < most:
        results.skipped.append(
            f"Only {held:,} connections may be open, so the cells with more are skipped (ulimit -n)."
        )
        cells = [cell for cell in cells if cell.connections <= held]
    return cells


def _absent() -> dict[Contestant, str]:
    """Return the contestants that are not installed, with the reason."""
    absent = {}
    if shutil.which("node") is None or not (ROOT / "bench" / "node_modules" / "ws").exists():
        absent[WS] = (
            f"{WS.name} is left out: it is not installed. On Debian: apt-get install nodejs npm; then make bench"
        )
    if not wasclean.compiled:
        for contestant in ALL_CONTESTANTS:
            if contestant.package == "wasclean" and not contestant.pure:
                absent[contestant] = f"{contestant.name} is left out: only the pure build is there. See make build"
    return absent
