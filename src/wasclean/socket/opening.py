"""The end of the opening handshake, as a session sees it: the connection is established, or it is not."""

from __future__ import annotations

from collections.abc import Callable

from ..closing.outcome import Cause, Initiator, Phase, Reason
from ..closing.table import CLOSED
from ..dom.event import Event
from ..model.registry import CloseCode, Role
from ..opening.extensions import Agreement
from ..opening.urls import URLRecord
from ..options import Limits
from ..wire.receiver import ReadBuffer
from .end_report import describe
from .host import Host
from .session import Session

#: Iterations of the event loop within which the task of a handler begins to wait for messages.
HANDLER_START_ITERATIONS = 4


def new_client_session(limits: Limits, url: URLRecord, driver: Host, buffer: ReadBuffer, now: float) -> Session:
    """Return the session of a client, in the state CONNECTING; the arguments are those of Session."""
    session = Session(Role.CLIENT, limits, driver, buffer, now)
    session.url = url.href
    session.inbox.origin = url.origin
    return session


def continue_elsewhere(session: Session, url: URLRecord, driver: Host) -> None:
    """Continue the opening handshake at another URL, with another driver."""
    session.driver = driver
    session.url = url.href
    session.inbox.origin = url.origin
    driver.set_alarm(session.connection.next_deadline())


def open_by(session: Session, deadline: float) -> None:
    """Set the deadline of the opening handshake; 0 for none, while it waits for its turn."""
    session.connection.closing.open_by(deadline)
    session.driver.set_alarm(session.connection.next_deadline())


def establish(session: Session, agreement: Agreement, rest: bytes, then: Callable[[], object] | None) -> None:
    """The opening handshake has succeeded.

    "When the WebSocket connection is established, queue a task to run these steps".

    Args:
        session: in the state CONNECTING.
        agreement: what was agreed.
        rest: the bytes that followed the handshake.
        then: called before they are processed.
    """
    session.run(_establish, session, agreement, rest, then)


def _establish(session: Session, agreement: Agreement, rest: bytes, then: Callable[[], object] | None) -> None:
    inbox = session.inbox
    now = session.now = session.driver.time()
    session.connection.established(now, session.driver.slept(), agreement.deflate)
    session.opened = True
    session.protocol = agreement.subprotocol
    session.extensions = agreement.extensions
    if inbox.listens("open"):
        inbox.fire(Event("open"))
    if then is not None:
        then()
    if session.promises is not None:
        session.promises.open()
    if rest and session.connection.is_open and not inbox.listens("message"):
        session.driver.pause_reading()
        session.run_soon(_read_rest, session, rest, HANDLER_START_ITERATIONS)
    else:
        session.receive(rest, now)


def _read_rest(session: Session, rest: bytes, iterations: int) -> None:
    """Process the bytes behind the handshake, once a task waits for messages or after so many more iterations."""
    if iterations and not session.inbox.is_awaited() and session.connection.is_open:
        session.run_soon(_read_rest, session, rest, iterations - 1)
        return
    if session.connection.closing.state is not CLOSED:
        session.driver.resume_reading()
    session.receive(rest, session.driver.time())


def fail_opening(session: Session, error: BaseException, cause: Cause, phase: Phase | None) -> None:
    """The opening handshake has failed, or its result is refused.

    Args:
        session: in the state CONNECTING, or CLOSED already.
        error: why.
        cause: the same, for the outcome.
        phase: how far it had come.
    """
    connection = session.connection
    if connection.closing.state is CLOSED:
        return
    report = session.end_report()
    if report.error is None:
        report.error = error
        report.phase = phase
    now = session.driver.time()
    why = Reason(cause, describe(error), Initiator.REMOTE if cause is Cause.HANDSHAKE_REJECTED else None)
    if cause is Cause.HANDSHAKE_REJECTED or cause is Cause.HANDSHAKE_INVALID:
        connection.refuse(CloseCode.PROTOCOL_ERROR, "", now, why)
        session.settle()
    elif cause is Cause.CANCELLED or cause is Cause.PROCESS_EXIT:
        connection.terminate(now, why)
        session.settle()
    else:
        session.driver.abort(False)
        connection.connection_lost(now, why)
