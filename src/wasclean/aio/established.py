"""The protocol of an established connection: what arrives goes to a WebSocket.

This file, and watch.py for a connection that is not read, are the only ones in which a transport's events become calls
of a Session.
"""

from __future__ import annotations

from typing import Any

from ..closing.outcome import Cause, Reason
from ..model.registry import CloseCode
from ..opening.extensions import Agreement
from ..socket import calls
from ..socket.opening import establish
from ..socket.session import Session
from . import kernel
from .interface import Protocol, Transport
from .tls import is_tls_error
from .watch import EndWatch

#: The detail of an end in a child process.
FORKED = "this is a forked process, and the connection is its parent's"

#: Messages in one read after which other connections have their turn, even if there is more to read.
MANY_MESSAGES = 64

#: Messages in one read that make it a flood, and the bytes that are read at once from then on.
FLOOD_MESSAGES, FLOOD_READ_BYTES = 1 << 12, 1 << 13


class Established(Protocol):
    """Passes what a transport tells on to a session.

    Args:
        session: of an established connection.
        transport: the connection.
    """

    __slots__ = ("_session", "_floods", "_offered", "_transport")

    def __init__(self, session: Session, transport: Transport) -> None:
        self._session: Session | None = session
        self._transport = transport
        self._offered = 0  # bytes that there was room for in the last read
        self._floods = False  # the last read was full of tiny messages

    # The transport's side.

    def get_buffer(self, sizehint: int) -> Any:
        """Return the session's memory."""
        session = self._session
        assert session is not None
        room: Any = session.connection.receiver.get_buffer()
        if self._floods:
            room = room[:FLOOD_READ_BYTES]
        self._offered = len(room)
        return room

    def buffer_updated(self, count: int) -> None:
        """Let the session process bytes."""
        session = self._session
        assert session is not None
        connection = session.connection
        messages = connection.receiver.messages_received
        session.data_received(count, session.driver.time())
        messages = connection.receiver.messages_received - messages
        if messages >= MANY_MESSAGES and count == self._offered:
            self._floods = self._floods or messages >= FLOOD_MESSAGES
            self._transport.give_way()
        else:
            self._floods = False

    def is_amid_frame(self) -> bool:
        """Return True during a large message: the memory that it is put together in is in the processor's caches."""
        session = self._session
        return session is not None and session.connection.receiver.is_amid_frame()

    def eof_received(self) -> bool:
        """Let the session process the peer's end of stream; return False if that has ended the connection."""
        if self._session is not None:
            self._session.eof_received(self._transport.is_truncated())
        return self._session is not None

    def pause_writing(self) -> None:
        """Tell the session."""
        session = self._session
        if session is not None:
            session.writing_paused()

    def resume_writing(self) -> None:
        """Let the session send what has waited."""
        session = self._session
        if session is not None:
            session.writing_resumed()
            session.settle()

    def write_failed(self) -> None:
        """Read on, even if the queue is full: the peer's last words may be among what comes."""
        if self._session is not None:
            self._session.write_failed()

    def layer_failed(self, error: Exception) -> None:
        """End the connection, and let the peer read the alert."""
        session = self._session
        if session is not None:
            self._tell_lost(session, error)
            session.driver.half_close()

    def connection_lost(self, error: Exception | None) -> None:
        """End the connection."""
        session = self._session
        if session is not None:
            driver: Any = session.driver
            self._tell_lost(session, error)
            driver.disconnected()

    def _tell_lost(self, session: Session, error: Exception | None) -> None:
        transport = self._transport
        unflushed = kernel.unsent(transport.fileno())
        session.connection_lost(error, _cause_of(error), transport.get_write_buffer_size(), unflushed)

    # The driver's side.

    def establish(self, agreement: Agreement, rest: bytes, then: Any) -> None:
        """Begin; see Driver.open()."""
        session = self._session
        assert session is not None
        if self._transport.get_write_buffer_size():  # the server's answer did not fit
            session.writing_paused()
        establish(session, agreement, rest, then)

    def new_watch(self, loop: Any) -> EndWatch:
        """Make what looks for the peer's end while reading is paused."""
        assert self._session is not None
        return EndWatch(loop, self._session, self._transport)

    def let_go(self) -> None:
        """Forget the session, which has left the connection, or has lost it."""
        self._session = None

    def time_is_up(self) -> None:
        """Let the session look at its deadlines."""
        if self._session is not None:
            self._session.alarm()

    def leave_loop(self, timeout: float) -> None:
        """Close with 1001 within so many seconds."""
        session = self._session
        if session is not None:
            calls.close(session, CloseCode.GOING_AWAY, "", Reason(Cause.PROCESS_EXIT), timeout)
            session.settle()

    def abandon(self) -> None:
        """End now."""
        session = self._session
        if session is not None:
            calls.terminate(session, Reason(Cause.PROCESS_EXIT))
            session.settle()

    def disown(self) -> None:
        """End without the transport, which is another process's."""
        if self._session is not None:
            calls.terminate(self._session, Reason(Cause.PROCESS_EXIT, FORKED))


def _cause_of(error: BaseException | None) -> Cause:
    """Return what an error of the transport says about the end of an open connection."""
    if error is None:
        return Cause.TCP_FIN
    return Cause.TLS_FAILED if is_tls_error(error) else Cause.TCP_RESET
