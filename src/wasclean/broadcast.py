"""broadcast(): one message to many sockets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypeVar

from .checks import a_bool
from .protocol.parcel import Parcel
from .websocket import WebSocket, to_message

if TYPE_CHECKING:
    from typing_extensions import Buffer

Socket = TypeVar("Socket", bound=WebSocket)


def broadcast(
    sockets: Iterable[Socket],
    message: str | Buffer,
    *,
    slow: Literal["skip", "close"] = "skip",
    compress: bool | None = None,
) -> list[Socket]:
    """Send a message to many sockets, without waiting for any of them.

    It is framed once, and compressed once for all whose messages are compressed alike and each by itself; with
    ``context_takeover`` each connection has to compress for itself. Sockets that are not open are passed over.

    A socket is slow if more than 64 KiB wait to leave it, so that ``await socket.send()`` would have to wait: one
    reader that can't keep up must not fill the memory, nor hold up the others.

    Args:
        sockets: they may change meanwhile, and there may be clients among them.
        message: a str is sent as text, its lone surrogates replaced; anything bytes-like as binary.
        slow: ``skip`` leaves this message out for a slow socket; ``close`` ends it at once: 1006, ``slow_consumer``.
        compress: as in send().

    Returns:
        The sockets that were slow.

    Raises:
        TypeError: not a str and not bytes-like, or not a WebSocket among the sockets. Nothing was sent.
        ValueError: another value for ``slow``. Nothing was sent.
        RuntimeError: a socket belongs to the event loop of another thread. Nothing was sent.
    """
    if slow not in ("skip", "close"):
        raise ValueError(f"slow must be 'skip' or 'close', not {slow!r}")
    if compress is not None:
        a_bool("compress", compress)
    parcel = Parcel(*to_message(message), compress)
    if not isinstance(sockets, Iterable):
        raise TypeError(f"broadcast() takes several sockets, such as a set of them, not {type(sockets).__name__}")
    chosen = list(sockets)
    for each in chosen:  # not a variable that has a type on the compiled build
        if not isinstance(each, WebSocket):
            raise TypeError(f"broadcast() takes sockets, not {type(each).__name__}")
    closes = slow == "close"
    elsewhere: dict[object, list[Socket]] = {}
    for socket in chosen:
        if socket._is_elsewhere():
            elsewhere.setdefault((type(socket._host), socket._host.loop()), []).append(socket)
    for group in elsewhere.values():
        socket = group[0]
        socket._host.run_here(_pass_on, [], parcel, closes)  # raises if it is not to be called from here
    missed = []
    for group in elsewhere.values():
        socket = group[0]
        missed += socket._host.run_here(_pass_on, group, parcel, closes)
    missed += _pass_on([socket for socket in chosen if not socket._is_elsewhere()], parcel, closes)
    return missed


def _pass_on(sockets: list[WebSocket], parcel: Parcel, closes: bool) -> list[WebSocket]:
    """Send it, on the thread of these sockets; returns the slow ones."""
    return [socket for socket in sockets if not socket._pass_on(parcel, closes)]
