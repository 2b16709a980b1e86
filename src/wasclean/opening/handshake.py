"""The opening handshake of both roles (RFC 6455 section 4): what is asked, what is answered, and what is refused.

A server reads a Request, and gets from accept() the 101 to send and what was agreed on, or a HandshakeError that
rejection() turns into the answer. A client sends what ClientHandshake.request() returns and has check() judge the
Response.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..closing.errors import HandshakeError
from ..model.heads import (
    Headers,
    Request,
    Response,
    contains_token,
    header_items,
    is_token,
    join_lines,
    list_elements,
    write_head,
)
from ..model.registry import ACCEPT_GUID, VERSION
from ..model.wording import excerpt
from ..wire.deflate import NAME, Deflate
from . import extensions as permessage_deflate
from .extensions import Agreed, Extension
from .urls import OriginPolicy, Origins, URLRecord, check_subprotocols, is_host

if TYPE_CHECKING:
    from multidict import CIMultiDict, CIMultiDictProxy

#: The headers that the handshake, and the framing of HTTP messages, depend on.
_OWN = frozenset({"upgrade", "connection", "content-length", "transfer-encoding"})


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept for a Sec-WebSocket-Key (RFC 6455 section 4.2.2 item 5.4)."""
    import hashlib

    digest = hashlib.sha1(key.encode("ascii") + ACCEPT_GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False).decode("ascii")


def _fault(headers: CIMultiDictProxy[str] | CIMultiDict[str], name: str, wanted: str, but: str = "not") -> str:
    """What is wrong with a header, as a clause behind who sent it: that it is missing, or what it says instead."""
    values = headers.getall(name, ())
    if not values:
        return f"lacks {name}: {wanted}"
    times = {1: "", 2: " twice"}.get(len(values), f" {len(values)} times")
    return f"has {name}{times}: {_quote(values)}, {but} {wanted}"


def _quote(values: Iterable[str]) -> str:
    """Values that the other end has written, for an error."""
    return excerpt(", ".join(value or "(empty)" for value in values))


# The grammar of the lists (RFC 6455 section 9.1, RFC 9110 section 5.6). No regular expressions: each character is
# looked at once, whatever the peer wrote.


def parse_tokens(values: Iterable[str]) -> list[str]:
    """The tokens of a comma-separated list over several header lines. Empty elements do not count.

    Raises:
        HandshakeError: an element is no token (status 400).
    """
    tokens = list_elements(values)
    for token in tokens:
        if not is_token(token):
            raise HandshakeError(f"a list in a header has an element that is no token: {excerpt(token)}", status=400)
    return tokens


def parse_subprotocols(values: Sequence[str]) -> list[str]:
    """The subprotocols of the Sec-WebSocket-Protocol headers of a request, in the client's order.

    Raises:
        HandshakeError: there is a header but no subprotocol, or one is no token, or occurs twice (status 400).

    Source: RFC 6455 sections 4.1 item 10 and 11.3.4.
    """
    if not values:
        return []
    subprotocols = parse_tokens(values)
    if not subprotocols:
        raise HandshakeError("Sec-WebSocket-Protocol is empty", status=400)
    # "The elements that comprise this value ... MUST all be unique strings.": "chat" and "Chat" are.
    if len(set(subprotocols)) < len(subprotocols):
        raise HandshakeError(f"Sec-WebSocket-Protocol has a subprotocol twice: {_quote(values)}", status=400)
    return subprotocols


def parse_extensions(values: Iterable[str]) -> list[Extension]:
    """The extensions of Sec-WebSocket-Extensions headers, in order; empty elements do not count.

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
    """Reads one header's value from left to right. White space may be between any two things that it reads."""

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
        """Whether the character came next; it is read then."""
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
        """A token, or a quoted string.

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


class Agreement(NamedTuple):
    """What both ends speak on top of the protocol."""

    subprotocol: str = ""  # empty for none
    deflate: Agreed | None = None

    @property
    def extensions(self) -> str:
        """As in the Sec-WebSocket-Extensions of the answer; empty for none."""
        return "" if self.deflate is None else str(self.deflate.parameters)


# The server's side.


class Offer(NamedTuple):
    """What a valid request asks for: its Sec-WebSocket-Key, and what the client can speak."""

    key: str
    subprotocols: tuple[str, ...]
    extensions: tuple[Extension, ...]


def accept(
    request: Request,
    *,
    subprotocols: Sequence[str] = (),
    origins: Origins | OriginPolicy = None,
    headers: Headers = (),
    deflate: Deflate | None = None,
) -> tuple[bytes, Agreement]:
    """The bytes of the 101 that accepts a request, and what was agreed on.

    This is check_request() and answer() in one.

    Raises:
        HandshakeError: the request is refused; see check_request().
        TypeError: an argument has the wrong type.
        ValueError: ``origins`` or ``headers`` are not valid.
    """
    offer = check_request(request, origins=origins)
    return answer(offer, subprotocols=subprotocols, headers=headers, deflate=deflate)


def check_request(request: Request, *, origins: Origins | OriginPolicy = None) -> Offer:
    """Checks that a request is a WebSocket handshake, and that its Origin may connect.

    Args:
        request: as RequestReader returned it.
        origins: see OriginPolicy; a server makes one OriginPolicy for all its requests.

    Raises:
        HandshakeError: the request is refused. ``status`` is that of the first of these checks that fails: 405 for
            another method than GET, 505 for HTTP/1.0, 400 for the target, the Host or a body, 426 for no Upgrade and
            for another version, 400 for the key, the subprotocols or the extensions and 403 for the Origin.
        TypeError: see OriginPolicy.
        ValueError: see OriginPolicy.

    Source: RFC 6455 section 4.2.1.
    """
    # "The method of the request MUST be GET, and the HTTP version MUST be at least 1.1."
    if request.method != "GET":
        raise HandshakeError(f"the method of a WebSocket handshake is GET, not {excerpt(request.method)}", status=405)
    if request.version != "1.1":
        raise HandshakeError(f"a WebSocket handshake needs HTTP/1.1, not HTTP/{request.version}", status=505)
    headers = request.headers
    host = _check_host(request, headers)
    # A proxy may take the body of a request for the first frames, or the first frames for a body.
    for name in ("Transfer-Encoding", "Content-Length"):
        value = headers.get(name, "0")
        if value.strip("0"):
            raise HandshakeError(f"a WebSocket handshake has no body, and no {name}: {excerpt(value)}", status=400)
    for name, wanted in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
        if not contains_token(headers.getall(name, ()), wanted.lower()):
            fault = _fault(headers, name, wanted, "without")
            raise HandshakeError(f"this is a WebSocket server: the request {fault}", status=426)
    if list(headers.getall("Sec-WebSocket-Version", ())) != [VERSION]:
        raise HandshakeError(f"the request {_fault(headers, 'Sec-WebSocket-Version', VERSION)}", status=426)
    keys = headers.getall("Sec-WebSocket-Key", ())
    if len(keys) != 1 or not _is_key(keys[0]):
        fault = _fault(headers, "Sec-WebSocket-Key", "16 bytes in base64")
        raise HandshakeError(f"the request {fault}", status=400)
    subprotocols = parse_subprotocols(headers.getall("Sec-WebSocket-Protocol", ()))
    extensions = parse_extensions(headers.getall("Sec-WebSocket-Extensions", ()))
    policy = origins if isinstance(origins, OriginPolicy) else OriginPolicy(origins)
    policy.check(headers.getall("Origin", ()), host)
    return Offer(keys[0], tuple(subprotocols), tuple(extensions))


def answer(
    offer: Offer,
    *,
    subprotocols: Sequence[str] = (),
    headers: Headers = (),
    deflate: Deflate | None = None,
) -> tuple[bytes, Agreement]:
    """The bytes of the 101 that accepts an offer, and what was agreed on.

    Args:
        offer: what check_request() returned.
        subprotocols: those that the server speaks, the one it likes best first; see check_subprotocols().
        headers: more headers for the answer.
        deflate: how to compress; None declines it.

    Raises:
        HandshakeError: compression is required, and the client does not offer it (status 400).
        TypeError: a header is not a str.
        ValueError: a header is the handshake's own, or has a character that must not travel in a header.

    Source: RFC 6455 section 4.2.2.
    """
    more = check_headers(headers)
    subprotocol = next((name for name in subprotocols if name in offer.subprotocols), "")
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(offer.key)}",
    ]
    if subprotocol:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    agreed = None
    if deflate is not None:
        agreed = permessage_deflate.accept(offer.extensions, deflate)
        if agreed is None and deflate.required:
            raise HandshakeError(f"this server requires the extension {NAME}", status=400)
    agreement = Agreement(subprotocol, agreed)
    if agreed is not None:
        lines.append(f"Sec-WebSocket-Extensions: {agreement.extensions}")
    lines.extend(f"{name}: {value}" for name, value in more)
    return join_lines(lines), agreement


def rejection(error: HandshakeError) -> Response:
    """The answer that tells a client why its handshake is refused; the connection closes after it.

    Source: RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455 section 4.4.
    """
    status = error.status or 400
    # Which pages may connect, and what would change that, is for the server's log.
    text = "this page may not connect here" if status == 403 else error
    response = Response(status, f"{text}\n")
    if status == 405:
        response.headers["Allow"] = "GET"
    elif status == 426:
        response.headers["Upgrade"] = "websocket"
        response.headers["Connection"] = "Upgrade, close"
        response.headers["Sec-WebSocket-Version"] = VERSION
    return response


def _check_host(request: Request, headers: CIMultiDictProxy[str]) -> str:
    authority, target = request.authority, request.target
    if not target.startswith("/") or "#" in target:
        shown = excerpt(target.partition("?")[0])  # the query can be a secret
        raise HandshakeError(f"the target of the request is not a path: {shown}", status=400)
    hosts = headers.getall("Host", ())
    if len(hosts) != 1 or not is_host(hosts[0]):
        raise HandshakeError(f"the request {_fault(headers, 'Host', 'one valid name or address')}", status=400)
    # Two names for one server: whoever looked at the other one, a proxy or a person, was misled.
    if authority is not None and authority.lower() != hosts[0].lower():
        names = f"{excerpt(authority.rpartition('@')[2])} and {excerpt(hosts[0])}"
        raise HandshakeError(f"the request's target and Host disagree: {names}", status=400)
    return hosts[0]


def _is_key(key: str) -> bool:
    """Whether it is "a base64-encoded value that, when decoded, is 16 bytes in length", encoded as it must be."""
    try:
        decoded = binascii.a2b_base64(key, strict_mode=True)
    except ValueError:
        return False
    return len(decoded) == 16 and binascii.b2a_base64(decoded, newline=False) == key.encode("ascii")


def check_headers(headers: Headers) -> list[tuple[str, str]]:
    """The further headers of a request or of an answer, as pairs.

    Raises:
        TypeError, ValueError: see header_items(); or the handshake sets one of them itself.
    """
    items = header_items(headers)
    for name, _ in items:
        if name.lower() in _OWN or name.lower().startswith("sec-websocket-"):
            hint = ": use subprotocols=" if name.lower() == "sec-websocket-protocol" else ""
            raise ValueError(f"the handshake sets the header {name} itself{hint}")
    return items


# The client's side.


def check_single(headers: Sequence[tuple[str, str]], origin: str | None) -> None:
    """Check that a request has no more than one Host and one Origin.

    Raises:
        ValueError: it has.
    """
    names = [name.lower() for name, _ in headers]
    if names.count("host") > 1:
        raise ValueError("the headers have more than one Host")
    if names.count("origin") + (origin is not None) > 1:
        raise ValueError("there is more than one Origin: give it as origin= or among the headers")


class ClientHandshake:
    """One client's handshake: the request, and the check of the answer.

    Args:
        url: where to connect. Its user name and password make an Authorization header unless there is one.
        subprotocols: those to offer; see check_subprotocols().
        origin: the Origin header; None sends none.
        headers: more headers. A Host among them replaces the URL's.
        user_agent: the User-Agent header unless there is one; None sends none.
        deflates: the kinds of compression to offer, the one you like best first.
        subprotocol_required: when subprotocols are offered, fail unless the server picks one, as the WHATWG standard
            demands; False leaves it at RFC 6455, where the server may pick none.
        key: the Sec-WebSocket-Key, of 16 random bytes by default; tests give their own.

    Raises:
        SyntaxError: see check_subprotocols().
        TypeError: a header or a subprotocol is not a str.
        ValueError: a header is the handshake's own, there are two of Host or Origin, or an argument has a character
            that must not travel in a header.

    Source: RFC 6455 section 4.1, WHATWG WebSockets, "Opening handshake".
    """

    __slots__ = ("_accept", "_deflates", "_request", "_subprotocol_required", "_subprotocols")

    def __init__(
        self,
        url: URLRecord,
        *,
        subprotocols: str | Iterable[str] = (),
        origin: str | None = None,
        headers: Headers = (),
        user_agent: str | None = None,
        deflates: Sequence[Deflate] = (),
        subprotocol_required: bool = True,
        key: str | None = None,
    ) -> None:
        if key is None:
            # "A nonce consisting of a randomly selected 16-byte value that has been base64-encoded."
            key = binascii.b2a_base64(os.urandom(16), newline=False).decode("ascii")
        subprotocols = check_subprotocols(subprotocols)
        more = check_headers(headers)
        check_single(more, origin)
        names = [name.lower() for name, _ in more]
        items = [
            more.pop(names.index("host")) if "host" in names else ("Host", url.host_header),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", key),
            ("Sec-WebSocket-Version", VERSION),
        ]
        if subprotocols:
            items.append(("Sec-WebSocket-Protocol", ", ".join(subprotocols)))
        if deflates:
            items.append(("Sec-WebSocket-Extensions", permessage_deflate.offer(deflates)))
        if origin is not None:
            items.append(("Origin", origin))
        if user_agent is not None and "user-agent" not in names:
            items.append(("User-Agent", user_agent))
        if url.authorization is not None and "authorization" not in names:
            items.append(("Authorization", url.authorization))
        self._request = write_head(f"GET {url.target} HTTP/1.1", items + more)
        self._accept = accept_key(key)
        self._subprotocols = subprotocols
        self._subprotocol_required = subprotocol_required
        self._deflates = deflates

    def request(self) -> bytes:
        """The bytes to send."""
        return self._request

    def check(self, response: Response) -> Agreement:
        """Checks that the server has accepted; returns what was agreed on.

        Raises:
            HandshakeError: it has not, or not by the rules; with the answer's ``status`` and ``response``.

        Source: RFC 6455 section 4.1, items 1 to 6 of the last list.
        """
        if response.status != 101:
            reason = f" {response.reason!a}" if response.reason else ""
            raise _refusal(response, f"the server answered {response.status}{reason} instead of 101")
        headers = response.headers
        fault = ""
        # "If the |Upgrade| header field contains a value that is not an ASCII case-insensitive match": it has no list.
        if [value.lower() for value in headers.getall("Upgrade", ())] != ["websocket"]:
            fault = _fault(headers, "Upgrade", "websocket")
        elif not contains_token(headers.getall("Connection", ()), "upgrade"):
            fault = _fault(headers, "Connection", "Upgrade", "without")
        elif list(headers.getall("Sec-WebSocket-Accept", ())) != [self._accept]:
            fault = _fault(headers, "Sec-WebSocket-Accept", f"{self._accept} for our key")
        if fault:
            raise _refusal(response, f"the server's answer {fault}")
        values = headers.getall("Sec-WebSocket-Extensions", ())
        try:
            extensions = parse_extensions(values)
            if any(values) and not extensions:
                raise HandshakeError(f"the server names no extension in Sec-WebSocket-Extensions: {_quote(values)}")
            agreed = permessage_deflate.confirm(extensions, self._deflates)
        except HandshakeError as error:
            why = str(error)
        else:
            why = ""
        if why:  # not from in there: the first error would have the frames that it came through
            raise _refusal(response, why)
        return Agreement(self._check_subprotocol(response), agreed)

    def _check_subprotocol(self, response: Response) -> str:
        chosen = response.headers.getall("Sec-WebSocket-Protocol", ())
        if not chosen:
            # WHATWG: "If protocols is not the empty list and [the header] results in null ... then fail".
            if self._subprotocols and self._subprotocol_required:
                raise _refusal(response, f"the server picked none of the subprotocols offered: {self._offered()}")
            return ""
        if len(chosen) > 1:
            raise _refusal(response, f"the server picked more than one subprotocol: {_quote(chosen)}")
        if chosen[0] not in self._subprotocols:
            text = f"the server picked a subprotocol that was not offered: {_quote(chosen)}; offered: {self._offered()}"
            raise _refusal(response, text)
        return chosen[0]

    def _offered(self) -> str:
        return excerpt(", ".join(self._subprotocols)) or "none"


def _refusal(response: Response, text: str) -> HandshakeError:
    return HandshakeError(text, status=response.status, response=response)
