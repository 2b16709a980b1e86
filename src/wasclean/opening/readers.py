"""The two readers of HTTP/1.1: of a request, and of the answer to one. See head_reader.py for how they work."""

from __future__ import annotations

from httptools import HttpParserError, HttpRequestParser, HttpResponseParser

from ..closing.errors import HandshakeError
from ..model.heads import Request, Response
from ..model.wording import excerpt
from .head_reader import (
    DEFAULT_LIMITS,
    MAX_BODY,
    MAX_EMPTY_LINES,
    MAX_INFORMATIONAL,
    Fields,
    HeadLimits,
    HeadReader,
    check_ascii,
)
from .malformed import TEXT, VISIBLE, excerpt_of_line

_CR, _LF = b"\r\n"


class RequestReader(HeadReader):
    """Reads one request, of any method, within limits.

    Args:
        limits: of the head.

    Attributes:
        rest: once the request is complete, the bytes that came after it: frames, if the handshake is accepted.
    """

    __slots__ = ("_skipped",)

    _first_bytes = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"

    def __init__(self, limits: HeadLimits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._skipped = 0  # bytes of empty lines

    def feed(self, data: bytes) -> Request | None:
        """Take bytes from the network, cut anywhere; return the request once its head is complete, else None.

        A body is not read, and up to four empty lines before the request are skipped. After it has returned a request
        or has raised, the reader must not be fed again.

        Raises:
            HandshakeError: the head is malformed (status 400) or beyond a limit: 414 for the length of the first line,
                431 for that of a header or of the whole head, and for the number of headers; 505 for another HTTP than
                1.x. It is raised at the end of a first line that is malformed; after it, and at a limit, at the first
                byte that proves the fault.

        Source: RFC 9112 section 2.2.
        """
        if not self._head:
            data = self._skip_empty_lines(data)
        if not data or not self._collect(data):
            return None
        if not self._head.isascii():
            check_ascii(self._fields)
        assert self._first_line is not None
        method, target, version = self._first_line
        return Request(method, target, self._fields, version=version)

    def _skip_empty_lines(self, data: bytes) -> bytes:
        """Return the data without the bytes that belong to empty lines before the request."""
        while data:
            if self._skipped % 2:
                if data[0] != _LF:
                    raise self._error(400, "a CR is not followed by LF")
            elif data[0] != _CR:
                break
            elif self._skipped == 2 * MAX_EMPTY_LINES:
                raise self._error(400, f"there are more than {MAX_EMPTY_LINES} empty lines before it")
            self._skipped += 1
            data = data[1:]
        return data

    def _make_parser(self, fields: Fields) -> HttpRequestParser:
        return HttpRequestParser(fields)

    def _check_first_line(self, line: bytes) -> tuple[str, str, str]:
        parts = line.decode("latin-1").split(" ")  # ASCII, if llhttp accepts it
        if len(parts) == 3 and parts[1] and parts[2] in ("HTTP/1.1", "HTTP/1.0"):
            return parts[0], parts[1], parts[2][5:]
        if bad := line.translate(None, VISIBLE):
            raise self._error(400, f"the first line has the byte 0x{bad[0]:02x}")
        if len(parts) == 3 and parts[1] and parts[2].startswith("HTTP/"):
            raise self._error(505, f"the request is {excerpt(parts[2], 60)}, not HTTP/1.1")
        raise self._error(400, f"the first line is not METHOD TARGET HTTP/1.1: {excerpt_of_line(line)}")

    def _error(self, status: int, text: str) -> HandshakeError:
        return HandshakeError(f"the request is malformed: {text}" if status == 400 else text, status=status)


class _Body:
    """The body of one message: what llhttp calls beside a Fields. Everything after that message is ignored."""

    __slots__ = ("content", "done", "on_header")

    def __init__(self, fields: Fields) -> None:
        self.on_header = fields.on_header
        self.content = bytearray()
        self.done = False

    def on_body(self, body: bytes) -> None:
        if not self.done:
            self.content += body[: MAX_BODY - len(self.content)]

    def on_message_complete(self) -> None:
        self.done = True


class ResponseReader(HeadReader):
    """Reads the answer to one request within limits: the head, and the body unless it is a 101.

    Args:
        from_proxy: the request was CONNECT, so that an answer of 2xx ends with its head (RFC 9110 section 9.3.6).
        limits: of the head.

    Attributes:
        rest: after an answer without a body, the bytes that came after it: frames, for a 101.
        response: the answer from the end of its head on, its body still empty; None before.
    """

    __slots__ = ("_body", "_budget", "_from_proxy", "_informational", "response")

    _first_bytes = b"H"

    def __init__(self, *, from_proxy: bool = False, limits: HeadLimits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._from_proxy = from_proxy
        self._informational = 0
        self.response: Response | None = None
        self._budget = 2 * MAX_BODY  # bytes to read for a body: chunks and trailers take some, too

    def feed(self, data: bytes) -> Response | None:
        """Take bytes from the network, cut anywhere; return the answer once it is complete, else None.

        Informational answers (1xx but 101) are skipped, up to five of them. A folded header line becomes one line, with
        spaces in place of the line end. A body ends at its own end or after 64 KiB, whichever comes first, and where it
        turns out to be malformed. After it has returned an answer or has raised, the reader must not be fed again.

        Raises:
            HandshakeError: the head is malformed or beyond a limit (status 0, because no answer could be read).

        Source: RFC 9112 sections 2.2, 4, 5.2 and 6.3, RFC 9110 section 15.2.
        """
        while self.response is None:
            if not data or not self._collect(data):
                return None
            data = self.rest
            response = self._read_response()
            if response.status >= 200 or response.status == 101:
                self.response = response
                if response.status == 101 or (self._from_proxy and response.status < 300):
                    return response
                self.rest = b""
            else:
                self._informational += 1
                if self._informational > MAX_INFORMATIONAL:
                    raise self._error(0, f"there are more than {MAX_INFORMATIONAL} informational answers")
                self._begin()
        return self._read_body(self.response, data)

    def feed_eof(self) -> Response:
        """Take the end of the connection, or of our patience; return the answer with the body as far as it has come.

        Raises:
            HandshakeError: the connection ended before the head did (status 0).
        """
        if self.response is None:
            super()._read(len(self._head))  # which may be malformed already
            raise HandshakeError("the server closed the connection before it had answered the handshake")
        return self._finish(self.response)

    def _make_parser(self, fields: Fields) -> HttpResponseParser:
        self._body = _Body(fields)
        return HttpResponseParser(self._body)

    def _read(self, ready: int) -> None:
        """Unfold header lines before they are read. Whether a line goes on is known when the next one begins."""
        head = self._head
        start = head.find(b"\n") + 1  # a line after the first line is not a continuation of that
        if head.endswith(b"\r"):
            ready -= 1
        elif head.endswith(b"\r\n") and not head.endswith(b"\r\n\r\n") and start < len(head):
            ready -= 2
        start = max(start, self._fed)
        headers = head[start:]
        if b"\r\n " in headers or b"\r\n\t" in headers:
            head[start:] = headers.replace(b"\r\n ", b"   ").replace(b"\r\n\t", b"  \t")
        super()._read(ready)

    def _refused(self, head: bytes) -> None:
        # llhttp also stops after a 101 that does not say what it upgrades to. Whether that will do is not its decision.
        if not self._body.done:
            super()._refused(head)

    def _read_response(self) -> Response:
        if not self._head.isascii():
            try:
                check_ascii(self._fields)
            except HandshakeError as error:
                raise self._error(0, str(error)) from None
        assert self._first_line is not None
        version, status, reason = self._first_line
        if status == "101" and version != "HTTP/1.1":
            raise self._error(0, "it switches protocols although it is not HTTP/1.1")
        response = Response(int(status), reason="")
        response.reason = reason
        response.headers.extend(self._fields)
        return response

    def _read_body(self, response: Response, data: bytes) -> Response | None:
        body = self._body
        taken = data[: self._budget]
        self._budget -= len(taken)
        if taken and not body.done:
            try:
                self._parser.feed_data(taken)
            except HttpParserError:  # the status is what matters, and it is known
                body.done = True
        if body.done or len(body.content) == MAX_BODY or not self._budget:
            return self._finish(response)
        return None

    def _finish(self, response: Response) -> Response:
        response.body = bytes(self._body.content)
        return response

    def _check_first_line(self, line: bytes) -> tuple[str, str, str]:
        # llhttp refuses a status that does not have three digits, but takes 099 for one (RFC 9110 section 15).
        if not line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or line[9:10] == b"0":
            raise self._error(0, f"the first line is not HTTP/1.1 STATUS REASON: {excerpt_of_line(line)}")
        if bad := line.translate(None, TEXT):
            raise self._error(0, f"the first line has the byte 0x{bad[0]:02x}")
        text = line.decode("latin-1")
        return text[:8], text[9:12], text[13:]

    def _error(self, status: int, text: str) -> HandshakeError:
        return HandshakeError(f"the {'proxy' if self._from_proxy else 'server'}'s answer is malformed: {text}")
