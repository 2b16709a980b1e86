"""The exceptions.

What may be tried again and what is a mistake of the program have different bases::

    WebSocketError                       the network or the peer did it
      HandshakeError                     the opening handshake failed; ``response`` and ``status`` when there was one
      ConnectionClosed                   the connection has ended, or is ending; ``event`` is the CloseEvent
      RemoteProtocolError                the peer broke a rule; ``violation``
    DOMException                         a mistake of the program; the exceptions of the WHATWG standard, by ``name``
      InvalidStateError                  also a RuntimeError
      InvalidAccessError                 also a ValueError
      SyntaxError                        also a ValueError
    RuntimeError
      LocalProtocolError                 the protocol core was asked for what the protocol forbids

The errors of the network that Python has are OSErrors, TimeoutError among them. So ``except (OSError, WebSocketError)``
catches what may be tried again, and no mistake.

Each error that the end of a connection raises, an OSError too, has what is known of the end by then as attributes: see
Known. What an exception has by that name already, as an ssl.SSLError has its ``reason``, stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..model.errors import WebSocketError

if TYPE_CHECKING:
    from ..model.registry import CloseFrame
    from ..opening.http import Response
    from .events import CloseEvent
    from .outcome import Cause, Facts, Initiator, Outcome


class Known:
    """What an error tells of the end of a connection, as far as it was known when the error was raised.

    Attributes:
        event: the CloseEvent; None while the connection is still closing.
        code, reason: what the peer's Close frame said, and else as in the event; None and empty before that is known.
        received, sent: the Close frames, the peer's and ours, which may still wait to leave.
        initiator: who began the end.
        cause: why.
    """

    event: CloseEvent | None = None
    code: int | None = None
    reason: str = ""
    received: CloseFrame | None = None
    sent: CloseFrame | None = None
    initiator: Initiator | None = None
    cause: Cause | None = None


def tell(error: BaseException, event: CloseEvent | None, facts: Facts | Outcome) -> None:
    """Give an error the attributes of Known."""
    error.event = event  # type: ignore[attr-defined]
    for name in ("code", "reason", "received", "sent", "initiator", "cause"):
        if not getattr(error, name, None):
            setattr(error, name, getattr(facts, name))


class HandshakeError(Known, WebSocketError):
    """The opening handshake failed (RFC 6455 section 4).

    Attributes:
        status: on the server, the HTTP status to answer with; on the client, the status that the server sent, or 0.
        response: on the client, the server's answer; None when there was none that could be read.
        event, code, initiator, cause, ...: on the client, see Known.
    """

    def __init__(self, message: str, *, status: int = 0, response: Response | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.response = response


class ConnectionClosed(Known, WebSocketError):
    """The connection has ended, or is ending, so nothing can be sent and nothing more will arrive.

    Its attributes are those of Known, and:

    Attributes:
        socket_id: the ``id`` of the socket whose connection it is; None if the library has not raised it.

    Args:
        event: the CloseEvent, if there is one.
        facts: what is known without it.
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
