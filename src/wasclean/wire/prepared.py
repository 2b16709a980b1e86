"""A message that is sent to many connections, framed and compressed once."""

from __future__ import annotations

from . import octets
from .deflate import Deflater

FIN = 0x80
RSV1 = 0x40  # this message is compressed (RFC 7692 section 6)


class PreparedMessage:
    """A message with the frames that were made of it: for servers, whose frames are not masked.

    Args:
        opcode: TEXT or BINARY.
        message: a str without lone surrogates, or bytes.
        compress: True or False to compress it or not; None to compress it if it reaches a connection's threshold.

    Attributes:
        payload: the message as bytes.
    """

    __slots__ = ("_deflated", "_plain", "compress", "message", "opcode", "payload")

    def __init__(self, opcode: int, message: str | bytes, compress: bool | None) -> None:
        self.opcode = opcode
        self.message = message
        self.compress = compress
        self.payload = message.encode() if isinstance(message, str) else message
        self._plain: bytes | None = None
        self._deflated: dict[object, tuple[bytes, int]] = {}  # by Deflater.kind

    def plain(self) -> bytes:
        """Return the uncompressed frame."""
        if self._plain is None:
            self._plain = _framed(FIN | self.opcode, self.payload)
        return self._plain

    def deflated(self, deflater: Deflater) -> tuple[bytes, int]:
        """Return the frame that a deflater without context takeover makes, and the size of its payload."""
        made = self._deflated.get(deflater.kind)
        if made is None:
            data = deflater.deflate(self.payload, True)
            made = self._deflated[deflater.kind] = _framed(FIN | RSV1 | self.opcode, data), len(data)
        return made


def _framed(first: int, payload: bytes) -> bytes:
    """Return a frame with ``payload``; ``first`` is its first byte."""
    return octets.put_header(first, len(payload), False) + payload
