"""The event listeners of a WebSocket: their coroutines run as tasks, their exceptions go to the event loop."""

from __future__ import annotations

from asyncio import isfuture
from collections.abc import Callable
from functools import partial
from typing import Any

from ..closing.outcome import Cause, Reason
from ..closing.table import OPEN
from ..dom.event import Event
from ..dom.event_target import Callback, Listener, Listeners
from ..model.registry import CloseCode
from . import calls
from .awaitables import ROOM, Later, to_run
from .session import Session
from .user_code import call_measured, from_user, run_in_copy, says_end


class SocketListeners(Listeners):
    """The event listeners of one WebSocket. Listeners that are coroutine functions run as tasks."""

    __slots__ = ("_session",)

    def __init__(self, session: Session) -> None:
        Listeners.__init__(self)
        self._session = session
        self.context = session.context

    def added(self, type: str) -> None:
        """Deliver the messages that wait for a first listener."""
        if type == "message" and self._session.inbox.listener_added():
            self._session.run_soon(self._deliver_queue)

    def _deliver_queue(self) -> None:
        session = self._session
        discarded = session.inbox.deliver_queue(session.connection.is_open, session.driver.time())
        if discarded:
            session.end_report().discarded += discarded

    def function_of(self, type: str, callback: Callback) -> Callable[[Event], Any]:
        """Return the function to call for a callback; in debug mode one that measures it."""
        session = self._session
        function = Listeners.function_of(self, type, callback)
        if not session.in_debug:
            return function
        what, where = f"{type} listener {callback!r}", f"connection {session.id}"
        return partial(call_measured, session.driver.loop(), what, where, function)

    def take_result(self, event: Event, listener: Listener, result: Any) -> None:
        """Run what can be awaited as a task, unless its effect does not depend on that."""
        if result is ROOM or isfuture(result):  # of a lambda that only sends, or starts a task
            return
        coroutine = to_run(result)
        if coroutine is not None:
            create_task = self._session.driver.create_task
            run_in_copy(self._context_of(event), create_task, coroutine, partial(self._failed, _name(event, listener)))
        elif not isinstance(result, Later):
            Listeners.take_result(self, event, listener, result)

    def report(self, error: BaseException, event: Event, listener: Listener) -> None:
        """Report an exception to the event loop's exception handler."""
        run_in_copy(self._context_of(event), self._failed, _name(event, listener), error)

    def leave(self, error: BaseException) -> None:
        """Let the exception end the event loop."""
        leave_loop(self._session, error)

    def _context_of(self, event: Event) -> Any:
        """Return the context for consequences of a listener: for dispatchEvent() it is that of the caller."""
        return self._session.context if event.isTrusted else None

    def _failed(self, what: str, error: BaseException) -> None:
        if not is_its_end(self._session, error):
            self._session.driver.report(f"exception in {what}", from_user(error))


def _name(event: Event, listener: Listener) -> str:
    return f"{event.type} listener {listener.callback!r}"


def is_its_end(session: Session, error: BaseException) -> bool:
    """Return True if an exception tells only that the connection has ended, or is ending: that is no failure."""
    return session.connection.closing.state is not OPEN and says_end(error, session.id)


def leave_loop(session: Session, error: BaseException) -> None:
    """Let KeyboardInterrupt or SystemExit end the event loop. Raised here it would end the present read instead."""

    def leave() -> None:
        raise error

    calls.close(session, CloseCode.GOING_AWAY, "", Reason(Cause.PROCESS_EXIT))
    session.driver.queue_task(leave)
