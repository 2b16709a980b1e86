"""A TCP proxy with faults that a test commands.

A thread moves the bytes, so the proxy depends on no event loop, and continues while a test blocks its own. The thread
holds a lock while it works, and never blocks meanwhile. Commands are executed with the same lock in the thread of the
test: once stall() has returned, not one more byte is forwarded. The kernel buffers of the proxy are small, so that
backpressure takes effect soon. Those of the two ends have several megabytes, unless shrink_buffers() is called.
"""

from __future__ import annotations

import errno
import select
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from math import ceil, inf
from threading import Lock, Thread
from time import monotonic
from typing import Any

from tests.faults.passage import DOWN, UP, Connection, Direction, Ending, Rule, Side, Then
from tests.faults.patience import PATIENCE, until

#: Bytes of each kernel buffer; Linux doubles that.
BUFFER = 4 << 10


class FaultProxy:
    """A proxy with faults. Commands apply to existing and future connections.

    A command without a direction applies to both. Connections are numbered in order; the default is the last one.

    Args:
        port: the port of the server.
        host: the address of the server.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._rules: dict[Direction, Rule] = {"up": Rule(), "down": Rule()}
        self._connections: list[Connection] = []
        self._error: Exception | None = None
        self._closing = False
        self._lock = Lock()
        self._ears, self._mouth = sockets.socketpair()
        self._listener = sockets.socket()
        shrink_buffers(self._listener)  # accepted sockets inherit it
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        for socket in (self._ears, self._mouth, self._listener):
            socket.setblocking(False)
        self._thread = Thread(target=self._run, name="fault proxy", daemon=True)
        self._thread.start()

    # Faults.

    def stall(self, *directions: Direction) -> None:
        """Stop reading, which causes backpressure for the sending end."""
        self._change(directions, stalled=True)

    def drop(self, *directions: Direction) -> None:
        """Read everything, and forward nothing: no bytes, FIN or RST. Buffered bytes are lost, too."""
        self._change(directions, dropping=True)

    def resume(self, *directions: Direction) -> None:
        """Forward further input again, after stall(), drop(), or truncate() with a stall."""
        self._change(directions, stalled=False, dropping=False)
        for direction in directions or (UP, DOWN):
            if self._rules[direction].then == "stall":
                self._change((direction,), limit=None)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Delay everything by a number of seconds."""
        self._change(directions, delay=seconds)

    def throttle(self, rate: float | None, *directions: Direction) -> None:
        """Limit the number of bytes per second, in pieces of 10 ms; None removes the limit."""
        self._change(directions, rate=rate)

    def truncate(self, direction: Direction, after: int, then: Then = "fin") -> None:
        """Forward a number of bytes of each connection, counted from its start, and then nothing.

        Args:
            direction: the direction.
            after: the number of bytes.
            then: "fin": send a FIN to the receiving end, and drop further input. "rst": send a RST to both ends.
                "stall": stop reading.
        """
        self._change((direction,), limit=after, then=then)

    def cut(self, *directions: Direction) -> None:
        """Send a FIN to the receiving ends of the directions, and drop further input."""
        with self._commanding():
            for connection in self._connections:
                for direction in directions or (UP, DOWN):
                    connection.streams[direction].cut()

    def reset(self, *sides: Side) -> None:
        """Send a RST to both ends, or to one of them; then the other end receives nothing more."""
        with self._commanding():
            for connection in self._connections:
                for side in sides or ("client", "server"):
                    connection.ends[side].reset()

    # Observations.

    @property
    def connections(self) -> int:
        """The number of connections so far."""
        return len(self._connections)

    def captured(self, direction: Direction, connection: int = -1) -> bytes:
        """Return the forwarded bytes."""
        with self._lock:
            return bytes(self._connections[connection].streams[direction].captured)

    def passed(self, direction: Direction, connection: int = -1) -> int:
        """Return the number of forwarded bytes."""
        with self._lock:
            return len(self._connections[connection].streams[direction].captured)

    def endings(self, side: Side, connection: int = -1) -> list[Ending]:
        """Return the FIN and RST that the proxy has received from an end; a RST may follow a FIN."""
        with self._lock:
            return list(self._connections[connection].ends[side].endings)

    async def carried(self, direction: Direction, count: int, connection: int = -1, within: float = PATIENCE) -> None:
        """Wait until a number of bytes have been forwarded."""

        def has_carried() -> bool:
            return bool(self._connections) and self.passed(direction, connection) >= count

        await until(has_carried, f"{count} bytes to pass {direction}", within)

    async def ended(self, side: Side, connection: int = -1, within: float = PATIENCE) -> Ending:
        """Wait for the FIN or RST of an end, and return the first. A FIN behind unread bytes is not noticed."""

        def has_ended() -> bool:
            return bool(self._connections) and bool(self.endings(side, connection))

        await until(has_ended, f"the {side} to end TCP", within)
        return self.endings(side, connection)[0]

    def close(self) -> None:
        """End the thread and all connections.

        Raises:
            Exception: the exception of the thread, if it has failed.
        """
        with self._commanding():
            self._closing = True
        self._thread.join()
        if self._error is not None:
            raise self._error

    # The thread.

    @contextmanager
    def _commanding(self) -> Iterator[None]:
        with self._lock:
            self._accept()  # a client may be connected already, although the thread has not accepted it yet
            yield
            try:
                self._mouth.send(b"!")
            except BlockingIOError:  # the thread has been woken often enough
                pass

    def _change(self, directions: tuple[Direction, ...], **changes: Any) -> None:
        with self._commanding():
            for direction in directions or (UP, DOWN):
                rule = self._rules[direction]
                for name, value in changes.items():
                    setattr(rule, name, value)
                for connection in self._connections:
                    if rule.dropping:
                        connection.streams[direction].forget()

    def _run(self) -> None:
        try:
            while not self._closing:
                self._turn()
        except Exception as error:
            self._error = error
        finally:
            with self._lock:
                for connection in self._connections:
                    connection.close()
                for socket in (self._ears, self._mouth, self._listener):
                    socket.close()

    def _turn(self) -> None:
        poll = select.poll()
        poll.register(self._ears, select.POLLIN)
        poll.register(self._listener, select.POLLIN)
        ends = {}
        with self._lock:
            again = min((connection.pump(monotonic()) for connection in self._connections), default=inf)
            for connection in self._connections:
                for end, events in connection.interests():
                    ends[end.socket.fileno()] = end
                    poll.register(end.socket, events)
        happened = dict(poll.poll(None if again == inf else max(0, ceil((again - monotonic()) * 1000))))
        if self._ears.fileno() in happened:
            self._ears.recv(1 << 10)
        with self._lock:
            self._accept()
            for fd, end in ends.items():
                if end.is_open and fd in happened:
                    end.look(happened[fd])

    def _accept(self) -> None:
        """Accept all waiting connections, and connect to the server without waiting."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # no connection is waiting
                return
            server = sockets.socket()
            shrink_buffers(server)
            connection = Connection(self._rules, client, server)
            if server.connect_ex(self._target) not in (0, errno.EINPROGRESS):
                connection.ends["server"].note("rst")
            self._connections.append(connection)


def shrink_buffers(socket: Any) -> None:
    """Set the kernel buffers of a socket, or of asyncio's TransportSocket, to a few KiB."""
    for option in (sockets.SO_RCVBUF, sockets.SO_SNDBUF):
        socket.setsockopt(sockets.SOL_SOCKET, option, BUFFER)


@asynccontextmanager
async def fault_proxy(port: int, host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
    """Run a proxy in front of a port within the context."""
    proxy = FaultProxy(port, host)
    try:
        yield proxy
    finally:
        proxy.close()
