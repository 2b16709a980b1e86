"""The raw peer of tls_peer.py, without TLS."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.faults.tls_peer import TLSPeer, TLSServer


class TCPPeer(TLSPeer):
    """One end of a connection, of plain TCP.

    Args:
        socket: a connected socket.
        is_server: True if the peer is a server.
    """

    def __init__(self, socket: sockets.socket, *, is_server: bool) -> None:
        super().__init__(socket, None, is_server=is_server)

    async def shake_hands(self) -> None:
        """Do nothing: there is no TLS."""

    async def notify(self) -> None:
        """Do nothing: there is no close_notify without TLS."""

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        await self.send_below(data)

    async def _decrypt(self) -> bytes:
        return await self._receive()


class TCPServer(TLSServer):
    """Accepts connections for peers that are servers."""

    def __init__(self, listener: sockets.socket) -> None:
        super().__init__(listener, None)
        self.url = f"ws://localhost:{self.port}/"

    async def accept_tcp(self) -> TLSPeer:
        """Accept the next connection, without reading from it."""
        socket, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        peer = TCPPeer(socket, is_server=True)
        self._accepted.append(peer)
        return peer


@asynccontextmanager
async def tcp_server() -> AsyncIterator[TCPServer]:
    """Listen on a free port; the test accepts the connections."""
    listener = sockets.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = TCPServer(listener)
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def tcp_client(port: int, target: str = "/", *, extension: str = "") -> AsyncIterator[TLSPeer]:
    """Connect to a server, and perform the opening handshake."""
    socket = sockets.socket()
    peer = TCPPeer(socket, is_server=False)
    try:
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", port))
        await peer.open(target, extension)
        yield peer
    finally:
        peer.close()
