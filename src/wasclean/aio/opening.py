"""Who has a connection before its WebSocket does, and what an error says about it."""

from __future__ import annotations

import sys
from asyncio import AbstractEventLoop, Future, wait
from typing import TYPE_CHECKING, Any

from ..closing.errors import HandshakeError
from ..closing.outcome import Cause
from ..model.heads import Response
from ..model.registry import BODY_TIMEOUT
from ..opening.http import ResponseReader
from .tls import tls_error

if TYPE_CHECKING:
    from ssl import SSLContext


class Opening:
    """Who gets the bytes of the opening handshake."""

    __slots__ = ()

    def connection_made(self) -> None:
        """There is a transport: this is the time to begin TLS, if there is to be any."""

    def ready(self) -> None:
        """TLS is established."""

    def data_received(self, data: bytes) -> None:
        """Bytes have arrived."""
        raise NotImplementedError

    def eof_received(self) -> None:
        """No more bytes will arrive."""
        raise NotImplementedError

    def connection_lost(self, error: BaseException | None) -> None:
        """The transport is gone."""
        raise NotImplementedError

    def time_is_up(self) -> None:
        """It has asked to be woken at this time."""
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
        """Wait for the body of the answer, but not long, and put into the response what there is of it."""
        await wait((self._whole,), timeout=BODY_TIMEOUT)
        self._reader.feed_eof()

    def _secure(self, transport: Any, context: SSLContext, name: str) -> None:
        """Begin TLS with the host of that name, which may have a dot at its end.

        "The hostname is represented as a byte string using ASCII encoding without a trailing dot" (RFC 6066 section 3).
        """
        try:
            transport.secure(context, server_hostname=name.removesuffix("."))
        except ValueError as error:
            failure = tls_error(f"{name!a} is no name that TLS can ask for: {error}")
            failure.__cause__ = error
            self._end(failure)
        except Exception as error:
            self._end(error)

    def _end(self, error: BaseException | None) -> None:
        """No more of the answer will come."""
        if self._error is None:
            self._error = error
        for future in (self._answer, self._whole):
            if not future.done():
                future.set_result(None)

    def _head_received(self, response: Response) -> None:
        """The head is complete.

        Raises:
            HandshakeError: it breaks the rules.
        """

    def data_received(self, data: bytes) -> None:
        """A part of the answer has arrived."""
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


def cause_of(error: BaseException | None) -> Cause:
    """What an error of the transport says about the end of an open connection."""
    if error is None:
        return Cause.TCP_FIN
    return Cause.TLS_FAILED if is_tls_error(error) else Cause.TCP_RESET


def is_tls_error(error: BaseException) -> bool:
    """Whether TLS is what went wrong."""
    ssl = sys.modules.get("ssl")  # nobody has imported it unless there was TLS
    return ssl is not None and isinstance(error, ssl.SSLError)
