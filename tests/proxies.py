"""Scripted proxies for tests, and checks of clients that use them."""

from __future__ import annotations

import asyncio
import os
import ssl
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.endpoints import Record, Served
from wasclean import CloseEvent, WebSocket, connect

Script = Callable[["Proxy", Reader, Writer], Awaitable[None]]
OK = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Proxy:
    """A proxy that runs a script for each connection.

    Attributes:
        port: the port that it listens on.
        asked: the heads of the requests, or a description of the SOCKS requests.
        target: the port that tunnels lead to, whatever the client has requested.
    """

    def __init__(self, script: Script, target: int) -> None:
        self.port = 0
        self.asked: list[bytes] = []
        self.target = target
        self._script = script
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: Reader, writer: Writer) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._script(self, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def forward(self, reader: Reader, writer: Writer) -> None:
        up, down = await asyncio.open_connection("127.0.0.1", self.target)

        async def copy(source: Reader, target: Writer) -> None:
            while data := await source.read(1 << 16):
                target.write(data)
                await target.drain()
            if target.can_write_eof():
                target.write_eof()
            else:
                target.close()

        try:
            await asyncio.gather(copy(reader, down), copy(up, writer))
        finally:
            down.transport.abort()

    async def stop(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks)


@asynccontextmanager
async def proxy_of(script: Script, target: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    proxy = Proxy(script, target)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=tls)
    proxy.port = listener.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.stop()


async def tunnel(proxy: Proxy, reader: Reader, writer: Writer) -> None:
    """A script: a normal HTTP proxy."""
    proxy.asked.append(await reader.readuntil(b"\r\n\r\n"))
    writer.write(OK)
    await proxy.forward(reader, writer)


async def socks(proxy: Proxy, reader: Reader, writer: Writer) -> None:
    """A script: a SOCKS proxy of version 4 (and 4A) or 5 (RFC 1928 and RFC 1929)."""
    version = (await reader.readexactly(1))[0]
    if version == 4:
        _, port, address = await reader.readexactly(1), await reader.readexactly(2), await reader.readexactly(4)
        user = (await reader.readuntil(b"\0"))[:-1]
        by_name = address[:3] == b"\0\0\0"
        host = (await reader.readuntil(b"\0"))[:-1] if by_name else b".".join(b"%d" % byte for byte in address)
        proxy.asked.append(b"4 %b %b" % (user, host))
        writer.write(b"\0\x5a" + port + address)
    else:
        methods = await reader.readexactly((await reader.readexactly(1))[0])
        user = b""
        if 2 in methods:
            writer.write(b"\x05\x02")
            await reader.readexactly(1)
            user = await reader.readexactly((await reader.readexactly(1))[0])
            user += b":" + await reader.readexactly((await reader.readexactly(1))[0])
            writer.write(b"\x01\x00")
        else:
            writer.write(b"\x05\x00")
        kind = (await reader.readexactly(4))[3]
        size = (await reader.readexactly(1))[0] if kind == 3 else 4 if kind == 1 else 16
        host = await reader.readexactly(size)
        if kind == 1:
            host = b".".join(b"%d" % byte for byte in host)
        await reader.readexactly(2)
        proxy.asked.append(b"5 %b %b" % (user, host))
        writer.write(b"\x05\x00\x00\x01" + bytes(6))
    await proxy.forward(reader, writer)


async def failed(url: str, **options: Any) -> CloseEvent:
    """Check that the proxy makes no connection, and return the close event of the client."""
    socket = WebSocket(url, **options)
    record = Record(socket)
    event = await socket.wait_closed()
    assert record.types == ["error", "close"]
    assert (event.code, event.wasClean, event.cause, event.phase) == (1006, False, "proxy_failed", "proxy")
    assert event.exception is not None
    with pytest.raises(type(event.exception)):
        await connect(url, **options)
    for text in (str(event), event.explain(), repr(event), str(event.as_dict()), repr(record.events[0])):
        assert "secret" not in text
    return event


async def exchange(url: str, **options: Any) -> CloseEvent:
    """Have a large message echoed, close, and return the close event of the client."""
    message = os.urandom(300_000)
    socket = await connect(url, **options)
    await socket.send(message)
    assert await socket.recv() == message
    return await socket.close(1000)


def secure(server: Served) -> str:
    return f"wss://localhost:{server.server.port}/"
