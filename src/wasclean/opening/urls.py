"""URLs, origins and subprotocol names: what the WebSocket constructor checks, and whom a server lets in."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ..closing.errors import HandshakeError
from ..dom.exceptions import SyntaxError
from .http import Response, is_token

if TYPE_CHECKING:
    from ada_url import URL

_SCHEMES = {"http:": "ws", "https:": "wss", "ws:": "ws", "wss:": "wss"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN = 100  # characters of a URL in a message
_MAX_ORIGIN = 300  # characters of an origin in a message: a name has 253 at most, and more would only fill the log


class URLRecord(NamedTuple):
    """The URL of a WebSocket, parsed.

    Attributes:
        href: the whole URL, serialized; with a user name and password, when it has them.
        origin: scheme, host and port, such as ``wss://example.com``; the port only when it is not the default one.
        secure: whether the connection uses TLS.
        host: the name or address to connect to; an IPv6 address without brackets, a name in its ASCII form.
        port: the port to connect to.
        host_header: the value of the Host header.
        target: path and query for the request line.
        username: percent-decoded; bytes that are not UTF-8 as lone surrogates.
        password: percent-decoded; bytes that are not UTF-8 as lone surrogates.
    """

    href: str
    origin: str
    secure: bool
    host: str
    port: int
    host_header: str
    target: str
    username: str = ""
    password: str = ""

    @property
    def authorization(self) -> str | None:
        """The Authorization header for the user name and password; None without them."""
        return basic_authorization(self.username, self.password)

    @property
    def shown(self) -> str:
        """The URL for logs and messages: without the user and the query, for both can hold secrets."""
        return self.origin + self.target.partition("?")[0]

    def __repr__(self) -> str:
        return f"<URLRecord {self.shown!r}>"


def basic_authorization(username: str, password: str) -> str | None:
    """The value of an Authorization or Proxy-Authorization header (RFC 7617 section 2); None when both are empty.

    Args:
        username: bytes that are not UTF-8 as lone surrogates.
        password: likewise.
    """
    if not username and not password:
        return None
    credentials = f"{username}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + binascii.b2a_base64(credentials, newline=False).decode("ascii")


def parse_url(url: str, base_url: str | None = None) -> URLRecord:
    """The URL record for what the constructor of WebSocket is given; ``http:`` and ``https:`` become ``ws:``, ``wss:``.

    Args:
        url: absolute, or relative to the base. Lone surrogates become U+FFFD, as in a USVString.
        base_url: where relative URLs start.

    Raises:
        SyntaxError: the URL is not valid, has another scheme or a fragment. No message has a password in it.

    Source: WHATWG WebSockets, "The WebSocket interface", steps 1 to 7 of the constructor.
    """
    parsed = _parse(url, base_url)
    if parsed.protocol not in _SCHEMES:
        raise SyntaxError(f"the scheme of a WebSocket URL is ws, wss, http or https, not {parsed.protocol[:-1]}")
    # "If urlRecord's fragment is non-null": also an empty one, which only the serialized URL shows.
    if "#" in parsed.href:
        raise SyntaxError(
            "a WebSocket URL cannot have a fragment: leave out the # and what follows, or write it as %23"
        )
    return _record(parsed)


def _parse(url: str, base_url: str | None) -> URL:
    from ada_url import URL

    url = _to_usv(url)
    if base_url is not None:
        base_url = _to_usv(base_url)
        if not URL.can_parse(base_url):
            raise SyntaxError(f"the base URL {_show(base_url)} is not a valid URL; it must be absolute")
    try:
        return URL(url, base_url)
    except ValueError:
        hint = ""
        if "://" not in url and base_url is None:
            hint = ": it must be absolute, such as wss://example.com/path"
        raise SyntaxError(f"{_show(url)} is not a valid URL{hint}") from None


def _record(parsed: URL) -> URLRecord:
    scheme = _SCHEMES[parsed.protocol]
    secure = scheme == "wss"
    # Both pairs of schemes have the same default ports, so that nothing else in the URL depends on which it is.
    rest = parsed.href.partition(":")[2]
    return URLRecord(
        href=f"{scheme}:{rest}",
        origin=f"{scheme}://{parsed.host}",
        secure=secure,
        host=parsed.hostname.strip("[]"),
        port=int(parsed.port) if parsed.port else 443 if secure else 80,
        host_header=parsed.host,
        target=parsed.pathname + parsed.search,
        username=percent_decode(parsed.username),
        password=percent_decode(parsed.password),
    )


def _to_usv(text: str) -> str:
    """The text as a USVString: pairs of surrogates joined, lone ones replaced (WebIDL section 3.2.12)."""
    if not isinstance(text, str):
        raise TypeError(f"the URL must be a str, not {type(text).__name__}")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def percent_decode(text: str) -> str:
    """The text that was percent-encoded; bytes that are not UTF-8 as lone surrogates."""
    if "%" not in text:
        return text
    from urllib.parse import unquote_to_bytes  # few URLs have credentials, and fewer encoded ones

    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _show(url: str) -> str:
    """A URL that could not be parsed, for a message: without anything that may be a password."""
    _, at, after = url.rpartition("@")
    shown = after[:_SHOWN] + ("..." if len(after) > _SHOWN else "")
    return ascii(f"...@{shown}" if at else shown)


def check_subprotocols(protocols: str | Iterable[str]) -> tuple[str, ...]:
    """The names of subprotocols as a tuple; a str is one name.

    Raises:
        SyntaxError: a name is no token, or occurs twice, be it in another case.
        TypeError: a name is not a str.

    Source: RFC 6455 section 4.1 item 10, WHATWG WebSockets, steps 8 and 9 of the constructor.
    """
    if isinstance(protocols, Mapping) or not isinstance(protocols, Iterable):
        raise TypeError(
            f"subprotocols are a str or several, not a {type(protocols).__name__}; options are given by their names"
        )
    names = (protocols,) if isinstance(protocols, str) else tuple(protocols)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"a subprotocol must be a str, not {type(name).__name__}")
        if not is_token(name):
            raise SyntaxError(
                f"{name[:_SHOWN]!a} cannot be a subprotocol: use letters, digits and !#$%&'*+-.^_`|~, at least one"
            )
    # "If any of the values in protocols occur more than once": browsers compare them without regard to case, as the
    # web platform test Create-protocols-repeated-case-insensitive.any.js demands.
    if len({name.lower() for name in names}) < len(names):
        raise SyntaxError("a subprotocol occurs twice, maybe in another case: name each one once")
    return names


class Redirect(NamedTuple):
    """Where a redirect leads.

    Attributes:
        url: the new URL; without the old user name and password when the origin is another one.
        same_origin: when False, do not send Authorization, Cookie and Proxy-Authorization headers there.
    """

    url: URLRecord
    same_origin: bool


def redirect_target(url: URLRecord, response: Response) -> Redirect | None:
    """Where the answer redirects to; None when it is no redirect.

    Args:
        url: the URL that was answered.
        response: the answer. Following it, and how often, is the caller's decision.

    Raises:
        HandshakeError: there is not exactly one valid Location, or it leads from wss: to ws:.

    Source: RFC 9110 section 15.4, RFC 6455 section 4.1.
    """
    if response.status not in _REDIRECTS:
        return None
    locations = response.headers.getall("Location", ())
    if len(locations) != 1:
        found = "no" if not locations else "more than one"
        raise HandshakeError(
            f"the redirect {response.status} has {found} Location", status=response.status, response=response
        )
    try:
        parsed = _parse(locations[0], url.href)
        parsed.hash = ""  # RFC 9110 section 10.2.2 allows a fragment, and a request has no use for it
        target = parse_url(parsed.href)
        if target.origin != url.origin:
            parsed.username = parsed.password = ""
            target = parse_url(parsed.href)
    except ValueError as error:
        raise HandshakeError(
            f"the redirect {response.status} has an unusable Location: {error}",
            status=response.status,
            response=response,
        ) from None
    if url.secure and not target.secure:
        raise HandshakeError(
            f"the redirect {response.status} leads from wss to ws, which is not followed",
            status=response.status,
            response=response,
        )
    return Redirect(target, target.origin == url.origin)


class AnyOrigin(Enum):
    """The type of ANY."""

    ANY = "ANY"

    def __repr__(self) -> str:
        return self.name


#: As ``origins=``: let in pages of every origin. Do this only when no cookie or network position authorizes anybody.
ANY: Final = AnyOrigin.ANY

#: What servers accept as ``origins=``.
Origins = Literal[AnyOrigin.ANY] | Sequence[str] | None


_HOW_TO_WRITE_ORIGINS = (
    ": write https://example.com, https://*.example.com for all its subdomains, app://name, file:// or null"
)


class _Origin(NamedTuple):
    scheme: str  # with its colon
    host: str  # with the port when it is not the scheme's default
    loopback: bool
    named: bool  # the host is a name, of which no label is empty, and no address


class OriginPolicy:
    """Which pages may connect: what the ``origins`` option of a server means.

    Args:
        origins: None, the default, lets in pages of the server's own origin (the Origin's host and port are those of
            the Host header; ``http`` and ``https`` are alike, for TLS may end at a proxy in front of the server) and
            pages from a loopback host (localhost, 127.0.0.0/8, [::1]) when the Host is one, too. ``ANY`` lets in all.
            A list of origins such as ``https://example.com``, ``app://name``, ``file://`` or ``null`` lets in exactly
            these, compared by scheme, host and port. In ``https://*.example.com`` the ``*`` stands for one or more
            labels: for every subdomain, however deep, and not for ``example.com`` itself. Clients that send no Origin
            are no pages, and are let in by all three.

    Raises:
        TypeError: the origins are a str, or one of them is not a str.
        ValueError: one of them is not an origin, or has a ``*`` that is not the whole first label of a name.

    Source: RFC 6455 sections 4.2.2 and 10.2, RFC 6454 section 7.
    """

    __slots__ = ("_allowed", "_parents")

    def __init__(self, origins: Origins = None) -> None:
        self._allowed: frozenset[tuple[str, str]] | AnyOrigin | None
        self._parents: dict[str, tuple[str, ...]] = {}  # by scheme: a dot, and the host whose subdomains are let in
        if origins is None or isinstance(origins, AnyOrigin):
            self._allowed = origins
            return
        if isinstance(origins, (str, bytes)) or not isinstance(origins, Iterable):
            shown = f"{origins[:_SHOWN]!a}" if isinstance(origins, str) else "'https://example.com'"
            raise TypeError(f"origins must be a list of origins, such as [{shown}], or None, or ANY")
        allowed = set()
        for text in origins:
            if not isinstance(text, str):
                raise TypeError(f"an origin must be a str, not {type(text).__name__}")
            # The parent is parsed alone: the numbers of an address would be labels of a name with a * before them.
            exact = text.replace("://*.", "://", 1)
            origin = _parse_origin(exact)
            if origin is None or (exact != text and not (origin.named and is_host(f"sub.{origin.host}"))):
                hint = "; use origins=ANY to let in all" if text == "*" else _HOW_TO_WRITE_ORIGINS
                raise ValueError(f"{text[:_SHOWN]!a} is not an origin{hint}")
            if exact == text:
                allowed.add(origin[:2])
            else:
                self._parents[origin.scheme] = (*self._parents.get(origin.scheme, ()), f".{origin.host}")
        self._allowed = frozenset(allowed)

    def check(self, values: Sequence[str], host: str) -> None:
        """Lets a request pass, or not.

        Args:
            values: the request's Origin headers.
            host: its Host header, valid.

        Raises:
            HandshakeError: there are two Origins (status 400), or the one is not let in (status 403); the message
                says what would let it in.
        """
        if len(values) > 1:
            raise HandshakeError(f"the request has more than one Origin: {', '.join(values)[:_SHOWN]!a}", status=400)
        if not values or self._allowed is ANY:
            return
        origin = _parse_origin(values[0])
        if origin is None:
            raise HandshakeError(f"the request's Origin is malformed: {values[0][:_SHOWN]!a}", status=403)
        if isinstance(self._allowed, frozenset):
            if origin[:2] in self._allowed or self._is_subdomain(origin):
                return
        elif origin.scheme in ("http:", "https:"):
            # Read with the page's scheme, the Host loses the default port just when the Origin has.
            own = _parse_origin(f"{origin.scheme}//{host}")
            if own is not None and (own.host == origin.host or (own.loopback and origin.loopback)):
                return
        entry = "null" if origin.scheme == "null" else f"{origin.scheme}//{origin.host}"[:_MAX_ORIGIN]
        raise HandshakeError(
            f"the Origin {entry!a} may not connect here; origins=[..., {entry!a}] would let it in", status=403
        )

    def _is_subdomain(self, origin: _Origin) -> bool:
        # Hosts have their ports here, so that the ports are compared, too.
        return origin.named and origin.host.endswith(self._parents.get(origin.scheme, ()))


@lru_cache(maxsize=16)  # a server has few names, and nearly all of its clients call it by one of them
def is_host(text: str) -> bool:
    """Whether the text can be a Host header: a host, maybe with a port (RFC 9110 section 7.2)."""
    from ada_url import URL

    return _is_host_alone(text) and URL.can_parse(f"http://{text}")


def _is_host_alone(text: str) -> bool:
    """True if the URL parser neither decodes a character of the text nor takes one for the end of the host."""
    return text.isascii() and text.isprintable() and not any(char in " %/?#@\\" for char in text)


def _parse_origin(text: str) -> _Origin | None:
    """The origin; None when the text is not one, or is more than one: a whole URL, or something with a user in it."""
    from ada_url import URL, HostType

    if text == "null":
        return _Origin("null", "", False, False)
    scheme, _, host = text.partition("://")
    # The URL parser takes a * for a letter; in a list of origins it is none, and the log shows origins to be put there.
    if not is_token(scheme) or not _is_host_alone(host) or "*" in host:
        return None
    try:
        parsed = URL(text)  # which refuses an empty host where the scheme needs one, as http does
    except ValueError:
        return None
    # Browsers write file:// for every file, whichever host its URL has; the parser drops the host "localhost".
    if host and (parsed.protocol == "file:" or not parsed.host):
        return None
    hostname = parsed.hostname
    loopback = hostname in ("localhost", "[::1]") or (parsed.host_type is HostType.IPV4 and hostname.startswith("127."))
    # An unknown scheme's host keeps its case in the URL standard; hosts do not have one.
    named = parsed.host_type is HostType.DEFAULT and hostname[:1] not in ("", "[") and ".." not in f".{hostname}"
    return _Origin(parsed.protocol, parsed.host.lower(), loopback, named)
