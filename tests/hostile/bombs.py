"""Hostile clients that send decompression bombs; see clients.py."""

from __future__ import annotations

import asyncio
import zlib

from tests.hostile.clients import HEAD, MIB, Begun, flood, opened, wait_for_end
from tests.raw import BINARY, encode

REQUEST = HEAD + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

RSV1 = 4
FRAGMENTS = 8


def deflated(size: int) -> bytes:
    """Return the compressed payload of a message of ``size`` MiB of zeros, which has ``size`` KiB."""
    stream = zlib.compressobj(9, wbits=-15)
    return (b"".join(stream.compress(bytes(MIB)) for _ in range(size)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]


async def bombs(port: int, number: int, begun: Begun) -> None:
    """Send messages of the maximum size, compressed to 1 KiB each, as fast as possible."""
    await flood(await opened(port, REQUEST), encode(BINARY, deflated(1), masked=True, rsv=RSV1) * 64, begun)


async def bombs_in_fragments(port: int, number: int, begun: Begun) -> None:
    """Send such messages in several frames each."""
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
    """Send a message that exceeds the limit when decompressed; the server ends the connection."""
    socket = await opened(port, REQUEST)
    await asyncio.get_running_loop().sock_sendall(socket, encode(BINARY, deflated(32), masked=True, rsv=RSV1))
    begun()
    await wait_for_end(socket)
