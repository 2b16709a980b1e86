"""What must be true after every test of a fault: nothing is left, nothing was complained of, nothing happened twice.

The garbage collector is off meanwhile: what has ended must go by itself.
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
    """What is to hold at the end.

    Attributes:
        linger: seconds in which all must be gone at the end: a transport may outlast its connection's close event.
        reported: what was logged, reported to the loop's exception handler, or raised where nobody could catch it, and
            allowed. To see that, caplog is not needed.
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
        """Watch a socket: it must close, once, and be freed when nobody has it any more.

        Args:
            socket: which.
            messages: whether it delivers messages as events.
        """
        watched = Watched(socket, messages=messages)
        self._watched.append(watched)
        self._references.append(watched.socket)
        return watched

    @property
    def events(self) -> list[str]:
        """The types of the events so far of the socket that was watched last; none if there is no such."""
        return self._watched[-1].types if self._watched else []

    def must_be_freed(self, thing: object) -> None:
        """Demand that something else is freed by the end."""
        self._references.append(ref(thing))

    def allow(self, pattern: str) -> None:
        """Allow reports in which the regular expression is found; they are to be seen in ``reported``."""
        self._allowed.append(pattern)

    async def check(self) -> None:
        """See that all is well; waits for what may linger.

        Raises:
            AssertionError: it is not.
        """
        end = monotonic() + self.linger
        while (
            self._left()
            or not all(watched.is_closed for watched in self._watched)
            or any(reference() is not None for reference in self._references)  # a thread may be about to let go
        ):
            if monotonic() > end:
                break
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        problems = [f"left: {thing}" for thing in self._left()]
        problems += [problem for watched in self._watched for problem in watched.problems()]
        problems += [f"not freed: {_held(reference)}" for reference in self._references if reference() is not None]
        gc.collect(0)  # exceptions that nobody has retrieved are told of when they are freed
        await asyncio.sleep(0)
        problems += self._complaints
        assert not problems, "\n".join(problems)

    def complain(self, text: str) -> None:
        """Take a report."""
        allowed = any(re.search(pattern, text) for pattern in self._allowed)
        (self.reported if allowed else self._complaints).append(text)

    def _left(self) -> list[str]:
        left = [_describe(fd) for inode, fd in _open_sockets().items() if inode not in self._sockets]
        left = [text for text in left if text]
        left += [repr(task) for task in asyncio.all_tasks() - self._tasks - {asyncio.current_task()}]
        return left + [repr(timer) for timer in _timers() if timer not in self._timers]


@asynccontextmanager
async def invariants() -> AsyncIterator[Invariants]:
    """Check the invariants at the end of the context; there is a fixture of this name, too."""
    kept = Invariants()
    with _reports(kept), _no_collector():
        yield kept
        await kept.check()


@contextmanager
def _no_collector() -> Iterator[None]:
    gc.collect(0)  # what others have left is none of our business; the old generations are not collected here at all
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _reports(kept: Invariants) -> Iterator[None]:
    """Take down every report, as text: it is not to keep anything alive."""

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
    """Takes down what is logged, and makes a record forget what it refers to before others keep it."""

    def __init__(self, kept: Invariants) -> None:
        super().__init__(logging.WARNING)
        self._kept = kept
        self._formatter = logging.Formatter("%(name)s %(levelname)s: %(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.complain(self._formatter.format(record))  # which puts the traceback's text into exc_text
        record.msg, record.args, record.exc_info = record.getMessage(), None, None


def _open_sockets() -> dict[str, int]:
    """The sockets of this process: by inode, so that a descriptor which is used again is another one."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # it was the listing's own
            continue
        if target.startswith("socket:"):
            found[target] = int(name)
    return found


def _describe(fd: int) -> str:
    """A socket and its ends; nothing about one end of a pair on uvloop, which makes a new pair each time it runs."""
    with sockets.socket(fileno=os.dup(fd)) as socket:
        try:
            peer = socket.getpeername()
        except OSError:
            peer = None
        if peer == "" and not hasattr(asyncio.get_running_loop(), "_scheduled"):
            return ""
        return f"socket {fd} from {socket.getsockname()} to {peer}"


def _timers() -> Iterable[asyncio.TimerHandle]:
    """What the loop will call later, as far as it lets us know: uvloop does not."""
    scheduled = getattr(asyncio.get_running_loop(), "_scheduled", ())
    return [timer for timer in scheduled if not timer.cancelled()]


def _held(reference: ref[Any]) -> str:
    thing = reference()
    holders = [holder for holder in gc.get_referrers(thing) if not isinstance(holder, FrameType)]
    return f"{thing!r}, held by {[repr(holder)[:200] for holder in holders]}"
