"""HTTP heads: limits, malformed input, any segmentation, and answers that cannot be injected into."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from httptools import HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from tests.work import count_lines
from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import Request, Response
from wasclean.opening.head_reader import MAX_BODY, MAX_HEAD, MAX_HEADERS, MAX_INFORMATIONAL, MAX_LINE, HeadLimits
from wasclean.opening.readers import RequestReader, ResponseReader

GET = b"GET /chat?room=1 HTTP/1.1\r\n"
HEAD = GET + b"Host: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
TCHARS = "!#$%&'*+-.^_`|~09AZaz"
VISIBLE = "".join(map(chr, range(0x21, 0x7F)))

Outcome = tuple[Any, ...]


def read_request(data: bytes) -> Request:
    request = RequestReader().feed(data)
    assert request is not None
    return request


def read_response(data: bytes) -> Response:
    response = ResponseReader().feed(data)
    assert response is not None
    return response


def refusal(data: bytes) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        RequestReader().feed(data)
    return caught.value


def proof(data: bytes) -> tuple[int, int]:
    """The status of the refusal, and how many bytes it took when they came one by one."""
    reader = RequestReader()
    for count in range(len(data)):
        try:
            assert reader.feed(data[count : count + 1]) is None
        except HandshakeError as error:
            return error.status, count + 1
    raise AssertionError("not refused")


def outcome(reader: RequestReader | ResponseReader, pieces: Iterable[bytes], *, eof: bool = False) -> Outcome:
    """All that a reader says about some bytes: the message and what follows it, or the error, or that it waits."""
    message: Request | Response | None = None
    rest = b""
    try:
        for piece in pieces:
            if message is None:
                message = reader.feed(piece)
                rest = reader.rest
            else:
                rest += piece
        if message is None and eof and isinstance(reader, ResponseReader):
            message = reader.feed_eof()
    except HandshakeError as error:
        # What came in the same segment as a first byte that is not of HTTP is shown, too.
        return "error", str(error).partition(", so it is not HTTP")[0], error.status
    if isinstance(message, Request):
        return "request", message.method, message.target, list(message.headers.items()), rest
    if message is not None:
        # What follows an answer other than 101 means nothing.
        rest = rest if message.status == 101 else b""
        return "response", message.status, message.reason, list(message.headers.items()), message.body, rest
    return ("waiting",)


def split(data: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(places)]


# Requests.


def test_a_request_has_its_parts() -> None:
    request = read_request(HEAD)
    assert (request.method, request.target, request.path, request.query, request.version, request.host) == (
        "GET",
        "/chat?room=1",
        "/chat",
        "room=1",
        "1.1",
        "example.com",
    )
    assert list(request.headers.items()) == [
        ("Host", "example.com"),
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
    ]
    assert request.headers["hOST"] == "example.com"
    assert request.authority is None


def test_a_request_without_a_query_has_an_empty_one() -> None:
    request = read_request(b"GET / HTTP/1.1\r\n\r\n")
    assert (request.path, request.query, request.host) == ("/", "", "")


def test_a_query_may_have_question_marks() -> None:
    assert read_request(b"GET /?a?b HTTP/1.1\r\n\r\n").query == "a?b"


def test_a_request_is_read_only_but_for_who_the_client_is() -> None:
    request = read_request(HEAD)
    assert request.remote is None
    request.remote = ("127.0.0.1", 1)
    assert request.user is None
    request.user = "ann"
    for name in ("method", "target", "headers", "other"):
        with pytest.raises(AttributeError):
            setattr(request, name, "x")


def test_the_headers_of_a_request_are_read_anew_so_that_nobody_can_change_them() -> None:
    request = read_request(HEAD)
    assert request.headers is not request.headers
    assert request.headers == request.headers


def test_an_idle_request_is_about_as_big_as_its_head() -> None:
    request = read_request(HEAD)
    # The instance and its bytes, which share nothing with the reader.
    assert sys.getsizeof(request) <= 64
    assert not hasattr(request, "__dict__")


@pytest.mark.parametrize("secret", ["Authorization: Basic c2VjcmV0", "Cookie: secret=c2VjcmV0", "Host: c2VjcmV0@h"])
def test_the_repr_of_a_request_has_no_secrets(secret: str) -> None:
    request = read_request(f"GET http://u:c2VjcmV0@h/chat?token=c2VjcmV0 HTTP/1.1\r\n{secret}\r\n\r\n".encode())
    assert "c2VjcmV0" not in repr(request)
    assert repr(request) == "<Request GET '/chat'>"


@pytest.mark.parametrize("method", ["POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"])
def test_requests_of_other_methods_are_read(method: str) -> None:
    assert read_request(f"{method} / HTTP/1.1\r\nHost: h\r\n\r\n".encode()).method == method


def test_a_connect_request_is_read() -> None:
    assert read_request(b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n").target == "h:80"


@pytest.mark.parametrize(
    ("sent", "authority", "target"),
    [
        ("http://h:80/a?b", "h:80", "/a?b"),
        ("HTTPS://h", "h", "/"),
        ("http://h?b=/c", "h", "/?b=/c"),
        ("/http://h/", None, "/http://h/"),
        ("ws://h/a", None, "ws://h/a"),
        ("*", None, "*"),
    ],
)
def test_a_target_in_absolute_form_is_taken_apart(sent: str, authority: str | None, target: str) -> None:
    request = read_request(f"GET {sent} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    assert (request.authority, request.target) == (authority, target)


def test_optional_white_space_around_a_value_is_no_part_of_it() -> None:
    headers = read_request(GET + b"A: \t b \t c \t \r\nB:\r\nC:   \r\n\r\n").headers
    assert list(headers.items()) == [("A", "b \t c"), ("B", ""), ("C", "")]


def test_bytes_outside_ascii_are_latin_1_in_headers() -> None:
    assert read_request(GET + b"A: caf\xe9\r\n\r\n").headers["A"] == "caf\xe9"


@pytest.mark.parametrize("name", ["Protocol", "Key", "Version", "Extensions", "Accept"])
def test_bytes_outside_ascii_are_refused_in_the_headers_of_the_handshake(name: str) -> None:
    error = refusal(GET + b"sec-websocket-" + name.encode() + b": \xff\r\n\r\n")
    assert error.status == 400
    assert "not ASCII" in str(error)


def test_the_paths_that_browsers_send_are_read() -> None:
    target = "/a|b%5Ec%60d%7B?f|g^h`i%22'"
    assert read_request(f"GET {target} HTTP/1.1\r\nHost: h\r\n\r\n".encode()).target == target


def test_what_follows_the_head_is_the_rest() -> None:
    reader = RequestReader()
    assert reader.feed(HEAD[:10]) is None
    assert reader.rest == b""
    assert reader.feed(HEAD[10:] + b"\x81\x00GET / HTTP/1.1\r\n\r\n") is not None
    assert reader.rest == b"\x81\x00GET / HTTP/1.1\r\n\r\n"


@pytest.mark.parametrize("body", [b"Content-Length: 40", b"Transfer-Encoding: chunked"])
def test_a_body_is_left_unread(body: bytes) -> None:
    reader = RequestReader()
    request = reader.feed(b"POST / HTTP/1.1\r\nHost: h\r\n" + body + b"\r\n\r\n3\r\nabc\r\n")
    assert request is not None
    assert reader.rest == b"3\r\nabc\r\n"


@pytest.mark.parametrize(
    ("what", "data"),
    [
        ("a bare LF after the request line", b"GET / HTTP/1.1\nHost: h\r\n\r\n"),
        ("a bare LF after a header", GET + b"Host: h\nA: b\r\n\r\n"),
        ("a bare LF in a name", GET + b"Host\n: h\r\n\r\n"),
        ("a bare LF as the blank line", GET + b"Host: h\r\n\n"),
        ("a bare CR in a value", GET + b"A: b\rc\r\n\r\n"),
        ("a bare CR in a name", GET + b"A\rb: c\r\n\r\n"),
        ("a bare CR in the request line", b"GET /\r HTTP/1.1\r\n\r\n"),
        ("two CRs", GET + b"A: b\r\r\n\r\n"),
        ("a bare CR as the blank line", GET + b"\rX"),
        ("a folded line", GET + b"A: b\r\n c\r\n\r\n"),
        ("a line folded with a tab", GET + b"A: b\r\n\tc: d\r\n\r\n"),
        ("a folded line at the start", GET + b" A: b\r\n\r\n"),
        ("a space before a colon", GET + b"Host : h\r\n\r\n"),
        ("a tab before a colon", GET + b"Host\t: h\r\n\r\n"),
        ("a space in a name", GET + b"Ho st: h\r\n\r\n"),
        ("NUL in a value", GET + b"A: b\0\r\n\r\n"),
        ("NUL in a name", GET + b"A\0: b\r\n\r\n"),
        ("NUL in the target", b"GET /\0 HTTP/1.1\r\n\r\n"),
        ("ESC in a value", GET + b"A: \x1b[2J\r\n\r\n"),
        ("DEL in a value", GET + b"A: \x7f\r\n\r\n"),
        ("a tab in the request line", b"GET\t/ HTTP/1.1\r\n\r\n"),
        ("a target that is not ASCII", b"GET /\xff HTTP/1.1\r\n\r\n"),
        ("a name that is not ASCII", GET + b"\xff: b\r\n\r\n"),
        ("a name that is no token", GET + b"A(: b\r\n\r\n"),
        ("no name", GET + b": b\r\n\r\n"),
        ("no colon", GET + b"Host\r\n\r\n"),
        ("five empty lines first", b"\r\n" * 5 + b"GET / HTTP/1.1\r\n\r\n"),
        ("a bare LF first", b"\nGET / HTTP/1.1\r\n\r\n"),
        ("a bare CR first", b"\rGET / HTTP/1.1\r\n\r\n"),
        ("a line of white space first", b" \r\nGET / HTTP/1.1\r\n\r\n"),
        ("two words in the request line", b"GET /\r\n\r\n"),
        ("four words in the request line", b"GET / x HTTP/1.1\r\n\r\n"),
        ("two spaces in the request line", b"GET  / HTTP/1.1\r\n\r\n"),
        ("a space at the end of the request line", b"GET / HTTP/1.1 \r\n\r\n"),
        ("no version", b"GET / FTP/1.1\r\n\r\n"),
        ("a method that does not exist", b"GOT / HTTP/1.1\r\n\r\n"),
        ("a method in lower case", b"get / HTTP/1.1\r\n\r\n"),
        ("a target that is none", b"GET chat HTTP/1.1\r\n\r\n"),
        ("two Content-Lengths", GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        ("a Content-Length that is no number", GET + b"Content-Length: +1\r\n\r\n"),
        ("Content-Length and Transfer-Encoding", GET + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        ("a Transfer-Encoding that does not end", GET + b"Transfer-Encoding: gzip\r\n\r\n"),
    ],
)
def test_a_malformed_head_is_answered_400(what: str, data: bytes) -> None:
    assert refusal(data).status == 400, what


@pytest.mark.parametrize(
    ("data", "count"),
    [
        (b"\x16\x03\x01\x02\x00", 1),
        (b"\r\n" * 5 + b"GET / HTTP/1.1\r\n", 9),
        (b"\r\n\nGET / HTTP/1.1\r\n", 3),
        (b"\rGET / HTTP/1.1\r\n", 2),
        (b"GET / HTTP/1.1\nHost", 15),
        (b"GET / HTTP/1.1\rHost", 16),
        (GET + b" folded", len(GET) + 1),
        (GET + b"Host : h", len(GET) + 5),
        (GET + b"A: \0bcd", len(GET) + 4),
        (b"GET\r\nHost: h\r\n\r\n", 5),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 16),
    ],
)
def test_a_malformed_head_is_refused_at_the_first_byte_that_proves_it(data: bytes, count: int) -> None:
    assert proof(data)[1] == count


@pytest.mark.parametrize("count", range(1, 5))
def test_empty_lines_before_a_request_are_skipped_wherever_they_are_cut(count: int) -> None:
    data = b"\r\n" * count + HEAD + b"\x81\x00"
    whole = outcome(RequestReader(), [HEAD + b"\x81\x00"])
    assert whole[0] == "request"
    for cut in range(len(data)):
        assert outcome(RequestReader(), [data[:cut], data[cut:]]) == whole
    assert outcome(RequestReader(), [data[i : i + 1] for i in range(len(data))]) == whole


def test_empty_lines_before_a_request_take_nothing_from_its_limits() -> None:
    line = b"GET /" + b"a" * (MAX_LINE - 16) + b" HTTP/1.1\r\n"
    assert len(line) == MAX_LINE
    assert outcome(RequestReader(), [b"\r\n" * 4 + line + b"A: b\r\n" * MAX_HEADERS + b"\r\n"])[0] == "request"


@pytest.mark.parametrize("cut", range(1, 10))
def test_empty_lines_in_several_segments_are_counted_together(cut: int) -> None:
    data = b"\r\n" * 5 + HEAD
    assert outcome(RequestReader(), [data[:cut], data[cut:]]) == outcome(RequestReader(), [data])


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP but SSH: 'SSH-2.0-OpenSSH_9.2'"),
        (b"220 mail.example.com ESMTP\r\n", "not HTTP but SMTP or FTP: '220 mail.example.com ESMTP'"),
        (b"-ERR unknown command 'GET'\r\n", "not HTTP but Redis or POP3: \"-ERR unknown command 'GET'\""),
        (b"\0\0\x12\x04\0\0\0\0\0", r"not HTTP but HTTP/2: '\x00\x00\x12\x04\x00\x00\x00\x00\x00'"),
        (b"<html>" + b"x" * 100, "not HTTP but HTML without a head: '<html>" + "x" * 54 + "'..."),
        (b"\x1b[2J\xff", r"the byte 0x1b, so it is not HTTP: '\x1b[2J\xff'"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it is TLS, not HTTP"),
    ],
)
def test_another_protocol_is_named_with_what_it_said(start: bytes, name: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        ResponseReader().feed(start)
    assert name in str(caught.value)
    assert name in str(refusal(start)) or start.startswith(b"SSH")  # for a server those are letters of a method


def test_a_first_line_that_is_none_is_shown_without_its_query() -> None:
    assert str(refusal(b"GET /chat?token=secret HTTP/1.1 x\r\n")).endswith("METHOD TARGET HTTP/1.1: 'GET /chat'")
    assert str(refusal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")) == "the request is HTTP/2.0, not HTTP/1.1"
    with pytest.raises(HandshakeError, match=r"HTTP/1\.1 STATUS REASON: 'HTTP/2 200'"):
        ResponseReader().feed(b"HTTP/2 200\r\n")


def test_a_header_that_is_too_long_is_named() -> None:
    assert str(refusal(GET + b"Cookie: " + b"a" * MAX_LINE)) == f"the header Cookie is longer than {MAX_LINE} bytes"


def test_tls_at_a_plain_port_is_called_by_its_name() -> None:
    assert "TLS" in str(refusal(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"))


@pytest.mark.parametrize("version", ["2.0", "0.9", "1.2", "3"])
def test_another_http_is_answered_505(version: str) -> None:
    assert refusal(f"GET / HTTP/{version}\r\n\r\n".encode()).status == 505


def test_half_a_head_is_no_request() -> None:
    assert RequestReader().feed(b"GET / HTTP/1.1\r\nHost: h\r\n") is None


def test_http_1_0_is_read_so_that_the_handshake_can_refuse_it() -> None:
    assert read_request(b"GET / HTTP/1.0\r\n\r\n").version == "1.0"


# Limits.


def test_a_request_line_of_8_kib_is_read_and_one_byte_more_is_answered_414() -> None:
    line = b"GET /" + b"a" * (MAX_LINE - len(b"GET / HTTP/1.1\r\n")) + b" HTTP/1.1\r\n"
    assert len(line) == MAX_LINE
    assert read_request(line + b"\r\n").method == "GET"
    assert refusal(b"GET /a" + line[5:]).status == 414
    assert proof(b"GET /" + b"a" * 100_000) == (414, MAX_LINE + 1)


def test_a_header_of_8_kib_is_read_and_one_byte_more_is_answered_431() -> None:
    line = b"A: " + b"b" * (MAX_LINE - 5) + b"\r\n"
    assert len(read_request(GET + line + b"\r\n").headers["A"]) == MAX_LINE - 5
    assert refusal(GET + b"A" + line).status == 431
    assert proof(GET + b"A: " + b"b" * 100_000) == (431, len(GET) + MAX_LINE + 1)
    assert proof(GET + b"A" * 100_000) == (431, len(GET) + MAX_LINE + 1)


def test_100_headers_are_read_and_the_first_byte_of_another_is_answered_431() -> None:
    lines = GET + b"A: b\r\n" * MAX_HEADERS
    assert len(read_request(lines + b"\r\n").headers.getall("A")) == MAX_HEADERS
    assert proof(lines + b"A: b\r\n") == (431, len(lines) + 1)


def test_2000_headers_that_hide_the_upgrade_are_answered_431() -> None:
    assert refusal(GET + b"A: b\r\n" * 2000 + b"Upgrade: websocket\r\n\r\n").status == 431


def test_a_head_of_32_kib_is_read_and_one_byte_more_is_answered_431() -> None:
    lines = GET + b"".join(b"A: " + b"b" * 7000 + b"\r\n" for _ in range(4))
    last = b"A: " + b"b" * (MAX_HEAD - len(lines) - 7) + b"\r\n\r\n"
    assert len(lines + last) == MAX_HEAD
    assert len(read_request(lines + last).headers) == 5
    assert refusal(lines + b"A" + last).status == 431
    assert proof(lines + b"AA" + last) == (431, MAX_HEAD + 1)


def test_an_endless_list_of_headers_is_answered_431() -> None:
    assert proof(GET + b"X: y\r\n" * 10_000) == (431, len(GET) + 6 * MAX_HEADERS + 1)


def test_20_mb_of_one_header_are_refused_without_being_kept() -> None:
    assert refusal(GET + b"A: " + b"b" * 20_000_000).status == 431


@pytest.mark.parametrize(
    ("data", "status", "text"),
    [
        (b"GET /aaaaaaaaaaaaaaaaaaaaaaaaa HTTP/1.1\r\n", 414, "the first line is longer than 40 bytes"),
        (GET + b"A: " + b"b" * 36 + b"\r\n", 431, "the header A is longer than 40 bytes"),
        (GET + b"A: b\r\n" * 3, 431, "the head has more than 2 headers"),
        (GET + b"A: %s\r\n" % (b"b" * 30) + b"C: %s\r\n" % (b"b" * 30), 431, "the head is longer than 80 bytes"),
    ],
)
def test_the_limits_are_those_that_a_reader_is_given(data: bytes, status: int, text: str) -> None:
    limits = HeadLimits(line=40, headers=2, size=80)
    whole = outcome(RequestReader(limits), [data])
    assert whole == ("error", text, status)
    assert outcome(RequestReader(limits), [data[i : i + 1] for i in range(len(data))]) == whole
    assert outcome(RequestReader(), [data]) == ("waiting",)


# Any segmentation, in linear time.

HEADS = [
    HEAD + b"\x81\x00",
    b"GET / HTTP/1.1\r\n\r\nrest",
    b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    GET + b"A: b\r\r\nC: d\r\n\r\n",
    GET + b"A: b\r\n c\r\n\r\n",
    GET + b"Host : h\r\n\r\n",
    GET + b"Na\rme: v\r\n\r\n",
    GET + b": v\r\n\r\n",
    GET + b"no colon\r\n\r\n",
    GET + b"nocolon\r\n\r\n",
    GET + b"a: \0\n\r\n",
    GET + b"Sec-WebSocket-Key: \xff\r\n\r\n",
    b"\x16\x03\x01",
    b"GET / HTTP/2.0\r\n\r\n",
    GET + b"A: b\r\n" * 101 + b"\r\n",
    b"GET /" + b"a" * MAX_LINE,
    GET + b"a: " + b"b" * (MAX_LINE - 4) + b"\r\r\n",
    GET + (b"a: " + b"b" * 8000 + b"\r\n") * 5,
    b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab",
]


@pytest.mark.parametrize("head", HEADS)
def test_one_byte_at_a_time_gives_the_same_as_all_at_once(head: bytes) -> None:
    whole = outcome(RequestReader(), [head])
    assert outcome(RequestReader(), [head[i : i + 1] for i in range(len(head))]) == whole


@given(head=st.sampled_from(HEADS), cuts=st.lists(st.integers(0, 1 << 16), max_size=8))
def test_a_request_may_be_cut_anywhere(head: bytes, cuts: list[int]) -> None:
    assert outcome(RequestReader(), split(head, cuts)) == outcome(RequestReader(), [head])


@given(
    tail=st.lists(
        st.sampled_from([b"\r", b"\n", b"\r\n", b":", b" ", b"\t", b"a", b"\0", b"\xff", b"A: b\r\n", b"X"]),
        max_size=20,
    ),
    cuts=st.lists(st.integers(0, 200), max_size=8),
)
def test_a_request_of_any_bytes_may_be_cut_anywhere(tail: list[bytes], cuts: list[int]) -> None:
    head = GET + b"".join(tail)
    assert outcome(RequestReader(), split(head, cuts)) == outcome(RequestReader(), [head])


#: What heads are made of, and what nearly is.
PARTS = [
    *(bytes([byte]) for byte in b"\r\n:/ \t\0\x7f\x80\xffaZ"),
    *(
        b"\r\n",
        b"\r\n\r\n",
        b": ",
        b"A: b\r\n",
        b"GET",
        b"get",
        b" / ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2",
        b"HTTP/1.1\r\n",
    ),
    *(b"Content-Length: 1\r\n", b"Sec-WebSocket-Key: \xe9\r\n", b"A: b\r\n" * 50, b"A: %s\r\n" % (b"b" * 4000)),
]


@given(
    start=st.sampled_from([b"", b"GET / HTTP/1.1\r\n", HEAD[:-2]]),
    parts=st.lists(st.sampled_from(PARTS) | st.binary(max_size=3), max_size=12),
    end=st.sampled_from([b"", b"\r\n", b"\r\n\r\n", b"\r\n\x81\x00"]),
)
def test_a_request_that_arrives_whole_is_read_as_one_that_does_not(
    start: bytes, parts: list[bytes], end: bytes
) -> None:
    data = start + b"".join(parts) + end
    assert outcome(RequestReader(), [data]) == outcome(RequestReader(), [data[:1], data[1:]] if data else [])


@pytest.mark.parametrize("count", [0, 1, MAX_HEADERS - 1, MAX_HEADERS, MAX_HEADERS + 1])
def test_a_whole_request_may_have_as_many_headers_as_another(count: int) -> None:
    data = GET + b"A: b\r\n" * count + b"\r\n"
    assert outcome(RequestReader(), [data]) == outcome(RequestReader(), [data[:1], data[1:]])


@pytest.mark.parametrize("size", range(MAX_LINE - 3, MAX_LINE + 4))
@pytest.mark.parametrize("start", [b"GET /", GET + b"A: ", GET + b"A"])
def test_a_whole_request_may_be_as_long_as_another(start: bytes, size: int) -> None:
    end = {b"GET /": b" HTTP/1.1\r\n\r\n", GET + b"A": b":\r\n\r\n"}.get(start, b"\r\n\r\n")
    for length in (size - len(end), size - len(end) + 2, size - len(GET) - 2):
        data = start + b"b" * (length - len(start)) + end
        assert outcome(RequestReader(), [data]) == outcome(RequestReader(), [data[:1], data[1:]])


@given(st.binary(max_size=100))
def test_any_bytes_are_a_request_or_a_handshake_error(data: bytes) -> None:
    assert outcome(RequestReader(), [data])[0] in ("request", "error", "waiting")


def test_each_byte_of_a_head_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    checked = 0

    class CountingParser(HttpRequestParser):
        def feed_data(self, data: Any) -> None:
            nonlocal checked
            checked += len(data)
            super().feed_data(data)

    monkeypatch.setattr("wasclean.opening.readers.HttpRequestParser", CountingParser)
    head = GET + b"A: " + b"b" * 8000 + b"\r\n\r\n"
    for size in (1, 2, 1000, len(head) - 1, len(head)):
        checked = 0
        reader = RequestReader()
        results = [reader.feed(head[start : start + size]) for start in range(0, len(head), size)]
        assert results[-1] is not None
        assert checked == len(head)


def test_a_head_that_comes_byte_by_byte_costs_linear_work() -> None:
    def work(size: int) -> int:
        reader = RequestReader()
        data = GET + b"A: " + b"b" * size
        return count_lines(lambda: [reader.feed(data[i : i + 1]) for i in range(len(data))])

    assert work(4000) <= 2.2 * work(2000)


# Answers, read.


def test_a_101_is_complete_with_its_head() -> None:
    reader = ResponseReader()
    response = reader.feed(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x00")
    assert response is not None
    assert (response.status, response.reason, response.headers["upgrade"], response.body) == (
        101,
        "Switching Protocols",
        "websocket",
        b"",
    )
    assert reader.rest == b"\x81\x00"


@pytest.mark.parametrize("extra", [b"", b"Content-Length: 4\r\n", b"Transfer-Encoding: chunked\r\n"])
def test_a_101_has_no_body_whatever_its_headers_say(extra: bytes) -> None:
    reader = ResponseReader()
    response = reader.feed(b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" + extra + b"\r\nrest")
    assert response is not None
    assert (response.body, reader.rest) == (b"", b"rest")


def test_a_101_must_be_http_1_1() -> None:
    with pytest.raises(HandshakeError, match="switches protocols"):
        ResponseReader().feed(b"HTTP/1.0 101 Sure\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")


def test_a_body_with_a_length_is_read() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nno") is None
    response = reader.feed(b"pe!more")
    assert response is not None
    assert (response.status, response.body) == (403, b"nope!")


def test_an_empty_body_is_complete_with_the_head() -> None:
    assert read_response(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").body == b""
    assert read_response(b"HTTP/1.1 204\r\n\r\n").reason == ""


def test_a_chunked_body_is_read_and_its_trailers_are_no_headers() -> None:
    data = b"HTTP/1.1 500 Oh\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: v\r\n\r\n"
    response = read_response(data)
    assert response.body == b"abcde"
    assert "T" not in response.headers


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\n\r\nhel") is None
    assert reader.feed(b"lo") is None
    assert reader.feed_eof().body == b"hello"


def test_a_body_that_is_cut_short_is_what_has_come() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel") is None
    assert reader.feed_eof().body == b"hel"


def test_a_malformed_body_ends_where_it_is_malformed() -> None:
    response = read_response(b"HTTP/1.1 502 X\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
    assert (response.status, response.body) == (502, b"abc")


def test_the_first_64_kib_of_a_body_are_kept() -> None:
    for head in (b"Content-Length: 999999\r\n\r\n", b"\r\n"):
        response = read_response(b"HTTP/1.1 200 OK\r\n" + head + b"x" * 999_999)
        assert response.body == b"x" * MAX_BODY


def test_an_endless_body_of_overhead_ends() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n") is None
    for _ in range(2 * MAX_BODY // 1000):
        assert reader.feed(b"T: " + b"v" * 995 + b"\r\n") is None
    response = reader.feed(b"T: " + b"v" * 995 + b"\r\n")
    assert response is not None
    assert list(response.headers) == ["Transfer-Encoding"]


def test_informational_answers_are_skipped() -> None:
    data = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 101 Yes\r\nA: b\r\n\r\nrest"
    )
    reader = ResponseReader()
    response = reader.feed(data)
    assert response is not None
    assert (response.status, list(response.headers.items()), reader.rest) == (101, [("A", "b")], b"rest")


def test_there_is_an_end_to_informational_answers() -> None:
    reader = ResponseReader()
    for _ in range(MAX_INFORMATIONAL):
        assert reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n") is None
    with pytest.raises(HandshakeError, match="informational"):
        reader.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 099 No Status\r\n\r\n",
        b"HTTP/1.1 000 \r\n\r\n",
        b"HTTP/1.1 99 X\r\n\r\n",
        b"HTTP/1.1 1000 X\r\n\r\n",
        b"HTTP/1.1 abc X\r\n\r\n",
        b"HTTP/1.1\r\n\r\n",
        b"HTTP/1.1 200 OK\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n A: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n \0c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\n d\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n" + b" c\r\n" * (MAX_LINE // 4),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 O\0K\r\n\r\n",
        b"HTTP/1.1 101 X\r\nSec-WebSocket-Accept: \xff\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 " + b"x" * MAX_LINE,
        b"HTTP/1.1 200 OK\r\nA: " + b"x" * MAX_LINE,
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101,
        b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"x" * 8000 + b"\r\n") * 5,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
    ],
)
def test_a_malformed_answer_is_a_handshake_error_without_a_status(data: bytes) -> None:
    with pytest.raises(HandshakeError, match="malformed") as caught:
        ResponseReader().feed(data)
    assert caught.value.status == 0
    assert caught.value.response is None


@pytest.mark.parametrize("data", [b"", b"HTTP/1.1 101 Swi", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_a_connection_that_ends_before_the_answer_is_a_handshake_error(data: bytes) -> None:
    reader = ResponseReader()
    assert reader.feed(data) is None
    with pytest.raises(HandshakeError, match="closed the connection"):
        reader.feed_eof()


ANSWERS = [
    b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x00",
    b"HTTP/1.1 101 Switching\r\n\r\n\x81\x00",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nabcdef",
    b"HTTP/1.1 500 \xe9\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT: v\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
    b"HTTP/1.1 500 \r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY + 10),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 30_000,
    b"HTTP/1.1 204 OK\r\n\r\nHTTP",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 103 x\r\n\r\n" * 7,
    b"HTTP/1.1 200 OK\rA: b\r\n\r\n",
    b"HTTP/1.1 999 \r\nContent-Length: x\r\n\r\n",
    b"HTTP/1.1 20",
    b"HTTP/1.1 101 X\r\nA: b\r\n c\r\n\t d: e\r\n \t\r\nB:\r\n\t f\r\n\r\n\x81\x00",
    b"HTTP/1.1 100 X\r\nA: b\r\n c\r\n\r\n A",
    b"HTTP/1.1 200 X\r\nA: b\r\n c\r\n" + b"D: " + b"x" * 8000 + (b"\r\n " + b"y" * 50) * 9,
]


def test_a_folded_line_of_an_answer_is_one_line_with_spaces() -> None:
    folded = read_response(b"HTTP/1.1 101 X\r\nUpgrade:\r\n websocket\r\nA: b\r\n c\r\n\td: e\r\n\t \r\nB: f\r\n\r\n")
    assert list(folded.headers.items()) == [("Upgrade", "websocket"), ("A", "b   c  \td: e"), ("B", "f")]


def test_a_folded_line_of_a_proxys_answer_is_one_line() -> None:
    response = ResponseReader(from_proxy=True).feed(b"HTTP/1.1 200 OK\r\nVia: 1.1\r\n proxy\r\n\r\n")
    assert response is not None
    assert response.headers["Via"] == "1.1   proxy"


def test_a_folded_length_is_still_the_length() -> None:
    assert read_response(b"HTTP/1.1 403 No\r\nContent-Length:\r\n 3\r\n\r\nabcdef").body == b"abc"


def test_folded_lines_count_as_one_header() -> None:
    folded = b"A: b\r\n" + b" c\r\n" * 200
    assert outcome(ResponseReader(), [b"HTTP/1.1 101 X\r\n" + folded * MAX_HEADERS])[0] == "error"
    assert outcome(ResponseReader(), [b"HTTP/1.1 101 X\r\n" + folded + b"D: e\r\n" * 99 + b"\r\n"])[0] == "response"


@given(answer=st.sampled_from(ANSWERS), cuts=st.lists(st.integers(0, 1 << 18), max_size=8))
def test_an_answer_may_be_cut_anywhere(answer: bytes, cuts: list[int]) -> None:
    whole = outcome(ResponseReader(), [answer], eof=True)
    assert outcome(ResponseReader(), split(answer, cuts), eof=True) == whole


@pytest.mark.parametrize("answer", [answer for answer in ANSWERS if len(answer) < 1000])
def test_an_answer_may_come_byte_by_byte(answer: bytes) -> None:
    pieces = [answer[i : i + 1] for i in range(len(answer))]
    assert outcome(ResponseReader(), pieces, eof=True) == outcome(ResponseReader(), [answer], eof=True)


@given(st.binary(max_size=100))
def test_any_bytes_are_an_answer_or_a_handshake_error(data: bytes) -> None:
    assert outcome(ResponseReader(), [b"HTTP/1.1 " + data], eof=True)[0] in ("response", "error")


@given(
    st.sampled_from([200, 403, 426]),
    st.dictionaries(
        st.text(TCHARS, min_size=1, max_size=8).map("X-".__add__),
        st.text(VISIBLE, max_size=20),
    ),
    st.binary(max_size=100),
)
def test_what_is_written_is_what_is_read(status: int, headers: dict[str, str], body: bytes) -> None:
    written = Response(status, b"" if status == 101 else body, headers)
    read = read_response(written.serialize())
    assert (read.status, read.reason, read.body) == (written.status, written.reason, written.body)
    assert written.headers.items() <= read.headers.items()


def test_the_answer_is_there_from_the_end_of_its_head_on() -> None:
    reader = ResponseReader()
    assert reader.feed(b"HTTP/1.1 401 x\r\n") is None
    assert reader.response is None
    assert reader.feed(b"\r\nbad") is None
    assert reader.response is not None
    assert (reader.response.status, reader.response.body) == (401, b"")
    assert reader.feed(b" user") is None
    assert reader.feed_eof() is reader.response
    assert reader.response.body == b"bad user"


@pytest.mark.parametrize(("status", "has_body"), [(101, False), (200, False), (204, False), (301, True), (407, True)])
def test_a_proxys_answer_ends_with_its_head_unless_it_refuses(status: int, has_body: bool) -> None:
    reader = ResponseReader(from_proxy=True)
    head = f"HTTP/1.1 {status} x\r\nUpgrade: x\r\nConnection: upgrade\r\nContent-Length: 4\r\n\r\n".encode()
    response = reader.feed(head)
    assert (response is None) is has_body
    if response is None:
        response = reader.feed(b"body")
    assert response is reader.response
    assert response is not None
    assert response.body == (b"body" if has_body else b"")
