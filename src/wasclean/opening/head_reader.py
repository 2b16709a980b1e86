"""Readers of HTTP/1.1: a request, or the answer to one, from bytes that arrive cut anywhere.

Theory of operation. Each byte of a head is read once, by llhttp, which refuses all that parsers disagree about: a bare
LF or CR, a folded header line, white space before a colon, a name that is not a token, control characters, lengths
that contradict each other. Around it stand a few rules of our own:

- The limits. A head within the length of one line cannot exceed them but in the number of its lines, so the lines are
  walked through only in a longer one. llhttp gets no byte beyond a limit.
- The first line, once it is complete. llhttp takes several spaces for one, a missing version for HTTP/0.9, other
  protocols, and control characters in a reason phrase.
- Empty lines before a request, of which llhttp takes any number, with or without CR.
- Folded lines in an answer, which llhttp refuses: their line ends are overwritten with spaces (RFC 9112 section 5.2).
- No bytes outside ASCII in the headers of the handshake.

A head ends at the first CR LF CR LF, because llhttp refuses the other spellings of a blank line. What follows is never
given to the parser of a request.

The verdict, its message included, depends on the bytes alone and not on how they were cut. llhttp does not tell which
byte it refuses: malformed.py finds out, and what the byte was doing there, once a head has been refused.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

from ..closing.errors import HandshakeError
from .malformed import describe_line_end, describe_refusal, describe_start

MAX_LINE = 8 << 10  # bytes of one line, including its CR LF
MAX_HEADERS = 100  # header lines
MAX_HEAD = 32 << 10  # bytes of a whole head, including its blank line
MAX_EMPTY_LINES = 4  # before a request
MAX_BODY = 64 << 10  # bytes kept of the body of an answer other than 101
MAX_INFORMATIONAL = 5  # 1xx answers before the final one

_CR = 0x0D


class HeadLimits(NamedTuple):
    """Bounds on one head.

    Attributes:
        line: bytes of one line, including its CR LF; the continuations of a folded line count.
        headers: header lines.
        size: bytes of the whole head, including its blank line.
    """

    line: int = MAX_LINE
    headers: int = MAX_HEADERS
    size: int = MAX_HEAD


DEFAULT_LIMITS = HeadLimits()


class _Excess(NamedTuple):
    """The first byte beyond a limit, and what is told of it."""

    offset: int
    status: int
    text: str


class Fields(list[tuple[str, str]]):
    """The headers of one message, in order: what llhttp calls."""

    __slots__ = ()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Append a header."""
        # llhttp keeps the optional white space at the end, which is no part of the value (RFC 9110 section 5.5).
        self.append((name.decode("ascii"), value.rstrip(b" \t").decode("latin-1")))


class HeadReader(ABC):
    """Collects one head, within limits and in linear time.

    Attributes:
        rest: from the end of the head on, the bytes that came after it.
    """

    __slots__ = ("_fed", "_fields", "_first_line", "_head", "_limits", "_line_start", "_lines", "_parser", "rest")

    #: The bytes with which a first line may begin.
    _first_bytes: bytes

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self.rest = b""
        self._begin()

    def _begin(self) -> None:
        """Prepare for a head."""
        self._head = bytearray()  # what has arrived of it
        self._fed = 0  # bytes of it that llhttp has read
        self._first_line: tuple[str, str, str] | None = None
        self._fields = Fields()
        self._parser = self._make_parser(self._fields)
        # How far the lines had to be checked one by one: the number of complete ones, and the offset of the next.
        self._lines = self._line_start = 0

    @abstractmethod
    def _make_parser(self, fields: Fields) -> HttpRequestParser | HttpResponseParser:
        """Return a parser for one message, with these headers."""

    @abstractmethod
    def _check_first_line(self, line: bytes) -> tuple[str, str, str]:
        """Return the parts of a first line, without its CR LF.

        Raises:
            HandshakeError: the line is malformed.
        """

    @abstractmethod
    def _error(self, status: int, text: str) -> HandshakeError:
        """Return the error for a fault of the head; the status is the one with which a server answers."""

    def _collect(self, data: bytes) -> bool:
        """Take one or more bytes of the head. Return True if it is complete.

        Raises:
            HandshakeError: the head is malformed or beyond a limit.
        """
        head = self._head
        if not head and data[0] not in self._first_bytes:
            raise self._error(400, describe_start(data))
        room = self._limits.size + 1 - len(head)  # one byte beyond the limit proves that it is exceeded
        head += data[:room]
        end = head.find(b"\r\n\r\n", max(self._fed - 3, 0)) + 4
        if end < 4:
            self._read(len(head))
            return False
        self.rest = bytes(head[end:]) + data[room:]
        del head[end:]
        self._read(end)
        return True

    def _read(self, ready: int) -> None:
        """Check the head and pass it to llhttp, as far as that has not been done.

        Args:
            ready: bytes of the head that do not depend on what may follow.

        Raises:
            HandshakeError: the head is malformed or beyond a limit.
        """
        head, limits = self._head, self._limits
        excess = None
        if len(head) > min(limits.line, limits.size) or head.count(b"\n") > limits.headers:
            excess = self._find_excess(ready)
            if excess is not None:
                ready = min(ready, excess.offset)
        if self._first_line is None and (line := bytes(head[: _end_of_line(head, ready)])):
            if not line.endswith(b"\r\n"):
                raise self._error(400, describe_line_end(line))
            self._first_line = self._check_first_line(line[:-2])
        if self._first_line is not None and self._fed < ready:
            self._feed_parser(ready)
        if excess is not None:
            raise self._error(excess.status, excess.text)

    def _find_excess(self, ready: int) -> _Excess | None:
        """Return the first byte beyond a limit; None if there is none."""
        head, limits = self._head, self._limits
        while True:
            start = self._line_start
            if self._lines > limits.headers and start < ready and head[start] != _CR:
                return _Excess(start, 431, f"the head has more than {limits.headers} headers")
            end = head.find(b"\n", start, ready) + 1
            limit = min(start + limits.line, limits.size)
            if (end or len(head)) > limit:
                if limit == limits.size:
                    return _Excess(limit, 431, f"the head is longer than {limits.size} bytes")
                what = _name_of_line(bytes(head[start:limit])) if start else "the first line"
                return _Excess(limit, 431 if start else 414, f"{what} is longer than {limits.line} bytes")
            if not end:
                return None
            self._line_start = end
            self._lines += 1

    def _feed_parser(self, end: int) -> None:
        """Pass the bytes up to this offset to llhttp."""
        try:
            self._parser.feed_data(self._head[self._fed : end])
        except HttpParserUpgrade:
            pass
        except HttpParserError:
            self._refused(bytes(self._head[:end]))
        self._fed = end

    def _refused(self, head: bytes) -> None:
        """Raise HandshakeError because llhttp refuses the beginning of a head."""
        raise self._error(400, describe_refusal(type(self._parser), head)) from None


def _end_of_line(head: bytearray, ready: int) -> int:
    """Return the length of the first line: up to an LF, or a CR and the byte after it. Return 0 if it is not ready."""
    end = head.find(b"\n", 0, ready) + 1
    after_cr = head.find(b"\r", 0, end or ready) + 2
    return after_cr if 1 < after_cr <= ready and not 0 < end < after_cr else end


def _name_of_line(line: bytes) -> str:
    name, colon, _ = line.partition(b":")
    return f"the header {name.decode('latin-1')}" if colon else "a header"


def check_ascii(fields: Fields) -> None:
    """Raise HandshakeError(400) if a header of the handshake contains a byte outside ASCII."""
    for name, value in fields:
        if not value.isascii() and name[:14].lower() == "sec-websocket-":
            raise HandshakeError(f"the header {name} has a byte that is not ASCII: {value[:60]!a}", status=400)
