"""The interface of a peer, and connections between a peer and wasclean."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any

import wasclean
from tests.peers.scenarios import Act, Close, Seen

HOST = "127.0.0.1"


class End(ABC):
    """A peer's end of one connection.

    Attributes:
        subprotocol: the one in use, or empty.
    """

    subprotocol = ""

    @abstractmethod
    async def send(self, message: str | bytes, frames: int = 1) -> None:
        """Send a message, in ``frames`` frames if the peer supports fragments."""

    @abstractmethod
    async def recv(self) -> str | bytes:
        """Receive a message."""

    @abstractmethod
    async def ping(self) -> None:
        """Send a ping, and wait for its pong."""

    @abstractmethod
    async def close(self, code: int | None, reason: str) -> None:
        """Start the closing handshake, without waiting for its end."""

    @abstractmethod
    async def terminate(self) -> None:
        """End the connection without a handshake."""

    @abstractmethod
    async def closed(self) -> Seen:
        """Wait for the end."""


class Listening(ABC):
    """The server of a peer.

    Attributes:
        port: the port that it listens on.
    """

    port: int

    @abstractmethod
    async def accept(self) -> End:
        """Return its end of the next connection."""


class Peer(ABC):
    """Another implementation."""

    @abstractmethod
    def connect(self, url: str, subprotocols: Sequence[str]) -> AbstractAsyncContextManager[End]:
        """Connect to wasclean; free all resources at the end of the context."""

    def serve(self, subprotocols: Sequence[str]) -> AbstractAsyncContextManager[Listening]:
        """Start a server; free all resources at the end of the context."""
        raise NotImplementedError


class Ours:
    """Our end of the connection with a peer."""

    def __init__(
        self,
        socket: wasclean.WebSocket,
        server: wasclean.Server | None = None,
        handler: asyncio.Future[None] | None = None,
    ) -> None:
        self.socket = socket
        self._server = server
        self._handler = handler

    def act(self, act: Close | Act) -> None:
        """Perform the action of a scenario."""
        if isinstance(act, Close):
            self.socket.close(act.code, act.reason)
        elif act is Act.TERMINATE:
            self.socket.terminate()
        elif act is Act.SHUT_DOWN:
            assert self._server is not None
            self._server.close()
        else:
            assert self._handler is not None
            if act is Act.RAISE:
                self._handler.set_exception(RuntimeError("the handler's own"))
            else:
                self._handler.set_result(None)


class Gate:
    """A TCP relay that can hold bytes back, so that each end acts before it receives from the other."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._held = (asyncio.Event(), asyncio.Event())

    def hold(self) -> None:
        """Hold all bytes back from now on."""
        self._open.clear()

    async def release(self) -> None:
        """Wait until bytes of both directions are held back, and forward all of them."""
        for held in self._held:
            await held.wait()
        self._open.set()

    @asynccontextmanager
    async def to(self, port: int) -> AsyncIterator[int]:
        """Relay to a port; yield the port of the relay."""

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            relays.append(asyncio.current_task())
            far_reader, far_writer = await asyncio.open_connection(HOST, port)
            try:
                await asyncio.gather(
                    self._pump(reader, far_writer, self._held[0]),
                    self._pump(far_reader, writer, self._held[1]),
                )
            finally:
                for end in (far_writer, writer):
                    end.close()
                    await end.wait_closed()

        relays: list[Any] = []
        server = await asyncio.start_server(relay, HOST, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            await server.wait_closed()
            if relays:  # both ends have closed, and so do these
                await asyncio.wait(relays)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: asyncio.Event) -> None:
        while data := await reader.read(1 << 16):
            if not self._open.is_set():
                held.set()
                await self._open.wait()
            writer.write(data)
            await writer.drain()
        if not writer.is_closing():
            writer.write_eof()


async def gone(socket: wasclean.WebSocket) -> None:
    """Wait until TCP has ended, which may be after the close event, so that no test leaves a transport behind."""
    while socket.local_address is not None:
        await asyncio.sleep(0.001)


@asynccontextmanager
async def connected(
    peer: Peer,
    role: str,
    *,
    subprotocols: Sequence[str] = (),
    offered: Sequence[str] = (),
    gate: Gate | None = None,
    compression: wasclean.Deflate | None = None,
) -> AsyncIterator[tuple[Ours, End]]:
    """Both ends of a new connection with a peer.

    Args:
        peer: which.
        role: what the peer is: client or server.
        subprotocols: those of the server.
        offered: those of the client.
        gate: what the connection leads through.
        compression: our option.
    """
    async with AsyncExitStack() as stack:
        if role == "server":
            listening = await stack.enter_async_context(peer.serve(subprotocols))
            port = listening.port if gate is None else await stack.enter_async_context(gate.to(listening.port))
            async with wasclean.connect(f"ws://{HOST}:{port}/", offered, compression=compression) as socket:
                yield Ours(socket), await listening.accept()
            await gone(socket)
            return

        loop = asyncio.get_running_loop()
        arrived: asyncio.Future[wasclean.WebSocket] = loop.create_future()
        handler: asyncio.Future[None] = loop.create_future()

        async def handle(socket: wasclean.WebSocket) -> None:
            arrived.set_result(socket)
            await handler

        server = await stack.enter_async_context(
            wasclean.serve(handle, HOST, subprotocols=subprotocols, compression=compression)
        )
        port = server.port if gate is None else await stack.enter_async_context(gate.to(server.port))
        async with peer.connect(f"ws://{HOST}:{port}/", offered) as theirs:
            socket = await arrived
            yield Ours(socket, server, handler), theirs
        handler.cancel()
        await server.close()
        await gone(socket)
