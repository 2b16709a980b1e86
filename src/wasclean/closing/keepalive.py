"""When to ping an open connection, and when to give it up.

Theory of operation
===================

Two things prove that the peer and the network between are alive: any byte that arrives, and progress of the bytes that
were written, which the kernel reports as a backlog that shrinks. A ping asks for such a proof. Its timeout starts when
the ping leaves the process, and does not run while reading is paused, or while bytes written before it are still under
way, because no answer can be due.

A timeout alone never condemns the peer. The event loop may have been blocked, and the proof may be in the kernel's
receive buffer: the caller gets READ_GRACE seconds to read it before ``check()`` returns the Verdict. If the alarm came
later than the timeout itself, the Verdict blames the event loop (LOOP_STALLED); if the machine was suspended in the
meantime, it says so (SUSPENDED).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .outcome import Cause, Reason

#: Seconds to read what may have arrived, before a timeout takes effect.
READ_GRACE = 0.005

#: Seconds by which the boot clock must have run ahead of the monotonic clock to count as a suspend.
MIN_SUSPEND = 1.0


class Timing(NamedTuple):
    """Limits of an open connection, in seconds; None for no limit."""

    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_lifetime: float | None


class Observation(NamedTuple):
    """The facts that Keepalive decides on."""

    received_at: float  # time of the latest read; 0 before the first
    message_at: float  # time of the latest message, in either direction
    reading_paused: bool  # True if this end has stopped reading
    blocked_since: float | None  # time at which the transport stopped taking bytes; None while it takes them
    blocked_backlog: int  # ``backlog`` at that time
    backlog: int  # bytes written that the peer's kernel has not acknowledged, as far as is known
    slept: float  # seconds for which this machine has been suspended since it was started


class Action(Enum):
    """The decision to keep the connection."""

    NOTHING = "nothing"
    PING = "send a ping"


class Verdict(NamedTuple):
    """The decision to end the connection."""

    why: Reason
    gently: bool = False  # True for a closing handshake


class Keepalive:
    """Watches one open connection.

    Args:
        timing: the limits.
        now: the time at which the connection was established.
        slept: as in Observation.

    Attributes:
        last_ping_at: the time of the latest ping.
    """

    __slots__ = (
        "_timing",
        "_opened_at",
        # Pings.
        "_next_ping",  # the time; None for never
        "_pinged_at",  # the time of the ping that waits for an answer; None if none does
        "last_ping_at",
        # Progress of the bytes that were written.
        "_backlog",
        "_backlog_at",  # the time at which it was observed
        "_progress_at",  # the time at which it was seen to shrink
        # Doubts about the clock.
        "_slept",
        "_after_suspend",  # True if the ping that waits was sent because of a suspend
        "_late_by",  # delay of the alarm that started the present READ_GRACE; None if there is none
    )  # fmt: skip

    def __init__(self, timing: Timing, now: float, slept: float) -> None:
        self._timing = timing
        self._opened_at = now
        self._next_ping = _sum(now, timing.ping_interval)
        self._pinged_at: float | None = None
        self.last_ping_at = now
        self._backlog = 0
        self._backlog_at = now
        self._progress_at = now
        self._slept = slept
        self._after_suspend = False
        self._late_by: float | None = None

    def pinged(self, now: float, backlog: int) -> None:
        """Report that a ping has left the process."""
        self._pinged_at = self.last_ping_at = now
        self._backlog = backlog
        self._backlog_at = self._progress_at = now

    def next_deadline(self, seen: Observation) -> float | None:
        """Return the earliest of the limits that apply: the time at which to call check()."""
        timing = self._timing
        times = [_sum(self._opened_at, timing.max_lifetime), _sum(seen.message_at, timing.idle_timeout)]
        if seen.blocked_since is not None:
            times.append(_sum(max(seen.blocked_since, self._progress_at), timing.write_timeout))
        if self._pinged_at is not None:
            times.append(_sum(max(self._pinged_at, self._progress_at), timing.ping_timeout))
        times.append(self._next_ping)
        return min((time for time in times if time is not None), default=None)

    def check(self, now: float, seen: Observation) -> Action | Verdict | float:
        """Decide about the connection.

        Returns:
            An Action or a Verdict; or the time at which to call this again, if the caller is to read before.
        """
        timing = self._timing
        asleep, self._slept = seen.slept - self._slept, seen.slept
        if _reached(now, _sum(self._opened_at, timing.max_lifetime)):
            return Verdict(Reason(Cause.MAX_LIFETIME, f"open for {now - self._opened_at:.1f} s"), gently=True)
        if _reached(now, _sum(seen.message_at, timing.idle_timeout)):
            detail = f"the last message passed {now - seen.message_at:.1f} s ago"
            return Verdict(Reason(Cause.IDLE_TIMEOUT, detail), gently=True)
        if asleep > MIN_SUSPEND and seen.blocked_since is None:
            self._after_suspend = True
            self._late_by = None
            self._next_ping = _sum(now, timing.ping_interval)
            return Action.PING
        self._note_progress(now, seen)
        verdict = self._check_write(now, seen) or self._check_ping(now, seen)
        if verdict is not None:
            return verdict
        self._late_by = None
        if _reached(now, self._next_ping):
            self._next_ping = _sum(now, timing.ping_interval)
            # One ping at a time, and none that cannot leave.
            if self._pinged_at is None and seen.blocked_since is None:
                return Action.PING
        return Action.NOTHING

    def _note_progress(self, now: float, seen: Observation) -> None:
        """Compare the backlog with the previous one; bytes written in the meantime only hide progress."""
        before = self._backlog
        if seen.blocked_since is not None and seen.blocked_since >= self._backlog_at:
            before = seen.blocked_backlog
        if seen.backlog < before:
            self._progress_at = now
        self._backlog = seen.backlog
        self._backlog_at = now

    def _check_write(self, now: float, seen: Observation) -> Verdict | float | None:
        """Return a decision if the transport has taken no bytes for write_timeout."""
        limit = self._timing.write_timeout
        since = seen.blocked_since
        if since is None or limit is None:
            return None
        since = max(since, self._progress_at)
        if not _reached(now, since + limit):
            return None
        stuck = now - since
        why = Reason(Cause.WRITE_TIMEOUT, f"{seen.backlog:,} bytes waited for {stuck:.1f} s")
        return self._after_grace(now, why, stuck - limit)

    def _check_ping(self, now: float, seen: Observation) -> Verdict | float | None:
        """Return a decision if nothing has arrived within ping_timeout after a ping."""
        pinged_at, limit = self._pinged_at, self._timing.ping_timeout
        if pinged_at is None:
            return None
        if limit is None or seen.received_at >= pinged_at:  # some clocks stand still for milliseconds
            self._pinged_at = None
            self._after_suspend = False
            return None
        if seen.reading_paused:  # the answer may be among the bytes that are not read
            self._progress_at = now
            return None
        due = max(pinged_at, self._progress_at) + limit
        if not _reached(now, due):
            return None
        late = now - due if self._late_by is None else self._late_by
        silence = now - max(seen.received_at, self._opened_at)  # received_at is 0 before the first read
        detail = f"nothing arrived for {silence:.1f} s, nor {now - pinged_at:.1f} s after a ping"
        if self._after_suspend:
            why = Reason(Cause.SUSPENDED, f"this machine slept; {detail}")
        elif late > limit:
            why = Reason(Cause.LOOP_STALLED, f"event loop blocked for {late:.1f} s or more; {detail}")
        else:
            why = Reason(Cause.PING_TIMEOUT, detail)
        return self._after_grace(now, why, late)

    def _after_grace(self, now: float, why: Reason, late: float) -> Verdict | float:
        """Return the end of the READ_GRACE that begins now, or the Verdict after it."""
        if self._late_by is None:
            self._late_by = late
            return now + READ_GRACE
        return Verdict(why)


def _sum(time: float, seconds: float | None) -> float | None:
    """Return the end of a limit that starts at ``time``; None for no limit."""
    return None if seconds is None else time + seconds


def _reached(now: float, time: float | None) -> bool:
    """True if it is ``time``, which must be a sum as in next_deadline(): a difference may be rounded otherwise."""
    return time is not None and now >= time
