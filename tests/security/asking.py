"""Requests that a browser would not send, and the responses of a server."""

from __future__ import annotations

import asyncio

from tests.endpoints import Served

KEY = "dGhlIHNhbXBsZSBub25jZQ=="

#: The headers of an opening handshake.
HEADERS = {
    "Host": "localhost",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}


def asking(*more: str, first: str = "GET / HTTP/1.1", without: str = "", **changes: str) -> bytes:
    """Return a request for an opening handshake, with changes.

    Args:
        more: header lines to add, in Latin-1.
        first: the first line.
        without: the name of a header to leave out.
        changes: other values of headers; underscores in their names stand for hyphens.
    """
    headers = HEADERS | {name.replace("_", "-"): value for name, value in changes.items()}
    headers.pop(without, None)
    lines = [first, *(f"{name}: {value}" for name, value in headers.items()), *more]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


async def answer_to(server: Served, data: bytes, *, byte_by_byte: bool = False) -> bytes:
    """Send bytes to a server, and return its output until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
    try:
        for piece in (data[i : i + 1] for i in range(len(data))) if byte_by_byte else [data]:
            writer.write(piece)
            if byte_by_byte:
                await asyncio.sleep(0)
        return await reader.read()
    finally:
        writer.transport.abort()


def status(answer: bytes) -> int:
    """Return the status of a response. It must be the only one, and have ``Connection: close`` unless it is a 101."""
    assert answer.startswith(b"HTTP/1.1 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    number = int(answer[9:12])
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert number == 101 or b"close" in head.partition(b"\r\nconnection: ")[2].partition(b"\r\n")[0]
    return number
