"""Compression as users have it: on by default at both ends, and what can be asked of it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.endpoints import Record, echo, opened, served
from tests.faults.patience import PATIENCE
from tests.raw import CLOSE, TEXT, Raw, accept, raw_client, raw_server
from wasclean import Cause, Deflate, HandshakeError, WebSocket, connect, serve

TEXTS = ["small", "large " * 1000, "ünïcode " * 1000, ""]


async def nothing(raw: Raw) -> None:
    """A script that waits for the client."""
    await raw.rest()


def answering(extensions: str) -> Callable[[bytes], bytes]:
    """A server that agrees to something."""
    return lambda head: accept(head, f"Sec-WebSocket-Extensions: {extensions}")


async def test_both_ends_compress_by_default() -> None:
    async with serve(echo, "localhost") as server, connect(f"ws://localhost:{server.port}") as socket:
        assert socket.extensions == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"
        (theirs,) = server.connections
        assert theirs.extensions == socket.extensions
        for text in TEXTS:
            await socket.send(text)
            assert await socket.recv() == text
        assert socket.stats.bytes_sent < sum(map(len, TEXTS)) / 4
        assert socket.stats.bytes_received < sum(map(len, TEXTS)) / 4


async def test_events_are_those_of_messages_that_are_not_compressed() -> None:
    async with served() as ours:
        socket = WebSocket(ours.url)
        record = Record(socket)
        await opened(socket)
        theirs = Record(await ours.sockets.get())
        socket.send("again " * 1000)
        assert socket.bufferedAmount == 6000
        await socket.close()
        assert theirs.messages == ["again " * 1000]
        assert record.types == ["open", "close"]


@pytest.mark.parametrize(("server", "client"), [(None, "deflate"), ("deflate", None), (None, None)])
async def test_either_end_may_have_none(server: Any, client: Any) -> None:
    async with (
        serve(echo, "localhost", compression=server) as listening,
        connect(f"ws://localhost:{listening.port}", compression=client) as socket,
    ):
        assert socket.extensions == ""
        await socket.send("x" * 5000, True)
        assert await socket.recv() == "x" * 5000
        assert socket.stats.bytes_sent > 5000


async def test_a_message_may_be_left_as_it_is() -> None:
    async with serve(echo, "localhost") as server, connect(f"ws://localhost:{server.port}") as socket:
        await socket.send("secret " * 1000, compress=False)
        assert await socket.recv() == "secret " * 1000
        assert socket.stats.bytes_sent > 7000


async def test_a_large_message_lets_the_loop_go_on_while_it_is_compressed() -> None:
    async with serve(echo, "localhost") as server, connect(f"ws://localhost:{server.port}") as socket:
        message = bytes(range(256)) * (1 << 12)
        turns = 0
        sending = asyncio.ensure_future(asyncio.wait_for(socket.flush(), PATIENCE))
        socket.send(message)
        flushing = asyncio.ensure_future(socket.flush())
        while not flushing.done():
            await asyncio.sleep(0)
            turns += 1
        await sending
        assert turns >= 8
        assert await socket.recv() == message


async def test_a_client_that_requires_compression_closes_with_1010() -> None:
    async with served(compression=None) as ours:
        socket = WebSocket(ours.url, compression=Deflate(required=True))
        record = Record(socket)
        event = await (await ours.sockets.get()).wait_closed()
        assert (event.code, event.reason, event.wasClean) == (1010, "permessage-deflate", True)
        mine = await socket.wait_closed()
        assert (mine.code, mine.cause) == (1010, Cause.LOCAL_CLOSE)
        assert "permessage-deflate" in mine.detail
        assert record.types == ["open", "close"]


async def test_a_server_that_requires_compression_refuses_who_does_not_offer_it() -> None:
    async with serve(echo, "localhost", compression=Deflate(required=True)) as server:
        with pytest.raises(HandshakeError) as caught:
            await connect(f"ws://localhost:{server.port}", compression=None)
        assert caught.value.status == 400
        async with connect(f"ws://localhost:{server.port}") as socket:
            assert socket.extensions


@pytest.mark.parametrize(
    "extensions",
    [
        "x",
        "permessage-deflate; server_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=16",
        "permessage-deflate; unknown",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate, permessage-deflate",
        "permessage-deflate; =",
    ],
)
async def test_an_answer_that_breaks_a_rule_fails_the_handshake(extensions: str) -> None:
    async with raw_server(nothing, answer=answering(extensions)) as url:
        socket = WebSocket(url)
        record = Record(socket)
        event = await socket.wait_closed()
        assert (event.code, event.cause) == (1006, Cause.HANDSHAKE_INVALID)
        assert record.types == ["error", "close"]


async def test_a_server_with_many_connections_gives_up_context_takeover() -> None:
    async with serve(echo, "localhost", compression=Deflate(max_contexts=1)) as server:
        url = f"ws://localhost:{server.port}"
        async with connect(url) as first, connect(url) as second:
            assert "no_context_takeover" not in first.extensions
            assert "server_no_context_takeover; client_no_context_takeover" in second.extensions
            for socket in (first, second):
                for text in TEXTS * 2:
                    await socket.send(text)
                    assert await socket.recv() == text


async def test_a_redirect_is_followed_with_the_same_offer() -> None:
    async with served() as ours:

        def redirect(head: bytes) -> bytes:
            return f"HTTP/1.1 307 Elsewhere\r\nLocation: {ours.url}\r\nContent-Length: 0\r\n\r\n".encode()

        async with raw_server(nothing, answer=redirect) as url, connect(url, max_redirects=1) as socket:
            assert socket.extensions


async def test_a_bomb_is_1009_and_the_server_goes_on() -> None:
    stream = zlib.compressobj(9, wbits=-15)
    bomb = (stream.compress(bytes(64 << 20)) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    async with served() as ours:
        async with raw_client(ours.server.port, "/", "Sec-WebSocket-Extensions: permessage-deflate") as raw:
            assert b"Sec-WebSocket-Extensions: permessage-deflate" in raw.head
            socket = await ours.sockets.get()
            raw.send_frame(TEXT, bomb, rsv=4)
            frame = await raw.frame()
            assert (frame.opcode, frame.payload[:2]) == (CLOSE, (1009).to_bytes(2, "big"))
            event = await socket.wait_closed()
            assert event.cause is Cause.MESSAGE_TOO_BIG
        async with connect(ours.url) as other:
            assert other.extensions


@pytest.mark.parametrize(
    ("compression", "error"),
    [
        ("gzip", TypeError),
        (["deflate"], TypeError),
        (5, TypeError),
        (True, TypeError),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(compression: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"compression|Deflate"):
        connect("ws://localhost", compression=compression)
    with pytest.raises(error, match=r"compression|Deflate"):
        serve(echo, "localhost", compression=compression)


def test_a_server_has_one_compression() -> None:
    with pytest.raises(ValueError, match="a server has one"):
        serve(echo, "localhost", compression=[Deflate(), Deflate()])
