"""Properties of HTTP heads, for arbitrary input."""

from __future__ import annotations

from typing import Any

from multidict import CIMultiDict, CIMultiDictProxy

from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import write_head
from wasclean.opening.head_reader import MAX_HEAD, MAX_HEADERS, MAX_LINE

ADDED = 3  # headers that may be added when a response is serialized
MARGIN = 256  # bytes that they, and white space, may take


def read(reader: Any, data: bytes, chunk: int = 0) -> tuple[Any, bytes, HandshakeError | None]:
    """Feed a reader until it returns a message or raises.

    Args:
        reader: a RequestReader or a ResponseReader.
        data: the input.
        chunk: the number of bytes to feed at a time; 0 for all.

    Returns:
        The message, or None; the bytes after it; and the error, or None.
    """
    chunk = chunk or max(len(data), 1)
    for start in range(0, len(data), chunk):
        try:
            message = reader.feed(data[start : start + chunk])
        except HandshakeError as error:
            return None, b"", error
        assert len(reader._head) <= MAX_HEAD, "more than the limit is kept"
        if message is not None:
            return message, reader.rest + data[start + chunk :], None
    return None, b"", None


def verdict(error: HandshakeError | None) -> str:
    """Return the text of an error, without the excerpt of input that is not HTTP, which depends on the segments."""
    return str(error).partition(", so it is not HTTP")[0]


def check_head(head: bytes) -> None:
    """Check that an accepted head, or the beginning of one, is within the limits and unambiguous for other parsers."""
    while head.startswith(b"\r\n"):
        head = head[2:]  # empty lines before a request
    assert len(head) <= MAX_HEAD
    lines = head.split(b"\r\n")
    assert all(len(line) + 2 <= MAX_LINE for line in lines[:-1])
    assert len([line for line in lines[1:] if line.rstrip(b"\r")]) <= MAX_HEADERS
    assert b"\0" not in head
    for line in lines[:-1]:
        assert b"\n" not in line and b"\r" not in line, "a line ends with half a CR LF"
    for line in lines[1:-2]:
        name, colon, _ = line.partition(b":")
        assert colon and name and name.strip(b" \t") == name, "a header's name is none"


def write_back(first_line: str, headers: CIMultiDict[str] | CIMultiDictProxy[str]) -> bytes | None:
    """Serialize parsed headers; return None if write_head() refuses them, or the result could exceed a limit."""
    assert all(value == value.strip(" \t") for value in headers.values()), "white space is no part of a value"
    try:
        head = write_head(first_line, headers)
    except ValueError:
        assert not all(text.isascii() and text.isprintable() for text in (first_line, *headers.values()))
        return None
    longest = max(map(len, head.split(b"\r\n")))
    fits = len(headers) + ADDED <= MAX_HEADERS and longest + MARGIN <= MAX_LINE and len(head) + MARGIN <= MAX_HEAD
    return head if fits else None
