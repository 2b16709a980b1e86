"""CloseEvent and ErrorEvent: the events that report the end of a connection."""

from __future__ import annotations

from typing import Any, Unpack

from ..dom.event import Event, EventInit
from ..model.heads import Response
from ..model.registry import CloseFrame
from .explain import explain
from .outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats


class _OutcomeEvent(Event):
    """The attributes of both events beyond the standard: those of Outcome."""

    __slots__ = ("_outcome",)

    _outcome: Outcome

    @property
    def outcome(self) -> Outcome:
        """The record that all other attributes are taken from."""
        return self._outcome

    @property
    def initiator(self) -> Initiator:
        """The end that closed first: ``local``, ``remote``, ``simultaneous`` or ``network``."""
        return self._outcome.initiator

    @property
    def cause(self) -> Cause:
        """The reason for the end; ``cause.text`` is a description of it."""
        return self._outcome.cause

    @property
    def detail(self) -> str:
        """Particulars of the cause, in one line; may be empty."""
        return self._outcome.detail

    @property
    def sent(self) -> CloseFrame | None:
        """The Close frame of this end; None if none left the process."""
        return self._outcome.sent

    @property
    def received(self) -> CloseFrame | None:
        """The Close frame of the peer; None if none arrived."""
        return self._outcome.received

    @property
    def unsent(self) -> tuple[str | bytes, ...]:
        """The messages that did not leave the process, in order."""
        return self._outcome.unsent

    @property
    def unflushed_bytes(self) -> int:
        """Bytes that the peer's kernel had not acknowledged; 0 where the system does not report it."""
        return self._outcome.unflushed_bytes

    @property
    def discarded(self) -> int:
        """Bytes of messages that arrived and were not delivered."""
        return self._outcome.discarded

    @property
    def exception(self) -> BaseException | None:
        """The exception that ended or prevented the connection; None if there was none."""
        return self._outcome.exception

    @property
    def errno(self) -> int | None:
        """The error number of the exception; None if it has none."""
        return self._outcome.errno

    @property
    def phase(self) -> Phase | None:
        """The step in which the opening failed, such as ``dns``, ``tcp``, ``tls``; None if it succeeded."""
        return self._outcome.phase

    @property
    def response(self) -> Response | None:
        """The server's response, if the opening handshake failed after it had arrived; else None."""
        return self._outcome.response

    @property
    def stats(self) -> Stats:
        """Statistics: bytes, messages, age, the latest round-trip time."""
        return self._outcome.stats

    @property
    def frames(self) -> tuple[FrameNote, ...]:
        """Records of the last frames, at most 32, oldest first, without their payloads."""
        return self._outcome.frames

    def explain(self) -> str:
        """Return an explanation for people, in a few sentences; a guess at the reason is labelled as one."""
        return explain(self._outcome)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types, for a log."""
        return self._outcome.as_dict()

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.type, {"outcome": self._outcome})


class CloseEvent(_OutcomeEvent):
    """The connection has ended. A copy made by pickle has no target.

    Args:
        type: ``"close"``.
        wasClean, code, reason: as in the standard, for events made by a program.
        outcome: the record of the end; by default it is made from the arguments before.
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
        """True if both Close frames were exchanged and TCP ended, whatever the code."""
        return self._outcome.was_clean

    @property
    def code(self) -> int:
        """The peer's close code; 1005 if its Close frame had none, 1006 if no frame arrived, 1015 if TLS failed."""
        return int(self._outcome.code)

    @property
    def reason(self) -> str:
        """The reason in the peer's Close frame."""
        return self._outcome.reason

    @property
    def ok(self) -> bool:
        """True for an ordinary end: clean, and with code 1000, 1001 or none."""
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
    """The connection failed; a CloseEvent with the same outcome follows.

    Args:
        type: ``"error"``.
        message: a description of the error.
        error: the exception, for events made by a program without an outcome.
        outcome: the record of the end.
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
        """A description of the error, for people."""
        return self._message

    @property
    def error(self) -> BaseException | None:
        """The exception that ended or prevented the connection; None if there was none."""
        return self._outcome.exception

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.type, {"message": self._message, "outcome": self._outcome})

    def __str__(self) -> str:
        return self._message

    def __repr__(self) -> str:
        return f"<ErrorEvent {self._message!r}>"


def _restore(kind: type[_OutcomeEvent], type: str, init: dict[str, Any]) -> _OutcomeEvent:
    return kind(type, **init)
