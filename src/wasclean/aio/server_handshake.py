"""Connections of a server that are not established yet: TLS if there is any, the request, and its answer."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, CancelledError, Task
from collections.abc import Awaitable, Callable
from functools import partial
from math import ceil
from typing import TYPE_CHECKING, Any

from ..closing.errors import HandshakeError
from ..model.heads import Request, Response
from ..opening.readers import RequestReader
from ..opening.server import rejection
from ..socket.awaitables import to_run
from ..socket.user_code import call_measured, from_user
from . import kernel
from .driver import Driver
from .loopstate import LEAVING
from .opening import Opening
from .server_log import log
from .tasks import create_task
from .tls import NO_HTTP

if TYPE_CHECKING:
    from .server import Server

#: Called with each request; returns a Response to answer it as plain HTTP, or None to go on, or an awaitable of either.
RequestHook = Callable[[Request], Response | Awaitable[Response | None] | None]


class ServerHandshake(Opening):
    """A connection that has not completed its opening handshake, which it has to before ``open_timeout``.

    Args:
        server: whose connection it is.
        loop: the server's event loop.
        deadline: the loop's time when the handshake must be complete, that of TLS included.
    """

    __slots__ = (
        "_context",
        "_deadline",
        "_hook",
        "_loop",
        "_peer",
        "_reader",
        "_ready",
        "_request",
        "_server",
    )

    def __init__(self, server: Server, loop: AbstractEventLoop, deadline: float) -> None:
        self.driver = Driver(loop, self, server._tasks, server._on_lost)
        self._server = server
        self._context = server._context.copy()
        self._loop = loop
        self._deadline = deadline
        self._ready = server._ssl is None  # whether the client can be answered
        self._peer: Any = None
        self._reader = RequestReader()
        self._request: Request | None = None
        self._hook: Task[Any] | None = None

    def begin(self) -> None:
        """Admit the client, or refuse it, and begin TLS if there is to be any."""
        server = self._server
        self._peer = self.driver.address("peername")
        server._transports[self.driver] = None
        error = server._admit(self.driver, self._peer)
        if error is not None:
            self.refuse(error)
            return
        server._handshakes[self] = None
        self.driver.set_alarm(self._deadline)
        if server._ssl is not None:
            self.driver.secure(server._ssl, server_side=True)

    def ready(self) -> None:
        """TLS is established."""
        self._ready = True

    @property
    def waits(self) -> bool:
        """Whether it is the client that we wait for, and not ``on_request``."""
        return self._request is None

    def data_received(self, data: bytes) -> None:
        """A part of the request has arrived; behind it, only frames."""
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
            request.remote = self._peer
            self._ask_hook(request)

    def ended(self) -> None:
        """The client has gone, or will say no more: it can't want a WebSocket."""
        if self._request is None or self._server._on_request is None:
            self.driver.close()
            self._leave()

    def lost(self, error: BaseException | None) -> None:
        """The client has gone, or TLS has failed."""
        if not self._ready:
            # That both ends agree on HTTP/2 is for the server's owner to mend.
            level = logging.WARNING if getattr(error, "reason", None) == NO_HTTP else logging.DEBUG
            self._log(level, "TLS with %s failed: %s", self._peer, error or "the client has left")
        self.driver.half_close()
        self._leave()

    def refuse(self, error: HandshakeError) -> None:
        """Answer with an error, and end the connection; without an answer if there is no TLS yet.

        To establish it would take just the handshake that is too much.
        """
        # Whoever wonders why a page can't connect must see it, also where nobody has configured logging.
        level = logging.WARNING if error.status == 403 else logging.DEBUG
        self._log(level, "refused %s: %s", self._peer, error)
        if not self._ready:
            self.driver.abort(False)
            self._leave()
            return
        response = rejection(error)
        if error.status in (429, 503):  # by then all handshakes that are in progress now will have ended
            response.headers["Retry-After"] = str(ceil(self._server._limits.open_timeout))
        self._answer(response)

    def _ask_hook(self, request: Request) -> None:
        hook = self._server._on_request
        if hook is None:
            self._go_on(None)
            return
        if self._loop.get_debug():
            hook = partial(call_measured, self._loop, f"on_request {hook!r}", self._peer, hook)
        try:
            result = self._context.run(hook, request)
            coroutine = to_run(result)
        except LEAVING:
            raise
        except BaseException as error:  # CancelledError and GeneratorExit, too: the client waits for an answer
            self._hook_failed(error)
            return
        if coroutine is not None:
            self.driver.pause_reading()  # what the client sends meanwhile waits in the kernel
            self._hook = create_task(self._loop, coroutine, self._context)
            self._server._tasks.add(self._hook)
            self._hook.add_done_callback(self._hook_done)
        else:
            self._go_on(result)

    def _hook_done(self, task: Task[Any]) -> None:
        self._server._tasks.discard(task)
        if self._hook is None:  # we have left meanwhile
            return
        self._hook = None
        self.driver.resume_reading()
        if task.cancelled():
            self._hook_failed(CancelledError("on_request was cancelled, or has raised this itself"))
        elif (error := task.exception()) is not None:
            self._hook_failed(error)
        elif kernel.is_broken(
            self.driver.fileno()
        ):  # the client has gone meanwhile: there is nobody for a handler to talk to
            self.driver.abort(False)
            self._leave()
        else:
            self._go_on(task.result())

    def _hook_failed(self, error: BaseException) -> None:
        if isinstance(error, CancelledError) and self._server._closing is not None:
            self.refuse(HandshakeError("the server is shutting down", status=503))
            return
        self._log(logging.ERROR, "on_request failed", exc_info=from_user(error))
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
            self._server._establish(self._loop, self.driver, self._request, self._reader.rest, self._context)
        except HandshakeError as error:
            self.refuse(error)
        else:
            self._leave()

    def _answer(self, response: Response) -> None:
        head_only = self._request is not None and self._request.method == "HEAD"
        try:
            data = response.serialize(head_only=head_only)
        except Exception as error:  # the hook's response, which it may have changed, can't be sent
            self._log(logging.ERROR, "on_request returned a response that can't be sent", exc_info=error)
            data = Response(500, "on_request failed\n").serialize(head_only=head_only)
        self.driver.write(data)
        if self._server._is_crowded():
            self.driver.close()  # and maybe a reset eats the answer; but nobody lingers
        else:
            self.driver.half_close()
        self._leave()

    def time_is_up(self) -> None:
        """The deadline has come."""
        if self._request is None:
            self.refuse(HandshakeError("the opening handshake took too long", status=408))
        else:
            self.refuse(HandshakeError("on_request took longer than open_timeout", status=503))

    def _log(self, level: int, message: str, *args: object, exc_info: BaseException | None = None) -> None:
        """Write to the server's log, in a copy of our context: on_request may have entered ours, and call close()."""
        self._context.copy().run(partial(log, level, message, *args, exc_info=exc_info))

    def _leave(self) -> None:
        self._server._handshakes.pop(self, None)
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.cancel()
