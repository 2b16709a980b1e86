"""The exceptions of the WHATWG standards that a WebSocket raises for mistakes of the program."""

from __future__ import annotations


class DOMException(Exception):
    """The base class of the WHATWG standard's exceptions for mistakes of the program."""

    @property
    def name(self) -> str:
        """The name in JavaScript, such as ``SyntaxError``."""
        return type(self).__name__


class InvalidStateError(DOMException, RuntimeError):
    """The object is in a state that does not allow the call."""


class InvalidAccessError(DOMException, ValueError):
    """The object does not support the argument: a close code that must not be sent, or not by a page."""


class SyntaxError(DOMException, ValueError):  # noqa: A001 - the standard's name
    """A string is not valid: a URL, a subprotocol, or a reason that is too long."""
