"""URLs, subprotocol names and origins: the checks of the WebSocket constructor, and of a server on a page's origin."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from ..closing.errors import HandshakeError
from ..dom.exceptions import SyntaxError
from ..model.heads import Response, is_token

if TYPE_CHECKING:
    from ada_url import URL

_SCHEMES = {"http:": "ws", "https:": "wss", "ws:": "ws", "wss:": "wss"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN = 100  # characters of a URL in a message
_MAX_ORIGIN = 300  # characters of an origin in a message: a name has 253 at most, and more would only fill the log


class URLRecord(NamedTuple):
    """The URL of a WebSocket, parsed.

    Attributes:
        href: the whole URL, serialized, including the user name and password, if any.
        origin: scheme, host and port, such as ``wss://example.com``; the port is left out if it is the default.
        secure: True if the connection uses TLS.
        host: the name or address to connect to; an IPv6 address without brackets, a name in its ASCII form.
        port: the port to connect to.
        host_header: the value of the Host header.
        target: path and query for the request line.
        username: percent-decoded; bytes that are not UTF-8 become lone surrogates.
        password: likewise.
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
        """The value of the Authorization header; None if the URL has neither a user name nor a password."""
        return basic_authorization(self.username, self.password)

    @property
    def shown(self) -> str:
        """The URL for logs and messages, without the user and the query, because both may contain secrets."""
        return self.origin + self.target.partition("?")[0]

    def __repr__(self) -> str:
        return f"<URLRecord {self.shown!r}>"


def basic_authorization(username: str, password: str) -> str | None:
    """Return the value of an Authorization or Proxy-Authorization header; None if both arguments are empty.

    Args:
        username: a str in which lone surrogates stand for bytes that are not UTF-8.
        password: likewise.

    Source: RFC 7617 section 2.
    """
    if not username and not password:
        return None
    credentials = f"{username}:{password}".encode("utf-8", "surrogateescape")
    return "Basic " + binascii.b2a_base64(credentials, newline=False).decode("ascii")


def parse_url(url: str, base_url: str | None = None) -> URLRecord:
    """Parse the URL argument of the WebSocket constructor; ``http:`` becomes ``ws:``, and ``https:`` ``wss:``.

    Args:
        url: absolute, or relative to ``base_url``. Lone surrogates become U+FFFD, as in a USVString.
        base_url: the base of a relative URL.

    Raises:
        SyntaxError: the URL is not valid, or has another scheme or a fragment. The message contains no password.

    Source: WHATWG WebSockets, "The WebSocket interface", steps 1 to 7 of the constructor.
    """
    parsed = _parse(url, base_url)
    if parsed.protocol not in _SCHEMES:
        raise SyntaxError(f"the scheme of a WebSocket URL is ws, wss, http or https, not {parsed.protocol[:-1]}")
    # "If urlRecord's fragment is non-null": an empty fragment counts, and only the serialized URL shows it.
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
    # ws has the default port of http, and wss that of https, so only the scheme has to be replaced.
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
    """Convert a str to a USVString: pairs of surrogates are joined, lone ones replaced (WebIDL section 3.2.12)."""
    if not isinstance(text, str):
        raise TypeError(f"the URL must be a str, not {type(text).__name__}")
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def percent_decode(text: str) -> str:
    """Decode percent-encoding; bytes that are not UTF-8 become lone surrogates."""
    if "%" not in text:
        return text
    from urllib.parse import unquote_to_bytes  # imported here because few URLs have encoded credentials

    return unquote_to_bytes(text).decode("utf-8", "surrogateescape")


def _show(url: str) -> str:
    """Return an invalid URL for an error message, without the part that may contain a password."""
    _, at, after = url.rpartition("@")
    shown = after[:_SHOWN] + ("..." if len(after) > _SHOWN else "")
    return ascii(f"...@{shown}" if at else shown)


def check_subprotocols(protocols: str | Iterable[str]) -> tuple[str, ...]:
    """Check the names of subprotocols, and return them as a tuple. A str is one name.

    Raises:
        SyntaxError: a name is not a token, or occurs twice, ignoring case.
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
    # "If any of the values in protocols occur more than once": browsers ignore case here, as the web platform test
    # Create-protocols-repeated-case-insensitive.any.js demands.
    if len({name.lower() for name in names}) < len(names):
        raise SyntaxError("a subprotocol occurs twice, maybe in another case: name each one once")
    return names


class Redirect(NamedTuple):
    """The target of a redirect.

    Attributes:
        url: the new URL, without a user name and password if its origin is another one.
        same_origin: if False, do not send Authorization, Cookie and Proxy-Authorization headers there.
    """

    url: URLRecord
    same_origin: bool


def redirect_target(url: URLRecord, response: Response) -> Redirect | None:
    """Return the target of a redirect; None if the response is not a redirect.

    The caller decides whether to follow it, and limits their number.

    Args:
        url: the URL that was requested.
        response: the response to that request.

    Raises:
        HandshakeError: there is not exactly one valid Location header, or it leads from wss: to ws:.

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
        parsed.hash = ""  # RFC 9110 section 10.2.2 allows a fragment, but a request does not contain one
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


#: ``origins=ANY`` accepts pages of every origin. Use it only if neither cookies nor the client's network authorize it.
ANY: Final = AnyOrigin.ANY

#: The type of the option ``origins``.
Origins = Literal[AnyOrigin.ANY] | Sequence[str] | None


_HOW_TO_WRITE_ORIGINS = (
    ": write https://example.com, https://*.example.com for all its subdomains, app://name, file:// or null"
)


class _Origin(NamedTuple):
    scheme: str  # including the colon
    host: str  # including the port, unless it is the default of the scheme
    loopback: bool
    named: bool  # the host is a name without empty labels, not an address


class OriginPolicy:
    """The pages that may connect to a server, as its option ``origins`` defines them.

    Args:
        origins: None, the default, accepts pages of the server's own origin (the Origin header has the host and port
            of the Host header; ``http`` and ``https`` are equal, because TLS may end at a proxy in front of the
            server), and pages of a loopback host (localhost, 127.0.0.0/8, [::1]) if the Host header is one, too.
            ``ANY`` accepts all. A list of origins such as ``https://example.com``, ``app://name``, ``file://`` or
            ``null`` accepts exactly these, compared by scheme, host and port. In ``https://*.example.com`` the ``*``
            stands for one or more labels: it accepts every subdomain, at any depth, but not ``example.com`` itself.
            A client that sends no Origin header is not a page, and is always accepted.

    Raises:
        TypeError: the argument is a str, or one of the origins is not a str.
        ValueError: one of them is not an origin, or has a ``*`` that is not the whole first label of a name.

    Source: RFC 6455 sections 4.2.2 and 10.2, RFC 6454 section 7.
    """

    __slots__ = ("_allowed", "_parents")

    def __init__(self, origins: Origins = None) -> None:
        self._allowed: frozenset[tuple[str, str]] | AnyOrigin | None
        self._parents: dict[str, tuple[str, ...]] = {}  # scheme -> "." + host whose subdomains are accepted
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
            # The parent is parsed on its own, since "*.127.0.0.1" would be a name, and not an address.
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
        """Check the origin of a request.

        Args:
            values: the Origin headers of the request.
            host: its Host header, which must be valid.

        Raises:
            HandshakeError: there are several Origin headers (status 400), or the origin is not accepted (status 403);
                the message names the entry of ``origins`` that would accept it.
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
            # The Host header is parsed with the scheme of the page, so that both lose the same default port.
            own = _parse_origin(f"{origin.scheme}//{host}")
            if own is not None and (own.host == origin.host or (own.loopback and origin.loopback)):
                return
        entry = "null" if origin.scheme == "null" else f"{origin.scheme}//{origin.host}"[:_MAX_ORIGIN]
        raise HandshakeError(
            f"the Origin {entry!a} may not connect here; origins=[..., {entry!a}] would let it in", status=403
        )

    def _is_subdomain(self, origin: _Origin) -> bool:
        # Hosts include their ports here, so ports are compared, too.
        return origin.named and origin.host.endswith(self._parents.get(origin.scheme, ()))


@lru_cache(maxsize=16)  # the clients of a server use few different names for it
def is_host(text: str) -> bool:
    """True if the text is valid as a Host header: a host, optionally with a port (RFC 9110 section 7.2)."""
    from ada_url import URL

    return _is_host_alone(text) and URL.can_parse(f"http://{text}")


def _is_host_alone(text: str) -> bool:
    """True if the URL parser would take the text literally: it decodes no character, and none ends the host."""
    return text.isascii() and text.isprintable() and not any(char in " %/?#@\\" for char in text)


def _parse_origin(text: str) -> _Origin | None:
    """Parse an origin; return None if it is invalid, or has more parts than an origin, such as a path or a user."""
    from ada_url import URL, HostType

    if text == "null":
        return _Origin("null", "", False, False)
    scheme, _, host = text.partition("://")
    # The URL parser accepts a * in a host. In the option ``origins`` it is a wildcard, and error messages propose the
    # origin of a refused request as an entry of that option, so it must not contain one.
    if not is_token(scheme) or not _is_host_alone(host) or "*" in host:
        return None
    try:
        parsed = URL(text)  # refuses an empty host if the scheme requires one, as http does
    except ValueError:
        return None
    # Browsers send file:// for every file, whatever host its URL has. The parser drops the host "localhost".
    if host and (parsed.protocol == "file:" or not parsed.host):
        return None
    hostname = parsed.hostname
    loopback = hostname in ("localhost", "[::1]") or (parsed.host_type is HostType.IPV4 and hostname.startswith("127."))
    # The URL standard keeps the case of the host for unknown schemes, although hosts are case-insensitive.
    named = parsed.host_type is HostType.DEFAULT and hostname[:1] not in ("", "[") and ".." not in f".{hostname}"
    return _Origin(parsed.protocol, parsed.host.lower(), loopback, named)
