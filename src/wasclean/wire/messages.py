"""Fragments become messages: order, UTF-8 and size limits (RFC 6455 sections 5.4, 8.1 and 10.4).

A message that arrives whole, in one frame and one read, never comes here: the connection takes it straight from the
read buffer. All others grow in one bytearray, which is never made larger than twice what has arrived.
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

#: What messages were put together in, for the next ones, of all threads: memory that the allocator has given back to
#: the system costs more to get again, page by page, than a message to copy. At most so many, of so many bytes each.
_spares: list[bytearray] = []
SPARES = 8
SPARE_SIZE = 1 << 20

#: Where a message starts in what it is put together in. The kernel copies to us from its pages, at the start of which
#: the frame's header is; a copy whose target is 1 to 15 bytes further into its page than the source is into its own
#: takes AMD's processors (Zen 3 and 4: ``rep movsb``) eight times as long, and large memory from malloc() starts at 16.
START = 64


class MessageReader:
    """Puts the message together that is being received, if one is.

    Args:
        max_size: bytes that a message may have, after which MESSAGE_TOO_BIG; None for no limit.
        max_fragments: data frames that a message may have, empty ones counted, however small they are. Of one with
            more, the payload must average MIN_FRAGMENT_SIZE bytes a fragment, or TOO_MANY_FRAGMENTS; None for no limit.

    Attributes:
        opcode: TEXT or BINARY while a message is unfinished, else 0.
        size: the bytes of it that have arrived.
        compressed: whether it is, and its payload goes through inflate().
        inflater: what inflates it; None unless permessage-deflate is in use.
    """

    __slots__ = (
        "_arrived",
        "_buffer",
        "_checked",
        "_fragments",
        "_max_arrived",
        "compressed",
        "inflater",
        "max_fragments",
        "max_size",
        "opcode",
        "size",
    )

    def __init__(self, max_size: int | None, max_fragments: int | None) -> None:
        self.max_size = max_size = (1 << 63) - 1 if max_size is None else max_size
        self.max_fragments = (1 << 63) - 1 if max_fragments is None else max_fragments
        self.opcode = 0
        self.size = 0
        self._buffer: bytearray | None = None
        self._checked = 0  # how many bytes of a text are known to be UTF-8
        self._fragments = 0
        self._arrived = 0  # bytes of a compressed message, as they travel
        # What can't be compressed grows a little, at worst by a hundredth.
        self._max_arrived = min(max_size + max_size // 64 + 64, (1 << 63) - 1)
        self.compressed = False
        self.inflater: Inflater | None = None

    def begin_frame(self, opcode: int, length: int, compressed: bool = False) -> None:
        """Take note of the header of a data frame, before its payload.

        Raises:
            RemoteProtocolError: the frame has no place here, or makes the message larger than the limits.
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
            # Compressed payload counts as it travels or inflated, whichever is more: the fragments of a stream that is
            # flushed for each may have few bytes.
            size = max(self.size, self._arrived) if self.compressed else self.size + length
            if size < MIN_FRAGMENT_SIZE * self._fragments:
                number = self._fragments + 1
                detail = f"{count(size, 'byte')} in {number:,} fragments; the limit is {self.max_fragments:,}"
                raise RemoteProtocolError(Violation.TOO_MANY_FRAGMENTS, detail)
        self._fragments += 1

    def room(self, wanted: int) -> memoryview:
        """Room for some of ``wanted`` more bytes of payload, to be filled from its start and then taken with add().

        There is as much of it as has arrived already, so there must have been some.
        """
        self._reserve(min(wanted, self.size))
        assert self._buffer is not None
        start = START + self.size
        return memoryview(self._buffer)[start : start + min(wanted, len(self._buffer))]  # a sum that can't overflow

    def copy(self, buffer: bytearray, start: int, end: int, mask: int, phase: int) -> None:
        """Take ``buffer[start:end]`` of payload.

        Args:
            mask: what to unmask it with; 0 for nothing.
            phase: how many bytes of the same frame came before.

        Raises:
            RemoteProtocolError: a text stopped being UTF-8, at the first byte at which it did.
        """
        self._reserve(end - start)
        assert self._buffer is not None
        is_ascii = octets.move_unmasked(buffer, start, end, self._buffer, START + self.size, mask, phase)
        self._added(end - start, is_ascii)

    def add(self, count: int, mask: int, phase: int) -> None:
        """Take ``count`` bytes of payload that room() has received; the rest is as in copy()."""
        assert self._buffer is not None
        start = START + self.size
        looks = mask != 0 or self.opcode == TEXT  # what isn't masked and isn't text is as it should be
        self._added(count, looks and octets.apply_mask(self._buffer, start, start + count, mask, phase))

    def inflate(self, buffer: bytearray, start: int, end: int, mask: int, phase: int) -> None:
        """Take ``buffer[start:end]`` of a compressed message's payload; ``mask`` and ``phase`` as in add().

        Raises:
            RemoteProtocolError: the message becomes larger than the limit, can't be inflated, or is not UTF-8.
        """
        if mask:
            octets.apply_mask(buffer, start, end, mask, phase)
        assert self.inflater is not None
        try:
            pieces = self.inflater.inflate(octets.get_bytes(buffer, start, end), self.max_size, self.size)
        except RemoteProtocolError:
            self.size += end - start  # so that drop() loses no bytes uncounted
            raise
        self._append(pieces)

    def finish(self) -> str | bytes:
        """The message, of which the last byte has arrived.

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
        """Forget the unfinished message, and free its bytes, or keep them for another."""
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
        after = f" after {count(before, 'byte')}" if before else ""
        detail = f"a frame of {count(length, 'byte')}{what}{after}, and max_message_size is {self.max_size:,}"
        return RemoteProtocolError(Violation.MESSAGE_TOO_BIG, detail)

    def _append(self, pieces: list[bytes]) -> None:
        for piece in pieces:
            size = len(piece)
            self._reserve(size)
            assert self._buffer is not None
            start = START + self.size
            self._buffer[start : start + size] = piece
            self.size += size
        self._check()

    def _added(self, count: int, is_ascii: bool) -> None:
        if is_ascii and self._checked == self.size:
            self._checked += count
        self.size += count
        self._check()

    def _check(self) -> None:
        """See whether a text is UTF-8 as far as it goes."""
        if self._checked < self.size and self.opcode == TEXT:
            assert self._buffer is not None
            try:
                checked = octets.check_utf8(self._buffer, START + self._checked, START + self.size)
            except UnicodeDecodeError as error:
                raise RemoteProtocolError(Violation.TEXT_NOT_UTF8, not_utf8(error, self.size)) from None
            self._checked = checked - START

    def _reserve(self, count: int) -> None:
        """Make room for ``count`` more bytes, of which the caller has reason to believe that they will come."""
        needed = START + self.size + count
        if self._buffer is None:
            try:
                self._buffer = _spares.pop()
            except IndexError:
                self._buffer = bytearray()
        if needed > len(self._buffer):
            octets.grow(self._buffer, max(needed, START + min(2 * self.size, self.max_size)))
