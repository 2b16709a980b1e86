"""EndReport: what is known of the end of one connection, and the outcome, events and exceptions that are made of it.

The session creates an EndReport when there is first something to note. It notes what only the session knows: the error
of the transport, bytes that were lost, how far the opening handshake had come. How the closing handshake went is known
to the connection. When that has closed, the session calls ``finish()``, and nothing changes any more. So the Outcome,
which costs a seventh of a connection that comes and goes, is created when the first event, exception or log record
needs it; after an orderly end nothing may ever need it.
"""

from __future__ import annotations

import logging
from contextvars import Context
from copy import copy
from errno import EHOSTUNREACH, ENETDOWN, ENETUNREACH, ETIMEDOUT

from ..closing.errors import ConnectionClosed, tell
from ..closing.events import CloseEvent, ErrorEvent
from ..closing.outcome import Cause, Initiator, Outcome, Phase, Reason, make_outcome
from ..connection import Connection
from ..model.heads import Response
from ..model.registry import Role
from ..model.wording import text_of
from ..opening.urls import parse_url
from .host import Host
from .user_code import run_in_copy

#: Errors of the network between the two ends.
_NETWORK_ERRORS = frozenset({ETIMEDOUT, EHOSTUNREACH, ENETUNREACH, ENETDOWN})

_loggers = {role: logging.getLogger(f"wasclean.{role.value}") for role in Role}


class EndReport:
    """The end of one connection.

    Args:
        connection: the connection.
        id: its number.

    Attributes:
        error: the exception that ended the connection or prevented it; None if there was none.
        phase: how far the opening handshake had come; None if it did not fail, or is a server's.
        held, unflushed: bytes that the transport, and that the kernel, had not passed on at the end.
        discarded: bytes of messages that were received and neither queued nor delivered.
        sent_late: bytes of messages that were sent after the closing handshake had started.
        is_final: True once the connection has closed.
    """

    __slots__ = (
        "_connection",
        "_ended_at",
        "_event",
        "_id",
        "_response",
        "_unread",
        "discarded",
        "error",
        "held",
        "is_final",
        "phase",
        "sent_late",
        "unflushed",
    )

    def __init__(self, connection: Connection, id: int) -> None:
        self._connection = connection
        self._id = id
        # Noted until the connection has closed.
        self.error: BaseException | None = None
        self.phase: Phase | None = None
        self.held = 0
        self.unflushed = 0
        self.discarded = 0
        self.sent_late = 0
        # Known when it has.
        self.is_final = False
        self._ended_at = 0.0
        self._response: Response | None = None
        self._unread = 0
        self._event: CloseEvent | None = None  # not the one that is dispatched, which refers to its target

    def note(self, error: BaseException) -> None:
        """Note the exception that ends the connection; only the first one counts."""
        if self.error is None:
            self.error = error

    def finish(
        self, now: float, opened: bool, response: Response | None, unread: int, is_watched: bool
    ) -> list[CloseEvent | ErrorEvent]:
        """The connection has closed. After a MemoryError this can be repeated.

        Args:
            now: the time.
            opened: whether the opening handshake had succeeded.
            response: the response that made it fail, if there was one.
            unread: bytes of queued messages that will not be read.
            is_watched: whether the application has to be told even of an orderly end.

        Returns:
            The events that tell of the end, in order; none if the end is orderly and is not watched.
        """
        closing = self._connection.closing
        self._ended_at = now
        self._response = response
        self._unread = unread
        if opened:
            self.phase = None
        events = []
        is_orderly = closing.was_clean and not closing.failed
        if is_watched or not is_orderly or _loggers[self._connection.role].isEnabledFor(logging.DEBUG):
            events = self._last_events(opened)
        self.is_final = True
        return events

    def _last_events(self, opened: bool) -> list[CloseEvent | ErrorEvent]:
        closing = self._connection.closing
        if self.error is None:
            self.error = closing.error
        outcome = self._outcome()
        events: list[CloseEvent | ErrorEvent] = [CloseEvent("close", outcome=outcome)]
        # "If the user agent was required to fail the WebSocket connection, or if [it] was closed after being flagged as
        # full, fire an event named error".
        if closing.failed or not opened:
            message = text_of(self.error) if self.error else "the socket was closed before it was open"
            events.insert(0, ErrorEvent("error", message=message, outcome=outcome))
        self._event = CloseEvent("close", outcome=outcome)
        return events

    def event(self) -> CloseEvent | None:
        """Return the CloseEvent; None before the connection has closed."""
        if self._event is None and self.is_final:
            self._event = CloseEvent("close", outcome=self._outcome())
        return self._event

    def closed_error(self) -> ConnectionClosed:
        """Return the exception of calls that the end makes impossible."""
        error = ConnectionClosed(self.event(), self._connection.closing.facts())
        error.socket_id = self._id
        return error

    def opening_error(self) -> BaseException:
        """Return the exception that kept the socket from opening, with the attributes of Known."""
        if self.error is None:
            return self.closed_error()
        error = copy(self.error)  # the original would refer to the frames that it passes through, and they to us
        error.__cause__ = self.error.__cause__
        event = self.event()
        assert event is not None
        tell(error, event, event.outcome)
        return error

    def log(self, context: Context | None, url: str, driver: Host) -> None:
        """Write the one record for the end. A logging handler that fails is reported, and changes nothing.

        Args:
            context: of the application's code, such as the logging handler.
            url: of a client; empty on a server.
            driver: of the session.
        """
        outcome = self._outcome() if self._event is None else self._event.outcome
        level = logging.DEBUG if outcome.was_clean else logging.INFO
        logger = _loggers[outcome.role]
        try:
            if logger.isEnabledFor(level):
                where = parse_url(url).shown if url else driver.address("peername")
                run_in_copy(context, logger.log, level, "connection %d %s: %s", outcome.id, where, outcome)
        except Exception as error:
            run_in_copy(context, driver.report, "exception in a logging handler", error)

    def _outcome(self) -> Outcome:
        return make_outcome(
            self._connection.record(self._ended_at, self.held),
            id=self._id,
            undelivered=self.discarded + self._unread,
            unflushed_bytes=self.unflushed,
            exception=self.error,
            phase=self.phase,
            response=self._response,
        )


def reason_of(error: BaseException | None, cause: Cause) -> Reason:
    """Return the reason for an end by an error of the network, or by none."""
    if error is None:
        return Reason(cause)
    initiator = Initiator.NETWORK if getattr(error, "errno", None) in _NETWORK_ERRORS else None
    return Reason(cause, describe(error), initiator)


def describe(error: BaseException) -> str:
    """Return an exception and its notes in one line."""
    return "; ".join([text_of(error) or type(error).__name__, *getattr(error, "__notes__", ())])
