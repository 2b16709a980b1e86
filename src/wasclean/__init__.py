"""WebSockets for Python, with the JavaScript API, and closing done right."""

import os

if os.environ.get("WASCLEAN_PURE", "") not in ("", "0"):
    from .pure import prefer_sources

    prefer_sources(__path__)

from importlib import import_module
from typing import TYPE_CHECKING

from .version import __version__
from .wire.octets import COMPILED as compiled  # noqa: N811 - public, and not a constant: it differs between builds

if TYPE_CHECKING:
    from .aio.authorization import basic_auth
    from .aio.client import connect
    from .aio.serve import serve
    from .aio.server import Server
    from .closing.errors import ConnectionClosed, HandshakeError
    from .closing.events import CloseEvent, ErrorEvent
    from .closing.outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats
    from .dom.event import Event, MessageEvent
    from .dom.event_target import EventTarget
    from .dom.exceptions import DOMException, InvalidAccessError, InvalidStateError, SyntaxError
    from .model.errors import LocalProtocolError, RemoteProtocolError, WebSocketError
    from .model.heads import Request, Response
    from .model.registry import CloseCode, CloseFrame, ReadyState
    from .opening.origins import ANY
    from .options import ClientOptions, LimitOptions, ServerOptions
    from .socket.broadcast import broadcast
    from .socket.typed import ServerWebSocket, WebSocket
    from .wire.deflate import Deflate

#: Module -> public names, imported when first used (PEP 562). Importing asyncio, and ssl with it, takes longer than
#: importing all modules of this package; a program that never connects should not pay for that.
_PLACES = {
    "aio.authorization": "basic_auth",
    "aio.client": "connect",
    "aio.serve": "serve",
    "aio.server": "Server",
    "closing.errors": "ConnectionClosed HandshakeError",
    "closing.events": "CloseEvent ErrorEvent",
    "closing.outcome": "Cause FrameNote Initiator Outcome Phase Stats",
    "dom.event": "Event MessageEvent",
    "dom.event_target": "EventTarget",
    "dom.exceptions": "DOMException InvalidAccessError InvalidStateError SyntaxError",
    "model.errors": "LocalProtocolError RemoteProtocolError WebSocketError",
    "model.registry": "CloseCode CloseFrame ReadyState",
    "model.heads": "Request Response",
    "opening.origins": "ANY",
    "options": "ClientOptions LimitOptions ServerOptions",
    "socket.broadcast": "broadcast",
    "socket.typed": "ServerWebSocket WebSocket",
    "wire.deflate": "Deflate",
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


if not TYPE_CHECKING:  # a type checker would assume that every attribute exists

    def __getattr__(name: str) -> object:
        if name not in _PLACE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        import_module(".process", __name__).install()  # before there can be a connection
        thing = getattr(import_module(f".{_PLACE_OF[name]}", __name__), name)
        globals()[name] = thing  # so that __getattr__() is not called for it again
        return thing

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
