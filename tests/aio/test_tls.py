"""TLS as clients see it: whom they trust, which name they ask for, and how they tell what went wrong."""

from __future__ import annotations

import asyncio
import datetime
import gc
import logging
import socket as sockets
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from tests.certificates import authority, client_context, server_context
from tests.endpoints import echo, failed_by_tls, served
from tests.faults.patience import PATIENCE, until
from tests.faults.tls_peer import TLSPeer
from tests.raw import accept
from wasclean import CloseEvent, Request, Response, WebSocket, connect, serve
from wasclean.aio import tls_transport
from wasclean.aio.resolver import resolve
from wasclean.aio.tls import TLS


def context_with(certificate: trustme.LeafCert, side: int = ssl.PROTOCOL_TLS_SERVER) -> ssl.SSLContext:
    """A context of its own that shows the certificate."""
    context = ssl.SSLContext(side)
    certificate.configure_cert(context)
    return context


def issue(*names: str, **options: Any) -> trustme.LeafCert:
    return authority().issue_cert(*(names or ("localhost",)), key_type=trustme.KeyType.ECDSA, **options)


@asynccontextmanager
async def listening(context: ssl.SSLContext, host: str = "localhost") -> AsyncIterator[str]:
    """A server that echoes; gives the URL with that host."""
    async with served(echo, ssl=context) as server:
        yield f"wss://{host}:{server.server.port}/"


async def works(url: str, **options: Any) -> None:
    async with connect(url, **options) as socket:
        await socket.send("x")
        assert await socket.recv() == "x"
    assert (await socket.wait_closed()).ok


async def fails(url: str, reason: str, **options: Any) -> CloseEvent:
    """The close event of a client that TLS keeps from connecting."""
    event = await failed_by_tls(url, **options)
    assert event.cause == "tls_failed"
    assert isinstance(event.exception, ssl.SSLError)
    assert reason in event.detail
    assert reason in str(event)
    assert reason in " ".join(event.explain().split())
    return event


def remember_names(context: ssl.SSLContext) -> list[str | None]:
    """The names that clients ask the context for."""
    names: list[str | None] = []
    context.sni_callback = lambda tls, name, _: names.append(name)
    return names


@pytest.mark.parametrize("where", ["in the URL", "in server_hostname"])
async def test_a_dot_at_the_end_of_a_name_is_for_dns_and_not_for_tls(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 6066 section 3."""
    looked_up: list[str] = []

    async def look_up(loop: Any, host: str, port: int) -> Any:
        looked_up.append(host)
        return await resolve(loop, host.removesuffix("."), port)

    monkeypatch.setattr("wasclean.aio.client.resolve", look_up)
    hosts: list[str] = []

    async def handler(socket: WebSocket) -> None:
        assert socket.request is not None
        hosts.append(socket.request.host)
        await echo(socket)

    context = server_context()
    names = remember_names(context)
    async with served(handler, ssl=context) as server:
        host, options = (
            ("localhost.", {}) if where == "in the URL" else ("127.0.0.1", {"server_hostname": "localhost."})
        )
        await works(f"wss://{host}:{server.server.port}/", ssl=client_context(), **options)
        assert looked_up == [host]
        assert names == ["localhost"]
        assert hosts == [f"{host}:{server.server.port}"]


# Trust.


async def test_whom_the_system_does_not_trust_is_not_trusted_by_default() -> None:
    async with listening(server_context()) as url:
        event = await fails(url, "unable to get local issuer certificate")
        assert event.phase == "tls"
        with pytest.raises(ssl.SSLError) as caught:
            await connect(url)
        error: Any = caught.value
        assert (error.code, error.cause, error.initiator) == (1015, "tls_failed", "network")
        assert error.reason == "CERTIFICATE_VERIFY_FAILED"  # what an exception has of its own stays
        await works(url, ssl=client_context())


async def test_what_the_system_trusts_is_trusted_by_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("trust") / "authority.pem"
    authority().cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with listening(server_context()) as url:
        await works(url)


async def test_a_certificate_that_signs_itself() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own = trustme.CA(key_type=trustme.KeyType.ECDSA)
    own.issue_cert("localhost", key_type=trustme.KeyType.ECDSA).configure_cert(context)
    async with listening(context) as url:
        await fails(url, "certificate verify failed")
        await fails(url, "certificate verify failed", ssl=client_context())


async def test_a_context_that_checks_nothing_is_the_callers_decision() -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    async with listening(server_context("other.example")) as url:
        await works(url, ssl=context)


async def test_an_expired_certificate() -> None:
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    async with listening(context_with(issue(not_after=yesterday))) as url:
        await fails(url, "certificate has expired", ssl=client_context())


# Names.


async def test_a_certificate_for_another_name() -> None:
    async with listening(server_context("other.example")) as url:
        await fails(url, "Hostname mismatch", ssl=client_context())
    async with listening(server_context("*.localhost")) as url:
        await fails(url, "Hostname mismatch", ssl=client_context())


@pytest.mark.parametrize("family", [sockets.AF_INET, sockets.AF_INET6], ids=["IPv4", "IPv6"])
async def test_an_address_is_checked_as_an_address(family: sockets.AddressFamily) -> None:
    address, host = ("127.0.0.1", "127.0.0.1") if family == sockets.AF_INET else ("::1", "[::1]")
    context = context_with(issue(address))
    names = remember_names(context)
    try:
        listener = sockets.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    async with serve(echo, sock=listener, ssl=context) as server:
        await works(f"wss://{host}:{server.port}/", ssl=client_context())
    assert names == [None]  # RFC 6066 section 3: an address is no name
    listener = sockets.create_server((address, 0), family=family)
    async with serve(echo, sock=listener, ssl=server_context("localhost")) as server:
        await fails(f"wss://{host}:{server.port}/", "IP address mismatch", ssl=client_context())


async def test_the_name_that_is_asked_for_is_the_host_of_the_url() -> None:
    context = context_with(issue("localhost", "other.example"))
    names = remember_names(context)
    async with listening(context, "LocalHost") as url:
        await works(url, ssl=client_context())
        await works(url, ssl=client_context(), server_hostname="other.example")
        await works(url, ssl=client_context(), headers={"Host": "third.example"})
        await fails(url, "Hostname mismatch", ssl=client_context(), server_hostname="fourth.example")
    assert names == ["localhost", "other.example", "localhost", *["fourth.example"] * 2]


# Client certificates.


def wanting_a_certificate(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = context_with(issue())
    context.verify_mode = ssl.CERT_REQUIRED
    context.maximum_version = version
    authority().configure_trust(context)
    return context


def client_with(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = context_with(certificate, ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


def stranger() -> ssl.SSLContext:
    """A client whose certificate nobody trusts."""
    other = trustme.CA(key_type=trustme.KeyType.ECDSA)
    return client_with(other.issue_cert("client.example", key_type=trustme.KeyType.ECDSA))


VERSIONS = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["1.2", "1.3"])


@VERSIONS
async def test_a_client_with_a_certificate_is_let_in_and_others_are_told_why_they_are_not(
    version: ssl.TLSVersion, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "wasclean.server")
    called: list[WebSocket] = []
    # With TLS 1.3 a client has done its part before the server looks at its certificate.
    phase = "http" if version is ssl.TLSVersion.TLSv1_3 else "tls"
    missing = "certificate required" if version is ssl.TLSVersion.TLSv1_3 else "handshake failure"

    async def handler(socket: WebSocket) -> None:
        called.append(socket)
        await echo(socket)

    async with served(handler, ssl=wanting_a_certificate(version)) as server:
        url = f"wss://localhost:{server.server.port}/"
        await works(url, ssl=client_with(issue("client.example")))
        assert len(called) == 1
        for context, reason in ((client_context(), missing), (stranger(), "unknown ca")):
            event = await fails(url, reason, ssl=context)
            assert event.phase == phase
        assert len(called) == 1
    logged = [record.getMessage() for record in caplog.records if "TLS with" in record.getMessage()]
    assert len(logged) == 4  # fails() tries twice
    assert "peer did not return a certificate" in logged[0]
    assert "unable to get local issuer certificate" in logged[2]


def refuse_by_alert(listener: sockets.socket, context: ssl.SSLContext) -> None:
    """Do what careful servers do: tell the client why, and wait until it has heard it."""
    for _ in range(2):
        connection, _ = listener.accept()
        connection.settimeout(PATIENCE)
        tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        with pytest.raises(ssl.SSLError):
            tls.do_handshake()
        with sockets.socket(fileno=tls.detach()) as connection:
            connection.settimeout(PATIENCE)
            connection.shutdown(sockets.SHUT_WR)
            while connection.recv(1 << 16):
                pass


@VERSIONS
@pytest.mark.parametrize(
    ("client", "reason"), [(client_context, ""), (stranger, "unknown ca")], ids=["no certificate", "a strange one"]
)
async def test_a_refusal_of_our_certificate_is_told(version: ssl.TLSVersion, client: Any, reason: str) -> None:
    if not reason:
        reason = "handshake failure" if version is ssl.TLSVersion.TLSv1_2 else "certificate required"
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        refusing = asyncio.create_task(asyncio.to_thread(refuse_by_alert, listener, wanting_a_certificate(version)))
        await fails(f"wss://localhost:{listener.getsockname()[1]}/", reason, ssl=client())
        await refusing


# Redirects.


async def test_a_redirect_within_an_origin_keeps_the_context() -> None:
    def redirect(request: Request) -> Response | None:
        return None if request.path == "/new" else Response(302, headers={"Location": "/new"})

    async with served(echo, ssl=wanting_a_certificate(ssl.TLSVersion.TLSv1_3), on_request=redirect) as server:
        url = f"wss://localhost:{server.server.port}/"
        await works(url, ssl=client_with(issue("client.example")), max_redirects=1)


async def test_a_redirect_to_another_origin_is_met_with_the_systems_trust() -> None:
    async with listening(server_context()) as there:

        def redirect(request: Request) -> Response:
            return Response(302, headers={"Location": there})

        async with served(echo, ssl=server_context(), on_request=redirect) as server:
            url = f"wss://localhost:{server.server.port}/"
            await fails(url, "unable to get local issuer certificate", ssl=client_context(), max_redirects=1)


# ALPN.


async def test_no_protocol_is_negotiated_unless_the_callers_context_does() -> None:
    context = context_with(issue())
    context.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        chosen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(accept(await reader.readuntil(b"\r\n\r\n")))
        await reader.read()
        writer.transport.abort()

    listener = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    ours = ssl.create_default_context()
    authority().configure_trust(ours)
    theirs = ssl.create_default_context()
    authority().configure_trust(theirs)
    theirs.set_alpn_protocols(["http/1.1"])
    for each in (ours, theirs):
        socket = await connect(f"wss://localhost:{listener.sockets[0].getsockname()[1]}/", ssl=each)
        socket.terminate()
        await socket.wait_closed()
    listener.close()
    assert chosen == [None, "http/1.1"]


async def test_the_default_context_asks_for_http_1_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ssl, "create_default_context", client_context.__wrapped__)
    context = context_with(issue())
    context.set_alpn_protocols(["h2", "http/1.1"])
    async with listening(context) as url:
        await works(url)


@pytest.mark.parametrize("both", [False, True], ids=["h2 alone", "h2 and http/1.1"])
async def test_tls_that_agrees_on_http_2_fails_on_both_ends_and_says_so(
    both: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ours, theirs = client_context.__wrapped__(), context_with(issue())
    for context in (ours, theirs):
        context.set_alpn_protocols(["h2", "http/1.1"] if both else ["h2"])
    async with listening(theirs) as url:
        with caplog.at_level(logging.WARNING, "wasclean.server"):
            event = await fails(url, "TLS agreed on the protocol 'h2' (ALPN)", ssl=ours)
            await until(lambda: bool(caplog.records))
        assert (event.code, event.phase) == (1015, "tls")
        assert event.detail.startswith("TLS agreed")  # the text, and not the tuple that it is in
        assert event.detail.endswith("has only 'http/1.1'")
        assert all("TLS agreed on the protocol 'h2' (ALPN)" in record.getMessage() for record in caplog.records)


async def test_a_client_whose_url_begins_with_ws_is_told_of_a_port_that_speaks_tls() -> None:
    async with listening(server_context()) as url:
        event = await WebSocket(url.replace("wss:", "ws:")).wait_closed()
        assert event.phase == "http"
        words = " ".join(event.explain().split())
        assert "the port speaks TLS" in words
        assert "wss:" in words


# Memory.


async def test_who_keeps_a_socket_that_has_closed_does_not_keep_its_tls() -> None:
    gc.collect()
    gc.disable()  # nor is it left to the garbage collector
    try:
        async with served(echo, ssl=server_context()) as server:
            url = f"wss://localhost:{server.server.port}/"
            socket = await connect(url, ssl=client_context())
            await socket.send("x")
            await socket.close()
            refused = WebSocket(url)
            assert (await refused.wait_closed()).cause == "tls_failed"
            theirs = await server.sockets.get()
            await until(lambda: not any(isinstance(thing, TLS) for thing in gc.get_objects()), "the end of TLS")
        assert {each.readyState for each in (socket, theirs, refused)} == {WebSocket.CLOSED}
    finally:
        gc.enable()


# New keys.


async def test_who_asks_for_new_keys_and_does_not_read_them_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls_transport, "MOST_HELD", 1000)
    async with served(None, ssl=server_context()) as server:
        client = sockets.socket()
        client.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 2048)
        peer = TLSPeer(client, client_context(), is_server=False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.server.port))
        await peer.shake_hands()
        await peer.open()
        socket = await server.sockets.get()
        while socket.readyState == WebSocket.OPEN:
            for _ in range(100):
                await peer.update_keys()
            await asyncio.sleep(0)
        event = await socket.wait_closed()
        assert (event.cause, event.code) == ("tls_failed", 1015)
        assert "the peer asks for new keys and does not read them" in event.detail
        peer.close()
