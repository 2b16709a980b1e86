"""Part 4 of the matrix: a peer that misbehaves while the connection closes."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.endpoints import awaited, opened, served, turn
from tests.faults.invariants import Invariants
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import (
    Place,
    all_of,
    closed_error,
    end_tcp,
    everywhere,
    on_clients,
    on_servers,
    pair,
    we_answer,
    we_end_tcp,
    we_fail,
)
from tests.faults.tcp_peer import TCPPeer, tcp_server
from tests.faults.tls_peer import TLSPeer
from tests.raw import BINARY, CLOSE, PING, TEXT, Frame, close_payload, encode
from wasclean import WebSocket
from wasclean.model.registry import MAX_BUFFERED_AMOUNT

MIB = 1 << 20

#: Seconds of close_timeout here.
SHORT = 0.15
LONG = 0.6  # so that something arrives meanwhile

TIMED_OUT = Sees(1006, False, "local", "close_timeout")


class Stopwatch:
    """Measures how long something takes."""

    def __init__(self) -> None:
        self._start = asyncio.get_running_loop().time()

    def took(self, seconds: float) -> bool:
        """True if at least this time has passed; an upper bound would depend on the machine."""
        return asyncio.get_running_loop().time() - self._start >= seconds - 0.02


@contextlib.asynccontextmanager
async def meanwhile(peer: TLSPeer, data: bytes) -> AsyncIterator[None]:
    """The peer sends the bytes again and again, until we have broken the connection or the context ends."""

    task = asyncio.ensure_future(_send_for_ever(peer, data))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, ConnectionError):
            await task


@row(
    "C46",
    "the peer never answers our Close frame",
    TIMED_OUT,
    peer="our Close frame, and finally a reset",
    within="close_timeout",
)
@everywhere
@pytest.mark.parametrize("by", ["option", "argument"])
async def test_the_peer_never_answers(row: Row, place: Place, by: str, invariants: Invariants) -> None:
    options: dict[str, Any] = {"close_timeout": SHORT} if by == "option" else {}
    async with pair(place, invariants, **options) as (socket, peer):
        watch = Stopwatch()
        reading = asyncio.ensure_future(closed_error(socket.recv()))
        pinging = asyncio.ensure_future(closed_error(socket.ping()))
        await turn()
        closing = socket.close(4000, "bye", timeout=SHORT if by == "argument" else None)
        assert (await peer.frame()).opcode == PING
        assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
        event = await closing  # which returns, and does not raise
        assert watch.took(SHORT)
        row.check(event)
        assert (event.sent, event.received) == ((4000, "bye"), None)
        assert event.detail == "the peer did not answer our Close frame"
        await turn()
        assert [task.done() and task.result() for task in (reading, pinging)] == [event] * 2
        assert await peer.rest() == b""
        assert peer.ending == "rst"
    assert invariants.events == ["close"]


@row(
    "C47",
    "the server answers our Close frame and never ends TCP",
    Sees(4000, True, "local", "local_close", "bye"),
    peer="a FIN after two seconds",
    within="two seconds",
)
@on_clients
async def test_the_server_answers_and_never_ends_tcp(
    row: Row, place: Place, linger: float, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        watch = Stopwatch()
        closing = socket.close(4000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
        await peer.send_close(4000, "bye")
        event = await closing
        assert watch.took(linger)
        row.check(event)
        assert await peer.rest() == b""
        assert await peer.ended() == "fin"
    assert invariants.events == ["close"]


@row(
    "C48",
    "the server sends a Close frame and never ends TCP",
    Sees(4001, True, "remote", "peer_close", "go"),
    peer="our Close frame, and a FIN after two seconds",
    within="two seconds",
)
@on_clients
async def test_the_server_closes_and_never_ends_tcp(
    row: Row, place: Place, linger: float, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        watch = Stopwatch()
        await peer.send_close(4001, "go")
        assert await peer.frame() == Frame(CLOSE, close_payload(4001, "go"))
        event = await socket.wait_closed()
        assert watch.took(linger)
        row.check(event)
        assert await peer.rest() == b""
        assert await peer.ended() == "fin"
    assert invariants.events == ["close"]


@row(
    "C49",
    "the client sends a Close frame and never ends TCP",
    Sees(4001, True, "remote", "peer_close", "go"),
    peer="our Close frame and our FIN, before the client's; after two seconds the connection is dropped",
)
@on_servers
async def test_the_client_closes_and_never_ends_tcp(
    row: Row, place: Place, linger: float, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_close(4001, "go")
        watch = Stopwatch()
        row.check(await socket.wait_closed())
        assert await peer.frame() == Frame(CLOSE, close_payload(4001, "go"))
        assert await peer.rest() == b""
        assert peer.notified if place.transport == "tls" else peer.ending == "fin"
        with pytest.raises(ConnectionError):
            await _send_for_ever(peer, b"x", pause=0.005)
        assert watch.took(linger)  # so long we have listened
    assert invariants.events == ["close"]


@row(
    "C50",
    "the peer goes on sending messages, and no Close frame",
    TIMED_OUT,
    peer="our Close frame, and finally a reset",
    delivered="to streams, up to 16 MiB; to listeners, nothing after our close(). The rest counts as discarded",
    within="close_timeout, however much arrives",
)
@everywhere
@pytest.mark.parametrize("events", [False, True], ids=["stream", "events"])
async def test_the_peer_sends_messages_for_ever(row: Row, place: Place, events: bool, invariants: Invariants) -> None:
    size = 100_000
    messages: list[Any] = []
    async with pair(place, invariants, events=events, max_queue=4) as (socket, peer):
        if events:
            socket.onmessage = lambda event: messages.append(event.data)
        watch = Stopwatch()
        async with meanwhile(peer, encode(BINARY, bytes(size), masked=place.role == "server")):
            event = await socket.close(1000, timeout=LONG)
        assert watch.took(LONG)
        row.check(event)
        if not events:
            messages, _ = await all_of(socket)
        kept = sum(map(len, messages))
        assert kept == 0 if events else size <= kept < MAX_BUFFERED_AMOUNT + size
        # Of the last message a part may have arrived.
        assert 0 <= kept + event.discarded - event.stats.messages_received * size < size
        assert peer.ending is None
        assert await peer.ended() == "rst"
    assert invariants.events == ["close"]


@row(
    "C51",
    "the peer goes on sending pings, and no Close frame",
    TIMED_OUT,
    peer="our Close frame, no pong, and finally a reset",
    within="close_timeout, however much arrives",
)
@everywhere
async def test_the_peer_sends_pings_for_ever(row: Row, place: Place, invariants: Invariants) -> None:
    pings = encode(PING, bytes(125), masked=place.role == "server") * 100
    async with pair(place, invariants, max_pings_per_second=None) as (socket, peer):
        watch = Stopwatch()
        closing = socket.close(1000, timeout=LONG)
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        async with meanwhile(peer, pings):
            event = await closing
        assert watch.took(LONG)
        row.check(event)
        assert event.stats.bytes_received > len(pings)
        assert await peer.rest() == b""
        assert peer.ending == "rst"
    assert invariants.events == ["close"]


@row(
    "C52",
    "the peer's Close frame arrives one byte at a time",
    TIMED_OUT,
    peer="our Close frame, and finally a reset",
    within="close_timeout, however much arrives",
)
@everywhere
async def test_the_peer_dribbles_its_close_frame(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        watch = Stopwatch()
        closing = asyncio.ensure_future(awaited(socket.close(1000, timeout=SHORT)))
        with contextlib.suppress(OSError):
            for byte in encode(CLOSE, close_payload(1000, "x" * 123), masked=place.role == "server"):
                await peer.send(bytes((byte,)))
                await asyncio.wait([closing], timeout=0.01)
                if closing.done():
                    break
        row.check(await closing)
        assert watch.took(SHORT)
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        assert await peer.ended() == "rst"
    assert invariants.events == ["close"]


after_close = row(
    "C53",
    "the peer sends more after its Close frame",
    Sees(4002, True, "remote", "peer_close", "end"),
    peer="one Close frame and a FIN, and no reset for up to 1 MiB of further data",
    delivered="messages before the Close frame; the rest counts as discarded",
)


@after_close
@everywhere
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
async def test_the_peer_sends_more_behind_its_close_frame(
    row: Row, place: Place, together: bool, invariants: Invariants
) -> None:
    masked = place.role == "server"
    more = encode(TEXT, b"late", masked=masked) + encode(PING, b"?", masked=masked) + encode(0x3, b"", masked=masked)
    async with pair(place, invariants) as (socket, peer):
        first = encode(TEXT, b"in time", masked=masked) + encode(CLOSE, close_payload(4002, "end"), masked=masked)
        await peer.send(first + more if together else first)
        assert await peer.frame() == Frame(CLOSE, close_payload(4002, "end"))
        if not together:
            await peer.send(more)
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        row.check(event)
        if together or place.role == "client":  # the server's event waits for nothing that comes behind
            assert event.discarded == len(more)
        assert await socket.recv() == "in time"
        assert await closed_error(socket.recv()) is event
    assert invariants.events == ["close"]


@after_close
@everywhere
async def test_the_peer_sends_a_mebibyte_behind_its_close_frame(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_close(4002, "end")
        await peer.send(bytes(500_000))
        assert await peer.frame() == Frame(CLOSE, close_payload(4002, "end"))
        for _ in range(50):
            await peer.send(bytes(10_000))
            await asyncio.sleep(0)
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        row.check(event)
        assert event.discarded == 1_000_000 or place.role == "server"
    assert invariants.events == ["close"]


@row(
    "C54",
    "the peer sends two Close frames",
    Sees(4003, True, "remote", "peer_close", "first"),
    peer="one Close frame, the answer to the first",
)
@everywhere
@pytest.mark.parametrize("together", [True, False], ids=["together", "later"])
async def test_the_peer_sends_two_close_frames(row: Row, place: Place, together: bool, invariants: Invariants) -> None:
    masked = place.role == "server"
    first, second = (encode(CLOSE, close_payload(*what), masked=masked) for what in ((4003, "first"), (4004, "second")))
    async with pair(place, invariants) as (socket, peer):
        await peer.send(first + second if together else first)
        assert await peer.frame() == Frame(CLOSE, close_payload(4003, "first"))
        if not together:
            await peer.send(second)
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        row.check(event)
        assert event.received == (4003, "first")
    assert invariants.events == ["close"]


#: Payloads that no Close frame may have: what we answer, and the cause.
BAD_CLOSES = {
    "of one byte": (b"\x03", 1002, "protocol_error"),
    **{
        f"with {code}": (close_payload(code), 1002, "protocol_error")
        for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)
    },
    "with bytes": (b"\x03\xe8\xff\xfe", 1007, "invalid_utf8"),
    "with half a character": (b"\x03\xe8\xe2\x82", 1007, "invalid_utf8"),
    "with a surrogate": (b"\x03\xe8\xed\xa0\x80", 1007, "invalid_utf8"),
    "of 126 bytes": (close_payload(1000, "x" * 124), 1002, "protocol_error"),
}


@row(
    "C55",
    "the peer's Close frame is invalid: one byte, more than 125 bytes, a reserved code, or invalid UTF-8",
    Sees(1006, False, "local", None),
    peer="a Close frame with 1002, or with 1007 for invalid UTF-8, and a FIN",
)
@everywhere
@pytest.mark.parametrize("payload", BAD_CLOSES)
async def test_the_peers_close_frame_breaks_the_rules(
    row: Row, place: Place, payload: str, invariants: Invariants
) -> None:
    data, code, cause = BAD_CLOSES[payload]
    async with pair(place, invariants) as (socket, peer):
        await peer.send_frame(CLOSE, data)
        event = await we_fail(socket, peer, code)
        row.check(event)
        assert (event.cause, event.received) == (cause, None)
    assert invariants.events == ["error", "close"]


@row(
    "C56",
    "the peer closes between two fragments of its message",
    Sees(4005, True, "remote", "peer_close", "enough"),
    peer="a Close frame with the same code",
    delivered="the messages before; the fragments count as discarded",
)
@everywhere
async def test_the_peer_closes_between_two_fragments(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_frame(TEXT, b"whole")
        await peer.send_frame(TEXT, b"a part", fin=False)
        await peer.send_close(4005, "enough")
        await we_answer(place, peer, 4005, "enough")
        event = await socket.wait_closed()
        row.check(event)
        assert event.discarded == len(b"a part")
        assert await socket.recv() == "whole"
        assert await closed_error(socket.recv()) is event
    assert invariants.events == ["close"]


@row(
    "C57",
    "the peer answers our Close frame with an invalid frame",
    Sees(1006, False, "local", "protocol_error"),
    peer="no second Close frame, but a FIN",
)
@everywhere
async def test_a_violation_behind_our_close_frame(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(1000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(1000, "bye"))
        await peer.send_frame(0x3)
        event = await closing
        row.check(event)
        assert event.sent == (1000, "bye")
        await we_end_tcp(peer)
    assert invariants.events == ["error", "close"]


@row(
    "C58",
    "the peer sends a Close frame, ends its direction of TCP, and continues to read",
    Sees(4006, True, "remote", "peer_close", "half"),
    peer="our Close frame and a FIN",
)
@everywhere
@pytest.mark.parametrize("waiting", [0, 1_000_000], ids=["idle", "behind a message"])
async def test_the_peer_ends_its_side_of_tcp(row: Row, place: Place, waiting: int, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        if waiting:
            socket.send(bytes(waiting))
        await peer.send_close(4006, "half")
        await peer.notify()
        peer.finish()
        got = 0
        while got < waiting:
            got += len((await peer.frame()).payload)
        assert await peer.frame() == Frame(CLOSE, close_payload(4006, "half"))
        assert await peer.rest() == b""
        assert await peer.ended() == "fin"
        assert peer.notified or place.transport == "tcp"
        row.check(await socket.wait_closed())
    assert invariants.events == ["close"]


again = row(
    "C59",
    "the peer closes, and connects again at once from the same port",
    Sees(4007, True, "remote", "peer_close", None),
    peer="two independent connections",
    delivered="each message on the connection that it was sent on",
)


class Seen:
    """The messages and events of a socket, without a reference to it."""

    def __init__(self, socket: WebSocket) -> None:
        self.messages: list[Any] = []
        self.types: list[str] = []
        for name in ("open", "message", "error", "close"):
            socket.addEventListener(name, self._take)

    def _take(self, event: Any) -> None:
        self.types.append(event.type)
        if event.type == "message":
            self.messages.append(event.data)


@again
async def test_a_client_connects_again_from_the_same_port(
    row: Row, unused_tcp_port: int, invariants: Invariants
) -> None:
    seen: list[Seen] = []
    async with served() as ours:
        for number in range(20):
            with _client(unused_tcp_port) as peer:
                await asyncio.get_running_loop().sock_connect(peer.socket, ("127.0.0.1", ours.server.port))
                await peer.open()
                await peer.send_frame(TEXT, f"{number}".encode())
                await peer.send_close(4007, f"{number}")
                socket = await ours.sockets.get()
                invariants.watch(socket)
                seen.append(Seen(socket))
                assert await peer.frame() == Frame(CLOSE, close_payload(4007, f"{number}"))
                peer.reset()  # what else would keep the port
                event = await socket.wait_closed()
                row.check(event)
                assert event.reason == f"{number}"
        await turn(10)
    assert [(each.messages, each.types) for each in seen] == [([f"{i}"], ["message", "close"]) for i in range(20)]


@again
async def test_a_client_of_ours_connects_again_in_its_close_event(row: Row, invariants: Invariants) -> None:
    seen: list[Seen] = []
    sockets: list[WebSocket] = []
    async with tcp_server() as server:

        def connect(_: object = None) -> None:
            if len(seen) < 20:
                sockets.append(WebSocket(server.url))
                invariants.watch(sockets[-1])
                seen.append(Seen(sockets[-1]))
                sockets[-1].addEventListener("close", connect)

        connect()
        for number in range(20):
            peer = await server.accept()
            socket = sockets.pop()
            await opened(socket)
            await peer.send_frame(TEXT, f"{number}".encode())
            await peer.send_close(4007, f"{number}")
            await we_answer(Place("client", "tcp"), peer, 4007, f"{number}")
            event = await socket.wait_closed()
            row.check(event)
            assert event.reason == f"{number}"
    assert sockets == []
    expected = [([f"{i}"], ["open", "message", "close"]) for i in range(20)]
    assert [(each.messages, each.types) for each in seen] == expected


async def _send_for_ever(peer: TLSPeer, data: bytes, pause: float = 0) -> None:
    while True:
        await peer.send(data)
        await asyncio.sleep(pause)


@contextlib.contextmanager
def _client(port: int) -> Iterator[TCPPeer]:
    """A client that connects from the port."""
    with sockets.socket() as socket:
        socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_REUSEADDR, 1)
        socket.bind(("127.0.0.1", port))
        yield TCPPeer(socket, is_server=False)
