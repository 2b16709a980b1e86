"""Accepting connections that are read and written by ourselves."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket as sockets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints import echo, served
from tests.faults.patience import PATIENCE, until
from tests.raw import raw_client
from wasclean import HandshakeError, Server, WebSocket, connect, serve
from wasclean.aio import acceptor, kernel, poller
from wasclean.aio.acceptor import listen
from wasclean.aio.addresses import Addresses
from wasclean.aio.interface import Protocol
from wasclean.aio.kernel import NOTSENT
from wasclean.aio.loopstate import LoopState

pytestmark = pytest.mark.skipif(not poller.AVAILABLE, reason="there is no epoll on this system")


def bound() -> sockets.socket:
    socket = sockets.socket()
    socket.bind(("127.0.0.1", 0))
    return socket


async def test_a_listener_that_fails_on_one_address_listens_on_none() -> None:
    first, second = bound(), bound()
    address = first.getsockname()
    second.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        await listen(asyncio.get_running_loop(), [first, second], Protocol, 10)
    assert first.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        sockets.create_connection(address).close()


async def test_both_ends_send_at_once_and_keep_from_the_kernel_what_it_can_not_send() -> None:
    async with serve(echo, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}"):
        drivers: set[Any] = set(LoopState.of(asyncio.get_running_loop()).connections)
        descriptors = [os.dup(driver.fileno()) for driver in drivers]
    assert len(descriptors) == 2
    for descriptor in descriptors:
        with sockets.socket(fileno=descriptor) as connection:
            assert connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY)
            assert connection.getsockopt(sockets.IPPROTO_TCP, 25) == NOTSENT  # TCP_NOTSENT_LOWAT


async def test_a_backlog_of_nothing_is_one_of_one() -> None:
    async with serve(echo, "127.0.0.1", 0, backlog=0) as server, connect(f"ws://127.0.0.1:{server.port}") as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


async def test_the_path_of_a_unix_socket_may_be_a_path(tmp_path: Path) -> None:
    path: Any = tmp_path / "socket"
    async with serve(echo, unix=path), connect("ws://localhost/", unix=path) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


async def test_the_address_of_a_connection_that_was_reset_is_known_to_its_end() -> None:
    found: list[Any] = []

    def handler(socket: WebSocket) -> None:
        socket.onclose = lambda event: found.append((event.cause, socket.remote_address))

    async with served(handler) as server, raw_client(server.server.port) as raw:
        address = raw.writer.get_extra_info("sockname")
        await server.sockets.get()
        raw.reset()
        await until(lambda: found, "the close event")
    assert found == [("tcp_reset", address)]


@contextlib.contextmanager
def addresses(monkeypatch: pytest.MonkeyPatch, address: Any) -> Iterator[None]:
    """Let every peer have that address, as in another address family."""
    accept = sockets.socket._accept  # type: ignore[attr-defined]
    with monkeypatch.context() as patch:
        patch.setattr(sockets.socket, "_accept", lambda self: (accept(self)[0], address), raising=False)
        yield


@pytest.mark.parametrize("address", [(2, 1024), ("00:11:22:33:44:55", 4), (0, 1, 2, 3, 4), b"\0abstract", "", None])
async def test_an_address_of_any_shape_is_the_peers(address: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    with addresses(monkeypatch, address):
        async with (
            served(
                echo, max_connections_per_address=1, on_request=lambda request: asked.append(request.remote)
            ) as server,
            connect(server.url) as socket,
        ):
            await socket.send("x")
            assert await socket.recv() == "x"
            (ours,) = server.server.connections
            assert ours.remote_address == address
            if isinstance(address, tuple):
                with pytest.raises(HandshakeError, match="429"):
                    await connect(server.url)
    assert asked == [address]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def failing_once(function: Any, error: BaseException) -> Any:
    """The function, but for its first call."""
    calls: list[Any] = []

    def call(*args: Any) -> Any:
        calls.append(args)
        if len(calls) == 1:
            raise error
        return function(*args)

    return call


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (acceptor, "_shared"),  # before there is a transport
        (Server, "_accept"),
        (Addresses, "admit"),  # when the transport tells its stream that there is a connection
    ],
)
async def test_a_connection_that_can_not_be_served_is_closed_and_reported_and_others_are_served(
    owner: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = asyncio.get_running_loop()
    reported: list[Any] = []
    loop.set_exception_handler(lambda loop, context: reported.append(context["exception"]))
    error = MemoryError("none is left")
    monkeypatch.setattr(owner, name, failing_once(getattr(owner, name), error))
    async with served(echo) as server:
        before = descriptors()
        clients = [sockets.create_connection(("127.0.0.1", server.server.port)) for _ in range(3)]
        try:
            for client in clients:
                client.setblocking(False)
            await until(lambda: len(server.server._transports) == 2, "the other two")
            async with asyncio.timeout(PATIENCE):
                assert await loop.sock_recv(clients[0], 1) == b""
            await until(lambda: descriptors() == before + 3 + 2, "the end of the first")
        finally:
            for client in clients:
                client.close()
        assert reported == [error]
        async with connect(server.url) as socket:
            await socket.send("x")
            assert await socket.recv() == "x"


async def test_a_connection_that_a_client_can_not_use_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[sockets.socket] = []

    def fail(connection: sockets.socket) -> None:
        made.append(connection)
        raise MemoryError("none is left")

    async with served(echo) as server:
        with monkeypatch.context() as patch:
            patch.setattr(kernel, "send_soon", fail)
            with pytest.raises(MemoryError):
                await connect(server.url)
        assert [connection.fileno() for connection in made] == [-1]
        async with connect(server.url):
            pass


def test_a_number_that_no_socket_can_be_made_of_is_closed() -> None:
    number = os.open(os.devnull, os.O_RDONLY)
    with pytest.raises(OSError, match="socket"):
        kernel.own(number)
    with pytest.raises(OSError, match="descriptor"):
        os.close(number)


async def test_a_reset_is_told_although_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        monkeypatch.setattr(os, "dup", refuse)
        raw.reset()
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert event.cause == "tcp_reset"
        assert not server.server.connections
