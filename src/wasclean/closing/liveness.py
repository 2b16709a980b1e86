"""Liveness: when to ping an open connection, when to give it up, and how fast its peer may send.

Theory of operation
===================

As ClosingHandshake does for a closing connection, Liveness takes reports of events, performs no I/O, and returns
decisions. The owner calls ``check()`` at ``deadline``, sends the ping whose payload it returns or ends the
connection as the Verdict says, and looks at ``deadline`` again.

The decisions are those of a Keepalive (keepalive.py) and a Meter (rates.py). Most connections close before their first
deadline, and few have a limit for what they receive, so each is made when it is needed. Until then the first deadline,
the clock of suspends at the opening, and the latest congestion are all that there is to remember.
"""

from __future__ import annotations

from ..wire import octets
from .keepalive import Action, Keepalive, Observation, Timing, Verdict
from .rates import Meter, Rates


class Liveness:
    """Watches one connection while it is open. All times are seconds of one monotonic clock.

    Args:
        timing: limits of an open connection.
        rates: limits of what the peer sends per second.

    Attributes:
        opened_at: the time at which the connection was established; 0 before.
        deadline: the time at which to call check(); 0 if there is none.
        is_metered: True if check_rates() is to be called after each read.
    """

    __slots__ = (
        # Limits.
        "_timing",
        "_rates",
        "is_metered",
        # Pings and timeouts.
        "opened_at",
        "deadline",
        "_slept",  # as in Observation, at the opening
        "_keepalive",  # None before the first deadline
        "_ping",  # the payload of the ping that waits for its pong, or None
        # Congestion.
        "_blocked_since",  # as in Observation, but 0 while the transport takes bytes
        "_blocked_backlog",
        # Rates.
        "_meter",  # None before the first ping, or read, that counts
    )  # fmt: skip

    def __init__(self, timing: Timing, rates: Rates) -> None:
        self._timing = timing
        self._rates = rates
        self.is_metered = rates.messages is not None or rates.bytes is not None
        self.opened_at = 0.0
        self.deadline = 0.0
        self._slept = 0.0
        self._keepalive: Keepalive | None = None
        self._ping: bytes | None = None
        self._blocked_since = 0.0
        self._blocked_backlog = 0
        self._meter: Meter | None = None

    def opened(self, now: float, slept: float) -> None:
        """Report that the connection was established; ``slept`` as in Observation."""
        self.opened_at = now
        self._slept = slept
        timing = self._timing
        for limit in (timing.ping_interval, timing.idle_timeout, timing.max_lifetime):
            if limit is not None and (not self.deadline or now + limit < self.deadline):
                self.deadline = now + limit

    def closed(self) -> None:
        """Report that the connection has ended."""
        self._keepalive = None
        self._meter = None

    def check(
        self, now: float, received_at: float, message_at: float, paused: bool, backlog: int, slept: float
    ) -> bytes | Verdict | None:
        """Act on the deadline, which has passed; afterwards there is another.

        Args:
            received_at, message_at, paused, backlog, slept: as in Observation.

        Returns:
            The payload of a ping to send, a Verdict if the connection is to end, or None.
        """
        if self._keepalive is None:
            self._keepalive = Keepalive(self._timing, self.opened_at, self._slept)
        keepalive = self._keepalive
        blocked_since = self._blocked_since or None
        seen = Observation(received_at, message_at, paused, blocked_since, self._blocked_backlog, backlog, slept)
        decision = keepalive.check(now, seen)
        if isinstance(decision, Verdict):
            return decision
        if isinstance(decision, float):
            self.deadline = decision
            return None
        ping = None
        if decision is Action.PING:
            ping = self._ping = octets.new_mask().to_bytes(4, "little")
            keepalive.pinged(now, backlog)
        self.deadline = keepalive.next_deadline(seen) or 0.0
        return ping

    def pong_received(self, payload: bytes, now: float) -> float | None:
        """Report a pong; returns the round trip in seconds if it answers a ping of check(), else None."""
        if payload != self._ping or self._keepalive is None:
            return None
        self._ping = None
        return now - self._keepalive.last_ping_at

    def writing_paused(self, now: float, backlog: int) -> bool:
        """Report that the transport holds bytes that the kernel did not take; ``backlog`` as in Observation.

        Returns:
            True if ``deadline`` has changed.
        """
        self._blocked_since = now
        self._blocked_backlog = backlog
        limit = self._timing.write_timeout
        if not self.opened_at or limit is None or 0 < self.deadline <= now + limit:
            return False
        self.deadline = now + limit
        return True

    def writing_resumed(self) -> None:
        """Report that the transport holds no bytes any more."""
        self._blocked_since = 0.0

    def count_ping(self, now: float) -> None:
        """Report a ping of the peer.

        Raises:
            RemoteProtocolError: it is one too many.
        """
        if self._rates.pings is not None:
            self._metering(now).count_ping(now)

    def check_rates(self, messages: int, size: int, now: float) -> None:
        """Compare what has been received with the limits.

        Args:
            messages, size: the numbers of all messages and of all bytes, until now.

        Raises:
            RemoteProtocolError: they have grown too fast.
        """
        self._metering(now).look(messages, size, now)

    def reading_resumed(self, since: float, now: float) -> None:
        """Report that nothing was read in the meantime: what piled up in the kernel is no burst of the peer's."""
        if self._meter is not None:
            self._meter.excuse(since, now)

    def _metering(self, now: float) -> Meter:
        """Return the meter, which is made for the first input that counts."""
        if self._meter is None:
            self._meter = Meter(self._rates, now)
        return self._meter
