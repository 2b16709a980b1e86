"""Mutation testing of the closing: ``python -m mutants [part of a path ...]``.

Print the mutants that survive the tests of the core, and the share of each file's mutants that were noticed. Exit with
1 if a share is below 95 % (one survivor is allowed anyway), or if a survivor is not in equivalent.txt. An entry there
is the mutant's line, as it is printed, and below it, indented, the reason why no test can tell it from the original.
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from pathlib import Path

os.environ["WASCLEAN_PURE"] = "1"

from .trial import ROOT, SOURCES, Result, try_all

FILES = ("closing/*.py",)
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
ENOUGH = 0.95  # of a file's mutants


def main(parts: list[str]) -> int:
    """Try the mutants of all files, or of those whose path has one of the parts."""
    began = time.monotonic()
    paths = sorted(path for pattern in FILES for path in (SOURCES / "wasclean").glob(pattern))
    paths = [path for path in paths if not parts or any(part in str(path.relative_to(ROOT)) for part in parts)]
    results = try_all(paths)
    known = read_equivalent(EQUIVALENT)
    unknown = [result for result in results if not result.noticed and result.key not in known]
    for result in unknown:
        print(f"src/wasclean/{result.path}:{result.line} survived:\n{result.key}")
    bad = bool(unknown)
    files: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        files[result.path].append(result)
    print(f"{'':28}  mutants  noticed  equivalent  survivors")
    for path, each in files.items():
        noticed = sum(bool(result.noticed) for result in each)
        listed = sum(not result.noticed and result.key in known for result in each)
        share = noticed / len(each)
        bad = bad or len(each) - noticed > max(1, (1 - ENOUGH) * len(each))
        print(f"{path:28}  {len(each):7}  {share:7.1%}  {listed:10}  {len(each) - noticed - listed:9}")
    keys = {result.key: result.noticed for result in results}
    for key in known:
        if key.partition(" ")[0] in files and keys.get(key, True):
            bad = True
            print(f"equivalent.txt lists what {'was noticed' if key in keys else 'is no mutant'}: {key}")
    print(f"{len(results)} mutants in {time.monotonic() - began:.0f} s")
    return int(bad)


def read_equivalent(path: Path) -> dict[str, str]:
    """Mutants and reasons."""
    known: dict[str, str] = {}
    key = ""
    for line in path.read_text().splitlines():
        if line[:1].isspace():
            known[key] = f"{known[key]} {line.strip()}".strip()
        elif line and not line.startswith("#"):
            key = line
            known[key] = ""
    return known


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
