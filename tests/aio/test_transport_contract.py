"""What every transport under a WebSocket has to do: one suite for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket as sockets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.certificates import client_context, server_context
from tests.endpoints import echo, pause, served, turn
from tests.faults.patience import PATIENCE, until
from tests.memory_transport import connect_in_memory
from tests.raw import BINARY, CLOSE, TEXT, Frame, Raw, close_payload, encode
from wasclean import WebSocket
from wasclean.aio import poller
from wasclean.aio.interface import Protocol
from wasclean.aio.loop_transport import LoopTransport
from wasclean.aio.tls import TLS
from wasclean.aio.tls_transport import TLSTransport
from wasclean.wire.receiver import ReadBuffer

if poller.AVAILABLE:
    from wasclean.aio.epoll import EpollTransport

KIB, MIB = 1 << 10, 1 << 20

#: Our transport; the loop's; our TLS on either; the loop's TLS; one in memory.
CARRIERS = ["loop", "tls on loop", "loop's tls", "memory"]
if poller.AVAILABLE:
    CARRIERS += ["epoll", "tls on epoll"]

#: Those over which an end may stop sending and go on reading. Where asyncio's TLS is the peer, that can't.
HALF_CLOSING = [carrier for carrier in CARRIERS if carrier in ("loop", "epoll")]

on_all = pytest.mark.parametrize("carrier", CARRIERS)

#: The loop's TLS pauses and resumes writing for its own handshake, too, and takes what it can't send.
on_exact = pytest.mark.parametrize("carrier", [carrier for carrier in CARRIERS if carrier != "loop's tls"])


class Recorder(Protocol):
    """Takes note of what it is told."""

    def __init__(self, *, stays: bool = True, size: int = 64 * KIB) -> None:
        self.memory = memoryview(bytearray(size))
        self.received = bytearray()
        self.calls: list[str] = []
        self.stays = stays
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def get_buffer(self, sizehint: int) -> Any:
        return self.memory

    def buffer_updated(self, count: int) -> None:
        self.received += self.memory[:count]

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.stays

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, error: BaseException | None) -> None:
        self.calls.append("lost")


async def tcp_pair() -> tuple[sockets.socket, sockets.socket]:
    """Return both ends of a TCP connection: the accepting one and the other."""
    loop = asyncio.get_running_loop()
    with sockets.socket() as listening:
        listening.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        theirs = sockets.socket()
        theirs.setblocking(False)
        await loop.sock_connect(theirs, listening.getsockname())
        ours, _ = await loop.sock_accept(listening)
    ours.setblocking(False)
    return ours, theirs


@asynccontextmanager
async def carried(carrier: str, protocol: Any, *, layered: bool = True) -> AsyncIterator[Raw]:
    """Let a transport of that kind carry the protocol; yield the other end.

    Args:
        layered: False if the protocol itself begins our TLS.
    """
    loop = asyncio.get_running_loop()
    if carrier == "memory":
        reader = asyncio.StreamReader()
        streams = asyncio.StreamReaderProtocol(reader)
        _, other = connect_in_memory(lambda: LoopTransport(loop, protocol), lambda: streams)
        writer = asyncio.StreamWriter(other, streams, reader, loop)
        try:
            yield Raw(reader, writer, masked=True)
        finally:
            other.abort()
        return
    ours, theirs = await tcp_pair()
    recorder = protocol if isinstance(protocol, Recorder) else None
    if carrier.startswith("tls on") and layered:
        protocol = Layered(protocol)
    options: Any = {"ssl": client_context(), "server_hostname": "localhost"} if "tls" in carrier else {}
    connecting = asyncio.ensure_future(asyncio.open_connection(sock=theirs, **options))
    if carrier.endswith("epoll"):
        EpollTransport(loop, ours, protocol, ours.getpeername(), poller.join(loop))
    else:
        context = server_context() if carrier == "loop's tls" else None
        await loop.connect_accepted_socket(lambda: LoopTransport(loop, protocol), ours, ssl=context)
    reader, writer = await connecting
    try:
        yield Raw(reader, writer, masked=True)
    finally:
        if recorder is not None:
            recorder.transport.abort()
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        await turn()


class Layered(Protocol):
    """Puts a layer of our TLS between a transport and a protocol."""

    def __init__(self, protocol: Any) -> None:
        self.inner = protocol

    def connection_made(self, transport: Any) -> None:
        transport.set_protocol(self.inner)
        engine = TLS(server_context(), server_side=True)
        layer = TLSTransport(asyncio.get_running_loop(), transport, engine, ReadBuffer())
        self.inner.connection_made(layer)
        layer.start()


@asynccontextmanager
async def met(carrier: str, handler: Any = None, **options: Any) -> AsyncIterator[tuple[WebSocket, Raw]]:
    """A server's WebSocket over a transport of that kind, and the client at the other end."""
    if carrier.startswith("tls on"):
        options["ssl"] = server_context()
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(served(handler, **options))
        protocol = server.server._accept(loop)
        raw = await stack.enter_async_context(carried(carrier, protocol, layered=False))
        raw.send(
            b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        raw.head = await raw.reader.readuntil(b"\r\n\r\n")
        assert raw.head.startswith(b"HTTP/1.1 101 ")
        yield await server.sockets.get(), raw


# A WebSocket over it.


@on_all
async def test_messages_of_all_sizes_travel_both_ways(carrier: str) -> None:
    async with met(carrier, echo, max_message_size=None) as (_, raw):
        for size in (0, 1, 1000, 70_000, 3 * MIB):
            message = os.urandom(size)
            raw.send(encode(BINARY, message, masked=True))
            assert await raw.message() == Frame(BINARY, message)


@on_all
async def test_reading_is_paused_while_the_queue_is_full_and_goes_on(carrier: str) -> None:
    go_on = asyncio.Event()
    received: list[Any] = []

    async def slow(socket: WebSocket) -> None:
        await go_on.wait()
        async for message in socket:
            received.append(message)

    async with met(carrier, slow, max_queue=2) as (socket, raw):
        count = 200
        for i in range(count):
            raw.send(encode(BINARY, bytes([i]) * 50_000, masked=True))
        raw.send_close(1000)
        await pause()
        assert received == []
        go_on.set()
        event = await socket.wait_closed()
        assert event.wasClean
        await until(lambda: len(received) == count, "the rest of the queue")
        assert received == [bytes([i]) * 50_000 for i in range(count)]


@on_all
async def test_writing_is_paused_while_the_peer_does_not_read_and_goes_on(carrier: str) -> None:
    async with met(carrier, max_buffered_amount=64 * MIB) as (socket, raw):
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        messages = [os.urandom(MIB) for _ in range(24)]
        for message in messages:
            socket.send(message)
        await pause()
        assert socket.bufferedAmount > MIB
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for message in messages:
            assert await raw.message() == Frame(BINARY, message)
        await until(lambda: socket.bufferedAmount == 0, "all to have left")


@on_all
async def test_we_close(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        closed = socket.close(3000, "bye")
        assert await raw.frame() == Frame(CLOSE, close_payload(3000, "bye"))
        raw.send_close(3000, "bye")
        event = await closed
        assert (event.code, event.reason, event.wasClean, event.initiator) == (3000, "bye", True, "local")
        assert await raw.rest() == b""


@on_all
async def test_the_peer_closes(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        raw.send_close(3001, "enough")
        assert await raw.frame() == Frame(CLOSE, close_payload(3001, "enough"))
        event = await socket.wait_closed()
        assert (event.code, event.reason, event.wasClean, event.initiator) == (3001, "enough", True, "remote")
        assert await raw.rest() == b""


@on_all
async def test_an_end_of_stream_without_a_close_frame_is_not_clean(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        raw.close()
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.cause) == (1006, False, "tcp_fin")


@pytest.mark.parametrize("carrier", HALF_CLOSING)
async def test_a_peer_that_ends_its_side_still_gets_our_close_frame(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        raw.send_close(3001, "half")
        raw.shutdown()
        assert await raw.frame() == Frame(CLOSE, close_payload(3001, "half"))
        assert (await socket.wait_closed()).wasClean


@on_all
async def test_a_peer_that_aborts_ends_the_connection(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        if carrier == "memory":
            raw.writer.transport.abort()
        else:
            raw.reset()
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.initiator) == (1006, False, "remote")


@on_all
async def test_terminate_ends_the_connection_at_once(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        socket.terminate()
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.initiator) == (1006, False, "local")
        with contextlib.suppress(ConnectionError):
            assert await raw.rest() == b""


@on_all
async def test_writing_to_a_peer_that_has_gone_ends_the_connection(carrier: str) -> None:
    async with met(carrier, max_buffered_amount=64 * MIB) as (socket, raw):
        raw.writer.transport.abort()
        for _ in range(10):
            socket.send(bytes(MIB))
        event = await asyncio.wait_for(socket.wait_closed(), PATIENCE)
        assert (event.code, event.wasClean) == (1006, False)
        assert socket.bufferedAmount > 0 or carrier == "loop's tls"


@on_all
async def test_what_the_peer_still_sends_does_not_keep_our_close_frame_from_it(carrier: str) -> None:
    async with met(carrier) as (socket, raw):
        raw.send(encode(0x3, b"", masked=True))
        frame = await raw.frame()
        assert (frame.opcode, frame.payload[:2]) == (CLOSE, close_payload(1002))
        with contextlib.suppress(ConnectionError):  # where TCP's two sides end together
            for _ in range(10):
                raw.send(encode(TEXT, b"x" * 10_000, masked=True))
                await raw.writer.drain()
                await turn(1)
            assert await raw.rest() == b""
        assert (await socket.wait_closed()).code == 1006


# A protocol over it.


@on_exact
async def test_bytes_arrive_in_order_through_little_memory(carrier: str) -> None:
    protocol = Recorder(size=1000)
    async with carried(carrier, protocol) as raw:
        data = os.urandom(200_000)
        raw.send(data)
        await until(lambda: len(protocol.received) == len(data), "all to arrive")
        assert protocol.received == data


@on_exact
async def test_a_protocol_is_told_when_its_bytes_can_not_leave_and_when_they_have(carrier: str) -> None:
    protocol = Recorder()
    async with carried(carrier, protocol) as raw:
        raw.send(b"?")  # our TLS writes nothing before its handshake
        await until(lambda: protocol.received, "the first byte")
        transport = protocol.transport
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        data = os.urandom(16 * MIB)
        transport.write(data)
        await turn()
        assert protocol.calls[-1] == "pause"
        assert 0 < transport.get_write_buffer_size() <= len(data)
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert await raw.reader.readexactly(len(data)) == data
        await until(lambda: protocol.calls[-1] == "resume", "the end of the pause")
        assert transport.get_write_buffer_size() == 0


@on_exact
async def test_a_protocol_may_be_replaced_from_within_its_own_callback(carrier: str) -> None:
    second = Recorder(stays=False)

    class First(Recorder):
        def buffer_updated(self, count: int) -> None:
            super().buffer_updated(count)
            self.transport.set_protocol(second)

    first = First()
    async with carried(carrier, first) as raw:
        raw.send(b"1")
        await until(lambda: first.received == b"1", "the first byte")
        raw.send(b"2")
        await until(lambda: second.received == b"2", "the second byte")
        raw.close()
        await until(lambda: "lost" in second.calls, "the end")
    assert first.calls == ["made"]
    assert second.calls == ["eof", "lost"]


@on_exact
async def test_reading_stops_and_goes_on(carrier: str) -> None:
    protocol = Recorder()
    async with carried(carrier, protocol) as raw:
        raw.send(b"1")
        await until(lambda: protocol.received == b"1", "the first byte")
        transport = protocol.transport
        transport.pause_reading()
        transport.pause_reading()
        assert not transport.is_reading()
        raw.send(b"2")
        await pause()
        assert protocol.received == b"1"
        transport.resume_reading()
        transport.resume_reading()
        await until(lambda: protocol.received == b"12", "the second byte")


@on_exact
async def test_abort_ends_both_sides(carrier: str) -> None:
    protocol = Recorder()
    async with carried(carrier, protocol) as raw:
        raw.send(b"1")
        await until(lambda: protocol.received == b"1", "the first byte")
        protocol.transport.abort()
        await until(lambda: protocol.calls == ["made", "lost"], "the end")
        assert protocol.transport.is_closing()
        with contextlib.suppress(ConnectionError):
            assert await raw.rest() == b""
