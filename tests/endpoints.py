"""Helpers for tests of sockets: servers, a record of events, turns of the event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from wasclean import CloseEvent, Event, Server, WebSocket, connect, serve


class Record:
    """Records the events of a socket.

    Attributes:
        events: all events, in order.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.events: list[Any] = []
        for name in ("open", "message", "error", "close"):
            socket.addEventListener(name, self.events.append)

    @property
    def types(self) -> list[str]:
        """The types of the events."""
        return [event.type for event in self.events]

    @property
    def messages(self) -> list[Any]:
        """The data of the message events."""
        return [event.data for event in self.events if event.type == "message"]

    @property
    def close(self) -> CloseEvent:
        """The close event; there must be exactly one."""
        (event,) = [event for event in self.events if event.type == "close"]
        assert isinstance(event, CloseEvent)
        return event


async def opened(socket: WebSocket) -> WebSocket:
    """Wait until a socket is open."""
    if socket.readyState == WebSocket.CONNECTING:
        done: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        socket.addEventListener("open", done.set_result, once=True)
        await done
    return socket


async def echo(socket: WebSocket) -> None:
    """A handler that sends back what it receives."""
    async for message in socket:
        await socket.send(message)


async def failed_by_tls(url: str, **options: Any) -> CloseEvent:
    """Check that TLS with the server fails, and return the close event of the client."""
    with pytest.raises(ssl.SSLError):
        await connect(url, **options)
    socket = WebSocket(url, **options)
    record = Record(socket)
    event = await socket.wait_closed()
    assert record.types == ["error", "close"]
    assert isinstance(record.events[0].error, ssl.SSLError)
    assert (event.code, event.reason, event.wasClean, event.initiator) == (1015, "", False, "network")
    assert (event.sent, event.received) == (None, None)
    return event


class Served:
    """A server.

    Attributes:
        sockets: the sockets of its connections, in order.
        server: the Server.
        url: its URL.
    """

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[WebSocket] = asyncio.Queue()
        self.server: Server
        self.url = ""


@asynccontextmanager
async def served(handler: Any = None, **options: Any) -> AsyncIterator[Served]:
    """Run a server on a free port; by default its sockets have no listeners until a test adds some."""
    served = Served()

    def handle(socket: WebSocket) -> Any:
        served.sockets.put_nowait(socket)
        return None if handler is None else handler(socket)

    async with serve(handle, "127.0.0.1", 0, **options) as server:
        served.server = server
        served.url = f"ws://127.0.0.1:{server.port}/"
        yield served


async def turn(times: int = 3) -> None:
    """Run the event loop for a number of turns."""
    for _ in range(times):
        await asyncio.sleep(0)


async def pause(times: int = 25) -> None:
    """Let the event loop check for input a number of times, every 2 ms. Unlike a sleep, this counts turns, not time."""
    for _ in range(times):
        await asyncio.sleep(0.002)


async def until_full(socket: WebSocket, message: Any = bytes(1 << 20), times: int = 100) -> int:
    """Send until an awaited send() waits; return the number of messages, including the last, which waits."""
    for count in range(1, times):
        sending = asyncio.ensure_future(awaited(socket.send(message)))
        await pause()
        if not sending.done():
            sending.cancel()
            return count
    raise AssertionError("no send() waits")


async def awaited(awaitable: Awaitable[Any]) -> Any:
    """Return a coroutine for an awaitable, so that a task can be made of it."""
    return await awaitable
