"""Connections of a server that are not established yet: TLS if there is any, the request, and its answer."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, Protocol, Task, get_running_loop, iscoroutine
from asyncio import Transport as AsyncioTransport
from collections.abc import Awaitable, Callable
from math import ceil
from typing import TYPE_CHECKING, Any

from ..protocol.errors import HandshakeError
from ..protocol.handshake import rejection
from ..protocol.http import Request, RequestReader, Response
from ..protocol.registry import LINGER
from .transport import Opening, Transport

if TYPE_CHECKING:
    from ssl import SSLContext

    from .server import Server

logger = logging.getLogger("wasclean.server")

#: Called with each request; returns a Response to answer it as plain HTTP, or None to go on, or a coroutine of either.
RequestHook = Callable[[Request], Response | Awaitable[Response | None] | None]


def log(level: int, message: str, *args: object, exc_info: BaseException | None = None) -> None:
    """Write to the server's log; that it can't be written is no reason to leave a connection as it is."""
    try:
        logger.log(level, message, *args, exc_info=exc_info)
    except Exception as error:
        get_running_loop().call_exception_handler({"message": "exception in a logging handler", "exception": error})


class Arrival(Opening):
    """A connection that has not completed its opening handshake, which it has to before ``open_timeout``.

    Args:
        server: whose connection it is.
        loop: the server's event loop.
        deadline: the loop's time when the handshake must be complete.
        secured: whether it was admitted already, before the handshake of TLS.

    Attributes:
        transport: the connection.
    """

    __slots__ = (
        "_deadline",
        "_early",
        "_hook",
        "_loop",
        "_made",
        "_reader",
        "_request",
        "_secured",
        "_server",
        "transport",
    )

    def __init__(self, server: Server, loop: AbstractEventLoop, deadline: float, *, secured: bool = False) -> None:
        self.transport = Transport(loop, self, server._tasks, server._on_lost)
        self._server = server
        self._loop = loop
        self._deadline = deadline
        self._secured = secured
        self._made = False  # whether we were told that TLS is established,
        self._early = b""  # and what has arrived before
        self._reader = RequestReader()
        self._request: Request | None = None
        self._hook: Task[Any] | None = None

    def connection_made(self) -> None:
        """TCP, and TLS if there is any, is established."""
        server = self._server
        server._transports.add(self.transport)
        error = None if self._secured else server._admit(self.transport, self.transport.address("peername"))
        if error is not None:
            self.refuse(error)
            return
        server._arrivals[self] = None
        self.transport._wake_at(self._deadline, self.transport.time())
        self._made = True
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    @property
    def waits(self) -> bool:
        """Whether it is the client that we wait for, and not ``on_request``."""
        return self._request is None

    def data_received(self, data: bytes) -> None:
        """A part of the request has arrived; behind it, only frames."""
        if not self._made:
            self._early += data
            return
        if self._request is not None:
            self._reader.rest += data
            return
        try:
            request = self._reader.feed(data)
        except HandshakeError as error:
            self.refuse(error)
            return
        if request is not None:
            self._request = request
            request.remote = self.transport.address("peername")
            self._ask_hook(request)

    def eof_received(self) -> None:
        """The client has gone, or will say no more: it can't want a WebSocket."""
        if self._request is None or self._server._on_request is None:
            self.transport.close()
            self._leave()

    def connection_lost(self, error: BaseException | None) -> None:
        """The client has gone."""
        self._leave()

    def refuse(self, error: HandshakeError) -> None:
        """Answer with an error, and end the connection."""
        # Whoever wonders why a page can't connect must see it, also where nobody has configured logging.
        level = logging.WARNING if error.status == 403 else logging.DEBUG
        log(level, "refused %s: %s", self.transport.address("peername"), error)
        response = rejection(error)
        if error.status in (429, 503):  # by then all handshakes that are in progress now will have ended
            response.headers["Retry-After"] = str(ceil(self._server._limits.open_timeout))
        self._answer(response)

    def _ask_hook(self, request: Request) -> None:
        hook = self._server._on_request
        if hook is None:
            self._go_on(None)
            return
        try:
            result = hook(request)
        except Exception as error:
            self._hook_failed(error)
            return
        if iscoroutine(result):
            self.transport.pause_reading()  # what the client sends meanwhile waits in the kernel
            self._hook = self._loop.create_task(result)
            self._server._tasks.add(self._hook)
            self._hook.add_done_callback(self._hook_done)
        else:
            self._go_on(result)  # type: ignore[arg-type]

    def _hook_done(self, task: Task[Any]) -> None:
        self._server._tasks.discard(task)
        if self._hook is None:  # we have left meanwhile
            return
        self._hook = None
        self.transport.resume_reading()
        if task.cancelled():
            self.refuse(HandshakeError("the server is shutting down", status=503))
        elif task.exception() is not None:
            self._hook_failed(task.exception())
        elif self.transport.is_broken():  # the client has gone meanwhile: there is nobody for a handler to talk to
            self.transport.abort(False)
            self._leave()
        else:
            self._go_on(task.result())

    def _hook_failed(self, error: BaseException | None) -> None:
        log(logging.ERROR, "on_request failed", exc_info=error)
        self.refuse(HandshakeError("on_request failed", status=500))

    def _go_on(self, response: Response | None) -> None:
        if response is not None:
            if not isinstance(response, Response):
                self._hook_failed(TypeError(f"on_request returned a {type(response).__name__}, not a Response"))
                return
            self._answer(response)
            return
        assert self._request is not None
        try:
            self._server._establish(self._loop, self.transport, self._request, self._reader.rest)
        except HandshakeError as error:
            self.refuse(error)
        else:
            self._leave()

    def _answer(self, response: Response) -> None:
        head_only = self._request is not None and self._request.method == "HEAD"
        try:
            data = response.serialize(head_only=head_only)
        except (TypeError, ValueError) as error:  # the hook's response can't be sent
            log(logging.ERROR, "on_request returned a response that can't be sent", exc_info=error)
            data = Response(500, "on_request failed\n").serialize(head_only=head_only)
        self.transport.write(data)
        if self._server._is_crowded():
            self.transport.close()  # and maybe a reset eats the answer; but nobody lingers
        else:
            self.transport.half_close()
        self._leave()

    def time_is_up(self) -> None:
        """The deadline has come."""
        status = 408 if self._request is None else 503
        self.refuse(HandshakeError("the opening handshake took too long", status=status))

    def _leave(self) -> None:
        self._server._arrivals.pop(self, None)
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.cancel()


class TLSArrival(Protocol):
    """A connection that has not completed the handshake of TLS, which counts as a part of the opening handshake.

    The loop could do that handshake, but would not tell of those that are in progress or fail, nor let us refuse any.

    Args:
        server: whose connection it is.
        loop: the server's event loop.
        deadline: the loop's time when the opening handshake must be complete.
        context: for TLS.
    """

    __slots__ = ("_arrival", "_context", "_deadline", "_loop", "_server", "_transport")

    waits = True  # for the client

    def __init__(self, server: Server, loop: AbstractEventLoop, deadline: float, context: SSLContext) -> None:
        self._arrival = Arrival(server, loop, deadline, secured=True)
        self._server = server
        self._loop = loop
        self._deadline = deadline
        self._context = context
        self._transport: AsyncioTransport | None = None

    def connection_made(self, transport: Any) -> None:
        """TCP is established. Who is not admitted gets no answer: that would take the handshake that is too much."""
        server = self._server
        peer = transport.get_extra_info("peername")
        error = server._admit(self._arrival.transport, peer)
        if error is not None:
            log(logging.DEBUG, "refused %s: %s", peer, error)
            transport.abort()
            return
        self._transport = transport
        server._arrivals[self] = None
        transport.pause_reading()
        task = self._loop.create_task(self._secure(transport, peer))
        server._tasks.add(task)
        task.add_done_callback(server._tasks.discard)

    def data_received(self, data: bytes) -> None:
        """Bytes for TLS, which is about to begin: uvloop reads on, although we have paused that."""
        self._loop.call_soon(self._pass_on, data)  # by then the task has begun

    def _pass_on(self, data: bytes) -> None:
        tls: Any = None if self._transport is None else self._transport.get_protocol()
        rest = memoryview(data)
        while rest and tls is not None and tls is not self:
            room = tls.get_buffer(len(rest))
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            tls.buffer_updated(count)
            rest = rest[count:]

    def refuse(self, error: HandshakeError) -> None:
        """End the connection."""
        self._server._arrivals.pop(self, None)
        if self._transport is not None:
            self._transport.abort()

    async def _secure(self, transport: AsyncioTransport, peer: Any) -> None:
        server = self._server
        arrival = self._arrival
        secured = None
        try:
            if not transport.is_closing():
                secured = await self._loop.start_tls(
                    transport,
                    arrival.transport,
                    self._context,
                    server_side=True,
                    ssl_handshake_timeout=max(self._deadline - self._loop.time(), 0.001),
                    ssl_shutdown_timeout=LINGER,
                )
            if transport.is_closing():  # it has ended meanwhile, or we have: uvloop does not tell otherwise
                secured = None
        except OSError as error:
            log(logging.DEBUG, "TLS with %s failed: %s", peer, error)
        finally:
            self._transport = None
            server._arrivals.pop(self, None)
            if secured is None:
                transport.abort()
                server._lost(arrival.transport)
        if secured is not None:
            arrival.transport.connection_made(secured)
