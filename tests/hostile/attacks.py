"""Hostile clients, in a process of their own: ``python -m tests.hostile.attacks NUMBER PORT``.

The number is that of an attack in ATTACKS. It writes ``under way`` when it is on all its connections, and goes on until
it is killed.
"""

from __future__ import annotations

import asyncio
import resource
import socket as sockets
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from tests.wire import PING, TEXT, encode
from wasclean import compiled

KIB, MIB = 1 << 10, 1 << 20

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)

#: All but the end of a message of a mebibyte.
NEARLY_A_MESSAGE = b"".join(
    encode(TEXT if i == 0 else 0, bytes(64 * KIB - 1), fin=False, masked=True) for i in range(16)
)

#: Connections that may be opening at the same time: those beyond the kernel's backlog would have to be asked for again.
OPENING = asyncio.Semaphore(200)

#: Clients that flood at the same time. Each takes what a turn of the loop gives to a connection, 64 KiB of tiny frames,
#: and others wait for them all: on the pure build for a good part of a second each.
FLOODING = 5 if compiled else 1

#: Seconds after which who asks and never reads can't ask for more.
STUCK = 3

#: Called by each connection when it does what it is there for.
Begun = Callable[[], object]


class Attack(NamedTuple):
    """Clients that do something all at once, and what a server should make of that.

    Attributes:
        name: what they do, in words.
        client: does it on one connection, of a port and with a number, and then on the next one.
        connections: how many there are at the same time.
        options: of the server.
        memory: bytes that the server may need for it; several times what it does need.
    """

    name: str
    client: Callable[[int, int, Begun], Awaitable[None]]
    connections: int
    options: Mapping[str, Any]
    memory: int


def descriptors(wanted: int) -> int:
    """Allow as many open files as we may; gives the number of connections for which they suffice, at most wanted."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return wanted if hard == resource.RLIM_INFINITY else min(wanted, hard - 200)


# The raw clients. Where the server ends a connection, ConnectionError is raised, and another one is made.


async def _connected(port: int) -> sockets.socket:
    socket = sockets.socket()
    socket.setblocking(False)
    async with OPENING:
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", port))
    return socket


async def _opened(port: int) -> sockets.socket:
    loop = asyncio.get_running_loop()
    socket = await _connected(port)
    await loop.sock_sendall(socket, REQUEST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = await loop.sock_recv(socket, 1)
        if not data:
            raise ConnectionAbortedError
        head += data
    assert head.startswith(b"HTTP/1.1 101 "), head
    return socket


async def _send_without_end(socket: sockets.socket, data: bytes) -> None:
    while True:
        await asyncio.get_running_loop().sock_sendall(socket, data)


async def _hold(socket: sockets.socket) -> None:
    await asyncio.Event().wait()
    socket.close()


async def unfinished_handshake(port: int, number: int, begun: Begun) -> None:
    """Send some bytes of a request, or none, and no more."""
    socket = await _connected(port)
    await asyncio.get_running_loop().sock_sendall(socket, REQUEST[: number % len(REQUEST)])
    begun()
    await _hold(socket)


async def slowloris(port: int, number: int, begun: Begun) -> None:
    """Send a head that has no end byte by byte, until the server has had enough."""
    loop = asyncio.get_running_loop()
    socket = await _connected(port)
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
    """Send messages of one byte as fast as possible, and drop what comes back."""
    loop = asyncio.get_running_loop()
    socket = await _opened(port)
    flood = asyncio.ensure_future(_send_without_end(socket, encode(TEXT, b"x", masked=True) * 10_000))
    try:
        while await loop.sock_recv(socket, MIB):
            begun()
    finally:
        flood.cancel()
        await asyncio.wait([flood])
        socket.close()


async def pings(port: int, number: int, begun: Begun) -> None:
    """Send pings as fast as possible, and read nothing."""
    flood = encode(PING, masked=True) * 10_000
    socket = await _opened(port)
    try:
        await asyncio.get_running_loop().sock_sendall(socket, flood)
        begun()
        await _send_without_end(socket, flood)
    finally:
        socket.close()


async def slow_reader(port: int, number: int, begun: Begun) -> None:
    """Ask for large messages, and never read any."""
    socket = await _opened(port)
    try:
        await asyncio.wait_for(_send_without_end(socket, encode(TEXT, bytes(16 * KIB), masked=True)), STUCK)
    except TimeoutError:
        begun()
        await _hold(socket)


async def endless_fragments(port: int, number: int, begun: Begun) -> None:
    """Begin a message, and go on with it by single bytes until the server ends that."""
    socket = await _opened(port)
    try:
        await asyncio.get_running_loop().sock_sendall(socket, encode(TEXT, b"x", fin=False, masked=True))
        await _send_without_end(socket, encode(0, b"x", fin=False, masked=True) * 1000)
    except ConnectionError:
        begun()
    finally:
        socket.close()


async def unfinished_message(port: int, number: int, begun: Begun) -> None:
    """Send nearly as much of a message as a server takes, and never its end."""
    loop = asyncio.get_running_loop()
    socket = await _opened(port)
    await loop.sock_sendall(socket, NEARLY_A_MESSAGE + encode(PING, masked=True))
    await loop.sock_recv(socket, 1)  # a pong: all has arrived
    begun()
    await _hold(socket)


ATTACKS = [
    Attack(
        "handshakes that never finish",
        unfinished_handshake,
        10_000,
        {"max_handshakes": 20_000, "open_timeout": 60},
        100 * MIB,
    ),
    Attack("slowloris", slowloris, 500, {"open_timeout": 0.5}, 30 * MIB),
    Attack("tiny frames", tiny_frames, FLOODING, {}, 30 * MIB),
    Attack("tiny frames, limited", tiny_frames, FLOODING, {"max_messages_per_second": 1000}, 30 * MIB),
    Attack("pings", pings, FLOODING, {}, 30 * MIB),
    Attack("pings, unlimited", pings, FLOODING, {"max_pings_per_second": None}, 30 * MIB),
    Attack("slow readers", slow_reader, 50, {}, 100 * MIB),
    Attack("endless fragments", endless_fragments, FLOODING, {}, 30 * MIB),
    Attack("messages that never finish", unfinished_message, 50, {}, 150 * MIB),
]


async def main(attack: Attack, port: int) -> None:
    """Attack until killed."""
    count = descriptors(attack.connections)
    waiting = set(range(count))

    async def repeat(number: int) -> None:
        def begun() -> None:
            if number in waiting:
                waiting.remove(number)
                if not waiting:
                    print("under way", flush=True)

        while True:
            try:
                await attack.client(port, number, begun)
            except ConnectionError:
                pass

    await asyncio.gather(*map(repeat, range(count)))


if __name__ == "__main__":
    asyncio.run(main(ATTACKS[int(sys.argv[1])], int(sys.argv[2])))
