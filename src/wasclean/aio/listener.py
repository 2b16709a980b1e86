"""Accepting connections: by ourselves, or by the event loop where there is no epoll."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from socket import SOCK_STREAM, socket
from sys import intern
from typing import Any

from . import kernel, poller
from .plain import PlainTransport
from .poller import Poller
from .transport import Stream

#: Seconds without accepting, after there was no descriptor or no memory for a connection.
RETRY = 1.0

_SCARCE = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


async def listen(
    loop: AbstractEventLoop, sockets: Sequence[socket], factory: Callable[[], Any], backlog: int
) -> Listener | LoopListener:
    """Accept connections.

    Args:
        loop: the running one.
        sockets: bound to addresses; they are closed with the listener, or if this fails.
        factory: makes the stream of a new connection.
        backlog: connections that may wait to be accepted, and that are accepted at once.

    Raises:
        OSError: an address can't be listened on.
    """
    try:
        if poller.AVAILABLE:
            return Listener(loop, sockets, factory, backlog)
        return await LoopListener.start(loop, sockets, factory, backlog)
    except BaseException:
        for listening in sockets:
            listening.close()
        raise


class LoopListener:
    """Accepts connections by servers of the event loop; see listen()."""

    def __init__(self, sockets: Sequence[socket]) -> None:
        self._bound = sockets
        self._servers: list[Any] = []

    @classmethod
    async def start(
        cls, loop: AbstractEventLoop, sockets: Sequence[socket], factory: Callable[[], Any], backlog: int
    ) -> LoopListener:
        """Accept connections."""
        listener = cls(sockets)
        try:
            for listening in sockets:
                listener._servers.append(await loop.create_server(factory, sock=listening, backlog=backlog))
        except BaseException:
            listener.close()
            raise
        return listener

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none any more once it is closed."""
        return tuple(listening for server in self._servers for listening in server.sockets)

    def close(self) -> None:
        """Accept no connections any more."""
        for server in self._servers:
            with suppress(ValueError):  # asyncio's, if the program has closed its socket
                server.close()
        for listening in self._bound:  # uvloop would do it later on
            listening.close()


class Listener:
    """Accepts connections where there is an epoll; see listen()."""

    def __init__(
        self, loop: AbstractEventLoop, sockets: Sequence[socket], factory: Callable[[], Stream], backlog: int
    ) -> None:
        self._loop = loop
        self._factory = factory
        self._backlog = backlog
        self._listening: dict[socket, int] = {}  # with their numbers, in case that the program closes its own
        self._poller: Poller | None = poller.join(loop)  # now, for there may be no descriptor for it later
        try:
            for listening in sockets:
                listening.setblocking(False)
                kernel.send_soon(listening)  # for those that it accepts: two calls of the system less for each
                listening.listen(backlog)
                self._listening[listening] = listening.fileno()
                self._watch(listening)
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none any more once it is closed."""
        return tuple(self._listening)

    def close(self) -> None:
        """Accept no connections any more."""
        for listening, number in self._listening.items():
            self._loop.remove_reader(number)
            listening.close()
        self._listening.clear()
        joined, self._poller = self._poller, None
        if joined is not None:
            joined.leave(self._loop)

    def _watch(self, listening: socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening.fileno(), self._accept, listening, listening.family)

    def _accept(self, listening: socket, family: int) -> None:
        joined = self._poller
        assert joined is not None
        for _ in range(max(self._backlog, 1)):
            try:
                # What accept() consists of, but for what it asks the kernel of each connection and we know already.
                number, address = listening._accept()  # type: ignore[attr-defined]
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in _SCARCE:
                    raise
                self._loop.call_exception_handler(
                    {"message": "no connection can be accepted", "exception": error, "socket": listening}
                )
                self._loop.remove_reader(listening.fileno())
                self._loop.call_later(RETRY, self._watch, listening)
                return
            try:
                self._begin(kernel.own(number, family, SOCK_STREAM, listening.proto), address, joined)
            except Exception as error:  # this connection ends, and no other
                self._loop.call_exception_handler(
                    {"message": "an accepted connection could not be served", "exception": error, "socket": listening}
                )

    def _begin(self, connection: socket, address: Any, joined: Poller) -> None:
        """Make a stream of a new connection, which is closed if that fails."""
        try:
            connection.setblocking(False)
            stream = self._factory()
            address = _shared(address)
        except BaseException:
            connection.close()
            raise
        PlainTransport(self._loop, connection, stream, address, joined.enter())


def _shared(address: Any) -> Any:
    """The address with a host that is shared with other connections: behind a proxy, thousands have the same."""
    if isinstance(address, tuple) and type(address[0]) is str:  # AF_VSOCK's are two ints, those of a Unix socket a str
        return (intern(address[0]), *address[1:])
    return address
