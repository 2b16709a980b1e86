"""Part 3 of the matrix: unread and unsent data."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import wasclean.aio.driver
import wasclean.socket.inbox
from tests.endpoints import awaited, pause, turn
from tests.faults.invariants import Invariants
from tests.faults.patience import NEVER, PATIENCE, until
from tests.faults.proxy import shrink_buffers
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import (
    PLACES,
    Place,
    all_of,
    closed_error,
    end_tcp,
    everywhere,
    on_tcp,
    on_tls,
    pair,
    peer_answers,
    we_answer,
)
from tests.faults.tls_peer import TLSPeer
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload, encode, join
from wasclean import ConnectionClosed, WebSocket

MIB = 1 << 20


@asynccontextmanager
async def full(
    place: Place, invariants: Invariants, messages: int = 20, size: int = 5_000, **options: Any
) -> AsyncIterator[tuple[WebSocket, TLSPeer, list[str]]]:
    """A stream whose queue is full, so that reading is paused: the socket, the peer, and what it has sent."""
    async with pair(place, invariants, max_queue=2, **options) as (socket, peer):
        sent = [str(i % 10) * size for i in range(messages)]
        masked = place.role == "server"
        await peer.send(b"".join(encode(TEXT, message.encode(), masked=masked) for message in sent))
        await until(lambda: socket.stats.messages_received >= 2, "the queue to be full")
        yield socket, peer, sent


async def message_of(peer: TLSPeer) -> tuple[Frame, list[int]]:
    """A message, which may come in fragments, and the opcodes of control frames in between; or a Close frame."""
    frames: list[Frame] = []
    controls: list[int] = []
    while not frames or not frames[-1].fin:
        frame = await peer.frame()
        if frame.opcode & 8 and frame.opcode != CLOSE:
            controls.append(frame.opcode)
        else:
            frames.append(frame)
    assert [frame.opcode for frame in frames[1:]] == [0] * (len(frames) - 1)
    return join(frames), controls


async def fill(socket: WebSocket, peer: TLSPeer) -> list[bytes]:
    """Send messages until the kernel takes no more, because the peer does not read; returns all of them."""
    sent: list[bytes] = []
    while socket.bufferedAmount < MIB:
        sent.append(bytes((len(sent),)) * MIB)
        socket.send(sent[-1])
        await asyncio.sleep(0.01)
    before = -1
    while before != (before := socket.bufferedAmount):
        await pause()
    return sent


# Unread.


C33 = row(
    "C33",
    "close() before messages have been read",
    Sees(1000, True, "local", "local_close"),
    peer="a Close frame, and the end of TCP",
    delivered="to a stream, all; to listeners, none: they count as discarded",
)


@C33
@everywhere
async def test_close_while_a_stream_has_unread_messages(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        for i in range(3):
            await peer.send_frame(TEXT, str(i).encode())
        await until(lambda: socket.stats.messages_received == 3, "the messages")
        closing = socket.close(1000)
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        await peer.send_frame(TEXT, b"crossed")
        await peer.send_close(1000)
        await end_tcp(place, peer)
        event = await closing
        row.check(event)
        assert event.discarded == 0
        assert [message async for message in socket] == ["0", "1", "2", "crossed"]
    assert invariants.events == ["close"]


@C33
@everywhere
async def test_close_while_messages_for_listeners_are_on_their_way(
    row: Row, place: Place, invariants: Invariants
) -> None:
    received: list[Any] = []
    async with pair(place, invariants, events=True) as (socket, peer):
        socket.onmessage = lambda event: received.append(event.data)
        closing = socket.close(1000)
        await peer.send_frame(TEXT, b"crossed")
        await peer.send_frame(BINARY, b"12345")
        await peer_answers(place, peer, 1000)
        event = await closing
        row.check(event)
        assert event.discarded == 12
        assert event.stats.messages_received == 2
    assert received == []
    assert invariants.events == ["close"]


C34 = row(
    "C34",
    "the peer closes before messages have been read",
    Sees(1000, True, "remote", "peer_close", "bye"),
    peer="a Close frame with the same code, at once",
    delivered="all, however slowly they are read; the connection is not kept open for that",
)


@C34
@everywhere
async def test_the_peer_closes_while_messages_wait(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        for i in range(10):
            await peer.send_frame(TEXT, str(i).encode())
        await peer.send_close(1000, "bye")
        await we_answer(place, peer, 1000, "bye")  # although the messages are unread
        event = await socket.wait_closed()
        row.check(event)
        await turn()
        assert socket.local_address is None
        for i in range(10):
            await turn()
            assert await socket.recv() == str(i)
        assert await closed_error(socket.recv()) is event
    assert invariants.events == ["close"]


@C34
@everywhere
async def test_a_consumer_that_is_dead_holds_no_connection(
    row: Row, place: Place, invariants: Invariants, linger: float
) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_frame(TEXT, b"nobody reads this")
        await peer.send_close(1000, "bye")
        assert await peer.frame() == Frame(CLOSE, close_payload(1000, "bye"))
        row.check(await socket.wait_closed())  # although the peer does not end TCP
        if place.transport == "tls":  # which has a limit of its own
            await peer.notify()
        await until(lambda: socket.local_address is None, "the end of TCP")
    assert invariants.events == ["close"]


@row(
    "C35",
    "close() while reading is paused because the queue is full",
    Sees(1000, True, "local", "local_close"),
    peer="a Close frame; what it sends before its own is still read",
    delivered="the contents of the queue, up to 16 MiB; the rest counts as discarded",
    within="close_timeout",
)
@everywhere
async def test_close_while_reading_is_paused(
    row: Row, place: Place, invariants: Invariants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wasclean.socket.inbox, "MAX_BUFFERED_AMOUNT", 200_000)
    async with full(place, invariants) as (socket, peer, sent):
        closing = socket.close(1000)
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        for _ in range(100):
            sent.append("x" * 10_000)
            await peer.send_frame(TEXT, sent[-1].encode())
        await peer.send_close(1000)
        await end_tcp(place, peer)
        event = await closing
        row.check(event)
        kept, _ = await all_of(socket)
        assert kept == sent[: len(kept)]
        assert 100_000 < sum(map(len, kept)) < 210_000
        assert event.discarded == sum(map(len, sent[len(kept) :]))
        assert event.stats.messages_received == len(sent)
    assert invariants.events == ["close"]


C36 = row(
    "C36",
    "reading is paused because the queue is full, and the peer closes or goes away",
    Sees(None, None, "remote", None, None),
    peer="a Close frame with the same code",
    delivered="all; after a reset, what the kernel has kept",
    within="half a second",
)


@C36
@pytest.mark.parametrize(
    ("place", "end"),
    [(place, end) for place in PLACES for end in ("close", "fin", "rst") if (place.transport, end) != ("tls", "close")],
    ids=str,
)
async def test_the_end_is_seen_although_reading_is_paused(
    row: Row, place: Place, end: str, invariants: Invariants, watch: None
) -> None:
    async with full(place, invariants) as (socket, peer, sent):
        if end == "close":
            await peer.send_close(3000, "bye")
            await we_answer(place, peer, 3000, "bye")
        elif end == "fin":
            await peer.notify()
            peer.finish()
        else:
            peer.reset()
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        row.check(event)
        facts = (event.code, event.reason, event.wasClean, event.cause)
        assert (
            facts
            == {
                "close": (3000, "bye", True, "peer_close"),
                "fin": (1006, "", False, "tcp_fin"),
                "rst": (1006, "", False, "tcp_reset"),
            }[end]
        )
        received, _ = await all_of(socket)
        assert received == (sent[: len(received)] if end == "rst" else sent)
    assert invariants.events == ["close"]


@C36
@on_tls
async def test_a_close_frame_inside_tls_is_seen_although_reading_is_paused(
    row: Row, place: Place, invariants: Invariants, watch: None
) -> None:
    async with full(place, invariants) as (socket, peer, _):
        await peer.send_close(3000, "bye")
        answer = None
        try:
            async with asyncio.timeout(PATIENCE):
                answer = await peer.frame()
        except TimeoutError:
            socket.terminate()
        else:
            await end_tcp(place, peer)
        event = await socket.wait_closed()
    assert answer == Frame(CLOSE, close_payload(3000, "bye"))
    row.check(event)
    assert event.wasClean


@C36
@on_tcp
async def test_a_close_frame_behind_a_torn_message_is_seen(
    row: Row, place: Place, invariants: Invariants, watch: None
) -> None:
    """The last read ended inside a message; the bytes in the kernel continue it."""
    for cut in (1, 5, 5_000, 99_999):
        async with pair(place, invariants, max_queue=2) as (socket, peer):
            masked = place.role == "server"
            frames = [encode(TEXT, b"ab", masked=masked) * 2, encode(TEXT, b"x" * 100_000, masked=masked)]
            await peer.send(frames[0] + frames[1][:cut])
            await until(lambda: socket.stats.messages_received >= 2, "the queue to be full")
            await peer.send(frames[1][cut:] + encode(CLOSE, close_payload(3000), masked=masked))
            await we_answer(place, peer, 3000)
            event = await socket.wait_closed()
            row.check(event)
            assert event.wasClean
            assert (await all_of(socket))[0] == ["ab", "ab", "x" * 100_000]


@C36
@everywhere
async def test_a_paused_connection_whose_peer_stays_stays_paused(
    row: Row, place: Place, invariants: Invariants, watch: None
) -> None:
    async with full(place, invariants, size=50, max_message_size=1000) as (socket, peer, sent):
        for i in range(5):
            await asyncio.sleep(0.03)
            sent.append(f"late {i}")
            await peer.send_frame(TEXT, sent[-1].encode())
        await asyncio.sleep(0.05)
        assert socket.stats.messages_received == 20  # on TLS, too: the queue holds more than max_message_size
        assert socket.readyState == WebSocket.OPEN
        assert [await socket.recv() for _ in sent] == sent
        closing = socket.close(1000)
        await peer_answers(place, peer, 1000)
        assert (await closing).ok


@row(
    "C37",
    "reading is paused for longer than ping_timeout",
    peer="pings; its answers wait behind unread messages",
    delivered="all: the connection stays open",
)
@everywhere
async def test_a_pause_is_no_reason_for_a_ping_timeout(row: Row, place: Place, invariants: Invariants) -> None:
    async with full(place, invariants, ping_interval=0.03, ping_timeout=0.5) as (socket, peer, sent):
        pinged = 0

        async def answer() -> None:
            nonlocal pinged
            while True:
                frame = await peer.frame()
                if frame.opcode == CLOSE:
                    await peer.send_close(1000)
                    return
                assert frame.opcode == PING
                pinged += 1
                await peer.send_frame(PONG, frame.payload)

        answering = asyncio.ensure_future(answer())
        await asyncio.sleep(0.8)  # the time itself is under test
        assert socket.readyState == WebSocket.OPEN
        assert pinged > 0
        assert [await socket.recv() for _ in sent] == sent
        await asyncio.sleep(0.15)
        assert socket.readyState == WebSocket.OPEN
        closing = socket.close(1000)
        await answering
        await end_tcp(place, peer)
        assert (await closing).ok
    assert invariants.events == ["close"]


# Unsent.


@row(
    "C38",
    "close() after 10 MB that have not been sent yet, to a peer that reads",
    Sees(1000, True, "local", "local_close"),
    peer="all 10 MB, and then a Close frame",
    within="close_timeout",
)
@everywhere
async def test_close_behind_10_mb(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        sent = [bytes((i,)) * 1_000_000 for i in range(10)]
        for message in sent:
            socket.send(message)
        closing = socket.close(1000)
        assert socket.bufferedAmount == 10_000_000
        for message in sent:
            frame, _ = await message_of(peer)
            assert frame == Frame(BINARY, message)
        await peer_answers(place, peer, 1000)
        event = await closing
        row.check(event)
        assert socket.bufferedAmount == 0
        assert event.unsent == ()
        assert event.stats.bytes_sent > 10_000_000
    assert invariants.events == ["close"]


@row(
    "C39",
    "close() after data that the peer does not read",
    Sees(1006, False, "local", "close_timeout"),
    peer="a reset",
    delivered="the event has the unsent messages; an awaited send() raises ConnectionClosed",
    within="close_timeout",
)
@everywhere
async def test_close_behind_what_the_peer_does_not_read(row: Row, place: Place, invariants: Invariants) -> None:
    loop = asyncio.get_running_loop()
    async with pair(place, invariants, close_timeout=0.2) as (socket, peer):
        sent = await fill(socket, peer)
        sending = asyncio.ensure_future(awaited(socket.send("behind")))
        flushing = asyncio.ensure_future(socket.flush())
        await turn()
        start = loop.time()
        event = await socket.close(1000)
        assert loop.time() - start > 0.19
        row.check(event)
        assert (event.sent, event.received) == (None, None)
        assert event.unsent == (*sent[len(sent) + 1 - len(event.unsent) :], "behind")
        assert len(event.unsent) > 1
        assert event.unflushed_bytes > 0
        assert socket.bufferedAmount > 0
        await turn()
        assert sending.done()
        assert flushing.done()
        assert await closed_error(sending) is event
        assert await closed_error(flushing) is event
        del sending, flushing
        assert await peer.ended() == "rst"
        peer.close()
    assert invariants.events == ["close"]


@row(
    "C40",
    "the peer closes while a send() waits for room",
    Sees(3000, None, "remote", None, "enough"),
    peer="the data sent before, and a Close frame with the same code, if it reads; otherwise a reset",
    delivered="send() raises ConnectionClosed at once; the end is clean only if our Close frame could be sent",
    within="close_timeout",
)
@everywhere
@pytest.mark.parametrize("reads", [True, False], ids=["reads", "does not read"])
async def test_the_peer_closes_while_a_send_waits(row: Row, place: Place, reads: bool, invariants: Invariants) -> None:
    async with pair(place, invariants, close_timeout=NEVER if reads else 1) as (socket, peer):
        sent = await fill(socket, peer)
        sending = asyncio.ensure_future(awaited(socket.send("behind")))
        await turn()
        await peer.send_close(3000, "enough")
        assert await asyncio.wait_for(closed_error(sending), PATIENCE) is None
        assert socket.readyState == WebSocket.CLOSING
        if reads:
            for message in sent:
                assert (await message_of(peer))[0] == Frame(BINARY, message)
            assert await peer.frame() == Frame(TEXT, b"behind")
            await we_answer(place, peer, 3000, "enough")
        event = await socket.wait_closed()
        row.check(event)
        if reads:
            assert (event.wasClean, event.cause, event.unsent) == (True, "peer_close", ())
        else:
            assert (event.wasClean, event.cause, event.sent) == (False, "close_timeout", None)
            assert event.unsent == (*sent[len(sent) + 1 - len(event.unsent) :], "behind")
            assert await peer.ended() == "rst"
            peer.close()
    assert invariants.events == ["close"]


@row(
    "C41",
    "100 tasks send while one closes",
    Sees(1000, True, "local", "local_close"),
    peer="whole messages, in order, and then a Close frame",
    delivered="each send() as a whole or not at all; those after close() raise ConnectionClosed",
)
@everywhere
async def test_a_hundred_tasks_send_and_one_closes(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        sizes = [1, 200, 70_000, 3 << 16]  # alone in a frame, and in several

        async def send(i: int) -> bool:
            try:
                await socket.send(bytes((i,)) * sizes[i % 4])
            except ConnectionClosed as error:
                error.__traceback__ = None
                return False
            return True

        async def close() -> None:
            await turn(1)
            socket.close(1000)

        tasks = [asyncio.ensure_future(coroutine) for coroutine in [*(send(i) for i in range(60)), close()]]
        await turn(2)
        tasks += [asyncio.ensure_future(send(i)) for i in range(60, 100)]
        received = []
        while True:
            frame, controls = await message_of(peer)
            if frame.opcode == CLOSE:
                break
            assert controls == []
            i = frame.payload[0]
            assert frame == Frame(BINARY, bytes((i,)) * sizes[i % 4])
            received.append(i)
        await peer.send_close(1000)
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        row.check(event)
        assert received == list(range(60))
        assert await asyncio.gather(*tasks) == [True] * 60 + [None] + [False] * 40
        assert event.stats.messages_sent == 60
    assert invariants.events == ["close"]


C42 = row(
    "C42",
    "one end closes in the middle of a large message, which is sent in fragments",
    Sees(1000, True, None, None, None),
    peer="the rest of the message, with pings between its fragments, and then a Close frame",
    within="close_timeout",
)


@C42
@everywhere
@pytest.mark.parametrize("closes", ["local", "remote"])
async def test_a_close_in_the_middle_of_a_message(row: Row, place: Place, closes: str, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        sent = await fill(socket, peer)
        if closes == "local":
            pinging = asyncio.ensure_future(awaited(socket.ping(b"in between")))
            await turn()
            socket.close(1000)
        else:
            await peer.send_close(1000)
            await until(lambda: socket.readyState == WebSocket.CLOSING, "the Close frame")
        pings = []
        for message in sent:
            frame, controls = await message_of(peer)
            assert frame == Frame(BINARY, message)
            pings += controls
        if closes == "local":
            assert pings == [PING]
            await peer.send_frame(PONG, b"in between")
            assert await pinging > 0
        else:
            assert pings == []
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        if closes == "local":
            await peer.send_close(1000)
        await end_tcp(place, peer)
        event = await socket.wait_closed()
        row.check(event)
        assert event.initiator == closes
    assert invariants.events == ["close"]


@C42
@everywhere
async def test_a_ping_and_then_a_close_in_the_middle_of_a_message(
    row: Row, place: Place, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        sent = await fill(socket, peer)
        pinging = asyncio.ensure_future(awaited(socket.ping(b"in between")))
        controls: list[int] = []
        for message in sent:
            frame, more = await message_of(peer)
            if not controls and more:
                assert more == [PING]
                socket.close(1000)
            controls += more
            assert frame == Frame(BINARY, message)
        assert controls == [PING]
        await peer.send_frame(PONG, b"in between")
        assert await peer.frame() == Frame(CLOSE, close_payload(1000))
        assert await pinging > 0
        await peer.send_close(1000)
        await end_tcp(place, peer)
        row.check(await socket.wait_closed())
    assert invariants.events == ["close"]


@row(
    "C44",
    "more is sent than max_buffered_amount, without awaiting",
    Sees(1006, False, "local", "slow_consumer"),
    peer="a reset",
    delivered="the event has the unsent messages",
)
@everywhere
async def test_a_flood_of_sends(row: Row, place: Place, invariants: Invariants) -> None:
    limit = 2 * MIB
    async with pair(place, invariants, events=True, max_buffered_amount=limit) as (socket, peer):
        shrink_buffers(peer.socket)
        highest = sent = 0
        tracemalloc.start()
        try:
            while socket.readyState == WebSocket.OPEN:
                socket.send(sent.to_bytes(4, "big") * 16_000)
                sent += 1
                highest = max(highest, socket.bufferedAmount)
                if sent % 4 == 0:
                    await turn(1)
            event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        row.check(event)
        assert isinstance(event.exception, BufferError)
        assert highest <= limit + 3 * 4 * 64_000  # two turns of the loop later it is known that no task waits
        assert peak < limit + 3 * MIB
        numbers = [int.from_bytes(message[:4], "big") for message in event.unsent if isinstance(message, bytes)]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[-1] == sent - 1
        assert await peer.ended() == "rst"
        peer.close()
    assert invariants.events == ["error", "close"]


@row(
    "C45",
    "a flood of pings from a peer that does not read the pongs",
    Sees(1006, False, "local", "write_timeout"),
    peer="as many pongs as the kernel's buffers hold, and a reset",
    delivered="nothing accumulates: only the latest ping waits for its pong",
    within="write_timeout",
)
@everywhere
async def test_a_flood_of_pings(row: Row, place: Place, invariants: Invariants) -> None:
    options: dict[str, Any] = {"write_timeout": 0.3, "ping_interval": None, "max_pings_per_second": None}
    async with pair(place, invariants, events=True, **options) as (socket, peer):
        shrink_buffers(peer.socket)
        pings = encode(PING, b"x" * 125, masked=place.role == "server") * 100
        sent = 0
        tracemalloc.start()
        try:
            ending = asyncio.ensure_future(awaited(socket.wait_closed()))
            while not ending.done():
                try:
                    await peer.send(pings)
                except ConnectionError as error:
                    error.__traceback__ = None  # it has the frames that it came through, and one of them has it
                    peer.ending = "rst"  # it has been told
                    break
                sent += 100
                await turn(2)
            event = await ending
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        row.check(event)
        assert sent > 1000
        assert peak < MIB
        assert await peer.ended() == "rst"
        peer.close()
    assert invariants.events == ["close"]
