"""The awaitables that the calls of a WebSocket and of a Server return.

Theory of operation
===================

Each counts as a coroutine, so ``create_task()``, ``gather()``, ``TaskGroup`` and ``run_coroutine_threadsafe()`` accept
it. But it has neither a frame nor a state of its own: Python does not warn if it is never awaited, and any number of
tasks may await it, or run it, at the same time. A task runs it by ``send(None)``, as it does with a coroutine. Each of
these steps ends by StopIteration or another exception, or returns a new future to wait for.

Other threads may wait too, and a signal handler or ``__del__`` may run between any two lines, so there is no lock. A
waiting task first adds its future to the promise's list, and then checks again whether the promise is settled. The
loop that settles the promise first says so, and then goes through the list.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop, iscoroutine
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine
from inspect import CO_ITERABLE_COROUTINE
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from ..dom.exceptions import InvalidStateError

if TYPE_CHECKING:
    T = TypeVar("T")

    class Pending(Coroutine[Any, Any, T]):
        """The type of a Later: type checkers report a plain Coroutine that is not awaited."""


#: The loops that run on threads of this library's own, or are about to: see Promise.check_loop().
BACKGROUND_LOOPS: set[AbstractEventLoop] = set()


def refuse_copy(thing: object, instead: str) -> NoReturn:
    """Implement ``__reduce__()`` of an object that ``copy`` and ``pickle`` must not take for a value.

    Raises:
        TypeError: with the advice ``instead``.
    """
    raise TypeError(f"a {type(thing).__name__} can't be copied or pickled: {instead}")


class CoroutineLike:
    """The interface of a coroutine; subclasses define ``__next__``, which executes one step."""

    __slots__ = ()

    def __await__(self) -> CoroutineLike:
        return self  # an await needs no more of a generator than __next__

    def __iter__(self) -> CoroutineLike:
        return self

    def __next__(self) -> Any:
        raise NotImplementedError

    def send(self, value: None) -> Any:
        """Execute a step."""
        return self.__next__()

    def throw(self, kind: Any, error: Any = None, traceback: Any = None) -> Any:
        """End this wait by an exception; other waits for the same object go on."""
        self.close()
        try:
            raise kind if error is None else error
        finally:
            kind = error = None  # the exception has this frame

    def close(self) -> None:
        """End this wait; other waits for the same object go on."""


class Later(CoroutineLike):
    """Base of what send(), close() and the like return: the call has its effect whether this is awaited or not."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "await the object itself, as often as needed")


def to_run(result: Any) -> Any:
    """Return the coroutine to run for the result of a listener, handler or hook; None if there is nothing to run.

    Every awaitable is to be run, except a Later, whose effect does not depend on it.

    Raises:
        TypeError: it is a generator, of which nothing would ever run.
    """
    kind = type(result)
    if hasattr(kind, "__await__"):
        if isinstance(result, Later):
            return None
        return result if iscoroutine(result) else _wait_for(result)
    if kind is GeneratorType:
        if result.gi_code.co_flags & CO_ITERABLE_COROUTINE:  # of a function with the decorator types.coroutine
            return _wait_for(result)
        raise TypeError(f"it has returned a generator, {result!r}, of which nothing runs: leave out its yield")
    if kind is AsyncGeneratorType:
        raise TypeError(f"it has returned an async generator, {result!r}, of which nothing runs: leave out its yield")
    return None


async def _wait_for(awaitable: Any) -> Any:
    return await awaitable


class Room(Later):
    """The result of send() while there is room: awaiting it does nothing."""

    __slots__ = ()

    def __next__(self) -> None:
        raise StopIteration


class Promise(Later):
    """Something that happens once. It may be awaited any number of times, before or after, or never.

    Args:
        loop: the event loop that will settle the promise; None if any loop may.
    """

    __slots__ = ("_error", "_futures", "_is_settled", "_loop", "_make", "_other", "_value")

    def __init__(self, loop: AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._futures: list[Any] | None = None  # of the tasks that wait
        # The result: one of these four.
        self._is_settled = False
        self._value: Any = None
        self._make: Callable[[], Any] | None = None
        self._error: Callable[[], BaseException] | None = None
        self._other: Later | None = None

    def succeed(self, value: Any) -> None:
        """Let every await return the value. Only the first call of this and the next three methods has an effect."""
        if not self._is_settled:
            self._value = value
            self._is_settled = True
            self._release()

    def succeed_with(self, make: Callable[[], Any]) -> None:
        """Let every await return the result of a call of the function."""
        if not self._is_settled:
            self._make = make
            self._is_settled = True
            self._release()

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Let every await raise an exception. Each gets a new one, so that their tracebacks do not mix."""
        if not self._is_settled:
            self._error = error
            self._is_settled = True
            self._release()

    def follow(self, other: Later) -> None:
        """Let every await do what an await of the other object does."""
        if not self._is_settled:
            promise = other if isinstance(other, Promise) else None
            self._other = other
            self._is_settled = True
            if promise is None or promise.is_settled():
                self._release()
            elif self._futures is not None:
                promise.take_over(self._futures)

    def is_settled(self) -> bool:
        """Return True if an await would not wait; what it follows may still be waited for."""
        return self._is_settled

    def take_over(self, futures: list[Any]) -> None:
        """Let tasks wait for this that have begun to wait for a promise that follows it."""
        self._waiting().extend(futures)
        futures.clear()

    def close(self) -> None:
        """End this wait; other waits for the same object go on."""
        if self._other is not None:
            self._other.close()

    def check_loop(self) -> None:
        """Make sure that the running loop can wait for this.

        Raises:
            InvalidStateError: it belongs to another loop, which does not run meanwhile, so the wait would never end.
        """
        loop = self._loop
        if self._is_settled or loop is None or loop is _get_running_loop():
            return
        if not loop.is_running() and loop not in BACKGROUND_LOOPS:  # if it runs, that is in another thread
            raise InvalidStateError(
                "this belongs to another event loop, which is not running: await it in the loop that the socket, or "
                "the server, was made in"
            )

    def __next__(self) -> Any:
        if not self._is_settled:
            future = self._wait()
            if not self._is_settled:
                return future
        if self._other is not None:
            return self._other.send(None)
        if self._error is not None:
            raise self._error()
        raise StopIteration(self._value if self._make is None else self._make())

    def _wait(self) -> Any:
        """Return a new future, which is done when the promise is settled."""
        self.check_loop()
        future: Any = get_running_loop().create_future()
        future._asyncio_future_blocking = True  # a task looks for this
        futures = self._waiting()
        for last in futures[-1:]:
            if last.done():  # its wait was cancelled
                try:
                    futures.remove(last)
                except ValueError:  # another thread has removed it
                    pass
        futures.append(future)
        return future

    def _waiting(self) -> list[Any]:
        """Return the list of futures, which most promises never need."""
        if self._futures is None:
            new: list[Any] = []
            if self._futures is None:  # no thread runs between this line and the next
                self._futures = new
        return self._futures

    def _release(self) -> None:
        """Let every waiting task continue. Without one this allocates nothing: see Session._finish()."""
        futures = self._futures
        if futures is None:
            return
        futures.reverse()
        while futures:
            try:
                future = futures.pop()
            except IndexError:  # another thread has removed the last one, whose wait was cancelled
                return
            loop = future.get_loop()
            if loop is _get_running_loop():
                _wake(future)
            else:  # a task of another thread's loop waits
                try:
                    loop.call_soon_threadsafe(_wake, future)
                except RuntimeError:  # that loop has been closed, and the task with it
                    pass


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


ROOM: Any = Room()
