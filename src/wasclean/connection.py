"""One end of a WebSocket connection, without I/O (RFC 6455).

Theory of operation
===================

A Connection composes four parts, none of which knows another, and calls an Application:

  Receiver          bytes -> messages and control frames (wire/receiver.py)
  Sender            messages and control frames -> bytes (wire/sender.py)
  ClosingHandshake  the state, and how the connection ends (closing/handshake.py)
  Liveness          pings, timeouts and rates of an open connection (closing/liveness.py)

The owner of a connection

  - reads into ``receiver.get_buffer()`` and calls ``buffer_updated()``, or calls ``receive_data()``;
  - reports ``receive_eof()``, ``connection_lost()``, ``pause_writing()`` and ``resume_writing()``;
  - calls ``handle_deadline()`` at ``next_deadline()``;
  - and after each of these, and after each method that sends, writes ``data_to_send()`` as long as ``fill()`` is true,
    and then ends TCP if ``end_of_tcp()`` says so.

ClosingHandshake and Liveness decide, and this class executes: ``_carry_out()`` adopts the new state, queues the Close
frame, and calls ``Application.state_changed()``. All times are seconds of one monotonic clock.
"""

from __future__ import annotations

from typing import Any

from .closing.handshake import NOTHING, QUEUE_CLOSE, ClosingHandshake, Step
from .closing.keepalive import Timing, Verdict
from .closing.liveness import Liveness
from .closing.outcome import Cause, FrameNote, Reason, Record, Stats
from .closing.rates import NO_RATES, Rates
from .closing.table import CLOSE_SENT, OPEN, Ending
from .model.errors import LocalProtocolError, RemoteProtocolError
from .model.registry import CLOSE_TIMEOUT, OPEN_TIMEOUT, CloseCode, CloseFrame, Opcode, Role
from .model.violations import Violation
from .opening.extensions import Agreed
from .wire.frames import FrameLog, decode_close, encode_close
from .wire.prepared import PreparedMessage
from .wire.receiver import ControlFrame, ReadBuffer, Receiver
from .wire.sender import Sender

PING = int(Opcode.PING)
PONG = int(Opcode.PONG)
CLOSE = int(Opcode.CLOSE)

RECENT = 1.0  # seconds for which the latest message may be why the peer ends the connection

_NO_TIMING = Timing(None, None, None, None, None)


class Application:
    """The interface that a Connection calls. None of its methods may raise an Exception; here they do nothing."""

    __slots__ = ()

    def message_received(self, message: str | bytes) -> None:
        """A message has arrived, in the state OPEN or CLOSE_SENT."""

    def pong_received(self, payload: bytes) -> None:
        """A pong has arrived, perhaps an unsolicited one."""

    def deliver_queued(self) -> None:
        """Process the received messages now: what followed them is about to end the connection."""

    def state_changed(self) -> None:
        """``connection.closing.state`` has changed."""


_NOBODY = Application()
_CLOSE_WAS_CALLED = Reason(Cause.LOCAL_CLOSE)
_TERMINATE_WAS_CALLED = Reason(Cause.TERMINATED)


class Connection:
    """The protocol of one end of a connection, from the end of the opening handshake on.

    Args:
        role: the end that this is.
        application: receives messages, pongs and changes of state.
        buffer: the memory to read into, shared by the connections of an event loop.
        now: the present time.
        max_message_size: limit for a received message, in bytes; None for no limit.
        max_fragments: limit for the data frames of one message, as in MessageReader; None for no limit.
        open_timeout: limit of the state CONNECTING, in seconds.
        close_timeout: limit of the closing handshake, in seconds, unless send_close() is given another.
        timing: limits of an open connection; none by default.
        rates: limits of what the peer sends per second; none by default.

    Attributes:
        receiver: the input. The owner calls its get_buffer(), is_amid_frame() and finds_close().
        sender: the output.
        closing: the state, and the record of the end. To be read only: its methods are for this class to call.
        is_open: True in the state OPEN.
        rtt: round trip of the latest ping that was answered, in seconds; None before the first.
    """

    __slots__ = (
        "role",
        # The parts.
        "receiver",
        "sender",
        "closing",
        "_liveness",
        "_application",
        "_log",  # of frames; its time is the present one
        "is_open",  # derived from closing.state, for speed
        "_message_at",  # the time of the latest message in either direction
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
        self._log = FrameLog(now)
        self.receiver = Receiver(role, buffer, self._log, max_message_size, max_fragments)
        self.sender = Sender(role is Role.CLIENT, buffer, self._log)
        self.closing = ClosingHandshake(now, open_timeout, close_timeout)
        self._liveness = Liveness(timing, rates)
        self._application = application
        self.is_open = False
        self._message_at = 0.0
        self.rtt: float | None = None

    def established(self, now: float, slept: float = 0.0, deflate: Agreed | None = None) -> None:
        """Open the connection: the opening handshake has succeeded.

        Args:
            slept: as in Observation.
            deflate: the negotiated parameters of permessage-deflate; None without it.
        """
        step = self.closing.established(now)
        if step is NOTHING:  # the connection has failed meanwhile
            return
        self.receiver.start(None if deflate is None else deflate.inflater(self.role))
        if deflate is not None:
            self.sender.deflater = deflate.deflater(self.role)
        self._message_at = now
        self._liveness.opened(now, slept)
        self._carry_out(step, now)

    def touch(self, now: float) -> None:
        """Set the time that is noted for frames sent from now on."""
        self._log.now = now

    # Input.

    def buffer_updated(self, count: int, now: float) -> None:
        """Process the first ``count`` bytes of the memory that receiver.get_buffer() returned."""
        receiver = self.receiver
        self._log.now = now
        receiver.feed(count)
        broken = None  # not the exception: the application, which fail() calls, must not find it as its context
        try:
            event = receiver.next_event()
            while event is not None:
                if type(event) is ControlFrame:  # isinstance() takes longer
                    self._control_received(event.opcode, event.payload, now)
                else:
                    self._message_at = now
                    self._application.message_received(event)  # type: ignore[arg-type]
                event = receiver.next_event()
            if self._liveness.is_metered and receiver.is_reading:
                self._liveness.check_rates(receiver.messages_received, receiver.bytes_received, now)
        except RemoteProtocolError as error:
            broken = error.violation, error.detail
        except UnicodeDecodeError as error:
            broken = Violation.TEXT_NOT_UTF8, receiver.refuse_text(error)
        if broken is not None:
            self.fail(broken[0], now, broken[1])

    def receive_data(self, data: bytes, now: float) -> None:
        """Process bytes that were not read into receiver.get_buffer()."""
        view = memoryview(data)
        while view:
            room = self.receiver.get_buffer()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            del room  # a bytearray with an exported view cannot grow
            self.buffer_updated(count, now)
            view = view[count:]

    def receive_eof(self, now: float, truncated: bool = False) -> None:
        """Report that the peer ended its direction of TCP; ``truncated`` if TLS had not announced that."""
        where = self.receiver.describe_position()
        cause = Cause.TLS_TRUNCATED if truncated else Cause.TCP_FIN_MID_FRAME if where else Cause.TCP_FIN
        detail = f"EOF {where}" if where else _describe_last_sent(self.sender, now)
        self._carry_out(self.closing.eof(now, Reason(cause, detail)), now)

    def connection_lost(self, now: float, why: Reason | None = None) -> None:
        """Report that the transport is gone, or that the rest of its life does not matter; ``why`` if it broke."""
        if why is not None and not why.detail:
            why = Reason(
                why.cause, self.receiver.describe_position() or _describe_last_sent(self.sender, now), why.initiator
            )
        self._carry_out(self.closing.lost(now, why), now)
        # Keep only what record() needs.
        self.sender.drop()
        self._liveness.closed()
        self._application = _NOBODY

    def reading_resumed(self, now: float) -> None:
        """Excuse input that piled up while reading was paused: it is no burst of the peer's."""
        self._liveness.reading_resumed(self.receiver.received_at, now)

    def _control_received(self, opcode: int, payload: bytes, now: float) -> None:
        """Act on a control frame; raises RemoteProtocolError if it breaks a rule."""
        if opcode == PING:
            self._liveness.count_ping(now)
            # Pongs may precede our Close frame while messages delay it, but nothing may follow it.
            if self.is_open or (self.closing.outgoing is not None and self.sender.waits()):
                self.sender.send_control(PONG, payload)
        elif opcode == PONG:
            rtt = self._liveness.pong_received(payload, now)
            if rtt is not None:
                self.rtt = rtt
            self._application.pong_received(payload)
        else:
            frame = decode_close(payload)
            self._application.deliver_queued()
            if self.receiver.is_reading:  # else the application has ended the connection
                self._carry_out(self.closing.receive(frame, now, _describe_last_sent(self.sender, now)), now)

    # Output.

    def send(self, opcode: int, payload: str | bytes, compress: bool | None = None) -> int:
        """Queue a message, as Sender.send().

        Raises:
            LocalProtocolError: the connection is not OPEN.
            UnicodeEncodeError: a str has lone surrogates; nothing was queued.
        """
        if not self.is_open:
            raise LocalProtocolError(f"no message can be sent: the connection is {self.closing.state.value}")
        self._message_at = self._log.now
        return self.sender.send(opcode, payload, compress)

    def take(self, prepared: PreparedMessage, now: float) -> bytes | None:
        """Call Sender.take(); the connection must be OPEN."""
        self._log.now = now
        frame = self.sender.take(prepared)
        if frame is not None:
            self._message_at = now
        return frame

    def send_ping(self, payload: bytes, behind: bool = False) -> None:
        """Queue a ping of at most 125 bytes, ahead of queued messages, or ``behind`` them.

        Raises:
            LocalProtocolError: the connection is not OPEN.
        """
        if not self.is_open:
            raise LocalProtocolError(f"no ping can be sent: the connection is {self.closing.state.value}")
        if behind:
            self.sender.send_last(PING, payload)
        else:
            self.sender.send_control(PING, payload)

    def fill(self) -> bool:
        """Frame queued messages, as Sender.fill(); returns True if there is anything to write."""
        return self.sender.fill()

    def data_to_send(self) -> bytes | list[Any]:
        """Return the bytes to write after fill() returned True, as Sender.data_to_send()."""
        data = self.sender.data_to_send()
        if not self.is_open and self.sender.is_empty():
            self.closing.flushed()
        return data

    def pause_writing(self, now: float, backlog: int = 0) -> bool:
        """Report that the transport holds bytes that the kernel did not accept; fill() is False until it has none.

        Args:
            backlog: as in Observation.

        Returns:
            True if there is a new deadline.
        """
        self.sender.congested = True
        self.closing.writing_paused()
        return self._liveness.writing_paused(now, backlog) and self.is_open

    def resume_writing(self) -> None:
        """Report that the kernel has accepted every byte that was written."""
        self.sender.congested = False
        self.closing.writing_resumed()
        self._liveness.writing_resumed()
        if self.sender.is_empty():
            self.closing.flushed()

    def yields(self) -> bool:
        """Return True if the next fill() would compress again: run the event loop once before."""
        return self.sender.yields and self.sender.waits()

    def buffered_amount(self) -> int:
        """Return the payload bytes that were sent and are not known to have left the process."""
        return self.sender.buffered_amount()

    @property
    def is_flushed(self) -> bool:
        """True if every queued byte has left the process."""
        return not self.sender.congested and self.sender.is_empty()

    def next_deadline(self) -> float | None:
        """Return the time at which to call handle_deadline(), or None."""
        deadline = self._liveness.deadline if self.is_open else self.closing.deadline
        return deadline if deadline > 0 else None

    def handle_deadline(self, now: float, *, paused: bool = False, backlog: int = 0, slept: float = 0.0) -> None:
        """Act on the deadline if it has passed; afterwards there may be another.

        Args:
            paused, backlog, slept: ``reading_paused``, ``backlog`` and ``slept`` as in Observation.
        """
        deadline = self.next_deadline()
        if deadline is None or now < deadline:
            return
        self._log.now = now
        if not self.is_open:
            self._carry_out(self.closing.time_up(now), now)
            return
        decision = self._liveness.check(now, self.receiver.received_at, self._message_at, paused, backlog, slept)
        if isinstance(decision, Verdict):
            if decision.gently:
                self.send_close(CloseCode.GOING_AWAY, "", now, why=decision.why)
            else:
                self.terminate(now, decision.why)
        elif decision is not None:
            self.sender.send_control(PING, decision)

    # The end.

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
        """Fail the connection because the peer broke a rule (section 7.1.7); ``detail`` as in RemoteProtocolError."""
        self._application.deliver_queued()
        if self.receiver.is_reading:  # else the application has ended the connection
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

    def _carry_out(self, step: Step, now: float) -> None:
        """Do this class's part of a transition."""
        if step is NOTHING:
            return
        closing = self.closing
        state = closing.state
        self.is_open = state is OPEN
        if state is not OPEN and state is not CLOSE_SENT:
            self.receiver.stop()
        if step is QUEUE_CLOSE:
            assert closing.outgoing is not None
            self.sender.send_last(CLOSE, encode_close(closing.outgoing))
            closing.close_queued(now)
        self._application.state_changed()

    # The record.

    def stats(self, now: float) -> Stats:
        """Return the statistics up to now."""
        receiver, sender = self.receiver, self.sender
        times = self._liveness.opened_at, receiver.received_at, sender.sent_at
        age, last_received, last_sent = [now - time if time else None for time in times]  # 0 stands for never
        return Stats(
            *(age, last_received, last_sent, receiver.bytes_received, sender.bytes_sent),
            *(receiver.messages_received, sender.messages_sent, self.rtt, sender.buffered_amount()),
        )

    def frames(self, now: float) -> tuple[FrameNote, ...]:
        """Return the latest frames in both directions, at most 32, the oldest first."""
        return tuple([FrameNote(*seen[:4], now - seen[4], seen[5]) for seen in self._log.entries()])

    def record(self, now: float, held: int) -> Record:
        """Return all that is known of the end of the connection; ``held`` as in Sender.unsent()."""
        closing = self.closing
        end = closing.initiator, closing.why, closing.sent, closing.received, closing.violation
        unsent = tuple(self.sender.unsent(held))
        return Record(self.role, *end, unsent, self.receiver.discarded, self.stats(now), self.frames(now))


def _describe_last_sent(sender: Sender, now: float) -> str:
    """Describe a message that was sent within the last second, and may have made the peer end the connection."""
    kind, size, at = sender.last_message()
    if not kind or now - at > RECENT:
        return ""
    return f"{(now - at) * 1000:.0f} ms after we sent a {kind} message of {size:,} bytes"
