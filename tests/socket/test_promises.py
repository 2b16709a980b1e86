"""The callers that wait at a socket."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wasclean import ConnectionClosed
from wasclean.socket.awaitables import Promise
from wasclean.socket.backlog import Backlog
from wasclean.socket.promises import Promises


class Report:
    """The report of an end."""

    def event(self) -> str:
        return "the event"

    def closed_error(self) -> ConnectionClosed:
        return ConnectionClosed()

    def opening_error(self) -> OSError:
        return OSError("refused")


REPORT: Any = Report()


class Unsent:
    """A connection with unsent messages."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def buffered_amount(self) -> int:
        return self.amount


async def outcome(promise: Promise) -> Any:
    """Return the result of a settled promise, or its exception."""
    assert promise.is_settled()
    try:
        return await promise
    except Exception as error:
        return error


async def test_promises_of_one_kind_are_one_promise() -> None:
    promises = Promises(asyncio.get_running_loop())
    assert promises.is_empty()
    assert promises.until_opened() is promises.until_opened()
    assert promises.until_closed() is promises.until_closed()
    assert promises.until_flushed() is promises.until_flushed()
    assert not promises.is_empty()


async def test_what_has_happened_is_no_longer_awaited() -> None:
    promises = Promises(asyncio.get_running_loop())
    opened, flushed = promises.until_opened(), promises.until_flushed()
    promises.open()
    promises.flush()
    assert await outcome(opened) is None
    assert await outcome(flushed) is None
    assert promises.is_empty()
    promises.open()
    promises.flush()


async def test_a_pong_answers_its_ping_and_all_before_it() -> None:
    promises = Promises(asyncio.get_running_loop())
    pings = [promises.ping(payload, now) for payload, now in ((b"a", 1.0), (b"b", 2.0), (b"c", 3.0))]
    assert promises.is_pinging(b"b")
    assert promises.pong(b"x", 4.0) is None
    assert promises.pong(b"b", 4.0) == 2.0
    assert [promise.is_settled() for promise in pings] == [True, True, False]
    assert [await outcome(promise) for promise in pings[:2]] == [3.0, 2.0]
    assert promises.pong(b"b", 5.0) is None
    assert not promises.is_pinging(b"b")
    assert not promises.is_empty()


async def test_there_is_room_once_for_all_sends_that_wait() -> None:
    promises = Promises(asyncio.get_running_loop())
    promises.give_room()
    promises.backlog = Backlog(lambda: None)
    places = [promises.backlog.add(10), promises.backlog.add(10)]
    promises.give_room()
    assert [await outcome(place) for place in places] == [None, None]
    assert promises.is_empty()


async def test_sends_whose_bytes_have_left_succeed_and_the_others_fail() -> None:
    promises = Promises(asyncio.get_running_loop())
    promises.fail_senders(Unsent(0), REPORT)  # type: ignore[arg-type]
    promises.backlog = Backlog(lambda: None)
    places = [promises.backlog.add(10), promises.backlog.add(10)]
    promises.fail_senders(Unsent(10), REPORT)  # type: ignore[arg-type]
    assert await outcome(places[0]) is None
    assert isinstance(await outcome(places[1]), ConnectionClosed)


async def test_at_the_end_every_promise_is_settled() -> None:
    promises = Promises(asyncio.get_running_loop())
    opened, closed, flushed = promises.until_opened(), promises.until_closed(), promises.until_flushed()
    ping = promises.ping(b"a", 1.0)
    promises.end(REPORT, REPORT.event)
    assert await outcome(closed) == "the event"
    assert isinstance(await outcome(opened), OSError)
    assert isinstance(await outcome(flushed), ConnectionClosed)
    assert isinstance(await outcome(ping), ConnectionClosed)


async def test_at_the_end_nothing_needs_to_be_awaited() -> None:
    Promises(asyncio.get_running_loop()).end(REPORT, REPORT.event)


@pytest.mark.parametrize("count", [0, 1, 3])
async def test_any_number_of_tasks_may_wait(count: int) -> None:
    promises = Promises(asyncio.get_running_loop())
    promise = promises.until_flushed()
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(promise) for _ in range(count)]
    await asyncio.sleep(0)
    promises.flush()
    assert await asyncio.gather(*tasks) == [None] * count
