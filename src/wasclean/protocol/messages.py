"""Fragments become messages: order, UTF-8 and size limits (RFC 6455 sections 5.4, 8.1 and 10.4).

A message that arrives whole, in one frame and one read, never comes here: the connection takes it straight from the
read buffer. All others grow in one bytearray, which never has more than twice the room of what has arrived.
"""

from __future__ import annotations

from . import octets
from .errors import RemoteProtocolError
from .registry import Opcode
from .violations import Violation


class MessageReader:
    """Puts the message together that is being received, if one is.

    Args:
        max_size: bytes that a message may have, after which MESSAGE_TOO_BIG; None for no limit.
        max_fragments: data frames that a message may have, empty ones counted, after which TOO_MANY_FRAGMENTS;
            None for no limit.

    Attributes:
        opcode: TEXT or BINARY while a message is unfinished, else 0.
        size: the bytes of it that have arrived.
    """

    __slots__ = ("_buffer", "_checked", "_fragments", "max_fragments", "max_size", "opcode", "size")

    def __init__(self, max_size: int | None, max_fragments: int | None) -> None:
        self.max_size = (1 << 63) - 1 if max_size is None else max_size
        self.max_fragments = (1 << 63) - 1 if max_fragments is None else max_fragments
        self.opcode = 0
        self.size = 0
        self._buffer: bytearray | None = None
        self._checked = 0  # how many bytes of a text are known to be UTF-8
        self._fragments = 0

    def begin_frame(self, opcode: int, length: int) -> None:
        """Take note of the header of a data frame, before its payload.

        Raises:
            RemoteProtocolError: the frame has no place here, or makes the message larger than the limits.
        """
        if opcode == Opcode.CONTINUATION:
            if self.opcode == 0:
                raise RemoteProtocolError(Violation.NOTHING_TO_CONTINUE)
        elif self.opcode != 0:
            raise RemoteProtocolError(Violation.MESSAGE_UNFINISHED)
        else:
            self.opcode = opcode
        if length > self.max_size - self.size:
            raise RemoteProtocolError(Violation.MESSAGE_TOO_BIG)
        self._fragments += 1
        if self._fragments > self.max_fragments:
            raise RemoteProtocolError(Violation.TOO_MANY_FRAGMENTS)

    def room(self, wanted: int) -> memoryview:
        """Room for some of ``wanted`` more bytes of payload, to be filled from its start and then taken with add().

        There is as much of it as has arrived already, so there must have been some.
        """
        self._reserve(min(wanted, self.size))
        assert self._buffer is not None
        return memoryview(self._buffer)[self.size : self.size + wanted]

    def copy(self, buffer: bytearray, start: int, end: int) -> None:
        """Put ``buffer[start:end]`` where room() would be."""
        self._reserve(end - start)
        assert self._buffer is not None
        memoryview(self._buffer)[self.size : self.size + end - start] = memoryview(buffer)[start:end]

    def add(self, count: int, mask: int, phase: int) -> None:
        """Take ``count`` bytes of payload that room() or copy() has received.

        Args:
            mask: what to unmask them with; 0 for nothing.
            phase: how many bytes of the same frame came before.

        Raises:
            RemoteProtocolError: a text stopped being UTF-8, at the first byte at which it did.
        """
        assert self._buffer is not None
        end = self.size + count
        if mask:
            octets.apply_mask(self._buffer, self.size, end, mask, phase)
        self.size = end
        if self.opcode == Opcode.TEXT:
            try:
                self._checked = octets.check_utf8(self._buffer, self._checked, end)
            except UnicodeDecodeError:
                raise RemoteProtocolError(Violation.TEXT_NOT_UTF8) from None

    def finish(self) -> str | bytes:
        """The message, of which the last byte has arrived.

        Raises:
            RemoteProtocolError: a text ends inside a character.
        """
        buffer = bytearray() if self._buffer is None else self._buffer
        message: str | bytes
        try:
            if self.opcode == Opcode.TEXT:
                message = octets.get_text(buffer, 0, self.size)
            else:
                message = octets.get_bytes(buffer, 0, self.size)
        except UnicodeDecodeError:
            raise RemoteProtocolError(Violation.TEXT_NOT_UTF8) from None
        self.drop()
        return message

    def drop(self) -> None:
        """Forget the unfinished message, and free its bytes."""
        self.opcode = 0
        self.size = 0
        self._buffer = None
        self._checked = 0
        self._fragments = 0

    def _reserve(self, count: int) -> None:
        """Make room for ``count`` more bytes, of which the caller has reason to believe that they will come."""
        needed = self.size + count
        if self._buffer is None:
            self._buffer = bytearray()
        if needed > len(self._buffer):
            octets.grow(self._buffer, max(needed, min(2 * self.size, self.max_size)))
