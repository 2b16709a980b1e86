"""Requests and responses as data: made from values, written without injections, and the syntax of their headers."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict

from wasclean.model.heads import Headers, Request, Response, contains_token, is_token, write_head

INJECTIONS = ["a\r\nX: y", "a\0b", "a\x80b", "a\u2028b", "a\ud800b", "a\nb", "a\rb", "a\x1b[2Jb", "a\tb", "\x7f"]

# Requests.


@pytest.mark.parametrize(
    "headers",
    [
        [("Host", "h"), ("A", "b: c"), ("a", "caf\xe9"), ("B", "")],
        iter([("Host", "h"), ("A", "b: c"), ("a", "caf\xe9"), ("B", "")]),
        CIMultiDict([("Host", "h"), ("A", "b: c"), ("a", "caf\xe9"), ("B", "")]),
    ],
)
def test_a_request_is_made_from_values(headers: Headers) -> None:
    request = Request("GET", "/chat?room=1", headers, remote=("::1", 1), user="ann")
    assert (request.method, request.target, request.path, request.query, request.version, request.host) == (
        *("GET", "/chat?room=1", "/chat", "room=1", "1.1", "h"),
    )
    assert (request.remote, request.user) == (("::1", 1), "ann")
    for _ in range(3):
        assert list(request.headers.items()) == [("Host", "h"), ("A", "b: c"), ("a", "caf\xe9"), ("B", "")]


def test_a_request_of_another_version_has_it() -> None:
    request = Request("GET", "https://h/?a", version="2")
    assert (request.version, request.authority, request.target) == ("2", "h", "/?a")
    assert list(request.headers) == []
    assert request.cookies == {}
    assert (request.remote, request.user) == (None, None)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET\n", "/", ()),
        ("GET", "/\n", ()),
        ("GET", "/", {"A\nB": "c"}),
        ("GET", "/", {"A": "b\nc: d"}),
        ("GET", "/", [("A", "b", "c")]),
        ("GET", "/", [("A",)]),
    ],
)
def test_no_part_of_a_request_can_become_two(method: str, target: str, headers: Headers) -> None:
    with pytest.raises(ValueError, match="contain a line feed"):
        Request(method, target, headers)


def test_the_parts_of_a_request_are_str() -> None:
    for arguments in ((b"GET", "/"), ("GET", None), ("GET", "/", {"A": 1}), ("GET", "/", {b"A": "b"})):
        with pytest.raises(TypeError, match="str"):
            Request(*arguments)


def test_later_changes_to_the_headers_do_not_change_the_request() -> None:
    headers = [("A", "b")]
    request = Request("GET", "/", headers)
    headers.clear()
    assert list(request.headers.items()) == list(request.headers.items()) == [("A", "b")]


# Answers, written.


def test_an_answer_says_how_long_it_is_and_that_the_connection_closes() -> None:
    assert Response(404, "no such chat\n").serialize() == (
        b"HTTP/1.1 404 Not Found\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 13\r\n"
        b"Connection: close\r\n"
        b"\r\n"
        b"no such chat\n"
    )


def test_an_answer_of_str_is_utf_8() -> None:
    response = Response(200, "h\xe9")
    assert response.body == b"h\xc3\xa9"
    assert b"Content-Length: 3\r\n" in response.serialize()


def test_an_answer_of_bytes_has_a_type_of_bytes_unless_it_says_otherwise() -> None:
    assert b"Content-Type: application/octet-stream\r\n" in Response(200, b"x").serialize()
    image = Response(200, b"x", {"content-type": "image/png"}).serialize()
    assert b"content-type: image/png\r\n" in image
    assert image.lower().count(b"content-type") == 1
    assert b"Content-Type: text/html\r\n" in Response(200, "x", {"Content-Type": "text/html"}).serialize()


def test_an_empty_answer_has_a_length_and_no_type() -> None:
    assert Response(403).serialize() == b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def test_the_answer_to_head_has_the_length_but_not_the_body() -> None:
    written = Response(405, "no").serialize(head_only=True)
    assert b"Content-Length: 2\r\n" in written
    assert written.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", [100, 101, 103, 199])
def test_an_answer_that_ends_no_request_can_not_be_sent(status: int) -> None:
    with pytest.raises(ValueError, match=f"the status {status} ends no request: return None to accept a WebSocket"):
        Response(status).serialize()


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body_are_sent_without_one(status: int) -> None:
    written = Response(status, b"x").serialize()
    assert b"Content-Length" not in written
    assert written.endswith(b"Connection: close\r\n\r\n")


def test_close_is_added_to_another_connection_header() -> None:
    assert Response(426, headers={"Connection": "Upgrade"}).serialize().count(b"Connection: ") == 2
    assert Response(426, headers={"Connection": "Upgrade, Close"}).serialize().count(b"Connection: ") == 1


def test_the_length_is_always_the_true_one() -> None:
    written = Response(200, b"abc", [("content-length", "1"), ("Content-Length", "2")]).serialize()
    assert written.lower().count(b"content-length") == 1
    assert b"Content-Length: 3\r\n" in written


def test_an_answer_cannot_have_a_transfer_encoding() -> None:
    with pytest.raises(ValueError, match="Transfer-Encoding"):
        Response(200, b"x", {"transfer-encoding": "chunked"}).serialize()


def test_an_answer_can_be_sent_twice_and_changed_in_between() -> None:
    response = Response(503, "later")
    first = response.serialize()
    assert response.serialize() == first
    response.headers["Retry-After"] = "5"
    assert b"Retry-After: 5\r\n" in response.serialize()


def test_a_status_that_has_no_phrase_is_sent_without_one() -> None:
    assert Response(599).serialize().startswith(b"HTTP/1.1 599 \r\n")
    assert Response(599, reason="Odd").serialize().startswith(b"HTTP/1.1 599 Odd\r\n")
    assert repr(Response(403)) == "<Response 403 'Forbidden'>"


@pytest.mark.parametrize("status", [-1, 0, 99, 1000])
def test_a_status_out_of_range_is_refused(status: int) -> None:
    with pytest.raises(ValueError, match="100 to 999"):
        Response(status)


@pytest.mark.parametrize("bad", INJECTIONS)
def test_nothing_can_be_injected_into_an_answer(bad: str) -> None:
    with pytest.raises(ValueError, match="reason"):
        Response(200, reason=bad)
    with pytest.raises(ValueError, match="X"):
        Response(200, headers={"X": bad})
    with pytest.raises(ValueError, match="name"):
        Response(200, headers={bad: "x"})
    response = Response(200)
    response.headers["X"] = bad
    with pytest.raises(ValueError, match="X"):
        response.serialize()
    response = Response(200)
    response.reason = bad
    with pytest.raises(ValueError, match="visible"):
        response.serialize()


@pytest.mark.parametrize("name", ["", "a b", "a:", "(", "\xe9"])
def test_a_header_needs_a_token_for_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        Response(200, headers=[(name, "x")])


def test_wrong_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        Response(200, headers={"Retry-After": 5})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="list"):
        Response(200, [])  # type: ignore[arg-type]


@pytest.mark.parametrize("bad", INJECTIONS)
def test_nothing_can_be_injected_into_a_first_line(bad: str) -> None:
    with pytest.raises(ValueError, match="visible"):
        write_head(f"GET /{bad} HTTP/1.1", ())


# Words.


def test_a_token_is_made_of_the_characters_of_names() -> None:
    for text in ("a", "chat.v1", "!#$%&'*+-.^_`|~09AZaz", "__class__"):
        assert is_token(text)
    for text in (
        "",
        " ",
        "a b",
        "a,b",
        "a;b",
        "a=b",
        '"a"',
        "a/b",
        "a:b",
        "(a)",
        "{a}",
        "\xe9",
        "a\n",
        "\u2028",
        "a\0",
    ):
        assert not is_token(text)


@pytest.mark.parametrize("values", [["websocket"], ["WebSocket"], ["h2c, websocket"], ["h2c", " websocket\t,x/1"]])
def test_a_token_is_found_in_any_case_and_line(values: list[str]) -> None:
    assert contains_token(values, "websocket")


@pytest.mark.parametrize(
    "values", [[], [""], ["notwebsocket"], ["websockets"], ["web socket"], ["websocket;x"], ["web", "socket"]]
)
def test_a_part_of_a_word_is_no_token(values: list[str]) -> None:
    assert not contains_token(values, "websocket")
