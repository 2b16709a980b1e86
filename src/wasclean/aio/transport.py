"""The asyncio side of one connection: a protocol for asyncio, a Host for its WebSocket.

A Transport has three lives. While the opening handshake lasts, bytes go to an Opening; then the WebSocket reads them;
and when the WebSocket is done with it, the transport drops what still arrives until the peer ends TCP too, so that no
reset destroys what is on its way to the peer (RFC 6455 section 7.1.1); for at most LINGER seconds and LINGER_BYTES.
"""

from __future__ import annotations

import os
import sys
import time
from asyncio import (
    AbstractEventLoop,
    BaseEventLoop,
    BufferedProtocol,
    Task,
    TimerHandle,
)
from asyncio import (
    Transport as AsyncioTransport,
)
from collections.abc import Callable, Coroutine
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import Any

from ..endpoint import Endpoint
from ..host import Host
from ..protocol import octets
from ..protocol.handshake import Agreement
from ..protocol.outcome import Cause
from ..protocol.registry import LINGER, LINGER_BYTES, CloseCode
from ..protocol.sender import ReadBuffer
from . import (
    exits,  # noqa: F401 - no connection without it: it sees to all of them when the process ends, or forks
    kernel,
)
from .alarms import COARSE, Alarms
from .perloop import PerLoop
from .poller import Pollable
from .residents import LEAVING, Residents

#: Seconds between two looks at what the kernel holds, while a stream's queue is full and nobody reads.
WATCH = 0.5

#: Bytes that such a look goes through, in search of the peer's Close frame.
PEEK = 1 << 20

#: Bytes of a record of TLS.
PIECE = 1 << 14

#: Messages in one read behind which other connections have their turn, even if there is more to read.
CROWD = 64

#: Messages that make a read a flood, and the bytes that are read at once from then on.
FLOOD, SHARE = 1 << 12, 1 << 13

_alarms = PerLoop(Alarms)

#: The memory that all connections of a loop read into: a loop that waits for readiness reads one at a time.
_buffers = PerLoop(lambda loop: ReadBuffer())


def buffer_of(loop: AbstractEventLoop) -> ReadBuffer:
    """The memory that a loop's connections read into."""
    return _buffers.of(loop)


class Opening:
    """Who gets the bytes of the opening handshake."""

    __slots__ = ()

    def connection_made(self) -> None:
        """There is a transport."""

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        raise NotImplementedError

    def eof_received(self) -> None:
        """No more bytes will arrive."""
        raise NotImplementedError

    def connection_lost(self, error: BaseException | None) -> None:
        """The transport is gone."""
        raise NotImplementedError

    def time_is_up(self) -> None:
        """It has asked to be woken at this time."""
        raise NotImplementedError


class Stream(Host):
    """What Transport is but for asyncio's base class."""

    __slots__ = (
        "_alarm",
        "_alarms",
        "_asks_loop",
        "_below",
        "_buffer",
        "_discarded",
        "_fd",
        "_floods",
        "_kept",
        "_loop",
        "_offered",
        "_on_lost",
        "_opening",
        "_paused",
        "_reads_on",
        "_residents",
        "_seen",
        "_socket",
        "_tasks",
        "_tick",
        "_transport",
        "_watch",
        "_write_error",
        "canceller",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        opening: Opening,
        tasks: set[Task[Any]],
        on_lost: Callable[[Stream], object] | None = None,
    ) -> None:
        self._loop = loop
        self._asks_loop = isinstance(loop, BaseEventLoop)  # uvloop's own clock is the same, and counts milliseconds
        self._below: AsyncioTransport | None = None  # what asyncio's TLS writes to
        self._buffer = buffer_of(loop)
        self._opening: Opening | None = opening
        self._socket: Endpoint | None = None
        self._transport: AsyncioTransport | None = None
        self._fd = -1  # of the connection, while it may be written to without the transport
        self._alarms = _alarms.of(loop)
        self._alarm: TimerHandle | None = None
        self._tick = 0  # of an alarm that need not be exact
        self._tasks = tasks
        self._on_lost = on_lost
        self._discarded = 0
        self._residents = Residents.of(loop)
        self._kept = 0  # bytes that the transport was given and that the kernel did not take at once
        self._write_error: OSError | None = None
        self._offered = 0  # bytes that there was room for in the last read
        self._floods = False  # whether it was full of tiny messages
        self._reads_on = False  # whether the transport reads again at once when it has filled the buffer
        self._paused = False  # whether reading is paused,
        self._watch: TimerHandle | None = None  # and who looks meanwhile
        self._seen = 0  # bytes that were looked at already
        self.canceller: Callable[[], object] | None = None  # gives up the attempt to connect

    # asyncio's side.

    def connection_made(self, transport: Any) -> None:
        """TCP, and TLS if there is any, is established."""
        self._transport = transport
        self._reads_on = not (self._asks_loop or isinstance(transport, Pollable))
        self._residents.add(self)
        # We, or all, were told to end before we had begun.
        if self._residents.ending or (self._opening is None and self._socket is None):
            transport.abort()
            return
        # Whatever the kernel does not take at once makes asyncio call pause_writing(), so we know what has left.
        if transport.get_extra_info("sslcontext") is None:
            transport.set_write_buffer_limits(high=0)
            if os.name == "posix":
                self._fd = self._fileno()
                # Not on TLS: there a peer that ends its side ends ours, and what the kernel has not taken then is lost.
                if not isinstance(transport, Pollable):
                    kernel.limit_unsent(transport.get_extra_info("socket"))
        else:
            transport.set_write_buffer_limits(high=1, low=0)  # asyncio's TLS takes 0 for "always paused"
            self._below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
            if self._below is not None:  # it would hold up to 64 KiB more
                nested = self._below.get_extra_info("sslcontext") is not None  # in the TLS of a proxy
                self._below.set_write_buffer_limits(high=1 if nested else 0, low=0)
        if self._opening is not None:
            self._opening.connection_made()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        if self._opening is None and self._socket is not None:
            view = self._socket._connection.get_buffer()
            if self._floods:
                view = view[:SHARE]
            self._offered = len(view)
            return view
        return self._buffer.view

    def buffer_updated(self, count: int) -> None:
        """Bytes have been read."""
        socket = self._socket  # a reference of our own: the socket may leave us, and be freed, in there
        if self._opening is not None:
            self._opening.data_received(bytes(self._buffer.view[:count]))
        elif socket is not None:
            messages = socket._connection.messages_received
            socket._data_received(count, self._clock())
            messages = socket._connection.messages_received - messages
            if count == self._offered and messages >= CROWD:
                self._give_way(messages)
            else:
                self._floods = False
        else:
            self._discarded += count
            if self._discarded > LINGER_BYTES:
                self._drop()

    def is_amid_frame(self) -> bool:
        """Whether a large message goes on: what it is put together in is in the processor's caches now."""
        socket = self._socket
        return socket is not None and socket._connection.is_amid_frame()

    def _give_way(self, messages: int) -> None:
        """So many have filled a read: let others have their turn; uvloop's own would read up to 32 times in a row."""
        transport = self._transport
        self._floods = self._floods or messages >= FLOOD
        if not self._reads_on or self._paused or transport is None or transport.is_closing():
            return
        transport.pause_reading()
        self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        transport = self._transport
        if transport is not None and not self._paused and not transport.is_closing():
            transport.resume_reading()

    def eof_received(self) -> bool:
        """No more bytes will arrive; returns whether the transport is to stay open for ours."""
        transport = self._transport
        if self._opening is not None:
            self._opening.eof_received()
        elif self._socket is not None and self._write_error is not None:
            self._lost(self._write_error)
            return False
        elif self._socket is not None:
            tls = None if transport is None else transport.get_extra_info("ssl_object")
            truncated = tls is not None and not self._read_rest_of_tls(tls)
            if self._socket is not None:
                self._socket._eof(truncated)
        else:
            return False
        # TLS ends both directions at once, and would complain about True.
        return self._transport is not None and self._transport.can_write_eof()

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        try:
            if self._opening is None and self._socket is not None:
                if error is None:  # uvloop's TLS does not tell otherwise of an end without a close_notify
                    self.eof_received()
                self._lost(error)
        finally:  # the number may be another connection's in a moment
            self._transport = self._below = None
            self._fd = -1
        opening, self._opening = self._opening, None
        self._socket = None
        if opening is not None:
            opening.connection_lost(error)
        self._cancel_alarm()
        self._stop_watch()
        self._residents.remove(self)
        if self._on_lost is not None:
            self._on_lost(self)

    def _lost(self, error: BaseException | None) -> None:
        """The connection has broken: what the kernel and TLS still have for us comes before that."""
        if error is not None and self._fd >= 0:
            self._read_rest()
        tls = None if self._transport is None else self._transport.get_extra_info("ssl_object")
        if tls is not None:
            self._read_rest_of_tls(tls)
        socket = self._socket
        if socket is None:  # the rest has ended it
            return
        self._socket = None
        error = self._write_error or error
        socket._lost(error, cause_of(error), self._kept, kernel.unsent(self._fileno()))  # the transport has let go

    def _read_rest(self) -> None:
        """Read what had arrived before the connection broke, such as a Close frame."""
        number = self._fileno()
        socket = self._socket
        while socket is not None:
            count = octets.receive_now(number, socket._connection.get_buffer())
            if count <= 0:
                break
            socket._data_received(count, self._clock())
            socket = self._socket

    def _read_rest_of_tls(self, tls: Any) -> bool:
        """Read what TLS holds for us: a loop's TLS may have forgotten it by the time that TCP ends.

        Returns:
            Whether TLS has ended, too, by a close_notify (RFC 8446 section 6.1).
        """
        from ssl import SSLError, SSLZeroReturnError

        socket = self._socket
        while socket is not None:
            buffer = socket._connection.get_buffer()
            try:
                count = tls.read(len(buffer), buffer)
            except SSLZeroReturnError:  # so says TLS when both sides have ended it
                return True
            except SSLError:
                return False
            if not count:
                return True
            socket._data_received(count, self._clock())
            socket = self._socket
        return True

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        if self._socket is not None:
            self._socket._writing_paused()

    def resume_writing(self) -> None:
        """The kernel has taken everything."""
        if self._socket is not None and self._write_error is None:
            self._socket._connection.resume_writing()
            # Not from in here: asyncio does not expect us to end TCP while it is writing.
            self._loop.call_soon(self._settle)

    def _settle(self) -> None:
        socket = self._socket
        if socket is not None:
            socket._settle()

    # The opening's side.

    def serve(self, socket: Endpoint) -> None:
        """Let the socket use this as its host; it gets no bytes before ``open``."""
        self._socket = socket

    def open(self, agreement: Agreement, rest: bytes, then: Callable[[], object] | None) -> None:
        """End the opening: the socket is established."""
        self._opening = None
        self._cancel_alarm()
        assert self._socket is not None
        self._socket._establish(agreement, rest, then)

    # The socket's side.

    def time(self) -> float:
        """The loop's time."""
        return self._clock()

    def loop(self) -> AbstractEventLoop:
        """The event loop."""
        return self._loop

    def write(self, data: bytes | list[Any]) -> None:
        """Write bytes, or a list of them in order."""
        if self._transport is None:
            return
        if isinstance(data, list):
            self._write_list(data)
            return
        if self._fd >= 0:
            # The transport holds nothing, or pause_writing() would have been called: it need not be troubled.
            packet = data
            sent = octets.send_now(self._fd, packet)
            if sent == len(packet):
                return
            if sent < 0:
                self._write_failed(-sent, len(packet))
                return
            data = packet[sent:]
        self._hand_over([data])

    def _write_list(self, chunks: list[Any]) -> None:
        sent = 0
        if self._fd >= 0:
            try:
                sent = os.writev(self._fd, chunks)
            except BlockingIOError:
                pass
            except OSError as error:
                self._write_failed(error.errno or 0, sum(map(len, chunks)))
                return
        rest = []
        for chunk in chunks:
            if sent < len(chunk):
                rest.append(memoryview(chunk)[sent:])
            sent = max(sent - len(chunk), 0)
        if rest:
            self._hand_over(rest)

    def _hand_over(self, chunks: list[Any]) -> None:
        """Let the transport write what the kernel has not taken."""
        transport = self._transport
        assert transport is not None
        self._kept = sum(map(len, chunks))
        below = self._below
        # The peer has gone, and we shall be told so.
        if transport.is_closing() or (below is not None and below.is_closing()):
            self.pause_writing()
        elif self._fd < 0:
            transport.writelines(chunks)
        else:
            # Not by writelines(): in some versions of Python that never calls pause_writing().
            for chunk in chunks:
                transport.write(chunk)

    def _write_failed(self, errno: int, size: int) -> None:
        """The peer has gone; but what it has said before may still be in the kernel, so reading is what ends this."""
        self._write_error = OSError(errno, os.strerror(errno))
        self._kept = size
        self.pause_writing()
        if self._socket is not None:
            self._socket._end_in_sight()

    def held(self) -> tuple[int, int]:
        """The bytes that were written and that the transport holds, and those that the kernel does, 0 if unknown."""
        transport = self._transport
        if transport is None:
            return self._kept, 0
        if self._fd < 0 or self._write_error is not None:  # what TLS holds is encrypted, and can't be told apart
            return self._kept, kernel.unsent(self._fileno())
        return transport.get_write_buffer_size(), kernel.unsent(self._fd)

    def is_broken(self) -> bool:
        """Whether the connection is broken; while reading is paused nobody else tells."""
        return kernel.is_broken(self._fileno())

    def slept(self) -> float:
        """The seconds that this machine has been suspended since it was started; 0 where it can't tell."""
        return kernel.slept()

    def pause_reading(self) -> None:
        """Read no more until resume_reading(); meanwhile somebody looks whether the peer's end is what waits."""
        if self._transport is not None:
            self._transport.pause_reading()
            self._paused = True
            if self._watch is None:
                self._seen = -1
                self._watch = self._loop.call_later(WATCH, self._look)

    def resume_reading(self) -> None:
        """Read again."""
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()

    def _look(self) -> None:
        """Nobody has read for a while: look whether the peer has ended, or is ending, the connection."""
        self._watch = None
        socket = self._socket
        if socket is None or self._transport is None or not self._paused:
            return
        number = self._fileno()
        if kernel.has_ended(number):
            socket._end_in_sight()
            return
        waiting = kernel.unread(number)
        if self._fd < 0:  # what TLS holds can't be seen without reading it
            socket._read_a_little()
        elif waiting != self._seen:
            self._seen = waiting
            if socket._connection.finds_close(kernel.peek(number, min(waiting, PEEK))):
                socket._end_in_sight()
        if self._paused and self._watch is None:
            self._watch = self._loop.call_later(WATCH, self._look)

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _fileno(self) -> int:
        """The number of the connection's file; -1 if there is none."""
        connection = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if connection is None else int(connection.fileno())

    def half_close(self) -> None:
        """End our side of TCP, or of TLS, and drop what arrives until the peer's end."""
        transport = self._leave()
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the peer has reset the connection, and nobody has told us yet
                transport.abort()
        else:
            _notify(transport)

    def close(self) -> None:
        """End TCP behind what was written."""
        transport = self._leave()
        if transport is not None:
            transport.close()

    def abort(self, reset: bool) -> None:
        """End TCP, or the attempt to open it, now."""
        transport = self._leave()
        if reset and transport is not None:
            connection = transport.get_extra_info("socket")
            if connection is not None:
                try:
                    connection.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
                except OSError:  # it is broken already
                    pass
        self._drop()

    def set_alarm(self, when: float | None) -> None:
        """Call the socket's ``_alarm()`` at the time."""
        if self._socket is None:  # it has left, and the alarm is our own: LINGER
            return
        if when is None:
            self._cancel_alarm()
        else:
            self._wake_at(when, self._clock())

    def queue_task(self, function: Callable[[], object]) -> None:
        """Call the function in the loop's next turn."""
        self._loop.call_soon(function)

    def run_here(self, function: Callable[..., Any], *args: Any) -> Any:
        """Refuse a call from another thread."""
        raise RuntimeError(
            "this socket belongs to the event loop of another thread: "
            "use loop.call_soon_threadsafe() or asyncio.run_coroutine_threadsafe()"
        )

    def create_task(self, coroutine: Coroutine[Any, Any, Any], what: str) -> None:
        """Run the coroutine in the background."""

        def done(task: Task[Any]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, LEAVING):
                self.report(f"exception in {what}", error)

        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(done)

    def report(self, message: str, error: BaseException) -> None:
        """Report an exception in the user's code to the loop's exception handler."""
        self._loop.call_exception_handler({"message": message, "exception": error, "protocol": self})

    def address(self, name: str) -> Any:
        """``peername`` or ``sockname``."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    def _clock(self) -> float:
        return self._loop.time() if self._asks_loop else time.monotonic()

    def _wake_at(self, when: float, now: float) -> None:
        """Wake at the time, or a little later, and not at the one that was set before."""
        if when - now > COARSE:
            if self._alarm is not None:
                self._cancel_alarm()
            self._tick = self._alarms.set(self, when, now, self._tick)
        else:
            self._cancel_alarm()
            self._alarm = self._loop.call_later(max(0.0, when - now), self.wake)

    def wake(self) -> None:
        """The alarm goes off."""
        self._cancel_alarm()
        if self._socket is not None:
            self._socket._alarm()
        elif self._opening is not None:
            self._opening.time_is_up()
        else:
            self._drop()

    def _cancel_alarm(self) -> None:
        if self._tick:
            self._alarms.cancel(self, self._tick)
            self._tick = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _leave(self) -> AsyncioTransport | None:
        """The socket is done with us; what is left to do must not take long."""
        self._socket = self._opening = None
        self._fd = -1
        self._stop_watch()
        if self.canceller is not None:
            self.canceller()
            self.canceller = None
        transport = self._transport
        if transport is None:
            self._cancel_alarm()
        else:
            now = self._clock()
            self._wake_at(now + LINGER, now)
            try:
                if not transport.is_closing():  # asyncio's TLS does not bear it then
                    transport.resume_reading()
            except RuntimeError:  # uvloop has closed it, for the attempt to open it was cancelled, and tells nobody
                self._cancel_alarm()
                self._residents.remove(self)
                transport = self._transport = None
        return transport

    # What residents.py asks for.

    def leave_loop(self, timeout: float) -> None:
        """The loop ends: close with 1001, within so many seconds; an opening that is not complete is given up."""
        socket = self._socket
        if socket is not None and self._opening is None:
            socket._start_closing(CloseCode.GOING_AWAY, "", Cause.PROCESS_EXIT, timeout=timeout)
            socket._settle()
        elif self._opening is not None:
            self._drop()

    def abandon(self) -> None:
        """It is time: end TCP now."""
        socket = self._socket
        if socket is not None and self._opening is None:
            socket._terminate(Cause.PROCESS_EXIT)
            socket._settle()
        self._drop()

    def disown(self) -> None:
        """This is another process now: never touch the connection again."""
        transport, self._transport = self._transport, None
        self._fd = -1
        if self._socket is not None:
            self._socket._terminate(Cause.PROCESS_EXIT, "this is a forked process, and the connection is its parent's")
        if transport is not None:
            transport.abort()  # closes our copy of the file, and no more

    def _drop(self) -> None:
        self._cancel_alarm()
        if self._transport is not None:
            self._transport.abort()


class Transport(Stream, BufferedProtocol):
    """One connection of an event loop.

    Args:
        loop: the event loop.
        opening: who gets the bytes of the opening handshake.
        tasks: keeps the tasks of listeners alive.
        on_lost: called with this when the transport is gone, which may be some time after the socket has closed.
    """

    __slots__ = ()


def cause_of(error: BaseException | None) -> Cause:
    """What an error of the transport says about the end of an open connection."""
    if error is None:
        return Cause.TCP_FIN
    return Cause.TLS_FAILED if is_tls_error(error) else Cause.TCP_RESET


def is_tls_error(error: BaseException) -> bool:
    """Whether TLS is what went wrong."""
    ssl = sys.modules.get("ssl")  # nobody has imported it unless there was TLS
    return ssl is not None and isinstance(error, ssl.SSLError)


def _notify(transport: AsyncioTransport) -> None:
    """End our side of TLS by a close_notify, and go on reading: what the peer still sends is an error to close()."""
    from ssl import SSLError, SSLWantReadError

    tls = transport.get_extra_info("ssl_object")
    try:
        while tls.read(PIECE):
            pass
    except SSLWantReadError:
        try:
            tls.unwrap()
        except SSLError:  # the peer's close_notify is missing
            pass
        transport.writelines(())  # lets what TLS has to say leave
    except SSLError:  # what the peer has sent is no TLS
        transport.abort()
    else:  # the peer has ended TLS
        transport.close()
