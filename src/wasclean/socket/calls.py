"""What the application asks of a session: to close, to ping, to wait.

Each function is to be called on the thread of the event loop, except post() and what uses it: those hand a call over
from other threads.
"""

from __future__ import annotations

from asyncio import AbstractEventLoop, CancelledError, wait_for
from asyncio.events import _get_running_loop
from collections.abc import Awaitable, Callable
from functools import partial
from os import urandom
from typing import TYPE_CHECKING, Any

from ..closing.outcome import Cause, Reason
from ..closing.table import CLOSED, CONNECTING, OPEN
from ..dom.exceptions import InvalidStateError
from ..model.registry import GRACE, CloseCode
from .awaitables import Promise
from .backlog import Backlog, Place
from .conversions import to_message
from .handover import HandedOver, Handover
from .inbox import Inbox, utf8_size
from .session import Session

if TYPE_CHECKING:
    from typing_extensions import Buffer

#: Bytes of the payload that the library chooses for a ping.
PING_PAYLOAD_SIZE = 4


def require_opened(session: Session) -> None:
    """Refuse a call that is too early.

    Raises:
        InvalidStateError: the socket is CONNECTING.
    """
    closes = session.handover is not None and session.handover.closes
    if session.connection.closing.state is CONNECTING and not closes:
        raise InvalidStateError("this socket is still connecting: wait for onopen, or await wait_opened()")


# Reading.


def stream(session: Session) -> Inbox:
    """Return the inbox, which queues messages for recv() from now on.

    Raises:
        InvalidStateError: messages go to listeners.
    """
    inbox = session.inbox
    if inbox.listens("message"):
        raise InvalidStateError("the messages of this socket go to its listeners, so recv() would wait for ever")
    inbox.streaming = True
    return inbox


# Waiting.


def until_opened(session: Session) -> Promise:
    """Return the promise that the connection is open; the socket is to be read as a stream."""
    session.inbox.read_as_stream()
    if not session.opened and not _has_ended(session):
        return session.promise().until_opened()
    promise = Promise(session.driver.loop())
    if session.opened:
        promise.succeed(None)
    else:
        promise.fail(session.end_report().opening_error)
    return promise


def until_closed(session: Session) -> Promise:
    """Return the promise of the CloseEvent."""
    if not _has_ended(session):
        return session.promise().until_closed()
    promise = Promise(session.driver.loop())
    promise.succeed_with(session.end_report().event)
    return promise


def until_flushed(session: Session) -> Promise:
    """Return the promise that everything that was sent has left the process."""
    if _has_ended(session):
        return failed(session)
    if not session.connection.is_flushed:
        return session.promise().until_flushed()
    promise = Promise(session.driver.loop())
    promise.succeed(None)
    return promise


def failed(session: Session) -> Promise:
    """Return a promise that raises ConnectionClosed."""
    promise = Promise(session.driver.loop())
    promise.fail(session.end_report().closed_error)
    return promise


def _has_ended(session: Session) -> bool:
    return session.report is not None and session.report.is_final


# Sending.


def send_elsewhere(session: Session, send: Callable[..., Any], data: str | Buffer, compress: bool | None) -> Promise:
    """Hand a call of ``send`` over from another thread.

    Raises:
        InvalidStateError: the socket is CONNECTING.
        TypeError: the data is not a str, and not bytes-like.
    """
    _, message = to_message(data)
    require_opened(session)
    call = partial(send, message, compress)
    caller = _get_running_loop()
    if caller is not None:
        call = partial(_send_for, session, caller, call)
    return post(session, call, utf8_size(message))


def _send_for(session: Session, caller: AbstractEventLoop, send: Callable[[], Any]) -> Any:
    """Send a message that a task of another thread's event loop, the caller, may be about to await.

    The iterations of two event loops have no order, so the backlog presumes that it is awaited until the caller has run
    two iterations.
    """
    place = send()
    if isinstance(place, Place):
        place.presume_awaited()
        try:
            caller.call_soon_threadsafe(caller.call_soon, session.driver.call_threadsafe, place.close)
        except RuntimeError:  # the caller has been closed
            place.close()
    return place


def send_late(session: Session, message: str | bytes) -> Promise:
    """Count a message that is sent after the closing handshake has started.

    Raises:
        InvalidStateError: the socket is CONNECTING.
    """
    require_opened(session)
    session.end_report().sent_late += utf8_size(message)
    return failed(session)


def wait_for_room(session: Session, message: str | bytes) -> Promise:
    """Return the promise that a message that was sent has left, or that there is room again."""
    promises = session.promise()
    if promises.backlog is None:
        promises.backlog = Backlog(partial(_watch_backlog, session), session.driver.loop())
    place = promises.backlog.add(utf8_size(message))
    _watch_backlog(session)
    return place


def _watch_backlog(session: Session) -> None:
    """If the backlog is too large, judge it two iterations later, when it is known what tasks wait for."""
    backlog = None if session.promises is None else session.promises.backlog
    if backlog is None or backlog.is_watched:
        return
    if session.connection.buffered_amount() > session.limits.max_buffered_amount:
        backlog.is_watched = True
        session.run_soon(session.run_soon, _judge_backlog, session)


def _judge_backlog(session: Session) -> None:
    """End the connection if more than ``max_buffered_amount`` is to be sent that no task waits for."""
    backlog = None if session.promises is None else session.promises.backlog
    if backlog is None or not session.connection.is_open:
        return
    backlog.is_watched = False
    limit = session.limits.max_buffered_amount
    amount = backlog.unawaited(session.connection.buffered_amount())
    if amount > limit and not backlog.is_one_message(amount):
        overflow(
            session, f"send() has queued {amount:,} bytes that no task waits for, and max_buffered_amount is {limit:,}"
        )


def overflow(session: Session, why: str) -> None:
    """End the connection: the peer does not read fast enough ("flagged as full")."""
    session.end_report().error = BufferError(why)
    now = session.driver.time()
    session.connection.refuse(CloseCode.POLICY_VIOLATION, "", now, Reason(Cause.SLOW_CONSUMER, why))
    session.connection.terminate(now)
    session.schedule()


def ping(session: Session, payload: bytes, *, behind: bool) -> Promise:
    """Send a ping, on any thread.

    Args:
        session: the session.
        payload: at most 125 bytes; if empty, random ones.
        behind: whether it follows the messages that wait, instead of overtaking them.

    Returns:
        The promise of the round-trip time in seconds.

    Raises:
        InvalidStateError: the socket is CONNECTING, or a ping with the same payload is under way.
    """
    require_opened(session)
    connection, promises = session.connection, session.promises
    if payload and connection.is_open and promises is not None and promises.is_pinging(payload):
        raise InvalidStateError("a ping with the same data waits for its pong")
    if session.is_elsewhere():
        return post(session, lambda: ping(session, payload, behind=behind))
    if not connection.is_open:
        return failed(session)
    promises = session.promise()
    while not payload:
        payload = urandom(PING_PAYLOAD_SIZE)
        if promises.is_pinging(payload):
            payload = b""
    session.schedule()
    promise = promises.ping(payload, session.driver.time())
    connection.send_ping(payload, behind)
    return promise


async def drain(session: Session, timeout: float | None) -> float:
    """Wait until the peer has everything that was sent; see WebSocket.drain()."""
    try:
        took: float = await wait_for(_wait(ping(session, b"", behind=True)), timeout)
    except TimeoutError:
        left = f"{buffered_amount(session):,} bytes of messages had not left this process"
        raise TimeoutError(f"the peer did not confirm within {timeout:g} s that it has all; {left}") from None
    return took


async def check_alive(session: Session, timeout: float) -> float:
    """Wait for the answer of the peer to a ping, and end the connection if none comes; see WebSocket.check_alive()."""
    received = session.connection.receiver.bytes_received
    try:
        took: float = await wait_for(_wait(ping(session, b"", behind=False)), timeout)
    except TimeoutError:
        _give_up(session, timeout, received)
        await anywhere(session, until_closed)
        raise session.end_report().closed_error() from None
    return took


def _give_up(session: Session, timeout: float, received_before: int) -> None:
    """End the connection, on any thread, because a ping had no answer.

    Args:
        session: the session.
        timeout: the seconds that its answer was waited for.
        received_before: the bytes that had been received when the ping was sent.
    """
    if session.is_elsewhere():
        post(session, lambda: _give_up(session, timeout, received_before))
        return
    received = session.connection.receiver.bytes_received - received_before
    answer = f"no answer, but {received:,} other bytes," if received else "no answer"
    terminate(session, Reason(Cause.PING_TIMEOUT, f"check_alive() got {answer} for {timeout:g} s"))


async def _wait(awaitable: Awaitable[Any]) -> Any:
    """Await an awaitable: wait_for() accepts coroutines only."""
    return await awaitable


def buffered_amount(session: Session) -> int:
    """Return the bytes of messages that were sent and have not left the process; it only grows after the end."""
    late = 0 if session.report is None else session.report.sent_late
    handed_over = 0 if session.handover is None else session.handover.amount()
    return session.connection.buffered_amount() + late + handed_over


# Closing.


def close(session: Session, code: int | None, reason: str, why: Reason, timeout: float | None = None) -> None:
    """Start the closing handshake, unless it has been started.

    Args:
        session: the session.
        code, reason: of the Close frame.
        why: the reason, for the outcome.
        timeout: seconds that the whole closing may take; None for the option ``close_timeout``.
    """
    state = session.connection.closing.state
    if state is OPEN or state is CONNECTING:
        now = session.driver.time()
        session.connection.send_close(None if code is None else int(code), reason, now, timeout, why)
        session.schedule()


def close_anywhere(
    session: Session, code: int | None, reason: str, why: Reason, timeout: float | None = None
) -> Promise:
    """Do as close(), on any thread, and return the promise of the CloseEvent."""
    if session.is_elsewhere():
        handover_of(session).closes = True
        return post(session, lambda: close_anywhere(session, code, reason, why, timeout))
    close(session, code, reason, why, timeout)
    return until_closed(session)


def terminate(session: Session, why: Reason, *, reset: bool = False) -> None:
    """End the connection now.

    Args:
        session: the session.
        why: the reason, for the outcome.
        reset: whether the peer is to see a reset of TCP, whatever the reason is.
    """
    if session.connection.closing.state is not CLOSED:
        session.connection.terminate(session.driver.time(), why, reset)
        session.schedule()


def terminate_anywhere(session: Session, reset: bool) -> None:
    """Do as terminate(), on any thread, because the application wants it."""
    if session.is_elsewhere():
        handover_of(session).closes = True
        post(session, lambda: terminate(session, Reason(Cause.TERMINATED), reset=reset))
    else:
        terminate(session, Reason(Cause.TERMINATED), reset=reset)


async def leave(session: Session, exc_type: type[BaseException] | None, default_code: CloseCode) -> None:
    """Close at the end of an ``async with``.

    Args:
        session: the session.
        exc_type: the type of the exception that ended it; None if there was none.
        default_code: the code after an exception of the application.
    """
    session.inbox.reader_left()
    if exc_type is not None and issubclass(exc_type, (CancelledError, KeyboardInterrupt, SystemExit)):
        cause = Cause.CANCELLED if issubclass(exc_type, CancelledError) else Cause.PROCESS_EXIT
        timeout = min(GRACE, session.limits.close_timeout)
        await close_anywhere(session, CloseCode.GOING_AWAY, "", Reason(cause), timeout)
    else:
        code = CloseCode.NORMAL_CLOSURE if exc_type is None else default_code
        await close_anywhere(session, code, "", Reason(Cause.LOCAL_CLOSE))


# Other threads.


def anywhere(session: Session, function: Callable[[Session], Promise]) -> Promise:
    """Return the result of ``function(session)``, on any thread."""
    return post(session, partial(function, session)) if session.is_elsewhere() else function(session)


def handover_of(session: Session) -> Handover:
    """Return the session's Handover, on any thread."""
    if session.handover is None:
        new = Handover()
        if session.handover is None:  # no thread runs between this line and the next
            session.handover = new
    return session.handover


def post(session: Session, function: Callable[[], Any], size: int = 0) -> Promise:
    """Call a function on the thread of the event loop, soon.

    Args:
        session: the session.
        function: called without arguments.
        size: the bytes of the message that it sends, which count in bufferedAmount until then.

    Returns:
        The promise of its result.
    """
    promise = Promise(session.driver.loop())
    call = HandedOver(function, promise, session.break_off, handover_of(session), size)
    session.driver.call_threadsafe(call)
    return promise
