"""The exceptions.

What may be tried again and what is a mistake of the program have different bases::

    WebSocketError                       the network or the peer did it
      HandshakeError                     the opening handshake failed; ``response`` and ``status`` when there was one
      ConnectionClosed                   the connection has ended; ``event`` is the CloseEvent
      RemoteProtocolError                the peer broke a rule; ``violation``
    DOMException                         a mistake of the program; the exceptions of the WHATWG standard, by ``name``
      InvalidStateError                  also a RuntimeError
      InvalidAccessError                 also a ValueError
      SyntaxError                        also a ValueError
    RuntimeError
      LocalProtocolError                 the protocol core was asked for what the protocol forbids

The errors of the network that Python has are OSErrors, TimeoutError among them. So ``except (OSError, WebSocketError)``
catches what may be tried again, and no mistake.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .violations import Violation

if TYPE_CHECKING:
    from .close_events import CloseEvent
    from .http import Response


class WebSocketError(Exception):
    """The base of the errors that the network or the peer caused: they may be tried again."""


class HandshakeError(WebSocketError):
    """The opening handshake failed (RFC 6455 section 4).

    Attributes:
        status: on the server, the HTTP status to answer with; on the client, the status that the server sent, or 0.
        response: on the client, the server's answer; None when there was none that could be read.
        event: on the client, the CloseEvent; None before it has fired.
    """

    event: CloseEvent | None = None

    def __init__(self, message: str, *, status: int = 0, response: Response | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.response = response


class ConnectionClosed(WebSocketError):
    """The connection has ended, or is ending, so nothing can be sent and nothing more will arrive.

    Attributes:
        event: the CloseEvent; None while the closing handshake is still under way.
        socket_id: the ``id`` of the socket whose connection it is; None if the library has not raised it.
    """

    socket_id: int | None = None

    def __init__(self, event: CloseEvent | None = None) -> None:
        super().__init__("the connection is closing" if event is None else str(event))
        self.event = event

    def __reduce__(self) -> tuple[type[ConnectionClosed], tuple[CloseEvent | None]]:
        return ConnectionClosed, (self.event,)


class LocalProtocolError(RuntimeError):
    """The protocol core was asked for something that the protocol forbids in its present state."""


class RemoteProtocolError(WebSocketError):
    """The peer broke a rule of the protocol.

    Attributes:
        violation: which one, with the close code that answers it.
        detail: what the peer sent that broke it, such as the reserved opcode; may be empty.
    """

    def __init__(self, violation: Violation, detail: str = "") -> None:
        super().__init__(violation.describe(detail))
        self.violation = violation
        self.detail = detail

    def __reduce__(self) -> tuple[type[RemoteProtocolError], tuple[Violation, str]]:
        return RemoteProtocolError, (self.violation, self.detail)


class DOMException(Exception):
    """A mistake of the program, as the WHATWG standard has them. ``name`` is the name that JavaScript gives it."""

    @property
    def name(self) -> str:
        """The name in JavaScript, such as ``SyntaxError``."""
        return type(self).__name__


class InvalidStateError(DOMException, RuntimeError):
    """The object is in a state that does not allow the call."""


class InvalidAccessError(DOMException, ValueError):
    """The object does not allow the argument: a close code that a page, or anybody, may not send."""


class SyntaxError(DOMException, ValueError):  # noqa: A001 - the standard's name
    """A string does not match what is expected: a URL, a subprotocol, or a reason that is too long."""
