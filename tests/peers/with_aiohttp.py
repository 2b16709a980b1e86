"""aiohttp as a peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from aiohttp import ClientSession, ClientWebSocketResponse, WSMsgType, web

from tests.peers.ends import HOST, End, Listening, Peer
from tests.peers.scenarios import Seen


class AiohttpEnd(End):
    def __init__(
        self, socket: ClientWebSocketResponse | web.WebSocketResponse, abort: Callable[[], Awaitable[None]]
    ) -> None:
        protocol = socket.ws_protocol if isinstance(socket, web.WebSocketResponse) else socket.protocol
        self.subprotocol = protocol or ""
        self._socket = socket
        self._abort = abort
        self._messages: asyncio.Queue[str | bytes] = asyncio.Queue()
        self._pong = asyncio.Event()
        self._reason = ""
        self._reading = asyncio.create_task(self._read())
        self._closing: asyncio.Task[bool] | None = None

    async def _read(self) -> None:
        while not self._socket.closed:
            message = await self._socket.receive()
            if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
                self._messages.put_nowait(message.data)
            elif message.type is WSMsgType.PING:  # autoping is off, because it would hide pongs
                await self._socket.pong(message.data)
            elif message.type is WSMsgType.PONG:
                self._pong.set()
            else:
                if message.type is WSMsgType.CLOSE:
                    self._reason = message.extra or ""
                return

    async def send(self, message: str | bytes, frames: int = 1) -> None:
        assert frames == 1
        if isinstance(message, str):
            await self._socket.send_str(message)
        else:
            await self._socket.send_bytes(message)

    async def recv(self) -> str | bytes:
        return await self._messages.get()

    async def ping(self) -> None:
        await self._socket.ping(b"?")
        await self._pong.wait()

    async def close(self, code: int | None, reason: str) -> None:
        # Its close() waits for the end.
        assert code is not None
        self._closing = asyncio.create_task(self._socket.close(code=code, message=reason.encode()))

    async def terminate(self) -> None:
        await self._abort()

    async def closed(self) -> Seen:
        await self._reading
        if self._closing is not None:
            await self._closing
        assert self._socket.close_code is not None
        return Seen(self._socket.close_code, self._reason, None)


class AiohttpServer(Listening):
    def __init__(self, subprotocols: Sequence[str]) -> None:
        self._arrived: asyncio.Queue[End] = asyncio.Queue()
        self._subprotocols = subprotocols

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(protocols=self._subprotocols, autoping=False)
        await socket.prepare(request)

        async def abort() -> None:
            assert request.transport is not None
            request.transport.abort()

        end = AiohttpEnd(socket, abort)
        self._arrived.put_nowait(end)
        await end.closed()
        return socket

    async def accept(self) -> End:
        return await self._arrived.get()


class Aiohttp(Peer):
    @asynccontextmanager
    async def connect(self, url: str, subprotocols: Sequence[str]) -> AsyncIterator[End]:
        async with ClientSession() as session:
            assert session.connector is not None
            async with session.ws_connect(url, protocols=subprotocols, autoping=False, compress=15) as socket:
                end = AiohttpEnd(socket, session.connector.close)
                yield end
                await socket.close()
                await end.closed()

    @asynccontextmanager
    async def serve(self, subprotocols: Sequence[str]) -> AsyncIterator[Listening]:
        listening = AiohttpServer(subprotocols)
        application = web.Application()
        application.router.add_get("/", listening.handle)
        runner = web.AppRunner(application, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0).start()
            listening.port = runner.addresses[0][1]
            yield listening
        finally:
            await runner.cleanup()
