"""How many connections a server lets in, and for how long they may open."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import echo, served
from tests.faults.patience import NEVER, PATIENCE, until
from tests.security.asking import asking, status
from wasclean import HandshakeError, Request, Response, Server, connect, serve

both_schemes = pytest.mark.parametrize("secure", [False, True], ids=["ws", "wss"])


@asynccontextmanager
async def serving(secure: bool, **options: Any) -> AsyncIterator[tuple[Server, dict[str, Any]]]:
    """A server that echoes, and what connect() takes to get there."""
    context = server_context() if secure else None
    async with serve(echo, "127.0.0.1", 0, ssl=context, **options) as server:
        tls: dict[str, Any] = {"ssl": client_context()} if secure else {}
        yield server, {"url": f"{'wss' if secure else 'ws'}://127.0.0.1:{server.port}/", **tls}


@asynccontextmanager
async def silent(port: int, count: int = 1) -> AsyncIterator[list[sockets.socket]]:
    """So many clients that say nothing, of TLS neither."""
    clients = [sockets.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for client in clients:
        client.setblocking(False)
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


async def rest(client: sockets.socket) -> bytes:
    """What the server says until it ends the connection, by a reset or otherwise."""
    said = b""
    try:
        while data := await asyncio.get_running_loop().sock_recv(client, 1 << 16):
            said += data
    except ConnectionResetError:
        pass
    return said


async def answer_to(server: Server, first: str) -> int:
    """The status of the answer to a request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(asking(first=first))
    try:
        return status(await reader.read())
    finally:
        writer.transport.abort()


def headers_of(answer: bytes) -> list[bytes]:
    return answer.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]


# Handshakes in progress.


@both_schemes
async def test_clients_that_say_nothing_keep_nobody_out_the_oldest_of_them_has_to_go(secure: bool) -> None:
    async with (
        serving(secure, max_handshakes=3, open_timeout=120) as (server, there),
        silent(server.port, 3) as clients,
    ):
        await until(lambda: len(server._handshakes) == 3, "all handshakes")
        async with connect(**there) as socket:
            await socket.send("x")
            assert await socket.recv() == "x"
        answer = await rest(clients[0])
        if secure:
            assert answer == b""  # an answer would take the handshake of TLS that is one too many
        else:
            assert status(answer) == 503
            assert b"Retry-After: 120" in headers_of(answer)
        assert len(server._handshakes) == 2


@both_schemes
async def test_an_established_connection_is_no_handshake_in_progress(secure: bool) -> None:
    async with serving(secure, max_handshakes=1) as (server, there), AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(connect(**there))
        await until(lambda: len(server.connections) == 5, "all connections")
        assert not server._handshakes


async def test_a_request_that_on_request_ponders_is_a_handshake_in_progress() -> None:
    go_on = asyncio.Event()

    async def hook(request: Request) -> Response | None:
        await go_on.wait()
        return None

    async with served(echo, max_handshakes=1, on_request=hook) as server:
        first = asyncio.create_task(_connect(server.url))
        await until(lambda: server.server._tasks, "the hook")
        with pytest.raises(HandshakeError) as refused:
            await connect(server.url)
        assert refused.value.status == 503
        go_on.set()
        await first


async def _connect(url: str) -> None:
    async with connect(url):
        pass


async def test_who_fails_at_tls_is_no_handshake_in_progress_any_more() -> None:
    async with serving(True, max_handshakes=1, max_connections_per_address=1) as (server, there):
        for said in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05"):
            async with silent(server.port) as (client,):
                await until(lambda: server._handshakes, "the handshake")
                await asyncio.get_running_loop().sock_sendall(client, said)
                if said[:1] == b"\x16":
                    client.shutdown(sockets.SHUT_WR)
                await rest(client)
            await until(lambda: not server._transports, "the end of it")
        async with connect(**there):
            pass


@both_schemes
async def test_refusing_a_flood_keeps_no_more_connections_than_twice_the_handshakes(secure: bool) -> None:
    """Who is refused may linger, so that the answer arrives; but not if all do."""
    async with serving(secure, max_handshakes=5) as (server, _), silent(server.port, 5):
        await until(lambda: len(server._handshakes) == 5, "all handshakes")
        async with silent(server.port, 60) as flood:
            for answer in await asyncio.gather(*map(rest, flood[:-5])):
                assert answer == b"" if secure else status(answer) == 503
            assert len(server._transports) <= 2 * 5 + 1
            assert len(server._handshakes) == 5


# Connections.


@both_schemes
async def test_no_more_than_max_connections_are_open(secure: bool) -> None:
    def hook(request: Request) -> Response | None:
        return Response(200, "ok\n") if request.path == "/health" else None

    options: dict[str, Any] = {"max_connections": 2, "open_timeout": 2.5, "on_request": hook}
    async with serving(secure, **options) as (server, there), connect(**there), connect(**there) as second:
        with pytest.raises(HandshakeError) as refused:
            await connect(**there)
        assert refused.value.status == 503
        assert refused.value.response is not None
        assert refused.value.response.headers["Retry-After"] == "3"
        if not secure:
            assert await answer_to(server, "GET /health HTTP/1.1") == 200
        await second.close()
        await until(lambda: len(server.connections) == 1, "the end of one")
        async with connect(**there):
            pass


@both_schemes
async def test_an_address_has_no_more_than_its_share(secure: bool) -> None:
    async with serving(secure, max_connections_per_address=2, open_timeout=120) as (server, there):
        async with connect(**there), connect(**there) as second:
            async with silent(server.port) as (third,):
                answer = await rest(third)
            if secure:
                assert answer == b""
            else:
                assert status(answer) == 429
                assert b"Retry-After: 120" in headers_of(answer)
            await second.close()
            await until(lambda: server._addresses._counts.total() == 1, "the end of one")
            async with connect(**there):
                pass
        await until(lambda: not server._addresses._counts, "the end of all")
        assert not server._addresses._networks


async def test_another_address_has_a_share_of_its_own() -> None:
    async with served(echo, max_connections_per_address=1) as server, connect(server.url):
        client = sockets.socket()
        client.bind(("127.0.0.2", 0))
        client.connect(("127.0.0.1", server.server.port))
        client.setblocking(False)
        with client:
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(client, asking())
            assert status(await loop.sock_recv(client, 1000)) == 101


async def test_a_handshake_in_progress_counts_for_its_address() -> None:
    async with served(echo, max_connections_per_address=1) as server, silent(server.server.port):
        await until(lambda: server.server._handshakes, "the handshake")
        with pytest.raises(HandshakeError) as refused:
            await connect(server.url)
        assert refused.value.status == 429


async def test_a_unix_socket_has_no_address(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with serve(echo, unix=path, max_connections_per_address=1), AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(connect("ws://localhost/", unix=path))


# The time that an opening may take.


async def test_the_handshake_of_tls_has_the_same_time_as_all_of_the_opening() -> None:
    async with serving(True, open_timeout=0.3) as (server, _), silent(server.port) as (client,):
        assert await rest(client) == b""
        assert not server._handshakes


async def test_a_byte_now_and_then_of_tls_does_not_prolong_it() -> None:
    loop = asyncio.get_running_loop()
    hello = client_hello()
    async with serving(True, open_timeout=0.3) as (server, _), silent(server.port) as (client,):

        async def dribble() -> None:
            for byte in hello:  # some 500: it never comes to an end
                await loop.sock_sendall(client, bytes((byte,)))
                await asyncio.sleep(0.02)

        task = loop.create_task(dribble())
        assert await rest(client) == b""
        assert not task.done()
        task.cancel()
        assert not server._handshakes


async def test_what_tls_has_taken_is_missing_for_the_request() -> None:
    """The deadline is that of the whole: it does not begin anew when TLS is established."""
    loop = asyncio.get_running_loop()
    async with serving(True, open_timeout=0.6) as (server, _):
        # Again if the machine stalls at the wrong time; a deadline that begins anew would show each time.
        for _ in range(20):
            raw = sockets.create_connection(("127.0.0.1", server.port))
            raw.setblocking(False)
            await asyncio.sleep(0.3)
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(
                    sock=raw, ssl=client_context(), server_hostname="127.0.0.1", ssl_shutdown_timeout=0.1
                )
                established = loop.time()
                assert status(await reader.readuntil(b"\r\n\r\n")) == 408
                took = loop.time() - established
                writer.transport.abort()
                if took < 0.6:
                    return
    pytest.fail("TLS takes nothing of the time")


def client_hello() -> bytes:
    """The first that a client says."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        client_context().wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
    return outgoing.read()


# TLS.


async def test_a_hello_that_arrives_together_with_tcp_is_answered() -> None:
    loop = asyncio.get_running_loop()
    async with serving(True) as (server, _):
        for _ in range(5):
            with sockets.create_connection(("127.0.0.1", server.port)) as client:
                client.sendall(client_hello())  # before the server has had a turn
                client.setblocking(False)
                assert (await loop.sock_recv(client, 1000)).startswith(b"\x16\x03")  # a record of the handshake


async def test_a_request_right_behind_the_handshake_of_tls_is_read() -> None:
    for _ in range(20):
        async with serving(True) as (_, there), connect(**there) as socket:
            await socket.send("x")
            assert await socket.recv() == "x"


async def test_a_client_that_goes_anywhere_in_tls_leaves_nothing() -> None:
    hello = client_hello()
    async with serving(True, max_connections_per_address=100) as (server, _):
        for size in (0, 1, 5, len(hello) // 2, len(hello)):
            for reset in (True, False):
                client = sockets.create_connection(("127.0.0.1", server.port))
                client.sendall(hello[:size])
                await asyncio.sleep(0)
                if reset:
                    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.close()
        await until(lambda: not server._handshakes and not server._tasks, "the end of all")
        await until(lambda: not server._addresses._networks and not server._transports, "nothing to be left")


@pytest.mark.parametrize("beginning", ["nothing", "hello"])
async def test_who_is_still_at_tls_when_the_server_closes_is_dropped(beginning: str) -> None:
    async with serving(True) as (server, _), silent(server.port) as (client,):
        await until(lambda: server._handshakes, "the handshake")
        if beginning == "hello":
            await asyncio.get_running_loop().sock_sendall(client, client_hello()[:20])
        await asyncio.wait_for(server.close(timeout=NEVER), PATIENCE)
        assert await rest(client) == b""
        assert not server._tasks


def test_a_context_that_is_none_is_a_type_error_at_once() -> None:
    with pytest.raises(TypeError, match=r"ssl must be an ssl\.SSLContext, not bool"):
        serve(echo, "127.0.0.1", 0, ssl=True)  # type: ignore[arg-type]
