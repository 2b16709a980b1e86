"""What a WebSocket in asyncio drives: one connection, from before its first byte to after its last.

A connection has three protocols, one after the other: an Opening (the handshake), an Established (the WebSocket reads),
and a Draining (what still arrives is dropped). The driver stays, and switches them; none of them has to ask which one
it is. What differs from one to the other - what an alarm means, what the end of the loop or a fork means - is a method
that all three have.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, Task, TimerHandle
from collections.abc import Callable, Coroutine
from contextvars import Context
from socket import SO_LINGER, SOL_SOCKET
from struct import pack
from typing import TYPE_CHECKING, Any

from ..model.registry import LINGER
from ..opening.extensions import Agreement
from ..socket.host import Host
from ..socket.session import Session
from ..wire.receiver import ReadBuffer
from . import kernel
from .draining import Draining
from .established import Established
from .interface import Transport
from .loopstate import LEAVING
from .services import COARSE, services_of
from .tls import TLS
from .tls_transport import TLSTransport
from .watch import EndWatch

if TYPE_CHECKING:
    from ssl import SSLContext


class Driver(Host):
    """One connection of an event loop.

    Args:
        loop: the event loop.
        opening: the first protocol.
        tasks: keeps the tasks of listeners alive.
        on_lost: called with this when the transport is gone, which may be some time after the socket has closed.

    Attributes:
        protocol: the current one; None when the connection is gone, or was given up before there was one.
        canceller: gives up the attempt to connect.
    """

    __slots__ = (
        "_alarm",
        "_loop",
        "_on_lost",
        "_peer",
        "_services",
        "_tasks",
        "_tick",
        "_transport",
        "_watch",
        "canceller",
        "protocol",
    )

    def __init__(
        self,
        loop: AbstractEventLoop,
        opening: Any,
        tasks: set[Task[Any]],
        on_lost: Callable[[Driver], object] | None = None,
    ) -> None:
        # The loop.
        self._loop = loop
        self._services = services_of(loop)
        self._tasks = tasks
        # The connection.
        self.protocol: Any = opening
        self._transport: Transport | None = None
        self._peer: Any = None  # its address, also when it has gone
        self._on_lost = on_lost
        self.canceller: Callable[[], object] | None = None
        self._watch: EndWatch | None = None
        # The alarm: a timer, or a tick of the coarse alarms.
        self._alarm: TimerHandle | None = None
        self._tick = 0

    # The life of the connection: what its protocols call.

    def connected(self, transport: Any) -> bool:
        """Take the transport of the opening; return False if it is not wanted any more, and is aborted."""
        state = self._services.loop_state
        self._transport = transport
        self._peer = transport.get_extra_info("peername")
        state.add(self)
        if self.protocol is None:
            self.switch(Draining(self, transport, self.buffer))
        elif not state.ending:
            return True
        transport.abort()
        return False

    def switch(self, protocol: Any) -> None:
        """Let another protocol have all that happens from now on."""
        self.protocol = protocol
        if self._transport is not None:
            self._transport.set_protocol(protocol)

    def secure(self, context: SSLContext, *, server_side: bool = False, server_hostname: str | None = None) -> None:
        """Begin TLS, within the one that there is; the opening is told when it is ready().

        Raises:
            ValueError: server_hostname is not a valid host name.
        """
        assert self._transport is not None
        engine = TLS(context, server_side=server_side, server_hostname=server_hostname)
        layer = TLSTransport(self._loop, self._transport, engine, self.buffer)
        self._transport = layer
        layer.start()

    def open(self, session: Session, agreement: Agreement, rest: bytes, then: Callable[[], object] | None) -> None:
        """Replace the opening: the session is established, and reads from now on.

        Args:
            session: has this for its driver.
            agreement: what the handshake has agreed on.
            rest: bytes that came behind the handshake.
            then: called before those are read.
        """
        assert self._transport is not None
        established = Established(session, self._transport)
        self.switch(established)
        self._cancel_alarm()
        established.establish(agreement, rest, then)

    def disconnected(self) -> None:
        """Let go of everything: the transport is gone."""
        protocol, self.protocol = self.protocol, None
        self._transport = None
        if isinstance(protocol, Established):
            protocol.let_go()
        self._cancel_alarm()
        self._stop_watch()
        self._services.loop_state.remove(self)
        if self._on_lost is not None:
            self._on_lost(self)

    # The clock and the alarm.

    def time(self) -> float:
        """The loop's time."""
        return self._services.now(self._loop)

    def slept(self) -> float:
        """The seconds that this machine has been suspended since it was started; 0 where it can't tell."""
        return kernel.slept()

    def set_alarm(self, when: float | None) -> None:
        """Call the current protocol's time_is_up() at the time, or a little later, and not at the time before.

        A session that has left the connection sets no alarm: that is our own by then, for LINGER.
        """
        if self.protocol is None or isinstance(self.protocol, Draining):
            return
        if when is None:
            self._cancel_alarm()
        else:
            self._wake_at(when, self._services.now(self._loop))

    def _wake_at(self, when: float, now: float) -> None:
        if self._loop.is_closed():
            return
        if when - now > COARSE:
            if self._alarm is not None:
                self._cancel_alarm()
            self._tick = self._services.alarms.set(self, when, now, self._tick)
        else:
            self._cancel_alarm()
            self._alarm = self._loop.call_later(max(0.0, when - now), self.wake, context=Context())

    def wake(self) -> None:
        """Tell the current protocol that the alarm has gone off."""
        self._cancel_alarm()
        protocol = self.protocol
        if protocol is not None:
            protocol.time_is_up()

    def _cancel_alarm(self) -> None:
        if self._tick:
            self._services.alarms.cancel(self, self._tick)
            self._tick = 0
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    # Writing.

    def write(self, data: bytes | list[Any], last: bool = False) -> None:
        """Write bytes, or a list of them in order; ``last``: half_close() follows at once."""
        transport = self._transport
        if transport is None:
            return
        if isinstance(data, list):
            transport.writelines(data)
        else:
            transport.write(data, last)

    def held(self) -> tuple[int, int]:
        """The bytes that were written and that the transport holds, and those that the kernel does, 0 if unknown."""
        transport = self._transport
        if transport is None:
            return 0, 0
        return transport.get_write_buffer_size(), kernel.unsent(transport.fileno())

    # Reading.

    @property
    def buffer(self) -> ReadBuffer:
        """The memory that all connections of the loop read into."""
        return self._services.buffer

    def pause_reading(self) -> None:
        """Read no more until resume_reading(); meanwhile look for the peer's end in what waits."""
        transport = self._transport
        if transport is None:
            return
        transport.pause_reading()
        protocol = self.protocol
        if isinstance(protocol, Established):
            if self._watch is None:
                self._watch = protocol.new_watch(self._loop)
            self._watch.start()

    def resume_reading(self) -> None:
        """Read again."""
        if self._watch is not None:
            self._watch.active = False
        if self._transport is not None:
            self._transport.resume_reading()

    def _stop_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    def fileno(self) -> int:
        """Return the connection's descriptor; -1 if there is none."""
        return -1 if self._transport is None else self._transport.fileno()

    def address(self, name: str) -> Any:
        """``peername``, also when the connection has gone, or ``sockname``; None if there is no transport."""
        if name == "peername":
            return self._peer
        return None if self._transport is None else self._transport.get_extra_info(name)

    # The end.

    def half_close(self) -> None:
        """End our side of TLS or TCP behind what was written, and drop what arrives until the peer's end."""
        transport = self._leave()
        if transport is None or transport.is_closing():
            return
        try:
            transport.write_eof()
        except OSError:  # the peer has reset the connection, which the transport has not noticed yet
            transport.abort()

    def close(self) -> None:
        """End TLS and TCP behind what was written."""
        transport = self._leave()
        if transport is not None:
            transport.close()

    def abort(self, reset: bool) -> None:
        """End TCP, or the attempt to open it, now; with a RST if ``reset``."""
        transport = self._leave()
        connection = None if transport is None or not reset else transport.get_extra_info("socket")
        if connection is not None:
            try:
                connection.setsockopt(SOL_SOCKET, SO_LINGER, pack("ii", 1, 0))
            except OSError:  # it is broken already
                pass
        self.drop()

    def drop(self) -> None:
        """End TCP now."""
        self._cancel_alarm()
        if self._transport is not None:
            self._transport.abort()

    def _leave(self) -> Transport | None:
        """Replace the protocol by a Draining, which has LINGER seconds; return the transport, if there is one."""
        self._stop_watch()
        if self.canceller is not None:
            self.canceller()
            self.canceller = None
        transport = self._transport
        protocol = self.protocol
        if isinstance(protocol, Established):
            protocol.let_go()
        if transport is None:
            self.protocol = None
            self._cancel_alarm()
            return None
        if not isinstance(protocol, Draining):
            self.switch(Draining(self, transport, self.buffer, protocol))
        now = self._services.now(self._loop)
        self._wake_at(now + LINGER, now)
        try:
            transport.resume_reading()
        except RuntimeError:  # uvloop has closed it, and does not tell so if the attempt to open it was cancelled
            self._cancel_alarm()
            self._services.loop_state.remove(self)
            self._transport = None
        return self._transport

    # The loop.

    def loop(self) -> AbstractEventLoop:
        """The event loop."""
        return self._loop

    def queue_task(self, function: Callable[[], object]) -> None:
        """Call the function in the loop's next turn."""
        try:
            self._loop.call_soon(function)
        except RuntimeError:
            self._services.loop_state.defer(function)

    def call_threadsafe(self, function: Callable[[], object]) -> None:
        """Call the function in the loop, from any thread."""
        self._services.loop_state.call_threadsafe(function)

    def create_task(self, coroutine: Coroutine[Any, Any, Any], failed: Callable[[BaseException], object]) -> None:
        """Run the coroutine in the background; a loop that was closed before its connections runs nothing."""
        if self._loop.is_closed():
            coroutine.close()
            return

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

    # The end of the loop and of the process; see loopstate.Connection.

    def leave_loop(self, timeout: float) -> None:
        """Begin to close within so many seconds; give up an opening that is not complete."""
        protocol = self.protocol
        if protocol is not None:
            protocol.leave_loop(timeout)

    def abandon(self) -> None:
        """End TCP now: the time for the end of the loop is up."""
        protocol = self.protocol
        if protocol is not None:
            protocol.abandon()
        self.drop()

    def disown(self) -> None:
        """Never touch the connection again: this is a forked process, and it is its parent's."""
        transport, self._transport = self._transport, None
        protocol = self.protocol
        if protocol is not None:
            protocol.disown()
        if transport is not None:
            transport.abort()  # closes our copy of the descriptor, and no more
