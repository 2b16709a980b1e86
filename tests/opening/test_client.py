"""A client's request, and its judgement of the answer (RFC 6455 section 4.1)."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.opening.handshakes import (
    ACCEPT,
    INJECTIONS,
    KEY,
    URL,
    client,
    encoded,
    fails,
    response,
    sent,
)
from wasclean.dom.exceptions import SyntaxError
from wasclean.model.heads import Response
from wasclean.opening.client import UpgradeRequest
from wasclean.opening.extensions import Agreement
from wasclean.opening.headers import accept_key
from wasclean.opening.urls import parse_url

# The client asks.


def test_a_client_sends_the_request_of_the_rfc() -> None:
    handshake = UpgradeRequest(
        parse_url("ws://server.example.com/chat"),
        key=KEY,
        origin="http://example.com",
        subprotocols=["chat", "superchat"],
    )
    assert handshake.serialize() == (
        b"GET /chat HTTP/1.1\r\n"
        b"Host: server.example.com\r\n"
        b"Upgrade: websocket\r\n"
        b"Connection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        b"Sec-WebSocket-Version: 13\r\n"
        b"Sec-WebSocket-Protocol: chat, superchat\r\n"
        b"Origin: http://example.com\r\n\r\n"
    )


def test_every_client_has_another_key_of_16_bytes() -> None:
    keys = {sent(UpgradeRequest(URL)).headers["Sec-WebSocket-Key"] for _ in range(100)}
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
    assert sent(UpgradeRequest(url)).headers["Authorization"] == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    other = UpgradeRequest(url, headers={"authorization": "Bearer x"})
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
            UpgradeRequest(URL, **argument)


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
