"""Which proxy a URL goes through, and what an HTTP proxy is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from .http import write_head
from .urls import URLRecord, basic_authorization, percent_decode

#: The schemes of proxies, with their default ports.
_PORTS = {"http": 80, "https": 443, **dict.fromkeys(("socks4", "socks4a", "socks5", "socks5h", "socks"), 1080)}

#: Programs disagree on ``socks:``, which has no version: curl takes it for SOCKS 4, others for SOCKS 5, as we do.
_ALIASES = {"socks": "socks5h"}


class ProxyURL(NamedTuple):
    """The URL of a proxy, parsed.

    Attributes:
        scheme: ``http``, ``https``, ``socks4``, ``socks4a``, ``socks5`` or ``socks5h``, which ``socks`` stands for.
        host: the name or address to connect to; an IPv6 address without brackets.
        port: the port to connect to.
        username: percent-decoded.
        password: percent-decoded.
        source: the variable of the environment that has it; empty if it is the option.
    """

    scheme: str
    host: str
    port: int
    username: str
    password: str
    source: str = ""

    @property
    def shown(self) -> str:
        """It without its user, and where it comes from."""
        source = f"{self.source} in the environment" if self.source else "proxy="
        return f"{self.scheme}://{_authority(self.host, self.port)}, from {source}"

    @property
    def speaks_http(self) -> bool:
        """Whether the proxy is asked by CONNECT, and not by SOCKS."""
        return self.scheme in ("http", "https")

    def __repr__(self) -> str:
        # Not the user: that is a secret.
        return f"<ProxyURL {f'{self.scheme}://{_authority(self.host, self.port)}'!r}>"


def parse_proxy(text: str) -> ProxyURL:
    """The URL of a proxy; without a scheme it is ``http:``. What follows the port is ignored.

    Raises:
        TypeError: it is not a str.
        ValueError: it is not valid, has an unknown scheme, or its user or password has a control character (RFC 7617
            section 2) or is not what SOCKS can send. No message has anything of the text in it but the scheme.
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
        # Where the text is not a URL, the scheme may be anything, even a password.
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
    """Raises ValueError for what python-socks can't send, or leaves out; lengths are those of RFC 1929 section 2."""
    if not (username + password).isascii() or max(len(username), len(password)) > 255:
        raise ValueError("the user name and the password of a SOCKS proxy must be ASCII, at most 255 characters each")
    if not scheme.startswith("socks4") and (username == "") != (password == ""):
        raise ValueError("a SOCKS 5 proxy wants both a user name and a password, or neither")


def environment_proxy(url: URLRecord, environment: Mapping[str, str]) -> ProxyURL | None:
    """The proxy that the environment has for a URL; None for none.

    For ``ws:`` that is ``http_proxy``, for ``wss:`` ``https_proxy``, otherwise ``all_proxy``, for hosts that are not in
    ``no_proxy``. Each name counts in upper case, too, but ``HTTP_PROXY`` not in a CGI program: there it is the header
    Proxy of a client. Empty ones do not count.

    Raises:
        ValueError: it is not valid; see parse_proxy().

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
    """Whether a URL goes to its host without a proxy.

    Args:
        no_proxy: entries with commas or spaces between them, in any case. An entry is ``*`` for all hosts, a name that
            stands for itself and all names below it, an address, or a network such as ``10.0.0.0/8``. With ``:port``
            it is for that port only; an IPv6 address has brackets then.
        url: where to connect.

    Source: the manual of curl, option ``--noproxy``; that has no ports.
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
    """Whether a host is the name, one below it, or an address in the network of that name."""
    from ipaddress import ip_address, ip_network  # few environments have a no_proxy

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
    """The request that asks an HTTP proxy for a tunnel to the URL's host and port (RFC 9110 section 9.3.6)."""
    authority = _authority(url.host, url.port)
    headers = [("Host", authority)]
    authorization = basic_authorization(proxy.username, proxy.password)
    if authorization is not None:
        headers.append(("Proxy-Authorization", authorization))
    return write_head(f"CONNECT {authority} HTTP/1.1", headers)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
