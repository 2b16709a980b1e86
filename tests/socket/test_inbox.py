"""The way of received messages to listeners and to recv()."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from wasclean.closing.errors import ConnectionClosed
from wasclean.dom.event_target import EventTarget, Listeners
from wasclean.dom.exceptions import InvalidStateError
from wasclean.model.registry import MAX_BUFFERED_AMOUNT
from wasclean.options import Limits
from wasclean.socket.inbox import Inbox, utf8_size

NOW = 12.5


def new_inbox(**limits: Any) -> Inbox:
    """Return an inbox of the running loop."""
    inbox = Inbox(Limits(limits), asyncio.get_running_loop())
    inbox.target = EventTarget()
    return inbox


def listen(inbox: Inbox) -> list[Any]:
    """Add a listener; return the list of the messages that it gets."""
    received: list[Any] = []
    inbox.listeners = Listeners()
    inbox.listeners.add("message", lambda event: received.append(event.data), capture=False, once=False)
    inbox.listener_added()
    return received


def step(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Execute a step that is to end the coroutine; return its result."""
    with pytest.raises(StopIteration) as end:
        coroutine.send(None)
    return end.value.value


async def test_a_message_goes_to_the_listener() -> None:
    inbox = new_inbox()
    received = listen(inbox)
    assert inbox.receive("a", True, NOW)
    assert received == ["a"]
    assert not inbox.has_messages()


async def test_messages_before_the_first_listener_are_kept_for_it() -> None:
    inbox = new_inbox()
    assert inbox.receive("a", True, NOW)
    assert inbox.receive("b", True, NOW)
    received = listen(inbox)
    assert inbox.receive("c", True, NOW)  # it does not overtake the others
    assert received == []
    assert inbox.deliver_queue(True, NOW) == 0
    assert received == ["a", "b", "c"]


async def test_messages_without_a_listener_are_discarded_when_there_was_one() -> None:
    inbox = new_inbox()
    listen(inbox)
    inbox.listeners = None
    assert not inbox.receive("a", True, NOW)
    assert not inbox.has_messages()


async def test_no_message_event_fires_when_the_connection_is_not_open() -> None:
    inbox = new_inbox()
    received = listen(inbox)
    assert not inbox.receive("a", False, NOW)
    assert received == []


async def test_what_is_queued_when_the_connection_is_no_longer_open_is_discarded_and_counted() -> None:
    inbox = new_inbox()
    inbox.receive("é", True, NOW)
    inbox.receive(b"abc", True, NOW)
    received = listen(inbox)
    assert inbox.deliver_queue(False, NOW) == 5
    assert received == []


async def test_the_queue_for_a_first_listener_is_bounded_in_messages_and_in_bytes() -> None:
    inbox = new_inbox(max_queue=2, max_message_size=10)
    assert inbox.receive("a", True, NOW)
    assert not inbox.receive("x" * 10, True, NOW)
    assert inbox.receive("b", True, NOW)
    assert not inbox.receive("c", True, NOW)
    assert inbox.unread_size() == 2
    assert not inbox.must_pause()


async def test_a_full_stream_is_paused_until_half_of_it_has_been_read() -> None:
    inbox = new_inbox(max_queue=4)
    inbox.streaming = True
    resumed: list[int] = []
    for i in range(4):
        assert not inbox.must_pause()
        assert inbox.receive(str(i), True, NOW)
    assert inbox.must_pause()
    inbox.pause(lambda: resumed.append(1))
    assert inbox.is_paused()
    assert not inbox.must_pause()
    assert inbox.receive("one more, which had been read already", True, NOW)
    inbox.take()
    inbox.take()
    assert resumed == []
    inbox.take()
    assert resumed == [1]
    assert not inbox.is_paused()
    inbox.resume()
    assert resumed == [1]
    assert inbox.unread_size() == 0  # the stream will be read


async def test_a_stream_is_full_when_it_holds_the_size_of_the_largest_message() -> None:
    inbox = new_inbox(max_message_size=10)
    inbox.streaming = True
    inbox.receive("x" * 9, True, NOW)
    assert not inbox.must_pause()
    inbox.receive("y", True, NOW)
    assert inbox.must_pause()
    inbox.reads_on = True
    assert not inbox.must_pause()


async def test_a_stream_of_a_closing_connection_is_bounded_because_reading_goes_on() -> None:
    inbox = new_inbox(max_queue=1)
    inbox.streaming = True
    large = bytes(MAX_BUFFERED_AMOUNT)
    assert inbox.receive("a", False, NOW)
    assert inbox.receive(large, False, NOW)
    assert not inbox.receive("b", False, NOW)
    assert inbox.receive("b", True, NOW)  # an open one is paused instead


async def test_recv_returns_a_queued_message_without_waiting() -> None:
    inbox = new_inbox()
    inbox.streaming = True
    inbox.receive("a", True, NOW)
    assert step(inbox.recv(False)) == "a"


async def test_recv_waits_for_a_message() -> None:
    inbox = new_inbox()
    inbox.streaming = True
    task: asyncio.Future[Any] = asyncio.ensure_future(inbox.recv(False))
    await asyncio.sleep(0)
    assert inbox.is_awaited()
    assert inbox.waiter() is None  # there is nothing for it yet
    with pytest.raises(InvalidStateError, match="another task"):
        inbox.recv(False).send(None)
    inbox.receive("a", True, NOW)
    waiter = inbox.waiter()
    assert waiter is not None
    waiter.wake()
    assert await task == "a"
    assert not inbox.is_awaited()


async def test_a_reader_that_has_left_ends_the_stream_unless_another_task_reads() -> None:
    inbox = new_inbox()
    inbox.streaming = True
    task: asyncio.Future[Any] = asyncio.ensure_future(inbox.recv(False))
    await asyncio.sleep(0)
    inbox.reader_left()
    assert inbox.streaming
    task.cancel()
    await asyncio.wait([task])
    inbox.reader_left()
    assert not inbox.streaming


class Report:
    """The report of an end."""

    def __init__(self, ok: bool) -> None:
        self.ok = ok

    def event(self) -> Report:
        return self

    def closed_error(self) -> ConnectionClosed:
        return ConnectionClosed()


@pytest.mark.parametrize(
    ("ok", "iterates", "error"),
    [
        (True, True, StopAsyncIteration),
        (False, True, ConnectionClosed),
        (True, False, ConnectionClosed),
        (False, False, ConnectionClosed),
    ],
)
async def test_what_was_received_before_the_end_is_read_and_then_recv_raises(
    ok: bool, iterates: bool, error: type[Exception]
) -> None:
    inbox = new_inbox()
    inbox.streaming = True
    inbox.receive("a", True, NOW)
    inbox.end(Report(ok))  # type: ignore[arg-type]
    assert step(inbox.recv(iterates)) == "a"
    for _ in range(2):
        with pytest.raises(error):
            inbox.recv(iterates).send(None)


@pytest.mark.parametrize(("message", "size"), [("", 0), ("abc", 3), ("é", 2), ("\ud800", 3), (b"abc", 3)])
def test_the_size_of_a_message_is_that_of_its_bytes(message: str | bytes, size: int) -> None:
    assert utf8_size(message) == size
