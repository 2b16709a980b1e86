"""The protocol of an established connection: what arrives goes to a WebSocket.

This file, and watch.py for a connection that is not read, are the only ones in which a transport's events become calls
of an Endpoint.
"""

from __future__ import annotations

from typing import Any

from ..closing.outcome import Cause
from ..model.registry import CloseCode
from ..opening.extensions import Agreement
from ..socket.endpoint import Endpoint
from . import kernel
from .interface import Protocol, Transport
from .tls import is_tls_error
from .watch import EndWatch

#: Messages in one read after which other connections have their turn, even if there is more to read.
MANY_MESSAGES = 64

#: Messages in one read that make it a flood, and the bytes that are read at once from then on.
FLOOD_MESSAGES, FLOOD_READ_BYTES = 1 << 12, 1 << 13


class Established(Protocol):
    """Passes what a transport tells on to an endpoint.

    Args:
        endpoint: of an established connection.
        transport: the connection.
    """

    __slots__ = ("_endpoint", "_floods", "_offered", "_transport")

    def __init__(self, endpoint: Endpoint, transport: Transport) -> None:
        self._endpoint: Endpoint | None = endpoint
        self._transport = transport
        self._offered = 0  # bytes that there was room for in the last read
        self._floods = False  # the last read was full of tiny messages

    # The transport's side.

    def get_buffer(self, sizehint: int) -> Any:
        """Return the endpoint's memory."""
        endpoint = self._endpoint
        assert endpoint is not None
        room: Any = endpoint._connection.receiver.get_buffer()
        if self._floods:
            room = room[:FLOOD_READ_BYTES]
        self._offered = len(room)
        return room

    def buffer_updated(self, count: int) -> None:
        """Let the endpoint process bytes."""
        endpoint = self._endpoint
        assert endpoint is not None
        connection = endpoint._connection
        messages = connection.receiver.messages_received
        endpoint._data_received(count, endpoint._host.time())
        messages = connection.receiver.messages_received - messages
        if messages >= MANY_MESSAGES and count == self._offered:
            self._floods = self._floods or messages >= FLOOD_MESSAGES
            self._transport.give_way()
        else:
            self._floods = False

    def is_amid_frame(self) -> bool:
        """Return True during a large message: the memory that it is put together in is in the processor's caches."""
        endpoint = self._endpoint
        return endpoint is not None and endpoint._connection.receiver.is_amid_frame()

    def eof_received(self) -> bool:
        """Let the endpoint process the peer's end of stream; return False if that has ended the connection."""
        if self._endpoint is not None:
            self._endpoint._eof(self._transport.is_truncated())
        return self._endpoint is not None

    def pause_writing(self) -> None:
        """Tell the endpoint."""
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint._writing_paused()

    def resume_writing(self) -> None:
        """Let the endpoint send what has waited."""
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint._connection.resume_writing()
            endpoint._settle()

    def write_failed(self) -> None:
        """Read on, even if the queue is full: the peer's last words may be among what comes."""
        if self._endpoint is not None:
            self._endpoint._end_in_sight()

    def layer_failed(self, error: Exception) -> None:
        """End the connection, and let the peer read the alert."""
        endpoint = self._endpoint
        if endpoint is not None:
            self._tell_lost(endpoint, error)
            endpoint._host.half_close()

    def connection_lost(self, error: Exception | None) -> None:
        """End the connection."""
        endpoint = self._endpoint
        if endpoint is not None:
            driver: Any = endpoint._host
            self._tell_lost(endpoint, error)
            driver.disconnected()

    def _tell_lost(self, endpoint: Endpoint, error: Exception | None) -> None:
        transport = self._transport
        unflushed = kernel.unsent(transport.fileno())
        endpoint._lost(error, _cause_of(error), transport.get_write_buffer_size(), unflushed)

    # The driver's side.

    def establish(self, agreement: Agreement, rest: bytes, then: Any) -> None:
        """Begin; see Driver.open()."""
        endpoint = self._endpoint
        assert endpoint is not None
        if self._transport.get_write_buffer_size():  # the server's answer did not fit
            endpoint._writing_paused()
        endpoint._establish(agreement, rest, then)

    def new_watch(self, loop: Any) -> EndWatch:
        """Make what looks for the peer's end while reading is paused."""
        assert self._endpoint is not None
        return EndWatch(loop, self._endpoint, self._transport)

    def let_go(self) -> None:
        """Forget the endpoint, which has left the connection, or has lost it."""
        self._endpoint = None

    def time_is_up(self) -> None:
        """Let the endpoint look at its deadlines."""
        if self._endpoint is not None:
            self._endpoint._alarm()

    def leave_loop(self, timeout: float) -> None:
        """Close with 1001 within so many seconds."""
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint._start_closing(CloseCode.GOING_AWAY, "", Cause.PROCESS_EXIT, timeout=timeout)
            endpoint._settle()

    def abandon(self) -> None:
        """End now."""
        endpoint = self._endpoint
        if endpoint is not None:
            endpoint._terminate(Cause.PROCESS_EXIT)
            endpoint._settle()

    def disown(self) -> None:
        """End without the transport, which is another process's."""
        if self._endpoint is not None:
            self._endpoint._terminate(
                Cause.PROCESS_EXIT, "this is a forked process, and the connection is its parent's"
            )


def _cause_of(error: BaseException | None) -> Cause:
    """Return what an error of the transport says about the end of an open connection."""
    if error is None:
        return Cause.TCP_FIN
    return Cause.TLS_FAILED if is_tls_error(error) else Cause.TCP_RESET
