"""Backlog: the messages that were sent while there was no room, and which of them a task waits for.

``max_buffered_amount`` limits the messages that no task waits for. A task that awaits a send() sends nothing more
meanwhile, so awaited messages limit themselves, however much they are. Whether a message is awaited is known two
iterations of the event loop after the call: ``gather()``, ``create_task()`` and ``TaskGroup`` start their tasks in the
next one. A message that another thread's event loop has sent counts as awaited until that loop has run two iterations.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections import deque
from collections.abc import Callable
from typing import Any

from .awaitables import Promise


class Place(Promise):
    """The place of a message in the backlog: the result of send() when there is no room."""

    __slots__ = ("_backlog", "_waits", "size")

    def __init__(self, backlog: Backlog, size: int) -> None:
        Promise.__init__(self, backlog.loop)
        self._backlog: Backlog | None = backlog  # None once it has left the backlog
        self._waits = 0  # tasks that wait
        self.size = size

    def __next__(self) -> Any:
        step = Promise.__next__(self)
        self._count(1)
        return step

    def take_over(self, futures: list[Any]) -> None:
        """Let tasks wait for this that have begun to wait for a promise that follows it."""
        self._count(sum(not future.done() for future in futures))  # one that is done was cancelled
        Promise.take_over(self, futures)

    def close(self) -> None:
        """End this wait, if there is one: the message is still to be sent, but that task does not await it any more."""
        if self._waits:
            self._count(-1)

    def presume_awaited(self) -> None:
        """Count as awaited until close() is called, because a task is about to wait."""
        self._count(1)

    def is_awaited(self) -> bool:
        """Return True if a task waits."""
        return self._waits > 0

    def leave(self) -> int:
        """Leave the backlog, and return the number of bytes that were awaited."""
        self._backlog = None
        return self.size if self._waits else 0

    def _count(self, step: int) -> None:
        before, self._waits = self._waits, max(self._waits + step, 0)
        if self._backlog is not None and bool(before) != bool(self._waits):
            self._backlog.wait_changed(self.size if self._waits else -self.size)


class Backlog:
    """The places of one socket, from the moment when there is no room until there is some.

    Args:
        unawaited: called when a task has given up waiting.
        loop: the socket's event loop; None if any loop may wait.

    Attributes:
        is_watched: True while a check of the limit is scheduled.
    """

    __slots__ = ("_awaited", "_places", "_size", "_unawaited", "is_watched", "loop")

    def __init__(self, unawaited: Callable[[], object], loop: AbstractEventLoop | None = None) -> None:
        self.loop = loop
        self._unawaited = unawaited
        self._places: deque[Place] = deque()
        self._size = 0  # bytes of all places
        self._awaited = 0  # bytes of those that are awaited
        self.is_watched = False

    def add(self, size: int) -> Place:
        """Return a place behind all others, for a message of so many bytes."""
        place = Place(self, size)
        self._places.append(place)
        self._size += size
        return place

    def wait_changed(self, size: int) -> None:
        """So many bytes more, or fewer if negative, are awaited."""
        self._awaited += size
        if size < 0:
            self._unawaited()

    def unawaited(self, amount: int) -> int:
        """Return the number of bytes that are buffered and not awaited, of ``amount`` bytes that are buffered."""
        self._forget(amount)
        left = max(self._size - amount, 0)  # a part of the first place
        first = self._places[0].size if self._places and self._places[0].is_awaited() else 0
        return amount - self._awaited + min(left, first)

    def is_one_message(self, size: int) -> bool:
        """Return True if so many unawaited bytes may be one message, or a part of it: one may exceed the limit."""
        return any(place.size >= size for place in self._places if not place.is_awaited())

    def release(self) -> None:
        """Settle all places: there is room."""
        self._forget(0)

    def fail(self, amount: int, error: Callable[[], BaseException]) -> None:
        """Fail the places of the last ``amount`` bytes, which will not be sent; the others succeed."""
        self._forget(amount)
        while self._places:
            self._pop().fail(error)

    def _forget(self, amount: int) -> None:
        """Settle the places whose messages have left the process: those before the last ``amount`` bytes."""
        while self._places and self._size - self._places[0].size >= amount:
            self._pop().succeed(None)

    def _pop(self) -> Place:
        place = self._places.popleft()
        self._size -= place.size
        self._awaited -= place.leave()
        return place
