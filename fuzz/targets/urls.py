"""URLs, origins, hosts and names of subprotocols, as a program, a page or a server gives them."""

from fuzz.heads import read
from wasclean.closing.errors import HandshakeError
from wasclean.dom.exceptions import SyntaxError
from wasclean.model.heads import is_token
from wasclean.opening.handshake import ClientHandshake, check_request
from wasclean.opening.http import MAX_LINE, RequestReader
from wasclean.opening.urls import ANY, OriginPolicy, URLRecord, check_subprotocols, is_host, parse_url

SECRET = "1n9Ze"
BASE = f"wss://user:{SECRET}@example.com/chat/?room=1"


def fuzz_one(data: bytes) -> None:
    """A text: bytes that are not UTF-8 become lone surrogates."""
    text = data.decode("utf-8", "surrogateescape")
    for url, base in ((text, None), (text, BASE), (f"ws://user:{SECRET}@{text}", None), (BASE, text)):
        check_url(url, base, secret="" if url == text and base is None else SECRET)
    check_host(text)
    check_origin(text)
    check_subprotocol(text)


def check_url(url: str, base: str | None, secret: str) -> None:
    """A URL that was read is read the same again, and a server can read the request for it; passwords stay secret."""
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
    """A server reads what the client writes."""
    head = ClientHandshake(record).request()
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
    """The page of a server's own host may connect to it; none has a host with a ``*``."""
    if is_host(text) and "*" not in text:
        OriginPolicy().check([f"http://{text}"], text)


def check_origin(text: str) -> None:
    """What can be named as an origin is let in by its name; what is not let in is refused, and why can be sent.

    With a ``*`` it names no origin itself, but the subdomains.
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
    """The name of a subprotocol is a token."""
    try:
        assert check_subprotocols(text) == (text,)
    except SyntaxError:
        assert not is_token(text)
