"""A TCP proxy that breaks what passes through it, where and when a test says.

A thread moves the bytes, so that the proxy depends on no event loop, and goes on while a test blocks its own. The
thread works under a lock and never blocks while it holds it; what a test commands is done under the same lock, in the
test's thread: when stall() returns, not one byte more passes. The kernel's buffers of the proxy are small, so that
backpressure is felt soon; those of the two ends are their own, several megabytes if nobody calls shrink_buffers().
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
    """A proxy that breaks things. What is commanded holds for the connections there are and for those to come.

    Without a direction a command is for both. The connections are counted in the order in which they came; the last
    one is meant where none is given.

    Args:
        port: where the server listens, and
        host: its address.
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
        shrink_buffers(self._listener)  # those that it accepts have the same
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        for socket in (self._ears, self._mouth, self._listener):
            socket.setblocking(False)
        self._thread = Thread(target=self._run, name="fault proxy", daemon=True)
        self._thread.start()

    # Faults.

    def stall(self, *directions: Direction) -> None:
        """Read nothing any more, so that the sending end feels backpressure."""
        self._change(directions, stalled=True)

    def drop(self, *directions: Direction) -> None:
        """Read everything, and let nothing pass: neither bytes nor a FIN nor a RST. What is on its way is lost, too."""
        self._change(directions, dropping=True)

    def resume(self, *directions: Direction) -> None:
        """Let pass what comes from now on, whether it was stalled, dropped, or truncated with a stall."""
        self._change(directions, stalled=False, dropping=False)
        for direction in directions or (UP, DOWN):
            if self._rules[direction].then == "stall":
                self._change((direction,), limit=None)

    def delay(self, seconds: float, *directions: Direction) -> None:
        """Let everything spend so many seconds on its way."""
        self._change(directions, delay=seconds)

    def throttle(self, rate: float | None, *directions: Direction) -> None:
        """Let pass so many bytes per second, in pieces of 10 ms; None lifts that."""
        self._change(directions, rate=rate)

    def truncate(self, direction: Direction, after: int, then: Then = "fin") -> None:
        """Let pass so many bytes of each connection, counted from its start, and then nothing.

        Args:
            direction: which.
            after: how many.
            then: "fin": the receiving end sees a FIN, and what the sending end still sends is thrown away. "rst": both
                ends see a RST. "stall": nothing more is read.
        """
        self._change((direction,), limit=after, then=then)

    def cut(self, *directions: Direction) -> None:
        """Send a FIN where the directions lead to, now, and throw away what the sending ends still send."""
        with self._commanding():
            for connection in self._connections:
                for direction in directions or (UP, DOWN):
                    connection.streams[direction].cut()

    def reset(self, *sides: Side) -> None:
        """Send a RST to both ends, or to one only: then the other one hears nothing more."""
        with self._commanding():
            for connection in self._connections:
                for side in sides or ("client", "server"):
                    connection.ends[side].reset()

    # Observations.

    @property
    def connections(self) -> int:
        """How many connections there have been."""
        return len(self._connections)

    def captured(self, direction: Direction, connection: int = -1) -> bytes:
        """The bytes that have passed."""
        with self._lock:
            return bytes(self._connections[connection].streams[direction].captured)

    def passed(self, direction: Direction, connection: int = -1) -> int:
        """How many bytes have passed."""
        with self._lock:
            return len(self._connections[connection].streams[direction].captured)

    def endings(self, side: Side, connection: int = -1) -> list[Ending]:
        """How an end has ended TCP, as its side of the proxy has seen it: a RST may follow a FIN."""
        with self._lock:
            return list(self._connections[connection].ends[side].endings)

    async def carried(self, direction: Direction, count: int, connection: int = -1, within: float = PATIENCE) -> None:
        """Wait until so many bytes have passed."""

        def has_carried() -> bool:
            return bool(self._connections) and self.passed(direction, connection) >= count

        await until(has_carried, f"{count} bytes to pass {direction}", within)

    async def ended(self, side: Side, connection: int = -1, within: float = PATIENCE) -> Ending:
        """Wait until an end has ended TCP, and tell how it did first; a FIN behind what can't leave is not seen."""

        def has_ended() -> bool:
            return bool(self._connections) and bool(self.endings(side, connection))

        await until(has_ended, f"the {side} to end TCP", within)
        return self.endings(side, connection)[0]

    def close(self) -> None:
        """End the thread, and all connections.

        Raises:
            Exception: the thread has failed.
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
            self._accept()  # a client takes itself for connected before we have heard of it
            yield
            try:
                self._mouth.send(b"!")
            except BlockingIOError:  # it has been called often enough
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
        """Take the connections that have come; we connect to the server without waiting for it."""
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:  # there is none any more
                return
            server = sockets.socket()
            shrink_buffers(server)
            connection = Connection(self._rules, client, server)
            if server.connect_ex(self._target) not in (0, errno.EINPROGRESS):
                connection.ends["server"].note("rst")
            self._connections.append(connection)


def shrink_buffers(socket: Any) -> None:
    """Let the kernel hold only a few KiB for a socket, or for what asyncio gives as one."""
    for option in (sockets.SO_RCVBUF, sockets.SO_SNDBUF):
        socket.setsockopt(sockets.SOL_SOCKET, option, BUFFER)


@asynccontextmanager
async def fault_proxy(port: int, host: str = "127.0.0.1") -> AsyncIterator[FaultProxy]:
    """A proxy in front of a port, for as long as the context lasts."""
    proxy = FaultProxy(port, host)
    try:
        yield proxy
    finally:
        proxy.close()
