"""Programs in other processes, which a test can read from, stop and kill."""

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

#: A shell that runs the tests in the background makes them, and so their children, ignore SIGINT.
HEED_SIGINT = ("env", "--default-signal=INT")

#: The working directory of the programs, so that they can import from tests.
ROOT = Path(__file__).parents[2]


class Ended(NamedTuple):
    """The results of a process that has ended.

    Attributes:
        status: its exit status, or the negated number of the signal that killed it.
        stdout, stderr: its output.
    """

    status: int
    stdout: str
    stderr: str


class Process:
    """A running process. Its output goes to files, so that it never waits for a reader.

    Attributes:
        pid: its process id.
    """

    def __init__(self, popen: subprocess.Popen[bytes], stdout: IO[bytes], stderr: IO[bytes]) -> None:
        self._popen = popen
        self._stdout = stdout
        self._stderr = stderr
        self.pid = popen.pid

    @property
    def stdout(self) -> str:
        """The output so far."""
        return _read(self._stdout)

    @property
    def stderr(self) -> str:
        """The error output so far."""
        return _read(self._stderr)

    @property
    def is_running(self) -> bool:
        """True until it has ended, even if it is stopped by SIGSTOP."""
        return self._popen.poll() is None

    async def line(self, start: str = "", within: float = PATIENCE) -> str:
        """Wait for the first line of its stdout that begins with ``start``, and return the rest of that line.

        Raises:
            AssertionError: the process has ended without such a line.
            TimeoutError: there is no such line after ``within`` seconds.
        """

        def find() -> str | None:
            lines = self.stdout.splitlines(keepends=True)
            return next((line for line in lines if line.startswith(start) and line.endswith("\n")), None)

        await until(lambda: find() is not None or not self.is_running, f"{start!r} of process {self.pid}", within)
        found = find()
        assert found is not None, f"process {self.pid} ended without {start!r}: {self.stdout}\n{self.stderr}"
        return found.removeprefix(start).strip()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self._popen.send_signal(number)

    async def stop(self) -> None:
        """Send SIGSTOP, and wait until the process has stopped."""
        self.send_signal(signal.SIGSTOP)
        await until(lambda: self._state() in "TX", f"process {self.pid} to stop")

    def go_on(self) -> None:
        """Send SIGCONT."""
        self.send_signal(signal.SIGCONT)

    async def ended(self, within: float = PATIENCE) -> Ended:
        """Wait until the process has ended.

        Raises:
            TimeoutError: it has not ended after ``within`` seconds.
        """
        await until(lambda: not self.is_running, f"process {self.pid} to end", within)
        return Ended(self._popen.returncode, self.stdout, self.stderr)

    def reap(self) -> None:
        """Kill the process if it is still running, and reap it."""
        self._popen.kill()  # SIGKILL ends a stopped process, too
        self._popen.wait()

    async def waits(self) -> None:
        """Wait until its main thread is sleeping, so that a signal interrupts no code."""
        await until(lambda: self._state() == "S", f"process {self.pid} to wait")

    @property
    def ignores_sigint(self) -> bool:
        """True if the process ignores SIGINT."""
        try:
            (mask,) = re.findall(r"SigIgn:\s*(\w+)", Path(f"/proc/{self.pid}/status").read_text())
        except (OSError, ValueError):  # the process has ended
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
    """Run a program; kill it at the end of the context.

    Args:
        command: the program and its arguments.
        environment: variables in addition to the present environment.
        folder: its working directory.
        descriptors: file descriptors that it inherits, with the same numbers.
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
        while running.is_running and running.ignores_sigint:  # until `env` has set the default action
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
    """Run a Python program with this interpreter and this build of the package.

    Args:
        code: the source of the program.
        arguments: its sys.argv[1:].
        prefix: a command that runs another one, such as Namespace.prefix.
        environment: variables in addition to the present environment, which has WASCLEAN_PURE.
        descriptors: file descriptors that it inherits, with the same numbers.
    """
    command = (*prefix, sys.executable, "-u", "-c", code, *arguments)
    with process(*command, environment=environment, descriptors=descriptors) as running:
        yield running


def program(name: str, package: str) -> str:
    """Return the path of a program, including those in /usr/sbin and /sbin; skip the test if it is not installed."""
    import pytest  # imported here because the programs in other processes do not need it

    path = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"))
    found = shutil.which(name, path=path)
    if found is None:
        pytest.skip(f"there is no {name} (Debian: {package})")
    return found


def _read(file: IO[bytes]) -> str:
    size = os.fstat(file.fileno()).st_size
    return os.pread(file.fileno(), size, 0).decode(errors="replace")
