"""Scripts without an event loop: run as scripts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.endpoints import echo, served
from tests.faults.patience import NEVER, PATIENCE
from tests.faults.processes import Process, python
from tests.wire import CLOSE, Frame, Raw, close_payload, raw_server
from wasclean.protocol.registry import GRACE

EXAMPLES = Path(__file__).parents[1] / "examples"


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


# Every end of a script.

OPEN = """
import asyncio, os, signal, sys, threading, time
from wasclean.protocol import registry
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
async def script(code: str, *, answers: bool = True, grace: float = GRACE) -> AsyncIterator[tuple[Process, Peer]]:
    """A script with a socket in the background that is open, and its peer; every warning is an error.

    Args:
        code: what it does then.
        answers: whether the peer answers a Close frame.
        grace: seconds that the closing may take; NEVER where the end must not wait for them.
    """
    peer = Peer(answers)
    async with raw_server(peer.serve) as peer.url:
        with python(OPEN + code, peer.url, str(grace), environment={"PYTHONWARNINGS": "error"}) as running:
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
