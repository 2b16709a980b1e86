"""The errors of the protocol: closing/errors.py has those that tell how a connection has ended."""

from __future__ import annotations

from .violations import Violation


class WebSocketError(Exception):
    """The base of the errors that the network or the peer caused: they may be tried again."""


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
