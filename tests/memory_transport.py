"""An asyncio transport in memory: it has no socket and no descriptor, and cannot end one direction alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

#: Bytes that are delivered in one turn of the loop.
PIECE = 1 << 14


class MemoryTransport(asyncio.Transport):
    """One end of a connection, made by connect_in_memory()."""

    def __init__(self, loop: asyncio.AbstractEventLoop, protocol: Any) -> None:
        super().__init__()
        self.other: MemoryTransport
        self._loop = loop
        self._protocol = protocol
        self._unsent = bytearray()
        self._high = 1 << 16
        self._reads = True
        self._paused = False  # pause_writing() was called
        self._closing = False
        self._lost = False

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    # Reading.

    def is_reading(self) -> bool:
        return self._reads

    def pause_reading(self) -> None:
        self._reads = False

    def resume_reading(self) -> None:
        self._reads = True
        self.other._pump_soon()

    def _deliver(self, data: bytes) -> None:
        if not isinstance(self._protocol, asyncio.BufferedProtocol):
            self._protocol.data_received(data)
            return
        while data:
            room: Any = self._protocol.get_buffer(len(data))
            count = min(len(room), len(data))
            memoryview(room)[:count] = data[:count]
            del room
            self._protocol.buffer_updated(count)
            data = data[count:]

    def _end(self, error: Exception | None) -> None:
        """The other end is gone."""
        if self._lost or self._closing:
            return
        if error is not None:
            self._lose(error)
        elif not self._protocol.eof_received():
            self.close()

    # Writing.

    def can_write_eof(self) -> bool:
        return False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = 1 << 16 if high is None else high

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def write(self, data: Any) -> None:
        if self._closing:
            return
        self._unsent += data
        if len(self._unsent) > self._high and not self._paused:
            self._paused = True
            self._protocol.pause_writing()
        self._pump_soon()

    def _pump_soon(self) -> None:
        self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        other = self.other
        if self._lost:
            return
        if other._lost or other._closing:
            self._unsent.clear()
        elif other._reads and self._unsent:
            data = bytes(self._unsent[:PIECE])
            del self._unsent[:PIECE]
            other._deliver(data)
        if not self._unsent:
            if self._closing:
                self._lose(None)
            elif self._paused:
                self._paused = False
                self._protocol.resume_writing()
        elif other._reads:
            self._pump_soon()

    # The end.

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._pump_soon()

    def abort(self) -> None:
        self._closing = True
        self._loop.call_soon(self._lose, None, ConnectionResetError("the other end has aborted"))

    def _lose(self, error: Exception | None, for_other: Exception | None = None) -> None:
        if not self._lost:
            self._closing = self._lost = True
            self._unsent.clear()
            self._protocol.connection_lost(error)
            self._loop.call_soon(self.other._end, for_other)


def connect_in_memory(one: Callable[[], Any], two: Callable[[], Any]) -> tuple[MemoryTransport, MemoryTransport]:
    """Return both ends of a connection, whose protocols the functions make."""
    loop = asyncio.get_running_loop()
    ends = MemoryTransport(loop, one()), MemoryTransport(loop, two())
    ends[0].other, ends[1].other = ends[1], ends[0]
    for end in ends:
        end._protocol.connection_made(end)
    return ends
