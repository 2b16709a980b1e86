"""A program in another process: to talk to, to stop, and to kill."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import IO, NamedTuple

from tests.faults.patience import PATIENCE, until

#: A shell that runs the tests in the background has let them ignore SIGINT, and so would their children.
HEED_SIGINT = ("env", "--default-signal=INT")

#: Where the programs run, so that they can import from tests.
ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """What a process has left behind.

    Attributes:
        status: its exit status; of one that a signal has killed, minus the signal's number.
    """

    status: int
    stdout: str
    stderr: str


class Process:
    """A process that runs. Its output goes to files, so that it never waits for us.

    Attributes:
        pid: its number.
    """

    def __init__(self, popen: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._popen = popen
        self._stdout = stdout
        self._stderr = stderr
        self.pid = popen.pid

    @property
    def stdout(self) -> str:
        """What it has written so far."""
        return _read(self._stdout)

    @property
    def stderr(self) -> str:
        """What it has written so far."""
        return _read(self._stderr)

    @property
    def is_running(self) -> bool:
        """Whether it has not ended; one that SIGSTOP has stopped has not."""
        return self._popen.poll() is None

    async def line(self, start: str = "", within: float = PATIENCE) -> str:
        """Wait for the first line of its stdout that begins so, and return the rest of the line.

        Raises:
            AssertionError: it has ended without that.
            TimeoutError: it has not written that within so many seconds.
        """

        def find() -> str | None:
            lines = self.stdout.splitlines(keepends=True)
            return next((line for line in lines if line.startswith(start) and line.endswith("\n")), None)

        await until(lambda: find() is not None or not self.is_running, f"{start!r} of process {self.pid}", within)
        found = find()
        assert found is not None, f"process {self.pid} ended without {start!r}: {self.stdout}\n{self.stderr}"
        return found.removeprefix(start).strip()

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; one that has ended gets none."""
        self._popen.send_signal(number)

    async def stop(self) -> None:
        """Send it SIGSTOP, and wait until it has stopped."""
        self.send_signal(signal.SIGSTOP)
        await until(lambda: self._state() in "TX", f"process {self.pid} to stop")

    def go_on(self) -> None:
        """Send it SIGCONT."""
        self.send_signal(signal.SIGCONT)

    async def ended(self, within: float = PATIENCE) -> Ended:
        """Wait until it has ended by itself, or by a signal that was sent.

        Raises:
            TimeoutError: it has not ended within so many seconds.
        """
        await until(lambda: not self.is_running, f"process {self.pid} to end", within)
        return Ended(self._popen.returncode, self.stdout, self.stderr)

    def reap(self) -> None:
        """Kill it if it still runs; nothing of it is left."""
        self._popen.kill()  # that ends a stopped one, too
        self._popen.wait()

    async def waits(self) -> None:
        """Wait until its main thread waits for something, and runs nothing that a signal could interrupt."""
        await until(lambda: self._state() == "S", f"process {self.pid} to wait")

    @property
    def ignores_sigint(self) -> bool:
        """Whether SIGINT would do nothing to it."""
        try:
            (mask,) = re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{self.pid}/status").read_text())
        except (OSError, ValueError):  # it has ended
            return False
        return bool(int(mask, 16) >> signal.SIGINT - 1 & 1)

    def _state(self) -> str:
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return "X"


@contextmanager
def process(
    *command: str,
    environment: Mapping[str, str] | None = None,
    folder: Path = ROOT,
    descriptors: Sequence[int] = (),
) -> Iterator[Process]:
    """Run a program; when the context ends, so does the process.

    Args:
        command: the program and its arguments.
        environment: variables to set on top of ours.
        folder: where it runs.
        descriptors: those of ours that it inherits, under the same numbers.
    """
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        popen = subprocess.Popen(
            [*HEED_SIGINT, *command],
            cwd=folder,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=descriptors,
        )
        running = Process(popen, stdout, stderr)
        while running.is_running and running.ignores_sigint:  # it heeds it in a moment
            sleep(0.001)
        try:
            yield running
        finally:
            running.reap()


@contextmanager
def python(
    code: str,
    *arguments: str,
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> Iterator[Process]:
    """Run a Python program with our interpreter, and with the build of the package that we have.

    Args:
        code: the program's text.
        arguments: what it finds in sys.argv[1:].
        prefix: a command that runs it, such as Namespace.prefix.
        environment: variables to set on top of ours, among which WASCLEAN_PURE is.
        descriptors: those of ours that it inherits, under the same numbers.
    """
    command = (*prefix, sys.executable, "-u", "-c", code, *arguments)
    with process(*command, environment=environment, descriptors=descriptors) as running:
        yield running


def program(name: str, package: str) -> str:
    """Where a program is, also one for administrators; without it the test is skipped."""
    import pytest  # not above: the programs in other processes have no use for it

    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"there is no {name} (Debian: {package})")
    return found


def _read(file: IO[bytes]) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")
