"""PyPI's websockets as a peer: its asyncio implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from websockets.asyncio.client import connect
from websockets.asyncio.connection import Connection
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.peers.ends import HOST, End, Listening, Peer
from tests.peers.scenarios import Seen


class WebsocketsEnd(End):
    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._closing: asyncio.Task[None] | None = None
        self.subprotocol = connection.subprotocol or ""

    async def send(self, message: str | bytes, frames: int = 1) -> None:
        if frames == 1:
            await self._connection.send(message)
        else:
            step = -(-len(message) // frames)
            parts = [message[start : start + step] for start in range(0, len(message), step)]
            await self._connection.send(cast(Any, parts))

    async def recv(self) -> str | bytes:
        return await self._connection.recv()

    async def ping(self) -> None:
        await (await self._connection.ping())

    async def close(self, code: int | None, reason: str) -> None:
        # Its close() waits for the end; it takes None, though its annotation does not say so.
        self._closing = asyncio.create_task(self._connection.close(cast(Any, code), reason))

    async def terminate(self) -> None:
        self._connection.transport.abort()

    async def closed(self) -> Seen:
        if self._closing is not None:
            await self._closing
        await self._connection.wait_closed()
        code, ended = self._connection.close_code, self._connection.protocol.close_exc
        assert code is not None
        return Seen(code, self._connection.close_reason or "", ended.rcvd is not None and ended.sent is not None)


class WebsocketsServer(Listening):
    def __init__(self) -> None:
        self._arrived: asyncio.Queue[End] = asyncio.Queue()

    async def handle(self, connection: ServerConnection) -> None:
        self._arrived.put_nowait(WebsocketsEnd(connection))
        await connection.wait_closed()

    async def accept(self) -> End:
        return await self._arrived.get()


class Websockets(Peer):
    @asynccontextmanager
    async def connect(self, url: str, subprotocols: Sequence[str]) -> AsyncIterator[End]:
        names = [Subprotocol(name) for name in subprotocols]
        async with connect(url, subprotocols=names or None, proxy=None) as connection:
            yield WebsocketsEnd(connection)

    @asynccontextmanager
    async def serve(self, subprotocols: Sequence[str]) -> AsyncIterator[Listening]:
        listening = WebsocketsServer()
        names = [Subprotocol(name) for name in subprotocols]
        async with serve(listening.handle, HOST, 0, subprotocols=names or None) as server:
            listening.port = next(iter(server.sockets)).getsockname()[1]
            yield listening
