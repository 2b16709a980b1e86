"""The exceptions.

Failures of the network or the peer have another base class than mistakes of the program::

    WebSocketError                       caused by the network or the peer
      HandshakeError                     the opening handshake failed; ``status``, ``response``
      ConnectionClosed                   the connection has ended, or is closing; ``event`` is the CloseEvent
      RemoteProtocolError                the peer broke a rule; ``violation``
    DOMException                         a mistake of the program; the exceptions of the WHATWG standard, by ``name``
      InvalidStateError                  also a RuntimeError
      InvalidAccessError                 also a ValueError
      SyntaxError                        also a ValueError
    RuntimeError
      LocalProtocolError                 the protocol forbids the call in the present state

Python's own network errors are OSErrors, including TimeoutError. So ``except (OSError, WebSocketError)`` catches the
failures after which a retry makes sense, and no mistakes of the program.

Every exception that reports the end of a connection, including an OSError, has the attributes of Known. An attribute
that the exception has already, such as ``reason`` of an ssl.SSLError, is kept.
"""

from __future__ import annotations

from typing import Any

from ..model.errors import WebSocketError
from ..model.heads import Response
from ..model.registry import CloseFrame
from .events import CloseEvent
from .outcome import Cause, Facts, Initiator, Outcome


class Known:
    """Attributes of an exception about the end of a connection, as far as it was known when the exception was raised.

    Attributes:
        event: the CloseEvent; None while the connection is still closing.
        code, reason: those of the CloseEvent; None and empty if the peer's Close frame has not arrived yet.
        received, sent: the Close frames of the peer and of this end, which may still be queued; None if there is none.
        initiator: the end that closed first.
        cause: the reason for the end.
    """

    event: CloseEvent | None = None
    code: int | None = None
    reason: str = ""
    received: CloseFrame | None = None
    sent: CloseFrame | None = None
    initiator: Initiator | None = None
    cause: Cause | None = None


def tell(error: BaseException, event: CloseEvent | None, facts: Facts | Outcome) -> None:
    """Set the attributes of Known on an exception."""
    error.event = event  # type: ignore[attr-defined]
    for name in ("code", "reason", "received", "sent", "initiator", "cause"):
        if not getattr(error, name, None):
            setattr(error, name, getattr(facts, name))


class HandshakeError(Known, WebSocketError):
    """The opening handshake failed (RFC 6455 section 4).

    Attributes:
        status: on a client, the HTTP status of the server's response, or 0; on a server, the status to respond with.
        response: on a client, the server's response; None if there was none that could be parsed.
        event, code, initiator, cause, ...: on a client, those of Known.
    """

    def __init__(self, message: str, *, status: int = 0, response: Response | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.response = response


class ConnectionClosed(Known, WebSocketError):
    """The connection has ended, or is closing: nothing can be sent, and nothing more will arrive.

    Its attributes are those of Known, and ``socket_id``.

    Attributes:
        socket_id: the ``id`` of the WebSocket; None if the exception was not raised by the library.

    Args:
        event: the CloseEvent; None while the connection is still closing.
        facts: the known part of the outcome, if there is no event.
    """

    socket_id: int | None = None

    def __init__(self, event: CloseEvent | None = None, facts: Facts | None = None) -> None:
        super().__init__(str(event or facts or "the connection is closing"))
        self._facts = facts
        known = facts if event is None else event.outcome
        if known is not None:
            tell(self, event, known)

    def __reduce__(self) -> tuple[type[ConnectionClosed], tuple[CloseEvent | None, Facts | None], dict[str, Any]]:
        return ConnectionClosed, (self.event, self._facts), {"socket_id": self.socket_id}
