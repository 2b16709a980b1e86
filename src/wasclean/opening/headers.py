"""The headers of the opening handshake: the grammar of their lists, and the headers that a program may add."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..closing.errors import HandshakeError
from ..model.heads import Headers, header_items, is_token, list_elements
from ..model.registry import ACCEPT_GUID
from ..model.wording import excerpt
from .extensions import Extension

if TYPE_CHECKING:
    from multidict import CIMultiDict, CIMultiDictProxy

#: The headers on which the handshake and the framing of HTTP messages depend.
_OWN = frozenset({"upgrade", "connection", "content-length", "transfer-encoding"})


def check_headers(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers that a program adds to a request or to an answer, as pairs.

    Raises:
        TypeError, ValueError: see header_items(); or one of them is set by the handshake itself.
    """
    items = header_items(headers)
    for name, _ in items:
        if name.lower() in _OWN or name.lower().startswith("sec-websocket-"):
            hint = ": use subprotocols=" if name.lower() == "sec-websocket-protocol" else ""
            raise ValueError(f"the handshake sets the header {name} itself{hint}")
    return items


def check_single(headers: Sequence[tuple[str, str]], origin: str | None) -> None:
    """Check that the headers of a request, and the option ``origin``, give at most one Host and one Origin.

    Raises:
        ValueError: they give more.
    """
    names = [name.lower() for name, _ in headers]
    if names.count("host") > 1:
        raise ValueError("the headers have more than one Host")
    if names.count("origin") + (origin is not None) > 1:
        raise ValueError("there is more than one Origin: give it as origin= or among the headers")


def parse_tokens(values: Iterable[str]) -> list[str]:
    """Return the tokens of a comma-separated list that may extend over several header lines.

    Raises:
        HandshakeError: an element is not a token (status 400).
    """
    tokens = list_elements(values)
    for token in tokens:
        if not is_token(token):
            raise HandshakeError(f"a list in a header has an element that is no token: {excerpt(token)}", status=400)
    return tokens


def parse_subprotocols(values: Sequence[str]) -> list[str]:
    """Return the subprotocols in the Sec-WebSocket-Protocol headers of a request, in the client's order.

    Raises:
        HandshakeError: there is a header but no subprotocol, or one is not a token, or occurs twice (status 400).

    Source: RFC 6455 sections 4.1 item 10 and 11.3.4.
    """
    if not values:
        return []
    subprotocols = parse_tokens(values)
    if not subprotocols:
        raise HandshakeError("Sec-WebSocket-Protocol is empty", status=400)
    # "The elements that comprise this value ... MUST all be unique strings.": "chat" and "Chat" are.
    if len(set(subprotocols)) < len(subprotocols):
        raise HandshakeError(f"Sec-WebSocket-Protocol has a subprotocol twice: {quote(values)}", status=400)
    return subprotocols


def parse_extensions(values: Iterable[str]) -> list[Extension]:
    """Return the extensions in Sec-WebSocket-Extensions headers, in order. Empty elements are skipped.

    Raises:
        HandshakeError: a header does not match the grammar (status 400).

    Source: RFC 6455 section 9.1.
    """
    extensions: list[Extension] = []
    for value in values:
        scanner = _Scanner(value)
        while not scanner.at_end():
            if scanner.skip(","):
                continue
            name = scanner.token()
            parameters: list[tuple[str, str | None]] = []
            while scanner.skip(";"):
                parameter = scanner.token()
                parameters.append((parameter, scanner.value() if scanner.skip("=") else None))
            extensions.append((name, parameters))
            if not scanner.at_end() and not scanner.skip(","):
                raise scanner.error()
    return extensions


class _Scanner:
    """Reads the value of one header from left to right, with optional white space before each element.

    Each character is read once, whatever the value is: a regular expression may take quadratic time.
    """

    __slots__ = ("_position", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def error(self) -> HandshakeError:
        where = f"at character {self._position + 1:,} of {excerpt(self._text)}"
        return HandshakeError(f"Sec-WebSocket-Extensions is malformed {where}", status=400)

    def at_end(self) -> bool:
        while self._position < len(self._text) and self._text[self._position] in " \t":
            self._position += 1
        return self._position == len(self._text)

    def skip(self, char: str) -> bool:
        """Skip the character; return False if another one comes next."""
        if self.at_end() or self._text[self._position] != char:
            return False
        self._position += 1
        return True

    def token(self) -> str:
        self.at_end()
        start = self._position
        while self._position < len(self._text) and is_token(self._text[self._position]):
            self._position += 1
        if start == self._position:
            raise self.error()
        return self._text[start : self._position]

    def value(self) -> str:
        """Read a token or a quoted string.

        "When using the quoted-string syntax variant, the value after quoted-string unescaping MUST conform to the
        'token' ABNF."
        """
        if not self.skip('"'):
            return self.token()
        chars: list[str] = []
        while self._position < len(self._text):
            char = self._text[self._position]
            self._position += 1
            if char == '"':
                value = "".join(chars)
                if is_token(value):
                    return value
                break
            if char == "\\":
                char = self._text[self._position : self._position + 1]
                self._position += 1
            chars.append(char)
        raise self.error()


def accept_key(key: str) -> str:
    """Return the Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2 item 5.4)."""
    import hashlib

    digest = hashlib.sha1(key.encode("ascii") + ACCEPT_GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def describe_fault(headers: CIMultiDictProxy[str] | CIMultiDict[str], name: str, wanted: str, but: str = "not") -> str:
    """Return a predicate such as "lacks Upgrade: websocket", for the subject "the request" or "the server's answer".

    Args:
        headers: those of the message.
        name: of the header.
        wanted: its correct value.
        but: the word between the actual value and the correct one.
    """
    values = headers.getall(name, ())
    if not values:
        return f"lacks {name}: {wanted}"
    times = {1: "", 2: " twice"}.get(len(values), f" {len(values)} times")
    return f"has {name}{times}: {quote(values)}, {but} {wanted}"


def quote(values: Iterable[str]) -> str:
    """Return values that the peer has sent, escaped and shortened for an error message."""
    return excerpt(", ".join(value or "(empty)" for value in values))
