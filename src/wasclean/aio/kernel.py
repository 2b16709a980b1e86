"""Queries and options of the operating system for a connected socket.

A query that the system does not support, or that fails, returns 0, False or no bytes.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from typing import Any

try:
    from fcntl import ioctl
    from termios import FIONREAD, TIOCOUTQ
except ImportError:  # Windows
    ioctl = None  # type: ignore[assignment]

_LINUX = sys.platform == "linux"

#: Limit of the unsent bytes in the kernel's send buffer (TCP_NOTSENT_LOWAT). A ping has to wait for all of them.
NOTSENT = 128 << 10
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if _LINUX else None)

_new_poll: Any = getattr(select, "poll", None)  # saved at import, because gevent may replace select.poll later
_ENDED = sum(getattr(select, name, 0) for name in ("POLLRDHUP", "POLLHUP", "POLLERR"))


def own(number: int, family: int = -1, kind: int = -1, proto: int = -1) -> socket.socket:
    """Return a socket object for a descriptor, and take it over; the descriptor is closed if that fails."""
    try:
        return socket.socket(family, kind, proto, number)
    except BaseException:
        os.close(number)
        raise


def send_soon(connection: Any) -> None:
    """Disable Nagle's algorithm, and call limit_unsent(). On Linux accepted sockets inherit both from the listener."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit_unsent(connection)


def limit_unsent(connection: Any) -> None:
    """Limit the unsent bytes in the kernel's send buffer to NOTSENT."""
    if _TCP_NOTSENT_LOWAT is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT)
        except OSError:
            pass


def unsent(number: int) -> int:
    """Return the number of bytes that the peer's kernel has not acknowledged (Linux's SIOCOUTQ, equal to TIOCOUTQ)."""
    return _ask(number, TIOCOUTQ) if _LINUX else 0


def unread(number: int) -> int:
    """Return the number of bytes in the kernel's receive buffer."""
    return 0 if ioctl is None else _ask(number, FIONREAD)


def has_ended(number: int) -> bool:
    """True if the peer has ended its direction of the connection, or the connection is broken."""
    return _poll(number, _ENDED)


def is_broken(number: int) -> bool:
    """True if the connection is broken, so nothing can be sent any more."""
    return _poll(number, 0)  # poll() always reports POLLHUP and POLLERR


def peek(number: int, size: int) -> bytes:
    """Return the first bytes of the kernel's receive buffer, and leave them there."""
    if number < 0 or size <= 0:
        return b""
    try:
        with own(os.dup(number)) as connection:
            connection.setblocking(False)
            return connection.recv(size, socket.MSG_PEEK)
    except OSError:  # including EMFILE of dup()
        return b""


def slept() -> float:
    """Return the time that this machine has been suspended since its start, in seconds."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _poll(number: int, events: int) -> bool:
    if number < 0 or _new_poll is None:
        return False
    poll = _new_poll()
    poll.register(number, events)
    return bool(poll.poll(0))


def _ask(number: int, request: int) -> int:
    if number < 0:
        return 0
    try:
        return int.from_bytes(ioctl(number, request, bytes(4)), sys.byteorder)
    except OSError:  # not a TCP socket, or closed
        return 0
