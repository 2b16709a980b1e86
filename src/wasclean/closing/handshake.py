"""The closing handshake: how a WebSocket connection ends (RFC 6455 section 7).

Theory of operation
===================

                 SEND ---> CLOSE_SENT ------ RECEIVE --.
  CONNECTING -> OPEN                                    >--> CLOSE_EXCHANGED -- LOST --> CLOSED (clean)
                 RECEIVE > CLOSE_RECEIVED -- SEND -----'
  any other way --> FAILING -- LOST --> CLOSED (not clean)

**The handshake.** Each end sends one Close frame, and no frame after it. The end that closes first keeps reading, so
messages that the peer has sent already are still delivered; the peer answers with the same code and reads no further.
The connection is *clean* if both frames were exchanged. The peer's frame counts when it arrives, and ours when the
kernel has accepted its last byte: it is ``outgoing`` before, ``sent`` afterwards. ``writing_paused()`` moves it back,
since a transport learns only by writing that the kernel accepts no more.

**Two laws.** First, every change of state is a cell of TABLE: only ``_on()`` assigns ``state``, and only what TABLE
says. Second, TABLE is the same for both ends of a connection; neither it nor this class knows which end it serves. The
tests walk the paths through TABLE and check, among other things, that no path leads back to an earlier state, that no
path sends two Close frames, and that CLOSE_EXCHANGED is reached if and only if both ends have sent one.

**Calls and results.** ClosingHandshake performs no I/O and has no reference to a sender, a transport or an application.
Each method reports one event and returns a Step, which is the caller's part: to adopt the new state, to queue the frame
``outgoing`` behind all messages and report ``close_queued()``, and to announce the state, in this order. The peer's
Close frame thus causes two transitions, RECEIVE and then SEND for the answer, and the application sees the result of
both. CLOSE_RECEIVED outlives the call only if no memory is left to queue the answer.

**The deadline.** The whole closing has one absolute deadline, set on leaving CONNECTING or OPEN. Later states may bring
it forward (the TIMEOUTS of some are shorter), but never put it off, so a peer gains no time by taking each step late.
While the transport accepts no bytes, ``close_timeout`` is the limit of every state, since the Close frame and messages
before it have yet to leave. At the deadline ``time_up()`` aborts the connection. There is one exception: more than LATE
seconds after the deadline the event loop must have been blocked, and the missing frame may be in the kernel's receive
buffer. Then the caller has READ_GRACE seconds to read it, once in each state. OPEN has no deadline here: keepalive.py
has the limits of an open connection.

**Blame.** ``initiator`` is the end that closed first. It is LOCAL for close(), a failure, or a timeout; REMOTE for a
Close frame or an end of TCP; NETWORK for an end of TCP before the connection was established; SIMULTANEOUS if the
peer's Close frame is no answer to ours. A Reason that names an initiator overrides this. ``why`` is the Reason of the
event that began the end, until an event breaks the handshake: then it is that of this event. Thus the cause of an
unclean end is always the reason why the end was not clean. For a close() that the peer never answers it is
CLOSE_TIMEOUT, and not LOCAL_CLOSE.

**How TCP ends.** Transitions leave one of four values in ``ending``, and ``end_of_tcp()`` tells when it is due:

  FINISH      The handshake is complete. The server closes TCP first, so that TIME_WAIT is the server's; the client
              waits for that. The caller states which of the two it is.
  HALF_CLOSE  This end failed the connection, and its Close frame should reach the peer. If input were unread at
              close(), the kernel would send RST, and the peer would lose the frame. So only this end's direction is
              ended, and input is read and dropped until the peer ends the other.
  HANG_UP     The peer has ended its direction, or no frame can tell it anything: both directions are ended.
  ABORT       The deadline has passed, or the user will not wait: queued bytes are dropped. Nothing replaces it.
              TCP is reset for the causes in RESETS.

FINISH and HALF_CLOSE wait until every byte has left the process, and so does HANG_UP in CLOSE_EXCHANGED: the answer is
still to be sent. In each case the caller reports LOST at once: the transport drains on its own, for LINGER seconds at
most, and the close event does not wait for it.
"""

from __future__ import annotations

from enum import Enum

from ..model.errors import RemoteProtocolError
from ..model.registry import CLOSE_TIMEOUT, OPEN_TIMEOUT, CloseCode, CloseFrame
from ..model.violations import Violation
from .keepalive import READ_GRACE
from .outcome import CAUSES_OF_VIOLATIONS, REPORTS_OF_ERRORS, Cause, Facts, Initiator, Reason
from .table import (
    ABORT,
    CLOSE_EXCHANGED,
    CLOSE_RECEIVED,
    CLOSE_SENT,
    CLOSED,
    CONNECTING,
    DEADLINE,
    EOF,
    ESTABLISHED,
    FAIL,
    FAILING,
    FINISH,
    HALF_CLOSE,
    HANG_UP,
    LOST,
    OPEN,
    RECEIVE,
    RESETS,
    SEND,
    SEND_CLOSE,
    TABLE,
    TIMEOUTS,
    Ending,
    State,
    Trigger,
)

LATE = 0.05  # seconds after the deadline from which time_up() assumes that the event loop was blocked

_TIME_TO_OPEN_IS_UP = Reason(Cause.OPEN_TIMEOUT)
_NOT_FLUSHED = Reason(Cause.CLOSE_TIMEOUT, "our Close frame, or what was sent before it, could not leave")
_NOT_ANSWERED = Reason(Cause.CLOSE_TIMEOUT, "the peer did not answer our Close frame")


class Step(Enum):
    """The caller's part of a transition."""

    NOTHING = "nothing"
    ADOPT = "adopt the new state, and announce it"
    QUEUE_CLOSE = "adopt the new state, queue ``outgoing``, call close_queued(), and announce the state"


NOTHING, ADOPT, QUEUE_CLOSE = Step


class ClosingHandshake:
    """The state of a connection, and the record of its end.

    All times are seconds of one monotonic clock.

    Args:
        now: the present time.
        open_timeout: limit of the state CONNECTING, in seconds.
        close_timeout: limit of the closing handshake, in seconds, unless close() is given another.

    Attributes:
        state: the present state.
        deadline: the time at which to call time_up(); 0 if there is none.
        ending: FINISH, HALF_CLOSE, HANG_UP or ABORT once TCP is to end; None before.
        outgoing: our Close frame while it is queued, or held by the transport; else None.
        sent: our Close frame once it has left the process; else None.
        received: the peer's Close frame; None if none has arrived.
        initiator: the end that closed first; None before.
        why: the reason for the end; None before.
        error: the rule that the peer broke, and how; None if it broke none.
        failed: True if this end failed the connection (section 7.1.7).
    """

    __slots__ = (
        # Progress.
        "state",
        "deadline",
        "_close_timeout",
        "_had_grace",  # in the present state
        # How TCP ends.
        "ending",
        "_reset",  # terminate() asked for it
        # Close frames.
        "outgoing",
        "sent",
        "received",
        "_blocked",  # the transport holds bytes that the kernel has not accepted
        # Blame.
        "initiator",
        "why",
        "error",
        "failed",
    )  # fmt: skip

    def __init__(self, now: float, open_timeout: float = OPEN_TIMEOUT, close_timeout: float = CLOSE_TIMEOUT) -> None:
        self.state = CONNECTING
        self.deadline = now + open_timeout
        self._close_timeout = close_timeout
        self._had_grace = False
        self.ending: Ending | None = None
        self._reset = False
        self.outgoing: CloseFrame | None = None
        self.sent: CloseFrame | None = None
        self.received: CloseFrame | None = None
        self._blocked = False
        self.initiator: Initiator | None = None
        self.why: Reason | None = None
        self.error: RemoteProtocolError | None = None
        self.failed = False

    # Events of the connection.

    def open_by(self, deadline: float) -> None:
        """Set the limit of the state CONNECTING; 0 for none."""
        if self.state is CONNECTING:
            self.deadline = deadline

    def established(self, now: float) -> Step:
        """Report that the opening handshake succeeded."""
        return self._on(ESTABLISHED, now)

    def close(self, frame: CloseFrame, now: float, why: Reason, timeout: float | None = None) -> Step:
        """Start the closing handshake with ``frame``; without effect once it has started.

        Args:
            timeout: limit of the whole handshake, in seconds; by default ``close_timeout``.
        """
        return self._on(SEND, now, why, frame, timeout)

    def close_queued(self, now: float) -> None:
        """Report that ``outgoing`` was queued: if it is an answer, the handshake is complete."""
        self._on(SEND, now)

    def receive(self, frame: CloseFrame, now: float, detail: str = "") -> Step:
        """Report the peer's Close frame."""
        self.received = frame
        if self.state is CLOSE_SENT and self._crossed(frame):
            self.initiator = Initiator.SIMULTANEOUS
        cause = Cause.PEER_REPORTED_ERROR if frame.code in REPORTS_OF_ERRORS else Cause.PEER_CLOSE
        return self._on(RECEIVE, now, Reason(cause, detail))

    def fail(self, violation: Violation, now: float, detail: str = "") -> Step:
        """Fail the connection because the peer broke a rule (section 7.1.7).

        Args:
            detail: as in RemoteProtocolError.
        """
        self.error = RemoteProtocolError(violation, detail)  # without a traceback, which would refer to its frames
        cause = CAUSES_OF_VIOLATIONS.get(violation) or CAUSES_OF_VIOLATIONS[violation.code]
        return self.refuse(CloseFrame(int(violation.code), violation.text), now, Reason(cause, str(self.error)))

    def refuse(self, frame: CloseFrame, now: float, why: Reason) -> Step:
        """Fail the connection for another reason, such as a full buffer."""
        if self.state is not CLOSE_EXCHANGED and self.state is not CLOSED:
            self.failed = True
        return self._on(FAIL, now, why, frame)

    def terminate(self, now: float, why: Reason, reset: bool = False) -> Step:
        """End the connection without a handshake.

        Args:
            reset: True to reset TCP whatever the reason is.
        """
        if reset:
            self._reset = True
        return self._on(DEADLINE, now, why)

    def time_up(self, now: float) -> Step:
        """Report that the deadline has passed; there may be a new one."""
        if now - self.deadline > LATE and not self._had_grace:
            self._had_grace = True
            self.deadline = now + READ_GRACE
            return NOTHING
        self.deadline = 0.0
        if self.state is CONNECTING:
            return self._on(DEADLINE, now, _TIME_TO_OPEN_IS_UP)
        return self._on(DEADLINE, now, _NOT_FLUSHED if self.outgoing is not None or self._blocked else _NOT_ANSWERED)

    # Events of the transport.

    def flushed(self) -> None:
        """Report that every queued byte has been handed to the transport, which holds none of them."""
        if self.outgoing is not None:
            self.sent = self.outgoing
            self.outgoing = None

    def writing_paused(self) -> None:
        """Report that the transport holds bytes. Our Close frame, the last of all frames, is among them if written."""
        self._blocked = True
        if self.sent is not None:
            self.outgoing = self.sent
            self.sent = None

    def writing_resumed(self) -> None:
        """Report that the transport holds no bytes any more."""
        self._blocked = False

    def eof(self, now: float, why: Reason) -> Step:
        """Report that the peer ended its direction of TCP."""
        return self._on(EOF, now, why)

    def lost(self, now: float, why: Reason | None = None) -> Step:
        """Report that the transport is gone, or no longer matters.

        Args:
            why: None if TCP was ended as end_of_tcp() asked.
        """
        step = self._on(LOST, now, why)
        self.outgoing = None
        return step

    # The end of TCP.

    def end_of_tcp(self, flushed: bool, closes_first: bool) -> Ending | None:
        """Return the way in which to end TCP now: HALF_CLOSE, HANG_UP or ABORT; None if it is not time yet.

        Args:
            flushed: True if every queued byte has left the process.
            closes_first: True for a server. Section 7.1.1: "The underlying TCP connection, in most normal cases, SHOULD
                be closed first by the server".
        """
        ending = self.ending
        if ending is FINISH:
            ending = HALF_CLOSE if closes_first else None
        waits = ending is HALF_CLOSE or (ending is HANG_UP and self.state is CLOSE_EXCHANGED)
        return None if waits and not flushed else ending

    @property
    def resets(self) -> bool:
        """True if ABORT should send RST rather than FIN."""
        return self._reset or self.cause in RESETS

    # The record.

    @property
    def was_clean(self) -> bool:
        """True if both Close frames were exchanged, and ours has left the process.

        Section 7.1.4: "If the TCP connection is closed after the WebSocket closing handshake was completed, the
        WebSocket connection is said to have been closed _cleanly_."
        """
        return self.sent is not None and self.received is not None

    @property
    def cause(self) -> Cause | None:
        """The cause of the end; None before."""
        return None if self.why is None else self.why.cause

    @property
    def detail(self) -> str:
        """The particulars of the cause; may be empty."""
        return "" if self.why is None else self.why.detail

    @property
    def violation(self) -> Violation | None:
        """The rule that the peer broke, or None."""
        return None if self.error is None else self.error.violation

    def facts(self) -> Facts:
        """Return what is known of the end before it has come."""
        received = self.received
        code, reason = (None, "") if received is None else (received.code, received.reason)
        if received is not None and code is None:
            code = int(CloseCode.NO_STATUS_RCVD)
        return Facts(code, reason, received, self.sent or self.outgoing, self.initiator, self.cause)

    # The interpreter of the table.

    def _on(
        self,
        trigger: Trigger,
        now: float,
        why: Reason | None = None,
        frame: CloseFrame | None = None,
        timeout: float | None = None,
    ) -> Step:
        """Make the transition that TABLE has for ``trigger``; ``frame`` is the one to send if TABLE says SEND_CLOSE."""
        before = self.state
        state, send, ending = TABLE[before][trigger]
        if why is not None:
            self._blame(before, trigger, state, why)
        if ending is not None and self.ending is not ABORT:
            self.ending = ending
        if state is before:
            return NOTHING
        self.state = state
        self._set_deadline(before, now, timeout)
        if send is None:
            return ADOPT
        self.outgoing = frame if send is SEND_CLOSE else self.received
        return QUEUE_CLOSE

    def _blame(self, before: State, trigger: Trigger, state: State, why: Reason) -> None:
        """Record the initiator, if it is the first, and the reason, if it begins the end or breaks the handshake."""
        if before is CLOSED:
            return
        if self.initiator is None:
            self.initiator = why.initiator or _initiator(before, trigger)
        begins = before is OPEN or before is CONNECTING
        breaks = trigger is not SEND and trigger is not RECEIVE and before is not FAILING
        takes_effect = state is not before or trigger is DEADLINE
        if begins or (breaks and takes_effect and not self.was_clean):
            self.why = why

    def _set_deadline(self, before: State, now: float, timeout: float | None) -> None:
        """Set the deadline for the state just entered; within a closing, only bring it forward."""
        self._had_grace = False
        state = self.state
        if state is OPEN or state is CLOSED:
            self.deadline = 0.0
            return
        if timeout is None:
            awaits_close = state is CLOSE_SENT or state is CLOSE_RECEIVED
            timeout = self._close_timeout if awaits_close or self._blocked else TIMEOUTS[state]
        deadline = now + timeout
        if before is OPEN or before is CONNECTING or deadline < self.deadline:
            self.deadline = deadline

    def _crossed(self, frame: CloseFrame) -> bool:
        """True if the peer's Close frame is no answer to ours, as far as its content shows.

        A frame that arrives before ours has left is no answer. Later, a frame that repeats our code is one, and so is
        one without content of its own: some implementations answer every Close frame with 1000, or with no code.
        """
        if self.sent is None:
            return True
        is_bare = not frame.reason and (frame.code is None or frame.code == CloseCode.NORMAL_CLOSURE)
        return frame.code != self.sent.code and not is_bare


def _initiator(state: State, trigger: Trigger) -> Initiator:
    """Return the end that ``trigger`` blames for leaving ``state``."""
    if trigger is RECEIVE:
        return Initiator.REMOTE
    if trigger is EOF or trigger is LOST:
        return Initiator.NETWORK if state is CONNECTING else Initiator.REMOTE
    return Initiator.LOCAL
