"""broadcast(): send one message to many sockets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from ..checks import a_bool
from ..model.registry import HIGH_WATER
from ..wire.prepared import PreparedMessage
from . import calls
from .conversions import to_message
from .session import Session
from .websocket import WebSocket, session_of

if TYPE_CHECKING:
    from typing_extensions import Buffer

Socket = TypeVar("Socket", bound=WebSocket)


def broadcast(
    sockets: Iterable[Socket],
    message: str | Buffer,
    *,
    slow: Literal["skip", "close"] = "skip",
    compress: bool | None = None,
) -> list[Socket]:
    """Send a message to many sockets, without waiting for any of them.

    It is framed once, and compressed once for all whose messages are compressed alike and each by itself; with
    ``context_takeover`` each connection has to compress for itself. Sockets that are not open are passed over.

    A socket is slow if more than 64 KiB wait to leave it, so that ``await socket.send()`` would have to wait: one
    reader that can't keep up must not fill the memory, nor hold up the others.

    Args:
        sockets: they may change meanwhile, and there may be clients among them.
        message: a str is sent as text, its lone surrogates replaced; anything bytes-like as binary.
        slow: ``skip`` leaves this message out for a slow socket; ``close`` ends it at once: 1006, ``slow_consumer``.
        compress: as in send().

    Returns:
        The sockets that were slow.

    Raises:
        TypeError: not a str and not bytes-like, or not a WebSocket among the sockets. Nothing was sent.
        ValueError: another value for ``slow``. Nothing was sent.
    """
    if slow not in ("skip", "close"):
        raise ValueError(f"slow must be 'skip' or 'close', not {slow!r}")
    if compress is not None:
        a_bool("compress", compress)
    prepared = PreparedMessage(*to_message(message), compress)
    if not isinstance(sockets, Iterable):
        raise TypeError(f"broadcast() takes several sockets, such as a set of them, not {type(sockets).__name__}")
    chosen = list(sockets)
    for each in chosen:  # not a variable that has a type in the compiled build
        if not isinstance(each, WebSocket):
            raise TypeError(f"broadcast() takes sockets, not {type(each).__name__}")
    closes = slow == "close"
    missed: list[Socket] = []
    elsewhere: dict[object, list[Session]] = {}  # by event loop
    for socket in chosen:
        session = session_of(socket)
        if session.is_elsewhere():
            if _is_slow(session, closes):
                missed.append(socket)
            elif socket.readyState == WebSocket.OPEN:
                elsewhere.setdefault(session.driver.loop(), []).append(session)
        elif not _send(session, prepared, closes):
            missed.append(socket)
    for group in elsewhere.values():
        own = PreparedMessage(prepared.opcode, prepared.message, compress)  # it is not safe to share between threads
        for session in group:
            calls.handover_of(session).expect(len(own.payload))
        session = group[0]
        session.driver.call_threadsafe(partial(_write_handed_over, group, own))
    return missed


def _write_handed_over(sessions: Sequence[Session], prepared: PreparedMessage) -> None:
    """Send a message that was handed over, on the thread of these sessions."""
    for session in sessions:
        if session.connection.is_open:
            _write(session, prepared)
        calls.handover_of(session).fulfil(len(prepared.payload))


def _send(session: Session, prepared: PreparedMessage, closes: bool) -> bool:
    """Send a message if the socket is open.

    Returns:
        False if the socket is slow; then it does not get the message, and is closed if ``closes``.
    """
    connection = session.connection
    if not connection.is_open:
        return True
    amount = connection.buffered_amount()
    if amount > HIGH_WATER:
        if closes:
            _close_slow(session, amount)
        return False
    _write(session, prepared)
    return True


def _write(session: Session, prepared: PreparedMessage) -> None:
    """Send a message over an open connection: at once, unless other messages leave with it."""
    connection = session.connection
    driver = session.driver
    frame = None
    try:
        if not session.settles:
            session.now = driver.time()
            frame = connection.take(prepared, session.now)
            if frame is None:
                session.schedule()
        if frame is None:
            connection.send(prepared.opcode, prepared.message, prepared.compress)
        else:
            driver.write(frame)
            connection.fill()  # there is nothing more to send, but now it is known what has left
    except Exception as error:
        session.break_off(error)


def _is_slow(session: Session, closes: bool) -> bool:
    """Return True if a socket of another thread is slow; then it is closed if ``closes``."""
    handover = calls.handover_of(session)
    amount = session.connection.buffered_amount() + handover.amount()
    if amount <= HIGH_WATER or not session.connection.is_open or handover.closes:
        return False
    if closes:
        handover.closes = True
        calls.post(session, partial(_close_slow, session, amount))
    return True


def _close_slow(session: Session, amount: int) -> None:
    calls.overflow(session, f'broadcast(slow="close") closed this connection: {amount:,} bytes were still unsent')
