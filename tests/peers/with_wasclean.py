"""wasclean as its own peer: with listeners, as a page would use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import wasclean
from tests.peers.ends import HOST, End, Listening, Peer, gone
from tests.peers.scenarios import Seen


class OwnEnd(End):
    def __init__(self, socket: wasclean.WebSocket) -> None:
        loop = asyncio.get_running_loop()
        self.socket = socket
        self._messages: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._closed: asyncio.Future[Seen] = loop.create_future()
        self._opened: asyncio.Future[None] = loop.create_future()
        socket.onopen = lambda event: self._opened.set_result(None)
        socket.onmessage = lambda event: self._messages.put_nowait(event.data)
        socket.onclose = lambda event: self._closed.set_result(Seen(event.code, event.reason, event.wasClean))

    async def opened(self) -> None:
        await self._opened
        self.subprotocol = self.socket.protocol

    async def send(self, message: str | bytes, frames: int = 1) -> None:
        assert frames == 1
        self.socket.send(message)

    async def recv(self) -> str | bytes:
        return await self._messages.get()

    async def ping(self) -> None:
        await self.socket.ping()

    async def close(self, code: int | None, reason: str) -> None:
        self.socket.close(code, reason)

    async def terminate(self) -> None:
        self.socket.terminate()

    async def closed(self) -> Seen:
        return await self._closed


class OwnServer(Listening):
    def __init__(self) -> None:
        self._arrived: asyncio.Queue[End] = asyncio.Queue()
        self.sockets: list[wasclean.WebSocket] = []

    def handle(self, socket: wasclean.WebSocket) -> None:
        self.sockets.append(socket)
        end = OwnEnd(socket)
        end.subprotocol = socket.protocol
        self._arrived.put_nowait(end)

    async def accept(self) -> End:
        return await self._arrived.get()


class Wasclean(Peer):
    @asynccontextmanager
    async def connect(self, url: str, subprotocols: Sequence[str]) -> AsyncIterator[End]:
        end = OwnEnd(wasclean.WebSocket(url, subprotocols))
        await end.opened()
        try:
            yield end
        finally:
            await end.close(None, "")
            await end.closed()
            await gone(end.socket)

    @asynccontextmanager
    async def serve(self, subprotocols: Sequence[str]) -> AsyncIterator[Listening]:
        listening = OwnServer()
        async with wasclean.serve(listening.handle, HOST, subprotocols=subprotocols) as server:
            listening.port = server.port
            yield listening
        for socket in listening.sockets:
            await gone(socket)
