"""Promises: what callers wait for at one socket."""

from __future__ import annotations

from asyncio import AbstractEventLoop
from collections.abc import Callable

from ..closing.events import CloseEvent
from ..connection import Connection
from .awaitables import Promise
from .backlog import Backlog
from .end_report import EndReport


class Promises:
    """The unsettled promises of one session, which creates this when a caller first waits.

    Attributes:
        opened: settled when the connection is open; None if no caller waits.
        flushed: settled when everything that was sent has left the process; None if no caller waits.
        backlog: the sends that wait for room; None if there is room.
    """

    __slots__ = ("_closed", "_loop", "_pings", "backlog", "flushed", "opened")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self.opened: Promise | None = None
        self.flushed: Promise | None = None
        self.backlog: Backlog | None = None
        self._closed: Promise | None = None
        self._pings: dict[bytes, tuple[float, Promise]] = {}  # by payload, in order: the time and the promise

    def is_empty(self) -> bool:
        """Return True if no caller waits for anything."""
        waits = self.opened or self.flushed or self.backlog or self._closed or self._pings
        return not waits

    def until_opened(self) -> Promise:
        """Return the promise that the connection is open."""
        if self.opened is None:
            self.opened = Promise(self._loop)
        return self.opened

    def until_closed(self) -> Promise:
        """Return the promise of the CloseEvent."""
        if self._closed is None:
            self._closed = Promise(self._loop)
        return self._closed

    def until_flushed(self) -> Promise:
        """Return the promise that everything that was sent has left the process."""
        if self.flushed is None:
            self.flushed = Promise(self._loop)
        return self.flushed

    def is_pinging(self, payload: bytes) -> bool:
        """Return True if a ping with the payload waits for its pong."""
        return payload in self._pings

    def ping(self, payload: bytes, now: float) -> Promise:
        """Return the promise of the round-trip time of a ping, in seconds."""
        promise = Promise(self._loop)
        self._pings[payload] = now, promise
        return promise

    def pong(self, payload: bytes, now: float) -> float | None:
        """Settle the ping that a pong answers, and all pings before it.

        Returns:
            The round-trip time in seconds; None if the pong answers no ping.
        """
        rtt = None
        if payload in self._pings:
            for ping in list(self._pings):
                sent, promise = self._pings.pop(ping)
                if ping == payload:
                    rtt = now - sent
                promise.succeed(now - sent)
                if rtt is not None:
                    break
        return rtt

    def open(self) -> None:
        """Settle ``opened``: the opening handshake has succeeded."""
        if self.opened is not None:
            self.opened.succeed(None)
            self.opened = None

    def flush(self) -> None:
        """Settle ``flushed``: everything that was sent has left the process."""
        if self.flushed is not None:
            self.flushed.succeed(None)
            self.flushed = None

    def give_room(self) -> None:
        """Settle the sends that wait for room."""
        backlog, self.backlog = self.backlog, None
        if backlog is not None:
            backlog.release()

    def fail_senders(self, connection: Connection, report: EndReport) -> None:
        """Fail the sends of messages that are unsent, because they may not leave any more; the others succeed."""
        backlog, self.backlog = self.backlog, None
        if backlog is not None:
            backlog.fail(connection.buffered_amount(), report.closed_error)

    def end(self, report: EndReport, event: Callable[[], CloseEvent | None]) -> None:
        """Settle all promises but those of sends: the connection has closed. Without a caller this allocates nothing.

        Args:
            report: the report of the end.
            event: its method, bound by the caller, for which there may be no memory now.
        """
        if self.flushed is not None:
            self.flushed.fail(report.closed_error)
        if self.opened is not None:
            self.opened.fail(report.opening_error)
        if self._closed is not None:
            self._closed.succeed_with(event)
        if self._pings:
            for _, promise in self._pings.values():
                promise.fail(report.closed_error)
