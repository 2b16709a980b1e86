"""The awaitables that a WebSocket returns. None is a coroutine, so nothing warns when it is not awaited.

Theory of operation. A task that waits for a message gets a Waiter instead of a Future. When a read has put messages
into the socket's queue, the waiter steps the task at once, from within the read: one turn of the loop earlier than a
Future, and everything that the task then sends leaves in the read's one write. That is safe when no other task is
running, which is so in a transport's callback; anywhere else the waiter does as a Future does.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, InvalidStateError, current_task, get_running_loop
from asyncio.events import _get_running_loop
from collections.abc import Callable, Generator
from contextvars import Context
from typing import Any


class Waiter:
    """The part of asyncio.Future that a task needs in order to wait: without a result, and for one task."""

    __slots__ = ("_asyncio_future_blocking", "_callback", "_cancel_message", "_cancelled", "_context", "_done", "_loop")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._asyncio_future_blocking = True
        self._callback: Callable[[Any], object] | None = None
        self._context: Context | None = None
        self._done = False
        self._cancelled = False
        self._cancel_message: Any = None

    def wake(self) -> None:
        """Let the task go on: at once if no task is running."""
        if self._done:
            return
        self._done = True
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is None:
            return
        if context is None or current_task(self._loop) is not None:
            self._loop.call_soon(callback, self, context=context)
        else:
            try:
                context.run(callback, self)
            except BaseException as error:  # sys.exit() in the task: it is to end the loop, and not a read
                self._loop.call_soon(_raise, error)

    def get_loop(self) -> AbstractEventLoop:
        """The loop of the waiting task."""
        return self._loop

    def done(self) -> bool:
        """Whether the wait is over."""
        return self._done

    def cancelled(self) -> bool:
        """Whether the wait was cancelled."""
        return self._cancelled

    def result(self) -> None:
        """None, or the end of a cancelled wait.

        Raises:
            CancelledError: the wait was cancelled.
            asyncio.InvalidStateError: the wait is not over.
        """
        if self._cancelled:
            raise CancelledError() if self._cancel_message is None else CancelledError(self._cancel_message)
        if not self._done:
            raise InvalidStateError("the wait is not over")

    def exception(self) -> None:
        """As result()."""
        self.result()

    def add_done_callback(self, callback: Callable[[Any], object], *, context: Context | None = None) -> None:
        """Call back when the wait is over; a task does this once."""
        if self._done:
            self._loop.call_soon(callback, self, context=context)
        else:
            self._callback = callback
            self._context = context

    def remove_done_callback(self, callback: Callable[[Any], object]) -> int:
        """Take add_done_callback() back; returns how many callbacks that removed."""
        if self._callback is None or self._callback != callback:
            return 0
        self._callback = self._context = None
        return 1

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the wait; nothing but the wait changes. Returns False if it was over."""
        if self._done:
            return False
        self._done = True
        self._cancelled = True
        self._cancel_message = msg
        callback, context = self._callback, self._context
        self._callback = self._context = None
        if callback is not None:
            self._loop.call_soon(callback, self, context=context)
        return True


def _raise(error: BaseException) -> None:
    raise error


class Room:
    """What send() returns while there is room: awaiting it does nothing."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return self  # type: ignore[return-value]  # all of a generator that an await needs

    def __iter__(self) -> Room:
        return self

    def __next__(self) -> None:
        raise StopIteration


class Promise:
    """Something that happens once: awaited as often as one likes, before or after, or never."""

    __slots__ = ("_done", "_error", "_futures", "_value")

    def __init__(self) -> None:
        self._done = False
        self._value: Any = None
        self._error: Callable[[], BaseException] | None = None
        self._futures: list[Any] | None = None

    def succeed(self, value: Any) -> None:
        """Let every await return the value; only the first call of this or fail() counts."""
        if not self._done:
            self._done = True
            self._value = value
            self._release()

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Let every await raise an exception, made anew for each, so that their tracebacks don't mix."""
        if not self._done:
            self._done = True
            self._error = error
            self._release()

    def _release(self) -> None:
        futures, self._futures = self._futures, None
        for future in futures or ():
            loop = future.get_loop()
            if loop is _get_running_loop():
                _wake(future)
            else:  # somebody waits in a loop of his own for a socket of the background
                try:
                    loop.call_soon_threadsafe(_wake, future)
                except RuntimeError:  # the loop has been closed, so nobody waits any more
                    pass

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            future = get_running_loop().create_future()
            if self._futures is None:
                self._futures = []
            self._futures.append(future)
            yield from future
        if self._error is not None:
            raise self._error()
        return self._value


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


ROOM = Room()
