"""CloseEvent and ErrorEvent: the events that tell how a connection ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from ..dom.events import Event, EventInit
from ..model.registry import CloseFrame
from .explain import explain
from .outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats

if TYPE_CHECKING:
    from ..opening.http import Response


class _OutcomeEvent(Event):
    """What both events tell beyond the standard; without an outcome they are events that somebody made himself."""

    __slots__ = ("_outcome",)

    _outcome: Outcome

    @property
    def outcome(self) -> Outcome:
        """All of these facts in one record."""
        return self._outcome

    @property
    def initiator(self) -> Initiator:
        """Who began the end: ``local``, ``remote``, ``simultaneous`` or ``network``."""
        return self._outcome.initiator

    @property
    def cause(self) -> Cause:
        """Why the connection ended."""
        return self._outcome.cause

    @property
    def detail(self) -> str:
        """One line with the particulars; may be empty."""
        return self._outcome.detail

    @property
    def sent(self) -> CloseFrame | None:
        """Our Close frame, if one left."""
        return self._outcome.sent

    @property
    def received(self) -> CloseFrame | None:
        """The peer's Close frame, if one came."""
        return self._outcome.received

    @property
    def unsent(self) -> tuple[str | bytes, ...]:
        """The messages that never left the process, in order."""
        return self._outcome.unsent

    @property
    def unflushed_bytes(self) -> int:
        """What the kernel still held for the peer, in bytes; 0 where it can't tell."""
        return self._outcome.unflushed_bytes

    @property
    def discarded(self) -> int:
        """Bytes that arrived and were not delivered."""
        return self._outcome.discarded

    @property
    def exception(self) -> BaseException | None:
        """The exception that ended or prevented the connection, if there was one."""
        return self._outcome.exception

    @property
    def errno(self) -> int | None:
        """The exception's error number, if the operating system gave one."""
        return self._outcome.errno

    @property
    def phase(self) -> Phase | None:
        """How far the opening had come, if that failed: ``dns``, ``tcp``, ``proxy``, ``tls`` or ``http``."""
        return self._outcome.phase

    @property
    def response(self) -> Response | None:
        """The server's answer, if the opening failed after one had come."""
        return self._outcome.response

    @property
    def stats(self) -> Stats:
        """What had passed: bytes, messages, ages, the latest round trip."""
        return self._outcome.stats

    @property
    def frames(self) -> tuple[FrameNote, ...]:
        """The last frames that passed, at most 32, the oldest first; never their payload."""
        return self._outcome.frames

    def explain(self) -> str:
        """What happened, in a paragraph for a person; guesses are labelled as guesses."""
        return explain(self._outcome)

    def as_dict(self) -> dict[str, Any]:
        """Everything in types that JSON has, for a log."""
        return self._outcome.as_dict()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.type, {"outcome": self._outcome})


class CloseEvent(_OutcomeEvent):
    """The connection has ended. Pickled, it loses its target.

    Args:
        type: ``"close"``.
        wasClean, code, reason: as in the standard, for events that you make yourself.
        outcome: what the event tells; made from the others if there is none.
    """

    __slots__ = ()

    def __init__(
        self,
        type: str,
        *,
        wasClean: bool = False,
        code: int = 0,
        reason: str = "",
        outcome: Outcome | None = None,
        **init: Unpack[EventInit],
    ) -> None:
        super().__init__(type, **init)
        if outcome is None:
            cause = Cause.PEER_CLOSE if wasClean else Cause.TCP_FIN
            outcome = Outcome(code=code, reason=reason, was_clean=wasClean, cause=cause)
        self._outcome = outcome

    @property
    def wasClean(self) -> bool:
        """Whether both Close frames were exchanged and TCP ended; nothing to do with the code."""
        return self._outcome.was_clean

    @property
    def code(self) -> int:
        """What the peer's Close frame said; 1005 if it had no code, 1006 if there was none, 1015 if TLS failed."""
        return int(self._outcome.code)

    @property
    def reason(self) -> str:
        """What the peer's Close frame said."""
        return self._outcome.reason

    @property
    def ok(self) -> bool:
        """Whether this was an ordinary end: clean, with 1000, 1001 or no code."""
        return self._outcome.ok

    def __str__(self) -> str:
        return str(self._outcome)

    def __repr__(self) -> str:
        outcome = self._outcome
        return (
            f"<CloseEvent code={int(outcome.code)} reason={outcome.reason!r} wasClean={outcome.was_clean} "
            f"initiator={outcome.initiator} cause={outcome.cause} detail={outcome.detail!r}>"
        )


class ErrorEvent(_OutcomeEvent):
    """The connection was failed; a CloseEvent with the same facts follows.

    Args:
        type: ``"error"``.
        message, error: for events that you make yourself.
        outcome: what the event tells.
    """

    __slots__ = ("_message",)

    def __init__(
        self,
        type: str,
        *,
        message: str = "",
        error: BaseException | None = None,
        outcome: Outcome | None = None,
        **init: Unpack[EventInit],
    ) -> None:
        super().__init__(type, **init)
        self._outcome = outcome or Outcome(exception=error)
        self._message = message

    @property
    def message(self) -> str:
        """What went wrong, for a person."""
        return self._message

    @property
    def error(self) -> BaseException | None:
        """The exception, if there was one."""
        return self._outcome.exception

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.type, {"message": self._message, "outcome": self._outcome})

    def __str__(self) -> str:
        return self._message

    def __repr__(self) -> str:
        return f"<ErrorEvent {self._message!r}>"


def _restore(kind: type[_OutcomeEvent], type: str, init: dict[str, Any]) -> _OutcomeEvent:
    return kind(type, **init)
