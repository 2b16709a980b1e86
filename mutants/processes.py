"""Forks that do work, as many at a time as there are cores."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

BROKEN = 99  # exit status of a fork whose work raised an exception
HANGS = 600.0  # seconds without an end, whatever the CPU time

_terminal = os.dup(2)  # pytest redirects the original


def say(*lines: str) -> None:
    """Print to the terminal from any fork."""
    os.write(_terminal, "".join(f"{line}\n" for line in lines).encode())


def limit(seconds: float) -> None:
    """Kill this process after that much CPU time from now, or if it waits for very long."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    signal.setitimer(signal.ITIMER_REAL, max(seconds * 10, HANGS))


def run_all(works: Sequence[Callable[[], int]], what: str) -> list[int]:
    """Do each work in a fork of its own.

    Args:
        what: says in the progress what the works are.

    Returns:
        What each returned, or the negative number of the signal that killed its fork.
    """
    codes = [BROKEN] * len(works)
    running: dict[int, int] = {}
    waiting = iter(range(len(works)))
    for done in range(1, len(works) + 1):
        while len(running) < (os.cpu_count() or 1) and (at := next(waiting, None)) is not None:
            running[_fork(works[at])] = at
        process, status = os.waitpid(-1, 0)
        at = running.pop(process)
        codes[at] = os.waitstatus_to_exitcode(status)
        if codes[at] == BROKEN:
            raise SystemExit("a trial broke: see above")
        if done % 100 == 0 or done == len(works):
            say(f"{done} of {len(works)} {what}")
    return codes


def in_fork(work: Callable[[], Any]) -> Any:
    """Do work in a fork, and return its result, which is pickled."""
    reader, writer = os.pipe()

    def send() -> int:
        os.close(reader)
        with open(writer, "wb") as file:
            pickle.dump(work(), file)
        return 0

    process = _fork(send)
    os.close(writer)
    with open(reader, "rb") as file:
        data = file.read()
    _, status = os.waitpid(process, 0)
    if status:
        raise SystemExit("no mutant was tried: see above")
    return pickle.loads(data)


def _fork(work: Callable[[], int]) -> int:
    """Start work in a fork without output, and return the number of its process."""
    sys.stdout.flush()
    process = os.fork()
    if process:
        return process
    code = BROKEN
    try:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
        code = work()
    except BaseException:
        say(traceback.format_exc())
    os._exit(code)
