"""Origins, credentials, TLS, masking and native code: rows 94 to 106 of the table of vulnerabilities."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trustme

from tests.certificates import authority, client_context, server_context
from tests.endpoints import served
from tests.faults.invariants import Invariants
from tests.faults.stage import Place, on_tcp, pair
from tests.protocol_pair import CONTINUATION, TEXT, close_payload, frame
from tests.raw import CLOSE, Raw, encode, raw_server
from tests.security.asking import HEADERS, answer_to, asking, status
from tests.security.rows import row, rows
from wasclean import ANY, CloseEvent, ConnectionClosed, HandshakeError, WebSocket, connect
from wasclean.model.registry import Role
from wasclean.wire import octets

# Origins.


@row(94, "a page of another origin")
async def test_a_page_of_another_origin_is_refused_before_the_handler_runs(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as server:
        answer = await answer_to(server, asking("Origin: https://evil.com"))
        assert status(answer) == 403
        assert b"origins" not in answer
        assert server.sockets.empty()
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert "origins=[..., 'https://evil.com'] would let it in" in record.getMessage()
    for origins in (ANY, ["https://evil.com"]):
        async with served(origins=origins) as server, connect(server.url, origin="https://evil.com"):
            pass


async def status_for(origin: str, allowed: str) -> int:
    """Return the status of the response to a page of ``origin``, if only ``allowed`` is accepted."""
    async with served(origins=[allowed]) as server:
        return status(await answer_to(server, asking(f"Origin: {origin}") + encode(CLOSE, masked=True)))


@rows(
    "origin, code",
    (95, "the origin that is let in", "https://good.com", 101),
    (95, "in upper case, with its default port", "HTTPS://GOOD.COM:443", 101),
    (95, "with something behind it", "https://good.com.evil", 403),
    (95, "with something before it", "https://evilgood.com", 403),
    (95, "with a character for a dot", "https://goodxcom", 403),
    (95, "with a back quote", "https://good.com`x", 403),
    (95, "with a back slash", "https://evil\\.good.com", 403),
    (95, "with a user", "https://good.com@evil", 403),
    (95, "with a path", "https://good.com/", 403),
    (95, "with another port", "https://good.com:444", 403),
    (95, "with another scheme", "http://good.com", 403),
    (95, "null", "null", 403),
    (95, "nothing", "", 403),
    (95, "two origins", "https://good.com\r\nOrigin: https://evil.com", 400),
    (95, "two in one", "https://good.com https://evil.com", 403),
)
async def test_an_origin_is_compared_by_its_parts(origin: str, code: int) -> None:
    assert await status_for(origin, "https://good.com") == code


@rows(
    "origin, code",
    (95, "a subdomain, where all are let in", "https://a.b.good.com", 101),
    (95, "where all subdomains are let in, in upper case, with its default port", "HTTPS://A.GOOD.COM:443", 101),
    (95, "where all subdomains are let in, the domain itself", "https://good.com", 403),
    (95, "where all subdomains are let in, the domain behind something", "https://evilgood.com", 403),
    (95, "where all subdomains are let in, with something behind it", "https://a.good.com.evil", 403),
    (95, "where all subdomains are let in, with a back quote", "https://a.good.com`x", 403),
    (95, "where all subdomains are let in, with a back slash", "https://evil\\.good.com", 403),
    (95, "where all subdomains are let in, as a user", "https://a.good.com@evil", 403),
    (95, "where all subdomains are let in, as a path", "https://evil/.good.com", 403),
    (95, "where all subdomains are let in, an empty label", "https://.good.com", 403),
    (95, "where all subdomains are let in, a star", "https://*.good.com", 403),
    (95, "where all subdomains are let in, with another port", "https://a.good.com:444", 403),
    (95, "where all subdomains are let in, with another scheme", "http://a.good.com", 403),
    (95, "where all subdomains are let in, null", "null", 403),
    (95, "where all subdomains are let in, two origins", "https://a.good.com\r\nOrigin: https://evil.com", 400),
)
async def test_a_subdomain_is_one_of_its_whole_labels(origin: str, code: int) -> None:
    assert await status_for(origin, "https://*.good.com") == code


# Credentials and TLS.


@row(97, "a redirect to another port, from a request with all kinds of credentials")
async def test_credentials_do_not_follow_to_another_origin() -> None:
    heads: list[bytes] = []
    secrets = {"Authorization": "Bearer secret", "Cookie": "secret", "Proxy-Authorization": "secret", "X": "public"}

    async def script(raw: Raw) -> None:
        heads.append(raw.head)
        await raw.rest()

    async with raw_server(script) as second:
        location = second.replace("ws://", "ws://other:secret@")
        redirect = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
        async with raw_server(script, answer=lambda head: redirect) as first:
            url = first.replace("ws://", "ws://user:secret@")
            for headers in (secrets, {}):
                socket = await connect(url, headers=headers, max_redirects=1)
                socket.terminate()
                await socket.wait_closed()
                assert second.startswith(socket.url.rstrip("/"))
    followed = [head for head in heads if f"Host: {second.split('/')[2]}".encode() in head]
    assert len(followed) == 2
    assert b"X: public" in followed[0]
    for head in followed:
        assert b"secret" not in head
        assert b"uthorization" not in head


@row(97, "a redirect to another port, from a client with a certificate")
async def test_a_client_certificate_is_not_shown_to_another_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", client_context)  # the system trusts our authority
    certificate = authority().issue_cert("client.example", key_type=trustme.KeyType.ECDSA)
    seen: list[object] = []

    def wants_one() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(context)
        authority().configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(writer.get_extra_info("peercert"))
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())
        await reader.read()
        writer.close()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        seen.append(writer.get_extra_info("peercert"))
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.close()

    second = await asyncio.start_server(refuse, "127.0.0.1", 0, ssl=wants_one())
    location = f"wss://localhost:{second.sockets[0].getsockname()[1]}/"
    first = await asyncio.start_server(redirect, "127.0.0.1", 0, ssl=wants_one())
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(ours)
    certificate.configure_cert(ours)
    with pytest.raises(HandshakeError, match="404"):
        await connect(f"wss://localhost:{first.sockets[0].getsockname()[1]}/", ssl=ours, max_redirects=1)
    first.close()
    second.close()
    at_first, at_second = seen
    assert at_first
    assert not at_second


@row(97, "a redirect from wss to ws")
async def test_a_redirect_never_leads_out_of_tls() -> None:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 302 Found\r\nLocation: {plain.url}\r\nContent-Length: 0\r\n\r\n".encode())
        await reader.read()
        writer.close()

    async with served() as plain:
        server = await asyncio.start_server(redirect, "127.0.0.1", 0, ssl=server_context())
        url = f"wss://localhost:{server.sockets[0].getsockname()[1]}/"
        with pytest.raises(HandshakeError, match="from wss to ws"):
            await connect(url, ssl=client_context(), max_redirects=5)
        assert plain.sockets.empty()
        server.close()


async def failed(connecting: Awaitable[WebSocket]) -> CloseEvent:
    """The close event of an attempt that fails."""
    with pytest.raises(OSError) as raised:  # noqa: PT011 - of any kind
        await connecting
    event = raised.value.event  # type: ignore[attr-defined]
    assert isinstance(event, CloseEvent)
    return event


@rows(
    "names, url, options",
    (98, "a certificate of an unknown authority", (), "wss://localhost:{}/", lambda: {}),
    (98, "another host's certificate", ("a.com",), "wss://localhost:{}/", lambda: {"ssl": client_context()}),
    (
        98,
        "a name's certificate, for an address",
        ("localhost",),
        "wss://127.0.0.1:{}/",
        lambda: {"ssl": client_context()},
    ),
)
async def test_a_certificate_is_checked_by_default(names: tuple[str, ...], url: str, options: Any) -> None:
    async with served(ssl=server_context(*names)) as server:
        event = await failed(connect(url.format(server.server.port), **options()))
        assert (event.code, event.cause) == (1015, "tls_failed")
        assert server.sockets.empty()


@asynccontextmanager
async def tunnel() -> AsyncIterator[str]:
    """An HTTP proxy on 127.0.0.1 that connects to wherever it is told."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        host, _, port = head.split()[1].decode().rpartition(":")
        there, back = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pump(reader, back), pump(there, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


@row(98, "the proxy's certificate where the server's belongs")
@pytest.mark.parametrize(("name", "right"), [("localhost", True), ("127.0.0.1", False)])
async def test_through_a_proxy_the_servers_name_is_checked(name: str, right: bool) -> None:
    async with served(ssl=server_context(name)) as server, tunnel() as proxy:
        connecting = connect(f"wss://localhost:{server.server.port}/", ssl=client_context(), proxy=proxy)
        if right:
            socket = await connecting
            assert (await socket.close(1000)).wasClean
        else:
            assert (await failed(connecting)).cause == "tls_failed"


# Masking.


@row(99, "the masks of 1,000 frames")
async def test_no_two_frames_have_the_same_mask() -> None:
    masks = set()

    async def script(raw: Raw) -> None:
        for _ in range(1000):
            header = await raw.reader.readexactly(2 + 4 + 1)
            assert header[1] == 0x81
            masks.add(header[2:6])
        raw.close()

    async with raw_server(script) as url:
        socket = await connect(url)
        for _ in range(1000):
            socket.send("x")
        await socket.wait_closed()
    assert len(masks) > 998  # two of 1,000 may be the same by chance, once in 10,000 runs
    assert all(len({mask[i] for mask in masks}) > 200 for i in range(4))


@row(100, "a frame that is masked for the other role")
@on_tcp
@pytest.mark.parametrize("fin", [True, False])
async def test_a_frame_must_be_masked_by_clients_and_only_by_them(
    place: Place, fin: bool, invariants: Invariants
) -> None:
    other = Role.SERVER if place.role == "client" else Role.CLIENT
    async with pair(place, invariants) as (socket, peer):
        await peer.send(frame(other, TEXT, b"x", fin=fin))
        assert (await peer.frame()).payload[:2] == close_payload(1002)
        assert (await socket.wait_closed()).cause == "protocol_error"
        peer.close()


@row(101, "masks and bounds that do not fit, where C is called")
@pytest.mark.parametrize("mask", [b"", b"\1", b"\1\2\3", b"\1\2\3\4", -1, 1 << 32, None], ids=repr)
def test_the_primitives_check_their_own_masks(mask: Any) -> None:
    buffer = bytearray(b"0123456789")
    with pytest.raises((TypeError, OverflowError, AttributeError)):
        octets.apply_mask(buffer, 0, 10, mask, 0)
    assert buffer == b"0123456789"


@row(101, "bounds outside of the buffer")
@pytest.mark.parametrize(("start", "end"), [(0, 11), (-1, 5), (5, 4), (11, 11), (0, (1 << 63) - 1)])
def test_the_primitives_check_their_own_bounds(start: int, end: int) -> None:
    buffer = bytearray(b"0123456789")
    for call in (
        lambda: octets.apply_mask(buffer, start, end, 0x01020304, 0),
        lambda: octets.get_bytes(buffer, start, end),
        lambda: octets.get_text(buffer, start, end, 0),
        lambda: octets.check_utf8(buffer, start, end),
    ):
        with pytest.raises(IndexError):
            call()
    assert buffer == b"0123456789"


# UTF-8.


@on_tcp
@rows(
    "pieces",
    (105, "an overlong NUL", [b"x\xc0\x80"]),
    (105, "a surrogate", [b"x\xed\xa0\x80"]),
    (105, "a character beyond Unicode", [b"x\xf4\x90\x80\x80"]),
    (105, "a character that is cut at the end", [b"x\xe2\x82"]),
    (105, "a bad byte in a fragment, whose message goes on", [b"x", b"\xff", None]),
    (105, "a bad character over two fragments, whose message goes on", [b"\xed", b"\xa0", None]),
    (105, "a character that is cut at the end of the last fragment", [b"\xe2", b"\x82"]),
)
async def test_text_that_is_not_utf8_fails_at_its_first_bad_fragment(
    place: Place, pieces: list[bytes | None], invariants: Invariants
) -> None:
    role = Role(place.role)
    async with pair(place, invariants) as (socket, peer):
        for i, piece in enumerate(pieces):
            if piece is not None:
                last = i == len(pieces) - 1
                await peer.send(frame(role, CONTINUATION if i else TEXT, piece, fin=last))
        assert (await peer.frame()).payload[:2] == close_payload(1007)
        assert (await socket.wait_closed()).cause == "invalid_utf8"
        peer.close()


# Ids.


@row(106, "the keys of 200 clients, and what 200 pings say")
async def test_what_we_make_up_cannot_be_predicted() -> None:
    keys, pings = set(), set()

    async def script(raw: Raw) -> None:
        keys.add(raw.head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r\n")[0])
        pings.add((await raw.frame()).payload)
        raw.close()

    async with raw_server(script) as url:
        for _ in range(200):
            socket = await connect(url)
            waiting = socket.ping()
            await socket.wait_closed()
            with pytest.raises(ConnectionClosed):
                await waiting
    assert len(keys) == len(pings) == 200
    assert HEADERS["Sec-WebSocket-Key"].encode() not in keys
    assert all(len({key[i] for key in keys}) > 30 for i in range(20))
