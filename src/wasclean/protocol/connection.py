"""One WebSocket connection, without I/O: bytes and times in, bytes and calls of an Application out.

Theory of operation. Whoever owns a connection feeds it with ``get_buffer`` and ``buffer_updated`` (or with
``receive_data``), ``receive_eof``, ``handle_deadline`` and ``connection_lost``; and after each call, of these or of a
method that sends, takes ``data_to_send`` to the transport while ``fill`` says that there is some, ends the transport as
``ending`` says, and wakes the connection at ``next_deadline``.
All times are seconds of one monotonic clock.

An ordinary message, alone in one frame and wholly there, is unmasked in the read buffer, turned into the object that is
delivered, and gone. A frame of which only a part has arrived goes on in a MessageReader, and if it is large its next
bytes are read straight into that. What has to wait for more bytes in between is never more than one control frame.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from . import octets
from .closing import TABLE, TIMEOUTS, Duty, State, Trigger
from .errors import LocalProtocolError, RemoteProtocolError
from .events import Application
from .frames import FrameReader
from .messages import MessageReader
from .registry import CLOSE_TIMEOUT, OPEN_TIMEOUT, CloseCode, CloseFrame, Opcode, Role, may_be_sent
from .violations import Violation

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
CLOSE = int(Opcode.CLOSE)
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes
FIN = 0x80

READ_SIZE = 1 << 16  # bytes of a ReadBuffer; frames with more than that to come are read into their message
LARGE = 1 << 14  # bytes from which a payload is not copied into the write buffer
LEAST_SIZE = 1 << 9  # bytes that a write buffer begins with


class ReadBuffer:
    """The memory that the connections of one event loop read into, one at a time.

    And a write buffer that none of them needs at the moment: an idle connection has none of its own.
    """

    __slots__ = ("data", "spare", "view")

    def __init__(self) -> None:
        self.data = bytearray(READ_SIZE)
        self.view = memoryview(self.data)
        self.spare: bytearray | None = None


_NOBODY = Application()


class Connection:
    """The protocol of one end of a connection (RFC 6455), from the end of the opening handshake on.

    Args:
        role: which end this is.
        application: what is called with everything that arrives.
        buffer: where to read into.
        now: the time.
        max_message_size: bytes; None for no limit.
        max_fragments: data frames for one message; None for no limit.
        open_timeout: seconds that the state CONNECTING may last.
        close_timeout: seconds that the closing handshake may last if send_close() isn't told otherwise.

    Attributes:
        state: where the connection is in the closing table.
        ending: FINISH, HALF_CLOSE, HANG_UP or ABORT once the transport is to end that way, else None. All but ABORT
            wait until ``is_flushed``.
        sent, received: the Close frames that have left and come, else None.
        initiator: who began the end: ``local``, ``remote``, ``simultaneous``, ``network``; empty before.
        violation: the rule that the peer broke, if it did.
        failed: whether we failed the connection (RFC 6455 section 7.1.7).
    """

    __slots__ = (
        "_application",
        "_buffer",
        "_chunks",
        "_close_timeout",
        "_congested",
        "_deadline",
        "_deaf",
        "_direct",
        "_filled",
        "_frame",
        "_masks",
        "_message",
        "_out",
        "_owed",
        "_pong",
        "_queue",
        "_queued",
        "_remaining",
        "_staged",
        "_tail",
        "_written",
        "ending",
        "failed",
        "initiator",
        "is_open",
        "received",
        "role",
        "sent",
        "state",
        "violation",
    )

    def __init__(
        self,
        role: Role,
        application: Application,
        buffer: ReadBuffer,
        now: float,
        *,
        max_message_size: int | None,
        max_fragments: int | None = None,
        open_timeout: float = OPEN_TIMEOUT,
        close_timeout: float = CLOSE_TIMEOUT,
    ) -> None:
        self.role = role
        self.state = State.CONNECTING
        self.ending: Duty | None = None
        self.is_open = False
        self.sent: CloseFrame | None = None
        self.received: CloseFrame | None = None
        self.initiator = ""
        self.violation: Violation | None = None
        self.failed = False
        self._application = application
        self._buffer = buffer
        self._frame = FrameReader(role)
        self._message = MessageReader(max_message_size, max_fragments)
        self._remaining = 0  # bytes of the present data frame's payload that have not arrived
        self._tail: bytes | None = None  # the beginning of a header or of a control frame
        self._direct = False  # whether the bytes that are being read go into the message
        self._deaf = True  # whether bytes that arrive no longer, or not yet, mean anything
        self._masks = role is Role.CLIENT
        self._out: bytearray | None = None  # frames to be written, its first _filled bytes
        self._filled = 0
        self._chunks: list[bytes | bytearray] | None = None  # what goes before _out
        self._queue: deque[tuple[int, bytes]] | None = None  # frames to come, while the transport takes no more
        self._pong: bytes | None = None  # what the latest ping that waits for its answer said
        self._owed: CloseFrame | None = None  # our Close frame until it has left
        self._queued = 0  # bytes of data payloads: in _queue,
        self._staged = 0  # in _chunks and _out,
        self._written = 0  # and in the transport, as far as it is not known to have passed them on
        self._congested = False
        self._close_timeout = close_timeout
        self._deadline = now + open_timeout

    # What arrives.

    def established(self, now: float) -> None:
        """The opening handshake has succeeded."""
        self._trigger(Trigger.ESTABLISHED, now)

    def get_buffer(self) -> memoryview:
        """Where to read the next bytes to; valid until buffer_updated()."""
        if self._remaining >= READ_SIZE and self._message.size >= READ_SIZE and not self._deaf:
            self._direct = True
            return self._message.room(self._remaining)
        view = self._buffer.view
        if self._tail is None:
            return view
        size = len(self._tail)
        self._buffer.data[:size] = self._tail
        return view[size:]

    def buffer_updated(self, count: int, now: float) -> None:
        """The first ``count`` bytes of what get_buffer() returned have been filled."""
        if self._direct:
            self._direct = False
            if self._deaf:
                return
            try:
                self._payload_added(count)
            except RemoteProtocolError as error:
                self.fail(error.violation, now)
        elif not self._deaf:
            if self._tail is not None:
                count += len(self._tail)
                self._tail = None
            self._read_frames(count, now)

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes that were read elsewhere."""
        view = memoryview(data)
        while view:
            room = self.get_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            del room  # the message's buffer can't grow while it is in use
            self.buffer_updated(count, now)
            view = view[count:]

    def receive_eof(self, now: float) -> None:
        """The peer will send no more bytes."""
        self._trigger(Trigger.EOF, now)

    def connection_lost(self, now: float) -> None:
        """The transport is gone, or what is left to do with it does not matter to the connection."""
        self._trigger(Trigger.LOST, now)
        self._drop()

    def next_deadline(self) -> float | None:
        """When to call handle_deadline() unless something else happens before."""
        return self._deadline if self._deadline > 0 else None

    def handle_deadline(self, now: float) -> None:
        """Time may be up."""
        if 0 < self._deadline <= now:
            self._deadline = 0.0
            self._trigger(Trigger.DEADLINE, now)

    def _read_frames(self, end: int, now: float) -> None:
        """Read the frames in the first ``end`` bytes of the read buffer."""
        buffer = self._buffer.data
        frame = self._frame
        message = self._message
        at = 0
        try:
            while at < end:
                if self._remaining:
                    stop = at + min(self._remaining, end - at)  # a sum with _remaining could overflow
                    message.copy(buffer, at, stop)
                    self._payload_added(stop - at)
                    at = stop
                else:
                    size = frame.read_header(buffer, at, end)
                    if size == 0:
                        break
                    start = at + size
                    length = frame.length
                    opcode = frame.opcode
                    whole = length <= end - start
                    if opcode & CONTROL:
                        if not whole:
                            break
                        at = start + length
                        if frame.mask:
                            octets.apply_mask(buffer, start, at, frame.mask, 0)
                        self._control_received(opcode, octets.get_bytes(buffer, start, at), now)
                    elif whole and frame.fin and opcode and not message.opcode and length <= message.max_size:
                        at = start + length
                        if frame.mask:
                            octets.apply_mask(buffer, start, at, frame.mask, 0)
                        if opcode == TEXT:
                            self._application.message_received(octets.get_text(buffer, start, at))
                        else:
                            self._application.message_received(octets.get_bytes(buffer, start, at))
                    else:
                        message.begin_frame(opcode, length)
                        at = start
                        self._remaining = length
                        if length == 0:
                            self._frame_finished()
                if self._deaf:
                    return
        except RemoteProtocolError as error:
            self.fail(error.violation, now)
        except UnicodeDecodeError:
            self.fail(Violation.TEXT_NOT_UTF8, now)
        else:
            if at < end:
                self._tail = octets.get_bytes(buffer, at, end)

    def _payload_added(self, count: int) -> None:
        frame = self._frame
        self._message.add(count, frame.mask, frame.length - self._remaining)
        self._remaining -= count
        if self._remaining == 0:
            self._frame_finished()

    def _frame_finished(self) -> None:
        if self._frame.fin:
            self._application.message_received(self._message.finish())

    def _control_received(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == PING:
            # "If an endpoint receives a Ping frame and has not yet sent Pong frame(s) in response to previous Ping
            # frame(s), the endpoint MAY elect to send a Pong frame for only the most recently processed Ping frame."
            if self._congested:
                self._pong = payload
            elif self.is_open:
                self._put(PONG, payload)
        elif opcode == PONG:
            self._application.pong_received(payload)
        else:
            self._close_received(_read_close(payload), now)

    def _close_received(self, frame: CloseFrame, now: float) -> None:
        self.received = frame
        if self.state is State.CLOSE_SENT and self._crossed(frame):
            self.initiator = "simultaneous"
        self._trigger(Trigger.RECEIVE, now)

    def _crossed(self, frame: CloseFrame) -> bool:
        """Whether the peer's Close frame is no answer to ours, as far as that can be told.

        It isn't if ours has not left, or if it says something of its own. Some answer every Close frame with 1000, or
        with nothing.
        """
        return self.sent is None or (frame != self.sent and frame.code != self.sent.code and not _says_nothing(frame))

    # What is sent.

    def send(self, opcode: int, payload: str | bytes) -> None:
        """Queue a message in one frame.

        Args:
            opcode: TEXT or BINARY.
            payload: a str or bytes.

        Raises:
            LocalProtocolError: the connection is not OPEN.
            UnicodeEncodeError: a str has lone surrogates; nothing was queued.
        """
        if not self.is_open:
            raise LocalProtocolError(f"no message can be sent: the connection is {self.state.value}")
        if self._congested or self._queue:
            encoded = payload.encode() if isinstance(payload, str) else payload
            self._enqueue(opcode, encoded)
            self._queued += len(encoded)
        else:
            self._staged += self._put(opcode, payload)

    def send_ping(self, payload: bytes) -> None:
        """Queue a ping of at most 125 bytes.

        Raises:
            LocalProtocolError: the connection is not OPEN.
        """
        if not self.is_open:
            raise LocalProtocolError(f"no ping can be sent: the connection is {self.state.value}")
        if self._congested or self._queue:
            self._enqueue(PING, payload)
        else:
            self._put(PING, payload)

    def send_close(self, code: int | None, reason: str, now: float, timeout: float | None = None) -> None:
        """Start the closing handshake, behind what is queued; nothing happens if it has been started.

        Args:
            code: one that may_be_sent(), or None for an empty Close frame.
            reason: at most 123 bytes in UTF-8; empty without a code.
            timeout: seconds that the whole closing may last.
        """
        if self.state is State.OPEN:
            self._owed = CloseFrame(code, reason)
        self._trigger(Trigger.SEND, now, timeout)

    def fail(self, violation: Violation, now: float) -> None:
        """Fail the connection because the peer broke a rule (RFC 6455 section 7.1.7)."""
        self.violation = violation
        self._fail(CloseFrame(int(violation.code), violation.text), now)

    def refuse(self, code: int, reason: str, now: float) -> None:
        """Fail the connection for a reason of our own, such as a full buffer."""
        self._fail(CloseFrame(code, reason), now)

    def _fail(self, frame: CloseFrame, now: float) -> None:
        if self.state is State.CLOSE_EXCHANGED or self.state is State.CLOSED:
            return
        if self.state is State.OPEN:
            self._owed = frame
        self.failed = True
        self._message.drop()
        self._trigger(Trigger.FAIL, now)

    def terminate(self, now: float) -> None:
        """End the connection without a handshake."""
        self._trigger(Trigger.DEADLINE, now)

    def data_to_send(self) -> bytes | list[bytes | bytearray]:
        """What to write next, after fill() said that there is something; the caller owns it.

        A list is to be written in order: to put its parts together would mean to copy large ones.
        """
        data: Any = b""
        if self._filled:
            out = self._out
            assert out is not None
            data = octets.get_bytes(out, 0, self._filled)
            self._filled = 0
            self._out = None
            if len(out) <= READ_SIZE:
                self._buffer.spare = out
        if self._chunks is not None:
            self._chunks.append(data)
            data = self._chunks
            self._chunks = None
        self._written += self._staged
        self._staged = 0
        if self._owed is not None and not self._queue and self.state is not State.OPEN:
            self.sent = self._owed
            self._owed = None
        return data  # type: ignore[no-any-return]

    def pause_writing(self) -> None:
        """The transport holds bytes that it could not pass on: whatever is sent from now on waits here."""
        self._congested = True

    def resume_writing(self) -> None:
        """The transport has passed on all that it was given."""
        self._congested = False

    def fill(self) -> bool:
        """Turn what is queued into data_to_send(), some 64 KiB at a time.

        Returns:
            Whether there is anything to write.
        """
        if self._congested:
            return False
        self._written = 0
        if self._pong is not None:
            if self.is_open:
                self._put(PONG, self._pong)
            self._pong = None
        while self._queue and self._filled < READ_SIZE and self._chunks is None:
            opcode, payload = self._queue.popleft()
            size = self._put(opcode, payload)
            if not opcode & CONTROL:
                self._queued -= size
                self._staged += size
        return self._filled > 0 or self._chunks is not None

    def buffered_amount(self) -> int:
        """Bytes of messages that were sent and have not left the process, as far as is known; without headers."""
        return self._queued + self._staged + self._written

    @property
    def is_flushed(self) -> bool:
        """Whether all that was to be sent has left the process."""
        return not (self._congested or self._queue or self._filled or self._chunks)

    @property
    def was_clean(self) -> bool:
        """Whether both Close frames have been exchanged, and ours has left the process."""
        return self.sent is not None and self.received is not None and not self._congested

    def _put(self, opcode: int, payload: str | bytes) -> int:
        """Add a frame to what is to be written; returns the size of its payload in bytes."""
        if len(payload) >= LARGE:
            return self._put_large(opcode, payload.encode() if isinstance(payload, str) else payload)
        out = self._out
        if out is None:
            out = self._buffer.spare
            if out is None:
                out = bytearray(LEAST_SIZE)
            else:
                self._buffer.spare = None
            self._out = out
        start = self._filled
        self._filled = octets.put_frame(out, start, FIN | opcode, payload, self._masks)
        size = self._filled - start - (6 if self._masks else 2)
        return size if size < 126 else size - 2

    def _put_large(self, opcode: int, payload: bytes) -> int:
        """Add a frame without copying its payload, or with copying it only once if it must be masked."""
        if self._chunks is None:
            self._chunks = []
        if self._filled:
            assert self._out is not None
            self._chunks.append(octets.get_bytes(self._out, 0, self._filled))
            self._filled = 0
        if self._masks:
            framed = bytearray(len(payload) + 14)
            del framed[octets.put_frame(framed, 0, FIN | opcode, payload, True) :]
            self._chunks.append(framed)
        else:
            self._chunks += (octets.put_header(FIN | opcode, len(payload), False), payload)
        return len(payload)

    def _enqueue(self, opcode: int, payload: bytes) -> None:
        if self._queue is None:
            self._queue = deque()
        self._queue.append((opcode, payload))

    # The closing table.

    def _trigger(self, trigger: Trigger, now: float, timeout: float | None = None) -> None:
        """Look up what the trigger does, and do it; nobody else changes the state."""
        before = self.state
        state, duties = TABLE[before][trigger]
        if not self.initiator and trigger is not Trigger.ESTABLISHED:
            self.initiator = _initiator(before, trigger)
        if state is not before:
            self.state = state
            self.is_open = state is State.OPEN
            self._deaf = state is not State.OPEN and state is not State.CLOSE_SENT
            self._arm(before, now, timeout)
        for duty in duties:
            if duty is Duty.SEND_CLOSE:
                self._queue_close()
            elif duty is Duty.ANSWER:
                self._owed = self.received
                self._queue_close()
                self._trigger(Trigger.SEND, now)
            elif self.ending is not Duty.ABORT:
                self.ending = duty
        if state is not before and state is self.state:  # an answer has reported its own change
            self._application.state_changed()

    def _arm(self, before: State, now: float, timeout: float | None) -> None:
        """One absolute deadline for the whole closing: later states may bring it forward, never back."""
        if self.state is State.OPEN or self.state is State.CLOSED:
            self._deadline = 0.0
            return
        if timeout is None:
            closing = self.state is State.CLOSE_SENT or self.state is State.CLOSE_RECEIVED
            # While the transport takes nothing, what was sent before and our answer have yet to leave.
            timeout = self._close_timeout if closing or self._congested else TIMEOUTS[self.state]
        deadline = now + timeout
        if before is State.OPEN or before is State.CONNECTING or deadline < self._deadline:
            self._deadline = deadline

    def _queue_close(self) -> None:
        """Queue the one Close frame that we send."""
        frame = self._owed
        assert frame is not None
        payload = b"" if frame.code is None else frame.code.to_bytes(2, "big") + frame.reason.encode()
        if self._congested or self._queue:
            self._enqueue(CLOSE, payload)
        else:
            self._put(CLOSE, payload)

    def _drop(self) -> None:
        """Free all that only an open connection needs."""
        self._message.drop()
        self._tail = None
        self._out = None
        self._filled = 0
        self._chunks = None
        self._queue = None
        self._pong = None
        self._application = _NOBODY


def _initiator(state: State, trigger: Trigger) -> str:
    if trigger is Trigger.RECEIVE:
        return "remote"
    if trigger is Trigger.EOF or trigger is Trigger.LOST:
        return "network" if state is State.CONNECTING else "remote"
    return "local"


def _says_nothing(frame: CloseFrame) -> bool:
    return not frame.reason and (frame.code is None or frame.code == CloseCode.NORMAL_CLOSURE)


def _read_close(payload: bytes) -> CloseFrame:
    """Read a Close frame's payload.

    Raises:
        RemoteProtocolError: it breaks a rule of RFC 6455 section 5.5.1 or 7.4.
    """
    if not payload:
        return CloseFrame(None, "")
    if len(payload) == 1:
        raise RemoteProtocolError(Violation.CLOSE_TOO_SHORT)
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        raise RemoteProtocolError(Violation.CLOSE_CODE_RESERVED)
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError:
        raise RemoteProtocolError(Violation.CLOSE_REASON_NOT_UTF8) from None
