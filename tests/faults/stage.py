"""Where a row is played: one of our sockets, a client or a server on TCP or TLS, and a raw peer at its other end."""

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
from wasclean.aio import server, transport
from wasclean.closing.table import TIMEOUTS, State


class Place(NamedTuple):
    """Which end we are, on what.

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
    """Our socket, open, and the peer.

    Args:
        place: where we are.
        invariants: watch the socket.
        events: whether our socket is to deliver events; otherwise it is a stream.
        handler: of our server, instead of one that waits for the end.
        extension: what the peer offers, or agrees to.
        options: of our end.
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
    """End TCP in the order of RFC 6455 section 7.1.1, the server first; from us nothing more may come, and no reset."""
    if place.role == "client":
        await peer.notify()
        peer.finish()
    await we_end_tcp(peer)


async def we_end_tcp(peer: TLSPeer) -> None:
    """We end TCP, whichever end we are, and then the peer, unless it has before; nothing more comes, and no reset."""
    assert await peer.rest() == b""
    await peer.notify()
    assert await peer.ended() == "fin"
    peer.close()


async def peer_answers(place: Place, peer: TLSPeer, code: int, reason: str = "") -> None:
    """We have closed: the next that the peer gets is our Close frame; it answers with the same, and TCP ends."""
    assert await peer.frame() == Frame(CLOSE, close_payload(code, reason))
    await peer.send_close(code, reason)
    await end_tcp(place, peer)


async def we_answer(place: Place, peer: TLSPeer, code: int, reason: str = "") -> None:
    """The peer has closed: the next that it gets is the same Close frame, and TCP ends."""
    assert await peer.frame() == Frame(CLOSE, close_payload(code, reason))
    await end_tcp(place, peer)


async def we_fail(socket: WebSocket, peer: TLSPeer, code: int) -> CloseEvent:
    """The next that the peer gets is our Close frame with a code for its fault, and we end TCP; returns our event."""
    event = await socket.wait_closed()
    assert event.sent is not None
    assert event.sent.code == code
    assert await closed_error(socket.recv()) is event
    frame = await peer.frame()
    assert (frame.opcode, frame.payload[:2]) == (CLOSE, close_payload(code))
    await we_end_tcp(peer)
    return event


async def all_of(socket: WebSocket) -> tuple[list[Any], CloseEvent]:
    """What a stream gives until it ends, and its end."""
    received: list[Any] = []
    with suppress(ConnectionClosed):
        async for message in socket:
            received.append(message)
    return received, await socket.wait_closed()


async def closed_error(waiting: Awaitable[object]) -> CloseEvent | None:
    """Wait for what raises ConnectionClosed; returns the event of the exception."""
    try:
        await waiting
    except ConnectionClosed as error:
        error.__traceback__ = None  # it has this frame, which has what was awaited, which may have the exception
        return error.event
    raise AssertionError("it did not raise ConnectionClosed")


class Clock:
    """The clock of asyncio's loop, which runs now; uvloop has one of its own. A test may put it forward.

    To the loop, and to all that runs in it, that is as if somebody had blocked it.
    """

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._time = loop.time
        self._ahead = 0.0
        loop.time = self  # type: ignore[method-assign]

    def __call__(self) -> float:
        return self._time() + self._ahead

    def go_on(self, seconds: float) -> None:
        """Let so many seconds pass."""
        self._ahead += seconds


def set_linger(monkeypatch: pytest.MonkeyPatch, seconds: float) -> float:
    """Let the peer have so much time to end TCP, and not two seconds; returns how much."""
    for module in (transport, server):
        monkeypatch.setattr(module, "LINGER", seconds)
    for state in (State.CLOSE_EXCHANGED, State.FAILING):
        monkeypatch.setitem(TIMEOUTS, state, seconds)
    return seconds
