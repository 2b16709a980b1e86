"""Part 8 of the matrix: the process and the system."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import signal
import socket as sockets
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import Any

import pytest

import wasclean.socket.session
from tests.endpoints import served
from tests.faults.invariants import Invariants
from tests.faults.patience import NEVER, PATIENCE, until
from tests.faults.processes import ROOT, Process
from tests.faults.programs import all_closed, closed, started
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import closed_error
from tests.faults.tcp_peer import TCPPeer, tcp_client, tcp_server
from tests.faults.tls_peer import TLSPeer
from tests.raw import CLOSE, TEXT, Frame, close_payload
from wasclean import CloseEvent, ConnectionClosed, HandshakeError, WebSocket, connect

SERVER = """
import asyncio, json, os, signal, sys, time
from tests.faults.programs import run, tell
from wasclean import ConnectionClosed, serve

async def handle(socket):
    socket.addEventListener("close", tell)
    handled = sent = 0
    try:
        async for message in socket:
            handled += 1
            await socket.send(str(time.process_time()) if message == "cpu?" else message)
            sent += 1
    except ConnectionClosed:
        async for message in socket:
            handled += 1
    finally:
        print(f"served {handled} {sent} to {socket.url}", flush=True)

async def main(**options):
    options.update(json.loads(sys.argv[1]))
    server = await serve(handle, **options)
    print("port", server.port, flush=True)
    await server.serve_forever()
"""

CLIENT = """
import sys
from tests.faults.programs import run, tell
from wasclean import connect

async def main():
    socket = await connect(sys.argv[1])
    socket.addEventListener("close", tell)
    print("open", flush=True)
    await socket.wait_closed()

run(main)
"""


@asynccontextmanager
async def server(code: str = "run(lambda: main(host='127.0.0.1', port=0))", **options: Any) -> AsyncIterator[Any]:
    """A server in another process, and its port."""
    with started(SERVER + code, json.dumps(options)) as program:
        yield program, int(await program.line("port"))


@asynccontextmanager
async def partner(role: str, kept: Invariants, **options: Any) -> AsyncIterator[tuple[WebSocket, Process]]:
    """Our end, a stream, and the process with the other one."""
    if role == "client":
        async with server() as (program, port):
            socket = await connect(f"ws://127.0.0.1:{port}/", **options)
            kept.watch(socket)
            yield socket, program
    else:

        async def wait(socket: WebSocket) -> None:
            await socket.wait_closed()

        async with served(wait, **options) as ours:
            with started(CLIENT, ours.url) as program:
                socket = await ours.sockets.get()
                kept.watch(socket)
                yield socket, program


IS_PURE = wasclean.socket.session.__file__.endswith(".py")

roles = pytest.mark.parametrize("role", ["client", "server"])


# SIGTERM.


async def check_all(row: Row, program: Process, connections: int) -> str:
    """A server ends well, and all its connections have ended as the row says; returns its output."""
    ended = await program.ended()
    assert (ended.status, ended.stderr) == (0, "")
    events = all_closed(ended.stdout)
    assert len(events) == connections
    for event in events:
        row.check(event)
    return ended.stdout


class Talker:
    """A client that sends and receives as fast as it can, until it is closed."""

    event: CloseEvent

    def __init__(self) -> None:
        self.begun = asyncio.Event()

    async def talk(self, url: str) -> None:
        async with connect(url) as socket:
            writing = asyncio.create_task(self._write(socket))
            async for _ in socket:
                self.begun.set()
            await writing
            self.event = await socket.wait_closed()

    async def _write(self, socket: WebSocket) -> None:
        try:
            while True:
                await socket.send("question")
                await asyncio.sleep(0.002)
        except ConnectionClosed:
            pass


@row(
    "C107",
    "SIGTERM to a server with 300 active connections",
    Sees(1001, True, "local", "server_shutdown"),
    peer="Close 1001 on every connection",
    delivered="everything: each message that was sent, in both directions",
    within="close_timeout",
)
async def test_a_server_with_traffic_is_terminated(row: Row, invariants: Invariants) -> None:
    async with server(close_timeout=NEVER) as (program, port):
        talkers = [Talker() for _ in range(300)]
        talking = [asyncio.create_task(talker.talk(f"ws://127.0.0.1:{port}/{i}")) for i, talker in enumerate(talkers)]
        for talker in talkers:
            await talker.begun.wait()
        program.send_signal(signal.SIGTERM)
        await asyncio.gather(*talking)
        stdout = await check_all(row, program, 300)
        lines = Counter(line for line in stdout.splitlines() if line.startswith("served"))
        expected = []
        for i, talker in enumerate(talkers):
            assert (talker.event.code, talker.event.wasClean, talker.event.initiator) == (1001, True, "remote")
            stats = talker.event.stats
            expected.append(f"served {stats.messages_sent} {stats.messages_received} to /{i}")
        assert lines == Counter(expected)


@asynccontextmanager
async def silent_peers(port: int, count: int) -> AsyncIterator[list[TLSPeer]]:
    """Clients of a server that answer no Close frame."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(tcp_client(port)) for _ in range(count)]


@row(
    "C108",
    "SIGTERM to a server whose clients do not answer",
    Sees(1006, False, "local", "close_timeout"),
    peer="Close 1001, then a reset",
    within="close_timeout",
)
async def test_nobody_answers_a_server_that_is_terminated(row: Row, invariants: Invariants) -> None:
    async with server(close_timeout=0.3) as (program, port), silent_peers(port, 20) as peers:
        program.send_signal(signal.SIGTERM)
        for peer in peers:
            assert await peer.frame() == Frame(CLOSE, close_payload(1001))
            assert await peer.ended() == "rst"
        await check_all(row, program, 20)


@row(
    "C109",
    "a second SIGTERM while a server waits for answers to its Close frames",
    Sees(1006, False, "local", "server_shutdown"),
    peer="Close 1001, then a reset",
    within="1 s",
)
async def test_a_server_is_terminated_twice(row: Row, invariants: Invariants) -> None:
    async with server(close_timeout=NEVER) as (program, port), silent_peers(port, 20) as peers:
        program.send_signal(signal.SIGTERM)
        for peer in peers:
            assert await peer.frame() == Frame(CLOSE, close_payload(1001))
        program.send_signal(signal.SIGTERM)
        for peer in peers:
            assert await peer.ended() == "rst"
        await check_all(row, program, 20)


@row(
    "C110",
    "a rolling restart: a second process takes over the listening socket, and the first gets SIGTERM",
    Sees(1001, True, "local", "server_shutdown"),
    peer="Close 1001 from the first process. New connections are not refused: they reach the second "
    "process, or, while the first one ends, get 503 or 1001",
    within="close_timeout",
)
async def test_a_rolling_restart(row: Row, invariants: Invariants) -> None:
    code = "import socket\nrun(lambda: main(sock=socket.socket(fileno=int(sys.argv[2]))))"
    with sockets.create_server(("127.0.0.1", 0)) as listener:
        number, port = listener.fileno(), listener.getsockname()[1]
        url = f"ws://127.0.0.1:{port}/"
        with started(SERVER + code, "{}", number, descriptors=[number]) as first:
            await first.line("port")
            old = await connect(url)
            with started(SERVER + code, "{}", number, descriptors=[number]) as second:
                await second.line("port")
                first.send_signal(signal.SIGTERM)
                answers = []
                while first.is_running:
                    try:
                        async with connect(url) as socket:
                            await socket.send("x")
                            await socket.recv()
                    except HandshakeError as error:
                        answers.append(None if error.response is None else error.response.status)
                    except ConnectionClosed as error:
                        answers.append(None if error.event is None else error.event.code)
                assert set(answers) <= {503, 1001}
                event = await old.wait_closed()
                assert (event.code, event.wasClean, event.initiator) == (1001, True, "remote")
                assert (await first.ended()).status == 0
                ends = [end for end in all_closed(first.stdout) if end.initiator == "local"]
                assert ends
                for end in ends:
                    row.check(end)
                async with connect(url) as socket:
                    await socket.send("after")
                    assert await socket.recv() == "after"


# SIGKILL and SIGSTOP.


@row(
    "C111",
    "SIGKILL to the process at the other end",
    Sees(1006, False, "remote", "tcp_fin"),
    peer="nothing: it is gone",
    delivered="messages sent before",
)
@roles
async def test_the_peer_is_killed(row: Row, role: str, invariants: Invariants) -> None:
    async with partner(role, invariants) as (socket, program):
        if role == "client":
            await socket.send("last words")
            assert await socket.recv() == "last words"
        else:
            await program.line("open")
        program.send_signal(signal.SIGKILL)
        event = await socket.wait_closed()
        row.check(event)
        assert not event.received
        assert await closed_error(socket.send("x")) is not None


@row(
    "C112",
    "SIGSTOP to the process at the other end, like a frozen virtual machine",
    Sees(1006, False, "local", "ping_timeout"),
    peer="a reset, when it continues",
    within="ping_interval + ping_timeout",
)
@roles
async def test_the_peer_is_stopped(row: Row, role: str, invariants: Invariants) -> None:
    async with partner(role, invariants, ping_interval=0.1, ping_timeout=1) as (socket, program):
        if role == "server":
            await program.line("open")
        else:
            await socket.ping()
        await program.stop()
        row.check(await socket.wait_closed())
        program.go_on()
        event = await closed(program)
        assert (event.code, event.wasClean, event.cause) == (1006, False, "tcp_reset")
        assert "Traceback" not in program.stderr
        if role == "server":
            assert await program.ended() == (0, program.stdout, "")


# Descriptors.

FULL = """
import os, resource

async def full():
    descriptors = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    asyncio.get_running_loop().call_later(0.05, take, descriptors)
    await main(host="127.0.0.1", port=0)

def take(descriptors):
    try:
        while True:
            descriptors.append(os.dup(0))
    except OSError:
        for _ in range(3):
            os.close(descriptors.pop())
        print("full", flush=True)

run(full)
"""


@row(
    "C113",
    "no descriptor is left to accept a connection (EMFILE)",
    peer="existing connections stay open; a new one waits, and is accepted once a descriptor is available",
    delivered="everything; the loop's exception handler is called every second",
    within="about 2 s after a descriptor is available",
)
async def test_no_descriptor_is_left_to_accept_with(row: Row, invariants: Invariants) -> None:
    loop = asyncio.get_running_loop()
    async with server(FULL) as (program, port), AsyncExitStack() as stack:
        await program.line("full")
        peers = [await stack.enter_async_context(tcp_client(port)) for _ in range(3)]
        with sockets.socket() as socket:
            late = TCPPeer(socket, is_server=False)
            await loop.sock_connect(socket, ("127.0.0.1", port))
            opening = asyncio.create_task(late.open())
            before = await cpu(peers[0])
            await asyncio.sleep(0.4)
            for peer in peers:
                await peer.send_frame(TEXT, b"still here")
                assert await peer.frame() == Frame(TEXT, b"still here")
            assert await cpu(peers[0]) - before < 0.1
            await peers[1].send_close(1000)
            assert await peers[1].frame() == Frame(CLOSE, close_payload(1000))
            peers[1].close()
            assert not opening.done()
            async with asyncio.timeout(PATIENCE):
                await opening


async def cpu(peer: TLSPeer) -> float:
    """The seconds of CPU time that the server has used."""
    await peer.send_frame(TEXT, b"cpu?")
    return float((await peer.frame()).payload)


@contextmanager
def no_descriptors() -> Iterator[None]:
    """Leave no file descriptor to this process."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 4, before[1]))
    try:
        try:
            while True:
                taken.append(os.dup(0))
        except OSError:
            pass
        yield
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@row(
    "C114",
    "no descriptor is left to connect (EMFILE)",
    Sees(1006, False, "network", "connect_failed"),
    peer="nothing",
    delivered="an error event, and an OSError from await connect()",
)
async def test_no_descriptor_is_left_to_connect_with(row: Row, invariants: Invariants) -> None:
    async with tcp_server() as server:
        url = f"ws://127.0.0.1:{server.port}/"
        accepting = asyncio.create_task(server.accept())
        other = await connect(url)
        peer = await accepting
        with no_descriptors():
            socket = WebSocket(url)
            watched = invariants.watch(socket)
            event = await socket.wait_closed()
            row.check(event)
            assert event.errno == errno.EMFILE
            assert watched.types == ["error", "close"]
            try:
                await connect(url)
            except OSError as error:
                assert error.errno == errno.EMFILE  # noqa: PT017 - pytest.raises would keep the socket alive
            else:
                raise AssertionError("connect() did not raise")
            await other.send("still here")
            assert await peer.frame() == Frame(TEXT, b"still here")
        other.terminate()


# Memory.

#: More than what the messages of the others need, and less than what the large one does.
SPARE = 96 << 20

SCARCE = f"""
import resource

async def scarce():
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + {SPARE}, -1))
    await main(host="127.0.0.1", port=0, max_message_size=None)

run(scarce)
"""

NO_MEMORY = row(
    "C115",
    "no memory is left while a message is received: for a large message, or for any single allocation",
    Sees(1006, False, "local", "internal_error"),
    peer="Close 1011",
    delivered="messages before; the other connections stay open",
)


async def flood(peer: TLSPeer, size: int) -> None:
    """Send a message of so many zeros."""
    await peer.send(b"\x82\xff" + size.to_bytes(8, "big") + bytes(4))
    for _ in range(size >> 20):
        await peer.send(bytes(1 << 20))


@NO_MEMORY
async def test_no_memory_is_left_for_a_message(row: Row, invariants: Invariants) -> None:
    async with server(SCARCE) as (program, port), tcp_client(port) as other, tcp_client(port) as peer:
        await peer.send_frame(TEXT, b"before")
        assert await peer.frame() == Frame(TEXT, b"before")
        sending = asyncio.create_task(flood(peer, 2 * SPARE))
        assert await peer.frame() == Frame(CLOSE, close_payload(1011))
        sending.cancel()
        await asyncio.wait([sending])
        row.check(await closed(program))
        await other.send_frame(TEXT, b"still here")
        assert await other.frame() == Frame(TEXT, b"still here")


def fail_allocations(what: str) -> dict[str, int]:
    """Run scarcity.py; return each effect on the connection, and the number of failed allocations with it."""
    pytest.importorskip("_testcapi")
    command = [sys.executable, "-m", "tests.faults.scarcity", what]
    done = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return {name: int(times) for name, times in (line.split(": ") for line in done.stdout.splitlines())}


@NO_MEMORY
def test_one_allocation_fails_while_bytes_arrive(row: Row) -> None:
    found = fail_allocations("read")
    assert found.pop("lived, raised") == 1  # before there was anything to undo: asyncio ends the connection then
    assert set(found) == {"lived", "ended"}


NO_MEMORY_TO_CLOSE = row(
    "C116",
    "no memory is left to close: close() raises MemoryError, and then terminate() is called",
    Sees(1006, False, "local", "terminated"),
    peer="the end of TCP",
    within="at once",
)


@NO_MEMORY_TO_CLOSE
def test_one_allocation_fails_in_close(row: Row) -> None:
    found = fail_allocations("close")
    assert found.pop("lived, raised") > 10  # from where it could be closed again, or terminated
    assert set(found) == {"lived", "ended"}


@NO_MEMORY_TO_CLOSE
@pytest.mark.skipif(not IS_PURE, reason="Cython 3.3 does not survive a tuple of keywords that it can't allocate")
def test_one_allocation_fails_while_the_end_is_told(row: Row) -> None:
    found = fail_allocations("end")
    assert found.pop("untold") <= 6  # it was the listener that had no memory, or what calls it
    assert set(found) == {"ended"}


# A log that can't be written.

FULL_DISK = """
import logging
logging.basicConfig(level=logging.DEBUG, stream=open("/dev/full", "w"))
"""

BLOCKED_PIPE = """
import errno
reader, writer = os.pipe()
os.dup2(writer, 2)
os.set_blocking(2, False)
try:
    while True:
        os.write(2, bytes(1 << 12))
except BlockingIOError:
    os.set_blocking(2, True)  # whoever writes to stderr now waits for ever
"""


@row(
    "C118",
    "the log's disk is full, or stderr is a pipe that is not read, while connections break",
    Sees(1006, False, "remote", "tcp_reset"),
    peer="nothing",
    delivered="everything on the other connections; without a logging configuration nothing is written to stderr",
)
@pytest.mark.parametrize("broken", [FULL_DISK, BLOCKED_PIPE], ids=["a full disk", "a blocked pipe"])
async def test_the_log_leads_nowhere(row: Row, broken: str, invariants: Invariants) -> None:
    code = broken + "run(lambda: main(host='127.0.0.1', port=0))"
    async with server(code) as (program, port), tcp_client(port) as other:
        for _ in range(20):
            async with tcp_client(port) as peer:
                await peer.send_frame(TEXT, b"x")
                await peer.frame()
                peer.reset()
        await other.send_frame(TEXT, b"still here")
        assert await other.frame() == Frame(TEXT, b"still here")
        await until(lambda: len(all_closed(program.stdout)) == 20, "the close events")
        for event in all_closed(program.stdout):
            row.check(event)
