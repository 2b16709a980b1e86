"""Receiving: bytes become messages and control frames (RFC 6455 sections 5.4 and 5.5).

Theory of operation
===================

The owner reads into ``get_buffer()``, reports the number of bytes to ``feed()``, and calls ``next_event()`` until it
returns None. An event is a message (str or bytes) or a ControlFrame. An invalid frame raises RemoteProtocolError, after
which, as after a Close frame, the owner calls ``stop()``: from then on input is counted and dropped.

Most messages arrive in one frame and in one read. Such a message is unmasked in the read buffer and converted to the
object that is delivered; nothing else is allocated. Every other data frame goes through a MessageReader, which is made
for the first of them. If READ_SIZE bytes or more of a frame are missing, ``get_buffer()`` lends memory of the message
itself, so that they are not copied.

The read buffer belongs to all connections of an event loop. Between two reads a Receiver keeps at most an incomplete
header or control frame (``_tail``), which ``get_buffer()`` puts in front of the bytes to come.
"""

from __future__ import annotations

from ..model.errors import RemoteProtocolError
from ..model.registry import Opcode, Role
from ..model.wording import not_utf8
from . import octets
from .deflate import Inflater
from .frames import MAX_NOTED, FrameLog, FrameReader
from .messages import MessageReader

TEXT = int(Opcode.TEXT)
CLOSE = int(Opcode.CLOSE)
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes
FIN = 0x80
RSV1 = 0x40

READ_SIZE = 1 << 16  # bytes of a ReadBuffer; if more of a frame is missing, it is read into its message
HEAD_SIZE = 1 << 14  # bytes of ReadBuffer.head


class ReadBuffer:
    """The memory that the connections of one event loop read into, one at a time.

    Attributes:
        data: the memory.
        view: a view of all of it.
        head: a view of its first HEAD_SIZE bytes, for reads that should be small.
        spare: a write buffer that no connection uses at the moment, or None. An idle connection has none of its own.
    """

    __slots__ = ("data", "head", "spare", "view")

    def __init__(self) -> None:
        self.data = bytearray(READ_SIZE)
        self.view = memoryview(self.data)
        self.head = self.view[:HEAD_SIZE]
        self.spare: bytearray | None = None


class ControlFrame:
    """A ping, a pong or a Close frame that has arrived."""

    __slots__ = ("opcode", "payload")

    def __init__(self, opcode: int, payload: bytes) -> None:
        self.opcode = opcode
        self.payload = payload


class Receiver:
    """The input of one end of a connection.

    Args:
        role: the end that this is.
        buffer: the memory to read into.
        log: records each frame.
        max_message_size: limit for a message, in bytes; None for no limit.
        max_fragments: limit for the data frames of one message, as in MessageReader; None for no limit.

    Attributes:
        is_reading: True between start() and stop(); otherwise input is counted and dropped.
        received_at: the time of the latest read; 0 before the first.
        bytes_received: all bytes that were read.
        messages_received: the messages that next_event() has returned.
        discarded: bytes that belong to no message that was returned, control frames excepted.
    """

    __slots__ = (
        # What it was made with.
        "_role",
        "_buffer",
        "_log",
        "_max_size",
        "_max_fragments",
        # Parsing.
        "_frame",
        "_message",  # None before the first data frame that is incomplete, fragmented or compressed
        "_remaining",  # bytes of the present data frame's payload still to arrive
        "_at",  # the range of the read buffer that next_event() has not parsed
        "_end",
        "_tail",  # the beginning of an incomplete header or control frame
        "_lent",  # True if the latest get_buffer() has lent memory of the message
        "is_reading",
        # Statistics.
        "received_at",
        "bytes_received",
        "messages_received",
        "discarded",
    )  # fmt: skip

    def __init__(
        self, role: Role, buffer: ReadBuffer, log: FrameLog, max_message_size: int | None, max_fragments: int | None
    ) -> None:
        self._role = role
        self._buffer = buffer
        self._log = log
        self._max_size = (1 << 63) - 1 if max_message_size is None else max_message_size
        self._max_fragments = max_fragments
        self._frame = FrameReader(role)
        self._message: MessageReader | None = None
        self._remaining = 0
        self._at = 0
        self._end = 0
        self._tail: bytes | None = None
        self._lent = False
        self.is_reading = False
        self.received_at = 0.0
        self.bytes_received = 0
        self.messages_received = 0
        self.discarded = 0

    def start(self, inflater: Inflater | None = None) -> None:
        """Begin to parse input.

        Args:
            inflater: decompresses messages; None without permessage-deflate.
        """
        self.is_reading = True
        if inflater is not None:
            self._frame = FrameReader(self._role, True)
            self._message = MessageReader(self._max_size, self._max_fragments, inflater)

    def stop(self) -> None:
        """Drop what has been received of an unfinished message, the rest of the read buffer, and all further input."""
        self.is_reading = False
        self.discarded += self._end - self._at
        self._at = self._end = 0
        self._remaining = 0
        self._tail = None
        if self._message is not None:
            self.discarded += self._message.size
            self._message.drop()

    def get_buffer(self) -> memoryview:
        """Return the memory to read the next bytes into; valid until feed()."""
        message = self._message
        if (
            self._remaining >= READ_SIZE
            and message is not None
            and message.size >= READ_SIZE
            and not message.compressed
        ):
            try:
                room = message.room(self._remaining)
            except MemoryError:
                pass  # use the read buffer: next_event() will raise the error, and its caller handles that
            else:
                self._lent = True
                return room
        view = self._buffer.view
        if self._tail is None:
            return view
        size = len(self._tail)
        self._buffer.data[:size] = self._tail
        return view[size:]

    def feed(self, count: int) -> None:
        """Take the first ``count`` bytes of the memory that get_buffer() returned; next_event() parses them."""
        self.received_at = self._log.now
        self.bytes_received += count
        if not self.is_reading:
            self._lent = False
            self.discarded += count
            return
        if self._tail is not None:
            count += len(self._tail)
            self._tail = None
        self._at = 0
        self._end = count

    def next_event(self) -> str | bytes | ControlFrame | None:
        """Return the next message or control frame, or None if more bytes are needed.

        Raises:
            RemoteProtocolError: the peer broke a rule; stop() is to be called.
            UnicodeDecodeError: a text is not UTF-8; refuse_text() and stop() are to be called. It is not converted
                here, because a ``try`` for each message costs as much as to unmask it.
        """
        if self._lent:
            return self._finish() if self._take_lent() else None
        buffer = self._buffer.data
        frame = self._frame
        while self._at < self._end:
            if self._remaining:
                if self._take_payload():
                    return self._finish()
                continue
            size = frame.read_header(buffer, self._at, self._end)
            if size == 0:
                break
            start = self._at + size
            length = frame.length
            opcode = frame.opcode
            is_whole = length <= self._end - start
            if opcode & CONTROL:
                if not is_whole:
                    break
                self._at = stop = start + length
                if frame.mask:
                    octets.apply_mask(buffer, start, stop, frame.mask, 0)
                self._log.note(FIN | opcode, length)
                return ControlFrame(opcode, octets.get_bytes(buffer, start, stop))
            if (
                is_whole
                and frame.fin
                and opcode
                and not frame.compressed
                and (self._message is None or not self._message.opcode)
                and length <= self._max_size
            ):
                self._at = stop = start + length
                self._log.note(FIN | opcode, length)
                self.messages_received += 1
                if opcode == TEXT:
                    return octets.get_text(buffer, start, stop, frame.mask)
                if frame.mask:
                    octets.apply_mask(buffer, start, stop, frame.mask, 0)
                return octets.get_bytes(buffer, start, stop)
            if self._begin_frame(start):
                return self._finish()
        if self._at < self._end:
            self._tail = octets.get_bytes(buffer, self._at, self._end)
            self._at = self._end = 0
        return None

    def is_amid_frame(self) -> bool:
        """Return True if the next bytes continue the payload of an uncompressed data frame."""
        return self._remaining > 0 and self._message is not None and not self._message.compressed

    def finds_close(self, data: bytes) -> bool:
        """Return True if ``data`` contains a Close frame or an invalid header.

        While reading is paused the transport peeks at the kernel's receive buffer: if the end of the connection waits
        there, it is read at once.

        Args:
            data: the bytes that follow those processed so far; they are not consumed.
        """
        buffer = bytearray(b"" if self._tail is None else self._tail)
        buffer += data
        frame = FrameReader(self._role, self._message is not None and self._message.inflater is not None)
        at = self._remaining
        end = len(buffer)
        try:
            while at < end:
                size = frame.read_header(buffer, at, end)
                if size == 0:
                    return False
                if frame.opcode == CLOSE:
                    return True
                at += size
                if frame.length > end - at:
                    return False
                at += frame.length
        except RemoteProtocolError:
            return True
        return False

    def refuse_text(self, error: UnicodeDecodeError) -> str:
        """Count the text for which next_event() has raised ``error`` as discarded, and describe it."""
        self.messages_received -= 1
        self.discarded += self._frame.length
        return not_utf8(error, self._frame.length)

    def describe_position(self) -> str:
        """Return the position within a message at which the input ends; empty between two messages."""
        if self._remaining:
            length = self._frame.length
            return f"{length - self._remaining:,} bytes into the payload of a frame of {length:,}"
        if self._tail is not None:
            return f"{len(self._tail)} bytes into a header or a control frame"
        if self._message is not None and self._message.opcode:
            return f"between two fragments of a message, after {self._message.size:,} bytes of it"
        return ""

    def _begin_frame(self, start: int) -> bool:
        """Begin a data frame whose payload goes to the MessageReader; returns True if that completes the message."""
        frame = self._frame
        kind = FIN | frame.opcode if frame.fin else frame.opcode
        self._log.note(kind | RSV1 if frame.compressed else kind, min(frame.length, MAX_NOTED))
        if self._message is None:
            self._message = MessageReader(self._max_size, self._max_fragments)
        self._message.begin_frame(frame.opcode, frame.length, frame.compressed)
        self._at = start
        self._remaining = frame.length
        return frame.length == 0 and frame.fin

    def _take_payload(self) -> bool:
        """Take payload from the read buffer; returns True if it completes the message."""
        frame, message = self._frame, self._message
        assert message is not None
        at = self._at
        size = min(self._remaining, self._end - at)
        stop = self._at = at + size
        phase = frame.length - self._remaining
        if message.compressed:
            message.inflate(self._buffer.data, at, stop, frame.mask, phase)
        else:
            message.copy(self._buffer.data, at, stop, frame.mask, phase)
        self._remaining -= size
        return self._remaining == 0 and frame.fin

    def _take_lent(self) -> bool:
        """Take the bytes that were read into memory of the message; returns True if they complete it."""
        self._lent = False
        count = self._end
        self._end = 0
        frame, message = self._frame, self._message
        assert message is not None
        message.add(count, frame.mask, frame.length - self._remaining)
        self._remaining -= count
        return self._remaining == 0 and frame.fin

    def _finish(self) -> str | bytes:
        """Return the message, whose last frame is complete."""
        assert self._message is not None
        message = self._message.finish()
        self.messages_received += 1
        return message
