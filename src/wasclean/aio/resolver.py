"""Resolves host names, on daemon threads of its own.

loop.getaddrinfo() would use the default executor of the loop. Jobs of the program may fill that executor; it refuses
new jobs once the main thread has ended; and its threads keep the process alive until an unresponsive name server has
timed out. An IP address needs no look-up, so no thread is started for it.
"""

from __future__ import annotations

import socket
from asyncio import AbstractEventLoop, Future
from collections import deque
from contextlib import suppress
from errno import EAGAIN
from threading import Thread
from typing import Any

from .perloop import PerLoop

#: Look-ups that an event loop runs at once, each on a thread of its own; further ones wait.
MAX_LOOKUPS = 64

#: An element of the result of socket.getaddrinfo(): family, type, protocol, canonical name, address.
AddrInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


async def resolve(loop: AbstractEventLoop, host: str | None, port: int, *, passive: bool = False) -> list[AddrInfo]:
    """Return the TCP addresses of a host, at least one.

    Cancelling abandons the thread, which ends when getaddrinfo() returns.

    Args:
        loop: the running loop.
        host: a name or an IP address; IPv6 without brackets, optionally with a scope. None is the loopback address, or,
            if ``passive`` is true, all addresses of this machine.
        port: the port of the addresses.
        passive: True if the addresses are for listening.

    Raises:
        socket.gaierror: the name does not exist or is malformed, or no name server has responded.
        OSError: no thread could be started.
    """
    flags = socket.AI_PASSIVE if passive else 0
    found = None
    with suppress(socket.gaierror):
        found = _look_up(host, port, flags if host is None else flags | socket.AI_NUMERICHOST)
    return found or await _lookups.of(loop).find(loop, host, port, flags)


def _look_up(host: str | None, port: int, flags: int) -> list[AddrInfo]:
    """Call socket.getaddrinfo() for TCP.

    Raises:
        socket.gaierror: the one of getaddrinfo(), or a replacement for its ValueError about a malformed name.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=flags)
    except ValueError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!a} is no name: {error}") from error
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, f"Name or service not known: {host!a} has no address")
    return list(found)


class _Lookups:
    """The look-ups of one loop. Only _look_up() runs on other threads, so no lock is needed."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Future[list[AddrInfo]], tuple[Any, ...]]] = deque()
        self._threads = 0

    async def find(self, loop: AbstractEventLoop, *query: Any) -> list[AddrInfo]:
        """Call _look_up() on another thread."""
        future: Future[list[AddrInfo]] = loop.create_future()
        self._waiting.append((future, query))
        self._start(loop)
        return await future

    def _start(self, loop: AbstractEventLoop) -> None:
        while self._waiting and self._threads < MAX_LOOKUPS:
            future, query = self._waiting.popleft()
            if future.done():  # cancelled
                continue
            thread = Thread(target=self._run, args=(loop, future, query), name="wasclean resolver", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                future.set_exception(OSError(EAGAIN, f"no thread could be started to look a name up: {error}"))
            else:
                self._threads += 1

    def _run(self, loop: AbstractEventLoop, future: Future[list[AddrInfo]], query: tuple[Any, ...]) -> None:
        found: list[AddrInfo] | None = None
        failure: Exception | None = None
        try:
            found = _look_up(*query)
        except Exception as error:
            failure = error.with_traceback(None)  # the traceback refers to this frame, and so to the error: a cycle
        with suppress(RuntimeError):  # the loop has been closed
            loop.call_soon_threadsafe(self._finish, loop, future, found, failure)

    def _finish(
        self,
        loop: AbstractEventLoop,
        future: Future[list[AddrInfo]],
        found: list[AddrInfo] | None,
        failure: Exception | None,
    ) -> None:
        self._threads -= 1
        if future.done():  # cancelled
            pass
        elif failure is not None:
            future.set_exception(failure)
        elif found is not None:
            future.set_result(found)
        self._start(loop)


_lookups = PerLoop(lambda loop: _Lookups())
