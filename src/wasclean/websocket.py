"""WebSocket: the JavaScript API and the stream API over one Connection.

Theory of operation. A call of the user changes the connection at once, and queues a task that settles the outcome with
the host; so no event fires from inside a call, and all that is sent in one turn of the loop leaves in one write. The host
calls ``_data_received`` and its siblings from callbacks of the loop: each is a task in the standard's sense, fires events
as it goes, and settles with the host at its end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from os import urandom
from threading import get_ident
from typing import Any, ClassVar, NamedTuple, Self, Unpack

from .host import Host
from .options import ClientOptions, Limits, check_names
from .protocol.closing import READY_STATE, Duty, State
from .protocol.connection import Connection, ReadBuffer
from .protocol.errors import ConnectionClosed, InvalidAccessError, InvalidStateError, SyntaxError
from .protocol.events import Callback, CloseEvent, ErrorEvent, Event, EventTarget, Listener, new_message_event
from .protocol.http import Request, Response
from .protocol.registry import (
    HIGH_WATER,
    MAX_CONTROL_PAYLOAD,
    MAX_REASON,
    CloseCode,
    Opcode,
    ReadyState,
    Role,
    may_be_sent,
)
from .protocol.urls import URLRecord, check_subprotocols, parse_url
from .waiting import ROOM, Outcome, Room, Waiter

TEXT = int(Opcode.TEXT)
BINARY = int(Opcode.BINARY)

#: Bytes in buffers at which a send() that waits for room goes on.
LOW_WATER = HIGH_WATER // 4


class Target(NamedTuple):
    """What a client socket is to connect to, and how."""

    url: URLRecord
    subprotocols: tuple[str, ...]
    options: ClientOptions
    limits: Limits
    one_at_a_time: bool  # RFC 6455 section 4.1: no two attempts to the same host and port at once


class Opener:
    """Where WebSocket(url) finds somebody to open it: the hosts stand further down in the tree, and put it here."""

    open: ClassVar[Callable[[WebSocket, Target], None]]


class WebSocket(EventTarget):
    """One end of a WebSocket connection, with the interface of the WHATWG standard.

    Made by WebSocket(url) it is a client and delivers events; connect() and serve() make those that are read as streams.
    Inside a running event loop it belongs to that loop; otherwise to a background loop, which keeps the process alive
    until its last socket has closed.

    Args:
        url: of the server; ``http`` and ``https`` count as ``ws`` and ``wss``.
        protocols: one subprotocol, or several, the one you like best first.
        options: see ClientOptions.

    Raises:
        SyntaxError: the URL or a subprotocol is not valid.
        TypeError, ValueError: an option is not valid.
    """

    __slots__ = (
        "__weakref__",
        "_binary_type",
        "_close_outcome",
        "_connection",
        "_corked",
        "_error",
        "_event",
        "_host",
        "_is_page",
        "_late",
        "_limits",
        "_now",
        "_on_end",
        "_open_outcome",
        "_opened",
        "_origin",
        "_pings",
        "_protocol",
        "_queue",
        "_queue_size",
        "_reading_paused",
        "_request",
        "_reset",
        "_response",
        "_room",
        "_scheduled",
        "_streaming",
        "_thread",
        "_tls_failed",
        "_url",
        "_waiter",
    )

    CONNECTING = ReadyState.CONNECTING
    OPEN = ReadyState.OPEN
    CLOSING = ReadyState.CLOSING
    CLOSED = ReadyState.CLOSED

    def __init__(self, url: str, protocols: str | Iterable[str] = (), **options: Unpack[ClientOptions]) -> None:
        check_names("WebSocket()", options, ClientOptions)
        # "Let urlRecord be the result of applying the URL parser to url with baseURL", to "set this's url to urlRecord".
        record = parse_url(url, options.get("base_url"))
        subprotocols = check_subprotocols(protocols)
        limits = Limits(Role.CLIENT, options)
        target = Target(record, subprotocols, options, limits, one_at_a_time=True)
        self._prepare(limits, record.href, record.origin)
        self._is_page = True
        # "Run this step in parallel: Establish a WebSocket connection given urlRecord, protocols, and client."
        Opener.open(self, target)

    def _prepare(self, limits: Limits, url: str, origin: str) -> None:
        EventTarget.__init__(self)
        self._limits = limits
        self._url = url
        self._origin = origin
        self._protocol = ""
        self._binary_type = "blob"
        self._is_page = False  # whether close() takes only the codes that a page may send
        self._streaming = False  # whether messages are queued for recv()
        self._opened = False
        self._corked = False  # whether a task of the host will settle at its end
        self._scheduled = False  # whether a task that settles has been queued
        self._reading_paused = False
        self._reset = False
        self._tls_failed = False
        self._queue: deque[str | bytes] | None = None
        self._queue_size = 0
        self._waiter: Waiter | None = None
        self._room: Outcome | None = None
        self._open_outcome: Outcome | None = None
        self._close_outcome: Outcome | None = None
        self._pings: dict[bytes, tuple[float, Outcome]] | None = None
        self._late = 0  # bytes sent after the closing handshake had started
        self._now = 0.0
        self._event: CloseEvent | None = None
        self._error: BaseException | None = None
        self._request: Request | None = None
        self._response: Response | None = None
        self._on_end: Callable[[WebSocket], object] | None = None

    def _attach(self, host: Host, role: Role, buffer: ReadBuffer, now: float) -> None:
        """Give the socket its host, on the thread of which this is called."""
        limits = self._limits
        self._host = host
        self._thread = get_ident()
        self._connection = Connection(
            role,
            self,
            buffer,
            now,
            max_message_size=limits.max_message_size,
            max_fragments=limits.max_fragments,
            open_timeout=limits.open_timeout,
            close_timeout=limits.close_timeout,
        )

    def _call_at_end(self, function: Callable[[WebSocket], object]) -> None:
        """Call the function with the socket when the connection has ended."""
        self._on_end = function

    def _move(self, host: Host, url: URLRecord) -> None:
        """Go on with another host: the server has redirected us to the URL."""
        self._host.set_alarm(None)
        self._host = host
        self._url = url.href
        self._origin = url.origin
        host.set_alarm(self._connection.next_deadline())

    # The standard's attributes and methods.

    @property
    def url(self) -> str:
        """The URL that was used; on a server what the client asked for: path and query."""
        return self._url if self._request is None else self._request.target

    @property
    def readyState(self) -> ReadyState:
        """CONNECTING (0), OPEN (1), CLOSING (2) or CLOSED (3)."""
        return READY_STATE[self._connection.state]

    @property
    def bufferedAmount(self) -> int:
        """Bytes of messages that send() has queued and that have not left the process; it only grows after the end."""
        return self._connection.buffered_amount() + self._late

    @property
    def extensions(self) -> str:
        """The extensions in use."""
        return ""

    @property
    def protocol(self) -> str:
        """The subprotocol in use."""
        return self._protocol

    @property
    def binaryType(self) -> str:
        """How binary messages arrive in events: ``"blob"`` as bytes, ``"arraybuffer"`` as a bytearray of your own."""
        return self._binary_type

    @binaryType.setter
    def binaryType(self, value: str) -> None:
        if value in ("blob", "arraybuffer"):  # Web IDL ignores every other value of an enumeration
            self._binary_type = value

    @property
    def onopen(self) -> Callback | None:
        """Called when the connection is established."""
        return self._get_handler("open")

    @onopen.setter
    def onopen(self, callback: Callback | None) -> None:
        self._set_handler("open", callback)

    @property
    def onmessage(self) -> Callback | None:
        """Called with each MessageEvent."""
        return self._get_handler("message")

    @onmessage.setter
    def onmessage(self, callback: Callback | None) -> None:
        self._set_handler("message", callback)

    @property
    def onerror(self) -> Callback | None:
        """Called with an ErrorEvent when the connection is failed, before onclose."""
        return self._get_handler("error")

    @onerror.setter
    def onerror(self, callback: Callback | None) -> None:
        self._set_handler("error", callback)

    @property
    def onclose(self) -> Callback | None:
        """Called with the CloseEvent, once."""
        return self._get_handler("close")

    @onclose.setter
    def onclose(self, callback: Callback | None) -> None:
        self._set_handler("close", callback)

    def send(self, data: Any) -> Room | Outcome:
        """Send a message.

        After the closing handshake has started this does nothing but count in bufferedAmount, as in a browser.

        Args:
            data: a str is sent as text, its lone surrogates replaced; anything bytes-like as binary.

        Returns:
            Something to await, or not: it waits while more than 64 KiB are on their way, and raises ConnectionClosed
            if the message will not leave.

        Raises:
            InvalidStateError: the socket is CONNECTING.
            TypeError: not a str, and not bytes-like.
        """
        if get_ident() != self._thread and self._event is None:
            return self._host.run_here(self.send, data)  # type: ignore[no-any-return]
        opcode = TEXT
        if not isinstance(data, str):
            opcode = BINARY
            if not isinstance(data, bytes):
                data = _to_bytes(data)
        connection = self._connection
        if not connection.is_open:
            return self._send_late(data)
        try:
            connection.send(opcode, data)
        except UnicodeEncodeError:
            connection.send(opcode, _to_usv(data))
        if not self._corked and not self._scheduled:
            self._schedule()
        if connection.buffered_amount() <= HIGH_WATER:
            return ROOM
        return self._wait_for_room(len(data))

    def close(self, code: int | None = None, reason: str = "", *, timeout: float | None = None) -> Outcome:
        """Start the closing handshake behind what was sent; nothing happens if it has been started.

        Args:
            code: 1000 or 3000 to 4999; on a server, and on a socket made by connect(), each that may be on the wire.
            reason: at most 123 bytes in UTF-8, its lone surrogates replaced. Without a code it goes with 1000.
            timeout: seconds that the whole closing may take; the option close_timeout by default.

        Returns:
            Something to await, or not, the same for every call: it waits for the end and returns the CloseEvent.

        Raises:
            InvalidAccessError: the code must not be sent.
            SyntaxError: the reason is too long.
            TypeError: the code is not an int, or the reason not a str.
        """
        if get_ident() != self._thread and self._event is None:
            return self._host.run_here(lambda: self.close(code, reason, timeout=timeout))  # type: ignore[no-any-return]
        if code is not None:
            self._check_code(code)
        reason = _check_reason(reason)
        if code is None and reason:
            code = CloseCode.NORMAL_CLOSURE
        if timeout is not None and not timeout >= 0:
            raise ValueError(f"timeout must be a number of seconds, not {timeout!r}")
        connection = self._connection
        if connection.state is State.OPEN or connection.state is State.CONNECTING:
            connection.send_close(None if code is None else int(code), reason, self._host.time(), timeout)
            self._schedule()
        return self._closed_outcome()

    # From Node's ws.

    def terminate(self, *, reset: bool = False) -> None:
        """End the connection now, without a handshake; the close event, with 1006, fires in the loop's next turn.

        Args:
            reset: whether the peer is to see a TCP reset.
        """
        if get_ident() != self._thread and self._event is None:
            self._host.run_here(lambda: self.terminate(reset=reset))
        elif self._connection.state is not State.CLOSED:
            self._reset = self._reset or reset
            self._connection.terminate(self._host.time())
            self._schedule()

    def ping(self, data: str | bytes = b"") -> Outcome:
        """Send a ping.

        Args:
            data: at most 125 bytes; four random ones by default. Text is sent as UTF-8.

        Returns:
            Something to await, or not: it waits for the pong and returns the seconds of the round trip. It raises
            ConnectionClosed if none comes.

        Raises:
            InvalidStateError: the socket is CONNECTING, or a ping with the same data is under way.
            TypeError: neither a str nor bytes-like.
            ValueError: too long.
        """
        if get_ident() != self._thread and self._event is None:
            return self._host.run_here(self.ping, data)  # type: ignore[no-any-return]
        payload = _to_usv(data).encode() if isinstance(data, str) else _to_bytes(data)
        if len(payload) > MAX_CONTROL_PAYLOAD:
            raise ValueError(f"a ping holds at most {MAX_CONTROL_PAYLOAD} bytes, not {len(payload)}")
        outcome = Outcome()
        connection = self._connection
        if connection.state is State.CONNECTING:
            raise InvalidStateError("ping() needs an open socket; this one is still connecting")
        if not connection.is_open:
            outcome.fail(self._closed_error)
            return outcome
        if self._pings is None:
            self._pings = {}
        while not payload:
            payload = urandom(4)
            if payload in self._pings:
                payload = b""
        if payload in self._pings:
            raise InvalidStateError("a ping with the same data waits for its pong")
        self._pings[payload] = (self._host.time(), outcome)
        connection.send_ping(payload)
        self._schedule()
        return outcome

    # The stream API.

    async def wait_opened(self) -> Self:
        """Wait until the socket is open, and return it.

        Raises:
            HandshakeError: the server did not accept the connection, or not by the rules.
            OSError: there is no connection to the server, or TLS failed.
            TimeoutError: the opening took longer than open_timeout.
            ConnectionClosed: the socket was closed meanwhile.
        """
        self._read_as_stream()
        if not self._opened:
            if self._open_outcome is None:
                self._open_outcome = Outcome()
                if self._event is not None:
                    self._open_outcome.fail(self._opening_error)
            await self._open_outcome
        return self

    async def wait_closed(self) -> CloseEvent:
        """Wait until the connection has ended, and return its CloseEvent."""
        event: CloseEvent = await self._closed_outcome()
        return event

    def recv(self) -> Recv:
        """Receive a message, by awaiting what this returns: a str or bytes. Cancelling that loses none.

        Raises:
            InvalidStateError: messages go to listeners; or, awaited, another task is waiting already.
            ConnectionClosed: awaited, when the connection has ended and every message has been received.
        """
        if self._listens("message"):
            raise InvalidStateError("the messages of this socket go to its listeners, so recv() would wait for ever")
        self._streaming = True
        return _new_recv(self, False)

    def __aiter__(self) -> Self:
        self.recv()
        return self

    def __anext__(self) -> Recv:
        return _new_recv(self, True)

    async def __aenter__(self) -> Self:
        return await self.wait_opened()

    async def __aexit__(self, exc_type: type[BaseException] | None, *_: object) -> None:
        await self.close(CloseCode.NORMAL_CLOSURE if exc_type is None or self._is_page else CloseCode.GOING_AWAY)

    # What else can be known.

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
        """The peer's address, as socket.getpeername() gives it; None once the connection is gone."""
        return self._host.address("peername")

    @property
    def local_address(self) -> Any:
        """Our address, as socket.getsockname() gives it; None once the connection is gone."""
        return self._host.address("sockname")

    def __repr__(self) -> str:
        return f"<WebSocket {self._connection.role.value} {self._origin or self._url} {self.readyState.name}>"

    # What the connection calls.

    def message_received(self, message: str | bytes) -> None:
        """A message has arrived."""
        if self._streaming:
            self._enqueue(message)
            return
        listeners = None if self._listeners is None else self._listeners.get("message")
        # "If ready state is not OPEN (1), then return."
        if listeners is not None and self._connection.is_open:
            data: Any = message
            if self._binary_type == "arraybuffer" and not isinstance(message, str):
                data = bytearray(message)
            self._call_listeners(new_message_event(self, data, self._origin, self._now), listeners)

    def pong_received(self, payload: bytes) -> None:
        """A pong answers its ping and all pings before it."""
        if self._pings is not None and payload in self._pings:
            for ping in list(self._pings):
                sent, outcome = self._pings.pop(ping)
                outcome.succeed(self._now - sent)
                if ping == payload:
                    break

    def state_changed(self) -> None:
        """The closing handshake has moved on."""
        connection = self._connection
        self._host.set_alarm(connection.next_deadline())
        if connection.state is State.CLOSED:
            self._finish()
        elif connection.state is not State.OPEN:
            self._resume_reading()  # or the peer's Close frame would never be found
            if self._room is not None:
                self._room.fail(self._closed_error)
                self._room = None

    # What the host calls, each time from a task of its own.

    def _data_received(self, count: int, now: float) -> None:
        """``count`` bytes were read into ``_connection.get_buffer()``."""
        self._now = now
        self._corked = True
        try:
            self._connection.buffer_updated(count, now)
            self._go_on()
        finally:
            self._corked = False
            self._settle()

    def _establish(self, protocol: str, rest: bytes, then: Callable[[], object] | None) -> None:
        """The opening handshake has succeeded: ``rest`` came behind it, and ``then`` is to be called before that is read.

        "When the WebSocket connection is established, queue a task to run these steps".
        """
        now = self._now = self._host.time()
        self._corked = True
        try:
            self._connection.established(now)
            self._opened = True
            self._protocol = protocol
            self._fire(Event("open"))
            if then is not None:
                then()
            if self._open_outcome is not None:
                self._open_outcome.succeed(self)
                self._open_outcome = None
            self._connection.receive_data(rest, now)
            self._go_on()
        finally:
            self._corked = False
            self._settle()

    def _fail_opening(self, error: BaseException, *, tls: bool = False, local: bool = False) -> None:
        """The opening handshake has failed: because of the network, of TLS, or because we did not like the answer."""
        if self._error is None:
            self._error = error
        self._tls_failed = tls
        now = self._host.time()
        if local:
            self._connection.refuse(CloseCode.PROTOCOL_ERROR, "", now)
            self._settle()
        else:
            self._connection.connection_lost(now)

    def _eof(self) -> None:
        """The peer will send no more bytes."""
        self._connection.receive_eof(self._host.time())
        self._settle()

    def _lost(self, error: BaseException | None) -> None:
        """The transport is gone."""
        if self._connection.state is not State.CLOSED:
            self._error = self._error or error
            self._connection.connection_lost(self._host.time())

    def _alarm(self) -> None:
        """It is the time that set_alarm() was given."""
        if self._connection.state is State.CONNECTING:
            self._error = TimeoutError(f"the opening handshake took longer than {self._limits.open_timeout:g} s")
        self._connection.handle_deadline(self._host.time())
        self._settle()

    def _settle(self) -> None:
        """Bring to the host what the connection wants of it."""
        self._scheduled = False
        connection = self._connection
        host = self._host
        while connection.fill():
            host.write(connection.data_to_send())
        if connection.ending is not None and connection.state is not State.CLOSED:
            self._end(connection.ending)
        elif self._room is not None and connection.buffered_amount() <= LOW_WATER:
            self._room.succeed(None)
            self._room = None

    # The rest.

    def _schedule(self) -> None:
        if not self._corked and not self._scheduled:
            self._scheduled = True
            self._host.queue_task(self._settle)

    def _go_on(self) -> None:
        """Let the task that waits for a message go on, and stop reading if it doesn't keep up."""
        queue = self._queue
        if queue:
            if self._waiter is not None:
                waiter = self._waiter
                self._waiter = None
                waiter.wake()
            if not self._reading_paused and self._is_full() and self._connection.is_open:
                self._reading_paused = True
                self._host.pause_reading()

    def _is_full(self) -> bool:
        limits = self._limits
        queue = self._queue
        assert queue is not None
        return len(queue) >= limits.max_queue or (
            limits.max_message_size is not None and self._queue_size >= limits.max_message_size
        )

    def _enqueue(self, message: str | bytes) -> None:
        if self._queue is None:
            self._queue = deque()
        if self._connection.is_open or not self._is_full():
            self._queue.append(message)
            self._queue_size += len(message)

    def _dequeue(self) -> str | bytes:
        assert self._queue is not None
        message = self._queue.popleft()
        self._queue_size -= len(message)
        if self._reading_paused and len(self._queue) <= self._limits.max_queue // 2:
            self._resume_reading()
        return message

    def _resume_reading(self) -> None:
        if self._reading_paused:
            self._reading_paused = False
            self._host.resume_reading()

    def _read_as_stream(self) -> None:
        if not self._listens("message"):
            self._streaming = True

    def _listener_added(self, type: str) -> None:
        """A listener for messages ends the reading as a stream; it gets what waits there."""
        if type == "message" and self._streaming:
            self._streaming = False
            if self._queue:
                self._host.queue_task(self._deliver_queue)

    def _deliver_queue(self) -> None:
        self._corked = True
        while self._queue:
            self.message_received(self._dequeue())
        self._corked = False
        self._settle()

    def _park(self) -> Waiter:
        if self._waiter is not None and not self._waiter.done():
            raise InvalidStateError("another task is waiting in recv() of this socket already")
        self._waiter = Waiter(self._host.loop())
        return self._waiter

    def _send_late(self, data: str | bytes) -> Outcome:
        """What send() does when the connection is not open."""
        if self._connection.state is State.CONNECTING:
            raise InvalidStateError("send() needs an open socket; this one is still connecting: wait for onopen")
        self._late += len(_to_usv(data).encode() if isinstance(data, str) else data)
        outcome = Outcome()
        outcome.fail(self._closed_error)
        return outcome

    def _wait_for_room(self, size: int) -> Outcome:
        """What send() returns when much is on its way; beyond max_buffered_amount the socket is flagged as full."""
        limit = self._limits.max_buffered_amount
        amount = self._connection.buffered_amount()
        if self._room is None:
            self._room = Outcome()
        room = self._room
        if amount > limit and amount - size > 0:
            self._error = BufferError(f"send() has queued {amount} bytes, and max_buffered_amount is {limit}")
            now = self._host.time()
            self._connection.refuse(CloseCode.POLICY_VIOLATION, "", now)
            self._connection.terminate(now)
            self._schedule()
        return room

    def _end(self, ending: Duty) -> None:
        """End the transport as the closing table says; then the connection is no longer concerned."""
        host = self._host
        connection = self._connection
        if ending is Duty.ABORT:
            host.abort(self._reset)
        elif ending is Duty.HANG_UP:
            host.close()
        elif not connection.is_flushed or (ending is Duty.FINISH and connection.role is Role.CLIENT):
            return  # a client waits for the server's end of TCP (RFC 6455 section 7.1.1)
        else:
            host.half_close()
        connection.connection_lost(host.time())

    def _finish(self) -> None:
        """The connection has ended.

        "When the WebSocket connection is closed, possibly cleanly, queue a task to run the following substeps".
        """
        connection = self._connection
        received = connection.received
        if received is not None:
            code = CloseCode.NO_STATUS_RCVD if received.code is None else received.code
        else:
            code = CloseCode.TLS_HANDSHAKE if self._tls_failed else CloseCode.ABNORMAL_CLOSURE
        event = CloseEvent(
            "close",
            wasClean=connection.was_clean,
            code=int(code),
            reason="" if received is None else received.reason,
            sent=connection.sent,
            received=received,
            initiator=connection.initiator,
            exception=self._error,
        )
        self._event = event
        # "If the user agent was required to fail the WebSocket connection, or ... flagged as full, fire an event error".
        if connection.failed or not self._opened:
            why = self._error or connection.violation or "the socket was closed before it was open"
            self._fire(ErrorEvent("error", message=str(why), error=self._error))
        self._fire(event)
        if self._open_outcome is not None:
            self._open_outcome.fail(self._opening_error)
        if self._close_outcome is not None:
            self._close_outcome.succeed(event)
        if self._pings is not None:
            for _, outcome in self._pings.values():
                outcome.fail(self._closed_error)
            self._pings = None
        if self._on_end is not None:
            self._on_end(self)
            self._on_end = None
        if self._waiter is not None:
            waiter = self._waiter
            self._waiter = None
            waiter.wake()

    def _closed_outcome(self) -> Outcome:
        if self._close_outcome is None:
            self._close_outcome = Outcome()
            if self._event is not None:
                self._close_outcome.succeed(self._event)
        return self._close_outcome

    def _closed_error(self) -> ConnectionClosed:
        return ConnectionClosed(self._event)

    def _opening_error(self) -> BaseException:
        return self._error or ConnectionClosed(self._event)

    def _check_code(self, code: object) -> None:
        if isinstance(code, bool) or not isinstance(code, int):
            raise TypeError(f"the close code must be an int, not {type(code).__name__}")
        if self._is_page:
            if code != CloseCode.NORMAL_CLOSURE and not 3000 <= code <= 4999:
                raise InvalidAccessError(f"the close code must be 1000 or from 3000 to 4999, not {int(code)}")
        elif not may_be_sent(code):
            raise InvalidAccessError(f"the close code {int(code)} must not be sent (RFC 6455 section 7.4)")

    def _take_result(self, event: Event, listener: Listener, result: Any) -> None:
        if result is not ROOM:  # what a lambda that only sends returns
            EventTarget._take_result(self, event, listener, result)

    def _run(self, coroutine: Any, event: Event, callback: Callback) -> None:
        self._host.create_task(coroutine, f"{event.type} listener {callback!r}")

    def _report(self, error: Exception, event: Event, callback: Callback) -> None:
        self._host.report(f"exception in {event.type} listener {callback!r}", error)


def new_client(target: Target) -> WebSocket:
    """The socket of connect(): a stream, without a host yet."""
    socket = WebSocket.__new__(WebSocket)
    socket._prepare(target.limits, target.url.href, target.url.origin)
    socket._streaming = True
    return socket


def new_server(request: Request, limits: Limits, on_end: Callable[[WebSocket], object]) -> WebSocket:
    """A server's end of a connection, without a host yet; ``on_end`` is called when it has ended."""
    socket = WebSocket.__new__(WebSocket)
    socket._prepare(limits, "", "")
    socket._request = request
    socket._on_end = on_end
    return socket


class Recv:
    """What recv() returns: awaiting it gives the next message."""

    __slots__ = ("_iterates", "_socket")

    def __init__(self, socket: WebSocket, iterates: bool) -> None:
        self._socket = socket
        self._iterates = iterates  # whether an orderly end is the end of a loop

    def __await__(self) -> Recv:
        return self

    def __iter__(self) -> Recv:
        return self

    def __next__(self) -> Waiter:
        socket = self._socket
        if socket._queue:
            raise StopIteration(socket._dequeue())
        event = socket._event
        if event is None:
            return socket._park()
        if self._iterates and event.ok:
            raise StopAsyncIteration
        raise ConnectionClosed(event)


def _new_recv(socket: WebSocket, iterates: bool) -> Recv:
    recv = Recv.__new__(Recv)
    recv._socket = socket
    recv._iterates = iterates
    return recv


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


def _check_reason(reason: object) -> str:
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
