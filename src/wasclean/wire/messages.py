"""Assembling messages from fragments: order, UTF-8 and size limits (RFC 6455 sections 5.4, 8.1 and 10.4).

A message that arrives in one frame and one read does not come here: Receiver takes it straight from the read buffer.
All others are collected in one bytearray, which is never made larger than twice the bytes that have arrived.
"""

from __future__ import annotations

from ..model.errors import RemoteProtocolError
from ..model.registry import MIN_FRAGMENT_SIZE, Opcode
from ..model.violations import Violation
from ..model.wording import count, not_utf8
from . import octets
from .deflate import Inflater

TEXT = int(Opcode.TEXT)
_KINDS = {opcode: Opcode(opcode).name.lower() for opcode in (TEXT, int(Opcode.BINARY))}

#: Buffers of finished messages, for the next ones of any thread. The allocator returns large memory to the system, and
#: to get it again, page by page, costs more than to copy a message.
_spares: list[bytearray] = []
SPARES = 8  # buffers that are kept at most
SPARE_SIZE = 1 << 20  # bytes of a buffer that is kept, at most

#: Offset of a message in its buffer, in bytes. The kernel copies from its pages, at the start of which the frame's
#: header is. ``rep movsb`` of AMD's Zen 3 and 4 takes eight times as long if the target is 1 to 15 bytes further into
#: its page than the source is into its own; and large memory from malloc() starts at 16.
START = 64


class MessageReader:
    """Collects one message at a time.

    Args:
        max_size: limit for a message, in bytes; None for no limit.
        max_fragments: limit for the data frames of a message, empty ones included. A message with more is accepted only
            if they have MIN_FRAGMENT_SIZE bytes on average. None for no limit.
        inflater: decompresses messages; None without permessage-deflate.

    Attributes:
        opcode: TEXT or BINARY while a message is unfinished, else 0.
        size: the bytes of it that have arrived, decompressed.
        compressed: True if it is compressed: its payload goes through inflate().
    """

    __slots__ = (
        # Limits.
        "max_size",
        "max_fragments",
        "_max_arrived",
        # The message.
        "opcode",
        "compressed",
        "inflater",
        "size",
        "_buffer",
        "_checked",  # bytes of a text that are known to be UTF-8
        "_fragments",  # frames that have begun
        "_arrived",  # bytes of a compressed message before decompression
    )  # fmt: skip

    def __init__(self, max_size: int | None, max_fragments: int | None, inflater: Inflater | None = None) -> None:
        self.max_size = max_size = (1 << 63) - 1 if max_size is None else max_size
        self.max_fragments = (1 << 63) - 1 if max_fragments is None else max_fragments
        # Data that cannot be compressed grows a little, at worst by a hundredth.
        self._max_arrived = min(max_size + max_size // 64 + 64, (1 << 63) - 1)
        self.opcode = 0
        self.compressed = False
        self.inflater = inflater
        self.size = 0
        self._buffer: bytearray | None = None
        self._checked = 0
        self._fragments = 0
        self._arrived = 0

    def begin_frame(self, opcode: int, length: int, compressed: bool = False) -> None:
        """Begin a data frame, whose payload follows.

        Raises:
            RemoteProtocolError: the frame is out of order, or makes the message larger than a limit.
        """
        if opcode == Opcode.CONTINUATION:
            if self.opcode == 0:
                raise RemoteProtocolError(Violation.NOTHING_TO_CONTINUE, f"a frame of {count(length, 'byte')}")
        elif self.opcode != 0:
            raise RemoteProtocolError(
                Violation.MESSAGE_UNFINISHED,
                f"a {_KINDS[opcode]} message after {count(self._fragments, 'frame')} of a {_KINDS[self.opcode]} one",
            )
        else:
            self.opcode = opcode
            self.compressed = compressed
        if self.compressed:
            if length > self._max_arrived - self._arrived:
                raise self._too_big(length, self._arrived, " of compressed data")
            self._arrived += length
        elif length > self.max_size - self.size:
            raise self._too_big(length, self.size, "")
        if self._fragments >= self.max_fragments:
            # Of compressed payload the larger size counts: the fragments of a stream that is flushed for each may have
            # few bytes.
            size = max(self.size, self._arrived) if self.compressed else self.size + length
            if size < MIN_FRAGMENT_SIZE * self._fragments:
                number = self._fragments + 1
                detail = f"{count(size, 'byte')} in {number:,} fragments; the limit is {self.max_fragments:,}"
                raise RemoteProtocolError(Violation.TOO_MANY_FRAGMENTS, detail)
        self._fragments += 1

    def room(self, wanted: int) -> memoryview:
        """Return memory for at most ``wanted`` more bytes of payload, to be filled from its start and then add()ed.

        Returns at most as much memory as has been received so far, so ``size`` must be positive.
        """
        self._reserve(min(wanted, self.size))
        assert self._buffer is not None
        start = START + self.size
        return memoryview(self._buffer)[start : start + min(wanted, len(self._buffer))]  # start + wanted could overflow

    def copy(self, buffer: bytearray, start: int, end: int, mask: int, phase: int) -> None:
        """Add ``buffer[start:end]`` to the payload.

        Args:
            mask: the masking key; 0 for none.
            phase: the bytes of the same frame that came before.

        Raises:
            RemoteProtocolError: a text is not UTF-8; raised at the first byte that shows it.
        """
        self._reserve(end - start)
        assert self._buffer is not None
        is_ascii = octets.move_unmasked(buffer, start, end, self._buffer, START + self.size, mask, phase)
        self._added(end - start, is_ascii)

    def add(self, count: int, mask: int, phase: int) -> None:
        """Add ``count`` bytes that were written into the memory of room(); the rest is as in copy()."""
        assert self._buffer is not None
        start = START + self.size
        looks = mask != 0 or self.opcode == TEXT  # other bytes need neither unmasking nor a check
        self._added(count, looks and octets.apply_mask(self._buffer, start, start + count, mask, phase))

    def inflate(self, buffer: bytearray, start: int, end: int, mask: int, phase: int) -> None:
        """Add ``buffer[start:end]`` to the payload of a compressed message; ``mask`` and ``phase`` as in copy().

        Raises:
            RemoteProtocolError: the message is larger than the limit, cannot be inflated, or is not UTF-8.
        """
        if mask:
            octets.apply_mask(buffer, start, end, mask, phase)
        assert self.inflater is not None
        try:
            pieces = self.inflater.inflate(octets.get_bytes(buffer, start, end), self.max_size, self.size)
        except RemoteProtocolError:
            self.size += end - start  # for the count of discarded bytes
            raise
        self._append(pieces)

    def finish(self) -> str | bytes:
        """Return the message, whose last byte has arrived.

        Raises:
            RemoteProtocolError: a text ends inside a character; or as inflate().
        """
        if self.compressed:
            assert self.inflater is not None
            self._append(self.inflater.finish(self.max_size, self.size))
        buffer = bytearray(START) if self._buffer is None else self._buffer
        message: str | bytes
        try:
            if self.opcode == TEXT:
                message = octets.get_text(buffer, START, START + self.size, 0)
            else:
                message = octets.get_bytes(buffer, START, START + self.size)
        except UnicodeDecodeError as error:
            raise RemoteProtocolError(Violation.TEXT_NOT_UTF8, not_utf8(error, self.size)) from None
        self.drop()
        return message

    def drop(self) -> None:
        """Drop the message; its buffer is kept for another if there is room."""
        if self._buffer is not None and len(self._buffer) <= START + SPARE_SIZE and len(_spares) < SPARES:
            _spares.append(self._buffer)
        self.opcode = 0
        self.size = 0
        self._buffer = None
        self._checked = 0
        self._fragments = 0
        self._arrived = 0
        self.compressed = False

    def _too_big(self, length: int, before: int, what: str) -> RemoteProtocolError:
        """Return the error for a frame of ``length`` bytes after ``before`` others."""
        after = f" after {count(before, 'byte')}" if before else ""
        detail = f"a frame of {count(length, 'byte')}{what}{after}, and max_message_size is {self.max_size:,}"
        return RemoteProtocolError(Violation.MESSAGE_TOO_BIG, detail)

    def _append(self, pieces: list[bytes]) -> None:
        """Add decompressed payload."""
        for piece in pieces:
            size = len(piece)
            self._reserve(size)
            assert self._buffer is not None
            start = START + self.size
            self._buffer[start : start + size] = piece
            self.size += size
        self._check()

    def _added(self, count: int, is_ascii: bool) -> None:
        """Count and check bytes that were added to the buffer."""
        if is_ascii and self._checked == self.size:
            self._checked += count
        self.size += count
        self._check()

    def _check(self) -> None:
        """Check the part of a text that has arrived."""
        if self._checked < self.size and self.opcode == TEXT:
            assert self._buffer is not None
            try:
                checked = octets.check_utf8(self._buffer, START + self._checked, START + self.size)
            except UnicodeDecodeError as error:
                raise RemoteProtocolError(Violation.TEXT_NOT_UTF8, not_utf8(error, self.size)) from None
            self._checked = checked - START

    def _reserve(self, count: int) -> None:
        """Make the buffer large enough for ``count`` more bytes, which have arrived or are as many as have arrived."""
        needed = START + self.size + count
        if self._buffer is None:
            try:
                self._buffer = _spares.pop()
            except IndexError:
                self._buffer = bytearray()
        if needed > len(self._buffer):
            octets.grow(self._buffer, max(needed, START + min(2 * self.size, self.max_size)))
