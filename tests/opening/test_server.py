"""A server accepts and refuses requests (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.opening.handshakes import (
    ACCEPT,
    INJECTIONS,
    KEY,
    client,
    encoded,
    read,
    refusal,
    request,
)
from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import write_head
from wasclean.opening.extensions import Agreement
from wasclean.opening.headers import accept_key
from wasclean.opening.origins import ANY, OriginPolicy
from wasclean.opening.readers import RequestReader, ResponseReader
from wasclean.opening.server import Offer, accept, answer, check_request, rejection

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
