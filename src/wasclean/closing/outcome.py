"""How a connection ended: who ended it, why, and what may be missing. Facts only; explain.py puts them into words."""

from __future__ import annotations

from codecs import getincrementaldecoder
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from ..model.errors import WebSocketError
from ..model.registry import CloseCode, CloseFrame, Opcode, Role, describe_code
from ..model.violations import Violation
from ..model.wording import count, one_line, repr_of

if TYPE_CHECKING:
    from ..opening.http import Response


class Initiator(StrEnum):
    """Who began the end."""

    LOCAL = "local"
    REMOTE = "remote"
    SIMULTANEOUS = "simultaneous"  # both sides closed before they had heard of the other
    NETWORK = "network"  # nobody: there was no connection, or the network broke it


class Cause(StrEnum):
    """Why a connection ended: each way to end has one member, and each member ``text`` for people.

    A clean end has the cause that began it; any other has the cause that kept it from being clean.
    """

    text: str

    def __new__(cls, value: str, text: str) -> Cause:
        """A member is a str, and its text an attribute of it."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.text = text
        return member

    # Somebody wanted it.
    LOCAL_CLOSE = "local_close", "close() was called"
    PEER_CLOSE = "peer_close", "the peer closed"
    PEER_REPORTED_ERROR = "peer_reported_error", "the peer closed because of an error that it saw"
    TERMINATED = "terminated", "terminate() was called"
    CANCELLED = "cancelled", "the task that the connection belonged to was cancelled"
    HANDLER_RETURNED = "handler_returned", "the server's handler returned"
    HANDLER_ERROR = "handler_error", "the server's handler raised an exception"
    SERVER_SHUTDOWN = "server_shutdown", "the server shut down"
    PROCESS_EXIT = "process_exit", "the program, or its event loop, ended"

    # The connection was not made.
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

    # Time was up.
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


#: What a violation's close code says about the cause; that of NOT_DEFLATED says the wrong thing.
CAUSES_OF_VIOLATIONS: dict[CloseCode | Violation, Cause] = {
    Violation.NOT_DEFLATED: Cause.PROTOCOL_ERROR,
    CloseCode.PROTOCOL_ERROR: Cause.PROTOCOL_ERROR,
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: Cause.INVALID_UTF8,
    CloseCode.MESSAGE_TOO_BIG: Cause.MESSAGE_TOO_BIG,
    CloseCode.POLICY_VIOLATION: Cause.POLICY,
}

MAX_BODY_TEXT = 200  # characters of the body of a refusal are told

#: Codes with which a peer says that we have done something wrong.
REPORTS_OF_ERRORS = frozenset(
    {
        CloseCode.PROTOCOL_ERROR,
        CloseCode.UNSUPPORTED_DATA,
        CloseCode.INVALID_FRAME_PAYLOAD_DATA,
        CloseCode.MESSAGE_TOO_BIG,
    }
)


class Phase(StrEnum):
    """How far an opening had come that failed."""

    QUEUED = "queued"  # another WebSocket(url) was connecting to the same host and port
    DNS = "dns"
    TCP = "tcp"
    PROXY = "proxy"
    TLS = "tls"
    HTTP = "http"


class FrameNote(NamedTuple):
    """One frame that passed: never its payload."""

    sent: bool  # by us; otherwise received
    opcode: Opcode
    fin: bool
    size: int  # bytes of its payload, as they travel
    age: float  # seconds before the end
    compressed: bool = False  # whether it is, or begins, a message that permessage-deflate has compressed


class Stats(NamedTuple):
    """What had passed when the connection ended, or until now."""

    age: float | None  # seconds since the connection was established; None if it never was
    last_received: float | None  # seconds since the last byte arrived; None if none did
    last_sent: float | None  # seconds since the last byte was given to the transport
    bytes_received: int  # all bytes behind the opening handshake
    bytes_sent: int
    messages_received: int
    messages_sent: int
    rtt: float | None  # seconds of the latest ping's round trip
    buffered: int  # bytes of messages that had not left the process


class Facts(NamedTuple):
    """What is known of an end that has not come yet; the names are those of Outcome."""

    code: int | None  # of the peer's Close frame; None before there is one
    reason: str
    received: CloseFrame | None
    sent: CloseFrame | None  # it may still wait to leave
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
    """Who is closing, and with what; empty without a Close frame."""
    if frame is None:
        return ""
    reason = f" {frame.reason!r}" if frame.reason else ""
    return f"{who} is closing " + ("without a code" if frame.code is None else f"with {int(frame.code)}{reason}")


_NOTHING = Stats(None, None, None, 0, 0, 0, 0, None, 0)


class Outcome(NamedTuple):
    """All that is known of a connection's end; it can be pickled, and does not refer to the socket.

    Attributes:
        code: what the peer's Close frame said; 1005 if it had no code, 1006 if there was none, 1015 if TLS failed.
        reason: what the peer's Close frame said.
        was_clean: whether both Close frames were exchanged and TCP ended.
        initiator: who began the end.
        cause: why.
        detail: one line with the particulars; may be empty.
        sent, received: the Close frames.
        unsent: the messages that never left the process, in order. After a reset it may name some of which the kernel
            had taken a part.
        unflushed_bytes: what the kernel still held for the peer, frame headers and TLS included; 0 where it can't tell.
        discarded: bytes of messages that arrived and were delivered neither to a listener nor by recv(). What waits in
            a stream counts if its handler has returned, or its ``async with`` was left. Of an incomplete message the
            bytes that were read count, as they travel if they can't be inflated. What the kernel holds is not known.
        exception: the exception that ended or prevented the connection, if there was one.
        violation: the rule that the peer broke, if it did.
        phase: how far the opening had come, if that failed.
        response: the server's answer to the opening handshake, if that failed after its head had come; its body is what
            had come of it.
        stats: what had passed.
        frames: the last frames that passed, at most 32, the oldest first.
        role: which end we were.
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
        """Whether this was an ordinary end: clean, with 1000, 1001 or no code."""
        return self.was_clean and self.code in (1000, 1001, 1005)

    @property
    def errno(self) -> int | None:
        """The exception's error number, if the system gave one: TLS and name servers have numbers of their own."""
        if not isinstance(self.exception, OSError) or type(self.exception).__module__ in ("ssl", "socket"):
            return None
        return self.exception.errno

    def as_dict(self) -> dict[str, Any]:
        """Everything, in types that JSON has, for a log: messages that were not sent are counted, not shown."""
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
        except Exception:  # an exception of somebody's that can't be pickled, or not be restored
            facts["exception"] = None if self.exception is None else WebSocketError(repr_of(self.exception))
        return _restore, (facts,)


def _restore(facts: dict[str, Any]) -> Outcome:
    return Outcome(**facts)


def body_text(response: Response) -> str:
    """The beginning of an answer's body, in one line; empty unless it is text or JSON, in UTF-8."""
    kind = response.headers.get("Content-Type", "text/plain").partition(";")[0].strip().lower()
    if not kind.startswith("text/") and not kind.endswith(("/json", "+json")):
        return ""
    try:
        text = getincrementaldecoder("utf-8")().decode(response.body[: 4 * MAX_BODY_TEXT])  # its end may be cut
    except UnicodeDecodeError:
        return ""
    text = one_line(" ".join(text.split()))
    return text if len(text) <= MAX_BODY_TEXT else f"{text[:MAX_BODY_TEXT]}..."
