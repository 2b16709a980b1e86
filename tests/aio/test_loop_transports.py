"""Where there is no epoll, connections have the event loop's own transports; all else is the same."""

from __future__ import annotations

import asyncio
import os
import socket as sockets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import echo, served
from tests.faults.tcp_peer import tcp_client
from tests.faults.tls_peer import TLSPeer, tls_client
from tests.proxies import proxy_of, tunnel
from tests.raw import CLOSE, TEXT, Frame, close_payload
from wasclean import WebSocket, connect
from wasclean.aio import poller

BOTH = pytest.mark.parametrize("secure", [False, True], ids=["tcp", "tls"])


@pytest.fixture(autouse=True)
def no_epoll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poller, "AVAILABLE", False)


def rules(secure: bool) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Options of a server and of a client, and the scheme."""
    if not secure:
        return {}, {}, "ws"
    return {"ssl": server_context()}, {"ssl": client_context()}, "wss"


@asynccontextmanager
async def met(secure: bool) -> AsyncIterator[tuple[WebSocket, TLSPeer]]:
    """A socket of our server, and a raw peer at its other end."""
    server_options, _, _ = rules(secure)
    knock = tls_client if secure else tcp_client
    async with served(None, **server_options) as server, knock(server.server.port) as peer:
        yield await server.sockets.get(), peer


@BOTH
async def test_messages_of_all_sizes_arrive(secure: bool) -> None:
    server_options, options, scheme = rules(secure)
    async with served(echo, max_message_size=None, **server_options) as server:
        async with connect(f"{scheme}://localhost:{server.server.port}/", max_message_size=None, **options) as socket:
            for size in (0, 1, 1000, 70_000, 3 << 20):
                message = os.urandom(size)
                await socket.send(message)
                assert await socket.recv() == message
        event = await socket.wait_closed()
        assert (event.ok, event.cause) == (True, "local_close")
        assert (await (await server.sockets.get()).wait_closed()).ok


@BOTH
async def test_who_reads_slowly_gets_all_that_was_sent_before_the_close(secure: bool) -> None:
    server_options, options, scheme = rules(secure)
    count, size = 300, 20_000

    async def pour(socket: WebSocket) -> None:
        for i in range(count):
            await socket.send(bytes([i % 256]) * size)

    async with served(pour, **server_options) as server:
        socket = await connect(f"{scheme}://localhost:{server.server.port}/", max_queue=4, **options)
        await asyncio.sleep(0.05)  # the queue is full, and then the kernel
        received = [message async for message in socket]
    assert received == [bytes([i % 256]) * size for i in range(count)]
    assert (await socket.wait_closed()).ok


@BOTH
async def test_a_peer_that_goes_without_a_close_frame(secure: bool) -> None:
    async with met(secure) as (socket, peer):
        peer.finish()
        event = await socket.wait_closed()
        assert (event.code, event.cause) == (1006, "tls_truncated" if secure else "tcp_fin")


@BOTH
async def test_a_peer_that_resets_the_connection_behind_its_close_frame(secure: bool) -> None:
    async with met(secure) as (socket, peer):
        await peer.send_frame(TEXT, b"last words")
        await peer.send_close(4000, "bye")
        peer.reset()
        assert await socket.recv() == "last words"
        event = await socket.wait_closed()
        assert event.received is not None
        assert (event.received.code, event.received.reason) == (4000, "bye")


@BOTH
async def test_what_arrives_behind_our_end_does_not_destroy_it(secure: bool) -> None:
    """A reset would destroy the Close frame on its way: the rest is read and dropped, until the peer ends, too."""
    async with met(secure) as (socket, peer):
        await peer.send_frame(3)  # there is no such opcode
        event = await socket.wait_closed()
        for _ in range(10):
            await peer.send_frame(TEXT, b"more" * 1000)
        assert event.sent is not None
        assert await peer.frame() == Frame(CLOSE, close_payload(1002, event.sent.reason))
        assert await peer.rest() == b""
        if secure:
            assert peer.notified
            await peer.notify()
        else:
            peer.finish()
        assert await peer.ended() == "fin"


async def test_a_certificate_that_nobody_trusts() -> None:
    async with served(echo, ssl=server_context()) as server:
        with pytest.raises(ssl.SSLCertVerificationError):
            await connect(f"wss://localhost:{server.server.port}/")


async def test_a_server_that_goes_in_the_handshake_of_tls() -> None:
    listener = await asyncio.start_server(lambda _, writer: writer.transport.abort(), "127.0.0.1", 0)
    socket = WebSocket(f"wss://127.0.0.1:{listener.sockets[0].getsockname()[1]}/", ssl=client_context())
    event = await socket.wait_closed()
    assert (event.code, event.cause, event.phase) == (1015, "tls_failed", "tls")
    listener.close()


async def test_through_a_proxy_that_speaks_tls() -> None:
    async with (
        served(echo, ssl=server_context()) as server,
        proxy_of(tunnel, server.server.port, server_context()) as way,
    ):
        url = f"wss://localhost:{server.server.port}/"
        through = f"https://localhost:{way.port}"
        async with connect(url, proxy=through, proxy_ssl=client_context(), ssl=client_context()) as socket:
            await socket.send("x" * 100_000)
            assert await socket.recv() == "x" * 100_000


async def test_a_unix_socket(tmp_path: Path) -> None:
    from wasclean import serve

    path = str(tmp_path / "socket")
    async with serve(echo, unix=path), connect("ws://localhost/", unix=path) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


async def test_nobody_listens() -> None:
    with sockets.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{unused.getsockname()[1]}/")
