"""Accepting connections that are read and written by ourselves."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM
from os import dup
from socket import SOCK_STREAM, socket
from sys import intern
from typing import Any

from . import kernel
from .plain import PlainTransport
from .poller import Poller, join
from .transport import Stream

#: Seconds without accepting, after there was no descriptor or no memory for a connection.
RETRY = 1.0

_SCARCE = (EMFILE, ENFILE, ENOBUFS, ENOMEM)


class Listener:
    """What a server of the loop's is, where there is an epoll.

    Args:
        loop: the running one.
        server: bound to its addresses by the loop's create_server() or create_unix_server(), and not serving.
        factory: makes the stream of a new connection.
        backlog: connections that may wait to be accepted, and that are accepted at once.

    Raises:
        OSError: an address can't be listened on.
    """

    def __init__(self, loop: AbstractEventLoop, server: Any, factory: Callable[[], Stream], backlog: int) -> None:
        self._loop = loop
        self._server = server
        self._factory = factory
        self._backlog = backlog
        self._listening: list[socket] = []
        self._poller: Poller | None = join(loop)  # now, for there may be no descriptor for it later
        try:
            for bound in server.sockets:
                listening = socket(fileno=dup(bound.fileno()))  # our own: a loop may think that the other is its
                self._listening.append(listening)
                listening.setblocking(False)
                kernel.send_soon(listening)  # for those that it accepts: two calls of the system less for each
                listening.listen(backlog)
                self._watch(listening)
        except BaseException:
            self.close()
            raise

    @property
    def sockets(self) -> Any:
        """The listening sockets; none any more once it is closed."""
        return self._server.sockets

    def close(self) -> None:
        """Accept no connections any more."""
        for listening in self._listening:
            self._loop.remove_reader(listening.fileno())
            listening.close()
        self._listening.clear()
        self._server.close()
        poller, self._poller = self._poller, None
        if poller is not None:
            poller.leave(self._loop)

    def _watch(self, listening: socket) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening.fileno(), self._accept, listening, listening.family)

    def _accept(self, listening: socket, family: int) -> None:
        poller = self._poller
        assert poller is not None
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
                self._begin(kernel.own(number, family, SOCK_STREAM, listening.proto), address, poller)
            except Exception as error:  # this connection ends, and no other
                self._loop.call_exception_handler(
                    {"message": "an accepted connection could not be served", "exception": error, "socket": listening}
                )

    def _begin(self, connection: socket, address: Any, poller: Poller) -> None:
        """Make a stream of a new connection, which is closed if that fails."""
        try:
            connection.setblocking(False)
            stream = self._factory()
            address = _shared(address)
        except BaseException:
            connection.close()
            raise
        PlainTransport(self._loop, connection, stream, address, poller.enter())


def _shared(address: Any) -> Any:
    """The address with a host that is shared with other connections: behind a proxy, thousands have the same."""
    if isinstance(address, tuple) and type(address[0]) is str:  # AF_VSOCK's are two ints, those of a Unix socket a str
        return (intern(address[0]), *address[1:])
    return address
