"""Alarms that need not be exact: the loop has one timer for all that are due in the same quarter of a second.

A timer of its own for each idle connection would be a sixth of what that takes.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from contextvars import Context
from math import ceil
from typing import Protocol
from weakref import ref

#: Seconds between two times at which such alarms go off; each goes off at the first of them that is not too early.
TICK = 0.25

#: The latest time that can be told from another: thousands of millions of years.
FAR = float(1 << 60)

#: Seconds until an alarm from which on it need not be exact.
COARSE = 7 * TICK


class Sleeper(Protocol):
    """Somebody who has set an alarm."""

    def wake(self) -> None:
        """It is time."""


class Alarms:
    """The alarms of one event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = ref(loop)
        self._due: dict[int, tuple[set[Sleeper], TimerHandle]] = {}  # by the number of the tick

    def set(self, sleeper: Sleeper, when: float, now: float, before: int = 0) -> int:
        """Wake the sleeper at the time, or up to TICK seconds later; returns what cancel() wants to know.

        Args:
            before: what this has returned for the alarm that is replaced; 0 for none.
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
        """Let the sleeper sleep on."""
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
            if sleepers and loop is not None:  # one of them has failed, which the others are not to suffer from
                self._due[tick] = sleepers, self._call_later(loop, 0.0, tick)

    def _call_later(self, loop: AbstractEventLoop, delay: float, tick: int) -> TimerHandle:
        return loop.call_later(delay, self._ring, tick, context=Context())  # not in the context of the first sleeper
