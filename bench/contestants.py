"""The contestants: the libraries, and the ways of using them, that are compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Contestant:
    """A way to use a library.

    Attributes:
        name: the name in tables.
        program: the name of the file in servers/ and in clients/, with its suffix.
        package: the package whose version is shown; ``ws`` is that of npm.
        pure: True for wasclean's pure build.
        zlib_ng: True if wasclean compresses with zlib-ng.
    """

    name: str
    program: str
    package: str
    pure: bool = False
    zlib_ng: bool = False


CALLBACKS = Contestant("wasclean callbacks", "wasclean_callbacks.py", "wasclean")
STREAM = Contestant("wasclean async for", "wasclean_stream.py", "wasclean")
CALLBACKS_PURE = Contestant("wasclean callbacks, pure", "wasclean_callbacks.py", "wasclean", pure=True)
STREAM_PURE = Contestant("wasclean async for, pure", "wasclean_stream.py", "wasclean", pure=True)
CALLBACKS_NG = Contestant("wasclean callbacks, zlib-ng", "wasclean_callbacks.py", "wasclean", zlib_ng=True)
PICOWS = Contestant("picows listener", "picows_listener.py", "picows")
PICOWS_WEBSOCKETS = Contestant("picows websockets API", "picows_websockets.py", "picows")
WEBSOCKETS = Contestant("websockets", "websockets_streams.py", "websockets")
AIOHTTP = Contestant("aiohttp", "aiohttp_web.py", "aiohttp")
WS = Contestant("ws (Node)", "ws.mjs", "ws")

PEERS = (PICOWS, PICOWS_WEBSOCKETS, WEBSOCKETS, AIOHTTP, WS)
COMPILED = (CALLBACKS, STREAM, *PEERS)
ALL = (CALLBACKS, STREAM, CALLBACKS_PURE, STREAM_PURE, *PEERS)
#: Not picows: compression has no settings in its websockets API, and does not exist in its listener.
DEFLATING = (CALLBACKS, STREAM, CALLBACKS_NG, WEBSOCKETS, AIOHTTP, WS)
ALL_CONTESTANTS = (*ALL, CALLBACKS_NG)
