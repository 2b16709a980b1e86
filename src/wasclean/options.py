"""The options of connect(), serve() and WebSocket(), with their defaults."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypedDict

from .checks import (
    Check,
    a_callable,
    a_str,
    an_int,
    compression,
    header_value,
    host_name,
    hosts,
    listening_sockets,
    may_reuse_port,
    one_compression,
    optional,
    tls_context,
    unix_path,
)
from .closing.keepalive import Timing
from .closing.rates import Rates
from .model.heads import Headers
from .model.registry import (
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
from .opening.handshake import check_headers, check_single
from .opening.proxies import ProxyURL, parse_proxy
from .opening.urls import OriginPolicy, URLRecord, check_subprotocols, parse_url
from .wire.deflate import Deflate

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
        max_queue: messages that a stream holds unread before reading pauses; and that a socket keeps, which has had no
            message listener yet, for the first one. 16.
        max_buffered_amount: bytes that send() may queue and no task waits for, before the socket is flagged as full and
            closed. What is awaited within a turn or two of the event loop does not count. 16 MiB.
        max_pings_per_second: pings that the peer may send, with bursts of one second's worth, before the connection is
            failed with 1008; None for no limit. 1000.
        max_messages_per_second: the same for messages, looked at after each read. None by default: no limit.
        max_bytes_per_second: the same for all bytes, headers included. None by default: no limit.
        open_timeout: seconds for the whole opening handshake. 10. On a client that includes redirects, and does not
            include the wait of a WebSocket(url) for another one that is connecting to the same host and port.
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
        headers: further headers of the request, a mapping or pairs.
        ssl: the TLS context for a ``wss:`` URL; the system's trust by default. See docs/tls.md.
        server_hostname: the name to check the certificate against; the URL's host by default.
        unix: path of a Unix socket to connect to instead of the URL's host and port. A redirect to another origin
            leaves this behind, ``ssl`` and ``server_hostname`` too.
        max_redirects: redirects to follow, at most 5; none by default.
        proxy: the URL of a proxy: ``http:``, ``https:``, or, with the extra ``proxy``, ``socks4:``, ``socks4a:``,
            ``socks5:``, ``socks5h:``, ``socks:``. True, the default, takes that of the environment (``http_proxy``,
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


class ClientSettings(NamedTuple):
    """What the options of a client mean, once they are checked; see ClientOptions."""

    base_url: str | None = None
    compression: tuple[Deflate, ...] = (Deflate(),)
    origin: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    ssl: SSLContext | None = None
    server_hostname: str | None = None
    unix: str | None = None
    max_redirects: int = 0
    proxy: ProxyURL | Literal[True] | None = True
    proxy_ssl: SSLContext | None = None

    def __repr__(self) -> str:
        return "<ClientSettings>"  # they can hold secrets


class ServerSettings(NamedTuple):
    """What the arguments of serve() mean, once they are checked."""

    handler: Any
    host: str | list[str] | None
    port: int | None
    unix: str | None
    sock: tuple[Any, ...] | None
    ssl: SSLContext | None
    subprotocols: tuple[str, ...]
    origins: OriginPolicy
    headers: Sequence[tuple[str, str]]
    compression: Deflate | None
    on_request: Any
    reuse_port: bool
    backlog: int


def _headers(name: str, value: Headers) -> list[tuple[str, str]]:
    return check_headers(value)


def _proxy(name: str, value: Any) -> ProxyURL | Literal[True]:
    return True if value is True else parse_proxy(value)


def _subprotocols(name: str, value: Any) -> tuple[str, ...]:
    return check_subprotocols(value)


def _origins(name: str, value: Any) -> OriginPolicy:
    return OriginPolicy(value)


#: How each option is checked that is no limit: Limits checks those.
_CHECKS: dict[Role, dict[str, Check]] = {
    Role.CLIENT: {
        "base_url": optional(a_str),
        "compression": compression,
        "origin": optional(header_value),
        "headers": _headers,
        "ssl": optional(tls_context(Role.CLIENT)),
        "server_hostname": optional(host_name),
        "unix": optional(unix_path),
        "max_redirects": an_int(0, MAX_REDIRECTS),
        "proxy": optional(_proxy),
        "proxy_ssl": optional(tls_context(Role.CLIENT)),
    },
    Role.SERVER: {
        "handler": a_callable,
        "host": optional(hosts),
        "port": optional(an_int(0, 65535)),
        "unix": optional(unix_path),
        "sock": optional(listening_sockets),
        "ssl": optional(tls_context(Role.SERVER)),
        "subprotocols": _subprotocols,
        "origins": _origins,
        "headers": _headers,
        "compression": one_compression,
        "on_request": optional(a_callable),
        "reuse_port": may_reuse_port,
        "backlog": an_int(0, (1 << 31) - 1),
    },
}


def _check(role: Role, options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: check(name, options[name]) for name, check in _CHECKS[role].items() if name in options}


def check_client(what: str, argument: str, url: str, options: ClientOptions) -> tuple[URLRecord, ClientSettings]:
    """Check what a client is given, and return what it means.

    Args:
        what: the callable, such as ``connect()``.
        argument: the name of its argument for subprotocols.
        url: as it was given.
        options: as they were given; Limits checks those that are limits.

    Raises:
        SyntaxError: the URL is not valid.
        TypeError, ValueError: an option is not valid, or two exclude one another.
    """
    own = ("daemon",) if what == "WebSocket()" else ()
    check_names(what, options, (*ClientOptions.__annotations__, argument, *own))
    settings = ClientSettings(**_check(Role.CLIENT, options))
    # "Let urlRecord be the result of applying the URL parser to url with baseURL".
    record = parse_url(url, settings.base_url)
    proxy = settings.proxy
    _check_one_address(unix=settings.unix, proxy=None if proxy is True else proxy)
    check_single(settings.headers, settings.origin)
    if not record.secure:
        for name in ("ssl", "server_hostname"):
            if getattr(settings, name) is not None:
                raise ValueError(f"{name}= needs a wss: URL; this one is ws:")
    if settings.proxy_ssl is not None and (proxy is None or (proxy is not True and proxy.scheme != "https")):
        raise ValueError("proxy_ssl= needs an https: proxy")
    return record, settings


def check_server(options: Mapping[str, Any], limits: Mapping[str, Any]) -> ServerSettings:
    """Check what serve() is given, and return what it means.

    Args:
        options: all arguments that are no limits.
        limits: further ones; Limits checks those that exist.

    Raises:
        SyntaxError: a subprotocol is not valid.
        TypeError, ValueError: an argument is not valid, or two exclude one another.
    """
    check_names("serve()", limits, (*ServerOptions.__annotations__, *ServerSettings._fields))
    settings = ServerSettings(**_check(Role.SERVER, options))
    _check_one_address(unix=settings.unix, sock=settings.sock, host=settings.host, port=settings.port)
    if settings.reuse_port and (settings.unix is not None or settings.sock is not None):
        raise TypeError("reuse_port= is for a host and port: with unix= and sock= it means nothing")
    return settings


def _check_one_address(**addresses: object) -> None:
    """Refuse addresses that exclude one another; None is no address."""
    given = [f"{name}=" for name, address in addresses.items() if address is not None]
    if len(given) > 1 and given != ["host=", "port="]:
        raise TypeError(f"{' and '.join(given)} exclude each other: give one address")


def check_names(what: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that do not exist.

    Raises:
        TypeError: ``what`` has no option of such a name.
    """
    names = sorted(known)
    for name in options:
        if name not in names:
            from .foreign_names import advice  # few programs need it

            raise TypeError(f"{what} has no option {name!r}{advice(what, name, names)}; it has {', '.join(names)}")
