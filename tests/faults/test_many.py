"""10,000 connections that end in eight ways: each end is told once, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from weakref import WeakSet

import pytest

from tests.faults.invariants import Invariants
from tests.faults.patience import until
from tests.faults.tcp_peer import tcp_client
from tests.faults.tls_peer import TLSPeer
from wasclean import WebSocket, connect, serve

BATCHES = 10
OF_EACH = 125  # in a batch

#: Way to end a connection -> the causes of the server and of our client; None if the client is a raw peer.
WAYS = {
    "the client closes": ("peer_close", "local_close"),
    "the client terminates": ("tcp_fin", "terminated"),  # tcp_reset, if a ping was unread
    "the client resets": ("tcp_reset", "terminated"),
    "the handler raises": ("handler_error", "peer_close"),
    "a FIN": ("tcp_fin", None),
    "a protocol error": ("protocol_error", None),
    "no answer to a ping": ("ping_timeout", None),
    "no answer to a Close frame": ("close_timeout", None),
}


class Crowd:
    """All connections, and their causes.

    Attributes:
        told: a counter of side, way and cause.
        alive: the sockets of both sides.
    """

    def __init__(self) -> None:
        self.told: Counter[tuple[str, str, str]] = Counter()
        self.alive: WeakSet[WebSocket] = WeakSet()

    def watch(self, socket: WebSocket, side: str, way: str) -> None:
        self.alive.add(socket)
        socket.addEventListener("close", lambda event: self.told.update([(side, way, event.cause)]))

    async def handle(self, socket: WebSocket) -> None:
        """The handler of the server."""
        way = list(WAYS)[int(socket.url[1:])]
        self.watch(socket, "server", way)
        if way == "the handler raises":
            raise ValueError
        if way == "no answer to a Close frame":
            socket.close(1000)
        await socket.wait_closed()

    async def play(self, way: str, port: int) -> None:
        """The client's part in one connection."""
        target = f"/{list(WAYS).index(way)}"
        if WAYS[way][1] is None:
            async with tcp_client(port, target) as peer:
                await play_raw(way, peer)
            return
        socket = await connect(f"ws://127.0.0.1:{port}{target}")
        self.watch(socket, "client", way)
        if way == "the client closes":
            socket.close(1000)
        elif way != "the handler raises":
            socket.terminate(reset=way == "the client resets")
        await socket.wait_closed()


async def play_raw(way: str, peer: TLSPeer) -> None:
    """The part of a client that is not ours."""
    if way == "a FIN":
        peer.finish()
    elif way == "a protocol error":
        await peer.send(b"\xff\xff")
    ended = await peer.ended()
    assert ended == ("rst" if way.startswith("no answer") else "fin")


def memory() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Nothing may wait for the garbage collector."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.slow
async def test_10000_connections_end_once_each_and_leave_nothing(
    invariants: Invariants, caplog: pytest.LogCaptureFixture, without_gc: None
) -> None:
    caplog.set_level(logging.CRITICAL, "wasclean.server")  # 1,250 tracebacks of handlers
    crowd = Crowd()
    used = settled = 0
    async with serve(
        crowd.handle, "127.0.0.1", 0, ping_interval=1, ping_timeout=2, close_timeout=2, backlog=2048
    ) as server:
        listening = descriptors()
        tasks = asyncio.all_tasks()
        for batch in range(BATCHES):
            await asyncio.gather(*(crowd.play(way, server.port) for way in WAYS for _ in range(OF_EACH)))
            await until(lambda: descriptors() == listening, "the last connections' end of TCP")
            await until(lambda: asyncio.all_tasks() == tasks, "the last handlers' return")
            assert not server.connections
            await until(lambda: not crowd.alive, "the last sockets to be freed")
            used = memory()
            if batch == 1:
                settled = used
        assert used < 1.1 * settled
    crowd.told["server", "the client terminates", "tcp_fin"] += crowd.told.pop(
        ("server", "the client terminates", "tcp_reset"), 0
    )
    for way, (server_says, client_says) in WAYS.items():
        assert crowd.told.pop(("server", way, server_says)) == BATCHES * OF_EACH
        if client_says is not None:
            assert crowd.told.pop(("client", way, client_says)) == BATCHES * OF_EACH
    assert not crowd.told
