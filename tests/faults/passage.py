"""Moves the bytes of one connection through a proxy, by rules that may change at any time.

Nothing here blocks. Without rules a connection is forwarded unchanged: a FIN is forwarded as a FIN, and leaves the
other direction open; a RST is forwarded as a RST, after the bytes before it.
"""

from __future__ import annotations

import fcntl
import select
import socket as sockets
import struct
import sys
from collections import deque
from dataclasses import dataclass
from math import inf
from typing import Literal

#: "up" is the direction from the client to the server.
Direction = Literal["up", "down"]
UP: Direction = "up"
DOWN: Direction = "down"

#: One of the two ends.
Side = Literal["client", "server"]

#: The way in which an end ends TCP.
Ending = Literal["fin", "rst"]

#: The action when a direction has reached its limit of bytes.
Then = Literal["fin", "rst", "stall"]

#: Bytes of one read, and the limit of the bytes that one direction buffers.
PIECE = 16 << 10
HELD = 64 << 10

#: Longest time that a RST waits for the bytes before it, in seconds.
HURRY = 0.1

#: From linux/sockios.h.
SIOCOUTQ = 0x5411
SIOCOUTQNSD = 0x894B

#: Seconds between two pieces of a throttled direction.
TICK = 0.01


@dataclass
class Rule:
    """The faults of one direction, for all connections.

    Attributes:
        stalled: True if nothing is read or forwarded.
        dropping: True if everything is read, and nothing forwarded.
        delay: the time before forwarding, in seconds.
        rate: bytes per second, or None.
        limit: the number of bytes of each connection to forward, or None.
        then: the action after ``limit`` bytes.
    """

    stalled: bool = False
    dropping: bool = False
    delay: float = 0.0
    rate: float | None = None
    limit: int | None = None
    then: Then = "fin"


class End:
    """One of the two sockets of a connection, and a record of how its other end has ended TCP."""

    def __init__(self, socket: sockets.socket) -> None:
        socket.setblocking(False)
        socket.setsockopt(sockets.IPPROTO_TCP, sockets.TCP_NODELAY, 1)
        self.socket = socket
        self.endings: list[Ending] = []
        self.hung_up = False
        self._finished = False

    @property
    def is_open(self) -> bool:
        return self.socket.fileno() >= 0

    @property
    def was_reset(self) -> bool:
        return "rst" in self.endings

    @property
    def unsent(self) -> int:
        """Bytes in the kernel that have not been sent."""
        return int.from_bytes(fcntl.ioctl(self.socket, SIOCOUTQNSD, bytes(4)), sys.byteorder)

    @property
    def unacknowledged(self) -> int:
        """Bytes, and a FIN, that the other end's kernel has not acknowledged; it may delay that."""
        return int.from_bytes(fcntl.ioctl(self.socket, SIOCOUTQ, bytes(4)), sys.byteorder)

    def note(self, ending: Ending) -> None:
        if ending not in self.endings:
            self.endings.append(ending)

    def look(self, happened: int) -> None:
        """Record the events that poll() has reported; this works without reading."""
        if happened & select.POLLERR and self.socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR):
            self.note("rst")
        elif happened & select.POLLRDHUP and not self.was_reset:
            self.note("fin")
        self.hung_up = self.hung_up or happened & select.POLLHUP != 0

    def receive(self) -> bytes | None:
        """Return some bytes; b"" at the end; None if there are none yet."""
        try:
            data = self.socket.recv(PIECE)
        except BlockingIOError:
            return None
        except OSError:
            self.note("rst")
            return b""
        if not data and not self.was_reset:
            self.note("fin")
        return data

    def send(self, data: bytes | memoryview) -> int:
        try:
            return self.socket.send(data)
        except BlockingIOError:
            return 0
        except OSError:  # a connected socket has no other errors
            self.note("rst")
            return 0

    def finish(self) -> None:
        """Send a FIN."""
        if not self._finished:
            self._finished = True
            try:
                self.socket.shutdown(sockets.SHUT_WR)
            except OSError:  # the connection is gone
                pass

    def reset(self) -> None:
        """Send a RST."""
        if self.is_open:
            self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
            self.socket.close()


class Stream:
    """One direction of one connection."""

    def __init__(self, rule: Rule, source: End, sink: End) -> None:
        self.rule = rule
        self.source = source
        self.sink = sink
        self.captured = bytearray()
        self.exhausted = False  # the source has ended, and all its bytes were read
        self.over = False  # a FIN was sent to the sink, and further input is dropped
        self.was_cut = False  # that FIN was commanded, rather than forwarded
        self.blocked = False  # the sink's buffer is full
        self._queue: deque[tuple[float, bytes]] = deque()  # the time when the bytes are due, the bytes
        self._held = 0  # bytes in _queue
        self._free_at = 0.0  # time at which the rate allows more bytes
        self._end_due = 0.0  # time at which the end of an exhausted source is due
        self._reset_by: float | None = None  # latest time to forward the RST

    @property
    def _is_stuck(self) -> bool:
        rule = self.rule
        return rule.stalled or (rule.limit is not None and rule.then == "stall" and len(self.captured) >= rule.limit)

    @property
    def _discards(self) -> bool:
        return self.over or self.rule.dropping or self._leads_nowhere

    @property
    def _leads_nowhere(self) -> bool:
        return self.was_cut or self.sink.was_reset or not self.sink.is_open

    @property
    def wants_to_read(self) -> bool:
        return (
            self.source.is_open and not self.exhausted and not self._is_stuck and (self._discards or self._held < HELD)
        )

    def end(self) -> None:
        """Send a FIN after the forwarded bytes."""
        self.over = True
        self.forget()
        if self.sink.is_open:
            self.sink.finish()

    def cut(self) -> None:
        """Send a FIN although the source has not ended."""
        self.was_cut = True
        self.end()

    def forget(self) -> None:
        """Drop the buffered bytes."""
        self._queue.clear()
        self._held = 0

    def pump(self, now: float) -> float:
        """Forward all bytes that may be forwarded now.

        Returns:
            The time for the next call, if nothing happens before.
        """
        self.blocked = False
        for _ in range(16):  # so that other connections get their turn
            if not self.wants_to_read or not self._read(now):
                break
        if self._is_stuck or self.rule.dropping or self._leads_nowhere:
            return inf
        again = self._write(now)
        if self._leads_nowhere:
            return inf
        if self.source.was_reset and self._reset_by is None:
            self._reset_by = max(now + self.rule.delay, self._end_due) + HURRY
        if self._reset_by is not None:
            return self._pass_reset(now, again)
        if not self.exhausted or self._queue or self.over:
            return again
        if now < self._end_due:
            return self._end_due
        self.end()
        return inf

    def _read(self, now: float) -> bool:
        data = self.source.receive()
        if data is None:
            return False
        due = now + self.rule.delay
        if not data:
            self.exhausted = True
            self._end_due = due
        elif not self._discards:
            self._queue.append((due, data))
            self._held += len(data)
        return True

    def _write(self, now: float) -> float:
        rule = self.rule
        while True:
            if rule.limit is not None and len(self.captured) >= rule.limit:
                self._truncate(now)
                return inf
            if not self._queue:
                return inf
            due, data = self._queue[0]
            if due > now:
                return due
            if rule.rate is not None and self._free_at > now:
                return self._free_at
            sent = self.sink.send(memoryview(data)[: self._allowance()])
            if not sent:
                self.blocked = not self.sink.was_reset
                return inf
            self.captured += data[:sent]
            self._held -= sent
            self._queue.popleft()
            if sent < len(data):
                self._queue.appendleft((due, data[sent:]))
            if rule.rate is not None:
                self._free_at = now + sent / rule.rate

    def _truncate(self, now: float) -> None:
        if self.rule.then == "fin":
            self.cut()
        elif self.rule.then == "rst" and self._reset_by is None:
            self._reset_by = now + HURRY
            self._end_due = now
            self.forget()

    def _allowance(self) -> int:
        """Return the number of bytes that may be sent at once."""
        rule = self.rule
        allowance = PIECE
        if rule.rate is not None:
            allowance = min(allowance, max(1, int(rule.rate * TICK)))
        if rule.limit is not None:
            allowance = min(allowance, rule.limit - len(self.captured))
        return allowance

    def _pass_reset(self, now: float, again: float) -> float:
        assert self._reset_by is not None
        if now < self._reset_by and (now < self._end_due or self._queue or self.sink.unsent):
            return min(again, now + 0.001)
        self.sink.reset()
        self.source.reset()
        return inf


class Connection:
    """The connection of a client, and the proxy's connection to the server."""

    def __init__(self, rules: dict[Direction, Rule], client: sockets.socket, server: sockets.socket) -> None:
        self.ends: dict[Side, End] = {"client": End(client), "server": End(server)}
        self.streams: dict[Direction, Stream] = {
            "up": Stream(rules["up"], self.ends["client"], self.ends["server"]),
            "down": Stream(rules["down"], self.ends["server"], self.ends["client"]),
        }

    def pump(self, now: float) -> float:
        again = min(stream.pump(now) for stream in self.streams.values())
        if not all(stream.over and stream.exhausted for stream in self.streams.values()):
            return again
        ends = [end for end in self.ends.values() if end.is_open]
        if any(end.unacknowledged for end in ends):  # a RST may still arrive
            return now + 0.001
        for end in ends:
            end.look(select.POLLERR)
            end.socket.close()
        return inf

    def interests(self) -> list[tuple[End, int]]:
        """Return the open ends, and the events that poll() is to report."""
        wanted = []
        for stream, back in ((UP, DOWN), (DOWN, UP)):
            end = self.streams[stream].source
            events = 0
            if self.streams[stream].wants_to_read:
                events |= select.POLLIN
            if self.streams[back].blocked:
                events |= select.POLLOUT
            # poll() would report these events again and again.
            if end.is_open and (events or not (end.hung_up or end.was_reset)):
                wanted.append((end, events if end.endings else events | select.POLLRDHUP))
        return wanted

    def close(self) -> None:
        for end in self.ends.values():
            end.socket.close()
