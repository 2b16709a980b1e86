"""HTTP/1.1 messages for the opening handshake: heads read within limits, answers written without injections.

Theory of operation. A reader looks at every byte once, as it arrives, and refuses what cannot become a well-formed
head at the first byte that proves it: the limits, the characters and the line ends are its own business, because a
parser that is only asked at the end has already been made to buffer, and because bare LF, folded lines and spaces
before a colon are where two parsers of one message disagree. Only a client takes folded lines, which it unfolds
before the parser sees them, and only a server empty lines before the first one. The verdict depends on the bytes alone
and not on how they were cut into segments. A complete head goes to llhttp, whose reading of it is the one that counts.

Nearly every request arrives whole, with nothing wrong: one regular expression says so, in a twentieth of the time, and
takes just what the reader takes. Where it does not match, the reader finds out why.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import cache

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from ..closing.errors import HandshakeError
from ..model.heads import Request, Response

MAX_LINE = 8 << 10  # bytes of one line, its CR LF included
MAX_HEADERS = 100  # header lines
MAX_EMPTY_LINES = 4  # before a request
MAX_HEAD = 32 << 10  # bytes of a whole head, its blank line included
MAX_BODY = 64 << 10  # bytes kept of the body of an answer that is not 101
MAX_INFORMATIONAL = 5  # 1xx answers before the one that counts

_SHOWN = 60  # bytes of a first line that an error shows
_CR, _LF, _TAB, _SPACE = b"\r\n\t "
_TCHAR = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # RFC 9110 section 5.6.2
_VISIBLE = bytes(range(0x20, 0x7F))
_FIELD = b"\t" + _VISIBLE + bytes(range(0x80, 0x100))  # RFC 9110 section 5.5: field-content with obs-text


class _Sink:
    """What llhttp found: the callbacks of httptools, for one message. What follows that message is ignored."""

    __slots__ = ("body", "done", "headers", "headers_done", "reason")

    def __init__(self) -> None:
        self.reason = ""
        self.headers: list[tuple[str, str]] = []
        self.headers_done = False
        self.body = bytearray()
        self.done = False

    def on_status(self, status: bytes) -> None:
        if not self.headers_done:
            self.reason += status.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.headers_done:  # and not a trailer
            # llhttp leaves the optional white space at the end, which is no part of the value (RFC 9110 section 5.5).
            self.headers.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))

    def on_headers_complete(self) -> None:
        self.headers_done = True

    def on_body(self, body: bytes) -> None:
        if not self.done:
            self.body += body[: MAX_BODY - len(self.body)]

    def on_message_complete(self) -> None:
        self.done = True


def _parse_head(parser: HttpRequestParser | HttpResponseParser, sink: _Sink, head: bytes) -> None:
    """Has llhttp read one head; raises HttpParserError when it is malformed."""
    try:
        parser.feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError:
        # llhttp also stops after a 101 that does not say what it upgrades to. Whether that will do is not its decision.
        if not sink.done:
            raise
    if not sink.headers_done:
        raise HttpParserError("the head has no end")


def _check_ascii(headers: Iterable[tuple[str, str]]) -> None:
    """Raises HandshakeError(400) when a header of the handshake has bytes outside ASCII."""
    for name, value in headers:
        if not value.isascii() and name[:14].lower() == "sec-websocket-":
            raise HandshakeError(f"the header {name} has a byte that is not ASCII: {value[:_SHOWN]!a}", status=400)


class _HeadReader(ABC):
    """Collects one head, byte for byte if need be, in linear time and within the limits."""

    __slots__ = ("_before", "_count", "_head", "_in_name", "_start", "rest")

    #: The bytes that a first line may start with, and those that it may have.
    _first_byte = b""
    _first_line = b""

    def __init__(self) -> None:
        self._reset()
        self.rest = b""

    def _reset(self) -> None:
        self._head = bytearray()
        self._start = 0  # where in the head the current line starts,
        self._before = 0  # and the one before it; 0 for the first line
        self._count = 0  # header lines, the current one included
        self._in_name = False  # no colon has been seen yet in the current header line

    @abstractmethod
    def _check_first_line(self, line: bytes) -> None:
        """Raises HandshakeError when the line, without its CR LF, cannot be the first one."""

    @abstractmethod
    def _error(self, status: int, text: str) -> HandshakeError:
        """The error for what is wrong with the head; the status is the one that a server answers with."""

    def _collect(self, data: bytes) -> bytes | None:
        """Takes the head's bytes from the data. Once the head is complete, returns it and keeps the others in rest."""
        position = 0
        while position < len(data):
            end = data.find(b"\n", position) + 1 or len(data)
            self._extend(data[position:end])
            position = end
            if self._head[-1] == _LF and self._end_line():
                self.rest = data[position:]
                head = bytes(self._head)
                self._reset()
                return head
        return None

    def _extend(self, piece: bytes) -> None:
        """Takes some bytes of one line, checked in the order in which they arrived."""
        used = len(self._head) - self._start
        if not used and self._start and piece[0] != _CR:
            self._count += 1
            if self._count > MAX_HEADERS:
                raise self._error(431, f"the head has more than {MAX_HEADERS} headers")
        room = min(MAX_LINE - used, MAX_HEAD - len(self._head))
        if accepted := piece[:room]:
            self._check(accepted)
            self._head += accepted
        if len(piece) > room:
            if len(self._head) == MAX_HEAD:
                raise self._error(431, f"the head is longer than {MAX_HEAD} bytes")
            status, what = (431, "a header") if self._start else (414, "the first line")
            if self._start and not self._in_name:
                what = f"the header {self._head[self._start :].partition(b':')[0].decode()}"
            raise self._error(status, f"{what} is longer than {MAX_LINE} bytes")

    def _check(self, piece: bytes) -> None:
        at_start = len(self._head) == self._start
        if self._head and self._head[-1] == _CR:
            if piece[0] != _LF:
                raise self._error(400, "a CR is not followed by LF")
            return
        if not self._head and piece[0] not in self._first_byte:
            raise self._error(400, _describe_start(piece))
        text = piece[:-2] if piece.endswith(b"\r\n") else piece.removesuffix(b"\r")
        if self._in_name:
            name, colon, text = text.partition(b":")
            if bad := name.translate(None, _TCHAR):
                if bad[0] in (_SPACE, _TAB):
                    folded = at_start and name[0] in (_SPACE, _TAB)
                    raise self._error(
                        400, "a header line is folded" if folded else "there is white space before a header's colon"
                    )
                raise self._error(400, _describe_byte(bad[0], "a header's name"))
            if colon:
                self._in_name = False
                if at_start and not name:
                    raise self._error(400, "a header has no name")
        if bad := text.translate(None, _FIELD if self._start else self._first_line):
            raise self._error(400, _describe_byte(bad[0], "a header" if self._start else "the first line"))

    def _end_line(self) -> bool:
        """Whether the line that has just ended was the blank one."""
        if not self._start:
            self._check_first_line(bytes(self._head[:-2]))
        elif len(self._head) == self._start + 2:
            return True
        elif self._in_name:
            raise self._error(400, "a header line has no colon")
        self._before = self._start
        self._start = len(self._head)
        self._in_name = True
        return False


#: How other protocols begin that listen on ports of their own; in text, where a client is answered at once.
_OTHERS = (
    (b"SSH-", "SSH"),
    (b"220", "SMTP or FTP"),
    (b"+OK", "POP3"),
    (b"* OK", "IMAP"),
    (b"-ERR", "Redis or POP3"),
    (b"AMQP", "AMQP"),
    (b"RFB ", "VNC"),
    (b"\0\0", "HTTP/2"),
    (b"<", "HTML without a head"),
)


def _describe_start(line: bytes) -> str:
    """What a first line may be that does not begin as one of HTTP; what depends on more than a byte is at the end."""
    if line[0] in (0x15, 0x16):  # the types of TLS records that come first: alert and handshake
        return "it is TLS, not HTTP (is the URL wss: on one side and ws: on the other?)"
    name = next((f" but {name}" for start, name in _OTHERS if line.startswith(start)), "")
    return f"it starts with the byte 0x{line[0]:02x}, so it is not HTTP{name}: {_excerpt(line)}"


def _excerpt(line: bytes) -> str:
    """The beginning of a first line, without the query of a target, which can be a secret."""
    line = line.rstrip(b"\r\n").partition(b"?")[0]
    return f"{line[:_SHOWN].decode('latin-1')!a}" + ("..." if len(line) > _SHOWN else "")


def _describe_byte(byte: int, where: str) -> str:
    if byte == _LF:
        return "a line ends with LF alone instead of CR LF"
    if byte == _CR:
        return "a CR is not followed by LF"
    return f"{where} has the byte 0x{byte:02x}"


@cache  # at the first request: who serves nothing need not pay for the compilation
def _whole_request() -> re.Pattern[bytes]:
    """A request's head, as a group, that the reader does not refuse, behind empty lines; no byte is looked at twice."""
    name = rb"[%s]++" % re.escape(_TCHAR)
    header = rb"%s:[%s]*+\r\n" % (name, re.escape(_FIELD))
    head = rb"[A-Z][!-~]*+ [!-~]++ HTTP/1\.[01]\r\n(?:%s){0,%d}+\r\n" % (header, MAX_HEADERS)
    return re.compile(rb"(?:\r\n){0,%d}+(%s)" % (MAX_EMPTY_LINES, head))


def _read_request(head: bytes) -> Request:
    sink = _Sink()
    try:
        _parse_head(HttpRequestParser(sink), sink, head)
    except HttpParserError as error:
        raise HandshakeError(f"the request is malformed: {error}", status=400) from None
    if not head.isascii():
        _check_ascii(sink.headers)
    method, target, version = head[: head.index(b"\r")].decode("ascii").split(" ")
    return Request(method, target, sink.headers, version=version.removeprefix("HTTP/"))


class RequestReader(_HeadReader):
    """Reads one request, of any method, within the limits.

    Attributes:
        rest: once the request is complete, the bytes that came after it: frames, when the handshake is accepted.
    """

    __slots__ = ("_empty",)

    _first_byte = b"\rABCDEFGHIJKLMNOPQRSTUVWXYZ"
    _first_line = _VISIBLE

    def __init__(self) -> None:
        super().__init__()
        self._empty = 0  # lines before the first

    def feed(self, data: bytes) -> Request | None:
        """Takes bytes from the network, cut anywhere; returns the request once its head is complete, else None.

        A body is not read, and up to four empty lines before the request are skipped. After it has returned a request
        or has raised, the reader must not be fed again.

        Raises:
            HandshakeError: the head is malformed (status 400) or beyond a limit: 414 for a request line over 8 KiB;
                431 for a header over 8 KiB, for more than 100 headers and for a head over 32 KiB; 505 for another
                HTTP than 1.x. It is raised at the first byte that proves it, however the bytes are cut.

        Source: RFC 9112 section 2.2.
        """
        # Within the length of one line there is no line that is longer.
        whole = None if self._head or self._empty else _whole_request().match(data, 0, MAX_LINE)
        if whole is not None:
            self.rest = data[whole.end() :]
            return _read_request(whole[1])
        head = self._collect(data)
        return None if head is None else _read_request(head)

    def _check(self, piece: bytes) -> None:
        if not self._head and piece[0] == _CR and self._empty == MAX_EMPTY_LINES:
            raise self._error(400, f"there are more than {MAX_EMPTY_LINES} empty lines before it")
        super()._check(piece)

    def _end_line(self) -> bool:
        if self._head != b"\r\n":
            return super()._end_line()
        self._head.clear()
        self._empty += 1
        return False

    def _check_first_line(self, line: bytes) -> None:
        parts = line.split(b" ")
        if len(parts) != 3 or not parts[1] or not parts[2].startswith(b"HTTP/"):
            raise self._error(400, f"the first line is not METHOD TARGET HTTP/1.1: {_excerpt(line)}")
        if parts[2] not in (b"HTTP/1.1", b"HTTP/1.0"):
            raise self._error(505, f"the request is {parts[2][:_SHOWN].decode()}, not HTTP/1.1")

    def _error(self, status: int, text: str) -> HandshakeError:
        return HandshakeError(f"the request is malformed: {text}" if status == 400 else text, status=status)


class ResponseReader(_HeadReader):
    """Reads the answer to one request within the limits: the head, and the body unless it is a 101.

    Args:
        from_proxy: the request was CONNECT, so that an answer of 2xx ends with its head (RFC 9110 section 9.3.6).

    Attributes:
        rest: after an answer without a body, the bytes that came after it: frames, for a 101.
        response: the answer from the end of its head on, its body still empty; None before.
    """

    __slots__ = ("_budget", "_from_proxy", "_informational", "_parser", "_sink", "response")

    _first_byte = b"H"
    _first_line = _FIELD

    def __init__(self, *, from_proxy: bool = False) -> None:
        super().__init__()
        self._from_proxy = from_proxy
        self._informational = 0
        self._sink = _Sink()
        self._parser = HttpResponseParser(self._sink)
        self.response: Response | None = None
        self._budget = 2 * MAX_BODY  # bytes to read for a body: chunks and trailers take some, too

    def feed(self, data: bytes) -> Response | None:
        """Takes bytes from the network, cut anywhere; returns the answer once it is complete, else None.

        Informational answers (1xx but 101) are skipped, up to five of them. A folded header line becomes one line, with
        spaces for the line end. A body ends at its own end or after
        64 KiB, whichever is first; where it turns out to be malformed, it ends, too. After it has returned an answer
        or has raised, the reader must not be fed again.

        Raises:
            HandshakeError: the head is malformed or beyond a limit (status 0, for no answer could be read). It is
                raised at the first byte that proves it, however the bytes are cut.

        Source: RFC 9112 sections 2.2, 4, 5.2 and 6.3, RFC 9110 section 15.2.
        """
        while self.response is None:
            head = self._collect(data)
            if head is None:
                return None
            data = self.rest
            response = self._read_head(head)
            if response.status >= 200 or response.status == 101:
                self.response = response
                if response.status == 101 or (self._from_proxy and response.status < 300):
                    return response
                self.rest = b""
            else:
                self._informational += 1
                if self._informational > MAX_INFORMATIONAL:
                    raise self._error(0, f"there are more than {MAX_INFORMATIONAL} informational answers")
                self._sink = _Sink()
                self._parser = HttpResponseParser(self._sink)
        return self._read_body(data)

    def feed_eof(self) -> Response:
        """Takes the end of the connection, or of our patience; returns the answer with what has come of its body.

        Raises:
            HandshakeError: the connection ended before the head did (status 0).
        """
        if self.response is None:
            raise HandshakeError("the server closed the connection before it had answered the handshake")
        return self._finish(self.response)

    def _extend(self, piece: bytes) -> None:
        if self._before and len(self._head) == self._start and piece[0] in (_SPACE, _TAB):
            self._head[-2:] = b"  "
            self._start = self._before  # the line before goes on
            self._in_name = False
        super()._extend(piece)

    def _read_head(self, head: bytes) -> Response:
        sink = self._sink
        try:
            _parse_head(self._parser, sink, head)
            _check_ascii(sink.headers)
        except (HttpParserError, HandshakeError) as error:
            raise self._error(0, str(error)) from None
        response = Response(self._parser.get_status_code(), reason="")
        response.reason = sink.reason
        response.headers.extend(sink.headers)
        if response.status == 101 and self._parser.get_http_version() != "1.1":
            raise self._error(0, "it switches protocols although it is not HTTP/1.1")
        return response

    def _read_body(self, data: bytes) -> Response | None:
        sink = self._sink
        response = self.response
        assert response is not None
        taken = data[: self._budget]
        self._budget -= len(taken)
        if taken and not sink.done:
            try:
                self._parser.feed_data(taken)
            except HttpParserError:  # the status is what matters, and it is known
                sink.done = True
        if sink.done or len(sink.body) == MAX_BODY or not self._budget:
            return self._finish(response)
        return None

    def _finish(self, response: Response) -> Response:
        response.body = bytes(self._sink.body)
        return response

    def _check_first_line(self, line: bytes) -> None:
        # llhttp sees to it that the status has three digits, and takes 099 for one (RFC 9110 section 15).
        if not line.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")) or line[9:10] == b"0":
            raise self._error(0, f"the first line is not HTTP/1.1 STATUS REASON: {_excerpt(line)}")

    def _error(self, status: int, text: str) -> HandshakeError:
        return HandshakeError(f"the {'proxy' if self._from_proxy else 'server'}'s answer is malformed: {text}")
