"""Clients behind a proxy: tunnels by CONNECT, SOCKS, the environment, and proxies that do not do as they should."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket as sockets
import ssl
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import echo, served, turn
from tests.faults.patience import PATIENCE, until
from tests.proxies import OK, Proxy, Script, exchange, failed, proxy_of, secure, socks, tunnel
from tests.raw import accept, raw_server
from wasclean import CloseEvent, HandshakeError, Response, WebSocket, connect
from wasclean.aio import resolver
from wasclean.aio.tunnel import Tunnel
from wasclean.socket.opening import open_by
from wasclean.socket.websocket import session_of


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test does not set is not there."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


def answering(*parts: bytes, then: str = "wait") -> Script:
    """A script: an HTTP proxy that answers in segments, and waits for the client to go, or ends TCP."""

    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        proxy.asked.append(await reader.readuntil(b"\r\n\r\n"))
        for part in parts:
            writer.write(part)
            await asyncio.sleep(0.001)
        if then == "forward":
            await proxy.forward(reader, writer)
        elif then == "wait":
            await reader.read()

    return script


# Tunnels.


@pytest.mark.parametrize("tls_to_server", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("tls_to_proxy", [False, True], ids=["http", "https"])
async def test_a_tunnel(tls_to_proxy: bool, tls_to_server: bool) -> None:
    async with (
        served(echo, ssl=server_context() if tls_to_server else None) as server,
        proxy_of(tunnel, server.server.port, server_context() if tls_to_proxy else None) as proxy,
    ):
        url = secure(server) if tls_to_server else server.url
        options: Any = {"proxy": f"http{'s' if tls_to_proxy else ''}://me:s%20cret@localhost:{proxy.port}"}
        if tls_to_proxy:
            options["proxy_ssl"] = client_context()
        if tls_to_server:
            options["ssl"] = client_context()
        assert (await exchange(url, **options)).ok
        ours = await server.sockets.get()
        assert (await ours.wait_closed()).ok
        (head,) = proxy.asked
        host = url.split("/")[2].encode()
        credentials = base64.b64encode(b"me:s cret")
        lines = [b"CONNECT %b HTTP/1.1" % host, b"Host: %b" % host, b"Proxy-Authorization: Basic " + credentials]
        assert head.split(b"\r\n") == [*lines, b"", b""]
        assert ours.request is not None
        assert not {name.lower() for name in ours.request.headers} & {"proxy-authorization", "authorization"}


@pytest.mark.parametrize("side", ["client", "server"])
async def test_tls_inside_tls_ends_cleanly_from_either_side(side: str) -> None:
    async with (
        served(ssl=server_context()) as server,
        proxy_of(tunnel, server.server.port, server_context()) as proxy,
    ):
        options: Any = {"proxy": f"https://localhost:{proxy.port}", "proxy_ssl": client_context()}
        client = await connect(secure(server), ssl=client_context(), **options)
        other = await server.sockets.get()
        (client if side == "client" else other).close(3000, "bye")
        for event in (await client.wait_closed(), await other.wait_closed()):
            assert (event.code, event.reason, event.wasClean) == (3000, "bye", True)


async def test_a_name_that_only_the_proxy_knows() -> None:
    async with served(echo) as server, proxy_of(tunnel, server.server.port) as proxy:
        assert (await exchange("ws://far.invalid/", proxy=f"127.0.0.1:{proxy.port}")).ok
        assert proxy.asked[0].startswith(b"CONNECT far.invalid:80 HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "parts",
    [
        [bytes((byte,)) for byte in OK],
        [OK[:9], OK[9:]],
        [OK[:-1], OK[-1:]],
        [b"HTTP/1.0 204 \r\nContent-Length: 5\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n" + OK],
        [b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 99, b"\r\n"],
    ],
)
async def test_an_answer_that_makes_a_tunnel_however_it_comes(parts: list[bytes]) -> None:
    async with (
        served(echo) as server,
        proxy_of(answering(*parts, then="forward"), server.server.port) as proxy,
    ):
        assert (await exchange(server.url, proxy=f"http://127.0.0.1:{proxy.port}")).ok


@pytest.mark.parametrize("scheme", ["ws", "wss"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
@pytest.mark.parametrize(
    ("parts", "then", "detail"),
    [
        ([b"HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 9\r\n\r\n"], "wait", "answered 407 'No'"),
        ([b"HTTP/1.1 502 \r\n\r\n", b"no such host"], "wait", "answered 502"),
        ([b"HTTP/1.1 301 x\r\nLocation: ws://127.0.0.1/\r\n\r\n"], "wait", "answered 301"),
        ([b"HTTP/1.1 101 x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"], "wait", "answered 101"),
        ([OK + b"HTTP/1.1 101 x\r\n\r\n"], "wait", "18 bytes came behind the proxy's answer"),
        ([b"HTTP/1.1 200 x\r\nX: " + b"y" * 9000], "wait", "malformed: the header X is longer"),
        ([b"HTTP/1.1 200 x\r\n" + b"X: y\r\n" * 101], "wait", "more than 100 headers"),
        ([b"HTTP/1.1 100 x\r\n\r\n" * 6], "wait", "the proxy's answer is malformed"),
        ([b"HTTP/1.1 200 x\nX: y\n\n"], "wait", "the proxy's answer is malformed"),
        ([b"HTTP/2 200\r\n\r\n"], "wait", "the proxy's answer is malformed"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "wait", "the proxy's answer is malformed"),
        ([], "end", "the proxy closed the connection"),
        ([OK[:-2]], "end", "the proxy closed the connection"),
    ],
)
async def test_a_proxy_that_makes_no_tunnel(scheme: str, tls: bool, parts: list[bytes], then: str, detail: str) -> None:
    async with proxy_of(answering(*parts, then=then), tls=server_context() if tls else None) as proxy:
        url = f"http{'s' if tls else ''}://me:secret@localhost:{proxy.port}"
        event = await failed(f"{scheme}://far.invalid/", proxy=url, proxy_ssl=client_context() if tls else None)
        assert detail in event.detail
        assert isinstance(event.exception, HandshakeError)
        status = int(detail[9:12]) if detail.startswith("answered") else None
        assert (event.response and event.response.status) == status
        assert event.exception.status == (status or 0)
        assert len(proxy.asked) == 2


async def test_a_refusal_is_explained() -> None:
    async with proxy_of(answering(b"HTTP/1.1 407 No\r\n\r\n")) as proxy:
        event = await failed("ws://far.invalid/", proxy=f"http://127.0.0.1:{proxy.port}")
    assert event.as_dict()["status"] == 407
    words = " ".join(event.explain().split())
    assert "The proxy made no connection to the server" in words
    assert "the proxy wants a user name and a password" in words


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_the_body_of_a_refusal_is_told_even_if_it_does_not_end(
    tls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 0.05)
    script = answering(b"HTTP/1.1 407 No\r\nContent-Length: 99\r\n\r\nwho are you?")
    async with proxy_of(script, tls=server_context() if tls else None) as proxy:
        url = f"http{'s' if tls else ''}://localhost:{proxy.port}"
        event = await failed(
            "ws://far.invalid/", proxy=url, proxy_ssl=client_context() if tls else None, open_timeout=60
        )
    assert event.response is not None
    assert event.response.body == b"who are you?"


async def test_the_deadline_strikes_while_a_refusal_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 60)
    heads: list[Response] = []
    monkeypatch.setattr(Tunnel, "_head_received", lambda self, response: heads.append(response))
    async with proxy_of(answering(b"HTTP/1.1 502 x\r\n\r\ndown")) as proxy:
        socket = WebSocket("ws://far.invalid/", proxy=f"http://127.0.0.1:{proxy.port}", open_timeout=60)
        await until(lambda: heads)
        open_by(session_of(socket), asyncio.get_running_loop().time())
        event = await socket.wait_closed()
    assert (event.cause, event.phase) == ("proxy_failed", "proxy")
    assert event.response is not None
    assert (event.response.status, event.response.body) == (502, b"down")


async def test_a_proxy_that_resets_behind_its_refusal_has_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 60)

    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 502 x\r\n\r\ndown")
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, linger)

    async with proxy_of(script) as proxy:
        event = await failed("ws://far.invalid/", proxy=f"http://127.0.0.1:{proxy.port}", open_timeout=60)
    assert event.response is not None
    assert (event.response.status, event.response.body) == (502, b"down")


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_name_that_tls_cannot_ask_for_is_an_os_error(tls: bool) -> None:
    """A proxy may look it up for all that we know."""
    async with proxy_of(answering(OK), tls=server_context() if tls else None) as proxy:
        with pytest.raises(ssl.SSLError, match="is no name that TLS can ask for") as error:
            await connect(
                f"wss://{'x' * 64}.example/",
                proxy=f"http{'s' if tls else ''}://localhost:{proxy.port}",
                proxy_ssl=client_context() if tls else None,
            )
        assert isinstance(error.value.__cause__, UnicodeError)
        event: CloseEvent = error.value.event  # type: ignore[attr-defined]
        assert (event.code, event.cause, event.phase) == (1015, "tls_failed", "tls")


async def test_a_dot_at_the_end_of_the_proxys_name_is_not_for_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []

    async def resolve(loop: Any, host: str, port: int) -> Any:
        looked_up.append(host)
        return await resolver.resolve(loop, host.removesuffix("."), port)

    monkeypatch.setattr("wasclean.aio.client.resolve", resolve)
    context = server_context()
    names: list[str | None] = []
    context.sni_callback = lambda tls, name, _: names.append(name)
    async with served(echo) as server, proxy_of(tunnel, server.server.port, context) as proxy:
        url = f"https://localhost.:{proxy.port}"
        assert (await exchange(server.url, proxy=url, proxy_ssl=client_context())).ok
    assert looked_up == ["localhost."]
    assert names == ["localhost"]


@pytest.mark.parametrize("where", ["at once", "after the request", "in the answer"])
@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_proxy_that_stalls_is_given_up_in_time(tls: bool, where: str) -> None:
    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        if where != "at once":
            await reader.readuntil(b"\r\n\r\n")
        if where == "in the answer":
            writer.write(OK[:20])
            while True:
                writer.write(b"x")
                await asyncio.sleep(0.01)
        await reader.read()

    async with proxy_of(script, tls=server_context() if tls and where != "at once" else None) as proxy:
        socket = WebSocket(
            "ws://far.invalid/",
            proxy=f"http{'s' if tls else ''}://localhost:{proxy.port}",
            proxy_ssl=client_context() if tls else None,
            open_timeout=0.2,
        )
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert (event.cause, event.phase) == ("open_timeout", "proxy")


async def test_there_is_no_proxy(unused_tcp_port: int) -> None:
    for scheme in ("http", "https", "socks4a", "socks5"):
        event = await failed("ws://127.0.0.1/", proxy=f"{scheme}://me:secret@127.0.0.1:{unused_tcp_port}")
        assert isinstance(event.exception, ConnectionRefusedError | OSError)
        assert event.errno is not None


async def test_a_proxy_whose_name_does_not_exist() -> None:
    for scheme in ("http", "socks5h"):
        assert isinstance((await failed("ws://127.0.0.1/", proxy=f"{scheme}://no.invalid:1")).exception, OSError)


async def test_a_proxy_that_nobody_trusts() -> None:
    async with served(echo) as server, proxy_of(tunnel, server.server.port, server_context("localhost")) as proxy:
        for host, context in (("localhost", None), ("127.0.0.1", client_context())):
            event = await failed(server.url, proxy=f"https://me:secret@{host}:{proxy.port}", proxy_ssl=context)
            assert isinstance(event.exception, ssl.SSLCertVerificationError)
            assert "certificate" in event.detail
        assert proxy.asked == []


async def test_the_context_of_the_server_is_not_for_the_proxy() -> None:
    async with (
        served(echo, ssl=server_context()) as server,
        proxy_of(tunnel, server.server.port, server_context()) as proxy,
    ):
        event = await failed(secure(server), proxy=f"https://localhost:{proxy.port}", ssl=client_context())
        assert isinstance(event.exception, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_tls_that_fails_behind_the_proxy_is_not_the_proxys_failure(tls: bool) -> None:
    async with (
        served(echo, ssl=server_context()) as server,
        proxy_of(tunnel, server.server.port, server_context() if tls else None) as proxy,
    ):
        options: Any = {"proxy_ssl": client_context()} if tls else {}
        socket = WebSocket(secure(server), proxy=f"http{'s' if tls else ''}://localhost:{proxy.port}", **options)
        event = await socket.wait_closed()
        assert (event.code, event.cause, event.phase) == (1015, "tls_failed", "tls")
        assert isinstance(event.exception, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_server_behind_the_proxy_that_refuses_has_rejected_us(tls: bool) -> None:
    async with (
        served(echo, on_request=lambda request: Response(403, "no\n")) as server,
        proxy_of(tunnel, server.server.port, server_context() if tls else None) as proxy,
    ):
        with pytest.raises(HandshakeError) as error:
            await connect(
                server.url,
                proxy=f"http{'s' if tls else ''}://localhost:{proxy.port}",
                proxy_ssl=client_context() if tls else None,
            )
        assert error.value.status == 403
        assert error.value.event is not None
        assert error.value.event.cause == "handshake_rejected"


async def test_frames_that_arrive_with_the_answer_of_the_server_are_read() -> None:
    async def script(proxy: Proxy, reader: Reader, writer: Writer) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK)
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(accept(head) + b"\x81\x02hi")
        await reader.read()

    async with proxy_of(script) as proxy:
        socket = await connect("ws://far.invalid/", proxy=f"http://127.0.0.1:{proxy.port}")
        assert await socket.recv() == "hi"
        socket.terminate()
        await socket.wait_closed()


@pytest.mark.parametrize("tls_to_server", [False, True], ids=["ws", "wss"])
@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
async def test_connecting_by_a_proxy_cancelled_at_any_point_leaves_nothing(scheme: str, tls_to_server: bool) -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("there is no /proc")
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    script = socks if scheme == "socks5h" else tunnel
    async with (
        served(echo, ssl=server_context() if tls_to_server else None) as server,
        proxy_of(script, server.server.port, server_context() if scheme == "https" else None) as proxy,
    ):
        url = secure(server) if tls_to_server else server.url
        options: Any = {"proxy": f"{scheme}://localhost:{proxy.port}"}
        if scheme == "https":
            options["proxy_ssl"] = client_context()
        if tls_to_server:
            options["ssl"] = client_context()
        await (await connect(url, **options)).close()
        await until(lambda: not server.server.connections and not proxy._tasks)
        before = len(os.listdir("/proc/self/fd"))
        for turns in range(0, 60, 2):
            task = asyncio.ensure_future(connect(url, **options))
            await turn(turns)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).close()
        await until(lambda: not server.server.connections and not proxy._tasks)
        await until(lambda: len(os.listdir("/proc/self/fd")) <= before)
    assert reported == []


# The environment.


async def test_the_environment_has_the_proxy_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(echo) as server, proxy_of(tunnel, server.server.port) as proxy:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        assert (await exchange(server.url)).ok
        assert (await exchange("ws://far.invalid/", proxy=True)).ok
        assert len(proxy.asked) == 2
        assert (await exchange(server.url, proxy=None)).ok
        monkeypatch.setenv("no_proxy", "127.0.0.0/8")
        assert (await exchange(server.url)).ok
        assert len(proxy.asked) == 2


async def test_an_environment_with_a_proxy_that_is_none_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("all_proxy", "sock5://me:secret@h")
    event = await failed("ws://127.0.0.1:5/")
    assert event.detail.startswith("all_proxy in the environment: ")


@pytest.mark.parametrize("name", ["http_proxy", "all_proxy", ""])
async def test_a_proxy_that_is_down_is_named_with_where_it_comes_from(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sockets.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        authority = f"127.0.0.1:{closed.getsockname()[1]}"
        options: Any = {} if name else {"proxy": f"http://me:s3cret@{authority}"}
        if name:
            monkeypatch.setenv(name, f"http://me:s3cret@{authority}")
        event = await WebSocket("ws://localhost:1/", **options).wait_closed()
        assert event.cause == "proxy_failed"
        source = f"{name} in the environment" if name else "proxy="
        assert event.detail.endswith(f"; the proxy is http://{authority}, from {source}")
        words = " ".join(event.explain().split())
        assert "the proxy does not run" in words
        assert ("proxy=None" in words) == bool(name)
        assert "s3cret" not in words + str(event) + repr(event.as_dict())
        with pytest.raises(ConnectionRefusedError) as caught:
            await connect("ws://localhost:1/", **options)
        assert caught.value.__notes__ == [f"the proxy is http://{authority}, from {source}"]


async def test_a_proxy_of_the_environment_that_is_silent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async with proxy_of(answering(), 1) as proxy:
        monkeypatch.setenv("http_proxy", f"http://me:s3cret@127.0.0.1:{proxy.port}")
        event = await WebSocket("ws://localhost:1/", open_timeout=0.2).wait_closed()
        assert (event.cause, event.phase) == ("open_timeout", "proxy")
        words = " ".join(event.explain().split())
        assert f"asked the proxy http://127.0.0.1:{proxy.port}, from http_proxy in the environment" in words
        assert "the proxy does not answer" in words
        assert "s3cret" not in words


async def test_a_redirect_asks_the_environment_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(raw: Any) -> None:
        await raw.rest()

    def redirect(head: bytes) -> bytes:
        return b"HTTP/1.1 302 x\r\nContent-Length: 0\r\nLocation: ws://far.invalid/there\r\n\r\n"

    async with (
        served(echo) as server,
        raw_server(hang, answer=redirect) as near,
        proxy_of(tunnel, server.server.port) as proxy,
    ):
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        socket = await connect(near, max_redirects=1)
        assert socket.url == "ws://far.invalid/there"
        assert (await socket.close()).ok
        assert [head.split()[1] for head in proxy.asked] == [b"far.invalid:80"]
        assert b"Proxy-Authorization: Basic" in proxy.asked[0]


async def test_a_unix_socket_needs_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://no.invalid")
    with pytest.raises(FileNotFoundError):
        await connect("ws://localhost/", unix="/nonexistent/socket")
    with pytest.raises(TypeError, match="unix= and proxy= exclude each other"):
        connect("ws://localhost/", unix="/nonexistent/socket", proxy="http://h")


@pytest.mark.parametrize("proxy", ["ftp://me:secret@h", "http://h\r\nX: y", "http://me:secret%00@h", ""])
async def test_what_is_no_proxy_is_an_error_at_once(proxy: str) -> None:
    with pytest.raises(ValueError, match="prox") as error:
        WebSocket("ws://127.0.0.1:5/", proxy=proxy)
    assert "secret" not in str(error.value)
    with pytest.raises(TypeError, match="proxy="):
        WebSocket("ws://127.0.0.1:5/", proxy=False)  # type: ignore[arg-type]
