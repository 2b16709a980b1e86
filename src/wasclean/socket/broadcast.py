"""broadcast(): one message to many sockets."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, TypeVar

from ..checks import a_bool
from ..wire.prepared import PreparedMessage
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
    """
    if slow not in ("skip", "close"):
        raise ValueError(f"slow must be 'skip' or 'close', not {slow!r}")
    if compress is not None:
        a_bool("compress", compress)
    prepared = PreparedMessage(*to_message(message), compress)
    if not isinstance(sockets, Iterable):
        raise TypeError(f"broadcast() takes several sockets, such as a set of them, not {type(sockets).__name__}")
    chosen = list(sockets)
    for each in chosen:  # not a variable that has a type on the compiled build
        if not isinstance(each, WebSocket):
            raise TypeError(f"broadcast() takes sockets, not {type(each).__name__}")
    closes = slow == "close"
    missed: list[Socket] = []
    elsewhere: dict[object, list[Socket]] = {}  # by the loop
    for socket in chosen:
        if socket._is_elsewhere():
            if socket._is_slow(closes):
                missed.append(socket)
            elif socket.readyState == WebSocket.OPEN:
                elsewhere.setdefault(socket._host.loop(), []).append(socket)
        elif not socket._pass_on(prepared, closes):
            missed.append(socket)
    for group in elsewhere.values():
        own = PreparedMessage(prepared.opcode, prepared.message, compress)  # it is not safe to share between threads
        counts = [socket._look_ahead(len(own.payload)) for socket in group]
        socket = group[0]
        socket._host.call_threadsafe(partial(_carry, group, own, counts))
    return missed


def _carry(sockets: Sequence[WebSocket], prepared: PreparedMessage, counts: list[deque[int] | None]) -> None:
    """Send it, on the thread of these sockets, which have counted it where they count what is sent elsewhere."""
    for socket, ahead in zip(sockets, counts, strict=True):
        if socket._connection.is_open:
            socket._carry(prepared)
        if ahead is not None:
            ahead.remove(len(prepared.payload))
