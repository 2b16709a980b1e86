"""Inbox: the way of a received message to a listener, or to recv()."""

from __future__ import annotations

from asyncio import AbstractEventLoop, get_running_loop
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from .. import native
from ..dom.event import Event, new_message_event, reuse_message_event
from ..dom.event_target import Listeners
from ..dom.exceptions import InvalidStateError
from ..model.registry import MAX_BUFFERED_AMOUNT
from ..options import Limits
from .awaitables import CoroutineLike, refuse_copy
from .eager_tasks import EagerFuture
from .end_report import EndReport

#: The least memory that a queued message takes, in bytes.
MESSAGE_OVERHEAD = 64


class Inbox:
    """The received messages of one socket.

    A message is dispatched to the listeners for ``message`` events. It is queued instead while a task reads messages as
    a stream, and as long as the socket has had no listener yet. After that, messages without a listener are discarded,
    as in the DOM.

    A stream loses nothing: reading from the peer pauses while the queue is full. Otherwise reading goes on, for the
    close event has to arrive, and messages that exceed the bounds of the queue are discarded.

    Args:
        limits: ``max_queue`` and ``max_message_size`` bound the queue, in messages and in bytes.
        loop: the event loop of the socket.

    Attributes:
        target: the target of message events; None once the connection has closed.
        listeners: its listeners; None if it has none, or the connection has closed.
        origin: the origin of the socket's URL, for message events.
        makes_arrays: True if the data of binary messages is a bytearray in events.
        streaming: True while messages are queued for recv().
        reads_on: True if reading must not pause, because the end of the connection is known to follow.
        report: the report of the end, once the connection has closed.
    """

    __slots__ = (
        "_had_listener",
        "_limits",
        "_loop",
        "_messages",
        "_resume",
        "_size",
        "_waiter",
        "report",
        "listeners",
        "makes_arrays",
        "origin",
        "reads_on",
        "streaming",
        "target",
    )

    def __init__(self, limits: Limits, loop: AbstractEventLoop) -> None:
        # Events.
        self.target: Any = None
        self.listeners: Listeners | None = None
        self.origin = ""
        self.makes_arrays = False
        self._had_listener = False
        # The queue.
        self._limits = limits
        self._messages: deque[str | bytes] | None = None
        self._size = 0  # in characters and bytes
        # The task that reads it.
        self._loop = loop
        self._waiter: EagerFuture | None = None
        self.streaming = False
        self.report: EndReport | None = None
        # Reading from the peer.
        self._resume: Callable[[], object] | None = None  # set while it is paused
        self.reads_on = False

    def listens(self, type: str) -> bool:
        """Return True if there is a listener for events of the type."""
        return self.listeners is not None and self.listeners.has(type)

    def fire(self, event: Event) -> None:
        """Dispatch an event."""
        listeners = self.listeners  # end() may drop it meanwhile
        if listeners is not None:
            listeners.fire(event, self.target)

    def receive(self, message: str | bytes, is_open: bool, now: float) -> bool:
        """Dispatch or queue a message.

        Args:
            message: the message.
            is_open: whether the connection is open.
            now: the time.

        Returns:
            False if it was discarded.
        """
        if self.streaming or self._messages:
            return self._put(message, is_open)
        return self._deliver(message, is_open, now)

    def _deliver(self, message: str | bytes, is_open: bool, now: float) -> bool:
        """Dispatch a message event; without a listener keep the message, perhaps."""
        listeners = self.listeners
        if listeners is None or not listeners.has("message"):
            return (not self._had_listener or self.is_awaited()) and self._put(message, is_open)
        if not is_open:  # "If ready state is not OPEN (1), then return."
            return False
        data: Any = message
        if self.makes_arrays and not isinstance(message, str):
            data = bytearray(message)
        event = new_message_event(self.target, data, self.origin, now)
        listeners.dispatch(event)
        reuse_message_event(event)
        return True

    # The queue.

    def has_messages(self) -> bool:
        """Return True if the queue is not empty."""
        return bool(self._messages)

    def _put(self, message: str | bytes, is_open: bool) -> bool:
        messages = self._messages
        if messages is None:
            messages = self._messages = deque()
        if not (self.streaming and is_open) and not self._has_room(message):
            return False
        messages.append(message)
        self._size += len(message)
        return True

    def _has_room(self, message: str | bytes) -> bool:
        """Return True if the queue may take a message although reading goes on."""
        assert self._messages is not None
        count = len(self._messages)
        if self.streaming or self._had_listener:  # the connection closes, or a listener is about to get the queue
            return self._size + MESSAGE_OVERHEAD * count < MAX_BUFFERED_AMOUNT
        limits = self._limits
        size = self._size + len(message)
        return count < limits.max_queue and size <= (limits.max_message_size or MAX_BUFFERED_AMOUNT)

    def take(self) -> str | bytes:
        """Remove the first message and return it; resume reading if half of a full queue has been read."""
        assert self._messages is not None
        message = self._messages.popleft()
        self._size -= len(message)
        if self._resume is not None and len(self._messages) <= self._limits.max_queue // 2:
            self.resume()
        return message

    def unread_size(self) -> int:
        """Return the size of the queued messages in bytes if no stream will read them, else 0."""
        if self.streaming or not self._messages:
            return 0
        return sum(map(utf8_size, self._messages))

    # Listeners.

    def listener_added(self) -> bool:
        """There is a new listener for messages, which ends the reading as a stream.

        Returns:
            True if messages are queued, and deliver_queue() is to be called soon.
        """
        if not self.streaming and self._had_listener:
            return False
        self.streaming = False
        self._had_listener = True
        return bool(self._messages)

    def deliver_queue(self, is_open: bool, now: float) -> int:
        """Dispatch the queued messages; return the number of bytes that were discarded."""
        discarded = 0
        while self._messages and not self.streaming:
            message = self.take()
            if not self._deliver(message, is_open, now):
                discarded += utf8_size(message)
        if not self._messages:
            self._messages = None
        return discarded

    # Reading from the peer.

    def must_pause(self) -> bool:
        """Return True if reading is to be paused: the queue of a stream is full."""
        messages = self._messages
        if not messages or not self.streaming or self._resume is not None or self.reads_on:
            return False
        limits = self._limits
        return len(messages) >= limits.max_queue or (
            limits.max_message_size is not None and self._size >= limits.max_message_size
        )

    def pause(self, resume: Callable[[], object]) -> None:
        """Reading has been paused; call ``resume()`` when half of the queue has been read."""
        self._resume = resume

    def is_paused(self) -> bool:
        """Return True while reading is paused."""
        return self._resume is not None

    def resume(self) -> None:
        """Resume reading, if it is paused."""
        resume, self._resume = self._resume, None
        if resume is not None:
            resume()

    def may_grow(self) -> bool:
        """Return True if the queue of a paused stream is small enough for one more read."""
        if self._messages is None:
            return False
        limit = self._limits.max_message_size or MAX_BUFFERED_AMOUNT
        return self._size + MESSAGE_OVERHEAD * len(self._messages) < limit

    # The task that reads the stream.

    def read_as_stream(self) -> None:
        """Queue messages for recv() from now on, unless they go to a listener."""
        if not self.listens("message"):
            self.streaming = True

    def recv(self, iterates: bool) -> Recv:
        """Return an awaitable of the next message.

        Args:
            iterates: whether it raises StopAsyncIteration after an orderly end.
        """
        recv = Recv.__new__(Recv)
        recv.begin(self, iterates)
        return recv

    def wait(self) -> EagerFuture:
        """Return a future for the next message, or the end.

        Raises:
            InvalidStateError: another task waits already, or the running loop is not the socket's.
        """
        if self.is_awaited():
            raise InvalidStateError("another task is waiting in recv() of this socket already")
        if get_running_loop() is not self._loop:
            raise InvalidStateError("this socket belongs to another event loop: make it inside the one that reads it")
        self._waiter = EagerFuture(self._loop)
        return self._waiter

    def is_awaited(self) -> bool:
        """Return True if a task waits for a message."""
        return self._waiter is not None and not self._waiter.done()

    def waiter(self) -> EagerFuture | None:
        """Return the future to wake if there is a message, or the connection has closed; None if no task waits."""
        waiter = self._waiter
        if waiter is None or not (self._messages or self.report is not None):
            return None
        self._waiter = None
        return waiter

    def reader_left(self) -> None:
        """The code that read the stream has ended: unread messages are discarded, unless another task reads them."""
        if not self.is_awaited():
            self.streaming = False

    def end(self, report: EndReport) -> None:
        """The connection has closed: recv() raises when all messages have been read."""
        self.report = report
        if self.listeners is not None:
            self.listeners.context = None  # it may refer to the socket
        self.target = self.listeners = None


class Recv(CoroutineLike):
    """The result of recv(): awaiting it returns the next message.

    It counts as a coroutine: ``create_task(socket.recv())`` works, and ``anext(socket, None)`` can be cancelled.
    """

    __slots__ = ("_inbox", "_iterates")

    _inbox: Inbox
    _iterates: bool  # True if an orderly end is the end of an iteration

    def begin(self, inbox: Inbox, iterates: bool) -> None:
        """Initialize the object; a constructor's arguments would take longer."""
        self._inbox = inbox
        self._iterates = iterates

    def __next__(self) -> EagerFuture:
        inbox = self._inbox
        if inbox.has_messages():
            native.stop_iteration(inbox.take())
            raise StopIteration
        report = inbox.report
        if report is None:
            return inbox.wait()
        if self._iterates and report.event().ok:  # type: ignore[union-attr]
            raise StopAsyncIteration
        raise report.closed_error()

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "call recv() for each message")


def utf8_size(message: str | bytes) -> int:
    """Return the size of a message in bytes."""
    if isinstance(message, str) and not message.isascii():
        return len(message.encode("utf-8", "surrogatepass"))
    return len(message)
