"""Calls of other threads, until they are made."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wasclean.dom.exceptions import InvalidStateError
from wasclean.socket.awaitables import ROOM, Promise
from wasclean.socket.handover import HandedOver, Handover


def test_what_was_handed_over_counts_until_the_call_is_made() -> None:
    handover, amounts = Handover(), []

    def send() -> Any:
        amounts.append(handover.amount())
        return ROOM

    calls = [HandedOver(send, Promise(), print, handover, size) for size in (10, 5, 0)]
    assert handover.amount() == 15
    for call in calls:
        call()
    assert amounts == [15, 5, 0]  # a call counts until it has been made
    assert handover.amount() == 0


async def test_the_promise_follows_the_result() -> None:
    result, promise = Promise(), Promise()
    HandedOver(lambda: result, promise, print, Handover(), 0)()
    assert promise.is_settled()
    result.succeed(7)
    assert await promise == 7


async def test_a_call_without_a_result_settles_the_promise() -> None:
    promise = Promise(asyncio.get_running_loop())
    HandedOver(lambda: None, promise, print, Handover(), 0)()
    assert await promise is None


@pytest.mark.parametrize(("error", "is_ours"), [(MemoryError(), True), (InvalidStateError("too early"), False)])
async def test_an_exception_goes_to_the_caller_and_its_mistakes_nowhere_else(error: Exception, is_ours: bool) -> None:
    failures: list[Exception] = []
    handover, promise = Handover(), Promise()

    def fail() -> Any:
        raise error

    HandedOver(fail, promise, failures.append, handover, 3)()
    for _ in range(2):
        with pytest.raises(type(error)) as raised:
            await promise
        assert raised.value is not error  # each await has its own
    assert failures == [error] * is_ours
    assert handover.amount() == 0
