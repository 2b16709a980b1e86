"""The asyncio side of a connection: how TCP ends, and what happens when it is full."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import socket as sockets
import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import Record, awaited, echo, opened, pause, served, turn, until_full
from tests.faults.patience import NEVER, PATIENCE, until
from tests.faults.stage import set_linger
from tests.raw import CLOSE, PONG, TEXT, Frame, Raw, close_payload, encode, messages, raw_client, raw_server
from wasclean import ConnectionClosed, WebSocket, connect
from wasclean.model.registry import LINGER, LINGER_BYTES

#: A frame that breaks the rules: it has a reserved opcode.
BAD = encode(0x3, b"", masked=True)

KIB, MIB = 1 << 10, 1 << 20


class Silent:
    """A script that reads nothing until it is told to."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.frames: list[Frame] = []
        self.ended = asyncio.Event()

    async def __call__(self, raw: Raw) -> None:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self.go_on.wait()
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                frame = await raw.frame()
                self.frames.append(frame)
                if frame.opcode == CLOSE:
                    raw.send_frame(CLOSE, frame.payload)
                    raw.shutdown()
        self.ended.set()


# The end of TCP.


async def test_what_the_peer_still_sends_does_not_destroy_our_close_frame() -> None:
    """RFC 6455 section 7.1.1: no reset, which would take away from the peer what it has not read."""
    async with served(echo) as server, raw_client(server.server.port) as raw:
        raw.send(BAD)
        for _ in range(10):
            raw.send(encode(TEXT, b"x" * 100_000, masked=True))
            await turn(1)
        frame = await raw.frame()
        assert frame.opcode == CLOSE
        assert frame.payload[:2] == b"\x03\xea"
        assert await raw.rest() == b""
        await raw.writer.drain()
        raw.shutdown()
        event = await (await server.sockets.get()).wait_closed()
        assert (event.code, event.wasClean) == (1006, False)


async def test_the_same_when_the_server_closes_in_an_orderly_way() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        socket.close(3000, "bye")
        raw.send(encode(TEXT, b"x" * 500_000, masked=True))
        assert await raw.frame() == Frame(CLOSE, close_payload(3000, "bye"))
        raw.send_close(3000, "bye")
        raw.send(b"x" * 500_000)  # nobody should, but no reset follows
        assert await raw.rest() == b""
        await raw.writer.drain()
        event = await socket.wait_closed()
        assert (event.code, event.reason, event.wasClean) == (3000, "bye", True)


async def test_the_server_ends_tcp_first_and_the_client_waits_for_that() -> None:
    ends: list[str] = []

    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        raw.send_frame(CLOSE, frame.payload)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(raw.rest(), 0.1)
            ends.append("the client ended TCP first")
        raw.shutdown()
        assert await raw.rest() == b""
        ends.append("then the client")

    async with raw_server(script) as url:
        socket = await opened(WebSocket(url))
        assert (await socket.close(1000)).wasClean
        await until(lambda: ends)
    assert ends == ["then the client"]


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> float:
    """The peer has less time to end TCP."""
    return set_linger(monkeypatch, 0.1)


@pytest.fixture
def endless_linger(monkeypatch: pytest.MonkeyPatch) -> float:
    """The peer has all the time that it wants to end TCP."""
    return set_linger(monkeypatch, NEVER)


async def ending_of(raw: Raw, piece: bytes = b"x", every: float = 0.01) -> int:
    """Send until the peer has ended TCP in both directions; returns how many bytes that took."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        async with asyncio.timeout(PATIENCE):
            while True:
                raw.send(piece)
                sent += len(piece)
                await raw.writer.drain()
                await asyncio.sleep(every)
    return sent


def test_a_peer_has_two_seconds_and_a_mebibyte_to_end_tcp() -> None:
    assert LINGER == 2
    assert LINGER_BYTES == MIB


@pytest.mark.parametrize("way", ["clean", "failed", "refused"])
async def test_a_peer_that_never_ends_tcp_is_dropped(way: str, short_linger: float) -> None:
    loop = asyncio.get_running_loop()
    async with served() as server:
        start = loop.time()
        if way == "refused":
            reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
            raw = Raw(reader, writer, masked=True)
            raw.send(b"POST / HTTP/1.1\r\n\r\n")
            assert (await raw.rest()).startswith(b"HTTP/1.1 405")
            await ending_of(raw)
            assert loop.time() - start > 0.05
            raw.close()
            return
        async with raw_client(server.server.port) as raw:
            socket = await server.sockets.get()
            raw.send(BAD if way == "failed" else encode(CLOSE, close_payload(1000), masked=True))
            assert (await raw.frame()).opcode == CLOSE
            assert await raw.rest() == b""
            event = await socket.wait_closed()
            assert event.wasClean is (way == "clean")
            await ending_of(raw)
            assert loop.time() - start > 0.05


@pytest.mark.parametrize("way", ["clean", "failed"])
async def test_a_server_has_its_close_event_before_the_peer_ends_tcp(way: str, endless_linger: float) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        raw.send(BAD if way == "failed" else encode(CLOSE, close_payload(1000), masked=True))
        assert (await raw.frame()).opcode == CLOSE
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert event.wasClean is (way == "clean")


async def test_a_server_that_never_ends_tcp_does_not_hold_its_client(short_linger: float) -> None:
    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        raw.send_frame(CLOSE, frame.payload)
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    async with raw_server(script) as url:
        socket = await opened(WebSocket(url))
        start = loop.time()
        event = await socket.close(1000)
        assert loop.time() - start > 0.05
        assert (event.code, event.wasClean) == (1000, True)


async def test_a_peer_that_goes_on_sending_is_dropped_after_a_mebibyte(endless_linger: float) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        raw.send(BAD)
        assert (await raw.frame()).opcode == CLOSE
        assert await ending_of(raw, b"x" * 65536, 0) < 64 * MIB  # the kernel holds some of it


async def test_a_client_that_fails_the_connection_lets_its_close_frame_arrive() -> None:
    frames: list[Any] = []

    async def script(raw: Raw) -> None:
        raw.send(encode(0x3) + b"x" * 500_000)
        frames.append(await raw.frame())
        frames.append(await raw.rest())

    async with raw_server(script) as url:
        event = await WebSocket(url).wait_closed()
        assert event.code == 1006
        await until(lambda: len(frames) == 2)
    assert frames[0].payload[:2] == b"\x03\xea"
    assert frames[1] == b""


async def test_a_peer_that_ends_its_side_of_tcp_still_gets_our_close_frame() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        raw.send_close(3001, "half")
        raw.shutdown()
        assert await raw.frame() == Frame(CLOSE, close_payload(3001, "half"))
        event = await (await server.sockets.get()).wait_closed()
        assert (event.code, event.reason, event.wasClean, event.initiator) == (3001, "half", True, "remote")


@pytest.mark.parametrize("end", ["fin", "rst"])
async def test_a_connection_that_breaks_is_a_1006_without_an_error_event(end: str) -> None:
    async def script(raw: Raw) -> None:
        await raw.frame()
        if end == "rst":
            raw.reset()

    async with raw_server(script) as url:
        socket = await opened(WebSocket(url))
        record = Record(socket)
        socket.send("x")
        event = await socket.wait_closed()
        assert record.types == ["close"]
        assert (event.code, event.wasClean, event.initiator) == (1006, False, "remote")
        assert event.exception is None or isinstance(event.exception, ConnectionError)


# Congestion.


@pytest.fixture
async def full() -> AsyncIterator[tuple[WebSocket, Silent, int]]:
    """A client whose server does not read, after as many messages as it takes until nothing leaves any more."""
    script = Silent()
    async with raw_server(script) as url:
        socket = await connect(url, max_buffered_amount=64 * MIB)
        count = await until_full(socket)
        yield socket, script, count
        socket.terminate()
        await socket.wait_closed()


Full = tuple[WebSocket, Silent, int]


async def test_an_awaited_send_waits_while_the_peer_does_not_read(full: Full) -> None:
    socket, _, _ = full
    assert socket.bufferedAmount > 64 << 10
    before = socket.bufferedAmount
    for i in range(1, 4):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(awaited(socket.send("é" * 1000)), 0.01)
        assert socket.bufferedAmount == before + 2000 * i  # who stops waiting takes nothing back


async def test_all_goes_on_when_the_peer_reads(full: Full) -> None:
    socket, script, count = full
    waiting = [asyncio.ensure_future(socket.send(str(i))) for i in range(5)]
    await turn()
    assert not any(task.done() for task in waiting)
    script.go_on.set()
    await asyncio.gather(*waiting)
    await until(lambda: socket.bufferedAmount == 0)
    assert (await socket.close(1000)).wasClean
    await script.ended.wait()
    received = messages(script.frames)
    assert [len(frame.payload) for frame in received[:count]] == [MIB] * count
    assert [frame.payload for frame in received[count:-1]] == [b"0", b"1", b"2", b"3", b"4"]


async def test_close_sends_first_what_was_sent_before(full: Full) -> None:
    socket, script, count = full
    socket.send("last")
    closed = socket.close(3000)
    await turn()
    script.go_on.set()
    event = await closed
    assert (event.code, event.wasClean) == (3000, True)
    received = messages(script.frames)
    assert len(received) == count + 2
    assert [frame.payload for frame in received[-2:]] == [b"last", close_payload(3000)]


async def test_close_ends_in_time_when_the_peer_does_not_read(full: Full) -> None:
    socket, _, _ = full
    loop = asyncio.get_running_loop()
    waiting = asyncio.ensure_future(socket.send("x"))
    await turn()
    start = loop.time()
    event = await socket.close(1000, timeout=0.1)
    assert loop.time() - start > 0.08
    assert (event.code, event.wasClean, event.initiator, event.sent) == (1006, False, "local", None)
    with pytest.raises(ConnectionClosed):
        await waiting


async def test_terminate_ends_at_once_when_the_peer_does_not_read(full: Full) -> None:
    socket, _, _ = full
    socket.terminate()
    await turn(20)
    assert socket.readyState == WebSocket.CLOSED
    event = await socket.wait_closed()
    assert (event.code, event.wasClean, event.initiator) == (1006, False, "local")


async def test_a_pong_overtakes_messages_that_wait_and_only_the_latest_ping_is_answered() -> None:
    go_on = asyncio.Event()
    frames: list[Frame] = []

    async def script(raw: Raw) -> None:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        for i in range(100):
            raw.send_frame(0x9, str(i).encode())
        await raw.writer.drain()
        await pause()
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while not frames or frames[-1].opcode != PONG:
            frames.append(await raw.frame())

    async with raw_server(script) as url:
        socket = await connect(url, max_buffered_amount=64 * MIB)
        await until_full(socket)
        socket.send("last")
        go_on.set()
        await until(lambda: frames and frames[-1].opcode == PONG)
        assert frames[-1].payload == b"99"
        assert b"last" not in [frame.payload for frame in frames]
        socket.terminate()
        await socket.wait_closed()


async def test_10_mb_arrive_in_order() -> None:
    async def handler(socket: WebSocket) -> None:
        for i in range(1000):
            await socket.send(i.to_bytes(4, "big") * (1 + i * 5 % 5000))

    async with served(handler) as server:
        received: list[bytes] = []
        async with connect(server.url, max_queue=2) as client:
            async for message in client:
                assert isinstance(message, bytes)
                received.append(message)
                if len(received) % 100 == 0:
                    await asyncio.sleep(0)
        assert [int.from_bytes(data[:4], "big") for data in received] == list(range(1000))
        assert [len(data) for data in received] == [4 * (1 + i * 5 % 5000) for i in range(1000)]
        assert sum(map(len, received)) > 9_000_000
        assert (await client.wait_closed()).code == 1000


async def test_messages_of_all_sizes_arrive_in_order_through_a_slow_reader() -> None:
    script = Silent()
    sizes = [0, 1, 125, 126, 16383, 16384, 65535, 65536, 65537, 200_000, 2_000_000]
    async with raw_server(script) as url:
        socket = await opened(WebSocket(url, max_buffered_amount=64 * MIB))
        for i in range(4):
            for size in sizes:
                socket.send(bytes((i,)) * size)
        socket.close(1000)
        await turn()
        script.go_on.set()
        assert (await socket.wait_closed()).wasClean
        expected = [bytes((i,)) * size for i in range(4) for size in sizes]
        assert [frame.payload for frame in messages(script.frames)[:-1]] == expected


@pytest.mark.parametrize("awaited", [True, False])
async def test_a_socket_that_is_flagged_as_full_fails(awaited: bool, endless_linger: float) -> None:
    """Limit L6: "if the user agent ... flagged as full, fail the connection"."""
    async with raw_server(Silent()) as url:
        socket = WebSocket(url, max_buffered_amount=20 * MIB)
        await opened(socket)
        record = Record(socket)
        for _ in range(60):
            sent = socket.send(bytes(MIB))
            if socket.readyState != WebSocket.OPEN:
                break
            await turn()
        assert socket.readyState != WebSocket.OPEN
        if awaited:
            with pytest.raises(ConnectionClosed):
                await sent
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert record.types == ["error", "close"]
        assert (event.code, event.wasClean, event.initiator) == (1006, False, "local")
        assert isinstance(event.exception, BufferError)
        assert "max_buffered_amount" in record.events[0].message


async def test_one_message_alone_may_be_larger_than_the_limit() -> None:
    async with (
        served(echo, max_message_size=2 * MIB, max_buffered_amount=1000) as server,
        connect(server.url, max_buffered_amount=1000) as socket,
    ):
        await socket.send(bytes(2 * MIB))
        assert await socket.recv() == bytes(2 * MIB)


async def test_a_server_waits_for_its_slow_client_too() -> None:
    sent: list[int] = []

    async def handler(socket: WebSocket) -> None:
        for i in range(40):
            await socket.send(bytes(MIB))
            sent.append(i)

    async with served(handler) as server, raw_client(server.server.port) as raw:
        await asyncio.sleep(0.1)
        stopped = len(sent)
        assert stopped < 40
        for _ in range(40):
            assert len((await raw.message()).payload) == MIB
        assert await raw.frame() == Frame(CLOSE, close_payload(1000))


async def test_congestion_over_tls() -> None:
    sent: list[int] = []

    async def handler(socket: WebSocket) -> None:
        for i in range(30):
            await socket.send(bytes((i,)) * MIB)
            sent.append(i)

    async with served(handler, compression=None, ssl=server_context()) as server:
        url = f"wss://localhost:{server.server.port}/"
        async with connect(url, ssl=client_context(), max_queue=1) as client:
            await asyncio.sleep(0.2)
            assert len(sent) < 30
            received = [message async for message in client]
        assert [message[0] for message in received] == list(range(30))
        assert all(len(message) == MIB for message in received)
        event = await client.wait_closed()
        assert (event.code, event.wasClean) == (1000, True)


# After the peer has gone.


@pytest.mark.parametrize("size", [1, 100_000])
async def test_sending_to_a_peer_that_has_gone_is_silent(size: int, caplog: pytest.LogCaptureFixture) -> None:
    async def script(raw: Raw) -> None:
        raw.reset()

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    async with raw_server(script) as url:
        socket = await connect(url)
        for _ in range(50):
            for _ in range(10):
                socket.send(bytes(size))
            await turn(1)
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.initiator) == (1006, False, "remote")
        with pytest.raises(ConnectionClosed):
            await socket.send("x")
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG] == []
    assert reported == []


# What a host does besides.


async def test_addresses_are_known_while_there_is_a_connection_and_the_peers_afterwards() -> None:
    async with served() as server:
        socket = WebSocket(server.url)
        assert socket.remote_address is None
        await opened(socket)
        other = await server.sockets.get()
        assert socket.remote_address == ("127.0.0.1", server.server.port) == other.local_address
        assert socket.local_address == other.remote_address
        socket.terminate()
        await socket.wait_closed()
        await turn()
        assert socket.local_address is None
        assert socket.remote_address == ("127.0.0.1", server.server.port)
        await other.wait_closed()
        await turn()
        assert other.request is not None
        assert (other.local_address, other.remote_address) == (None, other.request.remote)


async def test_another_thread_may_call_a_socket_of_this_loop() -> None:
    async with served(echo) as server, connect(server.url) as socket:
        await asyncio.to_thread(socket.send, "x")
        assert await socket.recv() == "x"
        closing = await asyncio.to_thread(socket.close, 4000, "from another thread")
        event = await closing
        assert event.sent == (4000, "from another thread")


async def test_all_connections_of_a_loop_read_into_the_same_memory() -> None:
    from wasclean.aio.services import buffer_of

    loop = asyncio.get_running_loop()
    assert buffer_of(loop) is buffer_of(loop)
    other = asyncio.new_event_loop()
    assert buffer_of(other) is not buffer_of(loop)
    other.close()


async def test_messages_that_arrive_in_pieces_on_several_connections_do_not_mix() -> None:
    received: list[tuple[int, Any]] = []

    async def handler(socket: WebSocket) -> None:
        assert socket.request is not None
        number = int(socket.request.target[1:])
        received.extend([(number, message) async for message in socket])

    async with served(handler) as server, contextlib.AsyncExitStack() as stack:
        port = server.server.port
        raws = [await stack.enter_async_context(raw_client(port, f"/{i}")) for i in range(5)]
        for raw in raws:
            raw.writer.get_extra_info("socket").setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        data = [encode(TEXT, str(i).encode() * 200, masked=True) for i in range(5)]
        for at in range(0, len(data[0]), 3):
            for raw, frame in zip(raws, data, strict=True):
                raw.send(frame[at : at + 3])
            await asyncio.sleep(0)
        for raw in raws:
            raw.send_close(1000)
            await raw.rest()
        await until(lambda: len(received) == 5)
    assert sorted(received) == [(i, str(i) * 200) for i in range(5)]


async def test_a_flood_of_tiny_messages_leaves_other_connections_their_turn() -> None:
    """uvloop reads up to 32 times in a row; and 64 KiB of tiny messages, the first read, are quite a lot of work."""
    seen: list[str] = []
    tiny = encode(TEXT, b"x", masked=True)

    def handler(socket: WebSocket) -> None:
        socket.onmessage = lambda event: seen.append(event.data)

    async with served(handler) as server:
        port = server.server.port
        async with raw_client(port) as flooder, raw_client(port) as good:
            # All that the kernel takes, before the server's next turn.
            sent = os.write(flooder.writer.get_extra_info("socket").fileno(), tiny * 100_000) // len(tiny)
            for i in range(3):
                good.send_frame(TEXT, b"good %d" % i)
                while f"good {i}" not in seen:
                    await turn(1)
    first, second, third = (seen.index(f"good {i}") for i in range(3))
    assert sent > 25_000
    assert first <= 2 * 64 * KIB / len(tiny)
    assert second - first <= 3 * 8 * KIB / len(tiny)
    assert third - second <= 3 * 8 * KIB / len(tiny)


async def test_a_flood_that_is_paused_while_it_gives_way_stays_paused() -> None:
    tiny = encode(TEXT, b"x", masked=True)
    async with served() as server, raw_client(server.server.port) as flooder:
        socket = await server.sockets.get()
        sent = os.write(flooder.writer.get_extra_info("socket").fileno(), tiny * 100_000) // len(tiny)
        assert await socket.recv() == "x"  # a stream, whose queue is full by now
        await turn(10)
        assert socket.stats.messages_received <= 64 * KIB / len(tiny)
        for _ in range(sent - 1):
            assert await socket.recv() == "x"


def test_a_loop_that_ends_with_open_sockets_neither_hangs_nor_complains() -> None:
    messages: list[Any] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: messages.append(context))
        async with served(echo) as server:
            await opened(WebSocket(server.url))
            WebSocket(server.url)
            await turn()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # asyncio tells of transports that were left
        asyncio.run(main())
        gc.collect()
    assert [context for context in messages if "exception" in context] == []
