"""The two sides of a connection's byte stream: the transport that carries it, and the protocol that uses it.

Both have the methods of asyncio.Transport and asyncio.BufferedProtocol, and a few more. They are classes and not
typing.Protocols because the compiled build calls them through C method tables: a transport of this package and a
protocol of this package need no Python call between them.
"""

from __future__ import annotations

from asyncio import BufferedProtocol
from typing import Any


class Protocol:
    """Uses a transport; what asyncio.BufferedProtocol is, and a few methods more."""

    __slots__ = ()

    def connection_made(self, transport: Any) -> None:
        """Take the transport."""

    def get_buffer(self, sizehint: int) -> Any:
        """Return the memory to read into, a memoryview of at least one byte."""
        raise NotImplementedError

    def buffer_updated(self, count: int) -> None:
        """Process the first ``count`` bytes of the memory that get_buffer() returned."""
        raise NotImplementedError

    def eof_received(self) -> bool:
        """Process the peer's end of stream; return False to have the transport closed."""
        return False

    def pause_writing(self) -> None:
        """Note that the transport holds bytes that the kernel did not take."""

    def resume_writing(self) -> None:
        """Note that the kernel has taken everything."""

    def connection_lost(self, error: Exception | None) -> None:
        """Let go of the transport; the last call."""
        raise NotImplementedError

    # Beyond asyncio.

    def is_amid_frame(self) -> bool:
        """Return True if the transport should read again at once: a large message is being received."""
        return False

    def write_failed(self) -> None:
        """Note that nothing more can be written; connection_lost() follows once the peer's last bytes are read."""

    def ready(self) -> None:
        """Go on: a layer of TLS that was put on the transport is established."""

    def layer_failed(self, error: Exception) -> None:
        """End the connection in an orderly way: TLS has failed, and its alert must still reach the peer."""


class ForeignProtocol(Protocol):
    """Lets a transport of this package drive any asyncio.BufferedProtocol."""

    __slots__ = ("inner", "transport")

    def __init__(self, inner: BufferedProtocol, transport: Any) -> None:
        self.inner = inner
        self.transport = transport

    def connection_made(self, transport: Any) -> None:
        """Pass it on."""
        self.inner.connection_made(transport)

    def get_buffer(self, sizehint: int) -> Any:
        """Pass it on."""
        return memoryview(self.inner.get_buffer(sizehint))

    def buffer_updated(self, count: int) -> None:
        """Pass it on."""
        self.inner.buffer_updated(count)

    def eof_received(self) -> bool:
        """Pass it on."""
        return bool(self.inner.eof_received())

    def pause_writing(self) -> None:
        """Pass it on."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """Pass it on."""
        self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Pass it on."""
        self.inner.connection_lost(error)

    def write_failed(self) -> None:
        """Abort: asyncio has no state between open and lost."""
        self.transport.abort()

    def layer_failed(self, error: Exception) -> None:
        """Close: the alert still leaves, and connection_lost() has the error."""
        self.transport.close()


class Transport:
    """A connection's byte stream; what asyncio.Transport is, and a few methods more.

    The buffer limits of asyncio are fixed: pause_writing() is called as soon as the kernel does not take everything,
    resume_writing() as soon as it has.
    """

    __slots__ = ("_protocol",)

    _protocol: Any

    def set_protocol(self, protocol: Any) -> None:
        """Let another protocol have all that happens from now on; may be called from within any of its methods.

        A compiled method does not keep its own object alive. Whoever replaces a protocol that may be running keeps it
        until the call has returned; see draining.py.
        """
        self._protocol = protocol if isinstance(protocol, Protocol) else ForeignProtocol(protocol, self)

    def get_protocol(self) -> Any:
        """Return the current protocol."""
        protocol = self._protocol
        return protocol.inner if isinstance(protocol, ForeignProtocol) else protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``socket``, ``peername``, ``sockname``, or the default."""
        raise NotImplementedError

    def is_closing(self) -> bool:
        """Return True after close() and abort(), and once the connection is broken."""
        raise NotImplementedError

    def is_reading(self) -> bool:
        """Return True unless reading is paused."""
        raise NotImplementedError

    def pause_reading(self) -> None:
        """Read nothing until resume_reading(); no error if reading is paused."""
        raise NotImplementedError

    def resume_reading(self) -> None:
        """Read again; no error if reading is not paused."""
        raise NotImplementedError

    def write(self, data: Any, more: bool = False) -> None:
        """Write bytes behind what was written before.

        Args:
            more: True if write_eof() follows at once; both may share a packet.
        """
        raise NotImplementedError

    def writelines(self, chunks: list[Any]) -> None:
        """Write a list of bytes in order."""
        raise NotImplementedError

    def can_write_eof(self) -> bool:
        """Return True if write_eof() ends our side alone; where it can't, it ends both, as close() does."""
        return True

    def write_eof(self) -> None:
        """End our side of the stream behind what was written.

        Raises:
            OSError: the connection is broken.
        """
        raise NotImplementedError

    def close(self) -> None:
        """End both sides behind what was written; read nothing more."""
        raise NotImplementedError

    def abort(self) -> None:
        """End both sides now."""
        raise NotImplementedError

    def get_write_buffer_size(self) -> int:
        """Return how many bytes that were written are not the kernel's; after the end, how many were lost."""
        raise NotImplementedError

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return (0, 0): the limits are fixed."""
        return 0, 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: the limits are fixed."""

    # Beyond asyncio.

    def fileno(self) -> int:
        """Return the descriptor, for questions to the kernel that change nothing; -1 if there is none."""
        raise NotImplementedError

    def ready(self, events: int) -> None:
        """Act on a readiness event of the descriptor; only a transport that a Poller watches gets them."""
        raise NotImplementedError

    def is_opaque(self) -> bool:
        """Return True if the kernel's buffers hold something else than the stream's bytes: TLS records."""
        return False

    def is_truncated(self) -> bool:
        """Return True if the peer's end of stream was not announced by TLS, which was in use."""
        return False

    def give_way(self) -> None:
        """Let other connections be read before this one is read again."""
