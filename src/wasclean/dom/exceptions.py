"""The exceptions of the WHATWG standards that a WebSocket raises: mistakes of the program, by ``name``."""

from __future__ import annotations


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
