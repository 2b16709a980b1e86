"""Large messages on a slow link: control frames overtake them, so neither side takes the other for dead.

A message of 20 MB at 50 kB/s, with 20 s for a pong, is played as 1.5 MB at 250 kB/s with 4 s: as much passes in the
time that a pong has, and the message takes longer than that.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from tests.faults.invariants import Invariants
from tests.faults.proxy import fault_proxy, shrink_buffers
from tests.faults.tcp_peer import tcp_server
from tests.faults.tls_peer import TLSPeer
from tests.wire import CLOSE, PING, PONG
from wasclean import connect

RATE = 250_000  # bytes a second
PATIENCE = 4.0  # seconds that either side waits for a pong
SIZE = 3 << 19


async def ask_for_pongs(peer: TLSPeer, received: list[int]) -> float:
    """Be a peer that wants each ping answered in time, whatever else arrives; the longest time that a pong took."""
    loop = asyncio.get_running_loop()
    pinged, longest = loop.time(), 0.0
    await peer.send_frame(PING, b"?")
    while True:
        frame = await peer.frame()
        if frame.opcode == CLOSE:
            await peer.send_frame(CLOSE, frame.payload)
            peer.finish()
            return longest
        if frame.opcode == PONG:
            longest = max(longest, loop.time() - pinged)
            pinged = loop.time()
            await peer.send_frame(PING, b"?")
        elif frame.opcode == PING:
            await peer.send_frame(PONG, frame.payload)
        else:
            received.append(len(frame.payload))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "binary"])
async def test_a_large_message_on_a_slow_link_causes_no_ping_timeout(kind: str, invariants: Invariants) -> None:
    message: Any = "x" * SIZE if kind == "text" else os.urandom(SIZE)
    received: list[int] = []
    async with tcp_server() as server, fault_proxy(server.port) as proxy:
        accepting = asyncio.ensure_future(server.accept())
        socket = await connect(
            f"ws://127.0.0.1:{proxy.port}/",
            ping_interval=0.2,
            ping_timeout=PATIENCE,
            write_timeout=PATIENCE,
            close_timeout=30,
        )
        invariants.watch(socket)
        peer = await accepting
        shrink_buffers(peer.socket)
        proxy.throttle(RATE, "up")
        asking = asyncio.ensure_future(ask_for_pongs(peer, received))
        socket.send(message)
        assert await socket.ping() < PATIENCE
        assert socket.bufferedAmount > SIZE // 2  # it has overtaken most of the message
        await socket.flush()
        event = await socket.close(1000)
        assert event.wasClean, event
        assert sum(received) == SIZE
        assert await asking < PATIENCE
        peer.close()
