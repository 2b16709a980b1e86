"""The record of one event loop: its connections, its servers, and what other threads ask of them.

A connection stands in the record from the moment it has a transport until that is gone, an attempt to connect until
its task is done, and a server until it is freed. wasclean.process, which registers itself by ``LoopState.install()``,
reads the records to close what is open before a loop, or the process, ends.

Calls of other threads wait in a queue until the loop's next turn. There is no lock, because signal handlers and
``__del__`` call, too: a call is put into the queue, and then the loop is woken. If the loop has been closed by then,
the thread that calls makes the call; if it is closed before its next turn, the thread that closes it does.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, Task
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from contextvars import Context
from functools import partial
from typing import Any, ClassVar, Protocol
from weakref import WeakSet, ref

#: Exceptions that ask for the end of the loop, wherever they are raised.
LEAVING = (KeyboardInterrupt, SystemExit)


class Connection(Protocol):
    """A connection that has a transport."""

    def leave_loop(self, timeout: float) -> None:
        """Close with 1001 within so many seconds; give up an opening that is not complete."""

    def abandon(self) -> None:
        """End TCP now."""

    def disown(self) -> None:
        """Leave the connection to the parent of this forked process."""


class Attempt(Protocol):
    """A connection that has no transport yet: a task, or an object that will start one."""

    def cancel(self) -> object:
        """Give up, because the loop ends."""


class Server(Protocol):
    """A server of the loop."""

    def stop_accepting(self) -> None:
        """Accept no more connections."""


class Listener(Protocol):
    """The listening sockets of a server."""

    def disown(self) -> None:
        """Leave the listening sockets to the parent of this forked process."""


class Process(Protocol):
    """The part of wasclean.process that a loop's connections need."""

    def changed(self, state: LoopState) -> None:
        """Take note of the first connection or server, or of the end of the last one."""

    def stopped_by_signals(self, loop: AbstractEventLoop, stop: Callable[[], object]) -> AbstractContextManager[None]:
        """Let SIGINT and SIGTERM call a function in the loop, in place of ending the process, within the context."""


class LoopState:
    """The record of one event loop."""

    _all: ClassVar[dict[int, LoopState]] = {}  # by id(loop); signal handlers must not use a WeakKeyDictionary
    _process: ClassVar[Process | None] = None

    def __init__(self, loop: AbstractEventLoop, process: Process) -> None:
        self.loop = ref(loop, partial(self._forget, id(loop)))
        self.process = process
        self.connections: dict[Connection, None] = {}  # a third of a set's size
        self.attempts: set[Attempt] = set()
        self.servers: WeakSet[Server] = WeakSet()
        self.listeners: WeakSet[Listener] = WeakSet()
        self.ending = False  # True once the loop is about to end, and opens no more connections
        # Calls of other threads.
        self.called_at = 0.0
        self._calls: deque[Callable[[], object]] = deque()
        self._has_thread = True  # False in a forked process that lacks the thread of the loop

    @classmethod
    def install(cls, process: Process) -> None:
        """Register wasclean.process, before the first record is made."""
        cls._process = process

    @classmethod
    def of(cls, loop: AbstractEventLoop) -> LoopState:
        """Return the loop's record.

        Raises:
            RuntimeError: nothing would close its connections, because wasclean.process is not installed.
        """
        state = cls._all.get(id(loop))
        if state is None:
            if cls._process is None:
                raise RuntimeError("call wasclean.process.install() first; asking wasclean for a public name does that")
            state = cls._all.setdefault(id(loop), cls(loop, cls._process))  # another thread may have been faster
        return state

    @classmethod
    def all(cls) -> list[tuple[AbstractEventLoop, LoopState]]:
        """Return all loops with their records."""
        found = [(state.loop(), state) for state in list(cls._all.values())]
        return [(loop, state) for loop, state in found if loop is not None]

    @classmethod
    def _forget(cls, number: int, loop: object = None) -> None:
        cls._all.pop(number, None)

    @property
    def is_open(self) -> bool:
        """True while there is a connection, or an attempt to open one."""
        return bool(self.connections or self.attempts)

    def add(self, connection: Connection) -> None:
        """Record a connection that has got a transport."""
        first = not self.connections
        self.connections[connection] = None
        if first:
            self.process.changed(self)

    def remove(self, connection: Connection) -> None:
        """Forget a connection whose transport is gone."""
        self.connections.pop(connection, None)
        if not self.connections:
            self.process.changed(self)

    def add_attempt(self, task: Task[Any]) -> None:
        """Record a task that opens a connection, until it is done."""
        self.attempts.add(task)
        task.add_done_callback(self.attempts.discard)

    def add_server(self, server: Server) -> None:
        """Record a server."""
        self.servers.add(server)
        self.process.changed(self)

    def remove_server(self, server: Server) -> None:
        """Forget a server that accepts no more connections."""
        self.servers.discard(server)
        self.process.changed(self)

    def go_away(self, timeout: float) -> None:
        """Stop accepting and connecting, and begin to close all connections with 1001 within so many seconds."""
        self.ending = True
        for server in list(self.servers):
            server.stop_accepting()
        for connection in list(self.connections):
            connection.leave_loop(timeout)
        for attempt in list(self.attempts):
            attempt.cancel()

    def abandon(self) -> None:
        """End TCP of all connections now."""
        for connection in list(self.connections):
            connection.abandon()

    def disown(self) -> None:
        """Leave everything to the parent of this forked process."""
        for connection in list(self.connections):
            connection.disown()
        for listener in list(self.listeners):
            listener.disown()
        self.connections.clear()
        self.attempts.clear()
        self.servers.clear()

    # Calls of other threads.

    def call_threadsafe(self, function: Callable[[], object]) -> None:
        """Call a function in the loop, soon, in the order of these calls; at once if the loop has been closed."""
        self.called_at = time.monotonic()
        self._calls.append(function)
        loop = self.loop()
        try:
            if loop is not None and self._has_thread:
                loop.call_soon_threadsafe(_Turn(self), context=Context())
                return
        except RuntimeError:  # it has been closed
            pass
        self.make_calls()

    def defer(self, function: Callable[[], object]) -> None:
        """Keep a call that the loop has refused because it was closed before its connections."""
        self._calls.append(function)

    def make_calls(self) -> None:
        """Make the calls that are waiting; those that are added meanwhile have their own turn."""
        for _ in range(len(self._calls)):
            try:
                function = self._calls.popleft()
            except IndexError:  # another thread has made it
                return
            function()

    def lose_thread(self) -> None:
        """Forget the calls, and make later ones at once, for this forked process lacks the thread of the loop."""
        self._has_thread = False
        self._calls.clear()


class _Turn:
    """Makes the waiting calls: in the loop's next turn, or when close() discards callbacks that have not run."""

    __slots__ = ("_state",)

    def __init__(self, state: LoopState) -> None:
        self._state = state

    def __call__(self) -> None:
        self._state.make_calls()

    def __del__(self) -> None:
        loop = self._state.loop()
        if loop is None or loop.is_closed():
            self._state.make_calls()
