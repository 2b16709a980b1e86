# cython: auto_pickle=False
"""Endpoint: what a WebSocket does between its connection, its host and its listeners.

Theory of operation. A call of the user changes the connection at once, and queues a task that settles the outcome with
the host; so no event fires from inside a call, and all that is sent in one turn of the loop leaves in one write. The
host calls ``_data_received`` and its siblings from callbacks of the loop: each is a task in the standard's sense, fires
events as it goes, and settles with the host at its end.

A call from another thread than the host's, a signal handler's for one, waits for nothing: it checks what can be checked
at once, and hands the rest over to the host's thread, in ``_post()``. What has been handed over and not yet been done
shows in ``readyState`` and ``bufferedAmount``, so the caller sees what it would see on the host's thread.
"""

from __future__ import annotations

import logging
from asyncio import get_running_loop, isfuture
from collections import deque
from collections.abc import Callable
from contextvars import Context
from copy import copy
from errno import EHOSTUNREACH, ENETDOWN, ENETUNREACH, ETIMEDOUT
from functools import partial
from itertools import count
from operator import methodcaller
from typing import Any, Literal

from .. import native
from ..closing.errors import ConnectionClosed, tell
from ..closing.events import CloseEvent, ErrorEvent
from ..closing.outcome import Cause, Initiator, Outcome, Phase, Reason, make_outcome
from ..closing.table import ABORT, CLOSE_SENT, CLOSED, CONNECTING, HALF_CLOSE, OPEN, Ending
from ..connection import Connection
from ..dom.events import Callback, Event, EventTarget, Listener, new_message_event, reuse_message_event
from ..dom.exceptions import InvalidStateError
from ..model.heads import Request, Response
from ..model.registry import HIGH_WATER, MAX_BUFFERED_AMOUNT, CloseCode, Role
from ..model.wording import repr_of, text_of
from ..opening.extensions import Agreement
from ..opening.urls import parse_url
from ..options import Limits
from ..wire.prepared import PreparedMessage
from ..wire.receiver import ReadBuffer
from .backlog import Backlog
from .host import Host
from .stepping import Waiter
from .usercode import call_measured, from_user, says_end
from .waiting import ROOM, Later, Promise, to_run

#: Bytes in buffers at which a send() that waits for room goes on.
LOW_WATER = HIGH_WATER // 4

#: Turns of the loop within which a task that was made for a new socket begins to wait for its messages.
START_TURNS = 4

#: Errors of the network on the way, which neither end is to blame for.
_NOBODYS = frozenset({ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN})

_loggers = {role: logging.getLogger(f"wasclean.{role.value}") for role in Role}
_ids = count(1)


class Endpoint(EventTarget):
    """One end of a connection, without the calls of its user: WebSocket adds those."""

    __slots__ = (
        "__weakref__",
        "_ahead",
        "_backlog",
        "_binary_type",
        "_close_promise",
        "_connection",
        "_corked",
        "_dropped",
        "_end_is_here",
        "_ended",
        "_ended_at",
        "_error",
        "_event",
        "_extensions",
        "_flushed",
        "_had_listener",
        "_held",
        "_host",
        "_id",
        "_in_debug",
        "_is_page",
        "_late",
        "_leaving",
        "_limits",
        "_now",
        "_on_end",
        "_open_promise",
        "_opened",
        "_origin",
        "_phase",
        "_pings",
        "_protocol",
        "_queue",
        "_queue_size",
        "_reading_paused",
        "_request",
        "_response",
        "_scheduled",
        "_streaming",
        "_thread",
        "_unflushed",
        "_url",
        "_waiter",
    )

    def _prepare(self, limits: Limits, url: str, origin: str, context: Context) -> None:
        EventTarget.__init__(self)
        self._context = context
        self._id = next(_ids)
        self._limits = limits
        self._url = url
        self._origin = origin
        self._protocol = ""
        self._extensions = ""
        self._binary_type: Literal["blob", "arraybuffer"] = "blob"
        self._is_page = False  # whether close() takes only the codes that a page may send
        self._streaming = False  # whether messages are queued for recv()
        self._had_listener = False  # whether messages without a listener are dropped: until the first one they are kept
        self._in_debug = False  # whether the steps of the user's code are measured
        self._opened = False
        self._corked = False  # whether a task of the host will settle at its end
        self._scheduled = False  # whether a task that settles has been queued
        self._reading_paused = False
        self._end_is_here = False  # whether to read although the queue is full: the peer's end is among what comes
        self._queue: deque[str | bytes] | None = None
        self._queue_size = 0
        self._waiter: Waiter | None = None
        self._backlog: Backlog | None = None
        self._open_promise: Promise | None = None
        self._close_promise: Promise | None = None
        self._flushed: Promise | None = None
        self._pings: dict[bytes, tuple[float, Promise]] | None = None
        self._late = 0  # bytes sent after the closing handshake had started
        self._ahead: deque[int] | None = None  # sizes of messages that other threads have sent, and the host's has not
        self._leaving = False  # whether another thread has called close() or terminate()
        self._dropped = 0  # bytes of messages that were received and neither queued nor delivered
        self._held = 0  # bytes that the transport had not passed on at the end,
        self._unflushed = 0  # and bytes that the kernel had not
        self._now = 0.0
        self._phase: Phase | None = None
        self._ended = False
        self._ended_at = 0.0
        self._event: CloseEvent | None = None  # not the one that fires: an event refers to its target
        self._error: BaseException | None = None
        self._request: Request | None = None
        self._response: Response | None = None
        self._on_end: Callable[[Any], object] | None = None

    def _attach(self, host: Host, role: Role, buffer: ReadBuffer, now: float) -> None:
        """Give the socket its host, on the thread of which this is called."""
        limits = self._limits
        self._host = host
        self._in_debug = host.loop().get_debug()
        self._live_here()
        self._connection = Connection(
            role,
            self,
            buffer,
            now,
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            open_timeout=limits.open_timeout,
            close_timeout=limits.close_timeout,
            timing=limits.timing(),
            rates=limits.rates,
        )

    def _live_here(self) -> None:
        """The host's thread is this one."""
        self._thread = native.get_ident()

    def _live_elsewhere(self) -> None:
        """The host's thread is another one, which will call _live_here()."""
        self._thread = 0

    def _call_at_end(self, function: Callable[[Any], object]) -> None:
        """Call the function with the socket when the connection has ended."""
        self._on_end = function

    def _open_by(self, deadline: float) -> None:
        """The opening handshake may last until the deadline; 0: it waits for its turn, for as long as that takes."""
        self._connection.closing.open_by(deadline)
        self._host.set_alarm(self._connection.next_deadline())

    def _move(self, host: Host, url: str, origin: str) -> None:
        """Go on with another host: the server has redirected us."""
        self._host = host
        self._url = url
        self._origin = origin
        host.set_alarm(self._connection.next_deadline())

    # What the connection calls.

    def _message_received(self, message: str | bytes) -> None:
        """A message has arrived."""
        if self._streaming or self._queue:
            self._enqueue(message)
        else:
            self._deliver(message)

    def _deliver(self, message: str | bytes) -> None:
        """Fire a message event."""
        listeners = None if self._listeners is None else self._listeners.get("message")
        if listeners is None:
            self._keep(message)
        elif not self._connection.is_open:  # "If ready state is not OPEN (1), then return."
            self._dropped += _size(message)
        else:
            data: Any = message
            if not isinstance(message, str) and self._binary_type == "arraybuffer":
                data = bytearray(message)
            event = new_message_event(self, data, self._origin, self._now)
            self._call_listeners(event, listeners)
            reuse_message_event(event)

    def _deliver_queued(self) -> None:
        """Step the task that waits for a message: what it answers at once leaves before the Close frame."""
        if self._queue:
            self._wake_reader()

    def _pong_received(self, payload: bytes) -> None:
        """A pong answers its ping and all pings before it."""
        if self._pings is not None and payload in self._pings:
            for ping in list(self._pings):
                sent, promise = self._pings.pop(ping)
                if ping == payload:
                    self._connection.rtt = self._now - sent
                promise.succeed(self._now - sent)
                if ping == payload:
                    break

    def _state_changed(self) -> None:
        """The closing handshake has moved on."""
        connection = self._connection
        self._host.set_alarm(connection.next_deadline())
        if connection.closing.state is CLOSED:
            self._finish()
        elif connection.closing.state is not OPEN:
            self._resume_reading()  # or the peer's Close frame would never be found
            if connection.closing.state is not CLOSE_SENT:  # what was sent before our close() still leaves
                self._release_senders()

    # What the host calls, each time from a task of its own.

    def _data_received(self, count: int, now: float) -> None:
        """``count`` bytes were read into ``_connection.receiver.get_buffer()``."""
        self._now = now
        self._corked = True
        try:
            self._connection.buffer_updated(count, now)
            self._go_on()
        except Exception as error:
            self._break(error)
        finally:
            self._corked = False
            self._settle()

    def _establish(self, agreement: Agreement, rest: bytes, then: Callable[[], object] | None) -> None:
        """The opening handshake has succeeded; ``rest`` came behind it, and ``then`` is called before that is read.

        "When the WebSocket connection is established, queue a task to run these steps".
        """
        self._run_task(self._established, agreement, rest, then)

    def _established(self, agreement: Agreement, rest: bytes, then: Callable[[], object] | None) -> None:
        now = self._now = self._host.time()
        self._connection.established(now, self._host.slept(), agreement.deflate)
        self._opened = True
        self._protocol = agreement.subprotocol
        self._extensions = agreement.extensions
        if self._listens("open"):
            self._fire(Event("open"))
        if then is not None:
            then()
        if self._open_promise is not None:
            self._open_promise.succeed(None)
            self._open_promise = None
        if rest and self._connection.is_open and not self._listens("message"):
            self._host.pause_reading()
            self._run_soon(self._read_rest, rest, START_TURNS)
        else:
            self._receive(rest, now)

    def _read_rest(self, rest: bytes, turns: int) -> None:
        """Read what came behind the opening handshake, when a task waits for it, or after so many turns of the loop."""
        if turns and self._waiter is None and self._connection.is_open:
            self._run_soon(self._read_rest, rest, turns - 1)
            return
        if self._connection.closing.state is not CLOSED:
            self._host.resume_reading()
        self._receive(rest, self._host.time())

    def _receive(self, data: bytes, now: float) -> None:
        self._connection.receive_data(data, now)
        self._go_on()

    def _fail_opening(self, error: BaseException, cause: Cause, phase: Phase | None) -> None:
        """The opening handshake has failed: because of the network or the server, or because we refuse the answer."""
        connection = self._connection
        if connection.closing.state is CLOSED:
            return
        if self._error is None:
            self._error = error
            self._phase = phase
        now = self._host.time()
        why = Reason(cause, _describe(error), Initiator.REMOTE if cause is Cause.HANDSHAKE_REJECTED else None)
        if cause is Cause.HANDSHAKE_REJECTED or cause is Cause.HANDSHAKE_INVALID:
            connection.refuse(CloseCode.PROTOCOL_ERROR, "", now, why)
            self._settle()
        elif cause is Cause.CANCELLED or cause is Cause.PROCESS_EXIT:
            connection.terminate(now, why)
            self._settle()
        else:
            self._host.abort(False)
            connection.connection_lost(now, why)

    def _eof(self, truncated: bool) -> None:
        """The peer will send no more bytes; ``truncated``: and TLS did not say so."""
        self._run_task(self._connection.receive_eof, self._host.time(), truncated)

    def _lost(self, error: BaseException | None, cause: Cause, held: int, unflushed: int) -> None:
        """The transport is gone; the last two are as in Host.held(), just before."""
        connection = self._connection
        if connection.closing.state is not CLOSED:
            if self._error is None and error is not None:
                self._error = error.with_traceback(None)  # the frames that were writing refer to us
            if not connection.closing.was_clean:
                self._held, self._unflushed = held, unflushed
            initiator = Initiator.NETWORK if getattr(error, "errno", None) in _NOBODYS else None
            why = Reason(cause, "" if error is None else _describe(error), initiator)
            self._run_task(connection.connection_lost, self._host.time(), why)

    def _alarm(self, met: str = "") -> None:
        """It is the time that set_alarm() was given, or a little before; ``met``: what has failed in the opening."""
        self._run_task(self._look_at_clock, met)

    def _look_at_clock(self, met: str) -> None:
        connection = self._connection
        host = self._host
        now = host.time()
        deadline = connection.next_deadline()
        if deadline is not None and now >= deadline:
            before = connection.closing.state
            backlog = sum(host.held()) if connection.is_open else 0
            connection.handle_deadline(now, paused=self._reading_paused, backlog=backlog, slept=host.slept())
            if connection.closing.state is before:
                deadline = connection.next_deadline()
            elif before is CONNECTING and self._error is None:
                late = f"the opening handshake took longer than {self._limits.open_timeout:g} s"
                self._error = TimeoutError(f"{late}; before that: {met}" if met else late)
        if connection.closing.state is not CLOSED:
            host.set_alarm(connection.next_deadline())

    def _writing_paused(self) -> None:
        """The transport holds bytes that the kernel did not take."""
        if self._connection.pause_writing(self._host.time(), sum(self._host.held())):
            self._host.set_alarm(self._connection.next_deadline())

    def _end_in_sight(self) -> None:
        """The peer's end is among what the kernel holds for us: it is read although the queue is full."""
        self._end_is_here = True
        self._resume_reading()

    def _read_a_little(self) -> None:
        """The queue is full, and a Close frame may wait behind what comes: take one more read, within bounds."""
        limit = self._limits.max_message_size or MAX_BUFFERED_AMOUNT
        if self._queue is not None and self._queue_size + 64 * len(self._queue) < limit:
            self._resume_reading()

    def _run_soon(self, step: Callable[..., object], *args: Any) -> None:
        """Run a step of a task in the loop's next turn."""
        host = self._host
        soon = host.call_threadsafe if self._is_elsewhere() else host.queue_task
        soon(partial(self._run_task, step, *args))

    def _run_task(self, step: Callable[..., object], *args: Any) -> None:
        """Run a step of a task of the host's, and settle at its end; _data_received() is the same, for speed."""
        self._corked = True
        try:
            step(*args)
        except Exception as error:
            self._break(error)
        finally:
            self._corked = False
            self._settle()

    def _settle(self) -> None:
        """Bring to the host what the connection wants of it."""
        self._scheduled = False
        connection = self._connection
        ending = connection.closing.ending
        try:
            while ending is not ABORT and connection.fill():
                data = connection.data_to_send()
                self._host.write(data, ending is not None and connection.end_of_tcp() is HALF_CLOSE)
                if connection.yields():
                    self._scheduled = True
                    self._host.queue_task(self._settle)
                    break
            if ending is not None and connection.closing.state is not CLOSED:
                self._end(connection.end_of_tcp())
            elif self._backlog is not None and connection.buffered_amount() <= LOW_WATER:
                backlog, self._backlog = self._backlog, None
                backlog.release()
        except Exception as error:
            self._break(error)
        if self._flushed is not None and connection.is_flushed:
            self._flushed.succeed(None)
            self._flushed = None

    def _break(self, error: Exception) -> None:
        """There is no memory left, or we have made a mistake: this connection ends, and no other."""
        if not isinstance(error, MemoryError):
            self._tell_loop("exception inside wasclean", error)
        if self._connection.closing.state is CLOSED:
            self._host.queue_task(self._finish)  # if that has not been done
            return
        if self._error is None:
            self._error = error.with_traceback(None)
        connection = self._connection
        now = self._host.time()
        if connection.closing.ending is ABORT:  # that has failed: once more, and no matter how it goes
            try:
                self._host.abort(True)
            except Exception:
                pass
            connection.connection_lost(now)
        elif connection.closing.failed:  # not even a Close frame can be sent
            connection.terminate(now)
        else:
            connection.refuse(CloseCode.INTERNAL_ERROR, "", now, Reason(Cause.INTERNAL_ERROR, repr_of(error)))
        self._schedule()

    # The rest.

    def _schedule(self) -> None:
        """Let a task settle what a call of the user's has changed; what is sent meanwhile has the present time."""
        if not self._corked and not self._scheduled:
            self._now = self._host.time()
            self._connection.touch(self._now)
            self._host.queue_task(self._settle)
            self._scheduled = True  # now, for there may have been no memory for that

    def _go_on(self) -> None:
        """Let the task that waits for a message go on, and stop reading if it doesn't keep up."""
        queue = self._queue
        if queue:
            self._wake_reader()
            if queue and self._streaming and not self._reading_paused and not self._end_is_here and self._is_full():
                self._reading_paused = True
                self._host.pause_reading()

    def _wake_reader(self) -> None:
        """Let the task go on that waits in recv(), if one does: it finds a message, or the connection's end."""
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if self._in_debug:
                what, where = waiter.waiting(), f"connection {self._id}"
                call_measured(self._host.loop(), what, where, methodcaller("wake"), waiter)
            else:
                waiter.wake()

    def _is_full(self) -> bool:
        limits = self._limits
        queue = self._queue
        assert queue is not None
        return self._connection.is_open and (
            len(queue) >= limits.max_queue
            or (limits.max_message_size is not None and self._queue_size >= limits.max_message_size)
        )

    def _enqueue(self, message: str | bytes) -> None:
        if self._queue is None:
            self._queue = deque()
        if (self._streaming and self._connection.is_open) or self._has_room(message):
            self._queue.append(message)
            self._queue_size += len(message)
        else:
            self._dropped += _size(message)

    def _has_room(self, message: str | bytes) -> bool:
        """True if the queue may take a message although reading goes on while nothing may be reading the queue."""
        assert self._queue is not None
        count, size = len(self._queue), self._queue_size
        if self._streaming or self._had_listener:  # the connection closes, or a task that delivers the queue is due
            return size + 64 * count < MAX_BUFFERED_AMOUNT
        limits = self._limits
        return count < limits.max_queue and size + len(message) <= (limits.max_message_size or MAX_BUFFERED_AMOUNT)

    def _keep(self, message: str | bytes) -> None:
        """Keep a message for the first listener, or for recv(); a socket that had a listener drops it, as the DOM does.

        As much is kept as a stream queues, but reading goes on: the close event has to come.
        """
        if self._had_listener and (self._waiter is None or self._waiter.done()):
            self._dropped += _size(message)
        else:
            self._enqueue(message)

    def _dequeue(self) -> str | bytes:
        assert self._queue is not None
        message = self._queue.popleft()
        self._queue_size -= len(message)
        if self._reading_paused and len(self._queue) <= self._limits.max_queue // 2:
            self._resume_reading()
        return message

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._connection.reading_resumed(self._host.time())
            self._host.resume_reading()

    def _read_as_stream(self) -> None:
        if not self._listens("message"):
            self._streaming = True

    def _listener_added(self, type: str) -> None:
        """A listener for messages ends the reading as a stream; it gets what waits there while the socket is open."""
        if type == "message" and (self._streaming or not self._had_listener):
            self._streaming = False
            self._had_listener = True
            if self._queue:
                self._run_soon(self._deliver_queue)

    def _deliver_queue(self) -> None:
        while self._queue and not self._streaming:
            self._deliver(self._dequeue())
        if not self._queue:
            self._queue = None

    def _reader_left(self) -> None:
        """The code that read the stream has ended: what waits counts as discarded, unless another task reads it."""
        if self._waiter is None or self._waiter.done():
            self._streaming = False

    def _start_closing(
        self, code: int | None, reason: str, cause: Cause, *, timeout: float | None = None, detail: str = ""
    ) -> Promise:
        """Start the closing handshake if that has not happened; returns what close() does."""
        connection = self._connection
        if connection.closing.state is OPEN or connection.closing.state is CONNECTING:
            now = self._host.time()
            connection.send_close(None if code is None else int(code), reason, now, timeout, Reason(cause, detail))
            self._schedule()
        return self._closed_promise()

    def _is_elsewhere(self) -> bool:
        """Whether this is another thread than the host's, and what changes the connection has to be handed over."""
        return native.get_ident() != self._thread and not self._ended

    def _post(self, call: Callable[[], Any], size: int = 0) -> Promise:
        """Make a call on the host's thread, soon; ``size`` counts in bufferedAmount until then.

        Returns:
            What gives, when it is awaited, what the call returns or raises.
        """
        promise = Promise(self._host.loop())
        ahead = self._look_ahead(size)
        self._host.call_threadsafe(partial(self._make_call, call, promise, ahead, size))
        return promise

    def _make_call(self, call: Callable[[], Any], promise: Promise, ahead: deque[int] | None, size: int) -> None:
        try:
            promise.follow(call() or ROOM)
        except Exception as error:
            failure = error.with_traceback(None)  # it has this frame, which has the error
            promise.fail(lambda: copy(failure))
            if not isinstance(error, InvalidStateError):
                self._break(error)
        finally:
            if ahead is not None:
                ahead.remove(size)

    def _look_ahead(self, size: int) -> deque[int] | None:
        """Count a message that is about to be handed over; returns where from ``size`` is to be removed then."""
        if not size:
            return None
        ahead = self._ahead
        if ahead is None:
            ahead = self._ahead = deque()
        ahead.append(size)  # no counter: two threads that add to one at the same time may lose a summand
        return ahead

    def _amount_ahead(self) -> int:
        """Bytes of messages that other threads have sent, and that the host's thread has not queued yet."""
        return sum(tuple(self._ahead)) if self._ahead else 0

    def _is_slow(self, closes: bool) -> bool:
        """As _pass_on(), which is to follow on the host's thread: whether the socket is slow, which ends it if so."""
        amount = self._connection.buffered_amount() + self._amount_ahead()
        if amount <= HIGH_WATER or not self._connection.is_open or self._leaving:
            return False
        if closes:
            self._leaving = True
            self._post(partial(self._flag_as_slow, amount))
        return True

    def _terminate(self, cause: Cause, detail: str = "", *, reset: bool = False) -> None:
        """End the connection now."""
        if self._connection.closing.state is not CLOSED:
            self._connection.terminate(self._host.time(), Reason(cause, detail), reset)
            self._schedule()

    def _flush(self) -> Promise:
        """What is done when all that was sent has left the process."""
        promise = self._flushed or Promise(self._host.loop())
        if self._ended:
            promise.fail(self._closed_error)
        elif self._connection.is_flushed:
            promise.succeed(None)
        else:
            self._flushed = promise
        return promise

    def _park(self) -> Waiter:
        if self._waiter is not None and not self._waiter.done():
            raise InvalidStateError("another task is waiting in recv() of this socket already")
        loop = self._host.loop()
        if get_running_loop() is not loop:
            raise InvalidStateError("this socket belongs to another event loop: make it inside the one that reads it")
        self._waiter = Waiter(loop)
        return self._waiter

    def _wait_for_room(self, message: str | bytes) -> Promise:
        """What send() returns when much is on its way; its backlog is looked at when it exceeds max_buffered_amount."""
        if self._backlog is None:
            self._backlog = Backlog(self._watch_backlog, self._host.loop())
        place = self._backlog.add(
            len(message.encode("utf-8", "surrogatepass") if isinstance(message, str) else message)
        )
        self._watch_backlog()
        return place

    def _watch_backlog(self) -> None:
        """Judge the backlog two turns of the loop later, if it is too large: by then what is awaited is known to be."""
        backlog = self._backlog
        if backlog is None or backlog.is_watched:
            return
        if self._connection.buffered_amount() > self._limits.max_buffered_amount:
            backlog.is_watched = True
            self._run_soon(self._run_soon, self._judge_backlog)

    def _judge_backlog(self) -> None:
        """Flag the socket as full if more than max_buffered_amount is on its way that no task waits for."""
        backlog = self._backlog
        if backlog is None or not self._connection.is_open:
            return
        backlog.is_watched = False
        limit = self._limits.max_buffered_amount
        amount = backlog.unawaited(self._connection.buffered_amount())
        if amount > limit and not backlog.is_one_message(amount):
            self._flag_as_full(
                f"send() has queued {amount:,} bytes that no task waits for, and max_buffered_amount is {limit:,}"
            )

    def _flag_as_full(self, why: str) -> None:
        """End the connection, for the peer does not read fast enough."""
        self._error = BufferError(why)
        now = self._host.time()
        self._connection.refuse(CloseCode.POLICY_VIOLATION, "", now, Reason(Cause.SLOW_CONSUMER, why))
        self._connection.terminate(now)
        self._schedule()

    def _pass_on(self, prepared: PreparedMessage, closes: bool) -> bool:
        """Send a message that others get, too, if the socket is open; at once, unless other things leave with it.

        Returns:
            Whether the socket is not slow; if it is, it does not get the message, and is closed if ``closes``.
        """
        connection = self._connection
        if not connection.is_open:
            return True
        amount = connection.buffered_amount()
        if amount > HIGH_WATER:
            if closes:
                self._flag_as_slow(amount)
            return False
        self._carry(prepared)
        return True

    def _flag_as_slow(self, amount: int) -> None:
        self._flag_as_full(f'broadcast(slow="close") closed this connection: {amount:,} bytes were still unsent')

    def _carry(self, prepared: PreparedMessage) -> None:
        """Send a message that others get, too, over an open connection."""
        connection = self._connection
        frame = None
        try:
            if not self._corked and not self._scheduled:
                self._now = self._host.time()
                frame = connection.take(prepared, self._now)
                if frame is None:
                    self._schedule()
            if frame is None:
                connection.send(prepared.opcode, prepared.message, prepared.compress)
            else:
                self._host.write(frame)
                connection.fill()  # there is nothing more; but now it is known what has left
        except Exception as error:
            self._break(error)

    def _end(self, ending: Ending | None) -> None:
        """End TCP; the rest of it does not concern the connection."""
        host = self._host
        if ending is None:
            return
        if ending is HALF_CLOSE:
            host.half_close()
        else:
            self._measure()
            if ending is ABORT:
                host.abort(self._connection.closing.resets)
            else:
                host.close()
        self._connection.connection_lost(host.time())

    def _measure(self) -> None:
        """Ask how much has not left, while there is still somebody to ask."""
        if not self._connection.closing.was_clean:
            self._held, self._unflushed = self._host.held()

    def _finish(self) -> None:
        """The connection has ended.

        "When the WebSocket connection is closed, possibly cleanly, queue a task to run the following substeps".
        """
        if self._ended:
            return
        self._ended_at = self._host.time()
        try:
            events = self._last_events() if self._is_watched() else []
            if events:
                self._event = CloseEvent("close", outcome=events[-1].outcome)
            tell = self._close_event  # bound here, for to let go must not take memory
        except MemoryError:
            self._host.queue_task(self._finish)  # then there may be some
            return
        self._ended = True
        try:
            if events:
                self._log(events[-1].outcome)
            for last in events:
                self._fire(last)
        finally:
            self._let_go(tell)

    def _is_watched(self) -> bool:
        """Whether somebody is to be told how the connection has ended, or what is known of that may change.

        Most ends are orderly, and nobody asks about them: then there is no need for an Outcome and its event.
        """
        connection = self._connection
        return (
            not connection.closing.was_clean
            or connection.closing.failed
            or bool(self._queue)
            or self._listens("close")
            or _loggers[connection.role].isEnabledFor(logging.DEBUG)
        )

    def _close_event(self) -> CloseEvent | None:
        """How the connection has ended; None if it has not."""
        if self._event is None and self._ended:
            self._event = CloseEvent("close", outcome=self._new_outcome())
        return self._event

    def _let_go(self, tell: Callable[[], CloseEvent | None]) -> None:
        """Let everybody go on who waits for something."""
        if self._on_end is not None:
            self._on_end(self)
            self._on_end = None
        self._release_senders()
        if self._flushed is not None:
            self._flushed.fail(self._closed_error)
            self._flushed = None
        if self._open_promise is not None:
            self._open_promise.fail(self._opening_error)
            self._open_promise = None
        if self._close_promise is not None:
            self._close_promise.succeed_with(tell)
            self._close_promise = None  # it refers to us now
        if self._pings is not None:
            for _, promise in self._pings.values():
                promise.fail(self._closed_error)
            self._pings = None
        self._wake_reader()
        self._context = None  # which may refer to us

    def _last_events(self) -> list[Any]:
        """What is to be fired at the end."""
        connection = self._connection
        if self._error is None:
            self._error = connection.closing.error
        outcome = self._new_outcome()
        events: list[Any] = [CloseEvent("close", outcome=outcome)]
        # "If the user agent was required to fail the WebSocket connection, or if [it] was closed after being flagged as
        # full, fire an event named error".
        if connection.closing.failed or not self._opened:
            why = text_of(self._error) if self._error else "the socket was closed before it was open"
            events.insert(0, ErrorEvent("error", message=why, outcome=outcome))
        return events

    def _new_outcome(self) -> Outcome:
        waiting = 0 if self._streaming else sum(map(_size, self._queue or ()))
        return make_outcome(
            self._connection.record(self._ended_at, self._held),
            id=self._id,
            undelivered=self._dropped + waiting,
            unflushed_bytes=self._unflushed,
            exception=self._error,
            phase=None if self._opened else self._phase,
            response=None if self._opened else self._response,
        )

    def _log(self, outcome: Outcome) -> None:
        """One line for each end; that it can't be written is no reason not to close."""
        level = logging.DEBUG if outcome.was_clean else logging.INFO
        try:
            logger = _loggers[outcome.role]
            if logger.isEnabledFor(level):
                where = parse_url(self._url).shown if self._url else self._host.address("peername")
                self._run_in_copy(logger.log, level, "connection %d %s: %s", outcome.id, where, outcome)
        except Exception as error:
            self._tell_loop("exception in a logging handler", error)

    def _tell_loop(self, message: str, error: BaseException) -> None:
        """Report an exception to the loop's exception handler, which is code of the user's like a listener."""
        self._run_in_copy(self._host.report, message, error)

    def _run_in_copy(self, function: Callable[..., object], *args: Any) -> None:
        """Call the function in a copy of our context, which can be entered while the context itself is."""
        if self._context is None:
            function(*args)
        else:
            self._context.copy().run(function, *args)

    def _release_senders(self) -> None:
        """Tell those who wait for room that their messages may not leave any more."""
        if self._backlog is not None:
            backlog, self._backlog = self._backlog, None
            backlog.fail(self._connection.buffered_amount(), self._closed_error)

    def _closed_promise(self) -> Promise:
        """Return the promise of the CloseEvent, which close() and wait_closed() give."""
        promise = self._close_promise
        if promise is None:
            promise = Promise(self._host.loop())
            if self._ended:
                promise.succeed_with(self._close_event)
            else:
                self._close_promise = promise
        return promise

    def _opened_promise(self) -> Promise:
        """Return the promise that the socket is open, for wait_opened()."""
        self._read_as_stream()
        promise = self._open_promise
        if promise is None:
            promise = Promise(self._host.loop())
            if self._opened:
                promise.succeed(None)
            elif self._ended:
                promise.fail(self._opening_error)
            else:
                self._open_promise = promise
        return promise

    def _closed_error(self) -> ConnectionClosed:
        error = ConnectionClosed(self._close_event(), self._connection.closing.facts())
        error.socket_id = self._id
        return error

    def _opening_error(self) -> BaseException:
        """The error that kept the socket from opening, which tells of the end: see Known."""
        if self._error is None:
            return self._closed_error()
        error = copy(self._error)  # ours would refer to the frames that it passes through, and they to us
        error.__cause__ = self._error.__cause__
        event = self._close_event()
        assert event is not None
        tell(error, event, event.outcome)
        return error

    def _function_of(self, type: str, callback: Callback) -> Callable[[Event], Any]:
        function = EventTarget._function_of(self, type, callback)
        if not self._in_debug:
            return function
        what, where = f"{type} listener {callback!r}", f"connection {self._id}"
        return partial(call_measured, self._host.loop(), what, where, function)

    def _take_result(self, event: Event, listener: Listener, result: Any) -> None:
        if result is ROOM or isfuture(result):  # what a lambda that only sends, or starts a task, returns
            return
        coroutine = to_run(result)
        if coroutine is not None:
            self._run(coroutine, event, listener.callback)
        elif not isinstance(result, Later):
            EventTarget._take_result(self, event, listener, result)

    def _run(self, coroutine: Any, event: Event, callback: Callback) -> None:
        failed = partial(self._failed, f"{event.type} listener {callback!r}")
        self._call_for(event, self._host.create_task, coroutine, failed)

    def _report(self, error: BaseException, event: Event, callback: Callback) -> None:
        self._call_for(event, self._failed, f"{event.type} listener {callback!r}", error)

    def _failed(self, what: str, error: BaseException) -> None:
        """A listener has raised an exception; that the connection has ended under it is no error of its own."""
        if not self._says_end(error):
            self._host.report(f"exception in {what}", from_user(error))

    def _says_end(self, error: BaseException) -> bool:
        """True if an exception says only that this connection has ended, or is ending."""
        return self._connection.closing.state is not OPEN and says_end(error, self._id)

    def _call_for(self, event: Event, function: Callable[..., object], *args: Any) -> None:
        """Call the function in a copy of our context; for an event of dispatchEvent() in the caller's."""
        if event.isTrusted:
            self._run_in_copy(function, *args)
        else:
            function(*args)

    def _leave(self, error: BaseException) -> None:
        """Let sys.exit() end the loop; from where we are, it would end the reading of what has arrived, and no more."""

        def leave() -> None:
            raise error

        self._start_closing(CloseCode.GOING_AWAY, "", Cause.PROCESS_EXIT)
        self._host.queue_task(leave)


def _size(message: str | bytes) -> int:
    """A message's size in bytes."""
    return len(message.encode() if isinstance(message, str) else message)


def _describe(error: BaseException) -> str:
    """An exception in a line, with its notes."""
    return "; ".join([text_of(error) or type(error).__name__, *getattr(error, "__notes__", ())])
