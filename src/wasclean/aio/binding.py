"""Binds listening sockets, to hosts and a port or to the path of a Unix socket."""

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

#: Attempts to find a port that is free on all addresses, when the system chooses it on the first.
_PORT_TRIES = 10

#: Errors for an address that this machine does not have, such as ::1 for ``localhost`` in a container.
_NOT_HERE = (EADDRNOTAVAIL, EAFNOSUPPORT)


async def bind_to_hosts(
    loop: AbstractEventLoop, hosts: str | Sequence[str] | None, port: int, reuse_port: bool
) -> list[Socket]:
    """Return sockets bound to all addresses of the hosts, and to one port, also if the system chooses it.

    An address that this machine does not have is left out if another address of the same host can be bound. An IP
    address as host has no other address, so it is never left out.

    Args:
        loop: the running loop.
        hosts: names or addresses; None, or an empty name, for all addresses of this machine.
        port: 0 lets the system choose.
        reuse_port: set SO_REUSEPORT, so that other processes can listen on the same port.

    Raises:
        OSError: a name can't be resolved, or an address can't be bound; the message names it.
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
    """Bind to all addresses; if ``port`` is 0, to the port that the system chooses for the first one."""
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
        if os.name == "posix":  # on Windows the option lets two processes listen on one port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:  # else :: takes the port of 0.0.0.0 too
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError as error:
        if listening is not None:
            listening.close()
        raise OSError(error.errno, f"{error.strerror}: {shown(address)}") from None
    return listening


def bind_to_path(path: str) -> Socket:
    """Return a bound Unix socket. A file at the path is replaced if it is a socket on which nothing listens.

    Args:
        path: of the file, or an abstract name, which begins with NUL and has no file.

    Raises:
        OSError: the path can't be bound, or another process listens there; ``filename`` is the path.
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
            self._process = os.getpid()  # a forked process shares the socket, and must not remove the file

    def close(self) -> None:
        # Before the socket is closed: later the inode may belong to another file.
        if hasattr(self, "_file") and self._process == os.getpid():
            with suppress(OSError):  # the file or its directory is gone, or not accessible any more
                if _identity(self._file) == self._identity:
                    os.remove(self._file)
            del self._file
        super().close()


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _is_stale(path: str) -> bool:
    """True if the file is a socket on which nothing listens."""
    if path.startswith("\0") or not stat.S_ISSOCK(os.lstat(path).st_mode):
        return False
    with Socket(socket.AF_UNIX, SOCK_STREAM) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:  # its backlog is full, or connecting is not permitted
            pass
    return False


def shown(address: Any) -> str:
    """Return an address as in a URL: ``127.0.0.1:80``, ``[::1]:80``, ``unix:/path``, ``unix:@abstract-name``."""
    if isinstance(address, (str, bytes)):
        return "unix:" + os.fsdecode(address).replace("\0", "@", 1)
    if isinstance(address, tuple) and isinstance(address[0], str):
        host, port, *_ = address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return repr(address)
