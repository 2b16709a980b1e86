"""Requests and answers of the opening handshake for tests, and what is made of them."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

import pytest

from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import Request, Response, write_head
from wasclean.opening.client import UpgradeRequest
from wasclean.opening.readers import RequestReader, ResponseReader
from wasclean.opening.server import accept
from wasclean.opening.urls import parse_url

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


def client(**options: Any) -> UpgradeRequest:
    return UpgradeRequest(URL, key=KEY, **options)


def fails(handshake: UpgradeRequest, answered: Response) -> str:
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


def sent(handshake: UpgradeRequest) -> Request:
    parsed = RequestReader().feed(handshake.serialize())
    assert parsed is not None
    return parsed


def encoded(size: int) -> str:
    return base64.b64encode(bytes(size)).decode()
