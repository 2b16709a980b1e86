"""serve(): starts a server."""

from __future__ import annotations

import logging
from asyncio import get_running_loop
from collections.abc import Generator, Iterable, Sequence
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, Unpack

from ..arguments import check_server
from ..model.heads import Headers
from ..opening.origins import Origins
from ..options import Compression, ServerLimits, ServerOptions, ServerSettings
from ..socket.awaitables import refuse_copy
from .acceptor import listen
from .binding import bind_to_hosts, bind_to_path
from .server import Handler, Server
from .server_handshake import RequestHook
from .server_log import log

if TYPE_CHECKING:
    from socket import socket as ListeningSocket  # noqa: N812 - a type
    from ssl import SSLContext

    from _typeshed import StrOrBytesPath


class serve:  # noqa: N801 - called like a function
    """Start a server: ``async with serve(handler, host, port) as server`` or ``server = await serve(...)``.

    Each connection has a ``contextvars.Context`` of its own, a copy of the one in which serve() is awaited. Its
    ``on_request``, its handler, its listeners and its lines of the log run in it, so the handler sees what
    ``on_request`` has set.

    Args:
        handler: called with each new socket once it is open. A coroutine function reads it as a stream; when it
            returns the socket is closed with 1000, when it raises with 1011. A plain function adds listeners; if what
            it returns can be awaited, it counts as a coroutine function.
        host: the address or addresses to listen on; None for all of this machine's. An address of a name that this
            machine does not have, such as ``::1`` for ``localhost`` in a container, is left out if there is another.
        port: the port; 0, or None, lets the system choose. The log tells which, and so does Server.port.
        unix: path of a Unix socket to listen on instead. What a process has left there that nothing listens on any
            more is replaced; the file is removed when the server is closed.
        sock: a socket to listen on instead, or several; they are closed with the server.
        ssl: a TLS context.
        subprotocols: those that the server speaks, the one that it likes best first.
        origins: the origins of pages that may connect: None for the server's own and loopback, ANY, or a list, in which
            ``https://*.example.com`` stands for all subdomains.
        headers: further headers of the answer that accepts a connection.
        compression: how to compress messages, a Deflate; None for not at all.
        on_request: called with each request, before anything else, and may answer it as plain HTTP.
        reuse_port: whether other processes may listen on the same port.
        backlog: how many connections the kernel keeps until they are accepted.
        limits: see help(wasclean.ServerOptions) and help(wasclean.LimitOptions).

    Raises:
        TypeError, ValueError: an option is not valid.
        OSError: awaited, when the address can't be listened on.
    """

    def __init__(
        self,
        handler: Handler,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        unix: StrOrBytesPath | None = None,
        sock: ListeningSocket | Sequence[ListeningSocket] | None = None,
        ssl: SSLContext | None = None,
        subprotocols: str | Iterable[str] = (),
        origins: Origins = None,
        headers: Headers = (),
        compression: Compression = "deflate",
        on_request: RequestHook | None = None,
        reuse_port: bool = False,
        backlog: int = 1024,
        **limits: Unpack[ServerOptions],
    ) -> None:
        arguments = locals()
        settings = check_server({name: arguments[name] for name in ServerSettings.options}, limits)
        self._settings = settings
        self._limits = ServerLimits(limits)
        self._server: Server | None = None

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        self._server = await self._start()
        return self._server

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        await self._server.close()

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "call serve() for each server")

    async def _start(self) -> Server:
        loop = get_running_loop()
        settings = self._settings
        server = Server(settings, self._limits, copy_context())
        how = ""
        sockets: Sequence[ListeningSocket]
        if settings.unix is not None:
            sockets = [bind_to_path(settings.unix)]
        elif settings.sock is not None:
            sockets = settings.sock
        else:
            sockets = await bind_to_hosts(loop, settings.host, settings.port or 0, settings.reuse_port)
            how = "" if settings.port else " (port chosen by the system)"
        server._start(await listen(loop, sockets, partial(server._accept, loop), settings.backlog))
        log(logging.INFO, "listening on %s%s%s", server._where, how, "" if server._ssl is None else ", with TLS")
        return server
