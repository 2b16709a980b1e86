"""Makes TCP connections and connections to Unix sockets."""

from __future__ import annotations

from asyncio import AbstractEventLoop, sleep
from collections.abc import Callable, Sequence
from errno import EAGAIN
from socket import SOCK_STREAM
from socket import socket as Socket  # noqa: N812 - here a socket is a WebSocket
from typing import Any

from .resolver import AddrInfo

#: Seconds after which the next address of a host is tried beside those before (RFC 8305 section 5).
HAPPY_EYEBALLS_DELAY = 0.25

#: Seconds before the first and, as it doubles each time, before a late attempt to enter a full backlog.
FIRST_RETRY, LAST_RETRY = 0.001, 0.05


async def dial(loop: AbstractEventLoop, addresses: Sequence[AddrInfo], note: Callable[[str], object]) -> Any:
    """Return a TCP connection to the first address that accepts one (Happy Eyeballs, RFC 8305).

    Args:
        loop: the running one.
        addresses: as the resolver gives them.
        note: called with the error of each address that fails while others are tried.

    Raises:
        OSError: no address accepts a connection.
    """
    from aiohappyeyeballs import start_connection

    noting: Any = _NotingLoop(loop, note)
    try:
        return await start_connection(addresses, happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY, loop=noting)
    except RuntimeError as error:  # uvloop raises it in place of an OSError
        raise OSError(str(error)) from error


class _NotingLoop:
    """An event loop for start_connection() that passes the error of each connection attempt to ``note``."""

    __slots__ = ("_loop", "_note")

    def __init__(self, loop: AbstractEventLoop, note: Callable[[str], object]) -> None:
        self._loop = loop
        self._note = note

    async def sock_connect(self, connection: Socket, address: Any) -> None:
        """Connect, and note a failure."""
        try:
            await self._loop.sock_connect(connection, address)
        except OSError as error:
            self._note(str(error))
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)


async def dial_path(loop: AbstractEventLoop, path: str, note: Callable[[str], object]) -> Socket:
    """Return a connection to a Unix socket.

    Args:
        loop: the running one.
        path: of the socket, or an abstract name, which begins with NUL.
        note: called with a text if the server's backlog is full.

    Raises:
        OSError: the socket can't be connected to; ``filename`` is the path.
    """
    from socket import AF_UNIX  # not every system has it

    connection = Socket(AF_UNIX, SOCK_STREAM)
    connection.setblocking(False)
    try:
        await _connect_to_path(loop, connection, path, note)
    except BaseException as error:
        connection.close()
        if isinstance(error, OSError):
            error.filename = path
        raise
    return connection


async def _connect_to_path(
    loop: AbstractEventLoop, connection: Socket, path: str, note: Callable[[str], object]
) -> None:
    """Connect a Unix socket, and wait while the server's backlog is full, as a blocking connect(2) does.

    EAGAIN means that the backlog is full. The kernel does not tell when there is room again, so this asks again.
    EINPROGRESS is something else: loop.sock_connect() waits for that.
    """
    delay = FIRST_RETRY
    while True:
        try:
            connection.connect(path)
            return
        except BlockingIOError as error:
            if error.errno != EAGAIN:
                await loop.sock_connect(connection, path)
                return
        note("the backlog of the Unix socket was full")
        await sleep(delay)
        delay = min(2 * delay, LAST_RETRY)
