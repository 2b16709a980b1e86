"""A registry of objects of which each event loop has one."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")


class PerLoop(Generic[T]):
    """One object for each loop, made when it is first needed, and freed with the loop.

    The object must not refer to the loop. A cache of the last result saves the cost of a WeakKeyDictionary for programs
    with one loop.

    Args:
        make: returns a new object for a loop.
    """

    def __init__(self, make: Callable[[AbstractEventLoop], T]) -> None:
        self._make = make
        self._all: WeakKeyDictionary[AbstractEventLoop, T] = WeakKeyDictionary()
        self._latest: tuple[Callable[[], Any], T] | None = None  # a tuple, so that threads read both values at once

    def of(self, loop: AbstractEventLoop) -> T:
        """Return the object of a loop."""
        latest = self._latest
        if latest is not None and latest[0]() is loop:
            return latest[1]
        thing = self._all.get(loop)
        if thing is None:
            thing = self._all.setdefault(loop, self._make(loop))  # another thread may have been faster
        self._latest = ref(loop, self._forget), thing
        return thing

    def _forget(self, gone: object) -> None:
        latest = self._latest
        if latest is not None and latest[0] is gone:
            self._latest = None
