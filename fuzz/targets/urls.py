"""URLs, origins, hosts and names of subprotocols, from a program, a page or a server."""

from fuzz.heads import read
from wasclean.closing.errors import HandshakeError
from wasclean.dom.exceptions import SyntaxError
from wasclean.model.heads import is_token
from wasclean.opening.client import UpgradeRequest
from wasclean.opening.head_reader import MAX_LINE
from wasclean.opening.origins import ANY, OriginPolicy, is_host
from wasclean.opening.readers import RequestReader
from wasclean.opening.server import check_request
from wasclean.opening.urls import URLRecord, check_subprotocols, parse_url

SECRET = "1n9Ze"
BASE = f"wss://user:{SECRET}@example.com/chat/?room=1"


def fuzz_one(data: bytes) -> None:
    """Run an input: a text, in which bytes that are not UTF-8 become lone surrogates."""
    text = data.decode("utf-8", "surrogateescape")
    for url, base in ((text, None), (text, BASE), (f"ws://user:{SECRET}@{text}", None), (BASE, text)):
        check_url(url, base, secret="" if url == text and base is None else SECRET)
    check_host(text)
    check_origin(text)
    check_subprotocol(text)


def check_url(url: str, base: str | None, secret: str) -> None:
    """Check that a parsed URL is parsed again to the same, that a server accepts its request, and hides passwords."""
    try:
        record = parse_url(url, base)
    except SyntaxError as error:
        assert not secret or secret not in str(error)
        return
    assert not secret or secret not in repr(record).replace(record.target, "") or secret in record.host
    assert record.href.startswith("wss://" if record.secure else "ws://")
    assert record.target.startswith("/")
    assert 0 <= record.port < 1 << 16
    assert record.host
    assert not set(record.host) & set("[]/?#@")
    again = parse_url(record.href)
    assert again == record
    check_request_for(record)


def check_request_for(record: URLRecord) -> None:
    """Check that a server parses the request of a client."""
    head = UpgradeRequest(record).serialize()
    request, rest, error = read(RequestReader(), head)
    if error is not None:
        assert error.status in (414, 431)
        assert len(head) > MAX_LINE
        return
    assert request.target == record.target
    assert request.host == record.host_header
    assert request.headers.get("Authorization") == record.authorization
    assert rest == b""
    assert check_request(request).subprotocols == ()


def check_host(text: str) -> None:
    """Check that a page of the server's own host may connect; a host with a ``*`` is none."""
    if is_host(text) and "*" not in text:
        OriginPolicy().check([f"http://{text}"], text)


def check_origin(text: str) -> None:
    """Check that an entry of ``origins`` accepts that origin, and that the refusal of another can be serialized.

    An entry with a ``*`` accepts subdomains, and not the text itself.
    """
    OriginPolicy(ANY).check([text], "example.com")
    try:
        OriginPolicy([text]).check([text.replace("*", "sub.domain")], "example.com")
    except ValueError:
        pass
    for policy in (OriginPolicy(), OriginPolicy(["https://example.com"])):
        try:
            policy.check([text], "example.com")
        except HandshakeError as error:
            assert error.status == 403
            assert str(error).isascii()
            assert str(error).isprintable()


def check_subprotocol(text: str) -> None:
    """Check that the name of a subprotocol is a token."""
    try:
        assert check_subprotocols(text) == (text,)
    except SyntaxError:
        assert not is_token(text)
