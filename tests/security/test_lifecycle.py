"""Closing, and the life of a connection: rows 54 to 72 of the table of vulnerabilities."""

from __future__ import annotations

import array
import asyncio
import logging
import os
import signal
import socket as sockets
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import Record, echo, served
from tests.faults.invariants import Invariants
from tests.faults.patience import until
from tests.faults.programs import started
from tests.faults.stage import Place, end_tcp, on_tcp, on_tls, pair
from tests.faults.tcp_peer import tcp_client, tcp_server
from tests.protocol_pair import BINARY, CLOSE, TEXT, close_payload, frame
from tests.raw import Raw, accept, raw_client, raw_server
from tests.security.asking import asking
from tests.security.rows import row, rows
from tests.security.victim import MIB, PROGRAM, Memory, send_all, sockets_in_state
from wasclean import Request, WebSocket, connect
from wasclean.model.registry import Role

CLOSE_WAIT = 8  # in /proc/net/tcp


# A closing that the peer will not let end.


async def silent(place: Place, socket: WebSocket, peer: Any) -> None:
    """The peer does nothing."""


async def full_queue(place: Place, socket: WebSocket, peer: Any) -> None:
    """Messages of the peer are not read, so reading is paused."""
    await peer.send(frame(Role(place.role), TEXT, b"unread") * 1000)
    await until(lambda: socket.stats.messages_received > 100, "a full queue")


async def full_buffers(place: Place, socket: WebSocket, peer: Any) -> None:
    """And the peer reads nothing, so the kernel's buffers are full, too."""
    await full_queue(place, socket, peer)
    socket.send(bytes(12 * MIB))
    await asyncio.sleep(0.05)


async def flood(place: Place, socket: WebSocket, peer: Any) -> asyncio.Task[int]:
    """The peer sends messages for ever."""
    return asyncio.create_task(send_all(peer, frame(Role(place.role), BINARY, bytes(1000)) * 10, 1_000_000))


@on_tcp
@rows(
    "hinder",
    (54, "reading is paused, and the peer never answers our Close frame", full_queue),
    (63, "close(), and the peer does not respond", silent),
    (64, "close() with a full queue of messages, and with full buffers of the kernel", full_buffers),
    (65, "close(), and the peer sends messages for ever", flood),
)
async def test_a_closing_ends_on_time_whatever_the_peer_does(place: Place, hinder: Any, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        flooding = await hinder(place, socket, peer)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        event = await socket.close(1000, timeout=0.5)
        assert loop.time() - begun > 0.4
        assert (event.code, event.cause) == (1006, "close_timeout")
        if flooding is not None:
            assert await flooding < 1_000_000
        else:
            assert await peer.ended() == "rst"
        peer.close()


# What is used after its end.


@row(55, "send(), ping(), close() and terminate() of a closed socket whose descriptor is another file's")
@on_tcp
async def test_a_closed_socket_never_touches_its_descriptor_again(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):
        before = set(os.listdir("/proc/self/fd"))
        peer.reset()
        await socket.wait_closed()
        await until(lambda: set(os.listdir("/proc/self/fd")) < before, "the descriptor to be free")
        others = [sockets.socketpair() for _ in range(10)]
        assert before <= set(os.listdir("/proc/self/fd"))  # all numbers are in use again
        for _ in range(100):
            socket.send("stray" * 100)
            socket.close(1000)
            socket.terminate(reset=True)
        await asyncio.sleep(0.02)
        ends = [end for both in others for end in both]
        for end in ends:
            with pytest.raises(BlockingIOError):
                end.recv(1, sockets.MSG_DONTWAIT)
        for end in ends:
            end.close()


@row(57, "reasons and payloads that are arrays of numbers")
@on_tcp
@pytest.mark.parametrize(
    "data",
    [array.array("f", [1.5, 2.5]), memoryview(array.array("d", [3.5])), memoryview(b"abcdef")[::2], bytearray(b"x")],
    ids=["floats", "doubles", "strides", "bytearray"],
)
async def test_only_bytes_that_were_given_are_sent(place: Place, data: Any, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):
        with pytest.raises(TypeError):
            socket.close(1000, data)
        socket.send(data)
        assert await peer.frame() == (BINARY, memoryview(data).tobytes(), True)
        socket.terminate()
        await peer.ended()
        peer.close()


@row(58, "close() over TLS")
@on_tls
async def test_the_close_frame_leaves_before_tls_ends_and_tls_before_tcp(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, events=True) as (socket, peer):
        socket.send("last words")
        closing = socket.close(1000)
        assert (await peer.frame()).payload == b"last words"
        assert await peer.frame() == (CLOSE, close_payload(1000), True)
        assert not peer.notified
        await peer.send_close(1000)
        await end_tcp(place, peer)
        assert peer.notified
        assert (await closing).wasClean


# Openings that fail.


@row(59, "a client that resets the connection inside on_request")
async def test_a_client_that_goes_during_on_request_never_gets_to_the_handler(invariants: Invariants) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hook(request: Request) -> None:
        asked.set()
        await go_on.wait()

    async with served(on_request=hook) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", server.server.port)
        writer.write(asking())
        await asked.wait()
        connection = writer.get_extra_info("socket")
        connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()
        await asyncio.sleep(0.02)
        go_on.set()
        await until(lambda: not server.server._transports, "the connection's end")
        assert server.sockets.empty()


@row(60, "thousands of handshakes with a bad Sec-WebSocket-Key")
async def test_handshakes_that_are_refused_leave_nothing() -> None:
    bad = asking(Sec_WebSocket_Key="bad")

    async def refused(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bad)
        assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
        writer.close()

    with started(PROGRAM, "server", 0, "{}", "echo") as process:
        port = int(await process.line("port "))

        async def many(count: int) -> None:
            for _ in range(count // 50):
                await asyncio.gather(*(refused(port) for _ in range(50)))

        await many(500)
        memory = Memory(process.pid)
        await many(2500)
        assert memory.grown() < 2 * MIB


@row(61, "a client that resets the connection after each byte of its handshake")
async def test_a_client_that_goes_anywhere_in_its_handshake_is_no_error(invariants: Invariants) -> None:
    data = asking()
    async with served() as server:
        for size in range(len(data)):
            client = sockets.create_connection(("127.0.0.1", server.server.port))
            client.sendall(data[:size])
            await asyncio.sleep(0)
            client.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            client.close()
        async with connect(server.url):
            pass


@row(61, "a server that resets the connection after each byte of its answer")
async def test_a_server_that_goes_anywhere_in_its_answer_is_no_error(invariants: Invariants) -> None:
    size = 0

    async def script(raw: Raw) -> None:
        raw.reset()

    def answer(head: bytes) -> bytes:
        return accept(head)[:size]

    async with raw_server(script, answer=answer) as url:
        for size in range(len(accept(asking())) - 1):  # noqa: B007 - answer() has it
            record = Record(WebSocket(url))
            await record.socket.wait_closed()
            assert record.types == ["error", "close"]
            record.events.clear()
            del record


@row(62, "300 connections that end badly")
async def test_no_connection_stays_in_close_wait() -> None:
    async with served(echo, close_timeout=0.2) as server:
        port = server.server.port
        for number in range(300):
            async with AsyncExitStack() as stack:
                peer = await stack.enter_async_context(tcp_client(port))
                await peer.send([b"\xff", b"", frame(Role.SERVER, TEXT, b"x", fin=False)][number % 3])
                if number % 2:
                    peer.finish()
        await until(lambda: not sockets_in_state(port, CLOSE_WAIT), "the end of all connections")
        await until(lambda: not server.server._transports, "the end of all connections")


async def refused(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        return f"ws://127.0.0.1:{listener.getsockname()[1]}/", {}


async def unknown(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    return "ws://no-such-host.invalid/", {}


async def rejected(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    return (await stack.enter_async_context(served(origins=["https://good.com"]))).url, {"origin": "https://evil.com"}


async def invalid(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    async def script(raw: Raw) -> None:
        await raw.rest()

    return await stack.enter_async_context(raw_server(script, answer=lambda head: accept(asking()))), {}


async def mute(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    return (await stack.enter_async_context(tcp_server())).url, {"open_timeout": 0.2}


async def untrusted(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    server = await stack.enter_async_context(served(ssl=server_context()))
    return server.url.replace("ws://", "wss://"), {}


async def no_tls(stack: AsyncExitStack) -> tuple[str, dict[str, Any]]:
    server = await stack.enter_async_context(served())
    return server.url.replace("ws://", "wss://"), {"ssl": client_context()}


@row(67, "every way in which connecting can fail")
@pytest.mark.parametrize("failing", [refused, unknown, rejected, invalid, mute, untrusted, no_tls])
async def test_every_failure_to_connect_is_one_error_and_one_close_event(failing: Any, invariants: Invariants) -> None:
    invariants.allow("the Origin .* may not connect here")  # which a server's log is to show
    async with AsyncExitStack() as stack:
        url, options = await failing(stack)
        record = Record(WebSocket(url, **options))
        await record.socket.wait_closed()
        await asyncio.sleep(0.01)
        assert record.types == ["error", "close"]
        record.events.clear()
        del record


# Closing.


@row(68, "a loop over messages that is cancelled, and then the peer closes")
@on_tcp
async def test_a_cancelled_loop_does_not_mind_the_peers_close(place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):

        async def read() -> None:
            async for _ in socket:
                pass

        reading = asyncio.ensure_future(read())
        await asyncio.sleep(0.01)
        reading.cancel()
        with suppress(asyncio.CancelledError):
            await reading
        await peer.send_close(1000)
        assert await peer.frame() == (CLOSE, close_payload(1000), True)
        await end_tcp(place, peer)
        assert (await socket.wait_closed()).wasClean
        assert [message async for message in socket] == []


@row(69, "Close frames with codes that must not be sent")
@on_tcp
@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535])
async def test_a_code_that_must_not_be_sent_is_neither_accepted_nor_echoed(
    place: Place, code: int, invariants: Invariants
) -> None:
    async with pair(place, invariants) as (socket, peer):
        await peer.send_close(code)
        assert (await peer.frame()).payload[:2] == close_payload(1002)
        event = await socket.wait_closed()
        assert (event.code, event.reason, event.wasClean) == (1006, "", False)
        peer.close()


@row(70, "SIGTERM to a server with 100 clients")
async def test_sigterm_tells_every_client() -> None:
    with started(PROGRAM, "server", 0, "{}", "echo") as process:
        port = int(await process.line("port "))
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(raw_client(port)) for _ in range(100)]
            process.send_signal(signal.SIGTERM)
            for client in clients:
                assert await client.frame() == (CLOSE, close_payload(1001), True)
                client.send_close(1001)
                assert await client.rest() == b""
        assert (await process.ended()).status == 0


@row(71, "a session that is revoked, and one that is too old")
async def test_connections_can_be_found_and_closed_and_have_a_longest_life() -> None:
    async with served(echo, max_lifetime=1.5) as server:
        good = await connect(server.url, headers={"Cookie": "session=good"})
        bad = await connect(server.url, headers={"Cookie": "session=bad"})
        for socket in list(server.server.connections):
            assert socket.request is not None
            if socket.request.headers["Cookie"] == "session=bad":
                socket.close(1008, "revoked")
        event = await bad.wait_closed()
        assert (event.code, event.reason) == (1008, "revoked")
        event = await good.wait_closed()
        assert (event.code, event.cause) == (1001, "peer_close")


@row(72, "a reason with NUL, an escape sequence and a line feed")
@on_tcp
async def test_a_reason_is_delivered_as_it_is_and_escaped_in_logs(
    place: Place, caplog: pytest.LogCaptureFixture, invariants: Invariants
) -> None:
    caplog.set_level(logging.DEBUG)
    reason = "a\0\x1b[2J\r\nERROR all is lost\u2028\u202e"
    async with pair(place, invariants) as (socket, peer):
        await peer.send_close(3000, reason)
        event = await socket.wait_closed()
        assert event.reason == reason
        texts = [str(event), repr(event), event.explain().replace("\n", ""), *caplog.messages]
        assert any("all is lost" in text for text in caplog.messages)
        assert all(text.isprintable() for text in texts)
        peer.close()
        caplog.clear()
