"""Responses: from the bytes to the decision of a client."""

from fuzz.heads import check_head, read, verdict, write_back
from wasclean.closing.errors import HandshakeError
from wasclean.model.heads import Response
from wasclean.opening.client import UpgradeRequest
from wasclean.opening.head_reader import MAX_BODY
from wasclean.opening.readers import ResponseReader
from wasclean.opening.urls import parse_url, redirect_target

URL = parse_url("wss://user:password@example.com/chat")
KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SUBPROTOCOLS = ("chat", "superchat")


def fuzz_one(data: bytes) -> None:
    """Run an input: a byte of options, and the bytes that a client receives until the server ends TCP."""
    if not data:
        return
    chunk, data = data[0], data[1:]
    response, rest, error = read_to_end(data, 0)
    others = read_to_end(data, chunk + 1)
    assert (seen(response), rest, verdict(error)) == (seen(others[0]), others[1], verdict(others[2])), "chunks differ"
    if error is not None:
        assert error.status == 0
        assert response is None
    else:
        assert response is not None
        assert len(response.body) <= MAX_BODY
        assert response.status == 101 or response.status >= 200, "an informational answer counts"
        check_written_back(response)
        check_judgement(response)
        check_redirect(response)


def read_to_end(data: bytes, chunk: int) -> tuple[Response | None, bytes, HandshakeError | None]:
    """Feed a reader, and end TCP if the response needs that."""
    reader = ResponseReader()
    response, rest, error = read(reader, data, chunk)
    if response is not None and response.status == 101:
        head = data[: len(data) - len(rest)].rpartition(b"\r\n\r\nHTTP/1.")[2]
        check_head(head.replace(b"\r\n ", b"   ").replace(b"\r\n\t", b"  \t"))
    elif response is not None:
        rest = b""  # input after a body is not used
    elif error is None:
        try:
            response = reader.feed_eof()
        except HandshakeError as ended:
            error = ended
    return response, rest, error


def seen(response: Response | None) -> object:
    """Return all attributes of a response."""
    if response is None:
        return None
    return response.status, response.reason, list(response.headers.items()), response.body, repr(response)


def check_written_back(response: Response) -> None:
    """Check that a serialized response is parsed to the same response."""
    if write_back(response.reason, response.headers) is None:
        return
    try:
        data = response.serialize()
    except ValueError:
        assert response.status < 200 or "Transfer-Encoding" in response.headers
        return
    again, rest, error = read_to_end(data, 0)
    assert error is None
    assert again is not None
    assert (again.status, again.reason, rest) == (response.status, response.reason, b"")
    assert again.body == (b"" if response.status in (101, 204, 304) else response.body)
    for name in {name.lower() for name in response.headers} - {"content-length", "content-type", "connection"}:
        assert again.headers.getall(name) == response.headers.getall(name)


def check_judgement(response: Response) -> None:
    """Check that only a 101 with the right key is accepted, and only with an offered subprotocol or none."""
    for subprotocols in ((), SUBPROTOCOLS):
        try:
            chosen = UpgradeRequest(URL, subprotocols=subprotocols, key=KEY).check(response).subprotocol
        except HandshakeError as error:
            assert error.status == response.status
            assert error.response is response
        else:
            assert response.status == 101
            assert response.headers.getall("Sec-WebSocket-Accept") == [ACCEPT]
            assert (
                "Sec-WebSocket-Extensions" not in response.headers or not response.headers["Sec-WebSocket-Extensions"]
            )
            assert response.headers.getall("Sec-WebSocket-Protocol", []) == ([chosen] if chosen else [])
            assert chosen in subprotocols or (not subprotocols and not chosen)


def check_redirect(response: Response) -> None:
    """Check that a redirect keeps TLS, and that its target gets the password only if the origin is the same."""
    try:
        redirect = redirect_target(URL, response)
    except HandshakeError as error:
        assert error.response is response
        return
    if redirect is not None:
        assert redirect.url.secure
        assert redirect.same_origin == (redirect.url.origin == URL.origin)
        assert redirect.same_origin or redirect.url.authorization is None
        assert "#" not in redirect.url.href
