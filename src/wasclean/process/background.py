"""The background loop: WebSocket(url) in a script that has no event loop of its own.

A JavaScript program's events wait until the script has run to its end, and the program lives as long as it has a
socket. So do these. The loop's thread is not a daemon, so the process ends with its last socket. A new socket begins to
connect when the thread that made it has ended, or has called no socket for START_DELAY seconds: a script can set
listeners, or close the socket, before anything happens. Listeners run on the loop's thread. Calls of other threads are
handed over to it and wait for nothing: a listener may take its time, or take a lock that the script holds.

Sockets with ``daemon=True`` do not keep the process alive: when the script has ended, and the last other socket has
closed, the loop ends, which closes them with 1001. A listener that calls sys.exit() ends the loop, too. script.py has
the rest of the end of a script.
"""

from __future__ import annotations

import asyncio
from asyncio.events import _get_running_loop
from collections.abc import Callable
from contextvars import Context
from threading import Event, Thread, current_thread, get_ident, main_thread
from time import monotonic
from typing import Any, ClassVar

from ..aio.client import Attempt, start
from ..aio.loopstate import LoopState
from ..socket.awaitables import BACKGROUND_LOOPS
from ..socket.target import Target
from ..socket.websocket import WebSocket, session_of
from .loops import call_in
from .script import SCRIPT
from .termination import update_for_background

#: Seconds that a script may take from making a socket to its next call before the socket begins to connect.
START_DELAY = 0.05


class _Tasks(set["asyncio.Task[Any]"]):
    """Tasks that call a function when they have ended."""

    def __init__(self, changed: Callable[[], None]) -> None:
        super().__init__()
        self._changed = changed

    def discard(self, task: object) -> None:
        """Forget a task that has ended."""
        super().discard(task)
        self._changed()


class Holders:
    """Sockets, and the tasks of their listeners, for which the loop runs on.

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

    There is no lock, because a signal handler or ``__del__`` may come between any two lines, on any thread, and make a
    socket. A thread that makes a socket puts it into the set of sockets, and then looks whether the loop has ended; the
    loop's thread says that the loop has ended, and then looks once more whether there is a socket. So one of the two
    sees the other. At worst there are two background loops for a while.
    """

    current: ClassVar[Background | None] = None  # the one for new sockets
    running: ClassVar[dict[asyncio.AbstractEventLoop, Background]] = {}

    def __init__(self) -> None:
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self.loop = self._runner.get_loop()
        self._changed = asyncio.Event()
        self._lasting = Holders(self._changed.set)
        self._daemons = Holders(self._changed.set)
        self._ended = False
        self._living: asyncio.Task[None] | None = None
        self._thread = Thread(target=self._main, name="wasclean")
        self._done = Event()  # not the thread's own end: SIGINT makes join() forget that the thread runs

    @classmethod
    def adopt(cls, socket: WebSocket) -> Background:
        """Return the running background, or a new one; it does not end before the socket has begun, or has closed."""
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
        cls.running[background.loop] = background
        try:
            Context().run(background._thread.start)
        except BaseException:  # no thread can be started, or a signal handler has raised this
            cls.running.pop(background.loop, None)
            background._forget(socket)
            raise
        cls.current = background
        SCRIPT.outlive(cls.running)
        return background

    @classmethod
    def of_running_loop(cls) -> Background | None:
        """Return the background whose loop runs on this thread; None if that is another loop."""
        return cls.running.get(asyncio.get_running_loop())

    def open(self, socket: WebSocket, target: Target) -> None:
        """Begin to open a socket that was adopted; this is any thread but the loop's.

        Raises:
            TypeError, ValueError: an option is not valid.
        """
        thread = current_thread()
        try:
            attempt = Attempt(socket, target, self.loop, self._holders(target.daemon).tasks)
        except BaseException:
            self._forget(socket)
            raise
        session = session_of(socket)
        session.thread = 0  # not known yet
        state = LoopState.of(self.loop)

        async def ready() -> None:
            while _is_running(thread) and monotonic() < state.called_at + START_DELAY:
                await asyncio.sleep(START_DELAY / 10)

        def begin() -> None:
            session.thread = get_ident()
            session.on_end = self._forget
            if target.daemon:
                self._daemons.sockets.add(socket)
                self._lasting.sockets.discard(socket)
                self._changed.set()
            if self._ended:  # the loop only closes what it has
                attempt.refuse()
            else:
                attempt.start(ready)
            state.attempts.discard(attempt)

        state.attempts.add(attempt)
        state.call_threadsafe(begin)

    def open_here(self, socket: WebSocket, target: Target) -> None:
        """Begin to open a socket that a listener has made."""
        holders = self._holders(target.daemon)
        start(socket, target, holders.tasks)
        holders.sockets.add(socket)
        session_of(socket).on_end = self._forget

    def script_ended(self) -> None:
        """Look again whether the loop is needed, for the script has ended: all of its sockets may be daemons."""
        call_in(self.loop, self._changed.set)

    def stop(self) -> None:
        """End the loop: it cancels its tasks and closes its sockets with 1001, as asyncio.run() does."""
        call_in(self.loop, self._cancel)

    def abandon(self) -> None:
        """End what has not ended, now."""
        call_in(self.loop, LoopState.of(self.loop).abandon)

    def wait(self) -> None:
        """Wait until the loop has been closed."""
        self._done.wait()

    def _cancel(self) -> None:
        if self._living is not None:
            self._living.cancel()

    def _holders(self, daemon: bool) -> Holders:
        return self._daemons if daemon else self._lasting

    def _forget(self, socket: WebSocket) -> None:
        self._lasting.sockets.discard(socket)
        self._daemons.sockets.discard(socket)
        call_in(self.loop, self._changed.set)

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
            SCRIPT.exit = error
        finally:
            BACKGROUND_LOOPS.discard(self.loop)
            self.running.pop(self.loop, None)
            self._done.set()

    async def _live(self) -> None:
        self._living = asyncio.current_task()
        while self._is_needed():
            await self._changed.wait()
            self._changed.clear()

    def _is_needed(self) -> bool:
        self._ended = True  # then who makes a socket sees that, or we see the socket
        self._ended = not (self._lasting or (self._daemons and not SCRIPT.ended))
        return not self._ended


def _is_running(thread: Thread) -> bool:
    return thread.is_alive() and not (thread is main_thread() and SCRIPT.ended)


_inherited: list[Background] = []  # a loop that is freed before it is closed complains


def in_child() -> None:
    """Forget, in a forked process, the loops whose threads it does not have."""
    _inherited.extend(Background.running.values())
    for loop in Background.running:
        LoopState.of(loop).lose_thread()
    Background.current = None
    Background.running.clear()
    BACKGROUND_LOOPS.clear()


_tasks: set[asyncio.Task[Any]] = set()  # of sockets that were made in a loop of the program's


def open_socket(socket: WebSocket, target: Target) -> None:
    """Begin to open a new socket: in the running loop if there is one, otherwise in the background."""
    if _get_running_loop() is None:
        Background.adopt(socket).open(socket, target)
        update_for_background()
        return
    background = Background.of_running_loop()
    if background is None:
        start(socket, target, _tasks)
    else:
        background.open_here(socket, target)
