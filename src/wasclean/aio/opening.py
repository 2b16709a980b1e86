"""The protocols of a connection that is not established yet."""

from __future__ import annotations

from asyncio import AbstractEventLoop, Future, wait
from typing import TYPE_CHECKING, Any

from ..closing.errors import HandshakeError
from ..model.heads import Response
from ..model.registry import BODY_TIMEOUT
from ..opening.readers import ResponseReader
from .driver import Driver
from .interface import Protocol
from .tls import tls_error

if TYPE_CHECKING:
    from ssl import SSLContext


class Opening(Protocol):
    """Gets the bytes of an opening handshake: base class of a server's, a client's and a proxy's.

    Attributes:
        driver: has the connection; subclasses set it.
    """

    __slots__ = ("driver",)

    driver: Driver

    # The transport's side.

    def connection_made(self, transport: Any) -> None:
        """Begin, unless the connection is not wanted any more."""
        if self.driver.connected(transport):
            self.begin()

    def get_buffer(self, sizehint: int) -> Any:
        """Return the loop's memory."""
        return self.driver.buffer.view

    def buffer_updated(self, count: int) -> None:
        """Pass on a copy."""
        self.data_received(bytes(self.driver.buffer.view[:count]))

    def eof_received(self) -> bool:
        """Pass it on; return False if that has ended the opening."""
        self.ended()
        return self.driver.protocol is self

    def layer_failed(self, error: Exception) -> None:
        """Give up."""
        self.lost(error)

    def connection_lost(self, error: BaseException | None) -> None:
        """Give up."""
        driver = self.driver
        given_up = driver.protocol is not self
        try:
            driver.disconnected()
        finally:
            if not given_up:
                self.lost(error)

    # The driver's side.

    def leave_loop(self, timeout: float) -> None:
        """Give up at once."""
        self.driver.drop()

    def abandon(self) -> None:
        """Do nothing: the driver aborts the transport."""

    def disown(self) -> None:
        """Do nothing: the driver aborts the transport."""

    # The handshake's side.

    def begin(self) -> None:
        """Start: there is a transport; this is the time to begin TLS, if there is to be any."""

    def data_received(self, data: bytes) -> None:
        """Process bytes."""
        raise NotImplementedError

    def ended(self) -> None:
        """Process the peer's end of stream."""
        raise NotImplementedError

    def lost(self, error: BaseException | None) -> None:
        """Give up: the connection is gone, or TLS has failed and only its alert is still to leave."""
        raise NotImplementedError

    def time_is_up(self) -> None:
        """Act on the alarm, which was set by Driver.set_alarm()."""
        raise NotImplementedError


class Inquiry(Opening):
    """Sends a request, and reads the answer.

    The head of an answer decides what happens. The body, which only tells more, may never end: it has BODY_TIMEOUT, and
    whatever else ends the wait, an error or the opening's deadline, takes nothing away from what is known.
    """

    __slots__ = ("_answer", "_error", "_reader", "_whole")

    def _expect(self, loop: AbstractEventLoop, reader: ResponseReader) -> None:
        """Read an answer with the reader from now on."""
        self._reader = reader
        self._answer: Future[Response | None] = loop.create_future()  # done at the end of the head; None: see _error
        self._whole: Future[None] = loop.create_future()  # done at the end of the body
        self._error: BaseException | None = None

    async def _head(self) -> Response:
        """Wait for the head of the answer.

        Raises:
            HandshakeError: there was none, or it broke the rules.
            OSError: the connection broke before the end of the head, or TLS failed.
        """
        response = await self._answer
        if response is None:
            assert self._error is not None
            raise self._error
        return response

    async def _read_body(self) -> None:
        """Wait for the body of the answer, but not long, and put what has come of it into the response."""
        await wait((self._whole,), timeout=BODY_TIMEOUT)
        self._reader.feed_eof()

    def _secure(self, context: SSLContext, name: str) -> None:
        """Begin TLS with the host of that name, which may have a dot at its end.

        "The hostname is represented as a byte string using ASCII encoding without a trailing dot" (RFC 6066 section 3).
        """
        try:
            self.driver.secure(context, server_hostname=name.removesuffix("."))
        except ValueError as error:
            failure = tls_error(f"{name!a} is no name that TLS can ask for: {error}")
            failure.__cause__ = error
            self._end(failure)
        except Exception as error:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """Stop waiting: no more of the answer will come."""
        if self._error is None:
            self._error = error
        for future in (self._answer, self._whole):
            if not future.done():
                future.set_result(None)

    def _head_received(self, response: Response) -> None:
        """Process a complete head.

        Raises:
            HandshakeError: it breaks the rules.
        """

    def data_received(self, data: bytes) -> None:
        """Process a part of the answer."""
        if self._whole.done():
            return
        try:
            whole = self._reader.feed(data)
            response = self._reader.response
            if response is not None and not self._answer.done():
                self._head_received(response)
                self._answer.set_result(response)
        except HandshakeError as error:
            self._end(error)
        else:
            if whole is not None:
                self._whole.set_result(None)
