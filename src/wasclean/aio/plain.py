"""A connection that is read and written by ourselves: what a transport of the loop's does, for less.

A loop's own transport serves any protocol: uvloop's takes the GIL twice for each read, once to ask where to read to and
once to tell how much came. Here the poller tells that there is something to read, and the compiled build reads it in C.
"""

from __future__ import annotations

import os
import select
from asyncio import AbstractEventLoop
from collections import deque
from errno import EAGAIN, EINTR
from itertools import islice
from socket import SHUT_WR, socket
from typing import Any

from ..wire import octets
from .poller import Pollable, Poller
from .transport import Stream

_IN = getattr(select, "EPOLLIN", 0)
_OUT = getattr(select, "EPOLLOUT", 0)

#: Chunks that are written at once (IOV_MAX is at least 16, and 1,024 nearly everywhere).
CHUNKS = 16

#: Reads in a row of one connection, for one large message.
READS = 8


class PlainTransport(Pollable):
    """What a Stream uses of an asyncio transport.

    Args:
        loop: the running one.
        connection: not blocking, after kernel.send_soon(); it is closed when the stream has been told that it is lost,
            and so it is if the stream raises when it is told of the connection.
        stream: reads and writes; it is told at once that there is a connection.
        address: of the peer, which the kernel forgets when that resets the connection.
        poller: the loop's, joined for this, which leaves it in the end.
    """

    __slots__ = (
        "_closing",
        "_connection",
        "_ends",
        "_events",
        "_fd",
        "_held",
        "_loop",
        "_lost",
        "_poller",
        "_reads",
        "_stream",
    )

    def __init__(
        self, loop: AbstractEventLoop, connection: socket, stream: Stream, address: Any, poller: Poller
    ) -> None:
        self._poller = poller
        self._loop = loop
        self._events = 0  # what the poller tells us of
        self._connection = connection
        self._fd = connection.fileno()
        self._stream: Stream | None = stream
        self._stream._peer = address
        self._held: deque[Any] | None = None  # what the kernel has not taken
        self._reads = False
        self._ends = False  # whether write_eof() was called
        self._closing = False
        self._lost = False  # whether the stream has been told so, or is about to be
        try:
            stream.connection_made(self)
            self.resume_reading()
        except BaseException:
            self._break(None)
            raise

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """``socket`` or ``sockname``."""
        if name == "socket":
            return self._connection
        return self._connection.getsockname() if name == "sockname" else default

    def is_closing(self) -> bool:
        """Whether close() or abort() was called, or the connection has broken."""
        return self._closing

    # Reading.

    def pause_reading(self) -> None:
        """Read no more until resume_reading()."""
        if self._reads:
            self._reads = False
            self._watch()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reads and not self._closing:
            self._reads = True
            self._watch()

    def ready(self, events: int) -> None:
        """Something can be read or written, or the connection has ended, which reading and writing tell."""
        if self._reads and events != _OUT:
            self._read()
        if self._held is not None and events != _IN:
            self._write()

    def _watch(self) -> None:
        events = (_IN if self._reads else 0) | (0 if self._held is None else _OUT)
        before, self._events = self._events, events
        if events != before:
            try:
                self._poller.watch(self._fd, self, before, events)
            except OSError as error:  # there is no memory, or too much is watched on this machine
                self._events = 0
                self._break(error)

    def _read(self) -> None:
        stream = self._stream
        assert stream is not None
        try:
            for _ in range(READS):
                count = octets.receive_now(self._fd, stream.get_buffer(-1))
                if count <= 0:
                    self._nothing_read(stream, -count)
                    break
                stream.buffer_updated(count)
                if count < stream._offered or not self._reads or not stream.is_amid_frame():
                    break
        except Exception as error:  # no memory, or a mistake of ours: this connection ends, and no other
            stream.report("exception inside wasclean", error)
            self._break(error)

    def _nothing_read(self, stream: Stream, errno: int) -> None:
        if errno == 0:
            self.pause_reading()
            if not stream.eof_received():
                self.close()
        elif errno not in (EAGAIN, EINTR):
            self._break(OSError(errno, os.strerror(errno)))

    # Writing.

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """The stream is always told as soon as the kernel does not take everything: nothing else can be set."""

    def get_write_buffer_size(self) -> int:
        """Bytes that the kernel has not taken."""
        return sum(map(len, self._held or ()))

    def write(self, data: Any) -> None:
        """Write bytes behind all that was written before."""
        if self._closing:
            return
        if self._held is not None:
            self._held.append(data)
            return
        self._held = deque((data,))
        self._send()
        if self._held is not None:
            self._watch()
            assert self._stream is not None
            self._stream.pause_writing()

    def write_eof(self) -> None:
        """End our side of the connection, behind all that was written.

        Raises:
            OSError: the connection is broken.
        """
        self._ends = True
        if self._held is None and not self._closing:
            self._connection.shutdown(SHUT_WR)

    def _write(self) -> None:
        self._send()
        if self._held is None and not self._lost:
            self._written()

    def _send(self) -> None:
        """Give the kernel as much as it takes."""
        held = self._held
        assert held is not None
        try:
            sent = os.writev(self._fd, list(islice(held, CHUNKS)))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._break(error)
            return
        while held and sent >= len(held[0]):
            sent -= len(held.popleft())
        if held:
            held[0] = memoryview(held[0])[sent:]
        else:
            self._held = None

    def _written(self) -> None:
        """The kernel has taken everything."""
        self._watch()
        if self._closing:
            self._lose(None)
            return
        assert self._stream is not None
        self._stream.resume_writing()
        if self._ends and self._held is None:
            try:
                self._connection.shutdown(SHUT_WR)
            except OSError as error:
                self._break(error)

    # The end.

    def close(self) -> None:
        """End the connection behind all that was written; nothing more is read."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            if self._held is None:
                self._lose(None)

    def abort(self) -> None:
        """End the connection now."""
        self._break(None)

    def _break(self, error: Exception | None) -> None:
        self._reads = False
        self._closing = True
        self._held = None
        self._watch()
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        """Tell the stream that there is no connection any more, not from within its own call."""
        if not self._lost:
            self._lost = True
            self._loop.call_soon(self._tell, error)

    def _tell(self, error: Exception | None) -> None:
        stream, self._stream = self._stream, None
        assert stream is not None
        try:
            stream.connection_lost(error)
        finally:
            self._connection.close()
            self._poller.leave(self._loop)
