"""A raw peer that speaks WebSocket over TLS, and ends either of them, or TCP, as a test tells it to.

TLS is processed in memory, so that nothing is sent or received without the test, not even the answer to a close_notify.
Below it is a plain non-blocking socket.
"""

from __future__ import annotations

import asyncio
import base64
import ctypes
import os
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.faults.passage import Ending
from tests.raw import CLOSE, Frame, accept, close_payload, encode


class TLSPeer:
    """One end of a connection.

    Args:
        socket: a connected socket.
        context: the TLS context; None without TLS, see tcp_peer.py.
        is_server: True if the peer is a server.

    Attributes:
        head: the head of the request, or of the response, that was received.
        notified: True if the other end has sent a close_notify.
        ending: the way in which the other end has ended TCP; None until that was read.
    """

    def __init__(self, socket: sockets.socket, context: ssl.SSLContext | None, *, is_server: bool) -> None:
        socket.setblocking(False)
        if socket.family in (sockets.AF_INET, sockets.AF_INET6):
            socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self.socket = socket
        self.head = b""
        self.notified = False
        self.ending: Ending | None = None
        self._is_server = is_server
        self._unread = bytearray()
        if context is None:
            return
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=is_server, server_hostname=None if is_server else "localhost"
        )

    # WebSocket.

    async def open(self, target: str = "/", extension: str = "") -> None:
        """Perform the opening handshake; ``extension`` is the extension to offer or to agree to."""
        headers = [f"Sec-WebSocket-Extensions: {extension}"] if extension else []
        if self._is_server:
            self.head = await self._read_head()
            await self.send(accept(self.head, *headers))
            return
        key = base64.b64encode(os.urandom(16)).decode()
        name = self.socket.getpeername()
        lines = [
            f"GET {target} HTTP/1.1",
            "Host: localhost" if isinstance(name, str) else f"Host: localhost:{name[1]}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        await self.send("\r\n".join([*lines, "", ""]).encode())
        self.head = await self._read_head()

    async def send_frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Send a frame."""
        await self.send(encode(opcode, payload, fin=fin, rsv=rsv, masked=not self._is_server))

    async def send_close(self, code: int, reason: str = "") -> None:
        """Send a Close frame."""
        await self.send_frame(CLOSE, close_payload(code, reason))

    async def frame(self) -> Frame:
        """Read a frame.

        Raises:
            EOFError: TLS or TCP ended before the end of the frame.
        """
        first, second = await self._exactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self._exactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self._exactly(8), "big")
        mask = await self._exactly(4) if second & 0x80 else bytes(4)
        payload = int.from_bytes(await self._exactly(size), "big")
        mask = (mask * (size // 4 + 1))[:size]
        return Frame(first & 15, (payload ^ int.from_bytes(mask, "big")).to_bytes(size, "big"), first & 0x80 != 0)

    # TLS.

    async def shake_hands(self) -> None:
        """Perform the TLS handshake."""
        await self._run(self._tls.do_handshake)

    async def send(self, data: bytes) -> None:
        """Send bytes, in records of at most 16 KiB."""
        for start in range(0, len(data), 1 << 14):
            self._tls.write(data[start : start + (1 << 14)])
            await self._flush()

    async def send_torn(self, data: bytes) -> None:
        """Send one half of a record with the bytes."""
        self._tls.write(data)
        record = self._outgoing.read()
        await self.send_below(record[: len(record) // 2])

    async def notify(self) -> None:
        """Send a close_notify, after which no more can be sent. TCP stays open, and nothing is read."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:  # the other end has not sent its close_notify
            pass
        await self._flush()

    async def update_keys(self, *, both: bool = True) -> None:
        """Send a KeyUpdate, and use new keys from now on; with ``both``, request that the other end does so, too."""
        _key_update(self._tls, both)
        await self._flush()

    async def read(self) -> bytes:
        """Read some bytes; b"" when the other end has ended TLS or TCP."""
        if not self._unread:
            return await self._decrypt()
        data = bytes(self._unread)
        self._unread.clear()
        return data

    async def rest(self) -> bytes:
        """Read until the other end has ended TLS or TCP; ``notified`` and ``ending`` tell which."""
        data = bytearray()
        while piece := await self.read():
            data += piece
        return bytes(data)

    # TCP.

    async def send_below(self, data: bytes) -> None:
        """Send bytes over TCP, without TLS."""
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def ended(self) -> Ending:
        """Drop input until the other end has ended TCP; return how."""
        while self.ending is None:
            await self._receive()
        return self.ending

    def finish(self) -> None:
        """Send a FIN; reading remains possible."""
        self.socket.shutdown(sockets.SHUT_WR)

    def close(self) -> None:
        """Close TCP: with a FIN, if everything that has arrived was read."""
        self.socket.close()

    def reset(self) -> None:
        """End TCP with a RST."""
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    async def _receive(self) -> bytes:
        try:
            data = await asyncio.get_running_loop().sock_recv(self.socket, 1 << 16)
        except ConnectionError:
            self.ending = "rst"
            return b""
        if not data:
            self.ending = "fin"
        return data

    async def _run(self, operation: Callable[[], Any]) -> Any:
        """Run an operation of TLS that may need input; return its result, or None if TCP ends before."""
        while True:
            try:
                result = operation()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await self._receive()
                if not data:
                    return None
                self._incoming.write(data)
            except ssl.SSLError:
                await self._flush()  # the alert
                raise
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if data := self._outgoing.read():
            await self.send_below(data)

    async def _decrypt(self) -> bytes:
        if self.notified or self.ending is not None:
            return b""
        try:
            data: bytes | None = await self._run(lambda: self._tls.read(1 << 16))
        except ssl.SSLZeroReturnError:  # if we have sent a close_notify, too
            data = b""
        self.notified = data == b""
        return data or b""

    async def _more(self) -> None:
        piece = await self._decrypt()
        if not piece:
            raise EOFError(f"the other end has ended after {bytes(self._unread)!r}")
        self._unread += piece

    def _take(self, size: int) -> bytes:
        taken = bytes(self._unread[:size])
        del self._unread[:size]
        return taken

    async def _exactly(self, size: int) -> bytes:
        while len(self._unread) < size:
            await self._more()
        return self._take(size)

    async def _read_head(self) -> bytes:
        while b"\r\n\r\n" not in self._unread:
            await self._more()
        return self._take(self._unread.index(b"\r\n\r\n") + 4)


class TLSServer:
    """Accepts connections for peers that are servers.

    Attributes:
        port: the port that it listens on.
        url: its URL.
    """

    def __init__(self, listener: sockets.socket, context: ssl.SSLContext | None) -> None:
        self._listener = listener
        self._context = context
        self._accepted: list[TLSPeer] = []
        self.port: int = listener.getsockname()[1]
        self.url = f"wss://localhost:{self.port}/"

    async def accept_tcp(self) -> TLSPeer:
        """Accept the next connection, without reading from it."""
        socket, _ = await asyncio.get_running_loop().sock_accept(self._listener)
        peer = TLSPeer(socket, self._context, is_server=True)
        self._accepted.append(peer)
        return peer

    async def accept(self, extension: str = "") -> TLSPeer:
        """Accept the next connection, and perform both handshakes."""
        peer = await self.accept_tcp()
        await peer.shake_hands()
        await peer.open(extension=extension)
        return peer

    def close(self) -> None:
        """Close the listener and all connections."""
        self._listener.close()
        for peer in self._accepted:
            peer.close()


@asynccontextmanager
async def tls_server(context: ssl.SSLContext | None = None) -> AsyncIterator[TLSServer]:
    """Listen on a free port; the test accepts the connections."""
    listener = sockets.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = TLSServer(listener, context or server_context())
    try:
        yield server
    finally:
        server.close()


@asynccontextmanager
async def tls_client(
    port: int, target: str = "/", context: ssl.SSLContext | None = None, extension: str = ""
) -> AsyncIterator[TLSPeer]:
    """Connect to a server, and perform both handshakes."""
    socket = sockets.socket()
    peer = TLSPeer(socket, context or client_context(), is_server=False)
    try:
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", port))
        await peer.shake_hands()
        await peer.open(target, extension)
        yield peer
    finally:
        peer.close()


def _key_update(tls: ssl.SSLObject, both: bool) -> None:
    """Call SSL_key_update(), which Python does not offer; skip the test if its OpenSSL cannot be called."""
    import _ssl

    inner = tls._sslobj  # type: ignore[attr-defined]
    library = ctypes.CDLL(getattr(_ssl, "__file__", None))
    if tls.version() != "TLSv1.3" or not hasattr(library, "SSL_key_update"):
        pytest.skip("there is no KeyUpdate: it needs TLS 1.3, and an OpenSSL that can be called from outside")
    # A PySSLSocket begins with a reference to its socket, which is NULL here, and the SSL pointer.
    socket, pointer = (ctypes.c_void_p * 2).from_address(id(inner) + object.__basicsize__)
    library.SSL_version.argtypes = library.SSL_do_handshake.argtypes = [ctypes.c_void_p]
    library.SSL_key_update.argtypes = [ctypes.c_void_p, ctypes.c_int]
    if socket is not None or pointer is None or library.SSL_version(pointer) != 0x0304:
        pytest.skip("there is no KeyUpdate: this Python keeps its SSL objects in another way")
    assert library.SSL_key_update(pointer, int(both)) == 1
    assert library.SSL_do_handshake(pointer) == 1
