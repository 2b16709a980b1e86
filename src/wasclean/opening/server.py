"""The server's side of the opening handshake (RFC 6455 section 4.2): the checks of a request, and the answer."""

from __future__ import annotations

import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..closing.errors import HandshakeError
from ..model.heads import Headers, Request, Response, contains_token, join_lines
from ..model.registry import VERSION
from ..model.wording import excerpt
from ..wire.deflate import NAME, Deflate
from . import extensions as permessage_deflate
from .extensions import Agreement, Extension
from .headers import accept_key, check_headers, describe_fault, parse_extensions, parse_subprotocols
from .origins import OriginPolicy, Origins, is_host

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy


class Offer(NamedTuple):
    """The contents of a valid request: its Sec-WebSocket-Key, and the subprotocols and extensions that it offers."""

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
    """Check a request; return the bytes of the 101 that accepts it, and the agreement.

    This is check_request() followed by answer().

    Raises:
        HandshakeError: the request is refused; see check_request().
        TypeError: an argument has the wrong type.
        ValueError: ``origins`` or ``headers`` are not valid.
    """
    offer = check_request(request, origins=origins)
    return answer(offer, subprotocols=subprotocols, headers=headers, deflate=deflate)


def check_request(request: Request, *, origins: Origins | OriginPolicy = None) -> Offer:
    """Check that a request is a WebSocket handshake, and that its Origin may connect.

    Args:
        request: the request.
        origins: see OriginPolicy; a server makes one OriginPolicy for all its requests.

    Raises:
        HandshakeError: the request is refused. ``status`` belongs to the first of these checks that fails: 405 for a
            method other than GET, 505 for a version other than 1.1, 400 for the target, the Host or a body, 426 for a
            missing Upgrade and for another version of the protocol, 400 for the key, the subprotocols or the
            extensions, and 403 for the Origin.
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
    # A proxy might mistake the body of a request for the first frames, or the first frames for a body.
    for name in ("Transfer-Encoding", "Content-Length"):
        value = headers.get(name, "0")
        if value.strip("0"):
            raise HandshakeError(f"a WebSocket handshake has no body, and no {name}: {excerpt(value)}", status=400)
    for name, wanted in (("Upgrade", "websocket"), ("Connection", "Upgrade")):
        if not contains_token(headers.getall(name, ()), wanted.lower()):
            fault = describe_fault(headers, name, wanted, "without")
            raise HandshakeError(f"this is a WebSocket server: the request {fault}", status=426)
    if list(headers.getall("Sec-WebSocket-Version", ())) != [VERSION]:
        raise HandshakeError(f"the request {describe_fault(headers, 'Sec-WebSocket-Version', VERSION)}", status=426)
    keys = headers.getall("Sec-WebSocket-Key", ())
    if len(keys) != 1 or not _is_key(keys[0]):
        fault = describe_fault(headers, "Sec-WebSocket-Key", "16 bytes in base64")
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
    """Return the bytes of the 101 that accepts an offer, and the agreement.

    Args:
        offer: the result of check_request().
        subprotocols: those of the server, in order of preference; see check_subprotocols().
        headers: further headers of the answer.
        deflate: the settings for compression; None declines it.

    Raises:
        HandshakeError: compression is required, and the client does not offer it (status 400).
        TypeError: a header is not a str.
        ValueError: a header is set by the handshake itself, or contains a character that must not travel in a header.

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
    """Return the answer that tells a client why its handshake is refused; the connection closes after it.

    Source: RFC 9110 sections 15.5.6 and 15.5.22, RFC 6455 section 4.4.
    """
    status = error.status or 400
    # The accepted origins, and how to change them, are for the server's log only.
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
        raise HandshakeError(f"the request {describe_fault(headers, 'Host', 'one valid name or address')}", status=400)
    # With two names for the server, a proxy that decided by the other one was misled.
    if authority is not None and authority.lower() != hosts[0].lower():
        names = f"{excerpt(authority.rpartition('@')[2])} and {excerpt(hosts[0])}"
        raise HandshakeError(f"the request's target and Host disagree: {names}", status=400)
    return hosts[0]


def _is_key(key: str) -> bool:
    """True for "a base64-encoded value that, when decoded, is 16 bytes in length", in its only valid encoding."""
    try:
        decoded = binascii.a2b_base64(key, strict_mode=True)
    except ValueError:
        return False
    return len(decoded) == 16 and binascii.b2a_base64(decoded, newline=False) == key.encode("ascii")
