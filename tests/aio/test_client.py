"""connect() and WebSocket(url): from a URL to an open socket, and every way not to get there."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import os
import re
import socket as sockets
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import wasclean
import wasclean.aio.poller
import wasclean.socket.websocket
from tests.certificates import authority, client_context, server_context
from tests.endpoints import Record, Served, echo, failed_by_tls, opened, served, turn
from tests.faults.patience import NEVER, PATIENCE, until
from tests.faults.tcp_peer import tcp_server
from tests.faults.tls_peer import tls_server
from tests.raw import Raw, accept, hang, raw_server
from wasclean import ConnectionClosed, HandshakeError, WebSocket, connect, serve
from wasclean.aio.client import Attempt
from wasclean.socket.opening import open_by
from wasclean.socket.target import new_target
from wasclean.socket.websocket import new_websocket, session_of


def headers_of(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode().split("\r\n")[1:-2]
    return [(name, value) for name, _, value in (line.partition(": ") for line in lines)]


def answering(status: str, body: bytes = b"", *headers: str) -> Callable[[bytes], bytes]:
    """Makes an answer that accepts nothing."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return lambda head: "\r\n".join(lines).encode() + body


@pytest.fixture(autouse=True)
async def nothing_stays() -> AsyncIterator[None]:
    """No task is left behind by a test."""
    before = asyncio.all_tasks()
    yield
    await until(lambda: asyncio.all_tasks() <= before | {task for task in [asyncio.current_task()] if task})


# connect().


async def test_connect_is_an_async_context_manager_that_closes_with_1000() -> None:
    async with served(echo) as server:
        async with connect(server.url) as socket:
            assert socket.readyState == WebSocket.OPEN
            await socket.send("x")
            assert await socket.recv() == "x"
        assert socket.readyState == WebSocket.CLOSED
        event = await (await server.sockets.get()).wait_closed()
        assert (event.code, event.wasClean, event.initiator) == (1000, True, "remote")


async def test_an_exception_leaves_the_context_with_1001() -> None:
    async def fail(url: str) -> None:
        async with connect(url):
            raise RuntimeError("mine")

    async with served() as server:
        with pytest.raises(RuntimeError, match="mine"):
            await fail(server.url)
        assert (await (await server.sockets.get()).wait_closed()).code == 1001


async def test_connect_can_be_awaited() -> None:
    async with served(echo) as server:
        socket = await connect(server.url)
        async with socket:
            assert socket.readyState == WebSocket.OPEN
        assert (await socket.wait_closed()).wasClean


async def test_one_connect_can_be_used_many_times() -> None:
    async with served(echo) as server:
        again = connect(server.url)
        for _ in range(2):
            async with again as socket:
                await socket.send("x")
                assert await socket.recv() == "x"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"url": "nonsense"}, wasclean.SyntaxError),
        ({"url": "ws://h/#x"}, wasclean.SyntaxError),
        ({"subprotocols": ["a b"]}, wasclean.SyntaxError),
        ({"timeout": 5}, TypeError),
        ({"open_timeout": -1}, ValueError),
    ],
)
async def test_wrong_arguments_are_an_error_at_once(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        connect(**{"url": "ws://localhost/", **arguments})


@pytest.mark.parametrize(
    "options", [{"max_redirects": 6}, {"headers": {"X": "a\nb"}}, {"headers": {"Upgrade": "x"}}, {"origin": "a\r\nb"}]
)
async def test_wrong_options_are_an_error_before_anything_is_sent(options: Any, unused_tcp_port: int) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of any kind
        await connect(f"ws://127.0.0.1:{unused_tcp_port}/", **options)


async def test_ssl_with_a_ws_url_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="wss"):
        await connect("ws://localhost/", ssl=client_context())
    with pytest.raises(ValueError, match="wss"):
        WebSocket("ws://localhost/", ssl=client_context())


# The request.


async def request_of(url: str = "", **options: Any) -> list[tuple[str, str]]:
    """The headers that a client sends; the URL's host and port are those of a server."""
    heads: list[bytes] = []

    async def script(raw: Raw) -> None:
        heads.append(raw.head)
        await raw.rest()

    async with raw_server(script) as where:
        if url:
            where = url.format(where.removeprefix("ws://").rstrip("/"))
        socket = await connect(where, **options)
        socket.terminate()
        await socket.wait_closed()
    return headers_of(heads[0])


async def test_the_request_says_who_asks() -> None:
    headers = await request_of()
    assert [value for name, value in headers if name == "User-Agent"] == [f"wasclean/{wasclean.__version__}"]
    assert not [name for name, _ in headers if name.lower() in ("origin", "authorization", "cookie")]
    headers = await request_of(headers={"User-Agent": "mine"})
    assert [value for name, value in headers if name.lower() == "user-agent"] == ["mine"]


async def test_origin_and_headers_are_sent() -> None:
    headers = await request_of(origin="https://example.com", headers=[("X-A", "1"), ("X-A", "2")])
    assert ("Origin", "https://example.com") in headers
    assert [value for name, value in headers if name == "X-A"] == ["1", "2"]


async def test_a_user_in_the_url_becomes_basic_authorization() -> None:
    headers = await request_of("ws://user:p%40ss@{}/")
    assert ("Authorization", "Basic " + base64.b64encode(b"user:p@ss").decode()) in headers
    headers = await request_of("ws://user:p@{}/", headers={"authorization": "Bearer x"})
    assert [value for name, value in headers if name.lower() == "authorization"] == ["Bearer x"]


async def test_each_request_has_a_key_of_its_own() -> None:
    keys = [value for _ in range(3) for name, value in await request_of() if name == "Sec-WebSocket-Key"]
    assert len(set(keys)) == 3
    assert all(len(base64.b64decode(key)) == 16 for key in keys)


# Refusals.


@pytest.mark.parametrize(
    ("status", "body"),
    [("403 Forbidden", b""), ("404 Not Found", b"no such thing\n"), ("500 Oh", b"x"), ("200 OK", b"")],
)
async def test_an_answer_that_does_not_accept_is_a_handshake_error(status: str, body: bytes) -> None:
    async with raw_server(hang, answer=answering(status, body, "X-Why: because")) as url:
        with pytest.raises(HandshakeError, match=status[:3]) as error:
            await connect(url)
        assert error.value.status == int(status[:3])
        response = error.value.response
        assert response is not None
        assert (response.status, response.reason, response.body) == (int(status[:3]), status[4:], body)
        assert response.headers["x-why"] == "because"

        socket = WebSocket(url)
        record = Record(socket)
        event = await socket.wait_closed()
        assert record.types == ["error", "close"]
        assert (event.code, event.wasClean, event.sent, event.received) == (1006, False, None, None)
        assert isinstance(event.exception, HandshakeError)
        assert socket.response is not None
        assert socket.response.status == int(status[:3])
        with pytest.raises(HandshakeError):
            await socket.wait_opened()


async def test_of_a_long_body_64_kib_are_kept() -> None:
    async with raw_server(hang, answer=answering("404 Not Found", b"x" * 1_000_000)) as url:
        with pytest.raises(HandshakeError) as error:
            await connect(url)
        assert error.value.response is not None
        assert error.value.response.body == b"x" * (64 << 10)


async def test_an_endless_body_does_not_hold_us_up() -> None:
    async def script(raw: Raw) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                raw.send(b"x" * 65536)
                await raw.writer.drain()

    async with raw_server(script, answer=lambda head: b"HTTP/1.1 500 No\r\n\r\n") as url:
        with pytest.raises(HandshakeError) as error:
            await connect(url)
        assert error.value.status == 500


#: A refusal that says no length, so that its body ends with TCP.
UNENDING = b"HTTP/1.1 401 Unauthorized\r\nContent-Type: text/plain\r\n\r\nbad user"


def hurry(socket: WebSocket) -> None:
    """Let the time be up for a socket that is connecting."""
    open_by(session_of(socket), asyncio.get_running_loop().time())


async def refused(url: str, **options: Any) -> wasclean.CloseEvent:
    """The close event of a client that was refused with 401 and "bad user"."""
    with pytest.raises(HandshakeError, match="401") as error:
        await connect(url, **options)
    event = error.value.event
    assert event is not None
    assert (event.cause, event.initiator, event.phase) == ("handshake_rejected", "remote", "http")
    assert error.value.status == 401
    assert error.value.response is not None
    assert error.value.response is event.response
    assert event.response.body == b"bad user"
    return event


async def test_a_refusal_whose_body_does_not_end_is_told_with_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 0.05)
    async with raw_server(hang, answer=lambda head: UNENDING) as url:
        await refused(url, open_timeout=60)


@pytest.mark.parametrize("transports", ["epoll", "the loop's"])
async def test_the_deadline_strikes_while_a_refusal_is_read(transports: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 60)
    if transports != "epoll":
        monkeypatch.setattr(wasclean.aio.poller, "AVAILABLE", False)
    async with raw_server(hang, answer=lambda head: UNENDING) as url:
        socket = WebSocket(url, open_timeout=60)
        record = Record(socket)
        await until(lambda: socket.response is not None)
        hurry(socket)
        event = await socket.wait_closed()
        assert record.types == ["error", "close"]
        assert (event.cause, event.initiator, event.phase) == ("handshake_rejected", "remote", "http")
        assert event.response is not None
        assert (event.response.status, event.response.body) == (401, b"bad user")


@pytest.mark.parametrize("way", ["close", "terminate"])
async def test_who_gives_up_while_a_refusal_is_read_still_has_the_answer(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 60)
    async with raw_server(hang, answer=lambda head: UNENDING) as url:
        socket = WebSocket(url, open_timeout=60)
        await until(lambda: socket.response is not None)
        getattr(socket, way)()
        event = await socket.wait_closed()
        assert event.initiator == "local"
        assert event.response is not None
        assert event.response.status == 401


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_a_connection_that_breaks_behind_the_head_of_a_refusal_takes_nothing_from_it(tls: bool) -> None:
    async with tls_server() if tls else tcp_server() as server:
        options: Any = {"ssl": client_context()} if tls else {}
        connecting = asyncio.ensure_future(refused(server.url, open_timeout=60, **options))
        peer = await server.accept_tcp()
        if tls:
            await peer.shake_hands()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += await peer.read()
        await peer.send(UNENDING)
        peer.close() if tls else peer.reset()
        await connecting


async def test_a_redirect_is_followed_at_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wasclean.aio.opening.BODY_TIMEOUT", 60)
    async with served(echo) as server:
        redirect = f"HTTP/1.1 302 Found\r\nLocation: {server.url}\r\n\r\nMoved".encode()
        async with raw_server(hang, answer=lambda head: redirect) as url:
            socket = await connect(url, max_redirects=1, open_timeout=60)
            assert socket.url == server.url
            assert (await socket.close()).ok


@pytest.mark.parametrize(
    "answer",
    [
        lambda head: accept(head).replace(b"Accept: ", b"Accept: x"),
        lambda head: accept(head.replace(b"Key: ", b"Key: x")),
        lambda head: accept(head, "Sec-WebSocket-Extensions: permessage-deflate; what"),
        lambda head: accept(head, "Sec-WebSocket-Protocol: chat"),
        lambda head: accept(head).replace(b"Upgrade: websocket\r\n", b""),
        lambda head: accept(head).replace(b"Connection: Upgrade\r\n", b""),
        lambda head: accept(head, "Sec-WebSocket-Accept: x"),
        lambda head: accept(head).replace(b"HTTP/1.1", b"HTTP/1.0"),
        lambda head: b"SSH-2.0-OpenSSH_9.9\r\n",
        lambda head: b"\x88\x02\x03\xe8",
        lambda head: b"HTTP/1.1 100 Continue\r\n\r\n" * 6,
        lambda head: b"HTTP/1.1 101 x\r\n" + b"X: y\r\n" * 101,
    ],
)
async def test_an_answer_that_breaks_the_rules_is_an_error_and_no_frame_is_sent(answer: Any) -> None:
    rests: list[bytes] = []

    async def script(raw: Raw) -> None:
        rests.append(await raw.rest())

    async with raw_server(script, answer=answer) as url:
        with pytest.raises(HandshakeError):
            await connect(url)
        socket = WebSocket(url)
        record = Record(socket)
        event = await socket.wait_closed()
        assert record.types == ["error", "close"]
        assert (event.code, event.reason, event.wasClean, event.initiator) == (1006, "", False, "local")
        assert (event.sent, event.received) == (None, None)
        await until(lambda: len(rests) == 2)
    assert rests == [b"", b""]


async def test_a_subprotocol_that_was_offered_must_be_picked() -> None:
    async with raw_server(hang) as url:
        with pytest.raises(HandshakeError, match="none of the subprotocols"):
            await connect(url, ["a", "b"])


@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("size", [0, 1, 20, 90])
async def test_a_server_that_leaves_in_the_middle_of_its_answer(end: str, size: int) -> None:
    async def script(raw: Raw) -> None:
        await raw.writer.drain()
        if end == "rst":
            raw.reset()

    async with raw_server(script, answer=lambda head: accept(head)[:size]) as url:
        with pytest.raises((HandshakeError, ConnectionError)):
            await connect(url)
        event = await WebSocket(url).wait_closed()
        assert (event.code, event.wasClean, event.sent, event.received) == (1006, False, None, None)
        assert isinstance(event.exception, HandshakeError | ConnectionError)


# No connection.


async def test_a_refused_connection(unused_tcp_port: int) -> None:
    with pytest.raises(ConnectionRefusedError):
        await connect(f"ws://127.0.0.1:{unused_tcp_port}/")
    with pytest.raises(OSError):  # noqa: PT011 - where there is IPv6 there are two
        await connect(f"ws://localhost:{unused_tcp_port}/")


async def test_a_name_that_does_not_exist() -> None:
    with pytest.raises(sockets.gaierror):
        await connect("ws://does-not-exist.invalid/")
    event = await WebSocket("ws://does-not-exist.invalid/").wait_closed()
    assert (event.code, event.initiator) == (1006, "network")
    assert isinstance(event.exception, sockets.gaierror)


class LoopThatRefuses:
    """The loop, but for sock_connect(): the first address refuses, and the others say nothing."""

    def __init__(self, error: Exception) -> None:
        self._loop = asyncio.get_running_loop()
        self._errors = [error]
        self.hangs = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def sock_connect(self, connection: object, address: object) -> None:
        if self._errors:
            raise self._errors.pop()
        self.hangs = True
        await asyncio.Event().wait()


def with_sock_connect_of(loop: LoopThatRefuses, monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = _buffer_of(asyncio.get_running_loop())
    monkeypatch.setattr("wasclean.aio.client.get_running_loop", lambda: loop)
    monkeypatch.setattr("wasclean.aio.client.buffer_of", lambda _: buffer)


async def test_a_timeout_tells_which_addresses_had_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def two_addresses(loop: object, host: str, port: int) -> list[Any]:
        return [(sockets.AF_INET, sockets.SOCK_STREAM, 0, "", (f"127.0.0.{i}", port)) for i in (1, 2)]

    monkeypatch.setattr("wasclean.aio.client.resolve", two_addresses)
    loop = LoopThatRefuses(ConnectionRefusedError(errno.ECONNREFUSED, "no, said ::1"))
    with_sock_connect_of(loop, monkeypatch)
    socket = WebSocket("ws://name.invalid/", open_timeout=60)
    await until(lambda: loop.hangs)
    hurry(socket)
    event = await socket.wait_closed()
    assert (event.cause, event.phase) == ("open_timeout", "tcp")
    assert isinstance(event.exception, TimeoutError)
    assert str(event.exception).endswith("took longer than 60 s; before that: [Errno 111] no, said ::1")
    assert "no, said ::1" in " ".join(event.explain().split())


async def test_what_uvloop_raises_in_place_of_an_os_error_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with_sock_connect_of(LoopThatRefuses(RuntimeError("File descriptor 5 is used by transport")), monkeypatch)
    with pytest.raises(OSError, match="File descriptor 5") as error:
        await connect("ws://127.0.0.1:5/")
    assert isinstance(error.value.__cause__, RuntimeError)


@pytest.mark.parametrize("url", ["ws://a..b/", "wss://a..b/", f"ws://{'x' * 64}.invalid/"])
async def test_a_host_that_is_no_name_is_an_os_error(url: str) -> None:
    with pytest.raises(sockets.gaierror, match="Name or service not known") as error:
        await connect(url)
    assert isinstance(error.value.__cause__, UnicodeError)
    event: wasclean.CloseEvent = error.value.event  # type: ignore[attr-defined]
    assert (event.cause, event.phase) == ("connect_failed", "dns")


async def test_a_server_that_accepts_and_says_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with raw_server(hang, answer=lambda head: b"") as url:
        start = loop.time()
        with pytest.raises(TimeoutError, match=r"longer than 0\.05 s"):
            await connect(url, open_timeout=0.05)
        assert loop.time() - start > 0.04
        event = await WebSocket(url, open_timeout=0.05).wait_closed()
        assert event.code == 1006
        assert isinstance(event.exception, TimeoutError)


async def test_a_server_that_dribbles_does_not_prolong_the_time() -> None:
    async def script(raw: Raw) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 5000:  # at least 5 s
            raw.send(bytes((byte,)))
            await asyncio.sleep(0.001)
        came_to_an_end.set()

    came_to_an_end = asyncio.Event()
    async with raw_server(script, answer=lambda head: b"") as url:
        with pytest.raises(TimeoutError):
            await connect(url, open_timeout=0.1)
        assert not came_to_an_end.is_set()


async def test_an_answer_may_arrive_byte_for_byte() -> None:
    async def script(raw: Raw) -> None:
        for byte in accept(raw.head):
            raw.send(bytes((byte,)))
            await asyncio.sleep(0)
        await raw.rest()

    async with raw_server(script, answer=lambda head: b"") as url:
        socket = await connect(url)
        socket.terminate()


# Cancelling, and closing while it connects.


def descriptors() -> int:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("there is no /proc")
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("secure", [False, True])
async def test_connecting_cancelled_at_any_point_leaves_nothing(secure: bool) -> None:
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with served(echo, ssl=server_context() if secure else None) as server:
        url = server.url.replace("ws:", "wss:") if secure else server.url
        options: Any = {"ssl": client_context()} if secure else {}
        await (await connect(url, **options)).close()
        before = descriptors()
        finished = 0
        for turns in range(40):
            task = asyncio.ensure_future(connect(url, **options))
            await turn(turns)
            finished += task.done()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await (await task).close()
        assert finished < 40
        await until(lambda: descriptors() <= before and not server.server.connections)
    assert reported == []


@pytest.mark.parametrize("turns", [0, 10], ids=["before its first step", "later"])
async def test_an_attempt_whose_task_is_cancelled_with_all_others_fails_its_socket(turns: int) -> None:
    async with raw_server(hang, answer=lambda head: b"") as url:
        before = asyncio.all_tasks()
        socket = WebSocket(url)
        record = Record(socket)
        await turn(turns)
        for task in asyncio.all_tasks() - before:
            if "Attempt" in repr(task):
                task.cancel()
        event = await socket.wait_closed()
        assert record.types == ["error", "close"]
        assert event.code == 1006
        assert isinstance(event.exception, ConnectionAbortedError)


PHASES = ["at once", "name", "tcp", "tls", "request", "queue"]


@pytest.mark.parametrize("way", ["close", "terminate"])
@pytest.mark.parametrize("phase", PHASES)
async def test_closing_in_each_phase_of_connecting(way: str, phase: str, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    begun: list[int] = []
    heads: list[bytes] = []
    never = asyncio.Event()

    async def hanging(*args: Any, **options: Any) -> Any:
        begun.append(1)
        await never.wait()

    class Loop:
        """The loop, but for the phase in which it hangs."""

        def __getattr__(self, name: str) -> Any:
            return hanging if name == hangs else getattr(loop, name)

    hangs = "sock_connect" if phase == "tcp" else None
    if phase == "name":
        monkeypatch.setattr("wasclean.aio.client.resolve", hanging)
    if hangs is not None:
        monkeypatch.setattr("wasclean.aio.client.get_running_loop", Loop)
        monkeypatch.setattr("wasclean.aio.client.buffer_of", lambda _: _buffer_of(loop))

    async def serve_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        begun.append(1)
        with contextlib.suppress(ConnectionError):
            heads.append(await reader.read())
        writer.transport.abort()

    listener = await asyncio.start_server(serve_nothing, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    secure = phase == "tls"
    url = f"{'wss' if secure else 'ws'}://127.0.0.1:{port}/"
    options: Any = {"open_timeout": NEVER, "close_timeout": NEVER} | ({"ssl": client_context()} if secure else {})
    first = WebSocket(url, open_timeout=NEVER) if phase == "queue" else None
    socket = WebSocket(url, **options)
    record = Record(socket)
    if phase != "at once":
        await until(lambda: begun)
        await turn(5)
    getattr(socket, way)()
    assert socket.readyState == WebSocket.CLOSING
    assert record.events == []
    event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
    assert record.types == ["error", "close"]
    assert (event.code, event.reason, event.wasClean, event.initiator) == (1006, "", False, "local")
    if first is not None:
        first.terminate()
    await until(lambda: len(heads) == len(begun) or phase in ("name", "tcp"))
    if phase == "request":
        assert heads[0].endswith(b"\r\n\r\n")  # nothing but the request
    await turn(5)
    assert record.types == ["error", "close"]
    with pytest.raises(ConnectionClosed):
        await socket.wait_opened()
    listener.close()


def _buffer_of(loop: asyncio.AbstractEventLoop) -> Any:
    from wasclean.aio.services import buffer_of

    return buffer_of(loop)


async def test_a_socket_that_was_closed_at_once_never_connects() -> None:
    accepted: list[int] = []

    async def script(raw: Raw) -> None:
        accepted.append(1)

    async with raw_server(script) as url:
        await WebSocket(url).close()
        await (await connect(url)).wait_closed()
        assert accepted == [1]


# Redirects.


@contextlib.asynccontextmanager
async def redirecting(location: str, heads: list[bytes], status: str = "302 Found") -> AsyncIterator[str]:
    async def script(raw: Raw) -> None:
        heads.append(raw.head)
        await raw.rest()

    async with raw_server(script, answer=answering(status, b"elsewhere", f"Location: {location}")) as url:
        yield url


async def test_redirects_are_not_followed_unless_asked_for() -> None:
    heads: list[bytes] = []
    async with served(echo) as server, redirecting(server.url, heads) as url:
        with pytest.raises(HandshakeError) as error:
            await connect(url)
        assert error.value.status == 302
        assert error.value.response is not None
        assert error.value.response.headers["Location"] == server.url


@pytest.mark.parametrize("status", ["301 x", "302 x", "303 x", "307 x", "308 x"])
async def test_redirects_are_followed_when_asked_for(status: str) -> None:
    heads: list[bytes] = []
    async with served(echo) as server, redirecting(server.url + "there?x", heads, status) as url:
        async with connect(url, max_redirects=1) as socket:
            assert socket.url == server.url + "there?x"
            await socket.send("x")
            assert await socket.recv() == "x"
        socket = WebSocket(url.replace("ws:", "http:"), max_redirects=1)
        record = Record(socket)
        await opened(socket)
        socket.addEventListener("message", lambda event: socket.close())
        socket.send("x")
        await socket.wait_closed()
        assert record.types == ["open", "message", "close"]
        assert record.events[1].origin == server.url.rstrip("/")


async def test_no_more_redirects_are_followed_than_allowed() -> None:
    heads: list[bytes] = []
    async with redirecting("/again", heads) as url:
        with pytest.raises(HandshakeError) as error:
            await connect(url, max_redirects=3)
        assert error.value.status == 302
        assert len(heads) == 4
        assert [head.split(b" ")[1] for head in heads] == [b"/", b"/again", b"/again", b"/again"]


@pytest.mark.parametrize("location", ["", "ftp://x/", "mailto:a@b", "//", "ws://x:99999/"])
async def test_a_redirect_to_nowhere_is_a_handshake_error(location: str) -> None:
    heads: list[bytes] = []
    async with redirecting(location, heads) as url:
        with pytest.raises(HandshakeError):
            await connect(url, max_redirects=1)


async def test_the_time_for_opening_includes_the_redirects() -> None:
    heads: list[bytes] = []
    async with raw_server(hang, answer=lambda head: b"") as silent, redirecting(silent, heads) as url:
        with pytest.raises(TimeoutError, match=r"longer than 0\.1 s"):
            await connect(url, max_redirects=5, open_timeout=0.1)


SECRETS = {"Authorization": "Bearer x", "cookie": "a=b", "Proxy-Authorization": "y", "Host": "first.example", "X": "z"}


async def test_credentials_do_not_follow_to_another_origin() -> None:
    """Security row 97; another port is another origin."""
    seen: list[bytes] = []
    heads: list[bytes] = []

    async def script(raw: Raw) -> None:
        seen.append(raw.head)
        await raw.rest()

    async with raw_server(script) as there, redirecting(there, heads) as url:
        for at, headers in ((url, SECRETS), (url.replace("ws://", "ws://user:password@"), {"X": "z"})):
            socket = await connect(at, max_redirects=1, headers=headers)
            socket.terminate()
            first, second = dict(headers_of(heads.pop())), dict(headers_of(seen.pop()))
            assert "Authorization" in first
            assert second["X"] == "z"
            assert second["Host"] == there.split("/")[2]
            assert not {"authorization", "cookie", "proxy-authorization"} & {name.lower() for name in second}
            assert "password" not in socket.url


async def test_credentials_stay_on_the_same_origin() -> None:
    heads: list[bytes] = []
    async with redirecting("/again", heads) as url:
        with pytest.raises(HandshakeError):
            await connect(url, max_redirects=1, headers=SECRETS)
        assert len(heads) == 2
        for head in heads:
            assert SECRETS.items() <= dict(headers_of(head)).items()


# TLS.


def secure(server: Served, host: str = "localhost") -> str:
    return f"wss://{host}:{server.server.port}/"


async def test_a_mebibyte_comes_back_over_tls() -> None:
    message = os.urandom(1 << 20)
    async with served(echo, ssl=server_context()) as server:
        async with connect(secure(server), ssl=client_context()) as socket:
            for data in (message, "é" * 1000, b""):
                await socket.send(data)
                assert await socket.recv() == data
        assert (await socket.wait_closed()).wasClean


@pytest.mark.parametrize("side", ["client", "server"])
async def test_closing_from_each_side_over_tls_is_clean_on_both(side: str) -> None:
    async with served(ssl=server_context()) as server:
        client = await connect(secure(server), ssl=client_context())
        other = await server.sockets.get()
        (client if side == "client" else other).close(3000, "bye")
        events = [await client.wait_closed(), await other.wait_closed()]
        for event in events:
            assert (event.code, event.reason, event.wasClean, event.exception) == (3000, "bye", True, None)
        assert [event.initiator for event in events] == (
            ["local", "remote"] if side == "client" else ["remote", "local"]
        )


async def test_nobody_trusts_our_certificate_by_default(caplog: pytest.LogCaptureFixture) -> None:
    called: list[WebSocket] = []
    async with served(called.append, ssl=server_context()) as server:
        event = await failed_by_tls(secure(server))
        assert isinstance(event.exception, ssl.SSLCertVerificationError)
        assert called == []
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_certificate_for_another_name_is_not_ours(host: str) -> None:
    async with served(echo, ssl=server_context("other.example")) as server:
        event = await failed_by_tls(secure(server, host), ssl=client_context())
        assert isinstance(event.exception, ssl.SSLCertVerificationError)


async def test_the_name_to_expect_can_be_given() -> None:
    async with served(echo, ssl=server_context("other.example")) as server:
        socket = await connect(secure(server), ssl=client_context(), server_hostname="other.example")
        assert (await socket.close()).wasClean
    async with served(echo, ssl=server_context()) as server:
        await failed_by_tls(secure(server), ssl=client_context(), server_hostname="other.example")


async def test_an_address_in_the_certificate_counts() -> None:
    async with served(echo, ssl=server_context()) as server:
        socket = await connect(secure(server, "127.0.0.1"), ssl=client_context())
        assert (await socket.close()).wasClean


async def test_a_server_without_tls_is_a_failure_of_tls() -> None:
    async with served(echo) as server:
        await failed_by_tls(secure(server), ssl=client_context())


async def test_a_client_without_tls_fails_and_the_server_lives(caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo, ssl=server_context()) as server:
        with pytest.raises((HandshakeError, ConnectionError)):
            await connect(server.url)
        async with connect(secure(server), ssl=client_context()):
            pass
    assert [record.getMessage() for record in caplog.records if record.levelname != "DEBUG"] == []


async def test_a_tls_handshake_that_hangs_ends_in_time_on_both_sides() -> None:
    async with raw_server(hang, answer=lambda head: b"") as url:
        with pytest.raises(TimeoutError, match=r"longer than 0\.05 s"):
            await connect(url.replace("ws:", "wss:"), ssl=client_context(), open_timeout=0.05)
    async with served(echo, ssl=server_context(), open_timeout=0.05) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        writer.transport.abort()


async def test_a_redirect_never_leads_out_of_tls() -> None:
    hook_url = ""

    def hook(request: Any) -> wasclean.Response:
        return wasclean.Response(302, headers={"Location": hook_url})

    async with served(echo) as plain, served(echo, ssl=server_context(), on_request=hook) as server:
        hook_url = plain.url
        with pytest.raises(HandshakeError, match="wss to ws"):
            await connect(secure(server), ssl=client_context(), max_redirects=5)
        assert plain.sockets.empty()


async def test_a_redirect_may_lead_into_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", client_context)
    heads: list[bytes] = []
    async with served(echo, ssl=server_context()) as server, redirecting(secure(server), heads) as url:
        socket = await connect(url, max_redirects=1)
        assert socket.url == secure(server)
        assert (await socket.close()).wasClean


def test_the_authority_is_one_for_all() -> None:
    assert authority() is authority()


# Unix sockets.


@pytest.mark.parametrize("tls", [False, True])
async def test_a_unix_socket(tls: bool, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    heads: list[str] = []

    async def handler(socket: WebSocket) -> None:
        assert socket.request is not None
        heads.append(socket.request.host + socket.request.target)
        await echo(socket)

    url = "wss://localhost/chat" if tls else "ws://anything:5/chat"
    options: Any = {"ssl": client_context()} if tls else {}
    async with serve(handler, unix=path, ssl=server_context() if tls else None):
        async with connect(url, unix=path, **options) as socket:
            await socket.send("x")
            assert await socket.recv() == "x"
        socket = await opened(WebSocket(url, unix=path, **options))
        assert (await socket.close(1000)).wasClean
    assert heads == ["localhost/chat" if tls else "anything:5/chat"] * 2


async def test_a_refused_connection_to_a_unix_socket_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))) as missing:
        await connect("ws://localhost/", unix=path)
    assert missing.value.filename == str(path)
    with sockets.socket(sockets.AF_UNIX) as unheard:
        unheard.bind(str(path))
        with pytest.raises(ConnectionRefusedError, match=re.escape(str(path))):
            await connect("ws://localhost/", unix=path)
        event = await WebSocket("ws://localhost/", unix=path).wait_closed()
        assert str(path) in event.detail


@pytest.mark.parametrize("kind", [str, Path, os.fsencode])
async def test_the_path_of_a_unix_socket_may_be_a_str_bytes_or_a_path(kind: Any, tmp_path: Path) -> None:
    path = kind(str(tmp_path / "socket"))
    async with serve(echo, unix=path), connect("ws://localhost/", unix=path) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has abstract names")
@pytest.mark.parametrize("kind", [str, str.encode])
async def test_the_name_of_a_unix_socket_may_be_abstract(kind: Any) -> None:
    name = kind(f"\0wasclean-{uuid4()}")
    async with serve(echo, unix=name), connect("ws://localhost/", unix=name) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


async def test_clients_wait_while_the_backlog_of_a_unix_socket_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        attempts = [asyncio.ensure_future(connect("ws://localhost/", unix=path, open_timeout=60)) for _ in range(20)]
        await asyncio.sleep(0.05)
        assert not any(attempt.done() for attempt in attempts)
        async with serve(echo, sock=listener, backlog=1):
            for attempt in attempts:
                assert (await (await attempt).close()).ok


async def test_a_timeout_tells_that_the_backlog_of_a_unix_socket_was_full(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with sockets.socket(sockets.AF_UNIX) as listener, contextlib.ExitStack() as stack:
        listener.bind(path)
        listener.listen(0)
        for _ in range(9):
            connection = stack.enter_context(sockets.socket(sockets.AF_UNIX))
            connection.setblocking(False)
            connection.connect_ex(path)
        before = descriptors()
        socket = WebSocket("ws://localhost/", unix=path, open_timeout=60)
        await until(lambda: descriptors() > before)
        await asyncio.sleep(0.01)
        hurry(socket)
        event = await socket.wait_closed()
        assert (event.cause, event.phase) == ("open_timeout", "tcp")
        assert str(event.exception).endswith("before that: the backlog of the Unix socket was full")
        explained = " ".join(event.explain().split())
        assert "the server has stopped accepting connections, or accepts them too slowly" in explained
        assert "firewall" not in explained
        await until(lambda: descriptors() == before)


async def test_a_unix_socket_that_takes_its_time_to_connect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(sockets.socket):
        def connect(self, address: Any) -> None:
            if self.connect_ex(address) == 0:
                raise BlockingIOError(errno.EINPROGRESS, os.strerror(errno.EINPROGRESS))

    monkeypatch.setattr("wasclean.aio.dialing.Socket", Slow)
    path = str(tmp_path / "socket")
    async with serve(echo, unix=path), connect("ws://localhost/", unix=path) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


# One at a time.


class Counting:
    """A server that delays its answers until so many clients wait for them, and counts these."""

    def __init__(self, together: int) -> None:
        self.together = together
        self.now = 0
        self.most = 0

    async def script(self, raw: Raw) -> None:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.01)
        await until(lambda: self.most >= self.together, "all clients")
        self.now -= 1
        raw.send(accept(raw.head))
        await raw.rest()


async def test_websockets_connect_to_the_same_host_one_after_the_other() -> None:
    """RFC 6455 section 4.1 item 2."""
    counting = Counting(1)
    async with raw_server(counting.script, answer=lambda head: b"") as url:
        attempts = [WebSocket(f"{url}{i}") for i in range(6)]
        for socket in attempts:
            await opened(socket)
        assert counting.most == 1
        for socket in attempts:
            socket.terminate()
            await socket.wait_closed()


def clock_of(socket: wasclean.socket.websocket.WebSocket) -> float | None:
    """The time at which the opening is given up; None while the clock stands still."""
    deadline: float | None = session_of(socket).connection.next_deadline()
    return deadline


async def test_the_clock_starts_with_the_attempt_and_not_with_the_wait_for_a_turn() -> None:
    may_answer = asyncio.Event()

    async def script(raw: Raw) -> None:
        await may_answer.wait()
        raw.send(accept(raw.head))
        await raw.rest()

    async with raw_server(script, answer=lambda head: b"") as url:
        first, *others = [WebSocket(url, open_timeout=20) for _ in range(5)]
        await until(lambda: clock_of(first) is not None)
        await turn(10)
        assert [clock_of(socket) for socket in others] == [None] * 4
        given_up = others.pop()
        given_up.close()
        event = await given_up.wait_closed()
        assert (event.cause, event.phase) == ("local_close", "queued")
        assert "waiting for another connection to the same host and port" in " ".join(event.explain().split())
        may_answer.set()
        for socket in (first, *others):
            await opened(socket)
            socket.terminate()
            await socket.wait_closed()


async def test_a_script_that_takes_its_time_before_the_attempt_begins_uses_no_time_up() -> None:
    """See process.background: a new socket waits for the script that has made it."""
    begin = asyncio.Event()

    async def ready() -> None:
        await begin.wait()

    async with served(echo) as server:
        target = new_target("WebSocket()", server.url, (), {}, one_at_a_time=True)
        socket = new_websocket()
        Attempt(socket, target, asyncio.get_running_loop(), set()).start(ready)
        await turn(5)
        assert clock_of(socket) is None
        begin.set()
        await socket.wait_opened()
        assert (await socket.close()).ok


async def test_the_clock_stands_still_while_a_redirect_waits_for_its_turn() -> None:
    may_answer = asyncio.Event()

    async def script(raw: Raw) -> None:
        await may_answer.wait()
        raw.send(accept(raw.head))
        await raw.rest()

    heads: list[bytes] = []
    async with raw_server(script, answer=lambda head: b"") as there, redirecting(there, heads) as url:
        first = WebSocket(there, open_timeout=60)
        await until(lambda: clock_of(first) is not None)
        second = WebSocket(url, open_timeout=20, max_redirects=1)
        await until(lambda: second.url == there)
        await until(lambda: clock_of(second) is None)
        may_answer.set()
        for socket in (first, second):
            await opened(socket)
            socket.terminate()
            await socket.wait_closed()


async def test_streams_connect_all_at_once() -> None:
    counting = Counting(6)
    async with raw_server(counting.script, answer=lambda head: b"") as url:
        attempts = await asyncio.gather(*(asyncio.ensure_future(connect(f"{url}{i}")) for i in range(6)))
        assert counting.most == 6
        for socket in attempts:
            socket.terminate()
            await socket.wait_closed()


async def test_other_hosts_do_not_wait() -> None:
    counting = Counting(1)
    async with (
        raw_server(hang, answer=lambda head: b"") as silent,
        raw_server(counting.script, answer=lambda head: b"") as url,
    ):
        waiting = WebSocket(silent)
        socket = await opened(WebSocket(url))
        assert waiting.readyState == WebSocket.CONNECTING
        for end in (waiting, socket):
            end.terminate()
            await end.wait_closed()


async def test_who_waits_for_a_turn_gets_it_when_the_first_one_fails_or_gives_up() -> None:
    async with raw_server(hang, answer=lambda head: b"") as url:
        first, second, third = (WebSocket(url, open_timeout=timeout) for timeout in (0.05, NEVER, NEVER))
        assert isinstance((await first.wait_closed()).exception, TimeoutError)
        await turn(5)
        assert second.readyState == third.readyState == WebSocket.CONNECTING
        second.close()
        await second.wait_closed()
        third.terminate()
        assert (await third.wait_closed()).code == 1006
