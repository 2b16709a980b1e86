"""The awaitables that the calls of a WebSocket and of a Server return, except recv()'s.

Each counts as a coroutine, so ``create_task()``, ``gather()``, ``TaskGroup`` and ``run_coroutine_threadsafe()`` take
it. But it has no frame and no state of its own: nothing warns when it is not awaited, and any number of tasks may await
it, or run it, at the same time. A task runs it by ``send(None)``, as it does with a coroutine. Each such step either
ends, by StopIteration or another exception, or returns a new future to wait for.
"""

from __future__ import annotations

from asyncio import get_running_loop, iscoroutine
from asyncio.events import _get_running_loop
from collections.abc import Callable, Coroutine
from inspect import CO_ITERABLE_COROUTINE
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    T = TypeVar("T")

    class Pending(Coroutine[Any, Any, T]):
        """The type of a Later: type checkers report a plain Coroutine that is not awaited."""


def refuse_copy(thing: object, instead: str) -> NoReturn:
    """What ``__reduce__()`` does in objects that ``copy`` and ``pickle`` must not take for values.

    Raises:
        TypeError: says what to do instead.
    """
    raise TypeError(f"a {type(thing).__name__} can't be copied or pickled: {instead}")


class Later:
    """The base of these awaitables: subclasses define ``__next__``, which does a step."""

    __slots__ = ()

    def __await__(self) -> Later:
        return self  # all of a generator that an await needs

    def __iter__(self) -> Later:
        return self

    def __next__(self) -> Any:
        raise NotImplementedError

    def send(self, value: None) -> Any:
        """Do a step."""
        return self.__next__()

    def throw(self, kind: Any, error: Any = None, traceback: Any = None) -> Any:
        """End this wait by an exception; other waits for the same are not disturbed."""
        try:
            raise kind if error is None else error
        finally:
            kind = error = None  # the exception has this frame

    def close(self) -> None:
        """End this wait; other waits for the same are not disturbed."""

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "await the object itself, as often as needed")


def to_run(result: Any) -> Any:
    """What a listener, handler or hook has returned, as a coroutine; None if there is nothing to run.

    Whatever can be awaited is to be run, but for what ``send()`` and the like return, which happens anyway.

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
    """What send() returns while there is room: awaiting it does nothing."""

    __slots__ = ()

    def __next__(self) -> None:
        raise StopIteration


class Promise(Later):
    """Something that happens once: awaited any number of times, before it or after it, or never."""

    __slots__ = ("_done", "_error", "_futures", "_make", "_value")

    def __init__(self) -> None:
        self._done = False
        self._value: Any = None
        self._make: Callable[[], Any] | None = None
        self._error: Callable[[], BaseException] | None = None
        self._futures: list[Any] | None = None

    def succeed(self, value: Any) -> None:
        """Let every await return the value; only the first call of this or of one of the next two counts."""
        if not self._done:
            self._done = True
            self._value = value
            self._release()

    def succeed_with(self, make: Callable[[], Any]) -> None:
        """Let every await return what the function makes, which is called by each of them."""
        if not self._done:
            self._done = True
            self._make = make
            self._release()

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Let every await raise an exception, made anew for each, so that their tracebacks don't mix."""
        if not self._done:
            self._done = True
            self._error = error
            self._release()

    def _release(self) -> None:
        futures, self._futures = self._futures, None
        if futures is None:  # then this takes no memory: see Endpoint._finish()
            return
        for future in futures:
            loop = future.get_loop()
            if loop is _get_running_loop():
                _wake(future)
            else:  # somebody waits in a loop of his own for a socket of the background
                try:
                    loop.call_soon_threadsafe(_wake, future)
                except RuntimeError:  # the loop has been closed, so nobody waits any more
                    pass

    def __next__(self) -> Any:
        if not self._done:
            return self._wait()
        if self._error is not None:
            raise self._error()
        raise StopIteration(self._value if self._make is None else self._make())

    def _wait(self) -> Any:
        """A new future, which is done when this is."""
        future: Any = get_running_loop().create_future()
        future._asyncio_future_blocking = True  # what a task looks for
        if self._futures is None:
            self._futures = []
        while self._futures and self._futures[-1].done():  # a wait that was cancelled
            self._futures.pop()
        self._futures.append(future)
        return future


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


ROOM: Any = Room()
