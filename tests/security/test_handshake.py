"""The opening handshake, HTTP and injection: rows 73 to 93 of the table of vulnerabilities."""

from __future__ import annotations

import asyncio
import socket as sockets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.endpoints import Served, served
from tests.faults.invariants import Invariants
from tests.raw import CLOSE, Raw, accept, encode, raw_server
from tests.security.asking import KEY, answer_to, asking, status
from tests.security.rows import row, rows
from wasclean import HandshakeError, Request, Response, WebSocket, connect, serve
from wasclean.opening.readers import ResponseReader

FRAME = encode(0x1, b"smuggled", masked=True)


@asynccontextmanager
async def alive(**options: Any) -> AsyncIterator[Served]:
    """A server that must never have called its handler, and that still answers a good client at the end."""
    async with served(**options) as server:
        yield server
        assert server.sockets.empty()
        async with connect(server.url):
            pass


@rows(
    "request_, code",
    (73, "a list of subprotocols of 16,000 spaces", asking("Sec-WebSocket-Protocol: b" + " " * 16_000 + "x"), 431),
    (73, "a list of subprotocols of 8,000 spaces", asking("Sec-WebSocket-Protocol: b" + " " * 8000 + "x"), 400),
    (74, "an unclosed quoted string of escapes", asking('Sec-WebSocket-Extensions: a; b="' + "\\c" * 4000), 400),
    (76, "2,000 headers", asking(*(f"X-{i}: y" for i in range(2000))), 431),
    (77, "a header of 20 MB", asking("X: " + "y" * 20_000_000), 431),
    (79, "a malformed Host", asking(Host="["), 400),
    (79, "a Host with two ports", asking(Host="a:b:c"), 400),
    (79, "an empty Host", asking(Host=""), 400),
    (79, "two Hosts", asking("Host: localhost"), 400),
    (79, "no Host", asking(without="Host"), 400),
    (80, "a subprotocol outside ASCII", asking("Sec-WebSocket-Protocol: \xff"), 400),
    *(
        (81, f"a key of {len(key)} characters: {key[:26]!r}", asking(Sec_WebSocket_Key=key), 400)
        for key in (
            "",
            "AAAA",
            "A" * 20,
            KEY[:-2] + "Q",
            KEY + "AAAA",
            "A" * 4096,
            "!" * 24,
            KEY[:-3] + "R==",
            KEY[:-1],
        )
    ),
    (82, "a body with a length", asking("Content-Length: 40") + asking()[:40], 400),
    (82, "a chunked body", asking("Transfer-Encoding: chunked") + b"1\r\nx\r\n0\r\n\r\n" + asking(), 400),
    (83, "Upgrade: notwebsocket", asking(Upgrade="notwebsocket"), 426),
    (83, "Upgrade: websocket2, h2c", asking(Upgrade="websocket2, h2c"), 426),
    (83, "Connection: notupgrade", asking(Connection="notupgrade"), 426),
    (83, "Connection: keep-alive, upgrade-insecure", asking(Connection="keep-alive, upgrade-insecure"), 426),
    (84, "a second request behind one that is refused", asking(Upgrade="no") + asking(), 426),
    (85, "a version that does not exist, and a request behind it", asking(Sec_WebSocket_Version="777") + asking(), 426),
    (85, "another method", asking(first="POST / HTTP/1.1") + asking(), 405),
    (85, "HTTP/1.0", asking(first="GET / HTTP/1.0") + asking(), 505),
    (85, "no path", asking(first="GET * HTTP/1.1") + asking(), 400),
    (87, "two keys", asking("Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="), 400),
    (87, "two versions", asking("Sec-WebSocket-Version: 8"), 426),
    (87, "two lengths", asking("Content-Length: 0", "Content-Length: 40"), 400),
    (89, "a bare LF", asking().replace(b"\r\n", b"\n"), 400),
    (89, "one bare LF", asking("X: y\nZ: z"), 400),
    (89, "a folded line", asking("X: y\r\n z"), 400),
    (89, "white space before a colon", asking("X : y"), 400),
    (92, "the beginning of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    (92, "an extended CONNECT", asking(first="CONNECT localhost:80 HTTP/1.1"), 405),
)
async def test_a_hostile_request_gets_one_answer_and_the_end(
    request_: bytes, code: int, invariants: Invariants
) -> None:
    async with alive() as server:
        assert status(await answer_to(server, request_ + FRAME)) == code


@row(77, "a head that comes byte by byte")
@row(83, "tokens in a list, in any case, over several lines")
async def test_a_head_may_come_byte_by_byte_and_tokens_in_lists() -> None:
    request = asking("X: " + "y" * 8000, "Connection: Upgrade", Upgrade="h2c, WebSocket", Connection="Keep-Alive")
    close = encode(CLOSE, b"\x03\xe8", masked=True)
    async with served() as server:
        answer = await answer_to(server, request + close, byte_by_byte=True)
        assert status(answer) == 101
        assert answer.endswith(b"\x88\x02\x03\xe8")


@row(75, "extensions with the names of attributes")
@pytest.mark.parametrize("name", ["constructor", "__class__", "__init__; __proto__=1", "permessage-deflate2"])
async def test_an_unknown_extension_is_declined(name: str) -> None:
    async with served() as server:
        answer = await answer_to(server, asking(f"Sec-WebSocket-Extensions: {name}") + encode(CLOSE, masked=True))
        assert status(answer) == 101
        assert b"Extensions" not in answer


@row(78, "an endless list of headers, to a server")
async def test_a_server_reads_no_endless_head() -> None:
    async with alive() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(asking()[:-2])
        sent = 0
        while not reader.at_eof() and sent < 10_000 and not reader._buffer:  # type: ignore[attr-defined]
            writer.write(b"X: y\r\n")
            sent += 1
            await asyncio.sleep(0)
        assert (await reader.readline()).startswith(b"HTTP/1.1 431 ")
        assert sent < 10_000
        writer.transport.abort()


@row(78, "an endless list of headers, or of answers, to a client")
@pytest.mark.parametrize("endless", [b"X: y\r\n", b"\r\nHTTP/1.1 103 Early Hints\r\n"])
async def test_a_client_reads_no_endless_head(endless: bytes, invariants: Invariants) -> None:
    async def script(raw: Raw) -> None:
        while True:
            raw.send(endless * 100)
            await raw.writer.drain()

    async with raw_server(script, answer=lambda head: b"HTTP/1.1 100 Continue\r\n") as url:
        with pytest.raises(HandshakeError):
            await connect(url)


@row(84, "a second request behind one that is accepted")
async def test_what_follows_an_accepted_request_is_frames() -> None:
    async with served() as server:
        answer = await answer_to(server, asking() + asking())
        assert status(answer) == 101
        assert answer.partition(b"\r\n\r\n")[2][2:4] == b"\x03\xea"  # the G of GET has a reserved bit
        socket = await server.sockets.get()
        assert (await socket.wait_closed()).cause == "protocol_error"


@row(85, "a path and a client that on_request refuses, and requests behind them")
@row(104, "a hook for upgrades and plain requests alike")
@pytest.mark.parametrize("upgrade", [True, False])
@pytest.mark.parametrize(("path", "code"), [("/nowhere", 404), ("/secret", 401)])
async def test_on_request_sees_every_request_before_anything_else(upgrade: bool, path: str, code: int) -> None:
    asked = []

    async def hook(request: Request) -> Response | None:
        asked.append(request.path)
        if request.path == "/nowhere":
            return Response(404)
        return None if "Authorization" in request.headers else Response(401)

    first = f"GET {path} HTTP/1.1"
    async with served(on_request=hook) as server:
        request = asking(first=first) if upgrade else asking(first=first, without="Upgrade")
        assert status(await answer_to(server, request + asking("Authorization: yes"))) == code
        assert asked == [path]
        assert server.sockets.empty()


# Injection.

BAD = ["\r\nX: y", "\n", "\r", "\0", "\x7f", "\x80", "\u2028", "\ud800"]


def serve_with(**options: Any) -> Callable[[str, str], object]:
    return lambda url, bad: serve(print, "127.0.0.1", 0, **{name: make(bad) for name, make in options.items()})


def connect_with(**options: Any) -> Callable[[str, str], object]:
    return lambda url, bad: connect(url, **{name: make(bad) for name, make in options.items()})


def make_response(url: str, bad: str) -> object:
    return Response(200, headers={"X": f"x{bad}"})


ARGUMENTS: dict[str, Callable[[str, str], object]] = {
    "a subprotocol of connect()": connect_with(subprotocols=lambda bad: [f"x{bad}"]),
    "a header's value": connect_with(headers=lambda bad: {"X": f"x{bad}"}),
    "a header's name": connect_with(headers=lambda bad: {f"X{bad}": "x"}),
    "a Host": connect_with(headers=lambda bad: {"Host": f"x{bad}"}),
    "an origin": connect_with(origin=lambda bad: f"https://x{bad}"),
    "a subprotocol of WebSocket()": lambda url, bad: WebSocket(url, f"x{bad}"),
    "a header of WebSocket()": lambda url, bad: WebSocket(url, headers={"X": f"x{bad}"}),
    "a subprotocol of serve()": serve_with(subprotocols=lambda bad: [f"x{bad}"]),
    "a header of serve()": serve_with(headers=lambda bad: {"X": f"x{bad}"}),
    "an origin of serve()": serve_with(origins=lambda bad: [f"https://x{bad}"]),
    "a header of a Response": make_response,
    "a reason phrase": lambda url, bad: Response(200, reason=f"x{bad}"),
}


async def use(made: object) -> None:
    """Await what can be awaited."""
    if isinstance(made, Awaitable):
        await made


@row(86, "CR LF, NUL and the like in each argument that a caller may fill with a stranger's text")
@pytest.mark.parametrize("bad", BAD, ids=ascii)
@pytest.mark.parametrize("argument", ARGUMENTS)
async def test_nothing_can_be_injected(argument: str, bad: str) -> None:
    async with served() as server:
        with pytest.raises(ValueError):  # noqa: PT011 - our SyntaxError is one, too
            await use(ARGUMENTS[argument](server.url, bad))
        await asyncio.sleep(0.01)
        assert not server.server._transports


@row(86, "the same in the parts of a URL that the URL standard encodes")
@pytest.mark.parametrize("bad", BAD, ids=ascii)
@pytest.mark.parametrize("url", ["ws://{}/a{}b", "ws://{}/?a{}b", "ws://u{1}:p{1}@{0}/"])
async def test_what_a_url_holds_cannot_leave_its_line(url: str, bad: str) -> None:
    async with served() as server:
        host = server.url.split("/")[2]
        async with connect(url.format(host, bad)):
            socket = await server.sockets.get()
            assert socket.request is not None
            assert "X" not in socket.request.headers
            assert socket.request.target.isascii()
            assert socket.request.target.isprintable()
            assert " " not in socket.request.target


# What a client must not believe.


def answer(*lines: str, key: bool = True, first: str = "HTTP/1.1 101 Switching Protocols") -> Callable[[bytes], bytes]:
    """An answer with more lines, and maybe without its Sec-WebSocket-Accept."""

    def make(head: bytes) -> bytes:
        made = accept(head, *lines).decode().split("\r\n")
        made[0] = first
        return "\r\n".join(line for line in made if key or not line.startswith("Sec-WebSocket-Accept")).encode()

    return make


def other_case(head: bytes) -> bytes:
    name, accepted, rest = accept(head).partition(b"Sec-WebSocket-Accept: ")
    value, end, _ = rest.partition(b"\r\n")
    return name + accepted + value.swapcase() + end + b"\r\n"


@rows(
    "make",
    (87, "two Sec-WebSocket-Accepts, one of which is right", answer("Sec-WebSocket-Accept: AAAA")),
    (87, "two subprotocols", answer("Sec-WebSocket-Protocol: a", "Sec-WebSocket-Protocol: b")),
    (91, "no Sec-WebSocket-Accept", answer(key=False)),
    (91, "a wrong Sec-WebSocket-Accept", answer("Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=", key=False)),
    (91, "a Sec-WebSocket-Accept in another case", other_case),
    (91, "a Sec-WebSocket-Accept and more", lambda head: accept(head)[:-4] + b"A\r\n\r\n"),
    (91, "a Sec-WebSocket-Accept with its end missing", lambda head: accept(head)[:-5] + b"\r\n\r\n"),
    (92, "another status than 101", answer(first="HTTP/1.1 200 OK")),
    (92, "a 101 of HTTP/2", answer(first="HTTP/2 101 ")),
    (92, "a 101 of HTTP/1.0", answer(first="HTTP/1.0 101 ")),
)
async def test_a_client_believes_no_other_answer_and_sends_no_frame(
    make: Callable[[bytes], bytes], invariants: Invariants
) -> None:
    rest = asyncio.get_running_loop().create_future()

    async def script(raw: Raw) -> None:
        raw.send(encode(0x1, b"believe me"))
        if not make(b"Sec-WebSocket-Key: x\r\n").startswith(b"HTTP/1.1 101"):
            raw.shutdown()
        rest.set_result(await raw.rest())

    async with raw_server(script, answer=make) as url:
        socket = WebSocket(url, ["a", "b"] if make(b"Sec-WebSocket-Key: x\r\n").count(b"Protocol:") else [])
        invariants.watch(socket)
        event = await socket.wait_closed()
        assert event.code == 1006
        assert event.cause in ("handshake_invalid", "handshake_rejected")
        assert await rest == b""
        del socket


def read(*pieces: bytes) -> None:
    """Read an answer that comes in pieces, and end."""
    reader = ResponseReader()
    for piece in pieces:
        reader.feed(piece)
    reader.feed_eof()


@row(88, "malformed answers, cut in two at every place")
@pytest.mark.parametrize(
    "malformed",
    [
        b"HTTP/1.1 101\r\nUpgrade",
        b"HTTP/1.1 1x1 \r\n\r\n",
        b"HTTP/1.1 101 X\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 X\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 99999999999 X\r\n\r\n",
        b"\x16\x03\x01" + bytes(100),
    ],
)
def test_a_malformed_answer_is_refused_wherever_it_is_cut(malformed: bytes) -> None:
    for cut in range(len(malformed)):
        with pytest.raises(HandshakeError) as raised:
            read(malformed[:cut], malformed[cut:])
        assert str(raised.value).isprintable()


@row(93, "a request without a Host, and one with an unknown name, where looking up a name is an error")
async def test_no_name_is_looked_up_for_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    async with served() as server:

        def look_up(*arguments: object) -> None:
            raise AssertionError("a name was looked up")

        for name in ("getfqdn", "gethostbyaddr", "gethostbyname", "getnameinfo", "gethostname"):
            monkeypatch.setattr(sockets, name, look_up)
        assert status(await answer_to(server, asking(without="Host"))) == 400
        assert status(await answer_to(server, asking(Host="no-such-host.invalid") + encode(CLOSE, masked=True))) == 101
