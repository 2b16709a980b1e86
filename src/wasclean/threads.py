"""The background loop: WebSocket(url) in a script that has no event loop of its own.

A JavaScript program's events wait until the script has run to its end, and the program lives as long as it has a
socket. So do these. The loop's thread is no daemon, so the process ends with its last socket. And a new socket begins
to connect when the thread that made it has ended or has not called it for GRACE seconds: a script can set handlers, or
close the socket, before anything happens. Listeners run on the loop's thread. What other threads call is handed over to
it, and waits for nothing: a listener may take its time, or a lock that the script holds.

Sockets with ``daemon=True`` do not keep the process alive: when the script has ended, and the last other socket has
closed, the loop ends, which closes them with 1001.

A script that is left by an exception, sys.exit() included, or by SIGINT when it has run to its end, does not wait for
its sockets: they are closed with 1001. So they are when a listener calls sys.exit(): that ends the loop, and, when the
script has run to its end, the process, with that status.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures.thread  # noqa: F401 - it registers what ends its executors, so that ours comes before
import os
import signal
import sys
import threading
from asyncio.events import _get_running_loop
from collections.abc import Callable
from contextvars import Context
from dis import opname
from threading import Event, Thread, current_thread, main_thread
from time import monotonic
from types import FrameType
from typing import Any, ClassVar

from .aio.client import Attempt, start
from .aio.exits import watch_process, watch_process_from_outside
from .aio.residents import Residents
from .socket.waiting import BACKGROUND_LOOPS
from .socket.websocket import Opener, Target, WebSocket

#: Seconds that a script may take from making a socket to its next call before the socket begins to connect.
GRACE = 0.05


class _Tasks(set["asyncio.Task[Any]"]):
    """Tasks that tell when they have ended."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def discard(self, task: object) -> None:
        """The task has ended."""
        super().discard(task)
        self._changed()


class Household:
    """Sockets and their tasks, for which the loop runs on.

    Args:
        changed: called when a task has ended.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.sockets: set[WebSocket] = set()
        self.tasks = _Tasks(changed)

    def __bool__(self) -> bool:
        return bool(self.sockets or self.tasks)


class Background:
    """One loop on one thread, from a first socket until the last of its sockets has closed and no listener runs.

    There is no lock, for a signal handler or ``__del__`` may come between any two lines, on any thread, and make a
    socket. A thread that makes a socket puts it into the set of sockets, and then looks whether the loop has ended; the
    loop's thread says that the loop has ended, and then looks once more whether there is a socket. So one of the two
    sees the other. At worst there are two background loops for a while.
    """

    current: ClassVar[Background | None] = None  # the one for new sockets
    script_ended: ClassVar[bool] = False
    interrupted: ClassVar[bool] = False  # whether SIGINT is what ended the program
    exit: ClassVar[SystemExit | None] = None  # what a listener has raised
    _running: ClassVar[dict[asyncio.AbstractEventLoop, Background]] = {}
    _script: ClassVar[FrameType | None] = None  # the outermost frame of the main thread
    _registered: ClassVar[bool] = False

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._changed = asyncio.Event()
        self._lasting = Household(self._changed.set)
        self._daemons = Household(self._changed.set)
        self._ended = False
        self._living: asyncio.Task[None] | None = None
        self._thread = Thread(target=self._main, name="wasclean")
        self._done = Event()  # not the thread's own end: SIGINT makes join() forget that it runs

    @classmethod
    def adopt(cls, socket: WebSocket) -> Background:
        """The background that runs, or a new one; it does not end before the socket does, or has begun, if a daemon."""
        background = cls.current
        if background is not None:
            background._lasting.sockets.add(socket)
            if not background._ended:
                return background
            background._forget(socket)
        # In an empty context: its runner, and from Python 3.14 on its thread, would keep that of this thread.
        background = Context().run(cls)
        background._lasting.sockets.add(socket)
        BACKGROUND_LOOPS.add(background.loop)
        cls._running[background.loop] = background
        try:
            Context().run(background._thread.start)
        except BaseException:  # there is no thread, or a signal handler has raised this
            cls._running.pop(background.loop, None)
            background._forget(socket)
            raise
        cls.current = background
        cls._outlive_script()
        return background

    @classmethod
    def of_running_loop(cls) -> Background | None:
        """The background whose loop runs on this thread, if one does."""
        return cls._running.get(asyncio.get_running_loop())

    @classmethod
    def _outlive_script(cls) -> None:
        """Make the interpreter, when the script has ended, wait for us before it ends the executor."""
        if not cls._registered:
            cls._script = _outermost(sys._current_frames().get(main_thread().ident or 0))
            cls._registered = True
            try:
                threading._register_atexit(cls._wait)  # type: ignore[attr-defined]
            except RuntimeError:  # it has ended: the interpreter waits for its other threads, ours among them
                cls.script_ended = True

    @classmethod
    def _wait(cls) -> None:
        cls.script_ended = True
        ends_now = cls._script is not None and _was_left_early(cls._script)
        cls._script = None
        for background in list(cls._running.values()):
            background._call(background._changed.set)  # there may be none but daemons
        while running := list(cls._running.values()):
            background = running[0]
            try:
                if ends_now:
                    background.stop()
                background._done.wait()
            except KeyboardInterrupt:
                if cls.interrupted:
                    background.abandon()
                cls.interrupted = ends_now = True
        if ends_now:
            cls.exit = None  # the script says how it has ended
        watch_process()

    def open(self, socket: WebSocket, target: Target) -> None:
        """Begin to open a socket that was adopted; this is any thread but the loop's.

        Raises:
            TypeError, ValueError: an option is not valid.
        """
        thread = current_thread()
        try:
            attempt = Attempt(socket, target, self.loop, self._household(target.daemon).tasks)
        except BaseException:
            self._forget(socket)
            raise
        socket._live_elsewhere()
        residents = Residents.of(self.loop)

        async def ready() -> None:
            while _is_running(thread) and monotonic() < residents.called_at + GRACE:
                await asyncio.sleep(GRACE / 10)

        def begin() -> None:
            socket._live_here()
            socket._call_at_end(self._forget)
            if target.daemon:
                self._daemons.sockets.add(socket)
                self._lasting.sockets.discard(socket)
                self._changed.set()
            if self._ended:  # the loop only closes what it has
                attempt.refuse()
            else:
                attempt.start(ready)
            residents.attempts.discard(attempt)

        residents.attempts.add(attempt)
        residents.call_threadsafe(begin)

    def open_here(self, socket: WebSocket, target: Target) -> None:
        """Begin to open a socket that a listener has made."""
        household = self._household(target.daemon)
        start(socket, target, household.tasks)
        household.sockets.add(socket)
        socket._call_at_end(self._forget)

    def stop(self) -> None:
        """End the loop: it cancels its tasks and closes its sockets with 1001, as asyncio.run() does."""
        self._call(self._cancel)

    def abandon(self) -> None:
        """End what has not ended, now."""
        self._call(Residents.of(self.loop).abandon)

    def _call(self, function: Callable[[], object]) -> None:
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:  # the loop has been closed
            pass

    def _cancel(self) -> None:
        if self._living is not None:
            self._living.cancel()

    def _household(self, daemon: bool) -> Household:
        return self._daemons if daemon else self._lasting

    def _forget(self, socket: WebSocket) -> None:
        self._lasting.sockets.discard(socket)
        self._daemons.sockets.discard(socket)
        self._call(self._changed.set)

    def _main(self) -> None:
        try:
            with self._runner:
                try:
                    self._runner.run(self._live())
                finally:
                    self._ended = True
        except asyncio.CancelledError:  # stop() was called
            pass
        except SystemExit as error:
            Background.exit = error
        finally:
            BACKGROUND_LOOPS.discard(self.loop)
            self._running.pop(self.loop, None)
            self._done.set()

    async def _live(self) -> None:
        self._living = asyncio.current_task()
        while self._is_needed():
            await self._changed.wait()
            self._changed.clear()

    def _is_needed(self) -> bool:
        self._ended = True  # then who makes a socket sees that, or we see the socket
        self._ended = not (self._lasting or (self._daemons and not Background.script_ended))
        return not self._ended


def _is_running(thread: Thread) -> bool:
    return thread.is_alive() and not (thread is main_thread() and Background.script_ended)


def _outermost(frame: FrameType | None) -> FrameType | None:
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    return frame


def _was_left_early(frame: FrameType) -> bool:
    """Whether a frame that has ended did so by an exception: its last instruction was no return then."""
    return not opname[frame.f_code.co_code[frame.f_lasti]].startswith("RETURN")


def _at_exit() -> None:
    """A program that SIGINT or a listener's sys.exit() has ended says so to whoever started it."""
    if not Background.interrupted and Background.exit is None:
        return
    status = 0 if Background.exit is None else Background.exit.code
    if not isinstance(status, int):
        if status is not None:
            print(status, file=sys.stderr)
        status = status is not None
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    if Background.interrupted:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)


def _in_child() -> None:
    """A forked process has no thread but the one that has forked."""
    _inherited.extend(Background._running.values())
    for loop in Background._running:
        Residents.of(loop).disown_loop()
    Background.current = None
    Background._running.clear()
    BACKGROUND_LOOPS.clear()


_inherited: list[Background] = []  # a loop that is freed before it is closed complains

# asyncio makes its policy under a lock, when it first makes a loop; that must not be in a signal handler.
getattr(asyncio.events, "_get_event_loop_policy", asyncio.get_event_loop_policy)()

atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)

_tasks: set[asyncio.Task[Any]] = set()  # of sockets that were made in a loop of the program's


def open_socket(socket: WebSocket, target: Target) -> None:
    """Begin to open a new socket: in the running loop if there is one, otherwise in the background."""
    if _get_running_loop() is None:
        Background.adopt(socket).open(socket, target)
        watch_process_from_outside()
        return
    background = Background.of_running_loop()
    if background is None:
        start(socket, target, _tasks)
    else:
        background.open_here(socket, target)


Opener.open = open_socket
