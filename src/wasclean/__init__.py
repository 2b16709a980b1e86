"""WebSockets for Python, with the JavaScript API, and closing done right."""

import os

if os.environ.get("WASCLEAN_PURE", "") not in ("", "0"):
    from .pure import prefer_sources

    prefer_sources(__path__)

from . import threads as threads  # sets the host of WebSocket(url)
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
from .protocol.octets import COMPILED as compiled  # noqa: N811 - a fact about the package
from .protocol.outcome import Cause, FrameNote, Initiator, Outcome, Phase, Stats
from .protocol.registry import CloseCode, CloseFrame, ReadyState
from .protocol.urls import ANY
from .version import __version__
from .websocket import WebSocket

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
