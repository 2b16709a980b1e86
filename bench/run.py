"""Compares wasclean with other WebSocket libraries: echo servers under the same load (``make bench``).

Each server runs alone, pinned to one core, with the load generator (load.c) on another. The contestants take turns,
round after round, so that a noisy moment of the machine hits them all. User-mode CPU time per message is the steadiest
figure on a shared machine; rates can vary by a factor of two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

BENCH = Path(__file__).resolve().parent
LOAD = BENCH.parent / ".bench" / "load"
START_TIMEOUT = 15  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contestant:
    """A server to measure: a file in servers/, and its environment."""

    name: str
    server: str
    pure: bool = False


@dataclass(frozen=True)
class Cell:
    """One kind of load."""

    connections: int
    size: int
    depth: int

    def __str__(self) -> str:
        return (
            f"{self.connections} connection{'s' * (self.connections > 1)} x {self.size} B text x {self.depth} in flight"
        )


@dataclass(frozen=True)
class Sample:
    """What one run measured. Times are microseconds."""

    rate: float
    user: float
    system: float
    p50: float | None
    p99: float | None


CONTESTANTS = [
    Contestant("wasclean callbacks", "wasclean_callbacks"),
    Contestant("wasclean stream", "wasclean_stream"),
    Contestant("wasclean callbacks, pure", "wasclean_callbacks", pure=True),
    Contestant("wasclean stream, pure", "wasclean_stream", pure=True),
    Contestant("picows listener", "picows_listener"),
    Contestant("picows websockets API", "picows_websockets"),
    Contestant("aiohttp", "aiohttp_server"),
    Contestant("websockets", "websockets_asyncio"),
]
YARDSTICKS = ["picows listener", "websockets"]
CELLS = [Cell(100, 32, 16), Cell(100, 256, 1), Cell(1, 32, 64)]

Samples = dict[Contestant, list[Sample]]


class Failure(Exception):
    """A server or the load generator did not do what it should."""


# ---- processes ----


def cores() -> tuple[int, int]:
    """The core of the server and the core of the load; the same one when there is no other."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def build_load() -> None:
    """Compile the load generator, unless it is up to date."""
    source = BENCH / "load.c"
    if LOAD.exists() and LOAD.stat().st_mtime >= source.stat().st_mtime:
        return
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        sys.exit(
            "The load generator is written in C, and there is no C compiler. On Debian: apt-get install gcc libc6-dev"
        )
    LOAD.parent.mkdir(exist_ok=True)
    subprocess.run([compiler, "-O2", "-o", str(LOAD), str(source)], check=True)


def line_of(stream: IO[str], seconds: float) -> str:
    """The next line of a process's output; empty when it ended, or when the time is over."""
    ready, _, _ = select.select([stream], [], [], seconds)
    return stream.readline() if ready else ""


def stop(process: subprocess.Popen[str]) -> None:
    """Kill a process and wait for its end."""
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


@contextmanager
def running(contestant: Contestant) -> Iterator[tuple[int, int]]:
    """Run a contestant's server on its core; gives its process id and its port."""
    environment = {key: value for key, value in os.environ.items() if key != "WASCLEAN_PURE"}
    if contestant.pure:
        environment["WASCLEAN_PURE"] = "1"
    command = [sys.executable, str(BENCH / "servers" / f"{contestant.server}.py"), "0"]
    with tempfile.TemporaryFile("w+") as errors:
        server = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=environment,
        )
        try:
            os.sched_setaffinity(server.pid, {cores()[0]})
            assert server.stdout is not None
            port = line_of(server.stdout, START_TIMEOUT).strip()
            if not port.isdigit():
                errors.seek(0)
                said = errors.read().strip().splitlines()
                raise Failure(f"the server does not start: {said[-1] if said else 'it says nothing'}")
            yield server.pid, int(port)
        finally:
            stop(server)


@contextmanager
def load(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run the load generator on its core."""
    process = subprocess.Popen(
        [str(LOAD), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        os.sched_setaffinity(process.pid, {cores()[1]})
        yield process
    finally:
        stop(process)
        assert process.stderr is not None
        process.stderr.close()


def report_of(process: subprocess.Popen[str], seconds: float) -> dict[str, Any]:
    """The load generator's next line."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = line_of(process.stdout, seconds)
    if not line:
        process.kill()
        raise Failure(process.stderr.read().strip() or "the load generator says nothing")
    report: dict[str, Any] = json.loads(line)
    return report


# ---- measuring ----


def cpu_time(pid: int) -> tuple[float, float]:
    """Seconds of user and of system CPU time that a process has used (proc(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) / TICKS, int(fields[12]) / TICKS


def resident_memory(pid: int) -> int:
    """Bytes of memory that a process occupies."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def measure_load(contestant: Contestant, cell: Cell, seconds: float, warmup: float) -> Sample:
    """Run one contestant under one load."""
    with (
        running(contestant) as (pid, port),
        load("echo", port, cell.connections, cell.size, cell.depth, seconds, warmup, "text") as process,
    ):
        report_of(process, warmup + 30)
        before = cpu_time(pid)
        report = report_of(process, seconds + 30)
        after = cpu_time(pid)
    messages = max(1, report["messages"])
    user, system = ((after[i] - before[i]) / messages * 1e6 for i in (0, 1))
    return Sample(report["rate"], user, system, report.get("p50_us"), report.get("p99_us"))


def measure_memory(contestant: Contestant, connections: int) -> float:
    """Bytes of resident memory per idle connection, what the first connection costs left out."""
    with running(contestant) as (pid, port), load("hold", port, 1, 120) as first:
        report_of(first, 30)
        before = resident_memory(pid)
        with load("hold", port, connections, 60) as process:
            report_of(process, 60)
            return (resident_memory(pid) - before) / connections


def measure_rounds(contestants: list[Contestant], cell: Cell, rounds: int, seconds: float, warmup: float) -> Samples:
    """All contestants in turn, round after round, each round begun by another one."""
    samples: Samples = {contestant: [] for contestant in contestants}
    for turn in range(rounds):
        start = turn % len(contestants)
        for contestant in contestants[start:] + contestants[:start]:
            progress(f"{cell}: round {turn + 1} of {rounds}, {contestant.name}")
            try:
                samples[contestant].append(measure_load(contestant, cell, seconds, warmup))
            except Failure as failure:
                say(f"FAILED: {contestant.name}, {cell}: {failure}")
    return samples


def able(contestants: list[Contestant]) -> list[Contestant]:
    """Those contestants whose server starts."""
    found = []
    for contestant in contestants:
        try:
            with running(contestant):
                found.append(contestant)
        except Failure as failure:
            say(f"SKIPPED: {contestant.name}: {failure}")
    return found


def raise_file_limit(connections: int) -> int:
    """Allow as many open files as we may; gives the number of connections that they suffice for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY or hard >= connections + 100:
        return connections
    say(f"Only {hard} files may be open, so only {hard - 100} connections are held.")
    return hard - 100


# ---- telling ----


def say(line: str) -> None:
    """Print a line in place of the progress."""
    print(f"\r\033[K{line}" if sys.stdout.isatty() else line, flush=True)


def progress(line: str) -> None:
    """Show what is going on, on a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K{line}", end="", flush=True)


def spread(values: list[float], digits: int = 0) -> str:
    """A median with its range."""
    median, least, most = (f"{f(values):,.{digits}f}" for f in (statistics.median, min, max))
    return f"{median} ({least}-{most})"


def table(rows: list[list[str]]) -> None:
    """Print rows in columns: the first one to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *others = (
            f"{cell:{'>' if i else '<'}{width}}" for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        say("  ".join([first, *others]).rstrip())


def tell_load(cell: Cell, samples: Samples) -> None:
    """The table of one load."""
    rates = {c: statistics.median(s.rate for s in samples[c]) for c in samples if samples[c]}
    yardsticks = [c for c in rates if c.name in YARDSTICKS]
    latency = cell.depth == 1
    header = ["", "messages/s", "user us each", "system us each"]
    header += ["p50 us", "p99 us"] if latency else []
    rows = [header + [f"x {c.name}" for c in yardsticks]]
    for contestant, rate in rates.items():
        measured = samples[contestant]
        row = [contestant.name, spread([s.rate for s in measured])]
        row += [spread([s.user for s in measured], 2), spread([s.system for s in measured], 2)]
        if latency:
            row += [spread([s.p50 for s in measured if s.p50]), spread([s.p99 for s in measured if s.p99])]
        rows.append(row + [f"{rate / rates[c]:.2f}" for c in yardsticks])
    say(f"\n{cell}: median (least-most)")
    table(rows)


def tell_memory(connections: int, memory: dict[Contestant, float]) -> None:
    """The table of idle connections."""
    say(f"\nResident memory of the server for each of {connections:,} idle connections")
    table([["", "KB"], *([c.name, f"{size / 1024:.1f}"] for c, size in memory.items())])


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="3 short rounds: a first impression")
    parser.add_argument("--rounds", type=int, help="rounds for each load (5; quick: 3)")
    parser.add_argument("--seconds", type=float, help="seconds of measuring for each run (3; quick: 0.7)")
    parser.add_argument("--warmup", type=float, help="seconds before that (1; quick: 0.3)")
    parser.add_argument("--connections", type=int, default=5000, help="idle connections held (5000)")
    parser.add_argument(
        "--only", action="append", default=[], metavar="TEXT", help="contestants with TEXT in their name"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write all samples to FILE")
    chosen = parser.parse_args()
    chosen.rounds = chosen.rounds or (3 if chosen.quick else 5)
    chosen.seconds = chosen.seconds or (0.7 if chosen.quick else 3)
    chosen.warmup = chosen.warmup or (0.3 if chosen.quick else 1)
    return chosen


def main() -> None:
    """Measure everything and tell."""
    if not sys.platform.startswith("linux"):
        sys.exit("The benchmark runs on Linux only (epoll, /proc, pinning to cores).")
    chosen = options()
    build_load()
    held = raise_file_limit(chosen.connections)
    wanted = [c for c in CONTESTANTS if not chosen.only or any(text in c.name for text in chosen.only)]
    contestants = able(wanted)
    if not contestants:
        sys.exit("There is nobody to measure.")
    server, client = cores()
    alone = "" if server != client else " THERE IS NO OTHER: the figures mean little."
    say(f"Servers on core {server}, load on core {client}.{alone}")

    results: list[dict[str, Any]] = []
    for cell in CELLS:
        samples = measure_rounds(contestants, cell, chosen.rounds, chosen.seconds, chosen.warmup)
        tell_load(cell, samples)
        results += [{**asdict(cell), "contestant": c.name, "samples": [asdict(s) for s in samples[c]]} for c in samples]
    memory = {}
    for contestant in contestants:
        progress(f"memory: {contestant.name}")
        try:
            memory[contestant] = measure_memory(contestant, held)
        except Failure as failure:
            say(f"FAILED: {contestant.name}, {held} idle connections: {failure}")
    tell_memory(held, memory)
    if chosen.json:
        sizes = {c.name: size for c, size in memory.items()}
        chosen.json.write_text(json.dumps({"loads": results, "idle": {"connections": held, "bytes": sizes}}, indent=1))
    complete = all(len(r["samples"]) == chosen.rounds for r in results) and len(memory) == len(contestants)
    sys.exit(0 if complete else 1)


if __name__ == "__main__":
    main()
