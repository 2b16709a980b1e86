"""What a connection writes: through TLS, if any, to the kernel, and to the transport what the kernel does not take."""

from __future__ import annotations

import os
from asyncio import Transport as AsyncioTransport
from typing import Any

from ..socket.host import Host
from ..wire import octets
from . import kernel
from .tls import TLS


class Outlet(Host):
    """The writing half of a Stream."""

    __slots__ = ("_fd", "_kept", "_tls", "_transport", "_write_error")

    def __init__(self) -> None:
        self._transport: AsyncioTransport | None = None
        self._tls: TLS | None = None
        self._fd = -1  # of the connection, while it may be written to without the transport
        self._kept = 0  # bytes that the transport was given and that the kernel did not take at once
        self._write_error: OSError | None = None

    def pause_writing(self) -> None:
        """The kernel takes no more."""
        raise NotImplementedError

    def writing_failed(self) -> None:
        """The peer has gone; but what it has said before may still be in the kernel, so reading is what ends this."""
        raise NotImplementedError

    def write(self, data: bytes | list[Any], last: bool = False) -> None:
        """Write bytes, or a list of them in order; ``last``: half_close() follows at once."""
        if self._transport is None:
            return
        tls = self._tls
        if tls is not None:
            data = tls.seal(data)
            if tls.error is not None:  # we shall be told that the connection is lost
                self._kept = tls.sealed
                self.pause_writing()
                return
        if isinstance(data, list):
            self._write_list(data)
            return
        if self._fd >= 0:
            # The transport holds nothing, or pause_writing() would have been called: it need not be troubled.
            packet = data
            sent = octets.send_now(self._fd, packet, last and tls is None)
            if sent == len(packet):
                return
            if sent < 0:
                self._write_failed(-sent, len(packet))
                return
            data = packet[sent:]
        self._hand_over([data])

    def _write_list(self, chunks: list[Any]) -> None:
        sent = 0
        if self._fd >= 0:
            try:
                sent = os.writev(self._fd, chunks)
            except BlockingIOError:
                pass
            except OSError as error:
                self._write_failed(error.errno or 0, sum(map(len, chunks)))
                return
        rest = []
        for chunk in chunks:
            if sent < len(chunk):
                rest.append(memoryview(chunk)[sent:])
            sent = max(sent - len(chunk), 0)
        if rest:
            self._hand_over(rest)

    def _hand_over(self, chunks: list[Any]) -> None:
        """Let the transport write what the kernel has not taken."""
        transport = self._transport
        assert transport is not None
        self._kept = sum(map(len, chunks))
        if transport.is_closing():  # the peer has gone, and we shall be told so
            self.pause_writing()
        else:
            # Not by writelines(): in some versions of Python that never calls pause_writing().
            for chunk in chunks:
                transport.write(chunk)

    def _write_failed(self, errno: int, size: int) -> None:
        self._write_error = OSError(errno, os.strerror(errno))
        self._kept = size
        self.writing_failed()

    def held(self) -> tuple[int, int]:
        """The bytes that were written and that the transport holds, and those that the kernel does, 0 if unknown."""
        transport = self._transport
        if transport is None:
            return self._in_the_clear(self._kept), 0
        kept = self._kept if self._write_error is not None else transport.get_write_buffer_size()
        return self._in_the_clear(kept), kernel.unsent(self._fileno())

    def _in_the_clear(self, size: int) -> int:
        """The bytes, before they were encrypted, that are lost with so many of the latest that were written."""
        return size if self._tls is None else self._tls.unread(size)

    def _fileno(self) -> int:
        """The number of the connection's file; -1 if there is none."""
        connection = None if self._transport is None else self._transport.get_extra_info("socket")
        return -1 if connection is None else int(connection.fileno())
