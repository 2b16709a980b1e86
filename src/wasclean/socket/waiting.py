"""The awaitables that the calls of a WebSocket and of a Server return, except recv()'s.

Each counts as a coroutine, so ``create_task()``, ``gather()``, ``TaskGroup`` and ``run_coroutine_threadsafe()`` take
it. But it has no frame and no state of its own: nothing warns when it is not awaited, and any number of tasks may await
it, or run it, at the same time. A task runs it by ``send(None)``, as it does with a coroutine. Each such step either
ends, by StopIteration or another exception, or returns a new future to wait for.

Other threads may wait, too, and a signal handler or ``__del__`` may come between any two lines. So there is no lock. A
waiting task first puts its future into the list, and then looks whether the promise has been kept meanwhile; the loop
that keeps it first says so, and then goes through the list.
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


#: Loops that run on threads of this library's own, or are about to: see Promise.check_loop().
BACKGROUND_LOOPS: set[AbstractEventLoop] = set()


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
        self.close()
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
    """Something that happens once: awaited any number of times, before it or after it, or never.

    Args:
        loop: the one that will make it happen; None if that may be any.
    """

    __slots__ = ("_done", "_error", "_futures", "_loop", "_make", "_other", "_value")

    def __init__(self, loop: AbstractEventLoop | None = None) -> None:
        self._loop = loop
        self._done = False
        self._value: Any = None
        self._make: Callable[[], Any] | None = None
        self._error: Callable[[], BaseException] | None = None
        self._other: Later | None = None
        self._futures: list[Any] = []

    def succeed(self, value: Any) -> None:
        """Let every await return the value; only the first call of this or of one of the next two counts."""
        if not self._done:
            self._value = value
            self._done = True
            self._release()

    def succeed_with(self, make: Callable[[], Any]) -> None:
        """Let every await return what the function makes, which is called by each of them."""
        if not self._done:
            self._make = make
            self._done = True
            self._release()

    def fail(self, error: Callable[[], BaseException]) -> None:
        """Let every await raise an exception, made anew for each, so that their tracebacks don't mix."""
        if not self._done:
            self._error = error
            self._done = True
            self._release()

    def follow(self, other: Later) -> None:
        """Let every await do what an await of the other one does."""
        if not self._done:
            promise = other if isinstance(other, Promise) else None
            self._other = other
            self._done = True
            if promise is None or promise._done:
                self._release()
            else:
                promise.take_over(self._futures)

    def take_over(self, futures: list[Any]) -> None:
        """Let tasks wait for this that have begun to wait for a promise that follows it."""
        self._futures.extend(futures)
        futures.clear()

    def close(self) -> None:
        """End this wait; other waits for the same are not disturbed."""
        if self._other is not None:
            self._other.close()

    def check_loop(self) -> None:
        """Make sure that the running loop can wait for this.

        Raises:
            InvalidStateError: it belongs to another loop, which does not run meanwhile, so the wait would never end.
        """
        loop = self._loop
        if self._done or loop is None or loop is _get_running_loop():
            return
        if not loop.is_running() and loop not in BACKGROUND_LOOPS:  # if it runs, that is in another thread
            raise InvalidStateError(
                "this belongs to another event loop, which is not running: await it in the loop that the socket, or "
                "the server, was made in"
            )

    def _release(self) -> None:
        """Let every task go on that waits; without a waiting task this takes no memory: see Endpoint._finish()."""
        futures = self._futures
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

    def __next__(self) -> Any:
        if not self._done:
            future = self._wait()
            if not self._done:
                return future
        if self._other is not None:
            return self._other.send(None)
        if self._error is not None:
            raise self._error()
        raise StopIteration(self._value if self._make is None else self._make())

    def _wait(self) -> Any:
        """A new future, which is done when this is."""
        self.check_loop()
        future: Any = get_running_loop().create_future()
        future._asyncio_future_blocking = True  # what a task looks for
        futures = self._futures
        for last in futures[-1:]:
            if last.done():  # its wait was cancelled
                try:
                    futures.remove(last)
                except ValueError:  # another thread has done so
                    pass
        futures.append(future)
        return future


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


ROOM: Any = Room()
