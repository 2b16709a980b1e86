"""Where a row is played: one of our sockets, a client or a server on TCP or TLS, and a raw peer at its other end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from tests.certificates import client_context, server_context
from tests.endpoints import served
from tests.faults.invariants import Invariants
from tests.faults.tcp_peer import tcp_client, tcp_server
from tests.faults.tls_peer import TLSPeer, tls_client, tls_server
from wasclean import WebSocket, connect


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


@asynccontextmanager
async def pair(
    place: Place, invariants: Invariants | None = None, *, events: bool = False, **options: Any
) -> AsyncIterator[tuple[WebSocket, TLSPeer]]:
    """Our socket, open, and the peer.

    Args:
        place: where we are.
        invariants: watch the socket.
        events: whether our socket is to deliver events; otherwise it is a stream.
        options: of our end.
    """
    async with AsyncExitStack() as stack:
        if place.role == "client":
            server = await stack.enter_async_context(tls_server() if place.transport == "tls" else tcp_server())
            accepting = asyncio.ensure_future(server.accept())
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

            ours = await stack.enter_async_context(served(None if events else wait, **options))
            make = tls_client if place.transport == "tls" else tcp_client
            peer = await stack.enter_async_context(make(ours.server.port))
            socket = await ours.sockets.get()
        if invariants is not None:
            invariants.watch(socket)
        yield socket, peer


async def opened(socket: WebSocket) -> None:
    """Wait for the open event of a socket that delivers events."""
    done = asyncio.get_running_loop().create_future()
    socket.addEventListener("open", lambda event: done.set_result(None), once=True)
    await done
