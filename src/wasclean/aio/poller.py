"""One epoll for all connections of a loop; the loop watches the epoll as if it were one file.

An event loop that watched each connection itself would make a handle and a context for each, and uvloop would take the
GIL each time. Here the loop calls back once for all connections that are ready, and keeps nothing for those that are
not.
"""

from __future__ import annotations

import select
from asyncio import AbstractEventLoop
from contextvars import Context
from os import getpid
from typing import Any
from weakref import WeakKeyDictionary, ref

from .interface import Transport
from .readiness import Readiness

#: As it is at import: gevent's monkey patching takes it out of the module later on.
epoll: Any = getattr(select, "epoll", None)

#: True if this system has epoll.
AVAILABLE = epoll is not None

#: Connections that are served before the loop has its next turn.
BATCH = 256


class Poller:
    """The epoll of a loop; it exists as long as it has members."""

    __slots__ = ("__weakref__", "_epoll", "_members", "_process", "_readiness", "_watched")

    def __init__(self) -> None:
        self._epoll = epoll()
        self._readiness = Readiness(self._epoll, BATCH)
        self._process = getpid()  # a forked process shares the epoll, and must leave it alone
        self._members = 0
        self._watched: dict[int, Transport] = {}

    def enter(self) -> Poller:
        """Add a reference, and return this."""
        self._members += 1
        return self

    def leave(self, loop: AbstractEventLoop) -> None:
        """Drop one reference; the last one closes the epoll."""
        self._members -= 1
        if self._members == 0 and self._process == getpid():
            del _pollers[loop]
            loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def watch(self, number: int, transport: Transport, before: int, events: int) -> None:
        """Change the interest mask of a descriptor; with the mask 0 it is not watched at all.

        Args:
            number: the descriptor.
            transport: its ready() is called with the events that happen.
            before: the mask of the last call, 0 at first.
            events: the new mask: a sum of select.EPOLLIN and EPOLLOUT.

        Raises:
            OSError: there is no memory for it, or this machine watches too many descriptors.
        """
        if self._process != getpid():
            return
        if before == 0:
            self._epoll.register(number, events)
            self._watched[number] = transport
        elif events == 0:
            del self._watched[number]
            self._epoll.unregister(number)
        else:
            self._epoll.modify(number, events)

    def disown(self) -> None:
        """Let a loop that closes its copy of this, in a forked process, not end what its parent's loop is told."""
        self._epoll.close()
        self._epoll = epoll()
        self._readiness = Readiness(self._epoll, BATCH)

    def _poll(self) -> None:
        readiness = self._readiness
        watched = self._watched
        for i in range(readiness.look()):
            transport = watched.get(readiness.number(i))
            if transport is not None:  # else an earlier one of this batch has ended it
                transport.ready(readiness.events(i))


def poll(loop: AbstractEventLoop) -> None:
    """Serve the connections that are ready, in place of their loop, which has been closed."""
    poller = _poller_of(loop)
    if poller is not None:
        poller._poll()


def disown(loop: AbstractEventLoop) -> None:
    """Leave the loop's poller, if it has one, to the parent of this forked process."""
    poller = _poller_of(loop)
    if poller is not None:
        poller.disown()


def _poller_of(loop: AbstractEventLoop) -> Poller | None:
    known = _pollers.get(loop)
    return None if known is None else known()


#: Weak both ways: a member has its loop, and a loop its poller.
_pollers: WeakKeyDictionary[AbstractEventLoop, ref[Poller]] = WeakKeyDictionary()


def join(loop: AbstractEventLoop) -> Poller:
    """Return the loop's poller with one reference more, which leave() drops.

    Raises:
        OSError: there is none yet, and no descriptor or no memory for one.
    """
    poller = _poller_of(loop)
    if poller is None or poller._process != getpid():
        poller = Poller()
        _pollers[loop] = ref(poller)
        # In a context of its own: the callback serves all connections, and would otherwise run in, and keep, the
        # context of the first one.
        Context().run(loop.add_reader, poller._epoll.fileno(), poller._poll)
    return poller.enter()
