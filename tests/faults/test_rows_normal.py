"""Part 1 of the matrix: normal closing."""

from __future__ import annotations

import asyncio
import select
import zlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.endpoints import awaited, turn
from tests.faults.invariants import Invariants
from tests.faults.patience import PATIENCE
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import (
    Place,
    all_of,
    closed_error,
    end_tcp,
    everywhere,
    on_clients,
    on_servers,
    on_tcp,
    pair,
    peer_answers,
    we_answer,
)
from tests.raw import BINARY, CLOSE, TEXT, Frame, close_payload, encode
from wasclean import InvalidAccessError, SyntaxError, WebSocket

CONTINUATION = 0

#: Codes with which a peer says that it has seen an error of ours.
ERRORS = (1002, 1003, 1007, 1009)


@row("C01", "close() without arguments", Sees(1005, True, "local", "local_close"), peer="an empty Close frame")
@everywhere
async def test_close_without_arguments(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close()
        assert await peer.frame() == Frame(CLOSE, b"")
        await peer.send_frame(CLOSE)
        await end_tcp(place, peer)
        row.check(await closing)
    assert invariants.events == ["close"]


@row(
    "C02",
    "close(1000, 'bye')",
    Sees(1000, True, "local", "local_close", "bye"),
    peer="a Close frame with 1000 and the reason",
)
@everywhere
async def test_close_with_a_code_and_a_reason(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(1000, "bye")
        assert await peer.frame() == Frame(CLOSE, b"\x03\xe8bye")
        await peer.send_frame(CLOSE, b"\x03\xe8bye")
        await end_tcp(place, peer)
        row.check(await closing)
    assert invariants.events == ["close"]


@row(
    "C03",
    "close() with a reason of 123 bytes",
    Sees(4999, True, "local", "local_close", None),
    peer="a Close frame with a payload of 125 bytes",
)
@everywhere
@pytest.mark.parametrize("reason", ["x" * 123, "é" * 61 + "x", "€" * 41, "𝄞" * 30 + "€"], ids=["1", "2", "3", "4"])
async def test_close_with_the_longest_reason(row: Row, place: Place, reason: str, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(4999, reason)
        frame = await peer.frame()
        assert frame == Frame(CLOSE, close_payload(4999, reason))
        assert len(frame.payload) == 125
        await peer.send_frame(CLOSE, frame.payload)
        await end_tcp(place, peer)
        event = await closing
        row.check(event)
        assert event.reason == reason
    assert invariants.events == ["close"]


@row(
    "C04",
    "close() with an invalid code or reason",
    peer="nothing",
    delivered="everything: the connection stays open",
)
@on_tcp
@pytest.mark.parametrize("is_page", [True, False], ids=["page", "stream"])
async def test_close_with_wrong_arguments_changes_nothing(
    row: Row, place: Place, is_page: bool, invariants: Invariants
) -> None:
    bad: list[tuple[tuple[Any, ...], type[Exception]]] = [
        *(((code,), InvalidAccessError) for code in (-1, 0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1 << 16)),
        *(((1000, reason), SyntaxError) for reason in ("x" * 124, "é" * 62, "€" * 42)),
        *((arguments, TypeError) for arguments in (("1000",), (1000.0,), (True,), (1000, b"x"), (1000, 5))),
    ]
    if is_page and place.role == "client":
        bad.append(((1001,), InvalidAccessError))
    async with pair(place, invariants, events=is_page) as (socket, peer):
        for arguments, error in bad:
            with pytest.raises(error):
                socket.close(*arguments)
            assert socket.readyState == WebSocket.OPEN
        await peer.send_frame(TEXT, b"are you there?")
        socket.send("yes")
        assert await peer.frame() == Frame(TEXT, b"yes")
        if not is_page:
            assert await socket.recv() == "are you there?"
        closing = socket.close(1000, "\ud800")  # Web IDL's USVString has no lone surrogates: they are replaced
        assert await peer.frame() == Frame(CLOSE, close_payload(1000, "\ufffd"))
        await peer.send_close(1000)
        await end_tcp(place, peer)
        assert (await closing).ok


@row(
    "C05",
    "the peer closes with a code",
    Sees(None, True, "remote", None, None),
    peer="a Close frame with the same code and reason, sent before our listeners are called",
)
@everywhere
@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1014, 3000, 3999, 4000, 4999, *ERRORS])
async def test_the_peer_closes_with_a_code(row: Row, place: Place, code: int, invariants: Invariants) -> None:
    answered: list[bool] = []
    async with pair(place, invariants, events=True) as (socket, peer):
        there = peer.socket.fileno()
        # Nothing else runs while a listener does: what can be read then has left before. A client's wait for TCP's end.
        if place.role == "server":
            socket.onclose = lambda event: answered.append(bool(select.select([there], [], [], 1)[0]))
        await peer.send_close(code, "so long")
        if place.role == "server":
            await socket.wait_closed()
            assert answered == [True]
        await we_answer(place, peer, code, "so long")
        event = await socket.wait_closed()
        row.check(event)
        assert (event.code, event.reason) == (code, "so long")
        assert event.cause == ("peer_reported_error" if code in ERRORS else "peer_close")
        assert event.sent == event.received == (code, "so long")
    assert invariants.events == ["close"]


@row(
    "C06", "the peer sends an empty Close frame", Sees(1005, True, "remote", "peer_close"), peer="an empty Close frame"
)
@everywhere
async def test_the_peer_closes_without_a_code(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_frame(CLOSE)
        assert await peer.frame() == Frame(CLOSE, b"")
        await end_tcp(place, peer)
        row.check(await socket.wait_closed())
    assert invariants.events == ["close"]


@row(
    "C07",
    "both ends close at the same time",
    Sees(3002, True, "simultaneous", None, "you"),
    peer="our Close frame, and no answer to its own",
)
@everywhere
@pytest.mark.parametrize("first", ["we", "peer"])
async def test_both_close_at_once(row: Row, place: Place, first: str, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        if first == "we":
            closing = socket.close(3001, "me")
            await peer.send_close(3002, "you")
        else:
            await peer.send_close(3002, "you")  # unread, in the kernel
            closing = socket.close(3001, "me")
        assert await peer.frame() == Frame(CLOSE, close_payload(3001, "me"))
        await end_tcp(place, peer)  # one Close frame, and nothing behind it
        event = await closing
        row.check(event)
        assert (event.sent, event.received) == ((3001, "me"), (3002, "you"))
    assert invariants.events == ["close"]


C08 = row(
    "C08",
    "close() is called again: in a listener, or in other tasks",
    Sees(3001, True, "local", "local_close", "first"),
    peer="one Close frame, that of the first call",
)


@C08
@everywhere
async def test_close_again_by_other_tasks(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):

        async def close(code: int, reason: str) -> Any:
            return await socket.close(code, reason)

        codes = [(3001, "first"), (3002, "second"), (1000, "third")]
        closing = [asyncio.ensure_future(close(*arguments)) for arguments in codes]
        assert await peer.frame() == Frame(CLOSE, close_payload(3001, "first"))
        late = socket.close(4000)
        await peer.send_close(3001, "first")
        await end_tcp(place, peer)
        events = {id(event): event for event in [*await asyncio.gather(*closing), await late, await socket.close()]}
        (event,) = events.values()
        row.check(event)
        closing.clear()
    assert invariants.events == ["close"]


@C08
@everywhere
async def test_close_again_in_listeners(row: Row, place: Place, invariants: Invariants) -> None:
    called: list[str] = []
    async with pair(place, invariants, events=True) as (socket, peer):

        def close(event: Any) -> None:
            called.append(event.type)
            event.target.close(3001, "first")
            event.target.close(3002, "second")

        socket.onmessage = socket.onclose = socket.onerror = close
        await peer.send_frame(TEXT, b"1")
        assert await peer.frame() == Frame(CLOSE, close_payload(3001, "first"))
        await peer.send_frame(TEXT, b"2")  # no event any more
        await peer.send_close(3001, "first")
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        row.check(event)
        assert event.discarded == 1
    assert called == ["message", "close"]


@C08
@on_tcp
async def test_close_in_the_listeners_of_a_connection_that_fails(
    row: Row, place: Place, invariants: Invariants
) -> None:
    called: list[str] = []
    async with pair(place, invariants, events=True) as (socket, peer):

        def close(event: Any) -> None:
            called.append(event.type)
            event.target.close(3001, "too late")

        socket.onclose = socket.onerror = close
        await peer.send(encode(3, b"", masked=place.role == "server"))
        frame = await peer.frame()
        assert frame.payload[:2] == close_payload(1002)
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.cause) == (1006, False, "protocol_error")
    assert called == ["error", "close"]


@row(
    "C09",
    "send() after close()",
    Sees(1000, True, "local", "local_close"),
    peer="nothing after our Close frame",
    delivered="messages sent before close(); later ones count in bufferedAmount, and an awaited send() raises "
    "ConnectionClosed",
)
@everywhere
async def test_send_after_close(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        socket.send("before")
        closing = socket.close(1000)
        before = socket.bufferedAmount
        socket.send("é")
        socket.send(b"123")
        assert socket.bufferedAmount == before + 5
        assert await closed_error(socket.send("x")) is None  # the end is still to come
        assert await peer.frame() == Frame(TEXT, b"before")
        await peer_answers(place, peer, 1000)
        event = await closing
        row.check(event)
        assert await closed_error(socket.send("y")) is event
        assert socket.bufferedAmount == 7
        assert event.unsent == ()
    assert invariants.events == ["close"]


@row(
    "C10",
    "both Close frames were exchanged; we are the server",
    Sees(1000, True, None, None, None),
    peer="our FIN, at once",
)
@on_servers
@pytest.mark.parametrize("closes", ["local", "remote"])
async def test_a_server_ends_tcp_first_and_does_not_wait_for_the_client(
    row: Row, place: Place, closes: str, invariants: Invariants, endless_linger: None
) -> None:
    async with pair(place, invariants) as (socket, peer):
        if closes == "local":
            socket.close(1000)
            assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        await peer.send_close(1000)
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)  # the client keeps TCP open
        row.check(event)
        assert event.initiator == closes
        if closes == "remote":
            assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        assert await peer.rest() == b""
        assert peer.notified == (place.transport == "tls") or peer.ending == "fin"
        await end_tcp(place, peer)
    assert invariants.events == ["close"]


@row(
    "C11",
    "both Close frames were exchanged; we are the client, and the server ends TCP in time",
    Sees(1000, True, None, None, None),
    peer="our FIN, after its own",
)
@on_clients
@pytest.mark.parametrize("closes", ["local", "remote"])
async def test_a_client_waits_for_the_servers_end_of_tcp(
    row: Row, place: Place, closes: str, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        closed = asyncio.ensure_future(socket.wait_closed())
        if closes == "local":
            socket.close(1000)
        else:
            await peer.send_close(1000)
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        if closes == "local":
            await peer.send_close(1000)
        await asyncio.sleep(0.05)
        assert not closed.done()
        assert not select.select([peer.socket], [], [], 0)[0]  # the client has not ended TCP
        await end_tcp(place, peer)
        event = await closed
        row.check(event)
        assert event.initiator == closes
    assert invariants.events == ["close"]


@row(
    "C12",
    "the peer answers with another code than ours",
    Sees(None, True, None, None, None),
    peer="our Close frame, and nothing after it",
)
@everywhere
@pytest.mark.parametrize(
    ("code", "reason", "initiator"),
    [(1000, "", "local"), (None, "", "local"), (4000, "I have my own", "simultaneous")],
)
async def test_the_answer_has_another_code(
    row: Row, place: Place, code: int | None, reason: str, initiator: str, invariants: Invariants
) -> None:
    """An answer that says something of its own can't be told from a Close frame that has crossed ours."""
    async with pair(place, invariants) as (socket, peer):
        closing = socket.close(3001, "mine")
        assert await peer.frame() == Frame(CLOSE, close_payload(3001, "mine"))
        await peer.send_frame(CLOSE, b"" if code is None else close_payload(code, reason))
        await end_tcp(place, peer)
        event = await closing
        row.check(event)
        assert (event.code, event.reason, event.initiator) == (code or 1005, reason, initiator)
        assert (event.sent, event.received) == ((3001, "mine"), (code, reason))
    assert invariants.events == ["close"]


@row(
    "C13",
    "2,000 messages, a Close frame and the end of TCP in one burst",
    Sees(3000, True, "remote", "peer_close", "that's all"),
    peer="a Close frame with the same code",
    delivered="all messages, in order, and then the close event",
)
@everywhere
@pytest.mark.parametrize("events", [True, False], ids=["events", "stream"])
async def test_a_burst_of_messages_and_the_end(row: Row, place: Place, events: bool, invariants: Invariants) -> None:
    sent = [str(i) for i in range(2000)]
    received: list[Any] = []
    async with pair(place, invariants, events=events) as (socket, peer):
        if events:
            socket.onmessage = lambda event: received.append(event.data)
            socket.onclose = lambda event: received.append("close")
        masked = place.role == "server"
        data = b"".join(encode(TEXT, message.encode(), masked=masked) for message in sent)
        await peer.send(data + encode(CLOSE, close_payload(3000, "that's all"), masked=masked))
        await peer.notify()
        peer.finish()
        if not events:
            received += [*(await all_of(socket))[0], "close"]
        event = await socket.wait_closed()
        row.check(event)
        assert event.discarded == 0
        if place.transport == "tcp":  # TLS ends both directions together
            assert await peer.frame() == Frame(CLOSE, close_payload(3000, "that's all"))
        assert await peer.ended() == "fin"
    assert received == [*sent, "close"]
    assert invariants.events == ["close"]


C14 = row(
    "C14",
    "the largest Close frame arrives in pieces",
    Sees(4999, True, "remote", "peer_close", "x" * 123),
    peer="a Close frame with the same code and reason",
)


@C14
@everywhere
async def test_a_close_frame_cut_at_every_byte(row: Row, place: Place, invariants: Invariants) -> None:
    frame = encode(CLOSE, close_payload(4999, "x" * 123), masked=place.role == "server")
    for cut in range(1, len(frame), 1 if place.transport == "tcp" else 32):
        async with pair(place, invariants) as (socket, peer):
            await peer.send(frame[:cut])
            while socket.stats.bytes_received < cut:
                await asyncio.sleep(0)
            assert socket.readyState == WebSocket.OPEN
            await peer.send(frame[cut:])
            await we_answer(place, peer, 4999, "x" * 123)
            row.check(await socket.wait_closed())


@C14
@everywhere
async def test_a_close_frame_byte_for_byte(row: Row, place: Place, invariants: Invariants) -> None:
    frame = encode(CLOSE, close_payload(4999, "x" * 123), masked=place.role == "server")
    async with pair(place, invariants) as (socket, peer):
        for i, byte in enumerate(frame):
            while socket.stats.bytes_received < i:
                await asyncio.sleep(0)
            await peer.send(bytes((byte,)))
        await we_answer(place, peer, 4999, "x" * 123)
        row.check(await socket.wait_closed())


@row(
    "C15",
    "the peer closes while a loop reads the messages",
    Sees(None, True, "remote", None, None),
    peer="a Close frame with the same code",
    delivered="all; the loop ends after 1000, 1001 or no code, and raises ConnectionClosed after any other",
)
@everywhere
@pytest.mark.parametrize("code", [1000, 1001, None, 1002, 1008, 1011, 3000, 4999])
async def test_a_loop_over_the_messages_ends(row: Row, place: Place, code: int | None, invariants: Invariants) -> None:
    received: list[Any] = []
    async with pair(place, invariants) as (socket, peer):

        async def read() -> None:
            async with socket:
                async for message in socket:
                    received.append(message)

        reading = asyncio.ensure_future(read())
        await turn()
        await peer.send_frame(TEXT, b"1")
        await peer.send_frame(TEXT, b"2")
        await peer.send_frame(CLOSE, b"" if code is None else close_payload(code))
        assert (await peer.frame()).opcode == CLOSE
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        if code in (1000, 1001, None):
            await reading
        else:
            assert await closed_error(reading) is event
        del reading  # it has the exception, which has the frames that it came through
        row.check(event)
        assert event.code == (code or 1005)
    assert received == ["1", "2"]
    assert invariants.events == ["close"]


@row(
    "C16",
    "terminate()",
    Sees(1006, False, "local", "terminated"),
    peer="the end of TCP without a Close frame; with reset=True a reset",
)
@everywhere
@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
async def test_terminate(row: Row, place: Place, reset: bool, invariants: Invariants, endless_linger: None) -> None:
    async with pair(place, invariants) as (socket, peer):
        waiting: list[Callable[[], Any]] = [socket.recv, socket.ping]
        tasks = [asyncio.ensure_future(awaited(call())) for call in waiting]
        await turn()
        socket.terminate(reset=reset)
        socket.terminate()
        assert socket.readyState == WebSocket.CLOSING
        assert invariants.events == []  # none from inside the call
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        row.check(event)
        assert (event.sent, event.received) == (None, None)
        await turn()
        assert all(task.done() for task in tasks)
        for task in tasks:
            assert await closed_error(task) is event
        tasks.clear()
        del task
        if not reset:
            assert (await peer.frame()).opcode == 9  # the ping
            assert await peer.rest() == b""
        assert await peer.ended() == ("rst" if reset else "fin")
    assert invariants.events == ["close"]


@row(
    "C43",
    "close() while a large message is being compressed or decompressed",
    Sees(4000, True, "local", "local_close", "bye"),
    peer="the whole message, and then our Close frame",
    delivered="the messages that the peer sent before its Close frame",
)
@everywhere
@pytest.mark.parametrize("way", ["compressing", "inflating"])
async def test_a_close_in_the_middle_of_compression(row: Row, place: Place, way: str, invariants: Invariants) -> None:
    message = bytes(range(256)) * (1 << 12)  # 1 MiB: several fragments, each compressed in a turn of its own
    stream = zlib.compressobj(wbits=-15)
    payload = (stream.compress(message) + stream.flush(zlib.Z_SYNC_FLUSH))[:-4]
    async with pair(place, invariants, extension="permessage-deflate") as (socket, peer):
        if way == "compressing":
            socket.send(message, True)
            closing = socket.close(4000, "bye")
            parts = [await peer.frame()]
            while not parts[-1].fin:
                parts.append(await peer.frame())
            assert len(parts) == 8
            sent = b"".join(part.payload for part in parts)
            assert zlib.decompressobj(wbits=-15).decompress(sent + b"\x00\x00\xff\xff") == message
        else:
            await peer.send_frame(BINARY, payload[: len(payload) // 2], fin=False, rsv=4)
            while socket.stats.bytes_received < len(payload) // 2:  # a part of it has been inflated
                await turn()
            closing = socket.close(4000, "bye")
            await peer.send_frame(CONTINUATION, payload[len(payload) // 2 :])
            assert await socket.recv() == message
        await peer_answers(place, peer, 4000, "bye")
        row.check(await closing)
    assert invariants.events == ["close"]
