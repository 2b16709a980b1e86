"""Invariants that are checked after every test of a fault: nothing leaks, nothing is reported, events fire once.

The garbage collector is disabled during the test, because objects must be freed without it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import re
import socket as sockets
import sys
import traceback
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from time import monotonic
from types import FrameType
from typing import Any
from weakref import ref

from tests.faults.patience import PATIENCE
from tests.faults.watched import Watchable, Watched


class Invariants:
    """The invariants of one test.

    Attributes:
        linger: the time for everything to be freed at the end, in seconds, since a transport may outlast the close
            event of its connection.
        reported: reports that were allowed: log records, calls of the loop's exception handler, and unraisable
            exceptions.
    """

    def __init__(self) -> None:
        self.linger = PATIENCE / 3
        self.reported: list[str] = []
        self._complaints: list[str] = []
        self._allowed: list[str] = []
        self._watched: list[Watched] = []
        self._references: list[ref[Any]] = []
        self._sockets = set(_open_sockets())
        self._tasks = set(asyncio.all_tasks())
        self._timers = set(_timers())

    def watch(self, socket: Watchable, *, messages: bool = False) -> Watched:
        """Watch a socket: it must close exactly once, and be freed after its last reference is gone.

        Args:
            socket: the socket.
            messages: True if it delivers messages as events.
        """
        watched = Watched(socket, messages=messages)
        self._watched.append(watched)
        self._references.append(watched.socket)
        return watched

    @property
    def events(self) -> list[str]:
        """The types of the events so far of the socket that was watched last."""
        return self._watched[-1].types if self._watched else []

    def must_be_freed(self, thing: object) -> None:
        """Require that an object is freed by the end."""
        self._references.append(ref(thing))

    def allow(self, pattern: str) -> None:
        """Allow reports that match a regular expression; they are added to ``reported``."""
        self._allowed.append(pattern)

    async def check(self) -> None:
        """Check the invariants; wait up to ``linger`` for everything to be freed.

        Raises:
            AssertionError: an invariant does not hold.
        """
        end = monotonic() + self.linger
        while (
            self._left()
            or not all(watched.is_closed for watched in self._watched)
            or any(reference() is not None for reference in self._references)  # a thread may still have a reference
        ):
            if monotonic() > end:
                break
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        problems = [f"left: {thing}" for thing in self._left()]
        problems += [problem for watched in self._watched for problem in watched.problems()]
        problems += [f"not freed: {_held(reference)}" for reference in self._references if reference() is not None]
        gc.collect(0)  # exceptions of futures that were never retrieved are reported when these are freed
        await asyncio.sleep(0)
        problems += self._complaints
        assert not problems, "\n".join(problems)

    def complain(self, text: str) -> None:
        """Add a report."""
        allowed = any(re.search(pattern, text) for pattern in self._allowed)
        (self.reported if allowed else self._complaints).append(text)

    def _left(self) -> list[str]:
        left = [_describe(fd) for inode, fd in _open_sockets().items() if inode not in self._sockets]
        left = [text for text in left if text]
        left += [repr(task) for task in asyncio.all_tasks() - self._tasks - {asyncio.current_task()}]
        return left + [repr(timer) for timer in _timers() if timer not in self._timers]


@asynccontextmanager
async def invariants() -> AsyncIterator[Invariants]:
    """Check the invariants at the end of the context; the fixture ``invariants`` does so, too."""
    kept = Invariants()
    with _reports(kept), _no_collector():
        yield kept
        await kept.check()


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect(0)  # free garbage of earlier tests; the older generations are not collected here
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _reports(kept: Invariants) -> Iterator[None]:
    """Collect all reports, as text, so that they keep no objects alive."""

    def unraisable(args: Any) -> None:
        trace = "".join(traceback.format_exception(args.exc_type, args.exc_value, args.exc_traceback))
        kept.complain(f"unraisable: {args.err_msg or 'in'} {args.object!r}\n{trace}")

    def exception(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        trace = "".join(traceback.format_exception(error)) if error is not None else ""
        kept.complain(f"the loop: {context.get('message')}\n{trace}")

    loop = asyncio.get_running_loop()
    before, hook = loop.get_exception_handler(), sys.unraisablehook
    loop.set_exception_handler(exception)
    sys.unraisablehook = unraisable
    handler = _Handler(kept)
    loggers = [logging.getLogger(name) for name in ("wasclean", "asyncio")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        sys.unraisablehook = hook
        loop.set_exception_handler(before)


class _Handler(logging.Handler):
    """Collects log records as text, and removes the references of each record to other objects."""

    def __init__(self, kept: Invariants) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept
        self._formatter = logging.Formatter("%(name)s %(levelname)s: %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.complain(self._formatter.format(record))  # format() keeps the traceback's text in exc_text
        record.msg, record.args, record.exc_info = record.getMessage(), None, None


def _open_sockets() -> dict[str, int]:
    """Return the sockets of this process: inode -> descriptor. A reused descriptor has another inode."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the descriptor of os.listdir() itself
            continue
        if target.startswith("socket:"):
            found[target] = int(name)
    return found


def _describe(fd: int) -> str:
    """Describe a socket; return an empty str for socket pairs on uvloop, which makes a new one for each run."""
    with sockets.socket(fileno=os.dup(fd)) as socket:
        try:
            peer = socket.getpeername()
        except OSError:
            peer = None
        if peer == "" and not hasattr(asyncio.get_running_loop(), "_scheduled"):
            return ""
        return f"socket {fd} from {socket.getsockname()} to {peer}"


def _timers() -> Iterable[asyncio.TimerHandle]:
    """Return the active timers of the loop; none on uvloop, which does not expose them."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return [timer for timer in scheduled if not timer.cancelled()]


def _held(reference: ref[Any]) -> str:
    thing = reference()
    holders = [holder for holder in gc.get_referrers(thing) if not isinstance(holder, FrameType)]
    return f"{thing!r}, held by {[repr(holder)[:200] for holder in holders]}"
