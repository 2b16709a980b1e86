"""The processes of the benchmark, load generator and contestants: their cores, output and CPU time."""

from __future__ import annotations

import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from bench.contestants import Contestant
from bench.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / ".bench"
LOAD = WORK / "load"
START_TIMEOUT = 15  # seconds
TICKS = os.sysconf("SC_CLK_TCK")


class Failure(Exception):
    """A contestant or the load generator has failed."""


@dataclass(frozen=True)
class CPU:
    """CPU time of a process in seconds: user and system mode in ticks of the kernel, and their sum from its clock."""

    user: float
    system: float
    total: float

    def __sub__(self, other: CPU) -> CPU:
        return CPU(self.user - other.user, self.system - other.system, self.total - other.total)


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """Start processes in this context on a core; all their threads stay there."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Process:
    """A process whose output and CPU time can be read.

    Args:
        command: the program and its arguments.
        core: the core to run on.
        environment: the environment; by default that of this process.
    """

    def __init__(self, command: list[str], core: int, environment: dict[str, str] | None = None) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed in stop()
        with on_core(core):
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=self._errors, text=True, cwd=ROOT, env=environment
            )
        self.pid = self._process.pid

    def line(self, seconds: float) -> str:
        """Return the next line of its output; empty if it has ended, or after ``seconds``."""
        stream: IO[str] | None = self._process.stdout
        assert stream is not None
        ready, _, _ = select.select([stream], [], [], seconds)
        return stream.readline().strip() if ready else ""

    def complaint(self) -> str:
        """Return the last line of its stderr."""
        self._errors.seek(0)
        lines = self._errors.read().strip().splitlines()
        return lines[-1] if lines else ""

    def report(self, seconds: float) -> dict[str, Any]:
        """Return the next line of its output, parsed as JSON.

        Raises:
            Failure: there is none within ``seconds``.
        """
        line = self.line(seconds)
        if not line:
            raise Failure(self.complaint() or f"the load generator says nothing for {seconds:.0f} s")
        found: dict[str, Any] = json.loads(line)
        return found

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """Kill the process, and wait for its end."""
        self._process.kill()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._errors.close()

    def cpu(self) -> CPU:
        """Return the CPU time of all its threads (proc(5), clock_getcpuclockid(3))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        clock = (~self.pid << 3) | 2
        return CPU(int(fields[11]) / TICKS, int(fields[12]) / TICKS, time.clock_gettime(clock))

    def resident(self) -> int:
        """Return its resident memory, in bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()


def cores() -> tuple[int, int]:
    """Return the core for contestants and the core for the load; they are equal if only one is available."""
    available = sorted(os.sched_getaffinity(0))
    return available[0], available[-1]


def build_load() -> None:
    """Compile the load generator, unless it is up to date; without TLS or compression if their headers are missing."""
    sources = sorted((ROOT / "bench" / "load").glob("*.[ch]"))
    if LOAD.exists() and LOAD.stat().st_mtime >= max(source.stat().st_mtime for source in sources):
        if all(features().values()):
            return
        features.cache_clear()  # the headers may have been installed meanwhile
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        sys.exit(
            "The load generator is written in C, and there is no C compiler. On Debian: apt-get install gcc libc6-dev"
        )
    WORK.mkdir(exist_ok=True)
    with_tls = ["-DWITH_TLS", "-lssl", "-lcrypto"] if _includes(compiler, "openssl/ssl.h") else []
    with_zlib = ["-DWITH_ZLIB", "-lz"] if _includes(compiler, "zlib.h") else []
    files = [str(source) for source in sources if source.suffix == ".c"]
    made = LOAD.with_name(f"load-{os.getpid()}")  # tests may run in parallel
    subprocess.run([compiler, "-O3", "-o", str(made), *files, *with_tls, *with_zlib], check=True)
    made.replace(LOAD)


def _includes(compiler: str, header: str) -> bool:
    """True if the compiler finds a header."""
    done = subprocess.run(
        [compiler, "-E", "-"], input=f"#include <{header}>\n", text=True, capture_output=True, check=False
    )
    return done.returncode == 0


@cache
def features() -> dict[str, bool]:
    """Return the features that the load generator was built with."""
    found: dict[str, bool] = json.loads(subprocess.run([LOAD, "features"], capture_output=True, check=True).stdout)
    return found


@contextmanager
def load(what: str, **options: object) -> Iterator[Process]:
    """Run the load generator, on its core, within the context."""
    words = [f"{name}={int(value) if isinstance(value, bool) else value}" for name, value in options.items()]
    process = Process([str(LOAD), what, *words], cores()[1])
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def running(contestant: Contestant, role: str, settings: Settings) -> Iterator[Process]:
    """Run a contestant, on its core, within the context; ``role`` is ``servers`` or ``clients``."""
    environment = {key: value for key, value in os.environ.items() if key != "WASCLEAN_PURE"}
    if contestant.pure:
        environment["WASCLEAN_PURE"] = "1"
    told = json.dumps(asdict(settings))
    path = ROOT / "bench" / role / contestant.program
    if path.suffix == ".mjs":
        command = ["node", str(path), told]
    else:
        command = [sys.executable, "-m", f"bench.{role}.{path.stem}", told]
    try:
        process = Process(command, cores()[0], environment)
    except FileNotFoundError as error:
        raise Failure(f"{error.filename} is not installed") from None
    try:
        yield process
    finally:
        process.stop()


@contextmanager
def serving(contestant: Contestant, settings: Settings) -> Iterator[tuple[Process, int]]:
    """Run a contestant's server within the context; yield its process and its port.

    Raises:
        Failure: the server does not start.
    """
    with running(contestant, "servers", settings) as process:
        port = process.line(START_TIMEOUT)
        if not port.isdigit():
            raise Failure(f"the server does not start: {process.complaint() or 'it says nothing'}")
        yield process, int(port)


def raise_file_limit(connections: int) -> int:
    """Raise the limit of open files to its maximum; return the number of connections that it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return connections if hard == resource.RLIM_INFINITY else min(connections, hard - 100)
