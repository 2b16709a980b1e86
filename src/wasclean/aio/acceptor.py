"""Accepts connections: itself where there is epoll, and by the event loop's servers elsewhere."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable, Sequence
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from socket import SOCK_STREAM, socket
from sys import intern
from typing import Any

from . import kernel, poller
from .epoll import EpollTransport
from .interface import Protocol
from .loop_transport import LoopTransport
from .loopstate import LoopState
from .poller import Poller

#: Seconds without accepting after there was no descriptor or no memory for a connection.
RETRY = 1.0

_SCARCE = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


async def listen(
    loop: AbstractEventLoop, sockets: Sequence[socket], factory: Callable[[], Protocol], backlog: int
) -> Acceptor | LoopAcceptor:
    """Accept connections.

    Args:
        loop: the running one.
        sockets: bound to addresses; they are closed with the acceptor, or if this fails.
        factory: makes the protocol of a new connection.
        backlog: connections that may wait to be accepted, and that are accepted at once.

    Raises:
        OSError: an address can't be listened on.
    """
    try:
        if poller.AVAILABLE:
            return Acceptor(loop, sockets, factory, backlog)
        return await LoopAcceptor.start(loop, sockets, factory, backlog)
    except BaseException:
        for listening in sockets:
            listening.close()
        raise


class LoopAcceptor:
    """Accepts connections by servers of the event loop; see listen()."""

    def __init__(self, sockets: Sequence[socket]) -> None:
        self._bound = sockets
        self._servers: list[Any] = []

    @classmethod
    async def start(
        cls, loop: AbstractEventLoop, sockets: Sequence[socket], factory: Callable[[], Protocol], backlog: int
    ) -> LoopAcceptor:
        """Accept connections."""
        acceptor = cls(sockets)
        try:
            for listening in sockets:
                server: Any = await loop.create_server(
                    lambda: LoopTransport(loop, factory()), sock=listening, backlog=backlog
                )
                acceptor._servers.append(server)
        except BaseException:
            acceptor.close()
            raise
        return acceptor

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none after close()."""
        return tuple(listening for server in self._servers for listening in server.sockets)

    def close(self) -> None:
        """Stop accepting."""
        for server in self._servers:
            with suppress(ValueError):  # asyncio's, if the program has closed its socket
                server.close()
        for listening in self._bound:  # uvloop would do it later on
            listening.close()


class Acceptor:
    """Accepts connections where there is an epoll; see listen()."""

    def __init__(
        self, loop: AbstractEventLoop, sockets: Sequence[socket], factory: Callable[[], Protocol], backlog: int
    ) -> None:
        self._loop = loop
        self._factory = factory
        self._backlog = backlog
        self._listening: dict[socket, int] = {}  # with their numbers, in case that the program closes its own
        self._poller: Poller | None = poller.join(loop)  # now: later there may be no descriptor left
        try:
            for listening in sockets:
                listening.setblocking(False)
                kernel.send_soon(listening)  # inherited by accepted sockets: saves two system calls for each
                listening.listen(backlog)
                self._listening[listening] = listening.fileno()
                self._watch(listening)
        except BaseException:
            self.close()
            raise
        LoopState.of(loop).listeners.add(self)

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none after close()."""
        return tuple(self._listening)

    def close(self) -> None:
        """Stop accepting."""
        for listening, number in self._listening.items():
            self._loop.remove_reader(number)
            listening.close()
        self._listening.clear()
        joined, self._poller = self._poller, None
        if joined is not None:
            joined.leave(self._loop)

    def disown(self) -> None:
        """Leave the sockets to the parent of this forked process: the epoll of the loop is its parent's, too."""
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        self._poller = None

    def _watch(self, listening: socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening.fileno(), self._accept, listening, listening.family)

    def _accept(self, listening: socket, family: int) -> None:
        joined = self._poller
        assert joined is not None
        for _ in range(max(self._backlog, 1)):
            try:
                # socket.accept() without the calls that ask the kernel for the family and the type, which are known.
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
            except Exception as error:  # end this connection and no other
                self._loop.call_exception_handler(
                    {"message": "an accepted connection could not be served", "exception": error, "socket": listening}
                )

    def _begin(self, connection: socket, address: Any, joined: Poller) -> None:
        """Make a transport of a new connection, which is closed if that fails."""
        try:
            connection.setblocking(False)
            protocol = self._factory()
            address = _shared(address)
        except BaseException:
            connection.close()
            raise
        EpollTransport(self._loop, connection, protocol, address, joined.enter())


def _shared(address: Any) -> Any:
    """Return the address with an interned host: behind a proxy, thousands of connections have the same one."""
    if isinstance(address, tuple) and type(address[0]) is str:  # AF_VSOCK's are two ints, those of a Unix socket a str
        return (intern(address[0]), *address[1:])
    return address
