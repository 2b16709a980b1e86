"""What there is once for each event loop."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")


class PerLoop(Generic[T]):
    """Things that are made when a loop first needs them, and are freed with it, so they must not refer to it.

    Nearly every program has one loop: the latest one's is found without the ado of a WeakKeyDictionary.

    Args:
        make: makes the thing of a loop.
    """

    def __init__(self, make: Callable[[AbstractEventLoop], T]) -> None:
        self._make = make
        self._all: WeakKeyDictionary[AbstractEventLoop, T] = WeakKeyDictionary()
        self._latest: tuple[Callable[[], Any], T] | None = None  # one object, for there may be other threads

    def of(self, loop: AbstractEventLoop) -> T:
        """The loop's."""
        latest = self._latest
        if latest is not None and latest[0]() is loop:
            return latest[1]
        thing = self._all.get(loop)
        if thing is None:
            thing = self._all.setdefault(loop, self._make(loop))  # another thread may have come first
        self._latest = ref(loop, self._forget), thing
        return thing

    def _forget(self, gone: object) -> None:
        latest = self._latest
        if latest is not None and latest[0] is gone:
            self._latest = None
