"""Programs in other processes, which use the same event loop as the test, and report their close events."""

from __future__ import annotations

import asyncio
import os
import pickle
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any

from tests.faults.processes import Process, python
from wasclean import CloseEvent

_LOOP = "LOOP_OF_THE_PROGRAM"
_CLOSED = "closed "


def started(code: str, *arguments: object, **options: Any) -> AbstractContextManager[Process]:
    """Run a program that calls run() of this module; for the options see processes.python()."""
    name = "asyncio" if isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop) else "uvloop"
    return python(code, *map(str, arguments), environment={_LOOP: name}, **options)


async def closed(running: Process) -> CloseEvent:
    """Wait for the close event that a program passes to tell()."""
    return _read(await running.line(_CLOSED))


def all_closed(stdout: str) -> list[CloseEvent]:
    """Return all close events in the output of a program, whose last line may not be complete yet."""
    lines = [line for line in stdout.splitlines(keepends=True) if line.endswith("\n")]
    return [_read(line.removeprefix(_CLOSED)) for line in lines if line.startswith(_CLOSED)]


def _read(line: str) -> CloseEvent:
    return CloseEvent("close", outcome=pickle.loads(bytes.fromhex(line)))


# For the programs.


def new_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop of the kind that the test uses."""
    if os.environ[_LOOP] == "asyncio":
        return asyncio.new_event_loop()
    import uvloop

    return uvloop.new_event_loop()


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
    """Call asyncio.run() with new_loop()."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def tell(event: CloseEvent) -> None:
    """Print a close event for closed()."""
    print(_CLOSED + pickle.dumps(event.outcome).hex(), flush=True)
