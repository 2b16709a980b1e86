"""The setting of a row: a wasclean client or server, on TCP or TLS, connected to a raw peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any, NamedTuple

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import opened, served
from tests.faults.invariants import Invariants
from tests.faults.tcp_peer import tcp_client, tcp_server
from tests.faults.tls_peer import TLSPeer, tls_client, tls_server
from tests.raw import CLOSE, Frame, close_payload
from wasclean import CloseEvent, ConnectionClosed, WebSocket, connect
from wasclean.aio import driver, server
from wasclean.closing.table import TIMEOUTS, State


class Place(NamedTuple):
    """The role and the transport of our end.

    Attributes:
        role: ``client`` or ``server``.
        transport: ``tcp`` or ``tls``.
    """

    role: str
    transport: str

    def __str__(self) -> str:
        return f"{self.role}-{self.transport}"


PLACES = [Place(role, transport) for role in ("client", "server") for transport in ("tcp", "tls")]
ON_TCP = [place for place in PLACES if place.transport == "tcp"]
ON_TLS = [place for place in PLACES if place.transport == "tls"]

everywhere = pytest.mark.parametrize("place", PLACES, ids=str)
on_tcp = pytest.mark.parametrize("place", ON_TCP, ids=str)
on_tls = pytest.mark.parametrize("place", ON_TLS, ids=str)
on_clients = pytest.mark.parametrize("place", [place for place in PLACES if place.role == "client"], ids=str)
on_servers = pytest.mark.parametrize("place", [place for place in PLACES if place.role == "server"], ids=str)


@asynccontextmanager
async def pair(
    place: Place,
    invariants: Invariants | None = None,
    *,
    events: bool = False,
    handler: Any = None,
    extension: str = "",
    **options: Any,
) -> AsyncIterator[tuple[WebSocket, TLSPeer]]:
    """Open a connection; yield our socket and the peer.

    Args:
        place: the role and the transport of our end.
        invariants: watches our socket, if given.
        events: True if our socket delivers events, False if it is a stream.
        handler: the handler of our server; by default it waits for the end.
        extension: the extension that the peer offers or agrees to.
        options: options of our end.
    """
    async with AsyncExitStack() as stack:
        if place.role == "client":
            server = await stack.enter_async_context(tls_server() if place.transport == "tls" else tcp_server())
            accepting = asyncio.ensure_future(server.accept(extension))
            if place.transport == "tls":
                options["ssl"] = client_context()
            if events:
                socket = WebSocket(server.url, **options)
                await opened(socket)
            else:
                socket = await connect(server.url, **options)
            peer = await accepting
        else:
            if place.transport == "tls":
                options["ssl"] = server_context()

            async def wait(socket: WebSocket) -> None:
                await socket.wait_closed()

            ours = await stack.enter_async_context(served(None if events else handler or wait, **options))
            make = tls_client if place.transport == "tls" else tcp_client
            peer = await stack.enter_async_context(make(ours.server.port, extension=extension))
            socket = await ours.sockets.get()
        if invariants is not None:
            invariants.watch(socket)
        yield socket, peer


async def end_tcp(place: Place, peer: TLSPeer) -> None:
    """End TCP in the order of RFC 6455 section 7.1.1, the server first; we must send no more data, and no reset."""
    if place.role == "client":
        await peer.notify()
        peer.finish()
    await we_end_tcp(peer)


async def we_end_tcp(peer: TLSPeer) -> None:
    """Wait until we have ended TCP, without more data or a reset; then end the peer's direction, if it is open."""
    assert await peer.rest() == b""
    await peer.notify()
    assert await peer.ended() == "fin"
    peer.close()


async def peer_answers(place: Place, peer: TLSPeer, code: int, reason: str = "") -> None:
    """After our close(): receive our Close frame next, answer it with the same content, and end TCP."""
    assert await peer.frame() == Frame(CLOSE, close_payload(code, reason))
    await peer.send_close(code, reason)
    await end_tcp(place, peer)


async def we_answer(place: Place, peer: TLSPeer, code: int, reason: str = "") -> None:
    """After the peer's Close frame: receive our answer with the same content next, and end TCP."""
    assert await peer.frame() == Frame(CLOSE, close_payload(code, reason))
    await end_tcp(place, peer)


async def we_fail(socket: WebSocket, peer: TLSPeer, code: int) -> CloseEvent:
    """After an error of the peer: receive our Close frame with its code next, and end TCP; return our close event."""
    event = await socket.wait_closed()
    assert event.sent is not None
    assert event.sent.code == code
    assert await closed_error(socket.recv()) is event
    frame = await peer.frame()
    assert (frame.opcode, frame.payload[:2]) == (CLOSE, close_payload(code))
    await we_end_tcp(peer)
    return event


async def all_of(socket: WebSocket) -> tuple[list[Any], CloseEvent]:
    """Read a stream to its end; return the messages and the close event."""
    received: list[Any] = []
    with suppress(ConnectionClosed):
        async for message in socket:
            received.append(message)
    return received, await socket.wait_closed()


async def closed_error(waiting: Awaitable[object]) -> CloseEvent | None:
    """Await something that must raise ConnectionClosed; return the event of the exception."""
    try:
        await waiting
    except ConnectionClosed as error:
        error.__traceback__ = None  # breaks a cycle: traceback, this frame, the awaitable, the exception
        return error.event
    raise AssertionError("it did not raise ConnectionClosed")


class Clock:
    """The clock of the running asyncio loop, which a test can advance. uvloop's cannot be replaced.

    For the loop, and everything in it, advancing the clock is the same as having been blocked.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._ahead = 0.0
        loop.time = self  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self._time() + self._ahead

    def go_on(self, seconds: float) -> None:
        """Advance the clock."""
        self._ahead += seconds


def set_linger(monkeypatch: pytest.MonkeyPatch, seconds: float) -> float:
    """Set the time that the peer has to end TCP, normally two seconds; return it."""
    for module in (driver, server):
        monkeypatch.setattr(module, "LINGER", seconds)
    for state in (State.CLOSE_EXCHANGED, State.FAILING):
        monkeypatch.setitem(TIMEOUTS, state, seconds)
    return seconds
