"""How fast a peer may send: token buckets, each of which holds what may arrive in one second.

Theory of operation. A bucket is full at first, what arrives takes from it, and time fills it again at the rate, up to
what a second brings. So nobody is held up for a burst, and in the long run nobody gets more than the rate. Pings are
counted one by one, for each costs an answer; messages and bytes once for each read, so that an ordinary message costs
nothing, and no more than a read buffer of them gets by.
"""

from __future__ import annotations

from typing import NamedTuple

from ..model.errors import RemoteProtocolError
from ..model.violations import Violation
from ..model.wording import count


class Rates(NamedTuple):
    """What a peer may send in a second; None for no limit."""

    pings: int | None
    messages: int | None
    bytes: int | None


NO_RATES = Rates(None, None, None)


class Bucket:
    """One allowance.

    Args:
        rate: what may arrive in a second; None for no limit.
        now: the time, in seconds.
    """

    __slots__ = ("_left", "_time", "rate")

    def __init__(self, rate: int | None, now: float) -> None:
        self.rate = rate
        self._left = float(rate or 0)
        self._time = now

    def take(self, amount: int, now: float) -> bool:
        """Take what has arrived; returns whether there was so much left."""
        if self.rate is None:
            return True
        self._left = self._level(self.rate, now) - amount
        self._time = now
        return self._left >= 0

    def excuse(self, since: float, now: float) -> None:
        """What was sent in this time arrives only now, so it counts as if it had arrived then."""
        if self.rate is not None:
            self._left = self._level(self.rate, since) + (now - since) * self.rate
            self._time = now

    def _level(self, rate: int, now: float) -> float:
        """What is in the bucket by now: it fills at the rate, and what it was given beyond its size is lost so."""
        flow = (now - self._time) * rate
        return min(rate, self._left + flow) if self._left < rate else max(rate, self._left - flow)


class Meter:
    """What one peer has sent, against its rates.

    Args:
        rates: its allowances.
        now: the time, in seconds.
    """

    __slots__ = ("_bytes", "_messages", "_pings", "_seen_bytes", "_seen_messages")

    def __init__(self, rates: Rates, now: float) -> None:
        self._pings = Bucket(rates.pings, now)
        self._messages = Bucket(rates.messages, now)
        self._bytes = Bucket(rates.bytes, now)
        self._seen_messages = 0
        self._seen_bytes = 0

    def count_ping(self, now: float) -> None:
        """A ping has arrived.

        Raises:
            RemoteProtocolError: it is one too many.
        """
        if not self._pings.take(1, now):
            raise RemoteProtocolError(Violation.TOO_MANY_PINGS, f"the limit is {self._pings.rate:,}")

    def look(self, messages: int, size: int, now: float) -> None:
        """Judge the totals of what has arrived.

        Args:
            messages, size: all messages, and all bytes with their headers, until now.

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
        """We have read nothing in this time: what the peer sent meanwhile arrives all at once."""
        for bucket in (self._pings, self._messages, self._bytes):
            bucket.excuse(since, now)


def _too_many(violation: Violation, amount: int, what: str, rate: int | None) -> RemoteProtocolError:
    return RemoteProtocolError(violation, f"{count(amount, what)} came in the last read, and the limit is {rate:,}")
