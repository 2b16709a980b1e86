# cython: nonecheck=True, auto_pickle=False
"""WebSocket: the public face of a session, with the JavaScript API and the stream API.

Its methods check their arguments, and call calls.py for the rest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, Unpack

from .. import native
from ..checks import a_bool, close_code, page_close_code, seconds
from ..closing.events import CloseEvent, ErrorEvent
from ..closing.outcome import Cause, Reason, Stats
from ..closing.table import READY_STATE
from ..dom.event import Event, MessageEvent
from ..dom.event_target import EventHandler, EventTarget, Listeners
from ..model.errors import LocalProtocolError
from ..model.heads import Request, Response
from ..model.registry import HIGH_WATER, CloseCode, Opcode, ReadyState
from ..options import ClientOptions
from . import calls
from .awaitables import ROOM, refuse_copy
from .conversions import check_reason, to_bytes, to_ping, to_usv
from .listeners import SocketListeners
from .session import Session
from .target import Target, new_target

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .awaitables import Pending

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)

_open: Callable[[WebSocket, Target], None]


def open_with(open: Callable[[WebSocket, Target], None]) -> None:
    """Let WebSocket(url) call a function, which gives the new socket a session."""
    global _open
    _open = open


class WebSocket(EventTarget):
    """One end of a WebSocket connection, with the interface of the WHATWG standard.

    Made by WebSocket(url) it is a client and delivers events; connect() and serve() make those that are read as
    streams. Listeners run in a copy of the ``contextvars.Context`` in which the socket was made, a server's in that of
    their connection. Inside a running event loop it belongs to that loop; otherwise to a background loop, which keeps
    the process alive until its last socket has closed. All calls but recv() may be made on any thread: none waits for
    the loop's thread. So a signal handler may call the sockets of a background loop; for those of a loop that runs on
    its own thread use loop.add_signal_handler().

    Args:
        url: of the server; ``http`` and ``https`` count as ``ws`` and ``wss``.
        protocols: one subprotocol, or several, the one you like best first.
        daemon: True lets the script end although the socket is open, which is closed with 1001 then; as with the
            threads of ``threading``. Where there is an event loop of the program's it means nothing.
        options: see help(wasclean.ClientOptions) and help(wasclean.LimitOptions).

    Raises:
        SyntaxError: the URL or a subprotocol is not valid.
        TypeError, ValueError: an option is not valid.
    """

    __slots__ = ("__weakref__", "_is_page", "_session")

    _session: Session
    _is_page: bool  # True if close() takes only the codes that a page may send

    CONNECTING = ReadyState.CONNECTING
    OPEN = ReadyState.OPEN
    CLOSING = ReadyState.CLOSING
    CLOSED = ReadyState.CLOSED

    def __init__(
        self, url: str, protocols: str | Iterable[str] = (), *, daemon: bool = False, **options: Unpack[ClientOptions]
    ) -> None:
        a_bool("daemon", daemon)
        target = new_target("WebSocket()", url, protocols, options, one_at_a_time=True)._replace(daemon=daemon)
        EventTarget.__init__(self)
        self._is_page = True
        # "Run this step in parallel: Establish a WebSocket connection given urlRecord, protocols, and client."
        _open(self, target)

    def _new_listeners(self) -> Listeners:
        session = self._session
        listeners = SocketListeners(session)
        if session.inbox.target is not None:
            session.inbox.listeners = listeners
        return listeners

    # The standard's attributes and methods.

    @property
    def url(self) -> str:
        """The URL that was used; on a server what the client asked for: path and query."""
        request = self.request
        return self._session.url if request is None else request.target

    @property
    def readyState(self) -> ReadyState:
        """CONNECTING (0), OPEN (1), CLOSING (2) or CLOSED (3)."""
        session = self._session
        state = READY_STATE[session.connection.closing.state]
        closes = session.handover is not None and session.handover.closes
        return ReadyState.CLOSING if closes and state < ReadyState.CLOSING else state

    @property
    def bufferedAmount(self) -> int:
        """Bytes of messages that send() has queued and that have not left the process; it only grows after the end."""
        return calls.buffered_amount(self._session)

    @property
    def extensions(self) -> str:
        """The extensions in use, as the server's answer names them."""
        return self._session.extensions

    @property
    def protocol(self) -> str:
        """The subprotocol in use."""
        return self._session.protocol

    @property
    def binaryType(self) -> Literal["blob", "arraybuffer"]:
        """How binary messages arrive in events: ``"blob"`` as bytes, ``"arraybuffer"`` as a bytearray of your own."""
        return "arraybuffer" if self._session.inbox.makes_arrays else "blob"

    @binaryType.setter
    def binaryType(self, value: Literal["blob", "arraybuffer"]) -> None:
        if value in ("blob", "arraybuffer"):  # Web IDL ignores every other value of an enumeration
            self._session.inbox.makes_arrays = value == "arraybuffer"

    onopen = EventHandler[Event]("open", "Called when the connection is established.")
    onmessage = EventHandler[MessageEvent]("message", "Called with each MessageEvent.")
    onerror = EventHandler[ErrorEvent](
        "error", "Called with an ErrorEvent if the connection is failed, before onclose."
    )
    onclose = EventHandler[CloseEvent]("close", "Called with the CloseEvent, once.")

    def send(self, data: str | Buffer, compress: bool | None = None) -> Pending[None]:
        """Send a message.

        After the closing handshake has started this does nothing but count in bufferedAmount, as in a browser.

        Args:
            data: a str is sent as text, its lone surrogates replaced; anything bytes-like as binary.
            compress: whether to compress it, if the connection can; by default from the option's threshold on. False
                for a secret that travels with what others choose: its length would tell something of it.

        Returns:
            What may be awaited, run as a task, or ignored: it waits while more than 64 KiB are on their way, and raises
            ConnectionClosed if the message will not leave.

        Raises:
            InvalidStateError: the socket is CONNECTING.
            TypeError: not a str, and not bytes-like.
        """
        session = self._session
        if session.is_elsewhere():
            return calls.send_elsewhere(session, self.send, data, compress)  # type: ignore[return-value]
        opcode = TEXT
        message: str | bytes
        if isinstance(data, str):
            message = data
        else:
            opcode = BINARY
            message = data if isinstance(data, bytes) else to_bytes(data)
        connection = session.connection
        if not connection.is_open:
            return calls.send_late(session, message)  # type: ignore[return-value]
        if not session.settles:
            session.schedule()
        try:
            amount = connection.send(opcode, message, compress)
        except UnicodeEncodeError:
            assert isinstance(message, str)
            amount = connection.send(opcode, to_usv(message), compress)
        except LocalProtocolError:  # a __del__ has run in between, and has closed it
            return calls.send_late(session, message)  # type: ignore[return-value]
        if amount <= HIGH_WATER:
            return ROOM  # type: ignore[no-any-return]
        return calls.wait_for_room(session, message)  # type: ignore[return-value]

    def close(self, code: int | None = None, reason: str = "", *, timeout: float | None = None) -> Pending[CloseEvent]:
        """Start the closing handshake behind what was sent; nothing happens if it has been started.

        Args:
            code: 1000 or 3000 to 4999; on a server, and on a socket made by connect(), each that may be on the wire.
            reason: at most 123 bytes in UTF-8, its lone surrogates replaced. Without a code it goes with 1000.
            timeout: seconds that the whole closing may take; the option close_timeout by default.

        Returns:
            What may be awaited, run as a task, or ignored: it waits for the end and returns the CloseEvent.

        Raises:
            InvalidAccessError: the code must not be sent.
            SyntaxError: the reason is too long.
            TypeError: the code is not an int, the reason not a str, or the timeout not a number.
            ValueError: the timeout is negative, or beyond all reason.
        """
        if code is not None:
            (page_close_code if self._is_page else close_code)(code)
        reason = check_reason(reason)
        if code is None and reason:
            code = CloseCode.NORMAL_CLOSURE
        if timeout is not None:
            seconds("timeout", timeout)
        return calls.close_anywhere(self._session, code, reason, Reason(Cause.LOCAL_CLOSE), timeout)  # type: ignore[return-value]

    # From Node's ws.

    def terminate(self, *, reset: bool = False) -> None:
        """End the connection now, without a handshake; the close event, with 1006, fires in the loop's next turn.

        Args:
            reset: whether the peer is to see a TCP reset.
        """
        calls.terminate_anywhere(self._session, reset)

    def ping(self, data: str | bytes = b"") -> Pending[float]:
        """Send a ping; it overtakes messages that wait.

        Args:
            data: at most 125 bytes; four random ones by default. Text is sent as UTF-8.

        Returns:
            What may be awaited, run as a task, or ignored: it waits for the pong and returns the seconds of the round
            trip. It raises ConnectionClosed if none comes.

        Raises:
            InvalidStateError: the socket is CONNECTING, or a ping with the same data is under way.
            TypeError: neither a str nor bytes-like.
            ValueError: too long.
        """
        return calls.ping(self._session, to_ping(data), behind=False)  # type: ignore[return-value]

    # To be sure of what has arrived, and of who is there.

    async def flush(self) -> None:
        """Wait until all that was sent has been handed to the kernel.

        Raises:
            ConnectionClosed: the connection has ended before; its event's ``unsent`` has what did not leave.
        """
        await calls.anywhere(self._session, calls.until_flushed)

    async def drain(self, timeout: float | None = None) -> float:
        """Wait until the peer has all that was sent: a ping goes behind it, and its pong proves it.

        The peer's library has read the messages then; what its application has done with them, only that can tell.

        Args:
            timeout: seconds to wait; for ever by default, which the keepalive bounds.

        Returns:
            The seconds that it took.

        Raises:
            TimeoutError: the pong has not come by then; the connection stays as it is. The message tells how much had
                not left this process.
            ConnectionClosed: the connection has ended before, or is ending.
            InvalidStateError: the socket is CONNECTING.
            TypeError, ValueError: the timeout is not a number of seconds.
        """
        if timeout is not None:
            seconds("timeout", timeout)
        return await calls.drain(self._session, timeout)

    async def check_alive(self, timeout: float) -> float:
        """Find out now whether the peer is there: for when the network has changed, or the machine has been asleep.

        Args:
            timeout: seconds to wait for an answer, after which the connection ends with ``ping_timeout``.

        Returns:
            The seconds of the round trip.

        Raises:
            ConnectionClosed: there was no answer, or the connection had ended before.
            InvalidStateError: the socket is CONNECTING.
            TypeError, ValueError: the timeout is not a number of seconds.
        """
        seconds("timeout", timeout)
        return await calls.check_alive(self._session, timeout)

    # The stream API.

    async def wait_opened(self) -> Self:
        """Wait until the socket is open, and return it.

        Raises:
            HandshakeError: the server did not accept the connection, or not by the rules.
            OSError: there is no connection to the server, or TLS failed.
            TimeoutError: the opening took longer than open_timeout.
            ConnectionClosed: the socket was closed meanwhile.
        """
        await calls.anywhere(self._session, calls.until_opened)
        return self

    async def wait_closed(self) -> CloseEvent:
        """Wait until the connection has ended, and return its CloseEvent."""
        event: CloseEvent = await calls.anywhere(self._session, calls.until_closed)
        return event

    def recv(self) -> Coroutine[Any, Any, str | bytes]:
        """Receive a message, by awaiting what this returns: a str or bytes. Cancelling that loses none.

        Raises:
            InvalidStateError: messages go to listeners; or, awaited, another task is waiting already.
            ConnectionClosed: awaited, when the connection has ended and every message has been received.
        """
        return calls.stream(self._session).recv(False)

    def __aiter__(self) -> Self:
        calls.stream(self._session)
        return self

    def __anext__(self) -> Awaitable[str | bytes]:
        return self._session.inbox.recv(True)

    async def __aenter__(self) -> Self:
        return await self.wait_opened()

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        code = CloseCode.NORMAL_CLOSURE if self._is_page else CloseCode.GOING_AWAY
        await calls.leave(self._session, exc_type, code)

    # What else can be known.

    @property
    def id(self) -> int:
        """The number of this connection in this process, as in the log."""
        return self._session.id

    @property
    def stats(self) -> Stats:
        """Bytes, messages, ages and the latest round trip, until now or until the end."""
        session = self._session
        event = None if session.report is None else session.report.event()
        return session.connection.stats(session.driver.time()) if event is None else event.stats

    @property
    def request(self) -> Request | None:
        """On a server, the client's request."""
        head = self._session.head
        return head if isinstance(head, Request) else None

    @property
    def response(self) -> Response | None:
        """On a client, the server's answer, if one came."""
        head = self._session.head
        return head if isinstance(head, Response) else None

    @property
    def remote_address(self) -> Any:
        """The peer's address, as socket.getpeername() gives it; None before there is a connection."""
        return self._session.driver.address("peername")

    @property
    def local_address(self) -> Any:
        """Our address, as socket.getsockname() gives it; None once the connection is gone."""
        return self._session.driver.address("sockname")

    def __repr__(self) -> str:
        session = self._session
        where = session.inbox.origin or session.url
        return f"<WebSocket {session.connection.role.value} {where} {self.readyState.name}>"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "it is one end of one connection; pass on the object itself, or open another connection")


native.sign(WebSocket, "(url, protocols=(), *, daemon=False, **options)")


def new_websocket() -> WebSocket:
    """Return a WebSocket that has no session yet, for attach(); it may send any close code."""
    socket = WebSocket.__new__(WebSocket)
    socket._listeners = None
    socket._is_page = False
    return socket


def attach(socket: WebSocket, session: Session, context: Context) -> None:
    """Make a WebSocket the public face of a session, whose listeners run in the context."""
    socket._session = session
    session.context = context
    session.inbox.target = socket


def session_of(socket: WebSocket) -> Session:
    """Return the session of a WebSocket."""
    return socket._session
