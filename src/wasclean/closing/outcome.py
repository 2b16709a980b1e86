"""The outcome of a connection: initiator, cause, losses. Facts only; explain.py puts them into words."""

from __future__ import annotations

from codecs import getincrementaldecoder
from enum import StrEnum
from typing import Any, NamedTuple

from ..model.errors import WebSocketError
from ..model.heads import Response
from ..model.registry import CloseCode, CloseFrame, Opcode, Role, describe_code
from ..model.violations import Violation
from ..model.wording import count, one_line, repr_of


class Initiator(StrEnum):
    """The end of the connection that closed first."""

    LOCAL = "local"
    REMOTE = "remote"
    SIMULTANEOUS = "simultaneous"  # each end sent a Close frame before it had received the other's
    NETWORK = "network"  # neither end: the connection could not be established, or the network broke it


class Cause(StrEnum):
    """The reason for the end of a connection. ``text`` describes it for people.

    For a clean end it is the event that began the closing handshake; for any other, the event that broke it.
    """

    text: str

    def __new__(cls, value: str, text: str) -> Cause:
        """Make a member: a str with the attribute ``text``."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    # One of the two programs ended the connection.
    LOCAL_CLOSE = "local_close", "close() was called"
    PEER_CLOSE = "peer_close", "the peer closed"
    PEER_REPORTED_ERROR = "peer_reported_error", "the peer closed because of an error that it saw"
    TERMINATED = "terminated", "terminate() was called"
    CANCELLED = "cancelled", "the task that the connection belonged to was cancelled"
    HANDLER_RETURNED = "handler_returned", "the server's handler returned"
    HANDLER_ERROR = "handler_error", "the server's handler raised an exception"
    SERVER_SHUTDOWN = "server_shutdown", "the server shut down"
    PROCESS_EXIT = "process_exit", "the program, or its event loop, ended"

    # The connection was not established.
    CONNECT_FAILED = "connect_failed", "there was no connection to the server"
    PROXY_FAILED = "proxy_failed", "the proxy made no connection to the server"
    TLS_FAILED = "tls_failed", "TLS failed: it could not be established, or broke"
    OPEN_TIMEOUT = "open_timeout", "the opening handshake took longer than open_timeout"
    HANDSHAKE_REJECTED = "handshake_rejected", "the server answered the opening handshake with something else than 101"
    HANDSHAKE_INVALID = "handshake_invalid", "the answer to the opening handshake broke its rules"

    # The connection broke.
    TCP_FIN = "tcp_fin", "TCP ended without a Close frame"
    TCP_FIN_MID_FRAME = "tcp_fin_mid_frame", "TCP ended inside a message"
    TCP_RESET = "tcp_reset", "TCP was reset, or the network reported an error"
    TLS_TRUNCATED = "tls_truncated", "TCP ended without TLS's close_notify, so somebody may have cut the connection"

    # A time limit passed.
    PING_TIMEOUT = "ping_timeout", "nothing arrived within ping_timeout after a ping"
    CLOSE_TIMEOUT = "close_timeout", "the closing handshake was not complete within close_timeout"
    WRITE_TIMEOUT = "write_timeout", "the peer took nothing of what was sent for write_timeout"
    IDLE_TIMEOUT = "idle_timeout", "no message passed for idle_timeout"
    MAX_LIFETIME = "max_lifetime", "the connection was as old as max_lifetime"
    LOOP_STALLED = "loop_stalled", "our event loop was blocked while the answer to a ping was due"
    SUSPENDED = "suspended", "this machine was asleep, and nothing arrived after it had woken up"

    # A rule or a limit was broken.
    PROTOCOL_ERROR = "protocol_error", "the peer broke a rule of the protocol"
    INVALID_UTF8 = "invalid_utf8", "the peer sent text that is not UTF-8"
    MESSAGE_TOO_BIG = "message_too_big", "the peer sent a message larger than max_message_size"
    POLICY = "policy", "the peer exceeded a limit"
    SLOW_CONSUMER = "slow_consumer", "more was sent than the peer took, and max_buffered_amount was exceeded"
    INTERNAL_ERROR = "internal_error", "there was no memory left, or an error inside the library"


class Reason(NamedTuple):
    """The reason for which a connection ends, as it is reported to the closing handshake."""

    cause: Cause
    detail: str = ""  # one line with the particulars
    initiator: Initiator | None = None  # the end to blame; None for the one that the event suggests


#: Violation or close code -> cause. NOT_DEFLATED is listed because its code, 1007, would give INVALID_UTF8.
CAUSES_OF_VIOLATIONS: dict[CloseCode | Violation, Cause] = {
    Violation.NOT_DEFLATED: Cause.PROTOCOL_ERROR,
    CloseCode.PROTOCOL_ERROR: Cause.PROTOCOL_ERROR,
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: Cause.INVALID_UTF8,
    CloseCode.MESSAGE_TOO_BIG: Cause.MESSAGE_TOO_BIG,
    CloseCode.POLICY_VIOLATION: Cause.POLICY,
}

MAX_BODY_TEXT = 200  # characters of the body of an HTTP error that as_dict() and explain() show

#: Close codes that blame the end that receives them.
REPORTS_OF_ERRORS = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_FRAME_PAYLOAD_DATA,
        CloseCode.MESSAGE_TOO_BIG,
    }
)


class Phase(StrEnum):
    """The step of the opening in which it failed."""

    QUEUED = "queued"  # waiting for another WebSocket(url) that was connecting to the same host and port
    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    TLS = "tls"
    HTTP = "http"


class FrameNote(NamedTuple):
    """A record of one frame, without its payload."""

    sent: bool  # True if this end sent it, False if it was received
    opcode: Opcode
    fin: bool
    size: int  # bytes of the payload, as sent on the wire
    age: float  # seconds before the end
    compressed: bool = False  # True for the first frame of a message compressed by permessage-deflate


class Stats(NamedTuple):
    """Statistics of a connection, taken at its end or, while it lives, at the time of the call."""

    age: float | None  # seconds since the connection was established; None if it never was
    last_received: float | None  # seconds since the last byte arrived; None if none has
    last_sent: float | None  # seconds since the last byte was passed to the transport; None if none was
    bytes_received: int  # bytes after the opening handshake
    bytes_sent: int
    messages_received: int
    messages_sent: int
    rtt: float | None  # round-trip time of the latest ping, in seconds; None before the first
    buffered: int  # bytes of messages that have not left the process


class Facts(NamedTuple):
    """The known part of the outcome of a connection that is still closing; the names are those of Outcome."""

    code: int | None  # None until the peer's Close frame has arrived
    reason: str
    received: CloseFrame | None
    sent: CloseFrame | None  # it may still be queued
    initiator: Initiator | None
    cause: Cause | None

    def __str__(self) -> str:
        ours, theirs = _closes("this end", self.sent), _closes("the peer", self.received)
        if self.initiator is Initiator.SIMULTANEOUS:
            return f"both ends are closing: {ours}, {theirs}"
        if self.initiator is Initiator.REMOTE and theirs:
            return theirs
        why = "" if self.cause is None else f": {self.cause.text}"
        return f"{ours or 'the connection is closing'}{why}"


def _closes(who: str, frame: CloseFrame | None) -> str:
    """Describe the Close frame of one end; empty if there is none."""
    if frame is None:
        return ""
    reason = f" {frame.reason!r}" if frame.reason else ""
    return f"{who} is closing " + ("without a code" if frame.code is None else f"with {int(frame.code)}{reason}")


class Record(NamedTuple):
    """What one end of a connection knows of its end; the names are those of Outcome."""

    role: Role
    initiator: Initiator | None
    why: Reason | None
    sent: CloseFrame | None
    received: CloseFrame | None
    violation: Violation | None
    unsent: tuple[str | bytes, ...]
    discarded: int
    stats: Stats
    frames: tuple[FrameNote, ...]


_NOTHING = Stats(None, None, None, 0, 0, 0, 0, None, 0)


class Outcome(NamedTuple):
    """The record of the end of a connection. It can be pickled, and does not refer to the socket.

    Attributes:
        code: the code of the peer's Close frame; 1005 if the frame had none, 1006 if no frame arrived, 1015 if TLS
            could not be established.
        reason: the reason in the peer's Close frame.
        was_clean: True if both Close frames were exchanged and TCP ended.
        initiator: the end that closed first.
        cause: the reason for the end.
        detail: particulars of the cause, in one line; may be empty.
        sent, received: the Close frames of this end and of the peer; None if there was none.
        unsent: the messages that did not leave the process, in order. After a reset this may include messages that the
            kernel had accepted in part.
        unflushed_bytes: bytes that the kernel had accepted and the peer's had not acknowledged, including frame headers
            and TLS; 0 where the system does not report it.
        discarded: bytes of messages that arrived and were delivered neither to a listener nor by recv(). Messages in
            the queue of a stream count if the handler had returned or the ``async with`` block was left. The bytes of
            an incomplete message count, compressed if they could not be decompressed. Bytes that were still in the
            kernel do not count.
        exception: the exception that ended or prevented the connection; None if there was none.
        violation: the rule that the peer broke, or None.
        phase: the step in which the opening failed; None if it succeeded.
        response: the server's response, if the opening handshake failed after its head had arrived; else None. The body
            may be incomplete.
        stats: statistics at the end.
        frames: records of the last frames, at most 32, oldest first.
        role: the role of this end.
        id: the number of the connection in this process, as in the log.
    """

    code: int = CloseCode.ABNORMAL_CLOSURE
    reason: str = ""
    was_clean: bool = False
    initiator: Initiator = Initiator.NETWORK
    cause: Cause = Cause.TCP_FIN
    detail: str = ""
    sent: CloseFrame | None = None
    received: CloseFrame | None = None
    unsent: tuple[str | bytes, ...] = ()
    unflushed_bytes: int = 0
    discarded: int = 0
    exception: BaseException | None = None
    violation: Violation | None = None
    phase: Phase | None = None
    response: Response | None = None
    stats: Stats = _NOTHING
    frames: tuple[FrameNote, ...] = ()
    role: Role = Role.CLIENT
    id: int = 0

    @property
    def ok(self) -> bool:
        """True for an ordinary end: clean, and with code 1000, 1001 or none."""
        return self.was_clean and self.code in (1000, 1001, 1005)

    @property
    def errno(self) -> int | None:
        """The errno of the exception; None if it has none. Error numbers of TLS and of name resolution don't count."""
        if not isinstance(self.exception, OSError) or type(self.exception).__module__ in ("ssl", "socket"):
            return None
        return self.exception.errno

    def as_dict(self) -> dict[str, Any]:
        """Return the record in JSON's types, for a log; ``unsent`` is the number of messages, not their content."""
        exception, response, violation = self.exception, self.response, self.violation
        return {
            "id": self.id,
            "role": self.role.value,
            "code": int(self.code),
            "reason": self.reason,
            "wasClean": self.was_clean,
            "ok": self.ok,
            "initiator": self.initiator.value,
            "cause": self.cause.value,
            "detail": self.detail,
            "sent": None if self.sent is None else self.sent._asdict(),
            "received": None if self.received is None else self.received._asdict(),
            "unsent": len(self.unsent),
            "unflushed_bytes": self.unflushed_bytes,
            "discarded": self.discarded,
            "exception": None if exception is None else repr_of(exception),
            "errno": self.errno,
            "violation": None if violation is None else violation.name,
            "phase": None if self.phase is None else self.phase.value,
            "status": None if response is None else response.status,
            "body": None if response is None else body_text(response),
            "stats": self.stats._asdict(),
            "frames": [{**frame._asdict(), "opcode": frame.opcode.name} for frame in self.frames],
        }

    def __str__(self) -> str:
        manner = "closed cleanly" if self.was_clean else "closed uncleanly"
        reason = f" {self.reason!r}" if self.reason else ""
        line = f"{manner} by {self.initiator} ({self.cause}), {int(self.code)} {describe_code(self.code)}{reason}"
        if self.detail:
            line += f": {one_line(self.detail)}"
        if self.unsent:
            line += f"; {count(len(self.unsent), 'message')} not sent"
        return line

    def __reduce__(self) -> tuple[Any, ...]:
        from pickle import dumps, loads

        facts = self._asdict()
        try:
            loads(dumps(self.exception))
        except Exception:  # the exception may be of any class, and fail to be pickled or restored
            facts["exception"] = None if self.exception is None else WebSocketError(repr_of(self.exception))
        return _restore, (facts,)


def make_outcome(
    record: Record,
    *,
    id: int,
    undelivered: int = 0,
    unflushed_bytes: int = 0,
    exception: BaseException | None = None,
    phase: Phase | None = None,
    response: Response | None = None,
) -> Outcome:
    """Return the Outcome of a connection.

    Args:
        record: what the connection knows.
        undelivered: bytes of messages that it has received, and the application has not.
        id, unflushed_bytes, exception, phase, response: as in Outcome.
    """
    sent, received = record.sent, record.received
    cause, detail, _ = record.why or Reason(Cause.TERMINATED)
    code: int = CloseCode.ABNORMAL_CLOSURE
    if received is not None:
        code = CloseCode.NO_STATUS_RCVD if received.code is None else received.code
    elif cause is Cause.TLS_FAILED:
        code = CloseCode.TLS_HANDSHAKE
    return Outcome(
        code=int(code),
        reason="" if received is None else received.reason,
        was_clean=sent is not None and received is not None,
        initiator=record.initiator or Initiator.LOCAL,
        cause=cause,
        detail=detail,
        sent=sent,
        received=received,
        unsent=record.unsent,
        unflushed_bytes=unflushed_bytes,
        discarded=record.discarded + undelivered,
        exception=exception,
        violation=record.violation,
        phase=phase,
        response=response,
        stats=record.stats,
        frames=record.frames,
        role=record.role,
        id=id,
    )


def _restore(facts: dict[str, Any]) -> Outcome:
    return Outcome(**facts)


def body_text(response: Response) -> str:
    """Return the beginning of the body of a response, in one line; empty unless it is text or JSON, in UTF-8."""
    kind = response.headers.get("Content-Type", "text/plain").partition(";")[0].strip().lower()
    if not kind.startswith("text/") and not kind.endswith(("/json", "+json")):
        return ""
    try:
        # An incremental decoder accepts that the last character may be cut.
        text = getincrementaldecoder("utf-8")().decode(response.body[: 4 * MAX_BODY_TEXT])
    except UnicodeDecodeError:
        return ""
    text = one_line(" ".join(text.split()))
    return text if len(text) <= MAX_BODY_TEXT else f"{text[:MAX_BODY_TEXT]}..."
