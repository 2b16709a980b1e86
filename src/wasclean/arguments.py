"""Checks the arguments of connect(), serve() and WebSocket() as a whole: their names, and which exclude each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .opening.headers import check_single
from .opening.urls import URLRecord, parse_url
from .options import ClientOptions, ClientSettings, ServerOptions, ServerSettings


def check_client(what: str, url: str, options: ClientOptions) -> tuple[URLRecord, ClientSettings]:
    """Check the URL and the options of a client, except the limits, which Limits checks.

    Args:
        what: the callable that they were given to, such as ``connect()``.
        url: as it was given.
        options: as they were given.

    Raises:
        SyntaxError: the URL is not valid.
        TypeError, ValueError: an option is not valid, or two exclude one another.
    """
    own = ("protocols", "daemon") if what == "WebSocket()" else ("subprotocols",)
    check_names(what, options, (*ClientOptions.__annotations__, *own))
    settings = ClientSettings(options)
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
    """Check the arguments of serve(), except the values of limits, which ServerLimits checks.

    Args:
        options: the arguments that are no limits.
        limits: the further arguments, which must have the names of limits.

    Raises:
        SyntaxError: a subprotocol is not valid.
        TypeError, ValueError: an argument is not valid, or two exclude one another.
    """
    check_names("serve()", limits, (*ServerOptions.__annotations__, *ServerSettings.options))
    settings = ServerSettings(options)
    _check_one_address(unix=settings.unix, sock=settings.sock, host=settings.host, port=settings.port)
    if settings.reuse_port and (settings.unix is not None or settings.sock is not None):
        raise TypeError("reuse_port= is for a host and port: with unix= and sock= it means nothing")
    return settings


def _check_one_address(**addresses: object) -> None:
    """Raise TypeError if more than one address is given; None is no address."""
    given = [f"{name}=" for name, address in addresses.items() if address is not None]
    if len(given) > 1 and given != ["host=", "port="]:
        raise TypeError(f"{' and '.join(given)} exclude each other: give one address")


def check_names(what: str, options: Iterable[str], known: Iterable[str]) -> None:
    """Check that options exist.

    Raises:
        TypeError: an option is not among those that are known; the message begins with ``what``.
    """
    names = sorted(known)
    for name in options:
        if name not in names:
            from .foreign_names import advice  # few programs need it

            raise TypeError(f"{what} has no option {name!r}{advice(what, name, names)}; it has {', '.join(names)}")
