"""What the kernel knows of a connection; where it does not say, the answer is the one that changes nothing."""

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

#: Bytes that the kernel may hold for a peer and that have not left the machine: more would wait in front of a ping.
NOTSENT = 128 << 10
_TCP_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25 if _LINUX else None)

_new_poll: Any = getattr(select, "poll", None)  # as it is at import: gevent's monkey patching replaces it later on
_ENDED = sum(getattr(select, name, 0) for name in ("POLLRDHUP", "POLLHUP", "POLLERR"))


def own(number: int, family: int = -1, kind: int = -1, proto: int = -1) -> socket.socket:
    """The socket with that number, which is closed if there can't be one: until then it belongs to nothing."""
    try:
        return socket.socket(family, kind, proto, number)
    except BaseException:
        os.close(number)
        raise


def send_soon(connection: Any) -> None:
    """Let the kernel send at once what is written; and limit_unsent(). A listening socket of Linux passes on both."""
    if connection.family in (socket.AF_INET, socket.AF_INET6):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        limit_unsent(connection)


def limit_unsent(connection: Any) -> None:
    """Let the kernel take no more of what is written than it can send soon, plus NOTSENT bytes."""
    if _TCP_NOTSENT_LOWAT is not None and connection.family in (socket.AF_INET, socket.AF_INET6):
        try:
            connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, NOTSENT)
        except OSError:
            pass


def unsent(number: int) -> int:
    """The bytes that the peer's kernel has not acknowledged (Linux: SIOCOUTQ, which is TIOCOUTQ)."""
    return _ask(number, TIOCOUTQ) if _LINUX else 0


def unread(number: int) -> int:
    """The bytes that have arrived and were not read."""
    return 0 if ioctl is None else _ask(number, FIONREAD)


def has_ended(number: int) -> bool:
    """Whether the peer has ended its side of the connection, or the connection is broken."""
    return _poll(number, _ENDED)


def is_broken(number: int) -> bool:
    """Whether the connection is broken, and nothing can be sent any more."""
    return _poll(number, 0)  # POLLHUP and POLLERR are told without being asked for


def peek(number: int, size: int) -> bytes:
    """The first bytes of those that have arrived and were not read; they stay there."""
    if number < 0 or size <= 0:
        return b""
    try:
        with own(os.dup(number)) as connection:
            connection.setblocking(False)
            return connection.recv(size, socket.MSG_PEEK)
    except OSError:  # also where no descriptor is left
        return b""


def slept() -> float:
    """The seconds that this machine has been suspended since it was started."""
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
    except OSError:  # not TCP, or closed already
        return 0
