"""Part 2 of the matrix: closing and other faults while a connection is being opened."""

from __future__ import annotations

import asyncio
import base64
import errno
import logging
import select
import socket as sockets
import ssl
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import pytest

import wasclean.aio.client
from tests.certificates import authority, client_context, server_context
from tests.endpoints import awaited, echo, served, turn
from tests.faults.invariants import Invariants
from tests.faults.patience import NEVER, PATIENCE, until
from tests.faults.proxy import fault_proxy
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import Place, we_answer, we_end_tcp
from tests.faults.tcp_peer import TCPPeer, tcp_server
from tests.faults.tls_peer import TLSPeer, TLSServer, tls_server
from tests.raw import CLOSE, TEXT, accept, close_payload, encode
from wasclean import CloseEvent, HandshakeError, Request, Response, WebSocket, connect
from wasclean.aio.loopstate import LoopState
from wasclean.aio.services import buffer_of

on_both = pytest.mark.parametrize("transport", ["tcp", "tls"])

#: How a connection is opened: with events, or as a stream.
by_both = pytest.mark.parametrize("how", ["events", "stream"])


#: Seconds of open_timeout, within which a machine that is busy comes as far as a test wants.
SHORT = 0.5


# Places.


@asynccontextmanager
async def server_on(transport: str) -> AsyncIterator[tuple[TLSServer, dict[str, Any]]]:
    """A scripted server, and the options with which a client trusts it."""
    if transport == "tls":
        async with tls_server() as server:
            yield server, {"ssl": client_context()}
    else:
        async with tcp_server() as plain:
            yield plain, {}


@asynccontextmanager
async def knocking(port: int, transport: str, *, shakes_hands: bool = True) -> AsyncIterator[TLSPeer]:
    """A connection to our server, on which no request has been sent."""
    socket = sockets.socket()
    peer = (
        TCPPeer(socket, is_server=False) if transport == "tcp" else TLSPeer(socket, client_context(), is_server=False)
    )
    try:
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", port))
        if shakes_hands:
            await peer.shake_hands()
        yield peer
    finally:
        peer.close()


def tls_of(transport: str) -> dict[str, Any]:
    """The options of a server on the transport."""
    return {"ssl": server_context()} if transport == "tls" else {}


def request(port: int) -> bytes:
    """A client's request."""
    lines = [
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    return "\r\n".join([*lines, "", ""]).encode()


async def head_of(peer: TLSPeer) -> bytes:
    """Read what our client asks for."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += await peer.read()
    return head


def new_socket(invariants: Invariants, url: str, **options: Any) -> WebSocket:
    """A client that is watched from its beginning."""
    socket = WebSocket(url, **options)
    invariants.watch(socket)
    return socket


async def failure(url: str, **options: Any) -> tuple[BaseException, CloseEvent]:
    """Return the exception of connect(), and its event."""
    try:
        await connect(url, **options)
    except Exception as error:
        error.__traceback__ = None
        return error, error.event  # type: ignore[attr-defined]
    raise AssertionError("connect() did not raise")


async def close_now(row: Row, socket: WebSocket, invariants: Invariants) -> CloseEvent:
    """Close a socket that is connecting, and see that this ends it at once, with both events."""
    closing = socket.close(1000, "never mind")
    assert socket.readyState == WebSocket.CLOSING
    assert invariants.events == []  # none from inside the call
    event: CloseEvent = await asyncio.wait_for(awaited(closing), PATIENCE)
    row.check(event)
    assert (event.sent, event.received) == (None, None)
    assert invariants.events == ["error", "close"]
    return event


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """A server logs nothing above debug."""
    caplog.set_level(logging.DEBUG)
    yield
    loud = [record for record in caplog.records if record.levelno > logging.DEBUG and record.name != "wasclean.client"]
    assert [record.getMessage() for record in loud] == []


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """A function that makes the resolver, or a method of the loop, hang, and returns a log of its calls."""

    def hang(method: str) -> list[str]:
        loop = asyncio.get_running_loop()
        told: list[str] = []

        async def hanging(*args: Any, **options: Any) -> None:
            told.append("called")
            try:
                await asyncio.Event().wait()
            finally:
                told.append("cancelled")

        class Loop:
            def __getattr__(self, name: str) -> Any:
                return hanging if name == method else getattr(loop, name)

        if method == "resolve":
            monkeypatch.setattr(wasclean.aio.client, "resolve", hanging)
            return told
        monkeypatch.setattr(wasclean.aio.client, "get_running_loop", Loop)
        monkeypatch.setattr(wasclean.aio.client, "buffer_of", lambda _: buffer_of(loop))
        return told

    return hang


# close() while connecting.


@row("C17", "close() while the name is being resolved", Sees(1006, False, "local", "local_close"), peer="nothing")
async def test_close_while_the_name_is_looked_up(
    row: Row, invariants: Invariants, hanging: Callable[[str], list[str]]
) -> None:
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        told = hanging("resolve")
        socket = new_socket(invariants, f"ws://127.0.0.1:{listener.getsockname()[1]}/")
        await until(lambda: told, "the name to be looked up")
        event = await close_now(row, socket, invariants)
        assert event.phase == "dns"
        await until(lambda: told == ["called", "cancelled"], "the resolver to be cancelled")
        with pytest.raises(BlockingIOError):
            listener.accept()


@contextmanager
def full_listener() -> Iterator[int]:
    """The port of a listener whose queue is full, so that the kernel drops each SYN to it."""
    with sockets.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting: list[sockets.socket] = []
        try:
            for _ in range(8):
                socket = sockets.socket()
                waiting.append(socket)
                socket.setblocking(False)
                socket.connect_ex(listener.getsockname())
                if not select.select([], [socket], [], 0.05)[1]:
                    break
            else:
                pytest.skip("this kernel drops no SYN")
            yield listener.getsockname()[1]
        finally:
            for socket in waiting:
                socket.close()


@row("C18", "close() while TCP connects", Sees(1006, False, "local", "local_close"), peer="no data")
@on_both
async def test_close_while_tcp_connects(row: Row, transport: str, invariants: Invariants) -> None:
    with full_listener() as port:
        if transport == "tls":
            socket = new_socket(invariants, f"wss://127.0.0.1:{port}/", ssl=client_context())
        else:
            socket = new_socket(invariants, f"ws://127.0.0.1:{port}/")
        await asyncio.sleep(0.05)
        assert socket.readyState == WebSocket.CONNECTING
        event = await close_now(row, socket, invariants)
        assert event.phase == "tcp"


@row(
    "C19",
    "close() during the TLS handshake",
    Sees(1006, False, "local", "local_close"),
    peer="the end of TCP inside the TLS handshake",
)
async def test_close_during_the_tls_handshake(row: Row, invariants: Invariants) -> None:
    async with tls_server() as server:
        socket = new_socket(invariants, server.url, ssl=client_context())
        peer = await server.accept_tcp()
        await until(lambda: select.select([peer.socket], [], [], 0)[0], "the ClientHello")
        event = await close_now(row, socket, invariants)
        assert event.phase == "tls"
        assert await peer.ended() == "fin"
        peer.close()


@row(
    "C20",
    "close() before the server has answered the request",
    Sees(1006, False, "local", "local_close"),
    peer="the request, and the end of TCP without a frame",
)
@on_both
async def test_close_before_the_answer(row: Row, transport: str, invariants: Invariants) -> None:
    async with server_on(transport) as (server, options):
        socket = new_socket(invariants, server.url, **options)
        peer = await server.accept_tcp()
        await peer.shake_hands()
        head = await head_of(peer)
        event = await close_now(row, socket, invariants)
        assert event.phase == "http"
        assert head.count(b"\r\n\r\n") == 1
        assert await peer.rest() == b""
        # Unread data of TLS, such as a session ticket, turn the FIN into a RST.
        assert await peer.ended() == "fin" or transport == "tls"
        peer.close()


@row("C21", "the task that connects is cancelled, at any point", peer="the end of TCP", delivered="nothing")
@on_both
async def test_connecting_is_cancelled_anywhere(
    row: Row, transport: str, invariants: Invariants, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = wasclean.aio.client.start

    def watched(socket: WebSocket, *arguments: Any) -> None:
        start(socket, *arguments)
        invariants.watch(socket)

    monkeypatch.setattr(wasclean.aio.client, "start", watched)
    async with served(echo, **tls_of(transport)) as server:
        options: Any = {"ssl": client_context()} if transport == "tls" else {}
        url = server.url.replace("ws:", "wss:") if transport == "tls" else server.url
        for turns in range(1, 400):
            task = asyncio.ensure_future(connect(url, **options))
            await turn(turns)
            if task.done():
                assert (await (await task).close()).wasClean
                break
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until(lambda: "close" in invariants.events, "the end")
            assert invariants.events in (["error", "close"], ["open", "close"])
        else:
            raise AssertionError("it never connects")
        assert turns > 3
    state = LoopState.of(asyncio.get_running_loop())
    await until(lambda: not state.connections, "all transports to be gone", 1)


# There is no connection.


@row(
    "C22",
    "the server does not exist: refused, unknown name, or unreachable",
    Sees(1006, False, "network", "connect_failed"),
    peer="nothing",
    within="depends on the system; at most open_timeout",
)
@pytest.mark.parametrize(
    ("host", "number", "phase"),
    [
        ("127.0.0.1", errno.ECONNREFUSED, "tcp"),
        ("does-not-exist.invalid", None, "dns"),  # what its error says is no errno
        ("224.0.0.1", errno.ENETUNREACH, "tcp"),
    ],
    ids=["refused", "unknown", "unreachable"],
)
@by_both
async def test_there_is_no_server(
    row: Row, how: str, host: str, number: int | None, phase: str, unused_tcp_port: int, invariants: Invariants
) -> None:
    url = f"ws://{host}:{unused_tcp_port}/"
    if how == "events":
        event = await new_socket(invariants, url).wait_closed()
        assert invariants.events == ["error", "close"]
    else:
        error, event = await failure(url)
        assert type(error) is type(event.exception)
    row.check(event)
    assert event.phase == phase
    assert isinstance(event.exception, OSError)
    if number is None:
        assert isinstance(event.exception, sockets.gaierror)
    assert event.errno == number


@row(
    "C23",
    "a server that accepts TCP, and does not answer, or only one byte at a time",
    Sees(1006, False, "local", "open_timeout"),
    peer="the end of TCP",
    within="open_timeout",
)
@on_both
@by_both
@pytest.mark.parametrize("answer", ["nothing", "no TLS", "dribbles"])
async def test_the_server_does_not_answer(
    row: Row, transport: str, how: str, answer: str, invariants: Invariants
) -> None:
    if answer == "no TLS" and transport == "tcp":
        pytest.skip("there is no TLS on TCP")
    loop = asyncio.get_running_loop()
    async with server_on(transport) as (server, options):
        start = loop.time()
        options["open_timeout"] = SHORT
        if how == "events":
            failing = asyncio.ensure_future(_closed(new_socket(invariants, server.url, **options)))
        else:
            failing = asyncio.ensure_future(_failed(server.url, **options))
        peer = await server.accept_tcp()
        if answer != "no TLS":
            await peer.shake_hands()
            for byte in accept(await head_of(peer)) if answer == "dribbles" else b"":
                await asyncio.sleep(0.01)
                try:
                    await peer.send(bytes((byte,)))
                except ConnectionError:
                    break
                if failing.done():
                    break
        event = await failing
        assert loop.time() - start > SHORT - 0.01
        row.check(event)
        assert isinstance(event.exception, TimeoutError)
        assert event.phase == ("tls" if answer == "no TLS" else "http")
        assert await peer.ended() == "fin" or answer == "dribbles"
        peer.close()
    if how == "events":
        assert invariants.events == ["error", "close"]


async def _closed(socket: WebSocket) -> CloseEvent:
    return await socket.wait_closed()


async def _failed(url: str, **options: Any) -> CloseEvent:
    error, event = await failure(url, **options)
    assert isinstance(error, TimeoutError)
    return event


@row(
    "C24",
    "a client that connects to our server, and sends nothing, or only one byte at a time",
    peer="408, and the end of TCP",
    delivered="nothing: the handler is not called",
    within="open_timeout",
)
@on_both
@pytest.mark.parametrize("says", ["nothing", "no TLS", "a half", "dribbles"])
async def test_a_client_that_says_nothing(
    row: Row, transport: str, says: str, invariants: Invariants, quiet: None
) -> None:
    if says == "no TLS" and transport == "tcp":
        pytest.skip("there is no TLS on TCP")
    loop = asyncio.get_running_loop()
    async with served(open_timeout=SHORT, **tls_of(transport)) as server:
        start = loop.time()
        async with knocking(server.server.port, transport, shakes_hands=says != "no TLS") as peer:
            if says == "no TLS":
                assert await peer.ended() == "fin"
            else:
                data = request(server.server.port)[:-1]
                if says == "a half":
                    await peer.send(data)
                reading = asyncio.ensure_future(peer.rest())
                for byte in data if says == "dribbles" else b"":
                    await peer.send(bytes((byte,)))
                    await asyncio.sleep(0.01)
                    if reading.done():
                        break
                answer = await reading
                assert answer.startswith(b"HTTP/1.1 408 ")
                assert b"\r\nConnection: close\r\n" in answer
                await peer.notify()
                assert await peer.ended() == "fin" or says == "dribbles"
            assert loop.time() - start > SHORT - 0.05
        assert server.sockets.empty()
        await until(lambda: not server.server._transports, "the server to forget it")


# The server answers something else.


@row(
    "C25",
    "the server answers with another status than 101",
    Sees(1006, False, "remote", "handshake_rejected"),
    peer="the end of TCP",
    delivered="the response, with up to 64 KiB of its body",
    within="when the head has arrived, plus at most a second for up to 64 KiB of the body",
)
@on_both
@by_both
@pytest.mark.parametrize(
    ("status", "size", "missing"),
    [(301, 0, 0), (404, 10, 0), (500, 200_000, 0), (503, None, 0), (401, 10, 1)],
    ids=["301", "404", "500", "endless", "unfinished"],
)
async def test_the_server_does_not_accept(
    row: Row,
    transport: str,
    how: str,
    status: int,
    size: int | None,
    missing: int,
    invariants: Invariants,
) -> None:
    async with server_on(transport) as (server, options):

        async def script() -> None:
            peer = await server.accept_tcp()
            await peer.shake_hands()
            await head_of(peer)
            length = "" if size is None else f"Content-Length: {size + missing}\r\n"
            try:
                await peer.send(f"HTTP/1.1 {status} No\r\n{length}Location: /elsewhere\r\n\r\n".encode())
                if size is not None:
                    await peer.send(b"x" * size)
                while size is None:
                    await peer.send(b"x" * 5000)
            except ConnectionError:
                assert size is None or size > 1 << 16
                return
            assert await peer.rest() == b""
            if size is not None and size < 1 << 16:
                assert await peer.ended() == "fin"
            peer.close()

        serving = asyncio.ensure_future(script())
        if how == "events":
            socket = new_socket(invariants, server.url, **options)
            event = await socket.wait_closed()
            assert invariants.events == ["error", "close"]
            assert socket.response is event.response
        else:
            error, event = await failure(server.url, **options)
            assert isinstance(error, HandshakeError)
            assert error.status == status
        await serving
        row.check(event)
        assert event.phase == "http"
        assert isinstance(event.exception, HandshakeError)
        assert event.response is not None
        assert event.response.status == status
        assert event.response.headers["Location"] == "/elsewhere"
        assert len(event.response.body) == min(1 << 16 if size is None else size, 1 << 16)


def _without(name: bytes) -> Callable[[bytes], bytes]:
    def change(answer: bytes) -> bytes:
        return b"\r\n".join(line for line in answer.split(b"\r\n") if not line.startswith(name + b":"))

    return change


def _with(line: bytes) -> Callable[[bytes], bytes]:
    return lambda answer: answer[:-2] + line + b"\r\n\r\n"


INVALID: dict[str, Callable[[bytes], bytes]] = {
    "another key's Accept": lambda answer: _with(b"Sec-WebSocket-Accept: " + base64.b64encode(bytes(20)))(
        _without(b"Sec-WebSocket-Accept")(answer)
    ),
    "no Accept": _without(b"Sec-WebSocket-Accept"),
    "no Upgrade": _without(b"Upgrade"),
    "another Upgrade": lambda answer: answer.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
    "no Connection": _without(b"Connection"),
    "an extension": _with(b"Sec-WebSocket-Extensions: permessage-nothing"),
    "a subprotocol that was not offered": _with(b"Sec-WebSocket-Protocol: chat"),
    "no HTTP": lambda answer: b"\x00" * 200,
}


@row(
    "C26",
    "a 101 that breaks the rules",
    Sees(1006, False, "local", "handshake_invalid"),
    peer="the end of TCP, and no frame",
)
@on_both
@pytest.mark.parametrize("what", INVALID)
async def test_an_answer_that_breaks_the_rules(row: Row, transport: str, what: str, invariants: Invariants) -> None:
    async with server_on(transport) as (server, options):
        socket = new_socket(invariants, server.url, **options)
        peer = await server.accept_tcp()
        await peer.shake_hands()
        await peer.send(INVALID[what](accept(await head_of(peer))))
        event = await socket.wait_closed()
        row.check(event)
        assert (event.sent, event.received) == (None, None)
        assert isinstance(event.exception, HandshakeError)
        await we_end_tcp(peer)
    assert invariants.events == ["error", "close"]


@row(
    "C27",
    "the 101, messages and a Close frame in one segment",
    Sees(3000, True, "remote", "peer_close", "bye"),
    peer="a Close frame with the same code",
    delivered="open, all messages, close; also to listeners that onopen adds",
)
@on_both
async def test_the_answer_and_all_that_follows_in_one_segment(row: Row, transport: str, invariants: Invariants) -> None:
    seen: list[Any] = []
    async with server_on(transport) as (server, options):
        socket = new_socket(invariants, server.url, **options)

        def on_open(event: Any) -> None:
            event.target.onmessage = lambda event: seen.append(event.data)
            event.target.onclose = lambda event: seen.append(event.code)

        socket.onopen = on_open
        peer = await server.accept_tcp()
        await peer.shake_hands()
        frames = [encode(TEXT, str(i).encode()) for i in range(5)]
        close = encode(CLOSE, close_payload(3000, "bye"))
        await peer.send(accept(await head_of(peer)) + b"".join(frames) + close)
        await we_answer(Place("client", transport), peer, 3000, "bye")
        row.check(await socket.wait_closed())
    assert seen == ["0", "1", "2", "3", "4", 3000]
    assert invariants.events == ["open", "close"]


# TCP ends.


C28 = row(
    "C28",
    "TCP ends, or is reset, inside the opening handshake",
    Sees(1006, False, "network", "connect_failed"),
    peer="nothing; if we are the server, the handler is not called",
)


@C28
@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_the_server_leaves_at_every_byte_of_its_answer(row: Row, end: str, invariants: Invariants) -> None:
    async with tcp_server() as server:
        size = 1
        cut = 0
        while cut < size:
            socket = new_socket(invariants, server.url)
            peer = await server.accept_tcp()
            answer = accept(await head_of(peer))
            size = len(answer)
            await peer.send(answer[:cut])
            peer.close() if end == "fin" else peer.reset()
            event = await socket.wait_closed()
            row.check(event)
            assert isinstance(event.exception, HandshakeError | ConnectionError)
            assert event.phase == "http"
            assert event.response is None
            assert invariants.events == ["error", "close"]
            cut += 1
        assert size > 100


@C28
@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_client_leaves_at_every_byte_of_its_request(
    row: Row, end: str, invariants: Invariants, quiet: None
) -> None:
    async with served() as server:
        port = server.server.port
        data = request(port)
        for cut in range(len(data)):
            with sockets.create_connection(("127.0.0.1", port)) as client:
                client.sendall(data[:cut])
                await turn(cut % 4)
                if end == "rst":
                    client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        await until(lambda: not server.server._transports and not server.server._handshakes, "the server to forget all")
        assert server.sockets.empty()


@C28
@pytest.mark.parametrize("end", ["fin", "rst"])
@pytest.mark.parametrize("direction", ["up", "down"])
async def test_tls_is_cut_anywhere_on_both_sides(
    row: Row, end: Any, direction: Any, invariants: Invariants, quiet: None
) -> None:
    """A connection that is cut before TLS is established fails with TLS."""
    async with served(ssl=server_context()) as server:
        for cut in range(0, 2000, 131):
            async with fault_proxy(server.server.port) as proxy:
                proxy.truncate(direction, cut, end)
                socket = new_socket(invariants, f"wss://127.0.0.1:{proxy.port}/", ssl=client_context())
                await until(lambda: invariants.events, "the end, or the beginning")
                if invariants.events == ["open"]:
                    socket.terminate()
                    break
                event = await socket.wait_closed()
                assert (event.code, event.cause) in [(1015, "tls_failed"), (1006, "connect_failed")], event
                assert (event.wasClean, event.initiator) == (False, "network")
                assert invariants.events == ["error", "close"]
        else:
            raise AssertionError("it never opens")
        await until(lambda: not server.server._handshakes and not server.server.connections, "the server to forget all")


@row(
    "C29",
    "our server shuts down during an opening handshake",
    peer="503 with Connection: close, and the end of TCP",
)
@on_both
@pytest.mark.parametrize("when", ["before the request", "inside the request", "while on_request runs"])
async def test_a_server_shuts_down_during_a_handshake(
    row: Row, transport: str, when: str, invariants: Invariants, quiet: None
) -> None:
    told: list[str] = []

    async def hook(request: Request) -> None:
        told.append("called")
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    async with served(on_request=hook, **tls_of(transport)) as server:
        async with knocking(server.server.port, transport) as peer:
            data = request(server.server.port)
            if when == "inside the request":
                await peer.send(data[:50])
            elif when == "while on_request runs":
                await peer.send(data)
                await until(lambda: told, "the hook")
            await until(lambda: any(handshake._ready for handshake in server.server._handshakes), "TLS")
            closing = server.server.close()
            answer = await peer.rest()
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nConnection: close\r\n" in answer
            await peer.notify()
            assert await peer.ended() == "fin"
            peer.close()
            await closing
        assert server.sockets.empty()
    assert told in ([], ["called", "cancelled"])


# TLS.


def _old() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    authority().configure_trust(context)
    return context


def _new_only() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


C30 = row(
    "C30",
    "TLS fails: an unknown authority, a certificate for another host, no common version, or no TLS at all",
    Sees(1015, False, "network", "tls_failed"),
    peer="the end of TCP inside the TLS handshake, and never a Close frame with 1015",
)


@C30
@by_both
@pytest.mark.parametrize("what", ["authority", "host", "version", "plain"])
async def test_tls_fails(row: Row, what: str, how: str, invariants: Invariants) -> None:
    contexts = {"authority": ssl.create_default_context, "version": _old}
    options: dict[str, Any] = {"ssl": contexts.get(what, client_context)()}
    if what == "host":
        options["server_hostname"] = "other.example"
    place: Any = tcp_server() if what == "plain" else tls_server(_new_only() if what == "version" else None)
    async with place as server:

        async def script() -> None:
            peer = await server.accept_tcp()
            if what == "plain":
                await peer.read()  # a ClientHello
                await peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            else:  # asyncio ends TCP without an alert
                with suppress(ssl.SSLError):
                    await peer.shake_hands()
            assert await peer.ended() == "fin"
            peer.close()

        serving = asyncio.ensure_future(script())
        url = server.url.replace("ws:", "wss:")
        if how == "events":
            event = await new_socket(invariants, url, **options).wait_closed()
            assert invariants.events == ["error", "close"]
        else:
            error, event = await failure(url, **options)
            assert isinstance(error, ssl.SSLError)
        await serving
        row.check(event)
        assert (event.sent, event.received) == (None, None)
        assert isinstance(event.exception, ssl.SSLError)
        assert event.phase == "tls"


@C30
@pytest.mark.parametrize("what", ["plain", "distrust"])
async def test_tls_fails_at_our_server(row: Row, what: str, invariants: Invariants, quiet: None) -> None:
    async with served(ssl=server_context()) as server:
        if what == "plain":
            async with knocking(server.server.port, "tcp") as peer:
                await peer.send(request(server.server.port))
                assert not (await peer.rest()).startswith(b"HTTP")
        else:
            socket = sockets.socket()
            peer = TLSPeer(socket, ssl.create_default_context(), is_server=False)
            await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", server.server.port))
            with pytest.raises(ssl.SSLCertVerificationError) as failed:
                await peer.shake_hands()
            failed.value.__traceback__ = None
            assert await peer.ended() == "fin"
            peer.close()
        await until(lambda: not server.server._handshakes, "the server to forget it")
        assert server.sockets.empty()


# Proxies.


class Proxy:
    """An HTTP proxy that says what it is told to.

    Attributes:
        url: how a client says where it is.
        heads: what it was asked.
    """

    def __init__(self, answer: bytes | None, forward_to: int | None, later: bytes) -> None:
        self.url = ""
        self.heads: list[bytes] = []
        self._answer = answer
        self._later = later
        self._forward_to = forward_to
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            if self._answer == b"reset":
                connection = writer.get_extra_info("socket")
                connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            elif self._answer is not None:
                writer.write(self._answer)
                while self._answer.endswith(b"..."):
                    writer.write(b"x" * 1000)
                    await writer.drain()
                    await asyncio.sleep(0)
            if self._later:
                await asyncio.sleep(0.05)
                writer.write(self._later)
            if self._forward_to is not None:
                await self._forward(reader, writer)
            elif self._answer != b"reset":
                await reader.read()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up, down = await asyncio.open_connection("127.0.0.1", self._forward_to)

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            while data := await source.read(1 << 16):
                target.write(data)
            target.write_eof()

        try:
            await asyncio.gather(copy(reader, down), copy(up, writer))
        finally:
            down.transport.abort()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks)


@asynccontextmanager
async def proxy_that_answers(
    answer: bytes | None, forward_to: int | None = None, later: bytes = b""
) -> AsyncIterator[Proxy]:
    """A proxy; its answer None is silence, and the rest of it may come later."""
    proxy = Proxy(answer, forward_to, later)
    listener = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"http://me:secret@127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        listener.close()
        await proxy.stop()


C31 = row(
    "C31",
    "the proxy makes no connection: it requires a password, cannot connect itself, does not respond, or fails",
    Sees(1006, False, "network", "proxy_failed"),
    peer="the end of TCP",
    within="open_timeout, which is then the cause",
)


@C31
@by_both
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n",
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 3\r\n\r\nno\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"reset",
    ],
    ids=["407", "502", "nonsense", "reset"],
)
async def test_the_proxy_makes_no_connection(row: Row, how: str, answer: bytes, invariants: Invariants) -> None:
    async with proxy_that_answers(answer) as proxy:
        url = "ws://example.com/"
        if how == "events":
            event = await new_socket(invariants, url, proxy=proxy.url).wait_closed()
            assert invariants.events == ["error", "close"]
        else:
            error, event = await failure(url, proxy=proxy.url)
            assert type(error) is type(event.exception)
        row.check(event)
        assert event.phase == "proxy"
        assert event.exception is not None
        (head,) = proxy.heads
        assert head.startswith(b"CONNECT example.com:80 HTTP/1.1\r\n")
        assert b"secret" not in str(event).encode() + event.explain().encode() + repr(event.exception).encode()


@C31
async def test_there_is_no_proxy(row: Row, unused_tcp_port: int, invariants: Invariants) -> None:
    event = await new_socket(invariants, "ws://example.com/", proxy=f"http://127.0.0.1:{unused_tcp_port}").wait_closed()
    row.check(event)
    assert event.phase == "proxy"
    assert event.errno == errno.ECONNREFUSED
    assert invariants.events == ["error", "close"]


@C31
async def test_a_proxy_that_is_silent(row: Row, invariants: Invariants) -> None:
    loop = asyncio.get_running_loop()
    async with proxy_that_answers(None) as proxy:
        start = loop.time()
        event = await new_socket(invariants, "ws://example.com/", proxy=proxy.url, open_timeout=SHORT).wait_closed()
        assert loop.time() - start > SHORT - 0.01
        assert (event.code, event.wasClean, event.phase) == (1006, False, "proxy")
        assert (event.initiator, event.cause) == ("local", "open_timeout")
        assert isinstance(event.exception, TimeoutError)
    assert invariants.events == ["error", "close"]


@C31
@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 200 Connection established\r\n\r\n", b"HTTP/1.0 200 OK\r\nX-By: squid\r\n\r\n"]
)
async def test_what_is_for_the_proxy_never_reaches_the_server(row: Row, answer: bytes, invariants: Invariants) -> None:
    async with served(echo) as server, proxy_that_answers(answer, server.server.port) as proxy:
        socket = await connect(server.url, proxy=proxy.url)
        invariants.watch(socket)
        ours = await server.sockets.get()
        invariants.watch(ours)
        await socket.send("through the proxy")
        assert await socket.recv() == "through the proxy"
        (head,) = proxy.heads
        assert b"\r\nProxy-Authorization: Basic " + base64.b64encode(b"me:secret") in head
        assert ours.request is not None
        assert not [name for name in ours.request.headers if name.lower().startswith("proxy-")]
        assert "authorization" not in {name.lower() for name in ours.request.headers}
        assert (await socket.close(1000)).ok
        assert (await ours.wait_closed()).ok


# The request hook.


async def _hangs(request: Request) -> Response | None:
    await asyncio.Event().wait()
    return None


def _raises(request: Request) -> Response | None:
    raise ZeroDivisionError


async def _raises_later(request: Request) -> Response | None:
    await asyncio.sleep(0)
    raise ZeroDivisionError


HOOKS: dict[str, tuple[Any, int]] = {
    "rejects": (lambda request: Response(403, "no\n"), 403),
    "raises": (_raises, 500),
    "raises later": (_raises_later, 500),
    "hangs": (_hangs, 503),
}


@row(
    "C32",
    "on_request rejects, raises or hangs",
    peer="the status that it returns; 500 if it raises; 503 after open_timeout, when the hook is cancelled; "
    "then the end of TCP",
    within="open_timeout",
)
@on_both
@pytest.mark.parametrize("what", HOOKS)
async def test_on_request_does_not_accept(row: Row, transport: str, what: str, invariants: Invariants) -> None:
    hook, status = HOOKS[what]
    if status == 500:
        invariants.allow("on_request failed")
    async with served(on_request=hook, open_timeout=SHORT if status == 503 else NEVER, **tls_of(transport)) as server:
        async with knocking(server.server.port, transport) as peer:
            await peer.send(request(server.server.port))
            answer = await peer.rest()
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"\r\nConnection: close\r\n" in answer
            assert b"ZeroDivision" not in answer
            await peer.notify()
            assert await peer.ended() == "fin"
        assert server.sockets.empty()
        assert not server.server._tasks
    assert len(invariants.reported) == (status == 500)
