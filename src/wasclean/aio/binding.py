"""Listening sockets: made for hosts and a port, made for the path of a Unix socket, or given by the program."""

from __future__ import annotations

import logging
import os
import socket
import stat
from asyncio import AbstractEventLoop, gather
from collections.abc import Sequence
from contextlib import suppress
from errno import EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT
from socket import SOCK_STREAM
from socket import socket as Socket  # noqa: N812 - here a socket is a WebSocket
from typing import Any

from .resolver import AddrInfo, resolve
from .server_log import log

#: How often to look for another port when the one that the system chose for one address is taken on another.
_PORT_TRIES = 10

#: What the system says of an address that this machine does not have: often ::1, one of the name localhost.
_NOT_HERE = (EADDRNOTAVAIL, EAFNOSUPPORT)


async def bind_to_hosts(
    loop: AbstractEventLoop, hosts: str | Sequence[str] | None, port: int, reuse_port: bool
) -> list[Socket]:
    """Bind to all addresses of the hosts; to one port for all of them, even if the system chooses it.

    An address that this machine does not have is left out if another one of the same host can be bound to: so an
    address that is given itself never is.

    Args:
        loop: the running one.
        hosts: names or addresses; None, or an empty name, for all addresses of this machine.
        port: 0 lets the system choose.
        reuse_port: whether other processes may listen on the same port.

    Raises:
        OSError: a name can't be looked up, or an address can't be bound to; the message says which.
    """
    several = [hosts] if hosts is None or isinstance(hosts, str) else hosts
    found = await gather(*(resolve(loop, host or None, port, passive=True) for host in several))
    for tries_left in reversed(range(_PORT_TRIES)):
        try:
            return _bind_all(found, port, reuse_port)
        except OSError as error:
            if port or error.errno != EADDRINUSE or not tries_left:
                raise
    raise AssertionError("the last try returns or raises")


def _bind_all(hosts: Sequence[Sequence[AddrInfo]], port: int, reuse_port: bool) -> list[Socket]:
    """Bind to all addresses of hosts, and to the port that the system chooses for the first one if there is none."""
    bound: dict[tuple[Any, ...], Socket] = {}
    missing: list[OSError] = []
    try:
        for host in hosts:
            for family, _, _, _, address in host:
                if address in bound:  # two names of one host
                    continue
                try:
                    listening = bound[address] = _bind(family, (address[0], port, *address[2:]), reuse_port)
                except OSError as error:
                    if error.errno not in _NOT_HERE:
                        raise
                    missing.append(error)
                else:
                    port = port or listening.getsockname()[1]
            if not any(info[4] in bound for info in host):
                raise missing[-1]
    except BaseException:
        for listening in bound.values():
            listening.close()
        raise
    for absence in missing:
        log(logging.INFO, "not listening on an address that this machine does not have: %s", absence.strerror)
    return list(bound.values())


def _bind(family: int, address: tuple[Any, ...], reuse_port: bool) -> Socket:
    listening = None
    try:
        listening = Socket(family, SOCK_STREAM)
        if os.name == "posix":  # elsewhere it would let two processes listen on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # or :: would take the port of 0.0.0.0, too
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise OSError(error.errno, f"{error.strerror}: {shown(address)}") from None
    return listening


def bind_to_path(path: str) -> Socket:
    """Bind to a Unix socket. A file that a process has left there is replaced, if it is a socket and nothing listens.

    Args:
        path: where the file is to be; an abstract name, which has none, begins with NUL.

    Raises:
        OSError: it can't be bound to, or another process listens there; ``filename`` is the path.
    """
    listening = _UnixSocket(socket.AF_UNIX, SOCK_STREAM)
    try:
        listening.bind_to(path)
    except OSError as error:
        listening.close()
        error.filename = path
        raise
    return listening


class _UnixSocket(Socket):
    """A listening Unix socket that removes its file when it is closed."""

    __slots__ = ("_file", "_identity", "_process")

    def bind_to(self, path: str) -> None:
        try:
            self.bind(path)
        except OSError as error:
            if error.errno != EADDRINUSE or not _is_stale(path):
                raise
            with suppress(FileNotFoundError):
                os.remove(path)
            self.bind(path)
        if not path.startswith("\0"):
            self._file = os.path.abspath(path)
            self._identity = _identity(self._file)
            self._process = os.getpid()  # a forked one shares the socket, and must leave the file alone

    def close(self) -> None:
        # Before the socket is closed, and once: until then no other file can have the same inode, and later on one can.
        if hasattr(self, "_file") and self._process == os.getpid():
            with suppress(OSError):  # it is gone, or the directory is another one's now
                if _identity(self._file) == self._identity:
                    os.remove(self._file)
            del self._file
        super().close()


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _is_stale(path: str) -> bool:
    """Return True if the file is a socket on which nothing listens."""
    if path.startswith("\0") or not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with Socket(socket.AF_UNIX, SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # its queue is full, or we may not connect
            pass
    return False


def shown(address: Any) -> str:
    """An address as in a URL: ``127.0.0.1:80``, ``[::1]:80``, ``unix:/path``, and ``unix:@name`` if it is abstract."""
    if isinstance(address, (str, bytes)):
        return "unix:" + os.fsdecode(address).replace("\0", "@", 1)
    if isinstance(address, tuple) and isinstance(address[0], str):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return repr(address)
