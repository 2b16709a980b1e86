"""The background loop: WebSocket(url) in a script that has no event loop of its own.

A JavaScript program's events wait until the script has run to its end, and the program lives as long as it has a
socket. So do these. The loop's thread is no daemon, so the process ends with its last socket. And a new socket begins
to connect when the thread that made it has ended or has not called it for GRACE seconds: a script can set handlers, or
close the socket, before anything happens. Listeners run on the loop's thread; calls from other threads are done there.

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
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import Context
from dis import opname
from threading import Event, Lock, Thread, current_thread, main_thread
from time import monotonic
from types import FrameType
from typing import Any, ClassVar

from .aio.client import start
from .aio.exits import watch_process, watch_process_from_outside
from .aio.residents import Residents
from .aio.transport import Transport
from .websocket import Opener, Target, WebSocket

#: Seconds that a script may take from making a socket to its next call before the socket begins to connect.
GRACE = 0.05


class Background:
    """One loop on one thread, from a first socket until the last of its sockets has closed and no listener runs."""

    current: ClassVar[Background | None] = None  # the one for new sockets
    script_ended: ClassVar[bool] = False
    interrupted: ClassVar[bool] = False  # whether SIGINT is what ended the program
    exit: ClassVar[SystemExit | None] = None  # what a listener has raised
    _script: ClassVar[FrameType | None] = None  # the outermost frame of the main thread
    _registered: ClassVar[bool] = False
    _lock: ClassVar[Lock] = Lock()

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._sockets: set[WebSocket] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._users = 0  # threads that are about to make a socket
        self._changed = asyncio.Event()
        self._ended = False
        self._living: asyncio.Task[None] | None = None
        self._last_call = 0.0
        self._thread = Thread(target=self._main, name="wasclean")
        self._done = Event()  # not the thread's own end: SIGINT makes join() forget that it runs

    @classmethod
    @contextmanager
    def use(cls) -> Iterator[Background]:
        """The background that runs, or a new one; it does not end meanwhile."""
        with cls._lock:
            background = cls.current
            if background is None or background._ended:
                # In an empty context: its runner, and from Python 3.14 on its thread, would keep that of this thread.
                background = cls.current = Context().run(Background)
                Context().run(background._thread.start)
                cls._outlive_script()
            background._users += 1
        try:
            yield background
        finally:
            with cls._lock:
                background._users -= 1
            background.loop.call_soon_threadsafe(background._changed.set)

    @classmethod
    def _outlive_script(cls) -> None:
        """Make the interpreter, when the script has ended, wait for us before it ends the executor."""
        if not cls._registered:
            cls._registered = True
            cls._script = _outermost(sys._current_frames().get(main_thread().ident or 0))
            threading._register_atexit(cls._wait)  # type: ignore[attr-defined]

    @classmethod
    def _wait(cls) -> None:
        cls.script_ended = True
        ends_now = cls._script is not None and _was_left_early(cls._script)
        cls._script = None
        while cls.current is not None and not cls.current._done.is_set():
            try:
                if ends_now:
                    cls.current.stop()
                cls.current._done.wait()
            except KeyboardInterrupt:
                if cls.interrupted:
                    cls.current.abandon()
                cls.interrupted = ends_now = True
        if ends_now:
            cls.exit = None  # the script says how it has ended
        watch_process()

    def stop(self) -> None:
        """End the loop: it cancels its tasks and closes its sockets with 1001, as asyncio.run() does."""
        with self._lock:
            if not self._ended:
                self.loop.call_soon_threadsafe(self._cancel)

    def abandon(self) -> None:
        """End what has not ended, now."""
        try:
            self.loop.call_soon_threadsafe(Residents.of(self.loop).abandon)
        except RuntimeError:  # the loop has been closed
            pass

    def _cancel(self) -> None:
        if self._living is not None:
            self._living.cancel()

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call a function on the loop's thread; returns what it returns, raises what it raises.

        When the loop has ended there is nothing left that could run at the same time, so the function is called here.
        """
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(function(*args))
            except BaseException as error:
                future.set_exception(error)

        with self._lock:
            self._last_call = monotonic()
            ended = self._ended
            if not ended:
                self.loop.call_soon_threadsafe(call)
        if ended:
            if current_thread() is not self._thread:
                self._done.wait()
            call()
        return future.result()

    def open(self, socket: WebSocket, target: Target, thread: Thread | None) -> None:
        """Begin to open the socket, on the loop's thread; ``thread`` is one to wait for, if any."""

        async def ready() -> None:
            while thread is not None and _is_running(thread) and monotonic() < self._last_call + GRACE:
                await asyncio.sleep(GRACE / 10)

        start(socket, target, self._tasks, BackgroundTransport, ready)
        self._sockets.add(socket)
        socket._call_at_end(self._forget)

    def _forget(self, socket: WebSocket) -> None:
        self._sockets.discard(socket)
        self._changed.set()

    def _main(self) -> None:
        try:
            with self._runner:
                try:
                    self._runner.run(self._live())
                finally:
                    with self._lock:
                        self._ended = True
        except asyncio.CancelledError:  # stop() was called
            pass
        except SystemExit as error:
            Background.exit = error
        finally:
            self._done.set()

    async def _live(self) -> None:
        self._living = asyncio.current_task()
        while not self._ended:
            if self._tasks:
                await asyncio.wait(self._tasks)
            await asyncio.sleep(0)  # the tasks' callbacks, which may start others
            with self._lock:
                self._ended = not (self._sockets or self._tasks or self._users)
            if not self._ended and not self._tasks:
                await self._changed.wait()
                self._changed.clear()
        await asyncio.sleep(0)  # what was called before the end is done before it


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
    _inherited.append(Background.current)
    Background.current = None
    Background._lock = Lock()


_inherited: list[Background | None] = []  # a loop that is freed before it is closed complains

atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class BackgroundTransport(Transport):
    """A connection of the background loop: it can be called from every thread."""

    __slots__ = ()

    def run_here(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the function on the loop's thread, and wait for it."""
        background = Background.current
        if background is None or background.loop is not self.loop():
            return Transport.run_here(self, function, *args)  # an older loop has ended, and so has the socket
        return background.run(function, *args)


_tasks: set[asyncio.Task[Any]] = set()  # of sockets that were made in somebody else's loop


def open_socket(socket: WebSocket, target: Target) -> None:
    """Begin to open a new socket: in the running loop if there is one, otherwise in the background."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        with Background.use() as background:
            background.run(background.open, socket, target, current_thread())
        watch_process_from_outside()
        return
    if Background.current is not None and Background.current.loop is loop:
        Background.current.open(socket, target, None)
    else:
        start(socket, target, _tasks)


Opener.open = open_socket
