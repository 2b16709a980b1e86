"""The names and numbers of the IANA registry, RFC 6455 and the WHATWG standard, and some limits of our own."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import NamedTuple

#: RFC 6455 section 1.3: the string that turns a Sec-WebSocket-Key into a Sec-WebSocket-Accept.
ACCEPT_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

#: RFC 6455 section 4.1: the only version there is.
VERSION = "13"

#: RFC 6455 section 5.5: the payload of a control frame, in bytes.
MAX_CONTROL_PAYLOAD = 125

#: A Close frame's reason: what a control frame holds, less the two bytes of the code.
MAX_REASON = MAX_CONTROL_PAYLOAD - 2

# Our own limits that more than one package needs; the options' other defaults are in options.py.
MAX_BUFFERED_AMOUNT = 16 << 20  # bytes that send() queues before the socket is flagged as full
HIGH_WATER = 64 << 10  # bytes in the queue from which an awaited send() waits
MIN_FRAGMENT_SIZE = 16  # bytes of payload that fragments have on average if there are more than max_fragments
OPEN_TIMEOUT = 10.0  # seconds for the whole opening handshake
CLOSE_TIMEOUT = 5.0  # seconds for the whole closing handshake
GRACE = 1.0  # seconds for the closing handshake when the event loop or the process ends
BODY_TIMEOUT = 1.0  # seconds from the end of a refusal's head to the end of its body
LINGER = 2.0  # seconds that the peer has to end TCP after the closing handshake
LINGER_BYTES = 1 << 20  # bytes read and dropped meanwhile
MOST_HELD = 1 << 20  # bytes that TLS may add to a full write queue: a peer can ask for new keys forever


class Role(Enum):
    """The role of an end of a connection."""

    CLIENT = "client"
    SERVER = "server"


class Opcode(IntEnum):
    """The opcodes of frames (RFC 6455 section 11.8)."""

    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class ReadyState(IntEnum):
    """The states of a WebSocket in the WHATWG standard."""

    CONNECTING = 0
    OPEN = 1
    CLOSING = 2
    CLOSED = 3


class CloseCode(IntEnum):
    """The IANA registry of close codes (RFC 6455 sections 7.4 and 11.7)."""

    NORMAL_CLOSURE = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    NO_STATUS_RCVD = 1005
    ABNORMAL_CLOSURE = 1006
    INVALID_FRAME_PAYLOAD_DATA = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    MANDATORY_EXTENSION = 1010
    INTERNAL_ERROR = 1011
    SERVICE_RESTART = 1012
    TRY_AGAIN_LATER = 1013
    BAD_GATEWAY = 1014
    TLS_HANDSHAKE = 1015

    @property
    def title(self) -> str:
        """The description of the code in the registry, such as ``Normal Closure``."""
        return _TITLES[self]


_TITLES = {
    CloseCode.NORMAL_CLOSURE: "Normal Closure",
    CloseCode.GOING_AWAY: "Going Away",
    CloseCode.PROTOCOL_ERROR: "Protocol Error",
    CloseCode.UNSUPPORTED_DATA: "Unsupported Data",
    CloseCode.NO_STATUS_RCVD: "No Status Received",
    CloseCode.ABNORMAL_CLOSURE: "Abnormal Closure",
    CloseCode.INVALID_FRAME_PAYLOAD_DATA: "Invalid Frame Payload Data",
    CloseCode.POLICY_VIOLATION: "Policy Violation",
    CloseCode.MESSAGE_TOO_BIG: "Message Too Big",
    CloseCode.MANDATORY_EXTENSION: "Mandatory Extension",
    CloseCode.INTERNAL_ERROR: "Internal Error",
    CloseCode.SERVICE_RESTART: "Service Restart",
    CloseCode.TRY_AGAIN_LATER: "Try Again Later",
    CloseCode.BAD_GATEWAY: "Bad Gateway",
    CloseCode.TLS_HANDSHAKE: "TLS Handshake",
}

#: Codes that only describe an end, and must not be sent (RFC 6455 section 7.4.1).
NEVER_SENT = frozenset({CloseCode.NO_STATUS_RCVD, CloseCode.ABNORMAL_CLOSURE, CloseCode.TLS_HANDSHAKE})

#: Codes of the registry that a Close frame may carry.
_REGISTERED = frozenset(CloseCode) - NEVER_SENT


def may_be_sent(code: int) -> bool:
    """True if a Close frame may have the code: a registered one, or one of a library or an application (3000-4999).

    Source: RFC 6455 section 7.4.2 and the IANA registry.
    """
    return code in _REGISTERED or 3000 <= code <= 4999


def describe_code(code: int) -> str:
    """Return the title of a close code for people, or the name of the range that it belongs to."""
    if code in _TITLES:
        return CloseCode(code).title
    if 3000 <= code <= 3999:
        return "Registered By A Library"
    return "Private Use" if 4000 <= code <= 4999 else "Unassigned"


class CloseFrame(NamedTuple):
    """The content of a Close frame; ``code`` is None if the frame is empty."""

    code: int | None
    reason: str
