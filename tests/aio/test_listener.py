"""Accepting connections that are read and written by ourselves."""

from __future__ import annotations

import asyncio
import errno
import os
import socket as sockets
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints import echo, served
from tests.faults.patience import until
from tests.wire import raw_client
from wasclean import WebSocket, connect, serve
from wasclean.aio import poller
from wasclean.aio.kernel import NOTSENT
from wasclean.aio.listener import Listener
from wasclean.aio.residents import Residents

pytestmark = pytest.mark.skipif(not poller.AVAILABLE, reason="there is no epoll on this system")


class Bound:
    """A server of the loop's that is bound to addresses, and does not serve."""

    def __init__(self, *addresses: sockets.socket) -> None:
        self.sockets = addresses

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()


def bound() -> sockets.socket:
    socket = sockets.socket()
    socket.bind(("127.0.0.1", 0))
    return socket


async def test_a_listener_that_fails_on_one_address_listens_on_none() -> None:
    first, second = bound(), bound()
    address = first.getsockname()
    second.close()
    server = Bound(first, second)
    with pytest.raises(OSError, match="Bad file descriptor"):
        Listener(asyncio.get_running_loop(), server, lambda: None, 10)  # type: ignore[arg-type, return-value]
    assert first.fileno() == -1
    with pytest.raises(ConnectionRefusedError):
        sockets.create_connection(address).close()


async def test_both_ends_send_at_once_and_keep_from_the_kernel_what_it_can_not_send() -> None:
    async with serve(echo, "127.0.0.1", 0) as server, connect(f"ws://127.0.0.1:{server.port}"):
        streams: set[Any] = set(Residents.of(asyncio.get_running_loop()).present)
        descriptors = [os.dup(stream._fileno()) for stream in streams]
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


async def test_a_reset_is_told_although_no_descriptor_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        monkeypatch.setattr(os, "dup", refuse)
        raw.reset()
        event = await asyncio.wait_for(socket.wait_closed(), 5)
        assert event.cause == "tcp_reset"
        assert not server.server.connections
