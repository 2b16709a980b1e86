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

from .closing.handshake import NOTHING, QUEUE_CLOSE, ClosingHandshake, Step
from .closing.keepalive import Action, Keepalive, Sight, Timing, Verdict
from .closing.outcome import Cause, FrameNote, Reason, Stats
from .closing.rates import NO_RATES, Meter, Rates
from .closing.table import CLOSE_SENT, OPEN, Ending
from .dom.events import Application
from .model.errors import LocalProtocolError, RemoteProtocolError
from .model.registry import CLOSE_TIMEOUT, OPEN_TIMEOUT, CloseCode, CloseFrame, Opcode, Role
from .model.violations import Violation
from .model.wording import not_utf8
from .opening.extensions import Agreed
from .wire import octets
from .wire.frames import MAX_NOTED, FrameLog, FrameReader, decode_close, encode_close
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

_NO_TIMING = Timing(None, None, None, None, None)
_NOBODY = Application()
_CLOSE_WAS_CALLED = Reason(Cause.LOCAL_CLOSE)
_TERMINATE_WAS_CALLED = Reason(Cause.TERMINATED)


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
        role: the end that this is.
        closing: the state, and the record of the end. To be read only: its methods are for this class to call.
        is_open: True in the state OPEN.
        discarded: bytes that arrived, behind the opening handshake, and belong to no message that was delivered.
        rtt: seconds of the latest ping's round trip; None before the first.
    """

    __slots__ = (
        # The parts that this class composes.
        "role",
        "closing",
        "_application",
        "_buffer",
        "_frame",
        "_log",
        "_message",
        "_sender",
        # Reading.
        "_remaining",
        "_tail",
        "_direct",
        # Derived from closing.state, for speed.
        "is_open",
        "_discards",
        # Liveness and limits, while the connection is open.
        "_timing",
        "_keepalive",
        "_ping",
        "_slept",
        "_open_deadline",
        "_congestion",
        "_congested_since",
        "_rates",
        "_metered",
        "_meter",
        # Times of the latest events.
        "_opened_at",
        "_received_at",
        "_sent_at",
        "_message_at",
        # Statistics.
        "bytes_received",
        "messages_received",
        "discarded",
        "rtt",
    )  # fmt: skip

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
        self.closing = ClosingHandshake(now, open_timeout, close_timeout)
        self.is_open = False
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
        self._discards = True  # bytes that arrive are counted and dropped
        self._timing = timing
        self._rates = rates
        self._metered = rates.messages is not None or rates.bytes is not None  # what is looked at after each read
        self._meter: Meter | None = None  # from the first ping, or read, that is counted on
        self._keepalive: Keepalive | None = None  # from the first deadline of an open connection on
        self._ping: bytes | None = None  # what the keepalive's ping said that waits for its pong
        self._open_deadline = 0.0  # next_deadline() of an open connection; 0 if there is none
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
        self._open_deadline = _first_deadline(self._timing, now)
        self._carry_out(self.closing.established(now), now)

    def touch(self, now: float) -> None:
        """The time of what is sent from now on."""
        self._log.now = now

    def get_buffer(self) -> memoryview:
        """Where to read the next bytes to; valid until buffer_updated()."""
        message = self._message
        if self._remaining >= READ_SIZE and message.size >= READ_SIZE and not message.compressed and not self._discards:
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
        if self._discards:
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
        if self._metered and not self._discards:
            self._look_at_rates(now)

    def is_amid_frame(self) -> bool:
        """Whether only a part of a data frame has arrived, and the rest of it is to be copied, and not inflated."""
        return self._remaining > 0 and not self._discards and not self._message.compressed

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
        """Report that the peer ended its direction of TCP; ``truncated`` if TLS had not announced that."""
        where = self._describe_unfinished()
        cause = Cause.TLS_TRUNCATED if truncated else Cause.TCP_FIN_MID_FRAME if where else Cause.TCP_FIN
        detail = f"EOF {where}" if where else self._describe_last_sent(now)
        self._carry_out(self.closing.eof(now, Reason(cause, detail)), now)

    def connection_lost(self, now: float, why: Reason | None = None) -> None:
        """Report that the transport is gone, or that its remaining work does not concern the connection.

        Args:
            why: None if the transport ended as end_of_tcp() asked.
        """
        if why is not None and not why.detail:
            why = Reason(why.cause, self._describe_unfinished() or self._describe_last_sent(now), why.initiator)
        self._carry_out(self.closing.lost(now, why), now)
        # Keep only what stats(), frames() and unsent() need.
        self._sender.drop()
        self._tail = None
        self._keepalive = None
        self._meter = None
        self._application = _NOBODY

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
        """Return the time at which to call handle_deadline(), or None."""
        deadline = self._open_deadline if self.is_open else self.closing.deadline
        return deadline if deadline > 0 else None

    def open_by(self, deadline: float) -> None:
        """Set the limit of the state CONNECTING; 0 for none."""
        self.closing.open_by(deadline)

    def handle_deadline(self, now: float, *, paused: bool = False, backlog: int = 0, slept: float = 0.0) -> None:
        """Act on the deadline if it has passed; afterwards there may be another.

        Args:
            paused, backlog, slept: ``reading_paused``, ``backlog`` and ``slept`` as in Sight.
        """
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return
        self._log.now = now
        if self.is_open:
            self._keep_alive(now, paused, backlog, slept)
        else:
            self._carry_out(self.closing.time_up(now), now)

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
                if self._discards:
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
            # Pongs may precede our Close frame while messages delay it, but nothing may follow it.
            if self.is_open or (self.closing.outgoing is not None and self._sender.waits()):
                self._sender.send_control(PONG, payload)
        elif opcode == PONG:
            if payload == self._ping and self._keepalive is not None:
                self._ping = None
                self.rtt = now - self._keepalive.asked_at
            self._application._pong_received(payload)
        else:
            self._close_received(decode_close(payload), now)

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
        if self._discards:  # it has ended the connection
            return
        self._carry_out(self.closing.receive(frame, now, self._describe_last_sent(now)), now)

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
            raise LocalProtocolError(f"no message can be sent: the connection is {self.closing.state.value}")
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
            raise LocalProtocolError(f"no ping can be sent: the connection is {self.closing.state.value}")
        if behind:
            self._sender.send_last(PING, payload)
        else:
            self._sender.send_control(PING, payload)

    def send_close(
        self, code: int | None, reason: str, now: float, timeout: float | None = None, why: Reason = _CLOSE_WAS_CALLED
    ) -> None:
        """Start the closing handshake behind all queued messages; without effect once it has started.

        Args:
            code: a code that may_be_sent(), or None for an empty Close frame.
            reason: at most 123 bytes in UTF-8; empty without a code.
            timeout: limit of the whole handshake, in seconds; by default ``close_timeout``.
        """
        self._carry_out(self.closing.close(CloseFrame(code, reason), now, why, timeout), now)

    def fail(self, violation: Violation, now: float, detail: str = "") -> None:
        """Fail the connection because the peer broke a rule (RFC 6455 section 7.1.7), behind what it sent before.

        Args:
            detail: as in RemoteProtocolError.
        """
        self._application._deliver_queued()
        if not self._discards:  # else the application has ended the connection
            self._carry_out(self.closing.fail(violation, now, detail), now)

    def refuse(self, code: int, reason: str, now: float, why: Reason) -> None:
        """Fail the connection for a reason of this end's own, such as a full buffer."""
        self._carry_out(self.closing.refuse(CloseFrame(code, reason), now, why), now)

    def terminate(self, now: float, why: Reason = _TERMINATE_WAS_CALLED, reset: bool = False) -> None:
        """End the connection without a handshake; ``reset``: and reset TCP, whatever the reason is."""
        self._carry_out(self.closing.terminate(now, why, reset), now)

    def end_of_tcp(self) -> Ending | None:
        """Return the way in which to end TCP now, or None; see ClosingHandshake.end_of_tcp()."""
        return self.closing.end_of_tcp(self.is_flushed, self.role is Role.SERVER)

    def data_to_send(self) -> bytes | list[Any]:
        """What to write next, after fill() said that there is something; the caller must not change it.

        A list is to be written in order: to put its parts together would mean to copy large ones.
        """
        data = self._sender.data_to_send()
        self._sent_at = self._log.now
        if not self.is_open and self._sender.is_empty():
            self.closing.flushed()
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
        self.closing.writing_paused()
        limit = self._timing.write_timeout
        if not self.is_open or limit is None or 0 < self._open_deadline <= now + limit:
            return False
        self._open_deadline = now + limit
        return True

    def resume_writing(self) -> None:
        """The transport has passed on all that it was given."""
        self._sender.congested = False
        self._congested_since = 0.0
        self.closing.writing_resumed()
        if self._sender.is_empty():
            self.closing.flushed()

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
                self.send_close(CloseCode.GOING_AWAY, "", now, why=Reason(step.cause, step.detail))
            else:
                self.terminate(now, Reason(step.cause, step.detail))
            return
        if isinstance(step, float):
            self._open_deadline = step
            return
        if step is Action.PING:
            self._ping = octets.new_mask().to_bytes(4, "little")
            self._sender.send_control(PING, self._ping)
            keepalive.pinged(now, backlog)
        self._open_deadline = keepalive.next_deadline(sight) or 0.0

    # The end.

    def _carry_out(self, step: Step, now: float) -> None:
        """Do this class's part of a transition."""
        if step is NOTHING:
            return
        closing = self.closing
        state = closing.state
        self.is_open = state is OPEN
        self._discards = state is not OPEN and state is not CLOSE_SENT
        if self._discards:
            self.discarded += self._message.size
            self._message.drop()
            self._remaining = 0
        if step is QUEUE_CLOSE:
            assert closing.outgoing is not None
            self._sender.send_last(CLOSE, encode_close(closing.outgoing))
            closing.close_queued(now)
        self._application._state_changed()

    # Particulars for people.

    def _describe_unfinished(self) -> str:
        """Where in a message the bytes that have arrived end; empty between two of them."""
        if self._discards:
            return ""
        if self._remaining:
            frame = self._frame
            return f"{frame.length - self._remaining:,} bytes into the payload of a frame of {frame.length:,}"
        if self._tail is not None:
            return f"{len(self._tail)} bytes into a header or a control frame"
        if self._message.opcode:
            return f"between two fragments of a message, after {self._message.size:,} bytes of it"
        return ""

    def _describe_last_sent(self, now: float) -> str:
        """What we had said just before: it may be why the peer has gone."""
        kind, size, at = self._log.last_sent() if self._sender.messages_sent else ("", 0, 0.0)
        if not kind or now - at > 1:
            return ""
        return f"{(now - at) * 1000:.0f} ms after we sent a {kind} message of {size:,} bytes"


def _first_deadline(timing: Timing, now: float) -> float:
    """The first deadline of an open connection; 0 if there is none."""
    deadline = 0.0
    for limit in (timing.ping_interval, timing.idle_timeout, timing.max_lifetime):
        if limit is not None and (not deadline or now + limit < deadline):
            deadline = now + limit
    return deadline


def _age(now: float, time: float) -> float | None:
    return now - time if time else None
