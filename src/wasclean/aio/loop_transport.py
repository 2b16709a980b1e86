"""Any asyncio transport, behind the interface of ours: for systems without epoll, and connections of others.

LoopTransport is a protocol below and a transport above. All in which asyncio's transports, uvloop's and others differ
from each other, or from interface.py, is settled here and nowhere else:

- There may be no socket, and so no descriptor (an in-memory transport, a pipe); then nothing is known of what the
  kernel holds. Under a TLS transport there is one, but what can be read there are records, which are not for us.
- A transport may be unable to end its own side alone (asyncio's TLS): then write_eof() closes both.
- asyncio's TLS pauses writing when as much as the high limit is held, its other transports when more is held: so a
  limit of 0 would pause the former for ever.
- What a lost connection had left unread is read from the socket before connection_lost() is passed on: it may have a
  Close frame. The loop has let go of the socket by then, and closes it afterwards.
- A connection that breaks forgets how much of what was written it still held. So that is remembered.
- uvloop reads up to 32 times in a row, and give_way() has to interrupt it; it calls connection_lost(None) without
  eof_received() for some ends of stream; it calls resume_writing() from within a write; and its writelines(), as that
  of some versions of asyncio, never calls pause_writing().
- Both loops run callbacks of a descriptor in the context in which reading was resumed, and keep it.
"""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, BaseEventLoop, BufferedProtocol
from contextvars import Context
from typing import Any

from ..wire import octets
from . import kernel
from .interface import Protocol, Transport


class LoopTransport(Transport, BufferedProtocol):
    """A protocol for loop.create_connection() and loop.create_server().

    Args:
        loop: the running one.
        protocol: of the connection; its connection_made() gets this.
    """

    __slots__ = ("_ends", "_eof_received", "_inner", "_kept", "_loop", "_reads", "_reads_on")

    def __init__(self, loop: AbstractEventLoop, protocol: Protocol) -> None:
        self._loop = loop
        self._inner: Any = None
        self._reads = True
        self._reads_on = not isinstance(loop, BaseEventLoop)
        self._eof_received = False
        self._ends = False  # close() or abort() was called
        self._kept = 0  # bytes that were not the loop's or the kernel's after the latest write
        self.set_protocol(protocol)

    # The protocol below.

    def connection_made(self, transport: Any) -> None:
        """Take the loop's transport."""
        self._inner = transport
        transport.set_write_buffer_limits(high=1 if self.is_opaque() else 0, low=0)
        connection = self.get_extra_info("socket")
        if os.name == "posix" and connection is not None:
            kernel.limit_unsent(connection)
        self._protocol.connection_made(self)

    def get_buffer(self, sizehint: int) -> Any:
        """Ask the protocol."""
        return self._protocol.get_buffer(sizehint)

    def buffer_updated(self, count: int) -> None:
        """Tell the protocol."""
        self._protocol.buffer_updated(count)

    def eof_received(self) -> bool:
        """Tell the protocol."""
        self._eof_received = True
        return bool(self._protocol.eof_received()) and self.can_write_eof()

    def pause_writing(self) -> None:
        """Tell the protocol."""
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Tell the protocol, but not from within the loop's write, which does not expect write_eof() then."""
        self._loop.call_soon(self._resumed)

    def _resumed(self) -> None:
        if self._inner is not None and self.get_write_buffer_size() == 0:
            self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """Read what had arrived before the connection broke, and tell the protocol."""
        try:
            if error is not None:
                self._read_rest()
            elif not self._eof_received and not self._ends:
                self._protocol.eof_received()
            self._protocol.connection_lost(error)
        finally:
            self._inner = None
            self._protocol = None

    def _read_rest(self) -> None:
        number = -1 if self.is_opaque() else self.fileno()
        while number >= 0:
            count = octets.receive_now(number, self._protocol.get_buffer(-1))
            if count <= 0:
                break
            self._protocol.buffer_updated(count)

    # The transport above.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Ask the loop's transport."""
        return default if self._inner is None else self._inner.get_extra_info(name, default)

    def fileno(self) -> int:
        """Return the descriptor, to look at; -1 if there is none."""
        connection = self.get_extra_info("socket")
        return -1 if connection is None else int(connection.fileno())

    def is_opaque(self) -> bool:
        """Return True if the loop's transport does TLS."""
        return self.get_extra_info("sslcontext") is not None

    def is_closing(self) -> bool:
        """Return True after close() and abort(), and once the connection is broken."""
        return self._inner is None or bool(self._inner.is_closing())

    def is_reading(self) -> bool:
        """Return True unless reading is paused."""
        return self._reads

    def pause_reading(self) -> None:
        """Read nothing until resume_reading()."""
        self._reads = False
        if not self.is_closing():
            self._inner.pause_reading()

    def resume_reading(self) -> None:
        """Read again; in an empty context, or the loop would keep that of the caller."""
        self._reads = True
        if self._inner is not None:
            Context().run(self._inner.resume_reading)

    def give_way(self) -> None:
        """Let other connections be read before this one: uvloop would read on."""
        if self._reads_on and self._reads and not self.is_closing():
            self._inner.pause_reading()
            self._loop.call_soon(self._read_on, context=Context())

    def _read_on(self) -> None:
        if self._reads and not self.is_closing():
            self._inner.resume_reading()

    def write(self, data: Any, more: bool = False) -> None:
        """Write bytes."""
        self.writelines([data])

    def writelines(self, chunks: list[Any]) -> None:
        """Write a list of bytes in order, by write()."""
        if self.is_closing():  # the peer has gone
            self._kept += sum(map(len, chunks))
            self._protocol.pause_writing()
            return
        for chunk in chunks:
            self._inner.write(chunk)
        self._kept = int(self._inner.get_write_buffer_size()) if not self._inner.is_closing() else sum(map(len, chunks))

    def get_write_buffer_size(self) -> int:
        """Return how many bytes are not the kernel's, or were lost."""
        return self._kept if self.is_closing() else int(self._inner.get_write_buffer_size())

    def can_write_eof(self) -> bool:
        """Ask the loop's transport."""
        return self._inner is not None and bool(self._inner.can_write_eof())

    def write_eof(self) -> None:
        """End our side of the connection behind what was written, or both sides if that is all the transport can."""
        if self.is_closing():
            return
        if self._inner.can_write_eof():
            self._inner.write_eof()
        else:
            self.close()

    def close(self) -> None:
        """End both sides behind what was written."""
        self._ends = True
        if self._inner is not None:
            self._inner.close()

    def abort(self) -> None:
        """End both sides now."""
        self._ends = True
        if self._inner is not None:
            self._inner.abort()
