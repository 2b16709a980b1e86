"""Finds out whether the peer has ended a connection that is not read at present."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from contextvars import Context

from ..socket.session import Session
from . import kernel
from .interface import Transport

#: Seconds between two looks.
WATCH_INTERVAL = 0.5

#: Bytes that a look goes through, in search of the peer's Close frame.
PEEK_BYTES = 1 << 20


class EndWatch:
    """Looks from time to time for the peer's end, while a stream's queue is full and reading is paused.

    A watch goes on when reading has been resumed, until its timer finds that out: most pauses are short, and a timer
    for each would cost more.

    Args:
        loop: the running one.
        session: told of the end.
        transport: the connection.

    Attributes:
        active: False while the connection is read.
    """

    __slots__ = ("_session", "_loop", "_seen", "_timer", "_transport", "active")

    def __init__(self, loop: AbstractEventLoop, session: Session, transport: Transport) -> None:
        self._loop = loop
        self._session = session
        self._transport = transport
        self._seen = -1  # unread bytes at the last look
        self._timer: TimerHandle | None = None
        self.active = False

    def start(self) -> None:
        """Reading has been paused."""
        self.active = True
        if self._timer is None:
            self._seen = -1
            self._wait()

    def stop(self) -> None:
        """The connection has ended, or is no longer the session's."""
        self.active = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        self._timer = self._loop.call_later(WATCH_INTERVAL, self._look, context=Context())

    def _look(self) -> None:
        self._timer = None
        if not self.active:
            return
        session = self._session
        transport = self._transport
        number = transport.fileno()
        if kernel.has_ended(number):
            session.write_failed()
            return
        if transport.is_opaque():  # what is encrypted can't be seen without reading it
            session.read_more()
        elif (unread := kernel.unread(number)) != self._seen:
            self._seen = unread
            if session.connection.receiver.finds_close(kernel.peek(number, min(unread, PEEK_BYTES))):
                session.write_failed()
        if self.active and self._timer is None:
            self._wait()
