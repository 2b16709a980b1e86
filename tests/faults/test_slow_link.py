"""Large messages on a slow link: control frames overtake them, so neither side takes the other for dead.

What passes before a pong does is counted, and not the time that it takes: on a link of 50 kB/s, where a pong has 20 s,
it may be a megabyte. That must not depend on how large the message is.
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
from tests.raw import CLOSE, PING, PONG
from wasclean import connect

RATE = 1_000_000  # bytes a second
SIZE = 3 << 19


async def ask_for_pongs(peer: TLSPeer, received: list[int]) -> int:
    """Be a peer that wants each ping answered, whatever else arrives; the most bytes that came before a pong."""
    pinged = most = 0
    await peer.send_frame(PING, b"?")
    while True:
        frame = await peer.frame()
        if frame.opcode == CLOSE:
            await peer.send_frame(CLOSE, frame.payload)
            peer.finish()
            return most
        if frame.opcode == PONG:
            most = max(most, sum(received) - pinged)
            pinged = sum(received)
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
        socket = await connect(f"ws://127.0.0.1:{proxy.port}/", ping_interval=0.2)
        invariants.watch(socket)
        peer = await accepting
        shrink_buffers(peer.socket)
        proxy.throttle(RATE, "up")
        asking = asyncio.ensure_future(ask_for_pongs(peer, received))
        socket.send(message)
        await socket.ping()
        assert socket.bufferedAmount > SIZE // 2  # it has overtaken most of the message
        await socket.flush()
        event = await socket.close(1000)
        assert event.wasClean, event
        assert sum(received) == SIZE
        assert await asking < SIZE // 2
        peer.close()
