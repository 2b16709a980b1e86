"""A peer that sends exactly what a test tells it to: raw TCP, a minimal opening handshake, and single frames."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Frame(NamedTuple):
    """A received frame."""

    opcode: int
    payload: bytes
    fin: bool = True


def encode(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = False, rsv: int = 0) -> bytes:
    """Return the bytes of a frame; the masking key is constant."""
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    bit = 0x80 if masked else 0
    size = len(payload)
    if size < 126:
        head = bytes((first, bit | size))
    elif size < 1 << 16:
        head = bytes((first, bit | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, bit | 127)) + size.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = b"\x01\x02\x03\x04"
    return head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))


def join(frames: list[Frame]) -> Frame:
    """Join the fragments of a message to one frame."""
    return Frame(frames[0].opcode, b"".join(frame.payload for frame in frames))


def messages(frames: list[Frame]) -> list[Frame]:
    """Join the fragments of each message. There must be no control frames between them."""
    found: list[Frame] = []
    begun: list[Frame] = []
    for frame in frames:
        begun.append(frame)
        if frame.fin:
            found.append(join(begun))
            begun = []
    assert not begun
    return found


def close_payload(code: int, reason: str = "") -> bytes:
    """Return the payload of a Close frame."""
    return code.to_bytes(2, "big") + reason.encode()


class Raw:
    """One end of a raw connection.

    Args:
        masked: True to mask the frames to be sent, as a client must.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, masked: bool) -> None:
        self.reader = reader
        self.writer = writer
        self.masked = masked
        self.head = b""

    def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)

    def send_frame(self, opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> None:
        """Send a frame."""
        self.writer.write(encode(opcode, payload, fin=fin, rsv=rsv, masked=self.masked))

    def send_close(self, code: int, reason: str = "") -> None:
        """Send a Close frame."""
        self.send_frame(CLOSE, close_payload(code, reason))

    async def frame(self) -> Frame:
        """Read a frame."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await self.reader.readexactly(8), "big")
        mask = await self.reader.readexactly(4) if second & 0x80 else b""
        payload = await self.reader.readexactly(size)
        if mask:
            payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        return Frame(first & 15, payload, first & 0x80 != 0)

    async def message(self) -> Frame:
        """Read a message, and join its fragments; or read a control frame."""
        return join([frame async for frame in self._to_fin()])

    async def _to_fin(self) -> AsyncIterator[Frame]:
        while True:
            frame = await self.frame()
            yield frame
            if frame.fin:
                return

    async def rest(self) -> bytes:
        """Read until the peer ends TCP."""
        return await self.reader.read()

    def shutdown(self) -> None:
        """Send a FIN."""
        self.writer.write_eof()

    def close(self) -> None:
        """End TCP."""
        self.writer.close()

    def reset(self) -> None:
        """End TCP with a RST."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@asynccontextmanager
async def raw_client(port: int, target: str = "/", *headers: str) -> AsyncIterator[Raw]:
    """Connect to a server, and perform the opening handshake."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    raw = Raw(reader, writer, masked=True)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {target} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    raw.send("\r\n".join([*lines, "", ""]).encode())
    try:
        raw.head = await reader.readuntil(b"\r\n\r\n")
        yield raw
    finally:
        writer.transport.abort()


Script = Callable[[Raw], Awaitable[None]]


@asynccontextmanager
async def raw_server(script: Script, *, answer: Callable[[bytes], bytes] | None = None) -> AsyncIterator[str]:
    """Run a server, and yield its URL.

    Args:
        script: a function that is called with each connection after the opening handshake. When it returns the
            connection is dropped.
        answer: a function that returns the response to the head of a request; by default it accepts.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            raw = Raw(reader, writer, masked=False)
            raw.head = await reader.readuntil(b"\r\n\r\n")
            raw.send(accept(raw.head) if answer is None else answer(raw.head))
            await script(raw)
        except (asyncio.CancelledError, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def hang(raw: Raw) -> None:
    """A script that sends nothing, and reads until the client ends TCP."""
    await raw.rest()


def accept(head: bytes, *headers: str) -> bytes:
    """Return the response that accepts a request."""
    key = next(
        line.split(b":", 1)[1].strip() for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")
    )
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(hashlib.sha1(key + GUID).digest()).decode()}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()
