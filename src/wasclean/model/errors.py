"""The base exceptions. Those that report the end of a connection are in closing/errors.py."""

from __future__ import annotations

from .violations import Violation


class WebSocketError(Exception):
    """The base class of errors caused by the network or the peer, after which a retry may succeed."""


class LocalProtocolError(RuntimeError):
    """The protocol forbids the call in the present state of the connection."""


class RemoteProtocolError(WebSocketError):
    """The peer broke a rule of the protocol.

    Attributes:
        violation: the rule, with its close code.
        detail: particulars, such as the reserved opcode that the peer sent; may be empty.
    """

    def __init__(self, violation: Violation, detail: str = "") -> None:
        super().__init__(violation.describe(detail))
        self.violation = violation
        self.detail = detail

    def __reduce__(self) -> tuple[type[RemoteProtocolError], tuple[Violation, str]]:
        return RemoteProtocolError, (self.violation, self.detail)
