"""WebSockets for Python, with the JavaScript API, and closing done right."""

import os

if os.environ.get("WASCLEAN_PURE", "") not in ("", "0"):
    from .pure import prefer_sources

    prefer_sources(__path__)

from importlib import import_module
from typing import TYPE_CHECKING

from .protocol.octets import COMPILED as compiled  # noqa: N811 - a fact about the package
from .version import __version__

if TYPE_CHECKING:
    from .aio.client import connect
    from .aio.server import Server, serve
    from .authorization import basic_auth
    from .broadcast import broadcast
    from .options import ClientOptions, LimitOptions, ServerOptions
    from .protocol.close_events import CloseEvent, ErrorEvent
    from .protocol.deflate import Deflate
    from .protocol.errors import (
        ConnectionClosed,
        DOMException,
        HandshakeError,
        InvalidAccessError,
        InvalidStateError,
        LocalProtocolError,
        RemoteProtocolError,
        SyntaxError,
        WebSocketError,
    )
    from .protocol.events import Event, EventTarget, MessageEvent
    from .protocol.http import Request, Response
    from .protocol.outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats
    from .protocol.registry import CloseCode, CloseFrame, ReadyState
    from .protocol.urls import ANY
    from .typed import ServerWebSocket, WebSocket

#: Where the names below come from, once somebody asks for one (PEP 562): asyncio takes twice as long as all
#: of this, and brings TLS with it, which a program that has not connected to anything yet need not pay for.
_PLACES = {
    "aio.client": "connect",
    "aio.server": "Server serve",
    "authorization": "basic_auth",
    "broadcast": "broadcast",
    "options": "ClientOptions LimitOptions ServerOptions",
    "protocol.close_events": "CloseEvent ErrorEvent",
    "protocol.deflate": "Deflate",
    "protocol.errors": "ConnectionClosed DOMException HandshakeError InvalidAccessError InvalidStateError"
    " LocalProtocolError RemoteProtocolError SyntaxError WebSocketError",
    "protocol.events": "Event EventTarget MessageEvent",
    "protocol.http": "Request Response",
    "protocol.outcome": "Cause FrameNote Initiator Outcome Phase Stats",
    "protocol.registry": "CloseCode CloseFrame ReadyState",
    "protocol.urls": "ANY",
    "typed": "ServerWebSocket WebSocket",
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names.split()}

__all__ = [
    "ANY",
    "Cause",
    "ClientOptions",
    "CloseCode",
    "CloseEvent",
    "CloseFrame",
    "ConnectionClosed",
    "DOMException",
    "Deflate",
    "ErrorEvent",
    "Event",
    "EventTarget",
    "FrameNote",
    "HandshakeError",
    "Initiator",
    "InvalidAccessError",
    "InvalidStateError",
    "LimitOptions",
    "LocalProtocolError",
    "MessageEvent",
    "Outcome",
    "Phase",
    "ReadyState",
    "RemoteProtocolError",
    "Request",
    "Response",
    "Server",
    "ServerOptions",
    "ServerWebSocket",
    "Stats",
    "SyntaxError",
    "WebSocket",
    "WebSocketError",
    "__version__",
    "basic_auth",
    "broadcast",
    "compiled",
    "connect",
    "serve",
]


if not TYPE_CHECKING:  # which would take every name for one of ours

    def __getattr__(name: str) -> object:
        if name not in _PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module(".threads", __name__)  # sets the host of WebSocket(url), and sees to it at the end of the process
        thing = getattr(import_module(f".{_PLACE_OF[name]}", __name__), name)
        globals()[name] = thing  # so that this is not asked again
        return thing

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
