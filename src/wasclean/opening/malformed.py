"""What is wrong with a head that has been refused, in words. Speed does not matter here: refusals are rare.

Nothing quotes the value of a header or the query of a target, because they can be secrets.
"""

from __future__ import annotations

from bisect import bisect_left

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser, HttpResponseParser

_SHOWN = 60  # bytes of a first line that an error shows
_LF, _COLON = b"\n:"
VISIBLE = bytes(range(0x20, 0x7F))

#: The bytes of a field value or a reason phrase: visible ones, SP, HTAB, and obs-text (RFC 9110 section 5.5).
TEXT = b"\t" + VISIBLE + bytes(range(0x80, 0x100))

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


def describe_start(data: bytes) -> str:
    """Describe a first line whose first byte cannot begin one of HTTP. The end depends on more than that byte."""
    if data[0] in (0x15, 0x16):  # the types of TLS records that come first: alert and handshake
        return "it is TLS, not HTTP (is the URL wss: on one side and ws: on the other?)"
    line = data.partition(b"\n")[0]
    name = next((f" but {name}" for start, name in _OTHERS if line.startswith(start)), "")
    return f"it starts with the byte 0x{data[0]:02x}, so it is not HTTP{name}: {excerpt_of_line(line)}"


def excerpt_of_line(line: bytes) -> str:
    """Return the beginning of a first line, quoted, without the query of its target."""
    line = line.rstrip(b"\r\n").partition(b"?")[0]
    return f"{line[:_SHOWN].decode('latin-1')!a}" + ("..." if len(line) > _SHOWN else "")


def describe_line_end(line: bytes) -> str:
    """Describe the end of a line that has no CR LF: an LF alone, or a CR and another byte."""
    return "a line ends with LF alone instead of CR LF" if line[-1:] == b"\n" else "a CR is not followed by LF"


def describe_refusal(parser: type[HttpRequestParser] | type[HttpResponseParser], head: bytes) -> str:
    """Describe the first byte that llhttp refuses.

    Args:
        parser: the parser that has refused the head.
        head: the beginning of a head.
    """
    count = bisect_left(range(len(head)), True, key=lambda count: bool(_reason(parser, head[:count])))
    reason = _reason(parser, head[:count])
    before, last = head[: count - 1], head[count - 1]
    line = before.rpartition(b"\n")[2]  # the part of the line before that byte
    if line == before:
        return reason if last in VISIBLE else f"the first line has the byte 0x{last:02x}"
    if (last == _LF) != line.endswith(b"\r"):
        return describe_line_end(head[:count])
    if b":" in line:
        return reason if last in TEXT or last == _LF else f"a header has the byte 0x{last:02x}"
    if last in b"\r\n":
        return "a header line has no colon" if line.strip(b"\r") else reason
    if last in b" \t":
        return "there is white space before a header's colon" if line else "a header line is folded"
    if last == _COLON:
        return "a header has no name"
    return f"a header's name has the byte 0x{last:02x}"


def _reason(parser: type[HttpRequestParser] | type[HttpResponseParser], head: bytes) -> str:
    """Return the reason for which llhttp refuses the beginning of a head; empty if it does not."""
    try:
        parser(None).feed_data(head)
    except HttpParserUpgrade:
        pass
    except HttpParserError as error:
        return str(error)
    return ""
