"""What the tests of sockets share: servers that echo, and a record of events."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from wasclean import CloseEvent, Event, Server, WebSocket, connect, serve


class Record:
    """Writes down a socket's events, in order.

    Attributes:
        events: all of them.
    """

    def __init__(self, socket: WebSocket) -> None:
        self.socket = socket
        self.events: list[Any] = []
        for name in ("open", "message", "error", "close"):
            socket.addEventListener(name, self.events.append)

    @property
    def types(self) -> list[str]:
        """The events' types."""
        return [event.type for event in self.events]

    @property
    def messages(self) -> list[Any]:
        """The messages' data."""
        return [event.data for event in self.events if event.type == "message"]

    @property
    def close(self) -> CloseEvent:
        """The one close event."""
        (event,) = [event for event in self.events if event.type == "close"]
        assert isinstance(event, CloseEvent)
        return event


async def opened(socket: WebSocket) -> WebSocket:
    """Wait for the open event of a socket that delivers events."""
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
    """What a client says that can't open the URL because of TLS."""
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
    """A server, and the sockets and close events that it has seen.

    Attributes:
        url: where it is.
        sockets: its sockets, in order of arrival.
    """

    def __init__(self) -> None:
        self.sockets: asyncio.Queue[WebSocket] = asyncio.Queue()
        self.server: Server
        self.url = ""


@asynccontextmanager
async def served(handler: Any = None, **options: Any) -> AsyncIterator[Served]:
    """A server on a free port; by default its sockets deliver events to nobody until a test adds listeners."""
    served = Served()

    def handle(socket: WebSocket) -> Any:
        served.sockets.put_nowait(socket)
        return None if handler is None else handler(socket)

    async with serve(handle, "127.0.0.1", 0, **options) as server:
        served.server = server
        served.url = f"ws://127.0.0.1:{server.port}/"
        yield served


async def turn(times: int = 3) -> None:
    """Let the loop go round."""
    for _ in range(times):
        await asyncio.sleep(0)


async def pause(times: int = 25) -> None:
    """Let the loop look so many times for what has arrived, every 2 ms: if the machine stalls, that is no pause."""
    for _ in range(times):
        await asyncio.sleep(0.002)


async def until_full(socket: WebSocket, message: Any = bytes(1 << 20), times: int = 100) -> int:
    """Send until nothing more is taken; returns how many messages that took, the last of which waits."""
    for count in range(1, times):
        sending = asyncio.ensure_future(awaited(socket.send(message)))
        await pause()
        if not sending.done():
            sending.cancel()
            return count
    raise AssertionError("all is taken")


async def awaited(awaitable: Awaitable[Any]) -> Any:
    """A coroutine of what can only be awaited, for what makes a task of it."""
    return await awaitable
