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

from typing import Any

from .closing.keepalive import ANOTHER_LOOK, Action, Keepalive, Sight, Timing, Verdict
from .closing.outcome import CAUSES_OF_VIOLATIONS, REPORTS_OF_ERRORS, Cause, Facts, FrameNote, Initiator, Stats
from .closing.rates import NO_RATES, Meter, Rates
from .closing.table import (
    ABORT,
    ANSWER,
    CLOSE_EXCHANGED,
    CLOSE_RECEIVED,
    CLOSE_SENT,
    CLOSED,
    CONNECTING,
    DEADLINE,
    EOF,
    ESTABLISHED,
    FAIL,
    FAILING,
    LOST,
    OPEN,
    RECEIVE,
    SEND,
    SEND_CLOSE,
    TABLE,
    TIMEOUTS,
    Duty,
    State,
    Trigger,
)
from .dom.events import Application
from .model.errors import LocalProtocolError, RemoteProtocolError
from .model.registry import CLOSE_TIMEOUT, OPEN_TIMEOUT, CloseCode, CloseFrame, Opcode, Role, may_be_sent
from .model.violations import Violation
from .model.wording import not_utf8
from .opening.extensions import Agreed
from .wire import octets
from .wire.frames import MAX_NOTED, FrameLog, FrameReader
from .wire.messages import MessageReader
from .wire.parcel import Parcel
from .wire.sender import ReadBuffer, Sender

TEXT = int(Opcode.TEXT)
PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
CLOSE = int(Opcode.CLOSE)
CONTROL = 0x08  # the bit that tells control opcodes from data opcodes
FIN = 0x80
RSV1 = 0x40

READ_SIZE = 1 << 16  # bytes of a ReadBuffer; frames with more than that to come are read into their message
LATE = 0.05  # seconds by which an alarm is late that came after something had blocked us: see handle_deadline()

_NO_TIMING = Timing(None, None, None, None, None)
_NOBODY = Application()


class Connection:
    """The protocol of one end of a connection (RFC 6455), from the end of the opening handshake on.

    Args:
        role: which end this is.
        application: what is called with everything that arrives.
        buffer: where to read into.
        now: the time.
        max_message_size: bytes; None for no limit.
        max_fragments: as in MessageReader.
        open_timeout: seconds that the state CONNECTING may last.
        close_timeout: seconds that the closing handshake may last if send_close() isn't told otherwise.
        timing: what the state OPEN may do; no limits by default.
        rates: what the peer may send in a second; no limits by default.

    Attributes:
        state: where the connection is in the closing table.
        ending: FINISH, HALF_CLOSE, HANG_UP or ABORT once the transport is to end that way, else None. All but ABORT
            wait until ``is_flushed``.
        sent, received: the Close frames that have left and come, else None.
        initiator: who began the end, else None.
        cause, detail: why the connection ends; None and empty before.
        error: tells which rule the peer broke, and how; None if it broke none.
        failed: whether we failed the connection (RFC 6455 section 7.1.7).
        discarded: bytes that arrived, behind the opening handshake, and belong to no message that was delivered.
        rtt: seconds of the latest ping's round trip; None before the first.
    """

    __slots__ = (
        "_application",
        "_buffer",
        "_close_timeout",
        "_congested_since",
        "_congestion",
        "_deadline",
        "_deaf",
        "_direct",
        "_frame",
        "_keepalive",
        "_log",
        "_looked",
        "_message",
        "_message_at",
        "_meter",
        "_metered",
        "_opened_at",
        "_owed",
        "_ping",
        "_rates",
        "_received_at",
        "_remaining",
        "_sender",
        "_sent_at",
        "_slept",
        "_tail",
        "_timing",
        "bytes_received",
        "cause",
        "detail",
        "discarded",
        "ending",
        "error",
        "failed",
        "initiator",
        "is_open",
        "messages_received",
        "received",
        "role",
        "rtt",
        "sent",
        "state",
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
        timing: Timing = _NO_TIMING,
        rates: Rates = NO_RATES,
    ) -> None:
        self.role = role
        self.state = CONNECTING
        self.ending: Duty | None = None
        self.is_open = False
        self.sent: CloseFrame | None = None
        self.received: CloseFrame | None = None
        self.initiator: Initiator | None = None
        self.cause: Cause | None = None
        self.detail = ""
        self.error: RemoteProtocolError | None = None
        self.failed = False
        self.discarded = 0
        self.bytes_received = 0
        self.messages_received = 0
        self.rtt: float | None = None
        self._application = application
        self._buffer = buffer
        self._log = FrameLog(now)
        self._frame = FrameReader(role)
        self._message = MessageReader(max_message_size, max_fragments)
        self._sender = Sender(role is Role.CLIENT, buffer, self._log)
        self._remaining = 0  # bytes of the present data frame's payload that have not arrived
        self._tail: bytes | None = None  # the beginning of a header or of a control frame
        self._direct = False  # whether the bytes that are being read go into the message
        self._deaf = True  # whether bytes that arrive no longer, or not yet, mean anything
        self._owed: CloseFrame | None = None  # our Close frame until it has left
        self._close_timeout = close_timeout
        self._timing = timing
        self._rates = rates
        self._metered = rates.messages is not None or rates.bytes is not None  # what is looked at after each read
        self._meter: Meter | None = None  # from the first ping, or read, that is counted on
        self._keepalive: Keepalive | None = None  # from the first deadline of an open connection on
        self._ping: bytes | None = None  # what the keepalive's ping said that waits for its pong
        self._deadline = now + open_timeout
        self._looked = False  # whether the read side has had a turn since the deadline
        self._slept = 0.0
        self._congestion = 0  # the backlog when the transport stopped to take bytes
        self._opened_at = 0.0  # and other times, which are 0 as long as there was nothing of the kind
        self._received_at = 0.0
        self._sent_at = 0.0
        self._message_at = 0.0
        self._congested_since = 0.0

    # What arrives.

    def established(self, now: float, slept: float = 0.0, deflate: Agreed | None = None) -> None:
        """The opening handshake has succeeded.

        Args:
            slept: as in Sight.
            deflate: what was agreed, if permessage-deflate was.
        """
        if deflate is not None:
            self._frame = FrameReader(self.role, True)
            self._message.inflater = deflate.inflater(self.role)
            self._sender.deflater = deflate.deflater(self.role)
        self._slept = slept
        self._opened_at = now
        self._message_at = now
        self._trigger(ESTABLISHED, now)

    def touch(self, now: float) -> None:
        """The time of what is sent from now on."""
        self._log.now = now

    def get_buffer(self) -> memoryview:
        """Where to read the next bytes to; valid until buffer_updated()."""
        message = self._message
        if self._remaining >= READ_SIZE and message.size >= READ_SIZE and not message.compressed and not self._deaf:
            try:
                room = message.room(self._remaining)
            except MemoryError:
                pass  # buffer_updated() will find no more of it, and its caller knows what to do then
            else:
                self._direct = True
                return room
        view = self._buffer.view
        if self._tail is None:
            return view
        size = len(self._tail)
        self._buffer.data[:size] = self._tail
        return view[size:]

    def buffer_updated(self, count: int, now: float) -> None:
        """The first ``count`` bytes of what get_buffer() returned have been filled."""
        self._log.now = now
        self._received_at = now
        self.bytes_received += count
        if self._deaf:
            self._direct = False
            self.discarded += count
        elif self._direct:
            self._direct = False
            breach = None
            try:
                self._payload_added(count)
            except RemoteProtocolError as error:
                breach = error.violation, error.detail
            if breach is not None:
                self.fail(breach[0], now, breach[1])
        else:
            if self._tail is not None:
                count += len(self._tail)
                self._tail = None
            self._read_frames(count, now)
        if self._metered and not self._deaf:
            self._look_at_rates(now)

    def is_amid_frame(self) -> bool:
        """Whether only a part of a data frame has arrived, and the rest of it is to be copied, and not inflated."""
        return self._remaining > 0 and not self._deaf and not self._message.compressed

    def reading_resumed(self, now: float) -> None:
        """We had paused reading since the last read: what the peer has sent meanwhile does not count as a burst."""
        if self._meter is not None:
            self._meter.excuse(self._received_at, now)

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

    def receive_eof(self, now: float, truncated: bool = False) -> None:
        """The peer will send no more bytes; ``truncated``: and TLS did not say so."""
        where = self._describe_unfinished()
        cause = Cause.TLS_TRUNCATED if truncated else Cause.TCP_FIN_MID_FRAME if where else Cause.TCP_FIN
        self._trigger(EOF, now, cause, f"EOF {where}" if where else self._describe_said(now))

    def connection_lost(self, now: float, cause: Cause | None = None, detail: str = "") -> None:
        """The transport is gone, or what is left to do with it does not matter to the connection.

        Args:
            cause, detail: why, unless we have ended the transport ourselves.
        """
        if cause is not None and not detail:
            where = self._describe_unfinished()
            detail = where or self._describe_said(now)
        self._trigger(LOST, now, cause, detail)
        self._drop()

    def finds_close(self, data: bytes) -> bool:
        """Whether what ends the connection is among bytes that follow those that were read.

        That is a Close frame, or a header that breaks a rule.

        For when nobody reads for a while: they may wait in the kernel.
        """
        buffer = bytearray(b"" if self._tail is None else self._tail)
        buffer += data
        frame = FrameReader(self.role, self._message.inflater is not None)
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

    def next_deadline(self) -> float | None:
        """When to call handle_deadline() unless something else happens before."""
        return self._deadline if self._deadline > 0 else None

    def open_by(self, deadline: float) -> None:
        """Set how long the state CONNECTING may last; 0 for no limit."""
        if self.state is CONNECTING:
            self._deadline = deadline

    def handle_deadline(self, now: float, *, paused: bool = False, backlog: int = 0, slept: float = 0.0) -> None:
        """Time may be up; call it again at the next deadline.

        Args:
            paused, backlog, slept: ``reading_paused``, ``backlog`` and ``slept`` as in Sight.
        """
        if self._deadline <= 0 or now < self._deadline:
            return
        self._log.now = now
        if self.state is OPEN:
            self._keep_alive(now, paused, backlog, slept)
        elif now - self._deadline > LATE and not self._looked:
            # Something has blocked the loop: what we wait for may be here, and comes first.
            self._looked = True
            self._deadline = now + ANOTHER_LOOK
        else:
            self._deadline = 0.0
            cause, detail = self._describe_delay()
            self._trigger(DEADLINE, now, cause, detail)

    def _read_frames(self, end: int, now: float) -> None:
        """Read the frames in the first ``end`` bytes of the read buffer."""
        buffer = self._buffer.data
        frame = self._frame
        message = self._message
        log = self._log
        at = length = 0
        breach = None  # which the user's code, that fail() may run, is not to find as the exception being handled
        try:
            while at < end:
                if self._remaining:
                    stop = at + min(self._remaining, end - at)  # a sum with _remaining could overflow
                    size = stop - at
                    start = at
                    at = stop
                    if message.compressed:
                        message.inflate(buffer, start, stop, frame.mask, frame.length - self._remaining)
                    else:
                        message.copy(buffer, start, stop, frame.mask, frame.length - self._remaining)
                    self._payload_passed(size)
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
                        log.note(FIN | opcode, length)
                        self._control_received(opcode, octets.get_bytes(buffer, start, at), now)
                    elif (
                        whole
                        and frame.fin
                        and opcode
                        and not frame.compressed
                        and not message.opcode
                        and length <= message.max_size
                    ):
                        at = start + length
                        log.note(FIN | opcode, length)
                        self._message_at = now
                        self.messages_received += 1
                        if opcode == TEXT:
                            self._application._message_received(octets.get_text(buffer, start, at, frame.mask))
                        else:
                            if frame.mask:
                                octets.apply_mask(buffer, start, at, frame.mask, 0)
                            self._application._message_received(octets.get_bytes(buffer, start, at))
                    else:
                        kind = FIN | opcode if frame.fin else opcode
                        log.note(kind | RSV1 if frame.compressed else kind, min(length, MAX_NOTED))
                        message.begin_frame(opcode, length, frame.compressed)
                        at = start
                        self._remaining = length
                        if length == 0:
                            self._frame_finished()
                if self._deaf:
                    self.discarded += end - at
                    return
            if at < end:
                self._tail = octets.get_bytes(buffer, at, end)
        except RemoteProtocolError as error:
            self.discarded += end - at
            breach = error.violation, error.detail
        except UnicodeDecodeError as error:
            self.messages_received -= 1
            self.discarded += length + end - at
            breach = Violation.TEXT_NOT_UTF8, not_utf8(error, length)
        if breach is not None:
            self.fail(breach[0], now, breach[1])

    def _payload_added(self, count: int) -> None:
        frame = self._frame
        self._message.add(count, frame.mask, frame.length - self._remaining)
        self._payload_passed(count)

    def _payload_passed(self, count: int) -> None:
        self._remaining -= count
        if self._remaining == 0:
            self._frame_finished()

    def _frame_finished(self) -> None:
        if self._frame.fin:
            message = self._message.finish()
            self._message_at = self._log.now
            self.messages_received += 1
            self._application._message_received(message)

    def _control_received(self, opcode: int, payload: bytes, now: float) -> None:
        if opcode == PING:
            if self._rates.pings is not None:
                self._start_meter(now).count_ping(now)
            # Also while our Close frame waits behind messages; behind it there is to be nothing.
            if self.is_open or (self._owed is not None and self._sender.waits()):
                self._sender.send_control(PONG, payload)
        elif opcode == PONG:
            if payload == self._ping and self._keepalive is not None:
                self._ping = None
                self.rtt = now - self._keepalive.asked_at
            self._application._pong_received(payload)
        else:
            self._close_received(_read_close(payload), now)

    def _start_meter(self, now: float) -> Meter:
        if self._meter is None:
            self._meter = Meter(self._rates, now)
        return self._meter

    def _look_at_rates(self, now: float) -> None:
        breach = None
        try:
            self._start_meter(now).look(self.messages_received, self.bytes_received, now)
        except RemoteProtocolError as error:
            breach = error.violation, error.detail
        if breach is not None:
            self.fail(breach[0], now, breach[1])

    def _close_received(self, frame: CloseFrame, now: float) -> None:
        self._application._deliver_queued()
        if self._deaf:  # it has ended the connection
            return
        self.received = frame
        if self.state is CLOSE_SENT and self._crossed(frame):
            self.initiator = Initiator.SIMULTANEOUS
        cause = Cause.PEER_REPORTED_ERROR if frame.code in REPORTS_OF_ERRORS else Cause.PEER_CLOSE
        self._trigger(RECEIVE, now, cause, self._describe_said(now))

    def _crossed(self, frame: CloseFrame) -> bool:
        """Whether the peer's Close frame is no answer to ours, as far as that can be told.

        It isn't if ours has not left, or if it says something of its own. Some answer every Close frame with 1000, or
        with nothing.
        """
        return self.sent is None or (frame != self.sent and frame.code != self.sent.code and not _says_nothing(frame))

    # What is sent.

    def send(self, opcode: int, payload: str | bytes, compress: bool | None = None) -> int:
        """Queue a message; a large one leaves in several fragments. Returns buffered_amount().

        Args:
            opcode: TEXT or BINARY.
            payload: a str or bytes.
            compress: as in Sender.send().

        Raises:
            LocalProtocolError: the connection is not OPEN.
            UnicodeEncodeError: a str has lone surrogates; nothing was queued.
        """
        if not self.is_open:
            raise LocalProtocolError(f"no message can be sent: the connection is {self.state.value}")
        self._message_at = self._log.now
        return self._sender.send(opcode, payload, compress)

    def take(self, parcel: Parcel, now: float) -> bytes | None:
        """As Sender.take(), of an open connection."""
        self._log.now = now
        frame = self._sender.take(parcel)
        if frame is not None:
            self._message_at = self._sent_at = now
        return frame

    def send_ping(self, payload: bytes, behind: bool = False) -> None:
        """Queue a ping of at most 125 bytes, before the messages that wait or ``behind`` them.

        Raises:
            LocalProtocolError: the connection is not OPEN.
        """
        if not self.is_open:
            raise LocalProtocolError(f"no ping can be sent: the connection is {self.state.value}")
        if behind:
            self._sender.send_last(PING, payload)
        else:
            self._sender.send_control(PING, payload)

    def send_close(
        self,
        code: int | None,
        reason: str,
        now: float,
        timeout: float | None = None,
        *,
        cause: Cause = Cause.LOCAL_CLOSE,
        detail: str = "",
    ) -> None:
        """Start the closing handshake, behind what is queued; nothing happens if it has been started.

        Args:
            code: one that may_be_sent(), or None for an empty Close frame.
            reason: at most 123 bytes in UTF-8; empty without a code.
            timeout: seconds that the whole closing may last.
            cause, detail: why.
        """
        if self.state is OPEN:
            self._owed = CloseFrame(code, reason)
        self._trigger(SEND, now, cause, detail, timeout)

    def fail(self, violation: Violation, now: float, detail: str = "") -> None:
        """Fail the connection because the peer broke a rule (RFC 6455 section 7.1.7), behind what it sent before.

        Args:
            detail: as in RemoteProtocolError.
        """
        self._application._deliver_queued()
        if self._deaf:  # it has ended the connection
            return
        self.error = RemoteProtocolError(violation, detail)  # one without a traceback, which would refer to us
        frame = CloseFrame(int(violation.code), violation.text)
        cause = CAUSES_OF_VIOLATIONS.get(violation) or CAUSES_OF_VIOLATIONS[violation.code]
        self._fail(frame, now, cause, str(self.error))

    def refuse(self, code: int, reason: str, now: float, cause: Cause, detail: str = "") -> None:
        """Fail the connection for a reason of our own, such as a full buffer."""
        self._fail(CloseFrame(code, reason), now, cause, detail)

    def _fail(self, frame: CloseFrame, now: float, cause: Cause, detail: str) -> None:
        if self.state is CLOSE_EXCHANGED or self.state is CLOSED:
            return
        if self.state is OPEN:
            self._owed = frame
        self.failed = True
        self._trigger(FAIL, now, cause, detail)

    def terminate(self, now: float, cause: Cause = Cause.TERMINATED, detail: str = "") -> None:
        """End the connection without a handshake."""
        self._trigger(DEADLINE, now, cause, detail)

    def data_to_send(self) -> bytes | list[Any]:
        """What to write next, after fill() said that there is something; the caller must not change it.

        A list is to be written in order: to put its parts together would mean to copy large ones.
        """
        data = self._sender.data_to_send()
        self._sent_at = self._log.now
        if self._owed is not None:
            self._look_at_close()
        return data

    def pause_writing(self, now: float, backlog: int = 0) -> bool:
        """The transport holds bytes that it could not pass on: whatever is sent from now on waits here.

        Args:
            backlog: as in Sight.

        Returns:
            Whether there is a new deadline.
        """
        self._sender.congested = True
        self._congested_since = now
        self._congestion = backlog
        if self.sent is not None:  # it is the last of all, so it is among what the transport holds
            self._owed, self.sent = self.sent, None
        limit = self._timing.write_timeout
        if not self.is_open or limit is None or 0 < self._deadline <= now + limit:
            return False
        self._deadline = now + limit
        return True

    def resume_writing(self) -> None:
        """The transport has passed on all that it was given."""
        self._sender.congested = False
        self._congested_since = 0.0
        if self._owed is not None:
            self._look_at_close()

    def fill(self) -> bool:
        """Turn what is queued into data_to_send(), some 64 KiB or one fragment at a time.

        Returns:
            Whether there is anything to write.
        """
        return self._sender.fill()

    def yields(self) -> bool:
        """Whether the loop should have a turn before the next fill(): there is more to compress."""
        return self._sender.yields and self._sender.waits()

    def buffered_amount(self) -> int:
        """Bytes of messages that were sent and have not left the process, as far as is known; without headers."""
        return self._sender.buffered_amount()

    @property
    def is_flushed(self) -> bool:
        """Whether all that was to be sent has left the process."""
        return not self._sender.congested and self._sender.is_empty()

    # What there is to tell.

    @property
    def was_clean(self) -> bool:
        """Whether both Close frames have been exchanged, and ours has left the process."""
        return self.sent is not None and self.received is not None

    @property
    def violation(self) -> Violation | None:
        """The rule that the peer broke, if it did."""
        return None if self.error is None else self.error.violation

    def facts(self) -> Facts:
        """What is known of the end that is under way."""
        received = self.received
        return Facts(
            _code_of(received),
            "" if received is None else received.reason,
            received,
            self.sent or self._owed,
            self.initiator,
            self.cause,
        )

    def unsent(self, held: int) -> list[str | bytes]:
        """The messages that have not left the process; ``held``: the bytes that the transport has not passed on."""
        return self._sender.unsent(held)

    def stats(self, now: float) -> Stats:
        """What has passed until now."""
        return Stats(
            age=_age(now, self._opened_at),
            last_received=_age(now, self._received_at),
            last_sent=_age(now, self._sent_at),
            bytes_received=self.bytes_received,
            bytes_sent=self._sender.bytes_sent,
            messages_received=self.messages_received,
            messages_sent=self._sender.messages_sent,
            rtt=self.rtt,
            buffered=self._sender.buffered_amount(),
        )

    def frames(self, now: float) -> tuple[FrameNote, ...]:
        """The last frames that passed, at most 32, the oldest first."""
        notes = []
        for sent, opcode, fin, size, time, compressed in self._log.entries():
            notes.append(FrameNote(sent, opcode, fin, size, now - time, compressed))
        return tuple(notes)

    # Keepalive.

    def _keep_alive(self, now: float, paused: bool, backlog: int, slept: float) -> None:
        """A deadline of an open connection has come."""
        if self._keepalive is None:
            self._keepalive = Keepalive(self._timing, self._opened_at, self._slept)
        keepalive = self._keepalive
        since = self._congested_since if self._sender.congested else None
        sight = Sight(self._received_at, self._message_at, paused, since, self._congestion, backlog, slept)
        step = keepalive.check(now, sight)
        if isinstance(step, Verdict):
            if step.gently:
                self.send_close(CloseCode.GOING_AWAY, "", now, cause=step.cause, detail=step.detail)
            else:
                self.terminate(now, step.cause, step.detail)
            return
        if isinstance(step, float):
            self._deadline = step
            return
        if step is Action.PING:
            self._ping = octets.new_mask().to_bytes(4, "little")
            self._sender.send_control(PING, self._ping)
            keepalive.pinged(now, backlog)
        self._deadline = keepalive.next_deadline(sight) or 0.0

    # The closing table.

    def _trigger(
        self, trigger: Trigger, now: float, cause: Cause | None = None, detail: str = "", timeout: float | None = None
    ) -> None:
        """Look up what the trigger does, and do it; nobody else changes the state."""
        before = self.state
        state, duties = TABLE[before][trigger]
        if cause is not None:
            self._blame(before, trigger, state, cause, detail)
        if state is not before:
            self.state = state
            self.is_open = state is OPEN
            self._deaf = state is not OPEN and state is not CLOSE_SENT
            if self._deaf:
                self._drop_message()
            self._arm(before, now, timeout)
        for duty in duties:
            if duty is SEND_CLOSE:
                self._queue_close()
            elif duty is ANSWER:
                self._owed = self.received
                self._queue_close()
                self._trigger(SEND, now)
            elif self.ending is not ABORT:
                self.ending = duty
        if state is not before and state is self.state:  # an answer has reported its own change
            self._application._state_changed()

    def _blame(self, before: State, trigger: Trigger, state: State, cause: Cause, detail: str) -> None:
        """Note who began the end, and why: what broke a closing handshake counts for more than what began it."""
        if before is CLOSED:
            return
        if self.initiator is None:
            self.initiator = _initiator(before, trigger)
        begins = before is OPEN or before is CONNECTING
        breaks = trigger is not SEND and trigger is not RECEIVE and before is not FAILING
        strikes = state is not before or trigger is DEADLINE
        if begins or (breaks and strikes and not self.was_clean):
            self.cause = cause
            self.detail = detail

    def _arm(self, before: State, now: float, timeout: float | None) -> None:
        """One absolute deadline for the whole closing: later states may bring it forward, never back."""
        self._looked = False
        if self.state is OPEN:
            self._deadline = _first_deadline(self._timing, now)
            return
        if self.state is CLOSED:
            self._deadline = 0.0
            return
        if timeout is None:
            closing = self.state is CLOSE_SENT or self.state is CLOSE_RECEIVED
            # While the transport takes nothing, what was sent before and our answer have yet to leave.
            timeout = self._close_timeout if closing or self._sender.congested else TIMEOUTS[self.state]
        deadline = now + timeout
        if before is OPEN or before is CONNECTING or deadline < self._deadline:
            self._deadline = deadline

    def _look_at_close(self) -> None:
        """See whether our Close frame has left: nothing comes behind it."""
        if self._sender.is_empty() and self.state is not OPEN:
            self.sent = self._owed
            self._owed = None

    def _queue_close(self) -> None:
        """Queue the one Close frame that we send."""
        frame = self._owed
        assert frame is not None
        payload = b"" if frame.code is None else frame.code.to_bytes(2, "big") + frame.reason.encode()
        self._sender.send_last(CLOSE, payload)

    def _drop_message(self) -> None:
        """Give up a message of which the rest won't be read."""
        self.discarded += self._message.size
        self._message.drop()
        self._remaining = 0

    def _drop(self) -> None:
        """Free all that only an open connection needs."""
        self._sender.drop()
        self._owed = None
        self._tail = None
        self._keepalive = None
        self._meter = None
        self._application = _NOBODY

    # Particulars for people.

    def _describe_unfinished(self) -> str:
        """Where in a message the bytes that have arrived end; empty between two of them."""
        if self._deaf:
            return ""
        if self._remaining:
            frame = self._frame
            return f"{frame.length - self._remaining:,} bytes into the payload of a frame of {frame.length:,}"
        if self._tail is not None:
            return f"{len(self._tail)} bytes into a header or a control frame"
        if self._message.opcode:
            return f"between two fragments of a message, after {self._message.size:,} bytes of it"
        return ""

    def _describe_said(self, now: float) -> str:
        """What we had said just before: it may be why the peer has gone."""
        kind, size, at = self._log.last_sent() if self._sender.messages_sent else ("", 0, 0.0)
        if not kind or now - at > 1:
            return ""
        return f"{(now - at) * 1000:.0f} ms after we sent a {kind} message of {size:,} bytes"

    def _describe_delay(self) -> tuple[Cause, str]:
        """What a closing or opening connection still waits for when its time is up."""
        if self.state is CONNECTING:
            return Cause.OPEN_TIMEOUT, ""
        if self._owed is not None or self._sender.congested:
            return Cause.CLOSE_TIMEOUT, "our Close frame, or what was sent before it, could not leave"
        return Cause.CLOSE_TIMEOUT, "the peer did not answer our Close frame"


def _first_deadline(timing: Timing, now: float) -> float:
    """The first deadline of an open connection; 0 if there is none."""
    deadline = 0.0
    for limit in (timing.ping_interval, timing.idle_timeout, timing.max_lifetime):
        if limit is not None and (not deadline or now + limit < deadline):
            deadline = now + limit
    return deadline


def _age(now: float, time: float) -> float | None:
    return now - time if time else None


def _initiator(state: State, trigger: Trigger) -> Initiator:
    if trigger is RECEIVE:
        return Initiator.REMOTE
    if trigger is EOF or trigger is LOST:
        return Initiator.NETWORK if state is CONNECTING else Initiator.REMOTE
    return Initiator.LOCAL


def _code_of(frame: CloseFrame | None) -> int | None:
    """The code of the peer's Close frame, 1005 if it has none; None without a frame."""
    if frame is None:
        return None
    return int(CloseCode.NO_STATUS_RCVD) if frame.code is None else int(frame.code)


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
        raise RemoteProtocolError(Violation.CLOSE_TOO_SHORT, f"it is {payload.hex()}")
    code = int.from_bytes(payload[:2], "big")
    if not may_be_sent(code):
        reason = payload[2:].decode(errors="backslashreplace")
        detail = f"code {code}" + (f" with the reason {reason!r}" if reason else "")
        raise RemoteProtocolError(Violation.CLOSE_CODE_RESERVED, detail)
    try:
        return CloseFrame(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        detail = f"code {code}, and in the reason {not_utf8(error, len(payload) - 2)}"
        raise RemoteProtocolError(Violation.CLOSE_REASON_NOT_UTF8, detail) from None
