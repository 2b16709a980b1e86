# cython: nonecheck=True, auto_pickle=False
"""WebSocket: the JavaScript API and the stream API. How it works is told in endpoint.py."""

from __future__ import annotations

from asyncio import CancelledError, wait_for
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable
from contextvars import Context, copy_context
from os import urandom
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, NoReturn, Self, Unpack

from .. import native
from ..arguments import check_client
from ..checks import a_bool, close_code, page_close_code, seconds
from ..closing.events import CloseEvent, ErrorEvent
from ..closing.outcome import Cause, Stats
from ..closing.table import READY_STATE
from ..dom.events import Event, MessageEvent
from ..dom.exceptions import InvalidStateError, SyntaxError
from ..model.errors import LocalProtocolError
from ..model.heads import Request, Response
from ..model.registry import GRACE, HIGH_WATER, MAX_CONTROL_PAYLOAD, MAX_REASON, CloseCode, Opcode, ReadyState
from ..opening.urls import URLRecord, check_subprotocols
from ..options import ClientOptions, ClientSettings, Limits
from .endpoint import Endpoint
from .stepping import Waiter
from .waiting import ROOM, Promise, refuse_copy

if TYPE_CHECKING:
    from typing_extensions import Buffer

    from .waiting import Pending

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)


class Target(NamedTuple):
    """What a client socket is to connect to, and how."""

    url: URLRecord
    subprotocols: tuple[str, ...]
    settings: ClientSettings
    limits: Limits
    one_at_a_time: bool  # RFC 6455 section 4.1: no two attempts to the same host and port at once
    daemon: bool = False  # whether a script may end while the socket is open

    def __repr__(self) -> str:
        return f"<Target {self.url.shown!r}>"  # the settings can hold secrets


def new_target(
    what: str, url: str, subprotocols: str | Iterable[str], options: ClientOptions, *, one_at_a_time: bool
) -> Target:
    """What the arguments of ``what`` mean.

    Raises:
        SyntaxError: the URL or a subprotocol is not valid.
        TypeError, ValueError: an option is not valid.
    """
    record, settings = check_client(what, url, options)
    return Target(record, check_subprotocols(subprotocols), settings, Limits(options), one_at_a_time)


class Opener:
    """Where WebSocket(url) finds somebody to open it: the hosts stand further down in the tree, and put it here."""

    open: ClassVar[Callable[[WebSocket, Target], None]]


class WebSocket(Endpoint):
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

    __slots__ = ()

    CONNECTING = ReadyState.CONNECTING
    OPEN = ReadyState.OPEN
    CLOSING = ReadyState.CLOSING
    CLOSED = ReadyState.CLOSED

    def __init__(
        self, url: str, protocols: str | Iterable[str] = (), *, daemon: bool = False, **options: Unpack[ClientOptions]
    ) -> None:
        a_bool("daemon", daemon)
        target = new_target("WebSocket()", url, protocols, options, one_at_a_time=True)._replace(daemon=daemon)
        # "Set this's url to urlRecord."
        self._prepare(target.limits, target.url.href, target.url.origin, copy_context())
        self._is_page = True
        # "Run this step in parallel: Establish a WebSocket connection given urlRecord, protocols, and client."
        Opener.open(self, target)

    # The standard's attributes and methods.

    @property
    def url(self) -> str:
        """The URL that was used; on a server what the client asked for: path and query."""
        return self._url if self._request is None else self._request.target

    @property
    def readyState(self) -> ReadyState:
        """CONNECTING (0), OPEN (1), CLOSING (2) or CLOSED (3)."""
        state = READY_STATE[self._connection.closing.state]
        return ReadyState.CLOSING if self._leaving and state < ReadyState.CLOSING else state

    @property
    def bufferedAmount(self) -> int:
        """Bytes of messages that send() has queued and that have not left the process; it only grows after the end."""
        return self._connection.buffered_amount() + self._late + self._amount_ahead()

    @property
    def extensions(self) -> str:
        """The extensions in use, as the server's answer names them."""
        return self._extensions

    @property
    def protocol(self) -> str:
        """The subprotocol in use."""
        return self._protocol

    @property
    def binaryType(self) -> Literal["blob", "arraybuffer"]:
        """How binary messages arrive in events: ``"blob"`` as bytes, ``"arraybuffer"`` as a bytearray of your own."""
        return self._binary_type

    @binaryType.setter
    def binaryType(self, value: Literal["blob", "arraybuffer"]) -> None:
        if value in ("blob", "arraybuffer"):  # Web IDL ignores every other value of an enumeration
            self._binary_type = value

    @property
    def onopen(self) -> Callable[[Event], Any] | None:
        """Called when the connection is established."""
        return self._get_handler("open")

    @onopen.setter
    def onopen(self, callback: Callable[[Event], Any] | None) -> None:
        self._set_handler("open", callback)

    @property
    def onmessage(self) -> Callable[[MessageEvent], Any] | None:
        """Called with each MessageEvent."""
        return self._get_handler("message")

    @onmessage.setter
    def onmessage(self, callback: Callable[[MessageEvent], Any] | None) -> None:
        self._set_handler("message", callback)

    @property
    def onerror(self) -> Callable[[ErrorEvent], Any] | None:
        """Called with an ErrorEvent when the connection is failed, before onclose."""
        return self._get_handler("error")

    @onerror.setter
    def onerror(self, callback: Callable[[ErrorEvent], Any] | None) -> None:
        self._set_handler("error", callback)

    @property
    def onclose(self) -> Callable[[CloseEvent], Any] | None:
        """Called with the CloseEvent, once."""
        return self._get_handler("close")

    @onclose.setter
    def onclose(self, callback: Callable[[CloseEvent], Any] | None) -> None:
        self._set_handler("close", callback)

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
        if self._is_elsewhere():
            return self._send_from_elsewhere(data, compress)  # type: ignore[return-value]
        opcode = TEXT
        message: str | bytes
        if isinstance(data, str):
            message = data
        else:
            opcode = BINARY
            message = data if isinstance(data, bytes) else _to_bytes(data)
        connection = self._connection
        if not connection.is_open:
            return self._send_late(message)  # type: ignore[return-value]
        if not self._corked and not self._scheduled:
            self._schedule()
        try:
            amount = connection.send(opcode, message, compress)
        except UnicodeEncodeError:
            assert isinstance(message, str)
            amount = connection.send(opcode, _to_usv(message), compress)
        except LocalProtocolError:  # a __del__ has come between, and has closed it
            return self._send_late(message)  # type: ignore[return-value]
        if amount <= HIGH_WATER:
            return ROOM  # type: ignore[no-any-return]
        return self._wait_for_room(message)  # type: ignore[return-value]

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
        return self._close(code, reason, Cause.LOCAL_CLOSE, timeout)  # type: ignore[return-value]

    # From Node's ws.

    def terminate(self, *, reset: bool = False) -> None:
        """End the connection now, without a handshake; the close event, with 1006, fires in the loop's next turn.

        Args:
            reset: whether the peer is to see a TCP reset.
        """
        if self._is_elsewhere():
            self._leaving = True
            self._post(lambda: self._terminate(Cause.TERMINATED, reset=reset))
        else:
            self._terminate(Cause.TERMINATED, reset=reset)

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
        payload = _to_usv(data).encode() if isinstance(data, str) else _to_bytes(data)
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise ValueError(f"a ping holds at most {MAX_CONTROL_PAYLOAD} bytes, not {len(payload)}")
        return self._ping(payload, behind=False)  # type: ignore[return-value]

    def _ping(self, payload: bytes, *, behind: bool) -> Promise:
        """Send a ping, before the messages that wait or ``behind`` them."""
        self._require_opened()
        connection = self._connection
        if payload and connection.is_open and self._pings is not None and payload in self._pings:
            raise InvalidStateError("a ping with the same data waits for its pong")
        if self._is_elsewhere():
            return self._post(lambda: self._ping(payload, behind=behind))
        promise = Promise(self._host.loop())
        if not connection.is_open:
            promise.fail(self._closed_error)
            return promise
        if self._pings is None:
            self._pings = {}
        while not payload:
            payload = urandom(4)
            if payload in self._pings:
                payload = b""
        self._schedule()
        self._pings[payload] = (self._host.time(), promise)
        connection.send_ping(payload, behind)
        return promise

    # To be sure of what has arrived, and of who is there.

    async def flush(self) -> None:
        """Wait until all that was sent has been handed to the kernel.

        Raises:
            ConnectionClosed: the connection has ended before; its event's ``unsent`` has what did not leave.
        """
        await (self._post(self._flush) if self._is_elsewhere() else self._flush())

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
        try:
            took: float = await wait_for(_wait(self._ping(b"", behind=True)), timeout)
        except TimeoutError:
            text = f"the peer did not confirm within {timeout:g} s that it has all; {self.bufferedAmount:,} bytes"
            raise TimeoutError(f"{text} of messages had not left this process") from None
        return took

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
        before = self._connection.receiver.bytes_received
        try:
            took: float = await wait_for(_wait(self._ping(b"", behind=False)), timeout)
        except TimeoutError:
            self._give_up(timeout, before)
            await self.wait_closed()
            raise self._closed_error() from None
        return took

    def _give_up(self, timeout: float, before: int) -> None:
        if self._is_elsewhere():
            self._post(lambda: self._give_up(timeout, before))
        else:
            arrived = self._connection.receiver.bytes_received - before
            what = f"no answer, but {arrived:,} other bytes," if arrived else "no answer"
            self._terminate(Cause.PING_TIMEOUT, f"check_alive() got {what} for {timeout:g} s")

    # The stream API.

    async def wait_opened(self) -> Self:
        """Wait until the socket is open, and return it.

        Raises:
            HandshakeError: the server did not accept the connection, or not by the rules.
            OSError: there is no connection to the server, or TLS failed.
            TimeoutError: the opening took longer than open_timeout.
            ConnectionClosed: the socket was closed meanwhile.
        """
        await (self._post(self._opened_promise) if self._is_elsewhere() else self._opened_promise())
        return self

    async def wait_closed(self) -> CloseEvent:
        """Wait until the connection has ended, and return its CloseEvent."""
        event: CloseEvent = await (self._post(self._closed_promise) if self._is_elsewhere() else self._closed_promise())
        return event

    def recv(self) -> Coroutine[Any, Any, str | bytes]:
        """Receive a message, by awaiting what this returns: a str or bytes. Cancelling that loses none.

        Raises:
            InvalidStateError: messages go to listeners; or, awaited, another task is waiting already.
            ConnectionClosed: awaited, when the connection has ended and every message has been received.
        """
        self._require_stream()
        return _new_recv(self, False)

    def __aiter__(self) -> Self:
        self._require_stream()
        return self

    def __anext__(self) -> Awaitable[str | bytes]:
        return _new_recv(self, True)

    async def __aenter__(self) -> Self:
        return await self.wait_opened()

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        self._reader_left()
        if exc_type is not None and issubclass(exc_type, (CancelledError, KeyboardInterrupt, SystemExit)):
            cause = Cause.CANCELLED if issubclass(exc_type, CancelledError) else Cause.PROCESS_EXIT
            timeout = min(GRACE, self._limits.close_timeout)
            await self._close(CloseCode.GOING_AWAY, "", cause, timeout)
        else:
            code = CloseCode.NORMAL_CLOSURE if exc_type is None or self._is_page else CloseCode.GOING_AWAY
            await self._close(code, "", Cause.LOCAL_CLOSE, None)

    # What else can be known.

    @property
    def id(self) -> int:
        """The number of this connection in this process, as in the log."""
        return self._id

    @property
    def stats(self) -> Stats:
        """Bytes, messages, ages and the latest round trip, until now or until the end."""
        event = self._close_event()
        return self._connection.stats(self._host.time()) if event is None else event.stats

    @property
    def request(self) -> Request | None:
        """On a server, the client's request."""
        return self._request

    @property
    def response(self) -> Response | None:
        """On a client, the server's answer, if one came."""
        return self._response

    @property
    def remote_address(self) -> Any:
        """The peer's address, as socket.getpeername() gives it; None before there is a connection."""
        return self._host.address("peername")

    @property
    def local_address(self) -> Any:
        """Our address, as socket.getsockname() gives it; None once the connection is gone."""
        return self._host.address("sockname")

    def __repr__(self) -> str:
        return f"<WebSocket {self._connection.role.value} {self._origin or self._url} {self.readyState.name}>"

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "it is one end of one connection; pass on the object itself, or open another connection")

    def _require_stream(self) -> None:
        if self._listens("message"):
            raise InvalidStateError("the messages of this socket go to its listeners, so recv() would wait for ever")
        self._streaming = True

    def _send_from_elsewhere(self, data: str | Buffer, compress: bool | None) -> Promise:
        """send(), on another thread than the host's."""
        _, message = to_message(data)
        self._require_opened()
        size = len(message.encode() if isinstance(message, str) else message)
        return self._post(lambda: self.send(message, compress), size)

    def _close(self, code: int | None, reason: str, cause: Cause, timeout: float | None) -> Promise:
        """Start the closing handshake, on whatever thread this is; returns what close() does."""
        if self._is_elsewhere():
            self._leaving = True
            return self._post(lambda: self._start_closing(code, reason, cause, timeout=timeout))
        return self._start_closing(code, reason, cause, timeout=timeout)

    def _require_opened(self) -> None:
        if self.readyState == ReadyState.CONNECTING:
            raise InvalidStateError("this socket is still connecting: wait for onopen, or await wait_opened()")

    def _send_late(self, data: str | bytes) -> Promise:
        """What send() does when the connection is not open."""
        self._require_opened()
        self._late += len(_to_usv(data).encode() if isinstance(data, str) else data)
        promise = Promise(self._host.loop())
        promise.fail(self._closed_error)
        return promise


native.sign(WebSocket, "(url, protocols=(), *, daemon=False, **options)")


def new_client(target: Target) -> WebSocket:
    """The socket of connect(): a stream, without a host yet."""
    socket = WebSocket.__new__(WebSocket)
    socket._prepare(target.limits, target.url.href, target.url.origin, copy_context())
    socket._streaming = True
    return socket


def new_server(request: Request, limits: Limits, on_end: Callable[[WebSocket], object], context: Context) -> WebSocket:
    """A server's end of a connection, without a host yet; ``on_end`` is called when it has ended."""
    socket = WebSocket.__new__(WebSocket)
    socket._prepare(limits, "", "", context)
    socket._request = request
    socket._on_end = on_end
    return socket


class Recv:
    """What recv() returns: awaiting it gives the next message."""

    __slots__ = ("_iterates", "_socket")

    def __init__(self, socket: WebSocket, iterates: bool) -> None:
        self._socket = socket
        self._iterates = iterates  # whether an orderly end is the end of a loop

    def __await__(self) -> Generator[Any, None, str | bytes]:
        return self  # all of a generator that an await needs

    def __iter__(self) -> Recv:
        return self

    def __next__(self) -> Waiter:
        socket = self._socket
        if socket._queue:
            native.stop_iteration(socket._dequeue())
            raise StopIteration
        if not socket._ended:
            return socket._park()
        if self._iterates and socket._close_event().ok:  # type: ignore[union-attr]
            raise StopAsyncIteration
        raise socket._closed_error()

    # With these it counts as a coroutine: create_task(socket.recv()) works, and anext(socket, None) can be cancelled.

    def send(self, value: None) -> Waiter:
        """Go on."""
        return self.__next__()

    def throw(self, kind: Any, error: Any = None, traceback: Any = None) -> Waiter:
        """Go on with an exception, which ends the wait and nothing else."""
        try:
            raise kind if error is None else error
        finally:
            kind = error = None  # the exception has this frame

    def close(self) -> None:
        """Give up waiting."""

    def __reduce__(self) -> NoReturn:
        refuse_copy(self, "call recv() for each message")


def _new_recv(socket: WebSocket, iterates: bool) -> Recv:
    recv = Recv.__new__(Recv)
    recv._socket = socket
    recv._iterates = iterates
    return recv


def to_message(data: str | Buffer) -> tuple[int, str | bytes]:
    """The opcode of what is to be sent, and that as a str without lone surrogates, or as bytes.

    Raises:
        TypeError: not a str, and not bytes-like.
    """
    if isinstance(data, str):
        return TEXT, _to_usv(data)
    return BINARY, data if isinstance(data, bytes) else _to_bytes(data)


async def _wait(promise: Awaitable[Any]) -> Any:
    """A coroutine of an awaitable, which is what wait_for() takes."""
    return await promise


def _to_bytes(data: Any) -> bytes:
    """A copy of anything bytes-like, of any format and stride."""
    try:
        return memoryview(data).tobytes()
    except TypeError:
        raise TypeError(f"a message is a str or bytes-like, not {type(data).__name__}") from None


def _to_usv(text: str) -> str:
    """Web IDL's USVString: surrogates that are no pairs are replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def check_reason(reason: object) -> str:
    """The reason as a USVString.

    Raises:
        SyntaxError: "If reasonBytes is longer than 123 bytes, then throw a SyntaxError".
        TypeError: not a str.
    """
    if not isinstance(reason, str):
        raise TypeError(f"the reason must be a str, not {type(reason).__name__}")
    reason = _to_usv(reason)
    size = len(reason.encode())
    if size > MAX_REASON:
        raise SyntaxError(f"the reason must have at most {MAX_REASON} bytes in UTF-8, not {size}")
    return reason
