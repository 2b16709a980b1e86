"""The rules of RFC 6455 section 4 for both roles, each with a message that breaks it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.work import count_lines
from wasclean.closing.errors import HandshakeError
from wasclean.dom.exceptions import SyntaxError
from wasclean.model.heads import Headers, Request, Response, write_head
from wasclean.opening.handshake import (
    Agreement,
    ClientHandshake,
    Offer,
    accept,
    accept_key,
    answer,
    check_request,
    parse_extensions,
    parse_subprotocols,
    parse_tokens,
    rejection,
)
from wasclean.opening.http import RequestReader, ResponseReader
from wasclean.opening.urls import ANY, OriginPolicy, parse_url
from wasclean.wire.deflate import Deflate

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3, with its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
URL = parse_url("ws://example.com/chat")
INJECTIONS = ["a\r\nX: y", "a\0b", "a\x80b", "a\u2028b", "a\ud800b", "a\nb", "a\rb"]

Lines = dict[str, str | list[str] | None]


def request(line: str = "GET /chat HTTP/1.1", **changes: str | list[str] | None) -> Request:
    """A valid request but for the changes: another value, several lines, or None for no header."""
    lines: Lines = {
        "Host": "example.com",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    lines.update({name.replace("_", "-"): value for name, value in changes.items()})
    headers = [
        (name, text)
        for name, value in lines.items()
        if value is not None
        for text in ([value] if isinstance(value, str) else value)
    ]
    parsed = RequestReader().feed(write_head(line, headers))
    assert parsed is not None
    return parsed


def refusal(line: str = "GET /chat HTTP/1.1", **changes: str | list[str] | None) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        accept(request(line, **changes))
    return caught.value


def response(status: int = 101, **changes: str | list[str] | None) -> Response:
    lines: Lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ACCEPT}
    lines.update({name.replace("_", "-"): value for name, value in changes.items()})
    return Response(
        status,
        headers=[
            (name, text)
            for name, value in lines.items()
            if value is not None
            for text in ([value] if isinstance(value, str) else value)
        ],
    )


def client(**options: Any) -> ClientHandshake:
    return ClientHandshake(URL, key=KEY, **options)


def fails(handshake: ClientHandshake, answered: Response) -> str:
    with pytest.raises(HandshakeError) as caught:
        handshake.check(answered)
    assert caught.value.status == answered.status
    assert caught.value.response is answered
    return str(caught.value)


def read(answered: bytes) -> Response:
    received = ResponseReader().feed(answered)
    assert received is not None
    return received


def malformed(function: Callable[[], object]) -> bool:
    try:
        function()
    except HandshakeError as error:
        if error.status != 400:
            raise
        return True
    return False


# The server accepts.


def test_the_example_of_the_rfc_is_accepted() -> None:
    answered, agreement = accept(
        request(Origin="http://example.com", Sec_WebSocket_Protocol="chat, superchat"), subprotocols=["chat"]
    )
    assert agreement == Agreement("chat")
    assert answered == (
        b"HTTP/1.1 101 Switching Protocols\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        b"Sec-WebSocket-Protocol: chat\r\n\r\n"
    )
    assert accept_key(KEY) == ACCEPT


@pytest.mark.parametrize(
    "value", ["WebSocket", "websocket, h2c", ["h2c", "WEBSOCKET"], "HTTP/2.0, websocket", ",websocket,"]
)
def test_upgrade_is_a_list_of_tokens_in_any_case(value: str | list[str]) -> None:
    accept(request(Upgrade=value))


@pytest.mark.parametrize("value", ["upgrade", "keep-alive, Upgrade", ["keep-alive", "UPGRADE"], "close,upgrade"])
def test_connection_is_a_list_of_tokens_in_any_case(value: str | list[str]) -> None:
    accept(request(Connection=value))


def test_a_target_in_absolute_form_for_this_host_is_accepted() -> None:
    accept(request("GET http://EXAMPLE.com/chat HTTP/1.1"))


def test_a_length_of_zero_is_no_body() -> None:
    accept(request(Content_Length="0"))


# The server refuses.


@pytest.mark.parametrize("method", ["POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT"])
def test_another_method_is_answered_405_with_allow(method: str) -> None:
    target = "h:80" if method == "CONNECT" else "/chat"
    error = refusal(f"{method} {target} HTTP/1.1")
    assert error.status == 405
    assert rejection(error).headers["Allow"] == "GET"


def test_http_1_0_is_answered_505() -> None:
    assert refusal("GET /chat HTTP/1.0").status == 505


@pytest.mark.parametrize("host", ["", "[", "a:b:c", "h:x", "a b", "u@h", "a/b", "%41", ["example.com"] * 2, None])
def test_a_request_without_one_valid_host_is_answered_400(host: str | list[str] | None) -> None:
    error = refusal(Host=host)
    assert error.status == 400
    assert "Host" in str(error)


@pytest.mark.parametrize("target", ["*", "ws://example.com/chat", "/chat#a"])
def test_a_target_that_is_no_path_is_answered_400(target: str) -> None:
    error = refusal(f"GET {target} HTTP/1.1")
    assert error.status == 400
    assert "target" in str(error)


@pytest.mark.parametrize("authority", ["other.com", "example.com:81", "u@example.com", ""])
def test_a_target_for_another_host_is_answered_400(authority: str) -> None:
    with pytest.raises(HandshakeError) as caught:
        check_request(request(f"GET http://{authority}/chat HTTP/1.1"))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "header", [{"Content_Length": "40"}, {"Content_Length": "01"}, {"Transfer_Encoding": "chunked"}]
)
def test_a_request_with_a_body_is_answered_400(header: dict[str, str]) -> None:
    error = refusal(**header)
    assert error.status == 400
    assert "body" in str(error)


UPGRADES = [None, "", "notwebsocket", "websocket2", "web socket", "h2c", "websocket;q=1"]


@pytest.mark.parametrize("value", UPGRADES)
def test_a_request_without_upgrade_is_answered_426(value: str | None) -> None:
    error = refusal(Upgrade=value)
    assert error.status == 426
    there = "lacks Upgrade: websocket" if value is None else f"has Upgrade: {value or '(empty)'}, without websocket"
    assert str(error) == f"this is a WebSocket server: the request {there}"


@pytest.mark.parametrize("value", [None, "", "notupgrade", "keep-alive", "upgrade2, close"])
def test_a_request_without_connection_upgrade_is_answered_426(value: str | None) -> None:
    error = refusal(Connection=value)
    assert error.status == 426
    there = "lacks Connection: Upgrade" if value is None else f"has Connection: {value or '(empty)'}, without Upgrade"
    assert str(error) == f"this is a WebSocket server: the request {there}"


@pytest.mark.parametrize("value", [None, "", "12", "8", "0", "013", "13, 8", "13;", "-13", ["13", "13"], ["13", "8"]])
def test_another_version_is_answered_426_with_the_right_one(value: str | list[str] | None) -> None:
    error = refusal(Sec_WebSocket_Version=value)
    assert error.status == 426
    answered = rejection(error)
    assert answered.headers["Sec-WebSocket-Version"] == "13"
    assert answered.headers["Upgrade"] == "websocket"
    assert answered.headers["Connection"] == "Upgrade, close"


def test_the_drafts_of_the_protocol_do_not_exist() -> None:
    error = refusal(
        Sec_WebSocket_Key=None,
        Sec_WebSocket_Version=None,
        Sec_WebSocket_Key1="4 @1  46546xW%0l 1 5",
        Sec_WebSocket_Key2="12998 5 Y3 1  .P00",
    )
    assert error.status == 426


def encoded(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()


@pytest.mark.parametrize(
    "key",
    [
        None,
        "",
        *map(encoded, (1, 15, 17, 23, 25, 4096)),
        "x",
        "=" * 24,
        KEY[:-1],
        KEY[:-2],
        KEY + "=",
        KEY + "====",
        "AAAAAAAAAAAAAAAAAAAAAB==",  # 16 bytes, but for a bit that is left over
        "dGhlIHNhbXBsZSBub25jZQ!=",
        "dGhlIHNh bXBsZSBub25jZQ==",
        "dGhlIHNhbXBsZSBub25jZ_==",
        "=GhlIHNhbXBsZSBub25jZQ=",
        KEY + ", " + KEY,
        [KEY, KEY],
        [KEY, encoded(16)],
    ],
)
def test_a_key_that_is_not_16_bytes_in_base64_is_answered_400(key: str | list[str] | None) -> None:
    error = refusal(Sec_WebSocket_Key=key)
    assert error.status == 400
    assert "Sec-WebSocket-Key" in str(error)


@given(st.binary(min_size=16, max_size=16))
def test_any_16_bytes_are_a_key(nonce: bytes) -> None:
    assert check_request(request(Sec_WebSocket_Key=base64.b64encode(nonce).decode())).key


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=30))
def test_any_text_is_a_key_or_answered_400(key: str) -> None:
    try:
        check_request(request(Sec_WebSocket_Key=key))
    except HandshakeError as error:
        if error.status != 400:
            raise
    else:
        assert base64.b64encode(base64.b64decode(key)) == key.encode()


@pytest.mark.parametrize("value", ["", ",", "a b", "a;b", "a, a", ["a", "a"], ["a", "b, a"], '"a"', "a/b"])
def test_malformed_subprotocols_are_answered_400(value: str | list[str]) -> None:
    assert refusal(Sec_WebSocket_Protocol=value).status == 400


@pytest.mark.parametrize("value", ["permessage-deflate; =1", "a b", ";", 'a; b="c', "a; b=,c"])
def test_malformed_extensions_are_answered_400(value: str) -> None:
    assert refusal(Sec_WebSocket_Extensions=value).status == 400


@pytest.mark.parametrize(
    "value", ["permessage-deflate; client_max_window_bits", "constructor, __class__; __init__", "", "x; y=1, x; y=2"]
)
def test_extensions_are_declined(value: str) -> None:
    answered, _ = accept(request(Sec_WebSocket_Extensions=value))
    assert b"Sec-WebSocket-Extensions" not in answered


def test_a_byte_outside_ascii_in_a_subprotocol_is_answered_400() -> None:
    head = write_head("GET / HTTP/1.1", request(Sec_WebSocket_Protocol="@").headers).replace(b"@", b"\xff")
    with pytest.raises(HandshakeError) as caught:
        RequestReader().feed(head)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("status", "line", "changes"),
    [
        (405, "POST /chat HTTP/1.0", {"Host": None, "Upgrade": None, "Content_Length": "1"}),
        (505, "GET /chat HTTP/1.0", {"Host": None, "Upgrade": None}),
        (400, "GET /chat HTTP/1.1", {"Host": None, "Upgrade": None, "Origin": "https://evil.com"}),
        (426, "GET /chat HTTP/1.1", {"Upgrade": None, "Sec_WebSocket_Key": None, "Origin": "https://evil.com"}),
        (426, "GET /chat HTTP/1.1", {"Sec_WebSocket_Version": "8", "Sec_WebSocket_Key": None}),
        (400, "GET /chat HTTP/1.1", {"Sec_WebSocket_Key": "", "Origin": "https://evil.com"}),
        (400, "GET /chat HTTP/1.1", {"Sec_WebSocket_Protocol": "", "Origin": "https://evil.com"}),
        (403, "GET /chat HTTP/1.1", {"Origin": "https://evil.com"}),
    ],
)
def test_the_first_check_that_fails_is_the_answer(status: int, line: str, changes: dict[str, str | None]) -> None:
    assert refusal(line, **changes).status == status


# The server and the Origin; more in test_urls.py.


def test_another_origin_is_answered_403_and_told_what_would_let_it_in() -> None:
    error = refusal(Origin="https://evil.com")
    assert error.status == 403
    assert "origins=[..., 'https://evil.com']" in str(error)


def test_a_page_that_is_refused_is_not_told_what_would_let_it_in() -> None:
    response = rejection(refusal(Origin="https://evil.com"))
    assert (response.status, response.body) == (403, b"this page may not connect here\n")


def test_two_origins_are_answered_400() -> None:
    assert refusal(Origin=["http://example.com", "http://example.com"]).status == 400


def test_origins_can_be_given_as_they_are_or_as_a_policy() -> None:
    for origins in (["https://evil.com"], ANY, OriginPolicy(["https://evil.com"]), OriginPolicy(ANY)):
        accept(request(Origin="https://evil.com"), origins=origins)
    with pytest.raises(HandshakeError):
        accept(request(Origin="http://example.com"), origins=OriginPolicy([]))


# The server's answer.


@pytest.mark.parametrize(
    ("ours", "theirs", "chosen"),
    [
        (["a", "b"], "b, a", "a"),
        (["b", "a"], "b, a", "b"),
        (["a"], ["c", "b,a"], "a"),
        (["a"], "A", ""),
        (["a"], "b", ""),
        (["a"], None, ""),
        ([], "a", ""),
    ],
)
def test_the_server_prefers_in_its_own_order(ours: list[str], theirs: str | list[str] | None, chosen: str) -> None:
    answered, agreement = accept(request(Sec_WebSocket_Protocol=theirs), subprotocols=ours)
    assert agreement.subprotocol == chosen
    assert list(read(answered).headers.getall("Sec-WebSocket-Protocol", ())) == [chosen] * bool(chosen)


def test_the_checks_and_the_answer_can_be_had_apart() -> None:
    offer = check_request(request(Sec_WebSocket_Protocol="a, b"))
    assert offer == Offer(KEY, ("a", "b"), ())
    answered, agreement = answer(offer, subprotocols=["b"])
    assert (read(answered).headers["Sec-WebSocket-Accept"], agreement) == (ACCEPT, Agreement("b"))


def test_the_answer_has_the_extra_headers() -> None:
    answered, _ = accept(request(), headers=[("Set-Cookie", "a"), ("Set-Cookie", "b")])
    assert read(answered).headers.getall("Set-Cookie") == ["a", "b"]


OWN = [
    "Upgrade",
    "connection",
    "Content-Length",
    "Transfer-Encoding",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "sec-websocket-extensions",
    "Sec-WebSocket-Key",
    "Sec-WebSocket-Version",
]


@pytest.mark.parametrize("name", OWN)
def test_extra_headers_cannot_replace_those_of_the_handshake(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        accept(request(), headers={name: "x"})
    with pytest.raises(ValueError, match=name):
        client(headers={name: "x"})


@pytest.mark.parametrize("bad", INJECTIONS)
def test_nothing_can_be_injected_into_the_answer(bad: str) -> None:
    for headers in ({"X": bad}, {bad: "x"}):
        with pytest.raises(ValueError, match="header"):
            accept(request(), headers=headers)


def test_a_rejection_is_one_line_and_closes_the_connection() -> None:
    answered = rejection(HandshakeError("no such chat", status=404)).serialize()
    assert answered.startswith(b"HTTP/1.1 404 Not Found\r\n")
    assert b"Connection: close\r\n" in answered
    assert answered.endswith(b"\r\n\r\nno such chat\n")


def test_a_rejection_without_a_status_is_400() -> None:
    assert rejection(HandshakeError("what?")).status == 400


@pytest.mark.parametrize("status", [400, 403, 405, 408, 414, 426, 431, 500, 503, 505])
def test_every_rejection_can_be_sent_and_is_no_101(status: int) -> None:
    written = rejection(HandshakeError("no", status=status)).serialize()
    parsed = ResponseReader().feed(written)
    assert parsed is not None
    assert (parsed.status, parsed.body) == (status, b"no\n" if status != 403 else b"this page may not connect here\n")


def test_a_rejection_does_not_repeat_control_characters() -> None:
    for changes in ({"Origin": "https://evil\x1b[2J"}, {"Host": "\x1b"}):
        head = write_head("GET / HTTP/1.1", request().headers)
        lines = "".join(f"{name}: {value}\r\n" for name, value in changes.items()).encode()
        with pytest.raises(HandshakeError) as caught:
            RequestReader().feed(head[:-2] + lines + b"\r\n")
        assert str(caught.value).isprintable()


# The grammar.


def test_tokens_are_between_commas_over_several_lines() -> None:
    assert parse_tokens([" a,b ,\tc\t", "", ",d,,"]) == ["a", "b", "c", "d"]
    assert parse_tokens([]) == []


@pytest.mark.parametrize("value", ["a b", "a;b", "a=b", '"a"', "a\xe9", "(a)", "a, b c"])
def test_a_list_of_something_else_than_tokens_is_malformed(value: str) -> None:
    assert malformed(lambda: parse_tokens([value]))


def test_subprotocols_are_in_the_order_of_the_client_and_keep_their_case() -> None:
    assert parse_subprotocols(["b, A", "a"]) == ["b", "A", "a"]
    assert parse_subprotocols([]) == []


@pytest.mark.parametrize(
    ("values", "extensions"),
    [
        ([], []),
        ([""], []),
        ([" , ,"], []),
        (["foo"], [("foo", [])]),
        (["foo, bar; baz=2"], [("foo", []), ("bar", [("baz", "2")])]),
        (['foo; bar="2" ; baz', "qux"], [("foo", [("bar", "2"), ("baz", None)]), ("qux", [])]),
        (['a ; b = "\\c\\d" , ,\te'], [("a", [("b", "cd")]), ("e", [])]),
        (
            ["permessage-deflate; client_max_window_bits; server_max_window_bits=10, permessage-deflate"],
            [
                ("permessage-deflate", [("client_max_window_bits", None), ("server_max_window_bits", "10")]),
                ("permessage-deflate", []),
            ],
        ),
        (["a;b;b=1;b"], [("a", [("b", None), ("b", "1"), ("b", None)])]),
        (["__class__; __init__=constructor"], [("__class__", [("__init__", "constructor")])]),
    ],
)
def test_extensions_are_parsed(values: list[str], extensions: list[Any]) -> None:
    assert parse_extensions(values) == extensions


@pytest.mark.parametrize(
    "value",
    [
        ";",
        "a;",
        "a;;b",
        "a; =b",
        "a; b=",
        "a; b=,",
        "a=b",
        "a b",
        "a; b c",
        "a; b=c d",
        'a; b="c',
        'a; b="',
        'a; b="c\\',
        'a; b="c\\"',
        'a; b=""',
        'a; b="c d"',
        'a; b="c"d',
        'a; b="\xe9"',
        '"a"',
        "a; b='(c)'",
        "\xe9",
        "a/b",
    ],
)
def test_malformed_extensions_are_malformed(value: str) -> None:
    assert malformed(lambda: parse_extensions([value]))


def test_a_quoted_string_does_not_go_on_in_the_next_header() -> None:
    assert malformed(lambda: parse_extensions(['a; b="c', 'd"']))


@given(st.text('ab;=,"\\ \t\xe9', max_size=30))
def test_any_text_is_extensions_or_malformed(value: str) -> None:
    malformed(lambda: parse_extensions([value]))


@pytest.mark.parametrize(
    "make",
    [
        lambda n: "b" + " " * n + "x",
        lambda n: 'a; b="' + "\\c" * n,
        lambda n: "a" * n,
        lambda n: "a;" * n,
        lambda n: "a," * n,
        lambda n: " " * n,
        lambda n: "a; b" + "=" * n,
        lambda n: 'a; b="c"' * n,
    ],
)
@pytest.mark.parametrize("parse", [parse_extensions, parse_subprotocols, parse_tokens])
def test_a_hostile_header_costs_linear_work(make: Callable[[int], str], parse: Callable[[list[str]], object]) -> None:
    def work(size: int) -> int:
        return count_lines(lambda: malformed(lambda: parse([make(size)])))

    assert work(4000) <= 2.2 * work(2000) + 100


# The client asks.


def test_a_client_sends_the_request_of_the_rfc() -> None:
    handshake = ClientHandshake(
        parse_url("ws://server.example.com/chat"),
        key=KEY,
        origin="http://example.com",
        subprotocols=["chat", "superchat"],
    )
    assert handshake.request() == (
        b"GET /chat HTTP/1.1\r\n"
        b"Host: server.example.com\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\n"
        b"Origin: http://example.com\r\n\r\n"
    )


def sent(handshake: ClientHandshake) -> Request:
    parsed = RequestReader().feed(handshake.request())
    assert parsed is not None
    return parsed


def test_every_client_has_another_key_of_16_bytes() -> None:
    keys = {sent(ClientHandshake(URL)).headers["Sec-WebSocket-Key"] for _ in range(100)}
    assert len(keys) == 100
    assert {len(base64.b64decode(key, validate=True)) for key in keys} == {16}


def test_the_extra_headers_are_sent_in_order() -> None:
    headers = sent(client(headers=[("Cookie", "a"), ("X", "1"), ("X", "2")])).headers
    assert list(headers.items())[-3:] == [("Cookie", "a"), ("X", "1"), ("X", "2")]


def test_the_host_can_be_replaced_once() -> None:
    headers = sent(client(headers={"X": "1", "hOST": "other:8000"})).headers
    assert next(iter(headers.items())) == ("hOST", "other:8000")
    assert headers.getall("Host") == ["other:8000"]
    with pytest.raises(ValueError, match="more than one Host"):
        client(headers=[("Host", "a"), ("host", "b")])


def test_there_is_one_origin() -> None:
    assert sent(client(headers={"Origin": "null"})).headers.getall("Origin") == ["null"]
    with pytest.raises(ValueError, match="more than one Origin"):
        client(origin="null", headers={"Origin": "null"})
    with pytest.raises(ValueError, match="more than one Origin"):
        client(headers=[("Origin", "null"), ("origin", "null")])


def test_a_user_agent_is_sent_when_it_is_given_unless_there_is_another() -> None:
    assert "User-Agent" not in sent(client()).headers
    assert sent(client(user_agent="me/1")).headers["User-Agent"] == "me/1"
    assert sent(client(user_agent="me/1", headers={"user-agent": "you"})).headers.getall("User-Agent") == ["you"]


def test_credentials_in_the_url_are_sent_as_authorization_unless_there_is_another() -> None:
    url = parse_url("ws://Aladdin:open%20sesame@h/")
    assert sent(ClientHandshake(url)).headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    other = ClientHandshake(url, headers={"authorization": "Bearer x"})
    assert sent(other).headers.getall("Authorization") == ["Bearer x"]
    assert "Authorization" not in sent(client()).headers


@pytest.mark.parametrize("bad", INJECTIONS)
def test_nothing_can_be_injected_into_the_request(bad: str) -> None:
    arguments: list[dict[str, Any]] = [
        {"headers": {"X": bad}},
        {"headers": {bad: "x"}},
        {"headers": {"Host": bad}},
        {"origin": bad},
        {"user_agent": bad},
        {"subprotocols": [bad]},
        {"subprotocols": bad},
        {"key": bad},
    ]
    for argument in arguments:
        with pytest.raises(ValueError):  # noqa: PT011 - a ValueError of any kind, before there is a byte to send
            ClientHandshake(URL, **argument)


def test_subprotocols_are_checked() -> None:
    for subprotocols in (["a", "a"], ["a, b"], ""):
        with pytest.raises(SyntaxError):
            client(subprotocols=subprotocols)


# The client judges the answer.


def test_the_answer_of_the_rfc_is_accepted() -> None:
    assert client().check(response()) == Agreement()
    assert client(subprotocols=["chat", "b"]).check(response(Sec_WebSocket_Protocol="chat")) == Agreement("chat")


@pytest.mark.parametrize("status", [100, 102, 200, 204, 301, 400, 401, 403, 404, 426, 500, 503])
def test_another_status_fails_and_is_told(status: int) -> None:
    assert str(status) in fails(client(), response(status))


def test_the_reason_of_another_status_is_told_in_ascii() -> None:
    answered = Response(403)
    answered.reason = "\x1b[2J\xe9"
    message = fails(client(), answered)
    assert message.isascii()
    assert message.isprintable()


@pytest.mark.parametrize("value", [None, "", "notwebsocket", "websocket, h2c", "h2c", ["websocket", "websocket"]])
def test_another_upgrade_fails(value: str | list[str] | None) -> None:
    assert "Upgrade" in fails(client(), response(Upgrade=value))


@pytest.mark.parametrize("value", [None, "", "close", "notupgrade", "keep-alive"])
def test_another_connection_fails(value: str | None) -> None:
    assert "Connection" in fails(client(), response(Connection=value))


def test_upgrade_and_connection_are_in_any_case() -> None:
    client().check(response(Upgrade="WebSocket", Connection=["keep-alive", "x, UPGRADE"]))


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        ACCEPT.lower(),
        ACCEPT.upper(),
        ACCEPT[:-1],
        ACCEPT + "=",
        ACCEPT + "x",
        ACCEPT + "," + ACCEPT,
        [ACCEPT, ACCEPT],
        [ACCEPT, "x"],
        accept_key(encoded(16)),
        KEY,
    ],
)
def test_another_accept_fails(value: str | list[str] | None) -> None:
    assert "Sec-WebSocket-Accept" in fails(client(), response(Sec_WebSocket_Accept=value))


@pytest.mark.parametrize("value", ["permessage-deflate", "x; y", ["", "x"], ","])
def test_an_extension_that_was_not_offered_fails(value: str | list[str]) -> None:
    assert "extension" in fails(client(), response(Sec_WebSocket_Extensions=value))


def test_no_extensions_are_no_extensions() -> None:
    client().check(response(Sec_WebSocket_Extensions=""))


@pytest.mark.parametrize("value", ["", "chat", "a, b", ["a", "b"], ["a", "a"], "A", "ab", "c"])
def test_a_subprotocol_that_was_not_offered_fails(value: str | list[str]) -> None:
    assert "subprotocol" in fails(client(subprotocols=["a", "b"]), response(Sec_WebSocket_Protocol=value))
    assert "subprotocol" in fails(client(), response(Sec_WebSocket_Protocol=value))


def test_a_server_that_picks_no_subprotocol_fails_unless_that_is_allowed() -> None:
    assert "none of the subprotocols" in fails(client(subprotocols=["a"]), response())
    assert client(subprotocols=["a"], subprotocol_required=False).check(response()) == Agreement()
    fails(client(subprotocols=["a"], subprotocol_required=False), response(Sec_WebSocket_Protocol="b"))


# Both.


@pytest.mark.parametrize("subprotocols", [(), ("b", "a")])
@pytest.mark.parametrize("extra", [(), {"X": "1"}])
def test_what_our_client_asks_our_server_accepts(subprotocols: tuple[str, ...], extra: Headers) -> None:
    handshake = ClientHandshake(
        parse_url("wss://u:p@localhost:8000/?a=b"),
        subprotocols=subprotocols,
        origin="https://localhost:8000",
        headers=extra,
    )
    answered, agreement = accept(sent(handshake), subprotocols=["a", "b"], headers=extra)
    assert handshake.check(read(answered)) == agreement == Agreement("a" if subprotocols else "")


def test_a_request_may_offer_names_that_differ_in_case_alone() -> None:
    assert parse_subprotocols(["chat, Chat"]) == ["chat", "Chat"]


# What an error says: what was there, escaped and not at length.

LONG = "x" * 3000


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"Upgrade": ["h2c", "foo"]}, "the request has Upgrade twice: h2c, foo, without websocket"),
        ({"Connection": ["close"] * 3}, "the request has Connection 3 times: close, close, close, without Upgrade"),
        ({"Sec_WebSocket_Version": "8"}, "the request has Sec-WebSocket-Version: 8, not 13"),
        ({"Sec_WebSocket_Version": ["13", "8"]}, "the request has Sec-WebSocket-Version twice: 13, 8, not 13"),
        ({"Sec_WebSocket_Version": None}, "the request lacks Sec-WebSocket-Version: 13"),
        ({"Sec_WebSocket_Key": "YQ=="}, "the request has Sec-WebSocket-Key: YQ==, not 16 bytes in base64"),
        ({"Sec_WebSocket_Key": None}, "the request lacks Sec-WebSocket-Key: 16 bytes in base64"),
        ({"Host": "a b"}, "the request has Host: a b, not one valid name or address"),
        ({"Host": ["a", "b"]}, "the request has Host twice: a, b, not one valid name or address"),
        ({"Host": None}, "the request lacks Host: one valid name or address"),
        ({"Content_Length": "5"}, "a WebSocket handshake has no body, and no Content-Length: 5"),
        (
            {"Transfer_Encoding": "chunked"},
            "a WebSocket handshake has no body, and no Transfer-Encoding: chunked",
        ),
        ({"line": "GET http://u:secret@a/ HTTP/1.1"}, "the request's target and Host disagree: a and example.com"),
        ({"line": "GET * HTTP/1.1"}, "the target of the request is not a path: *"),
        ({"line": "GET / HTTP/1.0"}, "a WebSocket handshake needs HTTP/1.1, not HTTP/1.0"),
        (
            {"Sec_WebSocket_Protocol": ["a, b", "a"]},
            "Sec-WebSocket-Protocol has a subprotocol twice: a, b, a",
        ),
        ({"Sec_WebSocket_Protocol": "a, b c"}, "a list in a header has an element that is no token: b c"),
        ({"Sec_WebSocket_Extensions": "a; b=(c"}, "Sec-WebSocket-Extensions is malformed at character 6 of a; b=(c"),
        ({"Origin": ["http://a", "null"]}, "the request has more than one Origin: 'http://a, null'"),
        ({"Origin": "file:///x"}, "the request's Origin is malformed: 'file:///x'"),
    ],
)
def test_a_refused_request_is_told_what_it_had(changes: Any, told: str) -> None:
    assert str(refusal(**changes)).endswith(told)


@pytest.mark.parametrize(
    ("options", "changes", "told"),
    [
        ({}, {"Upgrade": ["websocket"] * 2}, "has Upgrade twice: websocket, websocket, not websocket"),
        ({}, {"Upgrade": "websocket, h2c"}, "has Upgrade: websocket, h2c, not websocket"),
        ({}, {"Upgrade": ""}, "has Upgrade: (empty), not websocket"),
        ({}, {"Upgrade": None}, "lacks Upgrade: websocket"),
        ({}, {"Connection": ["a", "b"]}, "has Connection twice: a, b, without Upgrade"),
        ({}, {"Sec_WebSocket_Accept": KEY}, f"has Sec-WebSocket-Accept: {KEY}, not {ACCEPT} for our key"),
        ({}, {"Sec_WebSocket_Accept": None}, f"lacks Sec-WebSocket-Accept: {ACCEPT} for our key"),
        ({}, {"Sec_WebSocket_Extensions": "x-foo; y"}, "the server uses an extension that was not offered: x-foo"),
        ({}, {"Sec_WebSocket_Extensions": ["", ","]}, "in Sec-WebSocket-Extensions: (empty), ,"),
        (
            {"deflates": [Deflate()]},
            {"Sec_WebSocket_Extensions": "permessage-deflate; a=1; b"},
            "the server's parameters of permessage-deflate are not valid: a=1; b",
        ),
        (
            {"deflates": [Deflate(server_max_window_bits=9)]},
            {"Sec_WebSocket_Extensions": "permessage-deflate"},
            "are beyond what was offered (permessage-deflate; server_max_window_bits=9; client_max_window_bits): none",
        ),
        (
            {"deflates": [Deflate()]},
            {"Sec_WebSocket_Extensions": "permessage-deflate, permessage-deflate"},
            "the server uses the extension permessage-deflate 2 times",
        ),
        (
            {"subprotocols": ["a", "b"]},
            {"Sec_WebSocket_Protocol": "c"},
            "the server picked a subprotocol that was not offered: c; offered: a, b",
        ),
        ({}, {"Sec_WebSocket_Protocol": "c"}, "the server picked a subprotocol that was not offered: c; offered: none"),
        (
            {"subprotocols": ["a", "b"]},
            {"Sec_WebSocket_Protocol": ["a", "b"]},
            "the server picked more than one subprotocol: a, b",
        ),
        ({"subprotocols": ["a", "b"]}, {}, "the server picked none of the subprotocols offered: a, b"),
    ],
)
def test_a_refused_answer_is_told_with_what_it_had(options: Any, changes: Any, told: str) -> None:
    assert fails(client(**options), response(**changes)).endswith(told)


@pytest.mark.parametrize(
    "changes",
    [
        *({name: LONG} for name in ("Upgrade", "Connection", "Sec_WebSocket_Version", "Sec_WebSocket_Key", "Origin")),
        *({name: f"{LONG} ("} for name in ("Sec_WebSocket_Protocol", "Sec_WebSocket_Extensions")),
        *({"Content_Length": "1" * 3000}, {"Host": f"{LONG} {LONG}"}, {"line": f"{LONG.upper()} / HTTP/1.1"}),
        {"line": f"GET http://{LONG}/ HTTP/1.1"},
    ],
)
def test_an_error_is_not_as_long_as_what_it_tells_of(changes: Any) -> None:
    with pytest.raises(HandshakeError) as caught:
        accept(request(**changes))
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "name", ["Upgrade", "Connection", "Sec_WebSocket_Accept", "Sec_WebSocket_Protocol", "Sec_WebSocket_Extensions"]
)
def test_an_error_escapes_what_an_answer_had(name: str) -> None:
    answered = response()
    answered.headers[name.replace("_", "-")] = f"\x1b[2J\u2028{LONG}"
    error = fails(client(subprotocols=["a"]), answered)
    assert error.isprintable()
    assert len(error) < 400
