"""One message to many sockets."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from threading import Thread
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import Record, Served, echo, served, turn, until_full
from tests.faults.patience import PATIENCE
from tests.proxies import secure
from tests.raw import raw_client
from wasclean import Cause, CloseCode, Deflate, WebSocket, broadcast, connect

KIB, MIB = 1 << 10, 1 << 20
ALONE = Deflate(server_no_context_takeover=True, threshold=0)


@asynccontextmanager
async def crowd(
    count: int, *, tls: bool = False, **options: Any
) -> AsyncIterator[tuple[Served, list[WebSocket], list[WebSocket]]]:
    """A server, its sockets, and their clients."""
    trust: dict[str, Any] = {}
    if tls:
        options["ssl"] = server_context()
        trust["ssl"] = client_context()
    async with served(**options) as server, AsyncExitStack() as stack:
        url = secure(server) if tls else server.url
        clients = [await stack.enter_async_context(connect(url, **trust)) for _ in range(count)]
        yield server, [await server.sockets.get() for _ in clients], clients


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_everybody_gets_it(tls: bool) -> None:
    async with crowd(5, tls=tls) as (_, ours, theirs):
        for message in ("text", "ünïcode", "", b"bytes", "large " * 10_000, bytes(300_000)):
            assert broadcast(ours, message) == []
            assert [await client.recv() for client in theirs] == [message] * 5


@pytest.mark.parametrize("message", [bytearray(b"abc"), memoryview(b"_a_b_c")[1::2], memoryview(b"abc").cast("c")])
async def test_anything_bytes_like_is_binary(message: Any) -> None:
    async with crowd(2) as (_, ours, theirs):
        assert broadcast(ours, message) == []
        assert [await client.recv() for client in theirs] == [b"abc"] * 2


async def test_lone_surrogates_are_replaced_as_in_send() -> None:
    async with crowd(2) as (_, ours, theirs):
        broadcast(ours, "a\ud800b\U0001f600")
        assert [await client.recv() for client in theirs] == ["a\ufffdb\U0001f600"] * 2


@pytest.mark.parametrize("tls", [False, True], ids=["tcp", "tls"])
async def test_it_is_at_its_place_among_what_is_sent_besides(tls: bool) -> None:
    async with crowd(2, tls=tls) as (_, ours, theirs):
        for i in range(3):
            for socket in ours:
                socket.send(f"before {i}")
            broadcast(ours, f"all {i}")
            for socket in ours:
                socket.send(f"after {i}")
            broadcast(ours, f"all again {i}")
        broadcast(ours, "last")
        expected = [f"{what} {i}" for i in range(3) for what in ("before", "all", "after", "all again")]
        for client in theirs:
            assert [await client.recv() for _ in range(13)] == [*expected, "last"]


async def test_nothing_of_it_waits_any_more_once_it_has_left() -> None:
    async with crowd(2) as (_, ours, theirs):
        broadcast(ours, "x" * 1000)
        assert [socket.bufferedAmount for socket in ours] == [0, 0]
        for socket in ours:
            await asyncio.wait_for(socket.flush(), PATIENCE)
            assert socket.stats.messages_sent == 1
        assert [await client.recv() for client in theirs] == ["x" * 1000] * 2
        assert ours[0].stats.bytes_sent == theirs[0].stats.bytes_received


async def test_sockets_may_be_an_iterator_or_a_set_that_changes() -> None:
    async with crowd(3) as (_, ours, theirs):
        assert broadcast(iter(ours), "one") == []
        everybody = set(ours)

        def leaving() -> Iterator[WebSocket]:
            while everybody:
                yield everybody.pop()

        assert broadcast(leaving(), "two") == []
        for client in theirs:
            assert [await client.recv(), await client.recv()] == ["one", "two"]
        assert broadcast([], "to nobody") == []


async def test_who_is_not_open_is_passed_over() -> None:
    async with crowd(4) as (server, ours, theirs):
        closing, gone, *rest = ours
        closing.close(3000)
        await theirs[1].close()
        await gone.wait_closed()
        connecting = WebSocket(server.url)
        assert broadcast([*ours, connecting], "hello") == []
        assert [await client.recv() for client in theirs[2:]] == ["hello"] * 2
        event = await closing.wait_closed()
        assert (event.code, event.wasClean, closing.stats.messages_sent, gone.stats.messages_sent) == (3000, True, 0, 0)
        await connecting.close()
        assert len(rest) == 2


async def test_clients_can_broadcast_too() -> None:
    async with served(echo) as server, connect(server.url) as one, connect(server.url) as other:
        assert broadcast([one, other], "hello") == []
        assert [await one.recv(), await other.recv()] == ["hello", "hello"]


async def test_it_can_be_called_from_within_an_event_of_one_of_the_sockets() -> None:
    everybody: list[WebSocket] = []

    def handler(socket: WebSocket) -> None:
        everybody.append(socket)
        socket.onmessage = lambda event: broadcast(everybody, event.data)

    async with served(handler) as server, connect(server.url) as one, connect(server.url) as other:
        await one.send("hello")
        assert [await one.recv(), await other.recv()] == ["hello", "hello"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"message": 1}, TypeError),
        ({"message": None}, TypeError),
        ({"message": "x", "others": ["socket"]}, TypeError),
        ({"message": "x", "slow": "wait"}, ValueError),
    ],
)
async def test_a_mistake_is_told_before_anything_is_sent(arguments: dict[str, Any], error: type) -> None:
    async with crowd(2) as (_, ours, theirs):
        options = {name: value for name, value in arguments.items() if name != "others"}
        with pytest.raises(error):
            broadcast([*ours, *arguments.get("others", ())], **options)
        broadcast(ours, "right")
        assert [await client.recv() for client in theirs] == ["right"] * 2


# Who is slow.


@asynccontextmanager
async def one_is_slow(**options: Any) -> AsyncIterator[tuple[Served, WebSocket, WebSocket, WebSocket]]:
    """A server, its slow socket and another one, and the other one's client."""
    async with served(**options) as server, raw_client(server.server.port):
        slow = await server.sockets.get()
        await until_full(slow)
        async with connect(server.url) as client:
            yield server, slow, await server.sockets.get(), client


async def test_one_who_is_slow_is_left_out_and_named() -> None:
    async with one_is_slow() as (_, slow, other, client):
        sent = slow.stats.messages_sent, slow.bufferedAmount
        assert broadcast([slow, other], "news") == [slow]
        assert await client.recv() == "news"
        assert (slow.readyState, slow.stats.messages_sent, slow.bufferedAmount) == (WebSocket.OPEN, *sent)
        slow.terminate()


async def test_one_who_is_slow_can_be_closed_with_what_did_not_leave() -> None:
    async with one_is_slow() as (_, slow, other, client):
        record = Record(slow)
        assert broadcast([slow, other], "news", slow="close") == [slow]
        assert record.types == []  # no event fires from inside a call
        assert await client.recv() == "news"
        event = await slow.wait_closed()
        assert record.types == ["error", "close"]
        assert (event.code, event.cause, event.wasClean) == (CloseCode.ABNORMAL_CLOSURE, Cause.SLOW_CONSUMER, False)
        assert event.unsent
        assert "news" not in event.unsent
        assert 'broadcast(slow="close")' in event.explain().replace("\n", " ")
        assert other.readyState == WebSocket.OPEN


async def test_what_a_broadcast_could_not_hand_to_the_kernel_is_unsent() -> None:
    async with served() as server, raw_client(server.server.port):
        socket = await server.sockets.get()
        count = 0
        while socket.bufferedAmount == 0:
            count += 1
            assert broadcast([socket], b"%5d" % count * 12_000) == []
        waiting = socket.bufferedAmount
        assert 0 < waiting <= 60_000
        assert broadcast([socket], "behind it") == []
        socket.terminate()
        event = await socket.wait_closed()
        assert event.unsent == (b"%5d" % count * 12_000, "behind it")


async def test_one_whose_connection_has_broken_does_not_stop_the_others() -> None:
    async with crowd(3) as (_, ours, theirs):
        theirs[0].terminate(reset=True)
        await turn()
        for _ in range(3):
            broadcast(ours, "hello")
        assert [await client.recv() for client in theirs[1:]] == ["hello"] * 2
        assert (await ours[0].wait_closed()).code == 1006


# Compression.


@pytest.mark.parametrize("compression", [Deflate(threshold=0), ALONE, None])
async def test_it_is_compressed_as_each_connection_wants(compression: Deflate | None) -> None:
    message = "again and " * 1000
    async with (
        served(compression=compression) as server,
        connect(server.url) as one,
        connect(server.url, compression=ALONE) as other,
        connect(server.url, compression=None) as plain,
    ):
        ours = [await server.sockets.get() for _ in range(3)]
        for _ in range(3):
            broadcast(ours, message)
            assert [await client.recv() for client in (one, other, plain)] == [message] * 3
        assert plain.stats.bytes_received > 30_000
        for client in (one, other):
            assert (client.stats.bytes_received < 3_000) == (compression is not None)


async def test_what_is_compressed_alike_is_compressed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from wasclean.wire.deflate import Deflater

    compressed: list[bytes] = []
    deflate = Deflater.deflate

    def counted(self: Deflater, data: bytes, last: bool) -> bytes:
        compressed.append(data)
        return deflate(self, data, last)

    monkeypatch.setattr(Deflater, "deflate", counted)
    async with crowd(4, compression=ALONE) as (_, ours, theirs):
        broadcast(ours, "x" * 5000)
        assert [await client.recv() for client in theirs] == ["x" * 5000] * 4
        assert len(compressed) == 1
        broadcast(ours, "y" * 5000, compress=False)
        assert [await client.recv() for client in theirs] == ["y" * 5000] * 4
        assert len(compressed) == 1


async def test_what_was_compressed_and_did_not_leave_is_unsent_as_it_was_given() -> None:
    async with (
        served(compression=ALONE) as server,
        raw_client(server.server.port, "/", "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"),
    ):
        socket = await server.sockets.get()
        assert socket.extensions
        given = []
        while socket.bufferedAmount == 0:
            given.append(os.urandom(30_000))
            broadcast([socket], given[-1], compress=True)
        socket.terminate()
        assert (await socket.wait_closed()).unsent == (given[-1],)


# Threads.


async def test_sockets_of_another_threads_loop_get_the_message_without_waiting_for_it() -> None:
    async with crowd(2) as (_, ours, theirs):
        missed: list[WebSocket] = []

        def call() -> None:
            missed.extend(broadcast(ours, "first"))
            missed.extend(broadcast(ours, b"second"))
            assert [socket.bufferedAmount for socket in ours] == [11, 11]

        thread = Thread(target=call)
        thread.start()
        thread.join()  # this loop can do nothing meanwhile
        assert missed == []
        for client in theirs:
            assert [await client.recv(), await client.recv()] == ["first", b"second"]
        assert [socket.bufferedAmount for socket in ours] == [0, 0]


@pytest.mark.parametrize("slow", ["skip", "close"])
async def test_who_is_slow_is_known_to_another_thread_at_once(slow: Any) -> None:
    async with crowd(1) as (_, (socket,), _):
        thread = Thread(
            target=lambda: results.append([broadcast([socket], bytes(70_000)), broadcast([socket], "x", slow=slow)])
        )
        results: list[Any] = []
        thread.start()
        thread.join()
        assert results == [[[], [socket]]]
        if slow == "skip":
            assert socket.readyState == WebSocket.OPEN
        else:
            assert socket.readyState == WebSocket.CLOSING
            assert (await socket.wait_closed()).cause is Cause.SLOW_CONSUMER


SCRIPT = """
import sys, threading
from wasclean import WebSocket, broadcast
sockets = [WebSocket(sys.argv[1]) for _ in range(3)]
opened = threading.Barrier(2)
closed = threading.Semaphore(0)
received = []
left = [3]
def on_open(event):
    left[0] -= 1
    if not left[0]:
        opened.wait()
for socket in sockets:
    socket.onopen = on_open
    socket.onmessage = lambda event: (received.append(event.data), event.target.close())
    socket.onclose = lambda event: closed.release()
opened.wait()
missed = broadcast(sockets, "hello")
for _ in sockets:
    closed.acquire()
print(missed, received)
"""


async def test_scripts_without_a_loop_can_broadcast() -> None:
    async with served(echo) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", SCRIPT, server.url, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert output.decode() == "[] ['hello', 'hello', 'hello']\n"


MIXED = """
import asyncio, sys, threading
from wasclean import WebSocket, broadcast, connect
background = WebSocket(sys.argv[1])
opened, received, closed = threading.Event(), [], threading.Event()
background.onopen = lambda event: opened.set()
got = threading.Event()
background.onmessage = lambda event: (received.append(event.data), got.set())
background.onclose = lambda event: closed.set()
opened.wait()
async def main():
    async with connect(sys.argv[1]) as ours:
        await asyncio.to_thread(broadcast, [background, ours], "yes")
        print(await ours.recv())
        got.wait()
asyncio.run(main())
background.close()
closed.wait()
print(received)
"""


async def test_a_mixture_of_sockets_of_several_threads_gets_the_message() -> None:
    async with served(echo) as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MIXED, server.url, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert output.decode() == "yes\n['yes']\n"
