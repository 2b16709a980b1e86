"""The options of connect(), serve() and WebSocket(), with their defaults."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from .protocol.deflate import Deflate
from .protocol.http import Headers
from .protocol.keepalive import Timing
from .protocol.rates import Rates
from .protocol.registry import (
    CLIENT_MAX_MESSAGE_SIZE,
    CLOSE_TIMEOUT,
    MAX_BUFFERED_AMOUNT,
    MAX_FRAGMENTS,
    MAX_HANDSHAKES,
    MAX_PINGS_PER_SECOND,
    MAX_QUEUE,
    OPEN_TIMEOUT,
    PING_INTERVAL,
    PING_TIMEOUT,
    SERVER_MAX_MESSAGE_SIZE,
    WRITE_TIMEOUT,
    Role,
)

if TYPE_CHECKING:
    from ssl import SSLContext

    from _typeshed import StrOrBytesPath


#: What the option ``compression`` may be: ``"deflate"`` is Deflate().
Compression = Deflate | Sequence[Deflate] | Literal["deflate"] | None


class LimitOptions(TypedDict, total=False):
    """What both ends may limit. docs/limits.md tells why each default is what it is.

    Attributes:
        max_message_size: bytes of one message, all fragments together, before the connection is failed with 1009;
            None for no limit. Servers 1 MiB, clients 16 MiB.
        max_fragments: frames of one message, however small they are; if there are more, their payload must average 16
            bytes, or the connection is failed with 1008; None for no limit. 4096.
        max_queue: messages that a stream holds unread before reading pauses. 16.
        max_buffered_amount: bytes that send() may queue, before the socket is flagged as full and closed. 16 MiB.
        max_pings_per_second: pings that the peer may send, with bursts of one second's worth, before the connection is
            failed with 1008; None for no limit. 1000.
        max_messages_per_second: the same for messages, looked at after each read. None by default: no limit.
        max_bytes_per_second: the same for all bytes, headers included. None by default: no limit.
        open_timeout: seconds for the whole opening handshake. 10.
        close_timeout: seconds for the whole closing handshake. 5.
        ping_interval: seconds between two pings; None for none. 20.
        ping_timeout: seconds within which something must arrive after a ping; None to go on without. 20.
        write_timeout: seconds within which the peer must take something of what is sent to it; None for no limit. 40.
        idle_timeout: seconds after the last message, either way, until the connection is closed with 1001; pings don't
            count. None by default: no limit.
        max_lifetime: seconds after which a connection is closed with 1001, less up to a tenth of them so that not all
            are closed at once. None by default: no limit.
    """

    max_message_size: int | None
    max_fragments: int | None
    max_queue: int
    max_buffered_amount: int
    max_pings_per_second: int | None
    max_messages_per_second: int | None
    max_bytes_per_second: int | None
    open_timeout: float
    close_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_lifetime: float | None


class ServerOptions(LimitOptions, total=False):
    """What a server may limit beyond that.

    Attributes:
        max_handshakes: connections whose opening handshake, with that of TLS, is not complete, before the oldest that
            waits for its client is answered with 503, or, in the handshake of TLS, dropped. 1024.
        max_connections: open connections, before further handshakes are answered with 503. None by default: no limit.
        max_connections_per_address: connections from one address, or one /64 of IPv6, before new ones are answered
            with 429; with TLS they are dropped. Behind a proxy all have the proxy's address. None by default: no limit.
    """

    max_handshakes: int
    max_connections: int | None
    max_connections_per_address: int | None


class ClientOptions(LimitOptions, total=False):
    """What a client may say beyond its URL and subprotocols.

    Attributes:
        base_url: what a relative URL is relative to.
        compression: how to compress messages, a Deflate, or several, the one you like best first; None for not at all.
        origin: the Origin header.
        headers: further headers of the request.
        ssl: the TLS context for a ``wss:`` URL; the system's trust by default. See docs/tls.md.
        server_hostname: the name to check the certificate against; the URL's host by default.
        unix: path of a Unix socket to connect to instead of the URL's host and port. A redirect to another origin
            leaves this behind, ``ssl`` and ``server_hostname`` too.
        max_redirects: redirects to follow, at most 5; none by default.
        proxy: the URL of a proxy: ``http:``, ``https:``, or, with the extra ``proxy``, ``socks4:``, ``socks4a:``,
            ``socks5:``, ``socks5h:``. True, the default, takes that of the environment (``http_proxy``,
            ``https_proxy``, ``all_proxy``, ``no_proxy``), None takes none. See docs/proxies.md.
        proxy_ssl: the TLS context for an ``https:`` proxy; the system's trust by default.
    """

    base_url: str | None
    compression: Compression
    origin: str | None
    headers: Headers
    ssl: SSLContext | None
    server_hostname: str | None
    unix: StrOrBytesPath | None
    max_redirects: int
    proxy: str | Literal[True] | None
    proxy_ssl: SSLContext | None


#: The highest value of the option ``max_redirects``.
MAX_REDIRECTS = 5

#: Bytes that the path of a Unix socket may have: those of sockaddr_un's sun_path, but for the NUL at its end.
MAX_UNIX_PATH = 107 if sys.platform == "linux" else 103

_LIMITS: dict[str, Any] = {
    "max_fragments": MAX_FRAGMENTS,
    "max_queue": MAX_QUEUE,
    "max_buffered_amount": MAX_BUFFERED_AMOUNT,
    "max_pings_per_second": MAX_PINGS_PER_SECOND,
    "max_messages_per_second": None,
    "max_bytes_per_second": None,
    "open_timeout": OPEN_TIMEOUT,
    "close_timeout": CLOSE_TIMEOUT,
    "ping_interval": PING_INTERVAL,
    "ping_timeout": PING_TIMEOUT,
    "write_timeout": WRITE_TIMEOUT,
    "idle_timeout": None,
    "max_lifetime": None,
}
_OF_ROLES: dict[Role, dict[str, Any]] = {
    Role.CLIENT: {"max_message_size": CLIENT_MAX_MESSAGE_SIZE},
    Role.SERVER: {
        "max_message_size": SERVER_MAX_MESSAGE_SIZE,
        "max_handshakes": MAX_HANDSHAKES,
        "max_connections": None,
        "max_connections_per_address": None,
    },
}
_TIMING = frozenset(Timing._fields)
_RATES = frozenset(f"max_{name}_per_second" for name in Rates._fields)
_FRACTIONS = _TIMING | {"open_timeout", "close_timeout"}  # the options that may be floats
_UNLIMITED = (  # the options that may be None
    _TIMING | _RATES | {"max_message_size", "max_fragments", "max_connections", "max_connections_per_address"}
)


class Limits:
    """The limits of one end, shared by all connections that have the same; those of a server only on servers.

    Attributes:
        rates: what a peer may send in a second.

    Raises:
        TypeError: a limit is not a number.
        ValueError: a limit is not positive, or beyond all reason.
    """

    __slots__ = ("_timing", "rates", *ServerOptions.__annotations__)

    max_message_size: int | None
    max_fragments: int | None
    max_queue: int
    max_buffered_amount: int
    max_pings_per_second: int | None
    max_messages_per_second: int | None
    max_bytes_per_second: int | None
    open_timeout: float
    close_timeout: float
    ping_interval: float | None
    ping_timeout: float | None
    write_timeout: float | None
    idle_timeout: float | None
    max_lifetime: float | None
    max_handshakes: int
    max_connections: int | None
    max_connections_per_address: int | None

    def __init__(self, role: Role, options: Mapping[str, Any]) -> None:
        for name, default in {**_OF_ROLES[role], **_LIMITS}.items():
            value = options.get(name, default)
            if value is None and name in _UNLIMITED:
                pass
            elif isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, not {type(value).__name__}")
            elif not 0 < value < 1 << 63:
                raise ValueError(f"{name} must be positive and below 2**63, not {value}")
            elif not isinstance(value, int) and name not in _FRACTIONS:
                raise TypeError(f"{name} must be a whole number, an int, not {value}")
            setattr(self, name, value)
        self.rates = Rates(*(getattr(self, f"max_{name}_per_second") for name in Rates._fields))
        self._timing = Timing(*(getattr(self, name) for name in Timing._fields))

    def timing(self) -> Timing:
        """What a new connection may do once it is open: the same for all, but for the jitter of max_lifetime."""
        if self.max_lifetime is None:
            return self._timing
        from random import uniform

        return self._timing._replace(max_lifetime=self.max_lifetime * uniform(0.9, 1.0))


def check_compression(compression: Compression) -> tuple[Deflate, ...]:
    """The kinds of compression that the option means.

    Raises:
        TypeError, ValueError: the option is not valid.
    """
    if compression is None:
        return ()
    if compression == "deflate":
        return (Deflate(),)
    deflates: tuple[Deflate, ...]
    if isinstance(compression, Deflate):
        deflates = (compression,)
    else:
        deflates = tuple(compression) if isinstance(compression, (list, tuple)) else ()
    if not deflates or not all(isinstance(deflate, Deflate) for deflate in deflates):
        raise TypeError(f"compression must be a Deflate, or a list of some, or None, not {compression!r}")
    for deflate in deflates:
        deflate.check()
    return deflates


def check_unix(unix: StrOrBytesPath | None) -> str | None:
    """The path of a Unix socket as a str; one that begins with NUL is an abstract name.

    Raises:
        TypeError: not a str, bytes or os.PathLike.
        ValueError: empty, with a NUL in the wrong place, too long for the system, or the system has no Unix sockets.
    """
    if unix is None:
        return None
    try:
        path = os.fsencode(unix)
    except TypeError:
        raise TypeError(
            f"unix must be the path of a Unix socket, a str, bytes or os.PathLike, not {type(unix).__name__}"
        ) from None
    if not hasattr(socket, "AF_UNIX"):
        raise ValueError("unix= can't be used: this system has no Unix sockets")
    if not path or b"\0" in path[1:]:
        raise ValueError(f"unix must be the path of a Unix socket, not {os.fsdecode(path)!a}")
    if len(path) > MAX_UNIX_PATH:
        raise ValueError(
            f"unix: the path of a Unix socket has at most {MAX_UNIX_PATH} bytes, this one has {len(path)};"
            " use a shorter one, such as a relative path"
        )
    return os.fsdecode(path)


def check_one_address(**addresses: object) -> None:
    """Refuse addresses that exclude one another; None is no address.

    Raises:
        TypeError: more than one is given.
    """
    given = [f"{name}=" for name, address in addresses.items() if address is not None]
    if len(given) > 1 and given != ["host=", "port="]:
        raise TypeError(f"{' and '.join(given)} exclude each other: give one address")


def check_names(what: str, options: Mapping[str, Any], known: type) -> None:
    """Refuse options that do not exist.

    Raises:
        TypeError: ``what`` has no option of such a name.
    """
    for name in options:
        if name not in known.__annotations__:
            from .foreign_names import advice  # few programs need it

            names = ", ".join(sorted(known.__annotations__))
            raise TypeError(f"{what} has no option {name!r}{advice(what, name)}; it has {names}")
