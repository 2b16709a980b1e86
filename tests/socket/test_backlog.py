"""What is awaited does not count against max_buffered_amount, and what is not does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.endpoints import awaited, served, turn
from tests.faults.stage import Place, everywhere, on_tcp, pair
from wasclean import ConnectionClosed, WebSocket, connect
from wasclean.socket.awaitables import Promise
from wasclean.socket.backlog import Backlog

LIMIT = 1_000_000
COUNT, SIZE = 200, 20_000  # four times the limit


def numbered(count: int, size: int) -> list[bytes]:
    return [i.to_bytes(4, "big") * (size // 4) for i in range(count)]


def gathered(socket: WebSocket, messages: list[bytes]) -> Any:
    return asyncio.gather(*(socket.send(message) for message in messages))


async def in_tasks(socket: WebSocket, messages: list[bytes]) -> None:
    await asyncio.wait([asyncio.ensure_future(awaited(socket.send(message))) for message in messages])


async def in_tasks_of_their_own(socket: WebSocket, messages: list[bytes]) -> None:
    async def send(message: bytes) -> None:
        await socket.send(message)

    async with asyncio.TaskGroup() as group:
        for message in messages:
            group.create_task(send(message))


@pytest.mark.parametrize("send", [gathered, in_tasks, in_tasks_of_their_own])
@pytest.mark.parametrize("is_server", [False, True])
async def test_what_is_awaited_arrives_in_order_however_much_it_is(send: Any, is_server: bool) -> None:
    received: list[Any] = []
    done = asyncio.Event()

    async def read(socket: WebSocket) -> None:
        async for message in socket:
            received.append(message)
        done.set()

    async def write(socket: WebSocket) -> None:
        await send(socket, numbered(COUNT, SIZE))
        await socket.close()

    handler = write if is_server else read
    async with served(handler, max_buffered_amount=LIMIT) as server:
        client = await connect(server.url, max_buffered_amount=LIMIT)
        await (read if is_server else write)(client)
        await done.wait()
        assert received == numbered(COUNT, SIZE)


@everywhere
async def test_what_is_awaited_by_many_tasks_still_ends_by_write_timeout_if_the_peer_does_not_read(
    place: Place,
) -> None:
    async with pair(place, max_buffered_amount=LIMIT, write_timeout=0.3, ping_interval=None) as (socket, peer):
        results = await asyncio.gather(
            *(socket.send(message) for message in numbered(1000, SIZE)), return_exceptions=True
        )
        event = await socket.wait_closed()
        assert event.cause == "write_timeout"
        lost = sum(isinstance(result, ConnectionClosed) for result in results)
        assert lost >= 1
        # What was on its way to the kernel fails, too. The first few had room, and returned at once.
        assert len(event.unsent) - 5 <= lost <= len(event.unsent) + 15
        peer.close()


@on_tcp
async def test_what_is_not_awaited_is_flagged_as_full_when_the_loop_has_turned(place: Place) -> None:
    async with pair(place, events=True, max_buffered_amount=LIMIT) as (socket, peer):
        for message in numbered(1000, SIZE):
            socket.send(message)
        assert socket.readyState == WebSocket.OPEN
        event = await socket.wait_closed()
        assert event.cause == "slow_consumer"
        assert "no task waits for" in event.detail
        peer.close()


@on_tcp
async def test_what_is_awaited_does_not_hide_what_is_not(place: Place) -> None:
    async with pair(place, events=True, max_buffered_amount=LIMIT, write_timeout=None) as (socket, peer):
        waiting = gathered(socket, numbered(1000, SIZE))
        await turn(5)
        assert socket.readyState == WebSocket.OPEN
        for message in numbered(20, SIZE):
            socket.send(message)
        await turn(5)
        assert socket.readyState == WebSocket.OPEN
        for message in numbered(100, SIZE):
            socket.send(message)
        assert (await socket.wait_closed()).cause == "slow_consumer"
        with pytest.raises(ConnectionClosed):
            await waiting
        peer.close()


@on_tcp
async def test_tasks_that_are_cancelled_in_send_do_not_wait_any_more(place: Place) -> None:
    async with pair(place, events=True, max_buffered_amount=LIMIT, write_timeout=None) as (socket, peer):
        waiting = gathered(socket, numbered(1000, SIZE))
        await turn(5)
        assert socket.readyState == WebSocket.OPEN
        waiting.cancel()
        assert (await socket.wait_closed()).cause == "slow_consumer"
        with pytest.raises(asyncio.CancelledError):
            await waiting
        peer.close()


@on_tcp
async def test_one_message_may_be_larger_than_the_limit(place: Place) -> None:
    async with pair(place, events=True, max_buffered_amount=LIMIT, write_timeout=None) as (socket, peer):
        socket.send(bytes(20 * LIMIT))
        await turn(5)
        assert socket.readyState == WebSocket.OPEN
        socket.terminate()
        peer.close()


def test_a_backlog_knows_to_the_byte_what_is_on_its_way_and_not_awaited() -> None:
    given_up: list[int] = []
    backlog = Backlog(lambda: given_up.append(1))
    loop = asyncio.new_event_loop()
    try:
        places = [backlog.add(100) for _ in range(5)]
        assert backlog.unawaited(500) == 500

        async def wait(place: Any) -> None:
            await place

        tasks = [loop.create_task(wait(place)) for place in (places[0], places[0], places[3])]
        loop.run_until_complete(asyncio.sleep(0))
        assert backlog.unawaited(500) == 300
        assert backlog.unawaited(440) == 300  # 60 bytes of what is awaited have left
        assert backlog.unawaited(400) == 300
        loop.run_until_complete(asyncio.wait(tasks[:2]))  # their message has left
        assert backlog.unawaited(150) == 100  # 50 bytes of a message that is awaited, and the last
        tasks[2].cancel()
        loop.run_until_complete(asyncio.wait(tasks))
        assert given_up == [1]
        assert backlog.unawaited(150) == 150
        assert backlog.is_one_message(100)
        assert not backlog.is_one_message(150)
    finally:
        loop.close()


async def test_a_wait_from_another_thread_that_was_cancelled_before_the_message_was_queued_does_not_count() -> None:
    backlog = Backlog(lambda: None)
    handed_over = Promise()
    waits = [asyncio.ensure_future(awaited(handed_over)) for _ in range(2)]
    await turn()
    waits[0].cancel()
    await turn()
    place = backlog.add(100)
    assert backlog.unawaited(100) == 100
    handed_over.follow(place)
    assert backlog.unawaited(100) == 0
    waits[1].cancel()
    await turn()
    assert backlog.unawaited(100) == 100
