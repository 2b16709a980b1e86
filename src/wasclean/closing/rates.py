"""Rates: how fast a peer may send.

Theory of operation
===================

Each limit is a token bucket that holds what may arrive in one second. It is full at first; input takes from it, and
time refills it at the rate. So a burst of one second's worth is free, and in the long run the rate is the limit. Pings
are counted one by one, because each costs an answer. Messages and bytes are counted once for each read, so that an
ordinary message costs nothing; at most one read buffer too many gets by.
"""

from __future__ import annotations

from typing import NamedTuple

from ..model.errors import RemoteProtocolError
from ..model.violations import Violation
from ..model.wording import count


class Rates(NamedTuple):
    """Limits of what a peer sends per second; None for no limit."""

    pings: int | None
    messages: int | None
    bytes: int | None


NO_RATES = Rates(None, None, None)


class Bucket:
    """One token bucket.

    Args:
        rate: tokens per second, and the size of the bucket; None for no limit.
        now: the present time, in seconds.
    """

    __slots__ = ("_left", "_time", "rate")

    def __init__(self, rate: int | None, now: float) -> None:
        self.rate = rate
        self._left = float(rate or 0)
        self._time = now

    def take(self, amount: int, now: float) -> bool:
        """Take tokens; returns True if there were enough."""
        if self.rate is None:
            return True
        self._left = self._level(self.rate, now) - amount
        self._time = now
        return self._left >= 0

    def excuse(self, since: float, now: float) -> None:
        """Refill beyond the size for input that was sent since ``since`` and arrives only now."""
        if self.rate is not None:
            self._left = self._level(self.rate, since) + (now - since) * self.rate
            self._time = now

    def _level(self, rate: int, now: float) -> float:
        """Return the number of tokens: it grows at the rate up to the size, and shrinks at the rate from beyond it."""
        flow = (now - self._time) * rate
        return min(rate, self._left + flow) if self._left < rate else max(rate, self._left - flow)


class Meter:
    """Compares the input of one connection with its Rates.

    Args:
        rates: the limits.
        now: the present time, in seconds.
    """

    __slots__ = ("_bytes", "_messages", "_pings", "_seen_bytes", "_seen_messages")

    def __init__(self, rates: Rates, now: float) -> None:
        self._pings = Bucket(rates.pings, now)
        self._messages = Bucket(rates.messages, now)
        self._bytes = Bucket(rates.bytes, now)
        self._seen_messages = 0
        self._seen_bytes = 0

    def count_ping(self, now: float) -> None:
        """Report a ping.

        Raises:
            RemoteProtocolError: it is one too many.
        """
        if not self._pings.take(1, now):
            raise RemoteProtocolError(Violation.TOO_MANY_PINGS, f"the limit is {self._pings.rate:,}")

    def look(self, messages: int, size: int, now: float) -> None:
        """Compare the totals of the input with the limits.

        Args:
            messages, size: the numbers of all messages, and of all bytes with their headers, until now.

        Raises:
            RemoteProtocolError: they have grown too fast.
        """
        before, self._seen_messages = self._seen_messages, messages
        if not self._messages.take(messages - before, now):
            raise _too_many(Violation.TOO_MANY_MESSAGES, messages - before, "message", self._messages.rate)
        before, self._seen_bytes = self._seen_bytes, size
        if not self._bytes.take(size - before, now):
            raise _too_many(Violation.TOO_MANY_BYTES, size - before, "byte", self._bytes.rate)

    def excuse(self, since: float, now: float) -> None:
        """Report that nothing was read in this time, so that input has piled up."""
        for bucket in (self._pings, self._messages, self._bytes):
            bucket.excuse(since, now)


def _too_many(violation: Violation, amount: int, what: str, rate: int | None) -> RemoteProtocolError:
    return RemoteProtocolError(violation, f"{count(amount, what)} came in the last read, and the limit is {rate:,}")
