"""A running server: its connections, their handlers, and its shutdown."""

from __future__ import annotations

import logging
from asyncio import AbstractEventLoop, CancelledError, Future, Task, current_task, get_running_loop, wait
from collections.abc import Callable, Set
from contextvars import Context
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, NoReturn, Self, cast
from weakref import WeakSet

from ..checks import close_code, seconds
from ..closing.errors import HandshakeError
from ..closing.outcome import Cause, Reason
from ..model.heads import Request
from ..model.registry import LINGER, CloseCode, Role
from ..opening.server import accept
from ..options import ServerLimits, ServerSettings
from ..socket import calls, typed
from ..socket.awaitables import Promise, refuse_copy, to_run
from ..socket.conversions import check_reason
from ..socket.eager_tasks import EagerTask
from ..socket.listeners import is_its_end, leave_loop
from ..socket.session import Session
from ..socket.user_code import call_measured, from_user
from ..socket.websocket import WebSocket, attach, new_websocket, session_of
from .addresses import Addresses
from .binding import shown
from .driver import Driver
from .loopstate import LEAVING, LoopState
from .server_handshake import RequestHook, ServerHandshake
from .server_log import log
from .tasks import create_task

if TYPE_CHECKING:
    from ..socket.awaitables import Pending

#: Called with each new socket: a coroutine function reads it as a stream, a plain function adds listeners.
Handler = Callable[[typed.ServerWebSocket], Any]


class Server:
    """What serve() gives: made by it only.

    Attributes:
        connections: the sockets that are open or closing.
    """

    def __init__(self, settings: ServerSettings, limits: ServerLimits, context: Context) -> None:
        self._handler: Callable[[WebSocket], Any] = settings.handler
        self._limits = limits
        self._subprotocols = settings.subprotocols
        self._origins = settings.origins
        self._headers = settings.headers
        self._deflate = settings.compression
        self._on_request: RequestHook | None = settings.on_request
        self._ssl = settings.ssl
        self._context = context  # of serve(): each connection has a copy
        self._addresses = Addresses(limits.max_connections_per_address)
        self._listener: Any = None
        self._port = 0
        self._where = ""
        self._connections: dict[WebSocket, None] = {}  # dicts, for they are a third of a set's size
        self._on_end = self._ended  # bound once, and not for each connection
        self._handshakes: dict[ServerHandshake, None] = {}  # in the opening handshake, the oldest first
        self._on_lost = self._lost
        self._transports: dict[Driver, None] = {}  # also of those that have closed, until the peer has ended TCP too
        self._one_less: Future[None] | None = None  # done when a connection or a transport is gone
        self._tasks: set[Task[Any]] = set()  # handlers, hooks and listeners that run
        self._loop: AbstractEventLoop
        self._thread = 0  # the one that the loop runs on
        self._closed: Promise  # kept when all has ended after close()
        self._closing: Task[None] | None = None

    @property
    def connections(self) -> Set[typed.ServerWebSocket]:
        """The sockets that are open or closing."""
        return cast(Set[typed.ServerWebSocket], self._connections.keys())

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return tuple(self._listener.sockets)

    @property
    def port(self) -> int:
        """The port that the server listens on, or listened on until it was closed; 0 if it has Unix sockets only."""
        return self._port

    def close(
        self, code: int = CloseCode.GOING_AWAY, reason: str = "", *, timeout: float | None = None
    ) -> Pending[None]:
        """Stop accepting and close all connections; only the first call counts.

        Args:
            code: the close code for each connection.
            reason: the reason for each connection.
            timeout: seconds until handlers are cancelled that go on after their connection has ended, and until
                connections are dropped; close_timeout by default.

        Returns:
            What may be awaited, run as a task, or ignored: it waits until all has ended.

        Raises:
            As WebSocket.close().
        """
        close_code(code)
        reason = check_reason(reason)
        if timeout is not None:
            seconds("timeout", timeout)
        self._call(partial(self._close, code, reason, self._limits.close_timeout if timeout is None else timeout))
        return self._closed  # type: ignore[return-value]

    def stop_accepting(self) -> None:
        """Accept no connections any more, not even those that are about to open."""
        self._call(self._stop_accepting)

    def _call(self, function: Callable[[], None]) -> None:
        """Call the function: now on the loop's thread, and soon on another one."""
        if get_ident() == self._thread:
            function()
        else:
            LoopState.of(self._loop).call_threadsafe(function)

    def _close(self, code: int, reason: str, timeout: float) -> None:
        if self._closing is not None:
            return
        if self._loop.is_closed():  # and so are the connections
            self._closed.succeed(None)
            return
        for socket in list(self._connections):
            calls.close(session_of(socket), code, reason, Reason(Cause.SERVER_SHUTDOWN), timeout)
        self._stop_accepting()
        # In contexts of their own: not in that of the caller, who may be one client's handler.
        caller = WeakSet(filter(None, (current_task(self._loop),)))  # weak, for a task keeps its context
        self._closing = Context().run(self._loop.create_task, self._finish(timeout, caller))
        self._closing.add_done_callback(lambda task: self._closed.succeed(None), context=Context())

    def _stop_accepting(self) -> None:
        LoopState.of(self._loop).remove_server(self)
        self._listener.close()
        for handshake in list(self._handshakes):
            handshake.refuse(HandshakeError("the server is shutting down", status=503))

    async def wait_closed(self) -> None:
        """Wait until close() has been called and all has ended."""
        await self._closed

    async def serve_forever(self) -> None:
        """Wait until somebody calls close(), or until SIGTERM or SIGINT, and close; close, too, when this is cancelled.

        A second signal ends all connections and handlers at once. A program that has handlers of its own for these
        signals keeps them; and another thread than the main thread gets no signals.
        """
        self._closed.check_loop()
        told = False

        def end() -> None:
            nonlocal told
            if told:
                self._call(self._end_now)
            told = True
            self.close()

        loop = get_running_loop()
        with LoopState.of(loop).process.stopped_by_signals(loop, end):
            try:
                await self._closed
            finally:
                await self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        where = f"on {self._where}" if self._listener.sockets else f"was on {self._where}"
        return f"<Server {where}, {len(self._connections)} connections>"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "it has listening sockets; call serve() for another server")

    def _start(self, listener: Any) -> None:
        self._listener = listener
        self._loop = get_running_loop()
        self._thread = get_ident()
        self._closed = Promise(self._loop)
        LoopState.of(self._loop).add_server(self)
        names = [listening.getsockname() for listening in listener.sockets]
        self._where = ", ".join(map(shown, names))
        self._port = next((name[1] for name in names if isinstance(name, tuple)), 0)

    async def _finish(self, timeout: float, caller: WeakSet[Task[Any]]) -> None:
        """Wait for the connections, for all handlers but the caller of close(), and for what lingers of TCP."""
        loop = get_running_loop()
        deadline = loop.time() + timeout
        alarm = loop.call_at(deadline, self._drop)
        await self._until_none(self._connections)
        tasks = self._tasks.difference(caller)
        if tasks:
            _, late = await wait(tasks, timeout=max(0.0, deadline - loop.time()))
            for task in late:
                task.cancel()
            if late:
                await wait(late, timeout=LINGER)  # some catch their cancellation
        if loop.time() >= deadline:
            self._drop()
        await self._until_none(self._transports)
        alarm.cancel()

    async def _until_none(self, these: dict[Any, None]) -> None:
        while these:
            self._one_less = get_running_loop().create_future()
            await self._one_less

    def _drop(self) -> None:
        """It is time: end what has not ended."""
        for socket in list(self._connections):
            why = Reason(Cause.CLOSE_TIMEOUT, "the server's time for its shutdown was up")
            calls.terminate(session_of(socket), why, reset=True)
        for transport in list(self._transports):
            transport.abort(False)

    def _end_now(self) -> None:
        """Somebody can't wait: end everything, and wait for nothing."""
        for socket in list(self._connections):
            why = Reason(Cause.SERVER_SHUTDOWN, "the server was told twice to end")
            calls.terminate(session_of(socket), why, reset=True)
        for transport in list(self._transports):
            transport.abort(False)
        for task in list(self._tasks):
            task.cancel()
        self._closed.succeed(None)

    def _ended(self, socket: WebSocket) -> None:
        self._connections.pop(socket, None)
        self._count_down()

    def _lost(self, transport: Driver) -> None:
        self._transports.pop(transport, None)
        self._addresses.forget(transport)
        self._count_down()

    def _count_down(self) -> None:
        if self._one_less is not None and not self._one_less.done():
            self._one_less.set_result(None)

    def _accept(self, loop: AbstractEventLoop) -> ServerHandshake:
        """Make the protocol of a new connection."""
        return ServerHandshake(self, loop, loop.time() + self._limits.open_timeout)

    def _admit(self, transport: Driver, peer: Any) -> HandshakeError | None:
        """Count a new connection, or give the error to answer it with."""
        limits = self._limits
        if self._closing is not None:
            return HandshakeError("the server is shutting down", status=503)
        if len(self._handshakes) >= limits.max_handshakes:
            error = HandshakeError("too many opening handshakes are in progress", status=503)
            # Not the new one, or whoever says nothing would keep out those who have something to say.
            oldest = next((handshake for handshake in self._handshakes if handshake.waits), None)
            if oldest is None:
                return error
            oldest.refuse(error)
        if not self._addresses.admit(transport, peer):
            return HandshakeError("there are too many connections from this address", status=429)
        return None

    def _is_crowded(self) -> bool:
        """Whether too many connections that are not open, or not any more, are still there."""
        return len(self._transports) - len(self._connections) > 2 * self._limits.max_handshakes

    def _establish(
        self, loop: AbstractEventLoop, transport: Driver, request: Request, rest: bytes, context: Context
    ) -> None:
        """Accept a request; the connection's listeners and handler run in the context.

        Raises:
            HandshakeError: it can't be accepted.
        """
        if self._closing is not None:
            raise HandshakeError("the server is shutting down", status=503)
        if self._limits.max_connections is not None and len(self._connections) >= self._limits.max_connections:
            raise HandshakeError("there are too many connections", status=503)
        deflate = self._deflate
        most = None if deflate is None else deflate.max_contexts
        if deflate is not None and most is not None and len(self._connections) >= most:
            deflate = deflate.without_contexts()
        answer, agreement = accept(
            request,
            subprotocols=self._subprotocols,
            origins=self._origins,
            headers=self._headers,
            deflate=deflate,
        )
        session = Session(Role.SERVER, self._limits, transport, transport.buffer, transport.time())
        session.head = request
        session.on_end = self._on_end
        socket = new_websocket()
        attach(socket, session, context)
        transport.write(answer)
        self._connections[socket] = None
        transport.open(session, agreement, rest, partial(self._handle, loop, socket, context))

    def _handle(self, loop: AbstractEventLoop, socket: WebSocket, context: Context) -> None:
        """Call the handler; if that returns a coroutine, or another awaitable, it reads a stream."""
        handler: Any = self._handler
        if loop.get_debug():
            where = f"connection {socket.id} from {socket.remote_address}"
            handler = partial(call_measured, loop, f"handler {handler!r}", where, handler)
        try:
            coroutine = to_run(context.run(handler, socket))
        except LEAVING as error:
            leave_loop(session_of(socket), error)
            return
        except CancelledError:
            calls.close(session_of(socket), CloseCode.GOING_AWAY, "", Reason(Cause.CANCELLED))
            return
        except BaseException as error:  # GeneratorExit, too
            context.run(self._handled, socket, error)
            return
        if coroutine is not None:
            session_of(socket).inbox.read_as_stream()
            eager: Any = EagerTask(loop, coroutine)
            task = create_task(loop, eager, context)
            self._tasks.add(task)
            task.add_done_callback(partial(self._handler_done, socket), context=context)

    def _handler_done(self, socket: WebSocket, task: Task[Any]) -> None:
        self._tasks.discard(task)
        session_of(socket).inbox.reader_left()
        if task.cancelled():
            calls.close(session_of(socket), CloseCode.GOING_AWAY, "", Reason(Cause.CANCELLED))
        elif isinstance(task.exception(), LEAVING):
            calls.close(session_of(socket), CloseCode.GOING_AWAY, "", Reason(Cause.PROCESS_EXIT))
        else:
            self._handled(socket, task.exception())

    def _handled(self, socket: WebSocket, error: BaseException | None) -> None:
        """The handler has ended; a connection that ended under it is no error of its own."""
        if error is None or is_its_end(session_of(socket), error):
            calls.close(session_of(socket), CloseCode.NORMAL_CLOSURE, "", Reason(Cause.HANDLER_RETURNED))
        else:
            where = socket.remote_address
            log(logging.ERROR, "the handler of connection %d, %s, failed", socket.id, where, exc_info=from_user(error))
            detail = type(error).__name__
            calls.close(session_of(socket), CloseCode.INTERNAL_ERROR, "", Reason(Cause.HANDLER_ERROR, detail))
