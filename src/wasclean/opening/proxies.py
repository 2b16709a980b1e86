"""Proxies: their URLs, the choice of one from the environment, and the CONNECT request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..model.heads import write_head
from .urls import URLRecord, basic_authorization, percent_decode

#: The schemes of proxies, with their default ports.
_PORTS = {"http": 80, "https": 443, **dict.fromkeys(("socks4", "socks4a", "socks5", "socks5h", "socks"), 1080)}

#: Programs disagree on ``socks:``, which names no version: curl takes it as SOCKS 4, others as SOCKS 5, as here.
_ALIASES = {"socks": "socks5h"}


class ProxyURL(NamedTuple):
    """The URL of a proxy, parsed.

    Attributes:
        scheme: ``http``, ``https``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``; ``socks`` becomes the last.
        host: the name or address to connect to; an IPv6 address without brackets.
        port: the port to connect to.
        username: percent-decoded.
        password: percent-decoded.
        source: the environment variable that contains it; empty if it comes from the option ``proxy``.
    """

    scheme: str
    host: str
    port: int
    username: str
    password: str
    source: str = ""

    @property
    def shown(self) -> str:
        """The URL without its user, and the place it comes from."""
        source = f"{self.source} in the environment" if self.source else "proxy="
        return f"{self.scheme}://{_authority(self.host, self.port)}, from {source}"

    @property
    def speaks_http(self) -> bool:
        """True for an HTTP proxy, which gets a CONNECT request; False for a SOCKS proxy."""
        return self.scheme in ("http", "https")

    def __repr__(self) -> str:
        # Without the user, which is a secret.
        return f"<ProxyURL {f'{self.scheme}://{_authority(self.host, self.port)}'!r}>"


def parse_proxy(text: str) -> ProxyURL:
    """Parse the URL of a proxy. The default scheme is ``http:``; path, query and fragment are ignored.

    Raises:
        TypeError: the argument is not a str.
        ValueError: the URL is invalid or has an unknown scheme, or its user name or password contains a control
            character (RFC 7617 section 2), or cannot be sent by SOCKS. The message quotes nothing but the scheme.
    """
    if not isinstance(text, str):
        raise TypeError(f"proxy= must be the URL of a proxy, True or None, not {type(text).__name__}")
    if not text.isascii() or not text.isprintable():
        raise ValueError("the URL of a proxy must be visible ASCII characters: percent-encode all else")
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "http", text
    scheme = scheme.lower()
    if scheme not in _PORTS:
        # If the text is not a URL, the part before "://" may be anything, even a password.
        shown = f", not {scheme}" if scheme.isalnum() and len(scheme) < 10 else ""
        raise ValueError(f"the scheme of a proxy is one of {', '.join(_PORTS)}{shown}")
    from ada_url import URL

    try:
        parsed = URL(f"{scheme}://{rest}")
    except ValueError:
        parsed = None
    if parsed is None or not parsed.hostname:
        raise ValueError("the URL of the proxy is not valid: write http://user:password@host:port")
    username, password = percent_decode(parsed.username), percent_decode(parsed.password)
    if not (username + password).isprintable():
        raise ValueError("the user name and the password of a proxy must be printable characters, in UTF-8")
    if scheme.startswith("socks"):
        _check_socks_user(scheme, username, password)
    port = int(parsed.port) if parsed.port else _PORTS[scheme]
    return ProxyURL(_ALIASES.get(scheme, scheme), parsed.hostname.strip("[]"), port, username, password)


def _check_socks_user(scheme: str, username: str, password: str) -> None:
    """Raise ValueError for credentials that python-socks cannot send, or would omit (lengths: RFC 1929 section 2)."""
    if not (username + password).isascii() or max(len(username), len(password)) > 255:
        raise ValueError("the user name and the password of a SOCKS proxy must be ASCII, at most 255 characters each")
    if not scheme.startswith("socks4") and (username == "") != (password == ""):
        raise ValueError("a SOCKS 5 proxy wants both a user name and a password, or neither")


def environment_proxy(url: URLRecord, environment: Mapping[str, str]) -> ProxyURL | None:
    """Return the proxy that the environment variables define for a URL; None if there is none.

    The variable is ``http_proxy`` for ``ws:``, ``https_proxy`` for ``wss:``, and ``all_proxy`` if that is unset, unless
    ``no_proxy`` excludes the host. Upper case is accepted for each name, except for ``HTTP_PROXY`` in a CGI program,
    where it is the client's header Proxy. Empty variables count as unset.

    Raises:
        ValueError: the variable's value is invalid; see parse_proxy().

    Source: the manual of curl, section "Environment".
    """
    names = ["https_proxy", "HTTPS_PROXY"] if url.secure else ["http_proxy"]
    if not url.secure and "REQUEST_METHOD" not in environment:
        names.append("HTTP_PROXY")
    for name in (*names, "all_proxy", "ALL_PROXY"):
        text = environment.get(name)
        if text:
            break
    else:
        return None
    if excludes(environment.get("no_proxy") or environment.get("NO_PROXY", ""), url):
        return None
    try:
        return parse_proxy(text)._replace(source=name)
    except ValueError as error:
        raise ValueError(f"{name} in the environment: {error}") from None


def excludes(no_proxy: str, url: URLRecord) -> bool:
    """True if ``no_proxy`` excludes the URL, so that it is connected to without a proxy.

    Args:
        no_proxy: entries separated by commas or spaces, case-insensitive. An entry is ``*`` for all hosts, a name,
            which includes all names below it, an address, or a network such as ``10.0.0.0/8``. An entry with ``:port``
            is limited to that port; an IPv6 address must then be in brackets.
        url: the URL to connect to.

    Source: the manual of curl, option ``--noproxy``, which has no ports.
    """
    host = url.host.removesuffix(".")
    for entry in no_proxy.lower().replace(",", " ").split():
        if entry.startswith("["):
            name, _, port = entry[1:].partition("]")
            port = port.removeprefix(":")
        else:
            name, _, port = entry.partition(":") if entry.count(":") == 1 else (entry, "", "")
        if port in ("", str(url.port)) and (name == "*" or _is_of(host, name)):
            return True
    return False


def _is_of(host: str, name: str) -> bool:
    """True if the host is this name, a name below it, or an address in this network."""
    from ipaddress import ip_address, ip_network  # imported here because few environments have a no_proxy

    try:
        address = ip_address(host)
    except ValueError:
        name = name.strip(".")
        return name != "" and (host == name or host.endswith("." + name))
    try:
        return address in ip_network(name, strict=False)
    except ValueError:
        return False


def connect_request(proxy: ProxyURL, url: URLRecord) -> bytes:
    """Return the request for a tunnel to the host and port of the URL (RFC 9110 section 9.3.6)."""
    authority = _authority(url.host, url.port)
    headers = [("Host", authority)]
    authorization = basic_authorization(proxy.username, proxy.password)
    if authorization is not None:
        headers.append(("Proxy-Authorization", authorization))
    return write_head(f"CONNECT {authority} HTTP/1.1", headers)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
