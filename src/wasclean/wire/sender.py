"""Sending: messages and control frames become bytes.

Theory of operation
===================

While the transport takes all that it is given, a message is framed at once into one write buffer, which leaves at the
end of the event loop's turn. While it does not (it is *congested*), and behind a message that is to be cut into
fragments, messages wait in a queue. Pings and pongs do not wait for messages: they leave with the next write, also
between two fragments of a message (RFC 6455 section 5.4). A congested transport is given nothing, so the bytes that
have left the process are known exactly.

Messages are compressed when they are framed: the queue holds them as they were sent, and the order of compression is
that of the frames.

A message goes through three stages, whose sizes are counted: ``queued``, in the queue; ``staged``, in frames that
data_to_send() will return; ``written``, in frames that it has returned, until fill() is called without congestion.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from ..model.registry import Opcode
from . import octets
from .deflate import Deflater
from .frames import FrameLog
from .prepared import PreparedMessage
from .receiver import ReadBuffer
from .unsent import Message, Written, unsent_messages

PONG = int(Opcode.PONG)
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes
OPCODE = 0x0F
FIN = 0x80
RSV1 = 0x40  # in frames, and in the opcodes of the queue: this message is compressed (RFC 7692 section 6)
SENT = 0x10  # in a FrameLog: the frame is one of this end

READ_SIZE = 1 << 16  # bytes: fill() stops there, and a write buffer that is larger is not kept
LARGE = 1 << 14  # bytes of a payload from which it is not copied into the write buffer
FRAGMENT = 1 << 17  # bytes of the fragments that a larger message is cut into
LEAST_SIZE = 1 << 9  # bytes of a new write buffer


class Sender:
    """The output of one end of a connection.

    Args:
        masks: True for a client, whose frames are masked.
        buffer: lends a write buffer.
        log: records each frame.

    Attributes:
        deflater: compresses messages; None without permessage-deflate.
        congested: True while the transport holds bytes that the kernel did not take.
        yields: True if the latest fill() has compressed something, which takes long.
        queued, staged, written: payload bytes of messages in each stage.
        bytes_sent: all bytes that data_to_send() has returned.
        messages_sent: the messages that send() has taken.
        sent_at: the time of the latest data_to_send(); 0 before.
    """

    __slots__ = (
        # What it was made with.
        "_masks",
        "_buffer",
        "_log",
        "deflater",
        # The queue.
        "_queue",  # messages, and behind them the Close frame
        "_offset",  # bytes of its first message that were framed
        "_urgent",  # pings that overtake it
        "_pong",  # the payload of the latest ping that was not answered
        # Frames that data_to_send() will return.
        "_chunks",  # large ones, and those before them
        "_out",  # a write buffer, behind _chunks
        "_filled",  # bytes of _out that are in use
        # For unsent(): see unsent.py.
        "_given",  # the frames that data_to_send() returned last, until they have left
        "_cut",  # the message that fragments were cut from last
        "_compressed",  # the messages that were compressed into one frame of _chunks and _out each
        "_compressed_given",  # likewise of _given
        # State and statistics.
        "congested",
        "yields",
        "queued",
        "staged",
        "written",
        "bytes_sent",
        "messages_sent",
        "sent_at",
    )  # fmt: skip

    def __init__(self, masks: bool, buffer: ReadBuffer, log: FrameLog) -> None:
        self._masks = masks
        self._buffer = buffer
        self._log = log
        self.deflater: Deflater | None = None
        self._queue: deque[Message] | None = None
        self._offset = 0
        self._urgent: list[Message] | None = None
        self._pong: bytes | None = None
        self._chunks: list[Any] | None = None
        self._out: bytearray | None = None
        self._filled = 0
        self._given: Any = None
        self._cut: Message | None = None
        self._compressed: list[Message] | None = None
        self._compressed_given: list[Message] | None = None
        self.congested = False
        self.yields = False
        self.queued = 0
        self.staged = 0
        self.written = 0
        self.bytes_sent = 0
        self.messages_sent = 0
        self.sent_at = 0.0

    def send(self, opcode: int, payload: str | bytes, compress: bool | None = None) -> int:
        """Take a message, and return buffered_amount().

        Args:
            opcode: TEXT or BINARY.
            payload: a str or bytes.
            compress: True or False to compress it or not, if permessage-deflate is in use; None to compress it if it
                reaches the threshold.

        Raises:
            UnicodeEncodeError: a str has lone surrogates; nothing was taken.
        """
        deflater = self.deflater
        if deflater is not None and (len(payload) >= deflater.threshold if compress is None else compress):
            self._send_large(RSV1 | opcode, payload)
        elif self.congested or self._queue or len(payload) >= LARGE:
            self._send_large(opcode, payload)
        else:
            self.staged += self._put(FIN | opcode, payload)
        self.messages_sent += 1
        return self.queued + self.staged + self.written

    def _send_large(self, opcode: int, payload: str | bytes) -> None:
        """Take a message that has to wait, to be cut or compressed, or is not to be copied."""
        # A str that is ASCII stays one: its length is its size.
        if isinstance(payload, str) and not payload.isascii():
            payload = payload.encode()
        size = len(payload)
        if self.congested or self._queue or size > FRAGMENT:
            self._enqueue(opcode, payload)
            self.queued += size
        else:
            self._put_part(FIN | opcode, opcode, payload, 0, size)
            self.staged += size

    def take(self, prepared: PreparedMessage) -> bytes | None:
        """Take a message of many connections, if it can leave as it is and at once.

        Returns:
            The bytes to write, after which fill() is to be called; or None if the message is to be sent by send().
        """
        if self._masks or len(prepared.payload) > FRAGMENT or self.congested or not self.is_empty():
            return None
        if self._urgent is not None or self._pong is not None:
            return None
        size = len(prepared.payload)
        compressed: list[Message] | None = None
        deflater = self.deflater
        if deflater is not None and (size >= deflater.threshold if prepared.compress is None else prepared.compress):
            if deflater.kind is None:
                return None
            frame, noted = prepared.deflated(deflater)
            self._log.note(FIN | RSV1 | prepared.opcode | SENT, noted)
            compressed = [(prepared.opcode, prepared.payload)]
        else:
            frame = prepared.plain()
            self._log.note(FIN | prepared.opcode | SENT, size)
        self._given = frame
        self._compressed_given = compressed
        self._cut = None
        self.written = size
        self.sent_at = self._log.now
        self.bytes_sent += len(frame)
        self.messages_sent += 1
        return frame

    def send_control(self, opcode: int, payload: bytes) -> None:
        """Take a ping or a pong, which overtakes messages.

        Section 5.5.3: "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous
        Ping frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
        """
        if not self.congested and self._urgent is None and self._pong is None:
            self._put(FIN | opcode, payload)
        elif opcode == PONG:
            self._pong = payload
        else:
            if self._urgent is None:
                self._urgent = []
            self._urgent.append((opcode, payload))

    def send_last(self, opcode: int, payload: bytes) -> None:
        """Take a control frame that follows all messages: the Close frame, or a ping."""
        # If a ping or a pong waits, fill() frames it: a frame that is put into the buffer now would overtake it.
        if self.congested or self._queue or self._urgent is not None or self._pong is not None:
            self._enqueue(opcode, payload)
        else:
            self._put(FIN | opcode, payload)

    def fill(self) -> bool:
        """Frame queued messages for data_to_send(), some 64 KiB or one fragment at a time.

        Returns:
            True if there is anything to write.
        """
        if self.congested:
            return False
        self.written = 0
        self._given = None
        self._compressed_given = None
        self.yields = False
        if self._urgent is not None or self._pong is not None:
            self._put_control()
        if self._queue:
            self._put_queued()
        elif self._cut is not None:
            self._cut = None
        return self._filled > 0 or self._chunks is not None

    def data_to_send(self) -> bytes | list[Any]:
        """Return the bytes to write after fill() returned True; the caller must not change them.

        A list is to be written in order, without joining its parts, some of which may be large.
        """
        data: Any = b""
        if self._filled:
            out = self._out
            assert out is not None
            data = octets.get_bytes(out, 0, self._filled)
            self.bytes_sent += self._filled
            self._filled = 0
            self._out = None
            if len(out) <= READ_SIZE:
                self._buffer.spare = out
        if self._chunks is not None:
            self.bytes_sent += sum(map(len, self._chunks))
            self._chunks.append(data)
            data = self._chunks
            self._chunks = None
        self.written += self.staged
        self.staged = 0
        self.sent_at = self._log.now
        self._given = data
        self._compressed_given = self._compressed
        self._compressed = None
        return data  # type: ignore[no-any-return]

    def buffered_amount(self) -> int:
        """Return the payload bytes of messages that are not known to have left the process."""
        return self.queued + self.staged + self.written

    def waits(self) -> bool:
        """True if the queue is not empty, so that the latest message or Close frame was not framed."""
        return bool(self._queue)

    def is_empty(self) -> bool:
        """True if data_to_send() has returned everything; the transport may still hold some of it."""
        return not (self._queue or self._filled or self._chunks)

    def unsent(self, held: int) -> list[str | bytes]:
        """Return the messages of which a part has not left the process, in order.

        Args:
            held: the bytes that the transport has not passed on.
        """
        if not held and self.is_empty():
            return []
        given = b"".join(self._given) if isinstance(self._given, list) else self._given or b""
        staged = b"".join(self._chunks or ()) + (b"" if self._out is None else bytes(self._out[: self._filled]))
        return unsent_messages(
            Written(given, self._compressed_given or ()),
            held,
            Written(staged, self._compressed or ()),
            self._cut,
            self._queue or (),
        )

    def last_message(self) -> tuple[str, int, float]:
        """Return the latest message, as FrameLog.last_sent(); an empty kind if there is none."""
        return self._log.last_sent() if self.messages_sent else ("", 0, 0.0)

    def drop(self) -> None:
        """Free all memory, so that unsent() returns nothing."""
        self._out = None
        self._filled = 0
        self._chunks = None
        self._queue = None
        self._given = None
        self._compressed = None
        self._compressed_given = None
        self._cut = None
        self._urgent = None
        self.deflater = None
        self._pong = None

    def _enqueue(self, opcode: int, payload: str | bytes) -> None:
        """Append to the queue, which is made for the first message that waits."""
        if self._queue is None:
            self._queue = deque()
        self._queue.append((opcode, payload))

    def _put_control(self) -> None:
        """Frame the pings and the pong that wait."""
        urgent, pong = self._urgent, self._pong
        self._urgent = self._pong = None
        for opcode, payload in urgent or ():
            self._put(FIN | opcode, payload)
        if pong is not None:
            self._put(FIN | PONG, pong)

    def _put_queued(self) -> None:
        """Frame the next of the queue: several small messages, or one fragment of a large one."""
        queue = self._queue
        assert queue is not None
        while queue and self._filled < READ_SIZE and self._chunks is None:
            message = queue[0]
            opcode, payload = message
            start = self._offset
            end = len(payload)
            first = opcode if start == 0 else 0
            if end - start > FRAGMENT:
                end = start + FRAGMENT
                self._offset = end
                self._cut = message
            else:
                first |= FIN
                self._offset = 0
                queue.popleft()
            self._put_part(first, opcode, payload, start, end)
            if not opcode & CONTROL:
                self.queued -= end - start
                self.staged += end - start
            if start:  # the fragments of one write belong to one message
                break

    def _put_part(self, first: int, opcode: int, payload: str | bytes, start: int, end: int) -> None:
        """Stage a frame with ``payload[start:end]`` of a message, compressed if ``opcode`` says so."""
        if opcode & RSV1:
            assert self.deflater is not None
            last = first & FIN != 0
            if last and start == 0:
                if self._compressed is None:
                    self._compressed = []
                self._compressed.append((opcode & OPCODE, payload))
            part = payload[start:end]
            payload = self.deflater.deflate(part.encode() if isinstance(part, str) else part, last)
            start, end = 0, len(payload)
            self.yields = True
        if end - start >= LARGE:
            self._put_large(first, payload, start, end)
        else:
            self._put(first, payload[start:end])

    def _put(self, first: int, payload: str | bytes) -> int:
        """Stage a frame in the write buffer, and return the size of its payload in bytes."""
        out = self._out
        if out is None:
            out = self._buffer.spare
            if out is None:
                out = bytearray(LEAST_SIZE)
            else:
                self._buffer.spare = None
            self._out = out
        start = self._filled
        self._filled = octets.put_frame(out, start, first, payload, self._masks)
        size = self._filled - start - (6 if self._masks else 2)
        if size >= 126:
            size -= 2 if size < (1 << 16) + 2 else 8
        self._log.note(first | SENT, size)
        return size

    def _put_large(self, first: int, payload: str | bytes, start: int, end: int) -> None:
        """Stage a frame with ``payload[start:end]``, which is copied only if it must be masked."""
        if self._chunks is None:
            self._chunks = []
        if self._filled:
            assert self._out is not None
            self._chunks.append(octets.get_bytes(self._out, 0, self._filled))
            self._filled = 0
        if self._masks:
            self._chunks.append(octets.masked_frame(first, payload, start, end))
        else:
            self._chunks += (octets.put_header(first, end - start, False), octets.view(payload, start, end))
        self._log.note(first | SENT, end - start)
