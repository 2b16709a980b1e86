"""Which connections can be read or written: one epoll for all of a loop's, which the loop looks at as at one file.

A loop would call back for each connection by itself: with a context and a handle of its own, and uvloop takes the GIL
each time, too. Here it calls back once for all that are ready, and keeps nothing for those that are not.
"""

from __future__ import annotations

import select
from asyncio import AbstractEventLoop
from contextvars import Context
from os import getpid
from typing import Any
from weakref import WeakKeyDictionary, ref

from .readiness import Readiness

#: As it is at import: gevent's monkey patching takes it out of the module later on.
epoll: Any = getattr(select, "epoll", None)

#: Whether this system has what that takes.
AVAILABLE = epoll is not None

#: Connections that are served before the loop has its next turn.
BATCH = 256


class Pollable:
    """Who has a connection."""

    __slots__ = ()

    def ready(self, events: int) -> None:
        """The connection can be read or written, or has ended: select.EPOLLIN, EPOLLOUT, EPOLLHUP, EPOLLERR."""
        raise NotImplementedError


class Poller:
    """The epoll of a loop; it is there as long as somebody has joined it."""

    __slots__ = ("__weakref__", "_epoll", "_members", "_process", "_readiness", "_watched")

    def __init__(self) -> None:
        self._epoll = epoll()
        self._readiness = Readiness(self._epoll, BATCH)
        self._process = getpid()  # a forked one shares the epoll, and must leave it alone
        self._members = 0
        self._watched: dict[int, Pollable] = {}

    def enter(self) -> Poller:
        """Another one joins it."""
        self._members += 1
        return self

    def leave(self, loop: AbstractEventLoop) -> None:
        """Who has joined it needs it no more."""
        self._members -= 1
        if self._members == 0 and self._process == getpid():
            del _pollers[loop]
            loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def watch(self, number: int, who: Pollable, before: int, events: int) -> None:
        """Tell who has the connection with this number when one of the events happens; of none of them, never.

        Args:
            before: the events of the last call, 0 at first.

        Raises:
            OSError: there is no memory for it, or this machine watches too much.
        """
        if self._process != getpid():
            return
        if before == 0:
            self._epoll.register(number, events)
            self._watched[number] = who
        elif events == 0:
            del self._watched[number]
            self._epoll.unregister(number)
        else:
            self._epoll.modify(number, events)

    def _poll(self) -> None:
        readiness = self._readiness
        watched = self._watched
        for i in range(readiness.look()):
            who = watched.get(readiness.number(i))
            if who is not None:  # else one of those before has ended it
                who.ready(readiness.events(i))


#: Weak both ways: a member has its loop, and a loop its poller.
_pollers: WeakKeyDictionary[AbstractEventLoop, ref[Poller]] = WeakKeyDictionary()


def join(loop: AbstractEventLoop) -> Poller:
    """The loop's poller, until as many calls of leave().

    Raises:
        OSError: there is none yet, and no descriptor or no memory for one.
    """
    known = _pollers.get(loop)
    poller = None if known is None else known()
    if poller is None or poller._process != getpid():
        poller = Poller()
        _pollers[loop] = ref(poller)
        # In a context of its own: it serves everybody, and would otherwise run in, and keep, that of the first.
        Context().run(loop.add_reader, poller._epoll.fileno(), poller._poll)
    return poller.enter()
