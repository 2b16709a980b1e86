"""The asyncio services that all connections of an event loop share: a clock, alarms, and memory to read into.

Most alarms of connections are seconds away, are replaced before they go off, and need not be exact. The loop has one
timer for all of them that are due in the same quarter of a second: a timer for each idle connection would be a sixth of
its memory.
"""

from __future__ import annotations

import time
from asyncio import AbstractEventLoop, BaseEventLoop, TimerHandle
from contextvars import Context
from math import ceil
from typing import Protocol
from weakref import ref

from ..wire.receiver import ReadBuffer
from .loopstate import LoopState
from .perloop import PerLoop

#: Seconds between two times at which coarse alarms go off; each goes off at the first of them that is not too early.
TICK = 0.25

#: The latest time that can be told from another: thousands of millions of years.
FAR = float(1 << 60)

#: An alarm that is more than so many seconds away is a coarse one.
COARSE = 7 * TICK


class Sleeper(Protocol):
    """Sets alarms."""

    def wake(self) -> None:
        """Act on the alarm."""


class Alarms:
    """The coarse alarms of one event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._due: dict[int, tuple[set[Sleeper], TimerHandle]] = {}  # by the number of the tick

    def set(self, sleeper: Sleeper, when: float, now: float, before: int = 0) -> int:
        """Wake the sleeper at the time, or up to TICK seconds later; return the tick, for cancel().

        Args:
            before: the tick of the alarm that is replaced; 0 for none.
        """
        tick = ceil(min(when, FAR) / TICK)
        if tick == before:
            return tick
        if before:
            self.cancel(sleeper, before)
        entry = self._due.get(tick)
        if entry is None:
            loop = self._loop()
            assert loop is not None
            entry = self._due[tick] = set(), self._call_later(loop, max(0.0, tick * TICK - now), tick)
        sleepers = entry[0]
        sleepers.add(sleeper)
        return tick

    def cancel(self, sleeper: Sleeper, tick: int) -> None:
        """Cancel the sleeper's alarm at that tick."""
        entry = self._due.get(tick)
        if entry is not None:
            sleepers = entry[0]
            sleepers.discard(sleeper)
            if not sleepers:
                entry[1].cancel()
                del self._due[tick]

    def _ring(self, tick: int) -> None:
        sleepers, _ = self._due[tick]
        try:
            while sleepers:
                sleepers.pop().wake()
        finally:
            self._due.pop(tick, None)
            loop = self._loop()
            if sleepers and loop is not None:  # one of them has failed; the others get another timer
                self._due[tick] = sleepers, self._call_later(loop, 0.0, tick)

    def _call_later(self, loop: AbstractEventLoop, delay: float, tick: int) -> TimerHandle:
        return loop.call_later(delay, self._ring, tick, context=Context())  # not in the context of the first sleeper


class Services:
    """What the connections of one event loop share; it must not refer to the loop, with which it is freed.

    Attributes:
        alarms: coarse alarms.
        buffer: the memory that all connections read into: a loop that waits for readiness reads one at a time.
        loop_state: the record of the loop.
    """

    __slots__ = ("_asks_loop", "alarms", "buffer", "loop_state")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.alarms = Alarms(loop)
        self.buffer = ReadBuffer()
        self.loop_state = LoopState.of(loop)
        self._asks_loop = isinstance(loop, BaseEventLoop)  # uvloop's clock is the same one, but counts milliseconds

    def now(self, loop: AbstractEventLoop) -> float:
        """Return the loop's time."""
        return loop.time() if self._asks_loop else time.monotonic()


_services = PerLoop(Services)


def buffer_of(loop: AbstractEventLoop) -> ReadBuffer:
    """Return the memory that a loop's connections read into."""
    return _services.of(loop).buffer


def services_of(loop: AbstractEventLoop) -> Services:
    """Return the services of a loop."""
    return _services.of(loop)
