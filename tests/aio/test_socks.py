"""Clients behind a SOCKS proxy."""

from __future__ import annotations

import asyncio
import sys
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from socket import AF_INET, AF_INET6, SOCK_STREAM
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import echo, served
from tests.faults.patience import PATIENCE
from tests.proxies import Proxy, exchange, failed, proxy_of, socks, tunnel
from wasclean import WebSocket
from wasclean.aio import tunnel as ways
from wasclean.socket.opening import open_by
from wasclean.socket.websocket import session_of


@pytest.mark.parametrize("tls", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize(
    ("scheme", "user", "asked"),
    [
        ("socks4", "", b"4  127.0.0.1"),
        ("socks4a", "me@", b"4 me localhost"),
        ("socks5", "", b"5  127.0.0.1"),
        ("socks5h", "", b"5  localhost"),
        ("socks", "", b"5  localhost"),
        ("socks5h", "m%40e:s%3Acret@", b"5 m@e:s:cret localhost"),
    ],
)
async def test_a_connection_by_socks(scheme: str, user: str, asked: bytes, tls: bool) -> None:
    async with (
        served(echo, ssl=server_context() if tls else None) as server,
        proxy_of(socks, server.server.port) as proxy,
    ):
        options: Any = {"ssl": client_context()} if tls else {}
        url = f"ws{'s' if tls else ''}://localhost:{server.server.port}/"
        assert (await exchange(url, proxy=f"{scheme}://{user}127.0.0.1:{proxy.port}", **options)).ok
        assert [entry.replace(b"\0" * 15 + b"\1", b"127.0.0.1") for entry in proxy.asked] == [asked]


@pytest.mark.parametrize(
    ("scheme", "answers"),
    [
        ("socks4", [b"\0\x5b" + bytes(6)]),
        ("socks4a", [b"\0\x5d" + bytes(6)]),
        ("socks4a", [b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        ("socks4a", [b"\0\x5a"]),
        ("socks5h", [b"\x05\xff"]),
        ("socks5h", [b"\x05\x02", b"\x01\x01"]),
        ("socks5h", [b"\x05\x01"]),
        ("socks5h", [b"\x05\x00", b"\x05\x05\x00\x01" + bytes(6)]),
        ("socks5h", [b"\x05\x00", b"\x05\x02\x00\x01" + bytes(6)]),
        ("socks5h", [b"\x05\x00", b"\x05\x00\x00\x09" + bytes(6)]),
        ("socks5h", [b"\x05\x00", b"\x05"]),
        ("socks5h", [b"HTTP/1.1 400 Bad Request\r\n\r\n"]),
        ("socks5h", [b""]),
    ],
)
@pytest.mark.parametrize("user", ["", "me:secret@"])
async def test_a_socks_proxy_that_refuses(scheme: str, answers: list[bytes], user: str) -> None:
    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        for answer in answers:
            await reader.read(1000)
            writer.write(answer)
        writer.write_eof()
        await reader.read()

    async with proxy_of(script) as proxy:
        event = await failed("ws://127.0.0.1:5/", proxy=f"{scheme}://{user}127.0.0.1:{proxy.port}")
        assert isinstance(event.exception, OSError)
        assert event.detail


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
async def test_a_host_that_is_no_name_is_an_os_error(scheme: str) -> None:
    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        await reader.read(1000)
        writer.write(b"\x05\x00")
        await reader.read()

    async with proxy_of(script) as proxy:
        event = await failed("ws://a..b/", proxy=f"{scheme}://127.0.0.1:{proxy.port}")
        assert isinstance(event.exception, OSError)
        assert isinstance(event.exception.__cause__, UnicodeError)


async def test_socks_4_has_no_ipv6() -> None:
    async with proxy_of(socks) as proxy:
        event = await failed("ws://[::1]:5/", proxy=f"socks4://127.0.0.1:{proxy.port}")
        assert "'::1' has no IPv4 address, and SOCKS 4 takes no other" in event.detail
        assert proxy.asked == []


@pytest.mark.parametrize("scheme", ["socks4a", "socks5h"])
async def test_a_socks_proxy_that_stalls_is_given_up_in_time(scheme: str) -> None:
    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        await reader.read()

    async with proxy_of(script) as proxy:
        socket = WebSocket("ws://127.0.0.1:5/", proxy=f"{scheme}://127.0.0.1:{proxy.port}", open_timeout=0.5)
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert (event.cause, event.phase) == ("open_timeout", "proxy")


async def test_socks_without_python_socks_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)
    event = await failed("ws://127.0.0.1:5/", proxy="socks5://me:secret@127.0.0.1:5")
    assert isinstance(event.exception, ImportError)
    assert "pip install 'wasclean[proxy]'" in event.detail
    async with served(echo) as server, proxy_of(tunnel, server.server.port) as proxy:
        assert (await exchange(server.url, proxy=f"http://127.0.0.1:{proxy.port}")).ok


async def test_a_timeout_tells_which_address_of_the_proxy_had_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = asyncio.Event()

    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        silent.set()
        await reader.read()

    async def addresses(*_: object) -> list[str]:
        return ["127.0.0.9", "127.0.0.1"]  # it listens on the second

    monkeypatch.setattr("wasclean.aio.tunnel._addresses", addresses)
    async with proxy_of(script) as proxy:
        socket = WebSocket("ws://far.invalid/", proxy=f"socks5h://name.invalid:{proxy.port}", open_timeout=60)
        await silent.wait()
        open_by(session_of(socket), asyncio.get_running_loop().time())
        event = await socket.wait_closed()
    assert (event.cause, event.phase) == ("open_timeout", "proxy")
    assert "before that: " in str(event.exception)
    assert "127.0.0.9" in str(event.exception)


async def test_addresses_of_a_proxy_are_tried_in_the_resolvers_order(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["192.0.2.9", "2001:db8::9", "2001:db8::1", "192.0.2.1"]

    async def known(loop: Any, host: str, port: int) -> list[Any]:
        return [(AF_INET6 if ":" in each else AF_INET, SOCK_STREAM, 0, "", (each, port)) for each in found]

    monkeypatch.setattr(ways, "resolve", known)
    loop = asyncio.get_running_loop()
    assert await ways._addresses(loop, "name", 1080) == ["192.0.2.9", "192.0.2.1", "2001:db8::9", "2001:db8::1"]
    assert await ways._addresses(loop, "name", 1080, AF_INET) == ["192.0.2.9", "192.0.2.1"]
