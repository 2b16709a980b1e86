"""A transport that reads and writes a non-blocking socket itself, told by an epoll when it can.

Theory of operation
===================

An event loop's own transport serves every protocol, and pays for that on each read: uvloop takes the GIL twice, once
to ask for memory and once to tell what it has put there, and makes a handle and a context for each. Here one epoll
(poller.py) holds all connections of a loop, and the loop watches that one descriptor. The compiled build goes from
epoll_wait() through recv() to the protocol and back through send() without a Python call.

EpollTransport is an asyncio.Transport in its methods and in its promises, so any asyncio.BufferedProtocol runs on it
(interface.py). It differs in three points, all of which asyncio leaves open:

- The write buffer limits are zero. pause_writing() means: some bytes are not the kernel's. resume_writing() means: all
  are. The WebSocket above keeps its own queue, and needs to know exactly which messages can no longer be taken back.
- A failed write does not end the connection. The peer may have sent a Close frame before it went, and recv() still
  returns it after send() has failed with EPIPE or ECONNRESET. So write_failed() is called, everything written from
  then on is counted and dropped, and reading goes on until end of stream or an error; then connection_lost() gets the
  error of the write.
- The protocol may be told of a paused or a resumed write from within write() and set_protocol() may be called from
  within any callback; connection_lost() alone is never called from within a call of the transport.

Writing
-------

There is one queue, ``_held``: the bytes that the kernel has not taken, or None. While it is None, write() calls send()
at once, and nothing is allocated or registered. When the kernel takes less than all, the rest is put into the queue,
EPOLLOUT is added to what the epoll watches, and pause_writing() is called. The kernel is not asked a second time: it
has just said that its buffer is full. While the queue exists, write() appends to it. EPOLLOUT empties it by writev(),
and when it is empty resume_writing() is called, and a write_eof() or close() that has waited for it takes place.

Reading
-------

``_events`` is what the epoll watches for this socket: EPOLLIN while reading, EPOLLOUT while the queue exists. With
neither, the socket is not in the epoll at all, because EPOLLERR and EPOLLHUP cannot be masked and would be reported
for ever. A readiness event is answered by one recv(), so that one busy peer can't keep the others waiting; by up to
READS of them while a single large message arrives and each has filled the memory.

The end
-------

close() and abort() set ``_closing``. Once nothing is held, or at once, connection_lost() is scheduled, and after that
call the socket is closed and the epoll is left. Until then the descriptor is valid, and get_write_buffer_size() says
how many bytes are lost.
"""

from __future__ import annotations

import os
import select
from asyncio import AbstractEventLoop
from collections import deque
from errno import EAGAIN, EINTR
from functools import partial
from itertools import islice
from socket import SHUT_WR, socket
from typing import Any

from ..wire import octets
from .interface import Protocol, Transport
from .loopstate import LoopState
from .poller import Poller

_IN = getattr(select, "EPOLLIN", 0)
_OUT = getattr(select, "EPOLLOUT", 0)

#: Chunks that one writev() gets: Linux's IOV_MAX.
CHUNKS = 1 << 10

#: Reads in a row of one connection, for one large message.
READS = 8


class EpollTransport(Transport):
    """One connection.

    Args:
        loop: the running one.
        connection: a non-blocking socket, after kernel.send_soon(); closed after connection_lost().
        protocol: its connection_made() is called at once.
        address: of the peer, because the kernel forgets it when the connection is reset.
        poller: the loop's, entered for this transport, which leaves it in the end.
    """

    __slots__ = (
        "_address",
        "_closing",
        "_connection",
        "_eof",
        "_error",
        "_events",
        "_fd",
        "_held",
        "_loop",
        "_lost",
        "_poller",
        "_reads",
        "_size",
        "_writes",
    )

    def __init__(
        self, loop: AbstractEventLoop, connection: socket, protocol: Protocol, address: Any, poller: Poller
    ) -> None:
        # The socket.
        self._loop = loop
        self._connection = connection
        self._fd = connection.fileno()
        self._address = address
        # The epoll.
        self._poller = poller
        self._events = 0
        # Writing.
        self._held: deque[Any] | None = None
        self._size = 0  # bytes in _held; of what was lost, once a write has failed or the connection has ended
        self._writes = True  # False after write_eof(), close(), abort() and errors
        self._error: OSError | None = None  # of a write
        # Reading and the end.
        self._reads = False
        self._eof = False  # write_eof() was called
        self._closing = False
        self._lost = False  # connection_lost() was called or is scheduled
        self.set_protocol(protocol)
        try:
            protocol.connection_made(self)
            self.resume_reading()
        except BaseException:
            self._break(None)
            raise

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return ``socket``, ``peername``, ``sockname``, or the default."""
        if name == "socket":
            return self._connection
        if name == "peername":
            return self._address
        return self._connection.getsockname() if name == "sockname" else default

    def is_closing(self) -> bool:
        """Return True after close() and abort(), and once the connection is broken."""
        return bool(self._closing)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._fd

    # Readiness.

    def ready(self, events: int) -> None:
        """Read or write; an error or a hang-up is found out by either."""
        if self._reads and events != _OUT:
            self._read()
        if self._held is not None and events != _IN:
            self._flush()

    def _watch(self) -> None:
        """Watch for what is wanted now."""
        events = (_IN if self._reads else 0) | (0 if self._held is None else _OUT)
        before, self._events = self._events, events
        if events != before:
            try:
                self._poller.watch(self._fd, self, before, events)
            except OSError as error:  # no memory, or the limit of watched descriptors
                self._events = 0
                self._break(error)

    # Reading.

    def is_reading(self) -> bool:
        """Return True unless reading is paused."""
        return bool(self._reads)

    def pause_reading(self) -> None:
        """Read nothing until resume_reading()."""
        if self._reads:
            self._reads = False
            self._watch()

    def resume_reading(self) -> None:
        """Read again."""
        if not self._reads and not self._closing:
            self._reads = True
            self._watch()

    def _read(self) -> None:
        try:
            for _ in range(READS):
                protocol = self._protocol
                room = protocol.get_buffer(-1)
                size = len(room)
                count = octets.receive_now(self._fd, room)
                room = None  # the memory can't be resized while a view of it exists
                if count <= 0:
                    self._nothing_read(-count)
                    break
                protocol.buffer_updated(count)
                if count < size or not self._reads or not protocol.is_amid_frame():
                    break
        except Exception as error:  # no memory, or a defect of the protocol: end this connection and no other
            self._loop.call_exception_handler(
                {
                    "message": "exception inside wasclean",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._break(error)

    def _nothing_read(self, errno: int) -> None:
        if errno == 0 and self._error is None:
            self.pause_reading()
            if not self._protocol.eof_received():
                self.close()
        elif errno == 0:
            self._break(self._error)
        elif errno not in (EAGAIN, EINTR):
            self._break(self._error or OSError(errno, os.strerror(errno)))

    # Writing.

    def get_write_buffer_size(self) -> int:
        """Return how many bytes that were written are not the kernel's; after the end, how many were lost."""
        return self._size

    def write(self, data: Any, more: bool = False) -> None:
        """Write bytes behind what was written before; see Transport."""
        if self._held is not None or not self._writes:
            self._hold(data)
            return
        packet = data if type(data) is bytes else bytes(data)
        sent = octets.send_now(self._fd, packet, more)
        if sent == len(packet):
            return
        if sent < 0:
            self._write_failed(-sent, len(packet))
        else:
            self._keep([packet], sent)

    def writelines(self, chunks: list[Any]) -> None:
        """Write a list of bytes in order."""
        if self._held is not None or not self._writes:
            for chunk in chunks:
                self._hold(chunk)
            return
        sent = self._send(chunks if len(chunks) <= CHUNKS else chunks[:CHUNKS])
        if sent >= 0:
            self._keep(chunks, sent)

    def _send(self, chunks: list[Any]) -> int:
        """Return how many bytes the kernel has taken, -1 after an error."""
        try:
            return os.writev(self._fd, chunks)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            self._write_failed(error.errno or 0, sum(map(len, chunks)))
            return -1

    def _hold(self, data: Any) -> None:
        """Append to the queue; count what can't be written any more; drop what comes after write_eof() or close()."""
        if self._held is not None and self._writes:
            self._held.append(data)
            self._size += len(data)
        elif self._held is None and (self._error is not None or self._closing):
            self._size += len(data)
            protocol = self._protocol
            protocol.pause_writing()

    def _keep(self, chunks: list[Any], sent: int) -> None:
        """Make the queue of what is left of chunks behind ``sent`` bytes, if anything is."""
        held: deque[Any] = deque(chunks)
        _remove(held, sent)
        if held:
            self._held = held
            self._size = sum(map(len, held))
            self._watch()
            protocol = self._protocol
            protocol.pause_writing()

    def _flush(self) -> None:
        """Give the kernel as much of the queue as it takes."""
        held = self._held
        assert held is not None
        sent = self._send(list(islice(held, CHUNKS)))
        if sent < 0:
            return
        self._size -= sent
        _remove(held, sent)
        if held:
            return
        self._held = None
        self._watch()
        if self._closing:
            self._lose(None)
            return
        ends = self._eof  # else resume_writing() may call write_eof(), which then has nothing to wait for
        protocol = self._protocol
        protocol.resume_writing()
        if ends and not self._closing:
            try:
                self._connection.shutdown(SHUT_WR)
            except OSError as error:
                self._break(error)

    def _write_failed(self, errno: int, size: int) -> None:
        """Write no more, and go on reading."""
        self._error = OSError(errno, os.strerror(errno))
        self._writes = False
        if self._held is None:
            self._size = size
        else:
            self._held = None
            self._watch()
        if self._closing or self._eof:  # nobody reads what the peer may have said
            self._break(self._error)
            return
        protocol = self._protocol
        protocol.pause_writing()
        protocol.write_failed()

    def write_eof(self) -> None:
        """End our side of the connection behind what was written.

        Raises:
            OSError: the connection is broken.
        """
        self._eof = True
        self._writes = False
        if self._held is None and not self._closing:
            self._connection.shutdown(SHUT_WR)

    # The end.

    def close(self) -> None:
        """End both sides behind what was written; read nothing more."""
        if not self._closing:
            self.pause_reading()
            self._closing = True
            self._writes = False
            if self._held is None:
                self._lose(None)

    def abort(self) -> None:
        """End both sides now."""
        self._break(None)

    def _break(self, error: Exception | None) -> None:
        self._reads = False
        self._closing = True
        self._writes = False
        self._held = None
        self._watch()
        self._lose(error)

    def _lose(self, error: Exception | None) -> None:
        """Schedule connection_lost()."""
        if not self._lost:
            self._lost = True
            try:
                self._loop.call_soon(self._tell, error)
            except RuntimeError:
                LoopState.of(self._loop).defer(partial(self._tell, error))

    def _tell(self, error: Exception | None) -> None:
        protocol = self._protocol
        try:
            protocol.connection_lost(error)
        finally:
            self._fd = -1
            self._protocol = None  # it refers to us
            self._connection.close()
            self._poller.leave(self._loop)


def _remove(held: deque[Any], sent: int) -> None:
    """Remove so many bytes from the front."""
    while held and sent >= len(held[0]):
        sent -= len(held.popleft())
    if held and sent:
        held[0] = memoryview(held[0])[sent:]
