"""The options of connect(), serve() and WebSocket(), with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from .protocol.http import Headers
from .protocol.registry import (
    CLIENT_MAX_MESSAGE_SIZE,
    CLOSE_TIMEOUT,
    MAX_BUFFERED_AMOUNT,
    MAX_FRAGMENTS,
    MAX_QUEUE,
    OPEN_TIMEOUT,
    SERVER_MAX_MESSAGE_SIZE,
    Role,
)

if TYPE_CHECKING:
    from ssl import SSLContext


class LimitOptions(TypedDict, total=False):
    """What both ends may limit.

    Attributes:
        max_message_size: bytes of one message, all fragments together, before the connection is failed with 1009;
            None for no limit. Servers 1 MiB, clients 16 MiB.
        max_fragments: frames of one message, before the connection is failed with 1008; None for no limit. 4096.
        max_queue: messages that a stream holds unread before reading pauses. 16.
        max_buffered_amount: bytes that send() may queue, before the socket is flagged as full and closed. 16 MiB.
        open_timeout: seconds for the whole opening handshake. 10.
        close_timeout: seconds for the whole closing handshake. 5.
    """

    max_message_size: int | None
    max_fragments: int | None
    max_queue: int
    max_buffered_amount: int
    open_timeout: float
    close_timeout: float


class ClientOptions(LimitOptions, total=False):
    """What a client may say beyond its URL and subprotocols.

    Attributes:
        base_url: what a relative URL is relative to.
        origin: the Origin header.
        headers: further headers of the request.
        ssl: the TLS context for a ``wss:`` URL; the system's trust by default.
        server_hostname: the name to check the certificate against; the URL's host by default.
        path: of a Unix socket to connect to instead of the URL's host and port.
        max_redirects: redirects to follow, at most 5; none by default.
    """

    base_url: str | None
    origin: str | None
    headers: Headers
    ssl: SSLContext | None
    server_hostname: str | None
    path: str | None
    max_redirects: int


#: The highest value of the option ``max_redirects``.
MAX_REDIRECTS = 5

_LIMITS: dict[str, Any] = {
    "max_fragments": MAX_FRAGMENTS,
    "max_queue": MAX_QUEUE,
    "max_buffered_amount": MAX_BUFFERED_AMOUNT,
    "open_timeout": OPEN_TIMEOUT,
    "close_timeout": CLOSE_TIMEOUT,
}
_SIZES = {Role.CLIENT: CLIENT_MAX_MESSAGE_SIZE, Role.SERVER: SERVER_MAX_MESSAGE_SIZE}
_SECONDS = frozenset({"open_timeout", "close_timeout"})  # the options that may be floats
_UNLIMITED = frozenset({"max_message_size", "max_fragments"})  # the options that may be None


class Limits:
    """The limits of one end, shared by all connections that have the same.

    Raises:
        TypeError: a limit is not a number.
        ValueError: a limit is not positive, or beyond all reason.
    """

    __slots__ = (
        "close_timeout",
        "max_buffered_amount",
        "max_fragments",
        "max_message_size",
        "max_queue",
        "open_timeout",
    )

    max_message_size: int | None
    max_fragments: int | None
    max_queue: int
    max_buffered_amount: int
    open_timeout: float
    close_timeout: float

    def __init__(self, role: Role, options: Mapping[str, Any]) -> None:
        for name, default in {"max_message_size": _SIZES[role], **_LIMITS}.items():
            value = options.get(name, default)
            if value is None and name in _UNLIMITED:
                pass
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, not {type(value).__name__}")
            elif not 0 < value < 1 << 63:
                raise ValueError(f"{name} must be positive and below 2**63, not {value}")
            elif not isinstance(value, int) and name not in _SECONDS:
                raise TypeError(f"{name} must be a whole number, an int, not {value}")
            setattr(self, name, value)


def check_names(what: str, options: Mapping[str, Any], known: type) -> None:
    """Refuse options that do not exist.

    Raises:
        TypeError: ``what`` has no option of such a name.
    """
    for name in options:
        if name not in known.__annotations__:
            names = ", ".join(sorted(known.__annotations__))
            raise TypeError(f"{what} has no option {name!r}; it has {names}")
