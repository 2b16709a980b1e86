"""Part 7 of the matrix: the application, and its runtime."""

from __future__ import annotations

import asyncio
import io
import logging
import signal
import socket as sockets
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.certificates import client_context
from tests.endpoints import opened, turn
from tests.faults.invariants import Invariants, invariants
from tests.faults.patience import PATIENCE, until
from tests.faults.programs import closed, started
from tests.faults.rows import Row, Sees, row
from tests.faults.stage import Clock, Place, end_tcp, everywhere, on_servers, on_tcp, pair, peer_answers, we_answer
from tests.faults.tcp_peer import tcp_server
from tests.faults.tls_peer import TLSPeer, tls_server
from tests.raw import BINARY, CLOSE, PING, PONG, TEXT, Frame, close_payload, encode
from wasclean import CloseEvent, WebSocket
from wasclean.aio import kernel


async def close_and_end(place: Place, socket: WebSocket, peer: TLSPeer) -> CloseEvent:
    """Close: the peer gets that and nothing before it, and all ends well."""
    closing = socket.close(1000)
    await peer_answers(place, peer, 1000)
    return await closing


async def behind_pings(peer: TLSPeer) -> Frame:
    """The next frame that the peer gets and that is no ping; it answers none."""
    while (frame := await peer.frame()).opcode == PING:
        pass
    return frame


def ready_frame(peer: TLSPeer, place: Place, opcode: int, payload: bytes = b"") -> None:
    """Put a frame into our kernel's buffer; no task gets a turn meanwhile."""
    peer.socket.send(encode(opcode, payload, masked=place.role == "server"))


# Handlers.


@row(
    "C90",
    "a server's handler raises an exception",
    Sees(1011, True, "local", "handler_error"),
    peer="Close 1011 without a reason; nothing of the exception is sent",
    delivered="messages sent before",
)
@on_servers
async def test_a_handler_raises(
    row: Row, place: Place, invariants: Invariants, caplog: pytest.LogCaptureFixture
) -> None:
    invariants.allow("the handler of connection")

    async def handle(socket: WebSocket) -> None:
        await socket.send("before")
        raise ValueError("a secret")

    async with pair(place, invariants, handler=handle) as (socket, peer):
        assert await peer.frame() == Frame(TEXT, b"before")
        await peer_answers(place, peer, 1011)
        event = await socket.wait_closed()
        row.check(event)
        assert event.detail == "ValueError"
        (report,) = invariants.reported
        assert f"the handler of connection {socket.id}, ('127.0.0.1', " in report
        assert "in handle\n" in report
        assert "ValueError: a secret" in report


@row(
    "C91",
    "a server's handler returns",
    Sees(1000, True, "local", "handler_returned"),
    peer="Close 1000",
    delivered="messages sent before",
)
@on_servers
async def test_a_handler_returns(row: Row, place: Place, invariants: Invariants) -> None:
    async def handle(socket: WebSocket) -> None:
        socket.send("before")  # is sent, although it is not awaited

    async with pair(place, invariants, handler=handle) as (socket, peer):
        assert await peer.frame() == Frame(TEXT, b"before")
        await peer_answers(place, peer, 1000)
        row.check(await socket.wait_closed())


@row(
    "C92",
    "the task that owns the connection is cancelled: a handler, or one inside async with",
    Sees(1001, True, "local", "cancelled"),
    peer="Close 1001",
    within="close_timeout, even if it is cancelled again",
)
@everywhere
async def test_a_task_is_cancelled(row: Row, place: Place, invariants: Invariants) -> None:
    tasks: list[Any] = []

    async def handle(socket: WebSocket) -> None:
        tasks.append(asyncio.current_task())
        await socket.recv()

    async def use(socket: WebSocket) -> None:
        async with socket:
            await socket.recv()

    async with pair(place, invariants, handler=handle) as (socket, peer):
        if place.role == "client":
            tasks.append(asyncio.create_task(use(socket)))
        await until(lambda: tasks, "the task")
        await turn()
        task = tasks.pop()  # its exception refers to the list
        task.cancel()
        assert await peer.frame() == Frame(CLOSE, close_payload(1001))
        if place.role == "client":
            task.cancel()  # that ends the waiting for the end, and not the closing
        await asyncio.wait([task])
        assert task.cancelled()
        assert socket.readyState == WebSocket.CLOSING
        await peer.send_close(1001)
        await end_tcp(place, peer)
        row.check(await socket.wait_closed())


@row(
    "C93",
    "a handler continues after its connection has ended, without using it",
    Sees(1000, True, "remote", "peer_close"),
    peer="our answer and our FIN, as usual",
    within="at once; closing the server cancels the handler after close_timeout",
)
@on_servers
async def test_a_handler_does_not_care(row: Row, place: Place, invariants: Invariants) -> None:
    cancelled = asyncio.Event()

    async def handle(socket: WebSocket) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with pair(place, invariants, handler=handle, close_timeout=0.2) as (socket, peer):
        await peer.send_close(1000)
        await we_answer(place, peer, 1000)
        row.check(await socket.wait_closed())
        await until(lambda: socket.local_address is None, "the transport to go")
        assert not cancelled.is_set()
        start = asyncio.get_running_loop().time()
    assert cancelled.is_set()
    assert asyncio.get_running_loop().time() - start > 0.15


# Listeners.

LISTENERS = row(
    "C94",
    "an event listener raises an exception",
    peer="nothing: the connection stays open",
    delivered="everything, also to the other listeners; the loop's exception handler gets the exception",
)


class Failing:
    """A listener that raises an exception, beside one that writes down what the good ones see."""

    def __init__(self, socket: WebSocket, *types: Any) -> None:
        self.seen: list[str] = []
        for name in types:
            socket.addEventListener(name, self)
        every: Any = ("open", "message", "error", "close")
        for name in every:
            socket.addEventListener(name, self._see)

    def __call__(self, event: Any) -> None:
        raise RuntimeError(f"in {event.type}")

    def _see(self, event: Any) -> None:
        self.seen.append(event.type)


def failures(kept: Invariants) -> list[str]:
    """The exceptions that were reported."""
    lines = [line for report in kept.reported for line in report.splitlines()]
    return [line for line in lines if line.startswith("RuntimeError: ")]


@LISTENERS
@everywhere
async def test_a_listener_for_messages_raises(row: Row, place: Place, invariants: Invariants) -> None:
    invariants.allow("exception in (message|close) listener")
    async with pair(place, invariants, events=True) as (socket, peer):
        failing = Failing(socket, "message", "close")
        await peer.send_frame(TEXT, b"question")
        await until(lambda: failing.seen, "the message")
        assert socket.readyState == WebSocket.OPEN
        await socket.send("answer")
        assert await peer.frame() == Frame(TEXT, b"answer")
        event = await close_and_end(place, socket, peer)
        assert event.ok
        assert failing.seen == ["message", "close"]
    assert failures(invariants) == ["RuntimeError: in message", "RuntimeError: in close"]


@LISTENERS
@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_listener_for_open_raises(row: Row, transport: str, invariants: Invariants) -> None:
    invariants.allow("exception in open listener")
    options: Any = {"ssl": client_context()} if transport == "tls" else {}
    async with tls_server() if transport == "tls" else tcp_server() as server:
        socket = WebSocket(server.url, **options)
        failing = Failing(socket, "open")
        invariants.watch(socket)
        peer = await server.accept()
        await opened(socket)
        assert (await close_and_end(Place("client", transport), socket, peer)).ok
        assert failing.seen == ["open", "close"]
    assert failures(invariants) == ["RuntimeError: in open"]


@LISTENERS
@everywhere
async def test_a_listener_for_errors_raises(row: Row, place: Place, invariants: Invariants) -> None:
    invariants.allow("exception in error listener")
    async with pair(place, invariants, events=True) as (socket, peer):
        failing = Failing(socket, "error")
        await peer.send(b"\xff\xff")
        assert (await peer.frame()).payload[:2] == close_payload(1002)
        await end_tcp(place, peer)
        await socket.wait_closed()
        assert failing.seen == ["error", "close"]
    assert failures(invariants) == ["RuntimeError: in error"]


# Cancelled calls.

CANCELLED_CLOSE = row(
    "C95",
    "the await of close() is cancelled",
    Sees(1000, True, "local", "local_close"),
    peer="Close 1000: the closing continues",
    within="close_timeout",
)


@CANCELLED_CLOSE
@everywhere
async def test_the_await_of_a_close_is_cancelled(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.close(1000), 0.01)
        assert socket.readyState == WebSocket.CLOSING
        await peer_answers(place, peer, 1000)
        row.check(await socket.wait_closed())


@CANCELLED_CLOSE
@everywhere
async def test_a_cancelled_close_still_has_its_deadline(row: Row, place: Place, invariants: Invariants) -> None:
    loop = asyncio.get_running_loop()
    async with pair(place, invariants, close_timeout=0.2) as (socket, peer):
        start = loop.time()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(socket.close(1000), 0.01)
        assert await peer.ended() == "rst"
        event = await socket.wait_closed()
        assert (event.cause, event.wasClean) == ("close_timeout", False)
        assert loop.time() - start > 0.15


@row(
    "C96",
    "recv() is cancelled, at every point, while a message arrives",
    peer="nothing: the connection stays open",
    delivered="each message once, in order",
)
@everywhere
async def test_recv_is_cancelled(row: Row, place: Place, invariants: Invariants) -> None:
    received: list[Any] = []

    async def race(socket: WebSocket, turns: int, arrives: Callable[[], Any], first: bool) -> None:
        task = asyncio.create_task(socket.recv())
        if first:
            await arrives()
        await turn(turns)
        task.cancel()
        if not first:
            await arrives()
        try:
            received.append(await task)
        except asyncio.CancelledError:
            received.append(await socket.recv())

    async with pair(place, invariants) as (socket, peer):
        for first in (True, False):
            for turns in range(8):
                await race(socket, turns, partial(peer.send_frame, TEXT, b"%d" % len(received)), first)
        assert (await close_and_end(place, socket, peer)).ok
    assert received == [str(i) for i in range(16)]


@row(
    "C97",
    "send() is cancelled, at every point, while it waits for room",
    peer="whole messages only, in order",
    delivered="each message for which send() was called, even if its await was cancelled",
)
@everywhere
async def test_send_is_cancelled(row: Row, place: Place, invariants: Invariants) -> None:
    called: list[int] = []

    async def send(socket: WebSocket, number: int) -> None:
        called.append(number)
        await socket.send(bytes([number]) * 100_000)

    async with pair(place, invariants) as (socket, peer):
        peer.socket.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 1 << 16)
        waited = 0
        for number in range(24):
            task = asyncio.create_task(send(socket, number))
            await turn(number % 6)
            waited += not task.done() and number % 6 > 0
            task.cancel()
        assert waited > 6
        closing = socket.close(1000)
        found: list[int] = []
        size = 0
        while (frame := await peer.frame()).opcode != CLOSE:
            assert len(set(frame.payload)) == 1
            size += len(frame.payload)
            if frame.fin:
                assert size == 100_000
                found.append(frame.payload[0])
                size = 0
        await peer.send_close(1000)
        await end_tcp(place, peer)
        assert (await closing).ok
        assert found == called
        assert 0 not in called  # it was cancelled before it had begun
        assert len(called) == 20


# Time.

BLOCKED = row(
    "C98",
    "our own code blocks the event loop for longer than a timeout, while the expected data arrive",
    peer="nothing: the connection stays open, or ends cleanly",
    delivered="everything: data that have arrived are read before a timeout is declared",
)


async def outlive(block: Callable[[], object], place: Place, socket: WebSocket, peer: TLSPeer) -> None:
    """Block the loop while the answer to a ping arrives, and while that to our Close frame does: all goes well."""
    ping = await peer.frame()
    assert ping.opcode == PING
    ready_frame(peer, place, PONG, ping.payload)
    block()
    await asyncio.sleep(0.02)
    assert socket.readyState == WebSocket.OPEN
    closing = socket.close(1000)
    assert await behind_pings(peer) == Frame(CLOSE, close_payload(1000))
    ready_frame(peer, place, CLOSE, close_payload(1000))
    block()
    await end_tcp(place, peer)
    assert (await closing).ok


@BLOCKED
@on_tcp
async def test_the_loop_is_blocked(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants, ping_interval=0.05, ping_timeout=0.5, close_timeout=0.5) as (socket, peer):
        await outlive(partial(time.sleep, 0.8), place, socket, peer)


@BLOCKED
@pytest.mark.parametrize("seconds", [1, 5, 30])
@on_tcp
def test_the_loop_is_blocked_for_long(row: Row, place: Place, seconds: float) -> None:
    async def main() -> None:
        async with invariants() as kept:
            await block(kept)

    async def block(kept: Invariants) -> None:
        clock = Clock()
        limit = 0.6 * seconds
        limits: dict[str, Any] = {"ping_interval": limit, "ping_timeout": limit, "close_timeout": limit}
        async with pair(place, kept, **limits) as (socket, peer):
            clock.go_on(limit)
            await outlive(partial(clock.go_on, seconds), place, socket, peer)

    asyncio.run(main())


@row(
    "C104",
    "the wall clock jumps by a day",
    peer="nothing: the connection stays open",
    delivered="everything",
)
@on_tcp
async def test_the_wall_clock_jumps(
    row: Row, place: Place, invariants: Invariants, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(place, invariants, ping_interval=0.02) as (socket, peer):
        for days in (1, -1, 0):
            with monkeypatch.context() as patch:
                patch.setattr(time, "time", lambda days=days: 1e9 + days * 86400)
                patch.setattr(time, "time_ns", lambda days=days: (10**9 + days * 86400) * 10**9)
                for _ in range(3):
                    frame = await peer.frame()
                    assert frame.opcode == PING
                    await peer.send_frame(PONG, frame.payload)
        closing = socket.close(1000)
        assert await behind_pings(peer) == Frame(CLOSE, close_payload(1000))
        await peer.send_close(1000)
        await end_tcp(place, peer)
        event = await closing
        assert event.ok
        assert event.stats.age is not None
        assert event.stats.age < 3600


SUSPENDED = row(
    "C105",
    "this machine sleeps for hours, and the peer goes away meanwhile",
    Sees(1006, False, "local", "suspended"),
    peer="a ping, and a reset if no answer arrives; if the peer is still there it answers, and the "
    "connection stays open",
    within="ping_interval + ping_timeout after waking up",
)


@SUSPENDED
@everywhere
async def test_a_suspend(row: Row, place: Place, invariants: Invariants, monkeypatch: pytest.MonkeyPatch) -> None:
    async with pair(place, invariants, ping_interval=0.1, ping_timeout=0.3) as (socket, peer):
        monkeypatch.setattr(kernel, "slept", lambda: 4 * 3600.0)
        assert (await peer.frame()).opcode == PING
        assert socket.readyState == WebSocket.OPEN
        assert await peer.ended() == "rst"
        event = await socket.wait_closed()
        row.check(event)
        assert "slept" in event.detail


@SUSPENDED
@everywhere
async def test_a_suspend_that_the_peer_has_outlived(
    row: Row, place: Place, invariants: Invariants, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with pair(place, invariants, ping_interval=0.05, ping_timeout=PATIENCE) as (socket, peer):
        monkeypatch.setattr(kernel, "slept", lambda: 4 * 3600.0)
        for _ in range(5):
            ping = await peer.frame()
            assert ping.opcode == PING
            await peer.send_frame(PONG, ping.payload)
        closing = socket.close(1000)
        assert await behind_pings(peer) == Frame(CLOSE, close_payload(1000))
        await peer.send_close(1000)
        await end_tcp(place, peer)
        assert (await closing).ok


# Threads, processes, and their ends.

CLIENT = """
import os, signal, sys
from tests.faults.programs import new_loop, run, tell
from wasclean import WebSocket, connect

async def open():
    socket = await connect(sys.argv[1])
    socket.addEventListener("close", tell)
    print("open", flush=True)
    return socket
"""

ENDS = {
    "the main coroutine returns": "run(open)",
    "the main coroutine calls sys.exit()": """
async def main():
    await open()
    sys.exit(3)

run(main)
""",
    "the loop is stopped and left": """
loop = new_loop()
loop.run_until_complete(open())
""",
}


@row(
    "C99",
    "asyncio.run() ends with open connections, or the loop is stopped and abandoned",
    Sees(1001, True, "local", "process_exit"),
    peer="Close 1001",
    within="1 s",
)
@pytest.mark.parametrize("end", ENDS)
async def test_the_loop_ends(row: Row, end: str, invariants: Invariants) -> None:
    async with tcp_server() as server:
        with started(CLIENT + ENDS[end], server.url) as program:
            peer = await server.accept()
            await peer_answers(Place("client", "tcp"), peer, 1001)
            ended = await program.ended()
            row.check(await closed(program))
            assert ended.status == (3 if "exit" in end else 0)
            assert ended.stderr == ""


@row(
    "C100",
    "Ctrl-C: SIGINT to a client",
    Sees(1001, True, "local", None),
    peer="Close 1001",
    within="1 s",
)
@pytest.mark.parametrize("cause", ["process_exit", "cancelled"])
async def test_an_interrupt(row: Row, cause: str, invariants: Invariants) -> None:
    wait = "async with socket: await socket.recv()" if cause == "cancelled" else "await socket.recv()"
    code = f"async def main():\n    socket = await open()\n    {wait}\n\nrun(main)\n"
    async with tcp_server() as server:
        with started(CLIENT + code, server.url) as program:
            peer = await server.accept()
            await program.line("open")
            program.send_signal(signal.SIGINT)
            await peer_answers(Place("client", "tcp"), peer, 1001)
            ended = await program.ended()
            event = await closed(program)
            row.check(event)
            assert event.cause == cause
            assert ended.status == -signal.SIGINT
            assert ended.stderr.endswith("KeyboardInterrupt\n")
            assert "never" not in ended.stderr
            assert "destroyed" not in ended.stderr


@row(
    "C102",
    "another thread calls a socket",
    peer="the messages: the connection stays open",
    delivered="the same as for calls from the loop's thread: all calls except recv() may be made on any thread",
)
@everywhere
async def test_a_call_from_another_thread(row: Row, place: Place, invariants: Invariants) -> None:
    async with pair(place, invariants) as (socket, peer):
        await (await asyncio.to_thread(socket.send, "from there"))
        assert await peer.frame() == Frame(TEXT, b"from there")
        await socket.send("from here")
        assert await peer.frame() == Frame(TEXT, b"from here")
        assert (await close_and_end(place, socket, peer)).ok


FORK = """
import os, ssl, sys
from tests.faults.programs import new_loop, tell
from wasclean import connect

options = {}
if sys.argv[1].startswith("wss:"):
    context = options["ssl"] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

async def open():
    return await connect(sys.argv[1], **options)

async def echo(socket):
    async for message in socket:
        await socket.send(message)

loop = new_loop()
socket = loop.run_until_complete(open())
pid = os.fork()
if pid == 0:
    if sys.argv[2] == "closes":
        socket.send("from the child")
        socket.close()
    elif sys.argv[2] == "terminates":
        socket.terminate(reset=True)
    if not hasattr(loop, "_scheduled"):
        os._exit(0)  # as multiprocessing does; in a child that exits otherwise uvloop crashes, also without us
    sys.exit()
assert os.waitpid(pid, 0)[1] == 0
print("alone", flush=True)
socket.addEventListener("close", tell)
loop.run_until_complete(echo(socket))
"""


@row(
    "C103",
    "a process with open connections forks, and the child closes them, or ends",
    Sees(1000, True, "remote", "peer_close"),
    peer="nothing: the connection remains the parent's, until the parent closes it",
    delivered="everything, to the parent",
)
@pytest.mark.parametrize("transport", ["tcp", "tls"])
@pytest.mark.parametrize("child", ["closes", "terminates", "ends"])
async def test_a_fork(row: Row, transport: str, child: str, invariants: Invariants) -> None:
    async with tls_server() if transport == "tls" else tcp_server() as server:
        with started(FORK, server.url, child) as program:
            peer = await server.accept()
            await program.line("alone")
            await peer.send_frame(BINARY, b"echo")
            assert await peer.frame() == Frame(BINARY, b"echo")
            await peer.send_close(1000)
            await we_answer(Place("client", transport), peer, 1000)
            row.check(await closed(program))
            assert await program.ended() == (0, program.stdout, "")


# Logging.

LOGGING = row(
    "C106",
    "a logging handler raises, or its stream is closed",
    Sees(1000, True, "local", "local_close"),
    peer="Close 1000, as usual",
    delivered="the loop's exception handler gets the exception",
)


class Raising(logging.Handler):
    """A handler that raises."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("no log today")


@pytest.fixture(params=["raises", "closed"])
def broken_log(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A handler at the loggers of the package that can't write; what it is broken by."""
    stream = io.StringIO()
    stream.close()
    handler = Raising() if request.param == "raises" else logging.StreamHandler(stream)
    monkeypatch.setattr(logging, "raiseExceptions", False)  # logging would tell of it on stderr
    logger = logging.getLogger("wasclean")
    logger.addHandler(handler)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    yield request.param
    logger.setLevel(level)
    logger.removeHandler(handler)


@LOGGING
@everywhere
async def test_the_log_can_not_be_written(row: Row, place: Place, invariants: Invariants, broken_log: str) -> None:
    invariants.allow("exception in a logging handler")
    async with pair(place, invariants) as (socket, peer):
        row.check(await close_and_end(place, socket, peer))
    reports = ["no log today" in report for report in invariants.reported]  # a server logs where it listens, too
    assert all(reports)
    assert bool(reports) == (broken_log == "raises")


@LOGGING
@on_servers
@pytest.mark.parametrize("kind", ["a coroutine", "a function"])
async def test_the_log_of_a_failing_handler_can_not_be_written(
    row: Row, place: Place, kind: str, invariants: Invariants, broken_log: str
) -> None:
    invariants.allow("no log today|the handler of connection")

    async def wait(socket: WebSocket) -> None:
        raise ValueError

    def fail(socket: WebSocket) -> None:
        raise ValueError

    async with pair(place, invariants, handler=wait if kind == "a coroutine" else fail) as (socket, peer):
        await peer_answers(place, peer, 1011)
        event = await socket.wait_closed()
        assert (event.code, event.wasClean, event.cause) == (1011, True, "handler_error")
