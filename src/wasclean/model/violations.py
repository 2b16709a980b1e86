"""The rules that a peer can break, each with its close code and the section that states it."""

from __future__ import annotations

from enum import Enum

from .registry import CloseCode

_PROTOCOL = CloseCode.PROTOCOL_ERROR
_DATA = CloseCode.INVALID_FRAME_PAYLOAD_DATA


class Violation(Enum):
    """A broken rule.

    Attributes:
        code: the code of the Close frame that answers it.
        section: the section that states the rule.
        text: a description, also used as the reason of that Close frame.
        rfc: the number of the RFC.
    """

    RESERVED_BITS = (_PROTOCOL, "5.2", "a reserved bit is set that no extension defines")
    RESERVED_OPCODE = (_PROTOCOL, "5.2", "the opcode is reserved")
    LENGTH_NOT_MINIMAL = (_PROTOCOL, "5.2", "the length is not encoded in the fewest bytes")
    LENGTH_OUT_OF_RANGE = (_PROTOCOL, "5.2", "the most significant bit of a 64-bit length is set")
    FRAME_NOT_MASKED = (_PROTOCOL, "5.1", "a client's frame is not masked")
    FRAME_MASKED = (_PROTOCOL, "5.1", "a server's frame is masked")
    CONTROL_FRAGMENTED = (_PROTOCOL, "5.5", "a control frame is fragmented")
    CONTROL_TOO_LONG = (_PROTOCOL, "5.5", "a control frame is longer than 125 bytes")
    NOTHING_TO_CONTINUE = (_PROTOCOL, "5.4", "a continuation frame continues no message")
    MESSAGE_UNFINISHED = (_PROTOCOL, "5.4", "a message starts inside another")
    CLOSE_TOO_SHORT = (_PROTOCOL, "5.5.1", "a Close frame has one byte")
    CLOSE_CODE_RESERVED = (_PROTOCOL, "7.4", "a Close frame has a code that must not be sent")
    CLOSE_REASON_NOT_UTF8 = (_DATA, "5.5.1", "the reason of a Close frame is not UTF-8")
    TEXT_NOT_UTF8 = (_DATA, "8.1", "a text message is not UTF-8")
    NOT_DEFLATED = (_DATA, "7.2.2", "a compressed message can't be inflated", 7692)
    MESSAGE_TOO_BIG = (CloseCode.MESSAGE_TOO_BIG, "10.4", "a message is larger than max_message_size")
    TOO_MANY_FRAGMENTS = (
        CloseCode.POLICY_VIOLATION,
        "10.4",
        "a message has more than max_fragments fragments of less than 16 bytes",
    )
    TOO_MANY_PINGS = (CloseCode.POLICY_VIOLATION, "10.4", "more pings arrived than max_pings_per_second")
    TOO_MANY_MESSAGES = (CloseCode.POLICY_VIOLATION, "10.4", "more messages arrived than max_messages_per_second")
    TOO_MANY_BYTES = (CloseCode.POLICY_VIOLATION, "10.4", "more bytes arrived than max_bytes_per_second")

    def __init__(self, code: CloseCode, section: str, text: str, rfc: int = 6455) -> None:
        self.code = code
        self.section = section
        self.text = text
        self.rfc = rfc

    def __str__(self) -> str:
        return f"{self.text} (RFC {self.rfc} section {self.section})"

    def describe(self, detail: str) -> str:
        """Return the text with particulars, which may be empty."""
        return f"{self}: {detail}" if detail else str(self)
