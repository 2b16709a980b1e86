"""The asyncio side of one connection: a protocol for asyncio, a Host for its WebSocket.

A Transport has three lives. While the opening handshake lasts, bytes go to an Opening; then the WebSocket reads them;
and when the WebSocket is done with it, the transport drops what still arrives until the peer ends TCP too, so that no
reset destroys what is on its way to the peer (RFC 6455 section 7.1.1); for at most LINGER seconds and LINGER_BYTES.

TLS, if there is any, is no transport of its own: what is read and written passes through it.
"""

from __future__ import annotations

import os
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
from contextvars import Context
from errno import ECONNRESET
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING, Any

from ..closing.outcome import Cause
from ..model.registry import LINGER, LINGER_BYTES, MOST_HELD, CloseCode
from ..opening.handshake import Agreement
from ..socket.endpoint import Endpoint
from ..wire import octets
from ..wire.sender import ReadBuffer
from . import (
    exits,  # noqa: F401 - no connection without it: it sees to all of them when the process ends, or forks
    kernel,
)
from .alarms import COARSE, Alarms
from .opening import Opening, cause_of
from .outlet import Outlet
from .perloop import PerLoop
from .poller import Pollable
from .residents import LEAVING, Residents
from .tls import TLS, NestedTLS, tls_error

if TYPE_CHECKING:
    from ssl import SSLContext

#: Seconds between two looks at what the kernel holds, while a stream's queue is full and nobody reads.
WATCH = 0.5

#: Bytes that such a look goes through, in search of the peer's Close frame.
PEEK = 1 << 20

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


class Stream(Outlet):
    """What Transport is but for asyncio's base class."""

    __slots__ = (
        "_alarm",
        "_alarms",
        "_asks_loop",
        "_discarded",
        "_floods",
        "_loop",
        "_offered",
        "_on_lost",
        "_opening",
        "_paused",
        "_peer",
        "_reads_on",
        "_residents",
        "_seen",
        "_socket",
        "_tasks",
        "_tick",
        "_watch",
        "buffer",
        "canceller",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        opening: Opening,
        tasks: set[Task[Any]],
        on_lost: Callable[[Stream], object] | None = None,
    ) -> None:
        Outlet.__init__(self)
        self._loop = loop
        self._asks_loop = isinstance(loop, BaseEventLoop)  # uvloop's own clock is the same, and counts milliseconds
        self.buffer = buffer_of(loop)
        self._opening: Opening | None = opening
        self._socket: Endpoint | None = None
        self._alarms = _alarms.of(loop)
        self._alarm: TimerHandle | None = None
        self._tick = 0  # of an alarm that need not be exact
        self._tasks = tasks
        self._on_lost = on_lost
        self._discarded = 0
        self._residents = Residents.of(loop)
        self._offered = 0  # bytes that there was room for in the last read
        self._floods = False  # whether it was full of tiny messages
        self._reads_on = False  # whether the transport reads again at once when it has filled the buffer
        self._paused = False  # whether reading is paused,
        self._watch: TimerHandle | None = None  # and who looks meanwhile
        self._seen = 0  # bytes that were looked at already
        self._peer: Any = None  # its address, also when it has gone
        self.canceller: Callable[[], object] | None = None  # gives up the attempt to connect

    # asyncio's side.

    def connection_made(self, transport: Any) -> None:
        """There is a connection."""
        self._transport = transport
        ours = isinstance(transport, Pollable)
        if not ours:
            self._peer = transport.get_extra_info("peername")
        self._reads_on = not (self._asks_loop or ours)
        self._residents.add(self)
        # We, or all, were told to end before we had begun.
        if self._residents.ending or (self._opening is None and self._socket is None):
            transport.abort()
            return
        # Whatever the kernel does not take at once makes asyncio call pause_writing(), so we know what has left.
        transport.set_write_buffer_limits(high=0)
        if os.name == "posix":
            self._fd = self._fileno()
            if not ours:
                kernel.limit_unsent(transport.get_extra_info("socket"))
        if self._opening is not None:
            self._opening.connection_made()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where to read to."""
        if self._tls is None:
            view = self._room()
        else:
            # TLS keeps the memory that it has once needed.
            view = self.buffer.view if self.is_amid_frame() else self.buffer.head
        self._offered = len(view)
        return view

    def _room(self) -> memoryview:
        """Where to put what is not encrypted."""
        if self._opening is None and self._socket is not None:
            view: memoryview = self._socket._connection.get_buffer()
            return view[:SHARE] if self._floods else view
        return self.buffer.view

    def buffer_updated(self, count: int) -> None:
        """Bytes have been read."""
        if self._tls is None or self._tls.error is not None:
            self._received(count)
        else:
            self._tls.feed(self.buffer.view[:count])
            self._read_tls()

    def _received(self, count: int) -> None:
        """There are bytes in the room that was given for them."""
        socket = self._socket  # a reference of our own: the socket may leave us, and be freed, in there
        if self._opening is not None:
            self._opening.data_received(bytes(self.buffer.view[:count]))
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
        tls = self._tls
        if tls is None:
            return self._ended(False)
        return tls.established and tls.error is None and self._ended(not tls.ended)

    def _ended(self, truncated: bool) -> bool:
        """The peer will say no more; ``truncated``: and TLS did not say so; returns as eof_received()."""
        if self._opening is not None:
            self._opening.eof_received()
        elif self._socket is not None and self._write_error is not None:
            self._lost(self._write_error)
        elif self._socket is not None:
            self._socket._eof(truncated)
        return self._socket is not None or self._opening is not None

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone."""
        tls = self._tls
        if error is None and tls is not None:
            error = tls.error
            if error is None and not tls.established:
                error = ConnectionResetError(ECONNRESET, "TCP ended in the handshake of TLS")
        try:
            if self._opening is None and self._socket is not None:
                if error is None:  # uvloop does not always tell otherwise
                    self.eof_received()
                self._lost(error)
        finally:  # the number may be another connection's in a moment
            self._transport = None
            self._fd = -1
        opening, self._opening = self._opening, None
        self._socket = None
        if opening is not None:
            opening.connection_lost(error)
        self._tls = None  # it is large, and somebody may keep the socket
        self._cancel_alarm()
        self._stop_watch()
        self._residents.remove(self)
        if self._on_lost is not None:
            self._on_lost(self)

    def _lost(self, error: BaseException | None) -> None:
        """The connection has broken: what the kernel and TLS still have for us comes before that."""
        self._paused = False
        if self._tls is not None:
            self._decrypt(self._tls)
        if error is not None and self._fd >= 0:
            self._read_rest()
        socket = self._socket
        if socket is None:  # the rest has ended it
            return
        self._socket = None
        error = self._write_error or error
        held = self._in_the_clear(self._kept)  # the transport has let go
        socket._lost(error, cause_of(error), held, kernel.unsent(self._fileno()))

    def _read_rest(self) -> None:
        """Read what had arrived before the connection broke, such as a Close frame."""
        number = self._fileno()
        while self._socket is not None:
            count = octets.receive_now(number, self.get_buffer(-1))
            if count <= 0:
                break
            self.buffer_updated(count)

    # TLS.

    def secure(self, context: SSLContext, *, server_side: bool = False, server_hostname: str | None = None) -> None:
        """Begin TLS, within the one that there is; the opening is told when it is ``ready()``.

        Raises:
            ValueError: the name is none.
        """
        if self._tls is None:
            self._tls = TLS(context, server_side=server_side, server_hostname=server_hostname)
        else:
            self._tls = NestedTLS(self._tls, context, server_hostname=server_hostname)
        self._read_tls()

    def _read_tls(self) -> None:
        """Read what TLS holds, and let leave what it has to say."""
        tls = self._tls
        if tls is None:
            return
        if not tls.established and tls.shake_hands() and self._opening is not None:
            self._opening.ready()
        self._decrypt(tls)
        self._pass_on(tls)

    def _decrypt(self, tls: TLS) -> None:
        while not self._paused:
            count = tls.read(self._room())
            if count == 0:
                break
            self._received(count)

    def _pass_on(self, tls: TLS) -> None:
        """Let leave what TLS has to say, and end what it says has ended."""
        data = tls.take()
        if not data and tls.error is None and not tls.ended:
            return
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if data:
            transport.write(data)
            if transport.get_write_buffer_size() > MOST_HELD:
                tls.error = tls_error("the peer asks for new keys and does not read them")
        if tls.error is not None:
            self._tls_failed(tls.error)
        elif tls.ended:
            transport.pause_reading()
            if not self._ended(False):
                transport.close()

    def _tls_failed(self, error: Exception) -> None:
        """Tell so, and let the peer read the alert."""
        if self._opening is not None:
            self._opening.connection_lost(error)
            return
        socket, self._socket = self._socket, None
        if socket is not None:
            socket._lost(error, cause_of(error), *self.held())
        self.half_close()

    def _resume_tls(self) -> None:
        """Read what TLS holds, and then what the kernel does."""
        if not self._paused:
            self._read_tls()
        self._read_on()

    def _end_tls(self, tls: TLS, transport: AsyncioTransport) -> None:
        """End our side of TLS, and TCP if the peer has ended its side, or if there is no TLS yet."""
        if not tls.established:
            transport.abort()
            return
        tls.end()
        self._pass_on(tls)

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        if self._socket is not None:
            self._socket._writing_paused()

    def writing_failed(self) -> None:
        """The peer has gone: go on reading, for what it has said before may still be in the kernel."""
        self.pause_writing()
        if self._socket is not None:
            self._socket._end_in_sight()

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

    def give_to(self, opening: Opening) -> None:
        """Somebody else gets the bytes of the opening handshake from now on."""
        self._opening = opening

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
                self._watch = self._loop.call_later(WATCH, self._look, context=Context())

    def resume_reading(self) -> None:
        """Read again."""
        self._paused = False
        if self._tls is not None and self._tls.holds():
            self._loop.call_soon(self._resume_tls)  # not within a call of the user's
        elif isinstance(self._transport, Pollable):
            self._transport.resume_reading()
        elif self._transport is not None:  # the loop would keep the context of the task that has read the queue
            Context().run(self._transport.resume_reading)

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
        if self._tls is not None:  # what is encrypted can't be seen without reading it
            socket._read_a_little()
        elif waiting != self._seen:
            self._seen = waiting
            if socket._connection.finds_close(kernel.peek(number, min(waiting, PEEK))):
                socket._end_in_sight()
        if self._paused and self._watch is None:
            self._watch = self._loop.call_later(WATCH, self._look, context=Context())

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def half_close(self) -> None:
        """End our side of TCP, or of TLS, and drop what arrives until the peer's end."""
        transport = self._leave()
        if transport is None or transport.is_closing():
            return
        if self._tls is not None and self._tls.error is None:
            self._end_tls(self._tls, transport)
            return
        try:
            transport.write_eof()
        except OSError:  # the peer has reset the connection, and nobody has told us yet
            transport.abort()

    def close(self) -> None:
        """End TLS and TCP behind what was written."""
        transport = self._leave()
        if transport is None:
            return
        if self._tls is not None and not transport.is_closing():
            self._end_tls(self._tls, transport)
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

    def call_threadsafe(self, function: Callable[[], object]) -> None:
        """Call the function in the loop, from any thread."""
        self._residents.call_threadsafe(function)

    def create_task(self, coroutine: Coroutine[Any, Any, Any], failed: Callable[[BaseException], object]) -> None:
        """Run the coroutine in the background."""

        def done(task: Task[Any]) -> None:
            self._tasks.discard(task)
            error = None if task.cancelled() else task.exception()
            if error is not None and not isinstance(error, LEAVING):
                failed(error)

        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(done)

    def report(self, message: str, error: BaseException) -> None:
        """Report an exception in the user's code to the loop's exception handler."""
        self._loop.call_exception_handler({"message": message, "exception": error, "protocol": self})

    def address(self, name: str) -> Any:
        """``peername`` or ``sockname``."""
        if name == "peername":
            return self._peer
        return None if self._transport is None else self._transport.get_extra_info(name)

    def _clock(self) -> float:
        return self._loop.time() if self._asks_loop else time.monotonic()

    def _wake_at(self, when: float, now: float) -> None:
        """Wake at the time, or a little later, and not at the one that was set before; never in a closed loop."""
        if self._loop.is_closed():
            return
        if when - now > COARSE:
            if self._alarm is not None:
                self._cancel_alarm()
            self._tick = self._alarms.set(self, when, now, self._tick)
        else:
            self._cancel_alarm()
            self._alarm = self._loop.call_later(max(0.0, when - now), self.wake, context=Context())

    def wake(self) -> None:
        """The alarm goes off."""
        self._cancel_alarm()
        if self._opening is not None:
            self._opening.time_is_up()
        elif self._socket is not None:
            self._socket._alarm()
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
        self._paused = False
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
