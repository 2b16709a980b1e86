"""The protocol of a connection that has said all: what arrives is dropped, until the peer ends TCP too.

Closing TCP while data is unread makes the kernel send a reset, which destroys what is on its way to the peer, such as
a Close frame or an HTTP error (RFC 6455 section 7.1.1). The wait is bounded by LINGER_BYTES here and by LINGER seconds
in driver.py.

A protocol is usually replaced by this one from within one of its own methods, and a compiled method does not keep its
own object alive. So a Draining keeps the protocol that it replaces until the connection is gone. This is the only place
that does: a protocol that is replaced by another kind is not compiled.
"""

from __future__ import annotations

from typing import Any
from typing import Protocol as Interface

from ..model.registry import LINGER_BYTES
from ..wire.receiver import ReadBuffer
from .interface import Protocol, Transport


class Owner(Interface):
    """Owns the connection."""

    def disconnected(self) -> None:
        """Let go of the transport, which is gone."""


class Draining(Protocol):
    """Drops what arrives.

    Args:
        owner: told when the transport is gone.
        transport: the connection.
        buffer: memory to read into.
        replaced: the protocol before this one.
    """

    __slots__ = ("_buffer", "_discarded", "_owner", "_replaced", "_transport")

    def __init__(self, owner: Owner, transport: Transport, buffer: ReadBuffer, replaced: Any = None) -> None:
        self._owner = owner
        self._transport = transport
        self._buffer = buffer
        self._replaced = replaced
        self._discarded = 0

    # The transport's side.

    def get_buffer(self, sizehint: int) -> Any:
        """Return memory whose contents are never looked at."""
        return self._buffer.view

    def buffer_updated(self, count: int) -> None:
        """Count what is dropped."""
        self._discarded += count
        if self._discarded > LINGER_BYTES:
            self._transport.abort()

    def eof_received(self) -> bool:
        """Let the transport be closed."""
        return False

    def write_failed(self) -> None:
        """Abort: nothing is left to say."""
        self._transport.abort()

    def layer_failed(self, error: Exception) -> None:
        """Let the peer read the alert."""
        try:
            self._transport.write_eof()
        except OSError:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the owner."""
        self._owner.disconnected()

    # The driver's side.

    def time_is_up(self) -> None:
        """Abort: LINGER seconds have passed."""
        self._transport.abort()

    def leave_loop(self, timeout: float) -> None:
        """Do nothing: the end is bounded already."""

    def abandon(self) -> None:
        """Do nothing: the driver aborts the transport."""

    def disown(self) -> None:
        """Do nothing: the driver aborts the transport."""
