"""Requests: from the bytes to the 101 or the refusal."""

from fuzz.heads import MARGIN, check_head, read, verdict, write_back
from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import Request
from wasclean.opening.client import UpgradeRequest
from wasclean.opening.head_reader import MAX_LINE
from wasclean.opening.origins import ANY, Origins
from wasclean.opening.readers import RequestReader, ResponseReader
from wasclean.opening.server import Offer, answer, check_request, rejection
from wasclean.opening.urls import parse_url
from wasclean.wire.deflate import Deflate

ORIGINS: tuple[Origins, ...] = (None, ANY, ["https://example.com", "null"])
MALFORMED = {400, 414, 431, 505}
REFUSED = {400, 403, 405, 426, 505}


def fuzz_one(data: bytes) -> None:
    """Run an input: a byte of options, and the bytes that a server receives."""
    if not data:
        return
    chunk, origins, data = data[0] // 3, ORIGINS[data[0] % 3], data[1:]
    request, rest, error = read(RequestReader(), data)
    others = read(RequestReader(), data, chunk + 1)
    assert (seen(request), rest, verdict(error)) == (seen(others[0]), others[1], verdict(others[2])), "chunks differ"
    if error is not None:
        assert error.status in MALFORMED
        check_refusal(error)
    elif request is None:
        check_head(data)
    else:
        check_head(data[: len(data) - len(rest)])
        check_written_back(request)
        try:
            offer = check_request(request, origins=origins)
        except HandshakeError as refused:
            assert refused.status in REFUSED
            check_refusal(refused)
        else:
            check_answer(request, offer)


def seen(request: Request | None) -> object:
    """Return all attributes of a request."""
    if request is None:
        return None
    parts = (request.target, request.authority, request.path, request.query, request.host, repr(request))
    return request.method, request.version, *parts, list(request.headers.items())


def check_written_back(request: Request) -> None:
    """Check that a serialized request is parsed to the same request."""
    target = request.target if request.authority is None else f"http://{request.authority}{request.target}"
    head = write_back(f"{request.method} {target} HTTP/{request.version}", request.headers)
    if head is not None:
        again, rest, error = read(RequestReader(), head)
        assert (seen(again), rest, error) == (seen(request), b"", None)


def check_refusal(error: HandshakeError) -> None:
    """Check that a refusal can be serialized, that a client can parse it, and that its head quotes no input."""
    response, _, malformed = read(ResponseReader(), rejection(error).serialize())
    assert malformed is None
    assert response is not None
    assert response.status == error.status
    assert response.body == (b"this page may not connect here\n" if error.status == 403 else f"{error}\n".encode())


def check_answer(request: Request, offer: Offer) -> None:
    """Check that a client with the same request accepts the 101."""
    assert request.method == "GET" and request.version == "1.1"
    short = [name for name in offer.subprotocols if len(name) + MARGIN <= MAX_LINE]
    for subprotocols in ([], short[-1:]):
        answered, agreement = answer(offer, subprotocols=subprotocols, deflate=Deflate())
        received, rest, error = read(ResponseReader(), answered)
        assert received is not None and error is None and rest == b""
        client = UpgradeRequest(
            parse_url("ws://localhost"),
            subprotocols=offer.subprotocols,
            subprotocol_required=False,
            key=offer.key,
            deflates=[Deflate()],
        )
        assert client.check(received) == agreement
        assert agreement.subprotocol == "".join(subprotocols)
