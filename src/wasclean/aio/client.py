"""The client's opening handshake: from a URL to an established WebSocket."""

from __future__ import annotations

import os
from asyncio import AbstractEventLoop, BaseEventLoop, CancelledError, Lock, Task, get_running_loop
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import asynccontextmanager
from contextvars import copy_context
from socket import socket as Socket  # noqa: N812 - here a socket is a WebSocket
from typing import TYPE_CHECKING, Any, NoReturn, Unpack, cast
from weakref import WeakValueDictionary

from ..closing.errors import HandshakeError
from ..closing.outcome import Cause, Phase, Reason
from ..model.heads import Response
from ..model.registry import CloseCode
from ..opening.client import UpgradeRequest
from ..opening.proxies import ProxyURL, environment_proxy
from ..opening.readers import ResponseReader
from ..opening.urls import URLRecord, redirect_target
from ..options import ClientOptions, ClientSettings
from ..socket import calls, typed
from ..socket.awaitables import refuse_copy
from ..socket.opening import continue_elsewhere, fail_opening, new_client_session, open_by
from ..socket.target import Target, new_target
from ..socket.websocket import WebSocket, attach, new_websocket, session_of
from ..wire.deflate import NAME
from . import kernel, poller
from .dialing import dial, dial_path
from .driver import Driver
from .epoll import EpollTransport
from .established import FORKED
from .loop_transport import LoopTransport
from .loopstate import LoopState
from .opening import Inquiry
from .perloop import PerLoop
from .resolver import resolve
from .services import buffer_of
from .tls import default_context, is_tls_error
from .tunnel import Tunnel, connect_by_socks

if TYPE_CHECKING:
    pass

#: Headers that must not follow a redirect to another origin: what authorizes, and the name of the first server.
_CREDENTIALS = frozenset({"authorization", "cookie", "host", "proxy-authorization"})

_locks: PerLoop[WeakValueDictionary[tuple[str, int], Lock]] = PerLoop(lambda loop: WeakValueDictionary())


class connect:  # noqa: N801 - called like a function
    """Open a connection, as a stream: ``async with connect(url) as socket`` or ``socket = await connect(url)``.

    Args:
        url: of the server; ``http`` and ``https`` count as ``ws`` and ``wss``.
        subprotocols: one, or several, the one you like best first.
        options: see help(wasclean.ClientOptions) and help(wasclean.LimitOptions).

    Raises:
        SyntaxError: the URL or a subprotocol is not valid.
        TypeError, ValueError: an option is not valid.
        HandshakeError: awaited, when the server or a proxy did not accept the connection, or not by the rules.
        OSError: awaited, when there is no connection to the server or the proxy, or TLS failed.
        ImportError: awaited, when there is a SOCKS proxy, and python-socks is not installed.
        TimeoutError: awaited, when the opening took longer than ``open_timeout``.
    """

    def __init__(self, url: str, subprotocols: str | Iterable[str] = (), **options: Unpack[ClientOptions]) -> None:
        self._target = new_target("connect()", url, subprotocols, options, one_at_a_time=False)
        self._socket: typed.WebSocket | None = None

    def __await__(self) -> Generator[Any, None, typed.WebSocket]:
        return self._open().__await__()

    async def __aenter__(self) -> typed.WebSocket:
        self._socket = await self._open()
        return self._socket

    async def __aexit__(self, *exc: Any) -> None:
        assert self._socket is not None
        await self._socket.__aexit__(*exc)

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "call connect() for each connection")

    async def _open(self) -> typed.WebSocket:
        socket = cast(typed.WebSocket, new_websocket())
        start(socket, self._target, set())
        session_of(socket).inbox.streaming = True
        try:
            return await socket.wait_opened()
        except CancelledError:
            calls.terminate(session_of(socket), Reason(Cause.CANCELLED, "connect() was cancelled"))
            raise
        except BaseException:
            socket.terminate()
            raise


def start(socket: WebSocket, target: Target, tasks: set[Task[Any]]) -> None:
    """Begin to open a new socket in the running loop.

    Raises:
        TypeError, ValueError: an option is not valid.
    """
    Attempt(socket, target, get_running_loop(), tasks).start()


class Attempt(Inquiry):
    """One socket's way from CONNECTING to OPEN, redirects included.

    It may be made on another thread than the loop's, on which start() is to be called.

    Args:
        socket: a new one.
        target: where to.
        loop: the loop.
        tasks: keeps tasks alive.

    Raises:
        TypeError, ValueError: an option is not valid.
    """

    __slots__ = (
        "_deserted",
        "_handshake",
        "_headers",
        "_left",
        "_loop",
        "_met",
        "_name",
        "_phase",
        "_proxy",
        "_redirects",
        "_session",
        "_ssl",
        "_target",
        "_tasks",
    )

    def __init__(self, socket: WebSocket, target: Target, loop: AbstractEventLoop, tasks: set[Task[Any]]) -> None:
        self._loop = loop
        self._target = target
        self._tasks = tasks
        self._phase: Phase | None = None
        self._left: float | None = target.limits.open_timeout  # seconds to go, while the clock stands still
        self._met: list[str] = []  # what has failed, and was not the end of it; and which proxy was asked
        self._proxy: ProxyURL | None = None
        self._deserted = False  # whether the server ended TCP before it had answered
        self._redirects = target.settings.max_redirects
        self._headers = target.settings.headers
        self._prepare(target.url)
        self._session = new_client_session(target.limits, target.url, self.driver, buffer_of(loop), self.driver.time())
        attach(socket, self._session, copy_context())
        open_by(self._session, 0.0)

    def start(self, ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """Begin to open the socket, when ``ready()`` has returned."""
        loop = self._loop
        state = LoopState.of(loop)
        if loop.is_closed():
            self.refuse()
        elif state.ending:  # a task would outlive the loop
            loop.call_soon(self.refuse)
        else:
            # In a copy, for the context itself is entered for events.
            task = self._session.context.copy().run(loop.create_task, self.run(ready))  # type: ignore[union-attr]
            self.driver.canceller = task.cancel
            self._tasks.add(task)
            task.add_done_callback(self._done)
            state.add_attempt(task)

    def cancel(self) -> None:
        """The loop ends before start(), which will see that."""

    async def run(self, ready: Callable[[], Awaitable[None]] | None) -> None:
        """Open the socket, or fail it; nothing is raised but a cancellation: the socket's own, or that of all tasks."""
        try:
            if ready is not None:
                await ready()
            await self._follow()
        except CancelledError:
            self._cancelled()
            raise
        except Exception as error:
            self._fail(error, self._blame(error))
        finally:
            del self._session, self._answer, self._error  # the session has the error, which has these frames

    def _done(self, task: Task[Any]) -> None:
        self._tasks.discard(task)
        if hasattr(self, "_session"):  # it was cancelled before its first step, so nothing of run() has run
            self._cancelled()
            del self._session, self._answer, self._error

    def _cancelled(self) -> None:
        if LoopState.of(self._loop).ending:
            self.refuse()
        elif self.driver.canceller is not None:  # else it was the socket that cancelled us
            self._fail(ConnectionAbortedError("the attempt to connect was cancelled"), Cause.CANCELLED)

    def _blame(self, error: Exception) -> Cause:
        """Why the opening failed, from the error and how far it had come."""
        if isinstance(error, HandshakeError):
            self._session.head = error.response
        if self._phase is Phase.PROXY:
            return Cause.PROXY_FAILED
        if isinstance(error, HandshakeError):
            if error.response is not None and error.response.status != 101:
                return Cause.HANDSHAKE_REJECTED
            return Cause.CONNECT_FAILED if error.response is None and self._deserted else Cause.HANDSHAKE_INVALID
        return Cause.TLS_FAILED if is_tls_error(error) or self._phase is Phase.TLS else Cause.CONNECT_FAILED

    def refuse(self) -> None:
        """The loop ends, and opens no connections any more."""
        self._fail(ConnectionAbortedError("the event loop is ending"), Cause.PROCESS_EXIT)

    def _fail(self, error: BaseException, cause: Cause) -> None:
        """There is no connection to the server, or none any more, or none that we like."""
        self.driver.canceller = None
        if self._phase is Phase.PROXY and self._proxy is not None:
            error.add_note(f"the proxy is {self._proxy.shown}")
        # Its traceback has the frames that it came through, which refer to us, and some of them to the error.
        link: BaseException | None = error
        while link is not None:
            link.__traceback__ = None
            link = link.__cause__
        fail_opening(self._session, error, cause, self._phase)

    def _enter(self, phase: Phase) -> None:
        """The opening has come so far; the socket knows, for time may be up at any moment."""
        self._phase = self._session.end_report().phase = phase

    async def _follow(self) -> None:
        """Connect, and connect elsewhere as long as we are redirected."""
        url = self._target.url
        while True:
            async with self._turn(url):
                response = await self._try(url)
            if response.status == 101:
                return
            redirect = redirect_target(url, response) if self._redirects else None
            if redirect is None:
                self._session.head = response
                await self._read_body()
                self._handshake.check(response)
                return
            self._redirects -= 1
            if not redirect.same_origin:
                self._headers = [(name, value) for name, value in self._headers if name.lower() not in _CREDENTIALS]
            url = redirect.url
            canceller, self.driver.canceller = self.driver.canceller, None
            self.driver.close()
            self._prepare(url)
            self.driver.canceller = canceller
            continue_elsewhere(self._session, url, self.driver)

    async def _try(self, url: URLRecord) -> Response:
        path = self._said_of(url).unix
        if path is not None:
            self._enter(Phase.TCP)
            await self._own(await dial_path(self._loop, path, self._note))
        else:
            # For each redirect anew: no_proxy may have one host and not the other.
            proxy = self._target.settings.proxy
            if proxy is True:
                self._enter(Phase.PROXY)
                proxy = environment_proxy(url, os.environ)
            self._proxy = proxy
            if proxy is not None:
                self._note(f"asked the proxy {proxy.shown}")
            if proxy is None:
                self._enter(Phase.DNS)
                await self._own(await self._dial(url.host, url.port))
            elif proxy.speaks_http:
                await self._tunnel(proxy, url)
            else:
                self._enter(Phase.PROXY)
                # Our own deadline comes first.
                timeout = 2 * self._target.limits.open_timeout
                await self._own(await connect_by_socks(self._loop, proxy, url, timeout, self._note))
        return await self._head()

    async def _own(self, connection: Socket) -> None:
        """Make a connection the host's.

        Raises:
            OSError: it has broken.
        """
        if poller.AVAILABLE:
            try:
                kernel.send_soon(connection)
                address = _peer(connection)
                joined = poller.join(self._loop)
            except BaseException:
                connection.close()
                raise
            EpollTransport(self._loop, connection, self.driver.protocol, address, joined)
            return
        try:
            await self._loop.create_connection(lambda: LoopTransport(self._loop, self.driver.protocol), sock=connection)
        except BaseException:  # the loop has closed it
            if not isinstance(self._loop, BaseEventLoop):
                connection.detach()  # uvloop closes the number, which may be another file's a moment later
            self._abandon()
            raise

    async def _tunnel(self, proxy: ProxyURL, url: URLRecord) -> None:
        """Connect to the URL's host and port through an HTTP proxy."""
        self._enter(Phase.PROXY)
        context = None
        if proxy.scheme == "https":
            context = self._target.settings.proxy_ssl or default_context()
        tunnel = Tunnel(self._loop, self.driver, proxy, url, context, self.time_is_up, self)
        self.driver.switch(tunnel)
        await self._own(await self._dial(proxy.host, proxy.port))
        await tunnel.wait()
        self.driver.switch(self)
        self.begin()

    async def _dial(self, host: str, port: int) -> Any:
        """Return a TCP connection to a server or to a proxy."""
        addresses = await resolve(self._loop, host, port)
        if self._phase is Phase.DNS:
            self._enter(Phase.TCP)
        return await dial(self._loop, addresses, self._note)

    def _note(self, failure: str) -> None:
        """Something has failed, and the attempt goes on."""
        if failure not in self._met:
            self._met.append(failure)

    def _abandon(self) -> None:
        """There will be no transport."""
        self.driver.abandon()
        self.connection_lost(None)  # uvloop does not tell, if it has made the connection in this very turn

    def _prepare(self, url: URLRecord) -> None:
        from ..version import __version__

        settings = self._said_of(url)
        self._ssl = (settings.ssl or default_context()) if url.secure else None
        self._name = settings.server_hostname or url.host
        self._handshake = UpgradeRequest(
            url,
            subprotocols=self._target.subprotocols,
            origin=self._target.settings.origin,
            headers=self._headers,
            user_agent=f"wasclean/{__version__}",
            deflates=self._target.settings.compression,
        )
        self._expect(self._loop, ResponseReader())
        self.driver = Driver(self._loop, self, self._tasks)

    def _said_of(self, url: URLRecord) -> ClientSettings:
        """The settings that are about the URL's server.

        What is said of the first one does not hold for another, nor is a certificate that the context has for another
        to see: "Credentials are HTTP cookies, TLS client certificates, and authentication entries" (Fetch section 2).
        """
        return self._target.settings if url.origin == self._target.url.origin else ClientSettings({})

    @asynccontextmanager
    async def _turn(self, url: URLRecord) -> AsyncIterator[None]:
        """Wait until no other WebSocket(url) is connecting to the same host and port.

        "If multiple connections to the same IP address are attempted simultaneously, the client MUST serialize them so
        that there is no more than one connection at a time running through the following steps." (RFC 6455 section 4.1)
        Those before have deadlines, so the wait ends. It does not count for open_timeout.
        """
        if not self._target.one_at_a_time:
            self._start_clock()
            yield
            return
        locks = _locks.of(self._loop)
        lock = locks.setdefault((url.host, url.port), Lock())
        self._enter(Phase.QUEUED)
        self._stop_clock()
        async with lock:
            self._start_clock()
            yield

    def _start_clock(self) -> None:
        if self._left is not None:
            open_by(self._session, self.driver.time() + self._left)
            self._left = None

    def _stop_clock(self) -> None:
        deadline = self._session.connection.next_deadline()
        if deadline is not None:
            self._left = deadline - self.driver.time()
            open_by(self._session, 0.0)

    # What the transport calls.

    def begin(self) -> None:
        """Begin TLS with the server, or ask it at once: there is a connection, or a tunnel."""
        if self._ssl is None:
            self.ready()
            return
        self._enter(Phase.TLS)
        self._secure(self._ssl, self._name)

    def ready(self) -> None:
        """TLS is established, if there is any: the server can be asked."""
        self._enter(Phase.HTTP)
        self.driver.write(self._handshake.serialize())

    def _head_received(self, response: Response) -> None:
        """A 101 establishes the connection at once, for frames may follow it."""
        if response.status == 101:
            agreement = self._handshake.check(response)
            self._session.head = response
            self.driver.canceller = None
            missing = agreement.deflate is None and any(
                deflate.required for deflate in self._target.settings.compression
            )
            self.driver.open(self._session, agreement, self._reader.rest, self._insist if missing else None)

    def _insist(self) -> None:
        """The server has not agreed to what is required; "the list of extensions that are needed" is the reason."""
        detail = "the server did not agree to permessage-deflate, which is required"
        calls.close(self._session, CloseCode.MANDATORY_EXTENSION, NAME, Reason(Cause.LOCAL_CLOSE, detail))

    def ended(self) -> None:
        """Give up: the server ends TCP."""
        self._deserted = True
        self._end(HandshakeError("the server closed the connection before it had answered the handshake"))

    def lost(self, error: BaseException | None) -> None:
        """Give up: the connection is gone, or TLS has failed."""
        if error is None:
            self.ended()
        else:
            self._end(error)

    def disown(self) -> None:
        """End the socket: this is a forked process, and the connection is its parent's."""
        calls.terminate(self._session, Reason(Cause.PROCESS_EXIT, FORKED))

    def time_is_up(self) -> None:
        """The deadline has come, or is near: an answer whose head is here still counts."""
        if self._answer.done():
            self._end(None)
        else:
            self._session.alarm("; ".join(self._met))


def _peer(connection: Any) -> Any:
    """The address of the peer; None if that has reset the connection."""
    try:
        return connection.getpeername()
    except OSError:
        return None
