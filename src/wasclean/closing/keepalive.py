"""Whether an open connection is alive: when to ping, and when to give it up.

Theory of operation. Any byte that arrives is life, and so is progress of what we have written: both prove that the peer
and the way to it are there. A ping asks for life; its clock starts when it has left the process, and while we don't
read, or bytes before it are still on their way, its answer can't be due. A verdict on the peer is never given by an
alarm alone: the read side gets one more turn before, for its answer may be here already.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from .outcome import Cause

#: Seconds that the read side gets before a verdict: enough for a loop to look at its sockets.
ANOTHER_LOOK = 0.005

#: Seconds by which the boot clock must have run ahead of the monotonic one to count as a suspend.
ASLEEP = 1.0


class Timing(NamedTuple):
    """How long an open connection may do what; each in seconds, and None for no limit."""

    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_lifetime: float | None


class Sight(NamedTuple):
    """What there is to see of a connection when a time has come."""

    received_at: float  # when the last byte arrived
    message_at: float  # when the last message passed, either way
    reading_paused: bool  # whether we have stopped reading
    congested_since: float | None  # when the transport stopped to take bytes; None while it takes them
    congestion: int  # the backlog at that time
    backlog: int  # bytes that we have written and the peer's kernel has not acknowledged, as far as is known
    slept: float  # seconds that this machine has been suspended since it was started


class Action(Enum):
    """What to do besides ending the connection."""

    NOTHING = "nothing"
    PING = "send a ping"


class Verdict(NamedTuple):
    """The connection has to end: why, and whether by a closing handshake."""

    cause: Cause
    detail: str
    gently: bool = False


class Keepalive:
    """Watches one open connection.

    Args:
        timing: the limits.
        now: when the connection was established.
        slept: see Sight.

    Attributes:
        asked_at: when the latest ping was sent.
    """

    __slots__ = (
        "_backlog",
        "_born",
        "_looked_at",
        "_looking",
        "_next_ping",
        "_pinged_at",
        "_progress_at",
        "_slept",
        "_timing",
        "_woken",
        "asked_at",
    )

    def __init__(self, timing: Timing, now: float, slept: float) -> None:
        self._timing = timing
        self._born = now
        self._next_ping = _sum(now, timing.ping_interval)
        self._pinged_at: float | None = None  # when the ping left that waits for life
        self._backlog = 0
        self._looked_at = now  # when it was that
        self._progress_at = now  # when the backlog was seen to shrink
        self._slept = slept
        self.asked_at = now
        self._woken = False  # whether the ping asks if there is life after a suspend
        self._looking: float | None = None  # how late the alarm was after which the read side got another turn

    def pinged(self, now: float, backlog: int) -> None:
        """A ping has left the process."""
        self._pinged_at = self.asked_at = now
        self._backlog = backlog
        self._looked_at = self._progress_at = now

    def next_deadline(self, sight: Sight) -> float | None:
        """When to call check(): the earliest of the limits that apply."""
        timing = self._timing
        times = [_sum(self._born, timing.max_lifetime), _sum(sight.message_at, timing.idle_timeout)]
        if sight.congested_since is not None:
            times.append(_sum(max(sight.congested_since, self._progress_at), timing.write_timeout))
        if self._pinged_at is not None:
            times.append(_sum(max(self._pinged_at, self._progress_at), timing.ping_timeout))
        times.append(self._next_ping)
        return min((time for time in times if time is not None), default=None)

    def check(self, now: float, sight: Sight) -> Action | Verdict | float:
        """Time has passed.

        Returns:
            What to do; or a time at which to call this again, before which the read side gets a turn.
        """
        timing = self._timing
        asleep, self._slept = sight.slept - self._slept, sight.slept
        if _reached(now, _sum(self._born, timing.max_lifetime)):
            return Verdict(Cause.MAX_LIFETIME, f"open for {now - self._born:.1f} s", gently=True)
        if _reached(now, _sum(sight.message_at, timing.idle_timeout)):
            return Verdict(
                Cause.IDLE_TIMEOUT, f"the last message passed {now - sight.message_at:.1f} s ago", gently=True
            )
        if asleep > ASLEEP and sight.congested_since is None:
            self._woken = True
            self._looking = None
            self._next_ping = _sum(now, timing.ping_interval)
            return Action.PING
        self._look_at_progress(now, sight)
        verdict = self._check_write(now, sight) or self._check_ping(now, sight)
        if verdict is not None:
            return verdict
        self._looking = None
        if _reached(now, self._next_ping):
            self._next_ping = _sum(now, timing.ping_interval)
            # One ping at a time; and none that could not leave.
            if self._pinged_at is None and sight.congested_since is None:
                return Action.PING
        return Action.NOTHING

    def _look_at_progress(self, now: float, sight: Sight) -> None:
        before = self._backlog
        if sight.congested_since is not None and sight.congested_since >= self._looked_at:
            before = sight.congestion
        if sight.backlog < before:
            self._progress_at = now
        self._backlog = sight.backlog
        self._looked_at = now

    def _check_write(self, now: float, sight: Sight) -> Verdict | float | None:
        limit = self._timing.write_timeout
        since = sight.congested_since
        if since is None or limit is None:
            return None
        since = max(since, self._progress_at)
        if not _reached(now, since + limit):
            return None
        stuck = now - since
        return self._after_another_look(
            now, Verdict(Cause.WRITE_TIMEOUT, f"{sight.backlog:,} bytes waited for {stuck:.1f} s"), stuck - limit
        )

    def _check_ping(self, now: float, sight: Sight) -> Verdict | float | None:
        pinged_at, limit = self._pinged_at, self._timing.ping_timeout
        if pinged_at is None:
            return None
        if limit is None or sight.received_at >= pinged_at:  # some clocks stand still for milliseconds
            self._pinged_at = None
            self._woken = False
            return None
        if sight.reading_paused:  # the answer may wait behind what we don't read
            self._progress_at = now
            return None
        due = max(pinged_at, self._progress_at) + limit
        if not _reached(now, due):
            return None
        late = now - due if self._looking is None else self._looking
        silence = now - max(sight.received_at, self._born)  # it is 0 if nothing has ever arrived
        detail = f"nothing arrived for {silence:.1f} s, nor {now - pinged_at:.1f} s after a ping"
        if self._woken:
            verdict = Verdict(Cause.SUSPENDED, f"this machine slept; {detail}")
        elif late > limit:
            verdict = Verdict(Cause.LOOP_STALLED, f"event loop blocked for {late:.1f} s or more; {detail}")
        else:
            verdict = Verdict(Cause.PING_TIMEOUT, detail)
        return self._after_another_look(now, verdict, late)

    def _after_another_look(self, now: float, verdict: Verdict, late: float) -> Verdict | float:
        if self._looking is None:
            self._looking = late
            return now + ANOTHER_LOOK
        return verdict


def _sum(time: float, seconds: float | None) -> float | None:
    return None if seconds is None else time + seconds


def _reached(now: float, time: float | None) -> bool:
    """Whether it is the time: compared as next_deadline() has added it up, for a difference may round otherwise."""
    return time is not None and now >= time
