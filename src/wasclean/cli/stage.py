"""Where the demo's scenarios happen: a server on localhost, and a proxy that can break what passes through it."""

from __future__ import annotations

import asyncio
import socket as sockets
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from .. import CloseEvent, Server, WebSocket, serve
from ..options import Compression

#: The server's limit on a message, in bytes: small, so that the demo need not send much to exceed it.
MAX_MESSAGE_SIZE = 16 << 10


class Stage:
    """What one scenario has of the demo's server: its own path there.

    Attributes:
        port: the server's.
        url: the path's URL.
        present: the server's sockets on the path.
        server_event: the event of the one among them that closed first; done when there is one.
    """

    def __init__(self, port: int, path: str) -> None:
        self.port = port
        self.path = path
        self.url = f"ws://localhost:{port}{path}"
        self.present: set[WebSocket] = set()
        self.server_event: asyncio.Future[CloseEvent] = asyncio.get_running_loop().create_future()

    def watch(self, socket: WebSocket) -> None:
        """Note a socket of the server, and how it closes."""

        def closed(event: CloseEvent) -> None:
            self.present.discard(socket)
            if not self.server_event.done():
                self.server_event.set_result(event)

        self.present.add(socket)
        socket.addEventListener("close", closed)


#: What the server does with a socket of a scenario.
Handler = Callable[[Stage, WebSocket], Awaitable[None]]


async def read_all(stage: Stage, socket: WebSocket) -> None:
    """The handler of a server that only listens."""
    async for _ in socket:
        pass


class Theatre:
    """The demo's server: it has a stage for each path that somebody is to play on."""

    def __init__(self) -> None:
        self._stages: dict[str, tuple[Stage, Handler]] = {}
        self.port = 0

    def stage(self, path: str, handler: Handler) -> Stage:
        """Make the stage of a path."""
        stage = Stage(self.port, path)
        self._stages[path] = stage, handler
        return stage

    async def handle(self, socket: WebSocket) -> None:
        """The server's handler: do what the path is for."""
        if socket.url not in self._stages:
            return
        stage, handler = self._stages[socket.url]
        stage.watch(socket)
        await handler(stage, socket)

    @asynccontextmanager
    async def opened(self, port: int) -> AsyncIterator[OSError | None]:
        """Listen on the port of localhost, or on another one; yields why, if so. 0 lets the system choose.

        Raises:
            OSError: there is no port to listen on.
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
async def another_server(stage: Stage, *, compression: Compression = "deflate") -> AsyncIterator[tuple[str, Server]]:
    """A server of the scenario's own, which it may close; yields a URL of it, too."""

    async def handle(socket: WebSocket) -> None:
        stage.watch(socket)
        await read_all(stage, socket)

    async with serve(handle, "127.0.0.1", 0, compression=compression) as server:
        yield f"ws://127.0.0.1:{server.port}{stage.path}", server


class BrokenProxy:
    """A TCP proxy that adds bytes of its own to what the client says.

    A WebSocket keeps the rules whatever it is asked for, so somebody on the way has to break them.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._upstream: StreamWriter | None = None
        self._relaying: asyncio.Task[None] | None = None

    def inject(self, data: bytes) -> None:
        """Say the bytes to the server."""
        assert self._upstream is not None
        self._upstream.write(data)

    @classmethod
    @asynccontextmanager
    async def before(cls, stage: Stage) -> AsyncIterator[tuple[str, BrokenProxy]]:
        """A proxy before the stage's server; yields the URL through it, too."""
        proxy = cls(stage.port)
        server = await asyncio.start_server(proxy._relay, "127.0.0.1", 0)
        async with server:
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}{stage.path}", proxy
            if proxy._relaying is not None:
                await asyncio.wait([proxy._relaying])

    async def _relay(self, reader: StreamReader, writer: StreamWriter) -> None:
        self._relaying = asyncio.current_task()
        upstream_reader, self._upstream = await asyncio.open_connection("localhost", self._port)
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
    except OSError:  # one end has gone; so will the other
        writer.close()


@contextmanager
def dead_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is taken, and where nobody listens."""
    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


def free_port() -> int:
    """A port that the system assigns; it was free a moment ago."""
    with dead_port() as port:
        return port


def loopback_addresses() -> list[str]:
    """The addresses of localhost that this machine really has: all that a client may try for ``localhost``."""
    addresses = []
    for family, _, _, _, address in sockets.getaddrinfo("localhost", 0, type=sockets.SOCK_STREAM):
        try:
            with sockets.socket(family, sockets.SOCK_STREAM) as socket:
                socket.bind(address)
        except OSError:  # such as ::1 where IPv6 is switched off
            continue
        addresses.append(str(address[0]))
    return addresses
