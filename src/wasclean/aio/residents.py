"""The connections of a loop, which are closed before it is.

Theory of operation. asyncio.run() and its like end a loop by close(), whatever has ended the program: a return, an
exception, sys.exit() or SIGINT. So the close() of each loop that has had connections is preceded by ours, which runs
the loop once more, for GRACE seconds at most; another SIGINT meanwhile means: now.

What other threads ask of a loop's connections waits in a queue until the loop's next turn. There is no lock, for signal
handlers and ``__del__`` ask, too: a call is put into the queue, and then the loop is woken. If the loop has been closed
by then, the first to find the call makes it: the thread that asks, or the one that closes.
"""

from __future__ import annotations

import signal
import time
from asyncio import AbstractEventLoop, Task, all_tasks, current_task, get_running_loop, sleep, wait
from asyncio.events import _get_running_loop
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context
from functools import partial
from typing import Any, ClassVar, Protocol
from weakref import WeakSet, ref

from ..model.registry import GRACE
from .signals import calling

#: Seconds between two looks at what is left.
LOOK = 0.005

#: Turns of the loop until an aborted transport has told everybody of its end.
TURNS = 10

#: What asks for the end of the loop, wherever it is raised.
LEAVING = (KeyboardInterrupt, SystemExit)


class Resident(Protocol):
    """A connection, as far as its end is concerned."""

    def leave_loop(self, timeout: float) -> None:
        """Close with 1001, within so many seconds."""

    def abandon(self) -> None:
        """End TCP now."""

    def disown(self) -> None:
        """This is another process now: never touch the connection again."""


class Plan(Protocol):
    """Something that is to become a connection: a task, or what will start one."""

    def cancel(self) -> object:
        """The loop ends."""


class Listener(Protocol):
    """A server, as far as its loop's end is concerned."""

    def stop_accepting(self) -> None:
        """Accept no connections any more."""


class Residents:
    """The connections of one event loop, from the moment there is a transport until it is gone."""

    _all: ClassVar[dict[int, Residents]] = {}  # by the loop's id; a WeakKeyDictionary is not for signal handlers

    #: Called when there may be a first connection, or none any more; whoever is concerned puts it here.
    changed: ClassVar[Callable[[], object]] = staticmethod(lambda: None)

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = ref(loop, partial(self._forget, id(loop)))
        self.present: dict[Resident, None] = {}  # a third of a set's size
        self.attempts: set[Plan] = set()  # to open another one
        self.listeners: WeakSet[Listener] = WeakSet()
        self.ending = False  # whether the loop is about to end, and opens no connections any more
        self._has_thread = True  # whether this process has the thread that the loop runs on
        self.called_at = 0.0  # the time of the latest call_threadsafe()
        self._calls: deque[Callable[[], object]] = deque()

    @classmethod
    def of(cls, loop: AbstractEventLoop) -> Residents:
        """Those of the loop."""
        residents = cls._all.get(id(loop))
        if residents is None:
            new = cls(loop)
            residents = cls._all.setdefault(id(loop), new)  # another thread may have come first
            if residents is new:
                _attributes(loop)["close"] = partial(_close_loop, loop, residents, loop.close)
        return residents

    @classmethod
    def all(cls) -> list[tuple[AbstractEventLoop, Residents]]:
        """Those of all loops."""
        found = [(residents.loop(), residents) for residents in list(cls._all.values())]
        return [(loop, residents) for loop, residents in found if loop is not None]

    @classmethod
    def anywhere(cls) -> bool:
        """Whether there is something to close in any loop."""
        return any(residents.open for _, residents in cls.all())

    @classmethod
    def _forget(cls, number: int, loop: object = None) -> None:
        cls._all.pop(number, None)

    def add(self, resident: Resident) -> None:
        """There is a transport."""
        first = not self.present
        self.present[resident] = None
        if first:
            Residents.changed()

    def remove(self, resident: Resident) -> None:
        """The transport is gone."""
        self.present.pop(resident, None)
        if not self.present:
            Residents.changed()

    def call_threadsafe(self, function: Callable[[], object]) -> None:
        """Call the function in the loop, soon, in the order of these calls; at once if the loop has been closed."""
        self.called_at = time.monotonic()
        self._calls.append(function)
        loop = self.loop()
        try:
            if loop is not None and self._has_thread:
                loop.call_soon_threadsafe(self._make_calls, context=Context())
                return
        except RuntimeError:  # it has been closed
            pass
        self._make_calls()

    def _make_calls(self) -> None:
        for _ in range(len(self._calls)):  # what comes meanwhile has its turn later on
            try:
                function = self._calls.popleft()
            except IndexError:  # another thread has made it
                return
            function()

    def attempt(self, task: Task[Any]) -> None:
        """The task opens a connection."""
        self.attempts.add(task)
        task.add_done_callback(self.attempts.discard)

    @property
    def open(self) -> bool:
        """Whether there is something to close."""
        return bool(self.present or self.attempts)

    def leave(self) -> None:
        """Begin to close all connections."""
        self.ending = True
        for listener in list(self.listeners):
            listener.stop_accepting()
        for resident in list(self.present):
            resident.leave_loop(GRACE * 0.9)
        for plan in list(self.attempts):
            plan.cancel()

    async def close(self) -> None:
        """Close all connections, and wait until they are gone."""
        self.leave()
        deadline = time.monotonic() + GRACE
        while self.open and time.monotonic() < deadline:
            await sleep(LOOK)
        self.abandon()
        for _ in range(TURNS):
            await sleep(0)

    async def cancel(self) -> None:
        """Begin to close all connections, and end what else the loop does."""
        self.leave()
        tasks = all_tasks() - {current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await wait(tasks, timeout=GRACE)
        await get_running_loop().shutdown_asyncgens()

    def abandon(self) -> None:
        """End what has not ended."""
        for resident in list(self.present):
            resident.abandon()

    def disown(self) -> None:
        """This is another process now."""
        for resident in list(self.present):
            resident.disown()
        self.present.clear()
        self.attempts.clear()

    def disown_loop(self) -> None:
        """This is another process now, without the thread that the loop ran on: calls are made at once."""
        self._has_thread = False
        self._calls.clear()


def _close_loop(loop: AbstractEventLoop, residents: Residents, close: Callable[[], None]) -> None:
    """What a loop's close() is until it has been called."""
    try:
        if residents.open or residents.listeners:
            run_to_end(loop, residents.close)
    finally:
        close()
        residents._make_calls()  # those that came too late
        residents._forget(id(loop))
        _attributes(loop).pop("close", None)


def _attributes(loop: AbstractEventLoop) -> dict[str, Any]:
    """The loop's own attributes; nothing to keep them if it has none."""
    return getattr(loop, "__dict__", {})


def run_to_end(loop: AbstractEventLoop, end: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a loop to its end, however often a listener calls sys.exit() meanwhile; SIGINT means now."""
    if loop.is_running() or _get_running_loop() is not None:  # it was the garbage collector who has called close()
        return
    exits = []
    deadline = time.monotonic() + 3 * GRACE
    with on_signals(loop, Residents.of(loop).abandon, signal.SIGINT):
        task = Context().run(loop.create_task, end())
        while not task.done() and time.monotonic() < deadline:
            try:
                loop.run_until_complete(task)
            except RuntimeError:  # a listener has stopped the loop
                pass
            except LEAVING as error:
                exits.append(error)
    if exits:
        raise exits[0]


@contextmanager
def on_signals(loop: AbstractEventLoop, function: Callable[[], object], *numbers: int) -> Iterator[None]:
    """As signals.calling(), which gives back a handler that was right before."""
    try:
        with calling(loop, function, *numbers):
            yield
    finally:
        Residents.changed()
