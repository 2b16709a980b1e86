"""Both sides of the opening handshake together, and the texts of their errors."""

from __future__ import annotations

from typing import Any

import pytest

from tests.opening.handshakes import (
    ACCEPT,
    KEY,
    client,
    fails,
    read,
    refusal,
    request,
    response,
    sent,
)
from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import Headers
from wasclean.opening.client import UpgradeRequest
from wasclean.opening.extensions import Agreement
from wasclean.opening.headers import parse_subprotocols
from wasclean.opening.server import accept
from wasclean.opening.urls import parse_url
from wasclean.wire.deflate import Deflate

# Both.


@pytest.mark.parametrize("subprotocols", [(), ("b", "a")])
@pytest.mark.parametrize("extra", [(), {"X": "1"}])
def test_what_our_client_asks_our_server_accepts(subprotocols: tuple[str, ...], extra: Headers) -> None:
    handshake = UpgradeRequest(
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
