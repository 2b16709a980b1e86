"""Hostile clients that send little which inflates to much; see clients.py."""

from __future__ import annotations

import asyncio
import zlib

from tests.hostile.clients import HEAD, MIB, Begun, flood, opened, wait_for_end
from tests.raw import BINARY, encode

REQUEST = HEAD + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

RSV1 = 4
FRAGMENTS = 8


def deflated(size: int) -> bytes:
    """The payload of a message of so many MiB of zeros: of a KiB for each."""
    stream = zlib.compressobj(9, wbits=-15)
    return (b"".join(stream.compress(bytes(MIB)) for _ in range(size)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def bombs(port: int, number: int, begun: Begun) -> None:
    """Send messages as large as they may be, of which each travels as a KiB, as fast as possible."""
    await flood(await opened(port, REQUEST), encode(BINARY, deflated(1), masked=True, rsv=RSV1) * 64, begun)


async def bombs_in_fragments(port: int, number: int, begun: Begun) -> None:
    """The same, each in several frames."""
    payload = deflated(1)
    size = len(payload) // FRAGMENTS + 1
    frames = [
        encode(
            0 if i else BINARY, payload[i * size :][:size], fin=i == FRAGMENTS - 1, masked=True, rsv=0 if i else RSV1
        )
        for i in range(FRAGMENTS)
    ]
    await flood(await opened(port, REQUEST), b"".join(frames) * 64, begun)


async def bombs_beyond_the_limit(port: int, number: int, begun: Begun) -> None:
    """Send a message that would be larger than any may be, again and again: the server ends each connection."""
    socket = await opened(port, REQUEST)
    await asyncio.get_running_loop().sock_sendall(socket, encode(BINARY, deflated(32), masked=True, rsv=RSV1))
    begun()
    await wait_for_end(socket)
