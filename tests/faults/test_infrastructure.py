"""The tools of the fault tests do what they say, with sockets that are not WebSockets."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import socket as sockets
import struct
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import pytest

import wasclean
from tests.certificates import client_context
from tests.faults.gateways import Start
from tests.faults.invariants import Invariants, invariants
from tests.faults.namespace import Namespace
from tests.faults.patience import until
from tests.faults.processes import process, python
from tests.faults.proxy import FaultProxy, fault_proxy, shrink_buffers
from tests.faults.tls_peer import tls_client, tls_server
from tests.faults.watched import Watched
from tests.raw import CLOSE, TEXT, Frame, accept, close_payload

# Plain TCP ends.


class Plain:
    """One end of a connection, which does only what it is told."""

    def __init__(self, socket: sockets.socket) -> None:
        socket.setblocking(False)
        self.socket = socket

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self, size: int = 1 << 16) -> bytes:
        return await asyncio.get_running_loop().sock_recv(self.socket, size)

    async def exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size and (piece := await self.read(size - len(data))):
            data += piece
        return data

    async def rest(self) -> bytes:
        data = bytearray()
        while piece := await self.read():
            data += piece
        return bytes(data)

    def finish(self) -> None:
        self.socket.shutdown(sockets.SHUT_WR)

    def reset(self) -> None:
        self.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def fill(self) -> int:
        """Send until there is no more room; how much that was."""
        sent = 0
        for _ in range(100):  # the other end of a proxy's thread may make room yet
            try:
                sent += self.socket.send(bytes(1 << 10))
            except BlockingIOError:
                sleep(0.0005)
        return sent

    def nothing_comes(self) -> bool:
        try:
            self.socket.recv(1, sockets.MSG_PEEK)
        except BlockingIOError:
            return True
        return False


class Line(NamedTuple):
    """A connection through a proxy."""

    proxy: FaultProxy
    client: Plain
    server: Plain


@asynccontextmanager
async def line(prepare: Callable[[FaultProxy], object] = lambda proxy: None) -> AsyncIterator[Line]:
    loop = asyncio.get_running_loop()
    with sockets.create_server(("127.0.0.1", 0)) as listener, sockets.socket() as client:
        for socket in listener, client:
            shrink_buffers(socket)
            socket.setblocking(False)
        async with fault_proxy(listener.getsockname()[1]) as proxy:
            prepare(proxy)
            await loop.sock_connect(client, ("127.0.0.1", proxy.port))
            server, _ = await loop.sock_accept(listener)
            with server:
                yield Line(proxy, Plain(client), Plain(server))


async def quiet(seconds: float = 0.02) -> None:
    """Long enough for what should not happen to happen."""
    await asyncio.sleep(seconds)


# The proxy.


async def test_what_passes_a_proxy_is_counted_and_captured() -> None:
    async with line() as (proxy, client, server):
        await client.send(b"question")
        assert await server.exactly(8) == b"question"
        await server.send(b"answer")
        assert await client.exactly(6) == b"answer"
        assert (proxy.passed("up"), proxy.passed("down")) == (8, 6)
        assert (proxy.captured("up"), proxy.captured("down")) == (b"question", b"answer")
        assert proxy.endings("client") == proxy.endings("server") == []


async def test_a_fin_passes_and_leaves_the_other_direction_open() -> None:
    async with line() as (proxy, client, server):
        await client.send(b"all")
        client.finish()
        assert await server.rest() == b"all"
        assert await proxy.ended("client") == "fin"
        await server.send(b"late")
        assert await client.exactly(4) == b"late"
        assert proxy.endings("server") == []
        server.finish()
        assert await client.rest() == b""
        assert await proxy.ended("server") == "fin"


async def test_a_reset_passes_behind_the_bytes_that_came_before_it() -> None:
    async with line() as (proxy, client, server):
        await server.send(b"last words")
        await proxy.carried("down", 10)
        server.reset()
        assert await client.exactly(10) == b"last words"
        with pytest.raises(ConnectionResetError):
            await client.read()
        assert await proxy.ended("server") == "rst"
        assert proxy.endings("client") == []


async def test_a_reset_after_a_fin_is_seen_and_passes() -> None:
    async with line() as (proxy, client, server):
        await client.send(b"never read")
        await proxy.carried("up", 10)
        await server.exactly(10)
        server.finish()
        assert await client.rest() == b""
        server.reset()
        await until(lambda: proxy.endings("server") == ["fin", "rst"], "the reset")
        await until(lambda: client.socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR), "the reset")


async def test_data_that_nobody_wants_any_more_is_answered_by_a_reset_that_is_seen() -> None:
    async with line() as (proxy, client, server):
        server.socket.close()
        assert await client.rest() == b""
        proxy.stall("up")
        await client.send(b"too late")
        client.finish()
        proxy.resume("up")
        await until(lambda: proxy.endings("server") == ["fin", "rst"], "the reset")


async def test_a_stalled_direction_is_felt_by_its_sender_and_loses_nothing() -> None:
    async with line() as (proxy, client, server):
        proxy.stall("up")
        sent = client.fill()
        assert sent < 100 << 10
        assert server.nothing_comes()
        await server.send(b"the other way")
        assert await client.exactly(13) == b"the other way"
        assert proxy.passed("up") == 0
        proxy.resume("up")
        assert await server.exactly(sent) == bytes(sent)


async def test_nothing_passes_once_stall_has_returned() -> None:
    async with line() as (proxy, client, server):
        sending = asyncio.create_task(client.send(bytes(1 << 20)))
        reading = asyncio.create_task(server.rest())
        for _ in range(10):
            await proxy.carried("up", proxy.passed("up") + 1)
            proxy.stall("up")
            passed = proxy.passed("up")
            await quiet(0.002)
            assert proxy.passed("up") == passed
            proxy.resume("up")
        await sending
        client.finish()
        assert len(await reading) == 1 << 20


@pytest.mark.parametrize("ending", ["fin", "rst"])
async def test_an_ending_is_seen_behind_bytes_that_a_stalled_proxy_does_not_read(ending: str) -> None:
    async with line() as (proxy, client, server):
        proxy.stall()
        await server.send(b"unread")
        server.finish() if ending == "fin" else server.reset()
        assert await proxy.ended("server") == ending
        assert client.nothing_comes()
        proxy.resume()
        assert await client.exactly(6) == b"unread"
        if ending == "fin":
            assert await client.read() == b""
        else:
            with pytest.raises(ConnectionResetError):
                await client.read()


async def test_a_direction_that_drops_takes_all_and_passes_nothing() -> None:
    async with line() as (proxy, client, server):
        proxy.drop("up")
        await client.send(bytes(1 << 20))
        client.finish()
        assert await proxy.ended("client") == "fin"
        assert server.nothing_comes()
        assert proxy.passed("up") == 0
        await server.send(b"the other way")
        assert await client.exactly(13) == b"the other way"


async def test_a_direction_that_drops_swallows_a_reset() -> None:
    async with line() as (proxy, client, server):
        proxy.drop()
        client.reset()
        assert await proxy.ended("client") == "rst"
        await quiet()
        assert server.nothing_comes()


async def test_a_throttled_direction_passes_so_many_bytes_per_second() -> None:
    async with line() as (proxy, client, server):
        proxy.throttle(1000, "up")
        began = monotonic()
        await client.send(bytes(100))
        assert await server.exactly(100) == bytes(100)
        assert monotonic() - began > 0.08
        proxy.throttle(None, "up")
        proxy.throttle(2, "up")
        await client.send(b"abc")
        assert await server.read() == b"a"


async def test_a_delayed_direction_passes_everything_later_and_in_order() -> None:
    async with line() as (proxy, client, server):
        proxy.delay(0.05, "down")
        began = monotonic()
        await server.send(b"one")
        await quiet(0.01)
        await server.send(b"two")
        server.finish()
        assert await client.rest() == b"onetwo"
        assert monotonic() - began > 0.05


async def test_a_direction_that_is_truncated_ends_with_a_fin() -> None:
    async with line(lambda proxy: proxy.truncate("down", 5)) as (proxy, client, server):
        await server.send(b"onetwothree")
        assert await client.rest() == b"onetw"
        await client.send(b"the other way")
        assert await server.exactly(13) == b"the other way"
        await server.send(bytes(1 << 20))
        assert proxy.captured("down") == b"onetw"


async def test_a_direction_that_is_truncated_ends_with_a_reset() -> None:
    async with line(lambda proxy: proxy.truncate("down", 5, "rst")) as (proxy, client, server):
        await server.send(b"onetwothree")
        assert await client.exactly(5) == b"onetw"
        for end in client, server:
            with pytest.raises(ConnectionResetError):
                await end.read()
        assert proxy.endings("client") == proxy.endings("server") == []


async def test_a_direction_that_is_truncated_stalls() -> None:
    async with line(lambda proxy: proxy.truncate("down", 5, "stall")) as (proxy, client, server):
        await server.send(b"onetwothree")
        assert await client.exactly(5) == b"onetw"
        await quiet()
        assert client.nothing_comes()
        assert server.fill() < 100 << 10
        proxy.resume("down")
        assert await client.exactly(6) == b"othree"


async def test_a_direction_that_may_carry_nothing_ends_before_its_first_byte() -> None:
    async with line(lambda proxy: proxy.truncate("up", 0)) as (_, client, server):
        assert await server.read() == b""
        await client.send(b"into nothing")


async def test_a_cut_sends_a_fin_to_both_ends_and_never_a_reset() -> None:
    async with line() as (proxy, client, server):
        proxy.cut()
        assert await client.read() == await server.read() == b""
        await client.send(bytes(1 << 20))
        await server.send(bytes(1 << 20))
        client.finish()
        server.finish()
        assert await proxy.ended("client") == await proxy.ended("server") == "fin"
        for end in client, server:
            assert end.socket.getsockopt(sockets.SOL_SOCKET, sockets.SO_ERROR) == 0


async def test_a_cut_of_one_direction_leaves_the_other_open() -> None:
    async with line() as (proxy, client, server):
        proxy.cut("up")
        assert await server.read() == b""
        await server.send(b"still here")
        assert await client.exactly(10) == b"still here"


async def test_a_proxy_resets_both_ends() -> None:
    async with line() as (proxy, client, server):
        proxy.reset()
        for end in client, server:
            with pytest.raises(ConnectionResetError):
                await end.read()


async def test_a_proxy_resets_one_end_and_the_other_hears_nothing() -> None:
    async with line() as (proxy, client, server):
        proxy.reset("client")
        with pytest.raises(ConnectionResetError):
            await client.read()
        await server.send(bytes(1 << 20))
        await quiet()
        assert server.nothing_comes()


async def test_a_proxy_counts_its_connections() -> None:
    loop = asyncio.get_running_loop()
    async with line() as (proxy, client, server):
        await client.send(b"first")
        await server.exactly(5)
        assert proxy.connections == 1
        with sockets.socket() as second:
            second.setblocking(False)
            await loop.sock_connect(second, ("127.0.0.1", proxy.port))
            await loop.sock_sendall(second, b"2")
            await until(lambda: proxy.connections == 2, "the second connection")
            await proxy.carried("up", 1)
            assert (proxy.captured("up", 0), proxy.captured("up")) == (b"first", b"2")


async def test_a_proxy_before_nothing_resets_its_clients() -> None:
    async def connect() -> None:
        await asyncio.get_running_loop().sock_connect(socket, ("127.0.0.1", proxy.port))
        await client.read()

    with sockets.socket() as taken, sockets.socket() as socket:
        taken.bind(("127.0.0.1", 0))
        async with fault_proxy(taken.getsockname()[1]) as proxy:
            client = Plain(socket)
            with pytest.raises(ConnectionResetError):
                await connect()
            assert proxy.endings("server") == ["rst"]


async def test_a_proxy_works_while_the_loop_is_blocked() -> None:
    async with line() as (proxy, client, server):
        client.socket.setblocking(True)
        server.socket.setblocking(True)
        client.socket.send(b"now")
        assert server.socket.recv(3) == b"now"
        assert proxy.passed("up") == 3


async def test_a_proxy_leaves_no_thread_and_no_socket(invariants: Invariants) -> None:
    before = set(threading.enumerate())
    async with line() as (_, client, server):
        await client.send(b"hello")
        await server.exactly(5)
        assert len(set(threading.enumerate()) - before) == 1
    assert set(threading.enumerate()) <= before


# The TLS peer.


async def test_tls_peers_open_a_websocket_and_exchange_frames() -> None:
    async with tls_server() as server, asyncio.TaskGroup() as group:
        accepting = group.create_task(server.accept())
        async with tls_client(server.port, "/path") as client:
            peer = await accepting
            assert peer.head.startswith(b"GET /path HTTP/1.1\r\n")
            assert client.head.startswith(b"HTTP/1.1 101 ")
            await client.send_frame(TEXT, b"x" * 70000)
            assert await peer.frame() == Frame(TEXT, b"x" * 70000)
            await peer.send_frame(TEXT, b"part", fin=False)
            assert await client.frame() == Frame(TEXT, b"part", False)
            await peer.send_close(1000, "bye")
            assert await client.frame() == Frame(CLOSE, close_payload(1000, "bye"))


@asynccontextmanager
async def tls_pair() -> AsyncIterator[Any]:
    async with tls_server() as server:
        accepting = asyncio.create_task(server.accept())
        async with tls_client(server.port) as client:
            yield client, await accepting


async def test_a_tls_peer_ends_tcp_without_a_close_notify() -> None:
    async with tls_pair() as (client, server):
        await server.send_frame(TEXT, b"last")
        server.finish()
        assert await client.frame() == Frame(TEXT, b"last")
        assert await client.rest() == b""
        assert (client.notified, client.ending) == (False, "fin")


async def test_a_tls_peer_sends_a_close_notify_and_leaves_tcp_open() -> None:
    async with tls_pair() as (client, server):
        await server.notify()
        assert await client.rest() == b""
        assert (client.notified, client.ending) == (True, None)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ended(), 0.02)
        await client.send_frame(TEXT, b"half closed")
        assert await server.frame() == Frame(TEXT, b"half closed")
        server.close()
        assert await client.ended() == "fin"


async def test_a_tls_peer_answers_no_close_notify_unless_it_is_told() -> None:
    async with tls_pair() as (client, server):
        await client.notify()
        assert await server.rest() == b""
        assert server.notified
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.read(), 0.02)
        await server.notify()
        assert await client.rest() == b""
        assert client.notified


async def test_a_tls_peer_goes_on_sending_after_a_close_frame() -> None:
    async with tls_pair() as (client, server):
        await client.send_close(1000)
        assert (await server.frame()).opcode == CLOSE
        sending = asyncio.create_task(server.send(bytes(1 << 20)))
        received = 0
        while received < 1 << 20:
            received += len(await client.read())
        await sending


async def test_a_tls_peer_tears_a_record_and_ends_tcp() -> None:
    async with tls_pair() as (client, server):
        await server.send_torn(b"x" * 1000)
        server.finish()
        assert await client.rest() == b""
        assert (client.notified, client.ending) == (False, "fin")


async def test_a_tls_peer_resets_tcp() -> None:
    async with tls_pair() as (client, server):
        server.reset()
        assert await client.rest() == b""
        assert (client.notified, client.ending) == (False, "rst")


@pytest.mark.parametrize("both", [True, False])
async def test_a_tls_peer_updates_its_keys(both: bool) -> None:
    async with tls_pair() as (client, server):
        await server.update_keys(both=both)
        await server.send_frame(TEXT, b"new keys")
        assert await client.frame() == Frame(TEXT, b"new keys")
        await client.send_frame(TEXT, b"mine, too")
        assert await server.frame() == Frame(TEXT, b"mine, too")


async def test_the_tls_of_the_loop_understands_a_tls_peer() -> None:
    async with tls_server() as server:
        accepting = asyncio.create_task(server.accept())
        reader, writer = await asyncio.open_connection("localhost", server.port, ssl=client_context())
        writer.write(b"GET / HTTP/1.1\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
        peer = await accepting
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        await peer.update_keys()
        await peer.send(b"data")
        assert await reader.readexactly(4) == b"data"
        await peer.notify()
        assert await reader.read() == b""
        writer.close()
        assert await peer.rest() == b""
        await writer.wait_closed()


async def test_a_proxy_truncates_tls() -> None:
    async with tls_server() as server, fault_proxy(server.port) as proxy:
        accepting = asyncio.create_task(server.accept())
        async with tls_client(proxy.port) as client:
            peer = await accepting
            proxy.truncate("down", proxy.passed("down") + 100)
            await peer.send_frame(TEXT, b"x" * 1000)
            assert await client.rest() == b""
            assert (client.notified, client.ending) == (False, "fin")


# Processes.


async def test_a_process_says_a_line_and_ends() -> None:
    code = "import sys; print('port: 17'); print(sys.argv[1]); sys.stderr.write('oops'); sys.exit(3)"
    with python(code, "argument") as running:
        assert await running.line("port: ") == "17"
        assert await running.ended() == (3, "port: 17\nargument\n", "oops")


async def test_a_process_has_the_build_that_we_have() -> None:
    with python("import wasclean; print(wasclean.compiled); import tests.wire") as running:
        status, output, errors = await running.ended()
        assert (status, output.strip()) == (0, str(wasclean.compiled)), errors


async def test_a_line_that_never_comes_is_told_of_when_the_process_ends() -> None:
    error = r"something else(?s:.*)ZeroDivisionError"
    with python("print('something else'); 1 / 0") as running, pytest.raises(AssertionError, match=error):
        await running.line("port: ")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
async def test_a_signal_ends_a_process(number: signal.Signals) -> None:
    with process("sleep", "60") as running:
        running.send_signal(number)
        assert (await running.ended()).status == -number


async def test_a_stopped_process_goes_on() -> None:
    with process("sh", "-c", "while echo tick; do sleep 0.005; done") as running:
        await running.line("tick")
        await running.stop()
        stdout = running.stdout
        await quiet()
        assert running.stdout == stdout
        running.go_on()
        await until(lambda: running.stdout != stdout, "the process to go on")


async def test_a_process_does_not_outlast_its_context() -> None:
    with process("sleep", "60") as running:
        await running.stop()
    assert not Path(f"/proc/{running.pid}").exists()


# Network namespaces.


@pytest.mark.peer
async def test_packets_vanish_while_the_cable_is_pulled(namespace: Namespace) -> None:
    with namespace.entered():
        listener = sockets.create_server((namespace.address, 0))
    with listener, sockets.create_connection(listener.getsockname()) as socket:
        accepted, (address, _) = listener.accept()
        assert address == namespace.our_address
        with accepted:
            ours, theirs = Plain(socket), Plain(accepted)
            namespace.down()
            await ours.send(b"lost?")
            await theirs.send(b"not at all")
            await quiet()
            assert ours.nothing_comes()
            assert theirs.nothing_comes()
            namespace.up()
            assert await theirs.exactly(5) == b"lost?"
            assert await ours.exactly(10) == b"not at all"


@pytest.mark.peer
async def test_no_answer_comes_to_a_connection_that_is_opened_while_the_cable_is_pulled(namespace: Namespace) -> None:
    namespace.down()
    with sockets.socket() as socket:
        socket.setblocking(False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.get_running_loop().sock_connect(socket, (namespace.address, 1)), 0.1)


@pytest.mark.peer
async def test_a_program_runs_inside(namespace: Namespace) -> None:
    code = """
import socket, sys
with socket.create_server((sys.argv[1], 0)) as listener:
    print("port:", listener.getsockname()[1])
    connection, address = listener.accept()
    print("from:", address[0])
    connection.sendall(b"hello")
    connection.recv(1)
"""
    with python(code, namespace.address, prefix=namespace.prefix) as running:
        port = int(await running.line("port: "))
        with sockets.create_connection((namespace.address, port)) as socket:
            assert await Plain(socket).exactly(5) == b"hello"
            assert await running.line("from: ") == namespace.our_address
        assert (await running.ended()).status == 0


@pytest.mark.peer
async def test_a_namespace_counts_the_resets_that_were_sent_inside(namespace: Namespace) -> None:
    with namespace.entered():
        async with line() as (proxy, client, server):
            client.finish()
            server.finish()
            assert await client.rest() == await server.rest() == b""
        assert namespace.resets_sent() == 0
        async with line() as (proxy, client, server):
            proxy.drop()
            client.reset()
            assert await proxy.ended("client") == "rst"
        assert namespace.resets_sent() == 1


@pytest.mark.peer
def test_nothing_is_left_of_a_namespace_that_is_in_use_when_a_test_fails() -> None:
    def fail() -> None:
        with Namespace.make() as first, Namespace.make() as second:
            names.extend((first.name, second.name))
            links.extend((sockets.if_nametoindex(first.link), sockets.if_nametoindex(second.link)))
            assert first.address != second.address
            with first.entered():
                listeners.append(sockets.create_server((first.address, 0)))
            raise ZeroDivisionError

    names: list[str] = []
    links: list[int] = []
    listeners: list[sockets.socket] = []
    with pytest.raises(ZeroDivisionError):
        fail()
    assert not set(links) & {index for index, _ in sockets.if_nameindex()}
    assert not set(names) & set(os.listdir("/run/netns"))
    listeners[0].close()


# Gateways.


@pytest.mark.peer
async def test_a_gateway_passes_a_websocket_and_ends_it_when_it_is_silent(gateway: Start) -> None:
    loop = asyncio.get_running_loop()
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        with gateway(listener.getsockname()[1], silence=0.1) as front, sockets.socket() as socket:
            client = Plain(socket)
            await loop.sock_connect(socket, ("127.0.0.1", front.port))
            await client.send(
                b"GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            accepted, _ = await loop.sock_accept(listener)
            with accepted:
                server = Plain(accepted)
                head = await server.read()
                assert head.startswith(b"GET /chat HTTP/1.1\r\n")
                await server.send(accept(head))
                assert (await client.read()).startswith(b"HTTP/1.1 101 ")
                await server.send(b"hello")
                assert await client.exactly(5) == b"hello"
                assert await client.rest() == b""
        assert not Path(f"/proc/{front.process.pid}").exists()


@pytest.mark.peer
async def test_what_a_gateway_does_that_can_not_start_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.faults import gateways

    monkeypatch.setattr(gateways, "NGINX", "nonsense {own};")
    with pytest.raises(AssertionError, match="unknown directive"), gateways.nginx(1):
        pass


# The invariants.


class Stub:
    """A socket that closes as it is told."""

    def __init__(self) -> None:
        self.readyState = 1
        self._listeners: dict[str, list[Callable[[Any], object]]] = {}

    def addEventListener(self, type: str, callback: Callable[[Any], object]) -> None:
        self._listeners.setdefault(type, []).append(callback)

    def fire(self, type: str, state: int) -> None:
        self.readyState = state
        for listener in self._listeners.get(type, []):
            listener(wasclean.Event(type))


async def test_the_invariants_hold_for_a_test_that_leaves_nothing(invariants: Invariants) -> None:
    socket = Stub()
    watched = invariants.watch(socket, messages=True)
    socket.fire("message", 1)
    socket.fire("error", 2)
    socket.fire("close", 3)
    assert watched.types == ["message", "error", "close"]
    one, other = sockets.socketpair()
    one.close()
    other.close()
    await asyncio.create_task(asyncio.sleep(0))


async def complaints(breach: Callable[[Invariants], object]) -> str:
    """Return the complaints of the invariants about a test that does something."""
    try:
        async with invariants() as kept:
            kept.linger = 0.01
            breach(kept)
    except AssertionError as error:
        return str(error)
    return ""


async def test_a_socket_that_is_left_is_found() -> None:
    left: list[sockets.socket] = []
    found = await complaints(lambda _: left.append(sockets.socket()))
    assert re.fullmatch(r"left: socket \d+ from .* to None", found)
    left[0].close()


async def test_what_lingers_may_go_within_its_time(invariants: Invariants) -> None:
    asyncio.get_running_loop().call_later(0.02, sockets.socket().close)
    lingering = asyncio.create_task(asyncio.sleep(0.02))
    assert not lingering.done()


async def test_a_task_that_is_left_is_found() -> None:
    left: list[asyncio.Task[None]] = []
    found = await complaints(lambda _: left.append(asyncio.create_task(asyncio.sleep(60))))
    assert found.startswith("left: <Task pending ")
    left[0].cancel()


async def test_a_timer_that_is_left_is_found_where_the_loop_tells() -> None:
    loop = asyncio.get_running_loop()
    left: list[asyncio.TimerHandle] = []
    found = await complaints(lambda _: left.append(loop.call_later(60, print)))
    assert found.startswith("left: <TimerHandle") == hasattr(loop, "_scheduled")
    left[0].cancel()


@pytest.mark.parametrize("name", ["wasclean.client", "asyncio"])
async def test_a_warning_in_a_log_is_found_unless_it_was_allowed(name: str, caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger(name)
    assert await complaints(lambda _: logger.warning("no %s", "good")) == f"{name} WARNING: no good"
    async with invariants() as kept:
        kept.allow("no good")
        thing = Stub()
        kept.watch(thing)
        thing.fire("close", 3)
        logger.warning("no good: %r", thing)
        del thing  # which the record no longer holds
    assert len(kept.reported) == 1
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == ["no good"] * 2


async def test_what_reaches_the_handler_of_the_loop_is_found() -> None:
    loop = asyncio.get_running_loop()
    assert "ZeroDivisionError" in await complaints(lambda _: loop.call_soon(divmod, 1, 0))


async def test_an_exception_that_nobody_retrieves_is_found() -> None:
    async def fail() -> None:
        raise ZeroDivisionError

    found = await complaints(lambda _: asyncio.create_task(fail()))
    assert "never retrieved" in found
    assert "ZeroDivisionError" in found


async def test_a_resource_that_is_not_closed_is_found() -> None:
    assert "ResourceWarning: unclosed <socket" in await complaints(lambda _: bool(sockets.socket()))


async def test_what_only_the_garbage_collector_would_free_is_found() -> None:
    def circle(kept: Invariants) -> None:
        socket = Stub()
        kept.watch(socket)
        socket.fire("close", 3)
        socket.itself = socket  # type: ignore[attr-defined]

    assert re.match(r"not freed: <.*Stub .*held by", await complaints(circle))


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([], "0 close events"),
        ([("close", 3), ("close", 3)], "2 close events"),
        ([("close", 3), ("error", 3)], "after the close event"),
        ([("error", 2), ("error", 2), ("close", 3)], "more than one error event"),
        ([("error", 2), ("open", 2), ("close", 3)], "not the first"),
        ([("error", 0), ("close", 3)], "readyState went back"),
        ([("close", 2)], "readyState is 2 at the end"),
    ],
)
def test_a_socket_that_misbehaves_is_found(events: list[tuple[str, int]], problem: str) -> None:
    socket = Stub()
    watched = Watched(socket)
    for event in events:
        socket.fire(*event)
    (found,) = watched.problems()
    assert problem in found
