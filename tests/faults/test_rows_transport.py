"""Part 5 of the matrix: TCP or TLS ends too early, or does not end."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket as sockets
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.endpoints import echo, served, turn
from tests.faults.invariants import Invariants
from tests.faults.proxy import fault_proxy
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import ON_TLS, PLACES, Place, all_of, closed_error, end_tcp, everywhere, on_tcp, on_tls, pair
from tests.faults.tcp_peer import TCPPeer
from tests.faults.tls_peer import TLSPeer
from tests.raw import CLOSE, PING, TEXT, Frame, close_payload, encode
from wasclean import WebSocket, connect, serve

CONTINUATION = 0

#: More than a loop reads at once, in messages that all differ.
MANY = [f"{i} {'x' * (i % 300)}" for i in range(2000)]


def many(place: Place, start: int = 0, end: int = len(MANY)) -> bytes:
    """Frames with MANY, or with some of them."""
    return b"".join(encode(TEXT, text.encode(), masked=place.role == "server") for text in MANY[start:end])


async def fill_queue(place: Place, peer: TLSPeer) -> list[str]:
    """Send what makes our end stop to read, and more, which waits in the kernel; returns all of it."""
    await peer.send(many(place, end=100))
    await turn(20)
    await peer.send(many(place, 100, 500))
    return MANY[:500]


async def fin(peer: TLSPeer, *, notify: bool = True) -> None:
    """End TLS, if there is any, and TCP."""
    if notify:
        await peer.notify()
    peer.finish()


@row(
    "C60",
    "a FIN without a Close frame",
    Sees(1006, False, "remote", "tcp_fin"),
    peer="a FIN",
)
@pytest.mark.parametrize(
    ("place", "tcp"),
    [(place, True) for place in PLACES] + [(place, False) for place in ON_TLS],  # on TLS a close_notify is enough
    ids=lambda value: {True: "tcp", False: "close_notify"}.get(value) if isinstance(value, bool) else str(value),
)
async def test_a_fin_without_a_close_frame(row: Row, place: Place, tcp: bool, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        reading = asyncio.ensure_future(closed_error(socket.recv()))
        pinging = asyncio.ensure_future(closed_error(socket.ping()))
        assert (await peer.frame()).opcode == PING
        await peer.notify()
        if tcp:
            peer.finish()
        event = await socket.wait_closed()
        row.check(event)
        assert await reading is await pinging is event
        assert (event.sent, event.received, event.exception) == (None, None, None)
        assert await peer.rest() == b""
        assert await peer.ended() == "fin"
        assert await closed_error(socket.send("too late")) is event
    assert invariants.events == ["close"]


@row(
    "C61",
    "messages, and then a FIN without a Close frame",
    Sees(1006, False, "remote", "tcp_fin"),
    peer="a FIN",
    delivered="all messages that were sent",
)
@everywhere
@pytest.mark.parametrize("reader", ["events", "stream", "late stream"])
async def test_messages_and_a_fin(row: Row, place: Place, reader: str, watch: None, invariants: Invariants) -> None:
    async with pair(place, invariants, events=reader == "events", max_queue=8) as (socket, peer):
        received: list[Any] = []
        expected = MANY
        if reader == "events":
            socket.onmessage = lambda event: received.append(event.data)
        if reader == "late stream":
            expected = await fill_queue(place, peer)
        else:
            await peer.send(many(place))
        await fin(peer)
        if reader != "stream":
            await socket.wait_closed()
        if reader != "events":
            received, _ = await all_of(socket)
        event = await socket.wait_closed()
        row.check(event)
        assert received == expected
        assert event.discarded == 0
        assert await peer.rest() == b""
        assert await peer.ended() == "fin"
    assert invariants.events == ["close"]


@row(
    "C62",
    "a FIN inside a frame, or between the fragments of a message: at every byte",
    Sees(1006, False, "remote", "tcp_fin_mid_frame"),
    peer="a FIN",
    delivered="the messages before; the incomplete one counts as discarded",
)
@everywhere
async def test_a_fin_inside_a_message(row: Row, place: Place, invariants: Invariants) -> None:
    masked = place.role == "server"
    whole = encode(TEXT, b"whole", masked=masked)
    fragments = [
        encode(TEXT, b"x" * 126, fin=False, masked=masked),
        encode(PING, b"?", masked=masked),
        encode(CONTINUATION, b"y", fin=False, masked=masked),
        encode(CONTINUATION, b"z", masked=masked),
    ]
    data = b"".join(fragments)
    ends = [sum(map(len, fragments[:i])) for i in range(len(fragments))]
    for cut in range(1, len(data)):
        async with pair(place, invariants) as (socket, peer):
            await peer.send(whole + data[:cut])
            await fin(peer)
            received, event = await all_of(socket)
            row.check(event)
            assert received == ["whole"]
            assert event.detail.startswith("EOF ")
            assert ("between two fragments" in event.detail) is (cut in ends)
            assert await peer.ended() == "fin"
        assert invariants.events == ["close"]


was_reset = row(
    "C63",
    "a reset",
    Sees(1006, False, "remote", "tcp_reset"),
)


@was_reset
@everywhere
async def test_a_reset(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        reading = asyncio.ensure_future(closed_error(socket.recv()))
        await turn()
        peer.reset()
        event = await socket.wait_closed()
        row.check(event)
        assert await reading is event
        assert isinstance(event.exception, ConnectionResetError)
        assert event.errno == errno.ECONNRESET
    assert invariants.events == ["close"]


@was_reset
@everywhere
@pytest.mark.parametrize("size", [1, 100_000, 2_000_000])
async def test_a_reset_while_we_send(row: Row, place: Place, size: int, invariants: Invariants) -> None:
    async with pair(place, invariants, max_buffered_amount=1 << 30) as (socket, peer):
        peer.reset()
        for _ in range(10):  # nothing is logged
            for _ in range(10):
                socket.send(bytes(size))
            await turn(1)
        event = await socket.wait_closed()
        row.check(event)
        assert event.exception is not None
        assert await closed_error(socket.send("too late")) is event
    assert invariants.events == ["close"]


@row(
    "C64",
    "messages, and then a reset",
    Sees(1006, False, "remote", "tcp_reset"),
    delivered="messages that had arrived, on Linux; messages on their way are lost",
)
@everywhere
@pytest.mark.parametrize("size", ["fits", "does not fit"])
async def test_messages_and_a_reset(row: Row, place: Place, size: str, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        sent = MANY[:300] if size == "fits" else MANY
        await peer.send(many(place, end=len(sent)))
        peer.reset()
        received, event = await all_of(socket)
        row.check(event)
        assert received == sent[: len(received)]
        if size == "fits" and place.transport == "tcp":  # what TLS would have to decrypt, asyncio gives up
            assert received == sent
    assert invariants.events == ["close"]


@row(
    "C65",
    "a reset after our Close frame, before the answer to it",
    Sees(1006, False, "local", "tcp_reset"),
    peer="our Close frame",
)
@everywhere
async def test_a_reset_after_our_close_frame(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(4000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
        peer.reset()
        event = await closing
        row.check(event)
        assert (event.sent, event.received) == ((4000, "bye"), None)
        assert event.errno == errno.ECONNRESET
    assert invariants.events == ["close"]


@row(
    "C66",
    "a reset after both Close frames",
    Sees(4000, True, "local", "local_close", "bye"),
    peer="our Close frame",
)
@everywhere
@pytest.mark.parametrize("at_once", [True, False], ids=["at once", "later"])
async def test_a_reset_after_both_close_frames(row: Row, place: Place, at_once: bool, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(4000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
        await peer.send_close(4000, "bye")
        if not at_once:
            await turn(5)
        peer.reset()
        row.check(await closing)
    assert invariants.events == ["close"]


@row(
    "C67",
    "a write fails before the peer's Close frame has been read",
    Sees(4001, False, "remote", "tcp_reset", "gone"),
    delivered="messages before the Close frame",
)
@on_tcp
@pytest.mark.parametrize("size", [1, 1_000_000])
async def test_a_write_fails_while_there_is_a_close_frame_to_read(
    row: Row, place: Place, size: int, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        await turn()
        await peer.send_frame(TEXT, b"last words")  # returns without a turn of the loop
        await peer.send_close(4001, "gone")
        peer.reset()
        socket.send(bytes(size))  # leaves before anything is read
        received, event = await all_of(socket)
        row.check(event)
        assert received == ["last words"]
        assert (event.sent, event.received) == (None, (4001, "gone"))
        assert event.unsent == (bytes(size),)
    assert invariants.events == ["close"]


@row(
    "C71",
    "all packets are lost for a while",
    None,
    peer="all messages, in order and once",
    delivered="all messages, in order and once: the connection stays open",
    within="less than ping_timeout; otherwise it is a ping_timeout",
)
async def test_nothing_passes_for_a_while(row: Row, invariants: Invariants) -> None:
    limits: dict[str, Any] = {"ping_interval": 0.05}
    async with served(echo, **limits) as ours, fault_proxy(ours.server.port) as proxy:
        async with connect(f"ws://127.0.0.1:{proxy.port}/", **limits) as socket:
            invariants.watch(socket)
            invariants.watch(await ours.sockets.get())
            for i in range(30):
                if i == 10:
                    proxy.stall()
                if i == 20:
                    await asyncio.sleep(0.3)  # several pings
                    proxy.resume()
                await socket.send(f"{i}")
            assert [await socket.recv() for _ in range(30)] == [f"{i}" for i in range(30)]
        assert (await socket.wait_closed()).ok
    assert invariants.events == ["close"]


@row(
    "C72",
    "a slow link that sometimes stalls",
    Sees(1000, True, None, None, "bye"),
    peer="as on a fast link",
    delivered="everything",
    within="close_timeout",
)
@pytest.mark.parametrize("closer", ["client", "server"])
async def test_a_slow_link(row: Row, closer: str, invariants: Invariants) -> None:
    async with served() as ours, fault_proxy(ours.server.port) as proxy:
        client = await connect(f"ws://127.0.0.1:{proxy.port}/")
        server = await ours.sockets.get()
        for socket in (client, server):
            invariants.watch(socket)
        proxy.delay(0.02)
        proxy.throttle(40_000)
        first, second = (client, server) if closer == "client" else (server, client)
        received: list[Any] = []
        reading = asyncio.ensure_future(_collect(second, received))
        first.send("x" * 5000)
        closing = first.close(1000, "bye")
        for _ in range(3):
            await asyncio.sleep(0.03)
            proxy.stall()
            await asyncio.sleep(0.03)
            proxy.resume()
        events = [await closing, await second.wait_closed()]
        await reading
        for event in events:
            row.check(event)
        assert [(event.initiator, event.cause) for event in events] == [
            ("local", "local_close"),
            ("remote", "peer_close"),
        ]
        assert received == ["x" * 5000]
        del client, server, first, second, socket
    assert invariants.events == ["close"]


truncated = row(
    "C73",
    "TLS: a FIN without a close_notify, and without a Close frame",
    Sees(1006, False, "remote", "tls_truncated"),
    peer="a FIN",
    delivered="all messages that were sent",
)


@truncated
@on_tls
@pytest.mark.parametrize("data", ["nothing", "messages", "a part", "half a record"])
async def test_tls_is_truncated(row: Row, place: Place, data: str, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        if data == "messages":
            await peer.send(many(place))
        elif data == "a part":
            await peer.send(encode(TEXT, b"x" * 10, masked=place.role == "server")[:-1])
        elif data == "half a record":
            await peer.send_torn(encode(TEXT, b"x", masked=place.role == "server"))
        await fin(peer, notify=False)
        received, event = await all_of(socket)
        row.check(event)
        assert received == (MANY if data == "messages" else [])
        assert ("payload" in event.detail) is (data == "a part")
        assert await peer.ended() == "fin"
    assert invariants.events == ["close"]


@truncated
@on_tls
async def test_tls_is_truncated_while_the_queue_is_full(
    row: Row, place: Place, watch: None, invariants: Invariants
) -> None:
    async with pair(place, invariants, max_queue=4) as (socket, peer):
        expected = await fill_queue(place, peer)
        await fin(peer, notify=False)
        row.check(await socket.wait_closed())
        assert (await all_of(socket))[0] == expected
    assert invariants.events == ["close"]


@row(
    "C74",
    "TLS: a FIN without a close_notify after both Close frames",
    Sees(4000, True, "local", "local_close", "bye"),
    peer="our Close frame and a FIN",
)
@on_tls
async def test_tls_is_truncated_after_both_close_frames(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(4000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
        await peer.send_close(4000, "bye")
        await fin(peer, notify=False)
        row.check(await closing)
        assert await peer.rest() == b""
        assert peer.notified or place.role == "client"
        assert await peer.ended() == "fin"
    assert invariants.events == ["close"]


@row(
    "C75",
    "TLS: the peer sends a close_notify after both Close frames, and never ends TCP",
    Sees(4000, True, "local", "local_close", "bye"),
    peer="our close_notify and a FIN",
)
@on_tls
async def test_the_peer_ends_tls_and_not_tcp(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(4000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
        await peer.send_close(4000, "bye")
        await peer.notify()
        row.check(await closing)
        assert await peer.rest() == b""
        assert peer.notified
        assert await peer.ended() == "fin"
    assert invariants.events == ["close"]


@row(
    "C76",
    "TLS: the peer ignores our close_notify, and never ends TCP",
    Sees(None, None, "local", None, None),
    peer="our close_notify at once, a FIN after two seconds",
    within="at once, whatever happens to TLS",
)
@on_tls
async def test_the_peer_ignores_our_close_notify(row: Row, place: Place, linger: float, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        if place.role == "server":
            closing = socket.close(4000, "bye")
            assert await peer.frame() == Frame(CLOSE, close_payload(4000, "bye"))
            await peer.send_close(4000, "bye")
            event = await closing
            assert event.wasClean
        else:  # which ends TLS first only when it fails the connection
            await peer.send_frame(0x3)
            assert (await peer.frame()).opcode == CLOSE
            event = await socket.wait_closed()
            assert event.cause == "protocol_error"
        row.check(event)
        assert await peer.rest() == b""
        assert peer.notified
        assert await peer.ended() == "fin"
    assert invariants.events[-1] == "close"


@row(
    "C77",
    "TLS: new keys, split records and half a record while the connection closes",
    Sees(1000, True, "local", "local_close", "bye"),
    peer="the same as without them",
)
@on_tls
@pytest.mark.parametrize("way", ["new keys", "new keys of both", "byte by byte", "half a record"])
async def test_what_tls_may_do_while_the_connection_closes(
    row: Row, place: Place, way: str, invariants: Invariants
) -> None:
    async def disturb() -> None:
        if way.startswith("new keys"):
            await peer.update_keys(both=way == "new keys of both")

    async with pair(place, invariants) as (socket, peer):
        await disturb()
        closing = socket.close(1000, "bye")
        await disturb()
        assert await peer.frame() == Frame(CLOSE, close_payload(1000, "bye"))
        await disturb()
        answer = encode(CLOSE, close_payload(1000, "bye"), masked=place.role == "server")
        for piece in [bytes((byte,)) for byte in answer] if way == "byte by byte" else [answer]:
            await peer.send(piece)  # in a record of its own
            await asyncio.sleep(0)
        await disturb()
        if way == "half a record":
            await peer.send_torn(b"x" * 100)
            peer.finish()
            assert await peer.rest() == b""
            assert await peer.ended() == "fin"
        else:
            await end_tcp(place, peer)
        row.check(await closing)
    assert invariants.events == ["close"]


@on_tls
async def test_bytes_that_are_no_tls(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_frame(TEXT, b"last words")
        assert await socket.recv() == "last words"
        await peer.send_below(b"no TLS" * 10)
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.initiator, event.cause) == (1015, False, "remote", "tls_failed")
        assert isinstance(event.exception, ssl.SSLError)
    assert invariants.events == ["close"]


@on_tls
async def test_bytes_that_are_no_tls_behind_both_close_frames(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(4000)
        assert (await peer.frame()).opcode == CLOSE
        await peer.send_close(4000)
        await turn(5)
        await peer.send_below(b"no TLS" * 10)
        event = await closing
        assert (event.code, event.wasClean, event.cause) == (4000, True, "local_close")
        assert await peer.ended() in ("fin", "rst")
    assert invariants.events == ["close"]


@row(
    "C81",
    "the process at the other end of a Unix socket dies",
    Sees(1006, False, "remote", None),
    delivered="messages sent before",
)
@pytest.mark.parametrize("role", ["client", "server"])
@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_the_peer_of_a_unix_socket_dies(
    row: Row, role: str, end: str, tmp_path: Path, invariants: Invariants
) -> None:
    async with _unix_pair(role, str(tmp_path / "socket")) as (socket, peer):
        invariants.watch(socket)
        await peer.send_frame(TEXT, b"last words")
        if end == "rst":  # which a Unix socket sends when there was something that it had not read
            await socket.send("unread")
            await turn()
        peer.socket.close()
        received, event = await all_of(socket)
        row.check(event)
        assert event.cause == ("tcp_fin" if end == "fin" else "tcp_reset")
        assert received == ["last words"]
    assert invariants.events == ["close"]


async def _collect(socket: WebSocket, received: list[Any]) -> None:
    async for message in socket:
        received.append(message)


@contextlib.asynccontextmanager
async def _unix_pair(role: str, path: str) -> AsyncIterator[tuple[WebSocket, TCPPeer]]:
    loop = asyncio.get_running_loop()
    if role == "server":
        arrived: asyncio.Queue[WebSocket] = asyncio.Queue()

        async def handle(socket: WebSocket) -> None:
            arrived.put_nowait(socket)
            await socket.wait_closed()

        async with serve(handle, unix=path):
            with sockets.socket(sockets.AF_UNIX) as there:
                peer = TCPPeer(there, is_server=False)
                await loop.sock_connect(there, path)
                await peer.open()
                yield await arrived.get(), peer
        return
    with sockets.socket(sockets.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        listener.setblocking(False)
        connecting = asyncio.ensure_future(_connect(path))
        there, _ = await loop.sock_accept(listener)
        with there:
            peer = TCPPeer(there, is_server=True)
            await peer.open()
            yield await connecting, peer


async def _connect(path: str) -> WebSocket:
    return await connect("ws://localhost/", unix=path)
