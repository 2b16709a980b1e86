# cython: auto_pickle=False
"""Session: a connection, the driver that performs its I/O, and the application behind a WebSocket.

Theory of operation
===================

A call of the application changes the connection at once, and schedules a task that settles with the driver: it writes
what is to be sent, and ends TCP if the connection says so. So no event is dispatched from inside a call, and all that
is sent in one iteration of the event loop leaves in one write. The driver calls ``data_received()`` and its siblings
from callbacks of the event loop. Each is a task in the sense of the HTML standard: it dispatches events as it proceeds,
and settles at its end.

The session composes parts, each of which knows nothing of the session:

  Connection  the protocol: bytes in, bytes and calls out
  Inbox       received messages, for listeners or for recv()
  Promises    waiting callers: for the open connection, room for a message, pongs, the close event
  EndReport   the facts of the end, and the event and exceptions that tell of it
  Handover    calls of other threads that have not been made yet

The last three are created when they are first needed. The calls of the application are in calls.py, the opening
handshake is in opening.py.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from functools import partial
from itertools import count
from operator import methodcaller
from typing import Any

from .. import native
from ..closing.events import CloseEvent
from ..closing.outcome import Cause, Reason
from ..closing.table import ABORT, CLOSE_SENT, CLOSED, CONNECTING, HALF_CLOSE, OPEN
from ..connection import Application, Connection
from ..model.heads import Request, Response
from ..model.registry import HIGH_WATER, CloseCode, Role
from ..model.wording import repr_of
from ..options import Limits
from ..wire.receiver import ReadBuffer
from .end_report import EndReport, reason_of
from .handover import Handover
from .host import Host
from .inbox import Inbox, utf8_size
from .promises import Promises
from .user_code import call_measured, run_in_copy

#: Bytes of unsent messages at which a send() that waits for room continues.
LOW_WATER = HIGH_WATER // 4

_ids = count(1)


class Session(Application):
    """One end of a connection, without its public face, the WebSocket.

    Args:
        role: which end this is.
        limits: the options.
        driver: performs the I/O, on the thread that creates this.
        buffer: the memory to read into.
        now: the driver's time.
    """

    __slots__ = (
        "connection",
        "context",
        "driver",
        "extensions",
        "handover",
        "head",
        "id",
        "in_debug",
        "inbox",
        "limits",
        "now",
        "on_end",
        "opened",
        "promises",
        "protocol",
        "report",
        "settles",
        "thread",
        "url",
    )

    def __init__(self, role: Role, limits: Limits, driver: Host, buffer: ReadBuffer, now: float) -> None:
        # The two sides.
        self.connection = Connection(
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
        self.driver = driver
        self.limits = limits
        self.id = next(_ids)  # the number of the connection in this process
        self.thread = native.get_ident()  # of the event loop; 0 while it is not known
        # The application.
        self.context: Context | None = None  # None once the connection has ended
        self.on_end: Callable[[Any], object] | None = None  # called with the WebSocket when it has
        self.in_debug = driver.loop().get_debug()  # True if the steps of the application's code are measured
        # The opening handshake.
        self.url = ""  # of a client
        self.head: Request | Response | None = None  # the peer's
        self.protocol = ""
        self.extensions = ""
        self.opened = False  # True once it has succeeded
        # The present task.
        self.now = 0.0  # when it began
        self.settles = False  # True if a call of settle() is due
        # The parts.
        self.inbox = Inbox(limits, driver.loop())
        self.promises: Promises | None = None
        self.report: EndReport | None = None
        self.handover: Handover | None = None

    def is_elsewhere(self) -> bool:
        """Return True on another thread than the event loop's, which has to hand its calls over."""
        return native.get_ident() != self.thread and self.inbox.target is not None

    def promise(self) -> Promises:
        """Return the promises, to add one."""
        if self.promises is None:
            self.promises = Promises(self.driver.loop())
        return self.promises

    def end_report(self) -> EndReport:
        """Return the report of the end, to note something."""
        if self.report is None:
            self.report = EndReport(self.connection, self.id)
        return self.report

    # What the connection calls.

    def message_received(self, message: str | bytes) -> None:
        """Dispatch or queue a message."""
        if not self.inbox.receive(message, self.connection.is_open, self.now):
            self.end_report().discarded += utf8_size(message)

    def deliver_queued(self) -> None:
        """Resume the task that waits in recv(), if there is a message for it, or the connection has closed."""
        waiter = self.inbox.waiter()
        if waiter is None:
            return
        if self.in_debug:
            what, where = waiter.waiting_task(), f"connection {self.id}"
            call_measured(self.driver.loop(), what, where, methodcaller("wake"), waiter)
        else:
            waiter.wake()

    def pong_received(self, payload: bytes) -> None:
        """Settle the pings that a pong answers."""
        if self.promises is not None:
            rtt = self.promises.pong(payload, self.now)
            if rtt is not None:
                self.connection.rtt = rtt

    def state_changed(self) -> None:
        """Follow the closing handshake."""
        connection = self.connection
        self.driver.set_alarm(connection.next_deadline())
        if connection.closing.state is CLOSED:
            self._finish()
        elif connection.closing.state is not OPEN:
            self.inbox.resume()  # or the peer's Close frame would never be found
            if self.promises is not None and connection.closing.state is not CLOSE_SENT:  # then messages still leave
                self.promises.fail_senders(connection, self.end_report())

    # What the driver calls.

    def data_received(self, count: int, now: float) -> None:
        """``count`` bytes were read into ``connection.receiver.get_buffer()``."""
        self.now = now
        self.settles = True
        try:
            self.connection.buffer_updated(count, now)
            self._after_read()
        except Exception as error:
            self.break_off(error)
        finally:
            self.settle()

    def receive(self, data: bytes, now: float) -> None:
        """Process bytes that were read elsewhere; a step of a task."""
        self.connection.receive_data(data, now)
        self._after_read()

    def _after_read(self) -> None:
        """Resume the reading task, and pause reading if that does not keep up."""
        inbox = self.inbox
        if inbox.has_messages():
            self.deliver_queued()
            if inbox.must_pause() and self.connection.is_open:
                inbox.pause(self._resume_reading)
                self.driver.pause_reading()

    def _resume_reading(self) -> None:
        self.connection.reading_resumed(self.driver.time())
        self.driver.resume_reading()

    def read_more(self) -> None:
        """Read once more although reading is paused, if the queue allows: a Close frame may follow."""
        if self.inbox.may_grow():
            self.inbox.resume()

    def write_failed(self) -> None:
        """The peer's end of the connection is among the unread bytes: read on although the queue is full."""
        self.inbox.reads_on = True
        self.inbox.resume()

    def eof_received(self, truncated: bool) -> None:
        """The peer will send no more bytes; ``truncated``: TLS did not announce that."""
        self.run(self.connection.receive_eof, self.driver.time(), truncated)

    def connection_lost(self, error: BaseException | None, cause: Cause, held: int, unflushed: int) -> None:
        """The transport is gone; the last two arguments are as in Host.held(), just before."""
        closing = self.connection.closing
        if closing.state is not CLOSED:
            report = self.end_report()
            if error is not None:
                report.note(error.with_traceback(None))  # the frames that were writing refer to us
            if not closing.was_clean:
                report.held, report.unflushed = held, unflushed
            self.run(self.connection.connection_lost, self.driver.time(), reason_of(error, cause))

    def alarm(self, failed: str = "") -> None:
        """It is the time that set_alarm() was given, or a little earlier.

        Args:
            failed: attempts that have failed in the opening handshake.
        """
        self.run(self._check_deadline, failed)

    def _check_deadline(self, failed: str) -> None:
        connection, driver = self.connection, self.driver
        now = driver.time()
        deadline = connection.next_deadline()
        if deadline is not None and now >= deadline:
            before = connection.closing.state
            backlog = sum(driver.held()) if connection.is_open else 0
            paused = self.inbox.is_paused()
            connection.handle_deadline(now, paused=paused, backlog=backlog, slept=driver.slept())
            if before is CONNECTING and connection.closing.state is not before:
                late = f"the opening handshake took longer than {self.limits.open_timeout:g} s"
                self.end_report().note(TimeoutError(f"{late}; before that: {failed}" if failed else late))
        if connection.closing.state is not CLOSED:
            driver.set_alarm(connection.next_deadline())

    def writing_paused(self) -> None:
        """The transport holds bytes that the kernel did not take."""
        if self.connection.pause_writing(self.driver.time(), sum(self.driver.held())):
            self.driver.set_alarm(self.connection.next_deadline())

    def writing_resumed(self) -> None:
        """The kernel has taken all bytes; settle() is to follow, not within a call of the transport."""
        self.connection.resume_writing()

    # Tasks.

    def run(self, step: Callable[..., object], *args: Any) -> None:
        """Call a function as a task: dispatch its events, and settle. data_received() does the same, faster."""
        self.settles = True
        try:
            step(*args)
        except Exception as error:
            self.break_off(error)
        finally:
            self.settle()

    def run_soon(self, step: Callable[..., object], *args: Any) -> None:
        """Call a function as a task in the next iteration of the event loop."""
        driver = self.driver
        soon = driver.call_threadsafe if self.is_elsewhere() else driver.queue_task
        soon(partial(self.run, step, *args))

    def schedule(self) -> None:
        """Let a task settle what a call of the application has changed; messages are sent at the present time."""
        if not self.settles:
            self.now = self.driver.time()
            self.connection.touch(self.now)
            self.driver.queue_task(self.settle)
            self.settles = True  # now, since queue_task() may have raised MemoryError

    def settle(self) -> None:
        """Write what is to be sent, end TCP if that is due, and settle promises."""
        self.settles = False
        connection = self.connection
        ending = connection.closing.ending
        try:
            while ending is not ABORT and connection.fill():
                data = connection.data_to_send()
                self.driver.write(data, ending is not None and connection.end_of_tcp() is HALF_CLOSE)
                if connection.yields():
                    self.settles = True
                    self.driver.queue_task(self.settle)
                    break
            if ending is not None and connection.closing.state is not CLOSED:
                self._end_tcp()
            elif self.promises is not None and connection.buffered_amount() <= LOW_WATER:
                self.promises.give_room()
        except Exception as error:
            self.break_off(error)
        promises = self.promises
        if promises is not None:
            if connection.is_flushed:
                promises.flush()
            if promises.is_empty():
                self.promises = None

    def _end_tcp(self) -> None:
        """End TCP if that is due; the rest of it does not concern the connection."""
        connection, driver = self.connection, self.driver
        ending = connection.end_of_tcp()
        if ending is None:
            return
        if ending is HALF_CLOSE:
            driver.half_close()
        else:
            if not connection.closing.was_clean:  # the transport is about to drop what has not left
                report = self.end_report()
                report.held, report.unflushed = driver.held()
            if ending is ABORT:
                driver.abort(connection.closing.resets)
            else:
                driver.close()
        connection.connection_lost(driver.time())

    def break_off(self, error: Exception) -> None:
        """End this connection, and no other: no memory is left, or there is a bug in this library."""
        connection = self.connection
        if not isinstance(error, MemoryError):
            run_in_copy(self.context, self.driver.report, "exception inside wasclean", error)
        if connection.closing.state is CLOSED:
            self.driver.queue_task(self._finish)  # if that has not been done
            return
        self.end_report().note(error.with_traceback(None))
        now = self.driver.time()
        if connection.closing.ending is ABORT:  # that has failed: try again, and ignore the result
            with suppress(Exception):
                self.driver.abort(True)
            connection.connection_lost(now)
        elif connection.closing.failed:  # not even a Close frame can be sent
            connection.terminate(now)
        else:
            connection.refuse(CloseCode.INTERNAL_ERROR, "", now, Reason(Cause.INTERNAL_ERROR, repr_of(error)))
        self.schedule()

    # The end.

    def _finish(self) -> None:
        """The connection has closed: dispatch the last events, and settle everything.

        "When the WebSocket connection is closed, possibly cleanly, queue a task to run the following substeps".
        """
        inbox = self.inbox
        try:
            report = self.end_report()
            if report.is_final:
                return
            is_watched = inbox.has_messages() or inbox.listens("close")
            response = self.head if isinstance(self.head, Response) and not self.opened else None
            event = report.event  # bound now, since _let_go() must not allocate, and nothing may fail after finish()
            events = report.finish(self.driver.time(), self.opened, response, inbox.unread_size(), is_watched)
        except MemoryError:
            self.driver.queue_task(self._finish)  # there may be memory then
            return
        try:
            if events:
                report.log(self.context, self.url, self.driver)
            for last in events:
                inbox.fire(last)
        finally:
            self._let_go(report, event)

    def _let_go(self, report: EndReport, event: Callable[[], CloseEvent | None]) -> None:
        """Settle all promises, and drop the references to the application's objects."""
        inbox = self.inbox
        if self.on_end is not None:
            self.on_end(inbox.target)
            self.on_end = None
        promises, self.promises = self.promises, None
        if promises is not None:
            promises.fail_senders(self.connection, report)
            promises.end(report, event)
        inbox.end(report)
        self.deliver_queued()
        self.context = None
