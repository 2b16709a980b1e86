"""The pages that may connect to a server: the Origin header, compared with Host and the option ``origins``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from ..closing.errors import HandshakeError
from ..model.heads import is_token

_SHOWN = 100  # characters of an origin in a message about an option
_MAX_ORIGIN = 300  # characters of an origin in a refusal: a name has 253 at most, and more would only fill the log


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


@lru_cache(maxsize=16)  # likewise: most requests come from the pages of a few sites
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
