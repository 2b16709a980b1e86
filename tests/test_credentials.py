"""Secrets stay secret: nothing that is shown, logged or raised has what was in a URL or in a header."""

from __future__ import annotations

import asyncio
import base64
import logging
import pickle
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import wasclean
from tests.certificates import server_context
from tests.endpoints import Record, echo, served
from tests.faults.patience import NEVER
from tests.raw import Raw, accept, raw_server
from wasclean import CloseEvent, ConnectionClosed, Response, WebSocket, connect

SECRET = "hunter2"
USER = f"me:{SECRET}@"
QUERY = f"?token={SECRET}"
BASIC = base64.b64encode(f"me:{SECRET}".encode()).decode()
HEADERS = {"Cookie": f"session={SECRET}", "X-Key": SECRET}


def with_secrets(url: str) -> str:
    """A URL with a user and a query."""
    return url.replace("://", f"://{USER}", 1) + QUERY


def chain_of(error: BaseException | None) -> list[str]:
    """Return all texts of an exception and of its causes."""
    texts: list[str] = []
    while error is not None:
        texts += [str(error), repr(error), *map(str, error.args), "".join(traceback.format_exception(error))]
        error = error.__cause__ or error.__context__
    return texts


def check_nothing_is_told(*texts: str) -> None:
    for text in texts:
        assert SECRET not in text
        assert BASIC not in text


def check_socket(socket: WebSocket, event: CloseEvent, record: Record | None = None) -> None:
    """Look at all that a socket that has closed shows."""
    texts = [repr(socket), str(socket), repr(socket.response), *chain_of(event.exception)]
    for each in record.events if record is not None else [event]:
        texts += [repr(each), str(each), repr(getattr(each, "error", ""))]
    texts += [event.explain(), event.detail, repr(event.as_dict()), repr(event.stats), repr(event.frames)]
    texts.append(repr(pickle.dumps(event)))
    texts += chain_of(ConnectionClosed(event))
    check_nothing_is_told(*texts)


async def leave(raw: Raw) -> None:
    """A script: reset the connection."""
    raw.reset()


async def stay(raw: Raw) -> None:
    """A script: wait until the client goes."""
    await raw.rest()


async def break_rules(raw: Raw) -> None:
    """A script: send what no server may."""
    raw.send_frame(3, b"x")
    await raw.rest()


def refuse(status: bytes) -> Callable[[bytes], bytes]:
    return lambda head: b"HTTP/1.1 " + status + b" x\r\nContent-Length: 0\r\n\r\n"


SCENARIOS: dict[str, tuple[Callable[[Raw], Awaitable[None]], Callable[[bytes], bytes], str]] = {
    "reset": (leave, accept, "tcp_reset"),
    "violation": (break_rules, accept, "protocol_error"),
    "rejected": (stay, refuse(b"401"), "handshake_rejected"),
    "redirected": (stay, refuse(b"302"), "handshake_rejected"),
    "nonsense": (stay, lambda head: b"SSH-2.0-x\r\n", "handshake_invalid"),
    "silent": (stay, lambda head: b"", "open_timeout"),
}


@pytest.mark.parametrize("name", SCENARIOS)
async def test_nothing_shows_the_password_of_the_url_or_a_header(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    script, answer, cause = SCENARIOS[name]
    time = 0.3 if name == "silent" else NEVER
    heads: list[bytes] = []

    def note(head: bytes) -> bytes:
        heads.append(head)
        return answer(head)

    async with raw_server(script, answer=note) as url:
        socket = WebSocket(with_secrets(url), headers=HEADERS, open_timeout=time)
        record = Record(socket)
        event = await socket.wait_closed()
        assert event.cause == cause
        check_socket(socket, event, record)
        if event.phase is not None:  # it has not been open
            with pytest.raises(Exception, match=r".") as error:
                await connect(with_secrets(url), headers=HEADERS, open_timeout=time)
            # The frames of pytest's traceback have the source of this test, not values.
            check_nothing_is_told(str(error.value), repr(error.value))
    assert BASIC.encode() in heads[0]
    assert SECRET.encode() in heads[0]
    lines = [record.getMessage() for record in caplog.records if record.name == "wasclean.client"]
    assert lines
    assert all(f"{url.rstrip('/')}/" in line for line in lines)
    check_nothing_is_told(caplog.text)


async def test_nothing_shows_the_password_of_a_connection_that_worked(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with served(echo) as server:
        socket = WebSocket(with_secrets(server.url), headers=HEADERS)
        record = Record(socket)
        ours = await server.sockets.get()
        check_nothing_is_told(repr(socket), repr(ours), repr(ours.request))
        socket.addEventListener("open", lambda event: socket.send("x"))
        socket.addEventListener("message", lambda event: socket.close())
        event = await socket.wait_closed()
        assert event.ok
        assert record.types == ["open", "message", "close"]
        check_socket(socket, event, record)
        assert record.events[1].origin == server.url.rstrip("/")
        check_socket(ours, await ours.wait_closed())
    check_nothing_is_told(caplog.text)


async def test_nothing_shows_the_password_when_there_is_no_connection(
    caplog: pytest.LogCaptureFixture, unused_tcp_port: int
) -> None:
    caplog.set_level(logging.DEBUG)
    asyncio.get_running_loop().set_debug(True)
    async with served(echo, ssl=server_context()) as server:
        for url, cause in (
            (f"ws://127.0.0.1:{unused_tcp_port}/", "connect_failed"),
            ("ws://no.invalid/", "connect_failed"),
            (f"wss://127.0.0.1:{server.server.port}/", "tls_failed"),
        ):
            socket = WebSocket(with_secrets(url), headers=HEADERS)
            record = Record(socket)
            event = await socket.wait_closed()
            assert event.cause == cause
            check_socket(socket, event, record)
    check_nothing_is_told(caplog.text)


async def test_the_url_of_a_socket_is_the_one_that_was_given() -> None:
    """ "Returns the URL that was used to establish the WebSocket connection." """
    async with served(echo) as server, connect(with_secrets(server.url)) as socket:
        assert socket.url == with_secrets(server.url)


def test_what_a_client_was_asked_for_is_not_shown() -> None:
    asked = connect(f"ws://{USER}h/{QUERY}", headers=HEADERS, proxy=f"http://{USER}h")
    check_nothing_is_told(repr(asked), repr(asked._target), str(asked._target))


@pytest.mark.parametrize(
    "url", [f"{USER}h", f"ws://{USER}h h/", f"ws://{USER}h:x/", f"ftp://{USER}h/", f"ws://{USER}h/#x", f"//{USER}h"]
)
def test_a_url_that_is_none_is_an_error_without_its_password(url: str) -> None:
    for arguments in ((url, None), ("#x", url)):
        with pytest.raises(wasclean.SyntaxError) as error:
            connect(arguments[0], base_url=arguments[1])
        check_nothing_is_told(str(error.value), repr(error.value), *chain_of(error.value.__cause__))


# Redirects.


CREDENTIALS = {"authorization", "cookie", "proxy-authorization"}


@pytest.mark.parametrize(
    "location",
    [
        "ws://127.0.0.1:{port}/x",
        "http://127.0.0.1:{port}/x",
        "//127.0.0.1:{port}/x",
        f"ws://{USER}127.0.0.1:{{port}}/x",
        "ws://localhost:{port}/x",
    ],
)
async def test_no_credentials_follow_a_redirect_to_another_origin(location: str) -> None:
    seen: list[Any] = []

    def hook(request: Any) -> Response:
        seen.append(request.headers)
        return Response(404)

    async with served(echo, on_request=hook) as there:
        answer = Response(302, headers={"Location": location.format(port=there.server.port)}).serialize()
        async with raw_server(stay, answer=lambda head: answer) as url:
            for headers in (HEADERS, {**HEADERS, "Authorization": SECRET, "Proxy-Authorization": SECRET}):
                with pytest.raises(wasclean.HandshakeError, match="404"):
                    await connect(with_secrets(url), headers=headers, max_redirects=1)
    assert len(seen) == 2
    for headers in seen:
        assert not {name.lower() for name in headers} & CREDENTIALS
        assert headers["X-Key"] == SECRET  # whatever else the caller sends is his own business


async def test_credentials_do_not_come_back_when_a_redirect_leads_home() -> None:
    homes: list[bytes] = []
    urls: list[str] = []

    def at_home(head: bytes) -> bytes:
        homes.append(head)
        if len(homes) > 1:
            return refuse(b"404")(head)
        return Response(302, headers={"Location": urls[0]}).serialize()

    async with raw_server(stay, answer=at_home) as home:
        elsewhere = Response(302, headers={"Location": home}).serialize()
        async with raw_server(stay, answer=lambda head: elsewhere) as away:
            urls.append(away)
            with pytest.raises(wasclean.HandshakeError, match="404"):
                await connect(with_secrets(home), headers=HEADERS, max_redirects=5)
    assert BASIC.encode() in homes[0]
    assert b"Cookie" in homes[0]
    assert BASIC.encode() not in homes[1]
    assert b"Cookie" not in homes[1]


# Injections: what would be another header, or another request.


INJECTIONS = ["a\r\nX: y", "a\nX: y", "a\rX: y", "a\0b", "a\x1b[2J", "a\x7fb", "a\x80b", "aéb", "a\u2028b", "a\ud800b"]


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: {"headers": {"X-A": text}},
        lambda text: {"headers": [(text, "x")]},
        lambda text: {"headers": {"Host": text}},
        lambda text: {"headers": {"Authorization": text}},
        lambda text: {"origin": text},
        lambda text: {"subprotocols": [text]},
        lambda text: {"subprotocols": text},
        lambda text: {"proxy": f"http://127.0.0.1:5/{text}"},
        lambda text: {"proxy": f"http://{text}@127.0.0.1:5"},
    ],
    ids=["value", "name", "Host", "Authorization", "origin", "subprotocols", "subprotocol", "proxy", "proxy's user"],
)
async def test_a_client_that_is_told_to_inject_raises_before_it_connects(make: Any, text: str) -> None:
    connected: list[Raw] = []

    async def script(raw: Raw) -> None:
        connected.append(raw)

    async with raw_server(script) as url:
        options = make(text)
        with pytest.raises(ValueError):  # noqa: PT011 - of any kind
            await connect(url, **options)
        if "subprotocols" in options:
            options["protocols"] = options.pop("subprotocols")
        with pytest.raises(ValueError):  # noqa: PT011
            WebSocket(url, **options)
    assert connected == []


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
@pytest.mark.parametrize("where", ["{url}{text}", "{url}?{text}", "{user}"], ids=["path", "query", "user"])
async def test_a_url_cannot_inject(where: str, text: str) -> None:
    """The URL standard drops CR and LF, and encodes all else; so it can't be a ValueError as for other arguments."""
    heads: list[bytes] = []

    def answer(head: bytes) -> bytes:
        heads.append(head)
        return refuse(b"404")(head)

    async with raw_server(stay, answer=answer) as url:
        with pytest.raises(wasclean.HandshakeError, match="404"):
            await connect(where.format(url=url, text=text, user=url.replace("://", f"://{text}@")))
    (head,) = heads
    assert head.isascii()
    lines = head.split(b"\r\n")
    assert lines[0].count(b" ") == 2
    assert not [line for line in lines if line.startswith(b"X") or not line.decode().isprintable()]


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
@pytest.mark.parametrize(
    "make",
    [
        lambda text: Response(200, reason=text),
        lambda text: Response(200, headers={"X-A": text}),
        lambda text: Response(200, headers={text: "x"}),
        lambda text: Response(302, headers={"Location": text}),
    ],
    ids=["reason", "value", "name", "Location"],
)
def test_a_response_that_is_told_to_inject_raises(make: Any, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        make(text)


@pytest.mark.parametrize("text", INJECTIONS, ids=ascii)
async def test_a_reason_travels_as_it_is_and_is_escaped_in_the_log(text: str, caplog: pytest.LogCaptureFixture) -> None:
    """A reason is text in a frame, not a header."""
    caplog.set_level(logging.DEBUG)
    async with served() as server:
        socket = await connect(server.url)
        ours = await server.sockets.get()
        await socket.close(3000, text)
        event = await ours.wait_closed()
        assert event.reason == text.replace("\ud800", "\ufffd")
        for shown in (str(event), repr(event), *(record.getMessage() for record in caplog.records)):
            assert shown.isprintable()
