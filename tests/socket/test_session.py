"""The stream API, and what both ends and the wire see of each way to close."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from random import Random
from typing import Any

import pytest

import wasclean
from tests.endpoints import Record, echo, opened, pause, served, turn, until_full
from tests.faults.patience import PATIENCE, until
from tests.faults.stage import Place, everywhere, on_tcp, pair
from tests.faults.tls_peer import TLSPeer
from tests.raw import CLOSE, PING, PONG, TEXT, Raw, accept, close_payload, encode, hang, raw_client, raw_server
from wasclean import CloseCode, CloseEvent, CloseFrame, ConnectionClosed, WebSocket, connect
from wasclean.closing.outcome import Stats
from wasclean.socket.websocket import session_of


def facts(event: CloseEvent) -> tuple[int, str, bool, str]:
    """What every row of the tests below is about."""
    return event.code, event.reason, event.wasClean, event.initiator


# Streams.


async def test_a_stream_is_opened_read_and_closed_by_async_with_and_async_for() -> None:
    async def count(socket: WebSocket) -> None:
        for i in range(3):
            await socket.send(str(i))

    async with served(count) as server, connect(server.url) as socket:
        assert [message async for message in socket] == ["0", "1", "2"]
        assert facts(await socket.wait_closed()) == (1000, "", True, "remote")


async def test_leaving_async_with_closes_with_1000_and_after_an_exception_with_1001() -> None:
    async with served() as server:
        async with connect(server.url):
            pass
        assert facts(await (await server.sockets.get()).wait_closed()) == (1000, "", True, "remote")
        with pytest.raises(ZeroDivisionError):
            async with connect(server.url):
                raise ZeroDivisionError
        assert facts(await (await server.sockets.get()).wait_closed()) == (1001, "", True, "remote")


@pytest.mark.parametrize("code", [1000, 1001])
async def test_async_for_ends_at_an_orderly_close(code: int) -> None:
    async with served(lambda socket: socket.close(code)) as server:
        socket = await connect(server.url)
        assert [message async for message in socket] == []


@pytest.mark.parametrize("code", [1002, 1008, 1011, 3000, 4999])
async def test_async_for_raises_connection_closed_at_any_other_code(code: int) -> None:
    async with served(lambda socket: socket.close(code, "why")) as server:
        socket = await connect(server.url)
        with pytest.raises(wasclean.ConnectionClosed) as error:
            async for _ in socket:
                pass
        assert error.value.event is not None
        assert facts(error.value.event) == (code, "why", True, "remote")


async def test_async_for_raises_connection_closed_when_the_connection_breaks() -> None:
    async with served(lambda socket: socket.terminate()) as server:
        socket = await connect(server.url)
        with pytest.raises(wasclean.ConnectionClosed) as error:
            async for _ in socket:
                pass
        assert error.value.event is not None
        assert facts(error.value.event) == (1006, "", False, "remote")


async def test_recv_gives_what_was_received_before_the_end_and_then_raises() -> None:
    def talk(socket: WebSocket) -> None:
        socket.send("a")
        socket.send(b"b")
        socket.close(1000)

    async with served(talk) as server:
        socket = await connect(server.url)
        await socket.wait_closed()
        assert await socket.recv() == "a"
        assert await socket.recv() == b"b"
        for _ in range(2):
            with pytest.raises(wasclean.ConnectionClosed):
                await socket.recv()


async def test_messages_queued_before_a_local_close_stay_readable() -> None:
    async with served(echo) as server:
        socket = await connect(server.url)
        socket.send("a")
        socket.send("b")
        await pause()
        await socket.close()
        assert [await socket.recv(), await socket.recv()] == ["a", "b"]


async def test_only_one_task_may_wait_in_recv() -> None:
    async with served(echo) as server, connect(server.url) as socket:
        first = asyncio.ensure_future(socket.recv())
        await turn()
        with pytest.raises(wasclean.InvalidStateError, match="another task"):
            await socket.recv()
        socket.send("x")
        assert await first == "x"


async def test_a_cancelled_recv_loses_no_message() -> None:
    async with served(echo) as server, connect(server.url) as socket:
        received: list[Any] = []
        for i in range(200):
            socket.send(str(i))
            try:
                received.append(await asyncio.wait_for(socket.recv(), 0.0002 * (i % 5)))
            except TimeoutError:
                pass
        while len(received) < 200:
            received.append(await asyncio.wait_for(socket.recv(), PATIENCE))
        assert received == [str(i) for i in range(200)]


async def test_recv_on_a_socket_with_message_listeners_is_an_invalid_state_error() -> None:
    async with served(echo) as server:
        socket = await opened(WebSocket(server.url))
        socket.onmessage = print
        with pytest.raises(wasclean.InvalidStateError, match="listeners"):
            _ = socket.recv()
        await socket.close()


async def test_a_socket_without_message_listeners_becomes_a_stream_when_it_is_awaited_as_one() -> None:
    def greet(socket: WebSocket) -> None:
        socket.send("hello")

    async with served(greet) as server, WebSocket(server.url) as socket:
        assert await socket.recv() == "hello"


async def test_a_message_listener_gets_what_a_stream_had_not_read() -> None:
    async with served(echo) as server:
        socket = await connect(server.url)
        socket.send("a")
        socket.send("b")
        await pause()
        assert await socket.recv() == "a"
        record = Record(socket)
        assert record.events == []
        socket.send("c")
        await until(lambda: record.messages == ["b", "c"], "both messages")
        await socket.close()


async def test_a_full_queue_stops_reading_until_it_is_read() -> None:
    async with served(compression=None) as server:
        socket = await connect(server.url, max_queue=4)
        sender = await server.sockets.get()
        message = "x" * 100_000
        sent = await until_full(sender, message, 1000)  # 100 MB: more than the kernel's buffers hold
        assert sent > 4
        for _ in range(sent):
            assert await socket.recv() == message
        await socket.close()


async def test_closing_finishes_although_nobody_reads_what_arrives() -> None:
    async def script(raw: Raw) -> None:
        for _ in range(200):
            raw.send_frame(TEXT, b"x" * 10_000)
        frame = await raw.frame()
        raw.send_frame(CLOSE, frame.payload)
        raw.shutdown()

    async with raw_server(script) as url:
        socket = await connect(url, max_queue=2)
        await asyncio.sleep(0.05)
        assert facts(await socket.close(1000)) == (1000, "", True, "local")


async def test_all_that_arrives_before_the_peers_close_is_kept_after_a_local_close() -> None:
    def talk(socket: WebSocket) -> None:
        for i in range(100):
            socket.send(str(i))
        socket.close(1000)

    async with served(talk) as server:
        socket = await connect(server.url)
        await socket.close(1000)
        assert [message async for message in socket] == [str(i) for i in range(100)]


async def test_messages_keep_their_order_when_a_stream_becomes_event_driven() -> None:
    async with served() as server:
        socket = await connect(server.url)
        peer = await server.sockets.get()
        peer.send("1")
        while not (await socket.ping() and await socket.ping()):
            pass
        peer.send("2")
        await turn()
        record = Record(socket)
        peer.send("3")
        await socket.ping()
        assert record.messages == ["1", "2", "3"]
        await socket.close()


async def test_recv_can_be_a_task_and_anext_can_be_cancelled() -> None:
    async with served(echo) as server, connect(server.url) as socket:
        task = asyncio.get_running_loop().create_task(socket.recv())
        await turn()
        socket.send("x")
        assert await task == "x"
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(socket, None)
        socket.send("y")
        assert await anext(socket, None) == "y"


async def test_those_who_wait_for_an_opening_that_is_closed_get_connection_closed() -> None:
    async with served() as server:
        socket = WebSocket(server.url)
        waiting = asyncio.ensure_future(socket.wait_opened())
        await turn()
        socket.close()
        with pytest.raises(wasclean.ConnectionClosed):
            await waiting
        with pytest.raises(wasclean.ConnectionClosed):
            await socket.wait_opened()


@pytest.mark.slow
@pytest.mark.parametrize("closes", ["client", "server"])
async def test_an_echo_of_10000_messages_and_a_close_loses_none(closes: str) -> None:
    """25 times for either side and on either loop: 100 times in all."""
    messages = [str(i) for i in range(10_000)]
    for _ in range(25):
        at_server: list[Any] = []

        async def serve_all(socket: WebSocket, at_server: list[Any] = at_server) -> None:
            async for message in socket:
                at_server.append(message)
                socket.send(message)
                if closes == "server" and len(at_server) == len(messages):
                    await socket.close(1000)

        async with served(serve_all) as server:
            socket = await connect(server.url)
            for message in messages:
                socket.send(message)
            if closes == "client":
                at_client = [await socket.recv() for _ in messages]
                event = await socket.close(1000)
            else:
                at_client = [message async for message in socket]
                event = await socket.wait_closed()
            assert event.ok
        assert at_server == at_client == messages


# What a Close frame says and how it is answered.


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (None, ""),
        *((code, "") for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014)),
        (3000, "x"),
        (3999, "é" * 61),
        (4000, ""),
        (4999, "x" * 123),
    ],
)
async def test_a_close_frame_is_answered_with_its_own_code(code: int | None, reason: str) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        payload = b"" if code is None else close_payload(code, reason)
        raw.send_frame(CLOSE, payload)
        assert await raw.frame() == (CLOSE, payload, True)
        assert await raw.rest() == b""  # the server ends TCP first, after one Close frame
        event = await socket.wait_closed()
        assert facts(event) == (code or 1005, reason, True, "remote")
        assert event.received == event.sent == CloseFrame(code, reason)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
async def test_a_close_code_that_must_not_be_sent_is_a_violation(code: int) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        record = Record(await server.sockets.get())
        raw.send_close(code, "kicked")
        frame = await raw.frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, close_payload(1002))
        assert await raw.rest() == b""
        await record.socket.wait_closed()
        assert record.types == ["error", "close"]
        assert facts(record.close) == (1006, "", False, "local")
        assert record.close.sent is not None
        assert record.close.sent.code == 1002
        assert isinstance(record.close.exception, wasclean.RemoteProtocolError)
        said = f"code {code} with the reason 'kicked'"
        assert record.close.exception.detail == said
        assert record.close.detail.endswith(f": {said}")
        assert str(record.close).endswith(f": {said}")
        assert " ".join(record.close.explain().split()).count(said) == 1


@pytest.mark.parametrize("code", [1004, 1005, 1006, 1015, 1016, 2999, 5000, 0, 999])
async def test_servers_and_streams_never_send_a_code_that_must_not_be_sent(code: int) -> None:
    async with served() as server:
        socket = await connect(server.url)
        for end in (socket, await server.sockets.get()):
            with pytest.raises(wasclean.InvalidAccessError):
                end.close(code)
            assert end.readyState == WebSocket.OPEN
        await socket.close()


async def test_servers_and_streams_may_send_every_registered_code() -> None:
    for code in set(CloseCode) - {1005, 1006, 1015}:
        async with served() as server:
            socket = await connect(server.url)
            peer = await server.sockets.get()
            assert facts(await peer.close(code, "x")) == (code, "x", True, "local")
            assert facts(await socket.wait_closed()) == (code, "x", True, "remote")


VIOLATIONS = {
    "a reserved bit": (encode(TEXT, b"x", masked=True, rsv=1), 1002),
    "a reserved opcode": (b"\x83", 1002),
    "a reserved control opcode": (b"\x8b", 1002),
    "no mask": (encode(TEXT, b"x"), 1002),
    "a fragmented control frame": (encode(PING, b"", fin=False, masked=True), 1002),
    "a long control frame": (b"\x89\xfe\x00\x7e", 1002),
    "a length in more bytes than needed": (b"\x82\xfe\x00\x05", 1002),
    "a length in far more bytes than needed": (b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", 1002),
    "a length with its highest bit set": (b"\x82\xff\x80", 1002),
    "nothing to continue": (encode(0, b"x", masked=True), 1002),
    "a message inside a message": (encode(TEXT, b"x", fin=False, masked=True) + encode(TEXT, b"y", masked=True), 1002),
    "a Close frame of one byte": (encode(CLOSE, b"x", masked=True), 1002),
    "text that is not UTF-8": (encode(TEXT, b"\xff", masked=True), 1007),
    "text that stops being UTF-8 in an unfinished frame": (b"\x81\x85\0\0\0\0\xed\xa0", 1007),
    "text that stops being UTF-8 in a fragment": (encode(TEXT, b"\xf4\x90", fin=False, masked=True), 1007),
    "text that ends inside a character": (encode(TEXT, b"\xe2\x82", masked=True), 1007),
    "a reason that is not UTF-8": (encode(CLOSE, b"\x03\xe8\xff", masked=True), 1007),
    "a message that is too big": (b"\x82\xff\x00\x00\x00\x00\x00\x10\x00\x01", 1009),
    "a message of 2**63 - 1 bytes": (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff", 1009),
}


@pytest.mark.parametrize("what", VIOLATIONS)
async def test_a_violation_is_answered_with_a_close_frame_that_arrives(what: str) -> None:
    data, code = VIOLATIONS[what]
    async with served() as server, raw_client(server.server.port) as raw:
        record = Record(await server.sockets.get())
        raw.send(encode(TEXT, b"before", masked=True) + data)
        raw.send(b"\x00" * 100_000)  # what follows neither counts nor resets the connection
        frame = await raw.frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, close_payload(code))
        assert await raw.rest() == b""
        await record.socket.wait_closed()
        assert record.types == ["message", "error", "close"]
        assert facts(record.close) == (1006, "", False, "local")
        assert record.close.sent is not None
        assert (record.close.sent.code, record.close.received) == (code, None)


async def test_a_masked_frame_of_a_server_is_a_violation() -> None:
    close: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def script(raw: Raw) -> None:
        raw.send(encode(TEXT, b"x", masked=True))
        close.set_result((await raw.frame()).payload)
        await raw.rest()

    async with raw_server(script) as url:
        socket = WebSocket(url)
        record = Record(socket)
        await socket.wait_closed()
        assert record.types == ["open", "error", "close"]
        assert (await close)[:2] == close_payload(1002)


async def test_max_message_size_is_exact_and_counts_all_fragments() -> None:
    async with served(max_message_size=10) as server:
        for fragments, whole in (([b"x" * 10], True), ([b"x" * 4] * 2 + [b"xx"], True), ([b"x" * 5, b"x" * 6], False)):
            async with raw_client(server.server.port) as raw:
                record = Record(await server.sockets.get())
                for i, fragment in enumerate(fragments):
                    raw.send_frame(TEXT if i == 0 else 0, fragment, fin=i == len(fragments) - 1)
                raw.send_close(1000)
                frame = await raw.frame()
                assert frame.payload[:2] == close_payload(1000 if whole else 1009)
                assert record.messages == (["x" * 10] if whole else [])


# Either side first, both at once, and those who don't answer.


async def test_both_at_once_is_clean_and_simultaneous() -> None:
    async with served() as server:
        client = await connect(server.url)
        peer = await server.sockets.get()
        events = await asyncio.gather(client.close(3000, "client"), peer.close(3001, "server"))
        assert [facts(event) for event in events] == [
            (3001, "server", True, "simultaneous"),
            (3000, "client", True, "simultaneous"),
        ]


async def test_an_answer_with_another_code_is_what_the_event_says() -> None:
    async def script(raw: Raw) -> None:
        await raw.frame()
        raw.send_close(1000)
        raw.shutdown()
        await raw.rest()

    async with raw_server(script) as url:
        socket = await connect(url)
        event = await socket.close(4000, "ours")
        assert facts(event) == (1000, "", True, "local")
        assert event.sent == CloseFrame(4000, "ours")


async def test_the_client_waits_for_the_servers_end_of_tcp() -> None:
    go_on = asyncio.Event()

    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        raw.send_frame(CLOSE, frame.payload)
        await go_on.wait()
        raw.shutdown()
        await raw.rest()

    async with raw_server(script) as url:
        socket = await connect(url)
        closing = asyncio.ensure_future(socket.close(1000))
        await asyncio.sleep(0.05)
        assert not closing.done()
        go_on.set()
        assert facts(await closing) == (1000, "", True, "local")


async def test_a_peer_that_never_answers_is_given_up_at_the_timeout() -> None:
    async def script(raw: Raw) -> None:
        await raw.rest()

    async with raw_server(script) as url:
        socket = await connect(url)
        start = asyncio.get_running_loop().time()
        event = await socket.close(1000, "anybody?", timeout=0.1)
        assert facts(event) == (1006, "", False, "local")
        assert event.sent == CloseFrame(1000, "anybody?")
        assert asyncio.get_running_loop().time() - start >= 0.09


async def test_a_peer_that_keeps_sending_does_not_put_the_deadline_off() -> None:
    async def script(raw: Raw) -> None:
        while True:
            raw.send_frame(TEXT, b"x" * 1000)
            raw.send_frame(PING)
            await asyncio.sleep(0.005)
            await raw.writer.drain()

    async with raw_server(script) as url:
        socket = await connect(url)
        assert facts(await socket.close(1000, timeout=0.1)) == (1006, "", False, "local")


async def test_cancelling_an_awaiting_close_only_stops_the_waiting() -> None:
    go_on = asyncio.Event()

    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        await go_on.wait()
        raw.send_frame(CLOSE, frame.payload)
        raw.shutdown()
        await raw.rest()

    async with raw_server(script) as url:
        socket = await connect(url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.close(1000), 0.01)
        assert socket.readyState == WebSocket.CLOSING
        go_on.set()
        assert facts(await socket.wait_closed()) == (1000, "", True, "local")


async def test_a_peer_that_only_half_closes_gets_the_answer() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        raw.send_close(1000)
        raw.shutdown()
        assert (await raw.frame()).payload == close_payload(1000)
        assert await raw.rest() == b""
        assert facts(await (await server.sockets.get()).wait_closed()) == (1000, "", True, "remote")


async def test_a_peer_that_half_closes_still_gets_all_that_was_sent_before_and_the_answer() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        for _ in range(10):
            socket.send(bytes(1_000_000))
        await turn()
        raw.send_close(1000)
        raw.shutdown()
        await turn(10)
        for _ in range(10):
            assert len((await raw.message()).payload) == 1_000_000
        assert (await raw.frame()).payload == close_payload(1000)
        assert await raw.rest() == b""
        assert facts(await socket.wait_closed()) == (1000, "", True, "remote")


async def test_data_and_a_second_close_after_a_close_frame_do_not_count() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        record = Record(await server.sockets.get())
        raw.send_close(1000)
        raw.send_frame(TEXT, b"late")
        raw.send_close(1001)
        raw.send(b"\xff\xff\xff")
        assert (await raw.frame()).payload == close_payload(1000)
        assert await raw.rest() == b""
        await record.socket.wait_closed()
        assert record.types == ["close"]
        assert facts(record.close) == (1000, "", True, "remote")


@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_tcp_that_ends_without_a_close_frame_is_1006_and_no_error_event(how: str) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        record = Record(await server.sockets.get())
        raw.send_frame(TEXT, b"last words")
        await turn(10)
        while not record.messages:
            await asyncio.sleep(0.001)
        raw.shutdown() if how == "fin" else raw.reset()
        await record.socket.wait_closed()
        assert record.types == ["message", "close"]
        assert facts(record.close) == (1006, "", False, "remote")
        assert isinstance(record.close.exception, ConnectionResetError if how == "rst" else type(None))


@pytest.mark.parametrize("size", range(1, 12))
async def test_tcp_that_ends_inside_a_frame_is_1006(size: int) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        record = Record(await server.sockets.get())
        raw.send(encode(TEXT, b"message", masked=True)[:size])
        raw.shutdown()
        await record.socket.wait_closed()
        assert record.types == ["close"]
        assert facts(record.close) == (1006, "", False, "remote")


async def test_queued_data_leaves_before_the_close_frame() -> None:
    size = 10_000_000
    async with served(max_message_size=None) as server:
        client = await connect(server.url)
        peer = await server.sockets.get()
        record = Record(peer)
        client.send(bytes(size))
        client.send("last")
        assert facts(await client.close(1000)) == (1000, "", True, "local")
        assert [len(message) for message in record.messages] == [size, 4]
        assert client.bufferedAmount == 0


async def test_queued_data_that_nobody_reads_ends_at_the_timeout_and_stays_counted() -> None:
    async def script(raw: Raw) -> None:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async with raw_server(script) as url:
        socket = await connect(url)
        for _ in range(10):
            socket.send(bytes(1_000_000))
        sending = asyncio.ensure_future(socket.send("waits"))
        await turn()
        assert facts(await socket.close(1000, timeout=0.2)) == (1006, "", False, "local")
        assert socket.bufferedAmount > 0
        with pytest.raises(wasclean.ConnectionClosed):
            await sending


async def test_a_socket_that_is_flagged_as_full_fires_error_and_close_1006() -> None:
    async def script(raw: Raw) -> None:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(60)

    async with raw_server(script) as url:
        socket = await opened(WebSocket(url, max_buffered_amount=1_000_000))
        record = Record(socket)
        for _ in range(4):
            socket.send(bytes(400_000))
        assert record.events == []
        await socket.wait_closed()
        assert record.types == ["error", "close"]
        assert "max_buffered_amount" in str(record.events[0])
        assert facts(record.close) == (1006, "", False, "local")
        assert socket.bufferedAmount >= 1_000_000


async def test_a_hundred_sends_and_a_close_do_not_mix() -> None:
    async with served() as server:
        client = await connect(server.url)
        record = Record(await server.sockets.get())

        async def send(i: int) -> bool:
            try:
                await client.send(str(i) * 1000)
            except wasclean.ConnectionClosed:
                return False
            return True

        async def close() -> bool:
            return (await client.close(1000)).wasClean

        sent = await asyncio.gather(*(send(i) for i in range(50)), close(), *(send(i) for i in range(50)))
        assert sent == [True] * 51 + [False] * 50
        assert record.messages == [str(i) * 1000 for i in range(50)]


async def test_every_ping_is_answered_while_there_is_room() -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        for i in range(10):
            raw.send_frame(PING, b"payload-%d" % i)
        assert [await raw.frame() for i in range(10)] == [(PONG, b"payload-%d" % i, True) for i in range(10)]


# To be sure of what has arrived, and of who is there.


class Mute:
    """A script that reads nothing until it is told to, and then all: what it has read is in ``frames``."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.frames: list[Any] = []

    async def __call__(self, raw: Raw) -> None:
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await self.go_on.wait()
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        while True:
            self.frames.append(await raw.frame())
            if self.frames[-1].opcode == PING:
                raw.send_frame(PONG, self.frames[-1].payload)
            elif self.frames[-1].opcode == CLOSE:
                raw.send_frame(CLOSE, self.frames[-1].payload)
                return


async def until_stuck(socket: WebSocket) -> int:
    """Send messages of a mebibyte until the kernel takes no more; returns how many."""
    count = 0
    while socket.bufferedAmount < 1 << 20:
        socket.send(bytes(1 << 20))
        count += 1
        await asyncio.sleep(0.005)
    return count


async def test_flush_waits_until_the_kernel_has_all() -> None:
    script = Mute()
    async with raw_server(script) as url:
        socket = await connect(url)
        await socket.flush()  # nothing was sent
        socket.send("x")
        await socket.flush()
        assert socket.bufferedAmount == 0
        await until_stuck(socket)
        flushing = [asyncio.ensure_future(socket.flush()) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert not any(task.done() for task in flushing)
        script.go_on.set()
        await asyncio.gather(*flushing)
        assert socket.bufferedAmount == 0
        assert (await socket.close(1000)).ok


async def test_flush_raises_when_the_connection_ends_before() -> None:
    async with raw_server(Mute()) as url:
        socket = await connect(url)
        await until_stuck(socket)
        socket.send("last")
        flushing = asyncio.ensure_future(socket.flush())
        await turn()
        socket.terminate()
        for waiting in (flushing, socket.flush()):
            with pytest.raises(wasclean.ConnectionClosed) as error:
                await waiting
            assert error.value.event is not None
            assert error.value.event.unsent[-1] == "last"


async def test_a_cancelled_flush_stops_nobody_else() -> None:
    script = Mute()
    async with raw_server(script) as url:
        socket = await connect(url)
        await until_stuck(socket)
        first, second = (asyncio.ensure_future(socket.flush()) for _ in range(2))
        await turn()
        first.cancel()
        script.go_on.set()
        await second
        assert first.cancelled()
        await socket.close()


async def test_drain_waits_until_the_peer_has_read_all() -> None:
    script = Mute()
    async with raw_server(script) as url:
        socket = await connect(url)
        count = await until_stuck(socket)
        socket.send("last")
        draining = asyncio.ensure_future(socket.drain())
        await asyncio.sleep(0.02)
        assert not draining.done()
        script.go_on.set()
        assert await draining > 0.01
        assert [frame.opcode for frame in script.frames].count(2) == count
        assert [frame.opcode for frame in script.frames][-2:] == [TEXT, PING]  # it goes behind what was sent
        assert (await socket.close(1000)).ok


async def test_drain_gives_up_at_its_timeout_and_the_connection_stays() -> None:
    script = Mute()
    async with raw_server(script) as url:
        socket = await connect(url)
        socket.send("x")
        with pytest.raises(TimeoutError):
            await socket.drain(0.02)
        assert socket.readyState == WebSocket.OPEN
        script.go_on.set()
        assert 0 < await socket.drain(5) < 5
        assert (await socket.close(1000)).ok


async def test_drain_raises_when_the_connection_ends_or_is_ending() -> None:
    async with raw_server(Mute()) as url:
        socket = await connect(url)
        draining = asyncio.ensure_future(socket.drain(PATIENCE))
        await turn()
        closing = socket.close(timeout=0.05)
        with pytest.raises(wasclean.ConnectionClosed):
            await socket.drain()
        event = await closing
        with pytest.raises(wasclean.ConnectionClosed) as error:
            await draining
        assert error.value.event is event


async def test_check_alive_returns_the_seconds_of_the_round_trip() -> None:
    async with served(echo) as server:
        socket = await connect(server.url)
        assert 0 < await socket.check_alive(PATIENCE) < PATIENCE
        assert (await socket.close(1000)).ok
        with pytest.raises(wasclean.ConnectionClosed):
            await socket.check_alive(PATIENCE)


async def test_check_alive_ends_a_connection_whose_peer_does_not_answer() -> None:
    loop = asyncio.get_running_loop()
    async with raw_server(Mute()) as url:
        socket = await connect(url)
        start = loop.time()
        with pytest.raises(wasclean.ConnectionClosed) as error:
            await socket.check_alive(0.05)
        assert loop.time() - start > 0.04
        event = await socket.wait_closed()
        assert error.value.event is event
        assert facts(event) == (1006, "", False, "local")
        assert event.cause == "ping_timeout"
        assert "0.05 s" in event.detail


async def test_check_alive_tells_of_bytes_that_were_no_answer() -> None:
    async def script(raw: Raw) -> None:
        assert (await raw.frame()).opcode == PING
        raw.send_frame(TEXT, b"x")
        await raw.rest()

    async with raw_server(script) as url:
        socket = await connect(url)
        checking = asyncio.ensure_future(socket.check_alive(0.5))
        await socket.recv()
        with pytest.raises(wasclean.ConnectionClosed) as error:
            await checking
        assert error.value.event is not None
        assert error.value.event.detail == "check_alive() got no answer, but 3 other bytes, for 0.5 s"


async def test_drain_tells_how_much_has_not_left_when_its_time_is_up() -> None:
    async with raw_server(Mute()) as url:
        socket = await connect(url)
        with pytest.raises(TimeoutError, match=r"within 0\.05 s that it has all; 0 bytes of messages had not left"):
            await socket.drain(0.05)
        assert socket.readyState == WebSocket.OPEN
        socket.terminate()


async def test_a_check_that_is_cancelled_ends_nothing() -> None:
    script = Mute()
    async with raw_server(script) as url:
        socket = await connect(url)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.check_alive(PATIENCE), 0.02)
        assert socket.readyState == WebSocket.OPEN
        script.go_on.set()
        assert await socket.check_alive(PATIENCE) > 0
        assert (await socket.close(1000)).ok


@pytest.mark.parametrize("call", [lambda socket: socket.drain(), lambda socket: socket.check_alive(1)])
async def test_neither_can_be_done_while_connecting(call: Any) -> None:
    async with served(echo) as server:
        socket = WebSocket(server.url)
        with pytest.raises(wasclean.InvalidStateError):
            await call(socket)
        await socket.close()


async def test_stats_tell_what_has_passed() -> None:
    async with served(echo) as server:
        socket = WebSocket(server.url)
        assert socket.stats == Stats(None, None, None, 0, 0, 0, 0, None, 0)
        await opened(socket)
        other = await server.sockets.get()
        socket.send("é")
        socket.send(b"12345")
        assert socket.stats.buffered == 7
        seconds = await socket.ping()
        stats = socket.stats
        assert (stats.messages_sent, stats.buffered, stats.rtt) == (2, 0, seconds)
        assert stats.bytes_sent == 2 + 3 * 6 + 5 + 4  # two messages and a ping, masked
        assert stats.age is not None
        assert stats.last_sent is not None
        assert stats.last_received is not None
        assert 0 <= stats.last_received <= stats.last_sent <= stats.age < 5
        assert (other.stats.bytes_received, other.stats.messages_received) == (stats.bytes_sent, 2)
        event = await socket.close(1000)
        assert socket.stats is event.stats  # as they were at the end
        assert event.stats.bytes_sent == stats.bytes_sent + 6 + 2


async def test_each_connection_has_a_number_of_its_own() -> None:
    async with served(echo) as server:
        sockets = [await connect(server.url) for _ in range(3)]
        sockets += [await server.sockets.get() for _ in range(3)]
        assert len({socket.id for socket in sockets}) == 6
        assert sorted(socket.id for socket in sockets[:3]) == [socket.id for socket in sockets[:3]]
        for socket in sockets[:3]:
            event = await socket.close(1000)
            assert event.outcome.id == socket.id
            assert event.as_dict()["id"] == socket.id


# Cancelling.


async def cancelled_at_random(random: Random, call: Callable[[], Awaitable[Any]]) -> bool:
    """Await a call in a task that is cancelled after some turns of the loop; returns whether that was too late."""

    async def wait() -> None:
        await call()

    task = asyncio.ensure_future(wait())
    await turn(random.randrange(1, 5))
    task.cancel()
    await asyncio.wait([task])
    return not task.cancelled()


async def test_1000_cancels_of_recv_lose_no_message() -> None:
    random = Random(1)
    async with served(echo) as server, connect(server.url) as socket:
        received: list[Any] = []
        finished = 0

        async def receive() -> None:
            received.append(await socket.recv())

        for i in range(1000):
            socket.send(str(i))
            finished += await cancelled_at_random(random, receive)
        assert 0 < finished < 1000
        while len(received) < 1000:
            received.append(await socket.recv())
        assert received == [str(i) for i in range(1000)]
        assert (await socket.close(1000)).ok


async def test_1000_cancels_of_send_lose_no_message() -> None:
    random = Random(2)
    async with served() as server:
        socket = await connect(server.url, max_buffered_amount=256 << 20)
        record = Record(await server.sockets.get())
        finished = 0
        sizes = [1, 100, 70_000]  # beyond 64 KiB it waits
        for i in range(1000):
            finished += await cancelled_at_random(random, partial(socket.send, str(i % 10) * sizes[i % 3]))
        assert 0 < finished < 1000
        assert (await socket.close(1000)).ok
        assert record.messages == [str(i % 10) * sizes[i % 3] for i in range(1000)]


async def test_1000_cancels_of_close_never_change_the_connection() -> None:
    random = Random(3)
    answer = asyncio.Event()

    async def script(raw: Raw) -> None:
        frame = await raw.frame()
        await answer.wait()
        raw.send_frame(TEXT, b"late")
        raw.send_frame(CLOSE, frame.payload)
        raw.shutdown()
        assert await raw.rest() == b""  # there was one Close frame only

    async with raw_server(script) as url:
        socket = await connect(url)
        for i in range(1000):
            assert not await cancelled_at_random(random, partial(socket.close, 3000 + i))
            assert socket.readyState == WebSocket.CLOSING
        answer.set()
        assert facts(await socket.wait_closed()) == (3000, "", True, "local")
        assert await socket.recv() == "late"


# What is logged.


def logged(caplog: pytest.LogCaptureFixture, socket: WebSocket) -> list[tuple[str, str]]:
    """The level and the text of each line about one connection."""
    text = f"connection {socket.id} "
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    return [(level, line) for level, line in lines if line.startswith(text)]


async def test_a_clean_end_is_one_line_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wasclean")
    async with served() as server:
        socket = await connect(server.url)
        peer = await server.sockets.get()
        where = socket.local_address
        await socket.close(1000, "bye")
        await peer.wait_closed()
    ((level, line),) = logged(caplog, socket)
    assert level == "DEBUG"
    assert line.startswith(f"connection {socket.id} {server.url}: closed cleanly by local (local_close), 1000 ")
    ((level, line),) = logged(caplog, peer)
    assert level == "DEBUG"
    assert line.startswith(f"connection {peer.id} {where}: closed cleanly by remote (peer_close), 1000 ")
    assert {record.name for record in caplog.records} == {"wasclean.client", "wasclean.server"}


async def test_an_unclean_end_is_one_line_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "wasclean")
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        raw.send(encode(TEXT, b"message", masked=True)[:-1])
        raw.shutdown()
        await socket.wait_closed()
    ((level, line),) = logged(caplog, socket)
    assert level == "INFO"
    assert "closed uncleanly by remote (tcp_fin_mid_frame), 1006 " in line
    assert not any(record.exc_info for record in caplog.records)


async def test_only_an_exception_in_the_users_code_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handle(socket: WebSocket) -> None:
        raise ZeroDivisionError

    async with served(handle) as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        assert (await raw.frame()).payload == close_payload(1011)
    (record,) = caplog.records
    assert (record.name, record.levelname) == ("wasclean.server", "ERROR")
    assert f"connection {socket.id}, " in record.getMessage()
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


async def test_sending_after_the_end_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        raw.reset()
        await socket.wait_closed()
        caplog.set_level(logging.DEBUG)
        caplog.clear()
        for _ in range(1000):
            socket.send("x")
        await turn()
    assert [record for record in caplog.records if record.name != "asyncio"] == []


async def test_a_logging_handler_that_raises_does_not_stop_the_closing() -> None:
    class Raising(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("no log today")

    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    logger, handler = logging.getLogger("wasclean"), Raising()
    async with served() as server:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            socket = await connect(server.url)
            assert facts(await socket.close(1000)) == (1000, "", True, "local")
            assert facts(await (await server.sockets.get()).wait_closed()) == (1000, "", True, "remote")
        finally:
            logger.setLevel(logging.NOTSET)
            logger.removeHandler(handler)
    assert [context["message"] for context in reported] == ["exception in a logging handler"] * 2


async def test_a_logging_handler_that_leaves_the_program_leaves_no_socket_behind() -> None:
    class Leaving(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise SystemExit

    async with served() as server:
        socket = await connect(server.url)
        logger, handler = logging.getLogger("wasclean.client"), Leaving()
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
        try:
            socket.terminate()
            with pytest.raises(SystemExit):
                session_of(socket).settle()
        finally:
            logger.setLevel(logging.NOTSET)
            logger.removeHandler(handler)
        assert facts(await asyncio.wait_for(socket.wait_closed(), PATIENCE)) == (1006, "", False, "local")


# Messages, and behind them in the same read what ends the connection.

#: What ends a connection, from a peer that need not mask, and the code of our Close frame.
ENDINGS: dict[str, tuple[Callable[[bool], bytes], int]] = {
    "a Close frame": (lambda masked: encode(CLOSE, close_payload(4001), masked=masked), 4001),
    "a reserved opcode": (lambda masked: encode(0x3, masked=masked), 1002),
    "text that is not UTF-8": (lambda masked: encode(TEXT, b"\xff", masked=masked), 1007),
    "a bad fragment of a text": (lambda masked: encode(TEXT, b"\xff", fin=False, masked=masked), 1007),
    "a message that is too big": (lambda masked: encode(TEXT, bytes(1001), masked=masked), 1009),
    "too many pings": (lambda masked: encode(PING, masked=masked) * 3, 1008),
}
endings = pytest.mark.parametrize("ending", ENDINGS)


async def answer_both_in_one_step(socket: WebSocket) -> None:
    first, second = await socket.recv(), await socket.recv()
    await socket.send(first)
    await socket.send(second)
    await socket.wait_closed()


async def answer_by_anext(socket: WebSocket) -> None:
    while True:
        await socket.send(await anext(socket))


def answer_by_listener(socket: WebSocket) -> None:
    socket.onmessage = lambda event: socket.send(event.data)


@everywhere
@endings
@pytest.mark.parametrize("handler", [echo, answer_both_in_one_step, answer_by_anext, answer_by_listener])
async def test_what_comes_before_the_end_in_the_same_read_is_answered_before_our_close_frame(
    place: Place, ending: str, handler: Callable[[WebSocket], Awaitable[None] | None]
) -> None:
    make, code = ENDINGS[ending]
    masked = place.role == "server"
    async with pair(place, handler=handler, max_message_size=1000, max_pings_per_second=2) as (socket, peer):
        task = None
        if place.role == "client":
            result = handler(socket)
            task = None if result is None else asyncio.ensure_future(result)
        await turn()
        await peer.send(b"".join(encode(TEXT, text, masked=masked) for text in (b"a", b"b")) + make(masked))
        frames = [await peer.frame()]
        while frames[-1].opcode != CLOSE:
            frames.append(await peer.frame())
        assert [frame.payload for frame in frames if frame.opcode == TEXT] == [b"a", b"b"]
        assert frames[-1].payload[:2] == close_payload(code)
        event = await socket.wait_closed()
        assert event.unsent == ()
        if task is not None:
            await asyncio.wait([task])
            task.exception()
        peer.close()


@on_tcp
@endings
async def test_a_handler_that_is_stepped_before_the_end_comes_finds_no_exception_being_handled(
    place: Place, ending: str
) -> None:
    make, _ = ENDINGS[ending]
    masked = place.role == "server"
    found: list[Any] = []

    async def look(socket: WebSocket) -> None:
        await socket.recv()
        found.append(sys.exc_info()[1])

    async with pair(place, handler=look, max_message_size=1000, max_pings_per_second=2) as (socket, peer):
        task = asyncio.ensure_future(look(socket)) if place.role == "client" else None
        await turn()
        await peer.send(encode(TEXT, b"a", masked=masked) + make(masked))
        await socket.wait_closed()
        assert found == [None]
        peer.close()
        if task is not None:
            await task


@on_tcp
@endings
async def test_a_handler_that_closes_before_the_end_comes_is_not_overtaken_by_it(place: Place, ending: str) -> None:
    make, code = ENDINGS[ending]
    masked = place.role == "server"

    async def answer_and_close(socket: WebSocket) -> None:
        await socket.send(await socket.recv())
        event = await socket.close(4000)
        assert (event.sent, event.received) == (CloseFrame(4000, ""), CloseFrame(4001, "") if code == 4001 else None)

    async with pair(place, handler=answer_and_close, max_message_size=1000, max_pings_per_second=2) as (socket, peer):
        task = asyncio.ensure_future(answer_and_close(socket)) if place.role == "client" else None
        await turn()
        await peer.send(encode(TEXT, b"a", masked=masked) + make(masked))
        frames = [await peer.frame(), await peer.frame()]
        if code == 1008:
            frames = [frame for frame in [*frames, await peer.frame(), await peer.frame()] if frame.opcode != PONG]
        assert [(frame.opcode, frame.payload) for frame in frames] == [(TEXT, b"a"), (CLOSE, close_payload(4000))]
        peer.close()
        await socket.wait_closed()
        if task is not None:
            await task


@on_tcp
@endings
async def test_a_handler_that_terminates_before_the_end_comes_has_the_last_word(place: Place, ending: str) -> None:
    make, _ = ENDINGS[ending]
    masked = place.role == "server"
    events: list[CloseEvent] = []

    async def terminate(socket: WebSocket) -> None:
        await socket.recv()
        socket.terminate()
        events.append(await socket.wait_closed())

    async with pair(place, handler=terminate, max_message_size=1000, max_pings_per_second=2) as (socket, peer):
        task = asyncio.ensure_future(terminate(socket)) if place.role == "client" else None
        await turn()
        await peer.send(encode(TEXT, b"a", masked=masked) + make(masked))
        event = await socket.wait_closed()
        await turn()
        assert events == [event] or events[0].as_dict() == event.as_dict()
        assert (event.cause, event.sent, event.received, event.detail) == ("terminated", None, None, "")
        peer.close()
        if task is not None:
            await task


@endings
async def test_what_comes_right_behind_a_clients_handshake_is_answered_before_our_close_frame(ending: str) -> None:
    make, code = ENDINGS[ending]
    key = "Sec-WebSocket-Key: " + "A" * 22 + "=="
    lines = ["GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", key, "Sec-WebSocket-Version: 13"]
    async with served(echo, max_message_size=1000, max_pings_per_second=2) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        raw = Raw(reader, writer, masked=True)
        raw.send("\r\n".join([*lines, "", ""]).encode() + encode(TEXT, b"a", masked=True) + make(True))
        await reader.readuntil(b"\r\n\r\n")
        frames = [await raw.frame()]
        while frames[-1].opcode != CLOSE:
            frames.append(await raw.frame())
        assert [frame.payload for frame in frames if frame.opcode == TEXT] == [b"a"]
        assert frames[-1].payload[:2] == close_payload(code)
        raw.close()


@endings
async def test_what_comes_right_behind_a_servers_answer_is_answered_before_our_close_frame(ending: str) -> None:
    make, code = ENDINGS[ending]
    seen: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def script(raw: Raw) -> None:
        frames = [await raw.frame()]
        while frames[-1].opcode != CLOSE:
            frames.append(await raw.frame())
        seen.set_result(frames)

    def answer(head: bytes) -> bytes:
        return accept(head) + encode(TEXT, b"a") + make(False)

    async with raw_server(script, answer=answer) as url:
        socket = await connect(url, max_message_size=1000, max_pings_per_second=2)
        reader = asyncio.ensure_future(echo(socket))
        frames = await seen
        assert [frame.payload for frame in frames if frame.opcode == TEXT] == [b"a"]
        assert frames[-1].payload[:2] == close_payload(code)
        await asyncio.wait([reader])
        reader.exception()


@everywhere
@pytest.mark.parametrize("how", ["fin", "rst"])
async def test_what_comes_before_the_end_of_tcp_is_delivered(place: Place, how: str) -> None:
    masked = place.role == "server"
    received: list[Any] = []

    async def read(socket: WebSocket) -> None:
        with suppress(ConnectionClosed):
            async for message in socket:
                received.append(message)
                await socket.send(message)

    async with pair(place, handler=read) as (socket, peer):
        task = asyncio.ensure_future(read(socket)) if place.role == "client" else None
        await turn()
        await peer.send(b"".join(encode(TEXT, text, masked=masked) for text in (b"a", b"b")))
        if how == "rst":
            peer.reset()
        else:
            peer.finish()
        await socket.wait_closed()
        await turn()
        assert received == ["a", "b"]
        peer.close()
        if task is not None:
            await task


async def test_a_socket_that_is_terminated_before_it_has_read_what_came_with_the_handshake_counts_that() -> None:
    def answer(head: bytes) -> bytes:
        return accept(head) + encode(TEXT, b"abc")

    async with raw_server(hang, answer=answer) as url:
        socket = WebSocket(url)
        socket.onopen = lambda _: socket.terminate()
        assert (await socket.wait_closed()).discarded == len(encode(TEXT, b"abc"))


# Messages that nobody listens to, and those that are dropped.


def messages(place: Place, *texts: bytes) -> bytes:
    """Text messages of the peer."""
    return b"".join(encode(TEXT, text, masked=place.role == "server") for text in texts)


async def known(peer: TLSPeer, place: Place, socket: WebSocket) -> None:
    """Wait until all that the peer has sent has been read."""
    await peer.send(encode(PING, b"?", masked=place.role == "server"))
    assert (await peer.frame()).opcode == PONG


@everywhere
async def test_messages_before_the_first_listener_are_kept_for_it_in_order(place: Place) -> None:
    async with pair(place, events=True) as (socket, peer):
        await peer.send(messages(place, b"a", b"b", b"c"))
        await known(peer, place, socket)
        seen: list[Any] = []
        socket.onmessage = lambda event: seen.append(event.data)
        assert seen == []  # no event fires from inside a call
        await peer.send(messages(place, b"d"))
        await known(peer, place, socket)
        assert seen == ["a", "b", "c", "d"]
        socket.terminate()
        assert (await socket.wait_closed()).discarded == 0
        peer.close()


@on_tcp
async def test_a_task_that_waits_in_recv_gets_what_comes_when_the_listener_has_been_removed(place: Place) -> None:
    async with pair(place) as (socket, peer):
        waiting = asyncio.create_task(socket.recv())
        await asyncio.sleep(0)
        seen: list[Any] = []
        socket.onmessage = lambda event: seen.append(event.data)
        await peer.send(messages(place, b"a"))
        await known(peer, place, socket)
        socket.onmessage = None
        await peer.send(messages(place, b"b", b"c"))
        assert (seen, await waiting, await socket.recv()) == (["a"], "b", "c")
        socket.terminate()
        assert (await socket.wait_closed()).discarded == 0
        peer.close()


@on_tcp
async def test_messages_before_recv_are_kept_for_it_and_reading_pauses_from_then_on(place: Place) -> None:
    async with pair(place, events=True, max_queue=2) as (socket, peer):
        await peer.send(messages(place, b"a", b"b"))
        await known(peer, place, socket)
        assert [await socket.recv(), await socket.recv()] == ["a", "b"]
        await peer.send(messages(place, b"c", b"d", b"e"))
        assert [await socket.recv() for _ in range(3)] == ["c", "d", "e"]
        socket.terminate()
        peer.close()


@on_tcp
async def test_what_is_too_much_to_be_kept_is_counted_and_the_close_event_comes(place: Place) -> None:
    async with pair(place, events=True, max_queue=3, max_message_size=10) as (socket, peer):
        await peer.send(messages(place, b"12345", b"123456", "äß".encode(), b"1", b"", b"x"))
        await peer.send(encode(CLOSE, close_payload(1000), masked=place.role == "server"))
        event = await socket.wait_closed()
        assert event.code == 1000
        # "123456" is more than 10 bytes in all, and "" and "x" are more than 3 messages; the others wait to the end.
        assert event.discarded == sum(map(len, (b"12345", b"123456", "äß".encode(), b"1", b"", b"x")))
        assert [await socket.recv() for _ in range(3)] == ["12345", "äß", "1"]
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        peer.close()


@on_tcp
async def test_messages_after_the_last_listener_has_gone_are_dropped_as_in_the_dom_and_counted(place: Place) -> None:
    async with pair(place, events=True) as (socket, peer):
        seen: list[Any] = []
        socket.addEventListener("message", lambda event: seen.append(event.data), once=True)
        await peer.send(messages(place, b"a", b"bc", b"def"))
        await known(peer, place, socket)
        socket.onmessage = seen.append
        socket.onmessage = None
        await peer.send(messages(place, b"x"))
        await known(peer, place, socket)
        assert seen == ["a"]
        socket.terminate()
        assert (await socket.wait_closed()).discarded == len(b"bcdefx")
        peer.close()


@on_tcp
async def test_a_listener_that_takes_kept_messages_and_goes_leaves_the_others_dropped_and_counted(place: Place) -> None:
    async with pair(place, events=True) as (socket, peer):
        await peer.send(messages(place, b"a", b"bc"))
        await known(peer, place, socket)
        seen: list[Any] = []
        socket.addEventListener("message", lambda event: seen.append(event.data), once=True)
        await known(peer, place, socket)
        assert seen == ["a"]
        socket.terminate()
        assert (await socket.wait_closed()).discarded == 2
        peer.close()


@on_tcp
async def test_kept_messages_that_a_listener_is_too_late_for_are_counted(place: Place) -> None:
    async with pair(place, events=True) as (socket, peer):
        await peer.send(messages(place, b"abc"))
        await known(peer, place, socket)
        socket.onmessage = print
        socket.terminate()
        assert (await socket.wait_closed()).discarded == 3
        peer.close()


async def test_a_handler_that_returns_although_messages_wait_has_them_counted() -> None:
    async def handle(socket: WebSocket) -> None:
        while socket.stats.messages_received < 5:
            await asyncio.sleep(0)
        await socket.recv()

    async with served(handle) as server, raw_client(server.server.port) as raw:
        raw.send(b"".join(encode(TEXT, b"x" * size, masked=True) for size in range(1, 6)))
        socket = await server.sockets.get()
        assert (await raw.frame()).opcode == CLOSE
        raw.send(encode(TEXT, b"late", masked=True))
        raw.send_close(1000)
        event = await socket.wait_closed()
        assert (event.cause, event.discarded) == ("handler_returned", 2 + 3 + 4 + 5 + 4)
        assert "18 bytes of messages arrived and were not delivered" in " ".join(event.explain().split())


async def test_a_client_that_leaves_async_with_although_messages_wait_has_them_counted() -> None:
    async def script(raw: Raw) -> None:
        raw.send(encode(TEXT, b"abc") + encode(TEXT, b"de") + encode(PING))
        assert (await raw.frame()).opcode == PONG
        raw.send(encode(TEXT, b"go"))
        assert (await raw.frame()).opcode == CLOSE
        raw.send_close(1000)

    async with raw_server(script) as url:
        async with connect(url) as socket:
            assert await socket.recv() == "abc"
            while socket.stats.messages_received < 3:
                await asyncio.sleep(0)
        assert (await socket.wait_closed()).discarded == 4
        assert [await socket.recv(), await socket.recv()] == ["de", "go"]


async def test_another_task_that_reads_the_stream_keeps_its_messages_when_the_handler_returns() -> None:
    received: list[Any] = []
    tasks = set()

    async def read(socket: WebSocket) -> None:
        async for message in socket:
            received.append(message)

    async def handle(socket: WebSocket) -> None:
        tasks.add(asyncio.ensure_future(read(socket)))
        await turn()

    async with served(handle) as server, raw_client(server.server.port) as raw:
        socket = await server.sockets.get()
        assert (await raw.frame()).opcode == CLOSE
        raw.send(encode(TEXT, b"a", masked=True))
        raw.send(encode(TEXT, b"b", masked=True))
        raw.send_close(1000)
        assert (await socket.wait_closed()).discarded == 0
        await asyncio.wait(tasks)
        assert received == ["a", "b"]


# What errors tell of an end.


def told_by(error: Any) -> tuple[Any, ...]:
    return error.code, error.reason, error.received, error.sent, error.initiator, error.cause


async def all_errors(socket: WebSocket) -> list[ConnectionClosed]:
    """What is raised by everything that needs an open connection."""
    errors = []
    for wait in (lambda: socket.send("x"), socket.ping, socket.drain, lambda: socket.check_alive(60)):
        with pytest.raises(ConnectionClosed) as caught:
            await wait()
        errors.append(caught.value)
    return errors


async def test_errors_while_the_peer_is_closing_tell_its_code_and_reason() -> None:
    gone = asyncio.Event()

    async def script(raw: Raw) -> None:
        raw.send_close(4003, "kicked")
        await raw.frame()
        await gone.wait()

    async with raw_server(script) as url:
        socket = await connect(url)
        await until(lambda: socket.readyState == WebSocket.CLOSING)
        frame = CloseFrame(4003, "kicked")
        for error in await all_errors(socket):
            assert str(error) == "the peer is closing with 4003 'kicked'"
            assert error.event is None
            assert told_by(error) == (4003, "kicked", frame, frame, "remote", "peer_close")
        gone.set()
        event = await socket.wait_closed()
        for error in await all_errors(socket):
            assert error.event is event
            assert str(error) == str(event)
            assert told_by(error) == (4003, "kicked", frame, frame, "remote", "peer_close")


@pytest.mark.parametrize("role", ["client", "server"])
async def test_errors_while_this_end_is_closing_say_so(role: str) -> None:
    async def check(socket: WebSocket) -> None:
        socket.close(3000, "done")
        for error in await all_errors(socket):
            assert str(error) == "this end is closing with 3000 'done': close() was called"
            assert error.event is None
            assert told_by(error) == (None, "", None, CloseFrame(3000, "done"), "local", "local_close")
        socket.terminate()
        event = await socket.wait_closed()
        for error in await all_errors(socket):
            assert told_by(error) == (1006, "", None, CloseFrame(3000, "done"), "local", "terminated")
            assert error.event is event

    if role == "client":
        async with raw_server(hang) as url:
            await check(await connect(url))
    else:
        async with served() as server, raw_client(server.server.port):
            await check(await server.sockets.get())


async def test_an_error_of_recv_tells_of_the_end() -> None:
    async with served(lambda socket: socket.close(4003, "kicked")) as server:
        socket = await connect(server.url)
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
        assert told_by(caught.value)[:2] == (4003, "kicked")
        assert told_by(caught.value)[4:] == ("remote", "peer_close")


async def test_an_error_of_an_opening_tells_of_the_end_whatever_its_class() -> None:
    async with served(on_request=lambda request: wasclean.Response(403)) as server:
        with pytest.raises(wasclean.HandshakeError) as refused:
            await connect(server.url)
    assert told_by(refused.value) == (1006, "", None, None, "remote", "handshake_rejected")
    with pytest.raises(ConnectionRefusedError) as failed:
        await connect(server.url)
    error: Any = failed.value
    assert told_by(error) == (1006, "", None, None, "network", "connect_failed")
    assert error.event.exception.errno == error.errno
    async with raw_server(hang, answer=lambda head: b"") as url:
        with pytest.raises(TimeoutError) as late:
            await connect(url, open_timeout=0.1)
    assert told_by(late.value) == (1006, "", None, None, "local", "open_timeout")
