"""The other awaitables that a WebSocket returns. None is a coroutine, so nothing warns when it is not awaited."""

from __future__ import annotations

from asyncio import get_running_loop
from asyncio.events import _get_running_loop
from collections.abc import Callable, Generator
from typing import Any


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

    def __await__(self) -> Generator[Any, None, Any]:
        if not self._done:
            future = get_running_loop().create_future()
            if self._futures is None:
                self._futures = []
            self._futures.append(future)
            yield from future
        if self._error is not None:
            raise self._error()
        return self._value if self._make is None else self._make()


def _wake(future: Any) -> None:
    if not future.done():
        future.set_result(None)


ROOM = Room()
