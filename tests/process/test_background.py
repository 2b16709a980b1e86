"""Scripts without an event loop: run as scripts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.endpoints import awaited, echo, served
from tests.faults.patience import NEVER, PATIENCE
from tests.faults.processes import Process, python
from tests.raw import CLOSE, Frame, Raw, close_payload, raw_server
from wasclean import ConnectionClosed, Server, WebSocket, connect, serve
from wasclean.model.registry import GRACE

EXAMPLES = Path(__file__).parents[2] / "examples"


async def run(code: str, *arguments: str) -> tuple[str, str, int | None]:
    """Run a script; returns what it printed, what it complained about, and its exit status."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-W",
        "default",
        "-c",
        code,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    output, complaints = await process.communicate()
    return output.decode(), complaints.decode(), process.returncode


SCRIPT = """
import sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: socket.send("Hello Server!")
socket.onmessage = lambda event: (print("message:", event.data), socket.close(1000, "done"))
socket.onerror = lambda event: print("WebSocket error:", event)
socket.onclose = lambda event: print("WebSocket closed:", event.code, event.reason)
"""


async def test_the_articles_example_runs_as_a_plain_script() -> None:
    async with served(echo) as server:
        code = (EXAMPLES / "article.py").read_text().replace("ws://localhost:8080", server.url)
        assert await run(code) == ("WebSocket closed: 1006 \n", "", 0)


async def test_a_script_lives_until_its_last_socket_has_closed() -> None:
    async with served(echo) as server:
        output = "message: Hello Server!\nWebSocket closed: 1000 done\n"
        assert await run(SCRIPT, server.url) == (output, "", 0)


async def test_a_host_name_is_looked_up_although_the_script_has_ended() -> None:
    async with served(echo) as server:
        output, complaints, status = await run(SCRIPT, f"ws://localhost:{server.server.port}/")
        assert (output.splitlines()[-1], complaints, status) == ("WebSocket closed: 1000 done", "", 0)


async def test_a_listener_may_use_threads_although_the_script_has_ended() -> None:
    code = """
import asyncio, sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1])
async def on_open(event):
    print(await asyncio.to_thread(lambda: "from a thread"))
    socket.close()
socket.onopen = on_open
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("from a thread\n", "", 0)


async def test_a_socket_of_the_background_may_be_waited_for_in_a_loop_but_not_read_there() -> None:
    code = """
import asyncio, sys
from wasclean import InvalidStateError, WebSocket
socket = WebSocket(sys.argv[1])
async def main():
    await socket.wait_opened()
    try:
        await socket.recv()
    except InvalidStateError as error:
        print(error)
    print((await socket.close(1000)).code)
asyncio.run(main())
"""
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        assert output.splitlines()[0].startswith("this socket belongs to another event loop")
        assert (output.splitlines()[1], complaints, status) == ("1000", "", 0)


async def test_whether_the_peer_is_there_can_be_asked_from_a_loop_of_the_scripts_own() -> None:
    code = """
import asyncio, sys, threading
from wasclean import WebSocket
opened = threading.Event()
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
opened.wait()

async def ask():
    socket.send("x" * 1_000_000)
    await socket.flush()
    print(await socket.drain(5) < 5, await socket.check_alive(5) < 5, socket.bufferedAmount, socket.readyState.name)
    print((await socket.close(1000)).wasClean)

asyncio.run(ask())
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("True True 0 OPEN\nTrue\n", "", 0)


async def test_somebody_who_no_longer_waits_does_not_keep_a_script_alive() -> None:
    code = """
import asyncio, sys, threading
from wasclean import WebSocket
opened = threading.Event()
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
opened.wait()
loop = asyncio.new_event_loop()
waiting = loop.create_task(socket.wait_closed())
loop.run_until_complete(asyncio.sleep(0.01))
waiting._log_destroy_pending = False
loop.close()
socket.close(1000)
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("", "", 0)


async def test_a_script_that_cannot_connect_says_so_and_ends(unused_tcp_port: int) -> None:
    output, complaints, status = await run(SCRIPT, f"ws://127.0.0.1:{unused_tcp_port}/")
    assert output.splitlines()[0].startswith("WebSocket error: ")
    assert output.splitlines()[1] == "WebSocket closed: 1006 "
    assert (complaints, status) == ("", 0)


async def test_the_main_thread_may_call_the_socket_at_any_time() -> None:
    code = """
import sys, threading
from wasclean import WebSocket, InvalidStateError
opened, closed, messages = threading.Event(), threading.Event(), []
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
socket.onmessage = lambda event: (messages.append(event.data), len(messages) == 100 and closed_by_main.set())
socket.onclose = lambda event: closed.set()
closed_by_main = threading.Event()
try:
    socket.send("too early")
except InvalidStateError as error:
    print(error.name)
opened.wait()
for i in range(100):
    socket.send(str(i))
closed_by_main.wait()
socket.close(1000)
print(socket.readyState.name)
closed.wait()
print(messages == [str(i) for i in range(100)], socket.readyState.name)
socket.send("late")
print(socket.bufferedAmount)
socket.close()
socket.terminate()
"""
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        lines = output.splitlines()
        assert (lines[0], lines[1] in ("CLOSING", "CLOSED"), lines[2:]) == (
            "InvalidStateError",
            True,
            ["True CLOSED", "4"],
        )
        assert (complaints, status) == ("", 0)


async def test_a_socket_that_is_opened_again_in_onclose_keeps_the_script_alive() -> None:
    code = """
import sys
from wasclean import WebSocket
left = 3
def connect():
    socket = WebSocket(sys.argv[1])
    socket.onopen = lambda event: socket.close()
    socket.onclose = again
def again(event):
    global left
    left -= 1
    print(event.code, left)
    if left:
        connect()
connect()
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("1005 2\n1005 1\n1005 0\n", "", 0)


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 starts no thread when the main one has ended")
async def test_a_thread_that_outlives_the_main_thread_may_make_the_first_socket() -> None:
    code = """
import sys, threading
from wasclean import WebSocket

def use():
    threading.main_thread().join()
    closed = threading.Event()
    socket = WebSocket(sys.argv[1])
    socket.onopen = lambda event: socket.send("x")
    socket.onmessage = lambda event: socket.close(1000, event.data)
    socket.onclose = lambda event: (print(event.code, event.reason), closed.set())
    closed.wait()

threading.Thread(target=use).start()
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("1000 x\n", "", 0)


async def test_sockets_of_one_script_may_come_one_after_the_other_and_from_several_threads() -> None:
    code = """
import sys, threading
from wasclean import WebSocket
def use():
    closed = threading.Event()
    socket = WebSocket(sys.argv[1])
    socket.onopen = lambda event: socket.close()
    socket.onclose = lambda event: closed.set()
    assert closed.wait(10)
for _ in range(3):
    use()
threads = [threading.Thread(target=use) for _ in range(5)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("done\n", "", 0)


async def test_a_bad_argument_raises_in_the_script_and_keeps_nothing_alive() -> None:
    code = """
from wasclean import WebSocket
for arguments in ({"url": "nonsense"}, {"url": "ws://localhost", "max_redirects": 7}):
    try:
        WebSocket(**arguments)
    except ValueError as error:
        print(type(error).__name__)
"""
    assert await run(code) == ("SyntaxError\nValueError\n", "", 0)


async def test_an_exception_in_a_handler_is_reported_and_the_script_goes_on() -> None:
    code = SCRIPT + "socket.onopen = lambda event: (socket.send('x'), 1 / 0)\n"
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        assert output == "message: x\nWebSocket closed: 1000 done\n"
        assert "ZeroDivisionError" in complaints
        assert "open listener" in complaints
        assert status == 0


async def test_a_coroutine_listener_finishes_before_the_script_ends() -> None:
    code = """
import asyncio, sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: socket.close()
async def on_close(event):
    await asyncio.sleep(0.05)
    print("finished")
socket.onclose = on_close
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("finished\n", "", 0)


# Calls from several threads.

BUSY = """
import asyncio, sys, threading
from wasclean import InvalidStateError, WebSocket, broadcast
opened, entered, leave, closed = (threading.Event() for _ in range(4))
received = []

def on_message(event):
    received.append(event.data)
    entered.set()
    leave.wait()  # a listener that takes its time

socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
socket.onmessage = on_message
socket.onclose = lambda event: (received.append(event.code), closed.set())
opened.wait()
socket.send("first")
entered.wait()
"""


async def test_no_call_of_a_script_waits_for_a_listener_that_takes_its_time() -> None:
    code = (
        BUSY
        + """
for i in range(5):
    socket.send(str(i))
print(socket.bufferedAmount, socket.readyState.name)
socket.send(b"12345", compress=False)
print(broadcast([socket], "more"), socket.bufferedAmount)
socket.ping()
other = WebSocket(sys.argv[1])
print(other.readyState.name)
try:
    other.send("too early")
except InvalidStateError:
    print("too early")
other.terminate()
print(other.readyState.name)
for arguments in ((5,), ([],)):
    try:
        socket.send(*arguments)
    except TypeError:
        print("TypeError")
try:
    socket.close(99)
except ValueError as error:
    print(type(error).__name__)
socket.addEventListener("x", print)
print(socket.close(3000, "bye") is not None, socket.readyState.name)
before = socket.bufferedAmount
socket.send("late: \\ud800")
print(socket.bufferedAmount - before, socket.readyState.name)
leave.set()
closed.wait()
print(received[:7], socket.bufferedAmount, socket.readyState.name)
"""
    )
    async with served(echo) as server:
        output, complaints, status = await run(code, server.url)
        assert output.splitlines() == [
            "5 OPEN",
            "[] 14",
            "CONNECTING",
            "too early",
            "CLOSING",
            "TypeError",
            "TypeError",
            "InvalidAccessError",
            "True CLOSING",
            "9 CLOSING",
            "['first', 3000] 9 CLOSED",
        ]
        assert (complaints, status) == ("", 0)


async def test_a_script_and_its_listeners_may_share_a_lock() -> None:
    code = """
import sys, threading
from wasclean import WebSocket
lock, opened, done, received = threading.Lock(), threading.Event(), threading.Event(), []

def on_message(event):
    with lock:
        received.append(event.data)
    if len(received) == 1000:
        done.set()

socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
socket.onmessage = on_message
opened.wait()
for i in range(1000):
    with lock:
        socket.send(str(i))
done.wait()
socket.close()
print(received == [str(i) for i in range(1000)])
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("True\n", "", 0)


async def test_what_several_threads_send_arrives_in_the_order_of_each() -> None:
    code = """
import sys, threading
from wasclean import WebSocket
opened, done, received = threading.Event(), threading.Event(), []
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
socket.onmessage = lambda event: (received.append(event.data), len(received) == 800 and done.set())
opened.wait()
threads = [threading.Thread(target=lambda j=j: [socket.send(f"{j} {i}") for i in range(200)]) for j in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
done.wait()
of_each = [[int(i) for j, i in map(str.split, received) if j == k] for k in "0123"]
print([numbers == list(range(200)) for numbers in of_each], socket.bufferedAmount)
socket.close()
"""
    async with served(echo) as server:
        assert await run(code, server.url) == ("[True, True, True, True] 0\n", "", 0)


CALLS_WITH_RESULTS = """
import asyncio

async def use(socket):
    await socket.wait_opened()
    await socket.send("x" * 100_000)
    await socket.flush()
    results = await asyncio.gather(socket.ping(), socket.drain(10), socket.check_alive(10))
    assert all(result < 10 for result in results)
    event = await socket.close(1000, "bye")
    assert event is await socket.wait_closed()
    return event.code, event.reason
"""


async def test_a_socket_of_any_loop_is_called_and_awaited_in_a_loop_of_another_thread() -> None:
    names: dict[str, Any] = {}
    exec(CALLS_WITH_RESULTS, names)
    async with served() as server:
        for socket in (WebSocket(server.url), await connect(server.url)):
            assert await asyncio.to_thread(asyncio.run, names["use"](socket)) == (1000, "bye")


async def test_a_thread_without_a_loop_calls_a_socket_of_this_ones_at_once() -> None:
    async with served(echo) as server:
        socket = await connect(server.url)
        results: list[Any] = []

        def call() -> None:
            for i in range(3):
                socket.send(str(i))
            results.append(socket.bufferedAmount)
            results.append(socket.readyState)
            results.append(socket.ping(b"x"))
            socket.onmessage = received.append
            results.append(socket.close(4000))
            results.append(socket.readyState)

        received: list[Any] = []
        thread = Thread(target=call)
        thread.start()
        thread.join()  # so this loop can do nothing meanwhile
        assert results[:2] == [3, WebSocket.OPEN]
        assert results[4] == WebSocket.CLOSING
        assert (await results[3]).code == 4000
        assert socket.bufferedAmount == 0


async def test_a_ping_with_the_data_of_another_one_fails_when_the_loop_comes_to_it() -> None:
    async with served() as server, connect(server.url) as socket:
        pings: list[Any] = []
        thread = Thread(target=lambda: pings.extend((socket.ping(b"x"), socket.ping(b"x"))))
        thread.start()
        thread.join()  # the loop has no turn between the two
        outcomes = await asyncio.gather(*pings, return_exceptions=True)
        assert any(isinstance(outcome, float) for outcome in outcomes)


async def test_what_is_called_after_the_loop_has_been_closed_is_what_an_ended_socket_does() -> None:
    def life(url: str) -> tuple[WebSocket, Server]:
        async def main() -> tuple[WebSocket, Server]:
            return await connect(url), await serve(echo, "127.0.0.1", 0)

        return asyncio.run(main())

    async with served() as server:
        socket, other = await asyncio.to_thread(life, server.url)
        assert socket.readyState == WebSocket.CLOSED
        for call in (lambda: socket.send("x"), socket.ping, socket.flush, socket.drain):
            with pytest.raises(ConnectionClosed):
                await awaited(call())
        assert socket.bufferedAmount == 1
        assert await socket.close() is await socket.wait_closed()
        socket.terminate()
        await other.close()
        await other.wait_closed()


async def test_a_server_is_closed_from_another_thread() -> None:
    async with served(echo) as server:
        client = await connect(server.url)

        async def close() -> None:
            await server.server.close(4001)
            await server.server.wait_closed()

        await asyncio.to_thread(asyncio.run, close())
        assert (await client.wait_closed()).code == 4001


INTERRUPTED = """
import sys, threading
from wasclean import WebSocket
import wasclean.process

NAMES = "background", "script", "signals", "awaitables", "handover", "calls", "websocket", "session", "aio/loopstate"
FILES = tuple(f"wasclean/{name}.py" for name in NAMES)
url, where = sys.argv[1:]
socket = None
lines = 0  # since the round has begun
at = 0  # the line at which the round is interrupted

def interrupt():
    # What a signal handler, or __del__, may do.
    other = WebSocket(url)
    others.append(other)
    other.terminate()
    if socket is not None:
        try:
            socket.send("from the handler")
            socket.ping()
        except wasclean.InvalidStateError:  # it is still connecting
            pass
        if at % 3 == 0:
            socket.close()

def trace(frame, event, argument):
    global lines
    if not frame.f_code.co_filename.endswith(FILES):
        return None
    if event == "line" and (threading.current_thread() is threading.main_thread()) == (where == "main"):
        lines += 1
        if lines == at:
            interrupt()
    return trace

def use():
    global socket
    opened, closed = threading.Event(), threading.Event()
    socket = WebSocket(url)
    socket.onopen = lambda event: opened.set()
    socket.onclose = lambda event: (opened.set(), closed.set())
    opened.wait()
    socket.send("hello")
    socket.close()
    socket.terminate()
    closed.wait()

others = []
threading.settrace(trace)
sys.settrace(trace)
while True:
    lines, at = 0, at + STEP
    use()
    if lines < at:
        break
sys.settrace(None)
print("done", len(others) == (at - 1) // STEP)
"""


@pytest.mark.parametrize("where", ["main", "loop"])
async def test_a_signal_handler_or_del_at_any_line_may_make_and_call_sockets(where: str) -> None:
    code = INTERRUPTED.replace("STEP", "2" if where == "main" else "7")
    async with served(echo) as server:
        output, complaints, status = await asyncio.wait_for(run(code, server.url, where), 300)
        assert (output, complaints, status) == ("done True\n", "", 0)


async def test_two_threads_that_make_the_first_socket_at_the_same_time_both_get_one() -> None:
    code = """
import sys, threading
from wasclean import WebSocket
ready = threading.Barrier(8)
def use():
    ready.wait()
    closed = threading.Event()
    socket = WebSocket(sys.argv[1])
    socket.onopen = lambda event: socket.close()
    socket.onclose = lambda event: closed.set()
    closed.wait()
threads = [threading.Thread(target=use) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print("done")
"""
    async with served(echo) as server:
        for _ in range(3):
            assert await run(code, server.url) == ("done\n", "", 0)


# Every end of a script.

OPEN = """
import asyncio, os, signal, sys, threading, time
from wasclean.model import registry
registry.GRACE = float(sys.argv[2])
from wasclean import WebSocket
opened = threading.Event()
socket = WebSocket(sys.argv[1])
socket.onopen = lambda event: opened.set()
socket.onclose = lambda event: print("closed:", event.sent.code if event.sent else None, event.cause, flush=True)
opened.wait()
print("ready", flush=True)
"""

CLOSED = "ready\nclosed: 1001 process_exit\n"


class Peer:
    """A raw server for several clients.

    Attributes:
        url: where it is.
    """

    def __init__(self, answers: bool) -> None:
        self.url = ""
        self._answers = answers
        self._last: asyncio.Queue[Frame] = asyncio.Queue()

    async def serve(self, raw: Raw) -> None:
        """Send a message as soon as one comes; tell the test of the client's Close frame, and answer that."""
        while (frame := await raw.frame()).opcode != CLOSE:
            raw.send_frame(frame.opcode, frame.payload)
        self._last.put_nowait(frame)
        if self._answers:
            raw.send_frame(CLOSE, frame.payload)
        else:
            await raw.rest()

    async def close_frame(self) -> Frame:
        """Wait for a client's Close frame."""
        return await asyncio.wait_for(self._last.get(), PATIENCE)


@asynccontextmanager
async def script(
    code: str, *, begin: str = OPEN, answers: bool = True, grace: float = GRACE
) -> AsyncIterator[tuple[Process, Peer]]:
    """A script with a socket in the background that is open, and its peer; every warning is an error.

    Args:
        code: what it does then.
        begin: what makes the socket.
        answers: whether the peer answers a Close frame.
        grace: seconds that the closing may take; NEVER where the end must not wait for them.
    """
    peer = Peer(answers)
    async with raw_server(peer.serve) as peer.url:
        with python(begin + code, peer.url, str(grace), environment={"PYTHONWARNINGS": "error"}) as running:
            await running.line("ready")
            yield running, peer


GONE = Frame(CLOSE, close_payload(1001))


@pytest.mark.parametrize(
    ("code", "status", "error"),
    [
        ("1 / 0", 1, "ZeroDivisionError: division by zero\n"),
        ("sys.exit(3)", 3, ""),
        ("exit(3)", 3, ""),
        ("sys.exit('why')", 1, "why\n"),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(600)", -signal.SIGINT, "KeyboardInterrupt\n"),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)", -signal.SIGTERM, ""),
    ],
)
async def test_a_script_that_is_left_early_says_so_to_its_servers(code: str, status: int, error: str) -> None:
    async with script(code) as (running, peer):
        assert await peer.close_frame() == GONE
        result = await running.ended()
        assert result.status == status
        assert result.stderr.count("Traceback") == (1 if "Error" in error or "Interrupt" in error else 0)
        assert result.stderr.endswith(error) if error else not result.stderr
        assert result.stdout == CLOSED


@pytest.mark.parametrize("end", ["sys.exit(3)", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)"])
async def test_a_peer_that_never_answers_delays_the_end_of_a_script_by_the_grace_at_most(end: str) -> None:
    async with script(end, answers=False) as (running, peer):
        assert await peer.close_frame() == GONE
        result = await running.ended()
        assert (result.status, result.stderr) == (3 if "exit" in end else -signal.SIGTERM, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
async def test_a_script_that_has_run_to_its_end_dies_of_a_signal_quietly(number: signal.Signals) -> None:
    async with script("threading._register_atexit(print, 'the end', flush=True)") as (running, peer):
        await running.line("the end")
        await running.waits()
        running.send_signal(number)
        assert await peer.close_frame() == GONE
        assert await running.ended() == (-number, CLOSED.replace("\n", "\nthe end\n", 1), "")


async def test_a_second_sigint_ends_the_waiting_of_a_script_for_its_peer() -> None:
    code = "threading._register_atexit(print, 'the end', flush=True)"
    async with script(code, answers=False, grace=NEVER) as (running, peer):
        await running.line("the end")
        running.send_signal(signal.SIGINT)
        assert await peer.close_frame() == GONE
        running.send_signal(signal.SIGINT)
        result = await running.ended()
        assert (result.status, result.stderr) == (-signal.SIGINT, "")


LISTENERS = {
    "sys.exit(3)": (3, ""),
    "exit()": (0, ""),
    "sys.exit('why')": (1, "why\n"),
}


@pytest.mark.parametrize("call", LISTENERS)
@pytest.mark.parametrize("form", ["a function", "a coroutine"])
async def test_a_listener_ends_its_script(form: str, call: str) -> None:
    if form == "a function":
        code = f"socket.onmessage = lambda event: {call}\nsocket.send('now')"
    else:
        code = f"async def received(event):\n    {call}\nsocket.onmessage = received\nsocket.send('now')"
    status, error = LISTENERS[call]
    async with script(code) as (running, peer):
        assert await peer.close_frame() == GONE
        assert await running.ended() == (status, CLOSED, error)


async def test_a_script_goes_on_when_a_listener_has_exited_and_ends_with_its_own_status() -> None:
    code = """
socket.onmessage = lambda event: sys.exit(3)
closed = threading.Event()
socket.addEventListener("close", lambda event: closed.set())
socket.send("now")
closed.wait()
socket.send("late")
print("state:", socket.readyState.name)
"""
    for last, status in (("", 3), ("sys.exit(4)", 4)):
        async with script(code + last) as (running, peer):
            assert await peer.close_frame() == GONE
            assert await running.ended() == (status, CLOSED + "state: CLOSED\n", "")


@pytest.mark.parametrize("end", ["1 / 0", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(600)"])
async def test_a_script_ends_although_its_listeners_connect_again(end: str) -> None:
    code = """
def again(event):
    other = WebSocket(sys.argv[1])
    other.onclose = again
    other.onopen = lambda event: print("opened again")
socket.onclose = again
"""
    async with script(code + end) as (running, peer):
        assert await peer.close_frame() == GONE
        result = await running.ended()
        assert result.status == (1 if end == "1 / 0" else -signal.SIGTERM)
        assert result.stdout == "ready\n"
        assert result.stderr.count("Traceback") == (1 if end == "1 / 0" else 0)
        assert not result.stderr or result.stderr.endswith("ZeroDivisionError: division by zero\n")


async def test_a_main_thread_that_stays_in_c_does_not_keep_a_script_alive_after_sigterm() -> None:
    code = """
import ctypes
mutex = ctypes.create_string_buffer(64)
lock = ctypes.CDLL(None).pthread_mutex_lock
print("in C", flush=True)
lock(mutex)
lock(mutex)
"""
    async with script(code) as (running, peer):
        await running.line("in C")
        await asyncio.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        assert await peer.close_frame() == GONE
        result = await running.ended()
        assert result[1:] == (CLOSED.replace("\n", "\nin C\n", 1), "")
        assert result.status in (128 + signal.SIGTERM, -signal.SIGTERM)  # the latter if it was slow to get there


async def test_sigterm_is_the_default_again_when_a_script_has_no_sockets() -> None:
    code = """
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
closed = threading.Event()
socket.addEventListener("close", lambda event: closed.set())
socket.close()
closed.wait()
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(600)
"""
    async with script(code) as (running, _):
        result = await running.ended()
        assert result == (-signal.SIGTERM, "ready\nFalse\nclosed: None local_close\n", "")


@pytest.mark.parametrize("end", ["os._exit(0)", "sys.exit(0)", "pass", "again()"])
async def test_a_forked_script_leaves_its_parents_sockets_alone(end: str) -> None:
    code = f"""
def again():
    other = WebSocket(sys.argv[1])
    other.onopen = lambda event: other.close(4002)
import warnings
warnings.simplefilter("ignore")  # later versions of Python warn of fork() where there are threads
child = os.fork()
if child:
    print("child:", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    answered = threading.Event()
    socket.onmessage = lambda event: answered.set()
    socket.send("parent")
    assert answered.wait(10)
    socket.close(4001)
else:
    socket.onclose = None
    {end}
"""
    async with script(code) as (running, peer):
        if end == "again()":
            assert await peer.close_frame() == Frame(CLOSE, close_payload(4002))
        assert await peer.close_frame() == Frame(CLOSE, close_payload(4001))
        assert await running.ended() == (0, "ready\nchild: 0\nclosed: 4001 local_close\n", "")


async def test_awaited_sends_of_a_scripts_own_loop_do_not_count_against_what_may_be_buffered() -> None:
    code = """
import asyncio, sys
from wasclean import WebSocket
socket = WebSocket(sys.argv[1], max_buffered_amount=100_000)

async def main():
    await socket.wait_opened()
    await asyncio.gather(*(socket.send(bytes(20_000)) for _ in range(200)))
    await socket.drain()
    print((await socket.close(1000)).code)

asyncio.run(main())
"""

    async def reads(socket: WebSocket) -> None:
        async for _ in socket:
            pass

    async with served(reads) as server:
        assert await run(code, server.url) == ("1000\n", "", 0)


async def test_sends_count_as_awaited_until_the_loop_that_made_them_can_have_awaited_them() -> None:
    code = """
import asyncio, sys, time
from wasclean import WebSocket
socket = WebSocket(sys.argv[1], max_buffered_amount=100_000)

async def main():
    await socket.wait_opened()
    sends = [socket.send(bytes(400_000)) for _ in range(100)]
    time.sleep(0.3)  # the socket's loop runs on, this one does not
    await asyncio.gather(*sends)
    print((await socket.close(1000)).code)

    again = WebSocket(sys.argv[1], max_buffered_amount=100_000)
    await again.wait_opened()
    again.send(bytes(20_000_000))
    for _ in range(200):
        again.send(bytes(20_000))
    print((await again.wait_closed()).cause)

asyncio.run(main())
"""

    async def reads(socket: WebSocket) -> None:
        async for _ in socket:
            pass

    async def reads_once(socket: WebSocket) -> None:
        if not others:
            others.append(socket)
            await reads(socket)
        else:
            await socket.wait_closed()

    others: list[WebSocket] = []
    async with served(reads_once, max_message_size=None) as server:
        assert await run(code, server.url) == ("1000\nslow_consumer\n", "", 0)


# Daemons.

DAEMON = (
    OPEN.replace("WebSocket(sys.argv[1])", "WebSocket(sys.argv[1], daemon=True)")
    + """
import atexit
atexit.register(print, "atexit", flush=True)
"""
)


LIVES = {
    "ends": "",
    "ends with a task of a listener": """
going = threading.Event()
async def listen(event):
    going.set()
    await asyncio.sleep(3600)
socket.onmessage = listen
socket.send("x")
going.wait()
""",
    "ends while another daemon connects": """
import socket as sockets
silent = sockets.create_server(("127.0.0.1", 0))
atexit.register(silent.close)
other = WebSocket(f"ws://127.0.0.1:{silent.getsockname()[1]}", daemon=True)
""",
    "is ended by a signal that it handles, as Flask does": """
try:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(3600)
except KeyboardInterrupt:
    pass
""",
}


@pytest.mark.parametrize("life", LIVES)
async def test_a_daemon_lets_its_script_end_and_is_closed_before_the_functions_at_exit(life: str) -> None:
    async with script(LIVES[life], begin=DAEMON) as (running, peer):
        assert await peer.close_frame() == GONE
        assert await running.ended() == (0, CLOSED + "atexit\n", "")


async def test_a_daemon_whose_peer_never_answers_lets_its_script_end() -> None:
    async with script("", begin=DAEMON, answers=False) as (running, peer):
        assert await peer.close_frame() == GONE
        ended = await running.ended()
        assert (ended.status, ended.stdout.splitlines()[-1], ended.stderr) == (0, "atexit", "")


async def test_a_daemon_lives_as_long_as_another_socket_keeps_its_script_alive() -> None:
    code = """
other, opened = WebSocket(sys.argv[1]), threading.Event()
other.onopen = lambda event: opened.set()
opened.wait()
def on_message(event):
    print(event.data, "after the script", socket.readyState.name, flush=True)
    other.close(4001)
socket.onmessage = on_message
threading._register_atexit(lambda: socket.send("still there"))
"""
    async with script(code, begin=DAEMON) as (running, peer):
        assert await peer.close_frame() == Frame(CLOSE, close_payload(4001))
        assert await peer.close_frame() == GONE
        expected = CLOSED.replace("\n", "\nstill there after the script OPEN\n", 1) + "atexit\n"
        assert await running.ended() == (0, expected, "")


async def test_a_daemon_in_a_loop_of_the_programs_is_a_socket_as_any_other() -> None:
    async with served(echo) as server:
        socket = WebSocket(server.url, daemon=True)
        await socket.wait_opened()
        assert (await socket.close(1000)).ok


def test_daemon_is_a_bool_and_an_option_of_websocket_only() -> None:
    with pytest.raises(TypeError, match="daemon"):
        WebSocket("ws://localhost", daemon="yes")  # type: ignore[arg-type]
    options: Any = {"daemon": True}
    with pytest.raises(TypeError, match="daemon"):
        connect("ws://localhost", **options)


@pytest.mark.parametrize("register", ["threading._register_atexit", "atexit.register"])
async def test_a_daemon_that_is_made_when_the_script_has_ended_does_not_keep_it_from_its_end(register: str) -> None:
    code = f"""
import atexit, sys, threading
import wasclean.process
wasclean.process.install()

def end():
    socket = wasclean.WebSocket(sys.argv[1], daemon=True)
    socket.onclose = lambda event: print(event.cause)

{register}(end)
"""
    async with served(echo) as server:
        for begin in ("", "wasclean.WebSocket(sys.argv[1], daemon=True)"):
            _, complaints, status = await run(code + begin, server.url)
            assert (complaints, status) == ("", 0)
