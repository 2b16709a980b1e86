"""The client's side of the opening handshake (RFC 6455 section 4.1): the request, and the check of the answer."""

from __future__ import annotations

import binascii
import os
from collections.abc import Iterable, Sequence

from ..closing.errors import HandshakeError
from ..model.heads import Headers, Response, contains_token, write_head
from ..model.registry import VERSION
from ..model.wording import excerpt
from ..wire.deflate import Deflate
from . import extensions as permessage_deflate
from .extensions import Agreement
from .headers import accept_key, check_headers, check_single, describe_fault, parse_extensions, quote
from .urls import URLRecord, check_subprotocols


class UpgradeRequest:
    """The request of one opening handshake, and the check of its answer.

    Args:
        url: the URL to connect to. Its user name and password become an Authorization header, unless ``headers`` has
            one.
        subprotocols: those to offer; see check_subprotocols().
        origin: the Origin header; None for none.
        headers: further headers. A Host among them replaces that of the URL.
        user_agent: the User-Agent header, unless ``headers`` has one; None for none.
        deflates: the offers of permessage-deflate, in order of preference.
        subprotocol_required: fail if subprotocols are offered and the server picks none, as the WHATWG standard
            demands. RFC 6455 allows a server to pick none.
        key: the Sec-WebSocket-Key; by default 16 random bytes.

    Raises:
        SyntaxError: see check_subprotocols().
        TypeError: a header or a subprotocol is not a str.
        ValueError: a header is set by the handshake itself, there are two of Host or Origin, or an argument contains a
            character that must not travel in a header.

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

    def serialize(self) -> bytes:
        """Return the bytes of the request."""
        return self._request

    def check(self, response: Response) -> Agreement:
        """Check that the server has accepted the handshake; return the agreement.

        Raises:
            HandshakeError: it has not, or the answer breaks a rule; with the answer's ``status`` and ``response``.

        Source: RFC 6455 section 4.1, items 1 to 6 of the last list.
        """
        if response.status != 101:
            reason = f" {response.reason!a}" if response.reason else ""
            raise _refusal(response, f"the server answered {response.status}{reason} instead of 101")
        headers = response.headers
        fault = ""
        # "If the |Upgrade| header field contains a value that is not an ASCII case-insensitive match": it has no list.
        if [value.lower() for value in headers.getall("Upgrade", ())] != ["websocket"]:
            fault = describe_fault(headers, "Upgrade", "websocket")
        elif not contains_token(headers.getall("Connection", ()), "upgrade"):
            fault = describe_fault(headers, "Connection", "Upgrade", "without")
        elif list(headers.getall("Sec-WebSocket-Accept", ())) != [self._accept]:
            fault = describe_fault(headers, "Sec-WebSocket-Accept", f"{self._accept} for our key")
        if fault:
            raise _refusal(response, f"the server's answer {fault}")
        values = headers.getall("Sec-WebSocket-Extensions", ())
        try:
            extensions = parse_extensions(values)
            if any(values) and not extensions:
                raise HandshakeError(f"the server names no extension in Sec-WebSocket-Extensions: {quote(values)}")
            agreed = permessage_deflate.confirm(extensions, self._deflates)
        except HandshakeError as error:
            why = str(error)
        else:
            why = ""
        if why:  # raised outside the handler: as its context, the first error would keep frames alive
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
            raise _refusal(response, f"the server picked more than one subprotocol: {quote(chosen)}")
        if chosen[0] not in self._subprotocols:
            text = f"the server picked a subprotocol that was not offered: {quote(chosen)}; offered: {self._offered()}"
            raise _refusal(response, text)
        return chosen[0]

    def _offered(self) -> str:
        return excerpt(", ".join(self._subprotocols)) or "none"


def _refusal(response: Response, text: str) -> HandshakeError:
    return HandshakeError(text, status=response.status, response=response)
