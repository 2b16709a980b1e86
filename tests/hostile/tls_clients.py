"""Hostile clients of a server with TLS; see clients.py."""

from __future__ import annotations

import asyncio
import socket as sockets
import ssl
from random import Random

from tests.hostile.clients import KIB, REQUEST, STUCK, Begun, connected, wait_for_end
from tests.raw import CLOSE, TEXT, close_payload, encode

#: A context that accepts every certificate.
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
CONTEXT.check_hostname = False
CONTEXT.verify_mode = ssl.CERT_NONE


def hello() -> bytes:
    """Return a ClientHello."""
    outgoing = ssl.MemoryBIO()
    try:
        CONTEXT.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


HELLO = hello()


async def unfinished_tls(port: int, number: int, begun: Begun) -> None:
    """Send the first bytes of a ClientHello, all of it, or none, and wait until the server ends the connection."""
    socket = await connected(port)
    await asyncio.get_running_loop().sock_sendall(socket, HELLO[: number % (len(HELLO) + 1)])
    begun()
    await wait_for_end(socket)


async def slow_tls(port: int, number: int, begun: Begun) -> None:
    """Send a ClientHello byte by byte, until the server ends the connection."""
    loop = asyncio.get_running_loop()
    socket = await connected(port)
    end = asyncio.ensure_future(wait_for_end(socket))
    for i in range(len(HELLO)):
        if end.done():
            break
        await loop.sock_sendall(socket, HELLO[i : i + 1])
        await asyncio.wait([end], timeout=0.02)
    begun()
    await end


async def no_tls(port: int, number: int, begun: Begun) -> None:
    """Send data that are not TLS, from the first or second byte on, and wait until the server ends the connection."""
    noise = Random(number).randbytes(KIB)
    socket = await connected(port)
    await asyncio.get_running_loop().sock_sendall(socket, noise if number % 2 else HELLO[:1] + noise)
    try:
        await wait_for_end(socket)
    finally:
        begun()


async def unread_farewell(port: int, number: int, begun: Begun) -> None:
    """Request large messages, read none, and send a Close frame (or not) and a close_notify, but do not end TCP."""
    with await connected(port) as socket:
        tls = Secured(socket)
        await tls.shake_hands()
        await tls.send(REQUEST)
        for _ in range(16):
            await tls.send(encode(TEXT, bytes(16 * KIB), masked=True))
        if number % 2:
            await tls.send(encode(CLOSE, close_payload(1000), masked=True))
        await tls.notify()
        begun()
        await asyncio.sleep(STUCK)


class Secured:
    """TLS in memory on a connection, so that nothing is read without the test."""

    def __init__(self, socket: sockets.socket) -> None:
        self._socket = socket
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = CONTEXT.wrap_bio(self._incoming, self._outgoing)

    async def shake_hands(self) -> None:
        """Perform the TLS handshake."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                data = await asyncio.get_running_loop().sock_recv(self._socket, 16 * KIB)
                if not data:
                    raise ConnectionAbortedError from None
                self._incoming.write(data)
            else:
                await self._flush()
                return

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self._tls.write(data)
        await self._flush()

    async def notify(self) -> None:
        """Send a close_notify, and do not wait for one."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            await self._flush()

    async def _flush(self) -> None:
        await asyncio.get_running_loop().sock_sendall(self._socket, self._outgoing.read())
