"""Hostile clients: functions for one connection each, with raw sockets.

When the server ends the connection, they return or raise ConnectionError, and are called again.
"""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import Callable

from tests.raw import PING, TEXT, encode

KIB, MIB = 1 << 10, 1 << 20

HEAD = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
)
REQUEST = HEAD + b"\r\n"

#: A message of 1 MiB without its end.
NEARLY_A_MESSAGE = b"".join(
    encode(TEXT if i == 0 else 0, bytes(64 * KIB - 1), fin=False, masked=True) for i in range(16)
)

#: Limits the connections that are being opened: a SYN beyond the kernel's backlog would have to be retransmitted.
OPENING = asyncio.Semaphore(200)

#: Seconds after which a client that does not read can send no more.
STUCK = 1

#: A callback of a connection when its attack has begun.
Begun = Callable[[], object]


async def connected(port: int) -> sockets.socket:
    """Open a TCP connection."""
    socket = sockets.socket()
    socket.setblocking(False)
    async with OPENING:
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", port))
    return socket


async def opened(port: int, request: bytes = REQUEST) -> sockets.socket:
    """Open a TCP connection, and perform the opening handshake."""
    loop = asyncio.get_running_loop()
    socket = await connected(port)
    await loop.sock_sendall(socket, request)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = await loop.sock_recv(socket, 1)
        if not data:
            raise ConnectionAbortedError
        head += data
    assert head.startswith(b"HTTP/1.1 101 "), head
    return socket


async def hold(socket: sockets.socket) -> None:
    """Keep a connection open for ever."""
    await asyncio.Event().wait()
    socket.close()


async def wait_for_end(socket: sockets.socket) -> None:
    """Drop input until the server ends the connection."""
    with socket:
        while await asyncio.get_running_loop().sock_recv(socket, MIB):
            pass


async def flood(socket: sockets.socket, data: bytes, begun: Begun) -> None:
    """Send bytes as fast as possible, and drop input, until the server ends the connection."""
    flooding = asyncio.ensure_future(_send_without_end(socket, data))
    try:
        while await asyncio.get_running_loop().sock_recv(socket, MIB):
            begun()
    finally:
        flooding.cancel()
        await asyncio.wait([flooding])
        socket.close()


async def _send_without_end(socket: sockets.socket, data: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(socket, data)


async def unfinished_handshake(port: int, number: int, begun: Begun) -> None:
    """Send the first bytes of a request, or none, and keep the connection open."""
    socket = await connected(port)
    await asyncio.get_running_loop().sock_sendall(socket, REQUEST[: number % len(REQUEST)])
    begun()
    await hold(socket)


async def handshake_in_the_way(port: int, number: int, begun: Begun) -> None:
    """Send the first bytes of a request, or none, and wait until the server ends the connection."""
    socket = await connected(port)
    await asyncio.get_running_loop().sock_sendall(socket, REQUEST[: number % len(REQUEST)])
    begun()
    await wait_for_end(socket)


async def slowloris(port: int, number: int, begun: Begun) -> None:
    """Send an endless head byte by byte, until the server ends the connection."""
    loop = asyncio.get_running_loop()
    socket = await connected(port)
    answer = asyncio.ensure_future(loop.sock_recv(socket, KIB))
    sent = 0
    while not answer.done():
        await loop.sock_sendall(socket, (REQUEST[:-2] + b"X: y\r\n" * sent)[sent : sent + 1])
        sent += 1
        await asyncio.wait([answer], timeout=0.02)
    assert answer.result().startswith(b"HTTP/1.1 408 "), answer.result()
    socket.close()
    begun()


async def tiny_frames(port: int, number: int, begun: Begun) -> None:
    """Send messages of one byte as fast as possible, and drop input."""
    await flood(await opened(port), encode(TEXT, b"x", masked=True) * 10_000, begun)


async def pings(port: int, number: int, begun: Begun) -> None:
    """Send pings as fast as possible, and do not read."""
    many = encode(PING, masked=True) * 10_000
    socket = await opened(port)
    try:
        await asyncio.get_running_loop().sock_sendall(socket, many)
        begun()
        await _send_without_end(socket, many)
    finally:
        socket.close()


async def slow_reader(port: int, number: int, begun: Begun) -> None:
    """Request large messages, and do not read them."""
    socket = await opened(port)
    try:
        await asyncio.wait_for(_send_without_end(socket, encode(TEXT, bytes(16 * KIB), masked=True)), STUCK)
    except TimeoutError:
        begun()
        await hold(socket)


async def endless_fragments(port: int, number: int, begun: Begun) -> None:
    """Begin a message, and continue it with fragments of one byte until the server ends the connection."""
    socket = await opened(port)
    try:
        await asyncio.get_running_loop().sock_sendall(socket, encode(TEXT, b"x", fin=False, masked=True))
        await _send_without_end(socket, encode(0, b"x", fin=False, masked=True) * 1000)
    except ConnectionError:
        begun()
    finally:
        socket.close()


async def unfinished_message(port: int, number: int, begun: Begun) -> None:
    """Send a message of nearly the maximum size, without its end."""
    loop = asyncio.get_running_loop()
    socket = await opened(port)
    await loop.sock_sendall(socket, NEARLY_A_MESSAGE + encode(PING, masked=True))
    await loop.sock_recv(socket, 1)  # a pong: everything has arrived
    begun()
    await hold(socket)
