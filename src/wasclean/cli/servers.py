"""The servers of the demo: a server on localhost, and a proxy that inserts bytes."""

from __future__ import annotations

import asyncio
import socket as sockets
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from .. import CloseEvent, Server, WebSocket, serve
from ..options import Compression

#: The server's max_message_size, in bytes; small, so that the demo need not send much to exceed it.
MAX_MESSAGE_SIZE = 16 << 10


class Route:
    """A path of the demo's server, for one scenario.

    Attributes:
        port: the port of the server.
        path: the path.
        url: the URL of the path.
        present: the open sockets of the server on this path.
        server_event: a future for the close event of the first of them that closes.
    """

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.path = path
        self.url = f"ws://localhost:{port}{path}"
        self.present: set[WebSocket] = set()
        self.server_event: asyncio.Future[CloseEvent] = asyncio.get_running_loop().create_future()

    def watch(self, socket: WebSocket) -> None:
        """Add a socket of the server, and wait for its close event."""

        def closed(event: CloseEvent) -> None:
            self.present.discard(socket)
            if not self.server_event.done():
                self.server_event.set_result(event)

        self.present.add(socket)
        socket.addEventListener("close", closed)


#: The server's part of a scenario.
Handler = Callable[[Route, WebSocket], Awaitable[None]]


async def read_all(route: Route, socket: WebSocket) -> None:
    """A handler that reads messages and sends none."""
    async for _ in socket:
        pass


class DemoServer:
    """The server of the demo, which has a route for each scenario."""

    def __init__(self) -> None:
        self._routes: dict[str, tuple[Route, Handler]] = {}
        self.port = 0

    def add_route(self, path: str, handler: Handler) -> Route:
        """Add a route, or replace the one with this path."""
        route = Route(self.port, path)
        self._routes[path] = route, handler
        return route

    async def handle(self, socket: WebSocket) -> None:
        """Call the handler of the route; close a socket that has none."""
        if socket.url not in self._routes:
            return
        route, handler = self._routes[socket.url]
        route.watch(socket)
        await handler(route, socket)

    @asynccontextmanager
    async def opened(self, port: int) -> AsyncIterator[OSError | None]:
        """Listen on a port of localhost; if that fails, or the port is 0, on one that the system assigns.

        Yields:
            The reason why the port is another one; None if it is not, or if 0 was given.

        Raises:
            OSError: no port is available.
        """
        async with AsyncExitStack() as stack:
            problem = None
            try:
                server = await stack.enter_async_context(self._serve(port or free_port()))
            except OSError as error:
                problem = error
                server = await stack.enter_async_context(self._serve(free_port()))
            self.port = server.port
            yield problem

    def _serve(self, port: int) -> serve:
        return serve(self.handle, loopback_addresses(), port, max_message_size=MAX_MESSAGE_SIZE, close_timeout=1)


@asynccontextmanager
async def separate_server(route: Route, *, compression: Compression = "deflate") -> AsyncIterator[tuple[str, Server]]:
    """Start a server for one scenario only, which may close it; yield the URL and the server."""

    async def handle(socket: WebSocket) -> None:
        route.watch(socket)
        await read_all(route, socket)

    async with serve(handle, "127.0.0.1", 0, compression=compression) as server:
        yield f"ws://127.0.0.1:{server.port}{route.path}", server


class BrokenProxy:
    """A TCP proxy that can insert bytes into the stream from the client to the server.

    A WebSocket never breaks the rules of the protocol, so the scenarios need a proxy that does.

    Attributes:
        url: the URL of the route through the proxy, within ``async with``.
    """

    def __init__(self, route: Route) -> None:
        self.url = ""
        self._route = route
        self._server: asyncio.Server
        self._upstream: StreamWriter | None = None
        self._relaying: asyncio.Task[None] | None = None

    async def __aenter__(self) -> BrokenProxy:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{self._route.path}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._relaying is not None:
            await asyncio.wait([self._relaying])
        self._server.close()
        await self._server.wait_closed()

    def inject(self, data: bytes) -> None:
        """Send bytes to the server."""
        assert self._upstream is not None
        self._upstream.write(data)

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._relaying = asyncio.current_task()
        upstream_reader, self._upstream = await asyncio.open_connection("localhost", self._route.port)
        try:
            await asyncio.gather(_copy(reader, self._upstream), _copy(upstream_reader, writer))
        finally:
            self._upstream.close()
            writer.close()


async def _copy(reader: StreamReader, writer: StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:  # one connection has failed: close the other
        writer.close()


@contextmanager
def unused_port() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that is bound, and refuses connections."""
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def free_port() -> int:
    """Return a port that is free at the time of the call."""
    with unused_port() as port:
        return port


def loopback_addresses() -> list[str]:
    """Return the addresses of localhost that sockets can be bound to. A client may try any of them."""
    addresses = []
    for family, _, _, _, address in sockets.getaddrinfo("localhost", 0, type=sockets.SOCK_STREAM):
        try:
            with sockets.socket(family, sockets.SOCK_STREAM) as socket:
                socket.bind(address)
        except OSError:  # such as ::1 if IPv6 is disabled
            continue
        addresses.append(str(address[0]))
    return addresses
