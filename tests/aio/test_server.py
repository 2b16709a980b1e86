"""serve(): listening, the opening handshake, handlers, and the end of a server."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import re
import socket as sockets
import struct
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import wasclean
from tests.certificates import server_context
from tests.endpoints import Served, echo, opened, served, turn
from tests.faults.patience import NEVER, PATIENCE, until
from tests.raw import CLOSE, TEXT, Frame, Raw, close_payload, encode, raw_client, raw_server
from wasclean import (
    ANY,
    CloseEvent,
    ConnectionClosed,
    HandshakeError,
    Request,
    Response,
    Server,
    WebSocket,
    connect,
    serve,
)
from wasclean.aio.client import Attempt
from wasclean.aio.driver import Driver
from wasclean.aio.interface import Transport
from wasclean.aio.server_handshake import ServerHandshake

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def request(*headers: str, target: str = "/", method: str = "GET") -> bytes:
    """A WebSocket handshake, with more headers."""
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: localhost",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def ask(port: int, data: bytes) -> bytes:
    """All that the server says to the bytes until it ends the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.transport.abort()


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 ")
    return int(answer[9:12])


def alive() -> Counter[str]:
    """The objects of a connection that exist, by type."""
    return Counter(
        type(thing).__name__
        for thing in gc.get_objects()
        if isinstance(thing, WebSocket | Driver | Transport | ServerHandshake | Attempt)
    )


@pytest.fixture
def no_gc() -> Iterator[None]:
    """Only counting references frees memory."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


# Listening.


async def test_serve_is_an_async_context_manager() -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        assert isinstance(server, Server)
        async with connect(f"ws://127.0.0.1:{server.port}/") as socket:
            await socket.send("x")
            assert await socket.recv() == "x"
    with pytest.raises(ConnectionRefusedError):
        await connect(f"ws://127.0.0.1:{socket.url.split(':')[2]}")


async def test_serve_can_be_awaited() -> None:
    server = await serve(echo, "127.0.0.1", 0)
    assert len(server.sockets) == 1
    assert server.sockets[0].getsockname() == ("127.0.0.1", server.port)
    async with connect(f"ws://127.0.0.1:{server.port}/"):
        pass
    assert await server.close() is None  # type: ignore[func-returns-value]


async def test_a_server_is_an_async_context_manager() -> None:
    async with await serve(echo, "127.0.0.1", 0) as server:
        port = server.port
    with pytest.raises(ConnectionRefusedError):
        await connect(f"ws://127.0.0.1:{port}/")


@pytest.mark.parametrize("host", [None, ["127.0.0.1", "127.0.0.2"], "localhost"])
async def test_all_addresses_get_the_same_port_when_the_system_chooses_it(host: Any) -> None:
    async with serve(echo, host, 0) as server:
        names = [socket.getsockname() for socket in server.sockets]
        assert {name[1] for name in names} == {server.port}
        if isinstance(host, list):
            assert {name[0] for name in names} == set(host)
        for name in names:
            address = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(name[0], name[0])
            async with connect(f"ws://{address}:{server.port}/"):
                pass


async def test_a_taken_port_is_an_os_error() -> None:
    async with serve(echo, "127.0.0.1", 0) as server:
        with pytest.raises(OSError, match=r"in use|EADDRINUSE"):
            await serve(echo, "127.0.0.1", server.port)


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with serve(echo, unix=path), connect("ws://localhost/", unix=path) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"
    async with serve(echo, unix=path):  # what the first server left there does not disturb
        pass


async def test_a_unix_socket_that_can_not_be_bound_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "none" / "socket"
    with pytest.raises(FileNotFoundError, match=re.escape(str(path))):
        await serve(echo, unix=path)


def test_addresses_that_exclude_one_another_are_a_type_error_that_names_them() -> None:
    with sockets.socket() as listening:
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"unix": "/s", "port": 1}, "unix= and port="),
            ({"unix": "/s", "host": "h", "port": 0}, "unix= and host= and port="),
            ({"sock": listening, "host": "h"}, "sock= and host="),
            ({"unix": "/s", "sock": listening}, "unix= and sock="),
        ]
        for options, names in wrong:
            with pytest.raises(TypeError, match=f"^{names} exclude each other"):
                serve(echo, **options)


async def test_a_listening_socket_of_ones_own() -> None:
    listening = sockets.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    async with serve(echo, sock=listening) as server:
        assert server.port == port
        async with connect(f"ws://127.0.0.1:{port}/"):
            pass


@pytest.mark.skipif(not hasattr(sockets, "SO_REUSEPORT"), reason="there is no SO_REUSEPORT")
async def test_two_servers_on_one_port() -> None:
    async with (
        serve(echo, "127.0.0.1", 0, reuse_port=True) as first,
        serve(echo, "127.0.0.1", first.port, reuse_port=True) as second,
    ):
        assert first.port == second.port


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"handler": None}, TypeError),
        ({"max_size": 5}, TypeError),
        ({"open_timeout": 0}, ValueError),
        ({"max_message_size": "1"}, TypeError),
        ({"origins": "https://example.com"}, TypeError),
        ({"origins": ["*"]}, ValueError),
        ({"subprotocols": ["a b"]}, wasclean.SyntaxError),
        ({"headers": {"X": "a\r\nB: c"}}, ValueError),
    ],
)
async def test_wrong_arguments_are_an_error_at_once(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        serve(**{"handler": echo, "host": "127.0.0.1", "port": 0, **arguments})


# The request.


async def test_a_plain_request_is_told_what_this_is() -> None:
    async with served(echo) as server:
        answer = await ask(server.server.port, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(answer) == 426
        head = answer.lower()
        assert b"upgrade: websocket" in head
        assert b"sec-websocket-version: 13" in head
        assert b"connection: upgrade, close" in head


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (request(method="POST"), 405),
        (request("Content-Length: 40") + b"x" * 40, 400),
        (request("Transfer-Encoding: chunked"), 400),
        (request(target="/" + "x" * 9000), 414),
        (request("X: " + "x" * 9000), 431),
        (request(*("X: y",) * 101), 431),
        (request(*("X: " + "x" * 8000,) * 5), 431),
        (request().replace(b"\r\n", b"\n"), 400),
        (request(" folded"), 400),
        (request("Host: other"), 400),
        (request().replace(b"Host: localhost", b"Host: ["), 400),
        (request().replace(KEY.encode(), b"short"), 400),
        (request(f"Sec-WebSocket-Key: {KEY}"), 400),
        (request("Sec-WebSocket-Protocol: \xff"), 400),
        (request().replace(b"n: 13", b"n: 12"), 426),
        (request().replace(b"Upgrade: websocket", b"Upgrade: notwebsocket"), 426),
        (request("Origin: https://evil.example"), 403),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),  # TLS
        (b"GET / HTTP/2.0\r\n\r\n", 505),
    ],
)
async def test_what_is_no_handshake_gets_an_error_and_the_end(data: bytes, code: int) -> None:
    called = False

    def handler(socket: WebSocket) -> None:
        nonlocal called
        called = True

    async with served(handler) as server:
        answer = await ask(server.server.port, data)
        assert status(answer) == code
        assert b"close" in answer.lower().split(b"connection:")[1].split(b"\r\n")[0]
        assert not called
        async with connect(server.url):
            pass


async def test_a_request_that_arrives_byte_for_byte_is_accepted() -> None:
    async with served(echo) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.get_extra_info("socket").setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        for byte in request():
            writer.write(bytes((byte,)))
            await asyncio.sleep(0)
        assert status(await reader.readuntil(b"\r\n\r\n")) == 101
        writer.transport.abort()


@pytest.mark.parametrize("beginning", [b"", b"GET / HTT"])
async def test_a_client_that_says_nothing_more_is_told_408(beginning: bytes) -> None:
    async with served(echo, open_timeout=0.05) as server:
        assert status(await ask(server.server.port, beginning)) == 408


async def test_the_time_for_the_request_is_absolute() -> None:
    """A byte now and then does not prolong it (security row 52)."""
    async with served(echo, open_timeout=0.2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)

        async def dribble() -> None:
            for byte in request():  # 3 s
                writer.write(bytes((byte,)))
                await asyncio.sleep(0.02)

        task = asyncio.create_task(dribble())
        assert status(await reader.read()) == 408
        task.cancel()
        writer.transport.abort()


async def test_a_second_request_behind_a_rejected_one_is_not_answered() -> None:
    async with served(echo) as server:
        for first in (request(method="POST"), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            answer = await ask(server.server.port, first + request())
            assert answer.count(b"HTTP/1.1") == 1
            assert status(answer) in (405, 426)


async def test_a_body_is_never_read_as_frames_or_as_a_request() -> None:
    seen: list[Any] = []

    async def handler(socket: WebSocket) -> None:
        seen.extend([message async for message in socket])

    async with served(handler) as server:
        body = encode(TEXT, b"frame", masked=True)
        answer = await ask(server.server.port, request(f"Content-Length: {len(body)}") + body + request())
        assert answer.count(b"HTTP/1.1") == 1
        assert status(answer) == 400
        assert seen == []


@pytest.mark.parametrize("hook", [False, True])
async def test_frames_right_behind_the_request_arrive(hook: bool) -> None:
    async def slow(request: Request) -> None:
        await turn()

    async with served(echo, on_request=slow if hook else None) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(request() + encode(TEXT, b"early", masked=True))
        assert status(await reader.readuntil(b"\r\n\r\n")) == 101
        assert await reader.readexactly(7) == encode(TEXT, b"early")
        writer.transport.abort()


async def test_headers_and_the_request_reach_the_other_side() -> None:
    async with (
        served(echo, headers={"X-Server": "mine"}) as server,
        connect(server.url + "path?query", headers={"X-Client": "yours"}) as socket,
    ):
        assert socket.response is not None
        assert socket.response.headers["X-Server"] == "mine"
        other = await server.sockets.get()
        assert other.request is not None
        assert other.request.headers["X-Client"] == "yours"
        assert (other.request.path, other.request.query, other.url) == ("/path", "query", "/path?query")
        assert other.remote_address == socket.local_address == other.request.remote
        assert other.local_address == socket.remote_address


@pytest.mark.parametrize(
    ("server", "client", "chosen"),
    [([], [], ""), (["a", "b"], [], ""), (["b", "a"], ["a", "b"], "b"), ("chat", ["x", "chat"], "chat")],
)
async def test_the_server_picks_the_subprotocol_that_it_likes_best(server: Any, client: Any, chosen: str) -> None:
    async with served(echo, subprotocols=server) as where, connect(where.url, client) as socket:
        assert socket.protocol == (await where.sockets.get()).protocol == chosen


@pytest.mark.parametrize(
    ("origins", "origin", "welcome"),
    [
        (None, None, True),
        (None, "http://127.0.0.1:{port}", True),
        (None, "https://127.0.0.1:{port}", True),
        (None, "http://localhost:5173", True),
        (None, "https://evil.example", False),
        (None, "null", False),
        (["https://good.example"], "https://good.example", True),
        (["https://good.example"], "https://evil.example", False),
        (["https://good.example"], "http://127.0.0.1:{port}", False),
        (["https://good.example"], None, True),
        ([], "https://good.example", False),
        (["file://"], "file://", True),
        (["null", "https://good.example"], "file://", False),
        (None, "file://", False),
        (["app://name"], "app://name", True),
        (None, "app://localhost", False),
        (ANY, "https://evil.example", True),
    ],
)
async def test_only_pages_that_the_server_lets_in_may_connect(origins: Any, origin: str | None, welcome: bool) -> None:
    async with served(echo, origins=origins) as server:
        origin = origin and origin.format(port=server.server.port)
        if welcome:
            async with connect(server.url, origin=origin):
                pass
        else:
            with pytest.raises(HandshakeError) as error:
                await connect(server.url, origin=origin)
            assert error.value.status == 403


# on_request.


def sync_hook(request: Request) -> Response | None:
    return Response(200, "fine\n") if request.path == "/health" else None


async def async_hook(request: Request) -> Response | None:
    await asyncio.sleep(0)
    return sync_hook(request)


@pytest.mark.parametrize("hook", [sync_hook, async_hook])
async def test_on_request_answers_as_plain_http_or_goes_on(hook: Any) -> None:
    async with served(echo, on_request=hook) as server:
        port = server.server.port
        answer = await ask(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(answer) == 200
        assert answer.endswith(b"\r\n\r\nfine\n")
        answer = await ask(port, b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert status(answer) == 200
        assert b"Content-Length: 5\r\n" in answer
        assert answer.endswith(b"\r\n\r\n")
        assert status(await ask(port, request(target="/health"))) == 200
        assert status(await ask(port, b"GET /other HTTP/1.1\r\nHost: localhost\r\n\r\n")) == 426
        async with connect(server.url) as socket:
            await socket.send("x")
            assert await socket.recv() == "x"


async def failing_hook(request: Request) -> Response | None:
    raise RuntimeError("secret")


def failing_sync_hook(request: Request) -> Response | None:
    raise RuntimeError("secret")


@pytest.mark.parametrize("hook", [failing_hook, failing_sync_hook])
async def test_an_on_request_that_raises_is_a_500_and_logged_once(hook: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo, on_request=hook) as server:
        answer = await ask(server.server.port, request())
        assert status(answer) == 500
        assert b"secret" not in answer
    (record,) = [record for record in caplog.records if record.name == "wasclean.server"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "secret"


async def test_an_on_request_that_hangs_is_a_503_and_is_cancelled() -> None:
    cancelled = asyncio.Event()

    async def hook(request: Request) -> Response | None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return None

    async with served(echo, on_request=hook, open_timeout=0.5) as server:
        assert status(await ask(server.server.port, request())) == 503
        await cancelled.wait()


@pytest.mark.parametrize(
    "change",
    [
        lambda response: setattr(response, "reason", "a\r\nX: y"),
        lambda response: response.headers.add("Transfer-Encoding", "chunked"),
        lambda response: response.headers.add("X", "a\r\nB: c"),
        lambda response: response.headers.add("X", 5),
        lambda response: setattr(response, "status", 101),
        lambda response: setattr(response, "status", "200"),
        lambda response: setattr(response, "body", "text"),
        lambda response: setattr(response, "headers", None),
    ],
)
async def test_a_response_that_cannot_be_sent_is_a_500(change: Any, caplog: pytest.LogCaptureFixture) -> None:
    def hook(request: Request) -> Response:
        response = Response(200, "body")
        change(response)
        return response

    async with served(echo, on_request=hook) as server:
        assert status(await ask(server.server.port, request())) == 500
    assert "can't be sent" in caplog.text


async def test_on_request_returning_something_else_is_a_500(caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo, on_request=lambda request: "no response") as server:
        assert status(await ask(server.server.port, request())) == 500
    assert "on_request" in caplog.text


@pytest.mark.parametrize("code", [100, 101, 103])
async def test_on_request_can_not_answer_with_what_ends_no_request(code: int, caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo, on_request=lambda request: Response(code)) as server:
        assert status(await ask(server.server.port, request())) == 500
    assert "return None to accept a WebSocket" in caplog.text


def raises(error: type[BaseException]) -> Any:
    """A function that raises."""

    def call(_: Any) -> Any:
        raise error("mine")

    return call


def raises_later(error: type[BaseException]) -> Any:
    """A coroutine function that raises."""

    async def call(_: Any) -> Any:
        await turn()
        raise error("mine")

    return call


@pytest.mark.parametrize("error", [asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("make", [raises, raises_later])
async def test_an_on_request_that_raises_what_is_no_exception_is_a_500(
    make: Any, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    async with served(echo, on_request=make(error)) as server:
        assert status(await ask(server.server.port, request())) == 500
    (record,) = [record for record in caplog.records if record.name == "wasclean.server"]
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], error)


class Awaited:
    """What can be awaited and is neither a coroutine nor a future."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Any:
        return self._coroutine.__await__()


@types.coroutine
def old_style(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A coroutine of the style of Python 3.4."""
    return (yield from coroutine)


AWAITABLES = pytest.mark.parametrize("kind", [asyncio.ensure_future, Awaited, old_style])


@AWAITABLES
async def test_on_request_may_return_whatever_can_be_awaited(kind: Any) -> None:
    async with served(echo, on_request=lambda request: kind(async_hook(request))) as server:
        assert status(await ask(server.server.port, request(target="/health"))) == 200
        async with connect(server.url) as socket:
            await socket.send("x")
            assert await socket.recv() == "x"


def generates(_: Any) -> Iterator[None]:
    yield


async def generates_later(_: Any) -> AsyncIterator[None]:
    yield


class Generates:
    """As an object, and as a method."""

    def __call__(self, _: Any) -> Iterator[None]:
        yield

    async def method(self, _: Any) -> AsyncIterator[None]:
        yield


def hiding(function: Any) -> Any:
    """A function that returns the same, and looks like an ordinary one."""

    def call(argument: Any) -> Any:
        return function(argument)

    return call


GENERATORS = pytest.mark.parametrize("function", [generates, generates_later])


@pytest.mark.parametrize(
    "function",
    [generates, generates_later, Generates(), Generates().method, partial(generates), partial(Generates().method)],
)
@pytest.mark.parametrize("name", ["handler", "on_request"])
def test_a_function_with_a_yield_is_refused_at_once(name: str, function: Any) -> None:
    with pytest.raises(TypeError, match=f"{name} must be .*, not a generator function: .* has a yield"):
        serve(**{"handler": echo, "host": "127.0.0.1", "port": 0, name: function})


@GENERATORS
async def test_an_on_request_that_returns_a_generator_is_a_500(function: Any, caplog: pytest.LogCaptureFixture) -> None:
    async with served(echo, on_request=hiding(function)) as server:
        assert status(await ask(server.server.port, request())) == 500
    assert "of which nothing runs" in caplog.text


# Handlers.


async def closing_of(handler: Any) -> tuple[Frame, bytes, Any]:
    """What a handler's end looks like: the Close frame, the bytes behind it, and the server's close event."""
    async with served(handler) as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        frame = await raw.frame()
        raw.send_frame(CLOSE, frame.payload)
        rest = await raw.rest()
        return frame, rest, await socket.wait_closed()


async def returning(socket: WebSocket) -> None:
    await turn()


async def raising(socket: WebSocket) -> None:
    await turn()
    raise RuntimeError("secret")


def plain_raising(socket: WebSocket) -> None:
    raise RuntimeError("secret")


async def raising_connection_closed(socket: WebSocket) -> None:
    raise ConnectionClosed


async def cancelled(socket: WebSocket) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("handler", "code", "logged"),
    [
        (returning, 1000, 0),
        (raising, 1011, 1),
        (plain_raising, 1011, 1),
        (raising_connection_closed, 1011, 1),  # of another socket, for its own is open
        (cancelled, 1001, 0),
    ],
)
async def test_a_handler_that_ends_closes_its_socket(
    handler: Any, code: int, logged: int, caplog: pytest.LogCaptureFixture
) -> None:
    frame, rest, event = await closing_of(handler)
    assert frame == Frame(CLOSE, close_payload(code))
    assert rest == b""
    assert (event.code, event.wasClean, event.initiator) == (code, True, "local")
    records = [record for record in caplog.records if record.levelno > logging.DEBUG]
    assert len(records) == logged
    for record in records:
        assert record.name == "wasclean.server"
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], RuntimeError | ConnectionClosed)
        assert record.exc_info[2] is not None
        assert "127.0.0.1" in record.getMessage()


@pytest.mark.parametrize("make", [raises, raises_later])
@pytest.mark.parametrize(("error", "code"), [(asyncio.CancelledError, 1001), (GeneratorExit, 1011)])
async def test_a_handler_that_raises_what_is_no_exception_closes_its_socket(
    make: Any, error: type[BaseException], code: int
) -> None:
    frame, rest, event = await closing_of(make(error))
    assert frame == Frame(CLOSE, close_payload(code))
    assert rest == b""
    assert (event.code, event.wasClean, event.initiator) == (code, True, "local")


@GENERATORS
async def test_a_handler_that_returns_a_generator_closes_with_1011(
    function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frame, _, event = await closing_of(hiding(function))
    assert frame == Frame(CLOSE, close_payload(1011))
    assert event.cause == "handler_error"
    assert "of which nothing runs" in caplog.text


@AWAITABLES
async def test_a_handler_may_return_whatever_can_be_awaited(kind: Any) -> None:
    async with served(lambda socket: kind(echo_once(socket))) as server, connect(server.url) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"
        assert (await socket.wait_closed()).code == 1000


async def echo_once(socket: WebSocket) -> None:
    await socket.send(await socket.recv())


async def test_a_client_that_leaves_is_no_error_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    done = asyncio.Event()

    async def handler(socket: WebSocket) -> None:
        try:
            await socket.recv()
        finally:
            done.set()

    async with served(handler) as server, raw_client(server.server.port) as raw:
        raw.reset()
        await done.wait()
        await turn()
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_handler_that_goes_on_after_the_end_is_left_alone_until_the_server_closes() -> None:
    go_on = asyncio.Event()
    ended: list[WebSocket] = []

    async def handler(socket: WebSocket) -> None:
        await go_on.wait()
        ended.append(socket)

    async with served(handler) as server:
        async with connect(server.url):
            pass
        await until(lambda: not server.server.connections)
        assert ended == []
        go_on.set()
    assert len(ended) == 1


async def test_connections_are_those_that_are_open_or_closing() -> None:
    async with served() as server:
        assert not server.server.connections
        async with connect(server.url), connect(server.url):
            first, second = await server.sockets.get(), await server.sockets.get()
            assert set(server.server.connections) == {first, second}
            assert "2 connections" in repr(server.server)
            await first.close()
            assert set(server.server.connections) == {second}
        await second.wait_closed()
        assert not server.server.connections


# The end of a server.


@pytest.mark.parametrize(
    ("arguments", "code", "reason"), [((), 1001, ""), ((1012,), 1012, ""), ((3000, "later"), 3000, "later")]
)
async def test_closing_a_server_closes_its_connections(arguments: Any, code: int, reason: str) -> None:
    async with served(echo) as server:
        clients = [await opened(WebSocket(server.url)) for _ in range(5)]
        closed = server.server.close(*arguments)
        assert server.server.close(1000) is closed
        await closed
        assert not server.server.connections
        for client in clients:
            event = await client.wait_closed()
            assert (event.code, event.reason, event.wasClean, event.initiator) == (code, reason, True, "remote")
        with pytest.raises(ConnectionRefusedError):
            await connect(server.url)
        await server.server.wait_closed()


async def test_a_code_that_must_not_be_sent_leaves_the_server_as_it_is() -> None:
    async with served(echo) as server, connect(server.url) as client:
        await client.ping()
        with pytest.raises(wasclean.InvalidAccessError):
            server.server.close(1006)
        async with connect(server.url):
            pass


@pytest.mark.parametrize("beginning", [b"", b"GET / HTTP/1.1\r\nHost"])
async def test_who_is_still_saying_hello_when_the_server_closes_is_told_503(beginning: bytes) -> None:
    async with served(echo) as server:
        task = asyncio.create_task(ask(server.server.port, beginning))
        await until(lambda: server.server._handshakes and (not beginning or read_something(server)))
        await server.server.close()
        assert status(await task) == 503


def read_something(server: Served) -> bool:
    return any(
        isinstance(handshake, ServerHandshake) and handshake._reader._head for handshake in server.server._handshakes
    )


async def test_who_waits_for_on_request_when_the_server_closes_is_told_503() -> None:
    started = asyncio.Event()

    async def hook(request: Request) -> Response | None:
        started.set()
        await asyncio.Event().wait()
        return None

    async with served(echo, on_request=hook) as server:
        task = asyncio.create_task(ask(server.server.port, request()))
        await started.wait()
        await server.server.close()
        assert status(await task) == 503


async def test_a_connection_that_is_accepted_in_the_turn_of_close_does_not_stay() -> None:
    for turns in (0, 1, 3, 4):  # asyncio forgets what it has accepted and not begun: cpython's _accept_connection2()
        async with served(echo) as server:
            client = sockets.create_connection(("127.0.0.1", server.server.port))
            client.setblocking(False)
            await turn(turns)
            await server.server.close(timeout=0.05)
            loop = asyncio.get_running_loop()
            with contextlib.suppress(ConnectionResetError):
                async with asyncio.timeout(PATIENCE):
                    while await loop.sock_recv(client, 1000):
                        pass
            client.close()


async def test_handlers_that_go_on_are_cancelled_at_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    ended: list[str] = []

    async def handler(socket: WebSocket) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    async with served(handler) as server:
        client = await opened(WebSocket(server.url))
        start = loop.time()
        await server.server.close(timeout=0.1)
        assert ended == ["cancelled"]
        assert loop.time() - start > 0.08
        assert (await client.wait_closed()).code == 1001


async def test_peers_that_do_not_answer_are_dropped_at_the_timeout() -> None:
    loop = asyncio.get_running_loop()
    async with served(echo) as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        start = loop.time()
        closing = server.server.close(timeout=0.1)
        assert await raw.frame() == Frame(CLOSE, close_payload(1001))
        await closing
        assert loop.time() - start > 0.08
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.initiator) == (1006, False, "local")


async def test_the_timeout_holds_also_for_what_was_closing_before() -> None:
    async with served() as server, raw_client(server.server.port):
        socket = await server.sockets.get()
        socket.close(3000, timeout=NEVER)
        await asyncio.wait_for(server.server.close(timeout=0.1), PATIENCE)
        assert (await socket.wait_closed()).code == 1006


async def test_a_handler_may_close_its_server_and_wait_for_that() -> None:
    done = asyncio.Event()

    async def handler(socket: WebSocket) -> None:
        await server.server.close(timeout=NEVER)
        assert socket.readyState == WebSocket.CLOSED
        done.set()

    async with served(handler) as server:
        client = await opened(WebSocket(server.url))
        assert (await client.wait_closed()).code == 1001
        await asyncio.wait_for(done.wait(), PATIENCE)


async def test_serve_forever_ends_when_somebody_closes_the_server() -> None:
    async with served(echo) as server:
        task = asyncio.create_task(server.server.serve_forever())
        client = await opened(WebSocket(server.url))
        assert not task.done()
        server.server.close(1012)
        await task
        assert (await client.wait_closed()).code == 1012


async def test_serve_forever_closes_the_server_when_it_is_cancelled() -> None:
    async with served(echo) as server:
        task = asyncio.create_task(server.server.serve_forever())
        client = await opened(WebSocket(server.url))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.wait_closed()).code == 1001
        assert not server.server.connections


async def test_what_serve_returns_starts_another_server_each_time_that_it_is_awaited() -> None:
    serving = serve(echo, "127.0.0.1", 0)
    async with serving as server:
        pass
    async with serving as again, connect(f"ws://127.0.0.1:{again.port}") as socket:  # not what closed, and says 503
        assert again is not server
        await socket.send("x")
        assert await socket.recv() == "x"
    first, second = await serving, await serving
    ports = {first.port, second.port}
    await first.close()
    await second.close()
    assert len(ports) == 2
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await connect(f"ws://127.0.0.1:{port}")


async def test_leaving_the_context_by_an_exception_closes_the_server() -> None:
    clients: list[WebSocket] = []

    async def fail() -> None:
        async with served(echo) as server:
            clients.append(await opened(WebSocket(server.url)))
            raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        await fail()
    assert (await clients[0].wait_closed()).code == 1001


# Nothing stays.


async def drop_by_closing(raw: Raw) -> None:
    raw.send_close(1000)
    await raw.rest()


async def drop_by_fin(raw: Raw) -> None:
    raw.shutdown()
    await raw.rest()


async def drop_by_rst(raw: Raw) -> None:
    raw.reset()


@pytest.mark.slow
async def test_2000_connections_opened_and_dropped_leave_nothing(no_gc: None) -> None:
    at_first = len(asyncio.all_tasks())
    server = await serve(echo, "127.0.0.1", 0)

    async def visit(number: int) -> None:
        drop = (drop_by_closing, drop_by_fin, drop_by_rst)[number % 3]
        for _ in range(25):
            async with raw_client(server.port) as raw:
                await drop(raw)

    await asyncio.gather(*map(visit, range(80)))
    await until(lambda: not server.connections and not server._handshakes and not server._tasks)
    await until(lambda: not alive())
    assert len(asyncio.all_tasks()) == at_first
    await server.close()


async def with_events(url: str) -> None:
    socket = WebSocket(url)
    socket.onopen = lambda event: event.target.send("x")
    socket.onmessage = lambda event: event.target.close()
    events: list[CloseEvent] = []
    socket.onclose = events.append
    await socket.wait_closed()
    assert events[0].target is socket
    events.clear()  # or the socket's listener would refer to the socket


async def with_a_stream(url: str) -> None:
    async with connect(url) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"


async def with_terminate(url: str) -> None:
    socket = await connect(url)
    socket.terminate()
    await socket.wait_closed()


async def with_close_while_connecting(url: str) -> None:
    socket = WebSocket(url)
    await socket.close()


async def with_a_refusal(url: str) -> None:
    async def script(raw: Raw) -> None:
        await raw.rest()

    async with raw_server(script, answer=lambda head: b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as refusing:
        with pytest.raises(HandshakeError):
            await connect(refusing)
        await WebSocket(refusing).wait_closed()


async def with_no_server(url: str) -> None:
    with pytest.raises(OSError):  # noqa: PT011 - of any kind
        await connect("ws://127.0.0.1:1/")
    await WebSocket("ws://127.0.0.1:1/").wait_closed()


async def with_a_timeout(url: str) -> None:
    async def script(raw: Raw) -> None:
        await raw.rest()

    async with raw_server(script, answer=lambda head: b"") as silent:
        with pytest.raises(TimeoutError):
            await connect(silent, open_timeout=0.02)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(connect(silent)._open(), 0.02)


@pytest.mark.parametrize(
    "use",
    [
        with_events,
        with_a_stream,
        with_terminate,
        with_close_while_connecting,
        with_a_refusal,
        with_no_server,
        with_a_timeout,
    ],
)
async def test_the_objects_of_a_connection_die_without_garbage_collection(
    use: Callable[[str], Coroutine[Any, Any, None]], no_gc: None
) -> None:
    server = await serve(echo, "127.0.0.1", 0)
    await use(f"ws://127.0.0.1:{server.port}/")
    await until(lambda: not alive())
    await server.close()


@pytest.fixture
async def quiet(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[dict[str, Any]]]:
    """Nothing is logged above debug, and nothing reported to the loop."""
    caplog.set_level(logging.DEBUG)
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    yield reported
    assert reported == []
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == []


@pytest.mark.parametrize("end", ["rst", "fin"])
async def test_a_client_that_leaves_anywhere_in_the_handshake_leaves_nothing_behind(
    end: str, no_gc: None, quiet: Any
) -> None:
    data = request() + encode(TEXT, b"x", masked=True)
    server = await serve(echo, "127.0.0.1", 0)
    for size in [*range(0, len(data), 7), len(data)]:
        client = sockets.create_connection(("127.0.0.1", server.port))
        client.sendall(data[:size])
        await turn(size % 4)
        if end == "rst":
            client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    await until(lambda: not server.connections and not server._handshakes and not server._tasks and not alive())
    await server.close()


async def test_a_client_that_leaves_while_on_request_runs_leaves_nothing_behind(no_gc: None, quiet: Any) -> None:
    go_on = asyncio.Event()
    started = asyncio.Semaphore(0)

    async def hook(request: Request) -> Response | None:
        started.release()
        await go_on.wait()
        return None

    server = await serve(echo, "127.0.0.1", 0, on_request=hook)
    for reset in (True, False):
        client = sockets.create_connection(("127.0.0.1", server.port))
        client.sendall(request())
        await started.acquire()
        if reset:
            client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
    go_on.set()
    await until(lambda: not server.connections and not server._handshakes and not server._tasks and not alive())
    await server.close()


async def test_a_server_keeps_no_file_open() -> None:
    if not os.path.exists("/proc/self/fd"):
        pytest.skip("there is no /proc")
    counts: list[int] = []
    for _ in range(3):  # a loop opens some for itself
        async with served(echo) as server:
            async with connect(server.url) as socket:
                await socket.send("x")
            await ask(server.server.port, b"nonsense")
        await turn()
        counts.append(len(os.listdir("/proc/self/fd")))
    assert counts[2] <= counts[1]  # an earlier test may still have let go of one


async def test_close_waits_until_tcp_has_ended_and_no_longer_than_its_timeout() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        raw.send_close(1000)
        assert (await raw.frame()).payload == close_payload(1000)
        await socket.wait_closed()
        assert socket.local_address is not None  # the client has not ended TCP
        await server.server.close(timeout=0.1)
        assert socket.local_address is None


async def test_close_does_not_wait_for_a_client_whose_tls_handshake_failed() -> None:
    async with serve(lambda socket: None, "127.0.0.1", 0, ssl=server_context()) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        await reader.read()
        writer.close()
        await asyncio.wait_for(server.close(timeout=NEVER), PATIENCE)
