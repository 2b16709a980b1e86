"""Where a server listens: hosts and ports, Unix sockets, and sockets of the program's."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket as sockets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import server_context
from tests.endpoints import echo
from wasclean import connect, serve
from wasclean.aio import binding, poller
from wasclean.aio.binding import bind_to_hosts, bind_to_path, shown
from wasclean.aio.resolver import AddrInfo, resolve

#: Addresses for documentation, which no machine has (RFC 5737, RFC 3849).
NOT_HERE = ["203.0.113.1", "2001:db8::1"]


@pytest.fixture(params=[True, False], ids=["epoll", "loop"], autouse=True)
def epoll(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections are accepted by ourselves, or by the loop, where there is no epoll."""
    if not request.param:
        monkeypatch.setattr(poller, "AVAILABLE", False)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """The addresses of names."""
    names: dict[str, list[str]] = {}

    async def known(loop: Any, host: str | None, port: int, *, passive: bool = False) -> list[AddrInfo]:
        addresses = [host] if host is None else names.get(host, [host])
        return [info for address in addresses for info in await resolve(loop, address, port, passive=passive)]

    monkeypatch.setattr(binding, "resolve", known)
    return names


async def check(url: str, **options: Any) -> None:
    """Send a message there and back."""
    async with connect(url, **options) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "wasclean.server"]


# Hosts and ports.


@pytest.mark.parametrize("missing", NOT_HERE)
@pytest.mark.parametrize("first", [True, False])
async def test_an_address_of_a_name_that_is_not_here_is_left_out(
    missing: str, first: bool, names: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    names["localhost"] = [missing, "127.0.0.1"] if first else ["127.0.0.1", missing]
    caplog.set_level(logging.INFO)
    async with serve(echo, "localhost", 0) as server:
        assert [socket.getsockname() for socket in server.sockets] == [("127.0.0.1", server.port)]
        await check(f"ws://127.0.0.1:{server.port}")
    left_out, listening = lines(caplog)
    assert missing in left_out
    assert "this machine does not have" in left_out
    assert listening == f"listening on 127.0.0.1:{server.port} (port chosen by the system)"


@pytest.mark.parametrize("host", [NOT_HERE[0], ["127.0.0.1", NOT_HERE[0]], ["name", "127.0.0.1"], "name"])
async def test_an_address_that_is_not_here_is_an_error_if_its_host_has_no_other(
    host: Any, names: dict[str, list[str]]
) -> None:
    names["name"] = NOT_HERE
    with sockets.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(OSError, match=r"203\.0\.113\.1|2001:db8::1") as caught:
        await serve(echo, host, port)
    assert caught.value.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
    sockets.create_server(("127.0.0.1", port)).close()  # nothing listens there


async def test_a_taken_port_of_an_address_of_a_name_is_an_error(names: dict[str, list[str]]) -> None:
    names["name"] = ["127.0.0.1", "127.0.0.2"]
    with sockets.create_server(("127.0.0.2", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=rf"in use: 127\.0\.0\.2:{port}") as caught:
            await serve(echo, "name", port)
        assert caught.value.errno == errno.EADDRINUSE
        sockets.create_server(("127.0.0.1", port)).close()  # nothing listens there


@pytest.mark.parametrize("host", [None, "", [""], ["", ""]])
async def test_no_host_is_all_addresses_of_this_machine(host: Any) -> None:
    async with serve(echo, host, 0) as server:
        assert {socket.getsockname()[0] for socket in server.sockets} <= {"0.0.0.0", "::"}
        assert "0.0.0.0" in {socket.getsockname()[0] for socket in server.sockets}
        await check(f"ws://127.0.0.1:{server.port}")


async def test_an_address_that_two_hosts_have_is_bound_once(names: dict[str, list[str]]) -> None:
    names["one"] = names["other"] = ["127.0.0.1", "127.0.0.2"]
    async with serve(echo, ("one", "127.0.0.1", "other", "127.0.0.3"), 0) as server:
        assert [socket.getsockname()[0] for socket in server.sockets] == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
        assert {socket.getsockname()[1] for socket in server.sockets} == {server.port}
        await check(f"ws://127.0.0.3:{server.port}")


async def test_another_port_is_tried_when_one_is_taken_on_some_address(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    with sockets.create_server(("127.0.0.2", 0)) as taken:

        class Socket(sockets.socket):
            def bind(self, address: Any) -> None:
                asked.append(address[1])
                super().bind((address[0], taken.getsockname()[1]) if len(asked) == 1 else address)

        monkeypatch.setattr(binding, "Socket", Socket)
        bound = await bind_to_hosts(asyncio.get_running_loop(), ["127.0.0.1", "127.0.0.2"], 0, False)
        ports = {each.getsockname()[1] for each in bound}
        for each in bound:
            each.close()
        # Another program may have the taken port on the first address, too: then that is where the first try ends.
        assert asked[0] == 0
        assert len(asked) > 2
        assert asked[-2:] == [0, *ports]
        assert taken.getsockname()[1] not in ports


# Unix sockets.


async def test_the_file_of_a_unix_socket_is_removed_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with serve(echo, unix="socket") as server:
        await check("ws://localhost/", unix=str(tmp_path / "socket"))
        monkeypatch.chdir("/")
        assert server.port == 0
    assert list(tmp_path.iterdir()) == []


async def test_another_file_in_its_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serve(echo, unix=path):
        path.unlink()
        async with serve(echo, unix=path):
            pass
        assert not path.exists()
        path.write_text("mine")
    assert path.read_text() == "mine"


async def test_a_server_leaves_the_file_of_a_later_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = await serve(echo, unix=path)
    path.unlink()
    async with serve(echo, unix=path):
        await first.close()
        await check("ws://localhost/", unix=path)


async def test_closing_a_server_again_leaves_the_file_of_a_later_one_alone(tmp_path: Path) -> None:
    """A new file often has the inode of the one that was removed just before."""
    path = tmp_path / "socket"
    first = bind_to_path(str(path))
    first.close()
    async with serve(echo, unix=path):
        first._identity = binding._identity(str(path))  # type: ignore[attr-defined]
        first.close()
        await check("ws://localhost/", unix=path)


async def test_what_a_killed_process_has_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with sockets.socket(sockets.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serve(echo, unix=path):
        await check("ws://localhost/", unix=path)


async def test_a_socket_on_which_another_listens_is_an_error_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with serve(echo, unix=path, backlog=1):
        with pytest.raises(OSError, match="in use") as caught:
            await serve(echo, unix=path)
        assert (caught.value.errno, caught.value.filename) == (errno.EADDRINUSE, str(path))
        await check("ws://localhost/", unix=path)


async def test_what_is_no_socket_is_an_error_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    (tmp_path / "link").symlink_to(path)
    for name in ("file", "link", ""):
        with pytest.raises(OSError, match="in use"):
            await serve(echo, unix=tmp_path / name)
    assert path.read_text() == "mine"
    assert (tmp_path / "link").is_symlink()


@pytest.mark.skipif(not Path("/proc").exists(), reason="there are abstract names on Linux only")
async def test_an_abstract_name_has_no_file() -> None:
    name = f"\0wasclean-{os.getpid()}"
    async with serve(echo, unix=name) as server:
        assert "unix:@wasclean-" in repr(server)
        await check("ws://localhost/", unix=name)
        with pytest.raises(OSError, match="in use"):
            await serve(echo, unix=name)


def test_a_forked_process_leaves_the_file_to_its_parent(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listening = bind_to_path(path)
    if (child := os.fork()) == 0:
        listening.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert os.path.exists(path)
    listening.close()
    listening.close()
    assert not os.path.exists(path)


# Sockets of the program's.


@pytest.fixture
def given() -> Iterator[list[sockets.socket]]:
    """Two sockets that listen on ports of their own, as systemd gives them."""
    given = [sockets.create_server(("127.0.0.1", 0)), sockets.create_server(("127.0.0.2", 0))]
    yield given
    for each in given:
        each.close()


@pytest.mark.parametrize("kind", [list, tuple])
async def test_several_sockets_are_all_listened_on(kind: Any, given: list[sockets.socket]) -> None:
    names = [each.getsockname() for each in given]
    async with serve(echo, sock=kind(given)) as server:
        assert [socket.getsockname() for socket in server.sockets] == names
        assert server.port == names[0][1]
        for host, port in names:
            await check(f"ws://{host}:{port}")
            assert f"{host}:{port}" in repr(server)
    for name in names:
        with pytest.raises(ConnectionRefusedError):
            sockets.create_connection(name)


async def test_a_unix_socket_of_the_programs_keeps_its_file(tmp_path: Path, given: list[sockets.socket]) -> None:
    path = tmp_path / "socket"
    unix = sockets.socket(sockets.AF_UNIX)
    unix.bind(str(path))
    async with serve(echo, sock=[unix, given[1]]) as server:
        assert server.port == given[1].getsockname()[1]
        await check("ws://localhost/", unix=path)
        await check(f"ws://127.0.0.2:{server.port}")
    assert path.exists()


async def test_a_socket_that_the_program_closes_is_no_error(given: list[sockets.socket]) -> None:
    async with serve(echo, sock=given):
        given[0].close()


async def test_what_can_not_be_listened_on_is_an_error_at_once(given: list[sockets.socket]) -> None:
    one, other = sockets.socketpair()
    closed = sockets.socket()
    closed.close()
    with one, other, sockets.socket(type=sockets.SOCK_DGRAM) as datagrams:
        for sock, error, message in (
            (5, TypeError, r"sock must be a socket\.socket, or a list of them, not int"),
            ([given[0], 5], TypeError, "not int"),
            ("abc", TypeError, "not str"),
            ([], ValueError, "one socket at least"),
            ([given[0], given[0]], ValueError, "once"),
            ([given[0], datagrams], ValueError, "SOCK_STREAM"),
            (one, ValueError, "connected"),
            (closed, ValueError, "closed"),
        ):
            with pytest.raises(error, match=message):
                serve(echo, sock=sock)  # type: ignore[arg-type]


# What is said of it.


@pytest.mark.parametrize(
    ("address", "text"),
    [
        (("127.0.0.1", 80), "127.0.0.1:80"),
        (("::1", 80, 0, 0), "[::1]:80"),
        ("/run/socket", "unix:/run/socket"),
        (b"\0name", "unix:@name"),
        ((2, 1024), "(2, 1024)"),
    ],
)
def test_an_address_is_shown_as_in_a_url(address: Any, text: str) -> None:
    assert shown(address) == text


async def test_the_log_says_where_a_server_listens(
    tmp_path: Path, given: list[sockets.socket], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    names = ", ".join(shown(each.getsockname()) for each in given)
    async with serve(echo, ["127.0.0.1", "127.0.0.2"], ssl=server_context()) as server:
        port = server.port
        assert repr(server) == f"<Server on 127.0.0.1:{port}, 127.0.0.2:{port}, 0 connections>"
    assert repr(server) == f"<Server was on 127.0.0.1:{port}, 127.0.0.2:{port}, 0 connections>"
    async with serve(echo, "127.0.0.1", port) as server, serve(echo, unix=tmp_path / "socket"), serve(echo, sock=given):
        pass
    assert lines(caplog) == [
        f"listening on 127.0.0.1:{port}, 127.0.0.2:{port} (port chosen by the system), with TLS",
        f"listening on 127.0.0.1:{port}",
        f"listening on unix:{tmp_path}/socket",
        f"listening on {names}",
    ]
