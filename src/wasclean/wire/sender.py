"""What leaves a connection: frames, as many at a time as the transport takes.

Theory of operation. While the transport passes on all that it is given, a message is framed at once into the one write
buffer, which leaves at the end of the turn. While it doesn't (it is *congested*), and behind a message that is to be
cut into fragments, messages wait in a queue. Pings and pongs wait for no message: they leave with the next write, and
between two fragments of a large one (RFC 6455 section 5.4). While the transport is congested it gets nothing more, so
what has left the process is known to the byte. Messages are compressed when they are framed, so what waits is as it was
sent, and the order is that of the compressor.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from ..model.registry import Opcode
from . import octets
from .deflate import Deflater
from .frames import FrameLog
from .parcel import Parcel

TEXT = int(Opcode.TEXT)
PONG = int(Opcode.PONG)
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes
OPCODE = 0x0F
FIN = 0x80
RSV1 = 0x40  # in a frame and in an opcode of ours: this message is compressed (RFC 7692 section 6)
MASKED = 0x80
SENT = 0x10  # in a FrameLog, the bit that tells our frames from the peer's

READ_SIZE = 1 << 16  # bytes of a ReadBuffer, and of a write buffer that goes back there
HEAD_SIZE = 1 << 14  # bytes of its beginning, which is read to where less is better
LARGE = 1 << 14  # bytes from which a payload is not copied into the write buffer
FRAGMENT = 1 << 17  # bytes of the fragments that a larger message is cut into
LEAST_SIZE = 1 << 9  # bytes that a write buffer begins with

#: An opcode and what goes with it.
Message = tuple[int, str | bytes]


class ReadBuffer:
    """The memory that the connections of one event loop read into, one at a time.

    And a write buffer that none of them needs at the moment: an idle connection has none of its own.
    """

    __slots__ = ("data", "head", "spare", "view")

    def __init__(self) -> None:
        self.data = bytearray(READ_SIZE)
        self.view = memoryview(self.data)
        self.head = self.view[:HEAD_SIZE]
        self.spare: bytearray | None = None


class Sender:
    """Frames what is sent, and knows what of it has not left.

    Args:
        masks: whether we are a client, whose frames are masked.
        buffer: where a write buffer may be borrowed.
        log: is told of each frame.

    Attributes:
        congested: whether the transport holds bytes that the kernel did not take.
        bytes_sent: all that data_to_send() has given.
        messages_sent: those that send() has taken.
        deflater: what compresses; None unless permessage-deflate is in use.
        yields: whether the latest fill() has compressed something, which takes its time.
        queued, staged, written: bytes of messages that wait, that data_to_send() will give next, and that it has given
            and that are not known to have left the process; without headers.
    """

    __slots__ = (
        "_buffer",
        "_chunks",
        "_cut",
        "_filled",
        "_given",
        "_log",
        "_masks",
        "_offset",
        "_out",
        "_plain",
        "_plain_given",
        "_pong",
        "_queue",
        "_urgent",
        "bytes_sent",
        "congested",
        "deflater",
        "messages_sent",
        "queued",
        "staged",
        "written",
        "yields",
    )

    def __init__(self, masks: bool, buffer: ReadBuffer, log: FrameLog) -> None:
        self._masks = masks
        self._buffer = buffer
        self._log = log
        self._out: bytearray | None = None  # frames to be written, its first _filled bytes
        self._filled = 0
        self._chunks: list[Any] | None = None  # what goes before _out
        self._queue: deque[Message] | None = None  # messages, and last the Close frame, to come
        self._offset = 0  # how much of the queue's first has been framed
        self._urgent: list[Message] | None = None  # control frames that overtake the queue
        self._pong: bytes | None = None  # what the latest ping that waits for its answer said
        self._given: Any = None  # what was written last, as long as the transport may hold a part of it
        self._cut: Message | None = None  # the message that fragments were cut from last
        self._plain: list[Message] | None = None  # the messages that were compressed into _out and _chunks,
        self._plain_given: list[Message] | None = None  # and into _given, each in one frame
        self.deflater: Deflater | None = None
        self.yields = False
        self.queued = 0
        self.staged = 0
        self.written = 0
        self.congested = False
        self.bytes_sent = 0
        self.messages_sent = 0

    def send(self, opcode: int, payload: str | bytes, compress: bool | None = None) -> int:
        """Take a message; returns buffered_amount().

        Args:
            opcode: TEXT or BINARY.
            payload: a str or bytes.
            compress: whether to compress it, if that can be; by default from the threshold on.

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
        """Take a message that has to wait, to be cut, or not to be copied. A str stays one if its bytes are as many."""
        if isinstance(payload, str) and not payload.isascii():
            payload = payload.encode()
        size = len(payload)
        if self.congested or self._queue or size > FRAGMENT:
            self._enqueue(opcode, payload)
            self.queued += size
        else:
            self._put_part(FIN | opcode, opcode, payload, 0, size)
            self.staged += size

    def take(self, parcel: Parcel) -> bytes | None:
        """Take a message that others get, too, if nothing goes before it and it can leave as it is.

        Returns:
            What to write, and then to fill(); or None: it was not taken, so send() it.
        """
        if self._masks or len(parcel.payload) > FRAGMENT or self.congested or not self.is_empty():
            return None
        if self._urgent is not None or self._pong is not None:
            return None
        size = len(parcel.payload)
        plain: list[Message] | None = None
        deflater = self.deflater
        if deflater is not None and (size >= deflater.threshold if parcel.compress is None else parcel.compress):
            if deflater.kind is None:
                return None
            frame, noted = parcel.deflated(deflater)
            self._log.note(FIN | RSV1 | parcel.opcode | SENT, noted)
            plain = [(parcel.opcode, parcel.payload)]
        else:
            frame = parcel.plain()
            self._log.note(FIN | parcel.opcode | SENT, size)
        self._given = frame
        self._plain_given = plain
        self._cut = None
        self.written = size
        self.bytes_sent += len(frame)
        self.messages_sent += 1
        return frame

    def send_control(self, opcode: int, payload: bytes) -> None:
        """Take a ping or a pong, which overtakes messages.

        "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s),
        the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
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
        """Take a control frame that goes behind all that was sent: the Close frame, or a ping that is to wait."""
        # A ping or a pong that has waited leaves with fill(): behind a frame that were put into the buffer now.
        if self.congested or self._queue or self._urgent is not None or self._pong is not None:
            self._enqueue(opcode, payload)
        else:
            self._put(FIN | opcode, payload)

    def fill(self) -> bool:
        """Turn what is queued into data_to_send(), some 64 KiB or one fragment at a time.

        Returns:
            Whether there is anything to write.
        """
        if self.congested:
            return False
        self.written = 0
        self._given = None
        self._plain_given = None
        self.yields = False
        if self._urgent is not None or self._pong is not None:
            self._put_control()
        if self._queue:
            self._put_queued()
        elif self._cut is not None:
            self._cut = None
        return self._filled > 0 or self._chunks is not None

    def data_to_send(self) -> bytes | list[Any]:
        """What to write next, after fill() said that there is something; the caller must not change it.

        A list is to be written in order: to put its parts together would mean to copy large ones.
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
        self._given = data
        self._plain_given = self._plain
        self._plain = None
        return data  # type: ignore[no-any-return]

    def buffered_amount(self) -> int:
        """Bytes of messages that were sent and have not left the process, as far as is known; without headers."""
        return self.queued + self.staged + self.written

    def waits(self) -> bool:
        """Whether there is something in the queue, so that the last thing that was sent has not been framed."""
        return bool(self._queue)

    def is_empty(self) -> bool:
        """Whether data_to_send() has given all that was sent; the transport may still hold some of it."""
        return not (self._queue or self._filled or self._chunks)

    def unsent(self, held: int) -> list[str | bytes]:
        """The messages that have not left the process, in order.

        Args:
            held: the bytes that the transport has not passed on of what it was given.
        """
        if not held and self.is_empty():
            return []
        found: list[Message] = []
        given = b"".join(self._given) if isinstance(self._given, list) else self._given or b""
        for end, first, payload in _read_back(given, self._plain_given):
            if end > len(given) - held:
                self._add_unsent(found, first, payload)
        staged = b"".join(self._chunks or ()) + (b"" if self._out is None else bytes(self._out[: self._filled]))
        for _, first, payload in _read_back(staged, self._plain):
            self._add_unsent(found, first, payload)
        for message in self._queue or ():
            if not message[0] & CONTROL and not (found and found[-1] is message):
                found.append(message)
        return [
            payload.decode() if opcode & OPCODE == TEXT and isinstance(payload, bytes) else payload
            for opcode, payload in found
        ]

    def drop(self) -> None:
        """Free everything."""
        self._out = None
        self._filled = 0
        self._chunks = None
        self._queue = None
        self._given = None
        self._plain = None
        self._plain_given = None
        self._cut = None
        self._urgent = None
        self.deflater = None
        self._pong = None

    def _add_unsent(self, found: list[Message], first: int, payload: str | bytes) -> None:
        """Add the message that a frame belongs to: a fragment stands for all of the message that it was cut from."""
        opcode = first & OPCODE
        if opcode & CONTROL:
            return
        if opcode and first & FIN:
            found.append((opcode, payload))
        elif self._cut is not None and not (found and found[-1] is self._cut):
            found.append(self._cut)

    def _enqueue(self, opcode: int, payload: str | bytes) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append((opcode, payload))

    def _put_control(self) -> None:
        """Frame the pings and the pong that have waited."""
        urgent, pong = self._urgent, self._pong
        self._urgent = self._pong = None
        for opcode, payload in urgent or ():
            self._put(FIN | opcode, payload)
        if pong is not None:
            self._put(FIN | PONG, pong)

    def _put_queued(self) -> None:
        """Frame what is next in the queue: small messages together, and one fragment of a large one."""
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
            if start:  # one write has fragments of one message only
                break

    def _put_part(self, first: int, opcode: int, payload: str | bytes, start: int, end: int) -> None:
        """Add a frame with ``payload[start:end]`` of a message, compressed if the message is to be."""
        if opcode & RSV1:
            assert self.deflater is not None
            last = first & FIN != 0
            if last and start == 0:
                if self._plain is None:
                    self._plain = []
                self._plain.append((opcode & OPCODE, payload))
            part = payload[start:end]
            payload = self.deflater.deflate(part.encode() if isinstance(part, str) else part, last)
            start, end = 0, len(payload)
            self.yields = True
        if end - start >= LARGE:
            self._put_large(first, payload, start, end)
        else:
            self._put(first, payload[start:end])

    def _put(self, first: int, payload: str | bytes) -> int:
        """Add a frame to what is to be written; returns the size of its payload in bytes."""
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
        """Add a frame with ``payload[start:end]``, not copied unless it must be masked."""
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


def _read_back(data: bytes, plain: list[Message] | None) -> Iterator[tuple[int, int, str | bytes]]:
    """The frames that we have written into ``data``: where each ends, its first byte, and its payload.

    ``plain`` has the messages that were compressed into one frame each, which have the payload that was sent.
    """
    at = 0
    originals = iter(plain or ())
    while at < len(data):
        first, second = data[at], data[at + 1]
        size, at = second & 0x7F, at + 2
        if size >= 126:
            wide = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at : at + wide], "big"), at + wide
        mask = 0
        if second & MASKED:
            mask, at = int.from_bytes(data[at : at + 4], "little"), at + 4
        payload = bytearray(data[at : at + size])
        octets.apply_mask(payload, 0, size, mask, 0)
        at += size
        if first & FIN and first & RSV1:
            yield at, first, next(originals)[1]
        else:
            yield at, first, bytes(payload)
