"""Target: the server that a client is to connect to, and the options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..arguments import check_client
from ..opening.urls import URLRecord, check_subprotocols
from ..options import ClientOptions, ClientSettings, Limits


class Target(NamedTuple):
    """What a client socket is to connect to, and how."""

    url: URLRecord
    subprotocols: tuple[str, ...]
    settings: ClientSettings
    limits: Limits
    one_at_a_time: bool  # RFC 6455 section 4.1: no two attempts to the same host and port at once
    daemon: bool = False  # True if a script may end while the socket is open

    def __repr__(self) -> str:
        return f"<Target {self.url.shown!r}>"  # the settings can hold secrets


def new_target(
    what: str, url: str, subprotocols: str | Iterable[str], options: ClientOptions, *, one_at_a_time: bool
) -> Target:
    """Return the Target for the arguments of ``what``.

    Raises:
        SyntaxError: the URL or a subprotocol is not valid.
        TypeError, ValueError: an option is not valid.
    """
    record, settings = check_client(what, url, options)
    return Target(record, check_subprotocols(subprotocols), settings, Limits(options), one_at_a_time)
