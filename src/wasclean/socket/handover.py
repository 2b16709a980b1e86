"""Handover: calls that other threads than the event loop's make.

A call from another thread, perhaps within a signal handler or ``__del__``, waits for nothing and takes no lock: its
arguments are checked at once, and the rest is handed over to the thread of the event loop. Until that has made the call
it shows in ``readyState`` and ``bufferedAmount``, so the caller sees what it would see on the loop's own thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from copy import copy
from typing import Any

from ..dom.exceptions import InvalidStateError
from .awaitables import ROOM, Promise


class Handover:
    """The calls for one session that have been handed over and not been made.

    Attributes:
        closes: True if another thread has ended, or begun to close, the connection.
    """

    __slots__ = ("_sizes", "closes")

    def __init__(self) -> None:
        # No counter: two threads that add to one at the same time may lose a summand.
        self._sizes: deque[int] = deque()
        self.closes = False

    def amount(self) -> int:
        """Return the bytes of messages that were handed over and not been queued by the loop's thread."""
        return sum(tuple(self._sizes))

    def expect(self, size: int) -> None:
        """Count a message of so many bytes that is about to be handed over."""
        if size:
            self._sizes.append(size)

    def fulfil(self, size: int) -> None:
        """Undo expect()."""
        if size:
            self._sizes.remove(size)


class HandedOver:
    """One call, to be made on the thread of the event loop.

    Args:
        function: to be called without arguments.
        promise: to be settled by its result or exception.
        failed: called with any exception of ours, which is not the caller's mistake.
        handover: counts the call until it is made.
        size: the bytes of the message that is sent by it; 0 if none is.
    """

    __slots__ = ("_failed", "_function", "_handover", "_promise", "_size")

    def __init__(
        self,
        function: Callable[[], Any],
        promise: Promise,
        failed: Callable[[Exception], object],
        handover: Handover,
        size: int,
    ) -> None:
        self._function = function
        self._promise = promise
        self._failed = failed
        self._handover = handover
        self._size = size
        handover.expect(size)

    def __call__(self) -> None:
        """Make the call."""
        try:
            self._promise.follow(self._function() or ROOM)
        except Exception as error:
            failure = error.with_traceback(None)  # it has this frame, which has the error
            self._promise.fail(lambda: copy(failure))
            if not isinstance(error, InvalidStateError):
                self._failed(error)
        finally:
            self._handover.fulfil(self._size)
