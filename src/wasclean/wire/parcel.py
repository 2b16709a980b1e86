"""One message that goes to many: framed, and compressed, once for all who may get the same bytes."""

from __future__ import annotations

from . import octets
from .deflate import Deflater

FIN = 0x80
RSV1 = 0x40  # this message is compressed (RFC 7692 section 6)


class Parcel:
    """A message, and the frames that have been made of it: for servers, whose frames are not masked.

    Args:
        opcode: TEXT or BINARY.
        message: a str without lone surrogates, or bytes.
        compress: whether to compress it where that can be; by default from a connection's threshold on.

    Attributes:
        payload: the message's bytes.
    """

    __slots__ = ("_deflated", "_plain", "compress", "message", "opcode", "payload")

    def __init__(self, opcode: int, message: str | bytes, compress: bool | None) -> None:
        self.opcode = opcode
        self.message = message
        self.compress = compress
        self.payload = message.encode() if isinstance(message, str) else message
        self._plain: bytes | None = None
        self._deflated: dict[object, tuple[bytes, int]] = {}

    def plain(self) -> bytes:
        """The frame as it is."""
        if self._plain is None:
            self._plain = _framed(FIN | self.opcode, self.payload)
        return self._plain

    def deflated(self, deflater: Deflater) -> tuple[bytes, int]:
        """The frame as a compressor makes it that keeps nothing between messages; and the size of its payload."""
        made = self._deflated.get(deflater.kind)
        if made is None:
            data = deflater.deflate(self.payload, True)
            made = self._deflated[deflater.kind] = _framed(FIN | RSV1 | self.opcode, data), len(data)
        return made


def _framed(first: int, payload: bytes) -> bytes:
    return octets.put_header(first, len(payload), False) + payload
