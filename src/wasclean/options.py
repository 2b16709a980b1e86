"""The options of connect(), serve() and WebSocket(): one entry for each.

A class with the metaclass ``_Table`` lists options, each with its check, its default and its description; an instance
has their checked values as attributes. The TypedDicts repeat the names of the options with the types that programs may
give, because type checkers need them; their docstrings are made from the tables. The arguments of serve() that are no
limits are in ``ServerSettings``, and described by the docstring of serve().
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any, Literal, TypedDict, TypeVar

from .checks import (
    Check,
    a_callable,
    a_str,
    an_int,
    compressions,
    header_value,
    host_name,
    hosts,
    listening_sockets,
    may_reuse_port,
    one_compression,
    optional,
    positive,
    positive_int,
    tls_context,
    unix_path,
)
from .closing.keepalive import Timing
from .closing.rates import Rates
from .model.heads import Headers
from .model.registry import CLOSE_TIMEOUT, MAX_BUFFERED_AMOUNT, OPEN_TIMEOUT, Role
from .opening.headers import check_headers
from .opening.origins import OriginPolicy
from .opening.proxies import ProxyURL, parse_proxy
from .opening.urls import check_subprotocols
from .wire.deflate import Deflate

if TYPE_CHECKING:
    from ssl import SSLContext

    from _typeshed import StrOrBytesPath

T = TypeVar("T")

#: Values of the option ``compression``; ``"deflate"`` is Deflate().
Compression = Deflate | Sequence[Deflate] | Literal["deflate"] | None

#: The highest value of the option ``max_redirects``.
MAX_REDIRECTS = 5

_MIB = 1 << 20


# ---- what programs may give ----


class LimitOptions(TypedDict, total=False):
    """Limits of both ends. docs/limits.md gives the reason for each default."""

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
    """Limits of servers, in addition to LimitOptions."""

    max_handshakes: int
    max_connections: int | None
    max_connections_per_address: int | None


class ClientOptions(LimitOptions, total=False):
    """Options of clients, in addition to LimitOptions, the URL and the subprotocols."""

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


# ---- the tables ----


class Option:
    """One option.

    Attributes:
        check: of a value that is given.
        default: in its final form, as ``check`` returns it; None if the option must be given.
        text: for the documentation.
    """

    __slots__ = ("check", "default", "text")

    def __init__(self, check: Check[Any], default: Any, text: str) -> None:
        self.check = check
        self.default = default
        self.text = text


def _option(check: Check[T], default: object = None, text: str = "") -> T:
    """Declare an option in a table: to type checkers it is the attribute that instances have."""
    option: Any = Option(check, default, text)
    return option  # type: ignore[no-any-return]


class _Table(type):
    """Collects the options in the body of a class, and gives its instances a slot for each.

    Attributes:
        options: those of the class and its bases, by name.
    """

    options: dict[str, Option]

    def __new__(cls, name: str, bases: tuple[_Table, ...], namespace: dict[str, Any]) -> _Table:
        """Make a class."""
        inherited = {name: option for base in bases for name, option in base.options.items()}
        own = {name: value for name, value in namespace.items() if isinstance(value, Option)}
        rest = {name: value for name, value in namespace.items() if name not in own}
        rest["__slots__"] = (*rest.get("__slots__", ()), *(name for name in own if name not in inherited))
        table = super().__new__(cls, name, bases, rest)
        table.options = inherited | own
        return table


class _Values(metaclass=_Table):
    """The values of the options of a table.

    Args:
        given: values by the names of their options; names that the table does not have are left alone.

    Raises:
        TypeError, ValueError: a value is not valid.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        for name, option in type(self).options.items():
            setattr(self, name, option.check(name, given[name]) if name in given else option.default)


class Limits(_Values):
    """The limits of one end. All connections of a server share them.

    Attributes:
        rates: the limits of what a peer may send in a second.
    """

    __slots__ = ("_timing", "rates")

    max_message_size = _option(
        optional(positive_int),
        16 * _MIB,
        "bytes of one message, all fragments together; a larger one fails the connection with 1009. None for no limit.",
    )
    max_fragments = _option(
        optional(positive_int),
        4096,
        "frames of one message, empty ones counted; beyond it the payload must average 16 bytes a frame, or the"
        " connection is failed with 1008. None for no limit.",
    )
    max_queue = _option(
        positive_int,
        16,
        "messages that a stream holds unread before reading pauses, and messages that a socket without a message"
        " listener keeps for the first one.",
    )
    max_buffered_amount = _option(
        positive_int,
        MAX_BUFFERED_AMOUNT,
        "bytes that send() may queue without a task that waits for them, before the socket is flagged as full and"
        " closed. A send() that is awaited within a turn or two of the event loop does not count.",
    )
    max_pings_per_second = _option(
        optional(positive_int),
        1000,
        "pings that the peer may send, in bursts of one second's worth at most; more fail the connection with 1008."
        " None for no limit.",
    )
    max_messages_per_second = _option(
        optional(positive_int), None, "the same for messages, which are counted after each read."
    )
    max_bytes_per_second = _option(optional(positive_int), None, "the same for all bytes, headers included.")
    open_timeout = _option(
        positive,
        OPEN_TIMEOUT,
        "seconds for the whole opening handshake. For a client they include redirects, and do not include the wait of a"
        " WebSocket(url) for another one that is connecting to the same host and port.",
    )
    close_timeout = _option(positive, CLOSE_TIMEOUT, "seconds for the whole closing handshake.")
    ping_interval = _option(optional(positive), 20.0, "seconds between two pings; None for no pings.")
    ping_timeout = _option(
        optional(positive), 20.0, "seconds within which something must arrive after a ping; None for no limit."
    )
    write_timeout = _option(
        optional(positive),
        40.0,
        "seconds within which the peer must take some of the bytes that wait to be sent; None for no limit.",
    )
    idle_timeout = _option(
        optional(positive),
        None,
        "seconds without a message in either direction after which the connection is closed with 1001; pings don't"
        " count.",
    )
    max_lifetime = _option(
        optional(positive),
        None,
        "seconds after which a connection is closed with 1001, less a random tenth at most, so that not all are closed"
        " at once.",
    )

    def __init__(self, given: Mapping[str, Any]) -> None:
        super().__init__(given)
        self.rates = Rates(*(getattr(self, f"max_{name}_per_second") for name in Rates._fields))
        self._timing = Timing(*(getattr(self, name) for name in Timing._fields))

    def timing(self) -> Timing:
        """Return the times of a new connection. All have the same, except that max_lifetime varies."""
        if self.max_lifetime is None:
            return self._timing
        from random import uniform

        return self._timing._replace(max_lifetime=self.max_lifetime * uniform(0.9, 1.0))


class ServerLimits(Limits):
    """The limits of a server."""

    max_message_size = _option(optional(positive_int), _MIB, Limits.options["max_message_size"].text)
    max_handshakes = _option(
        positive_int,
        1024,
        "connections whose opening handshake, with that of TLS, is not complete; for one more, the oldest that waits"
        " for its client is answered with 503, or dropped if it is still in the handshake of TLS.",
    )
    max_connections = _option(
        optional(positive_int), None, "open connections; further handshakes are answered with 503."
    )
    max_connections_per_address = _option(
        optional(positive_int),
        None,
        "connections from one address, or from one /64 of IPv6; further ones are answered with 429, and with TLS"
        " dropped. Behind a proxy all have the proxy's address.",
    )


def _headers(name: str, value: Headers) -> Sequence[tuple[str, str]]:
    return check_headers(value)


def _proxy(name: str, value: Any) -> ProxyURL | Literal[True]:
    return True if value is True else parse_proxy(value)


def _subprotocols(name: str, value: Any) -> tuple[str, ...]:
    return check_subprotocols(value)


def _origins(name: str, value: Any) -> OriginPolicy:
    return OriginPolicy(value)


class ClientSettings(_Values):
    """The options of a client that are no limits."""

    base_url = _option(optional(a_str), None, "the URL that a relative URL is resolved against.")
    compression = _option(
        compressions,
        (Deflate(),),
        "how to compress messages: a Deflate, or several, in the order of preference; None for no compression.",
    )
    origin = _option(optional(header_value), None, "the value of the Origin header.")
    headers = _option(_headers, (), "further headers of the request, a mapping or pairs.")
    ssl = _option(
        optional(tls_context(Role.CLIENT)),
        None,
        "the TLS context for a ``wss:`` URL; by default it trusts what the system trusts. See docs/tls.md.",
    )
    server_hostname = _option(
        optional(host_name), None, "the name that the server's certificate must have; by default the URL's host."
    )
    unix = _option(
        optional(unix_path),
        None,
        "the path of a Unix socket to connect to instead of the URL's host and port. A redirect to another origin"
        " ignores it, and ``ssl`` and ``server_hostname`` too.",
    )
    max_redirects = _option(an_int(0, MAX_REDIRECTS), 0, f"redirects to follow, at most {MAX_REDIRECTS}; 0 by default.")
    proxy: ProxyURL | Literal[True] | None = _option(
        optional(_proxy),
        True,
        "the URL of a proxy: ``http:``, ``https:``, or, with the extra ``proxy``, ``socks4:``, ``socks4a:``,"
        " ``socks5:``, ``socks5h:``, ``socks:``. True, the default, takes the one that the environment names"
        " (``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy``); None takes none. See docs/proxies.md.",
    )
    proxy_ssl = _option(
        optional(tls_context(Role.CLIENT)),
        None,
        "the TLS context for an ``https:`` proxy; by default it trusts what the system trusts.",
    )


class ServerSettings(_Values):
    """The arguments of serve() that are no limits; all are given."""

    handler = _option(a_callable)
    host = _option(optional(hosts))
    port = _option(optional(an_int(0, 65535)))
    unix = _option(optional(unix_path))
    sock = _option(optional(listening_sockets))
    ssl = _option(optional(tls_context(Role.SERVER)))
    subprotocols = _option(_subprotocols)
    origins = _option(_origins)
    headers = _option(_headers)
    compression = _option(one_compression)
    on_request = _option(optional(a_callable))
    reuse_port = _option(may_reuse_port)
    backlog = _option(an_int(0, (1 << 31) - 1))


# ---- the documentation ----


def _describe(options: type, table: _Table) -> None:
    """Complete the docstring of a TypedDict with its own options, as the table describes them."""
    if options.__doc__ is None:  # python -OO
        return
    lines = [options.__doc__, "", "    Attributes:"]
    for name, option in table.options.items():
        if table is Limits or name not in Limits.options:
            text = f"{name}: {option.text}{_default_of(name)}"
            lines.append(fill(text, 120, initial_indent=8 * " ", subsequent_indent=12 * " "))
    options.__doc__ = "\n".join([*lines, "    "])


def _default_of(name: str) -> str:
    """Describe the default of a limit, for both ends if it is not the same; empty for an option that is none."""
    server, client = ServerLimits.options.get(name), Limits.options.get(name)
    if server is None:
        return ""
    if client in (server, None):
        return f" Default: {_shown(server.default)}."
    return f" Default: {_shown(server.default)} on servers, {_shown(client.default)} on clients."


def _shown(value: float | None) -> str:
    if value is None:
        return "None, no limit"
    return f"{value // _MIB} MiB" if value >= _MIB else f"{value:g}"


_describe(LimitOptions, Limits)
_describe(ServerOptions, ServerLimits)
_describe(ClientOptions, ClientSettings)
