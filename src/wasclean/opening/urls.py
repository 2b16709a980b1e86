"""The arguments of the WebSocket constructor, a URL and subprotocols, and the URL to which a redirect leads."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from ..closing.errors import HandshakeError
from ..dom.exceptions import SyntaxError
from ..model.heads import Response, is_token

if TYPE_CHECKING:
    from ada_url import URL

_SCHEMES = {"http:": "ws", "https:": "wss", "ws:": "ws", "wss:": "wss"}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_SHOWN = 100  # characters of a URL in a message


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
