"""The arguments of the WebSocket's methods: Web IDL's conversions, and checks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..dom.exceptions import SyntaxError
from ..model.registry import MAX_CONTROL_PAYLOAD, MAX_REASON, Opcode

if TYPE_CHECKING:
    from typing_extensions import Buffer

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


def to_message(data: str | Buffer) -> tuple[int, str | bytes]:
    """Return the opcode of a message, and the message as a str without lone surrogates or as bytes.

    Raises:
        TypeError: not a str, and not bytes-like.
    """
    if isinstance(data, str):
        return TEXT, to_usv(data)
    return BINARY, data if isinstance(data, bytes) else to_bytes(data)


def to_ping(data: str | Buffer) -> bytes:
    """Return the payload of a ping.

    Raises:
        TypeError: neither a str nor bytes-like.
        ValueError: too long.
    """
    payload = to_usv(data).encode() if isinstance(data, str) else to_bytes(data)
    if len(payload) > MAX_CONTROL_PAYLOAD:
        raise ValueError(f"a ping holds at most {MAX_CONTROL_PAYLOAD} bytes, not {len(payload)}")
    return payload


def to_bytes(data: Any) -> bytes:
    """Return a copy of anything bytes-like, of any format and stride.

    Raises:
        TypeError: not bytes-like.
    """
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"a message is a str or bytes-like, not {type(data).__name__}") from None


def to_usv(text: str) -> str:
    """Return Web IDL's USVString: each lone surrogate is replaced by U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_reason(reason: object) -> str:
    """Return the reason of a Close frame as a USVString.

    Raises:
        SyntaxError: "If reasonBytes is longer than 123 bytes, then throw a SyntaxError".
        TypeError: not a str.
    """
    if not isinstance(reason, str):
        raise TypeError(f"the reason must be a str, not {type(reason).__name__}")
    reason = to_usv(reason)
    size = len(reason.encode())
    if size > MAX_REASON:
        raise SyntaxError(f"the reason must have at most {MAX_REASON} bytes in UTF-8, not {size}")
    return reason
